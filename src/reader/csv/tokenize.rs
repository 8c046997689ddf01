//! Fields out of a block of text that starts at a record.

use std::ops::{ControlFlow, Range};

use memchr::{memchr, memchr3};

use super::dialect::Dialect;
use super::machine::{Machine, Rest, Step};

/// Takes the fields as they come.
pub(super) trait Sink {
    fn field(&mut self, column: usize, text: &str);

    /// A record is complete; `span` is where it stands, its line end left out.
    fn record(&mut self, fields: usize, span: Range<usize>) -> ControlFlow<()>;

    /// A line without a record: blank, or a comment.
    fn nothing(&mut self) {}

    /// Whether the fields of a record may come only when all of them are known (to leave out a whole one).
    fn wants_whole_records(&self) -> Option<usize> {
        None
    }
}

/// A record that has no end.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Unclosed {
    /// Where the record starts.
    pub record: usize,
    pub cause: &'static str,
}

/// Hands all records of `text` to `sink`; the last one may lack its line end.
pub(super) fn tokenize<S: Sink>(
    dialect: &Dialect,
    text: &str,
    sink: &mut S,
) -> Result<(), Unclosed> {
    match dialect.quote {
        Some(quote) if dialect.is_plain() && sink.wants_whole_records().is_none() => {
            Plain { text, bytes: text.as_bytes(), delimiter: dialect.delimiter, quote }.run(sink)
        }
        _ => any(dialect, text, sink),
    }
}

struct Plain<'a> {
    text: &'a str,
    bytes: &'a [u8],
    delimiter: u8,
    quote: u8,
}

impl Plain<'_> {
    fn run<S: Sink>(&self, sink: &mut S) -> Result<(), Unclosed> {
        let mut joined = String::new();
        let mut at = 0;
        while let Some(first) = self.bytes.get(at).copied() {
            if let Some(after) = self.blank_line(at, first) {
                sink.nothing();
                at = after;
                continue;
            }
            let start = at;
            let mut column = 0;
            let end = loop {
                let end = if self.bytes.get(at) == Some(&self.quote) {
                    self.quoted(start, at + 1, column, &mut joined, sink)?
                } else {
                    let end = self.field_end(at);
                    sink.field(column, self.slice(at, end));
                    end
                };
                column += 1;
                match self.bytes.get(end) {
                    Some(byte) if *byte == self.delimiter => at = end + 1,
                    _ => break end,
                }
            };
            at = self.after_line_end(end);
            if sink.record(column, start..end).is_break() {
                return Ok(());
            }
        }
        Ok(())
    }

    #[inline]
    fn slice(&self, start: usize, end: usize) -> &str {
        // Both ends are beside ASCII characters.
        self.text.get(start..end).unwrap_or_default()
    }

    /// The start of the next line if this one has only blanks.
    #[inline]
    fn blank_line(&self, at: usize, first: u8) -> Option<usize> {
        match first {
            b'\n' | b'\r' => Some(self.after_line_end(at)),
            b' ' | b'\t' if first != self.delimiter => {
                let rest = self.bytes.get(at..).unwrap_or_default();
                let blank = |byte: &&u8| matches!(**byte, b' ' | b'\t') && **byte != self.delimiter;
                let end = at + rest.iter().take_while(blank).count();
                match self.bytes.get(end) {
                    None | Some(b'\n' | b'\r') => Some(self.after_line_end(end)),
                    Some(_) => None,
                }
            }
            _ => None,
        }
    }

    #[inline]
    fn after_line_end(&self, at: usize) -> usize {
        match self.bytes.get(at) {
            None => at,
            Some(b'\r') if self.bytes.get(at + 1) == Some(&b'\n') => at + 2,
            Some(_) => at + 1,
        }
    }

    /// The end of a field without quotes that starts, or goes on, at `at`.
    #[inline]
    fn field_end(&self, mut at: usize) -> usize {
        const LOW: u64 = 0x0101_0101_0101_0101;
        const HIGH: u64 = 0x8080_8080_8080_8080;
        let zeros = |word: u64| word.wrapping_sub(LOW) & !word & HIGH;
        let delimiter = LOW * u64::from(self.delimiter);
        // Most fields are short; a call of memchr costs more than they do.
        for _ in 0..4 {
            let Some(chunk) = self.bytes.get(at..).and_then(|rest| rest.first_chunk::<8>()) else {
                break;
            };
            let word = u64::from_le_bytes(*chunk);
            let found = zeros(word ^ delimiter)
                | zeros(word ^ (LOW * u64::from(b'\n')))
                | zeros(word ^ (LOW * u64::from(b'\r')));
            if found != 0 {
                return at + (found.trailing_zeros() / 8) as usize;
            }
            at += 8;
        }
        let rest = self.bytes.get(at..).unwrap_or_default();
        memchr3(self.delimiter, b'\n', b'\r', rest).map_or(self.bytes.len(), |found| at + found)
    }

    /// A field from after its quote; returns where it ends.
    #[inline]
    fn quoted<S: Sink>(
        &self,
        record: usize,
        start: usize,
        column: usize,
        joined: &mut String,
        sink: &mut S,
    ) -> Result<usize, Unclosed> {
        let close = self.next_quote(record, start)?;
        match self.bytes.get(close + 1) {
            None | Some(b'\n' | b'\r') => {}
            Some(byte) if *byte == self.delimiter => {}
            Some(_) => return self.quoted_in_pieces(record, start, close, column, joined, sink),
        }
        sink.field(column, self.slice(start, close));
        Ok(close + 1)
    }

    fn next_quote(&self, record: usize, at: usize) -> Result<usize, Unclosed> {
        let rest = self.bytes.get(at..).unwrap_or_default();
        let found = memchr(self.quote, rest);
        found.map(|found| at + found).ok_or(Unclosed { record, cause: "a quoted field has no end" })
    }

    /// Quotes inside, or text after the closing one.
    fn quoted_in_pieces<S: Sink>(
        &self,
        record: usize,
        mut start: usize,
        mut close: usize,
        column: usize,
        joined: &mut String,
        sink: &mut S,
    ) -> Result<usize, Unclosed> {
        joined.clear();
        while self.bytes.get(close + 1) == Some(&self.quote) {
            joined.push_str(self.slice(start, close + 1));
            start = close + 2;
            close = self.next_quote(record, start)?;
        }
        joined.push_str(self.slice(start, close));
        let end = self.field_end(close + 1);
        joined.push_str(self.slice(close + 1, end));
        sink.field(column, joined);
        Ok(end)
    }
}

