//! CSV and TSV files, with the rules of `pandas.read_csv`, which `datasets` reads them with.
//!
//! - Types come from the first rows of the first file (as many as `datasets` takes at a time,
//!   `chunksize`; from fewer, if they settle, and the others are checked while they are read): they are
//!   those that pandas finds there, and those of the dataset. Later rows are read as
//!   these types: a missing value is null, whole floats count as integers, anything else that does not fit
//!   is an error. With [`Infer::Full`] all rows of all files are looked at first, and a type that some
//!   row does not fit gives way to one that fits all.
//! - Text stays what is written in the file. (`datasets` changes it where one chunk of a column of text has
//!   numbers only: it reads `007` as a number there, and writes `7`.)
//! - What pandas does and is not done here (an index of columns without names, the dialects of its Python
//!   engine, dates) is [`crate::error::Cause::Unsupported`], before a row is read.

mod columns;
mod dialect;
mod head;
mod header;
mod infer;
mod machine;
mod missing;
mod numbers;
mod options;
mod split;
mod tokenize;

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};

use arrow_array::RecordBatch;
use arrow_schema::{Field, Schema, SchemaRef};

use crate::error::{ReadError, Result};
use crate::kept::Shelf;
use crate::options::Options;
use crate::pipeline::{Block, BlockParser, Blocks, Parsed, Pipeline, Splitter};
use crate::scan::{BatchSource, Format, Infer, Scan};
use crate::settled::Settled;
use crate::source::{Input, Source};
use crate::text::encoding::{self, OnError};
use crate::texts::Kept;
use columns::{Build, Layout, Target};
use dialect::Dialect;
use head::{Ahead, Prelude};
use infer::{Guess, Head, Kind, Look, Words};
use options::{CsvOptions, UseColumns};
use split::Records;
use tokenize::tokenize;

/// The format; its options are those of `datasets`' CSV builder.
#[derive(Debug)]
pub struct Csv {
    options: CsvOptions,
    /// A compressed file whose head was looked at to infer the schema: it need not be decompressed again.
    opened: Shelf<(Prelude, Input)>,
    /// The file whose types settled early, and what was seen of it.
    head: OnceLock<(PathBuf, Arc<Head>)>,
}

/// Names and kinds of the columns of a dataset.
type Kinds = Vec<(String, Kind)>;

impl Csv {
    pub fn new(options: Options) -> Result<Self> {
        Self::separated_by(b',', options)
    }

    /// Fields end with a tab where the options say nothing else.
    pub fn tabs(options: Options) -> Result<Self> {
        Self::separated_by(b'\t', options)
    }

    fn separated_by(separator: u8, mut options: Options) -> Result<Self> {
        let csv = CsvOptions::new(&mut options, separator)?;
        options.finish("csv")?;
        Ok(Csv { options: csv, opened: Shelf::new(), head: OnceLock::new() })
    }

    fn start(&self, file: &Source, scan: &Scan) -> Result<(Prelude, Input, Ahead)> {
        let mut content: Option<Box<dyn std::io::Read + Send>> = None;
        let input = file.input(&scan.progress)?.map(|input| {
            content =
                Some(encoding::transcode(input, self.options.encoding, self.options.on_error));
            Box::new(std::io::empty())
        });
        let mut ahead = Ahead::new(content.unwrap_or_else(|| Box::new(std::io::empty())));
        let prelude = head::prelude(&self.options, &mut ahead, scan)
            .map_err(|error| error.in_file(file.path()))?;
        Ok((prelude, input, ahead))
    }

    /// Columns that are used, by their place in the file.
    fn used(&self, names: &[String]) -> Result<Vec<usize>> {
        let all = || names.iter().enumerate();
        match &self.options.use_columns {
            None => Ok((0..names.len()).collect()),
            Some(UseColumns::Names(used)) => {
                if let Some(unknown) = used.iter().find(|name| !names.contains(name)) {
                    return Err(ReadError::request(format!(
                        "usecols: no column {unknown:?}; there are {}",
                        names.join(", ")
                    )));
                }
                Ok(all().filter(|(_, name)| used.contains(name)).map(|(index, _)| index).collect())
            }
            Some(UseColumns::Indices(used)) => {
                if let Some(index) = used.iter().find(|index| **index >= names.len()) {
                    let count = names.len();
                    return Err(ReadError::request(format!(
                        "usecols: no column {index}; there are {count}"
                    )));
                }
                Ok((0..names.len()).filter(|index| used.contains(index)).collect())
            }
        }
    }

