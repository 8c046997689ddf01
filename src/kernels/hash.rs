//! Digests of many messages on several threads, and their spelling.

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use crate::sha256::{self, Digest};
use crate::threads;

/// Messages that a thread takes at a time: enough to pay for the taking, few enough to share evenly.
const SHARE: usize = 256;

/// Writes the digest of every message to `out`, which is as long as `messages`.
///
/// `keep_going` is asked by the calling thread now and then; where it says no, the work ends early
/// and false is returned.
pub fn digest_rows(
    messages: &[&[u8]],
    out: &mut [Digest],
    threads: usize,
    keep_going: &mut (dyn FnMut() -> bool + Send),
) -> bool {
    if threads < 2 || messages.len() < 2 {
        return sha256::digest_all(messages, out, keep_going);
    }
    let share = messages.len().div_ceil(threads).min(SHARE);
    let stopped = AtomicBool::new(false);
    let next = AtomicUsize::new(0);
    let shares: Vec<_> =
        messages.chunks(share).zip(out.chunks_mut(share)).map(Some).map(Mutex::new).collect();
    let keep_going = Mutex::new(keep_going);
    threads::run(threads, &|thread| {
        let mut go_on = || {
            if thread == 0
                && let Ok(mut keep_going) = keep_going.lock()
                && !keep_going()
            {
                stopped.store(true, Ordering::Relaxed);
            }
            !stopped.load(Ordering::Relaxed)
        };
        while let Some(share) = shares.get(next.fetch_add(1, Ordering::Relaxed)) {
            let taken = share.lock().ok().and_then(|mut share| share.take());
            let Some((messages, out)) = taken else {
                continue;
            };
            if !sha256::digest_all(messages, out, &mut go_on) {
                return;
            }
        }
    });
    !stopped.into_inner()
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
    use proptest::prelude::*;

    #[test]
    fn every_thread_count_gives_the_same_digests() {
        let rows: Vec<Vec<u8>> = (0..3000usize).map(|i| vec![i as u8; i % 200]).collect();
        let rows: Vec<&[u8]> = rows.iter().map(Vec::as_slice).collect();
        let mut expected = vec![[0; 32]; rows.len()];
        assert!(sha256::portable::digest_all(&rows, &mut expected, &mut || true));
        for threads in [1, 2, 3, 16] {
            let mut out = vec![[0; 32]; rows.len()];
            assert!(digest_rows(&rows, &mut out, threads, &mut || true));
            assert_eq!(out, expected);
        }
    }

    #[test]
    fn a_refusal_ends_the_work_of_all() {
        let long = vec![0; 64 << 20];
        let rows: [&[u8]; 4] = [&long; 4];
        for threads in [1, 2] {
            assert!(!digest_rows(&rows, &mut [[0; 32]; 4], threads, &mut || { false }));
        }
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
