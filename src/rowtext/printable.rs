//! Which characters `str.isprintable` calls printable: data of the running interpreter, asked for a
//! page of 256 characters at a time and kept.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

/// A bit for each character of a page, the first in the lowest bit of the first word.
pub type Bits = [u64; 4];

/// Tells of a page; None where Python can't be asked.
pub type Ask = fn(page: u32) -> Option<Bits>;

const CHARACTERS: usize = 0x110000;
const PAGE: usize = 256;

/// What is printable, as far as it was asked for.
pub struct Printable {
    ask: Ask,
    /// A bit for each character. Without a lock: threads that fill a page at once write the same, and a
    /// fork may come at any time.
    words: Box<[AtomicU64; CHARACTERS / 64]>,
    /// For each page: whether its bits are there. One that is set is true before that.
    known: Box<[AtomicBool; CHARACTERS / PAGE]>,
}

impl Printable {
    pub fn new(ask: Ask) -> Self {
        Printable {
            ask,
            words: Box::new([const { AtomicU64::new(0) }; CHARACTERS / 64]),
            known: Box::new([const { AtomicBool::new(false) }; CHARACTERS / PAGE]),
        }
    }

    /// Whether a character is; `None` where Python can't be asked.
    #[inline(always)]
    pub fn is_printable(&self, character: u32) -> Option<bool> {
        if self.is_known_printable(character) {
            return Some(true);
        }
        self.asked(character)
    }

    /// Whether a character is; false where that is not known yet.
    #[inline(always)]
    pub fn is_known_printable(&self, character: u32) -> bool {
        let word = self.words.get(character as usize / 64);
        word.is_some_and(|word| word.load(Ordering::Relaxed) >> (character % 64) & 1 == 1)
    }

    fn asked(&self, character: u32) -> Option<bool> {
        let page = character as usize / PAGE;
        let known = self.known.get(page)?;
        if !known.load(Ordering::Acquire) {
            let bits = (self.ask)(page as u32)?;
            for (word, bits) in self.words[page * PAGE / 64..].iter().zip(bits) {
                word.store(bits, Ordering::Relaxed);
            }
            known.store(true, Ordering::Release);
        }
        Some(self.is_known_printable(character))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_character_as_it_was_told() {
        let ask = |page| (page % 3 != 1).then_some([u64::from(page), 1, 2, 1 << 63]);
        let printable = Printable::new(ask);
        for page in 0..0x1100 {
            let found =
                [0, 1, 64, 129, 255].map(|place| printable.is_printable(256 * page + place));
            let bits = [page & 1 == 1, page >> 1 & 1 == 1, true, true, true];
            assert_eq!(found, bits.map(|bit| (page % 3 != 1).then_some(bit)));
            let found = [1, 64].map(|place| printable.is_known_printable(256 * page + place));
            assert_eq!(found, [page & 2 == 2, true].map(|bit| bit && page % 3 != 1));
        }
        assert_eq!(printable.is_printable(0x110000), None);
    }
}
