//! How many threads this process may use, and the one pool that holds them.

use std::process;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock, RwLock};

use rayon::{ThreadPool, ThreadPoolBuilder};

use crate::lent;

/// The threads that this process may really use: affinity and cgroup quota count, not the machine.
pub fn usable() -> usize {
    static USABLE: OnceLock<usize> = OnceLock::new();
    *USABLE.get_or_init(|| std::thread::available_parallelism().map_or(1, usize::from))
}

/// Whether this process is a forked child of the one that looked here first.
pub fn is_forked() -> bool {
    static FIRST: OnceLock<u32> = OnceLock::new();
    *FIRST.get_or_init(process::id) != process::id()
}

/// How many threads to use where `asked` were asked for (0: as many as are usable).
///
/// One in a forked child, whose copy of the pool has no threads, unless more were asked for.
pub fn resolve(asked: usize) -> usize {
    match asked {
        0 if is_forked() => 1,
        0 => usable(),
        asked => asked.min(usable()),
    }
}

/// Runs `main` on this thread while up to `threads` - 1 others run `work`; returns when none of them
/// does any more.
///
/// There may be no others (no pool can be had, or its threads come too late), so `main` must be able to
/// do what they left.
pub fn with_helpers<R>(threads: usize, work: &(dyn Fn() + Sync), main: impl FnOnce() -> R) -> R {
    let pool = if threads > 1 { pool() } else { None };
    let Some(pool) = pool else {
        return main();
    };
    let _running = Running::new();
    lent::lend(&pool.threads, threads - 1, work, main)
}

/// How many calls hold the pool.
static RUNNING: AtomicUsize = AtomicUsize::new(0);

struct Running;

impl Running {
    fn new() -> Self {
        RUNNING.fetch_add(1, Ordering::Relaxed);
        Running
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        RUNNING.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Whether a call holds the pool now: another one would have to share its threads.
pub fn is_busy() -> bool {
    RUNNING.load(Ordering::Relaxed) > 0
}

struct Pool {
    owner: u32,
    threads: ThreadPool,
}

/// The pool of the process that built it. The lock is only ever tried: a child that was forked while
/// another thread held it must not wait for that thread.
static POOL: RwLock<Option<Arc<Pool>>> = RwLock::new(None);

fn pool() -> Option<Arc<Pool>> {
    if let Some(pool) = POOL.try_read().ok()?.as_ref()
        && pool.owner == process::id()
    {
        return Some(Arc::clone(pool));
    }
    let mut slot = POOL.try_write().ok()?;
    let threads = ThreadPoolBuilder::new()
        .num_threads(usable().max(2) - 1)
        .thread_name(|i| format!("fast-axolotl-{i}"))
        .build()
        .ok()?;
    let pool = Arc::new(Pool { owner: process::id(), threads });
    // A pool inherited over a fork has no threads to stop: dropping it would wait for them.
    std::mem::forget(slot.replace(Arc::clone(&pool)));
    Some(pool)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn never_more_threads_than_are_usable() {
        assert_eq!(resolve(0), usable());
        assert_eq!(resolve(1), 1);
        assert_eq!(resolve(usize::MAX), usable());
    }

    #[test]
    fn all_the_work_is_done_whoever_does_it() {
        for threads in [1, 2, 5] {
            let next = AtomicUsize::new(0);
            let done = AtomicUsize::new(0);
            let work = || {
                while next.fetch_add(1, Ordering::Relaxed) < 1000 {
                    done.fetch_add(1, Ordering::Relaxed);
                }
            };
            with_helpers(threads, &work, work);
            assert_eq!(done.into_inner(), 1000);
        }
    }
}
