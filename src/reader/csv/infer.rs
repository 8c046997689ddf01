//! Types of columns from their texts, as pandas finds them and `datasets` goes on with them.

use std::ops::{ControlFlow, Range};

use arrow_schema::DataType;

use super::missing::Missing;
use super::numbers::{self, NotInt};
use super::tokenize::Sink;
use crate::settled::first_change;

/// What a column holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// No row to tell from.
    Null,
    Int64,
    UInt64,
    Float64,
    Bool,
    Text,
    /// Text in which nothing is missing. pandas gives up on missing values where integers go beyond
    /// 64 bits, or need both the sign and the 64th bit.
    LiteralText,
}

impl Kind {
    pub fn data_type(self) -> DataType {
        match self {
            Kind::Null => DataType::Null,
            Kind::Int64 => DataType::Int64,
            Kind::UInt64 => DataType::UInt64,
            Kind::Float64 => DataType::Float64,
            Kind::Bool => DataType::Boolean,
            Kind::Text | Kind::LiteralText => DataType::LargeUtf8,
        }
    }
}

/// All that was seen in a column, so far as it bears on its type.
#[derive(Debug, Clone)]
pub(super) struct Guess {
    rows: u64,
    /// The first reason why it is no column of `i64`; of `u64`.
    int: Option<NotInt>,
    uint: Option<NotInt>,
    minus: bool,
    over_i64: bool,
    missing: bool,
    floats: bool,
    /// All are whole numbers that an `i64` holds, however they are written.
    whole: bool,
    bools: bool,
    /// All are integers of any size.
    big_ints: bool,
    /// Nothing that comes can make it anything but text.
    text: bool,
    /// There was a value that isn't missing.
    told: bool,
    /// There was an integer that is missing by its value and not by its text.
    missing_by_value: bool,
}

impl Default for Guess {
    fn default() -> Self {
        Guess {
            rows: 0,
            int: None,
            uint: None,
            minus: false,
            over_i64: false,
            missing: false,
            floats: true,
            whole: true,
            bools: true,
            big_ints: true,
            text: false,
            told: false,
            missing_by_value: false,
        }
    }
}

pub(super) fn boolean(text: &[u8], words: &Words) -> Option<bool> {
    if text.eq_ignore_ascii_case(b"true") || words.yes.iter().any(|word| word.as_bytes() == text) {
        Some(true)
    } else if text.eq_ignore_ascii_case(b"false")
        || words.no.iter().any(|word| word.as_bytes() == text)
    {
        Some(false)
    } else {
        None
    }
}

/// What the texts of values mean, beyond numbers.
#[derive(Debug, Clone, Default)]
pub(super) struct Words {
    pub missing: Missing,
    pub yes: Vec<String>,
    pub no: Vec<String>,
}

impl Words {
    /// Whether there are bools beyond `true` and `false`.
    pub fn has_bools(&self) -> bool {
        !self.yes.is_empty() || !self.no.is_empty()
    }
}

impl Guess {
    fn miss(&mut self) {
        self.missing = true;
    }

    #[inline]
    fn see(&mut self, text: &[u8], words: &Words) {
        self.rows += 1;
        if self.text {
            return;
        }
        if words.missing.is_missing(text) {
            self.miss();
        } else {
            self.value(text, words);
        }
    }

    fn value(&mut self, text: &[u8], words: &Words) {
        self.told = true;
        let int = numbers::int64(text);
        let negative = text.iter().find(|byte| !numbers::is_space(**byte)) == Some(&b'-');
        self.minus |= negative;
        match int {
            Ok(value) => {
                self.bools = false;
                self.missing_by_value |= words.missing.is_missing_number(value as f64);
                return;
            }
            Err(reason) => {
                self.int.get_or_insert(reason);
            }
        }
        // A minus sign is all that pandas looks at there.
        if !negative {
            match numbers::uint64(text) {
                Ok(value) => self.over_i64 |= i64::try_from(value).is_err(),
                Err(reason) => {
                    self.uint.get_or_insert(reason);
                }
            }
        }
        self.big_ints = self.big_ints && is_big_int(text);
        if self.floats || self.whole {
            match numbers::float64(text) {
                Some(value) => {
                    let whole =
                        numbers::integral(value).and_then(|value| i64::try_from(value).ok());
                    self.whole &= whole.is_some();
                }
                None => (self.floats, self.whole) = (false, false),
            }
        }
        self.bools = self.bools && boolean(text, words).is_some();
        self.text = !self.floats && !self.bools && self.int == Some(NotInt::Invalid);
    }

