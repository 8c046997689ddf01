//! Which rows are the first of their kind, by digest.

use crate::prefetch::prefetch;
use crate::sha256::Digest;

/// The places of distinct digests, which lie elsewhere.
///
/// Open addressing with linear probing (Knuth, The Art of Computer Programming 3, 6.4, algorithm L): a digest
/// is as good as random already, and a line of the cache holds eight slots. What a lookup costs is the way
/// to that line, which is known long before: see `expect`. A table that can't tell where it will look makes
/// deduplication of 100,000 rows take up to 1.7 times as long.
#[derive(Default)]
pub struct Seen {
    /// The first four bytes of a digest, and one more than its place; 0 where there is none.
    slots: Vec<u64>,
    used: usize,
}

/// There are more distinct digests than places.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TooMany;

impl Seen {
    /// With room for so many digests: 12 bytes for each.
    pub fn with_capacity(capacity: usize) -> Self {
        Seen { slots: vec![0; slots_for(capacity)], used: 0 }
    }

    /// Asks for the part of the table that `digest` will be looked for in.
    #[inline(always)]
    pub fn expect(&self, digest: &Digest) {
        prefetch(self.slots.as_ptr().wrapping_add(home(prefix(digest), self.slots.len())));
    }

    /// Notes that `digest` is at `place`; returns whether it is new.
    ///
    /// `is_at` tells whether the digest at a place noted before is this one.
    #[inline(always)]
    pub fn insert(
        &mut self,
        digest: &Digest,
        place: usize,
        is_at: impl Fn(usize) -> bool,
    ) -> Result<bool, TooMany> {
        let noted = u32::try_from(place).ok().and_then(|place| place.checked_add(1));
        let noted = noted.ok_or(TooMany)?;
        if slots_for(self.used + 1) > self.slots.len() {
            self.grow();
        }
        let prefix = prefix(digest);
        let mut at = home(prefix, self.slots.len());
        loop {
            let slot = self.slots[at];
            if slot == 0 {
                break;
            }
            if (slot >> 32) as u32 == prefix && is_at(slot as u32 as usize - 1) {
                return Ok(false);
            }
            at = next(at, self.slots.len());
        }
        self.slots[at] = u64::from(prefix) << 32 | u64::from(noted);
        self.used += 1;
        Ok(true)
    }

    #[cold]
    fn grow(&mut self) {
        let larger = vec![0; slots_for(2 * self.used + 8)];
        for slot in std::mem::replace(&mut self.slots, larger) {
            if slot != 0 {
                let mut at = home((slot >> 32) as u32, self.slots.len());
                while self.slots[at] != 0 {
                    at = next(at, self.slots.len());
                }
                self.slots[at] = slot;
            }
        }
    }
}

/// Slots for so many digests: at least a third stays free, so that a search soon ends.
#[inline(always)]
fn slots_for(digests: usize) -> usize {
    digests + digests / 2 + 1
}

#[inline(always)]
fn prefix(digest: &Digest) -> u32 {
    let [a, b, c, d, ..] = *digest;
    u32::from_le_bytes([a, b, c, d])
}

/// Where a search begins: prefixes spread over any number of slots, without a division.
#[inline(always)]
fn home(prefix: u32, slots: usize) -> usize {
    ((u128::from(prefix) * slots as u128) >> 32) as usize
}

#[inline(always)]
fn next(at: usize, slots: usize) -> usize {
    if at + 1 == slots { 0 } else { at + 1 }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn places_end_where_32_bits_do() {
        let mut seen = Seen::default();
        let last = u32::MAX as usize - 1;
        assert_eq!(seen.insert(&[1; 32], last, |_| false), Ok(true));
        assert_eq!(seen.insert(&[1; 32], 0, |place| place == last), Ok(false));
        assert_eq!(seen.insert(&[2; 32], last + 1, |_| false), Err(TooMany));
        assert_eq!(seen.insert(&[2; 32], usize::MAX, |_| false), Err(TooMany));
    }

    proptest! {
        #[test]
        fn the_first_of_each_kind_is_new(
            kinds in proptest::collection::vec(0u8..40, 0..200),
            capacity in 0usize..100,
            // At both ends of the table, where a search goes on at the other, and in between.
            first in proptest::sample::select(vec![0u8, 9, 255]),
            prefixes in proptest::sample::select(vec![1u8, 3, 40]),
        ) {
            // Digests share their first bytes, so that they must be compared whole.
            let digest = |kind: u8| {
                let mut digest = [first; 32];
                digest[3] = first.wrapping_add(kind % prefixes);
                digest[31] = kind;
                digest
            };
            let mut seen = Seen::with_capacity(capacity);
            let mut known: Vec<Digest> = Vec::new();
            for digest in kinds.into_iter().map(digest) {
                seen.expect(&digest);
                let new = seen.insert(&digest, known.len(), |place| known[place] == digest);
                prop_assert_eq!(new, Ok(!known.contains(&digest)));
                if new == Ok(true) {
                    known.push(digest);
                }
            }
        }
    }
}
