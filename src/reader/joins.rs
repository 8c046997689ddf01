//! Batches on their way from parts to one piece: what is to be copied is copied ahead, on threads.

use std::collections::VecDeque;
use std::sync::Arc;

use arrow_array::{Array, RecordBatch};
use arrow_schema::SchemaRef;

use crate::buffers::Buffers;
use crate::error::{Cause, ReadError, Result};
use crate::guard::guarded;
use crate::joined::join;
use crate::scan::Scan;
use crate::workers::Workers;

/// Batches under way that are joined ahead, and what one may take for it. More of them win less than the
/// fresh memory costs.
const AHEAD: usize = 2;
const AHEAD_BYTES: usize = 8 << 20;

/// After so many batches in one piece, more of them will come, and memory for joining is kept for nothing.
const WHOLE: usize = 16;

pub struct Joins {
    schema: SchemaRef,
    scan: Scan,
    /// `None` where its turn is that of the workers' next result.
    batches: VecDeque<Option<RecordBatch>>,
    workers: Option<Workers<Vec<RecordBatch>, RecordBatch>>,
    /// For the columns of batches: those of a batch that was dropped serve one that is made.
    buffers: Arc<Buffers>,
    /// Batches in a row that came in one piece.
    whole: usize,
    /// Whether nothing was given: the first batch is wanted at once, and threads take time to start.
    first: bool,
}

impl Joins {
    pub fn new(schema: SchemaRef, scan: &Scan) -> Self {
        Joins {
            schema,
            scan: scan.clone(),
            batches: VecDeque::new(),
            workers: None,
            buffers: Arc::default(),
            whole: 0,
            first: true,
        }
    }

    /// Whether there is nothing to give, or something that is still being joined and room for more.
    pub fn wants_more(&self) -> bool {
        match self.batches.back() {
            None => true,
            Some(last) => last.is_none() && self.batches.len() < AHEAD,
        }
    }

    /// Takes the parts of the next batch.
    pub fn push(&mut self, parts: Vec<RecordBatch>) -> Result<()> {
        let is_first = std::mem::take(&mut self.first);
        self.whole = if parts.len() > 1 { 0 } else { self.whole + 1 };
        if self.whole > WHOLE {
            self.buffers.clear();
        }
        let ahead = parts.len() > 1
            && !is_first
            && self.scan.threads > 1
            && !self.scan.caller_is_slow
            && parts.iter().map(bytes).sum::<usize>() <= AHEAD_BYTES;
        if !ahead {
            let batch = self.at_once(parts)?;
            self.batches.push_back(Some(batch));
            return Ok(());
        }
        let workers = match &mut self.workers {
            Some(workers) => workers,
            none => {
                let (schema, buffers) = (Arc::clone(&self.schema), Arc::clone(&self.buffers));
                let work = move |parts| joined(&schema, parts, &buffers);
                let threads = self.scan.threads.min(AHEAD);
                none.insert(Workers::start(threads, "join", Arc::new(work))?)
            }
        };
        workers.give(parts)?;
        self.batches.push_back(None);
        Ok(())
    }

    /// The batch of these parts, joined here and now.
    pub fn at_once(&self, parts: Vec<RecordBatch>) -> Result<RecordBatch> {
        joined(&self.schema, parts, &self.buffers)
    }

    /// The next batch, in one piece.
    pub fn next(&mut self) -> Result<Option<RecordBatch>> {
        let Some(batch) = self.batches.pop_front() else { return Ok(None) };
        if batch.is_some() {
            return Ok(batch);
        }
        let workers = self.workers.as_mut();
        let joined = workers.map(|workers| workers.take(&self.scan)).transpose()?.flatten();
        let lost = || ReadError::new(Cause::Internal("a batch was lost on its way".into()));
        joined.map(Some).ok_or_else(lost)
    }
}

impl Drop for Joins {
    fn drop(&mut self) {
        // Batches may live on: what they give back is of no use any more.
        self.buffers.close();
    }
}

/// The batch of these parts. Each of them is sound: where they do not go together, they are too much for
/// the offsets of lists and texts, or for the keys of a dictionary.
fn joined(
    schema: &SchemaRef,
    parts: Vec<RecordBatch>,
    buffers: &Arc<Buffers>,
) -> Result<RecordBatch> {
    let rows: usize = parts.iter().map(RecordBatch::num_rows).sum();
    guarded(|| join(schema, parts, buffers)).map_err(|mut error| {
        if let Cause::Damaged(message) = &error.cause {
            let message = format!("a batch of {rows} rows can't hold them all: {message}");
            error.cause = Cause::TooLarge(format!("{message}; use a smaller batch_size"));
        }
        error
    })
}

/// What the rows of a batch take, without what lies around them in shared buffers.
fn bytes(batch: &RecordBatch) -> usize {
    let sizes = batch.columns().iter().map(|column| column.to_data().get_slice_memory_size());
    sizes.map(|size| size.unwrap_or(usize::MAX)).fold(0, usize::saturating_add)
}
