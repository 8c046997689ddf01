//! Options of a format by name: those that the builders of `datasets` take, with the same meaning.

use crate::error::{ReadError, Result};

/// A value of an option, as plain data.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    None,
    Bool(bool),
    Int(i64),
    Float(f64),
    Str(String),
    Bytes(Vec<u8>),
    List(Vec<Value>),
    Map(Vec<(Value, Value)>),
}

impl Value {
    pub fn kind(&self) -> &'static str {
        match self {
            Value::None => "None",
            Value::Bool(_) => "bool",
            Value::Int(_) => "int",
            Value::Float(_) => "float",
            Value::Str(_) => "str",
            Value::Bytes(_) => "bytes",
            Value::List(_) => "list",
            Value::Map(_) => "dict",
        }
    }
}

/// The options of one call. A format takes what it knows and ends with [`Options::finish`], which
/// refuses what is left: a misspelt option is an error and not a surprise.
#[derive(Debug, Default)]
pub struct Options {
    values: Vec<(String, Value)>,
    known: Vec<&'static str>,
}

impl Options {
    pub fn new(values: Vec<(String, Value)>) -> Self {
        Options { values, known: Vec::new() }
    }

    /// Takes the value of `name`; `None` where it was not given. An explicit `None` of Python is
    /// `Some(Value::None)`.
    pub fn take(&mut self, name: &'static str) -> Option<Value> {
        self.known.push(name);
        let index = self.values.iter().position(|(key, _)| key == name)?;
        Some(self.values.swap_remove(index).1)
    }

    /// Whether `name` was given, as None of Python.
    pub fn has_none(&self, name: &str) -> bool {
        self.values.iter().any(|(key, value)| key == name && *value == Value::None)
    }

    pub fn take_bool(&mut self, name: &'static str) -> Result<Option<bool>> {
        self.take_as(name, "a bool", |value| match value {
            Value::Bool(value) => Some(value),
            _ => None,
        })
    }

    pub fn take_str(&mut self, name: &'static str) -> Result<Option<String>> {
        self.take_as(name, "a str", |value| match value {
            Value::Str(value) => Some(value),
            _ => None,
        })
    }

    pub fn take_usize(&mut self, name: &'static str) -> Result<Option<usize>> {
        const WANTED: &str = "an int that is not negative";
        let value = self.take_as(name, WANTED, |value| match value {
            Value::Int(value) => Some(value),
            _ => None,
        })?;
        let unsigned = |value| {
            usize::try_from(value)
                .map_err(|_| ReadError::request(format!("{name} must be {WANTED}, not {value}")))
        };
        value.map(unsigned).transpose()
    }

    pub fn take_strings(&mut self, name: &'static str) -> Result<Option<Vec<String>>> {
        self.take_as(name, "a list of str", |value| match value {
            Value::List(items) => items
                .into_iter()
                .map(|item| match item {
                    Value::Str(item) => Some(item),
                    _ => None,
                })
                .collect(),
            _ => None,
        })
    }

    /// `None` of Python counts as not given.
    pub fn take_as<T>(
        &mut self,
        name: &'static str,
        wanted: &str,
        read: impl FnOnce(Value) -> Option<T>,
    ) -> Result<Option<T>> {
        let value = match self.take(name) {
            None | Some(Value::None) => return Ok(None),
            Some(value) => value,
        };
        let kind = value.kind();
        match read(value) {
            Some(value) => Ok(Some(value)),
            None => Err(ReadError::request(format!("{name} must be {wanted}, not {kind}"))),
        }
    }

    /// Refuses what nobody took.
    pub fn finish(mut self, format: &str) -> Result<()> {
        let Some((name, _)) = self.values.first() else { return Ok(()) };
        self.known.sort_unstable();
        self.known.dedup();
        Err(ReadError::request(format!(
            "{format} has no option {name:?}; it has {}",
            self.known.join(", ")
        )))
    }
}
