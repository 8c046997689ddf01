//! JSON: objects one after the other or in an array, as `datasets.load_dataset("json")` reads them.

mod block;
mod columns;
mod cursor;
mod fault;
mod field;
mod find;
mod head;
mod jsontext;
mod look;
mod rows;
mod shape;
mod split;
mod timestamp;

use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};

use arrow_array::RecordBatch;
use arrow_schema::{DataType, Fields, Schema, SchemaRef};

use crate::compression::Compression;
use crate::error::{Cause, ReadError, Result};
use crate::kept::{Recording, Shelf};
use crate::options::Options;
use crate::pipeline::{Blocks, Pipeline};
use crate::scan::{BatchSource, Format, Infer, Scan};
use crate::settled::Settled;
use crate::source::{Input, Source};
use crate::text::encoding::{self, Encoding, OnError};

use field::FieldReader;
use head::Head;
use look::{Looker, Seen};
use rows::{Plan, RowParser};
use shape::Rows;
use split::{Layout, Splitter};

/// The column of values that stand in an array and are no objects.
const TEXT: &str = "text";

/// Bytes of lines that are looked at to find the types: what `datasets` reads at first.
const CHUNK_SIZE: usize = 10 << 20;

/// The format, with its options.
#[derive(Debug)]
pub struct Json {
    chunk_size: usize,
    /// Whether the look may end before that: it was not asked for.
    may_settle: bool,
    /// The field of the one object of a file that has the rows.
    field: Option<String>,
    encoding: Encoding,
    on_error: OnError,
    /// A file in gzip or xz whose head was looked at: it need not be decompressed again.
    opened: Shelf<Input>,
    /// The file whose types rest on a part of what `datasets` finds them in, and what was seen of it.
    head: OnceLock<(PathBuf, Arc<Head>)>,
    /// The array that the types were found in: all of it, however long, is what `datasets` finds them in.
    typing_array: OnceLock<PathBuf>,
}

impl Json {
    /// Takes the options of the builder of `datasets`.
    pub fn new(mut options: Options) -> Result<Self> {
        let chunk_size = options.take_usize("chunksize")?;
        let block_size = options.take_usize("block_size")?;
        let field = options.take_str("field")?;
        let (encoding, on_error) = encoding::from_options(&mut options)?;
        let encoding = if field.is_some() { encoding } else { encoding.of_bytes() };
        // Threads are not chosen here.
        options.take_bool("use_threads")?;
        let unmixed = options.has_none("on_mixed_types");
        let on_mixed_types = options.take_str("on_mixed_types")?;
        if unmixed || on_mixed_types.is_some_and(|types| types != "use_json") {
            let message = "on_mixed_types: mixed types are no `Json()` to pandas and pyarrow only";
            return Err(ReadError::unsupported(message));
        }
        if options.take_bool("newlines_in_values")?.is_some() {
            return Err(ReadError::request("newlines_in_values is no longer supported"));
        }
        options.finish("json")?;
        let asked = block_size.or(chunk_size);
        let (chunk_size, may_settle) = (asked.unwrap_or(CHUNK_SIZE), asked.is_none());
        Ok(Json {
            chunk_size,
            may_settle,
            field,
            encoding,
            on_error,
            opened: Shelf::new(),
            head: OnceLock::new(),
            typing_array: OnceLock::new(),
        })
    }

    fn input(&self, file: &Source, scan: &Scan) -> Result<Input> {
        let input = file.input(&scan.progress)?;
        let input = input.map(|input| encoding::transcode(input, self.encoding, self.on_error));
        Ok(match &self.field {
            Some(name) => {
                let strict = self.on_error == OnError::Strict;
                input.map(|input| Box::new(FieldReader::new(input, name, strict)))
            }
            None => input,
        })
    }

