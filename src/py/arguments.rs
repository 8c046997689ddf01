//! Arguments that are not rows: sizes, sides, outputs, threads.

use std::sync::OnceLock;

use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::PyString;

use crate::error::{Error, Result};
use crate::py::objects::{self, type_name};
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
        match Output::named(value) {
            Some(output) => Ok(output),
            None => Err(Error::Output { found: value.repr()?.to_string_lossy().into_owned() }),
        }
    }

    /// The output of this name, if there is one. Runs no code of the caller's.
    #[inline]
    pub fn named(value: Borrowed<'_, '_, PyAny>) -> Option<Self> {
        match value.cast::<PyString>().ok()?.to_str().ok()? {
            "lists" => Some(Output::Lists),
            "numpy" => Some(Output::Numpy),
            "torch" => Some(Output::Torch),
            "arrow" => Some(Output::Arrow),
            _ => None,
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
    match found.extract::<isize>() {
        Ok(size) if usize::try_from(size).is_ok_and(|size| size >= minimum) => {
            Ok(size.unsigned_abs())
        }
        Err(_) if found.gt(0)? => Err(Error::TooLarge { name, found: shown(&found)? }),
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

/// How many elements a result may have, by the memory of the machine.
static MOST_ELEMENTS: OnceLock<usize> = OnceLock::new();

/// Asks once for the memory of the machine: when the module is loaded, for it runs Python code, which a
/// call may not while it has views of the caller's lists.
pub fn look_at_memory(py: Python<'_>) {
    let asked = || -> PyResult<usize> {
        let os = py.import("os")?;
        let ask = |name| os.call_method1("sysconf", (name,))?.extract::<usize>();
        Ok(ask("SC_PHYS_PAGES")?.saturating_mul(ask("SC_PAGE_SIZE")?))
    };
    // Windows promises no more than there is, and has no `sysconf`.
    let most = asked().map_or(usize::MAX, |memory| memory.saturating_mul(2) / size_of::<i64>());
    let _ = MOST_ELEMENTS.set(most);
}

/// Fails where a result of `rows` x `width` tokens is not to be tried: macOS, and Linux where
/// `vm.overcommit_memory` is 1, promise any memory and end the process that uses it. What is over
/// twice the physical memory, more than swap makes up for, is not tried.
#[inline]
pub fn check_memory(rows: usize, width: usize) -> Result<()> {
    match MOST_ELEMENTS.get() {
        Some(&most) if rows.saturating_mul(width) > most => Err(Error::TableMemory { rows, width }),
        _ => Ok(()),
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
    match objects::index(&value) {
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
