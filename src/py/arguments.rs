//! Arguments that are not rows: sizes, sides, outputs, threads.

use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::PyString;

use crate::error::{Error, Result, unraised};
use crate::py::rows::type_name;
use crate::py::small_ints::small_int;

/// What the result is made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Output {
    Lists,
    Numpy,
    Torch,
    Arrow,
}

impl Output {
    #[inline]
    pub fn new(value: Option<Borrowed<'_, '_, PyAny>>) -> Result<Self> {
        let Some(value) = value else {
            return Ok(Output::Lists);
        };
        let text = value.cast::<PyString>().ok();
        match text.as_ref().and_then(|text| text.to_str().ok()) {
            Some("lists") => Ok(Output::Lists),
            Some("numpy") => Ok(Output::Numpy),
            Some("torch") => Ok(Output::Torch),
            Some("arrow") => Ok(Output::Arrow),
            _ => Err(Error::Output { found: value.repr()?.to_string_lossy().into_owned() }),
        }
    }

    pub fn name(self) -> &'static str {
        match self {
            Output::Lists => "lists",
            Output::Numpy => "numpy",
            Output::Torch => "torch",
            Output::Arrow => "arrow",
        }
    }
}

/// A size between `minimum` and `isize::MAX`.
#[inline]
pub fn size(name: &'static str, value: Borrowed<'_, '_, PyAny>, minimum: usize) -> Result<usize> {
    if let Some(small) = small_int(value)
        && let Ok(small) = usize::try_from(small)
        && small >= minimum
    {
        return Ok(small);
    }
    let found = index(name, value)?;
    match unraised(found.extract::<isize>()) {
        Some(size) if usize::try_from(size).is_ok_and(|size| size >= minimum) => {
            Ok(size.unsigned_abs())
        }
        None if found.gt(0)? => Err(Error::TooLarge { name, found: shown(&found)? }),
        _ => Err(Error::TooSmall { name, minimum, found: shown(&found)? }),
    }
}

/// A size, or None where there is none.
#[inline]
pub fn optional_size(
    name: &'static str,
    value: Option<Borrowed<'_, '_, PyAny>>,
) -> Result<Option<usize>> {
    match value {
        Some(value) if !value.is_none() => size(name, value, 0).map(Some),
        _ => Ok(None),
    }
}

/// A number of threads, of which no more than are usable will be used.
#[inline]
pub fn threads(value: Option<Borrowed<'_, '_, PyAny>>) -> Result<usize> {
    let name = "num_threads";
    let Some(value) = value else {
        return Ok(0);
    };
    match size(name, value, 0) {
        Err(Error::TooLarge { .. }) => Ok(usize::MAX),
        found => found,
    }
}

/// Any int.
pub fn index<'py>(
    name: &'static str,
    value: Borrowed<'_, 'py, PyAny>,
) -> Result<Bound<'py, PyAny>> {
    let py = value.py();
    let operator = py.import(intern!(py, "operator"))?;
    match operator.call_method1(intern!(py, "index"), (value,)) {
        Ok(found) => Ok(found),
        Err(error) if value.get_type().hasattr(intern!(py, "__index__"))? => Err(error.into()),
        Err(_) => Err(Error::NotAnInt { name, found: type_name(&value)? }),
    }
}

/// An int as errors show it: one of thousands of digits can't even be spelled.
pub fn shown(value: &Bound<'_, PyAny>) -> Result<String> {
    let bits: usize = value.call_method0(intern!(value.py(), "bit_length"))?.extract()?;
    match bits {
        0..=128 => Ok(value.str()?.to_string()),
        _ => Ok(format!("an int of {bits} bits")),
    }
}