/// The fields of a record, one after the other.
#[derive(Default)]
struct Record {
    bytes: Vec<u8>,
    ends: Vec<usize>,
}

impl Record {
    fn finish<S: Sink>(&mut self, span: Range<usize>, sink: &mut S) -> ControlFlow<()> {
        let fields = self.ends.len();
        if sink.wants_whole_records().is_none_or(|most| fields <= most) {
            let mut start = 0;
            for (column, end) in self.ends.iter().enumerate() {
                let bytes = self.bytes.get(start..*end).unwrap_or_default();
                // Whole characters of a str, less some that are ASCII.
                sink.field(column, std::str::from_utf8(bytes).unwrap_or_default());
                start = *end;
            }
        }
        self.bytes.clear();
        self.ends.clear();
        sink.record(fields, span)
    }
}

fn any<S: Sink>(dialect: &Dialect, text: &str, sink: &mut S) -> Result<(), Unclosed> {
    let bytes = text.as_bytes();
    let mut machine = Machine::new(dialect);
    let mut record = Record::default();
    let mut start = 0;
    let mut at = 0;
    while let Some(byte) = bytes.get(at).copied() {
        if machine.at_start() {
            start = at;
        }
        let step = machine.step(byte);
        at += 1;
        match step {
            Step::Skip => {}
            Step::Push => record.bytes.push(byte),
            Step::EndField => record.ends.push(record.bytes.len()),
            Step::Again => {
                at -= 1;
                sink.nothing();
            }
            Step::BackToLine => at = start,
            Step::EndNothing => sink.nothing(),
            Step::EndFieldAndRecord | Step::EndRecord | Step::EndRecordBefore => {
                match step {
                    Step::EndFieldAndRecord => record.ends.push(record.bytes.len()),
                    Step::EndRecordBefore => at -= 1,
                    _ => {}
                }
                if record.finish(start..at, sink).is_break() {
                    return Ok(());
                }
            }
        }
    }
    let cause = match machine.end() {
        Rest::Nothing => return Ok(()),
        Rest::OpenQuote => "a quoted field has no end",
        Rest::OpenEscape => "nothing follows the escape character",
        rest => {
            if rest == Rest::FieldAndRecord {
                record.ends.push(record.bytes.len());
            }
            let _ = record.finish(start..at, sink);
            return Ok(());
        }
    };
    Err(Unclosed { record: start, cause })
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[derive(Default, Debug, PartialEq)]
    struct Rows {
        rows: Vec<Vec<String>>,
        now: Vec<String>,
        nothing: usize,
    }

    impl Sink for Rows {
        fn field(&mut self, column: usize, text: &str) {
            assert_eq!(column, self.now.len());
            self.now.push(text.to_owned());
        }

        fn record(&mut self, fields: usize, _: Range<usize>) -> ControlFlow<()> {
            assert_eq!(fields, self.now.len());
            self.rows.push(std::mem::take(&mut self.now));
            ControlFlow::Continue(())
        }

        fn nothing(&mut self) {
            self.nothing += 1;
        }
    }

    fn rows(dialect: &Dialect, text: &str) -> Vec<Vec<String>> {
        let mut rows = Rows::default();
        tokenize(dialect, text, &mut rows).unwrap();
        rows.rows
    }

    #[test]
    fn quotes() {
        let dialect = Dialect::default();
        let all = |text| rows(&dialect, text);
        assert_eq!(all("1,\"a, b\"\n2,\"x\ny\"\r\n"), [["1", "a, b"], ["2", "x\ny"]]);
        assert_eq!(all("\"say \"\"hi\"\"\",x\"y\"z"), [["say \"hi\"", "x\"y\"z"]]);
        assert_eq!(all("\"p\"q,\"x\"y\"z"), [["pq", "xy\"z"]]);
        assert_eq!(all("\"\"\"\",\"\""), [["\"", ""]]);
        assert_eq!(
            tokenize(&dialect, "a\n1,\"x", &mut Rows::default()),
            Err(Unclosed { record: 2, cause: "a quoted field has no end" })
        );
    }

    #[test]
    fn lines() {
        let dialect = Dialect::default();
        assert_eq!(rows(&dialect, "a\r\rb\n\r\n \t\nc\r\nd"), [["a"], ["b"], ["c"], ["d"]]);
        assert_eq!(rows(&dialect, "  x,\n\t\"y\",\n"), [["  x", ""], ["\t\"y\"", ""]]);
        assert_eq!(rows(&dialect, ""), Vec::<Vec<String>>::new());
    }

    #[test]
    fn other_dialects() {
        let dialect = Dialect {
            escape: Some(b'\\'),
            comment: Some(b'#'),
            skip_initial_space: true,
            ..Dialect::default()
        };
        assert_eq!(
            rows(&dialect, "x\\,y, \"q\\\"r\" # more\n# none\nz\n"),
            [vec!["x,y", "q\"r "], vec!["z"]]
        );
        let dialect = Dialect { terminator: Some(b';'), quote: None, ..Dialect::default() };
        assert_eq!(rows(&dialect, "a,\"b\n;1,2"), [["a", "\"b\n"], ["1", "2"]]);
        let dialect = Dialect { skip_blank_lines: false, ..Dialect::default() };
        assert_eq!(rows(&dialect, "1,\n\n3,2\n"), [vec!["1", ""], vec![], vec!["3", "2"]]);
    }

    proptest! {
        #[test]
        fn the_fast_one_is_the_exact_one(text in "([ab ,\"\r\n\té]|\"\"|,\"|\",){0,40}", tab: bool) {
            let dialect = Dialect { delimiter: if tab { b'\t' } else { b',' }, ..Dialect::default() };
            let (mut fast, mut exact) = (Rows::default(), Rows::default());
            let results = (tokenize(&dialect, &text, &mut fast), super::any(&dialect, &text, &mut exact));
            prop_assert_eq!(results.0.is_ok(), results.1.is_ok());
            prop_assert_eq!(&fast.rows, &exact.rows);
        }
    }
}
