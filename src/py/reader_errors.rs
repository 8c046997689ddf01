//! The reader's errors as Python exceptions.

use pyo3::exceptions::{PyNotImplementedError, PyRuntimeError, PyValueError};
use pyo3::intern;
use pyo3::prelude::*;
use reader::error::{Cause, ReadError};

/// The exception for an error. What is an `OSError` there is one here, of the subclass that its number
/// has, and a `RuntimeError` too; so is what is wrong with data, which is a `ValueError`.
pub fn exception(py: Python<'_>, error: &ReadError) -> PyErr {
    build(py, error).unwrap_or_else(|other| other)
}

fn build(py: Python<'_>, error: &ReadError) -> PyResult<PyErr> {
    let message = error.to_string();
    let errors = py.import(intern!(py, "fast_axolotl.streaming.errors"))?;
    Ok(match &error.cause {
        Cause::Io(cause) => {
            let file = error.file.as_deref();
            let reason = match cause.raw_os_error() {
                Some(_) => None,
                None => Some(cause.to_string()),
            };
            let kind = format!("{:?}", cause.kind());
            let make = errors.getattr(intern!(py, "os_error"))?;
            PyErr::from_value(make.call1((cause.raw_os_error(), kind, file, reason))?)
        }
        Cause::Damaged(_) | Cause::Schema { .. } | Cause::TooLarge(_) => {
            let kind = match &error.cause {
                Cause::Damaged(_) => intern!(py, "DamagedFileError"),
                Cause::Schema { .. } => intern!(py, "SchemaError"),
                _ => intern!(py, "TooLargeError"),
            };
            let exception = errors.getattr(kind)?.call1((message,))?;
            exception.setattr(intern!(py, "file"), error.file.as_deref())?;
            exception.setattr(intern!(py, "row"), error.place.row)?;
            exception.setattr(intern!(py, "line"), error.place.line)?;
            exception.setattr(intern!(py, "byte"), error.place.byte)?;
            exception.setattr(intern!(py, "column"), error.place.column.as_deref())?;
            PyErr::from_value(exception)
        }
        Cause::Request(_) => PyValueError::new_err(message),
        Cause::Format(_) => {
            let kind = errors.getattr(intern!(py, "UnknownFormatError"))?;
            PyErr::from_value(kind.call1((message,))?)
        }
        Cause::Unsupported(_) => PyNotImplementedError::new_err(message),
        Cause::Internal(_) => PyRuntimeError::new_err(message),
        // Replaced by what the signal handler raised; only its absence is left to say.
        Cause::Interrupted => pyo3::exceptions::PyKeyboardInterrupt::new_err(()),
    })
}
