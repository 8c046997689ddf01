//! Four SHA-256 messages interleaved on one core, with the x86 SHA extensions and the registers of
//! AVX-512VL.
//!
//! A message alone waits four cycles for every `sha256rnds2`. Where the SHA unit takes one of them
//! a cycle (Zen 4), two messages leave half of it idle, and four fill it. Four schedules of four
//! vectors and four states of two do not fit in the sixteen registers that SHA instructions can
//! name: the schedules live in the upper sixteen of AVX-512VL. Instructions and data layout as in
//! `lanes`; the schedule is FIPS 180-4, section 6.2.2.

#![allow(unsafe_code)]

use core::arch::asm;
use core::arch::x86_64::{
    __m128i, _mm_add_epi32, _mm_loadu_si128, _mm_shuffle_epi8, _mm256_zeroupper,
    _mm512_mask_set1_epi8, _mm512_mask_set1_epi64, _mm512_maskz_loadu_epi8, _mm512_storeu_si512,
};

use super::lanes::{BATCH, BLOCK, K, Lane, Poll, State, TwoLanes, byte_order, finish, initial};
use super::{Digest, POLL_BYTES};

/// Proof that the CPU has the instructions.
#[derive(Clone, Copy)]
pub struct FourLanes(TwoLanes);

impl FourLanes {
    /// `std` looks once and remembers.
    pub fn available() -> Option<Self> {
        let has = std::arch::is_x86_feature_detected!("avx512f")
            && std::arch::is_x86_feature_detected!("avx512bw")
            && std::arch::is_x86_feature_detected!("avx512vl");
        TwoLanes::available().filter(|_| has).map(Self)
    }

    /// See `super::digest_all`.
    pub fn digest_all(
        self,
        messages: &[&[u8]],
        out: &mut [Digest],
        keep_going: &mut dyn FnMut() -> bool,
    ) -> bool {
        assert_eq!(messages.len(), out.len());
        if messages.len() < LEAST || messages.len() < FEW && !pay(messages) {
            return self.0.digest_all(messages, out, keep_going);
        }
        // SAFETY: `self` exists only where the CPU has the features that the function is built for.
        unsafe { digest_all(messages, out, keep_going) }
    }
}

/// Fewer messages are digested as `lanes` does, and so are fewer than `FEW` that do not `pay`.
const LEAST: usize = 4;
const FEW: usize = 24;

/// Whether few messages are worth four lanes: short ones, which are digested with their like, or such of
/// `LONG` bytes on average. Others, of different lengths, end one by one, and every end stops all lanes.
fn pay(messages: &[&[u8]]) -> bool {
    const LONG: usize = 1024;
    let lengths = messages.iter().map(|message| message.len());
    lengths.clone().all(|length| length < 2 * BLOCK - 8)
        || lengths.sum::<usize>() >= LONG * messages.len()
}

/// Messages sorted by their number of blocks before they are digested four by four.
const GROUP: usize = 256;

/// Messages with so many whole blocks and more are not sorted: what they cost beside them is small.
const MANY: usize = 64;

