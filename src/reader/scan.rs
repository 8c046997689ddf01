//! What a format is asked for, and what it answers with.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use arrow_array::RecordBatch;
use arrow_schema::SchemaRef;

use crate::buffers::Buffers;
use crate::error::{Cause, ReadError, Result};
use crate::source::{Progress, Source};

/// How types are found where the file does not say them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Infer {
    /// From the head of the first file, as soon as its types have settled; a later row that contradicts is
    /// an error ([`ReadError::late`]).
    #[default]
    First,
    /// From as much of the first file as `datasets` reads at first.
    Chunk,
    /// From all rows of all files, read once before.
    Full,
}

/// How long a caller waits before it looks for a reason to stop.
pub const LOOK_UP: Duration = Duration::from_millis(20);

pub type BadFile = Arc<dyn Fn(&ReadError) + Send + Sync>;

/// How a file is to be read: the same for all files of a call.
#[derive(Clone)]
pub struct Scan {
    /// Columns wanted, in this order; all where `None`. A format need not parse the others. A name that
    /// is not there is an error ([`Cause::Request`]) that lists the names that are.
    pub columns: Option<Vec<String>>,
    /// Rows that the caller will ask for at a time. A source may give batches of any size (they are cut
    /// and joined later); batches of just this size save a copy.
    pub batch_size: usize,
    /// Threads to use, at least 1. With 1 no thread is started: all is done in `next`.
    pub threads: usize,
    pub infer: Infer,
    /// Bytes to read at a time, about; a block of text is this long where rows allow.
    pub block_bytes: usize,
    /// A row may not be longer than this.
    pub max_row_bytes: usize,
    /// Whether the caller takes longer with the rows than reading them: little need be read ahead.
    pub caller_is_slow: bool,
    pub progress: Arc<Progress>,
    /// For content: from the look at a file to its rows, and from file to file.
    pub buffers: Arc<Buffers>,
    /// Told why a file, or what is left of it, is left out; where `None`, damage is an error.
    pub bad_file: Option<BadFile>,
    /// Asked at least every [`LOOK_UP`] while the caller waits; true stops with [`Cause::Interrupted`].
    pub interrupted: Arc<dyn Fn() -> bool + Send + Sync>,
}

impl fmt::Debug for Scan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Scan")
            .field("columns", &self.columns)
            .field("batch_size", &self.batch_size)
            .field("threads", &self.threads)
            .field("infer", &self.infer)
            .finish_non_exhaustive()
    }
}

impl Default for Scan {
    fn default() -> Self {
        Scan {
            columns: None,
            batch_size: 1000,
            threads: 1,
            infer: Infer::First,
            block_bytes: 1 << 20,
            max_row_bytes: 256 << 20,
            caller_is_slow: false,
            progress: Arc::default(),
            buffers: Arc::default(),
            bad_file: None,
            interrupted: Arc::new(|| false),
        }
    }
}

impl Scan {
    /// For rows, which many threads parse in shorter blocks: together no more than a few of the longest.
    /// A look at the head of a file is not to depend on the number of threads, and stays as it is.
    #[must_use]
    pub fn for_rows(&self) -> Self {
        const AT_A_TIME: usize = 2 << 20;
        const SHORTEST: usize = 128 << 10;
        let share = (AT_A_TIME / self.threads.max(1)).max(SHORTEST);
        Scan { block_bytes: self.block_bytes.min(share), ..self.clone() }
    }

    pub fn check(&self) -> Result<()> {
        if (self.interrupted)() { Err(ReadError::new(Cause::Interrupted)) } else { Ok(()) }
    }
}

/// The record batches of one file, in order.
pub trait BatchSource: Send {
    /// The schema of the batches. Metadata under the key `huggingface` says the features where types
    /// alone do not (as `datasets` writes it: `{"info": {"features": {...}}}`).
    fn schema(&self) -> SchemaRef;

    /// The next batch, of any size but 0. After an error or `None`, `None`.
    ///
    /// All rows before a damage come first, unchanged, then the error.
    fn next(&mut self) -> Result<Option<RecordBatch>>;

    /// Leaves out up to `rows` rows; returns how many there were. Batches before must be used up.
    ///
    /// Worth a better implementation where rows need not be decoded for it.
    fn skip(&mut self, rows: u64) -> Result<Skipped> {
        let mut left = rows;
        while left > 0 {
            let Some(batch) = self.next()? else { break };
            let count = batch.num_rows() as u64;
            if count > left {
                let start = usize::try_from(left).unwrap_or(usize::MAX);
                let rest = batch.slice(start, batch.num_rows() - start);
                return Ok(Skipped { rows, rest: Some(rest) });
            }
            left -= count;
        }
        Ok(Skipped { rows: rows - left, rest: None })
    }
}

/// What [`BatchSource::skip`] did.
#[derive(Debug)]
pub struct Skipped {
    pub rows: u64,
    /// The rest of a batch that had to be decoded; comes before what `next` gives.
    pub rest: Option<RecordBatch>,
}

/// A format with its options.
pub trait Format: Send + Sync {
    /// The schema that all of `files` are read with; looks at all of them where `scan.infer` is
    /// [`Infer::Full`], else only at as much of the first as is needed. All columns, whatever
    /// `scan.columns` says.
    fn infer(&self, files: &[Source], scan: &Scan) -> Result<SchemaRef>;

    /// An error ([`Cause::Unsupported`]) where these files can't be read, whatever schema is given.
    fn supports(&self, _files: &[Source], _scan: &Scan) -> Result<()> {
        Ok(())
    }

    /// Whether several files may be read at a time, each by a thread of its own.
    fn reads_side_by_side(&self) -> bool {
        true
    }

    /// Opens one of the files. With `schema`, all batches have just this schema (all columns of it, or
    /// those of `scan.columns`): columns that the file lacks are null, others than these an error, types
    /// are cast as `datasets` casts them, or are an error that names row and column.
    ///
    /// `given`: the schema is the user's, and not one that [`Format::infer`] found.
    fn open(
        &self,
        file: &Source,
        schema: &SchemaRef,
        given: bool,
        scan: &Scan,
    ) -> Result<Box<dyn BatchSource>>;

    /// Whether the rows of all files are, or can be cast to, what a schema says that was found.
    fn fits(&self, files: &[Source], schema: &SchemaRef, scan: &Scan) -> Result<bool> {
        let read_before = scan.progress.bytes.load(Ordering::Relaxed);
        for file in files {
            scan.check()?;
            let read = self.open(file, schema, false, scan).and_then(|mut rows| {
                while rows.next()?.is_some() {}
                Ok(())
            });
            match read {
                Err(ReadError { cause: Cause::Schema { .. }, .. }) => return Ok(false),
                // Whoever reads the rows will meet it, after those before.
                Err(ReadError { cause: Cause::Damaged(_) | Cause::TooLarge(_), .. }) => break,
                read => read?,
            }
        }
        scan.progress.bytes.store(read_before, Ordering::Relaxed);
        Ok(true)
    }

    /// Rows of the file where they can be known without reading it.
    fn num_rows(&self, _file: &Source, _scan: &Scan) -> Result<Option<u64>> {
        Ok(None)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn many_threads_take_shorter_blocks() {
        let of = |threads, block_bytes| {
            Scan { threads, block_bytes, ..Scan::default() }.for_rows().block_bytes
        };
        let longest = Scan::default().block_bytes;
        assert_eq!([1, 2, 8, 64].map(|n| of(n, longest)), [1 << 20, 1 << 20, 1 << 18, 1 << 17]);
        assert_eq!(of(8, 64), 64);
    }
}
