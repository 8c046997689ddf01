//! Casts of columns that lose nothing without a word, with the results of pyarrow, which `datasets` casts by.
//!
//! arrow-cast matches the fields of structs by their place, makes text as pyarrow does not, and drops what
//! does not fit in a coarser unit; what is not known to be the same here is refused.

use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::types::{
    ArrowPrimitiveType, Float16Type, Float32Type, Float64Type, TimestampMicrosecondType,
    TimestampMillisecondType, TimestampNanosecondType, TimestampSecondType,
};
use arrow_array::{
    Array, ArrayRef, FixedSizeListArray, GenericListArray, LargeStringArray, MapArray,
    OffsetSizeTrait, PrimitiveArray, StringArray, StructArray, new_null_array,
};
use arrow_buffer::OffsetBuffer;
use arrow_cast::display::FormatOptions;
use arrow_cast::{CastOptions, cast_with_options};
use arrow_schema::{ArrowError, DataType, FieldRef, Fields, TimeUnit};

use crate::floats;

/// Why it can't be done, or not for these values.
type Cast<T = ArrayRef> = Result<T, String>;

const STRICT: CastOptions<'static> =
    CastOptions { safe: false, format_options: FormatOptions::new() };

fn by_arrow(column: &dyn Array, wanted: &DataType) -> Cast {
    cast_with_options(column, wanted, &STRICT).map_err(said)
}

fn said(error: ArrowError) -> String {
    match error {
        ArrowError::CastError(message) | ArrowError::InvalidArgumentError(message) => message,
        error => error.to_string(),
    }
}

fn refused() -> String {
    "there is no such cast, or one that loses something".to_owned()
}

/// The column as `wanted`; an error where a value would not be the same.
pub fn cast(column: &ArrayRef, wanted: &DataType) -> Cast {
    use DataType::{Dictionary, Map, Null, RunEndEncoded, Struct};
    match (column.data_type(), wanted) {
        (has, wanted) if has == wanted => Ok(Arc::clone(column)),
        (Null, wanted) => Ok(new_null_array(wanted, column.len())),
        (Dictionary(_, values), wanted) => cast(&by_arrow(column, values)?, wanted),
        (RunEndEncoded(_, values), wanted) => cast(&by_arrow(column, values.data_type())?, wanted),
        (_, Dictionary(_, values)) => by_arrow(&cast(column, values)?, wanted),
        (Struct(_), Struct(fields)) => cast_struct(column.as_struct(), fields, column.len()),
        (Map(..), Map(entries, ordered)) => cast_map(column.as_map(), entries, *ordered),
        (has, wanted) => match (item(has), item(wanted)) {
            (Some(_), Some(item)) => cast_list(column, item, wanted),
            (None, None) if !has.is_nested() && !wanted.is_nested() => cast_leaf(column, wanted),
            _ => Err(refused()),
        },
    }
}

/// What the lists of a type have in them.
fn item(kind: &DataType) -> Option<&FieldRef> {
    match kind {
        DataType::List(item)
        | DataType::LargeList(item)
        | DataType::FixedSizeList(item, _)
        | DataType::ListView(item)
        | DataType::LargeListView(item) => Some(item),
        _ => None,
    }
}

/// Fields go by their names: one that is missing is null, one too many an error.
fn cast_struct(column: &StructArray, fields: &Fields, rows: usize) -> Cast {
    for (index, field) in column.fields().iter().enumerate() {
        let name = field.name();
        if fields.find(name).is_none() {
            return Err(format!("the field {name:?} has no place in it"));
        }
        if column.fields().find(name).is_some_and(|(first, _)| first != index) {
            return Err(format!("there are two fields {name:?}"));
        }
    }
    let members: Cast<Vec<_>> = fields
        .iter()
        .map(|field| match column.column_by_name(field.name()) {
            Some(member) => cast(member, field.data_type())
                .map_err(|message| format!("field {:?}: {message}", field.name())),
            None => Ok(new_null_array(field.data_type(), rows)),
        })
        .collect();
    let nulls = column.nulls().cloned();
    let cast = StructArray::try_new_with_length(fields.clone(), members?, nulls, rows);
    Ok(Arc::new(cast.map_err(said)?))
}

