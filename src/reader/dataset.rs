//! All files of a call as one sequence of exact batches.

use std::sync::Arc;

use arrow_array::RecordBatch;
use arrow_schema::SchemaRef;

use crate::columnar::conform::project;
use crate::error::{Cause, ReadError, Result};
use crate::joins::Joins;
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
            Some(schema) => match format.supports(&files, &schema, &scan) {
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
            chunks: Rechunker::new(self.scan.batch_size),
            joins: Joins::new(Arc::clone(&schema), &self.scan),
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
    joins: Joins,
    done: bool,
    error: Option<ReadError>,
}

impl Reader {
    pub fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    /// The next batch: of `batch_size` rows, the last one and one before an error may have fewer.
    pub fn advance(&mut self) -> Result<Option<RecordBatch>> {
        while self.joins.wants_more() {
            if let Some(parts) = self.chunks.parts() {
                self.joins.push(parts)?;
                continue;
            }
            if self.done {
                break;
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
        if let Some(batch) = self.joins.next()? {
            return Ok(Some(batch));
        }
        match self.chunks.rest() {
            Some(parts) => self.joins.at_once(parts).map(Some),
            None => self.error.take().map_or(Ok(None), Err),
        }
    }

    /// Leaves out up to `rows` rows; returns how many there were.
    pub fn skip(&mut self, rows: u64) -> Result<u64> {
        let mut joined = Vec::new();
        while let Some(batch) = self.joins.next()? {
            joined.push(batch);
        }
        self.chunks.put_back(joined.into_iter());
        let mut left = rows - self.chunks.skip(rows);
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

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use arrow_array::{Int64Array, StringArray};
    use arrow_select::concat::concat_batches;
    use proptest::prelude::*;

    use super::*;

    fn rows(range: std::ops::Range<usize>) -> RecordBatch {
        let numbers: Int64Array = range.clone().map(|row| row as i64).collect();
        let texts: StringArray = range.map(|row| Some("x".repeat(row % 5))).collect();
        let columns = [("number", Arc::new(numbers) as _), ("text", Arc::new(texts) as _)];
        RecordBatch::try_from_iter(columns).unwrap()
    }

    /// A file for each list of sizes: its batches, of consecutive rows. The last file is damaged.
    struct Made(Vec<Vec<usize>>);

    struct MadeBatches(std::vec::IntoIter<RecordBatch>, bool);

    impl BatchSource for MadeBatches {
        fn schema(&self) -> SchemaRef {
            rows(0..0).schema()
        }

        fn next(&mut self) -> Result<Option<RecordBatch>> {
            match self.0.next() {
                None if std::mem::take(&mut self.1) => {
                    Err(ReadError::damaged("the end is missing"))
                }
                batch => Ok(batch),
            }
        }
    }

    impl Format for Made {
        fn infer(&self, _: &[Source], _: &Scan) -> Result<SchemaRef> {
            Ok(rows(0..0).schema())
        }

        fn open(
            &self,
            file: &Source,
            _: &SchemaRef,
            _: bool,
            _: &Scan,
        ) -> Result<Box<dyn BatchSource>> {
            let index: usize = file.path().to_str().unwrap().parse().unwrap();
            let mut start = self.0[..index].iter().flatten().sum();
            let batches: Vec<_> = self.0[index]
                .iter()
                .map(|size| {
                    start += size;
                    rows(start - size..start)
                })
                .collect();
            Ok(Box::new(MadeBatches(batches.into_iter(), index + 1 == self.0.len())))
        }
    }

    proptest! {
        #[test]
        fn batches_are_exact_and_rows_in_order(
            files in proptest::collection::vec(proptest::collection::vec(1usize..9, 0..9), 1..4),
            batch_size in 1usize..12,
            threads in 1usize..4,
            taken in 0usize..9,
            skipped in 0usize..30,
        ) {
            let total: usize = files.iter().flatten().sum();
            let sources = (0..files.len()).map(|index| Source::new(index.to_string())).collect();
            let scan = Scan { threads, batch_size, ..Scan::default() };
            let dataset = Dataset::new(Arc::new(Made(files)), sources, None, scan).unwrap();
            let mut reader = dataset.reader().unwrap();
            let mut found = vec![rows(0..0)];
            let mut at = 0;
            for step in 0.. {
                if step == taken {
                    let there = skipped.min(total - at);
                    match reader.skip(skipped as u64) {
                        Ok(left) => prop_assert_eq!(left, there as u64),
                        // The damage lies among the rows to be left out.
                        Err(_) => {
                            prop_assert!(skipped > total - at);
                            break;
                        }
                    }
                    found.push(rows(at..at + there));
                    at += there;
                }
                match reader.advance() {
                    Ok(Some(batch)) => {
                        prop_assert_eq!(batch.num_rows(), batch_size.min(total - at));
                        at += batch.num_rows();
                        found.push(batch);
                    }
                    Ok(None) => prop_assert!(false, "the damage was passed over"),
                    Err(error) => {
                        prop_assert!(error.to_string().contains("the end is missing"), "{error}");
                        break;
                    }
                }
            }
            let found = concat_batches(&rows(0..0).schema(), &found).unwrap();
            prop_assert_eq!(found, rows(0..at));
            prop_assert!(at <= total);
        }
    }
}
