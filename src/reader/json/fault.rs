//! What stops a parser, and where.

use std::fmt;

/// Values are nested at most so deep.
pub const MAX_DEPTH: usize = 512;

/// Boxed: a result that carries it is as small as a pointer, which the hot loops return by.
#[derive(Debug, Clone, PartialEq)]
pub struct Fault(Box<Inner>);

#[derive(Debug, Clone, PartialEq)]
pub struct Inner {
    /// The byte of the block that it was met at.
    pub at: usize,
    pub cause: FaultCause,
    /// The names that lead to the value, innermost first while the parser unwinds.
    path: Vec<String>,
}

#[derive(Debug, Clone, PartialEq)]
pub enum FaultCause {
    /// Not JSON.
    Syntax(&'static str),
    /// Sound JSON that does not fit the column.
    Type { found: String, expected: String },
    /// A row that is no object.
    NotAnObject(&'static str),
    /// A key that the schema lacks.
    NewColumn { name: String, found: &'static str },
    /// A key that is there twice in one object.
    Twice(String),
    /// Nested deeper than [`MAX_DEPTH`].
    TooDeep,
    /// More text in one block than 32-bit offsets reach.
    TooLarge,
}

pub type Parsed<T> = Result<T, Fault>;

impl Fault {
    #[cold]
    pub fn new(at: usize, cause: FaultCause) -> Self {
        Fault(Box::new(Inner { at, cause, path: Vec::new() }))
    }

    #[cold]
    pub fn syntax(at: usize, what: &'static str) -> Self {
        Self::new(at, FaultCause::Syntax(what))
    }

    #[cold]
    pub fn inside(mut self, name: &str) -> Self {
        self.0.path.push(name.to_owned());
        self
    }

    pub fn at(&self) -> usize {
        self.0.at
    }

    pub fn cause(&self) -> &FaultCause {
        &self.0.cause
    }

    /// The column, with the keys inside it: `messages.[].role`.
    pub fn column(&self) -> Option<String> {
        let mut path: Vec<&str> = self.0.path.iter().map(String::as_str).collect();
        path.reverse();
        match &self.0.cause {
            FaultCause::NewColumn { name, .. } | FaultCause::Twice(name) => path.push(name),
            _ => {}
        }
        (!path.is_empty()).then(|| path.join("."))
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0.cause {
            FaultCause::Syntax(what) => write!(f, "not valid JSON: {what}"),
            FaultCause::Type { found, expected } => {
                write!(f, "found {found} where the schema has {expected}")
            }
            FaultCause::NotAnObject(found) => {
                write!(f, "found {found} where a row must be an object")
            }
            FaultCause::NewColumn { found, .. } => {
                write!(f, "found {found} under a key that the schema does not have")
            }
            FaultCause::Twice(name) => write!(f, "the key {name:?} is there twice in one object"),
            FaultCause::TooDeep => {
                write!(f, "nested deeper than {} levels", MAX_DEPTH)
            }
            FaultCause::TooLarge => f.write_str("more than 2 GB in one column of a block"),
        }
    }
}