/// Messages alike in whole blocks and in blocks of padding are digested four by four, so that no
/// branch depends on the length of a single one. What is left over, and long messages, go through
/// the lanes, longest first.
#[target_feature(enable = "sha,sse4.1,ssse3,avx512f,avx512bw,avx512vl")]
fn digest_all(
    messages: &[&[u8]],
    out: &mut [Digest],
    keep_going: &mut dyn FnMut() -> bool,
) -> bool {
    let mut poll = Poll { since: 0, keep_going };
    let (mut sorted, mut over) = ([0u8; GROUP], [0u8; GROUP]);
    for (messages, out) in messages.chunks(GROUP).zip(out.chunks_mut(GROUP)) {
        let (mut least, mut most) = (2 * MANY, 0);
        for message in messages {
            let class = class(message);
            least = least.min(class);
            most = most.max(class);
        }
        let mut starts = [0u16; 2 * MANY + 1];
        let sorted = if least == most {
            &AS_THEY_COME
        } else {
            sort(messages, &mut starts[least..=most], least, &mut sorted);
            &sorted
        };
        let (mut left, mut bytes, mut end) = (0, 0, messages.len());
        for (class, &start) in (least..).zip(&starts[least..=most]) {
            let places = &sorted[usize::from(start)..end];
            end = usize::from(start);
            let whole = class / 2;
            // Of short messages, the last one to three are not worth a lane.
            let fours = match whole {
                0 => places.len(),
                MANY => 0,
                _ => places.len() & !3,
            };
            let (fours, rest) = places.split_at(fours);
            over[left..left + rest.len()].copy_from_slice(rest);
            left += rest.len();
            if fours.is_empty() {
                continue;
            }
            bytes += fours.len() * (whole + 1) * BLOCK;
            if class % 2 == 0 {
                digest_fours::<BLOCK>(messages, fours, whole, out);
            } else {
                digest_fours::<{ 2 * BLOCK }>(messages, fours, whole, out);
            }
        }
        if !poll.go_on(bytes) {
            return false;
        }
        let waiting = over[..left].iter().rev().map(|&place| usize::from(place));
        if left > 0 && !digest_lanes(messages, waiting, out, &mut poll) {
            return false;
        }
    }
    true
}

static AS_THEY_COME: [u8; GROUP] = {
    let mut places = [0; GROUP];
    let mut place = 0;
    while place < GROUP {
        places[place] = place as u8;
        place += 1;
    }
    places
};

/// Sorts the places of the messages by their class, the highest first; where each class from
/// `least` starts goes to `starts`, which is all zeros.
#[inline(always)]
fn sort(messages: &[&[u8]], starts: &mut [u16], least: usize, sorted: &mut [u8; GROUP]) {
    for message in messages {
        starts[class(message) - least] += 1;
    }
    let mut end = 0;
    for start in starts.iter_mut().rev() {
        end += *start;
        *start = end;
    }
    // Every end becomes a start.
    for (place, message) in messages.iter().enumerate().rev() {
        let start = &mut starts[class(message) - least];
        *start -= 1;
        sorted[usize::from(*start)] = place as u8;
    }
}

/// Twice the whole blocks that are digested where they lie, and one more where two blocks of padded
/// rest follow. All of a message that fits in two blocks is such a rest.
#[inline(always)]
fn class(message: &[u8]) -> usize {
    let (whole, rest) = (message.len() / BLOCK, message.len() % BLOCK);
    let class = 2 * whole + usize::from(rest >= BLOCK - 8);
    if class == 2 { 1 } else { class.min(2 * MANY) }
}

/// The last bytes of a message of `length` bytes with the padding behind them (FIPS 180-4, section
/// 5.1.1). Whole vectors are stored, so that the loads of `compress` need not wait for them.
#[inline]
#[target_feature(enable = "avx512f,avx512bw")]
fn pad<const SIZE: usize>(rest: &[u8], length: usize, padded: &mut [u8; SIZE]) {
    const { assert!(SIZE.is_multiple_of(BLOCK)) };
    assert!(rest.len() <= SIZE - 9);
    let bits = ((length as u64) << 3).to_be() as i64;
    for (at, to) in padded.as_chunks_mut::<BLOCK>().0.iter_mut().enumerate() {
        let from = at * BLOCK;
        let left = rest.len().saturating_sub(from);
        let bytes = if left < BLOCK { (1 << left) - 1 } else { u64::MAX };
        let end = if rest.len() / BLOCK == at { 1 << (rest.len() % BLOCK) } else { 0 };
        let last = if from + BLOCK == SIZE { 0x80 } else { 0 };
        // SAFETY: the mask lets only bytes of `rest` be loaded; a block is one vector.
        unsafe {
            let words = _mm512_maskz_loadu_epi8(bytes, rest.as_ptr().wrapping_add(from).cast());
            let words = _mm512_mask_set1_epi8(words, end, 0x80u8 as i8);
            _mm512_storeu_si512(to.as_mut_ptr().cast(), _mm512_mask_set1_epi64(words, last, bits));
        }
    }
}

