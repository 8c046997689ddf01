//! Columns of text formats as the types of a given schema, which their texts and numbers are not: what Arrow
//! casts, and nothing that is no valid array then.

use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::types::{
    Date64Type, Time32MillisecondType, Time32SecondType, Time64MicrosecondType,
    Time64NanosecondType,
};
use arrow_array::{
    Array, ArrayRef, ArrowPrimitiveType, BooleanArray, Date64Array, Int64Array, ListArray,
    StringArray, StructArray, UInt64Array, make_array, new_null_array,
};
use arrow_buffer::OffsetBuffer;
use arrow_cast::display::FormatOptions;
use arrow_cast::{CastOptions, cast_with_options};
use arrow_schema::{ArrowError, DataType, FieldRef, Fields, TimeUnit};
use arrow_select::zip::zip;

const DAY: i64 = 86_400_000;

/// The array cast; an error where a value does not fit.
pub(crate) fn cast(array: &ArrayRef, to: &DataType) -> Result<ArrayRef, ArrowError> {
    if array.data_type() == to {
        return Ok(Arc::clone(array));
    }
    if array.data_type() == &DataType::Utf8 && to == &DataType::UInt64 {
        return uint64(array);
    }
    if array.data_type().is_string() {
        // Arrow makes no duration of a text, be it a missing one.
        if array.null_count() == array.len() {
            return Ok(new_null_array(to, array.len()));
        }
        // Arrow makes a list of one item of it.
        if to.is_nested() {
            return Err(ArrowError::CastError(format!("Cannot cast string to {to}")));
        }
    }
    match (array.data_type(), to) {
        (
            DataType::List(_),
            DataType::List(item)
            | DataType::LargeList(item)
            | DataType::FixedSizeList(item, _)
            | DataType::ListView(item)
            | DataType::LargeListView(item),
        ) => lists(array.as_list(), item, to),
        (DataType::Struct(_), DataType::Struct(fields)) => structs(array.as_struct(), fields),
        _ => values(array, to),
    }
}

/// Lists of other items: what is said of texts here is true of those in lists.
fn lists(lists: &ListArray, item: &FieldRef, to: &DataType) -> Result<ArrayRef, ArrowError> {
    // Not items of rows before and behind: one that can't be cast is no fault of these.
    let offsets = lists.offsets();
    let (start, end) = (offsets[0], offsets[lists.len()]);
    let items = lists.values().slice(start as usize, (end - start) as usize);
    let lengths = OffsetBuffer::from_lengths(offsets.lengths());
    let items = cast(&items, item.data_type())?;
    let lists = ListArray::try_new(Arc::clone(item), lengths, items, lists.nulls().cloned())?;
    cast_with_options(&lists, to, &STRICT)
}

/// Structs of other members.
fn structs(structs: &StructArray, fields: &Fields) -> Result<ArrayRef, ArrowError> {
    let members = structs.columns().iter().zip(fields);
    let members = members.map(|(member, field)| cast(member, field.data_type()));
    let members = members.collect::<Result<_, _>>()?;
    let nulls = structs.nulls().cloned();
    let cast = StructArray::try_new_with_length(fields.clone(), members, nulls, structs.len())?;
    Ok(Arc::new(cast))
}

const STRICT: CastOptions<'static> =
    CastOptions { safe: false, format_options: FormatOptions::new() };

fn values(array: &ArrayRef, to: &DataType) -> Result<ArrayRef, ArrowError> {
    let cast = match since_epoch(array, to) {
        Some((numbers, texts)) if texts.null_count() == texts.len() => {
            cast_with_options(&numbers, to, &STRICT)?
        }
        Some((numbers, texts)) => {
            let is_number: BooleanArray =
                (0..numbers.len()).map(|row| Some(numbers.is_valid(row))).collect();
            let numbers = cast_with_options(&numbers, to, &STRICT)?;
            zip(&is_number, &numbers, &cast_with_options(&texts, to, &STRICT)?)?
        }
        None => cast_with_options(array, to, &STRICT)?,
    };
    match cast.as_primitive_opt::<Date64Type>() {
        // Of a time of day, a column of dates keeps nothing.
        Some(dates) => {
            let dates: Date64Array = dates.unary(|date| date - date.rem_euclid(DAY));
            Ok(Arc::new(dates))
        }
        None => check(&cast).map(|()| cast),
    }
}

