//! Panics of libraries on damaged input, turned into errors without a word on stderr.

use std::any::Any;
use std::cell::Cell;
use std::panic::{self, AssertUnwindSafe};
use std::sync::Once;

use crate::error::{Cause, ReadError, Result};

thread_local! {
    static QUIET: Cell<bool> = const { Cell::new(false) };
}

/// Runs `work`; a panic in it is a damage of the file.
pub fn guarded<T>(work: impl FnOnce() -> Result<T>) -> Result<T> {
    static HOOK: Once = Once::new();
    HOOK.call_once(|| {
        let before = panic::take_hook();
        panic::set_hook(Box::new(move |info| {
            if !QUIET.with(Cell::get) {
                before(info);
            }
        }));
    });
    let outer = QUIET.with(|quiet| quiet.replace(true));
    let result = panic::catch_unwind(AssertUnwindSafe(work));
    QUIET.with(|quiet| quiet.set(outer));
    result.unwrap_or_else(|panic| {
        let message = message(&*panic).unwrap_or("no reason given");
        Err(ReadError::damaged(format!("the data contradicts itself: {message}")))
    })
}

/// Runs `work`, in which nothing should panic; where it does, it is an error of ours.
pub fn contained<T>(work: impl FnOnce() -> Result<T>) -> Result<T> {
    panic::catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|panic| {
        let message = message(&*panic).unwrap_or("a panic without words");
        Err(ReadError::new(Cause::Internal(message.to_owned())))
    })
}

/// What a panic says, if it has words.
fn message(panic: &(dyn Any + Send)) -> Option<&str> {
    panic
        .downcast_ref::<String>()
        .map(String::as_str)
        .or_else(|| panic.downcast_ref::<&str>().copied())
}
