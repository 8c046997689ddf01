//! The texts that stand for a missing value.

use std::collections::HashSet;

use crate::options::Value;

/// What pandas counts as missing unless told otherwise.
const DEFAULT: [&str; 19] = [
    "-1.#IND", "1.#QNAN", "1.#IND", "-1.#QNAN", "#N/A N/A", "#N/A", "N/A", "n/a", "NA", "<NA>",
    "#NA", "NULL", "null", "NaN", "-NaN", "nan", "-nan", "", "None",
];

/// Tells missing values from others.
#[derive(Debug, Clone, Default)]
pub(super) struct Missing {
    /// None is missing.
    off: bool,
    defaults: bool,
    own: HashSet<Box<[u8]>>,
    /// Own texts that are numbers: in a column of floats the value counts and not the text.
    numbers: Vec<f64>,
}

impl Missing {
    /// `own`: what `na_values` has.
    pub fn new(own: &[Value], keep_defaults: bool, filter: bool) -> Option<Self> {
        let texts: Vec<_> = own.iter().map(spellings).collect::<Option<Vec<_>>>()?.concat();
        let numbers = texts.iter().filter_map(|text| float(text));
        Some(Missing {
            off: !filter,
            defaults: keep_defaults,
            numbers: numbers.filter(|value| !value.is_nan()).collect(),
            own: texts.iter().map(|text| text.as_bytes().into()).collect(),
        })
    }

    /// A number can't be missing by its text: it may be parsed first.
    pub fn only_words(&self) -> bool {
        self.off || self.own.is_empty()
    }

    #[inline]
    pub fn is_missing(&self, text: &[u8]) -> bool {
        if self.off {
            return false;
        }
        (self.defaults && is_default(text)) || (!self.own.is_empty() && self.own.contains(text))
    }

    pub fn is_missing_number(&self, value: f64) -> bool {
        !self.off && self.numbers.contains(&value)
    }
}

/// The texts that one of the `na_values` stands for, as pandas finds them: that of a whole number is
/// missing with a point and without. `None` where it is no text and no number.
fn spellings(value: &Value) -> Option<Vec<String>> {
    let (text, number) = match value {
        Value::Str(text) => (text.clone(), float(text)),
        Value::Int(value) => (value.to_string(), Some(*value as f64)),
        Value::Float(value) => (float_text(*value), Some(*value)),
        Value::Bool(value) => {
            (if *value { "True" } else { "False" }.to_owned(), Some((*value).into()))
        }
        Value::None => ("None".to_owned(), None),
        Value::Bytes(_) | Value::List(_) | Value::Map(_) => return None,
    };
    let mut texts = vec![text];
    // Of a minus before a zero nothing is left.
    let digits = |value: f64| format!("{:.0}", value.trunc() + 0.0);
    if let Some(number) = number.filter(|value| value.is_finite()) {
        if number.fract() == 0.0 {
            texts.push(format!("{}.0", digits(number)));
            texts.push(digits(number));
        } else {
            texts.push(float_text(number));
            // pandas takes the whole part of a float for another spelling of it.
            if matches!(value, Value::Float(_)) {
                texts.push(digits(number));
            }
        }
    }
    Some(texts)
}

/// As Python's `float` reads a text.
fn float(text: &str) -> Option<f64> {
    let text = text.trim();
    if !text.contains('_') {
        return text.parse().ok();
    }
    let bytes = text.as_bytes();
    let is_digit = |at: usize| bytes.get(at).is_some_and(u8::is_ascii_digit);
    let between_digits = |at: usize| at > 0 && is_digit(at - 1) && is_digit(at + 1);
    let mut places = text.match_indices('_').map(|(at, _)| at);
    places.all(between_digits).then(|| text.replace('_', "").parse().ok()).flatten()
}

/// As Python writes a float.
fn float_text(value: f64) -> String {
    let size = value.abs();
    if value.is_nan() {
        "nan".to_owned()
    } else if size == 0.0 || value.is_infinite() || (1e-4..1e16).contains(&size) {
        format!("{value:?}")
    } else {
        let text = format!("{value:e}");
        let (digits, exponent) = text.split_once('e').unwrap_or((&text, "0"));
        let exponent: i32 = exponent.parse().unwrap_or(0);
        let sign = if exponent < 0 { '-' } else { '+' };
        format!("{digits}e{sign}{:02}", exponent.abs())
    }
}

#[inline]
fn is_default(text: &[u8]) -> bool {
    match text {
        [] => true,
        [b'-' | b'1' | b'#' | b'N' | b'n' | b'<', ..] if text.len() <= 8 => {
            DEFAULT.iter().any(|word| word.as_bytes() == text)
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn missing(own: &[&str], keep_defaults: bool, filter: bool) -> Missing {
        let own: Vec<_> = own.iter().map(|text| Value::Str((*text).to_owned())).collect();
        Missing::new(&own, keep_defaults, filter).unwrap_or_default()
    }

    #[test]
    fn defaults() {
        let missing_words = missing(&[], true, true);
        assert!(DEFAULT.iter().all(|word| missing_words.is_missing(word.as_bytes())));
        for word in ["-", "?", "none", "Null", "NAN", "nan ", "N", "1", "#N/A N/A ", "na"] {
            assert!(!missing_words.is_missing(word.as_bytes()), "{word}");
        }
        assert!(!missing(&[], true, false).is_missing(b""));
        assert!(!missing(&[], false, true).is_missing(b"NA"));
    }

    #[test]
    fn spellings_of_numbers() {
        let of = |value| spellings(&value).unwrap_or_default();
        let text = |text: &str| of(Value::Str(text.to_owned()));
        assert_eq!(of(Value::Int(9)), ["9", "9.0", "9"]);
        let digits = format!("1{}", "0".repeat(22));
        let long = ["1e+22".to_owned(), format!("{digits}.0"), digits];
        assert_eq!(of(Value::Float(1e22)), long);
        assert_eq!(of(Value::Float(-0.0)), ["-0.0", "0.0", "0"]);
        assert_eq!(of(Value::Float(2.5e-7)), ["2.5e-07", "2.5e-07", "0"]);
        assert_eq!(of(Value::Float(f64::NAN)), ["nan"]);
        assert_eq!(of(Value::Bool(true)), ["True", "1.0", "1"]);
        assert_eq!(text("1e3"), ["1e3", "1000.0", "1000"]);
        assert_eq!(text("2.50"), ["2.50", "2.5"]);
        assert_eq!(text(" +1_0 "), [" +1_0 ", "10.0", "10"]);
        for word in ["1__0", "_1", "1_", "1_.5", "nan", "-inf", "x"] {
            assert_eq!(text(word), [word]);
        }
    }

    #[test]
    fn own_words() {
        let missing = missing(&["-", "99"], false, true);
        assert!(missing.is_missing(b"-") && missing.is_missing(b"99") && !missing.is_missing(b""));
        assert!(missing.is_missing_number(99.0) && !missing.is_missing_number(98.0));
        let float = Missing::new(&[Value::Float(1.5)], true, true).unwrap_or_default();
        assert!(
            float.is_missing_number(1.0) && float.is_missing(b"1") && !float.is_missing(b"1.0")
        );
        assert!(Missing::new(&[Value::Bytes(Vec::new())], true, true).is_none());
    }
}
