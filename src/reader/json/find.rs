//! The search for the bytes that matter in JSON, sixteen at a time.
#![allow(unsafe_code)]

/// The index of the first `"`, `\` or control character in `bytes`, or their number.
#[inline(always)]
pub fn special(bytes: &[u8]) -> usize {
    let (blocks, rest) = bytes.as_chunks::<16>();
    for (index, block) in blocks.iter().enumerate() {
        let mask = special_mask(block);
        if mask != 0 {
            return index * 16 + mask.trailing_zeros() as usize;
        }
    }
    let start = bytes.len() - rest.len();
    rest.iter().position(|&byte| is_special(byte)).map_or(bytes.len(), |index| start + index)
}

#[inline(always)]
pub fn is_special(byte: u8) -> bool {
    byte < b' ' || byte == b'"' || byte == b'\\'
}

/// A bit for each special byte.
#[cfg(target_arch = "x86_64")]
#[inline(always)]
fn special_mask(block: &[u8; 16]) -> u32 {
    use std::arch::x86_64::{
        _mm_cmpeq_epi8, _mm_max_epu8, _mm_movemask_epi8, _mm_or_si128, _mm_set1_epi8,
    };
    let bytes = load(block);
    // SAFETY: every x86-64 CPU has SSE2.
    unsafe {
        let limit = _mm_set1_epi8(0x1f);
        // Unsigned `bytes <= 0x1f`.
        let control = _mm_cmpeq_epi8(_mm_max_epu8(bytes, limit), limit);
        let quote = _mm_cmpeq_epi8(bytes, _mm_set1_epi8(0x22));
        let escape = _mm_cmpeq_epi8(bytes, _mm_set1_epi8(0x5c));
        _mm_movemask_epi8(_mm_or_si128(control, _mm_or_si128(quote, escape))).cast_unsigned()
    }
}

#[cfg(target_arch = "x86_64")]
#[inline(always)]
fn load(block: &[u8; 16]) -> std::arch::x86_64::__m128i {
    // SAFETY: every x86-64 CPU has SSE2; the sixteen bytes are there, and needn't be aligned.
    unsafe { std::arch::x86_64::_mm_loadu_si128(block.as_ptr().cast()) }
}

#[cfg(not(target_arch = "x86_64"))]
#[inline(always)]
fn special_mask(block: &[u8; 16]) -> u32 {
    // A loop without branches, which the compiler turns into vector instructions.
    let any = block.iter().fold(false, |any, &byte| any | is_special(byte));
    if !any {
        return 0;
    }
    block.iter().rev().fold(0, |mask, &byte| mask << 1 | u32::from(is_special(byte)))
}

/// The bits of 64 bytes that matter to whoever looks for the ends of values.
pub struct Structure {
    pub quotes: u64,
    pub escapes: u64,
    pub opening: u64,
    pub closing: u64,
}

impl Structure {
    #[inline(always)]
    pub fn of(bytes: &[u8; 64]) -> Self {
        let (blocks, _) = bytes.as_chunks::<16>();
        let mut structure = Structure { quotes: 0, escapes: 0, opening: 0, closing: 0 };
        for (index, block) in blocks.iter().enumerate() {
            let [quotes, escapes, opening, closing] = structure_masks(block);
            let shift = index * 16;
            structure.quotes |= u64::from(quotes) << shift;
            structure.escapes |= u64::from(escapes) << shift;
            structure.opening |= u64::from(opening) << shift;
            structure.closing |= u64::from(closing) << shift;
        }
        structure
    }
}

#[cfg(target_arch = "x86_64")]
#[inline(always)]
fn structure_masks(block: &[u8; 16]) -> [u32; 4] {
    use std::arch::x86_64::{
        __m128i, _mm_cmpeq_epi8, _mm_movemask_epi8, _mm_or_si128, _mm_set1_epi8,
    };
    // SAFETY: every x86-64 CPU has SSE2.
    let is = |bytes: __m128i, byte: u8| unsafe {
        let equal = _mm_cmpeq_epi8(bytes, _mm_set1_epi8(byte.cast_signed()));
        _mm_movemask_epi8(equal).cast_unsigned()
    };
    let bytes = load(block);
    // `[` and `{`, and `]` and `}`, differ in one bit, which this sets.
    // SAFETY: as above.
    let folded = unsafe { _mm_or_si128(bytes, _mm_set1_epi8(0x20)) };
    [is(bytes, b'"'), is(bytes, b'\\'), is(folded, b'{'), is(folded, b'}')]
}

#[cfg(not(target_arch = "x86_64"))]
#[inline(always)]
fn structure_masks(block: &[u8; 16]) -> [u32; 4] {
    let mut masks = [0; 4];
    for (index, &byte) in block.iter().enumerate() {
        masks[0] |= u32::from(byte == b'"') << index;
        masks[1] |= u32::from(byte == b'\\') << index;
        masks[2] |= u32::from(byte | 0x20 == b'{') << index;
        masks[3] |= u32::from(byte | 0x20 == b'}') << index;
    }
    masks
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn special_is_the_first(bytes in proptest::collection::vec(any::<u8>(), 0..100), plain in 0usize..80) {
            let mut all = vec![b'a'; plain];
            all.extend(bytes);
            let expected = all.iter().position(|&byte| is_special(byte)).unwrap_or(all.len());
            prop_assert_eq!(special(&all), expected);
        }
    }
}
