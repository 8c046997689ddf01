//! Floats as text, as Arrow C++ casts them.

use std::fmt::LowerExp;

/// The shortest digits that are this number, with an exponent from 1e10 on and below 1e-6: what
/// double-conversion's `ToShortest` makes with the limits that Arrow gives it.
pub fn text<F: LowerExp>(value: F) -> String {
    const LEAST: i32 = -6;
    const MOST: i32 = 10;
    let shortest = format!("{value:e}");
    let Some((digits, exponent)) = shortest.split_once('e') else {
        // "inf", "-inf" and "NaN".
        return shortest.to_ascii_lowercase();
    };
    let Ok(power) = exponent.parse::<i32>() else { return shortest };
    if !(LEAST..MOST).contains(&power) {
        let sign = if power < 0 { "" } else { "+" };
        return format!("{digits}e{sign}{power}");
    }
    let (sign, digits) = match digits.strip_prefix('-') {
        Some(rest) => ("-", rest),
        None => ("", digits),
    };
    let digits = digits.replace('.', "");
    match usize::try_from(power) {
        Ok(power) => {
            let (whole, rest) = digits.split_at(digits.len().min(power + 1));
            let point = if rest.is_empty() { "" } else { "." };
            format!("{sign}{whole:0<width$}{point}{rest}", width = power + 1)
        }
        Err(_) => {
            let zeros = power.unsigned_abs() as usize - 1;
            format!("{sign}0.{}{digits}", "0".repeat(zeros))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As `pyarrow.array([...]).cast("string")` has them.
    #[test]
    fn it_is_the_text_of_arrow() {
        for (value, wanted) in [
            (1.0, "1"),
            (0.1, "0.1"),
            (1e9, "1000000000"),
            (1e10, "1e+10"),
            (123_456_789.125, "123456789.125"),
            (1.234_567_890_15e10, "1.23456789015e+10"),
            (1e300, "1e+300"),
            (0.001, "0.001"),
            (1e-6, "0.000001"),
            (1.5e-6, "0.0000015"),
            (1.5e-7, "1.5e-7"),
            (-0.0, "-0"),
            (-12.5, "-12.5"),
            (5e-324, "5e-324"),
            (f64::MAX, "1.7976931348623157e+308"),
            (f64::INFINITY, "inf"),
            (f64::NEG_INFINITY, "-inf"),
            (f64::NAN, "nan"),
        ] {
            assert_eq!(text(value), wanted);
        }
        assert_eq!(
            [0.1f32, 123_456_790.0, 1.234_567_8e16].map(text),
            ["0.1", "123456790", "1.2345678e+16"]
        );
    }
}
