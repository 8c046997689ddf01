//! Which implementation runs a call, decided inside the native function.

use std::sync::atomic::{AtomicU8, Ordering};

/// What can be dispatched on its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operation {
    Pack,
    Pad,
    Hash,
}

/// Who runs the calls of an operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Mode {
    Rust,
    Python,
}

static MODES: [AtomicU8; 3] = [const { AtomicU8::new(Mode::Rust as u8) }; 3];

impl Operation {
    pub fn from_name(name: &str) -> Option<Self> {
        match name {
            "pack" => Some(Operation::Pack),
            "pad" => Some(Operation::Pad),
            "hash" => Some(Operation::Hash),
            _ => None,
        }
    }

    pub fn set(self, mode: Mode) {
        MODES[self as usize].store(mode as u8, Ordering::Relaxed);
    }

    #[inline(always)]
    pub fn is_python(self) -> bool {
        MODES[self as usize].load(Ordering::Relaxed) == Mode::Python as u8
    }
}
