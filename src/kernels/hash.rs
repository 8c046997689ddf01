//! Digests of many messages on several threads, and their spelling.

use std::sync::atomic::{AtomicBool, AtomicU8, AtomicUsize, Ordering};
use std::sync::{Mutex, OnceLock};

use crate::sha256::{self, Digest};

/// Messages on their way to digests, in parts that are filled, digested and read in order, by
/// whichever thread gets to it: one thread fills and reads, any thread digests.
pub struct Pipeline<'a> {
    parts: Vec<Part<'a>>,
    /// The first part that helpers have not looked at.
    next: AtomicUsize,
    stopped: AtomicBool,
}

struct Part<'a> {
    state: AtomicU8,
    messages: OnceLock<Vec<&'a [u8]>>,
    digests: Mutex<Vec<Digest>>,
}

const WAITING: u8 = 0;
const CLAIMED: u8 = 1;
const DONE: u8 = 2;

impl<'a> Pipeline<'a> {
    pub fn new(parts: usize) -> Self {
        let part = || Part {
            state: AtomicU8::new(WAITING),
            messages: OnceLock::new(),
            digests: Mutex::new(Vec::new()),
        };
        Pipeline {
            parts: (0..parts).map(|_| part()).collect(),
            next: AtomicUsize::new(0),
            stopped: AtomicBool::new(false),
        }
    }

    /// Fills part `index`, once.
    pub fn fill(&self, index: usize, messages: Vec<&'a [u8]>) {
        // A part is filled by one thread and once: there is nothing to lose.
        let _ = self.parts[index].messages.set(messages);
    }

    /// Ends the work of helpers as soon as they look. Nothing else does, where parts that they wait for
    /// never come.
    pub fn stop(&self) {
        self.stopped.store(true, Ordering::Relaxed);
    }

    /// Calls `stop` when it is dropped, be it by an error or a panic.
    pub fn stop_on_drop(&self) -> impl Drop + use<'_, 'a> {
        StopOnDrop(self)
    }

    /// Digests part after part, waiting for those that are still to be filled; for helpers.
    pub fn help(&self) {
        while let Some(part) = self.parts.get(self.next.fetch_add(1, Ordering::Relaxed)) {
            while part.messages.get().is_none() {
                if self.stopped.load(Ordering::Relaxed) {
                    return;
                }
                std::thread::yield_now();
            }
            if part.claim() {
                part.digest(&mut || !self.stopped.load(Ordering::Relaxed));
            }
        }
    }

    /// Takes part `index`, or the last one that nobody has taken, for `digest`.
    pub fn claim(&self, index: usize) -> Option<usize> {
        if self.parts[index].claim() {
            return Some(index);
        }
        let rest = index + 1..self.parts.len();
        rest.rev()
            .find(|&rest| self.parts[rest].messages.get().is_some() && self.parts[rest].claim())
    }

    /// Digests a part that was claimed. Returns whether all was done: false where `keep_going` said no.
    pub fn digest(&self, index: usize, keep_going: &mut dyn FnMut() -> bool) -> bool {
        self.parts[index].digest(keep_going)
    }

    /// The digests of part `index`, once they are there.
    pub fn digests(&self, index: usize) -> Option<Vec<Digest>> {
        let part = &self.parts[index];
        if part.state.load(Ordering::Acquire) != DONE {
            return None;
        }
        part.digests.lock().ok().map(|mut digests| std::mem::take(&mut *digests))
    }
}

struct StopOnDrop<'p, 'a>(&'p Pipeline<'a>);

impl Drop for StopOnDrop<'_, '_> {
    fn drop(&mut self) {
        self.0.stop();
    }
}

impl Part<'_> {
    fn claim(&self) -> bool {
        let claimed =
            self.state.compare_exchange(WAITING, CLAIMED, Ordering::Acquire, Ordering::Relaxed);
        claimed.is_ok()
    }

    fn digest(&self, keep_going: &mut dyn FnMut() -> bool) -> bool {
        let Some(messages) = self.messages.get() else {
            return false;
        };
        let mut digests = vec![[0; 32]; messages.len()];
        let done = sha256::digest_all(messages, &mut digests, keep_going);
        if done && let Ok(mut place) = self.digests.lock() {
            *place = digests;
            self.state.store(DONE, Ordering::Release);
        }
        done
    }
}

