//! The texts that stand for a missing value.

use std::collections::HashSet;

use super::numbers;

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
    pub fn new(own: &[String], keep_defaults: bool, filter: bool) -> Self {
        Missing {
            off: !filter,
            defaults: keep_defaults,
            own: own.iter().map(|text| text.as_bytes().into()).collect(),
            numbers: own.iter().filter_map(|text| numbers::float64(text.as_bytes())).collect(),
        }
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

    #[test]
    fn defaults() {
        let missing = Missing::new(&[], true, true);
        assert!(DEFAULT.iter().all(|word| missing.is_missing(word.as_bytes())));
        for word in ["-", "?", "none", "Null", "NAN", "nan ", "N", "1", "#N/A N/A ", "na"] {
            assert!(!missing.is_missing(word.as_bytes()), "{word}");
        }
        assert!(!Missing::new(&[], true, false).is_missing(b""));
        assert!(!Missing::new(&[], false, true).is_missing(b"NA"));
    }

    #[test]
    fn own_words() {
        let missing = Missing::new(&["-".into(), "99".into()], false, true);
        assert!(missing.is_missing(b"-") && missing.is_missing(b"99") && !missing.is_missing(b""));
        assert!(missing.is_missing_number(99.0) && !missing.is_missing_number(98.0));
    }
}
