//! Eight short integers at a time, with the vectors of AVX-512.
//!
//! The six digits of each lie in a lane of eight bytes, ", " behind them; one instruction (VBMI2) then
//! closes the gaps that zeros before the first digit leave, also behind a sign. Digits are had by
//! multiplying with rounded up reciprocals, which is exact in the ranges here (Granlund and Montgomery,
//! "Division by invariant integers using multiplication", 1994); the tests try every number.

#![allow(unsafe_code)]

use core::arch::x86_64::{
    _mm512_abs_epi64, _mm512_add_epi64, _mm512_cmplt_epi64_mask, _mm512_cmplt_epu64_mask,
    _mm512_loadu_si512, _mm512_mask_and_epi64, _mm512_mask_xor_epi64, _mm512_maskz_compress_epi8,
    _mm512_movepi8_mask, _mm512_mul_epu32, _mm512_mullo_epi16, _mm512_or_si512, _mm512_set1_epi16,
    _mm512_set1_epi64, _mm512_setzero_si512, _mm512_slli_epi32, _mm512_slli_epi64,
    _mm512_srli_epi16, _mm512_srli_epi64, _mm512_storeu_si512, _mm512_sub_epi16, _mm512_sub_epi64,
    _mm512_ternarylogic_epi64, _mm512_xor_si512,
};

use super::TINY;

/// Negative numbers above this have at most five digits, so that their sign has a place, too.
const TINY_BELOW_ZERO: i64 = -100_000;

/// Integers that are written at once.
pub const EIGHT: usize = 8;

/// Bytes that one step may touch.
const STEP: usize = 64;

/// Proof that the CPU has the instructions.
#[derive(Clone, Copy)]
pub struct EightItems(());

impl EightItems {
    /// `std` looks once and remembers.
    #[inline]
    pub fn available() -> Option<Self> {
        let has = std::arch::is_x86_feature_detected!("avx512f")
            && std::arch::is_x86_feature_detected!("avx512bw")
            && std::arch::is_x86_feature_detected!("avx512vbmi2")
            && std::arch::is_x86_feature_detected!("popcnt");
        has.then_some(Self(()))
    }

    /// Writes values with ", " behind each to the start of `out`, eight by eight, until eight are not
    /// left, one of them is not short, or `out` may be too small.
    ///
    /// `read` gives the sign and the magnitude. Returns how many values and how many bytes were written.
    #[inline]
    pub fn write<const WIDTH: usize>(
        self,
        values: &[[u8; WIDTH]],
        read: impl Fn(&[u8; WIDTH]) -> (bool, u64),
        out: &mut [u8],
    ) -> (usize, usize) {
        // SAFETY: `self` exists only where the CPU has the features that the function is built for.
        unsafe { write(values, read, out) }
    }
}

