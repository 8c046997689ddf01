//! Numbers as pandas reads them: blanks around, a sign, and no other liberties.

use std::ops::ControlFlow;

/// Why a field is not an integer of the type asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum NotInt {
    /// Digits only, but too many of them.
    Overflow,
    /// Anything else.
    Invalid,
}

/// The blanks that C's `isspace` knows.
pub(super) fn is_space(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t'..=b'\r')
}

pub(super) fn int64(text: &[u8]) -> Result<i64, NotInt> {
    let (negative, digits) = sign(text);
    let value = magnitude(digits)?;
    match (negative, value) {
        (false, value) => i64::try_from(value).map_err(|_| overflow(digits)),
        (true, value) => 0i64.checked_sub_unsigned(value).ok_or_else(|| overflow(digits)),
    }
}

/// A minus sign makes it [`NotInt::Invalid`].
pub(super) fn uint64(text: &[u8]) -> Result<u64, NotInt> {
    match sign(text) {
        (true, _) => Err(NotInt::Invalid),
        (false, digits) => magnitude(digits),
    }
}

fn overflow(digits: &[u8]) -> NotInt {
    // Blanks after a number that is too large are not forgiven.
    if digits.iter().all(u8::is_ascii_digit) { NotInt::Overflow } else { NotInt::Invalid }
}

fn sign(text: &[u8]) -> (bool, &[u8]) {
    match text {
        [b'-', rest @ ..] => (true, rest),
        [b'+', rest @ ..] => (false, rest),
        [first, ..] if is_space(*first) => match text.trim_ascii_start_like_c() {
            [b'-', rest @ ..] => (true, rest),
            [b'+', rest @ ..] => (false, rest),
            rest => (false, rest),
        },
        _ => (false, text),
    }
}

trait TrimStart {
    fn trim_ascii_start_like_c(&self) -> &[u8];
}

impl TrimStart for [u8] {
    /// Like `trim_ascii_start`, the vertical tab included.
    fn trim_ascii_start_like_c(&self) -> &[u8] {
        let blanks = self.iter().take_while(|byte| is_space(**byte)).count();
        self.get(blanks..).unwrap_or_default()
    }
}

fn magnitude(text: &[u8]) -> Result<u64, NotInt> {
    if !text.first().is_some_and(u8::is_ascii_digit) {
        return Err(NotInt::Invalid);
    }
    // 19 digits fit without a look at each step.
    let mut value = 0u64;
    let mut used = 0;
    for byte in text.iter().take(19) {
        let digit = byte.wrapping_sub(b'0');
        if digit > 9 {
            break;
        }
        value = value * 10 + u64::from(digit);
        used += 1;
    }
    let rest = text.get(used..).unwrap_or_default();
    if rest.is_empty() {
        return Ok(value);
    }
    let digits = rest.iter().take_while(|byte| byte.is_ascii_digit()).count();
    let (more, after) = rest.split_at(digits);
    if !after.iter().all(|byte| is_space(*byte)) {
        return Err(NotInt::Invalid);
    }
    let summed = more.iter().try_fold(value, |value, byte| {
        match value.checked_mul(10).and_then(|value| value.checked_add(u64::from(byte - b'0'))) {
            Some(value) => ControlFlow::Continue(value),
            None => ControlFlow::Break(()),
        }
    });
    match summed {
        ControlFlow::Continue(value) => Ok(value),
        ControlFlow::Break(()) => Err(overflow(text)),
    }
}

/// The nearest double. `inf` and `infinity` count in any case of letters; `nan` does not (it is a missing
/// value by its text).
pub(super) fn float64(text: &[u8]) -> Option<f64> {
    let start = match text.first()? {
        first if is_space(*first) => text.trim_ascii_start_like_c(),
        _ => text,
    };
    let unsigned = match start {
        [b'+', rest @ ..] | [b'-', rest @ ..] => rest,
        rest => rest,
    };
    if !unsigned.first().is_some_and(|byte| byte.is_ascii_digit() || *byte == b'.') {
        return infinity(text);
    }
    let negative = start.first() == Some(&b'-');
    let (value, used) = fast_float2::parse_partial::<f64, _>(unsigned).ok()?;
    let rest = unsigned.get(used..).unwrap_or_default();
    let clean = rest.is_empty() || rest.iter().all(|byte| is_space(*byte));
    clean.then_some(if negative { -value } else { value })
}

