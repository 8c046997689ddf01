//! Integers in the memory of NumPy arrays, through the buffer protocol.

#![allow(unsafe_code)]

use kernels::integers::Integers;
use numpy::npyffi::{PyArrayObject, npy_intp};
use pyo3::buffer::{ElementType, PyUntypedBuffer};
use pyo3::ffi;
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;

use crate::error::{Error, Place, Result};
use crate::py::objects::loaded;

/// A 1-D or 2-D array of native integers, of any stride; a 1-D array is one row.
///
/// The memory stays where it is while this lives: that is what the buffer protocol promises.
pub struct IntegerBuffer {
    buffer: PyUntypedBuffer,
    signed: bool,
}

/// Holds a row that does not lie contiguous in memory.
#[derive(Default)]
pub struct Scratch(Vec<u64>);

impl IntegerBuffer {
    pub fn new(place: Place, array: Borrowed<'_, '_, PyAny>) -> Result<Self> {
        let buffer = PyUntypedBuffer::get(&array.to_owned())?;
        let refused = || Error::ArrayType {
            place,
            found: format!("format {}", buffer.format().to_string_lossy()),
        };
        let (signed, bytes) = match ElementType::from_format(buffer.format()) {
            ElementType::SignedInteger { bytes } => (true, bytes),
            ElementType::UnsignedInteger { bytes } => (false, bytes),
            _ => return Err(refused()),
        };
        let fits = matches!(bytes, 1 | 2 | 4 | 8) && bytes == buffer.item_size();
        if !fits || !matches!(buffer.dimensions(), 1 | 2) || buffer.suboffsets().is_some() {
            return Err(refused());
        }
        Ok(IntegerBuffer { buffer, signed })
    }

    pub fn rows(&self) -> usize {
        match self.buffer.shape() {
            [rows, _] => *rows,
            _ => 1,
        }
    }

    /// Elements of a row.
    pub fn width(&self) -> usize {
        self.buffer.shape().last().copied().unwrap_or(0)
    }

    /// Row `i`, where it lies or copied into `scratch`; None where there is none.
    pub fn row<'a>(&'a self, i: usize, scratch: &'a mut Scratch) -> Option<Integers<'a>> {
        if i >= self.rows() {
            return None;
        }
        let width = self.width();
        if width == 0 {
            return Some(Integers::I64(&[]));
        }
        let size = self.buffer.item_size();
        let stride = *self.buffer.strides().last()?;
        let start = match self.buffer.dimensions() {
            2 => self.buffer.get_ptr(&[i, 0]),
            _ => self.buffer.get_ptr(&[0]),
        };
        let start: *const u8 = start.cast();
        let mut first = start;
        if stride != size as isize || start.align_offset(size) != 0 {
            scratch.0.clear();
            scratch.0.resize((width * size).div_ceil(size_of::<u64>()), 0);
            let to = scratch.0.as_mut_ptr().cast::<u8>();
            for j in 0..width {
                // SAFETY: the buffer has `width` elements of `size` bytes `stride` apart, and the
                // scratch has room for them side by side.
                unsafe {
                    let from = start.offset(j as isize * stride);
                    std::ptr::copy_nonoverlapping(from, to.add(j * size), size);
                }
            }
            first = to;
        }
        // SAFETY: `width` aligned integers lie from `first` on, in the array or in the scratch; both
        // are borrowed for as long as the result. The interpreter is attached while they are read.
        unsafe {
            Some(match (self.signed, size) {
                (true, 1) => Integers::I8(std::slice::from_raw_parts(first.cast(), width)),
                (true, 2) => Integers::I16(std::slice::from_raw_parts(first.cast(), width)),
                (true, 4) => Integers::I32(std::slice::from_raw_parts(first.cast(), width)),
                (true, _) => Integers::I64(std::slice::from_raw_parts(first.cast(), width)),
                (false, 1) => Integers::U8(std::slice::from_raw_parts(first.cast(), width)),
                (false, 2) => Integers::U16(std::slice::from_raw_parts(first.cast(), width)),
                (false, 4) => Integers::U32(std::slice::from_raw_parts(first.cast(), width)),
                (false, _) => Integers::U64(std::slice::from_raw_parts(first.cast(), width)),
            })
        }
    }
}

/// What of NumPy is compared with, looked up once.
struct Numpy {
    array: Py<PyAny>,
    int32: Py<PyAny>,
    int64: Py<PyAny>,
}

impl Numpy {
    fn new(numpy: &Bound<'_, PyAny>) -> Result<Self> {
        let py = numpy.py();
        let dtype = |name| numpy.call_method1(intern!(py, "dtype"), (name,)).map(Bound::unbind);
        Ok(Numpy {
            array: numpy.getattr(intern!(py, "ndarray"))?.unbind(),
            int32: dtype("int32")?,
            int64: dtype("int64")?,
        })
    }
}

/// The elements of a 1-D `numpy.ndarray` of int32 or int64 that lie side by side; None for all others.
///
/// A quarter of what the buffer protocol takes, which is much of a short call. True until Python code
/// runs: the array may be resized then.
pub fn plain_row<'a>(array: Borrowed<'a, '_, PyAny>) -> Result<Option<Integers<'a>>> {
    static NUMPY: PyOnceLock<Numpy> = PyOnceLock::new();
    let py = array.py();
    let numpy = match NUMPY.get(py) {
        Some(numpy) => numpy,
        None => {
            let Some(numpy) = loaded(py, intern!(py, "numpy"))? else {
                return Ok(None);
            };
            NUMPY.get_or_try_init(py, || Numpy::new(&numpy))?
        }
    };
    // SAFETY: the type is checked before the object is read as an array, whose fields are part of NumPy's
    // C ABI; it is borrowed for as long as the result.
    unsafe {
        if ffi::Py_TYPE(array.as_ptr()).cast() != numpy.array.as_ptr() {
            return Ok(None);
        }
        let head = &(*array.as_ptr().cast::<PyArrayObject>()).fields;
        let size = match head.descr.cast() {
            dtype if dtype == numpy.int32.as_ptr() => size_of::<i32>(),
            dtype if dtype == numpy.int64.as_ptr() => size_of::<i64>(),
            _ => return Ok(None),
        };
        let lies_plain = head.nd == 1
            && *head.strides == size as npy_intp
            && head.data.cast_const().align_offset(size) == 0;
        if !lies_plain {
            return Ok(None);
        }
        let count = *head.dimensions as usize;
        Ok(Some(match size {
            4 => Integers::I32(std::slice::from_raw_parts(head.data.cast(), count)),
            _ => Integers::I64(std::slice::from_raw_parts(head.data.cast(), count)),
        }))
    }
}