    fn most_fields(&self, names: &[String]) -> Option<usize> {
        self.options.use_columns.is_none().then_some(names.len())
    }

    /// Kinds from the head of a file, which stays open if it is compressed and its head isn't long.
    ///
    /// `may_settle`: whether the look may end before what `datasets` reads at first.
    fn look(&self, file: &Source, scan: &Scan, may_settle: bool) -> Result<Kinds> {
        const KEPT: usize = 24 << 20;
        let read_before = scan.progress.bytes.load(Ordering::Relaxed);
        let (prelude, input, mut ahead) = self.start(file, scan)?;
        let used = self.used(&prelude.names).map_err(|error| error.in_file(file.path()))?;
        let width = self.most_fields(&prelude.names).unwrap_or(usize::MAX);
        let rows = self.options.max_rows.unwrap_or(u64::MAX).min(self.options.chunk_rows);
        let words = &self.options.words;
        let mut look = Look::new(prelude.names.len(), width, words, self.options.skip_long, rows);
        let mut records = Records::new(&self.options.dialect);
        let mut looked = 0;
        let may_settle = may_settle && self.options.may_settle && scan.infer == Infer::First;
        let (mut settled, mut total) = (Settled::new(), 0);
        let mut keep = input.compression.is_some();
        while !look.is_done() {
            scan.check()?;
            let pending = ahead.data().get(looked..).unwrap_or_default();
            let mut end = 0;
            while end < (1 << 20)
                && let Some(next) = records.next_end(pending, ahead.ended())
            {
                end = next;
            }
            let last = ahead.ended() && end == 0;
            if last && !ahead.is_damaged() {
                end = pending.len();
            }
            let part = pending.get(..end).unwrap_or_default();
            records.forget(end);
            // Damage is met again, with its place, when the rows before it have been read.
            let (text, damage) = encoding::sound_part(part, self.options.on_error);
            scan.check()?;
            let whole =
                tokenize(&self.options.dialect, whole_lines(&text, damage.is_some()), &mut look);
            if last || damage.is_some() || whole.is_err() || look.stopped() {
                break;
            }
            looked += end;
            total += end as u64;
            if may_settle {
                let of_used = || used.iter().filter_map(|index| look.guesses.get(*index));
                let kinds: Vec<_> = of_used().map(Guess::kind).collect();
                let known = of_used().all(Guess::is_known);
                if settled.is_enough(look.rows, total, kinds, known) {
                    let head = Head { guesses: look.guesses.clone(), rows, looked: total };
                    let _ = self.head.set((file.path().to_owned(), Arc::new(head)));
                    break;
                }
            }
            keep = keep && looked < KEPT;
            if !keep {
                ahead.skip(looked);
                ahead.discard();
                looked = 0;
            }
            if end == 0 {
                let missing = ahead.data().len() - looked;
                if missing > scan.max_row_bytes {
                    break;
                }
                ahead.more(missing.clamp(256 << 10, head::MOST));
            }
        }
        if used.iter().filter_map(|index| look.guesses.get(*index)).any(Guess::needs_pandas) {
            let message = "integers that are missing by some of their spellings";
            return Err(ReadError::unsupported(message).in_file(file.path()));
        }
        let kinds = used.iter().filter_map(|index| {
            let guess = look.guesses.get(*index)?;
            Some((prelude.names.get(*index)?.clone(), guess.kind()))
        });
        let kinds = kinds.collect();
        if keep {
            self.opened.put(file.path(), (prelude, head::resume(input, ahead)));
        } else {
            scan.progress.bytes.store(read_before, Ordering::Relaxed);
        }
        Ok(kinds)
    }

