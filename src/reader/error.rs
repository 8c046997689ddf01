//! What can go wrong while a file is read: which file, where in it, and why.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use arrow_schema::ArrowError;
use thiserror::Error as ThisError;

pub type Result<T, E = ReadError> = std::result::Result<T, E>;

/// An error of the reader, complete enough to be read by itself.
#[derive(Debug, ThisError)]
#[error("{}{place}{cause}{}", FileName(.file), Hint(.cause))]
pub struct ReadError {
    pub file: Option<PathBuf>,
    pub place: Box<Place>,
    #[source]
    pub cause: Cause,
}

/// Why. Every kind of cause is one kind of exception in Python.
#[derive(Debug, ThisError)]
pub enum Cause {
    /// The file can't be opened or read: the matching `OSError` in Python.
    #[error("{0}")]
    Io(io::Error),
    /// The file is damaged, or not what it says it is: `ValueError` in Python.
    #[error("{0}")]
    Damaged(String),
    /// The data is sound, but a value contradicts the schema. `late` where reading all of the file
    /// first (`infer="full"`) would have known better.
    #[error("{message}")]
    Schema { message: String, late: bool },
    /// What was asked for is wrong: an option, a column that is not there.
    #[error("{0}")]
    Request(String),
    /// The format is unknown: `ValueError` and `RuntimeError` in Python.
    #[error("{0}")]
    Format(String),
    /// What was asked for is right and not built.
    #[error("{0}")]
    Unsupported(String),
    /// A row or a number of rows that is too big to hold.
    #[error("{0}")]
    TooLarge(String),
    /// A thread of the reader panicked; never expected.
    #[error("internal error: {0}")]
    Internal(String),
    /// The caller wants to stop (Ctrl-C); never shown.
    #[error("interrupted")]
    Interrupted,
}

/// Where in the file, as far as it is known. Rows and lines count from 0 and from 1, bytes from 0
/// (in the decompressed content).
///
/// A block's parser counts from the start of its block; the pipeline adds what came before.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Place {
    pub row: Option<u64>,
    pub line: Option<u64>,
    pub byte: Option<u64>,
    pub column: Option<String>,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut parts = Vec::new();
        if let Some(line) = self.line {
            parts.push(format!("line {line}"));
        }
        if let Some(row) = self.row {
            parts.push(format!("row {row}"));
        }
        if let Some(byte) = self.byte {
            parts.push(format!("byte {byte}"));
        }
        if let Some(column) = &self.column {
            parts.push(format!("column {column:?}"));
        }
        if !parts.is_empty() {
            write!(f, "{}: ", parts.join(", "))?;
        }
        Ok(())
    }
}

struct FileName<'a>(&'a Option<PathBuf>);

impl fmt::Display for FileName<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.as_ref().map_or(Ok(()), |file| write!(f, "{}: ", file.display()))
    }
}

struct Hint<'a>(&'a Cause);

impl fmt::Display for Hint<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Cause::Schema { late: true, .. } => {
                f.write_str("; infer=\"full\" reads ahead to find a schema that fits all rows")
            }
            _ => Ok(()),
        }
    }
}

impl ReadError {
    pub fn new(cause: Cause) -> Self {
        ReadError { file: None, place: Box::default(), cause }
    }

    pub fn io(error: io::Error) -> Self {
        Self::new(Cause::Io(error))
    }

    pub fn damaged(message: impl Into<String>) -> Self {
        Self::new(Cause::Damaged(message.into()))
    }

    /// A value that contradicts a schema which came from a first look at the file.
    pub fn late(message: impl Into<String>) -> Self {
        Self::new(Cause::Schema { message: message.into(), late: true })
    }

    pub fn schema(message: impl Into<String>) -> Self {
        Self::new(Cause::Schema { message: message.into(), late: false })
    }

    pub fn request(message: impl Into<String>) -> Self {
        Self::new(Cause::Request(message.into()))
    }

    pub fn unsupported(message: impl Into<String>) -> Self {
        Self::new(Cause::Unsupported(message.into()))
    }

    pub fn too_large(message: impl Into<String>) -> Self {
        Self::new(Cause::TooLarge(message.into()))
    }

    #[must_use]
    pub fn in_file(mut self, file: &Path) -> Self {
        self.file.get_or_insert_with(|| file.to_owned());
        self
    }

    #[must_use]
    pub fn at_row(mut self, row: u64) -> Self {
        self.place.row = Some(row);
        self
    }

    #[must_use]
    pub fn at_line(mut self, line: u64) -> Self {
        self.place.line = Some(line);
        self
    }

    #[must_use]
    pub fn at_byte(mut self, byte: u64) -> Self {
        self.place.byte = Some(byte);
        self
    }

    #[must_use]
    pub fn in_column(mut self, column: impl Into<String>) -> Self {
        self.place.column = Some(column.into());
        self
    }

    /// Counts the place from the start of the file rather than from the start of a block.
    pub(crate) fn rebase(&mut self, rows: u64, lines: u64, bytes: u64) {
        let place = &mut *self.place;
        for (value, before) in
            [(&mut place.row, rows), (&mut place.line, lines), (&mut place.byte, bytes)]
        {
            if let Some(value) = value {
                *value += before;
            }
        }
    }
}

impl From<io::Error> for ReadError {
    /// What a decoder says about its data is damage; what the system says is an error of the system.
    fn from(error: io::Error) -> Self {
        match (error.raw_os_error(), error.kind()) {
            (None, io::ErrorKind::InvalidData | io::ErrorKind::UnexpectedEof) => {
                Self::damaged(error.to_string())
            }
            _ => Self::io(error),
        }
    }
}

impl From<ArrowError> for ReadError {
    fn from(error: ArrowError) -> Self {
        match error {
            ArrowError::IoError(_, error) => error.into(),
            ArrowError::MemoryError(message) => Self::too_large(message),
            ArrowError::SchemaError(message) => Self::schema(message),
            error => Self::damaged(error.to_string()),
        }
    }
}
