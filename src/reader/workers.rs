//! Threads that do jobs whose results are taken in the order that they were given in.

use std::collections::VecDeque;
use std::process;
use std::sync::Arc;

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, bounded, unbounded};

use crate::error::{Cause, ReadError, Result};
use crate::scan::{LOOK_UP, Scan};

/// They end when this is dropped and the job at hand is done.
pub struct Workers<J, T> {
    jobs: Sender<(J, Sender<Result<T>>)>,
    waiting: VecDeque<Receiver<Result<T>>>,
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
        for index in 0..threads {
            let (given, work) = (given.clone(), Arc::clone(&work));
            std::thread::Builder::new()
                .name(format!("fast-axolotl-{what}-{index}"))
                .spawn(move || {
                    for (job, answer) in given {
                        // Nobody waits for it any more when the reader was dropped.
                        let _ = answer.send(work(job));
                    }
                })
                .map_err(ReadError::io)?;
        }
        Ok(Workers { jobs, waiting: VecDeque::new(), owner: process::id() })
    }

    /// Jobs whose results were not taken.
    pub fn waiting(&self) -> usize {
        self.waiting.len()
    }

    pub fn give(&mut self, job: J) -> Result<()> {
        self.check_owner()?;
        let (answer, result) = bounded(1);
        let _ = self.jobs.send((job, answer));
        self.waiting.push_back(result);
        Ok(())
    }

    /// The result of the first job whose result was not taken; `None` where there is no such job.
    pub fn take(&mut self, scan: &Scan) -> Result<Option<T>> {
        self.check_owner()?;
        let Some(result) = self.waiting.pop_front() else { return Ok(None) };
        loop {
            match result.recv_timeout(LOOK_UP) {
                Ok(answer) => return answer.map(Some),
                Err(RecvTimeoutError::Timeout) => scan.check()?,
                Err(RecvTimeoutError::Disconnected) => {
                    return Err(ReadError::new(Cause::Internal("a worker ended early".into())));
                }
            }
        }
    }

    /// A forked child has none of the threads.
    fn check_owner(&self) -> Result<()> {
        if self.owner == process::id() {
            return Ok(());
        }
        Err(ReadError::request(
            "this reader was started in another process, which has its threads: \
             open one in this process",
        ))
    }
}
