//! The start of a file: the names of its columns, and the rows that tell their types.

use std::io::{self, Read};
use std::ops::{ControlFlow, Range};

use super::dialect::Dialect;
use super::header;
use super::options::{CsvOptions, Header};
use super::split::Records;
use super::tokenize::{Sink, tokenize};
use crate::error::{ReadError, Result};
use crate::scan::Scan;
use crate::source::Input;

const STEP: usize = 256 << 10;
/// Of a long row this much is read between two looks for a reason to stop.
pub(super) const MOST: usize = 16 << 20;

/// Content that can be looked at before it is read.
pub(super) struct Ahead {
    input: Box<dyn Read + Send>,
    data: Vec<u8>,
    at: usize,
    ended: bool,
    error: Option<io::Error>,
}

impl Ahead {
    pub fn new(input: Box<dyn Read + Send>) -> Self {
        Ahead { input, data: Vec::new(), at: 0, ended: false, error: None }
    }

    pub fn data(&self) -> &[u8] {
        self.data.get(self.at..).unwrap_or_default()
    }

    /// Whether all there is has been looked at.
    pub fn ended(&self) -> bool {
        self.ended
    }

    pub fn is_damaged(&self) -> bool {
        self.error.is_some()
    }

    /// Reads about `count` bytes more. An error waits until all before it is read.
    pub fn more(&mut self, count: usize) {
        let filled = self.data.len();
        self.data.reserve(count);
        let result = self.input.by_ref().take(count as u64).read_to_end(&mut self.data);
        if let Err(error) = result {
            self.error = Some(error);
            self.ended = true;
        } else if self.data.len() < filled + count {
            self.ended = true;
        }
    }

    pub fn skip(&mut self, count: usize) {
        self.at = (self.at + count).min(self.data.len());
    }

    /// Forgets what was skipped: it will not be read.
    pub fn discard(&mut self) {
        self.data.drain(..self.at);
        self.at = 0;
    }

    fn take_error(&mut self) -> Option<ReadError> {
        self.error.take().map(ReadError::from)
    }
}

impl Read for Ahead {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let pending = self.data.get(self.at..).unwrap_or_default();
        if pending.is_empty() {
            self.data = Vec::new();
            self.at = 0;
            return match self.error.take() {
                Some(error) => Err(error),
                None if self.ended => Ok(0),
                None => self.input.read(buffer),
            };
        }
        let count = pending.len().min(buffer.len());
        if let (Some(to), Some(from)) = (buffer.get_mut(..count), pending.get(..count)) {
            to.copy_from_slice(from);
        }
        self.at += count;
        Ok(count)
    }
}

/// What comes before the rows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Prelude {
    /// Names of all columns of the file.
    pub names: Vec<String>,
    /// Where the rows start, in bytes and in lines.
    pub bytes: u64,
    pub lines: u64,
}

/// Reads up to the first row.
pub(super) fn prelude(options: &CsvOptions, ahead: &mut Ahead, scan: &Scan) -> Result<Prelude> {
    let mut reading = Reading { options, ahead, scan, bytes: 0, lines: 0 };
    reading.skip_byte_order_mark();
    for _ in 0..options.skip_rows {
        reading.skip_line()?;
    }
    let mut names = match options.header {
        Header::None => None,
        Header::Row(row) => {
            for _ in 0..row {
                reading.record(true)?.ok_or_else(|| too_short(row))?;
            }
            let names = reading.record(true)?;
            if names.is_none() && row > 0 {
                return Err(too_short(row));
            }
            names
        }
    };
    let first = reading.record(false)?;
    let (bytes, lines) = (reading.bytes, reading.lines);
    let width = first.as_ref().map(Vec::len);
    if let Some(given) = &options.names {
        if let Some(header) = names.filter(|header| header.len() > given.len()) {
            return Err(ReadError::unsupported(format!(
                "the header has {} fields, for {} names (pandas makes an index of the first ones)",
                header.len(),
                given.len()
            )));
        }
        names = Some(given.clone());
    } else if let (None, Header::None, Some(width)) = (&names, options.header, width) {
        names = Some((0..width).map(|index| index.to_string()).collect());
    } else {
        names = names.map(header::unique);
    }
    let Some(names) = names else {
        return Err(ReadError::damaged("the file is empty: no columns to read"));
    };
    let wide = width.is_some_and(|width| width > names.len());
    if wide || (options.use_columns.is_some() && width.is_some_and(|width| width != names.len())) {
        return Err(ReadError::unsupported(format!(
            "the first row has {} fields, for {} column names (pandas makes an index of the first ones)",
            width.unwrap_or_default(),
            names.len()
        ))
        .at_line(lines + 1)
        .at_row(0));
    }
    Ok(Prelude { names, bytes, lines })
}

