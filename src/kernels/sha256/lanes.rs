//! Two SHA-256 messages interleaved on one core, with the x86 SHA extensions.
//!
//! One message leaves the SHA unit idle most of the time: each `sha256rnds2` waits for the one before
//! it. Two independent messages halve that. Instructions and data layout are those of Intel's
//! "SHA Extensions" white paper (S. Gulley et al., 2013); the schedule is FIPS 180-4, section 6.2.2.

#![allow(unsafe_code)]

use core::arch::x86_64::{
    __m128i, _mm_add_epi32, _mm_alignr_epi8, _mm_blend_epi16, _mm_loadu_si128, _mm_set_epi32,
    _mm_set_epi64x, _mm_sha256msg1_epu32, _mm_sha256msg2_epu32, _mm_sha256rnds2_epu32,
    _mm_shuffle_epi8, _mm_shuffle_epi32, _mm_storeu_si128,
};

use super::{Digest, POLL_BYTES};

pub(super) const BLOCK: usize = 64;

/// The round constants (FIPS 180-4, section 4.2.2).
#[rustfmt::skip]
pub(super) static K: [u32; 64] = [
    0x428a2f98, 0x71374491, 0xb5c0fbcf, 0xe9b5dba5, 0x3956c25b, 0x59f111f1, 0x923f82a4, 0xab1c5ed5,
    0xd807aa98, 0x12835b01, 0x243185be, 0x550c7dc3, 0x72be5d74, 0x80deb1fe, 0x9bdc06a7, 0xc19bf174,
    0xe49b69c1, 0xefbe4786, 0x0fc19dc6, 0x240ca1cc, 0x2de92c6f, 0x4a7484aa, 0x5cb0a9dc, 0x76f988da,
    0x983e5152, 0xa831c66d, 0xb00327c8, 0xbf597fc7, 0xc6e00bf3, 0xd5a79147, 0x06ca6351, 0x14292967,
    0x27b70a85, 0x2e1b2138, 0x4d2c6dfc, 0x53380d13, 0x650a7354, 0x766a0abb, 0x81c2c92e, 0x92722c85,
    0xa2bfe8a1, 0xa81a664b, 0xc24b8b70, 0xc76c51a3, 0xd192e819, 0xd6990624, 0xf40e3585, 0x106aa070,
    0x19a4c116, 0x1e376c08, 0x2748774c, 0x34b0bcb5, 0x391c0cb3, 0x4ed8aa4a, 0x5b9cca4f, 0x682e6ff3,
    0x748f82ee, 0x78a5636f, 0x84c87814, 0x8cc70208, 0x90befffa, 0xa4506ceb, 0xbef9a3f7, 0xc67178f2,
];

/// Proof that the CPU has the instructions.
#[derive(Clone, Copy)]
pub struct TwoLanes(());

impl TwoLanes {
    /// `std` looks once and remembers.
    pub fn available() -> Option<Self> {
        let has = std::arch::is_x86_feature_detected!("sha")
            && std::arch::is_x86_feature_detected!("sse4.1")
            && std::arch::is_x86_feature_detected!("ssse3");
        has.then_some(Self(()))
    }

    /// See `super::digest_all`.
    pub fn digest_all(
        self,
        messages: &[&[u8]],
        out: &mut [Digest],
        keep_going: &mut dyn FnMut() -> bool,
    ) -> bool {
        assert_eq!(messages.len(), out.len());
        // SAFETY: `self` exists only where the CPU has the features that the function is built for.
        unsafe { digest_all(messages, out, keep_going) }
    }
}

/// The hash value in the order that the instructions want: (A, B, E, F) and (C, D, G, H).
#[derive(Clone, Copy)]
pub(super) struct State {
    pub(super) abef: __m128i,
    pub(super) cdgh: __m128i,
}

/// A message on its way through one lane: whole blocks of the message, then one or two of padding.
pub(super) struct Lane<'a> {
    pub(super) index: usize,
    pub(super) state: State,
    pub(super) blocks: &'a [u8],
    pub(super) tail: [u8; 2 * BLOCK],
    /// Bytes of `tail` in use, from the front; 0 once the lane has moved on to them.
    pub(super) tail_length: usize,
    pub(super) in_tail: usize,
}

