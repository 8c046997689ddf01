//! The bytes of str and bytes objects, and str objects of hexadecimal digits.

#![allow(unsafe_code)]

use std::cell::RefCell;

use pyo3::exceptions::PyUnicodeEncodeError;
use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyString};

use crate::error::{Error, Place, Result};
use crate::py::arrow_rows::{self, ArrowBytes};
use crate::py::list_emitter::Items;
use crate::py::objects::type_name;
use crate::py::rows::sequence;

/// Rows of text or bytes.
pub enum TextRows<'py> {
    /// An exact list or tuple.
    Objects(Bound<'py, PyAny>),
    Arrow(ArrowBytes),
}

impl<'py> TextRows<'py> {
    /// Accepts what `fast_axolotl.reference` accepts, and refuses the rest in the same words.
    pub fn new(rows: Borrowed<'_, 'py, PyAny>) -> Result<Self> {
        let rows = match Items::of(rows) {
            Some(_) => rows.to_owned(),
            None => match arrow_rows::bytes("rows", rows)? {
                Some(bytes) => return Ok(TextRows::Arrow(bytes)),
                None => {
                    let found =
                        || -> Result<Error> { Ok(Error::TextRows { found: type_name(&rows)? }) };
                    match sequence(rows)? {
                        Some(rows) => rows,
                        None => return Err(found()?),
                    }
                }
            },
        };
        Ok(TextRows::Objects(rows))
    }

    /// The error of row `i`, which could not be held: `found`, unless a later row is of a wrong kind.
    /// Kinds come first, in the originals too.
    #[cold]
    pub fn culprit(&self, py: Python<'py>, i: usize, found: Error) -> Error {
        let TextRows::Objects(rows) = self else {
            return found;
        };
        let items = Items::of(rows.as_borrowed());
        let is_text = |row: &Borrowed<'_, '_, PyAny>| {
            row.is_instance_of::<PyString>() || row.is_instance_of::<PyBytes>()
        };
        let rows = (i..self.len()).filter_map(|j| Some((j, items?.get(py, j)?)));
        match rows.into_iter().find(|(_, row)| !is_text(row)) {
            Some((j, row)) => not_text(j, row).unwrap_or_else(|error| error),
            None => found,
        }
    }

    /// The bytes of the rows, and empty ones up to `FEW`; None where there are more rows, or one has to be
    /// encoded first. To be read at once, before Python code or another thread can run.
    #[inline(always)]
    pub fn plain(&self, py: Python<'py>) -> Option<[&[u8]; FEW]> {
        let TextRows::Objects(rows) = self else { return None };
        let items = Items::of(rows.as_borrowed()).filter(|items| items.len() <= FEW)?;
        let mut plain = [[].as_slice(); FEW];
        for (i, plain) in plain.iter_mut().enumerate().take(items.len()) {
            *plain = plain_bytes(items.get(py, i)?)?;
        }
        Some(plain)
    }

    pub fn len(&self) -> usize {
        match self {
            TextRows::Objects(rows) => Items::of(rows.as_borrowed()).map_or(0, |items| items.len()),
            TextRows::Arrow(bytes) => bytes.len(),
        }
    }
}

/// So few rows are read at once.
pub const FEW: usize = 16;

/// The bytes that an ASCII str or a bytes object is made of; None for everything else.
#[inline(always)]
fn plain_bytes<'a>(row: Borrowed<'a, '_, PyAny>) -> Option<&'a [u8]> {
    let pointer = row.as_ptr();
    // SAFETY: the kind of the object is checked before it is read as one. Its bytes neither change nor
    // move while it is alive, as it is for as long as it is borrowed.
    unsafe {
        let (data, length) = if ffi::PyUnicode_Check(pointer) != 0 {
            if ffi::PyUnicode_IS_COMPACT_ASCII(pointer) == 0 {
                return None;
            }
            (ffi::PyUnicode_DATA(pointer).cast::<u8>(), ffi::PyUnicode_GET_LENGTH(pointer))
        } else if ffi::PyBytes_Check(pointer) != 0 {
            (ffi::PyBytes_AsString(pointer).cast::<u8>(), ffi::PyBytes_Size(pointer))
        } else {
            return None;
        };
        Some(std::slice::from_raw_parts(data, length as usize))
    }
}

