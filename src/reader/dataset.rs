//! All files of a call as one sequence of exact batches.

use std::sync::Arc;

use arrow_array::RecordBatch;
use arrow_schema::SchemaRef;

use crate::columnar::conform::project;
use crate::error::{Cause, ReadError, Result};
use crate::rechunk::Rechunker;
use crate::scan::{BatchSource, Format, Scan};
use crate::source::Source;

/// Files of one format with one schema.
#[derive(Clone)]
pub struct Dataset {
    format: Arc<dyn Format>,
    files: Arc<[Source]>,
    schema: SchemaRef,
    given: bool,
    scan: Scan,
}

impl Dataset {
    /// With `schema`, files are looked at only as far as it takes to know that they can be read.
    pub fn new(
        format: Arc<dyn Format>,
        files: Vec<Source>,
        schema: Option<SchemaRef>,
        scan: Scan,
    ) -> Result<Self> {
        let given = schema.is_some();
        let schema = match schema {
            Some(schema) => match format.supports(&files, &scan) {
                Err(error) if matches!(error.cause, Cause::Unsupported(_)) => return Err(error),
                // What else is wrong comes in its place, behind the rows before it.
                _ => schema,
            },
            None => format.infer(&files, &scan)?,
        };
        project(&schema, scan.columns.as_deref())?;
        Ok(Dataset { format, files: files.into(), schema, given, scan })
    }

    /// The same with another schema, or other metadata of it.
    #[must_use]
    pub fn with_schema(mut self, schema: SchemaRef) -> Self {
        self.schema = schema;
        self
    }

    /// The same for a caller that takes longer with the rows than reading them.
    #[must_use]
    pub fn for_slow_caller(mut self) -> Self {
        self.scan.caller_is_slow = true;
        self
    }

    /// All columns of the files.
    pub fn full_schema(&self) -> &SchemaRef {
        &self.schema
    }

    /// The columns that are read.
    pub fn schema(&self) -> Result<SchemaRef> {
        project(&self.schema, self.scan.columns.as_deref())
    }

    pub fn files(&self) -> &[Source] {
        &self.files
    }

    /// Rows of all files where that takes no reading.
    pub fn num_rows(&self) -> Result<Option<u64>> {
        let mut total = 0;
        for file in self.files.iter() {
            match self.format.num_rows(file, &self.scan)? {
                Some(rows) => total += rows,
                None => return Ok(None),
            }
        }
        Ok(Some(total))
    }

    /// Starts to read.
    pub fn reader(&self) -> Result<Reader> {
        let schema = self.schema()?;
        Ok(Reader {
            chunks: Rechunker::new(Arc::clone(&schema), self.scan.batch_size),
            schema,
            dataset: self.clone(),
            file: 0,
            source: None,
            done: false,
            error: None,
        })
    }
}

/// Reads a [`Dataset`] once.
pub struct Reader {
    dataset: Dataset,
    schema: SchemaRef,
    file: usize,
    source: Option<Box<dyn BatchSource>>,
    chunks: Rechunker,
    done: bool,
    error: Option<ReadError>,
}

impl Reader {
    pub fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    /// The next batch: of `batch_size` rows, the last one and one before an error may have fewer.
    pub fn advance(&mut self) -> Result<Option<RecordBatch>> {
        loop {
            if let Some(batch) = self.chunks.whole()? {
                return Ok(Some(batch));
            }
            if self.done {
                return match (self.chunks.rest()?, self.error.take()) {
                    (Some(batch), error) => {
                        self.error = error;
                        Ok(Some(batch))
                    }
                    (None, Some(error)) => Err(error),
                    (None, None) => Ok(None),
                };
            }
            match self.next_of_source() {
                Ok(Some(batch)) => self.chunks.push(batch),
                Ok(None) => self.close(),
                Err(error) => {
                    self.close();
                    self.error = Some(error);
                }
            }
        }
    }

    /// Leaves out up to `rows` rows; returns how many there were.
    pub fn skip(&mut self, rows: u64) -> Result<u64> {
        let mut left = rows - self.chunks.skip(rows)?;
        while left > 0 && self.open_next()? {
            let Some(source) = &mut self.source else { break };
            let skipped = source.skip(left)?;
            left -= skipped.rows;
            if let Some(rest) = skipped.rest {
                self.chunks.push(rest);
            } else if left > 0 {
                self.source = None;
            }
        }
        Ok(rows - left)
    }

    /// Stops all threads and closes all files.
    pub fn close(&mut self) {
        self.source = None;
        self.done = true;
        self.dataset.scan.buffers.clear();
    }

    fn open_next(&mut self) -> Result<bool> {
        if self.source.is_some() {
            return Ok(true);
        }
        let dataset = &self.dataset;
        let Some(file) = dataset.files.get(self.file) else { return Ok(false) };
        self.file += 1;
        let source = dataset
            .format
            .open(file, &dataset.schema, dataset.given, &dataset.scan)
            .map_err(|error| error.in_file(file.path()))?;
        self.source = Some(source);
        Ok(true)
    }

    fn next_of_source(&mut self) -> Result<Option<RecordBatch>> {
        loop {
            match self.next_of_file() {
                Ok(Some(found)) => match found {
                    Some(batch) => return Ok(Some(batch)),
                    None => self.source = None,
                },
                Ok(None) => return Ok(None),
                Err(error) => {
                    let Some(bad_file) = &self.dataset.scan.bad_file else { return Err(error) };
                    if !matches!(error.cause, Cause::Damaged(_) | Cause::Schema { .. }) {
                        return Err(error);
                    }
                    bad_file(&error);
                    self.source = None;
                }
            }
        }
    }

    /// The next batch of the file, or the file's end; `None` after the last file.
    fn next_of_file(&mut self) -> Result<Option<Option<RecordBatch>>> {
        if !self.open_next()? {
            return Ok(None);
        }
        let Some(source) = &mut self.source else { return Ok(None) };
        let file = self.file.saturating_sub(1);
        let next = source.next().map_err(|error| match self.dataset.files.get(file) {
            Some(file) => error.in_file(file.path()),
            None => error,
        });
        next.map(Some)
    }
}