impl<'a> Lane<'a> {
    #[inline(always)]
    fn new(index: usize, message: &'a [u8], initial: State) -> Self {
        let (blocks, rest) = message.split_at(message.len() & !(BLOCK - 1));
        let mut tail = [0; 2 * BLOCK];
        tail[..rest.len()].copy_from_slice(rest);
        tail[rest.len()] = 0x80;
        let tail_length = if rest.len() < BLOCK - 8 { BLOCK } else { 2 * BLOCK };
        let bits = (message.len() as u64) << 3;
        tail[tail_length - 8..tail_length].copy_from_slice(&bits.to_be_bytes());
        Lane { index, state: initial, blocks, tail, tail_length, in_tail: 0 }
    }

    /// The bytes that can be digested next in one go, a multiple of the block.
    #[inline(always)]
    pub(super) fn next(&self) -> &[u8] {
        if self.blocks.is_empty() {
            &self.tail[self.in_tail..self.tail_length]
        } else {
            self.blocks
        }
    }

    #[inline(always)]
    pub(super) fn advance(&mut self, bytes: usize) {
        if self.blocks.is_empty() {
            self.in_tail += bytes;
        } else {
            self.blocks = &self.blocks[bytes..];
        }
    }

    #[inline(always)]
    pub(super) fn is_done(&self) -> bool {
        self.blocks.is_empty() && self.in_tail == self.tail_length
    }
}

/// Messages sorted by their number of blocks before they are digested two by two.
const GROUP: usize = 128;

/// So few messages are digested as they come.
const FEW: usize = 4;

/// Messages of one and of two blocks are the rule (rows of text up to 119 bytes), and what they cost
/// beside their blocks is what counts: they are paired with their like, so that no branch depends on
/// the length of a single message. Longer ones go through the lanes.
#[target_feature(enable = "sha,sse4.1,ssse3")]
fn digest_all(
    messages: &[&[u8]],
    out: &mut [Digest],
    keep_going: &mut dyn FnMut() -> bool,
) -> bool {
    let mut poll = Poll { since: 0, keep_going };
    if messages.len() <= FEW {
        return digest_lanes(messages, 0, out, &mut poll);
    }
    let mut longer = 0;
    for (messages, out) in messages.chunks(GROUP).zip(out.chunks_mut(GROUP)) {
        // Places of messages of one, two and more blocks.
        let mut places = [[0u8; GROUP]; 3];
        let mut counts = [0; 3];
        for (place, message) in messages.iter().enumerate() {
            let class = ((message.len() + 8) / BLOCK).min(2);
            places[class][counts[class]] = place as u8;
            counts[class] += 1;
        }
        digest_pairs::<BLOCK>(messages, &places[0][..counts[0]], out);
        digest_pairs::<{ 2 * BLOCK }>(messages, &places[1][..counts[1]], out);
        longer += counts[2];
        if !poll.go_on(messages.len() * BLOCK) {
            return false;
        }
    }
    longer == 0 || digest_lanes(messages, 2, out, &mut poll)
}

/// Counts what is done between two looks at `keep_going`.
pub(super) struct Poll<'a> {
    pub(super) since: usize,
    pub(super) keep_going: &'a mut dyn FnMut() -> bool,
}

impl Poll<'_> {
    #[inline(always)]
    pub(super) fn go_on(&mut self, bytes: usize) -> bool {
        self.since += bytes;
        if self.since < POLL_BYTES {
            return true;
        }
        self.since = 0;
        (self.keep_going)()
    }
}

#[inline]
#[target_feature(enable = "sha,sse4.1,ssse3")]
pub(super) fn initial() -> State {
    // The initial hash value (FIPS 180-4, section 5.3.3).
    State {
        abef: _mm_set_epi32(0x6a09e667, 0xbb67ae85u32 as i32, 0x510e527f, 0x9b05688cu32 as i32),
        cdgh: _mm_set_epi32(0x3c6ef372, 0xa54ff53au32 as i32, 0x1f83d9ab, 0x5be0cd19),
    }
}

