//! `repr` of what dates and times become in Python: objects of `datetime`, and of pandas for nanoseconds.

use arrow_schema::TimeUnit;

use crate::Written;
use crate::text::Text;

const DAY: i64 = 86_400;

/// Days from 1970-01-01 to the first and the last day that `datetime` has: 0001-01-01, 9999-12-31.
const FIRST_DAY: i64 = -719_162;
const LAST_DAY: i64 = 2_932_896;

/// `datetime.timedelta` ends here.
const MOST_DAYS: i64 = 999_999_999;

/// A timezone whose offset never changes.
#[derive(Clone, Debug)]
pub struct Zone {
    /// Seconds east of UTC.
    pub offset: i64,
    /// The `repr` of the tzinfo.
    pub text: String,
}

fn per_second(unit: TimeUnit) -> i64 {
    match unit {
        TimeUnit::Second => 1,
        TimeUnit::Millisecond => 1_000,
        TimeUnit::Microsecond => 1_000_000,
        TimeUnit::Nanosecond => 1_000_000_000,
    }
}

/// Whole seconds and the nanoseconds that remain, which are never negative.
fn split(value: i64, unit: TimeUnit) -> (i64, u64) {
    let scale = per_second(unit);
    (value.div_euclid(scale), (value.rem_euclid(scale) * (1_000_000_000 / scale)).unsigned_abs())
}

/// Year, month and day; None where `datetime` has no such day.
/// <https://howardhinnant.github.io/date_algorithms.html#civil_from_days>
fn civil(days: i64) -> Option<[u64; 3]> {
    if !(FIRST_DAY..=LAST_DAY).contains(&days) {
        return None;
    }
    let days = (days + 719_468).unsigned_abs();
    let (era, day_of_era) = (days / 146_097, days % 146_097);
    let year_of_era =
        (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted + 2) / 5 + 1;
    let month = if shifted < 10 { shifted + 3 } else { shifted - 9 };
    Some([era * 400 + year_of_era + u64::from(month <= 2), month, day])
}

/// Hour, minute and second of the day.
fn clock(seconds: i64) -> [u64; 3] {
    let seconds = seconds.rem_euclid(DAY).unsigned_abs();
    [seconds / 3600, seconds / 60 % 60, seconds % 60]
}

/// `datetime` leaves out seconds and microseconds that are zero.
fn push_numbers(numbers: &[u64], text: &mut Text) {
    for (i, number) in numbers.iter().enumerate() {
        if i > 0 {
            text.push(b", ");
        }
        text.push_u64(*number);
    }
}

fn shortened(numbers: &[u64], least: usize) -> &[u64] {
    let zeros = numbers.iter().rev().take_while(|number| **number == 0).count();
    &numbers[..(numbers.len() - zeros).max(least)]
}

/// `datetime.date`
pub fn write_date(days: i64, text: &mut Text) -> Written {
    let date = civil(days)?;
    text.push(b"datetime.date(");
    push_numbers(&date, text);
    text.push(b")");
    Some(())
}

/// `datetime.date`, of milliseconds.
pub fn write_date64(milliseconds: i64, text: &mut Text) -> Written {
    write_date(milliseconds.div_euclid(DAY * 1000), text)
}

/// `datetime.time`
pub fn write_time(value: i64, unit: TimeUnit, text: &mut Text) -> Written {
    let (seconds, nanoseconds) = split(value, unit);
    if !(0..DAY).contains(&seconds) {
        return None;
    }
    let [hour, minute, second] = clock(seconds);
    text.push(b"datetime.time(");
    push_numbers(shortened(&[hour, minute, second, nanoseconds / 1000], 2), text);
    text.push(b")");
    Some(())
}

/// `datetime.datetime`, or `pandas.Timestamp` for nanoseconds.
pub fn write_timestamp(
    value: i64,
    unit: TimeUnit,
    zone: Option<&Zone>,
    text: &mut Text,
) -> Written {
    let (utc, nanoseconds) = split(value, unit);
    civil(utc.div_euclid(DAY))?;
    let seconds = utc + zone.map_or(0, |zone| zone.offset);
    let [year, month, day] = civil(seconds.div_euclid(DAY))?;
    let [hour, minute, second] = clock(seconds);
    if unit == TimeUnit::Nanosecond {
        // NaT is spelled as the least value, and pandas' own zones are not ours to spell.
        if value == i64::MIN || zone.is_some() {
            return None;
        }
        text.push(b"Timestamp('");
        for (number, width, after) in [(year, 4, b"-"), (month, 2, b"-"), (day, 2, b" ")] {
            text.push_padded(number, width);
            text.push(after);
        }
        push_clock([hour, minute, second], nanoseconds, text);
        text.push(b"')");
        return Some(());
    }
    text.push(b"datetime.datetime(");
    let numbers = [year, month, day, hour, minute, second, nanoseconds / 1000];
    push_numbers(shortened(&numbers, 5), text);
    if let Some(zone) = zone {
        text.push(b", tzinfo=");
        text.push(zone.text.as_bytes());
    }
    text.push(b")");
    Some(())
}