/// Before the digits of an integer that stands for a time, which are no text of one.
pub(crate) const SINCE_EPOCH: char = '\0';

/// The integers among texts that are times, and the other texts; `None` where there are none.
fn since_epoch(array: &ArrayRef, to: &DataType) -> Option<(ArrayRef, ArrayRef)> {
    if !matches!(to, DataType::Timestamp(..) | DataType::Date64 | DataType::Duration(_)) {
        return None;
    }
    let texts = array.as_string_opt::<i32>()?;
    let number = |text: Option<&str>| text?.strip_prefix(SINCE_EPOCH)?.parse().ok();
    let numbers: Int64Array = texts.iter().map(number).collect();
    if numbers.null_count() == numbers.len() {
        return None;
    }
    let others: StringArray =
        texts.iter().map(|text| text.filter(|_| number(text).is_none())).collect();
    Some((Arc::new(numbers), Arc::new(others)))
}

/// Unsigned integers, that JSON writes as `1.0` and `true` too.
fn uint64(array: &ArrayRef) -> Result<ArrayRef, ArrowError> {
    const LIMIT: f64 = 18_446_744_073_709_551_616.0; // 2^64
    let value = |text: &str| match (text, text.parse(), text.parse::<f64>()) {
        (_, Ok(value), _) => Some(value),
        ("true", ..) => Some(1),
        ("false", ..) => Some(0),
        (_, _, Ok(value)) if value.fract() == 0.0 && (0.0..LIMIT).contains(&value) => {
            Some(value as u64)
        }
        _ => None,
    };
    let texts = array.as_string::<i32>();
    let values = texts.iter().map(|text| {
        let Some(text) = text else { return Ok(None) };
        value(text).map(Some).ok_or_else(|| {
            ArrowError::CastError(format!("Cannot cast string '{text}' to value of UInt64 type"))
        })
    });
    Ok(Arc::new(values.collect::<Result<UInt64Array, _>>()?))
}

/// An error where a time is none of a day: the cast takes any number.
fn check(array: &ArrayRef) -> Result<(), ArrowError> {
    match array.data_type() {
        DataType::Time32(TimeUnit::Second) => check_time::<Time32SecondType>(array, DAY / 1000),
        DataType::Time32(_) => check_time::<Time32MillisecondType>(array, DAY),
        DataType::Time64(TimeUnit::Microsecond) => {
            check_time::<Time64MicrosecondType>(array, DAY * 1000)
        }
        DataType::Time64(_) => check_time::<Time64NanosecondType>(array, DAY * 1_000_000),
        DataType::Date64
            if array.as_primitive::<Date64Type>().iter().flatten().any(|date| date % DAY != 0) =>
        {
            Err(ArrowError::CastError("a date with a time of day".to_owned()))
        }
        _ => array
            .to_data()
            .child_data()
            .iter()
            .try_for_each(|data| check(&make_array(data.clone()))),
    }
}

