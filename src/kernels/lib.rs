//! Kernels of fast-axolotl. Nothing here knows Python: lengths, bytes and slices in, plans, digests
//! and filled buffers out.
