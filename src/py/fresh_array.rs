//! The memory of an array that was just made, as a slice of int64.

#![allow(unsafe_code)]

use std::ffi::c_int;
use std::ptr::null_mut;

use numpy::npyffi::{NpyTypes, PY_ARRAY_API, get_type_object, npy_intp};
use numpy::{PyArray2, PyArrayDescrMethods, PyArrayMethods};
use pyo3::buffer::PyBuffer;
use pyo3::intern;
use pyo3::prelude::*;

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

    /// Makes a NumPy array of int64 and takes its memory. NumPy is loaded by now.
    ///
    /// By NumPy's C interface: `numpy.empty` takes twice as long to read its arguments as to do it.
    pub fn numpy<'py>(
        py: Python<'py>,
        rows: usize,
        width: usize,
    ) -> PyResult<(Bound<'py, PyAny>, Self)> {
        let mut shape = [rows as npy_intp, width as npy_intp];
        let dtype = numpy::dtype::<i64>(py).into_dtype_ptr();
        // SAFETY: the shape has as many members as said and lives as long as the call, which takes
        // the reference to the dtype. A null pointer stands for the error that was raised.
        let array = unsafe {
            let kind = get_type_object(py, NpyTypes::PyArray_Type);
            let array = PY_ARRAY_API.PyArray_NewFromDescr(
                py,
                kind,
                dtype,
                shape.len() as c_int,
                shape.as_mut_ptr(),
                null_mut(),
                null_mut(),
                0,
                null_mut(),
            );
            Bound::from_owned_ptr_or_err(py, array)?
        };
        // SAFETY: that is what was asked for.
        let first = unsafe { array.cast_unchecked::<PyArray2<i64>>() }.data();
        let owner = Owner::Array { _array: array.clone().unbind() };
        Ok((array, FreshArray { _owner: owner, first, count: rows * width }))
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