/// Owners of bytes, which stay readable whatever other threads do to the containers of the rows.
pub struct Owners<'py> {
    /// The row itself, or its UTF-8 where that is not what the row is made of. Only ever added to
    /// while it is borrowed.
    objects: RefCell<Vec<Bound<'py, PyAny>>>,
}

impl<'py> Owners<'py> {
    pub fn with_capacity(rows: usize) -> Self {
        Owners { objects: RefCell::new(Vec::with_capacity(rows)) }
    }

    /// The bytes of row `i` of a list or tuple.
    #[inline(always)]
    pub fn hold(&self, i: usize, row: Borrowed<'_, 'py, PyAny>) -> Result<&[u8]> {
        let Some(bytes) = plain_bytes(row) else {
            return self.hold_encoded(i, row);
        };
        // SAFETY: `self` keeps the object alive as long as the bytes are borrowed.
        let bytes = unsafe { std::slice::from_raw_parts(bytes.as_ptr(), bytes.len()) };
        self.objects.borrow_mut().push(row.to_owned());
        Ok(bytes)
    }

    /// A row that is not ASCII, through its UTF-8, which is not left behind in the str; an error for what is
    /// no text.
    #[cold]
    #[inline(never)]
    fn hold_encoded(&self, i: usize, row: Borrowed<'_, 'py, PyAny>) -> Result<&[u8]> {
        let py = row.py();
        let Ok(text) = row.cast::<PyString>() else {
            return Err(not_text(i, row)?);
        };
        let encoded = text.encode_utf8().map_err(|error| with_row(py, error, i))?;
        let bytes = encoded.as_bytes();
        // SAFETY: as in `hold`; the object that owns the bytes is kept with them.
        let bytes = unsafe { std::slice::from_raw_parts(bytes.as_ptr(), bytes.len()) };
        self.objects.borrow_mut().push(encoded.into_any());
        Ok(bytes)
    }
}

fn not_text(i: usize, row: Borrowed<'_, '_, PyAny>) -> Result<Error> {
    Ok(Error::TextRow { place: Place::row("rows", i), found: type_name(&row)? })
}

/// The error of a str that UTF-8 can't spell, with the row in its reason.
fn with_row(py: Python<'_>, error: PyErr, i: usize) -> Error {
    if !error.is_instance_of::<PyUnicodeEncodeError>(py) {
        return error.into();
    }
    let value = error.value(py);
    let attribute = |name: &str| value.getattr(name);
    // A new one: pickle and copy go by the arguments, which stay as they were given.
    let renewed = || {
        let reason = format!("{} (rows[{i}])", attribute("reason")?);
        let (encoding, object) = (attribute("encoding")?, attribute("object")?);
        let arguments = (encoding, object, attribute("start")?, attribute("end")?, reason);
        py.get_type::<PyUnicodeEncodeError>().call1(arguments)
    };
    renewed().map_or_else(Error::from, |error| PyErr::from_value(error).into())
}

/// A str of 64 ASCII characters.
#[inline(always)]
pub fn hex_str<'py>(py: Python<'py>, hex: &[u8; 64]) -> Result<Bound<'py, PyAny>> {
    // SAFETY: a fresh ASCII str of 64 characters, whose data nobody reads before it is written.
    unsafe {
        let text = Bound::from_owned_ptr_or_err(py, ffi::PyUnicode_New(64, 127))?;
        ffi::PyUnicode_DATA(text.as_ptr()).cast::<[u8; 64]>().write_unaligned(*hex);
        Ok(text)
    }
}