/// Digests the messages at `places`, of `whole` blocks and `SIZE` bytes of padded rest each, four
/// by four, and the last one to three together.
#[inline]
#[target_feature(enable = "sha,sse4.1,ssse3,avx512f,avx512bw,avx512vl")]
fn digest_fours<const SIZE: usize>(
    messages: &[&[u8]],
    places: &[u8],
    whole: usize,
    out: &mut [Digest],
) {
    let mut batch = [[0; SIZE]; BATCH];
    for places in places.chunks(BATCH) {
        for (&place, padded) in places.iter().zip(&mut batch) {
            let message = messages[usize::from(place)];
            pad(&message[whole * BLOCK..], message.len(), padded);
        }
        let (fours, rest) = places.as_chunks::<4>();
        for (places, padded) in fours.iter().zip(batch.as_chunks::<4>().0) {
            digest_alike(messages, places, whole, padded, out);
        }
        let padded = &batch[places.len() - rest.len()..];
        match *rest {
            [a] => digest_alike(messages, &[a], whole, &[padded[0]], out),
            [a, b] => digest_alike(messages, &[a, b], whole, &[padded[0], padded[1]], out),
            [a, b, c] => {
                let padded = [padded[0], padded[1], padded[2]];
                digest_alike(messages, &[a, b, c], whole, &padded, out);
            }
            _ => {}
        }
    }
}

/// Digests messages that have the same number of blocks.
#[inline]
#[target_feature(enable = "sha,sse4.1,ssse3,avx512f,avx512bw,avx512vl")]
fn digest_alike<const N: usize, const SIZE: usize>(
    messages: &[&[u8]],
    places: &[u8; N],
    whole: usize,
    padded: &[[u8; SIZE]; N],
    out: &mut [Digest],
) {
    let mut states = [initial(); N];
    if whole > 0 {
        compress(&mut states, places.map(|place| &messages[usize::from(place)][..whole * BLOCK]));
    }
    compress(&mut states, padded.each_ref().map(|padded| padded.as_slice()));
    for (&place, state) in places.iter().zip(states) {
        out[usize::from(place)] = finish(state);
    }
}

/// `Lane::new`, with the faster `pad`.
#[inline]
#[target_feature(enable = "sha,sse4.1,ssse3,avx512f,avx512bw,avx512vl")]
fn lane<'a>(index: usize, message: &'a [u8]) -> Lane<'a> {
    let (blocks, rest) = message.split_at(message.len() & !(BLOCK - 1));
    let mut tail = [0; 2 * BLOCK];
    let tail_length = if rest.len() < BLOCK - 8 {
        if let Some(first) = tail.first_chunk_mut::<BLOCK>() {
            pad(rest, message.len(), first);
        }
        BLOCK
    } else {
        pad(rest, message.len(), &mut tail);
        2 * BLOCK
    };
    Lane { index, state: initial(), blocks, tail, tail_length, in_tail: 0 }
}

/// Digests the messages at the places `waiting`, four at a time, whatever their lengths; the last
/// ones three, two, and one at a time.
#[target_feature(enable = "sha,sse4.1,ssse3,avx512f,avx512bw,avx512vl")]
fn digest_lanes(
    messages: &[&[u8]],
    mut waiting: impl Iterator<Item = usize>,
    out: &mut [Digest],
    poll: &mut Poll<'_>,
) -> bool {
    let mut open = 0;
    let mut lanes: [Lane<'_>; 4] = core::array::from_fn(|_| match waiting.next() {
        Some(index) => {
            open += 1;
            lane(index, messages[index])
        }
        None => lane(0, &[]),
    });
    loop {
        let bytes = match open {
            0 => return true,
            1 => lanes.first_chunk_mut::<1>().map_or(0, |lanes| step(lanes)),
            2 => lanes.first_chunk_mut::<2>().map_or(0, |lanes| step(lanes)),
            3 => lanes.first_chunk_mut::<3>().map_or(0, |lanes| step(lanes)),
            _ => step::<4>(&mut lanes),
        };
        if !poll.go_on(bytes) {
            return false;
        }
        for at in (0..open).rev() {
            if !lanes[at].is_done() {
                continue;
            }
            out[lanes[at].index] = finish(lanes[at].state);
            if let Some(index) = waiting.next() {
                lanes[at] = lane(index, messages[index]);
            } else {
                open -= 1;
                lanes.swap(at, open);
            }
        }
    }
}

