//! Rows of Arrow arrays: lists of integers, and bytes.

use arrow_data::ArrayData;
use arrow_schema::DataType;
use kernels::integers::Integers;
use pyo3::prelude::*;

use crate::error::{Error, Place, Result};
use crate::py::arrow_capsule::{Imported, Wanted, import};
use crate::py::objects::type_name;

/// Where the rows of a chunk begin and end, in elements of the chunk's values.
#[derive(Clone, Copy)]
enum Offsets<'a> {
    Small(&'a [i32]),
    Large(&'a [i64]),
    /// Elements of every row, and of the rows that the chunk starts after.
    Fixed {
        size: usize,
        offset: usize,
    },
}

impl Offsets<'_> {
    /// None where an offset is negative, or ends before it begins.
    #[inline(always)]
    fn range(self, row: usize) -> Option<(usize, usize)> {
        let (start, end) = match self {
            Offsets::Small(offsets) => (
                usize::try_from(*offsets.get(row)?).ok()?,
                usize::try_from(*offsets.get(row + 1)?).ok()?,
            ),
            Offsets::Large(offsets) => (
                usize::try_from(*offsets.get(row)?).ok()?,
                usize::try_from(*offsets.get(row + 1)?).ok()?,
            ),
            Offsets::Fixed { size, offset } => {
                let start = (offset + row).checked_mul(size)?;
                (start, start.checked_add(size)?)
            }
        };
        (start <= end).then_some((start, end))
    }
}

/// The offsets buffer of a chunk, from its own first row on.
fn offsets(data: &ArrayData) -> Option<Offsets<'_>> {
    let (length, offset) = (data.len(), data.offset());
    Some(match data.data_type() {
        DataType::FixedSizeList(_, size) => {
            Offsets::Fixed { size: usize::try_from(*size).ok()?, offset }
        }
        DataType::LargeList(_) | DataType::LargeUtf8 | DataType::LargeBinary => {
            Offsets::Large(if length == 0 {
                &[]
            } else {
                data.buffers().first()?.typed_data().get(offset..)?
            })
        }
        _ => Offsets::Small(if length == 0 {
            &[]
        } else {
            data.buffers().first()?.typed_data().get(offset..)?
        }),
    })
}

/// Arrays of one type, one after the other.
struct Chunks {
    arrays: Vec<ArrayData>,
    /// The number of rows up to the end of each array.
    ends: Vec<usize>,
}

impl Chunks {
    fn new(arrays: Vec<ArrayData>) -> Self {
        let ends = arrays.iter().scan(0, |end, array| {
            *end += array.len();
            Some(*end)
        });
        Chunks { ends: ends.collect(), arrays }
    }

    fn len(&self) -> usize {
        self.ends.last().copied().unwrap_or(0)
    }

    /// The array that holds a row, and the row's place in it.
    #[inline(always)]
    fn locate(&self, row: usize) -> Option<(&ArrayData, usize)> {
        let chunk = match self.ends.len() {
            1 => 0,
            _ => self.ends.partition_point(|&end| end <= row),
        };
        let array = self.arrays.get(chunk)?;
        let first = self.ends[chunk] - array.len();
        (row < self.ends[chunk]).then(|| (array, row - first))
    }

    fn first_null(&self) -> Option<usize> {
        let is_null = |row: &usize| {
            self.locate(*row)
                .is_some_and(|(array, row)| array.nulls().is_some_and(|nulls| nulls.is_null(row)))
        };
        let any = self.arrays.iter().any(|array| array.null_count() > 0);
        (0..if any { self.len() } else { 0 }).find(is_null)
    }
}

/// Lists of integers.
pub struct ArrowLists(Chunks);

/// The lists that `value` offers, all checked; None where it is not an Arrow object.
pub fn lists(name: &'static str, value: Borrowed<'_, '_, PyAny>) -> Result<Option<ArrowLists>> {
    let chunks = match import(name, value, Wanted::IntegerLists)? {
        None => return Ok(None),
        Some(Imported::OtherType(found)) => return Err(Error::ArrowListType { name, found }),
        Some(Imported::Chunks(chunks)) => chunks,
    };
    let lists = ArrowLists(Chunks::new(chunks));
    if let Some(row) = lists.0.first_null() {
        return Err(Error::Null { place: Place::row(name, row) });
    }
    for row in 0..lists.len() {
        let Some((array, start, end)) = lists.range(row) else {
            return Err(Error::Arrow { name, found: type_name(&value)? });
        };
        if let Some(nulls) = array.child_data().first().and_then(ArrayData::nulls)
            && let Some(place) = (start..end).find(|&element| nulls.is_null(element))
        {
            return Err(Error::Null { place: Place::element(name, row, place - start) });
        }
    }
    Ok(Some(lists))
}