    /// Looks at all rows of a file; adds to what is known by column.
    fn look_at_all(
        &self,
        file: &Source,
        scan: &Scan,
        all: &mut HashMap<String, Guess>,
        order: &mut Vec<String>,
    ) -> Result<()> {
        let (prelude, input, ahead) = self.start(file, scan)?;
        let used = self.used(&prelude.names).map_err(|error| error.in_file(file.path()))?;
        let names = &prelude.names;
        let left = Arc::new(AtomicU64::new(self.options.max_rows.unwrap_or(u64::MAX)));
        // Where the look ends with a row, its blocks come one after the other.
        let scan = &match self.options.max_rows {
            Some(_) => Scan { threads: 1, ..scan.clone() },
            None => scan.clone(),
        };
        let parser = LookParser {
            dialect: self.options.dialect.clone(),
            words: self.options.words.clone(),
            on_error: self.options.on_error,
            columns: names.len(),
            width: self.most_fields(names).unwrap_or(usize::MAX),
            skip_long: self.options.skip_long,
            left: Arc::clone(&left),
        };
        let splitter = Box::new(Split::new(&self.options.dialect, usize::MAX));
        let input = head::resume(input, ahead);
        let mut pipeline = Pipeline::new(file.path(), input, Vec::new(), splitter, parser, scan);
        while left.load(Ordering::Relaxed) > 0
            && let Ok(Some(located)) = pipeline.next_output()
        {
            let looked = located.output;
            for index in &used {
                if let (Some(name), Some(guess)) = (names.get(*index), looked.guesses.get(*index)) {
                    all.entry(name.clone())
                        .or_insert_with(|| {
                            order.push(name.clone());
                            Guess::default()
                        })
                        .merge(guess);
                }
            }
            if looked.damaged {
                break;
            }
        }
        scan.check()?;
        for index in used {
            if let Some(name) = names.get(index)
                && !all.contains_key(name)
            {
                order.push(name.clone());
                all.insert(name.clone(), Guess::default());
            }
        }
        Ok(())
    }

    fn layout(
        &self,
        names: &[String],
        schema: &SchemaRef,
        given: bool,
        scan: &Scan,
    ) -> Result<Layout> {
        let used = self.used(names)?;
        let places: HashMap<&str, usize> = used
            .iter()
            .filter_map(|index| names.get(*index).map(|name| (name.as_str(), *index)))
            .collect();
        let foreign = used.iter().filter_map(|index| names.get(*index));
        if !given
            && let Some(name) =
                foreign.into_iter().find(|name| schema.field_with_name(name).is_err())
        {
            return Err(ReadError::schema(format!(
                "column {name:?} is not in the schema of the first file: {}",
                joined(schema)
            )));
        }
        if given
            && let Some(field) =
                schema.fields().iter().find(|field| !places.contains_key(field.name().as_str()))
        {
            return Err(ReadError::request(format!(
                "the schema has a column {:?}, the file has {}",
                field.name(),
                names.join(", ")
            )));
        }
        let fields = wanted(schema, scan)?;
        let mut columns = vec![None; names.len()];
        let mut sources = Vec::new();
        for field in &fields {
            let place = places.get(field.name().as_str()).copied();
            sources.push(place);
            if let Some(slot) = place.and_then(|place| columns.get_mut(place)) {
                *slot = Some(Target {
                    name: field.name().clone(),
                    data_type: field.data_type().clone(),
                    literal: field.metadata().contains_key(LITERAL),
                });
            }
        }
        let fields: Vec<_> = fields.iter().map(plain).collect();
        Ok(Layout {
            columns,
            schema: Arc::new(Schema::new_with_metadata(fields, schema.metadata().clone())),
            sources,
            words: self.options.words.clone(),
            most_fields: self.most_fields(names),
            skip_long: self.options.skip_long,
            guessed: !given,
            batch_rows: scan.batch_size.max(1),
        })
    }
}

/// Marks a field of an inferred schema as [`Kind::LiteralText`]; batches don't have it.
const LITERAL: &str = "fast_axolotl.literal_text";