/// Pads a message that fits in `SIZE` bytes with its padding (FIPS 180-4, section 5.1.1).
#[inline(always)]
fn pad<const SIZE: usize>(message: &[u8], padded: &mut [u8; SIZE]) {
    *padded = [0; SIZE];
    padded[..message.len()].copy_from_slice(message);
    padded[message.len()] = 0x80;
    padded[SIZE - 8..].copy_from_slice(&((message.len() as u64) << 3).to_be_bytes());
}

/// Messages padded before the first of them is digested: by then the bytes have left the store
/// buffer, and a vector load of what was stored byte by byte does not wait for it.
pub(super) const BATCH: usize = 8;

/// Digests the messages at `places`, two by two; of an odd number, the last by itself.
#[inline]
#[target_feature(enable = "sha,sse4.1,ssse3")]
fn digest_pairs<const SIZE: usize>(messages: &[&[u8]], places: &[u8], out: &mut [Digest]) {
    let mut batch = [[0; SIZE]; BATCH];
    for places in places.chunks(BATCH) {
        for (&place, padded) in places.iter().zip(&mut batch) {
            pad(messages[usize::from(place)], padded);
        }
        let (pairs, last) = places.as_chunks::<2>();
        for (pair, blocks) in pairs.iter().zip(batch.as_chunks::<2>().0) {
            let (a, b) = compress_two(initial(), &blocks[0], initial(), &blocks[1]);
            out[usize::from(pair[0])] = finish(a);
            out[usize::from(pair[1])] = finish(b);
        }
        if let [last] = last {
            let blocks = &batch[places.len() - 1];
            out[usize::from(*last)] = finish(compress_one(initial(), blocks));
        }
    }
}

/// Digests the messages of more than `over` blocks: two at a time, whatever their lengths.
#[target_feature(enable = "sha,sse4.1,ssse3")]
fn digest_lanes(messages: &[&[u8]], over: usize, out: &mut [Digest], poll: &mut Poll<'_>) -> bool {
    let initial = initial();
    let mut waiting =
        messages.iter().enumerate().filter(|(_, message)| (message.len() + 8) / BLOCK >= over);
    let mut take = || waiting.next().map(|(index, message)| Lane::new(index, message, initial));
    let Some(mut a) = take() else {
        return true;
    };
    if let Some(mut b) = take() {
        loop {
            let (next_a, next_b) = (a.next(), b.next());
            let bytes = next_a.len().min(next_b.len()).min(POLL_BYTES);
            (a.state, b.state) = compress_two(a.state, &next_a[..bytes], b.state, &next_b[..bytes]);
            a.advance(bytes);
            b.advance(bytes);
            if !poll.go_on(2 * bytes) {
                return false;
            }
            if b.is_done() {
                out[b.index] = finish(b.state);
                match take() {
                    Some(lane) => b = lane,
                    None => break,
                }
            }
            if a.is_done() {
                out[a.index] = finish(a.state);
                match take() {
                    Some(lane) => a = lane,
                    None => {
                        a = b;
                        break;
                    }
                }
            }
        }
    }
    while !a.is_done() {
        let next = a.next();
        let bytes = next.len().min(POLL_BYTES);
        a.state = compress_one(a.state, &next[..bytes]);
        a.advance(bytes);
        if !poll.go_on(bytes) {
            return false;
        }
    }
    out[a.index] = finish(a.state);
    true
}

