//! How a CSV file is written: its separators, its quotes.

/// All special characters are ASCII: they can't be part of another character in UTF-8.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Dialect {
    pub delimiter: u8,
    /// `None`: quotes are like any other character (`quoting=3`).
    pub quote: Option<u8>,
    /// A quote in a quoted field is written twice.
    pub double_quote: bool,
    pub escape: Option<u8>,
    /// What follows it in a line is left out.
    pub comment: Option<u8>,
    /// Spaces after a delimiter are left out.
    pub skip_initial_space: bool,
    pub skip_blank_lines: bool,
    /// The one character that ends lines, where it isn't LF, CR LF or CR.
    pub terminator: Option<u8>,
}

impl Default for Dialect {
    fn default() -> Self {
        Dialect {
            delimiter: b',',
            quote: Some(b'"'),
            double_quote: true,
            escape: None,
            comment: None,
            skip_initial_space: false,
            skip_blank_lines: true,
            terminator: None,
        }
    }
}

impl Dialect {
    /// Whether the fast tokenizer knows it: only quotes, delimiters and line ends are special.
    pub fn is_plain(&self) -> bool {
        self.double_quote
            && self.escape.is_none()
            && self.comment.is_none()
            && !self.skip_initial_space
            && self.skip_blank_lines
            && self.terminator.is_none()
    }

    pub fn is_quote(&self, byte: u8) -> bool {
        self.quote == Some(byte)
    }
}
