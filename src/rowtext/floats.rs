//! `repr` of a Python float: the shortest digits that read back the same.

use crate::text::Text;

/// <https://docs.python.org/3/library/stdtypes.html#float>, format code "r": an exponent below -4 or
/// from 16 on is written as one.
pub fn write(value: f64, text: &mut Text) {
    if value.is_nan() {
        return text.push(b"nan");
    }
    if value.is_sign_negative() {
        text.push(b"-");
    }
    if value.is_infinite() {
        return text.push(b"inf");
    }
    let mut buffer = ryu::Buffer::new();
    let (digits, point) = digits(buffer.format_finite(value.abs()).as_bytes());
    // `point` digits stand before the decimal point.
    match point {
        17.. | ..=-4 => write_scientific(digits.as_slice(), point - 1, text),
        1.. => {
            let point = point as usize;
            let (before, after) = digits.as_slice().split_at(point.min(digits.length));
            text.push(before);
            text.push(&ZEROS[..point - before.len()]);
            text.push(b".");
            text.push(if after.is_empty() { b"0" } else { after });
        }
        _ => {
            text.push(b"0.");
            text.push(&ZEROS[..point.unsigned_abs() as usize]);
            text.push(digits.as_slice());
        }
    }
}

const ZEROS: [u8; 16] = [b'0'; 16];

fn write_scientific(digits: &[u8], exponent: i32, text: &mut Text) {
    let (first, rest) = digits.split_at(1);
    text.push(first);
    if !rest.is_empty() {
        text.push(b".");
        text.push(rest);
    }
    text.push(if exponent < 0 { b"e-" } else { b"e+" });
    text.push_padded(u64::from(exponent.unsigned_abs()), 2);
}

/// Significant digits, 17 at most.
struct Digits {
    bytes: [u8; 24],
    length: usize,
}

impl Digits {
    fn as_slice(&self) -> &[u8] {
        &self.bytes[..self.length]
    }
}

/// The significant digits of what `ryu` spelled, and how many of them are before the decimal point.
fn digits(spelled: &[u8]) -> (Digits, i32) {
    let (mantissa, exponent) = match spelled.iter().position(|&byte| byte == b'e') {
        Some(at) => (&spelled[..at], parse(&spelled[at + 1..])),
        None => (spelled, 0),
    };
    let mut digits = Digits { bytes: [0; 24], length: 0 };
    let mut point = None;
    let mut leading = 0;
    for &byte in mantissa {
        match byte {
            b'.' => point = Some(digits.length as i32 - leading),
            // Zeros before the first digit that counts.
            b'0' if digits.length == 0 => leading += i32::from(point.is_some()),
            digit => {
                if let Some(place) = digits.bytes.get_mut(digits.length) {
                    *place = digit;
                    digits.length += 1;
                }
            }
        }
    }
    let point = match point {
        Some(point) => point - leading,
        None => digits.length as i32,
    };
    while digits.length > 0 && digits.bytes[digits.length - 1] == b'0' {
        digits.length -= 1;
    }
    if digits.length == 0 {
        // Zero itself: 0.0
        return (Digits { bytes: [b'0'; 24], length: 1 }, 1);
    }
    (digits, point + exponent)
}

fn parse(exponent: &[u8]) -> i32 {
    let (sign, digits) = match exponent.split_first() {
        Some((b'-', digits)) => (-1, digits),
        _ => (1, exponent),
    };
    sign * digits.iter().fold(0, |sum, digit| 10 * sum + i32::from(digit - b'0'))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn written(value: f64) -> String {
        let mut text = Text::default();
        write(value, &mut text);
        String::from_utf8_lossy(text.as_bytes()).into_owned()
    }

    #[test]
    fn as_cpython_has_them() {
        for (value, expected) in [
            (0.0, "0.0"),
            (-0.0, "-0.0"),
            (1.0, "1.0"),
            (-1.5, "-1.5"),
            (100.0, "100.0"),
            (120.0, "120.0"),
            (0.1, "0.1"),
            (0.0001, "0.0001"),
            (0.00012, "0.00012"),
            (0.00001, "1e-05"),
            (1.5e-7, "1.5e-07"),
            (1e15, "1000000000000000.0"),
            (1e16, "1e+16"),
            (123456789012345680.0, "1.2345678901234568e+17"),
            (9007199254740993.0, "9007199254740992.0"),
            (1e22, "1e+22"),
            (1.7976931348623157e308, "1.7976931348623157e+308"),
            (5e-324, "5e-324"),
            (2.2250738585072014e-308, "2.2250738585072014e-308"),
            (f64::INFINITY, "inf"),
            (f64::NEG_INFINITY, "-inf"),
            (f64::NAN, "nan"),
            (-f64::NAN, "nan"),
            (f64::from(0.1f32), "0.10000000149011612"),
        ] {
            assert_eq!(written(value), expected);
        }
    }

    proptest! {
        #[test]
        fn reads_back_the_same(bits: u64) {
            let value = f64::from_bits(bits);
            prop_assume!(value.is_finite());
            let text = written(value);
            prop_assert_eq!(text.parse::<f64>().map(f64::to_bits), Ok(bits));
            // No more digits than the shortest that Rust finds.
            let count = |text: &str| {
                let mantissa = text.split('e').next().unwrap_or_default();
                let digits: String = mantissa.chars().filter(char::is_ascii_digit).collect();
                digits.trim_matches('0').len()
            };
            prop_assert_eq!(count(&text), count(&format!("{value:e}")));
        }
    }
}
