//! The plan of packed rows: which sequences share a row, from the lengths alone.

use thiserror::Error;

/// One packed row: the sequences up to `end` (exclusive) that the rows before it do not hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PackedRow {
    pub end: usize,
    /// Elements in use; the rest of the row is filled up.
    pub used: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("sequence {sequence} has length {length}, longer than {max_length}")]
pub struct TooLong {
    pub sequence: usize,
    pub length: usize,
    pub max_length: usize,
}

/// Packs by next-fit, in the order given: a sequence goes into the current row if it fits there
/// with its `ends` end tokens, and opens the next row if not. These are the rows of Axolotl's
/// `encode_streaming`. Sequences of no elements and no end tokens open no row.
pub fn plan(
    lengths: impl Iterator<Item = usize>,
    ends: usize,
    max_length: usize,
) -> Result<Vec<PackedRow>, TooLong> {
    let mut rows = Vec::new();
    let (mut used, mut sequences) = (0, 0);
    for (sequence, length) in lengths.enumerate() {
        let needed = length.saturating_add(ends);
        if needed > max_length - used {
            if needed > max_length {
                return Err(TooLong { sequence, length, max_length });
            }
            rows.push(PackedRow { end: sequence, used });
            used = 0;
        }
        used += needed;
        sequences = sequence + 1;
    }
    if used > 0 {
        rows.push(PackedRow { end: sequences, used });
    }
    Ok(rows)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Next-fit as Axolotl's `encode_streaming` has it: buffers of elements.
    fn naive(lengths: &[usize], ends: usize, max_length: usize) -> Vec<Vec<usize>> {
        let (mut rows, mut buffer) = (Vec::new(), Vec::new());
        for (sequence, length) in lengths.iter().enumerate() {
            let tokens = vec![sequence; length + ends];
            if buffer.len() + tokens.len() > max_length {
                rows.push(std::mem::take(&mut buffer));
            }
            buffer.extend(tokens);
        }
        if !buffer.is_empty() {
            rows.push(buffer);
        }
        rows
    }

    #[test]
    fn nothing_packs_into_no_rows() {
        assert_eq!(plan([].into_iter(), 2, 8), Ok(vec![]));
        assert_eq!(plan([0, 0].into_iter(), 0, 8), Ok(vec![]));
    }

    #[test]
    fn empty_sequences_still_get_their_end_tokens() {
        let rows = plan([0, 0, 0].into_iter(), 2, 4);
        let expected = vec![PackedRow { end: 2, used: 4 }, PackedRow { end: 3, used: 2 }];
        assert_eq!(rows, Ok(expected));
    }

    #[test]
    fn a_sequence_that_cannot_fit_is_named() {
        let error = TooLong { sequence: 1, length: 7, max_length: 8 };
        assert_eq!(plan([3, 7].into_iter(), 2, 8), Err(error));
        let error = TooLong { sequence: 0, length: usize::MAX, max_length: 8 };
        assert_eq!(plan([usize::MAX].into_iter(), 2, 8), Err(error));
    }

    proptest! {
        #[test]
        fn rows_are_those_of_the_naive_loop(
            lengths in proptest::collection::vec(0usize..20, 0..60), ends in 0usize..3,
        ) {
            let max_length = 24;
            let rows = plan(lengths.iter().copied(), ends, max_length)?;
            let expected = naive(&lengths, ends, max_length);
            prop_assert_eq!(rows.len(), expected.len());
            let mut first = 0;
            for (row, tokens) in rows.iter().zip(&expected) {
                prop_assert_eq!(row.used, tokens.len());
                let held: Vec<usize> = (first..row.end)
                    .flat_map(|sequence| vec![sequence; lengths[sequence] + ends])
                    .collect();
                prop_assert_eq!(&held, tokens);
                first = row.end;
            }
        }
    }
}
