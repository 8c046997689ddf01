//! Text files: a row a line, a paragraph or a whole file.

pub(crate) mod encoding;
mod newlines;

use std::ops::Range;
use std::sync::Arc;

use arrow_array::{Array, ArrayRef, RecordBatch, StringArray};
use arrow_schema::{DataType, Field, Schema, SchemaRef};
use memchr::memmem;

use crate::error::{ReadError, Result};
use crate::given_types;
use crate::options::Options;
use crate::pipeline::{Block, BlockParser, Blocks, Parsed, Pipeline, Splitter};
use crate::scan::{BatchSource, Format, Scan};
use crate::source::Source;
use crate::texts::{Kept, Texts};
use encoding::{Encoding, OnError};
use newlines::{Unify, line_end};

/// What a row is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Rows {
    /// A line; with its end, as LF, where asked for.
    Lines {
        ends: bool,
    },
    /// What stands between two line ends in a row, where it isn't empty.
    Paragraphs,
    Document,
}

/// The format; its options are those of `datasets`' text builder.
#[derive(Debug)]
pub struct Text {
    rows: Rows,
    encoding: Encoding,
    on_error: OnError,
}

impl Text {
    pub fn new(mut options: Options) -> Result<Self> {
        let ends = options.take_bool("keep_linebreaks")?.unwrap_or(false);
        let rows = match options.take_str("sample_by")?.as_deref() {
            None | Some("line") => Rows::Lines { ends },
            Some("paragraph") => Rows::Paragraphs,
            Some("document") => Rows::Document,
            Some(other) => {
                return Err(ReadError::request(format!(
                    "sample_by must be \"line\", \"paragraph\" or \"document\", not {other:?}"
                )));
            }
        };
        // How much is read at a time changes no row.
        options.take_usize("chunksize")?;
        let (encoding, on_error) = encoding::from_options(&mut options)?;
        options.finish("text")?;
        Ok(Text { rows, encoding, on_error })
    }
}

impl Format for Text {
    fn infer(&self, _: &[Source], _: &Scan) -> Result<SchemaRef> {
        Ok(Arc::new(Schema::new(vec![Field::new("text", DataType::Utf8, true)])))
    }

    fn open(
        &self,
        file: &Source,
        schema: &SchemaRef,
        _given: bool,
        scan: &Scan,
    ) -> Result<Box<dyn BatchSource>> {
        let [field] = schema.fields().as_ref() else {
            return Err(ReadError::request(format!(
                "a text file has one column, the schema has {}",
                schema.fields().len()
            )));
        };
        let wanted = match scan.columns.as_deref() {
            None => true,
            Some([]) => false,
            Some(columns) => match columns.iter().find(|name| *name != field.name()) {
                None => true,
                Some(name) => {
                    return Err(ReadError::request(format!(
                        "no column {name:?}; there is {:?}",
                        field.name()
                    )));
                }
            },
        };
        let fields = if wanted { vec![Arc::clone(field)] } else { Vec::new() };
        let schema = Arc::new(Schema::new_with_metadata(fields, schema.metadata().clone()));
        let (encoding, on_error) = (self.encoding, self.on_error);
        let unify = !matches!(self.rows, Rows::Lines { .. });
        let input = file.input(&scan.progress)?.map(|input| {
            let input = encoding::transcode(input, encoding, on_error);
            if unify { Box::new(Unify::new(input)) } else { input }
        });
        let splitter =
            Split { rows: self.rows, batch_rows: scan.batch_size, at: 0, count: 0, end: 0 };
        let parser = Parse {
            rows: self.rows,
            on_error,
            schema: Arc::clone(&schema),
            batch_rows: scan.batch_size.max(1),
        };
        let scan = &scan.for_rows();
        let pipeline =
            Pipeline::new(file.path(), input, Vec::new(), Box::new(splitter), parser, scan);
        let blocks = Blocks::new(Arc::clone(&schema), pipeline);
        Ok(match self.rows {
            Rows::Document => {
                Box::new(OneRow { blocks: Some(Box::new(blocks)), schema, seen: false })
            }
            _ => Box::new(blocks),
        })
    }
}

