//! One batch of its parts, in memory that is used again.
//!
//! What `concat` of arrow-select makes, but the bytes of long columns go where those of batches were
//! that nobody needs any more: to get pages from the system takes longer than to copy into them.

#![allow(unsafe_code)]

use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::types::{ArrowPrimitiveType, ByteArrayType};
use arrow_array::{
    Array, ArrayRef, GenericByteArray, GenericListArray, OffsetSizeTrait, PrimitiveArray,
    RecordBatch, RecordBatchOptions, StructArray, downcast_primitive,
};
use arrow_buffer::{Buffer, NullBuffer, NullBufferBuilder, OffsetBuffer, ScalarBuffer};
use arrow_schema::{ArrowError, DataType, FieldRef, Fields, SchemaRef};
use arrow_select::concat::{concat, concat_batches};
use bytes::Bytes;

use crate::buffers::{Buffers, LEAST_BYTES, Lent};
use crate::error::{ReadError, Result};

/// Joins parts that have this schema.
pub fn join(
    schema: &SchemaRef,
    mut parts: Vec<RecordBatch>,
    buffers: &Arc<Buffers>,
) -> Result<RecordBatch> {
    if parts.len() == 1 {
        return Ok(parts.swap_remove(0));
    }
    let has_types = |part: &RecordBatch| {
        let fields = schema.fields().iter().zip(part.schema_ref().fields());
        fields.clone().count() == part.num_columns()
            && fields.clone().all(|(one, other)| one.data_type() == other.data_type())
    };
    if !parts.iter().all(has_types) {
        return Ok(concat_batches(schema, &parts)?);
    }
    let columns = schema.fields().iter().enumerate().map(|(index, field)| {
        let arrays: Vec<ArrayRef> =
            parts.iter().map(|part| Arc::clone(part.column(index))).collect();
        column(&arrays, buffers).map_err(|error| ReadError::from(error).in_column(field.name()))
    });
    let columns = columns.collect::<Result<_>>()?;
    let rows = parts.iter().map(RecordBatch::num_rows).sum();
    let options = RecordBatchOptions::new().with_row_count(Some(rows));
    Ok(RecordBatch::try_new_with_options(Arc::clone(schema), columns, &options)?)
}

type Joined = std::result::Result<ArrayRef, ArrowError>;

/// Joins arrays of one type, of which there is at least one.
fn column(arrays: &[ArrayRef], buffers: &Arc<Buffers>) -> Joined {
    macro_rules! primitive_of {
        ($kind:ty) => {
            primitive::<$kind>(arrays, buffers)
        };
    }
    let Some(first) = arrays.first() else { return concat(&[]) };
    downcast_primitive! {
        first.data_type() => (primitive_of),
        DataType::Utf8 => bytes::<arrow_array::types::Utf8Type>(arrays, buffers),
        DataType::LargeUtf8 => bytes::<arrow_array::types::LargeUtf8Type>(arrays, buffers),
        DataType::Binary => bytes::<arrow_array::types::BinaryType>(arrays, buffers),
        DataType::LargeBinary => bytes::<arrow_array::types::LargeBinaryType>(arrays, buffers),
        DataType::List(item) => list::<i32>(arrays, item, buffers),
        DataType::LargeList(item) => list::<i64>(arrays, item, buffers),
        DataType::Struct(fields) => structs(arrays, fields, buffers),
        _ => as_arrow(arrays),
    }
}

fn as_arrow(arrays: &[ArrayRef]) -> Joined {
    let arrays: Vec<&dyn Array> = arrays.iter().map(AsRef::as_ref).collect();
    concat(&arrays)
}

fn primitive<T: ArrowPrimitiveType>(arrays: &[ArrayRef], buffers: &Arc<Buffers>) -> Joined {
    let parts = arrays.iter().map(|array| array.as_primitive::<T>());
    let values =
        one_after_the_other(parts.map(|part| part.values().inner().as_slice()).collect(), buffers);
    // Not so in practice: what is long enough to be shared begins at a multiple of 16.
    if values.as_ptr().align_offset(align_of::<T::Native>()) > 0 {
        return as_arrow(arrays);
    }
    let rows = values.len() / size_of::<T::Native>();
    let joined = PrimitiveArray::<T>::try_new(ScalarBuffer::new(values, 0, rows), nulls(arrays))?;
    Ok(match arrays.first() {
        // Decimals have a precision, timestamps a zone.
        Some(first) => Arc::new(joined.with_data_type(first.data_type().clone())),
        None => Arc::new(joined),
    })
}

