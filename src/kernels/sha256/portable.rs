//! One message after the other with the `sha2` crate, on any CPU.

use sha2::{Digest as _, Sha256};

use super::{Digest, POLL_BYTES};

/// See `super::digest_all`.
pub fn digest_all(
    messages: &[&[u8]],
    out: &mut [Digest],
    keep_going: &mut dyn FnMut() -> bool,
) -> bool {
    let mut since_poll = 0;
    for (message, out) in messages.iter().zip(out) {
        let mut hasher = Sha256::new();
        for piece in message.chunks(POLL_BYTES) {
            hasher.update(piece);
            since_poll += piece.len();
            if since_poll >= POLL_BYTES {
                since_poll = 0;
                if !keep_going() {
                    return false;
                }
            }
        }
        *out = hasher.finalize().into();
    }
    true
}
