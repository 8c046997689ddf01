//! Numbered pieces of work on several threads, results in order, a bounded number under way.

use std::sync::Arc;

use crate::error::Result;
use crate::scan::Scan;
use crate::workers::Workers;

/// The result of piece `index`; `None` after the last.
type Work<T> = dyn Fn(usize) -> Result<Option<T>> + Send + Sync;

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
    workers: Option<Workers<usize, Option<T>>>,
    done: bool,
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
            workers: None,
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
            self.workers = None;
        }
        result
    }

    fn result(&mut self) -> Result<Option<T>> {
        if self.scan.threads < 2 || std::mem::take(&mut self.at_once) {
            self.next += 1;
            return (self.work)(self.next - 1);
        }
        let under_way = self.under_way();
        let workers = match &mut self.workers {
            Some(workers) => workers,
            none => {
                let work = Arc::clone(&self.work);
                none.insert(Workers::start(self.scan.threads, "decode", work)?)
            }
        };
        while workers.waiting() < under_way {
            workers.give(self.next)?;
            self.next += 1;
        }
        workers.take(&self.scan).map(Option::flatten)
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
