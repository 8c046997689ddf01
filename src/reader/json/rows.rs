//! Blocks of a file, made into record batches.

use std::borrow::Cow;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};

use arrow_array::{ArrayRef, RecordBatch, RecordBatchOptions};
use arrow_schema::{Fields, Schema, SchemaRef};
use memchr::memchr_iter;

use super::TEXT;
use super::columns::{Struct, natural_field};
use super::cursor::Cursor;
use super::fault::{Fault, FaultCause};
use super::head::Head;
use super::shape::{Rows, is_json_field, not_an_object};
use super::split::{BOM, Layout};
use crate::error::{ReadError, Result};
use crate::given_types;
use crate::pipeline::{Block, BlockParser, Parsed};
use crate::text::encoding::{self, OnError};

/// Walks over the rows of a block.
pub struct RowCursor<'a> {
    pub cursor: Cursor<'a>,
    layout: Layout,
    /// What the block has before a fault that the cursor does not know: bytes that are not UTF-8.
    invalid: Option<usize>,
    /// Whether the bracket that closes the array lies behind.
    pub ended: bool,
    /// Whether all rows so far began on a line of their own.
    pub one_a_line: bool,
    has_row: bool,
}

impl<'a> RowCursor<'a> {
    /// `data`: the content of the block, with what is no text replaced, if it is to be.
    pub fn new(data: &'a [u8], is_first: bool, layout: Layout, ujson: bool) -> Self {
        let invalid = match simdutf8::basic::from_utf8(data) {
            Ok(_) => None,
            Err(_) => simdutf8::compat::from_utf8(data).err().map(|error| error.valid_up_to()),
        };
        let mut cursor = Cursor::new(&data[..invalid.unwrap_or(data.len())]);
        cursor.lenient = ujson || layout.is_array();
        cursor.drops_surrogates = layout.is_array();
        let mut rows =
            RowCursor { cursor, layout, invalid, ended: false, one_a_line: true, has_row: false };
        if is_first {
            rows.start();
        }
        rows
    }

    fn start(&mut self) {
        if self.cursor.bytes.starts_with(BOM) {
            self.cursor.at = BOM.len();
            self.one_a_line = false;
        }
        if self.layout.is_array() && self.cursor.next_byte() == Some(b'[') {
            self.cursor.at += 1;
            if self.cursor.next_byte() == Some(b']') {
                self.end();
            }
        }
    }

    fn end(&mut self) {
        self.cursor.at += 1;
        self.ended = true;
    }

    /// Steps to the next row; false at the end of the block.
    #[inline]
    pub fn next_row(&mut self) -> Result<bool, Fault> {
        if !self.layout.is_array() {
            let from = self.cursor.at;
            let found = self.cursor.next_byte().is_some();
            let gap = &self.cursor.bytes[from..self.cursor.at];
            let breaks = line_breaks(gap);
            // One line break between two rows, none before the first, nothing behind that of the last.
            self.one_a_line &= match gap.last() {
                _ if found => breaks == usize::from(self.has_row),
                Some(b'\n' | b'\r') => breaks == 1,
                _ => breaks == 0,
            };
            self.has_row = true;
            return if found { Ok(true) } else { self.at_end(false) };
        }
        match self.cursor.next_byte() {
            None => self.at_end(false),
            Some(_) if self.ended => self.cursor.fault("something behind the end of the array"),
            Some(_) => Ok(true),
        }
    }

    fn at_end(&self, more: bool) -> Result<bool, Fault> {
        match self.invalid {
            Some(at) => Err(Fault::syntax(at, INVALID_UTF8)),
            None => Ok(more),
        }
    }

    /// Steps over what follows a row.
    #[inline]
    pub fn end_row(&mut self) -> Result<(), Fault> {
        if !self.layout.is_array() {
            return Ok(());
        }
        match self.cursor.next_byte() {
            Some(b',') => {
                self.cursor.at += 1;
                Ok(())
            }
            Some(b']') => {
                self.end();
                Ok(())
            }
            _ => self.cursor.fault("no comma or ] after a value of the array"),
        }
    }

    /// The fault as whoever reads the file should see it: what stops the cursor where bytes are not
    /// UTF-8 is that.
    pub fn explain(&self, fault: Fault) -> Fault {
        match self.invalid {
            Some(at) if fault.at() >= at => Fault::syntax(at, INVALID_UTF8),
            _ => fault,
        }
    }
}