    /// Adds what was seen in later rows.
    pub fn merge(&mut self, later: &Guess) {
        self.rows += later.rows;
        self.int = self.int.or(later.int);
        self.uint = self.uint.or(later.uint);
        self.minus |= later.minus;
        self.over_i64 |= later.over_i64;
        self.missing |= later.missing;
        self.told |= later.told;
        self.missing_by_value |= later.missing_by_value;
        self.floats &= later.floats;
        self.whole &= later.whole;
        self.bools &= later.bools;
        self.big_ints &= later.big_ints;
        self.text = self.text || (!self.floats && !self.bools && self.int == Some(NotInt::Invalid));
    }

    /// Whether there was enough to tell the type from: a value, and no int beyond 64 bits.
    pub fn is_known(&self) -> bool {
        match self.kind() {
            Kind::Int64 | Kind::Float64 | Kind::Bool => self.told,
            Kind::Text => self.text,
            Kind::Null | Kind::UInt64 | Kind::LiteralText => false,
        }
    }

    /// The type that pandas gives a column that has just these rows.
    pub fn kind(&self) -> Kind {
        if self.rows == 0 {
            return Kind::Null;
        }
        match self.int {
            None if self.missing => Kind::Float64,
            None => Kind::Int64,
            Some(NotInt::Invalid) => self.no_int(),
            Some(NotInt::Overflow) => match self.uint {
                None if self.over_i64 && (self.minus || self.missing) => Kind::LiteralText,
                None if self.minus => self.big_int(),
                None => Kind::UInt64,
                Some(NotInt::Invalid) => self.no_int(),
                Some(NotInt::Overflow) => self.big_int(),
            },
        }
    }

    fn no_int(&self) -> Kind {
        if self.floats {
            Kind::Float64
        } else if self.bools {
            Kind::Bool
        } else {
            Kind::Text
        }
    }

    /// Python ints, that Arrow has no type for: as text nothing is lost.
    fn big_int(&self) -> Kind {
        if self.big_ints { Kind::Text } else { Kind::LiteralText }
    }

    /// Whether only pandas knows what is missing: in a column of integers, that becomes one of floats for
    /// what is missing, it looks at texts alone.
    pub fn needs_pandas(&self) -> bool {
        self.missing_by_value && self.missing && self.int.is_none()
    }

    /// The type for all rows where the first ones are of the type `first`: that one as long as it can hold
    /// them all.
    pub fn widened(&self, first: Kind) -> Kind {
        let ints = self.int.is_none();
        match first {
            Kind::Null => self.kind(),
            Kind::Int64 if self.whole => Kind::Int64,
            Kind::Int64 | Kind::UInt64 if self.uints() => Kind::UInt64,
            Kind::Int64 | Kind::UInt64 if self.floats && !self.big_ints => Kind::Float64,
            Kind::Float64 if self.floats || ints => Kind::Float64,
            Kind::Bool if self.bools => Kind::Bool,
            Kind::LiteralText => Kind::LiteralText,
            _ => Kind::Text,
        }
    }

    fn uints(&self) -> bool {
        self.uint.is_none() && !self.minus
    }
}

fn is_big_int(text: &[u8]) -> bool {
    let text = text.trim_ascii();
    let digits = text.strip_prefix(b"-").or(text.strip_prefix(b"+")).unwrap_or(text);
    !digits.is_empty() && digits.iter().all(u8::is_ascii_digit)
}

/// What columns were found to be where a look at the first rows ended before all that `datasets` finds
/// types in.
#[derive(Debug)]
pub(super) struct Head {
    pub guesses: Vec<Guess>,
    /// Rows that `datasets` finds types in.
    pub rows: u64,
    /// Bytes that were looked at.
    pub looked: u64,
}

/// A row that makes another type of a column.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Unlike {
    pub row: u64,
    pub column: usize,
    pub was: Kind,
    pub is: Kind,
}

impl Head {
    /// The first row of a part of the file with which one of the columns that are `used` would be
    /// something else. `look` looks at so many rows of the part.
    ///
    /// Guesses only add up: where each part by itself leaves the kinds as they are, all together do.
    pub fn unlike(
        &self,
        used: impl Fn(usize) -> bool,
        look: impl Fn(u64) -> (Vec<Guess>, u64),
    ) -> Option<Unlike> {
        let changed = |found: &[Guess]| {
            self.guesses.iter().zip(found).enumerate().filter(|(column, _)| used(*column)).find_map(
                |(column, (guess, later))| {
                    let mut all = guess.clone();
                    all.merge(later);
                    let (was, is) = (guess.kind(), all.kind());
                    (was != is).then_some((column, was, is))
                },
            )
        };
        let (all, rows) = look(u64::MAX);
        let change = changed(&all)?;
        let (row, (column, was, is)) = first_change(rows, change, |rows| changed(&look(rows).0));
        Some(Unlike { row, column, was, is })
    }
}