fn too_short(row: usize) -> ReadError {
    ReadError::request(format!("header={row}, but the file has not so many lines"))
}

struct Reading<'a> {
    options: &'a CsvOptions,
    ahead: &'a mut Ahead,
    scan: &'a Scan,
    bytes: u64,
    lines: u64,
}

impl Reading<'_> {
    fn skip(&mut self, count: usize) {
        self.ahead.skip(count);
        self.bytes += count as u64;
    }

    fn skip_byte_order_mark(&mut self) {
        const MARK: &[u8] = "\u{feff}".as_bytes();
        self.ahead.more(STEP);
        if self.ahead.data().starts_with(MARK) {
            self.skip(MARK.len());
        }
    }

    /// The end of the next record that isn't an empty line; all that is left, if it has no end.
    fn next_end(&mut self) -> Result<usize> {
        let mut records = Records::new(&self.options.dialect);
        self.end_by(|data, last| records.next_end(data, last))
    }

    /// The end that `find` finds in what there is, which grows until it does; all that is left, if it
    /// finds none. It is told whether no more comes.
    fn end_by(&mut self, mut find: impl FnMut(&[u8], bool) -> Option<usize>) -> Result<usize> {
        loop {
            self.scan.check()?;
            let last = self.ahead.ended();
            if let Some(end) = find(self.ahead.data(), last) {
                return Ok(end);
            }
            let length = self.ahead.data().len();
            if last {
                return match self.ahead.take_error() {
                    Some(error) => Err(error.at_byte(self.bytes + length as u64)),
                    None => Ok(length),
                };
            }
            if length > self.scan.max_row_bytes {
                let limit = self.scan.max_row_bytes >> 20;
                return Err(ReadError::too_large(format!("a row is longer than {limit} MB"))
                    .at_byte(self.bytes));
            }
            self.ahead.more(STEP.max(length).min(MOST));
        }
    }

    /// Skips a line, blank ones and comments included.
    fn skip_line(&mut self) -> Result<()> {
        let mut line = SkippedLine::new(&self.options.dialect);
        let end = self.end_by(|data, last| line.end(data, last))?;
        self.skip(end);
        self.lines += 1;
        Ok(())
    }

    /// The fields of the next record, and the file after it if `take`; `None` at the end of the file.
    fn record(&mut self, take: bool) -> Result<Option<Vec<String>>> {
        let (bytes, lines) = (self.bytes, self.lines);
        let mut skipped = 0;
        loop {
            let end = skipped + self.next_end_after(skipped)?;
            let data = self.ahead.data().get(skipped..end).unwrap_or_default();
            if data.is_empty() {
                return Ok(None);
            }
            let text = self.options.decode_head(data).map_err(|error| error.at_line(lines + 1))?;
            self.scan.check()?;
            let mut fields = Fields::default();
            let dialect = &self.options.dialect;
            tokenize(dialect, &text, &mut fields).map_err(|unclosed| {
                let byte = bytes + (skipped + unclosed.record) as u64;
                ReadError::damaged(unclosed.cause).at_line(lines + 1).at_byte(byte)
            })?;
            let done = fields.done;
            if take {
                self.skip(end);
                self.lines += fields.lines;
                skipped = 0;
            } else {
                skipped = end;
            }
            if done {
                return Ok(Some(fields.texts));
            }
        }
    }

    fn next_end_after(&mut self, skipped: usize) -> Result<usize> {
        if skipped == 0 {
            return self.next_end();
        }
        // Rare: lines of blanks before the first row.
        let (at, bytes) = (self.ahead.at, self.bytes);
        self.skip(skipped);
        let end = self.next_end();
        (self.ahead.at, self.bytes) = (at, bytes);
        end
    }
}

