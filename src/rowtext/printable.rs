//! Which characters `str.isprintable` calls printable: data of the running interpreter, asked for a
//! page of 256 characters at a time and kept.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

/// A bit for each character of a page, the first in the lowest bit of the first word.
pub type Bits = [u64; 4];

/// Tells of a page; None where Python can't be asked.
pub type Ask = fn(page: u32) -> Option<Bits>;

const PAGES: usize = 0x110000 / 256;

/// What is printable, as far as it was asked for.
pub struct Printable {
    ask: Ask,
    pages: Box<[Page]>,
}

/// Without a lock: threads that fill a page at once write the same, and a fork may come at any time.
#[derive(Default)]
struct Page {
    known: AtomicBool,
    bits: [AtomicU64; 4],
}

impl Printable {
    pub fn new(ask: Ask) -> Self {
        Printable { ask, pages: (0..PAGES).map(|_| Page::default()).collect() }
    }

    #[inline(always)]
    pub fn is_printable(&self, character: u32) -> Option<bool> {
        let (page, place) = (character / 256, character as usize % 256);
        let bits = &self.pages.get(page as usize)?;
        if !bits.known.load(Ordering::Acquire) {
            self.fill(page, bits)?;
        }
        Some(bits.bits[place / 64].load(Ordering::Relaxed) >> (place % 64) & 1 == 1)
    }

    #[cold]
    fn fill(&self, number: u32, page: &Page) -> Option<()> {
        for (word, bits) in page.bits.iter().zip((self.ask)(number)?) {
            word.store(bits, Ordering::Relaxed);
        }
        page.known.store(true, Ordering::Release);
        Some(())
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
        }
        assert_eq!(printable.is_printable(0x110000), None);
    }
}