/// Keys and values go by their places, whatever their names.
fn cast_map(column: &MapArray, entries: &FieldRef, ordered: bool) -> Cast {
    let (DataType::Struct(fields), [keys, values]) =
        (entries.data_type(), column.entries().columns())
    else {
        return Err(refused());
    };
    let (offsets, start, length) = from_zero(column.offsets());
    let members: Cast<Vec<_>> = [keys, values]
        .into_iter()
        .zip(fields)
        .map(|(member, field)| cast(&member.slice(start, length), field.data_type()))
        .collect();
    let members = StructArray::try_new(fields.clone(), members?, None).map_err(said)?;
    let nulls = column.nulls().cloned();
    let cast = MapArray::try_new(Arc::clone(entries), offsets, members, nulls, ordered);
    Ok(Arc::new(cast.map_err(said)?))
}

/// Offsets that begin with 0, and which of the items they are of: those of a slice do not begin there, and
/// what lies outside of it is nobody's business.
fn from_zero<O: OffsetSizeTrait>(offsets: &OffsetBuffer<O>) -> (OffsetBuffer<O>, usize, usize) {
    let first = offsets.first();
    let last = offsets.last();
    let moved = match first.as_usize() {
        0 => offsets.clone(),
        _ => OffsetBuffer::new(offsets.iter().map(|&offset| offset - first).collect()),
    };
    (moved, first.as_usize(), (last - first).as_usize())
}

/// The items first, and then the lists, as far as they are others.
fn cast_list(column: &ArrayRef, item: &FieldRef, wanted: &DataType) -> Cast {
    fn of<O: OffsetSizeTrait>(column: &GenericListArray<O>, item: &FieldRef) -> Cast {
        let (offsets, start, length) = from_zero(column.offsets());
        let items = cast(&column.values().slice(start, length), item.data_type())?;
        let nulls = column.nulls().cloned();
        let cast = GenericListArray::try_new(Arc::clone(item), offsets, items, nulls);
        Ok(Arc::new(cast.map_err(said)?))
    }
    let lists: ArrayRef = match column.data_type() {
        DataType::List(_) => of(column.as_list::<i32>(), item)?,
        DataType::LargeList(_) => of(column.as_list::<i64>(), item)?,
        DataType::FixedSizeList(_, length) => {
            let lists = column.as_fixed_size_list();
            let items = cast(lists.values(), item.data_type())?;
            let (item, nulls) = (Arc::clone(item), lists.nulls().cloned());
            let cast =
                FixedSizeListArray::try_new_with_length(item, *length, items, nulls, lists.len());
            Arc::new(cast.map_err(said)?)
        }
        DataType::ListView(has) => {
            return cast(&by_arrow(column, &DataType::List(Arc::clone(has)))?, wanted);
        }
        DataType::LargeListView(has) => {
            return cast(&by_arrow(column, &DataType::LargeList(Arc::clone(has)))?, wanted);
        }
        _ => return Err(refused()),
    };
    by_arrow(&lists, wanted)
}

