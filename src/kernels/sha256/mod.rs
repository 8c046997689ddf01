//! SHA-256 of many messages (FIPS 180-4).
//!
//! Three back ends give the same digests: `lanes` interleaves two messages on one core, which hides some of
//! the latency of the SHA instructions; `four` interleaves four where there are registers for it; `portable`
//! is the `sha2` crate, one message after the other, and the oracle of the tests. Which one is used is
//! decided once, from the features of the CPU.

#[cfg(target_arch = "x86_64")]
mod four;
#[cfg(target_arch = "x86_64")]
mod lanes;
pub mod portable;

/// A SHA-256 digest.
pub type Digest = [u8; 32];

/// Most bytes a back end digests between two looks at `keep_going`.
const POLL_BYTES: usize = 4 << 20;

/// Writes the digest of every message to `out`, which is as long as `messages`.
///
/// `keep_going` is asked after about every 4 MB. Returns whether all was done: false where it said no.
pub fn digest_all(
    messages: &[&[u8]],
    out: &mut [Digest],
    keep_going: &mut dyn FnMut() -> bool,
) -> bool {
    #[cfg(target_arch = "x86_64")]
    if let Some(lanes) = four::FourLanes::available() {
        return lanes.digest_all(messages, out, keep_going);
    } else if let Some(lanes) = lanes::TwoLanes::available() {
        return lanes.digest_all(messages, out, keep_going);
    }
    portable::digest_all(messages, out, keep_going)
}

/// The CPU features that `digest_all` uses, by the names of the architecture.
pub fn features() -> &'static [&'static str] {
    #[cfg(target_arch = "x86_64")]
    if four::FourLanes::available().is_some() {
        return &["sha", "sse4.1", "ssse3", "avx512f", "avx512bw", "avx512vl"];
    } else if lanes::TwoLanes::available().is_some() {
        return &["sha", "sse4.1", "ssse3"];
    }
    &[]
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn digests(messages: &[&[u8]]) -> Vec<Digest> {
        let mut out = vec![[0; 32]; messages.len()];
        assert!(digest_all(messages, &mut out, &mut || true));
        out
    }

    /// What the portable back end gives, after each other one was compared with it.
    fn agreed(messages: &[&[u8]]) -> Vec<Digest> {
        let mut expected = vec![[0; 32]; messages.len()];
        assert!(portable::digest_all(messages, &mut expected, &mut || true));
        assert!(digests(messages) == expected, "of all back ends together");
        #[cfg(target_arch = "x86_64")]
        if let Some(lanes) = lanes::TwoLanes::available() {
            let mut found = vec![[0; 32]; messages.len()];
            assert!(lanes.digest_all(messages, &mut found, &mut || true));
            assert!(found == expected, "of two lanes");
        }
        expected
    }

    fn hex(digest: &Digest) -> String {
        digest.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    #[test]
    fn the_examples_of_the_standard() {
        // FIPS 180-4 examples, and the empty message.
        let found =
            digests(&[b"", b"abc", b"abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq"]);
        assert_eq!(
            found.iter().map(hex).collect::<Vec<_>>(),
            [
                "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
                "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad",
                "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1",
            ]
        );
    }

    #[test]
    fn every_length_around_the_block_borders() {
        let text: Vec<u8> = (0..400u32).map(|i| (i * 31) as u8).collect();
        let messages: Vec<&[u8]> = (0..=400).map(|n| &text[..n]).collect();
        agreed(&messages);
        // Short beside long, in all lanes.
        let uneven: Vec<&[u8]> =
            messages.iter().rev().zip(&messages).flat_map(|(a, b)| [*a, *b]).collect();
        agreed(&uneven);
    }

    #[test]
    fn every_number_of_messages() {
        let text: Vec<u8> = (0..9000u32).map(|i| (i * 31) as u8).collect();
        // Alike, alike in blocks only, short and of all lengths.
        let lengths: [fn(usize) -> usize; 4] =
            [|_| 100, |i| 130 + i % 50, |i| i * i * 7919 % 300, |i| i * 7919 % 9000];
        for count in (1..=70).chain([255, 256, 257, 513]) {
            for length in lengths {
                let messages: Vec<&[u8]> = (0..count).map(|i| &text[..length(i)]).collect();
                agreed(&messages);
            }
        }
    }

    #[test]
    fn long_work_stops_when_told() {
        let long = vec![7; 3 * POLL_BYTES];
        let mut asked = 0;
        let mut stop = || {
            asked += 1;
            asked < 2
        };
        let messages: [&[u8]; 5] = [&long; 5];
        assert!(!digest_all(&messages, &mut [[0; 32]; 5], &mut stop));
        assert!(!digest_all(&messages[..3], &mut [[0; 32]; 3], &mut || false));
        assert!(!portable::digest_all(&messages, &mut [[0; 32]; 5], &mut || false));
        assert_eq!(asked, 2);
    }

    proptest! {
        #[test]
        fn all_back_ends_agree(
            messages in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..300), 0..60),
        ) {
            let messages: Vec<&[u8]> = messages.iter().map(Vec::as_slice).collect();
            agreed(&messages);
        }
    }
}