/// The line breaks that Python's `bytes.splitlines` sees.
fn line_breaks(bytes: &[u8]) -> usize {
    let alone = |&at: &usize| bytes.get(at + 1) != Some(&b'\n');
    memchr_iter(b'\n', bytes).count() + memchr_iter(b'\r', bytes).filter(alone).count()
}

const INVALID_UTF8: &str = "bytes that are not UTF-8 (another encoding? it can be given)";

/// What is read from a file, and as what.
#[derive(Debug)]
pub struct Plan {
    /// The keys of rows, as JSON is read: all of them, wanted or not.
    natural: Fields,
    /// Of each column of the batches, its index among the keys.
    columns: Vec<usize>,
    schema: SchemaRef,
    /// Whether values are converted to the schema: it is the user's, or that of rows before.
    converts: bool,
    /// Whether a contradiction would have been known before, if all had been read.
    late: bool,
    /// Whether rows are read as by ujson, as `datasets` does where a column is `Json()`.
    ujson: bool,
}

impl Plan {
    pub fn new(
        schema: &SchemaRef,
        wanted: Option<&[String]>,
        given: bool,
        late: bool,
    ) -> Result<Plan> {
        let columns: Vec<usize> = match wanted {
            None => (0..schema.fields().len()).collect(),
            Some(names) => {
                names.iter().map(|name| index_of(schema, name)).collect::<Result<_>>()?
            }
        };
        let fields: Fields =
            columns.iter().filter_map(|&index| schema.fields().get(index).cloned()).collect();
        Ok(Plan {
            natural: schema.fields().iter().map(|field| natural_field(field)).collect(),
            columns,
            schema: Arc::new(Schema::new_with_metadata(fields, schema.metadata().clone())),
            converts: given,
            late,
            ujson: schema.fields().iter().any(|field| has_json(field)),
        })
    }

    /// Whether values of other kinds are converted though the schema was found.
    #[must_use]
    pub fn converting(mut self, converts: bool) -> Self {
        self.converts |= converts;
        self
    }

    pub fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    fn start(&self) -> Struct {
        Struct::new(&self.natural, self.converts, |name| {
            self.schema.fields().iter().any(|field| field.name() == name)
        })
    }

    fn text_index(&self) -> Option<usize> {
        self.natural.iter().position(|field| field.name() == TEXT)
    }

    /// The rows as a batch; where a value can't be cast, those before it, and why.
    fn batch(&self, rows: &mut Struct) -> (Option<RecordBatch>, Option<ReadError>) {
        let count = rows.rows();
        let arrays = match rows.take_columns() {
            Ok(arrays) => arrays,
            Err(error) => return (None, Some(error.into())),
        };
        rows.reset();
        let (mut count, mut error, mut columns) = (count, None, Vec::new());
        for (field, &index) in self.schema.fields().iter().zip(&self.columns) {
            let Some(array) = arrays.get(index) else { continue };
            let cast = cast(&array.slice(0, count), field.data_type());
            columns.push(cast.unwrap_or_else(|(good, sound, why)| {
                let message = format!("{why} (the schema has {})", field.data_type());
                let why = ReadError::schema(message).at_row(good as u64);
                error = Some(why.in_column(field.name()));
                count = good;
                sound
            }));
        }
        let columns = columns.iter().map(|column| column.slice(0, count)).collect();
        let options = RecordBatchOptions::new().with_row_count(Some(count));
        match RecordBatch::try_new_with_options(Arc::clone(&self.schema), columns, &options) {
            Ok(batch) => (Some(batch), error),
            Err(error) => (None, Some(error.into())),
        }
    }

    fn error(&self, fault: &Fault, data: &[u8], row: usize) -> ReadError {
        read_error(fault, data, row as u64, self.late)
    }
}

