//! What the interpreter knows and pyo3 has no safe name for: the context, the collector.

#![allow(unsafe_code)]

use std::ptr::null_mut;

use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;

static VARIABLE: PyOnceLock<Py<PyAny>> = PyOnceLock::new();

/// Remembers the context variable that holds the modes of a block; the first one stays.
pub fn set_variable(py: Python<'_>, variable: Py<PyAny>) {
    let _ = VARIABLE.set(py, variable);
}

/// The variable's value in the current context; None where it has none.
pub fn context_value(py: Python<'_>) -> Option<Bound<'_, PyAny>> {
    let variable = VARIABLE.get(py)?;
    let mut value = null_mut();
    // SAFETY: the interpreter is attached; what is no ContextVar is an error, not harm; the value, if
    // any, is a new reference.
    unsafe {
        if ffi::PyContextVar_Get(variable.as_ptr(), null_mut(), &mut value) < 0 {
            ffi::PyErr_Clear();
            return None;
        }
        Bound::from_owned_ptr_or_opt(py, value)
    }
}

/// Whether the garbage collector runs by itself.
pub fn collector_is_on(_py: Python<'_>) -> bool {
    // SAFETY: the interpreter is attached, which `_py` proves.
    unsafe { ffi::PyGC_IsEnabled() != 0 }
}