fn cast_leaf(column: &ArrayRef, wanted: &DataType) -> Cast {
    use DataType::{Boolean, Float16, Interval, Null, Timestamp};
    let has = column.data_type();
    match (has, wanted) {
        (_, Null) | (Interval(_), _) | (_, Interval(_)) => Err(refused()),
        _ if (has.is_string() || has.is_binary()) && (wanted.is_string() || wanted.is_binary()) => {
            by_arrow(column, wanted)
        }
        _ if has.is_binary() || wanted.is_binary() => Err(refused()),
        _ if has.is_string() => from_text(column, wanted),
        _ if wanted.is_string() => to_text(column, wanted),
        // A zone is how a time is shown, not which one it is.
        (Timestamp(_, Some(_)), Timestamp(unit, _)) | (Timestamp(..), Timestamp(unit, Some(_))) => {
            let plain = lossless(&in_zone(column, None)?, &Timestamp(*unit, None))?;
            match wanted {
                Timestamp(_, zone) => in_zone(&plain, zone.as_ref()),
                _ => Err(refused()),
            }
        }
        // What day it is depends on the zone.
        (Timestamp(_, Some(_)), _) | (_, Timestamp(_, Some(_)))
            if has.is_temporal() && wanted.is_temporal() =>
        {
            Err(refused())
        }
        _ if has.is_temporal() != wanted.is_temporal() && !is_count(has, wanted) => Err(refused()),
        (_, Boolean) => by_arrow(column, wanted),
        (has, Float16) if has.is_decimal() => Err(refused()),
        _ if (has.is_floating() || has.is_decimal()) && wanted.is_floating() => {
            by_arrow(column, wanted)
        }
        _ => lossless(column, wanted),
    }
}

/// Whether the cast is one between a time and the number that it is stored as. Not every number is a time of
/// a day, or a day in milliseconds.
fn is_count(has: &DataType, wanted: &DataType) -> bool {
    use DataType::{Date32, Date64, Duration, Int32, Int64, Time32, Time64, Timestamp};
    matches!(
        (has, wanted),
        (Int64, Timestamp(..) | Duration(_))
            | (Int32, Date32)
            | (Timestamp(..) | Duration(_) | Time64(_) | Date64, Int64)
            | (Date32 | Time32(_), Int32)
    )
}

/// The same times, said in another zone.
fn in_zone(column: &ArrayRef, zone: Option<&Arc<str>>) -> Cast {
    fn of<T: arrow_array::types::ArrowTimestampType>(
        column: &ArrayRef,
        zone: Option<&Arc<str>>,
    ) -> Cast {
        let times: PrimitiveArray<T> = column.as_primitive::<T>().clone();
        Ok(Arc::new(times.with_timezone_opt(zone.cloned())))
    }
    match column.data_type() {
        DataType::Timestamp(TimeUnit::Second, _) => of::<TimestampSecondType>(column, zone),
        DataType::Timestamp(TimeUnit::Millisecond, _) => {
            of::<TimestampMillisecondType>(column, zone)
        }
        DataType::Timestamp(TimeUnit::Microsecond, _) => {
            of::<TimestampMicrosecondType>(column, zone)
        }
        DataType::Timestamp(TimeUnit::Nanosecond, _) => of::<TimestampNanosecondType>(column, zone),
        _ => Err(refused()),
    }
}

/// A cast whose values are the same when they are cast back.
fn lossless(column: &ArrayRef, wanted: &DataType) -> Cast {
    let result = by_arrow(column, wanted)?;
    let back = by_arrow(&result, column.data_type()).map_err(|_| refused())?;
    let same = match column.data_type() {
        DataType::Float16 => same_floats::<Float16Type>(column, &back),
        DataType::Float32 => same_floats::<Float32Type>(column, &back),
        DataType::Float64 => same_floats::<Float64Type>(column, &back),
        _ => back.to_data() == column.to_data(),
    };
    match same {
        true => Ok(result),
        false if column.data_type().is_floating() => {
            Err("a float is not a whole number".to_owned())
        }
        false => Err("a value would not be the same".to_owned()),
    }
}

/// Without the sign of a zero, which integers have not.
fn same_floats<T: ArrowPrimitiveType>(a: &ArrayRef, b: &ArrayRef) -> bool {
    let (a, b) = (a.as_primitive::<T>(), b.as_primitive::<T>());
    a.iter().zip(b.iter()).all(|(a, b)| a == b)
}

/// The rows of a column of text, of whichever type.
fn texts(column: &ArrayRef) -> Cast<LargeStringArray> {
    Ok(by_arrow(column, &DataType::LargeUtf8)?.as_string::<i64>().clone())
}

