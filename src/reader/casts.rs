//! Columns as types that their texts and numbers are not: what Arrow casts, and nothing that is no valid
//! array then.

use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::types::{
    Date64Type, Time32MillisecondType, Time32SecondType, Time64MicrosecondType,
    Time64NanosecondType,
};
use arrow_array::{Array, ArrayRef, ArrowPrimitiveType, Date64Array, UInt64Array, make_array};
use arrow_cast::{CastOptions, cast_with_options};
use arrow_schema::{ArrowError, DataType, TimeUnit};

const DAY: i64 = 86_400_000;

/// The array cast; an error where a value does not fit.
pub(crate) fn cast(array: &ArrayRef, to: &DataType) -> Result<ArrayRef, ArrowError> {
    if array.data_type() == to {
        return Ok(Arc::clone(array));
    }
    if array.data_type() == &DataType::Utf8 && to == &DataType::UInt64 {
        return uint64(array);
    }
    // Arrow makes a list of one item of it.
    if array.data_type().is_string() && to.is_nested() && array.null_count() < array.len() {
        return Err(ArrowError::CastError(format!("Cannot cast string to {to}")));
    }
    let options = CastOptions { safe: false, ..CastOptions::default() };
    let cast = cast_with_options(array, to, &options)?;
    match cast.as_primitive_opt::<Date64Type>() {
        // Of a time of day, a column of dates keeps nothing.
        Some(dates) => {
            let dates: Date64Array = dates.unary(|date| date - date.rem_euclid(DAY));
            Ok(Arc::new(dates))
        }
        None => check(&cast).map(|()| cast),
    }
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
    use arrow_array::{Int64Array, StringArray};

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