fn plain(field: &Arc<Field>) -> Arc<Field> {
    if !field.metadata().contains_key(LITERAL) {
        return Arc::clone(field);
    }
    let mut metadata = field.metadata().clone();
    metadata.remove(LITERAL);
    Arc::new(field.as_ref().clone().with_metadata(metadata))
}

fn joined(schema: &Schema) -> String {
    let names: Vec<_> = schema.fields().iter().map(|field| field.name().as_str()).collect();
    names.join(", ")
}

fn wanted(schema: &SchemaRef, scan: &Scan) -> Result<Vec<Arc<Field>>> {
    let Some(columns) = &scan.columns else { return Ok(schema.fields().to_vec()) };
    let find = |name: &String| {
        let found = schema.fields().iter().find(|field| field.name() == name);
        found.cloned().ok_or_else(|| {
            ReadError::request(format!("no column {name:?}; there are {}", joined(schema)))
        })
    };
    columns.iter().map(find).collect()
}

/// Text up to its last line end, where what follows is damage.
fn whole_lines(text: &str, damaged: bool) -> &str {
    if !damaged {
        return text;
    }
    let end = memchr::memrchr2(b'\n', b'\r', text.as_bytes()).map_or(0, |at| at + 1);
    text.get(..end).unwrap_or_default()
}

fn to_schema(kinds: Kinds) -> SchemaRef {
    let fields = kinds.into_iter().map(|(name, kind)| {
        let field = Field::new(name, kind.data_type(), true);
        match kind {
            Kind::LiteralText => {
                field.with_metadata(HashMap::from([(LITERAL.to_owned(), String::new())]))
            }
            _ => field,
        }
    });
    Arc::new(Schema::new(fields.collect::<Vec<_>>()))
}

impl Format for Csv {
    fn supports(&self, files: &[Source], scan: &Scan) -> Result<()> {
        match files.first() {
            // Rows that are longer than the header: pandas makes an index of them.
            Some(file) => self.start(file, scan).map(drop),
            None => Ok(()),
        }
    }

    fn infer(&self, files: &[Source], scan: &Scan) -> Result<SchemaRef> {
        let Some((first, others)) = files.split_first() else {
            return Err(ReadError::request("no file to infer a schema from"));
        };
        let mut kinds = self.look(first, scan, true)?;
        // Without a row, the next file that has some says what the columns are.
        for file in others {
            if kinds.iter().any(|(_, kind)| *kind != Kind::Null) {
                break;
            }
            let opened = self.opened.take(first.path());
            kinds = merge_kinds(kinds, self.look(file, scan, false)?);
            if let Some(opened) = opened {
                self.opened.put(first.path(), opened);
            }
        }
        if scan.infer == Infer::Full {
            let (mut all, mut order) = (HashMap::new(), Vec::new());
            for file in files {
                self.look_at_all(file, scan, &mut all, &mut order)?;
            }
            let firsts: HashMap<_, _> = kinds.into_iter().collect();
            kinds = order
                .into_iter()
                .filter_map(|name| {
                    let first = firsts.get(&name).copied().unwrap_or(Kind::Null);
                    let kind = all.get(&name)?.widened(first);
                    Some((name, kind))
                })
                .collect();
        }
        Ok(to_schema(kinds))
    }

