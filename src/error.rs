//! Everything that can go wrong with an input, and its one conversion to Python exceptions.
//!
//! The words are those of `fast_axolotl/reference`; the parity tests compare them.

use kernels::pack::TooLong;
use kernels::pad::PadError;
use pyo3::exceptions::{
    PyImportError, PyMemoryError, PyOverflowError, PyRuntimeError, PyTypeError, PyValueError,
};
use pyo3::{PyErr, Python};
use thiserror::Error as ThisError;

#[derive(Debug, ThisError)]
pub enum Error {
    #[error("{name} must be an int, not {found}")]
    NotAnInt { name: &'static str, found: String },
    #[error("{name} must be at least {minimum}, got {found}")]
    TooSmall { name: &'static str, minimum: usize, found: String },
    #[error("{name} must be at most {max}, got {found}", max = isize::MAX)]
    TooLarge { name: &'static str, found: String },
    #[error("output must be 'lists', 'numpy', 'torch' or 'arrow', not {found}")]
    Output { found: String },
    #[error("padding_side must be 'right' or 'left'")]
    PaddingSide,
    #[error("output='{output}' needs {library}, which is not installed: pip install {library}")]
    MissingLibrary { output: &'static str, library: String },

    #[error(
        "{name} must be a list of rows, a 2-D integer array or an Arrow list array, not {found}"
    )]
    Rows { name: &'static str, found: String },
    #[error("{place} must be a list, a tuple or a 1-D integer array, not {found}")]
    Row { place: Place, found: String },
    #[error("{place} must have {expected} as an array, not {found}")]
    Dimensions { place: Place, expected: &'static str, found: usize },
    #[error("{place} must be an array of integers, not of {found}")]
    ArrayType { place: Place, found: String },
    #[error("{name} must be an Arrow list of integers, not {found}")]
    ArrowListType { name: &'static str, found: String },
    #[error("{place} is null")]
    Null { place: Place },
    #[error("{name} must give valid Arrow data through the PyCapsule interface, {found} does not")]
    Arrow { name: &'static str, found: String },
    #[error("{place} changed while it was read")]
    Changed { place: Place },

    #[error("{place} must be an integer, not {found}")]
    NotAnInteger { place: Place, found: String },
    #[error("{place} does not fit in an int64: it has {bits} bits")]
    Int64 { place: Place, bits: u64 },

    #[error(
        "{place} has length {length}, longer than the padded length {width} (truncate=True cuts it)"
    )]
    LongerThanWidth { place: Place, length: usize, width: usize },
    #[error("{place} has length {length}{with_ends}, longer than max_length {max_length}")]
    LongerThanRow { place: Place, length: usize, with_ends: String, max_length: usize },
    #[error("{name} has {found} rows, input_ids has {expected}")]
    ColumnRows { name: &'static str, found: usize, expected: usize },
    #[error("{name}[{row}] has length {found}, input_ids[{row}] has length {expected}")]
    ColumnLength { name: &'static str, row: usize, found: usize, expected: usize },

    #[error("rows must be a list of str or bytes, or an Arrow string or binary array, not {found}")]
    TextRows { found: String },
    #[error("{place} must be str or bytes, not {found}")]
    TextRow { place: Place, found: String },
    #[error("rows must be an Arrow string or binary array, not {found}")]
    ArrowTextType { found: String },
    #[error("existing_hashes must be an iterable of str, not {found}")]
    Existing { found: String },
    #[error("existing_hashes must hold str, not {found}")]
    ExistingItem { found: String },
    #[error("the text of rows can't be written: {reason}")]
    RowText { reason: String },

    #[error("{rows} rows of {width} tokens do not fit in memory")]
    TableMemory { rows: usize, width: usize },
    #[error("output='arrow' holds rows of at most {max} tokens, not of {width}", max = i32::MAX)]
    ArrowWidth { width: usize },
    #[error("out of memory")]
    Memory,
    #[error(transparent)]
    Python(#[from] PyErr),
}

/// Where something was found: an argument, a row of it, an element of the row.
#[derive(Clone, Copy, Debug)]
pub struct Place {
    pub name: &'static str,
    pub row: Option<usize>,
    pub element: Option<usize>,
}

impl Place {
    pub fn argument(name: &'static str) -> Self {
        Place { name, row: None, element: None }
    }

    pub fn row(name: &'static str, row: usize) -> Self {
        Place { name, row: Some(row), element: None }
    }

    pub fn element(name: &'static str, row: usize, element: usize) -> Self {
        Place { name, row: Some(row), element: Some(element) }
    }
}

impl std::fmt::Display for Place {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name)?;
        for index in [self.row, self.element].into_iter().flatten() {
            write!(f, "[{index}]")?;
        }
        Ok(())
    }
}

impl Error {
    /// The same error, told of the result that did not fit if that is what it is about.
    pub fn in_table(self, py: Python<'_>, rows: usize, width: usize) -> Self {
        match self {
            Error::Memory => Error::TableMemory { rows, width },
            Error::Python(error) if error.is_instance_of::<PyMemoryError>(py) => {
                Error::TableMemory { rows, width }
            }
            other => other,
        }
    }

    /// A row of `sequences` that is too long to pad.
    pub fn from_pad(name: &'static str, error: PadError) -> Self {
        match error {
            PadError::TooLong { row, length, width } => {
                Error::LongerThanWidth { place: Place::row(name, row), length, width }
            }
            PadError::Overflow(width) => {
                Error::TooLarge { name: "the padded length", found: width.to_string() }
            }
        }
    }

    /// A sequence of `name` that is too long to pack, with its `ends` end tokens.
    pub fn from_pack(name: &'static str, ends: usize, error: TooLong) -> Self {
        let with_ends = match ends {
            0 => String::new(),
            ends => format!(" ({} with its end tokens)", error.length + ends),
        };
        let place = Place::row(name, error.sequence);
        let TooLong { length, max_length, .. } = error;
        Error::LongerThanRow { place, length, with_ends, max_length }
    }
}

impl From<Error> for PyErr {
    fn from(error: Error) -> Self {
        let message = error.to_string();
        match error {
            Error::Python(error) => error,
            // Without words, as the interpreter raises it.
            Error::Memory => PyMemoryError::new_err(()),
            Error::TableMemory { .. } => PyMemoryError::new_err(message),
            Error::MissingLibrary { .. } => PyImportError::new_err(message),
            Error::Changed { .. } => PyRuntimeError::new_err(message),
            Error::TooLarge { .. } | Error::Int64 { .. } | Error::ArrowWidth { .. } => {
                PyOverflowError::new_err(message)
            }
            Error::NotAnInt { .. }
            | Error::Rows { .. }
            | Error::Row { .. }
            | Error::ArrayType { .. }
            | Error::ArrowListType { .. }
            | Error::NotAnInteger { .. }
            | Error::TextRows { .. }
            | Error::TextRow { .. }
            | Error::ArrowTextType { .. }
            | Error::Existing { .. }
            | Error::ExistingItem { .. }
            | Error::RowText { .. } => PyTypeError::new_err(message),
            Error::TooSmall { .. }
            | Error::Output { .. }
            | Error::PaddingSide
            | Error::Dimensions { .. }
            | Error::Null { .. }
            | Error::Arrow { .. }
            | Error::LongerThanWidth { .. }
            | Error::LongerThanRow { .. }
            | Error::ColumnRows { .. }
            | Error::ColumnLength { .. } => PyValueError::new_err(message),
        }
    }
}

pub type Result<T> = std::result::Result<T, Error>;
