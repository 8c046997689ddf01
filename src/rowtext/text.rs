//! A buffer that text is written into, row after row.

use crate::integers;

/// Text that grows at its end. The memory is kept when it is cleared.
#[derive(Default)]
pub struct Text {
    /// Always initialised to its full length; `length` bytes of it are text.
    bytes: Vec<u8>,
    length: usize,
}

impl Text {
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes[..self.length]
    }

    pub fn len(&self) -> usize {
        self.length
    }

    pub fn is_empty(&self) -> bool {
        self.length == 0
    }

    pub fn clear(&mut self) {
        self.length = 0;
    }

    /// Forgets what is after the first `length` bytes.
    pub fn truncate(&mut self, length: usize) {
        self.length = self.length.min(length);
    }

    /// The free bytes, at least `room` of them. `advance` makes text of them.
    #[inline(always)]
    pub fn room(&mut self, room: usize) -> &mut [u8] {
        if self.bytes.len() - self.length < room {
            self.grow(room);
        }
        &mut self.bytes[self.length..]
    }

    /// Makes text of the first `written` free bytes.
    #[inline(always)]
    pub fn advance(&mut self, written: usize) {
        self.length = (self.length + written).min(self.bytes.len());
    }

    #[cold]
    fn grow(&mut self, room: usize) {
        let size = (self.length + room).max(2 * self.bytes.len()).max(4096);
        self.bytes.resize(size, 0);
    }

    #[inline(always)]
    pub fn push(&mut self, text: &[u8]) {
        self.room(text.len())[..text.len()].copy_from_slice(text);
        self.advance(text.len());
    }

    #[inline(always)]
    pub fn push_u64(&mut self, value: u64) {
        let written = integers::write(value, self.room(integers::ROOM));
        self.advance(written);
    }

    #[inline(always)]
    pub fn push_i64(&mut self, value: i64) {
        if value < 0 {
            self.push(b"-");
        }
        self.push_u64(value.unsigned_abs());
    }

    /// The number with zeros before it, `width` digits in all.
    pub fn push_padded(&mut self, value: u64, width: usize) {
        let mut digits = [0; integers::ROOM];
        let length = integers::write(value, &mut digits);
        for _ in length..width {
            self.push(b"0");
        }
        self.push(&digits[..length]);
    }
}