impl ArrowLists {
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// The array of a row, and its elements in the array's values; None where those don't reach.
    #[inline(always)]
    fn range(&self, row: usize) -> Option<(&ArrayData, usize, usize)> {
        let (array, row) = self.0.locate(row)?;
        let (start, end) = offsets(array)?.range(row)?;
        (end <= array.child_data().first()?.len()).then_some((array, start, end))
    }

    /// The number of elements of a row.
    #[inline(always)]
    pub fn length(&self, row: usize) -> Option<usize> {
        let (_, start, end) = self.range(row)?;
        Some(end - start)
    }

    #[inline(always)]
    pub fn row(&self, row: usize) -> Option<Integers<'_>> {
        let (array, start, end) = self.range(row)?;
        if start == end {
            return Some(Integers::I64(&[]));
        }
        let values = array.child_data().first()?;
        let (start, end) = (start + values.offset(), end + values.offset());
        let buffer = values.buffers().first()?;
        Some(match values.data_type() {
            DataType::Int8 => Integers::I8(buffer.typed_data().get(start..end)?),
            DataType::Int16 => Integers::I16(buffer.typed_data().get(start..end)?),
            DataType::Int32 => Integers::I32(buffer.typed_data().get(start..end)?),
            DataType::Int64 => Integers::I64(buffer.typed_data().get(start..end)?),
            DataType::UInt8 => Integers::U8(buffer.typed_data().get(start..end)?),
            DataType::UInt16 => Integers::U16(buffer.typed_data().get(start..end)?),
            DataType::UInt32 => Integers::U32(buffer.typed_data().get(start..end)?),
            DataType::UInt64 => Integers::U64(buffer.typed_data().get(start..end)?),
            _ => return None,
        })
    }
}

/// Strings or binaries.
pub struct ArrowBytes(Chunks);

/// The strings or binaries that `value` offers, none of them null; None where it is not an Arrow
/// object.
pub fn bytes(name: &'static str, value: Borrowed<'_, '_, PyAny>) -> Result<Option<ArrowBytes>> {
    let chunks = match import(name, value, Wanted::Bytes)? {
        None => return Ok(None),
        Some(Imported::OtherType(found)) => return Err(Error::ArrowTextType { found }),
        Some(Imported::Chunks(chunks)) => chunks,
    };
    let rows = ArrowBytes(Chunks::new(chunks));
    if let Some(row) = rows.0.first_null() {
        return Err(Error::Null { place: Place::row(name, row) });
    }
    if (0..rows.len()).any(|row| rows.get(row).is_none()) {
        return Err(Error::Arrow { name, found: type_name(&value)? });
    }
    Ok(Some(rows))
}

impl ArrowBytes {
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// The bytes of a row; None where there is no such row.
    #[inline(always)]
    pub fn get(&self, row: usize) -> Option<&[u8]> {
        let (array, row) = self.0.locate(row)?;
        if matches!(array.data_type(), DataType::Utf8View | DataType::BinaryView) {
            return view(array, row);
        }
        let (start, end) = offsets(array)?.range(row)?;
        if start == end {
            return Some(&[]);
        }
        array.buffers().get(1)?.as_slice().get(start..end)
    }
}

/// A view: 4 bytes of length, then up to 12 of text, or 4 of it, the buffer's number and the offset.
fn view(chunk: &ArrayData, row: usize) -> Option<&[u8]> {
    let views = chunk.buffers().first()?.as_slice();
    let at = (chunk.offset() + row) * 16;
    let view: &[u8; 16] = views.get(at..at + 16)?.try_into().ok()?;
    let word =
        |i: usize| u32::from_le_bytes([view[i], view[i + 1], view[i + 2], view[i + 3]]) as usize;
    let length = word(0);
    if length <= 12 {
        return views.get(at + 4..at + 4 + length);
    }
    let (buffer, start) = (word(8), word(12));
    chunk.buffers().get(buffer + 1)?.as_slice().get(start..start.checked_add(length)?)
}
