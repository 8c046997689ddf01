//! Threads that do jobs whose results are taken in the order that they were given in.

use std::collections::VecDeque;
use std::process;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, bounded, unbounded};

use crate::error::{Cause, ReadError, Result};
use crate::scan::{LOOK_UP, Scan};

/// They end when this is dropped, once the job at hand is done; what waits is not begun.
pub struct Workers<J, T> {
    jobs: Sender<(J, Sender<Result<T>>)>,
    waiting: VecDeque<Receiver<Result<T>>>,
    stop: Arc<AtomicBool>,
    owner: u32,
}

impl<J: Send + 'static, T: Send + 'static> Workers<J, T> {
    /// Starts `threads` threads with a name of `what` and a number.
    pub fn start(
        threads: usize,
        what: &str,
        work: Arc<dyn Fn(J) -> Result<T> + Send + Sync>,
    ) -> Result<Self> {
        let (jobs, given) = unbounded::<(J, Sender<Result<T>>)>();
        let stop = Arc::new(AtomicBool::new(false));
        for index in 0..threads {
            let (given, work, stop) = (given.clone(), Arc::clone(&work), Arc::clone(&stop));
            std::thread::Builder::new()
                .name(format!("fast-axolotl-{what}-{index}"))
                .spawn(move || {
                    for (job, answer) in given {
                        if stop.load(Ordering::Relaxed) {
                            return;
                        }
                        // Nobody waits for it any more when the reader was dropped meanwhile.
                        let _ = answer.send(work(job));
                    }
                })
                .map_err(ReadError::io)?;
        }
        Ok(Workers { jobs, waiting: VecDeque::new(), stop, owner: process::id() })
    }

    /// Jobs whose results were not taken.
    pub fn waiting(&self) -> usize {
        self.waiting.len()
    }

    pub fn give(&mut self, job: J) -> Result<()> {
        check_owner(self.owner)?;
        let (answer, result) = bounded(1);
        let _ = self.jobs.send((job, answer));
        self.waiting.push_back(result);
        Ok(())
    }

    /// The result of the first job whose result was not taken; `None` where there is no such job.
    pub fn take(&mut self, scan: &Scan) -> Result<Option<T>> {
        check_owner(self.owner)?;
        self.waiting.pop_front().map(|result| answer(&result, scan)).transpose()
    }
}

/// Refuses to wait for threads of another process: a forked child has none of them.
pub fn check_owner(owner: u32) -> Result<()> {
    if owner == process::id() {
        return Ok(());
    }
    Err(ReadError::request(
        "this reader was started in another process, which has its threads: \
         open one in this process",
    ))
}

/// What comes next, or `None` when nothing can come; looks up now and then to see if it should stop.
pub fn wait<T>(receiver: &Receiver<T>, scan: &Scan) -> Result<Option<T>> {
    loop {
        match receiver.recv_timeout(LOOK_UP) {
            Ok(value) => return Ok(Some(value)),
            Err(RecvTimeoutError::Disconnected) => return Ok(None),
            Err(RecvTimeoutError::Timeout) => scan.check()?,
        }
    }
}

/// What a worker answers to a job.
pub fn answer<T>(result: &Receiver<Result<T>>, scan: &Scan) -> Result<T> {
    let early = || Err(ReadError::new(Cause::Internal("a worker ended early".into())));
    wait(result, scan)?.unwrap_or_else(early)
}

impl<J, T> Drop for Workers<J, T> {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::sync::atomic::AtomicUsize;
    use std::time::{Duration, Instant};

    use super::*;

    #[test]
    fn results_come_in_order_and_nothing_is_begun_once_dropped() {
        let begun = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&begun);
        let work = move |job: u64| {
            counted.fetch_add(1, Ordering::SeqCst);
            std::thread::sleep(Duration::from_millis(if job.is_multiple_of(2) { 20 } else { 1 }));
            Ok(job)
        };
        let mut workers = Workers::start(2, "test", Arc::new(work)).unwrap();
        for job in 0..40 {
            workers.give(job).unwrap();
        }
        for job in 0..4 {
            assert_eq!(workers.take(&Scan::default()).unwrap(), Some(job));
        }
        assert_eq!(workers.waiting(), 36);
        drop(workers);
        // Those at work end what they do, and both are gone: nobody else counts.
        let deadline = Instant::now() + Duration::from_secs(10);
        while Arc::strong_count(&begun) > 1 {
            assert!(Instant::now() < deadline, "a thread goes on");
            std::thread::sleep(Duration::from_millis(1));
        }
        assert!(begun.load(Ordering::SeqCst) < 40);
    }
}
