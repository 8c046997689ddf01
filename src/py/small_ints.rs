//! The value of an int without a call, where it is small enough to lie in one digit.

#![allow(unsafe_code)]

use pyo3::ffi;
use pyo3::prelude::*;

use crate::py::list_emitter::{BLOCK, Items, are_equal};

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
            // As token ids are: one comparison, and nothing to multiply.
            if size == 1 {
                return Some(i64::from((*long).digit));
            }
            (-1..=1).contains(&size).then(|| size * i64::from((*long).digit))
        }
        #[cfg(Py_3_12)]
        {
            let tag = (*long).tag;
            if tag == 1 << 3 {
                return Some(i64::from((*long).digit));
            }
            (tag < 2 << 3).then(|| (1 - (tag & 3) as i64) * i64::from((*long).digit))
        }
    }
}

/// Ints of at most one digit, and their values: of a list that was written before.
#[derive(Clone, Copy)]
pub struct Known<'a> {
    pub items: Items<'a>,
    pub values: &'a [i64],
}

impl<'a> Known<'a> {
    /// All but the first `n`.
    pub fn tail(self, n: usize) -> Self {
        let values = self.values.get(n..).unwrap_or_default();
        Known { items: self.items.tail(n), values }
    }

    fn chunk(&self, i: usize) -> Option<(&'a [*mut ffi::PyObject; BLOCK], &'a [i64; BLOCK])> {
        let (pointers, _) = self.items.pointers().as_chunks();
        let (values, _) = self.values.as_chunks();
        Some((pointers.get(i)?, values.get(i)?))
    }
}

/// Writes the values of the leading ints of at most one digit to `out`; returns how many there are.
///
/// Labels are mostly the very objects of the tokens, and masks the same one throughout: such objects are
/// not read again. `known` are those that may stand at the same places.
#[inline]
pub fn write_small_ints(items: Items<'_>, out: &mut [i64], known: Option<Known<'_>>) -> usize {
    let written = known.map_or(0, |known| write_chunks(items, out, known));
    let rest = items.tail(written).pointers().iter().zip(&mut out[written..]);
    let count = rest.len();
    for (i, (&pointer, target)) in rest.enumerate() {
        // SAFETY: the items are alive while the view is.
        let Some(value) = (unsafe { value_at(pointer) }) else {
            return written + i;
        };
        *target = value;
    }
    written + count
}

/// The same for the leading whole chunks.
#[inline]
fn write_chunks(items: Items<'_>, out: &mut [i64], known: Known<'_>) -> usize {
    let (chunks, _) = items.pointers().as_chunks::<BLOCK>();
    let (targets, _) = out.as_chunks_mut::<BLOCK>();
    let mut written = 0;
    for (i, (chunk, target)) in chunks.iter().zip(targets).enumerate() {
        if let Some((pointers, values)) = known.chunk(i)
            && chunk[0] == pointers[0]
            && are_equal(chunk, pointers)
        {
            *target = *values;
        } else {
            // SAFETY: the items are alive while the view is.
            let Some(values) = (unsafe { read_chunk(chunk) }) else {
                break;
            };
            *target = values;
        }
        written += BLOCK;
    }
    written
}

/// The values of ints of at most one digit; None where one is something else.
///
/// # Safety
/// The objects are alive.
#[inline(always)]
unsafe fn read_chunk(chunk: &[*mut ffi::PyObject; BLOCK]) -> Option<[i64; BLOCK]> {
    // SAFETY: the caller's promise.
    unsafe {
        if chunk[0] == chunk[1] && are_equal(chunk, &[chunk[0]; BLOCK]) {
            return value_at(chunk[0]).map(|value| [value; BLOCK]);
        }
        let mut values = [0; BLOCK];
        for (&pointer, value) in chunk.iter().zip(&mut values) {
            *value = value_at(pointer)?;
        }
        Some(values)
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
