//! Vectors that arrays were made of, and that come back to be filled again when those are gone.

use std::sync::{Arc, Mutex, Weak};

use arrow_buffer::{ArrowNativeType, Buffer, ToByteSlice};
use bytes::Bytes;

use crate::buffers::{LEAST_BYTES, MOST_BYTES};

/// The vectors of one column that are free at the moment: as many as are under way at a time. Were they
/// freed, the heap would have to find place for others in the gaps, and grow where it can't.
///
/// Nobody waits for the lock: a process that is forked while another thread holds it gets new vectors.
#[derive(Debug)]
pub struct Spare<T>(Arc<Mutex<Vec<Vec<T>>>>);

/// For a batch with the caller, one that it has just let go, and those that wait for it.
const MOST: usize = 4;

impl<T> Default for Spare<T> {
    fn default() -> Self {
        Spare(Arc::default())
    }
}

impl<T: ArrowNativeType> Spare<T> {
    /// An empty vector with about the `room` that this many values and no more than `most` need.
    pub fn take(&self, last: usize, most: usize) -> Vec<T> {
        let count = room(last, most);
        let free = || self.0.try_lock().ok()?.pop();
        let kept = if count * size_of::<T>() < LEAST_BYTES { None } else { free() };
        // One that is much shorter is not grown: what was in it need not be copied.
        let kept = kept.filter(|kept| kept.capacity() >= count - count / 8);
        kept.unwrap_or_else(|| Vec::with_capacity(count))
    }

    /// Keeps a vector, if there is use for it.
    pub fn give(&self, values: Vec<T>) {
        give(&self.0, values);
    }

    /// The values as a buffer; once it is gone, their vector is free.
    pub fn buffer(&self, values: Vec<T>) -> Buffer {
        match values.capacity() * size_of::<T>() {
            LEAST_BYTES..=MOST_BYTES => {
                Bytes::from_owner(Taken { values, spare: Arc::downgrade(&self.0) }).into()
            }
            _ => values.into(),
        }
    }
}

/// What the next values need if they are like the last ones, of which there were so many.
pub fn room(last: usize, most: usize) -> usize {
    (last + last / 8).min(most)
}

fn give<T>(free: &Mutex<Vec<Vec<T>>>, mut values: Vec<T>) {
    if let Ok(mut free) = free.try_lock()
        && (LEAST_BYTES..=MOST_BYTES).contains(&(values.capacity() * size_of::<T>()))
        && free.len() < MOST
    {
        values.clear();
        free.push(values);
    }
}

struct Taken<T: ArrowNativeType> {
    values: Vec<T>,
    /// Whoever fills them may be done meanwhile.
    spare: Weak<Mutex<Vec<Vec<T>>>>,
}

impl<T: ArrowNativeType> AsRef<[u8]> for Taken<T> {
    fn as_ref(&self) -> &[u8] {
        self.values.to_byte_slice()
    }
}

impl<T: ArrowNativeType> Drop for Taken<T> {
    fn drop(&mut self) {
        if let Some(spare) = self.spare.upgrade() {
            give(&spare, std::mem::take(&mut self.values));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LONG: usize = 20_000;

    #[test]
    fn a_vector_comes_back_when_nobody_reads_it() {
        let spare = Spare::<i64>::default();
        let mut values = spare.take(LONG, LONG);
        values.extend(0..10);
        let place = values.as_ptr();
        let buffer = spare.buffer(values);
        assert_eq!(buffer.typed_data::<i64>(), (0..10).collect::<Vec<_>>());
        let part = buffer.slice_with_length(8, 16);
        drop(buffer);
        let other = spare.take(LONG, LONG);
        assert_ne!(other.as_ptr(), place);
        assert_eq!(part.typed_data::<i64>(), [1, 2]);
        drop(part);
        let again = spare.take(LONG, LONG);
        assert_eq!((again.as_ptr(), again.len()), (place, 0));
    }

    #[test]
    fn short_and_huge_ones_are_not_kept() {
        let spare = Spare::<u8>::default();
        for size in [10, LEAST_BYTES - 1, MOST_BYTES + 1] {
            drop(spare.buffer(spare.take(size, size)));
            assert_eq!(spare.0.try_lock().map(|free| free.len()).ok(), Some(0));
        }
    }

    #[test]
    fn it_may_be_gone_before_what_was_made() {
        let spare = Spare::<u8>::default();
        let buffer = spare.buffer(vec![7; LEAST_BYTES]);
        drop(spare);
        assert_eq!(buffer.as_slice(), [7; LEAST_BYTES]);
    }
}