#[inline]
#[target_feature(enable = "sha,sse4.1,ssse3")]
pub(super) fn finish(state: State) -> Digest {
    let feba = _mm_shuffle_epi32(state.abef, 0x1B);
    let dchg = _mm_shuffle_epi32(state.cdgh, 0xB1);
    let dcba = _mm_blend_epi16(feba, dchg, 0xF0);
    let hgfe = _mm_alignr_epi8(dchg, feba, 8);
    let mut digest = [0; 32];
    let big_endian = byte_order();
    // SAFETY: the digest is two vectors long; unaligned stores.
    unsafe {
        let to = digest.as_mut_ptr().cast::<__m128i>();
        _mm_storeu_si128(to, _mm_shuffle_epi8(dcba, big_endian));
        _mm_storeu_si128(to.add(1), _mm_shuffle_epi8(hgfe, big_endian));
    }
    digest
}

/// The shuffle that turns four big-endian words round.
#[inline]
#[target_feature(enable = "sse4.1")]
pub(super) fn byte_order() -> __m128i {
    _mm_set_epi64x(0x0c0d0e0f_08090a0b, 0x04050607_00010203)
}

#[inline]
#[target_feature(enable = "sha,sse4.1,ssse3")]
fn load(block: &[u8; BLOCK]) -> [__m128i; 4] {
    let big_endian = byte_order();
    let mut words = [big_endian; 4];
    for (i, words) in words.iter_mut().enumerate() {
        // SAFETY: a block is four vectors long; unaligned loads.
        let bytes = unsafe { _mm_loadu_si128(block.as_ptr().cast::<__m128i>().add(i)) };
        *words = _mm_shuffle_epi8(bytes, big_endian);
    }
    words
}

/// The next four words of the message schedule after the sixteen in `w`.
#[inline]
#[target_feature(enable = "sha,sse4.1,ssse3")]
fn schedule(w: [__m128i; 4]) -> __m128i {
    let sum = _mm_add_epi32(_mm_sha256msg1_epu32(w[0], w[1]), _mm_alignr_epi8(w[3], w[2], 4));
    _mm_sha256msg2_epu32(sum, w[3])
}

#[inline]
#[target_feature(enable = "sha,sse4.1,ssse3")]
fn constants(four: usize) -> __m128i {
    // SAFETY: `four` is below 16, so four words from `4 * four` are within the table.
    unsafe { _mm_loadu_si128(K.as_ptr().add(4 * four).cast()) }
}

/// Four rounds.
#[inline]
#[target_feature(enable = "sha,sse4.1,ssse3")]
fn rounds(state: &mut State, words: __m128i) {
    state.cdgh = _mm_sha256rnds2_epu32(state.cdgh, state.abef, words);
    state.abef = _mm_sha256rnds2_epu32(state.abef, state.cdgh, _mm_shuffle_epi32(words, 0x0E));
}

macro_rules! compress {
    ($name:ident, $doc:literal, $(($state:ident, $blocks:ident, $first:ident, $w:ident)),+) => {
        #[doc = $doc]
        #[allow(unused_parens)] // of one message, which is a tuple to the macro only
        #[target_feature(enable = "sha,sse4.1,ssse3")]
        fn $name($(mut $state: State, $blocks: &[u8]),+) -> ($(compress!(@state $state)),+) {
            $(let mut $blocks = $blocks.as_chunks::<BLOCK>().0.iter();)+
            while let ($(Some($first)),+) = ($($blocks.next()),+) {
                $(let mut $w = load($first); let $first = $state;)+
                for four in 0..16 {
                    let k = constants(four);
                    $(
                        rounds(&mut $state, _mm_add_epi32($w[0], k));
                        // The last twelve words need no successors.
                        let next = if four < 12 { schedule($w) } else { $w[0] };
                        $w = [$w[1], $w[2], $w[3], next];
                    )+
                }
                $(
                    $state.abef = _mm_add_epi32($state.abef, $first.abef);
                    $state.cdgh = _mm_add_epi32($state.cdgh, $first.cdgh);
                )+
            }
            ($($state),+)
        }
    };
    (@state $state:ident) => { State };
}

compress!(
    compress_two,
    "Digests as many blocks of both messages, each into its own state.",
    (a, blocks_a, first_a, w_a),
    (b, blocks_b, first_b, w_b)
);
compress!(compress_one, "Digests blocks of one message.", (a, blocks_a, first_a, w_a));