    /// What is seen in the first bytes of a file, or in all of it.
    ///
    /// `may_settle`: whether the look may end before what `datasets` reads at first.
    fn look(&self, file: &Source, scan: &Scan, may_settle: bool) -> Result<Looked> {
        let layout = Arc::new(OnceLock::new());
        let limit = match scan.infer {
            Infer::Chunk if self.field.is_some() => None,
            Infer::First | Infer::Chunk => Some(self.chunk_size as u64),
            Infer::Full => None,
        };
        let splitter = Splitter::new(Arc::clone(&layout), 1, scan.block_bytes).looking(limit);
        let looker = Looker { layout: Arc::clone(&layout), on_error: self.on_error };
        let read_before = scan.progress.bytes.load(Ordering::Relaxed);
        let mut input = self.input(file, scan)?;
        let may_settle = may_settle && self.may_settle && scan.infer == Infer::First;
        let mut recording: Option<Recording> = None;
        // To decompress zstd again costs less than to keep it.
        let is_slow = input.compression.is_some_and(|compression| compression != Compression::Zstd);
        if limit.is_some() && is_slow {
            let (shown, kept) = Recording::of(input);
            (input, recording) = (shown, Some(kept));
        }
        let mut pipeline =
            Pipeline::new(file.path(), input, Vec::new(), Box::new(splitter), looker, scan);
        let mut rows = Rows::new();
        let mut bytes = 0;
        let mut by_pandas = self.field.is_some();
        let mut settled = Settled::new();
        let mut early = None;
        loop {
            let is_whole = by_pandas || layout.get().is_some_and(|layout| layout.is_array());
            if limit.is_some_and(|limit| bytes >= limit)
                && !(is_whole && scan.infer == Infer::Chunk)
            {
                // An array, and what pandas reads, gives `datasets` its types as a whole.
                early = is_whole.then_some(bytes);
                break;
            }
            let seen: Seen = match pipeline.next_output() {
                Ok(Some(located)) => located.output,
                Ok(None) => break,
                // Whoever reads the rows will meet it, after those before.
                Err(error) if matches!(error.cause, Cause::Damaged(_) | Cause::TooLarge(_)) => {
                    break;
                }
                Err(error) => return Err(error),
            };
            bytes += seen.bytes as u64;
            by_pandas |= seen.blank_before_array;
            rows.merge(seen.rows);
            if let Some(error) = seen.error {
                // Without a row before it, there is nothing to read but the error.
                if rows.count == 0 {
                    return Err(error.in_file(file.path()));
                }
                break;
            }
            if may_settle && !by_pandas {
                let layout = layout.get().copied().unwrap_or(Layout::Lines);
                let fields = rows.fields(layout.is_array(), false);
                let known = fields.iter().all(|field| is_known(field.data_type()));
                if settled.is_enough(rows.count, bytes, fields, known) {
                    early = Some(bytes);
                    break;
                }
            }
        }
        // No thread reads any more.
        drop(pipeline);
        match recording.and_then(|recording| recording.replay()) {
            Some(input) => self.opened.put(file.path(), input),
            None => scan.progress.bytes.store(read_before, Ordering::Relaxed),
        }
        let layout = layout.get().copied().unwrap_or(Layout::Lines);
        if by_pandas && rows.count > 0 && rows.needs_pandas(layout) {
            let message = "pandas makes dates, columns or other names of what this file has";
            return Err(ReadError::unsupported(message).in_file(file.path()));
        }
        Ok(Looked { rows, bytes, layout, by_pandas, early })
    }

    /// The types that `datasets` finds in the first file, of which `looked` is all.
    fn first_types(&self, file: &Source, looked: &Looked, scan: &Scan) -> Result<Fields> {
        let is_array = looked.layout.is_array();
        if is_array || looked.by_pandas || looked.bytes <= self.chunk_size as u64 {
            return Ok(looked.rows.fields(is_array, looked.by_pandas));
        }
        let scan = Scan { infer: Infer::Chunk, ..scan.clone() };
        Ok(self.look(file, &scan, false)?.rows.fields(is_array, looked.by_pandas))
    }
}

struct Looked {
    rows: Rows,
    bytes: u64,
    layout: Layout,
    /// Whether `datasets` reads the file through pandas: a field, or an array behind blanks.
    by_pandas: bool,
    /// Bytes that were looked at, where `datasets` finds types in more.
    early: Option<u64>,
}

/// Whether there was a value, or an item, to tell the type from.
fn is_known(data_type: &DataType) -> bool {
    match data_type {
        DataType::Null => false,
        DataType::List(item) => is_known(item.data_type()),
        DataType::Struct(fields) => fields.iter().all(|field| is_known(field.data_type())),
        _ => true,
    }
}

