//! A place in a block of JSON, and the steps that a parser takes from there.
//!
//! The grammar is RapidJSON's, with the flags that pyarrow reads with: RFC 8259, and `NaN`, `Inf` and
//! `Infinity` as numbers. Where `datasets` reads through ujson (arrays, `Json()` columns), it is that of
//! ujson: control characters in strings are accepted, and in arrays lone surrogates are dropped.

use super::fault::{Fault, FaultCause, MAX_DEPTH, Parsed};
use super::find;

#[derive(Debug, Clone)]
pub struct Cursor<'a> {
    pub bytes: &'a [u8],
    pub at: usize,
    /// As ujson does it rather than RapidJSON.
    pub lenient: bool,
    /// Lone surrogates are dropped, as ujson does; elsewhere that is a loss nobody would be told of.
    pub drops_surrogates: bool,
    /// Whether an object that was looked at has a key twice.
    pub has_repeated_key: bool,
}

/// What a number's text is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Number {
    Int(i64),
    /// A fraction, an exponent, or digits beyond 64 bits; the text says which.
    Float,
    /// `NaN`, `Infinity`.
    NonFinite(NonFinite),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NonFinite {
    NaN,
    Infinity,
    MinusInfinity,
}

impl NonFinite {
    pub fn value(self) -> f64 {
        match self {
            NonFinite::NaN => f64::NAN,
            NonFinite::Infinity => f64::INFINITY,
            NonFinite::MinusInfinity => f64::NEG_INFINITY,
        }
    }
}

/// The integer that a float is, if an int64 holds it.
pub fn whole_int64(value: f64) -> Option<i64> {
    // 2^63 is the first that does not fit.
    const LIMIT: f64 = 9_223_372_036_854_775_808.0;
    (value.fract() == 0.0 && (-LIMIT..LIMIT).contains(&value)).then_some(value as i64)
}

/// The content of a string: where it lies when no escape is in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Text<'a> {
    Plain(&'a [u8]),
    Escaped,
}

impl<'a> Cursor<'a> {
    pub fn new(bytes: &'a [u8]) -> Self {
        Cursor { bytes, at: 0, lenient: false, drops_surrogates: false, has_repeated_key: false }
    }

    /// The same for text that `datasets` reads through ujson.
    pub fn by_ujson(bytes: &'a [u8]) -> Self {
        Cursor { lenient: true, drops_surrogates: true, ..Cursor::new(bytes) }
    }

    #[inline(always)]
    pub fn peek(&self) -> Option<u8> {
        self.bytes.get(self.at).copied()
    }

    /// Skips white space; the byte after it.
    #[inline(always)]
    pub fn next_byte(&mut self) -> Option<u8> {
        loop {
            let byte = self.peek()?;
            if !matches!(byte, b' ' | b'\n' | b'\r' | b'\t') {
                return Some(byte);
            }
            self.at += 1;
        }
    }

    #[cold]
    pub fn fault<T>(&self, what: &'static str) -> Parsed<T> {
        let what =
            if self.at >= self.bytes.len() { "it ends in the middle of a value" } else { what };
        Err(Fault::syntax(self.at, what))
    }

    #[inline(always)]
    pub fn expect(&mut self, byte: u8, what: &'static str) -> Parsed<()> {
        if self.next_byte() == Some(byte) {
            self.at += 1;
            Ok(())
        } else {
            self.fault(what)
        }
    }

    #[inline(always)]
    pub fn literal(&mut self, word: &'static [u8]) -> Parsed<()> {
        match self.bytes.get(self.at..) {
            Some(rest) if rest.starts_with(word) => {
                self.at += word.len();
                Ok(())
            }
            _ => self.bad_literal(word),
        }
    }

    #[cold]
    fn bad_literal(&mut self, word: &'static [u8]) -> Parsed<()> {
        let rest = self.bytes.get(self.at..).unwrap_or_default();
        if word.starts_with(rest) {
            self.at = self.bytes.len();
        }
        self.fault("an invalid value")
    }

