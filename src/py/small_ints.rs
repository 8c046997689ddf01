//! The value of an int without a call, where it is small enough to lie in one digit.

#![allow(unsafe_code)]

use pyo3::ffi;
use pyo3::prelude::*;

use crate::py::list_emitter::Items;

/// Layout of `PyLongObject` as far as the first digit (`Include/cpython/longintrepr.h`).
#[repr(C)]
struct Long {
    #[cfg(not(Py_3_12))]
    base: ffi::PyVarObject,
    #[cfg(Py_3_12)]
    base: ffi::PyObject,
    /// Bits 0 and 1: 0 positive, 1 zero, 2 negative; from bit 3 on: the number of digits.
    #[cfg(Py_3_12)]
    tag: usize,
    digit: u32,
}

/// The value of an exact int of at most one digit (30 bits); None for every other object.
#[inline(always)]
pub fn small_int(object: Borrowed<'_, '_, PyAny>) -> Option<i64> {
    // SAFETY: the object is borrowed.
    unsafe { value_at(object.as_ptr()) }
}

/// The same for a pointer.
///
/// # Safety
/// It is that of an object that is alive.
#[inline(always)]
unsafe fn value_at(pointer: *mut ffi::PyObject) -> Option<i64> {
    // SAFETY: the type is checked first; every int has room for one digit. That digits are 32 bits
    // wide is checked when the module is loaded (`check_digits`).
    unsafe {
        if ffi::PyLong_CheckExact(pointer) == 0 {
            return None;
        }
        let long = pointer.cast::<Long>();
        #[cfg(not(Py_3_12))]
        {
            let size = (*long).base.ob_size as i64;
            (-1..=1).contains(&size).then(|| size * i64::from((*long).digit))
        }
        #[cfg(Py_3_12)]
        {
            let tag = (*long).tag;
            (tag < 2 << 3).then(|| (1 - (tag & 3) as i64) * i64::from((*long).digit))
        }
    }
}

/// Writes the values of the leading ints of at most one digit to `out`; returns how many there are.
#[inline]
pub fn write_small_ints(items: Items<'_>, out: &mut [i64]) -> usize {
    let mut written = 0;
    for (&pointer, target) in items.pointers().iter().zip(out) {
        // SAFETY: the items are alive while the view is.
        let Some(value) = (unsafe { value_at(pointer) }) else {
            break;
        };
        *target = value;
        written += 1;
    }
    written
}

/// Refuses an interpreter whose ints are laid out differently.
pub fn check_digits(py: Python<'_>) -> PyResult<()> {
    let size: usize = py.import("sys")?.getattr("int_info")?.getattr("sizeof_digit")?.extract()?;
    if size == size_of::<u32>() {
        return Ok(());
    }
    Err(pyo3::exceptions::PyImportError::new_err(format!(
        "fast_axolotl._core needs ints of 4-byte digits, this interpreter has {size}"
    )))
}