/// An empty file is an empty document, not none.
struct OneRow {
    blocks: Option<Box<dyn BatchSource>>,
    schema: SchemaRef,
    seen: bool,
}

impl BatchSource for OneRow {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }

    fn next(&mut self) -> Result<Option<RecordBatch>> {
        let Some(blocks) = &mut self.blocks else { return Ok(None) };
        let next = blocks.next();
        if !matches!(next, Ok(Some(_))) {
            self.blocks = None;
        }
        match next? {
            Some(batch) => {
                self.seen = true;
                Ok(Some(batch))
            }
            None if self.seen => Ok(None),
            None => batch(&self.schema, StringArray::from(vec![""]), 0).map(Some),
        }
    }
}

/// Blocks of whole rows: as many as a batch has, or a multiple of it.
struct Split {
    rows: Rows,
    batch_rows: usize,
    /// Up to where it has looked.
    at: usize,
    /// Rows up to there, and where the last one ends.
    count: usize,
    end: usize,
}

/// A block with less than this takes another batch.
const ENOUGH: usize = 256 << 10;
/// A block with more than this takes no more rows for the sake of a whole batch.
const TOO_MUCH: usize = 4 << 20;

impl Split {
    fn take(&mut self, length: usize) -> Option<usize> {
        self.at -= length;
        (self.count, self.end) = (0, 0);
        Some(length)
    }

    fn lines(&mut self, data: &[u8]) -> Option<usize> {
        while let Some((_, end)) = line_end(data, self.at, true) {
            (self.at, self.end) = (end, end);
            self.count += 1;
            if self.count.is_multiple_of(self.batch_rows)
                && (end >= ENOUGH || data.len() < 2 * ENOUGH)
            {
                return self.take(end);
            }
        }
        if self.end >= TOO_MUCH {
            return self.take(self.end);
        }
        // A CR that is the last byte is looked at again.
        self.at =
            if data.last() == Some(&b'\r') { data.len() - 1 } else { data.len() }.max(self.end);
        None
    }

    fn paragraphs(&mut self, data: &[u8]) -> Option<usize> {
        let rest = data.get(self.at..)?;
        if let Some(found) = memmem::find_iter(rest, b"\n\n").last() {
            let length = self.at + found + 2;
            self.at = length;
            return self.take(length);
        }
        self.at = if data.last() == Some(&b'\n') { data.len() - 1 } else { data.len() };
        None
    }
}

impl Splitter for Split {
    fn split(&mut self, data: &[u8], _seen: usize) -> Result<Option<usize>> {
        Ok(match self.rows {
            Rows::Lines { .. } => self.lines(data),
            Rows::Paragraphs => self.paragraphs(data),
            Rows::Document => None,
        })
    }

    fn split_rest(&mut self, data: &[u8]) -> Result<Option<usize>> {
        let split = self.split(data, data.len())?;
        Ok(split.or_else(|| {
            (self.end > 0).then_some(self.end).and_then(|end| {
                self.at = self.at.max(end);
                self.take(end)
            })
        }))
    }
}

struct Parse {
    rows: Rows,
    on_error: OnError,
    schema: SchemaRef,
    batch_rows: usize,
}

impl BlockParser for Parse {
    type Scratch = Kept;
    type Output = Parsed;

    fn parse(&self, block: Block, kept: &mut Kept) -> Parsed {
        let data = block.data();
        let (text, error) = encoding::sound_part(data, self.on_error);
        let mut build = Build { parse: self, kept, parsed: Parsed::default(), row: 0 };
        let damaged = error.is_some();
        if let Err(error) = build.rows(&text, damaged) {
            build.parsed.error = Some(error);
            return build.parsed;
        }
        if let Some(error) = error {
            let error = error.at_row(build.row as u64);
            let lines = matches!(self.rows, Rows::Lines { .. });
            build.parsed.error =
                Some(if lines { error.at_line(build.row as u64 + 1) } else { error });
        }
        build.parsed
    }
}

