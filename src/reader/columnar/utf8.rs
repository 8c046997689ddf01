//! Strings out of binaries, checked at the speed of memory and not copied.
//!
//! The IPC decoder checks UTF-8 with the standard library, which takes longer than all the rest of
//! reading a mapped file. So it is told that strings are binaries (it checks their offsets), and the
//! bytes are checked here.

#![allow(unsafe_code)]

use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::{
    Array, ArrayRef, FixedSizeListArray, GenericBinaryArray, GenericListArray, GenericStringArray,
    OffsetSizeTrait, StructArray,
};
use arrow_schema::{DataType, Field, FieldRef, Schema};

use crate::error::{ReadError, Result};

/// The schema with binaries in place of strings.
pub fn as_binary(schema: &Schema) -> Schema {
    let fields: Vec<_> = schema.fields().iter().map(binary_field).collect();
    Schema::new_with_metadata(fields, schema.metadata().clone())
}

fn binary_field(field: &FieldRef) -> FieldRef {
    let kind = match field.data_type() {
        DataType::Utf8 => DataType::Binary,
        DataType::LargeUtf8 => DataType::LargeBinary,
        DataType::List(item) => DataType::List(binary_field(item)),
        DataType::LargeList(item) => DataType::LargeList(binary_field(item)),
        DataType::FixedSizeList(item, length) => {
            DataType::FixedSizeList(binary_field(item), *length)
        }
        DataType::Struct(fields) => DataType::Struct(fields.iter().map(binary_field).collect()),
        // A dictionary is found by the id that its field has, which must stay as it is.
        _ => return Arc::clone(field),
    };
    Arc::new(field.as_ref().clone().with_data_type(kind))
}

/// The column with strings where `field` has them and `column` has binaries.
pub fn to_text(column: &ArrayRef, field: &Field) -> Result<ArrayRef> {
    let wanted = field.data_type();
    if column.data_type() == wanted {
        return Ok(Arc::clone(column));
    }
    Ok(match wanted {
        DataType::Utf8 => Arc::new(checked(column.as_binary::<i32>(), field)?),
        DataType::LargeUtf8 => Arc::new(checked(column.as_binary::<i64>(), field)?),
        DataType::List(item) => Arc::new(list(column.as_list::<i32>(), item)?),
        DataType::LargeList(item) => Arc::new(list(column.as_list::<i64>(), item)?),
        DataType::FixedSizeList(item, length) => {
            let column = column.as_fixed_size_list();
            let values = to_text(column.values(), item)?;
            let nulls = column.nulls().cloned();
            Arc::new(FixedSizeListArray::try_new(Arc::clone(item), *length, values, nulls)?)
        }
        DataType::Struct(fields) => {
            let column = column.as_struct();
            let children: Result<Vec<_>> = column
                .columns()
                .iter()
                .zip(fields)
                .map(|(child, field)| to_text(child, field))
                .collect();
            let (children, nulls) = (children?, column.nulls().cloned());
            Arc::new(StructArray::try_new_with_length(
                fields.clone(),
                children,
                nulls,
                column.len(),
            )?)
        }
        _ => Arc::clone(column),
    })
}

fn list<O: OffsetSizeTrait>(
    column: &GenericListArray<O>,
    item: &FieldRef,
) -> Result<GenericListArray<O>> {
    let values = to_text(column.values(), item)?;
    let (offsets, nulls) = (column.offsets().clone(), column.nulls().cloned());
    Ok(GenericListArray::try_new(Arc::clone(item), offsets, values, nulls)?)
}

fn checked<O: OffsetSizeTrait>(
    column: &GenericBinaryArray<O>,
    field: &Field,
) -> Result<GenericStringArray<O>> {
    let offsets = column.value_offsets();
    let (first, last) = match (offsets.first(), offsets.last()) {
        (Some(first), Some(last)) => (first.as_usize(), last.as_usize()),
        _ => (0, 0),
    };
    let text = column.value_data().get(first..last).unwrap_or_default();
    let is_sound = simdutf8::basic::from_utf8(text).is_ok_and(|text| {
        offsets.iter().all(|offset| text.is_char_boundary(offset.as_usize().wrapping_sub(first)))
    });
    if !is_sound {
        let bad = (0..column.len()).find(|row| std::str::from_utf8(column.value(*row)).is_err());
        let error = ReadError::damaged("a string is not valid UTF-8").in_column(field.name());
        return Err(match bad {
            Some(row) => error.at_row(row as u64),
            None => error,
        });
    }
    let (offsets, values, nulls) = column.clone().into_parts();
    // SAFETY: the offsets are those of a valid array of binaries; the bytes between the first and the
    // last are UTF-8, and every offset is at a boundary of characters.
    Ok(unsafe { GenericStringArray::new_unchecked(offsets, values, nulls) })
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use arrow_array::{BinaryArray, StringArray};
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn as_the_standard_library(rows in proptest::collection::vec(
            proptest::option::of(proptest::collection::vec(any::<u8>(), 0..6)), 0..6,
        ), sound in proptest::collection::vec(".{0,5}", 0..6)) {
            let binary = BinaryArray::from_iter(rows.iter().map(|row| row.as_deref()));
            let expected = StringArray::try_from_binary(binary.clone());
            let found = checked(&binary, &Field::new("a", DataType::Utf8, true));
            prop_assert_eq!(found.is_ok(), expected.is_ok());
            let binary = BinaryArray::from_iter_values(&sound);
            let found = checked(&binary, &Field::new("a", DataType::Utf8, true)).unwrap();
            prop_assert_eq!(found, StringArray::from_iter_values(&sound));
        }
    }
}
