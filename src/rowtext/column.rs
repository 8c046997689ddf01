//! Columns as their text is written: views of Arrow's buffers, every access of which is checked.
//!
//! Arrow files are mapped into memory unread, so an offset may point anywhere: what does not reach is
//! left to Python.

use std::collections::HashMap;

use arrow_buffer::{NullBuffer, i256};
use arrow_data::ArrayData;
use arrow_schema::{DataType, Field, TimeUnit};

use crate::Written;
use crate::printable::Printable;
use crate::temporal::{self, Zone};
use crate::text::Text;
use crate::{decimals, floats, integers, schema, strings};

/// What is known of Python beside its grammar.
pub struct Python<'p> {
    pub printable: &'p Printable,
    /// The timezones that are supported, by Arrow's name.
    pub zones: &'p HashMap<String, Zone>,
}

pub struct Column<'a> {
    /// With the number of elements that this column begins after.
    nulls: Option<(&'a NullBuffer, usize)>,
    values: Values<'a>,
}

enum Values<'a> {
    Null,
    Bool {
        bits: &'a [u8],
        first: usize,
    },
    Integers(Integers<'a>),
    F16(&'a [[u8; 2]]),
    F32(&'a [[u8; 4]]),
    F64(&'a [[u8; 8]]),
    Str(Slices<'a>),
    Bytes(Slices<'a>),
    Decimal(Slices<'a>, i8),
    Date32(Integers<'a>),
    Date64(Integers<'a>),
    Time(Integers<'a>, TimeUnit),
    Timestamp(Integers<'a>, TimeUnit, Option<&'a Zone>),
    Duration(Integers<'a>, TimeUnit),
    List(Ranges<'a>, Box<Column<'a>>),
    /// A fixed shape, None for the dimension that is not.
    Array(Vec<Option<usize>>, Box<Column<'a>>),
    Map(Ranges<'a>, Box<[Column<'a>; 2]>),
    /// What is written before each child.
    Struct(Vec<(Vec<u8>, Column<'a>)>),
    Dictionary(Integers<'a>, Box<Column<'a>>),
}

impl<'a> Column<'a> {
    /// A column of a table; None where its type is not supported.
    pub fn new(
        field: &'a Field,
        data: &'a ArrayData,
        skip: usize,
        python: &Python<'a>,
    ) -> Option<Self> {
        let column = Column::of(data, skip, python)?;
        let Some(shape) = schema::shape(field) else {
            return Some(column);
        };
        Some(Column { nulls: None, values: Values::Array(shape, Box::new(column)) })
    }

    /// `data` without its first `skip` elements.
    fn of(data: &'a ArrayData, skip: usize, python: &Python<'a>) -> Option<Self> {
        let first = data.offset() + skip;
        let child = |index: usize, skip: usize| {
            data.child_data().get(index).and_then(|child| Column::of(child, skip, python))
        };
        let boxed = |index: usize| child(index, 0).map(Box::new);
        let integers = || Integers::new(data, first);
        let values = match data.data_type() {
            DataType::Null => Values::Null,
            DataType::Boolean => Values::Bool { bits: buffer(data, 0), first },
            DataType::Float16 => Values::F16(chunks(data, first)),
            DataType::Float32 => Values::F32(chunks(data, first)),
            DataType::Float64 => Values::F64(chunks(data, first)),
            DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => {
                Values::Str(Slices::new(data, first)?)
            }
            DataType::Binary
            | DataType::LargeBinary
            | DataType::BinaryView
            | DataType::FixedSizeBinary(_) => Values::Bytes(Slices::new(data, first)?),
            DataType::Decimal32(_, scale)
            | DataType::Decimal64(_, scale)
            | DataType::Decimal128(_, scale)
            | DataType::Decimal256(_, scale) => Values::Decimal(Slices::new(data, first)?, *scale),
            DataType::Date32 => Values::Date32(integers()?),
            DataType::Date64 => Values::Date64(integers()?),
            DataType::Time32(unit) | DataType::Time64(unit) => Values::Time(integers()?, *unit),
            DataType::Timestamp(unit, zone) => {
                let zone = match zone {
                    Some(zone) => Some(python.zones.get(&**zone)?),
                    None => None,
                };
                Values::Timestamp(integers()?, *unit, zone)
            }
            DataType::Duration(unit) => Values::Duration(integers()?, *unit),
            DataType::List(_) | DataType::LargeList(_) | DataType::FixedSizeList(..) => {
                Values::List(Ranges::new(data, first)?, boxed(0)?)
            }
            DataType::Map(..) => {
                let entries = data.child_data().first()?;
                let entry = |index: usize| {
                    let column = entries.child_data().get(index)?;
                    Column::of(column, entries.offset(), python)
                };
                Values::Map(Ranges::new(data, first)?, Box::new([entry(0)?, entry(1)?]))
            }
            DataType::Struct(fields) => {
                let mut children = Vec::with_capacity(fields.len());
                for (index, field) in fields.iter().enumerate() {
                    let key = key(field.name(), index == 0, python.printable)?;
                    children.push((key, child(index, first)?));
                }
                Values::Struct(children)
            }
            DataType::Dictionary(..) => Values::Dictionary(integers()?, boxed(0)?),
            _ => Values::Integers(integers()?),
        };
        Some(Column { nulls: data.nulls().map(|nulls| (nulls, skip)), values })
    }

    #[inline(always)]
    fn is_null(&self, i: usize) -> bool {
        match self.nulls {
            // What is beyond the bits is beyond the values, too.
            Some((nulls, skip)) => nulls.len() > skip + i && nulls.is_null(skip + i),
            None => false,
        }
    }

    /// Writes the text of element `i`.
    pub fn write(&self, i: usize, printable: &Printable, text: &mut Text) -> Written {
        if self.is_null(i) {
            text.push(b"None");
            return Some(());
        }
        match &self.values {
            Values::Null => text.push(b"None"),
            Values::Bool { bits, first } => {
                let bit = first + i;
                let is_true = bits.get(bit / 8)? >> (bit % 8) & 1 == 1;
                text.push(if is_true { b"True" } else { b"False" });
            }
            Values::Integers(values) => {
                let (is_negative, magnitude) = values.get(i)?;
                if is_negative {
                    text.push(b"-");
                }
                text.push_u64(magnitude);
            }
            Values::F16(values) => floats::write(f16(*values.get(i)?), text),
            Values::F32(values) => {
                floats::write(f64::from(f32::from_ne_bytes(*values.get(i)?)), text);
            }
            Values::F64(values) => floats::write(f64::from_ne_bytes(*values.get(i)?), text),
            Values::Str(values) => strings::write_str(values.get(i)?, printable, text)?,
            Values::Bytes(values) => strings::write_bytes(values.get(i)?, text),
            Values::Decimal(values, scale) => {
                decimals::write(&decimal(values.get(i)?)?, *scale, text);
            }
            Values::Date32(values) => temporal::write_date(values.signed(i)?, text)?,
            Values::Date64(values) => temporal::write_date64(values.signed(i)?, text)?,
            Values::Time(values, unit) => temporal::write_time(values.signed(i)?, *unit, text)?,
            Values::Timestamp(values, unit, zone) => {
                temporal::write_timestamp(values.signed(i)?, *unit, *zone, text)?;
            }
            Values::Duration(values, unit) => {
                temporal::write_duration(values.signed(i)?, *unit, text)?;
            }
            Values::List(ranges, child) => {
                let (begin, end) = ranges.get(i)?;
                child.write_list(begin, end, printable, text)?;
            }
            Values::Array(shape, list) => list.write_array(i, shape, printable, text)?,
            Values::Map(ranges, entries) => {
                let (begin, end) = ranges.get(i)?;
                let [keys, values] = &**entries;
                text.push(b"[");
                for entry in begin..end {
                    text.push(if entry == begin { b"(" } else { b", (" });
                    keys.write(entry, printable, text)?;
                    text.push(b", ");
                    values.write(entry, printable, text)?;
                    text.push(b")");
                }
                text.push(b"]");
            }
            Values::Struct(children) => {
                if children.is_empty() {
                    text.push(b"{");
                }
                for (key, child) in children {
                    text.push(key);
                    child.write(i, printable, text)?;
                }
                text.push(b"}");
            }
            Values::Dictionary(keys, values) => {
                let (_, key) = keys.get(i)?;
                values.write(usize::try_from(key).ok()?, printable, text)?;
            }
        }
        Some(())
    }

    /// Writes elements `begin` to `end` as a list.
    fn write_list(
        &self,
        begin: usize,
        end: usize,
        printable: &Printable,
        text: &mut Text,
    ) -> Written {
        let has_nulls = self.nulls.is_some_and(|(nulls, _)| nulls.null_count() > 0);
        if let (Values::Integers(values), false) = (&self.values, has_nulls) {
            return values.write_list(begin, end, text);
        }
        text.push(b"[");
        for i in begin..end {
            if i > begin {
                text.push(b", ");
            }
            self.write(i, printable, text)?;
        }
        text.push(b"]");
        Some(())
    }

    /// Writes a list of lists of this shape, which NumPy sees as an array. What has another shape, or
    /// nulls, becomes something else there.
    fn write_array(
        &self,
        i: usize,
        shape: &[Option<usize>],
        printable: &Printable,
        text: &mut Text,
    ) -> Written {
        if self.is_null(i) {
            return None;
        }
        let (Some((length, shape)), Values::List(ranges, child)) =
            (shape.split_first(), &self.values)
        else {
            return self.write(i, printable, text);
        };
        let (begin, end) = ranges.get(i)?;
        if length.is_some_and(|length| length != end - begin) {
            return None;
        }
        text.push(b"[");
        for i in begin..end {
            if i > begin {
                text.push(b", ");
            }
            child.write_array(i, shape, printable, text)?;
        }
        text.push(b"]");
        Some(())
    }
}

/// What is written before the value of a key.
pub fn key(name: &str, is_first: bool, printable: &Printable) -> Option<Vec<u8>> {
    let mut text = Text::default();
    text.push(if is_first { b"{" } else { b", " });
    strings::write_str(name.as_bytes(), printable, &mut text)?;
    text.push(b": ");
    Some(text.as_bytes().to_vec())
}

fn f16(bytes: [u8; 2]) -> f64 {
    let bits = u16::from_ne_bytes(bytes);
    let (exponent, fraction) = (bits >> 10 & 31, f64::from(bits & 1023));
    let magnitude = match exponent {
        0 => fraction * 2f64.powi(-24),
        31 if fraction == 0.0 => f64::INFINITY,
        31 => f64::NAN,
        exponent => (1024.0 + fraction) * 2f64.powi(i32::from(exponent) - 25),
    };
    if bits >> 15 == 1 { -magnitude } else { magnitude }
}

/// The digits of an integer of 4 to 32 bytes.
fn decimal(bytes: &[u8]) -> Option<String> {
    if let Ok(bytes) = <[u8; 32]>::try_from(bytes) {
        return Some(i256::from_le_bytes(bytes).to_string());
    }
    let value = match *bytes {
        [a, b, c, d] => i128::from(i32::from_ne_bytes([a, b, c, d])),
        _ if bytes.len() == 8 => i128::from(i64::from_ne_bytes(bytes.try_into().ok()?)),
        _ => i128::from_ne_bytes(bytes.try_into().ok()?),
    };
    Some(value.to_string())
}

fn buffer(data: &ArrayData, index: usize) -> &[u8] {
    data.buffers().get(index).map_or(&[], |buffer| buffer.as_slice())
}

/// The values of fixed width from `first` on.
fn chunks<const WIDTH: usize>(data: &ArrayData, first: usize) -> &[[u8; WIDTH]] {
    buffer(data, 0).as_chunks().0.get(first..).unwrap_or(&[])
}

/// Integers of any width, signed or not.
#[derive(Clone, Copy)]
enum Integers<'a> {
    I8(&'a [[u8; 1]]),
    I16(&'a [[u8; 2]]),
    I32(&'a [[u8; 4]]),
    I64(&'a [[u8; 8]]),
    U8(&'a [[u8; 1]]),
    U16(&'a [[u8; 2]]),
    U32(&'a [[u8; 4]]),
    U64(&'a [[u8; 8]]),
}

/// Calls `$body` with the values and the function that reads one: its sign and magnitude.
macro_rules! each {
    ($integers:expr, $values:ident, $read:ident => $body:expr) => {
        each!(@ $integers, $values, $read, $body,
            signed { I8: i8, I16: i16, I32: i32, I64: i64 }
            unsigned { U8: u8, U16: u16, U32: u32, U64: u64 })
    };
    (@ $integers:expr, $values:ident, $read:ident, $body:expr,
        signed { $($signed:ident: $s:ty),* } unsigned { $($unsigned:ident: $u:ty),* }) => {
        match $integers {
            $(Integers::$signed($values) => {
                let $read = |bytes: &_| {
                    let value = <$s>::from_ne_bytes(*bytes);
                    (value < 0, u64::from(value.unsigned_abs()))
                };
                $body
            })*
            $(Integers::$unsigned($values) => {
                let $read = |bytes: &_| (false, u64::from(<$u>::from_ne_bytes(*bytes)));
                $body
            })*
        }
    };
}

impl<'a> Integers<'a> {
    fn new(data: &'a ArrayData, first: usize) -> Option<Self> {
        let key = match data.data_type() {
            DataType::Dictionary(key, _) => key,
            other => other,
        };
        Some(match key {
            DataType::Int8 => Integers::I8(chunks(data, first)),
            DataType::Int16 => Integers::I16(chunks(data, first)),
            DataType::Int32 | DataType::Date32 | DataType::Time32(_) => {
                Integers::I32(chunks(data, first))
            }
            DataType::Int64
            | DataType::Date64
            | DataType::Time64(_)
            | DataType::Timestamp(..)
            | DataType::Duration(_) => Integers::I64(chunks(data, first)),
            DataType::UInt8 => Integers::U8(chunks(data, first)),
            DataType::UInt16 => Integers::U16(chunks(data, first)),
            DataType::UInt32 => Integers::U32(chunks(data, first)),
            DataType::UInt64 => Integers::U64(chunks(data, first)),
            _ => return None,
        })
    }

    /// Whether it is negative, and its magnitude.
    #[inline(always)]
    fn get(&self, i: usize) -> Option<(bool, u64)> {
        each!(*self, values, read => values.get(i).map(read))
    }

    fn signed(&self, i: usize) -> Option<i64> {
        match self {
            Integers::I32(values) => Some(i64::from(i32::from_ne_bytes(*values.get(i)?))),
            Integers::I64(values) => Some(i64::from_ne_bytes(*values.get(i)?)),
            _ => None,
        }
    }

    fn write_list(&self, begin: usize, end: usize, text: &mut Text) -> Written {
        each!(*self, values, read => write_integers(values.get(begin..end)?, read, text));
        Some(())
    }
}

#[inline(always)]
fn write_integers<const WIDTH: usize>(
    values: &[[u8; WIDTH]],
    read: impl Fn(&[u8; WIDTH]) -> (bool, u64),
    text: &mut Text,
) {
    text.push(b"[");
    // As many at a time as are sure to fit.
    for values in values.chunks(256) {
        let room = text.room((values.len() + integers::MANY) * integers::ITEM_ROOM);
        let written = integers::write_list_items(values, &read, room);
        text.advance(written);
    }
    if !values.is_empty() {
        text.truncate(text.len() - 2);
    }
    text.push(b"]");
}

/// Elements that are bytes of some length.
enum Slices<'a> {
    Small { offsets: &'a [[u8; 4]], bytes: &'a [u8] },
    Large { offsets: &'a [[u8; 8]], bytes: &'a [u8] },
    Views { views: &'a [[u8; 16]], buffers: Vec<&'a [u8]> },
    Fixed { size: usize, first: usize, bytes: &'a [u8] },
}

impl<'a> Slices<'a> {
    fn new(data: &'a ArrayData, first: usize) -> Option<Self> {
        let fixed = |size: usize| Slices::Fixed { size, first, bytes: buffer(data, 0) };
        Some(match data.data_type() {
            DataType::Utf8 | DataType::Binary => {
                Slices::Small { offsets: chunks(data, first), bytes: buffer(data, 1) }
            }
            DataType::LargeUtf8 | DataType::LargeBinary => {
                Slices::Large { offsets: chunks(data, first), bytes: buffer(data, 1) }
            }
            DataType::Utf8View | DataType::BinaryView => Slices::Views {
                views: chunks(data, first),
                buffers: data.buffers().iter().skip(1).map(|buffer| buffer.as_slice()).collect(),
            },
            DataType::FixedSizeBinary(size) => fixed(usize::try_from(*size).ok()?),
            other => fixed(other.primitive_width()?),
        })
    }

    #[inline(always)]
    fn get(&self, i: usize) -> Option<&'a [u8]> {
        match self {
            Slices::Small { offsets, bytes } => {
                let (begin, end) = Ranges::Small(offsets).get(i)?;
                bytes.get(begin..end)
            }
            Slices::Large { offsets, bytes } => {
                let (begin, end) = Ranges::Large(offsets).get(i)?;
                bytes.get(begin..end)
            }
            Slices::Views { views, buffers } => view(views.get(i)?, buffers),
            Slices::Fixed { size, first, bytes } => {
                let begin = (first + i).checked_mul(*size)?;
                bytes.get(begin..begin.checked_add(*size)?)
            }
        }
    }
}

/// A view: 4 bytes of length, then up to 12 of text, or 4 of it, the buffer's number and the offset.
fn view<'a>(view: &'a [u8; 16], buffers: &[&'a [u8]]) -> Option<&'a [u8]> {
    let word =
        |i: usize| u32::from_ne_bytes([view[i], view[i + 1], view[i + 2], view[i + 3]]) as usize;
    let length = word(0);
    if length <= 12 {
        return view.get(4..4 + length);
    }
    buffers.get(word(8))?.get(word(12)..word(12).checked_add(length)?)
}

/// Where lists begin and end.
enum Ranges<'a> {
    Small(&'a [[u8; 4]]),
    Large(&'a [[u8; 8]]),
    Fixed { size: usize, first: usize },
}

impl<'a> Ranges<'a> {
    fn new(data: &'a ArrayData, first: usize) -> Option<Self> {
        Some(match data.data_type() {
            DataType::FixedSizeList(_, size) => {
                Ranges::Fixed { size: usize::try_from(*size).ok()?, first }
            }
            DataType::LargeList(_) => Ranges::Large(chunks(data, first)),
            _ => Ranges::Small(chunks(data, first)),
        })
    }

    /// None where an offset is negative, or ends before it begins.
    #[inline(always)]
    fn get(&self, i: usize) -> Option<(usize, usize)> {
        let (begin, end) = match self {
            Ranges::Small(offsets) => {
                let offset = |i: usize| usize::try_from(i32::from_ne_bytes(*offsets.get(i)?)).ok();
                (offset(i)?, offset(i + 1)?)
            }
            Ranges::Large(offsets) => {
                let offset = |i: usize| usize::try_from(i64::from_ne_bytes(*offsets.get(i)?)).ok();
                (offset(i)?, offset(i + 1)?)
            }
            Ranges::Fixed { size, first } => {
                let begin = (first + i).checked_mul(*size)?;
                (begin, begin.checked_add(*size)?)
            }
        };
        (begin <= end).then_some((begin, end))
    }
}
