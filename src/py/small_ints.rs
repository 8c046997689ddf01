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

/// Ints that are read between two branches.
const BLOCK: usize = 8;

/// Writes the values of the leading ints of at most one digit to `out`; returns how many there are.
#[inline]
pub fn write_small_ints(items: Items<'_>, out: &mut [i64]) -> usize {
    let pointers = items.pointers();
    let (blocks, _) = pointers.as_chunks::<BLOCK>();
    let (targets, _) = out.as_chunks_mut::<BLOCK>();
    let mut written = 0;
    for (block, target) in blocks.iter().zip(targets) {
        // SAFETY: the items are alive while the view is.
        if !unsafe { write_block(block, target) } {
            break;
        }
        written += BLOCK;
    }
    for (&pointer, target) in pointers.iter().zip(out).skip(written) {
        // SAFETY: as above.
        let Some(value) = (unsafe { value_at(pointer) }) else {
            break;
        };
        *target = value;
        written += 1;
    }
    written
}

/// Writes the values of ints of at most one digit; false where another object is among them.
///
/// # Safety
/// The pointers are those of objects that are alive.
#[inline(always)]
unsafe fn write_block(block: &[*mut ffi::PyObject; BLOCK], target: &mut [i64; BLOCK]) -> bool {
    // SAFETY: as in `value_at`: all types are checked before one object is read as an int.
    unsafe {
        let int = &raw mut ffi::PyLong_Type;
        if !block.iter().fold(true, |all, &object| all & ((*object).ob_type == int)) {
            return false;
        }
        let mut are_small = true;
        for (&object, target) in block.iter().zip(target) {
            let long = object.cast::<Long>();
            let digit = i64::from((*long).digit);
            #[cfg(not(Py_3_12))]
            {
                // Without a branch, and without a product: that of vectors of 64 bits takes longest.
                let size = (*long).base.ob_size as i64;
                are_small &= size.wrapping_add(1) as u64 <= 2;
                let sign = size >> 63;
                *target = ((digit & -i64::from(size != 0)) ^ sign) - sign;
            }
            #[cfg(Py_3_12)]
            {
                let tag = (*long).tag;
                are_small &= tag < 2 << 3;
                // 0 positive, 1 zero, 2 negative.
                let sign = -i64::from(tag & 2 != 0);
                *target = ((digit & -i64::from(tag & 1 == 0)) ^ sign) - sign;
            }
        }
        are_small
    }
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
