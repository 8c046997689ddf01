//! Which rows are the first of their kind, by digest.

use hashbrown::HashTable;
use hashbrown::hash_table::Entry;

use crate::sha256::Digest;

/// The places of distinct digests, which lie elsewhere.
#[derive(Default)]
pub struct Seen {
    /// The first four bytes of a digest, which are as good as random, and its place.
    table: HashTable<(u32, u32)>,
}

/// There are more distinct digests than places.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TooMany;

impl Seen {
    /// With room for so many digests.
    pub fn with_capacity(capacity: usize) -> Self {
        Seen { table: HashTable::with_capacity(capacity) }
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
        let [a, b, c, d, ..] = *digest;
        let prefix = u32::from_le_bytes([a, b, c, d]);
        let place = u32::try_from(place).map_err(|_| TooMany)?;
        let is_same = |&(other, place): &(u32, u32)| other == prefix && is_at(place as usize);
        match self.table.entry(spread(prefix), is_same, |&(prefix, _)| spread(prefix)) {
            Entry::Occupied(_) => Ok(false),
            Entry::Vacant(vacant) => {
                vacant.insert((prefix, place));
                Ok(true)
            }
        }
    }
}

/// 64 bits of which the upper and the lower are random: the table uses both.
#[inline(always)]
fn spread(prefix: u32) -> u64 {
    u64::from(prefix) << 32 | u64::from(prefix)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn places_end_where_32_bits_do() {
        let mut seen = Seen::default();
        assert_eq!(seen.insert(&[1; 32], u32::MAX as usize, |_| false), Ok(true));
        assert_eq!(seen.insert(&[2; 32], u32::MAX as usize + 1, |_| false), Err(TooMany));
    }

    proptest! {
        #[test]
        fn the_first_of_each_kind_is_new(
            kinds in proptest::collection::vec(0u8..40, 0..200), capacity in 0usize..100,
        ) {
            // All digests share their first bytes, so that they must be compared whole.
            let digest = |kind: u8| { let mut digest = [9; 32]; digest[31] = kind; digest };
            let mut seen = Seen::with_capacity(capacity);
            let mut known: Vec<Digest> = Vec::new();
            for digest in kinds.into_iter().map(digest) {
                let new = seen.insert(&digest, known.len(), |place| known[place] == digest);
                prop_assert_eq!(new, Ok(!known.contains(&digest)));
                if new == Ok(true) {
                    known.push(digest);
                }
            }
        }
    }
}
