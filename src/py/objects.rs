//! What there is to ask of any Python object.

use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::{PyDict, PyString};

use crate::error::Result;

/// The name of its type, for messages.
pub fn type_name(value: &Bound<'_, PyAny>) -> Result<String> {
    Ok(value.get_type().name()?.to_string())
}

/// A module that is loaded.
pub fn loaded<'py>(
    py: Python<'py>,
    name: &Bound<'py, PyString>,
) -> Result<Option<Bound<'py, PyAny>>> {
    static MODULES: PyOnceLock<Py<PyAny>> = PyOnceLock::new();
    let modules = MODULES.import(py, "sys", "modules")?;
    let Ok(modules) = modules.cast::<PyDict>() else {
        return Ok(None);
    };
    Ok(modules.get_item(name)?.filter(|module| !module.is_none()))
}

/// `operator.index(value)`.
pub fn index<'py>(value: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyAny>> {
    static INDEX: PyOnceLock<Py<PyAny>> = PyOnceLock::new();
    INDEX.import(value.py(), "operator", "index")?.call1((value,))
}