fn infinity(text: &[u8]) -> Option<f64> {
    let (negative, word) = match text {
        [b'-', rest @ ..] => (true, rest),
        [b'+', rest @ ..] => (false, rest),
        rest => (false, rest),
    };
    let infinite = word.eq_ignore_ascii_case(b"inf") || word.eq_ignore_ascii_case(b"infinity");
    infinite.then_some(if negative { f64::NEG_INFINITY } else { f64::INFINITY })
}

/// The integer that a float is, exactly.
pub(super) fn integral(value: f64) -> Option<i128> {
    (value.fract() == 0.0 && value.abs() < 1e30).then_some(value as i128)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ints_with_signs_and_blanks() {
        for (text, value) in [
            ("5", 5),
            ("+5", 5),
            ("-5", -5),
            (" 5 ", 5),
            ("\t5\x0b\x0c", 5),
            ("007", 7),
            ("-0", 0),
            ("00000000000000000000000000000005", 5),
            ("9223372036854775807", i64::MAX),
            ("-9223372036854775808", i64::MIN),
        ] {
            assert_eq!(int64(text.as_bytes()), Ok(value), "{text:?}");
        }
    }

    #[test]
    fn what_is_no_int() {
        for text in
            ["", "-", "+", "--5", "+-5", "- 5", "5-", "5.", "0x10", "1_0", "5\u{a0}", "٣", " "]
        {
            assert_eq!(int64(text.as_bytes()), Err(NotInt::Invalid), "{text:?}");
        }
        for text in ["9223372036854775808", "-9223372036854775809", "99999999999999999999"] {
            assert_eq!(int64(text.as_bytes()), Err(NotInt::Overflow), "{text:?}");
        }
        // Digits that overflow must be all there is.
        for text in ["9223372036854775808x", "9223372036854775808 ", "99999999999999999999 "] {
            assert_eq!(int64(text.as_bytes()), Err(NotInt::Invalid), "{text:?}");
        }
        assert_eq!(uint64(b"18446744073709551615"), Ok(u64::MAX));
        assert_eq!(uint64(b"18446744073709551616"), Err(NotInt::Overflow));
        assert_eq!(uint64(b"-1"), Err(NotInt::Invalid));
    }

    #[test]
    fn floats() {
        for (text, value) in [
            ("5.", 5.0),
            (".5", 0.5),
            ("+.5", 0.5),
            ("-.5", -0.5),
            ("1e5", 1e5),
            ("1E+5", 1e5),
            ("1.e-5", 1e-5),
            ("\t1.5\x0b", 1.5),
            ("1e310", f64::INFINITY),
            ("-1e310", f64::NEG_INFINITY),
            ("1e-400", 0.0),
            ("1e99999999999999999999", f64::INFINITY),
            ("0e99999999999999999", 0.0),
            ("iNf", f64::INFINITY),
            ("-infinity", f64::NEG_INFINITY),
            ("123456789012345678", 123_456_789_012_345_678.0),
        ] {
            assert_eq!(float64(text.as_bytes()), Some(value), "{text:?}");
        }
        for text in [
            "",
            "-",
            ".",
            "+",
            "--5",
            "+-5",
            "1e",
            "1e+",
            ".e5",
            "nan",
            "NaN",
            "-nan",
            "infi",
            " inf",
            "Infinity ",
            "0x10",
            "1_0",
            "1d5",
            "1f",
            "1 .5",
            "1..5",
            "1.5e5.5",
            "1e 5",
        ] {
            assert_eq!(float64(text.as_bytes()), None, "{text:?}");
        }
        assert!(float64(b"-0.0").is_some_and(|value| value == 0.0 && value.is_sign_negative()));
    }
}
