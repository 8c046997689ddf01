//! What the interpreter knows and pyo3 has no safe name for: the context, the collector, what is raised later.

#![allow(unsafe_code)]

use std::ffi::{c_int, c_void};
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

/// Whether this is the interpreter that the process began with, and no subinterpreter.
pub fn is_main(_py: Python<'_>) -> bool {
    // SAFETY: the interpreter is attached, which `_py` proves; the pointers are only compared.
    unsafe { ffi::PyInterpreterState_Get() == ffi::PyInterpreterState_Main() }
}

/// Whether the garbage collector runs by itself.
pub fn collector_is_on(_py: Python<'_>) -> bool {
    // SAFETY: the interpreter is attached, which `_py` proves.
    unsafe { ffi::PyGC_IsEnabled() != 0 }
}

/// Raises an exception in the main thread as soon as that runs Python again: for what a caller that is not
/// Python can't be given.
pub fn raise_soon(_py: Python<'_>, error: PyErr) {
    let error = Box::into_raw(Box::new(error));
    // SAFETY: `raise` gets what it expects, once.
    unsafe {
        if ffi::Py_AddPendingCall(Some(raise), error.cast()) < 0 {
            drop(Box::from_raw(error));
        }
    }
}

extern "C" fn raise(error: *mut c_void) -> c_int {
    // SAFETY: what `raise_soon` made, and the interpreter calls this once for it.
    let error = unsafe { Box::from_raw(error.cast::<PyErr>()) };
    Python::attach(|py| error.restore(py));
    -1
}