fn bytes<T: ByteArrayType>(arrays: &[ArrayRef], buffers: &Arc<Buffers>) -> Joined {
    let parts: Vec<&GenericByteArray<T>> = arrays.iter().map(|array| array.as_bytes()).collect();
    let offsets = rebased(parts.iter().map(|part| part.offsets()))?;
    let values = parts.iter().map(|part| {
        let (first, last) = ends(part.offsets());
        part.value_data().get(first..last).unwrap_or_default()
    });
    let values = one_after_the_other(values.collect(), buffers);
    // SAFETY: the bytes of valid arrays, one after the other, cut where they were cut.
    let joined = unsafe { GenericByteArray::<T>::new_unchecked(offsets, values, nulls(arrays)) };
    Ok(Arc::new(joined))
}

fn list<O: OffsetSizeTrait>(
    arrays: &[ArrayRef],
    item: &FieldRef,
    buffers: &Arc<Buffers>,
) -> Joined {
    let parts: Vec<&GenericListArray<O>> = arrays.iter().map(|array| array.as_list()).collect();
    let offsets = rebased(parts.iter().map(|part| part.offsets()))?;
    let values = parts.iter().map(|part| {
        let (first, last) = ends(part.offsets());
        part.values().slice(first, last - first)
    });
    let values = column(&values.collect::<Vec<_>>(), buffers)?;
    let joined = GenericListArray::try_new(Arc::clone(item), offsets, values, nulls(arrays))?;
    Ok(Arc::new(joined))
}

fn structs(arrays: &[ArrayRef], fields: &Fields, buffers: &Arc<Buffers>) -> Joined {
    let children = (0..fields.len()).map(|index| {
        let parts = arrays.iter().map(|array| Arc::clone(array.as_struct().column(index)));
        column(&parts.collect::<Vec<_>>(), buffers)
    });
    let children = children.collect::<std::result::Result<_, ArrowError>>()?;
    let rows = arrays.iter().map(|array| array.len()).sum();
    let joined = StructArray::try_new_with_length(fields.clone(), children, nulls(arrays), rows)?;
    Ok(Arc::new(joined))
}

/// Where the first of the values begins that an array has, and where the last one ends.
fn ends<O: OffsetSizeTrait>(offsets: &OffsetBuffer<O>) -> (usize, usize) {
    (offsets.first().as_usize(), offsets.last().as_usize())
}

/// The offsets of arrays whose values come one after the other; an error where they get too large.
fn rebased<'a, O: OffsetSizeTrait>(
    parts: impl Iterator<Item = &'a OffsetBuffer<O>> + Clone,
) -> std::result::Result<OffsetBuffer<O>, ArrowError> {
    let total = parts.clone().map(ends).map(|(first, last)| last - first).sum();
    if O::from_usize(total).is_none() {
        return Err(ArrowError::OffsetOverflowError(total));
    }
    let rows: usize = parts.clone().map(|part| part.len() - 1).sum();
    let mut offsets = Vec::with_capacity(rows + 1);
    offsets.push(O::zero());
    let mut start = O::zero();
    for part in parts {
        offsets.extend(part.iter().skip(1).map(|&offset| start + (offset - part.first())));
        start += part.last() - part.first();
    }
    Ok(OffsetBuffer::new(offsets.into()))
}

fn one_after_the_other(parts: Vec<&[u8]>, buffers: &Arc<Buffers>) -> Buffer {
    let length: usize = parts.iter().map(|part| part.len()).sum();
    if length < LEAST_BYTES {
        return parts.concat().into();
    }
    Bytes::from_owner(Lent::of_parts(buffers, &parts)).into()
}

