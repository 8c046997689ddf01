//! Which rows are the first of their kind, by digest.

use hashbrown::HashTable;

use crate::sha256::Digest;

/// The digests seen so far.
#[derive(Default)]
pub struct Seen {
    /// Places in `digests`, found by the first eight bytes of the digest, which are as good as random.
    table: HashTable<usize>,
    digests: Vec<Digest>,
}

impl Seen {
    /// Makes room for as many digests more.
    pub fn reserve(&mut self, more: usize) {
        let digests = &self.digests;
        self.table.reserve(more, |&place| prefix(&digests[place]));
        self.digests.reserve(more);
    }

    /// Adds a digest; returns whether it is new.
    #[inline]
    pub fn insert(&mut self, digest: &Digest) -> bool {
        let place = self.digests.len();
        let digests = &self.digests;
        let entry = self.table.entry(
            prefix(digest),
            |&other| digests[other] == *digest,
            |&other| prefix(&digests[other]),
        );
        match entry {
            hashbrown::hash_table::Entry::Occupied(_) => false,
            hashbrown::hash_table::Entry::Vacant(vacant) => {
                vacant.insert(place);
                self.digests.push(*digest);
                true
            }
        }
    }

    /// All digests, in the order in which they came.
    pub fn digests(&self) -> &[Digest] {
        &self.digests
    }
}

fn prefix(digest: &Digest) -> u64 {
    let [a, b, c, d, e, f, g, h, ..] = *digest;
    u64::from_le_bytes([a, b, c, d, e, f, g, h])
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::HashSet;

    proptest! {
        #[test]
        fn the_first_of_each_kind_is_new(kinds in proptest::collection::vec(0u8..40, 0..200)) {
            // All digests share their first bytes, so that the table must compare them whole.
            let digest = |kind: u8| { let mut digest = [9; 32]; digest[31] = kind; digest };
            let (mut seen, mut known) = (Seen::default(), HashSet::new());
            for &kind in &kinds {
                prop_assert_eq!(seen.insert(&digest(kind)), known.insert(kind));
            }
            prop_assert_eq!(seen.digests().len(), known.len());
        }
    }
}
