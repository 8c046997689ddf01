//! Ends of lines as Python's text files have them: LF, CR LF and CR are all of them, and all the same.

use std::io::{self, Read};

use memchr::{memchr, memchr2};

/// Where the line that starts at `from` ends, without and with its end; `None` where it has none. A CR at
/// the end of data that goes on may be half of an end.
#[inline]
pub(super) fn line_end(data: &[u8], from: usize, goes_on: bool) -> Option<(usize, usize)> {
    let found = from + memchr2(b'\n', b'\r', data.get(from..)?)?;
    if data.get(found) == Some(&b'\n') {
        return Some((found, found + 1));
    }
    match data.get(found + 1) {
        Some(b'\n') => Some((found, found + 2)),
        None if goes_on => None,
        _ => Some((found, found + 1)),
    }
}

/// Turns all ends of lines into LF.
pub(super) struct Unify {
    input: Box<dyn Read + Send>,
    /// The last byte read was a CR.
    after_cr: bool,
}

impl Unify {
    pub fn new(input: Box<dyn Read + Send>) -> Self {
        Unify { input, after_cr: false }
    }
}

impl Read for Unify {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            let count = self.input.read(buffer)?;
            let data = buffer.get_mut(..count).unwrap_or_default();
            if count == 0 || (!self.after_cr && memchr(b'\r', data).is_none()) {
                return Ok(count);
            }
            let mut kept = 0;
            for index in 0..count {
                let Some(byte) = data.get(index).copied() else { break };
                let half = byte == b'\n' && self.after_cr;
                self.after_cr = byte == b'\r';
                if !half {
                    if let Some(slot) = data.get_mut(kept) {
                        *slot = if byte == b'\r' { b'\n' } else { byte };
                    }
                    kept += 1;
                }
            }
            if kept > 0 {
                return Ok(kept);
            }
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    /// Gives a few bytes at a time.
    struct Slow(io::Cursor<Vec<u8>>, usize);

    impl Read for Slow {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            let count = buffer.len().min(self.1);
            self.0.read(&mut buffer[..count])
        }
    }

    #[test]
    fn all_ends_become_one() {
        for step in 1..6 {
            let data = b"a\r\nb\rc\n\r\r\n\n\rd".to_vec();
            let mut text = String::new();
            let slow = Box::new(Slow(io::Cursor::new(data), step));
            Unify::new(slow).read_to_string(&mut text).unwrap();
            assert_eq!(text, "a\nb\nc\n\n\n\n\nd");
        }
    }

    #[test]
    fn ends() {
        assert_eq!(line_end(b"ab\ncd", 0, false), Some((2, 3)));
        assert_eq!(line_end(b"ab\r\ncd", 0, false), Some((2, 4)));
        assert_eq!(line_end(b"ab\rcd", 0, false), Some((2, 3)));
        assert_eq!(line_end(b"ab\r", 0, true), None);
        assert_eq!(line_end(b"ab\r", 0, false), Some((2, 3)));
        assert_eq!(line_end("a\u{2028}\u{85}\x0b\x0cb".as_bytes(), 0, false), None);
    }
}
