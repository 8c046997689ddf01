//! Kernels of fast-axolotl. Nothing here knows Python: lengths, bytes and slices in, plans, digests
//! and filled buffers out.

pub mod dedup;
pub mod hash;
pub mod integers;
mod lent;
pub mod multipack;
pub mod pack;
pub mod pad;
pub mod pickle;
pub mod prefetch;
pub mod sha256;
pub mod threads;
