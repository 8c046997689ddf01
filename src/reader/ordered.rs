//! Numbered pieces of work on several threads, results in order, a bounded number under way.

use std::collections::VecDeque;
use std::process;
use std::sync::Arc;

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, bounded, unbounded};

use crate::error::{Cause, ReadError, Result};
use crate::scan::{LOOK_UP, Scan};

/// The result of piece `index`; `None` after the last.
type Work<T> = dyn Fn(usize) -> Result<Option<T>> + Send + Sync;
type Answer<T> = Result<Option<T>>;

pub struct Ordered<T> {
    work: Arc<Work<T>>,
    /// The bytes that a result takes.
    size: fn(&T) -> usize,
    /// Of the results so far.
    largest: usize,
    scan: Scan,
    next: usize,
    /// Whether the caller's thread does the first piece: at once, for threads take time to start.
    at_once: bool,
    threads: Option<Threads<T>>,
    done: bool,
}

struct Threads<T> {
    jobs: Sender<(usize, Sender<Answer<T>>)>,
    waiting: VecDeque<Receiver<Answer<T>>>,
    owner: u32,
}

impl<T: Send + 'static> Ordered<T> {
    /// `first` is the number of the first piece that is wanted; `at_once`: it is soon done; `size`: the
    /// bytes that a result takes.
    pub fn new(
        scan: &Scan,
        first: usize,
        at_once: bool,
        size: fn(&T) -> usize,
        work: impl Fn(usize) -> Result<Option<T>> + Send + Sync + 'static,
    ) -> Self {
        Ordered {
            work: Arc::new(work),
            size,
            largest: 0,
            scan: scan.clone(),
            next: first,
            at_once,
            threads: None,
            done: false,
        }
    }

    /// The next result in order. After an error or `None`, `None`.
    pub fn advance(&mut self) -> Result<Option<T>> {
        if self.done {
            return Ok(None);
        }
        let result = self.scan.check().and_then(|()| self.result());
        if let Ok(Some(found)) = &result {
            self.largest = self.largest.max((self.size)(found));
        }
        if !matches!(result, Ok(Some(_))) {
            self.done = true;
            self.threads = None;
        }
        result
    }

    fn result(&mut self) -> Result<Option<T>> {
        if self.scan.threads < 2 || std::mem::take(&mut self.at_once) {
            self.next += 1;
            return (self.work)(self.next - 1);
        }
        if self.threads.is_none() {
            self.threads = Some(self.start()?);
        }
        let under_way = self.under_way();
        let Some(threads) = &mut self.threads else { return Ok(None) };
        if threads.owner != process::id() {
            return Err(ReadError::request(
                "this reader was started in another process, which has its threads: \
                 open one in this process",
            ));
        }
        while threads.waiting.len() < under_way {
            let (answer, result) = bounded(1);
            let _ = threads.jobs.send((self.next, answer));
            threads.waiting.push_back(result);
            self.next += 1;
        }
        let Some(result) = threads.waiting.pop_front() else { return Ok(None) };
        loop {
            match result.recv_timeout(LOOK_UP) {
                Ok(answer) => return answer,
                Err(RecvTimeoutError::Timeout) => self.scan.check()?,
                Err(RecvTimeoutError::Disconnected) => {
                    return Err(ReadError::new(Cause::Internal("a worker ended early".into())));
                }
            }
        }
    }

    fn start(&self) -> Result<Threads<T>> {
        let (jobs, work) = unbounded::<(usize, Sender<Answer<T>>)>();
        for index in 0..self.scan.threads {
            let (work, run) = (work.clone(), Arc::clone(&self.work));
            std::thread::Builder::new()
                .name(format!("fast-axolotl-decode-{index}"))
                .spawn(move || {
                    for (piece, answer) in work {
                        // Nobody waits for it any more when the reader was dropped.
                        let _ = answer.send(run(piece));
                    }
                })
                .map_err(ReadError::io)?;
        }
        Ok(Threads { jobs, waiting: VecDeque::new(), owner: process::id() })
    }

    /// Enough to keep all threads busy, but a few only before it is known how large results are, or
    /// where more would not fit in what a reader may take.
    fn under_way(&self) -> usize {
        const BYTES: usize = 16 << 20;
        const FEW: usize = 3;
        let fitting = BYTES.checked_div(self.largest).unwrap_or(FEW);
        (self.scan.threads + 1).min(fitting.max(FEW))
    }
}