fn read_error(fault: &Fault, data: &[u8], row: u64, late: bool) -> ReadError {
    let message = fault.to_string();
    let error = match fault.cause() {
        FaultCause::Type { .. } | FaultCause::NewColumn { .. } if late => ReadError::late(message),
        FaultCause::Type { .. } | FaultCause::NewColumn { .. } => ReadError::schema(message),
        FaultCause::TooLarge => ReadError::too_large(message),
        _ => ReadError::damaged(message),
    };
    let at = fault.at().min(data.len());
    let line = 1 + memchr_iter(b'\n', &data[..at]).count() as u64;
    let error = error.at_row(row).at_line(line).at_byte(at as u64);
    match fault.column() {
        Some(column) => error.in_column(column),
        None => error,
    }
}

fn index_of(schema: &Schema, name: &str) -> Result<usize> {
    schema.index_of(name).map_err(|_| {
        let names: Vec<_> = schema.fields().iter().map(|field| field.name().as_str()).collect();
        ReadError::request(format!("no column {name:?}; the columns are {}", names.join(", ")))
    })
}

fn has_json(field: &arrow_schema::Field) -> bool {
    use arrow_schema::DataType;
    is_json_field(field)
        || match field.data_type() {
            DataType::List(item)
            | DataType::LargeList(item)
            | DataType::FixedSizeList(item, _)
            | DataType::ListView(item)
            | DataType::LargeListView(item) => has_json(item),
            DataType::Struct(fields) => fields.iter().any(|field| has_json(field)),
            _ => false,
        }
}

/// The array cast; or how many rows could be, these, and why not more.
fn cast(
    array: &ArrayRef,
    to: &arrow_schema::DataType,
) -> Result<ArrayRef, (usize, ArrayRef, String)> {
    let cast = |array: &ArrayRef| given_types::cast(array, to);
    cast(array).map_err(|error| {
        let good = (0..array.len()).take_while(|&row| cast(&array.slice(row, 1)).is_ok()).count();
        let sound = cast(&array.slice(0, good));
        (good, sound.unwrap_or_else(|_| arrow_array::new_empty_array(to)), error.to_string())
    })
}

/// Makes record batches of blocks.
pub struct RowParser {
    pub plan: Plan,
    pub layout: Arc<OnceLock<Layout>>,
    /// Set when an array has come to its end.
    pub ended: Arc<AtomicBool>,
    pub on_error: OnError,
    /// Where the types rest on a part of what `datasets` finds them in.
    pub head: Option<Arc<Head>>,
}

/// The content of a block, with what is no text replaced or left out, if it is to be.
fn content(block: &Block, on_error: OnError) -> Cow<'_, [u8]> {
    let data = block.data();
    match on_error {
        OnError::Strict => Cow::Borrowed(data),
        _ => match encoding::utf8(data, on_error) {
            Ok(Cow::Owned(text)) => Cow::Owned(text.into_bytes()),
            _ => Cow::Borrowed(data),
        },
    }
}

impl BlockParser for RowParser {
    type Scratch = Option<Struct>;
    type Output = Parsed;

    fn parse(&self, block: Block, scratch: &mut Option<Struct>) -> Parsed {
        let data = &*content(&block, self.on_error);
        let layout = *self.layout.get_or_init(|| Layout::of(data));
        let rows = scratch.get_or_insert_with(|| self.plan.start());
        let mut cursor = RowCursor::new(data, block.index == 0, layout, self.plan.ujson);
        let fault = self.append_rows(&mut cursor, layout, rows).err();
        if cursor.ended {
            self.ended.store(true, Ordering::Release);
        }
        let mut error = fault.map(|fault| {
            let done = rows.rows();
            rows.truncate(done);
            self.plan.error(&cursor.explain(fault), data, done)
        });
        if let Some(head) = &self.head
            && let Some((row, late)) = head.contradiction(&block, data, self.plan.ujson)
            && let Ok(row) = usize::try_from(row)
            && row < rows.rows()
        {
            rows.truncate(row);
            error = Some(late);
        }
        let (batch, cast_error) = self.plan.batch(rows);
        if let Some(earlier) = cast_error {
            error = Some(earlier);
        }
        if error.is_some() {
            // What a row before left behind can't be trusted.
            *scratch = None;
        }
        Parsed {
            batches: batch.into_iter().collect(),
            lines: memchr_iter(b'\n', data).count() as u64,
            error,
            unlike: None,
        }
    }
}

