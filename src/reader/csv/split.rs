//! Where blocks of whole records end.

use memchr::{memchr, memchr3};

use super::dialect::Dialect;
use super::machine::{Machine, Step};

/// Looks over content once, from start to end, as it comes in.
///
/// Positions count from the start of the data of the current call; when data is taken from its head,
/// [`Records::forget`] says how much.
#[derive(Debug)]
pub(super) struct Records {
    finder: Finder,
    /// Up to where it has looked.
    at: usize,
    /// Where the current record starts.
    start: usize,
    in_quotes: bool,
}

#[derive(Debug)]
enum Finder {
    Plain { delimiter: u8, quote: u8 },
    Any(Box<Machine>),
}

impl Records {
    pub fn new(dialect: &Dialect) -> Self {
        let finder = match dialect.quote {
            Some(quote) if dialect.is_plain() => {
                Finder::Plain { delimiter: dialect.delimiter, quote }
            }
            _ => Finder::Any(Box::new(Machine::new(dialect))),
        };
        Records { finder, at: 0, start: 0, in_quotes: false }
    }

    pub fn forget(&mut self, length: usize) {
        self.at = self.at.saturating_sub(length);
        self.start = self.start.saturating_sub(length);
    }

    /// Where the next record ends, its line end included; `None` where more data is needed to know. A line
    /// that is left out counts as a record if it is not empty.
    pub fn next_end(&mut self, data: &[u8], last: bool) -> Option<usize> {
        match &mut self.finder {
            Finder::Any(_) => self.next_end_of_any(data),
            Finder::Plain { delimiter, quote } => {
                let (delimiter, quote) = (*delimiter, *quote);
                self.next_end_of_plain(data, last, delimiter, quote)
            }
        }
    }

    #[inline]
    fn next_end_of_plain(
        &mut self,
        data: &[u8],
        last: bool,
        delimiter: u8,
        quote: u8,
    ) -> Option<usize> {
        loop {
            let rest = data.get(self.at..).unwrap_or_default();
            if self.in_quotes {
                let Some(found) = memchr(quote, rest) else {
                    self.at = data.len();
                    return None;
                };
                let close = self.at + found;
                match data.get(close + 1) {
                    Some(byte) if *byte == quote => self.at = close + 2,
                    None if !last => {
                        self.at = close;
                        return None;
                    }
                    _ => {
                        self.at = close + 1;
                        self.in_quotes = false;
                    }
                }
                continue;
            }
            let Some(found) = memchr3(quote, b'\n', b'\r', rest) else {
                self.at = data.len();
                return None;
            };
            let at = self.at + found;
            match data.get(at) {
                Some(byte) if *byte == quote => {
                    // Only at the start of a field; anywhere else it is text.
                    let first = at == self.start
                        || at.checked_sub(1).and_then(|before| data.get(before))
                            == Some(&delimiter);
                    self.in_quotes = first;
                    self.at = at + 1;
                }
                Some(b'\r') => match data.get(at + 1) {
                    None if !last => {
                        self.at = at;
                        return None;
                    }
                    next => {
                        let end = at + 1 + usize::from(next == Some(&b'\n'));
                        if self.line(at, end) {
                            return Some(end);
                        }
                    }
                },
                _ => {
                    if self.line(at, at + 1) {
                        return Some(at + 1);
                    }
                }
            }
        }
    }

    /// Whether the line that ends here was not empty.
    #[inline]
    fn line(&mut self, content_end: usize, end: usize) -> bool {
        let full = content_end > self.start;
        self.at = end;
        self.start = end;
        full
    }

    fn next_end_of_any(&mut self, data: &[u8]) -> Option<usize> {
        let Finder::Any(machine) = &mut self.finder else { return None };
        while let Some(byte) = data.get(self.at).copied() {
            if machine.at_start() {
                self.start = self.at;
            }
            let step = machine.step(byte);
            self.at += 1;
            match step {
                Step::EndFieldAndRecord | Step::EndRecord => return Some(self.at),
                Step::EndRecordBefore => {
                    self.at -= 1;
                    return Some(self.at);
                }
                Step::Again => self.at -= 1,
                Step::BackToLine => self.at = self.start,
                Step::Skip | Step::Push | Step::EndField | Step::EndNothing => {}
            }
        }
        None
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::ops::{ControlFlow, Range};

    use proptest::prelude::*;

    use super::*;
    use crate::csv::tokenize::{Sink, tokenize};

    #[derive(Default)]
    struct Count(usize);

    impl Sink for Count {
        fn field(&mut self, _: usize, _: &str) {}

        fn record(&mut self, _: usize, _: Range<usize>) -> ControlFlow<()> {
            self.0 += 1;
            ControlFlow::Continue(())
        }
    }

    /// All ends, with data that comes in steps.
    fn ends(dialect: &Dialect, data: &[u8], step: usize) -> Vec<usize> {
        let mut records = Records::new(dialect);
        let (mut ends, mut known) = (Vec::new(), 0);
        loop {
            let part = data.get(..known).unwrap();
            match records.next_end(part, known == data.len()) {
                Some(end) => ends.push(end),
                None if known == data.len() => return ends,
                None => known = (known + step).min(data.len()),
            }
        }
    }

    #[test]
    fn only_ends_of_records() {
        let data = b"1,\"a\nb\",x\"y\n2,\"\"\"\n\",z\r\n\r\n3\r4";
        assert_eq!(ends(&Dialect::default(), data, 100), [12, 23, 27]);
    }

    proptest! {
        #[test]
        fn the_same_however_it_comes(
            text in "([ab ,\"\r\n#]|\"\"|,\"|\",){0,40}",
            step in 1usize..9,
            comment: bool,
        ) {
            let comment = comment.then_some(b'#');
            let dialect = Dialect { comment, ..Dialect::default() };
            let data = text.as_bytes();
            prop_assert_eq!(ends(&dialect, data, step), ends(&dialect, data, 1000));
        }

        #[test]
        fn each_piece_has_whole_records(text in "([ab ,\"\r\n]|\"\"|,\"|\",){0,40}") {
            let dialect = Dialect::default();
            let mut whole = Count::default();
            let closed = tokenize(&dialect, &text, &mut whole);
            let mut pieces = Count::default();
            let mut start = 0;
            for end in ends(&dialect, text.as_bytes(), 1000) {
                prop_assert!(tokenize(&dialect, &text[start..end], &mut pieces).is_ok());
                start = end;
            }
            prop_assert_eq!(tokenize(&dialect, &text[start..], &mut pieces).is_ok(), closed.is_ok());
            if closed.is_ok() {
                prop_assert_eq!(pieces.0, whole.0);
            }
        }
    }
}