/// `12:34:56.789012345`, six digits where nine are not needed, none where none are.
fn push_clock([hour, minute, second]: [u64; 3], nanoseconds: u64, text: &mut Text) {
    for (number, after) in [(hour, &b":"[..]), (minute, b":"), (second, b"")] {
        text.push_padded(number, 2);
        text.push(after);
    }
    if !nanoseconds.is_multiple_of(1000) {
        text.push(b".");
        text.push_padded(nanoseconds, 9);
    } else if nanoseconds != 0 {
        text.push(b".");
        text.push_padded(nanoseconds / 1000, 6);
    }
}

/// `datetime.timedelta`, or `pandas.Timedelta` for nanoseconds.
pub fn write_duration(value: i64, unit: TimeUnit, text: &mut Text) -> Written {
    let (seconds, nanoseconds) = split(value, unit);
    let (days, rest) = (seconds.div_euclid(DAY), seconds.rem_euclid(DAY));
    if unit == TimeUnit::Nanosecond {
        if value == i64::MIN {
            return None;
        }
        text.push(b"Timedelta('");
        text.push_i64(days);
        text.push(if days < 0 { b" days +" } else { b" days " });
        push_clock(clock(rest), nanoseconds, text);
        text.push(b"')");
        return Some(());
    }
    if !(-MOST_DAYS..=MOST_DAYS).contains(&days) {
        return None;
    }
    text.push(b"datetime.timedelta(");
    let microseconds = (nanoseconds / 1000) as i64;
    let mut separator = &b""[..];
    for (name, number) in
        [(&b"days="[..], days), (b"seconds=", rest), (b"microseconds=", microseconds)]
    {
        if number != 0 {
            text.push(separator);
            text.push(name);
            text.push_i64(number);
            separator = b", ";
        }
    }
    text.push(if separator.is_empty() { b"0)" } else { b")" });
    Some(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn written(write: impl FnOnce(&mut Text) -> Written) -> Option<String> {
        let mut text = Text::default();
        write(&mut text)?;
        Some(String::from_utf8_lossy(text.as_bytes()).into_owned())
    }

    #[test]
    fn the_ends_of_what_datetime_has() {
        for (days, expected) in [
            (FIRST_DAY, Some("datetime.date(1, 1, 1)")),
            (FIRST_DAY - 1, None),
            (-1, Some("datetime.date(1969, 12, 31)")),
            (11_016, Some("datetime.date(2000, 2, 29)")),
            (LAST_DAY, Some("datetime.date(9999, 12, 31)")),
            (LAST_DAY + 1, None),
        ] {
            assert_eq!(written(|text| write_date(days, text)).as_deref(), expected);
        }
    }

    #[test]
    fn zones_shift_the_clock() {
        let zone = Zone { offset: -5400, text: "X".into() };
        let found = written(|text| write_timestamp(0, TimeUnit::Second, Some(&zone), text));
        assert_eq!(found.as_deref(), Some("datetime.datetime(1969, 12, 31, 22, 30, tzinfo=X)"));
    }

    proptest! {
        #[test]
        fn days_follow_each_other(days in FIRST_DAY..LAST_DAY) {
            let (today, tomorrow) = (civil(days), civil(days + 1));
            let (Some([year, month, day]), Some(next)) = (today, tomorrow) else {
                return Err(TestCaseError::fail("a day is missing"));
            };
            let leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
            let last = match month { 2 => 28 + u64::from(leap), 4 | 6 | 9 | 11 => 30, _ => 31 };
            let expected = if day < last { [year, month, day + 1] }
                else if month < 12 { [year, month + 1, 1] }
                else { [year + 1, 1, 1] };
            prop_assert_eq!(next, expected);
        }
    }
}