fn check_time<T: ArrowPrimitiveType>(array: &ArrayRef, day: i64) -> Result<(), ArrowError>
where
    T::Native: Into<i64>,
{
    let mut times = array.as_primitive::<T>().iter().flatten().map(Into::into);
    match times.find(|time| !(0..day).contains(time)) {
        None => Ok(()),
        Some(time) => Err(ArrowError::CastError(format!("{time} is no time of a day"))),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use arrow_array::types::TimestampMicrosecondType;
    use arrow_schema::Field;

    use super::*;

    fn texts(texts: &[&str], to: &DataType) -> Result<ArrayRef, ArrowError> {
        let array: ArrayRef = Arc::new(StringArray::from_iter_values(texts));
        cast(&array, to)
    }

    #[test]
    fn only_times_of_a_day() {
        let time = DataType::Time64(TimeUnit::Microsecond);
        assert!(texts(&["03:04:05", "0"], &time).is_ok());
        assert!(texts(&["-1"], &time).is_err());
        assert!(texts(&["86400000000"], &time).is_err());
        let numbers: ArrayRef = Arc::new(Int64Array::from(vec![86_400]));
        let seconds = DataType::Time32(TimeUnit::Second);
        let numbers = cast_with_options(&numbers, &DataType::Int32, &CastOptions::default());
        assert!(cast(&numbers.unwrap(), &seconds).is_err());
    }

    #[test]
    fn times_since_the_epoch() {
        let to = DataType::Timestamp(TimeUnit::Microsecond, None);
        let mixed = texts(&["\u{0}5", "1970-01-01T00:00:01", "\u{0}-1"], &to).unwrap();
        let times = mixed.as_primitive::<TimestampMicrosecondType>();
        assert_eq!(times.values(), &[5, 1_000_000, -1]);
        assert!(texts(&["5"], &to).is_err());
    }

    #[test]
    fn dates_without_a_time() {
        let dates =
            texts(&["2024-01-02T03:04:05", "1969-12-31T23:00:00"], &DataType::Date64).unwrap();
        let dates = dates.as_primitive::<Date64Type>();
        assert_eq!(dates.values(), &[19_724 * DAY, -DAY]);
    }

    #[test]
    fn no_list_is_made_of_a_text() {
        let list = DataType::new_list(DataType::Int64, true);
        assert!(texts(&["1"], &list).is_err());
        let nothing: ArrayRef = Arc::new(StringArray::new_null(2));
        assert_eq!(cast(&nothing, &list).unwrap().null_count(), 2);
        let duration = DataType::Duration(TimeUnit::Second);
        assert_eq!(cast(&nothing, &duration).unwrap().null_count(), 2);
    }

    #[test]
    fn values_in_lists_and_structs() {
        let items: ArrayRef = Arc::new(StringArray::from(vec!["x", "1e2", "18446744073709551615"]));
        let field = |to: &DataType| Arc::new(Field::new("item", to.clone(), true));
        let offsets = OffsetBuffer::from_lengths([1, 2, 0]);
        let list = ListArray::new(field(&DataType::Utf8), offsets, items, None);
        let structs: ArrayRef = Arc::new(StructArray::from(vec![(
            Arc::new(Field::new("a", list.data_type().clone(), true)),
            Arc::new(list) as ArrayRef,
        )]));
        let list = DataType::LargeList(field(&DataType::UInt64));
        let to = DataType::Struct(vec![Field::new("a", list, true)].into());
        assert!(cast(&structs, &to).is_err());
        let sound = cast(&structs.slice(1, 2), &to).unwrap();
        let lists = sound.as_struct().column(0).as_list::<i64>().clone();
        assert_eq!(lists.value(0).as_ref(), &UInt64Array::from(vec![100, u64::MAX]));
        assert_eq!(lists.value_length(1), 0);
    }

    #[test]
    fn unsigned_integers() {
        let read = |text| texts(&[text], &DataType::UInt64);
        for (text, value) in [
            ("7", 7),
            ("1.0", 1),
            ("1e2", 100),
            ("true", 1),
            ("false", 0),
            ("18446744073709551615", u64::MAX),
        ] {
            assert_eq!(read(text).unwrap().as_ref(), &UInt64Array::from(vec![value]));
        }
        for text in ["-1", "1.5", "1e20", "x", "nan"] {
            assert!(read(text).is_err(), "{text}");
        }
    }
}