struct Build<'a> {
    parse: &'a Parse,
    kept: &'a mut Kept,
    parsed: Parsed,
    row: usize,
}

impl Build<'_> {
    /// `damaged`: the last row is not whole, and not wanted.
    fn rows(&mut self, text: &str, damaged: bool) -> Result<()> {
        match self.parse.rows {
            Rows::Lines { ends } => {
                let rows = Lines { data: text.as_bytes(), at: 0, damaged };
                self.build(text, rows, ends)?;
                self.parsed.lines = self.row as u64;
                Ok(())
            }
            Rows::Paragraphs => {
                let rows = Paragraphs { text, at: 0, damaged };
                self.build(text, rows, false)
            }
            Rows::Document if damaged => Ok(()),
            Rows::Document => {
                let row = std::iter::once((0..text.len(), false));
                self.build(text, row, false)
            }
        }
    }

    fn build(
        &mut self,
        text: &str,
        mut rows: impl Iterator<Item = (Range<usize>, bool)>,
        ends: bool,
    ) -> Result<()> {
        loop {
            let most = self.parse.batch_rows;
            let mut texts = Texts::new(most.min(text.len() + 1), text.len() + most, self.kept);
            for (row, ended) in rows.by_ref().take(most) {
                // Rows end beside ASCII characters.
                let row = text.get(row).unwrap_or_default();
                let end = if ends && ended { "\n" } else { "" };
                texts.append_both(row, end).map_err(|error| error.at_row(self.row as u64))?;
            }
            let array: StringArray = texts.finish(self.kept);
            if array.is_empty() {
                return Ok(());
            }
            let rows = array.len();
            self.parsed.batches.push(batch(&self.parse.schema, array, self.row)?);
            self.row += rows;
        }
    }
}

/// A batch of the one column, of the type the schema wants.
fn batch(schema: &SchemaRef, array: StringArray, row: usize) -> Result<RecordBatch> {
    let rows = array.len();
    let columns = match schema.fields().first() {
        None => Vec::new(),
        Some(field) if *field.data_type() == DataType::Utf8 => vec![Arc::new(array) as ArrayRef],
        Some(field) => {
            let array: ArrayRef = Arc::new(array);
            let cast = given_types::cast(&array, field.data_type()).map_err(|error| {
                let error = ReadError::schema(error.to_string());
                error.at_row(row as u64).in_column(field.name())
            })?;
            vec![cast]
        }
    };
    let options = arrow_array::RecordBatchOptions::new().with_row_count(Some(rows));
    Ok(RecordBatch::try_new_with_options(Arc::clone(schema), columns, &options)?)
}

/// Where lines stand, without their ends, and whether they have one.
struct Lines<'a> {
    data: &'a [u8],
    at: usize,
    damaged: bool,
}

impl Iterator for Lines<'_> {
    type Item = (Range<usize>, bool);

    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        let start = self.at;
        if let Some((end, next)) = line_end(self.data, start, false) {
            self.at = next;
            return Some((start..end, true));
        }
        self.at = self.data.len();
        (start < self.data.len() && !self.damaged).then_some((start..self.data.len(), false))
    }
}

struct Paragraphs<'a> {
    text: &'a str,
    at: usize,
    damaged: bool,
}

impl Iterator for Paragraphs<'_> {
    type Item = (Range<usize>, bool);

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            let start = self.at;
            let rest = self.text.get(start..)?.as_bytes();
            if let Some(length) = memmem::find(rest, b"\n\n") {
                self.at = start + length + 2;
                if length > 0 {
                    return Some((start..start + length, false));
                }
                continue;
            }
            self.at = self.text.len();
            return (!rest.is_empty() && !self.damaged).then_some((start..self.text.len(), false));
        }
    }
}
