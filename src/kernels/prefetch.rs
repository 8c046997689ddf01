//! Asking for memory before it is needed.
//!
//! A load would do as well, but the processor takes loads off its list in order: one that waits for memory
//! stops all behind it after a few hundred instructions, which a prefetch does not.

#![allow(unsafe_code)]

/// Asks for the cache line at an address, where there is such an instruction. Any address will do.
#[inline(always)]
pub fn prefetch<T>(address: *const T) {
    #[cfg(all(target_arch = "x86_64", not(miri)))]
    // SAFETY: it neither reads nor faults, and is part of what every x86_64 has.
    unsafe {
        use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
        _mm_prefetch::<_MM_HINT_T0>(address.cast());
    }
    #[cfg(not(all(target_arch = "x86_64", not(miri))))]
    let _ = address;
}