fn nulls(arrays: &[ArrayRef]) -> Option<NullBuffer> {
    if arrays.iter().all(|array| array.null_count() == 0) {
        return None;
    }
    let mut joined = NullBufferBuilder::new(arrays.iter().map(|array| array.len()).sum());
    for array in arrays {
        match array.nulls() {
            Some(nulls) => joined.append_buffer(nulls),
            None => joined.append_n_non_nulls(array.len()),
        }
    }
    joined.finish()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use arrow_array::types::Int32Type;
    use arrow_array::{
        BooleanArray, Decimal128Array, DictionaryArray, Int64Array, LargeBinaryArray, ListArray,
        StringArray, UInt8Array,
    };
    use proptest::prelude::*;

    use super::*;

    /// A row: a text, numbers, and whether it is there.
    type Row = (Option<String>, Option<Vec<Option<i32>>>, bool);

    /// Columns of many kinds, with texts long enough for some of them to share memory.
    fn batch(rows: &[Row], repeated: usize) -> RecordBatch {
        let texts =
            || rows.iter().map(|(text, ..)| text.as_ref().map(|text| text.repeat(repeated)));
        let numbers = rows.iter().map(|(_, numbers, _)| numbers.clone());
        let present = || rows.iter().map(|(.., present)| *present);
        let strings: ArrayRef = Arc::new(StringArray::from_iter(texts()));
        let lists: ArrayRef = Arc::new(ListArray::from_iter_primitive::<Int32Type, _, _>(numbers));
        let bytes = Arc::new(LargeBinaryArray::from_iter(texts().map(|text| text.map(Vec::from))));
        let decimals = present().map(|is| is.then_some(1));
        let decimals = Decimal128Array::from_iter(decimals).with_precision_and_scale(9, 2).unwrap();
        let words: DictionaryArray<Int32Type> = present().map(|is| is.then_some("a")).collect();
        let fields = Fields::from(
            vec![
                ("text", strings.data_type().clone(), true),
                ("numbers", lists.data_type().clone(), true),
            ]
            .into_iter()
            .map(|(name, kind, null)| arrow_schema::Field::new(name, kind, null))
            .collect::<Vec<_>>(),
        );
        let nulls = NullBuffer::from_iter(present());
        let columns = vec![Arc::clone(&strings), Arc::clone(&lists)];
        let structs = StructArray::new(fields, columns, Some(nulls));
        RecordBatch::try_from_iter_with_nullable([
            ("strings", strings, true),
            ("lists", lists, true),
            ("bytes", bytes as _, true),
            ("decimals", Arc::new(decimals) as _, true),
            ("words", Arc::new(words) as _, true),
            ("flags", Arc::new(BooleanArray::from_iter(present().map(Some))) as _, true),
            ("small", Arc::new(UInt8Array::from_iter(present().map(u8::from))) as _, true),
            ("structs", Arc::new(structs) as _, true),
        ])
        .unwrap()
    }

    fn rows() -> impl Strategy<Value = Vec<Row>> {
        let numbers = proptest::collection::vec(any::<Option<i32>>(), 0..4);
        let row = (proptest::option::of(".{0,3}"), proptest::option::of(numbers), any::<bool>());
        proptest::collection::vec(row, 1..8)
    }

    proptest! {
        #[test]
        fn as_arrow_joins_them(
            parts in proptest::collection::vec((rows(), 0usize..8, 0usize..8), 2..5),
            long in any::<bool>(),
        ) {
            let parts: Vec<RecordBatch> = parts
                .iter()
                .map(|(rows, start, length)| {
                    let batch = batch(rows, if long { 20_000 } else { 1 });
                    let start = (*start).min(batch.num_rows());
                    batch.slice(start, (*length).min(batch.num_rows() - start))
                })
                .collect();
            let schema = parts[0].schema();
            let buffers = Arc::default();
            let expected = concat_batches(&schema, &parts).unwrap();
            // Twice: the second time in the memory of the first.
            for _ in 0..2 {
                let joined = join(&schema, parts.clone(), &buffers).unwrap();
                for column in joined.columns() {
                    column.to_data().validate_full().unwrap();
                }
                prop_assert_eq!(&joined, &expected);
            }
        }
    }

    fn of_numbers(value: i64) -> RecordBatch {
        let column = Int64Array::from(vec![value; 10_000]);
        RecordBatch::try_from_iter([("a", Arc::new(column) as _)]).unwrap()
    }

    fn place(batch: &RecordBatch) -> *const u8 {
        batch.column(0).to_data().buffers()[0].as_ptr()
    }

    #[test]
    fn memory_is_used_again_once_a_batch_is_gone() {
        let buffers = Arc::default();
        let schema = of_numbers(0).schema();
        let of = |value| join(&schema, vec![of_numbers(value), of_numbers(value)], &buffers);
        let (first, second) = (of(1).unwrap(), of(2).unwrap());
        assert_ne!(place(&first), place(&second));
        let free = place(&first);
        // A part of it is enough to keep it.
        let part = first.slice(5, 1);
        drop(first);
        let third = of(3).unwrap();
        assert_ne!(place(&third), free);
        drop(part);
        assert_eq!(place(&of(4).unwrap()), free);
        assert_eq!(second, of(2).unwrap());
        buffers.close();
        drop((second, third));
        assert!(buffers.take().is_empty());
    }

    #[test]
    fn other_types_are_an_error() {
        let text: ArrayRef = Arc::new(StringArray::from(vec!["a"]));
        let text = RecordBatch::try_from_iter([("a", text)]).unwrap();
        let schema = text.schema();
        assert!(join(&schema, vec![text, of_numbers(1)], &Arc::default()).is_err());
    }
}