/// Digests as much as the shortest lane has in one piece. Returns the bytes of all lanes together.
#[inline]
#[target_feature(enable = "sha,sse4.1,ssse3,avx512f,avx512bw,avx512vl")]
fn step<const N: usize>(lanes: &mut [Lane<'_>; N]) -> usize {
    let mut states = lanes.each_ref().map(|lane| lane.state);
    let next = lanes.each_ref().map(|lane| lane.next());
    let bytes = next.iter().map(|next| next.len()).min().unwrap_or(0).min(POLL_BYTES);
    compress(&mut states, next.map(|next| &next[..bytes]));
    for (lane, state) in lanes.iter_mut().zip(states) {
        lane.state = state;
        lane.advance(bytes);
    }
    N * bytes
}

/// Four rounds.
///
/// Assembly, because of the intrinsics the compiler spills states, on which everything waits, and
/// mixes up the order of the messages, to which the scheduler of the CPU is sensitive: 15 ns a
/// block and more, not 13.4 (Zen 4, 3.7 GHz).
#[inline]
#[target_feature(enable = "sha,sse4.1,ssse3,avx512f,avx512bw,avx512vl")]
fn rounds(state: &mut State, w: __m128i, k: &[u32; 4]) {
    // SAFETY: reads the four words behind `k`, and no other memory; the features are there.
    unsafe {
        asm!(
            "vpaddd xmm0, {w:x}, xmmword ptr [{k}]",
            "sha256rnds2 {cdgh}, {abef}, xmm0",
            "vpshufd xmm0, xmm0, 0x0e",
            "sha256rnds2 {abef}, {cdgh}, xmm0",
            w = in(zmm_reg) w,
            k = in(reg) k,
            abef = inout(xmm_reg) state.abef,
            cdgh = inout(xmm_reg) state.cdgh,
            out("xmm0") _,
            options(nostack, readonly, preserves_flags),
        );
    }
}

/// Four rounds, and the next four words of the message schedule after the sixteen in `w`.
#[inline]
#[target_feature(enable = "sha,sse4.1,ssse3,avx512f,avx512bw,avx512vl")]
fn rounds_schedule(state: &mut State, w: [__m128i; 4], k: &[u32; 4]) -> __m128i {
    let mut next = w[0];
    // SAFETY: reads the four words behind `k`, and no other memory; the features are there.
    unsafe {
        asm!(
            "vpaddd xmm0, {w0:x}, xmmword ptr [{k}]",
            "sha256rnds2 {cdgh}, {abef}, xmm0",
            "vpshufd xmm0, xmm0, 0x0e",
            "sha256rnds2 {abef}, {cdgh}, xmm0",
            "vmovdqa32 {s}, {w0:x}",
            "vmovdqa32 {t}, {w1:x}",
            "sha256msg1 {s}, {t}",
            "vpalignr {t}, {w3:x}, {w2:x}, 4",
            "vpaddd {s}, {s}, {t}",
            "vmovdqa32 {t}, {w3:x}",
            "sha256msg2 {s}, {t}",
            "vmovdqa32 {w0:x}, {s}",
            w0 = inout(zmm_reg) next,
            w1 = in(zmm_reg) w[1],
            w2 = in(zmm_reg) w[2],
            w3 = in(zmm_reg) w[3],
            k = in(reg) k,
            abef = inout(xmm_reg) state.abef,
            cdgh = inout(xmm_reg) state.cdgh,
            s = out(xmm_reg) _,
            t = out(xmm_reg) _,
            out("xmm0") _,
            options(nostack, readonly, preserves_flags),
        );
    }
    next
}

/// Digests as many blocks of each message as the shortest has, each into its own state.
///
/// SHA instructions have no VEX encoding: where anything is left above the lower 128 bits of a register,
/// each of them takes hundreds of cycles on Intel's cores since Golden Cove (llvm/llvm-project#142368).
/// So those bits are cleared first, in a function that is not inlined: no wide vector of a caller gets in
/// between.
#[inline(never)]
#[target_feature(enable = "sha,sse4.1,ssse3,avx512f,avx512bw,avx512vl")]
fn compress<const N: usize>(states: &mut [State; N], blocks: [&[u8]; N]) {
    let count = blocks.iter().map(|blocks| blocks.len() / BLOCK).min().unwrap_or(0);
    let big_endian = byte_order();
    let (k, _) = K.as_chunks::<4>();
    _mm256_zeroupper();
    let mut at = blocks.map(|blocks| blocks.as_ptr().cast::<__m128i>());
    let mut now = *states;
    for _ in 0..count {
        let mut w = [[big_endian; 4]; N];
        for lane in 0..N {
            for (i, words) in w[lane].iter_mut().enumerate() {
                // SAFETY: `count` blocks are there in every message, and a block is four vectors.
                let bytes = unsafe { _mm_loadu_si128(at[lane].add(i)) };
                *words = _mm_shuffle_epi8(bytes, big_endian);
            }
            at[lane] = at[lane].wrapping_add(4);
        }
        for turn in 0..3 {
            macro_rules! four_rounds {
                ($($first:literal),+) => {$(
                    for lane in 0..N {
                        let w = &mut w[lane];
                        let from = [
                            w[$first],
                            w[($first + 1) % 4],
                            w[($first + 2) % 4],
                            w[($first + 3) % 4],
                        ];
                        w[$first] = rounds_schedule(&mut now[lane], from, &k[4 * turn + $first]);
                    }
                )+};
            }
            four_rounds!(0, 1, 2, 3);
        }
        for four in 0..4 {
            for lane in 0..N {
                rounds(&mut now[lane], w[lane][four], &k[12 + four]);
            }
        }
        for (now, first) in now.iter_mut().zip(&mut *states) {
            now.abef = _mm_add_epi32(now.abef, first.abef);
            now.cdgh = _mm_add_epi32(now.cdgh, first.cdgh);
            *first = *now;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Whether a register of the first sixteen has anything above its lower 128 bits, as the CPU keeps
    /// track of it; None where it does not tell.
    fn has_upper_bits() -> Option<bool> {
        const XGETBV_OF_1: u32 = 1 << 2;
        const AVX_AND_ZMM_HI256: u32 = 1 << 2 | 1 << 6;
        if core::arch::x86_64::__cpuid_count(0xd, 1).eax & XGETBV_OF_1 == 0 {
            return None;
        }
        let in_use: u32;
        // SAFETY: the CPU can be asked, as just looked up; only the registers named are written.
        unsafe { asm!("xgetbv", in("ecx") 1, out("eax") in_use, out("edx") _) };
        Some(in_use & AVX_AND_ZMM_HI256 != 0)
    }

    #[test]
    fn sha_instructions_meet_no_upper_bits() {
        if FourLanes::available().is_none() {
            return;
        }
        let block = [0; BLOCK];
        // SAFETY: the CPU has the instructions; what is written is named, but for the upper bits, so that
        // the compiler does not clear them itself.
        let before = unsafe {
            let mut states = [initial(); 4];
            asm!("vpternlogd zmm5, zmm5, zmm5, 0xff", out("xmm5") _);
            let before = has_upper_bits();
            asm!("vpternlogd zmm5, zmm5, zmm5, 0xff", out("xmm5") _);
            compress(&mut states, [&block; 4]);
            before
        };
        // It writes no register but the lower bits: what is left behind it was there all the time.
        assert_eq!((before, has_upper_bits()), (before.map(|_| true), before.map(|_| false)));
    }
}
