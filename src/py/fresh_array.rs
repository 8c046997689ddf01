//! The memory of an array that was just made, as a slice of int64.

#![allow(unsafe_code)]

use pyo3::buffer::PyBuffer;
use pyo3::prelude::*;

use crate::error::{Error, Place, Result};

/// A writable, contiguous buffer of int64 that no other code knows yet.
pub struct FreshArray {
    buffer: PyBuffer<i64>,
}

impl FreshArray {
    /// Takes the memory of `owner`, which the caller has made and shown to nobody.
    pub fn new(owner: &Bound<'_, PyAny>) -> Result<Self> {
        let buffer = PyBuffer::<i64>::get(owner)?;
        if buffer.readonly() || !buffer.is_c_contiguous() {
            return Err(Error::Changed { place: Place::argument("output") });
        }
        Ok(FreshArray { buffer })
    }

    pub fn as_mut_slice(&mut self) -> &mut [i64] {
        let count = self.buffer.item_count();
        if count == 0 {
            return &mut [];
        }
        // SAFETY: `count` int64 lie at the pointer, aligned as PyBuffer checked, and stay there while
        // the buffer is held. Nobody else reads or writes them: the array has just been made.
        unsafe { std::slice::from_raw_parts_mut(self.buffer.buf_ptr().cast::<i64>(), count) }
    }
}
