//! The rows of a block, one after the other, and what is wrong with one.

use std::borrow::Cow;

use memchr::memchr_iter;

use super::cursor::Cursor;
use super::fault::{Fault, FaultCause};
use super::split::{BOM, Layout};
use crate::error::ReadError;
use crate::pipeline::Block;
use crate::text::encoding::{self, OnError};

const INVALID_UTF8: &str = "bytes that are not UTF-8 (another encoding? it can be given)";

/// Walks over the rows of a block.
pub struct RowCursor<'a> {
    pub cursor: Cursor<'a>,
    layout: Layout,
    /// What the block has before a fault that the cursor does not know: bytes that are not UTF-8.
    invalid: Option<usize>,
    /// Whether the bracket that closes the array lies behind.
    pub ended: bool,
    /// Whether all rows so far began on a line of their own.
    pub one_a_line: bool,
    has_row: bool,
}

impl<'a> RowCursor<'a> {
    /// `data`: the content of the block, with what is no text replaced, if it is to be.
    pub fn new(data: &'a [u8], is_first: bool, layout: Layout, ujson: bool) -> Self {
        let invalid = match simdutf8::basic::from_utf8(data) {
            Ok(_) => None,
            Err(_) => simdutf8::compat::from_utf8(data).err().map(|error| error.valid_up_to()),
        };
        let mut cursor = Cursor::new(&data[..invalid.unwrap_or(data.len())]);
        cursor.lenient = ujson || layout.is_array();
        cursor.drops_surrogates = layout.is_array();
        let mut rows =
            RowCursor { cursor, layout, invalid, ended: false, one_a_line: true, has_row: false };
        if is_first {
            rows.start();
        }
        rows
    }

    fn start(&mut self) {
        if self.cursor.bytes.starts_with(BOM) {
            self.cursor.at = BOM.len();
            self.one_a_line = false;
        }
        if self.layout.is_array() && self.cursor.next_byte() == Some(b'[') {
            self.cursor.at += 1;
            if self.cursor.next_byte() == Some(b']') {
                self.end();
            }
        }
    }

    fn end(&mut self) {
        self.cursor.at += 1;
        self.ended = true;
    }

    /// Steps to the next row; false at the end of the block.
    #[inline]
    pub fn next_row(&mut self) -> Result<bool, Fault> {
        if !self.layout.is_array() {
            let from = self.cursor.at;
            let found = self.cursor.next_byte().is_some();
            let gap = &self.cursor.bytes[from..self.cursor.at];
            let breaks = line_breaks(gap);
            // One line break between two rows, none before the first, nothing behind that of the last.
            self.one_a_line &= match gap.last() {
                _ if found => breaks == usize::from(self.has_row),
                Some(b'\n' | b'\r') => breaks == 1,
                _ => breaks == 0,
            };
            self.has_row = true;
            return if found { Ok(true) } else { self.at_end(false) };
        }
        match self.cursor.next_byte() {
            None => self.at_end(false),
            Some(_) if self.ended => self.cursor.fault("something behind the end of the array"),
            Some(_) => Ok(true),
        }
    }

    fn at_end(&self, more: bool) -> Result<bool, Fault> {
        match self.invalid {
            Some(at) => Err(Fault::syntax(at, INVALID_UTF8)),
            None => Ok(more),
        }
    }

    /// Steps over what follows a row.
    #[inline]
    pub fn end_row(&mut self) -> Result<(), Fault> {
        if !self.layout.is_array() {
            return Ok(());
        }
        match self.cursor.next_byte() {
            Some(b',') => {
                self.cursor.at += 1;
                Ok(())
            }
            Some(b']') => {
                self.end();
                Ok(())
            }
            _ => self.cursor.fault("no comma or ] after a value of the array"),
        }
    }

    /// The fault as whoever reads the file should see it: what stops the cursor where bytes are not
    /// UTF-8 is that.
    pub fn explain(&self, fault: Fault) -> Fault {
        match self.invalid {
            Some(at) if fault.at() >= at => Fault::syntax(at, INVALID_UTF8),
            _ => fault,
        }
    }
}

/// The line breaks that Python's `bytes.splitlines` sees.
pub fn line_breaks(bytes: &[u8]) -> usize {
    let alone = |&at: &usize| bytes.get(at + 1) != Some(&b'\n');
    memchr_iter(b'\n', bytes).count() + memchr_iter(b'\r', bytes).filter(alone).count()
}

/// The content of a block, with what is no text replaced or left out, if it is to be.
pub fn content(block: &Block, on_error: OnError) -> Cow<'_, [u8]> {
    let data = block.data();
    match on_error {
        OnError::Strict => Cow::Borrowed(data),
        _ => match encoding::utf8(data, on_error) {
            Ok(Cow::Owned(text)) => Cow::Owned(text.into_bytes()),
            _ => Cow::Borrowed(data),
        },
    }
}

/// The error that a fault in the content of a block is.
pub fn read_error(fault: &Fault, data: &[u8], row: u64, late: bool) -> ReadError {
    let message = fault.to_string();
    let error = match fault.cause() {
        FaultCause::Type { .. } | FaultCause::NewColumn { .. } if late => ReadError::late(message),
        FaultCause::Type { .. } | FaultCause::NewColumn { .. } => ReadError::schema(message),
        FaultCause::TooLarge => ReadError::too_large(message),
        _ => ReadError::damaged(message),
    };
    let at = fault.at().min(data.len());
    let line = 1 + memchr_iter(b'\n', &data[..at]).count() as u64;
    let error = error.at_row(row).at_line(line).at_byte(at as u64);
    match fault.column() {
        Some(column) => error.in_column(column),
        None => error,
    }
}