/// Looks at fields until it has seen enough rows.
pub(super) struct Look<'a> {
    pub guesses: Vec<Guess>,
    words: &'a Words,
    /// A row with more fields than this is damage (or left out).
    width: usize,
    skip_long: Option<usize>,
    rows_left: u64,
    pub rows: u64,
    stopped: bool,
}

impl<'a> Look<'a> {
    pub fn new(columns: usize, width: usize, words: &'a Words, skip_long: bool, rows: u64) -> Self {
        Look {
            guesses: vec![Guess::default(); columns],
            words,
            width,
            skip_long: skip_long.then_some(width),
            rows_left: rows,
            rows: 0,
            stopped: false,
        }
    }

    /// Whether a row was damaged: nothing after it will be read.
    pub fn stopped(&self) -> bool {
        self.stopped
    }

    pub fn is_done(&self) -> bool {
        self.rows_left == 0
    }
}

impl Sink for Look<'_> {
    #[inline]
    fn field(&mut self, column: usize, text: &str) {
        if let Some(guess) = self.guesses.get_mut(column) {
            guess.see(text.as_bytes(), self.words);
        }
    }

    fn record(&mut self, fields: usize, _: Range<usize>) -> ControlFlow<()> {
        if fields > self.width {
            return match self.skip_long {
                Some(_) => ControlFlow::Continue(()),
                None => {
                    self.stopped = true;
                    ControlFlow::Break(())
                }
            };
        }
        for guess in self.guesses.get_mut(fields..).unwrap_or_default() {
            guess.see(b"", self.words);
        }
        self.rows += 1;
        self.rows_left -= 1;
        if self.rows_left == 0 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    }

    fn wants_whole_records(&self) -> Option<usize> {
        self.skip_long
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn guess(texts: &[&str]) -> Guess {
        let words = Words {
            missing: Missing::new(&[], true, true).unwrap_or_default(),
            ..Words::default()
        };
        let mut guess = Guess::default();
        texts.iter().for_each(|text| guess.see(text.as_bytes(), &words));
        guess
    }

    fn kind(texts: &[&str]) -> Kind {
        guess(texts).kind()
    }

    #[test]
    fn simple_columns() {
        assert_eq!(kind(&[]), Kind::Null);
        assert_eq!(kind(&["1", "-2"]), Kind::Int64);
        assert_eq!(kind(&["1", ""]), Kind::Float64);
        assert_eq!(kind(&["", "NA"]), Kind::Float64);
        assert_eq!(kind(&["1", "2.5"]), Kind::Float64);
        assert_eq!(kind(&["True", "", "fAlse"]), Kind::Bool);
        assert_eq!(kind(&["True", "1"]), Kind::Text);
        assert_eq!(kind(&["1", "x"]), Kind::Text);
    }

    #[test]
    fn ints_beyond_64_bits() {
        assert_eq!(kind(&["9223372036854775808", "1"]), Kind::UInt64);
        assert_eq!(kind(&["9223372036854775808", "-1"]), Kind::LiteralText);
        assert_eq!(kind(&["9223372036854775808", "NA"]), Kind::LiteralText);
        assert_eq!(kind(&["9223372036854775808", "-x", "NA"]), Kind::LiteralText);
        assert_eq!(kind(&["9223372036854775808", "x", "NA"]), Kind::Text);
        assert_eq!(kind(&["9223372036854775808", "1.5", "NA"]), Kind::Float64);
        assert_eq!(kind(&["18446744073709551616", "1"]), Kind::Text);
        assert_eq!(kind(&["18446744073709551616", "NA", "x"]), Kind::LiteralText);
        assert_eq!(kind(&["18446744073709551616", "1.5"]), Kind::LiteralText);
        assert_eq!(kind(&["1.5", "18446744073709551616"]), Kind::Float64);
        assert_eq!(kind(&["-9223372036854775809", "1"]), Kind::Text);
        assert_eq!(kind(&["99999999999999999999 ", "5"]), Kind::Float64);
    }

    #[test]
    fn wider_only_where_it_must_be() {
        let wide = |first: &[&str], texts: &[&str]| {
            let head = guess(first);
            let kind = head.kind();
            let mut all = head;
            all.merge(&guess(texts));
            all.widened(kind)
        };
        assert_eq!(wide(&["1"], &["", "3.0"]), Kind::Int64);
        assert_eq!(wide(&["1"], &["2.5"]), Kind::Float64);
        assert_eq!(wide(&["1"], &["18446744073709551615"]), Kind::UInt64);
        assert_eq!(wide(&["-1"], &["18446744073709551615"]), Kind::Text);
        assert_eq!(wide(&[""], &["x"]), Kind::Text);
        assert_eq!(wide(&[""], &["7"]), Kind::Float64);
        assert_eq!(wide(&["True"], &["1"]), Kind::Text);
        assert_eq!(wide(&[], &["7"]), Kind::Int64);
    }
}