    fn open(
        &self,
        file: &Source,
        schema: &SchemaRef,
        given: bool,
        scan: &Scan,
    ) -> Result<Box<dyn BatchSource>> {
        let (prelude, input) = match self.opened.take(file.path()) {
            Some(opened) => opened,
            None => {
                let (prelude, input, ahead) = self.start(file, scan)?;
                (prelude, head::resume(input, ahead))
            }
        };
        let layout = self
            .layout(&prelude.names, schema, given, scan)
            .map_err(|error| error.in_file(file.path()))?;
        let schema = Arc::clone(&layout.schema);
        let head = self.head.get().filter(|(path, _)| !given && path == file.path());
        let head = head.map(|(_, head)| Arc::clone(head));
        let typed_rows = head.as_ref().map(|head| head.rows);
        let passed = Arc::new(AtomicBool::new(false));
        let parser = Parse {
            head,
            passed: Arc::clone(&passed),
            dialect: self.options.dialect.clone(),
            on_error: self.options.on_error,
            layout,
            bytes_before: prelude.bytes,
            lines_before: prelude.lines,
        };
        let splitter = Box::new(Split::new(&self.options.dialect, scan.batch_size));
        let scan = scan.for_rows();
        let pipeline = Pipeline::new(file.path(), input, Vec::new(), splitter, parser, &scan);
        let mut blocks = Blocks::new(schema, pipeline);
        if let Some(rows) = typed_rows {
            blocks = blocks.typed_by(rows, passed);
        }
        Ok(match self.options.max_rows {
            None => Box::new(blocks),
            Some(left) => Box::new(Limit { blocks: Some(Box::new(blocks)), left }),
        })
    }
}

/// Kinds where the first file had no rows: names that only later files have come after its own.
fn merge_kinds(first: Kinds, later: Kinds) -> Kinds {
    let mut kinds = first;
    for (name, kind) in later {
        match kinds.iter_mut().find(|(known, _)| *known == name) {
            Some((_, known)) => *known = kind,
            None => kinds.push((name, kind)),
        }
    }
    kinds
}

/// The first rows of a source.
struct Limit {
    blocks: Option<Box<dyn BatchSource>>,
    left: u64,
}

impl BatchSource for Limit {
    fn schema(&self) -> SchemaRef {
        self.blocks.as_ref().map_or_else(|| Arc::new(Schema::empty()), |blocks| blocks.schema())
    }

    fn next(&mut self) -> Result<Option<RecordBatch>> {
        let Some(blocks) = self.blocks.as_mut().filter(|_| self.left > 0) else { return Ok(None) };
        let Some(batch) = blocks.next()? else { return Ok(None) };
        let rows = batch.num_rows().min(usize::try_from(self.left).unwrap_or(usize::MAX));
        self.left -= rows as u64;
        Ok(Some(batch.slice(0, rows)))
    }
}

/// Blocks of whole rows: as many as a batch has, or a multiple of it.
struct Split {
    records: Records,
    batch_rows: usize,
    rows: usize,
    end: usize,
}

/// A block with less than this takes another batch.
const ENOUGH: usize = 256 << 10;
/// A block with more than this takes no more rows for the sake of a whole batch.
const TOO_MUCH: usize = 4 << 20;

impl Split {
    fn new(dialect: &Dialect, batch_rows: usize) -> Self {
        Split { records: Records::new(dialect), batch_rows, rows: 0, end: 0 }
    }

    fn take(&mut self, length: usize) -> Option<usize> {
        self.records.forget(length);
        (self.rows, self.end) = (0, 0);
        Some(length)
    }
}

impl Splitter for Split {
    fn split(&mut self, data: &[u8], _seen: usize) -> Result<Option<usize>> {
        while let Some(end) = self.records.next_end(data, false) {
            self.end = end;
            self.rows += 1;
            let whole = self.rows.is_multiple_of(self.batch_rows);
            if (whole && (end >= ENOUGH || data.len() < 2 * ENOUGH)) || end >= TOO_MUCH {
                return Ok(self.take(end));
            }
        }
        // No batch is aimed at: what there is will do.
        let any = self.batch_rows == usize::MAX && self.end > 0;
        Ok(if any { self.take(self.end) } else { None })
    }

    fn split_rest(&mut self, data: &[u8]) -> Result<Option<usize>> {
        let split = self.split(data, data.len())?;
        Ok(split.or_else(|| if self.end > 0 { self.take(self.end) } else { None }))
    }
}

struct Parse {
    /// Where the types rest on a part of the rows that `datasets` finds them in.
    head: Option<Arc<Head>>,
    /// Whether these have all been read.
    passed: Arc<AtomicBool>,
    dialect: Dialect,
    on_error: OnError,
    layout: Layout,
    bytes_before: u64,
    lines_before: u64,
}

impl BlockParser for Parse {
    type Scratch = Vec<Kept>;
    type Output = Parsed;

