//! Work of one call, lent to the threads of a pool until the call takes it back.
//!
//! Unlike a scope, which waits for every thread to have come and gone, taking back waits only for
//! those that came: a thread that is still asleep by then finds nothing to do. So threads cost a call
//! no more than waking them, however busy the machine is.

#![allow(unsafe_code)]

use std::any::Any;
use std::hint::spin_loop;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError};

use rayon::ThreadPool;

type Work = dyn Fn() + Sync;

/// Turns to look whether the others are gone before this thread goes to sleep over it: about the ten
/// microseconds that waking it again takes.
const SPINS: usize = 2_000;

/// In the state of a loan: taken back. What is above this bit counts the threads at work.
const BACK: usize = 1;
const ONE: usize = 2;

struct Loan {
    /// Valid while a thread is counted in `state`.
    work: &'static Work,
    state: AtomicUsize,
    gone: Condvar,
    panic: Mutex<Option<Box<dyn Any + Send>>>,
}

/// Runs `main` on this thread while up to `helpers` threads of the pool run `work`; returns when none
/// of them does any more. A panic of theirs goes on here.
///
/// There may be none that comes in time: `main` must be able to do what they left.
pub fn lend<R>(
    pool: &ThreadPool,
    helpers: usize,
    work: &(dyn Fn() + Sync),
    main: impl FnOnce() -> R,
) -> R {
    // SAFETY: the longer lifetime is for the loan only, which calls `work` no more once `TakeBack` is
    // dropped; that happens in here, also where `main` panics.
    let work = unsafe { std::mem::transmute::<&(dyn Fn() + Sync), &'static Work>(work) };
    let loan = Arc::new(Loan {
        work,
        state: AtomicUsize::new(0),
        gone: Condvar::new(),
        panic: Mutex::new(None),
    });
    let take_back = TakeBack(&loan);
    for _ in 0..helpers {
        let loan = Arc::clone(&loan);
        pool.spawn(move || loan.help());
    }
    let result = main();
    drop(take_back);
    let panic = loan.panic.lock().unwrap_or_else(PoisonError::into_inner).take();
    match panic {
        Some(panic) => resume_unwind(panic),
        None => result,
    }
}

impl Loan {
    fn help(&self) {
        let count = |state| (state & BACK == 0).then_some(state + ONE);
        if self.state.fetch_update(Ordering::Acquire, Ordering::Relaxed, count).is_err() {
            return;
        }
        if let Err(panic) = catch_unwind(AssertUnwindSafe(self.work)) {
            *self.panic.lock().unwrap_or_else(PoisonError::into_inner) = Some(panic);
        }
        if self.state.fetch_sub(ONE, Ordering::Release) == ONE | BACK {
            // With the lock held, who waits is either asleep or has not looked yet.
            let _waiting = self.panic.lock();
            self.gone.notify_all();
        }
    }

    fn take_back(&self) {
        self.state.fetch_or(BACK, Ordering::AcqRel);
        for _ in 0..SPINS {
            if self.state.load(Ordering::Acquire) == BACK {
                return;
            }
            spin_loop();
        }
        let mut waiting = self.panic.lock().unwrap_or_else(PoisonError::into_inner);
        while self.state.load(Ordering::Acquire) != BACK {
            waiting = self.gone.wait(waiting).unwrap_or_else(PoisonError::into_inner);
        }
    }
}

struct TakeBack<'a>(&'a Loan);

impl Drop for TakeBack<'_> {
    fn drop(&mut self) {
        self.0.take_back();
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::panic)] // what a test does when it fails, and what one is about
mod tests {
    use std::sync::mpsc;
    use std::time::Duration;

    use rayon::ThreadPoolBuilder;

    use super::*;

    fn pool(threads: usize) -> ThreadPool {
        ThreadPoolBuilder::new().num_threads(threads).build().unwrap()
    }

    #[test]
    fn those_at_work_are_waited_for() {
        let pool = pool(2);
        for _ in 0..50 {
            let (started, done) = (AtomicUsize::new(0), AtomicUsize::new(0));
            let work = || {
                started.fetch_add(1, Ordering::SeqCst);
                std::thread::sleep(Duration::from_millis(1));
                done.fetch_add(1, Ordering::SeqCst);
            };
            lend(&pool, 2, &work, || {
                while started.load(Ordering::SeqCst) == 0 {
                    std::thread::yield_now();
                }
            });
            assert_eq!(started.into_inner(), done.into_inner());
        }
    }

    #[test]
    fn those_that_did_not_come_are_not() {
        let pool = pool(1);
        let (hold, held) = mpsc::channel::<()>();
        pool.spawn(move || {
            let _ = held.recv();
        });
        let came = AtomicUsize::new(0);
        let work = || {
            came.fetch_add(1, Ordering::SeqCst);
        };
        assert_eq!(lend(&pool, 1, &work, || 7), 7);
        drop(hold);
        // The thread is free again, and comes too late.
        pool.install(|| ());
        assert_eq!(came.into_inner(), 0);
    }

    #[test]
    fn a_panic_on_either_side_is_raised_once_all_are_gone() {
        let pool = pool(1);
        let started = AtomicUsize::new(0);
        let work = || {
            started.fetch_add(1, Ordering::SeqCst);
            panic!("theirs");
        };
        let wait = || {
            while started.load(Ordering::SeqCst) == 0 {
                std::thread::yield_now();
            }
        };
        let theirs = catch_unwind(AssertUnwindSafe(|| lend(&pool, 1, &work, wait)));
        assert_eq!(theirs.unwrap_err().downcast_ref(), Some(&"theirs"));
        let ours = catch_unwind(AssertUnwindSafe(|| lend(&pool, 1, &|| (), || panic!("ours"))));
        assert_eq!(ours.unwrap_err().downcast_ref(), Some(&"ours"));
    }
}
