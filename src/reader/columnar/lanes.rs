//! Columns of a file decoded side by side, batch by batch, in bounded memory.
//!
//! Every column, or a few of very many, is a lane: a decoder that goes through the file by itself. Workers
//! always take the lane that is furthest behind (the most expensive one among equals), so all threads are
//! busy however the work is spread over the columns, also with one row group; lanes run ahead of the
//! consumer by a few batches only.

use std::collections::VecDeque;
use std::iter;
use std::process;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use arrow_array::ArrayRef;

use crate::error::{ReadError, Result};
use crate::scan::{LOOK_UP, Scan};
use crate::workers::check_owner;

/// Decodes some columns in order.
pub trait Lane: Send {
    /// What each of its columns has for the next batch.
    fn advance(&mut self) -> Vec<Step>;
    /// How many columns it has.
    fn width(&self) -> usize;
    /// What a batch of it costs, compared with other lanes.
    fn cost(&self) -> u64;
}

/// What a column has for the next batch.
pub enum Step {
    Column(ArrayRef),
    /// The rows before the damage, if any, and the damage.
    Broken(Option<ArrayRef>, ReadError),
    End,
}

pub struct Lanes {
    shared: Arc<Shared>,
    scan: Scan,
    started: bool,
    owner: u32,
}

struct Shared {
    state: Mutex<State>,
    /// Room in a lane, or the end.
    work: Condvar,
    /// What a lane has is ready.
    ready: Condvar,
    depth: usize,
}

struct State {
    lanes: Vec<Slot>,
    stop: bool,
}

struct Slot {
    lane: Option<Box<dyn Lane>>,
    width: usize,
    ready: VecDeque<Vec<Step>>,
    /// Batches decoded or being decoded.
    decoded: u64,
    cost: u64,
    done: bool,
}

impl Lanes {
    /// `depth`: batches that a lane may be ahead.
    pub fn new(lanes: Vec<Box<dyn Lane>>, depth: usize, scan: &Scan) -> Self {
        let lanes = lanes
            .into_iter()
            .map(|lane| Slot {
                cost: lane.cost(),
                width: lane.width(),
                lane: Some(lane),
                ready: VecDeque::new(),
                decoded: 0,
                done: false,
            })
            .collect();
        Lanes {
            shared: Arc::new(Shared {
                state: Mutex::new(State { lanes, stop: false }),
                work: Condvar::new(),
                ready: Condvar::new(),
                depth: depth.max(1),
            }),
            scan: scan.clone(),
            started: false,
            owner: process::id(),
        }
    }

    /// What every column has for the next batch, lane by lane.
    pub fn advance(&mut self) -> Result<Vec<Step>> {
        if self.scan.threads < 2 {
            let mut state = lock(&self.shared.state);
            return Ok(state
                .lanes
                .iter_mut()
                .flat_map(|slot| slot.lane.as_mut().map_or_else(Vec::new, |lane| lane.advance()))
                .collect());
        }
        self.start()?;
        let mut state = lock(&self.shared.state);
        while !state.lanes.iter().all(|slot| !slot.ready.is_empty() || slot.done) {
            let waited = self.shared.ready.wait_timeout(state, LOOK_UP);
            let (next, timeout) = waited.unwrap_or_else(PoisonError::into_inner);
            state = next;
            if timeout.timed_out() {
                // Not with the lock held: what it asks may take its time.
                drop(state);
                self.scan.check()?;
                state = lock(&self.shared.state);
            }
        }
        let steps = state
            .lanes
            .iter_mut()
            .flat_map(|slot| {
                let ended = || iter::repeat_with(|| Step::End).take(slot.width).collect();
                slot.ready.pop_front().unwrap_or_else(ended)
            })
            .collect();
        drop(state);
        self.shared.work.notify_all();
        Ok(steps)
    }

    fn start(&mut self) -> Result<()> {
        if self.started {
            return check_owner(self.owner);
        }
        (self.started, self.owner) = (true, process::id());
        let lanes = lock(&self.shared.state).lanes.len();
        for index in 0..self.scan.threads.min(lanes) {
            let shared = Arc::clone(&self.shared);
            std::thread::Builder::new()
                .name(format!("fast-axolotl-decode-{index}"))
                .spawn(move || shared.run())
                .map_err(ReadError::io)?;
        }
        Ok(())
    }
}

impl Drop for Lanes {
    fn drop(&mut self) {
        if self.started && self.owner == process::id() {
            lock(&self.shared.state).stop = true;
            self.shared.work.notify_all();
        }
    }
}

fn lock(state: &Mutex<State>) -> MutexGuard<'_, State> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Shared {
    fn run(&self) {
        let mut state = lock(&self.state);
        loop {
            if state.stop {
                return;
            }
            let next = state
                .lanes
                .iter()
                .enumerate()
                .filter(|(_, slot)| {
                    slot.lane.is_some() && !slot.done && slot.ready.len() < self.depth
                })
                .min_by_key(|(_, slot)| (slot.decoded, std::cmp::Reverse(slot.cost)))
                .map(|(index, _)| index);
            let Some(index) = next else {
                if state.lanes.iter().all(|slot| slot.done) {
                    return;
                }
                state = self.work.wait(state).unwrap_or_else(PoisonError::into_inner);
                continue;
            };
            let Some(slot) = state.lanes.get_mut(index) else { return };
            slot.decoded += 1;
            let Some(mut lane) = slot.lane.take() else { return };
            drop(state);
            let steps = lane.advance();
            state = lock(&self.state);
            let Some(slot) = state.lanes.get_mut(index) else { return };
            slot.done = !steps.iter().all(|step| matches!(step, Step::Column(_)));
            slot.ready.push_back(steps);
            slot.lane = Some(lane);
            self.ready.notify_one();
        }
    }
}
