//! Strings that pyarrow infers as `timestamp[s]`: ISO 8601, to the second, with or without a zone.

/// Seconds since 1970 of a string that is a timestamp.
///
/// `YYYY-MM-DD`, then nothing or a time: `T` or a space, `hh`, `hh:mm` or `hh:mm:ss`, then nothing, `Z`
/// or an offset: `+hh`, `+hhmm` or `+hh:mm`. No fractions of a second.
#[inline]
pub fn parse(text: &[u8]) -> Option<i64> {
    // Most strings are none, and say so at once.
    if text.len() < 10 || text.len() > 25 || text[4] != b'-' || text[7] != b'-' {
        return None;
    }
    let (date, time) = text.split_at(10);
    let days = date_of(date)?;
    let Some((b'T' | b' ', time)) = time.split_first() else {
        return if time.is_empty() { Some(days * 86_400) } else { None };
    };
    let (clock, offset) = zone(time)?;
    Some(days * 86_400 + seconds(clock)? - offset)
}

fn two(digits: &[u8], limit: u8) -> Option<i64> {
    let [tens, ones] = digits else { return None };
    if !tens.is_ascii_digit() || !ones.is_ascii_digit() {
        return None;
    }
    let value = (tens - b'0') * 10 + (ones - b'0');
    (value < limit).then_some(i64::from(value))
}

fn date_of(text: &[u8]) -> Option<i64> {
    let year = two(text.get(0..2)?, 100)? * 100 + two(text.get(2..4)?, 100)?;
    let month = two(text.get(5..7)?, 13)?;
    let day = two(text.get(8..10)?, 32)?;
    let is_leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    let length = match month {
        2 => 28 + i64::from(is_leap),
        4 | 6 | 9 | 11 => 30,
        1..=12 => 31,
        _ => return None,
    };
    if day < 1 || day > length {
        return None;
    }
    // Days from the first of March of year 0: the leap day comes last.
    let (year, month) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
    let era = year.div_euclid(400);
    let of_era = year.rem_euclid(400);
    let of_year = (153 * month + 2) / 5 + day - 1;
    Some(era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719_468)
}

/// The clock time, and the offset in seconds.
fn zone(time: &[u8]) -> Option<(&[u8], i64)> {
    if let Some(clock) = time.strip_suffix(b"Z") {
        return Some((clock, 0));
    }
    let Some(sign) = time.iter().position(|byte| matches!(byte, b'+' | b'-')) else {
        return Some((time, 0));
    };
    let (clock, offset) = time.split_at(sign);
    let digits = offset.get(1..)?;
    let hours = two(digits.get(0..2)?, 24)?;
    let minutes = match &digits[2..] {
        [] => 0,
        [b':', minutes @ ..] | minutes => two(minutes, 60)?,
    };
    let seconds = hours * 3600 + minutes * 60;
    Some((clock, if offset[0] == b'-' { -seconds } else { seconds }))
}

fn seconds(clock: &[u8]) -> Option<i64> {
    let hours = two(clock.get(0..2)?, 24)? * 3600;
    match &clock[2..] {
        [] => Some(hours),
        [b':', minutes @ ..] => {
            let rest = minutes.get(2..)?;
            let minutes = two(minutes.get(0..2)?, 60)? * 60;
            match rest {
                [] => Some(hours + minutes),
                [b':', seconds @ ..] => Some(hours + minutes + two(seconds, 60)?),
                _ => None,
            }
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::parse;

    /// What pyarrow 26 makes of each.
    #[test]
    fn as_pyarrow_reads_them() {
        let times: [(&str, Option<i64>); 54] = [
            ("2024-01-02", Some(1704153600)),
            ("2024-01-02T03:04:05", Some(1704164645)),
            ("2024-01-02 03:04:05", Some(1704164645)),
            ("2024-01-02T03:04:05Z", Some(1704164645)),
            ("2024-01-02T03:04:05.5", None),
            ("2024-01-02T03:04", Some(1704164640)),
            ("2024-01-02T03", Some(1704164400)),
            ("2024-01-02T", None),
            ("2024-01-02Z", None),
            ("2024-01-02T03:04:05+01:00", Some(1704161045)),
            ("2024-01-02T03:04:05+0100", Some(1704161045)),
            ("2024-01-02T03:04:05+01", Some(1704161045)),
            ("2024-01-02T03Z", Some(1704164400)),
            ("2024-01-02T03+01:00", Some(1704160800)),
            ("2024-01-02T03:04-05:30", Some(1704184440)),
            ("2024-13-02", None),
            ("2024-02-30", None),
            ("2023-02-29", None),
            ("2024-02-29", Some(1709164800)),
            ("0000-01-01", Some(-62167219200)),
            ("9999-12-31", Some(253402214400)),
            ("1900-02-29", None),
            ("2024-1-2", None),
            ("20240102", None),
            ("2024/01/02", None),
            (" 2024-01-02", None),
            ("2024-01-02 ", None),
            ("2024-01-02T24:00:00", None),
            ("2024-01-02T23:59:60", None),
            ("2024-01-02t03:04:05", None),
            ("2024-01-02T03:04:05z", None),
            ("2024-01-02T0304", None),
            ("2024-01-02T030405", None),
            ("2024-01-02T03:04:05.000Z", None),
            ("+2024-01-02", None),
            ("-2024-01-02", None),
            ("12024-01-02", None),
            ("2024-01-02T03:04:05 +01:00", None),
            ("2024-01-02T03:04:05+24:00", None),
            ("2024-01-02T03:04:05+23:59", Some(1704078305)),
            ("2024-01-02T03:04:05+00:60", None),
            ("2024-00-01", None),
            ("2024-01-00", None),
            ("2024-01-32", None),
            ("1969-12-31T23:59:59", Some(-1)),
            ("0001-01-01T00:00:00", Some(-62135596800)),
            ("2024-01-02T3:4", None),
            ("2024-01-02T03:04:05.", None),
            ("2024-01-02T03:0405", None),
            ("2024-01-02T0304Z", None),
            ("1500-03-01", Some(-14826672000)),
            ("0000-02-29", Some(-62162121600)),
            ("2024-01-02+01:00", None),
            ("2024-01-02T0304+01", None),
        ];
        for (text, expected) in times {
            assert_eq!(parse(text.as_bytes()), expected, "{text:?}");
        }
    }
}
