//! Columns of text, in memory that is used again.
//!
//! What the string builders of arrow-array make; but theirs is fresh memory each time, and to get its
//! pages from the system takes longer than to write the text.

#![allow(unsafe_code)]

use arrow_array::{GenericStringArray, OffsetSizeTrait};
use arrow_buffer::{NullBufferBuilder, OffsetBuffer};

use crate::error::{ReadError, Result};
use crate::spare::Spare;

/// What a column of text keeps from batch to batch.
#[derive(Debug, Default)]
pub struct Kept {
    spare: Spare<u8>,
    /// Bytes of the last batch: the next will be much alike.
    bytes: usize,
}

/// A column of text on its way.
pub struct Texts<O: OffsetSizeTrait> {
    /// Of ends of texts in `bytes`, after the 0.
    offsets: Vec<O>,
    /// Nothing but whole texts.
    bytes: Vec<u8>,
    nulls: NullBufferBuilder,
}

impl<O: OffsetSizeTrait> Texts<O> {
    /// With room for so many rows, and for as much text as there was in the last batch, `most` bytes at
    /// the most.
    pub fn new(rows: usize, most: usize, kept: &Kept) -> Self {
        let mut offsets = Vec::with_capacity(rows + 1);
        offsets.push(O::zero());
        let bytes = kept.spare.take(kept.bytes, most);
        Texts { offsets, bytes, nulls: NullBufferBuilder::new(rows) }
    }

    /// Appends a row. An error where offsets can't tell its end: it is left out then.
    #[inline]
    pub fn append(&mut self, text: &str) -> Result<()> {
        self.append_both(text, "")
    }

    /// Appends a row of two texts.
    #[inline]
    pub fn append_both(&mut self, text: &str, other: &str) -> Result<()> {
        let end = self.bytes.len() + text.len() + other.len();
        let Some(end) = O::from_usize(end) else {
            return Err(ReadError::too_large("the rows of a batch have more than 2 GB"));
        };
        self.bytes.extend_from_slice(text.as_bytes());
        self.bytes.extend_from_slice(other.as_bytes());
        self.offsets.push(end);
        self.nulls.append_non_null();
        Ok(())
    }

    pub fn append_null(&mut self) {
        self.offsets.extend(self.offsets.last().copied());
        self.nulls.append_null();
    }

    /// The rows so far.
    pub fn finish(self, kept: &mut Kept) -> GenericStringArray<O> {
        let Texts { offsets, bytes, mut nulls } = self;
        if offsets.len() == 1 {
            // Behind the last row of a block. The next one will have some.
            kept.spare.give(bytes);
            return GenericStringArray::new_null(0);
        }
        kept.bytes = bytes.len();
        let (offsets, bytes) = (OffsetBuffer::new(offsets.into()), kept.spare.buffer(bytes));
        // SAFETY: the bytes are those of whole texts, which are UTF-8, and every offset is the end of one
        // of them, none before the one before it; there is a null or none for every row.
        unsafe { GenericStringArray::new_unchecked(offsets, bytes, nulls.finish()) }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use arrow_array::{Array, LargeStringArray, StringArray};
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn they_are_what_was_appended(
            batches in proptest::collection::vec(
                proptest::collection::vec(proptest::option::of((".{0,9}", 0usize..3000)), 0..60), 0..6,
            ),
        ) {
            let (mut kept, mut large_kept) = (Kept::default(), Kept::default());
            let mut before: Option<(StringArray, StringArray)> = None;
            for rows in batches {
                let rows: Vec<Option<String>> =
                    rows.into_iter().map(|row| row.map(|(text, times)| text.repeat(times))).collect();
                let mut texts = Texts::<i32>::new(rows.len(), usize::MAX, &kept);
                let mut large = Texts::<i64>::new(0, 0, &large_kept);
                for row in &rows {
                    match row {
                        Some(row) => {
                            texts.append(row).unwrap();
                            large.append_both(row, "\n").unwrap();
                        }
                        None => {
                            texts.append_null();
                            large.append_null();
                        }
                    }
                }
                let found = texts.finish(&mut kept);
                let wanted = StringArray::from_iter(&rows);
                prop_assert!(found.to_data().validate_full().is_ok());
                prop_assert_eq!(&found, &wanted);
                let ended = rows.iter().map(|row| row.as_ref().map(|row| format!("{row}\n")));
                prop_assert_eq!(large.finish(&mut large_kept), LargeStringArray::from_iter(ended));
                // The memory of one that is still read is not used again.
                if let Some((found, wanted)) = before.replace((found, wanted)) {
                    prop_assert_eq!(found, wanted);
                }
            }
        }
    }
}