    fn parse(&self, block: Block, scratch: &mut Vec<Kept>) -> Parsed {
        let data = block.data();
        let (text, damage) = encoding::sound_part(data, self.on_error);
        let text = match &damage {
            None => &*text,
            Some(_) => whole_records(&self.dialect, &text),
        };
        let mut build = Build::new(&self.layout, data.len(), scratch);
        let tokenized = tokenize(&self.dialect, text, &mut build);
        build.flush();
        let rows = build.rows() as u64;
        let (lines, batches) = (build.lines, std::mem::take(&mut build.batches));
        let error = match (build.error.take(), tokenized, damage) {
            (Some(error), _, _) => Some(error),
            (None, Err(unclosed), _) => Some(
                ReadError::damaged(unclosed.cause)
                    .at_byte(unclosed.record as u64)
                    .at_row(rows)
                    .at_line(lines + 1),
            ),
            (None, Ok(()), damage) => damage.map(|error| error.at_row(rows).at_line(lines + 1)),
        };
        let error = error.map(|mut error| {
            error.rebase(0, self.lines_before, self.bytes_before);
            error
        });
        let mut unlike = self.unlike(&block, text).filter(|error| error.place.row < Some(rows));
        if let Some(error) = &mut unlike {
            error.rebase(0, self.lines_before, self.bytes_before);
        }
        Parsed { batches, lines, error, unlike }
    }
}

impl Parse {
    /// A row with which a column would be something else, had it been looked at.
    fn unlike(&self, block: &Block, text: &str) -> Option<ReadError> {
        let head = self.head.as_ref()?;
        let behind = block.byte + block.data().len() as u64 > head.looked;
        if !behind || self.passed.load(Ordering::Relaxed) {
            return None;
        }
        let layout = &self.layout;
        let width = layout.most_fields.unwrap_or(usize::MAX);
        let look = |rows| {
            let columns = layout.columns.len();
            let mut look = Look::new(columns, width, &layout.words, layout.skip_long, rows);
            // What is damaged is met by whoever parses it.
            let _ = tokenize(&self.dialect, text, &mut look);
            (look.guesses, look.rows)
        };
        let used = |column| layout.columns.get(column).is_some_and(Option::is_some);
        let unlike = head.unlike(used, look)?;
        let message = format!(
            "with this row the column is {}, not {}",
            unlike.is.data_type(),
            unlike.was.data_type()
        );
        let error = ReadError::late(message).at_row(unlike.row);
        let target = layout.columns.get(unlike.column).and_then(Option::as_ref);
        Some(match target {
            Some(target) => error.in_column(&target.name),
            None => error,
        })
    }
}

/// The records that are whole, where damage follows.
fn whole_records<'a>(dialect: &Dialect, text: &'a str) -> &'a str {
    let mut records = Records::new(dialect);
    let mut end = 0;
    while let Some(next) = records.next_end(text.as_bytes(), false) {
        end = next;
    }
    text.get(..end).unwrap_or_default()
}

/// Looks at blocks to find the types of all rows.
struct LookParser {
    dialect: Dialect,
    words: Words,
    on_error: OnError,
    columns: usize,
    width: usize,
    skip_long: bool,
    /// Rows that are still to be looked at.
    left: Arc<AtomicU64>,
}

struct Looked {
    guesses: Vec<Guess>,
    damaged: bool,
}

impl BlockParser for LookParser {
    type Scratch = ();
    type Output = Looked;

    fn parse(&self, block: Block, (): &mut ()) -> Looked {
        let (text, damage) = encoding::sound_part(block.data(), self.on_error);
        let text = if damage.is_some() { whole_records(&self.dialect, &text) } else { &*text };
        let left = self.left.load(Ordering::Relaxed);
        let mut look = Look::new(self.columns, self.width, &self.words, self.skip_long, left);
        let whole = tokenize(&self.dialect, text, &mut look);
        let damaged = damage.is_some() || whole.is_err() || look.stopped();
        self.left.fetch_sub(look.rows, Ordering::Relaxed);
        Looked { guesses: look.guesses, damaged }
    }
}
