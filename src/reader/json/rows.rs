//! Blocks of a file, made into record batches.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};

use arrow_array::{ArrayRef, RecordBatch, RecordBatchOptions};
use arrow_schema::{Fields, Schema, SchemaRef};
use memchr::memchr_iter;

use super::TEXT;
use super::block::{RowCursor, content, read_error};
use super::columns::{Struct, natural_field};
use super::fault::{Fault, FaultCause};
use super::head::Head;
use super::shape::{is_json_field, not_an_object};
use super::split::Layout;
use crate::error::{ReadError, Result};
use crate::given_types;
use crate::pipeline::{Block, BlockParser, Parsed};
use crate::text::encoding::OnError;

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