impl Format for Json {
    fn infer(&self, files: &[Source], scan: &Scan) -> Result<SchemaRef> {
        let mut rows = Rows::new();
        let (mut any_array, mut by_pandas) = (false, self.field.is_some());
        let mut first: Option<Fields> = None;
        for (index, file) in files.iter().enumerate() {
            scan.check()?;
            let looked = match self.look(file, scan, index == 0) {
                // The rows of the files before come first.
                Err(error) if rows.count > 0 && matches!(error.cause, Cause::Damaged(_)) => break,
                looked => looked?,
            };
            any_array |= looked.layout.is_array();
            by_pandas |= looked.by_pandas;
            if let Some(bytes) = looked.early {
                let is_whole = looked.by_pandas || looked.layout.is_array();
                let limit = if is_whole { u64::MAX } else { self.chunk_size as u64 };
                let (rows, by_pandas) = (looked.rows.clone(), looked.by_pandas);
                let head = Head::new(rows, looked.layout, by_pandas, bytes, limit);
                let _ = self.head.set((file.path().to_owned(), Arc::new(head)));
            }
            let is_first = rows.count == 0 && looked.rows.count > 0;
            if is_first && looked.layout.is_array() {
                let _ = self.typing_array.set(file.path().to_owned());
            }
            if is_first && scan.infer == Infer::Full {
                first = Some(self.first_types(file, &looked, scan)?);
            }
            rows.merge(looked.rows);
            // The types of the first file that has rows are those of all.
            if scan.infer != Infer::Full && rows.count > 0 {
                break;
            }
        }
        let all = Arc::new(Schema::new(rows.fields(any_array, by_pandas)));
        // `datasets` casts what comes later to the types that it finds first, where they take it.
        if let Some(first) = first
            && first != all.fields
            && first.len() == all.fields.len()
        {
            let first = Arc::new(Schema::new(first));
            if self.fits(files, &first, scan)? {
                return Ok(first);
            }
        }
        Ok(all)
    }

    fn supports(&self, files: &[Source], scan: &Scan) -> Result<()> {
        match files.first() {
            // What pandas makes of it comes before what the schema says.
            Some(file) if self.field.is_some() => self.look(file, scan, false).map(drop),
            _ => Ok(()),
        }
    }

    fn open(
        &self,
        file: &Source,
        schema: &SchemaRef,
        given: bool,
        scan: &Scan,
    ) -> Result<Box<dyn BatchSource>> {
        let late = !given && scan.infer != Infer::Full;
        // Where a row takes part in the types, none of another type is cast: `head` sees to lines.
        let finds_types = self.typing_array.get().is_some_and(|array| array == file.path());
        let plan = Plan::new(schema, scan.columns.as_deref(), given, late)?
            .converting(self.field.is_some() || !finds_types);
        let batches = Arc::clone(plan.schema());
        let layout = Arc::new(OnceLock::new());
        let ended = Arc::new(AtomicBool::new(false));
        let scan = &scan.for_rows();
        let splitter = Splitter::new(Arc::clone(&layout), scan.batch_size, scan.block_bytes);
        let (on_error, ended_too) = (self.on_error, Arc::clone(&ended));
        let head = self.head.get().filter(|(path, _)| !given && path == file.path());
        let head = head.map(|(_, head)| Arc::clone(head));
        let parser =
            RowParser { plan, layout: Arc::clone(&layout), ended: ended_too, on_error, head };
        let input = match self.opened.take(file.path()) {
            Some(input) => input,
            None => self.input(file, scan)?,
        };
        let pipeline =
            Pipeline::new(file.path(), input, Vec::new(), Box::new(splitter), parser, scan);
        Ok(Box::new(JsonSource {
            blocks: Blocks::new(batches, pipeline),
            layout,
            ended,
            is_done: false,
            file: file.clone(),
        }))
    }
}

/// The batches of a file; knows whether an array was closed.
struct JsonSource {
    blocks: Blocks<RowParser>,
    layout: Arc<OnceLock<Layout>>,
    ended: Arc<AtomicBool>,
    is_done: bool,
    file: Source,
}

impl BatchSource for JsonSource {
    fn schema(&self) -> SchemaRef {
        self.blocks.schema()
    }

    fn next(&mut self) -> Result<Option<RecordBatch>> {
        if self.is_done {
            return Ok(None);
        }
        let next = self.blocks.next();
        self.is_done = !matches!(next, Ok(Some(_)));
        let is_open = matches!(next, Ok(None))
            && self.layout.get().is_some_and(|layout| layout.is_array())
            && !self.ended.load(Ordering::Acquire);
        if is_open {
            let error =
                ReadError::damaged("not valid JSON: the array is not closed, a part is missing");
            return Err(error.in_file(self.file.path()));
        }
        next
    }
}

#[cfg(test)]
mod tests;
