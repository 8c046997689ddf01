//! All files of a call as one sequence of exact batches.

use std::sync::Arc;

use arrow_array::RecordBatch;
use arrow_schema::SchemaRef;

use crate::columnar::conform::project;
use crate::error::{Cause, ReadError, Result};
use crate::joins::Joins;
use crate::rechunk::Rechunker;
use crate::scan::{BatchSource, Format, Infer, Scan};
use crate::short_files::{self, ShortFile, ShortFiles};
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
            None => format.infer(&files, &for_look(&files, &scan))?,
        };
        project(&schema, scan.columns.as_deref())?;
        Ok(Dataset { format, files: files.into(), schema, given, scan })
    }

    /// The same where the schema was found by a [`Format::infer`] before, and given by nobody.
    #[must_use]
    pub fn with_found_schema(mut self) -> Self {
        self.given = false;
        self
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

    /// Opens file `index`, with as many threads as are of use for it.
    fn open(&self, index: usize, scan: &Scan) -> Result<Box<dyn BatchSource>> {
        let file = self.files.get(index).ok_or_else(|| ReadError::request("no such file"))?;
        let one = Scan { threads: 1, ..scan.clone() };
        let is_for_one = scan.threads > 1 && short_files::is_for_one_thread(file);
        self.format.open(file, &self.schema, self.given, if is_for_one { &one } else { scan })
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
            short_files: None,
            done: false,
            error: None,
            rows: 0,
            starts: Vec::new(),
        })
    }
}

/// How the first file is looked at, where it is the only one.
fn for_look(files: &[Source], scan: &Scan) -> Scan {
    let is_for_one = files.first().is_some_and(short_files::is_for_one_thread);
    match scan.infer {
        Infer::First | Infer::Chunk if is_for_one => Scan { threads: 1, ..scan.clone() },
        _ => scan.clone(),
    }
}

/// Reads a [`Dataset`] once.
pub struct Reader {
    dataset: Dataset,
    schema: SchemaRef,
    /// The number of the next file.
    file: usize,
    source: Option<Box<dyn BatchSource>>,
    /// Short files from `file` on that are read ahead.
    short_files: Option<ShortFiles>,
    chunks: Rechunker,
    joins: Joins,
    done: bool,
    error: Option<ReadError>,
    /// Rows taken from files, or left out there.
    rows: u64,
    /// The numbers of files, and of these rows the first of each.
    starts: Vec<(usize, u64)>,
}

impl Reader {
    pub fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    /// The file that a row is of, counted from the first of all that were given or left out, and its number
    /// there.
    pub fn place_of(&self, row: u64) -> Option<(&Source, u64)> {
        let behind = self.starts.partition_point(|&(_, start)| start <= row);
        let (file, start) = *self.starts.get(behind.checked_sub(1)?)?;
        Some((self.dataset.files.get(file)?, row - start))
    }

    /// Counts rows of the file that is read.
    fn count(&mut self, rows: u64) {
        let file = self.file.saturating_sub(1);
        if rows > 0 && self.starts.last().is_none_or(|&(last, _)| last != file) {
            self.starts.push((file, self.rows));
        }
        self.rows += rows;
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
                Ok(Some(batch)) => {
                    self.count(batch.num_rows() as u64);
                    self.chunks.push(batch);
                }
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
        // What is left out need not be read.
        self.short_files = None;
        while left > 0 && self.open_next(false)? {
            let Some(source) = &mut self.source else { break };
            let skipped = source.skip(left)?;
            left -= skipped.rows;
            self.count(skipped.rows);
            if let Some(rest) = skipped.rest {
                self.count(rest.num_rows() as u64);
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
        self.short_files = None;
        self.done = true;
        self.dataset.scan.buffers.clear();
    }

    /// `ahead`: those behind it will be read, too.
    fn open_next(&mut self, ahead: bool) -> Result<bool> {
        if self.source.is_some() {
            return Ok(true);
        }
        let index = self.file;
        let Some(file) = self.dataset.files.get(index).cloned() else { return Ok(false) };
        self.file += 1;
        let read_ahead = if ahead { self.short_file(index) } else { Ok(None) };
        let source = match read_ahead {
            Ok(Some(file)) => Ok(Box::new(file) as _),
            Ok(None) => self.dataset.open(index, &self.dataset.scan),
            Err(error) => Err(error),
        };
        self.source = Some(source.map_err(|error| error.in_file(file.path()))?);
        Ok(true)
    }

    /// File `index` where it is one of those that are read ahead; not the first, for its rows come sooner
    /// without.
    fn short_file(&mut self, index: usize) -> Result<Option<ShortFile>> {
        let dataset = &self.dataset;
        if self.short_files.is_none()
            && (index == 0
                || dataset.scan.threads < 2
                || !dataset.format.reads_side_by_side()
                || !dataset.files.get(index).is_some_and(short_files::is_short))
        {
            return Ok(None);
        }
        let files = self.short_files.get_or_insert_with(|| {
            let (sources, opened) = (Arc::clone(&dataset.files), dataset.clone());
            ShortFiles::new(
                index,
                Arc::clone(&self.schema),
                &dataset.scan,
                move |index| sources.get(index).is_some_and(short_files::is_short),
                Arc::new(move |index, scan| opened.open(index, scan)),
            )
        });
        let file = files.advance();
        if !matches!(file, Ok(Some(_))) {
            self.short_files = None;
        }
        file
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
        if !self.open_next(true)? {
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
