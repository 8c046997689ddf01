//! `repr` of `decimal.Decimal`.

use crate::text::Text;

/// Writes the number whose digits, sign included, are `digits`, times ten to the power `-scale`.
/// <https://docs.python.org/3/library/decimal.html#decimal.Decimal>: scientific notation where the
/// exponent is positive, or more than six zeros would follow the decimal point.
pub fn write(digits: &str, scale: i8, text: &mut Text) {
    let (sign, digits) = match digits.strip_prefix('-') {
        Some(digits) => ("-", digits),
        None => ("", digits),
    };
    let scale = i64::from(scale);
    // The exponent of the first digit.
    let exponent = digits.len() as i64 - 1 - scale;
    text.push(b"Decimal('");
    text.push(sign.as_bytes());
    if scale < 0 || exponent < -6 {
        let (first, rest) = digits.split_at(1);
        text.push(first.as_bytes());
        if !rest.is_empty() {
            text.push(b".");
            text.push(rest.as_bytes());
        }
        text.push(if exponent < 0 { b"E-" } else { b"E+" });
        text.push_u64(exponent.unsigned_abs());
    } else if scale == 0 {
        text.push(digits.as_bytes());
    } else if exponent >= 0 {
        let (before, after) = digits.split_at((exponent + 1) as usize);
        text.push(before.as_bytes());
        text.push(b".");
        text.push(after.as_bytes());
    } else {
        text.push(b"0.");
        for _ in 1..-exponent {
            text.push(b"0");
        }
        text.push(digits.as_bytes());
    }
    text.push(b"')");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn as_cpython_has_them() {
        for (digits, scale, expected) in [
            ("0", 0, "0"),
            ("0", 2, "0.00"),
            ("0", 6, "0.000000"),
            ("0", 7, "0E-7"),
            ("0", -2, "0E+2"),
            ("120", 2, "1.20"),
            ("-12", 3, "-0.012"),
            ("12", -2, "1.2E+3"),
            ("1", 7, "1E-7"),
            ("123", 10, "1.23E-8"),
            ("-5", 0, "-5"),
        ] {
            let mut text = Text::default();
            write(digits, scale, &mut text);
            assert_eq!(text.as_bytes(), format!("Decimal('{expected}')").as_bytes());
        }
    }
}
