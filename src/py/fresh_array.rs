//! The memory of an array that was just made, as a slice of int64.

#![allow(unsafe_code)]

use pyo3::buffer::PyBuffer;
use pyo3::ffi;
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;

use crate::error::{Error, Place, Result};

/// Writable, contiguous memory of int64 that no other code knows yet.
pub struct FreshArray {
    /// What the memory belongs to, or its export by the buffer protocol.
    _owner: Owner,
    first: *mut i64,
    count: usize,
}

enum Owner {
    Array { _array: Py<PyAny> },
    Buffer { _buffer: PyBuffer<i64> },
}

/// The head of NumPy's `PyArrayObject_fields`, which is part of its C ABI.
/// <https://numpy.org/doc/stable/reference/c-api/types-and-structures.html>
#[repr(C)]
struct NumpyArray {
    base: ffi::PyObject,
    data: *mut i64,
}

impl FreshArray {
    /// Takes the memory of `owner`, which the caller has made and shown to nobody.
    pub fn new(owner: &Bound<'_, PyAny>) -> Result<Self> {
        let buffer = PyBuffer::<i64>::get(owner)?;
        if buffer.readonly() || !buffer.is_c_contiguous() {
            return Err(Error::Changed { place: Place::argument("output") });
        }
        let (first, count) = (buffer.buf_ptr().cast(), buffer.item_count());
        Ok(FreshArray { _owner: Owner::Buffer { _buffer: buffer }, first, count })
    }

    /// The same for what `numpy.empty` returned: `count` int64, not none.
    ///
    /// The pointer is read where NumPy keeps it, once it was seen there: a tenth of what the buffer
    /// protocol takes.
    pub fn of_numpy(array: &Bound<'_, PyAny>, count: usize) -> Result<Self> {
        static IS_THERE: PyOnceLock<bool> = PyOnceLock::new();
        // SAFETY: any object that `numpy.empty` returns is larger than its head, which is compared with
        // what the buffer protocol says before it is believed.
        let data = unsafe { (*array.as_ptr().cast::<NumpyArray>()).data };
        let is_there = IS_THERE.get_or_try_init(array.py(), || {
            Self::new(array).map(|fresh| fresh.first == data && fresh.count == count)
        })?;
        if !is_there {
            return Self::new(array);
        }
        let owner = Owner::Array { _array: array.clone().unbind() };
        Ok(FreshArray { _owner: owner, first: data, count })
    }

    /// The same for what `torch.empty` returned: `count` int64 on the CPU.
    ///
    /// None where it is anything else: a mode of torch may have had its way with the call. The view that
    /// `numpy()` gives would do, if it did not take from the tensor that it can be resized.
    pub fn of_tensor(
        tensor: &Bound<'_, PyAny>,
        kind: &Bound<'_, PyAny>,
        int64: &Bound<'_, PyAny>,
        count: usize,
    ) -> Result<Option<Self>> {
        let py = tensor.py();
        let is_plain = tensor.get_type().is(kind)
            && tensor.getattr(intern!(py, "dtype"))?.is(int64)
            && tensor.getattr(intern!(py, "is_cpu"))?.is_truthy()?
            && tensor.call_method0(intern!(py, "is_contiguous"))?.is_truthy()?
            && tensor.call_method0(intern!(py, "numel"))?.extract::<usize>()? == count;
        if !is_plain {
            return Ok(None);
        }
        let address: usize = tensor.call_method0(intern!(py, "data_ptr"))?.extract()?;
        let first = std::ptr::with_exposed_provenance_mut::<i64>(address);
        if !first.is_aligned() || (first.is_null() && count > 0) {
            return Ok(None);
        }
        let owner = Owner::Array { _array: tensor.clone().unbind() };
        Ok(Some(FreshArray { _owner: owner, first, count }))
    }

    pub fn as_mut_slice(&mut self) -> &mut [i64] {
        if self.count == 0 {
            return &mut [];
        }
        // SAFETY: `count` int64 lie at the pointer, and stay there while the owner is held. Nobody else
        // reads or writes them: the array has just been made.
        unsafe { std::slice::from_raw_parts_mut(self.first, self.count) }
    }
}
