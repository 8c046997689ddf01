//! Buffers that are used again: fresh memory is zeroed by the system, page by page, at first use.

use std::convert::Infallible;
use std::ops::Deref;
use std::sync::{Arc, Mutex};

/// Buffers that nobody uses at the moment.
///
/// Nobody waits for the lock: a process that is forked while another thread holds it gets fresh buffers.
#[derive(Debug, Default)]
pub struct Buffers(Mutex<Free>);

#[derive(Debug, Default)]
struct Free {
    buffers: Vec<Vec<u8>>,
    is_closed: bool,
}

impl Free {
    /// Whether one more of this length may wait.
    fn has_room(&self, length: usize) -> bool {
        let waiting: usize = self.buffers.iter().map(Vec::len).sum();
        waiting + length <= MOST_WAITING
    }
}

/// Shorter ones need not be kept: the system has so much at hand.
pub const LEAST_BYTES: usize = 64 << 10;

/// One that a huge page or row has grown is not kept for the small ones after it.
pub const MOST_BYTES: usize = 4 << 20;

/// Bytes that wait, which nobody else can have: a few batches' long columns. They come back in bursts, and
/// are asked for in bursts: with room for six of them, every fourth one was fresh memory.
const MOST_WAITING: usize = 16 << 20;

impl Buffers {
    /// A buffer of some length, with something in it; an empty one where there is none.
    pub fn take(&self) -> Vec<u8> {
        self.0.try_lock().ok().and_then(|mut free| free.buffers.pop()).unwrap_or_default()
    }

    /// The shortest buffer of at least `length` bytes, and of less than twice as many: others wait for
    /// longer columns. Where there is none and no room for one more, the shortest of all has to go.
    fn take_fitting(&self, length: usize) -> Option<Vec<u8>> {
        let mut free = self.0.try_lock().ok()?;
        let lengths = free.buffers.iter().map(Vec::len).enumerate();
        let fits =
            |(_, free): &(usize, usize)| (length..2 * length.max(LEAST_BYTES)).contains(free);
        let shortest = |&(_, length): &(usize, usize)| length;
        match lengths.clone().filter(fits).min_by_key(shortest) {
            Some((found, _)) => Some(free.buffers.swap_remove(found)),
            None if free.has_room(length) => None,
            None => {
                let (gone, _) = lengths.min_by_key(shortest)?;
                let gone = free.buffers.swap_remove(gone);
                // The system takes its time with it: nobody else should find the lock held meanwhile.
                drop(free);
                drop(gone);
                None
            }
        }
    }

    pub fn give(&self, buffer: Vec<u8>) {
        if !buffer.is_empty()
            && let Ok(mut free) = self.0.try_lock()
            && free.has_room(buffer.len())
            && !free.is_closed
        {
            free.buffers.push(buffer);
        }
    }

    /// Frees all of them.
    pub fn clear(&self) {
        if let Ok(mut free) = self.0.try_lock() {
            free.buffers = Vec::new();
        }
    }

    /// Frees all of them, and from now on all that are given back.
    pub fn close(&self) {
        if let Ok(mut free) = self.0.try_lock() {
            *free = Free { buffers: Vec::new(), is_closed: true };
        }
    }
}

/// Bytes in one of the buffers, which is given back when they are dropped.
pub struct Lent {
    buffer: Vec<u8>,
    length: usize,
    buffers: Arc<Buffers>,
}

impl Lent {
    /// `length` bytes, to be written by `fill`.
    pub fn filled<E>(
        buffers: &Arc<Buffers>,
        length: usize,
        fill: impl FnOnce(&mut [u8]) -> Result<(), E>,
    ) -> Result<Self, E> {
        // A short one is not grown: what is in it need not be copied. A little more than is wanted now: the
        // next one will be much alike, and pages that nobody touches cost nothing.
        let fresh = || vec![0; (length + length / 8).next_multiple_of(LEAST_BYTES)];
        let mut buffer = buffers.take_fitting(length).unwrap_or_else(fresh);
        fill(buffer.get_mut(..length).unwrap_or_default())?;
        Ok(Lent { buffer, length, buffers: Arc::clone(buffers) })
    }

    /// The bytes of all parts.
    pub fn of_parts(buffers: &Arc<Buffers>, parts: &[&[u8]]) -> Self {
        let length = parts.iter().map(|part| part.len()).sum();
        let copied: Result<_, Infallible> = Self::filled(buffers, length, |mut place| {
            for part in parts {
                let (now, rest) = place.split_at_mut(part.len());
                now.copy_from_slice(part);
                place = rest;
            }
            Ok(())
        });
        let Ok(copied) = copied;
        copied
    }
}

impl Deref for Lent {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        self.buffer.get(..self.length).unwrap_or_default()
    }
}

impl AsRef<[u8]> for Lent {
    fn as_ref(&self) -> &[u8] {
        self
    }
}

impl Drop for Lent {
    fn drop(&mut self) {
        if self.buffer.len() <= MOST_BYTES {
            self.buffers.give(std::mem::take(&mut self.buffer));
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn lent(buffers: &Arc<Buffers>, length: usize) -> Lent {
        let fill = |bytes: &mut [u8]| {
            bytes.fill(7);
            Ok::<_, ()>(())
        };
        Lent::filled(buffers, length, fill).unwrap()
    }

    #[test]
    fn a_buffer_comes_back() {
        let buffers = Arc::default();
        let first = lent(&buffers, 100);
        assert_eq!(*first, [7; 100]);
        let place = first.as_ptr();
        drop(first);
        let second = lent(&buffers, 10);
        assert_eq!((second.as_ptr(), second.len()), (place, 10));
        // Too small for what is wanted now.
        drop(second);
        assert_eq!(lent(&buffers, 1 << 20).len(), 1 << 20);
        buffers.clear();
        assert!(buffers.take().is_empty());
    }

    #[test]
    fn a_burst_comes_back_whole() {
        let buffers = Arc::default();
        let burst = || (0..12).map(|_| lent(&buffers, 1 << 20)).collect::<Vec<_>>();
        let places = |burst: &[Lent]| {
            let mut places: Vec<_> = burst.iter().map(|one| one.as_ptr()).collect();
            places.sort_unstable();
            places
        };
        let first = burst();
        let expected = places(&first);
        drop(first);
        assert_eq!(places(&burst()), expected);
    }

    #[test]
    fn no_more_waits_than_a_few_batches() {
        let buffers = Arc::<Buffers>::default();
        drop((0..40).map(|_| lent(&buffers, 1 << 20)).collect::<Vec<_>>());
        let mut waiting = 0;
        while let Some(length) = Some(buffers.take().len()).filter(|length| *length > 0) {
            waiting += length;
        }
        assert!((MOST_WAITING - (2 << 20)..=MOST_WAITING).contains(&waiting), "{waiting}");
    }

    #[test]
    fn a_huge_buffer_is_not_kept() {
        let buffers = Arc::default();
        drop(lent(&buffers, 5 << 20));
        assert!(buffers.take().is_empty());
    }
}