impl RowParser {
    fn append_rows(
        &self,
        rows: &mut RowCursor<'_>,
        layout: Layout,
        into: &mut Struct,
    ) -> Result<(), Fault> {
        let text = if layout == Layout::Values { self.plan.text_index() } else { None };
        while rows.next_row()? {
            let start = into.rows();
            let cursor = &mut rows.cursor;
            let appended = match (layout, cursor.peek()) {
                (Layout::Values, _) => match text {
                    Some(index) => into.append_only(index, cursor),
                    None => Err(Fault::new(
                        cursor.at,
                        FaultCause::NewColumn { name: TEXT.to_owned(), found: cursor.kind() },
                    )),
                },
                (_, Some(b'{')) => into.append_object(cursor),
                (_, Some(b'n')) => {
                    cursor.literal(b"null").and_then(|()| into.append_null_row(cursor.at))
                }
                _ => Err(not_an_object(cursor)),
            };
            if let Err(fault) = appended.and_then(|()| rows.end_row()) {
                // A row whose end is damaged is no row.
                into.truncate(start);
                return Err(fault);
            }
        }
        Ok(())
    }
}

/// Looks at the types in blocks.
pub struct Looker {
    pub layout: Arc<OnceLock<Layout>>,
    pub on_error: OnError,
}

/// What was seen in a block.
#[derive(Debug)]
pub struct Seen {
    pub rows: Rows,
    pub bytes: usize,
    /// Whether it is the first, of an array that blanks come before.
    pub blank_before_array: bool,
    /// Why not all of the block could be read.
    pub error: Option<ReadError>,
}

impl BlockParser for Looker {
    type Scratch = ();
    type Output = Seen;

    fn parse(&self, block: Block, (): &mut ()) -> Seen {
        let bytes = block.data().len();
        let data = &*content(&block, self.on_error);
        let layout = *self.layout.get_or_init(|| Layout::of(data));
        let is_first = block.index == 0;
        let (mut rows, mut fault) = look(data, is_first, layout, false, u64::MAX);
        if fault.is_some() && !layout.is_array() {
            // With a column of JSON, rows are read as by ujson, which takes what others don't.
            let (by_ujson, why) = look(data, is_first, layout, true, u64::MAX);
            if by_ujson.has_json() {
                (rows, fault) = (by_ujson, why);
            }
        }
        let blank_before_array =
            is_first && layout.is_array() && data.first().is_some_and(u8::is_ascii_whitespace);
        let Some(fault) = fault else {
            return Seen { rows, bytes, blank_before_array, error: None };
        };
        // Once more without the row that is damaged.
        let sound = rows.whole;
        let (rows, _) = look(data, is_first, layout, rows.has_json(), sound);
        let error = Some(read_error(&fault, data, sound, false));
        Seen { rows, bytes, blank_before_array, error }
    }
}

/// What is seen in the first `limit` rows of a block, and why not in all of them.
pub fn look(
    data: &[u8],
    is_first: bool,
    layout: Layout,
    ujson: bool,
    limit: u64,
) -> (Rows, Option<Fault>) {
    let mut seen = Rows::new();
    let mut rows = RowCursor::new(data, is_first, layout, ujson);
    let mut result = observe(&mut rows, layout, limit, &mut seen);
    if rows.cursor.has_repeated_key {
        // Once more: of such a key, the last value in an object counts.
        seen = Rows::new();
        rows = RowCursor::new(data, is_first, layout, ujson);
        rows.cursor.has_repeated_key = true;
        result = observe(&mut rows, layout, limit, &mut seen);
    }
    let lines = line_breaks(data) as u64;
    let is_blank = seen.count == 0 && !data.is_empty();
    if is_blank || !rows.one_a_line || lines > seen.count || lines + 1 < seen.count {
        seen.not_one_a_line();
    }
    let fault = result.err().map(|fault| rows.explain(fault));
    (seen, fault)
}

fn observe(
    rows: &mut RowCursor<'_>,
    layout: Layout,
    limit: u64,
    seen: &mut Rows,
) -> Result<(), Fault> {
    while seen.count < limit && rows.next_row()? {
        if layout == Layout::Values {
            seen.observe_item(&mut rows.cursor, TEXT)?;
        } else {
            seen.observe(&mut rows.cursor)?;
        }
        rows.end_row()?;
        seen.whole = seen.count;
    }
    Ok(())
}