/// Writes a digest as 64 lower-case hexadecimal characters.
#[inline]
pub fn write_hex(digest: &Digest, out: &mut [u8; 64]) {
    // Branch-free, so that the compiler makes vectors of it: '0'..'9', then 'a'..'f'.
    let spell = |nibble: u8| nibble + b'0' + u8::from(nibble > 9) * (b'a' - b'9' - 1);
    for (pair, byte) in out.as_chunks_mut::<2>().0.iter_mut().zip(digest) {
        *pair = [spell(byte >> 4), spell(byte & 15)];
    }
}

/// The digest that `text` spells, or None where it is not 64 lower-case hexadecimal characters.
pub fn parse_hex(text: &[u8]) -> Option<Digest> {
    let value = |digit: u8| match digit {
        b'0'..=b'9' => Some(digit - b'0'),
        b'a'..=b'f' => Some(digit - b'a' + 10),
        _ => None,
    };
    let text: &[u8; 64] = text.try_into().ok()?;
    let mut digest = [0; 32];
    for (byte, &[high, low]) in digest.iter_mut().zip(text.as_chunks::<2>().0) {
        *byte = value(high)? << 4 | value(low)?;
    }
    Some(digest)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::threads;
    use proptest::prelude::*;

    /// All digests in order, with `threads` threads and parts of `part` messages.
    fn digests(rows: &[&[u8]], part: usize, threads: usize) -> Vec<Digest> {
        let pipeline = Pipeline::new(rows.len().div_ceil(part));
        let mut found = Vec::new();
        threads::with_helpers(threads, &|| pipeline.help(), || {
            for (index, rows) in rows.chunks(part).enumerate() {
                pipeline.fill(index, rows.to_vec());
            }
            for index in 0..rows.len().div_ceil(part) {
                let digests = loop {
                    if let Some(digests) = pipeline.digests(index) {
                        break digests;
                    }
                    if let Some(claimed) = pipeline.claim(index) {
                        assert!(pipeline.digest(claimed, &mut || true));
                    }
                };
                found.extend(digests);
            }
        });
        found
    }

    #[test]
    fn every_thread_count_gives_the_same_digests() {
        let rows: Vec<Vec<u8>> = (0..3000usize).map(|i| vec![i as u8; i % 200]).collect();
        let rows: Vec<&[u8]> = rows.iter().map(Vec::as_slice).collect();
        let mut expected = vec![[0; 32]; rows.len()];
        assert!(sha256::portable::digest_all(&rows, &mut expected, &mut || true));
        for (threads, part) in [(1, 3000), (1, 7), (2, 100), (3, 1), (16, 299)] {
            assert_eq!(digests(&rows, part, threads), expected);
        }
    }

    #[test]
    fn stopping_ends_the_work_of_helpers() {
        let long = vec![0; 64 << 20];
        let pipeline = Pipeline::new(2);
        threads::with_helpers(2, &|| pipeline.help(), || {
            let _stop = pipeline.stop_on_drop();
            pipeline.fill(0, vec![&long]);
        });
        if let Some(claimed) = pipeline.claim(0) {
            assert!(!pipeline.digest(claimed, &mut || false));
        }
        assert_eq!(pipeline.digests(0), None);
    }

    #[test]
    fn only_digests_are_parsed() {
        assert_eq!(parse_hex(&[b'0'; 63]), None);
        assert_eq!(parse_hex(&[b'A'; 64]), None);
        assert_eq!(parse_hex(&[b'g'; 64]), None);
    }

    proptest! {
        #[test]
        fn spelling_and_parsing_agree(digest in any::<[u8; 32]>()) {
            let mut text = [0; 64];
            write_hex(&digest, &mut text);
            let expected: String = digest.iter().map(|byte| format!("{byte:02x}")).collect();
            prop_assert_eq!(std::str::from_utf8(&text), Ok(expected.as_str()));
            prop_assert_eq!(parse_hex(&text), Some(digest));
        }
    }
}