/// The fields of one record.
#[derive(Default)]
struct Fields {
    texts: Vec<String>,
    lines: u64,
    done: bool,
}

impl Sink for Fields {
    fn field(&mut self, _: usize, text: &str) {
        self.texts.push(text.to_owned());
    }

    fn record(&mut self, _: usize, _: Range<usize>) -> ControlFlow<()> {
        self.lines += 1;
        self.done = true;
        ControlFlow::Break(())
    }

    fn nothing(&mut self) {
        self.lines += 1;
    }
}

/// Finds the end of a line that is skipped, as pandas does: of all that a dialect has, only quotes and
/// line ends count.
struct SkippedLine<'a> {
    dialect: &'a Dialect,
    at: usize,
    state: Skipped,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Skipped {
    Start,
    StartField,
    InField,
    InQuotes,
    QuoteInQuotes,
}

impl<'a> SkippedLine<'a> {
    fn new(dialect: &'a Dialect) -> Self {
        SkippedLine { dialect, at: 0, state: Skipped::Start }
    }

    /// `data` begins with the line, and may have grown since the last call.
    fn end(&mut self, data: &[u8], last: bool) -> Option<usize> {
        let terminator = self.dialect.terminator;
        while let Some(byte) = data.get(self.at).copied() {
            let is_quote = self.dialect.is_quote(byte);
            self.state = match self.state {
                Skipped::InQuotes if !is_quote => Skipped::InQuotes,
                Skipped::InQuotes if self.dialect.double_quote => Skipped::QuoteInQuotes,
                Skipped::InQuotes => Skipped::InField,
                Skipped::Start | Skipped::StartField | Skipped::QuoteInQuotes if is_quote => {
                    Skipped::InQuotes
                }
                _ if byte == terminator.unwrap_or(b'\n') => return Some(self.at + 1),
                // One that begins the line ends it only where a LF follows.
                Skipped::Start => Skipped::InField,
                _ if byte == b'\r' && terminator.is_none() => {
                    return match data.get(self.at + 1) {
                        Some(b'\n') => Some(self.at + 2),
                        None if !last => None,
                        _ => Some(self.at + 1),
                    };
                }
                _ if byte == self.dialect.delimiter => Skipped::StartField,
                _ => Skipped::InField,
            };
            self.at += 1;
        }
        None
    }
}

/// Input that goes on where `ahead` is.
pub(super) fn resume(input: Input, ahead: Ahead) -> Input {
    input.map(|_| Box::new(ahead))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn skipped(dialect: &Dialect, data: &str) -> Option<usize> {
        let whole = SkippedLine::new(dialect).end(data.as_bytes(), true);
        let mut line = SkippedLine::new(dialect);
        let bytes = data.as_bytes();
        let parts = (0..=bytes.len()).find_map(|end| line.end(&bytes[..end], end == bytes.len()));
        assert_eq!(whole, parts, "{data:?}");
        whole
    }

    #[test]
    fn lines_that_are_skipped() {
        let plain = Dialect::default();
        for (data, end) in [
            ("#z\na", Some(3)),
            ("x\\\na", Some(3)),
            ("\n\na", Some(1)),
            ("\r\na", Some(2)),
            ("\ra\rb", Some(3)),
            ("x\r\nb", Some(3)),
            ("x\ry", Some(2)),
            ("x\r", Some(2)),
            ("x\"y\nz\"\n", Some(4)),
            ("x,\"y\nz\"\n", Some(8)),
            ("\"x\"\"y\nq\"\na", Some(9)),
            ("\"x\"y\"z\nq\"\na", Some(7)),
            ("\"x\na", None),
            ("x", None),
        ] {
            assert_eq!(skipped(&plain, data), end, "{data:?}");
        }
        let other = Dialect { terminator: Some(b';'), quote: None, ..Dialect::default() };
        assert_eq!(skipped(&other, "\"x\n;a"), Some(4));
        let single = Dialect { double_quote: false, ..Dialect::default() };
        assert_eq!(skipped(&single, "\"x\"\"y\nq\"\na"), Some(6));
    }
}