/// What both read alike.
fn from_text(column: &ArrayRef, wanted: &DataType) -> Cast {
    use DataType::{Boolean, Date32, Date64, Timestamp};
    let reads_alike: fn(&str, usize) -> bool = match wanted {
        Boolean => |text, _| {
            matches!(text, "0" | "1")
                || text.eq_ignore_ascii_case("true")
                || text.eq_ignore_ascii_case("false")
        },
        wanted if wanted.is_integer() => |text, _| {
            let digits = text.strip_prefix('-').unwrap_or(text);
            !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit())
        },
        wanted if wanted.is_floating() => |text, _| text.trim() == text && !text.is_empty(),
        Date32 | Date64 => |text, _| is_date(text.as_bytes()),
        Timestamp(_, None) => |text, digits| is_time(text.as_bytes(), digits),
        Timestamp(_, Some(_)) => |text, digits| {
            let time = text.strip_suffix('Z').or_else(|| {
                let (time, zone) = text.split_at_checked(text.len().checked_sub(6)?)?;
                matches!(zone.as_bytes(), [b'+' | b'-', h1, h2, b':', m1, m2]
                    if [h1, h2, m1, m2].into_iter().all(u8::is_ascii_digit))
                .then_some(time)
            });
            time.is_some_and(|time| time.len() > 10 && is_time(time.as_bytes(), digits))
        },
        _ => return Err(refused()),
    };
    let digits = match wanted {
        Timestamp(TimeUnit::Millisecond, _) => 3,
        Timestamp(TimeUnit::Microsecond, _) => 6,
        Timestamp(TimeUnit::Nanosecond, _) => 9,
        _ => 0,
    };
    let rows = texts(column)?;
    match rows.iter().flatten().find(|text| !reads_alike(text, digits)) {
        Some(text) => Err(format!("{text:?} can't be read as it")),
        None => by_arrow(&rows, wanted),
    }
}

/// `2020-01-31`
fn is_date(text: &[u8]) -> bool {
    matches!(text, [y @ .., b'-', m1, m2, b'-', d1, d2]
        if y.len() == 4 && y.iter().chain([m1, m2, d1, d2]).all(u8::is_ascii_digit))
}

/// `2020-01-31`, `2020-01-31 12:34:56`, or with so many digits of a second and a `T`.
fn is_time(text: &[u8], digits: usize) -> bool {
    let (date, time) = text.split_at(text.len().min(10));
    let is_clock = |time: &[u8]| {
        matches!(time, [h1, h2, b':', m1, m2, b':', s1, s2]
            if [h1, h2, m1, m2, s1, s2].into_iter().all(u8::is_ascii_digit))
    };
    is_date(date)
        && match time {
            [] => true,
            [b' ' | b'T', time @ ..] => {
                let (clock, fraction) = time.split_at(time.len().min(8));
                is_clock(clock)
                    && match fraction {
                        [] => true,
                        [b'.', digits_of @ ..] => {
                            (1..=digits).contains(&digits_of.len())
                                && digits_of.iter().all(u8::is_ascii_digit)
                        }
                        _ => false,
                    }
            }
            _ => false,
        }
}

fn to_text(column: &ArrayRef, wanted: &DataType) -> Cast {
    use DataType::{Boolean, Decimal128, Decimal256, Float32, Float64};
    // With more digits behind the point, pyarrow writes an exponent.
    const PLAIN: std::ops::RangeInclusive<i8> = 0..=6;
    match column.data_type() {
        Boolean => by_arrow(column, wanted),
        has if has.is_integer() => by_arrow(column, wanted),
        Decimal128(_, scale) | Decimal256(_, scale) if PLAIN.contains(scale) => {
            by_arrow(column, wanted)
        }
        Float32 => {
            let rows = column.as_primitive::<Float32Type>().iter();
            let rows: StringArray = rows.map(|row| row.map(floats::text)).collect();
            by_arrow(&rows, wanted)
        }
        Float64 => {
            let rows = column.as_primitive::<Float64Type>().iter();
            let rows: StringArray = rows.map(|row| row.map(floats::text)).collect();
            by_arrow(&rows, wanted)
        }
        _ => Err(refused()),
    }
}
