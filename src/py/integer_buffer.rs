//! Integers in the memory of NumPy arrays, through the buffer protocol.

#![allow(unsafe_code)]

use kernels::integers::Integers;
use pyo3::buffer::{ElementType, PyUntypedBuffer};
use pyo3::prelude::*;

use crate::error::{Error, Place, Result};

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
