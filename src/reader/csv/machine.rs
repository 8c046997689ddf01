//! The tokenizer of any dialect, byte by byte: what pandas' C tokenizer does, and the measure of the
//! fast one.

use super::dialect::Dialect;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    StartRecord,
    /// Blanks only so far, in a line that is left out if nothing else follows.
    BlankLine,
    StartField,
    InField,
    Escaped,
    InQuotes,
    EscapedInQuotes,
    QuoteInQuotes,
    Comment,
    /// A comment from the start of a line.
    CommentLine,
    /// After a CR that ended a record; a LF belongs to it.
    AfterCr,
    /// The same after a line that is left out.
    AfterCrNothing,
}

/// What a byte means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Step {
    /// Nothing that counts.
    Skip,
    /// Part of the field.
    Push,
    EndField,
    /// Ends the last field and its record.
    EndFieldAndRecord,
    EndRecord,
    /// The record before this byte is at its end; the byte is to be stepped on again.
    EndRecordBefore,
    /// To be stepped on again.
    Again,
    /// The line was blank up to here and is not left out: it starts again at its first byte, as a field.
    BackToLine,
    /// A line that is left out has ended.
    EndNothing,
}

/// Where in a record a byte stands.
#[derive(Debug, Clone)]
pub(super) struct Machine {
    dialect: Dialect,
    state: State,
}

/// What the end of the content means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Rest {
    Nothing,
    Record,
    FieldAndRecord,
    OpenQuote,
    OpenEscape,
}

impl Machine {
    pub fn new(dialect: &Dialect) -> Self {
        Machine { dialect: dialect.clone(), state: State::StartRecord }
    }

    /// Whether a record has not begun.
    pub fn at_start(&self) -> bool {
        matches!(self.state, State::StartRecord)
    }

    pub fn step(&mut self, byte: u8) -> Step {
        match self.state {
            State::StartRecord => self.start_record(byte),
            State::BlankLine => self.blank_line(byte),
            State::StartField => self.start_field(byte),
            State::InField => self.in_field(byte),
            State::Escaped => self.go(State::InField, Step::Push),
            State::InQuotes => self.in_quotes(byte),
            State::EscapedInQuotes => self.go(State::InQuotes, Step::Push),
            State::QuoteInQuotes => self.quote_in_quotes(byte),
            State::Comment => match self.line_end(byte) {
                Some(End::Line) => self.go(State::StartRecord, Step::EndRecord),
                Some(End::Cr) => self.go(State::AfterCr, Step::Skip),
                None => Step::Skip,
            },
            State::CommentLine => self.nothing_until_end(byte).unwrap_or(Step::Skip),
            State::AfterCr if byte == b'\n' => self.go(State::StartRecord, Step::EndRecord),
            State::AfterCr => self.go(State::StartRecord, Step::EndRecordBefore),
            State::AfterCrNothing if byte == b'\n' => self.go(State::StartRecord, Step::EndNothing),
            State::AfterCrNothing => self.go(State::StartRecord, Step::Again),
        }
    }

    pub fn end(&self) -> Rest {
        match self.state {
            State::StartRecord | State::BlankLine | State::CommentLine | State::AfterCrNothing => {
                Rest::Nothing
            }
            State::InQuotes | State::EscapedInQuotes => Rest::OpenQuote,
            State::Escaped => Rest::OpenEscape,
            State::StartField | State::InField | State::QuoteInQuotes => Rest::FieldAndRecord,
            State::Comment | State::AfterCr => Rest::Record,
        }
    }

    fn go(&mut self, state: State, step: Step) -> Step {
        self.state = state;
        step
    }

    fn line_end(&self, byte: u8) -> Option<End> {
        match self.dialect.terminator {
            Some(terminator) => (byte == terminator).then_some(End::Line),
            None if byte == b'\n' => Some(End::Line),
            None if byte == b'\r' => Some(End::Cr),
            None => None,
        }
    }

    fn nothing_until_end(&mut self, byte: u8) -> Option<Step> {
        match self.line_end(byte)? {
            End::Line => Some(self.go(State::StartRecord, Step::EndNothing)),
            End::Cr => Some(self.go(State::AfterCrNothing, Step::Skip)),
        }
    }

    fn start_record(&mut self, byte: u8) -> Step {
        if let Some(end) = self.line_end(byte) {
            return match (end, self.dialect.skip_blank_lines) {
                (_, true) => self.nothing_until_end(byte).unwrap_or(Step::Skip),
                (End::Line, false) => Step::EndRecord,
                (End::Cr, false) => self.go(State::AfterCr, Step::Skip),
            };
        }
        if self.dialect.comment == Some(byte) {
            return self.go(State::CommentLine, Step::Skip);
        }
        let blank = matches!(byte, b' ' | b'\t') && byte != self.dialect.delimiter;
        if blank && self.dialect.skip_blank_lines {
            return self.go(State::BlankLine, Step::Skip);
        }
        self.start_field(byte)
    }

    fn blank_line(&mut self, byte: u8) -> Step {
        if let Some(step) = self.nothing_until_end(byte) {
            return step;
        }
        if matches!(byte, b' ' | b'\t') && byte != self.dialect.delimiter {
            return Step::Skip;
        }
        self.go(State::StartField, Step::BackToLine)
    }

    fn start_field(&mut self, byte: u8) -> Step {
        if let Some(step) = self.field_end(byte) {
            return step;
        }
        if self.dialect.is_quote(byte) {
            self.go(State::InQuotes, Step::Skip)
        } else if self.dialect.escape == Some(byte) {
            self.go(State::Escaped, Step::Skip)
        } else if byte == b' ' && self.dialect.skip_initial_space {
            self.go(State::StartField, Step::Skip)
        } else {
            self.other_in_field(byte)
        }
    }

    fn in_field(&mut self, byte: u8) -> Step {
        if let Some(step) = self.field_end(byte) {
            return step;
        }
        if self.dialect.escape == Some(byte) {
            return self.go(State::Escaped, Step::Skip);
        }
        self.other_in_field(byte)
    }

    fn other_in_field(&mut self, byte: u8) -> Step {
        if self.dialect.comment == Some(byte) {
            return self.go(State::Comment, Step::EndField);
        }
        self.go(State::InField, Step::Push)
    }

    fn in_quotes(&mut self, byte: u8) -> Step {
        if self.dialect.escape == Some(byte) {
            self.go(State::EscapedInQuotes, Step::Skip)
        } else if !self.dialect.is_quote(byte) {
            Step::Push
        } else if self.dialect.double_quote {
            self.go(State::QuoteInQuotes, Step::Skip)
        } else {
            self.go(State::InField, Step::Skip)
        }
    }

    fn quote_in_quotes(&mut self, byte: u8) -> Step {
        if self.dialect.is_quote(byte) {
            return self.go(State::InQuotes, Step::Push);
        }
        if let Some(step) = self.field_end(byte) {
            return step;
        }
        self.go(State::InField, Step::Push)
    }

    /// The delimiter or the end of the line.
    fn field_end(&mut self, byte: u8) -> Option<Step> {
        match self.line_end(byte) {
            Some(End::Line) => Some(self.go(State::StartRecord, Step::EndFieldAndRecord)),
            Some(End::Cr) => Some(self.go(State::AfterCr, Step::EndField)),
            None if byte == self.dialect.delimiter => {
                Some(self.go(State::StartField, Step::EndField))
            }
            None => None,
        }
    }
}

enum End {
    Line,
    Cr,
}