    /// What kind of value comes, by name; for messages.
    pub fn kind(&self) -> &'static str {
        match self.peek() {
            Some(b'"') => "a string",
            Some(b'{') => "an object",
            Some(b'[') => "a list",
            Some(b't' | b'f') => "a bool",
            Some(b'n') => "null",
            Some(b'-' | b'0'..=b'9' | b'N' | b'I') => "a number",
            _ => "nothing that is JSON",
        }
    }

    /// Steps over a number. The cursor is on its first byte.
    #[inline(always)]
    pub fn number(&mut self) -> Parsed<Number> {
        let mut at = self.at;
        let negative = self.bytes.get(at) == Some(&b'-');
        at += usize::from(negative);
        let first = at;
        let mut value = 0u64;
        while let Some(digit) = self.bytes.get(at).map(|byte| byte.wrapping_sub(b'0'))
            && digit < 10
        {
            value = value.wrapping_mul(10).wrapping_add(u64::from(digit));
            at += 1;
        }
        let digits = at - first;
        let leading_zero = digits > 1 && self.bytes.get(first) == Some(&b'0');
        let plain_end = !matches!(self.bytes.get(at), Some(b'.' | b'e' | b'E'));
        if digits > 0 && digits < 19 && plain_end && !leading_zero {
            self.at = at;
            // 18 digits fit.
            let value = value.cast_signed();
            return Ok(Number::Int(if negative { -value } else { value }));
        }
        self.unusual_number(first, at, negative)
    }

    /// The digits at the cursor, where there are one to seven that are an integer by themselves, and
    /// the byte behind them. All at once: the lengths of token ids are what a loop can't foresee.
    #[inline(always)]
    pub fn short_int(&self) -> Option<(usize, u64, u8)> {
        let rest = self.bytes.get(self.at..)?;
        let word = u64::from_le_bytes(*rest.first_chunk::<8>()?);
        let digits = word ^ 0x3030_3030_3030_3030;
        // The high bit of each byte that is no digit; right up to the first of them.
        let others = (digits.wrapping_add(0x7676_7676_7676_7676) | digits) & 0x8080_8080_8080_8080;
        let length = others.trailing_zeros() / 8;
        if length == 0 || length == 8 || (length > 1 && word & 0xff == 0x30) {
            return None;
        }
        let behind = (word >> (8 * length)) as u8;
        // Zeros before them, then pairs, fours and all eight in one multiplication each.
        let digits = digits << (8 * (8 - length));
        let pairs = (digits.wrapping_mul(10) + (digits >> 8)) & 0x00ff_00ff_00ff_00ff;
        let fours = (pairs.wrapping_mul(100) + (pairs >> 16)) & 0x0000_ffff_0000_ffff;
        let value = (fours.wrapping_mul(10_000) + (fours >> 32)) & 0xffff_ffff;
        Some((length as usize, value, behind))
    }

    #[inline(never)]
    fn unusual_number(&mut self, first: usize, mut at: usize, negative: bool) -> Parsed<Number> {
        let start = self.at;
        if at == first {
            return self.non_finite(first, negative);
        }
        if at - first > 1 && self.bytes.get(first) == Some(&b'0') {
            self.at = first + 1;
            return self.fault("a number that begins with 0");
        }
        let mut is_int = true;
        if self.bytes.get(at) == Some(&b'.') {
            is_int = false;
            at = self.digits(at + 1, "a number without digits after its point")?;
        }
        if matches!(self.bytes.get(at), Some(b'e' | b'E')) {
            is_int = false;
            at += 1;
            at += usize::from(matches!(self.bytes.get(at), Some(b'+' | b'-')));
            at = self.digits(at, "a number without digits in its exponent")?;
        }
        self.at = at;
        if is_int
            && let Some(Ok(text)) = self.bytes.get(start..at).map(std::str::from_utf8)
            && let Ok(value) = text.parse()
        {
            return Ok(Number::Int(value));
        }
        Ok(Number::Float)
    }

    fn digits(&mut self, start: usize, what: &'static str) -> Parsed<usize> {
        let rest = self.bytes.get(start..).unwrap_or_default();
        let count = rest.iter().take_while(|byte| byte.is_ascii_digit()).count();
        if count == 0 {
            self.at = start;
            return self.fault(what);
        }
        Ok(start + count)
    }

    fn non_finite(&mut self, first: usize, negative: bool) -> Parsed<Number> {
        let rest = self.bytes.get(first..).unwrap_or_default();
        let infinity = if negative { NonFinite::MinusInfinity } else { NonFinite::Infinity };
        for (word, value) in [("NaN", NonFinite::NaN), ("Infinity", infinity), ("Inf", infinity)] {
            if rest.starts_with(word.as_bytes()) {
                self.at = first + word.len();
                return Ok(Number::NonFinite(value));
            }
        }
        self.at = first;
        self.fault("an invalid value")
    }

    /// The number between `start` and here, which [`Cursor::number`] stepped over, as a float.
    #[inline(always)]
    pub fn float(&self, start: usize) -> Parsed<f64> {
        let text = self.bytes.get(start..self.at).unwrap_or_default();
        match fast_float2::parse::<f64, _>(text) {
            Ok(value) if value.is_finite() => Ok(value),
            _ => Err(Fault::syntax(start, "a number that is too big for a float of 64 bits")),
        }
    }

    /// Steps over a string without escapes; on one with escapes stays on its opening quote.
    ///
    /// The cursor is on the opening quote.
    #[inline(always)]
    pub fn plain_string(&mut self) -> Parsed<Text<'a>> {
        let start = self.at + 1;
        let rest = self.bytes.get(start..).unwrap_or_default();
        let length = find::special(rest);
        match rest.get(length) {
            Some(b'"') => {
                self.at = start + length + 1;
                Ok(Text::Plain(&rest[..length]))
            }
            Some(b'\\') => Ok(Text::Escaped),
            Some(_) if self.lenient => Ok(Text::Escaped),
            Some(_) => {
                self.at = start + length;
                self.fault("a control character in a string")
            }
            None => self.open_string(),
        }
    }

    #[cold]
    fn open_string<T>(&mut self) -> Parsed<T> {
        self.at = self.bytes.len();
        self.fault("a string without its closing quote")
    }

    /// Steps over a string, and appends its content.
    ///
    /// The cursor is on the opening quote.
    #[inline(always)]
    pub fn string_into(&mut self, out: &mut Vec<u8>) -> Parsed<()> {
        self.at += 1;
        loop {
            let rest = self.bytes.get(self.at..).unwrap_or_default();
            let length = find::special(rest);
            out.extend_from_slice(&rest[..length]);
            self.at += length;
            match rest.get(length) {
                Some(b'"') => {
                    self.at += 1;
                    return Ok(());
                }
                Some(b'\\') => {
                    self.at += 1;
                    self.escape_into(out)?;
                }
                Some(&control) if self.lenient => {
                    out.push(control);
                    self.at += 1;
                }
                Some(_) => return self.fault("a control character in a string"),
                None => return self.open_string(),
            }
        }
    }

    /// Steps over a string.
    #[inline(always)]
    pub fn skip_string(&mut self) -> Parsed<()> {
        self.at += 1;
        loop {
            let rest = self.bytes.get(self.at..).unwrap_or_default();
            let length = find::special(rest);
            self.at += length;
            match rest.get(length) {
                Some(b'"') => {
                    self.at += 1;
                    return Ok(());
                }
                Some(b'\\') => match rest.get(length + 1) {
                    Some(b'n' | b't' | b'"' | b'\\' | b'/' | b'b' | b'f' | b'r') => self.at += 2,
                    _ => {
                        self.at += 1;
                        self.unicode_escape()?;
                    }
                },
                Some(_) if self.lenient => self.at += 1,
                Some(_) => return self.fault("a control character in a string"),
                None => return self.open_string(),
            }
        }
    }

    /// The cursor is behind the backslash.
    #[inline(always)]
    fn escape_into(&mut self, out: &mut Vec<u8>) -> Parsed<()> {
        let byte = match self.peek() {
            Some(b'n') => b'\n',
            Some(b't') => b'\t',
            Some(byte @ (b'"' | b'\\' | b'/')) => byte,
            Some(b'r') => b'\r',
            Some(b'b') => 0x08,
            Some(b'f') => 0x0c,
            _ => {
                if let Some(character) = self.unicode_escape()? {
                    out.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes());
                }
                return Ok(());
            }
        };
        out.push(byte);
        self.at += 1;
        Ok(())
    }

    /// `\uXXXX`, or two that make a pair; `None` for a lone surrogate where that is dropped.
    #[inline(never)]
    fn unicode_escape(&mut self) -> Parsed<Option<char>> {
        if self.peek() != Some(b'u') {
            return self.fault("an unknown escape in a string");
        }
        let unit = self.hex(self.at + 1)?;
        self.at += 5;
        if let Some(character) = char::from_u32(unit) {
            return Ok(Some(character));
        }
        let is_high = unit < 0xdc00;
        if is_high && self.bytes.get(self.at..).is_some_and(|rest| rest.starts_with(b"\\u")) {
            let low = self.hex(self.at + 2)?;
            if (0xdc00..0xe000).contains(&low) {
                self.at += 6;
                return Ok(char::from_u32(0x10000 + ((unit - 0xd800) << 10) + (low - 0xdc00)));
            }
        }
        if self.drops_surrogates {
            return Ok(None);
        }
        self.at -= 6;
        self.fault("half of a surrogate pair in a string")
    }

    fn hex(&self, start: usize) -> Parsed<u32> {
        let digits = self.bytes.get(start..start + 4).unwrap_or_default();
        let mut value = 0;
        for &digit in digits {
            match char::from(digit).to_digit(16) {
                Some(digit) => value = value << 4 | digit,
                None => return Err(Fault::syntax(start, "an escape \\u without four hex digits")),
            }
        }
        if digits.len() < 4 {
            return Err(Fault::syntax(self.bytes.len(), "it ends in the middle of a value"));
        }
        Ok(value)
    }

    /// Steps over a value of any kind.
    pub fn skip_value(&mut self, depth: usize) -> Parsed<()> {
        if depth > MAX_DEPTH {
            return Err(Fault::new(self.at, FaultCause::TooDeep));
        }
        match self.next_byte() {
            Some(b'"') => self.skip_string(),
            Some(b'{') => {
                self.at += 1;
                if self.next_byte() == Some(b'}') {
                    self.at += 1;
                    return Ok(());
                }
                loop {
                    if self.next_byte() != Some(b'"') {
                        return self.fault("an object member without a name in quotes");
                    }
                    self.skip_string()?;
                    self.expect(b':', "an object member without a colon")?;
                    self.skip_value(depth + 1)?;
                    if !self.more(b'}')? {
                        return Ok(());
                    }
                }
            }
            Some(b'[') => {
                self.at += 1;
                if self.next_byte() == Some(b']') {
                    self.at += 1;
                    return Ok(());
                }
                loop {
                    self.skip_value(depth + 1)?;
                    if !self.more(b']')? {
                        return Ok(());
                    }
                }
            }
            _ => self.skip_scalar(),
        }
    }

    fn skip_scalar(&mut self) -> Parsed<()> {
        match self.peek() {
            Some(b't') => self.literal(b"true"),
            Some(b'f') => self.literal(b"false"),
            Some(b'n') => self.literal(b"null"),
            Some(_) => {
                let start = self.at;
                if self.number()? == Number::Float {
                    self.float(start)?;
                }
                Ok(())
            }
            None => self.fault("no value"),
        }
    }

    /// Behind an item of a list or an object: whether another one comes, or `end`.
    #[inline(always)]
    pub fn more(&mut self, end: u8) -> Parsed<bool> {
        match self.next_byte() {
            Some(b',') => {
                self.at += 1;
                Ok(true)
            }
            Some(byte) if byte == end => {
                self.at += 1;
                Ok(false)
            }
            _ if end == b'}' => self.fault("no comma or } after an object member"),
            _ => self.fault("no comma or ] after an item of a list"),
        }
    }

    /// A key and its colon; the key's text, through `scratch` where it has escapes.
    #[inline(always)]
    pub fn key<'s>(&mut self, scratch: &'s mut Vec<u8>) -> Parsed<&'s [u8]>
    where
        'a: 's,
    {
        if self.next_byte() != Some(b'"') {
            return self.fault("an object member without a name in quotes");
        }
        let key: &'s [u8] = match self.plain_string()? {
            Text::Plain(key) => key,
            Text::Escaped => {
                scratch.clear();
                self.string_into(scratch)?;
                scratch
            }
        };
        self.expect(b':', "an object member without a colon")?;
        Ok(key)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn short_ints_are_ints(value in 0u64..20_000_000, behind in "[,\\] .e:é\u{0}]{1,9}") {
            let text = format!("{value}{behind}");
            let length = value.to_string().len();
            match Cursor::new(text.as_bytes()).short_int() {
                Some(got) => prop_assert_eq!(got, (length, value, text.as_bytes()[length])),
                None => prop_assert!(length > 7 || text.len() < 8),
            }
        }
    }
}