#[target_feature(enable = "avx512f,avx512bw,avx512vbmi2,popcnt")]
fn write<const WIDTH: usize>(
    values: &[[u8; WIDTH]],
    read: impl Fn(&[u8; WIDTH]) -> (bool, u64),
    out: &mut [u8],
) -> (usize, usize) {
    let (mut done, mut at) = (0, 0);
    for eight in values.as_chunks::<EIGHT>().0 {
        let numbers = eight.each_ref().map(|value| match read(value) {
            (false, magnitude) => magnitude.min(i64::MAX as u64) as i64,
            (true, magnitude) => (magnitude as i64).wrapping_neg(),
        });
        let Some(room) = out.get_mut(at..).and_then(|room| room.first_chunk_mut::<STEP>()) else {
            break;
        };
        // SAFETY: the array has the 64 bytes of a vector.
        let numbers = unsafe { _mm512_loadu_si512(numbers.as_ptr().cast()) };
        let least = TINY_BELOW_ZERO + 1;
        let above_least = _mm512_sub_epi64(numbers, _mm512_set1_epi64(least));
        let range = _mm512_set1_epi64(TINY as i64 - least);
        if _mm512_cmplt_epu64_mask(above_least, range) != u8::MAX {
            break;
        }
        let is_negative = _mm512_cmplt_epi64_mask(numbers, _mm512_setzero_si512());
        let numbers = _mm512_abs_epi64(numbers);

        // The first three digits in one half of a lane, the last three in the other.
        let thousands = _mm512_mul_epu32(numbers, _mm512_set1_epi64(0x1062_4dd3));
        let thousands = _mm512_srli_epi64::<38>(thousands);
        let rest = _mm512_mul_epu32(thousands, _mm512_set1_epi64(1000));
        let rest = _mm512_slli_epi64::<32>(_mm512_sub_epi64(numbers, rest));
        let threes = _mm512_or_si512(thousands, rest);

        let times = |a, b| _mm512_mullo_epi16(a, _mm512_set1_epi16(b));
        let hundreds = _mm512_srli_epi16::<12>(times(threes, 41));
        let twos = _mm512_sub_epi16(threes, times(hundreds, 100));
        let tens = _mm512_srli_epi16::<10>(times(twos, 103));
        let ones = _mm512_sub_epi16(twos, times(tens, 10));
        let tens_and_ones =
            _mm512_or_si512(_mm512_slli_epi32::<8>(tens), _mm512_slli_epi32::<16>(ones));
        let digits = _mm512_or_si512(hundreds, tens_and_ones);
        // Six bytes in a row: the second three move down by one.
        let first_three = _mm512_set1_epi64(0xff_ffff);
        let down = _mm512_srli_epi64::<8>(digits);
        const FIRST_WHERE_SET_ELSE_SECOND: i32 = 0xca;
        let digits =
            _mm512_ternarylogic_epi64::<FIRST_WHERE_SET_ELSE_SECOND>(first_three, digits, down);

        // Below the lowest bit that is set, `x ^ (x - 1)` has only ones: bytes of ones are zeros before
        // the first digit. The last digit stays, be it zero, and so does the place of a sign.
        let marked = _mm512_or_si512(digits, _mm512_set1_epi64(1 << 40));
        let before = _mm512_xor_si512(marked, _mm512_add_epi64(marked, _mm512_set1_epi64(-1)));
        let before = _mm512_mask_and_epi64(before, is_negative, before, _mm512_set1_epi64(!0xff));
        let kept = !_mm512_movepi8_mask(before);

        let text = _mm512_or_si512(digits, _mm512_set1_epi64(i64::from_le_bytes(*b"000000, ")));
        let sign = _mm512_set1_epi64(i64::from(b'0' ^ b'-'));
        let text = _mm512_mask_xor_epi64(text, is_negative, text, sign);
        let text = _mm512_maskz_compress_epi8(kept, text);
        // SAFETY: `room` has the 64 bytes of a vector.
        unsafe { _mm512_storeu_si512(room.as_mut_ptr().cast(), text) };
        done += EIGHT;
        at += kept.count_ones() as usize;
    }
    (done, at)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(bytes: &[u8; 8]) -> (bool, u64) {
        let value = i64::from_ne_bytes(*bytes);
        (value < 0, value.unsigned_abs())
    }

    fn written(values: &[i64], room: usize) -> Option<(usize, String)> {
        let values: Vec<[u8; 8]> = values.iter().map(|value| value.to_ne_bytes()).collect();
        let mut out = vec![b'x'; room];
        let (done, at) = EightItems::available()?.write(&values, read, &mut out);
        Some((done, String::from_utf8_lossy(&out[..at]).into_owned()))
    }

    fn items(values: &[i64]) -> String {
        values.iter().map(|value| format!("{value}, ")).collect()
    }

    #[test]
    fn every_short_number() {
        let numbers: Vec<i64> = (TINY_BELOW_ZERO + 1..TINY as i64).collect();
        for values in numbers.chunks(1 << 12) {
            let Some((done, text)) = written(values, 1 << 16) else {
                return;
            };
            let whole = values.len() / EIGHT * EIGHT;
            assert_eq!((done, text), (whole, items(&values[..whole])));
        }
    }

    #[test]
    fn stops_before_what_is_not_short() {
        let odd = [TINY_BELOW_ZERO, i64::MIN, TINY as i64, 1 << 32, 1 << 40, i64::MAX];
        for (odd, place) in odd.into_iter().flat_map(|odd| (0..24).map(move |place| (odd, place))) {
            let mut values = [7; 24];
            values[place] = odd;
            let Some(found) = written(&values, 1 << 10) else {
                return;
            };
            let done = place / EIGHT * EIGHT;
            assert_eq!(found, (done, items(&values[..done])));
        }
    }

    #[test]
    fn large_ones_without_a_sign_are_not_taken_for_negative_ones() {
        let read = |bytes: &[u8; 8]| (false, u64::from_ne_bytes(*bytes));
        let values = [u64::MAX.to_ne_bytes(); EIGHT];
        let mut out = [0; STEP];
        if let Some(eight) = EightItems::available() {
            assert_eq!(eight.write(&values, read, &mut out), (0, 0));
        }
    }

    #[test]
    fn stops_where_eight_or_room_are_not_left() {
        for count in 0..40 {
            for room in 0..200 {
                let values = vec![5; count];
                let Some((done, text)) = written(&values, room) else {
                    return;
                };
                let fit = if room < STEP { 0 } else { (room - STEP) / 24 + 1 };
                assert_eq!(done, (count / EIGHT).min(fit) * EIGHT);
                assert_eq!(text, items(&values[..done]));
            }
        }
    }
}
