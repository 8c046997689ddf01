//! Fields into Arrow arrays.

use std::fmt::Write;
use std::ops::{ControlFlow, Range};
use std::sync::Arc;

use arrow_array::builder::{BooleanBuilder, Float64Builder, Int64Builder, UInt64Builder};
use arrow_array::{ArrayRef, RecordBatch, RecordBatchOptions, new_null_array};
use arrow_schema::{DataType, SchemaRef};

use super::infer::{Words, boolean};
use super::numbers;
use super::tokenize::Sink;
use crate::error::{ReadError, Result};
use crate::given_types;
use crate::texts::{Kept, Texts};

/// What the columns of a file become.
#[derive(Debug)]
pub(super) struct Layout {
    /// For each column of the file: what it becomes, `None` where nobody wants it.
    pub columns: Vec<Option<Target>>,
    pub schema: SchemaRef,
    /// For each field of the schema: the column of the file that it comes from.
    pub sources: Vec<Option<usize>>,
    pub words: Words,
    /// The most fields of a row; `None` where more are ignored.
    pub most_fields: Option<usize>,
    /// Rows with too many fields are left out.
    pub skip_long: bool,
    /// The schema came from a first look: what contradicts it is [`ReadError::late`].
    pub guessed: bool,
    pub batch_rows: usize,
}

#[derive(Debug, Clone)]
pub(super) struct Target {
    pub name: String,
    pub data_type: DataType,
    /// Nothing is missing.
    pub literal: bool,
}

enum Builder {
    Skip,
    Int(Int64Builder, Range<i128>),
    UInt(UInt64Builder, Range<i128>),
    Float(Float64Builder),
    Bool(BooleanBuilder),
    /// Text, or what is cast from text in the end.
    Text(Texts<i64>),
    /// Nothing but missing values.
    Null(usize),
}

/// Builds batches from fields.
pub(super) struct Build<'a> {
    layout: &'a Layout,
    builders: Vec<Builder>,
    /// By column.
    kept: &'a mut Vec<Kept>,
    /// Rows that a batch may have room for at first.
    room: usize,
    rows: usize,
    rows_before: usize,
    pub lines: u64,
    pub batches: Vec<RecordBatch>,
    bad: Option<Bad>,
    pub error: Option<ReadError>,
}

struct Bad {
    column: usize,
    message: String,
}

fn ints(data_type: &DataType) -> Option<Range<i128>> {
    let (low, high) = match data_type {
        DataType::Int8 => (i128::from(i8::MIN), i128::from(i8::MAX)),
        DataType::Int16 => (i128::from(i16::MIN), i128::from(i16::MAX)),
        DataType::Int32 => (i128::from(i32::MIN), i128::from(i32::MAX)),
        DataType::Int64 => (i128::from(i64::MIN), i128::from(i64::MAX)),
        DataType::UInt8 => (0, i128::from(u8::MAX)),
        DataType::UInt16 => (0, i128::from(u16::MAX)),
        DataType::UInt32 => (0, i128::from(u32::MAX)),
        DataType::UInt64 => (0, i128::from(u64::MAX)),
        _ => return None,
    };
    Some(low..high + 1)
}

impl Builder {
    fn new(target: &Target, rows: usize, kept: &Kept) -> Self {
        if let Some(range) = ints(&target.data_type) {
            return if target.data_type.is_signed_integer() {
                Builder::Int(Int64Builder::with_capacity(rows), range)
            } else {
                Builder::UInt(UInt64Builder::with_capacity(rows), range)
            };
        }
        match &target.data_type {
            DataType::Float16 | DataType::Float32 | DataType::Float64 => {
                Builder::Float(Float64Builder::with_capacity(rows))
            }
            DataType::Boolean => Builder::Bool(BooleanBuilder::with_capacity(rows)),
            // No text is a list, or another value of values.
            data_type if data_type.is_null() || data_type.is_nested() => Builder::Null(0),
            _ => Builder::Text(Texts::new(rows, usize::MAX, kept)),
        }
    }

    fn push_missing(&mut self) {
        match self {
            Builder::Skip => {}
            Builder::Int(builder, _) => builder.append_null(),
            Builder::UInt(builder, _) => builder.append_null(),
            Builder::Float(builder) => builder.append_null(),
            Builder::Bool(builder) => builder.append_null(),
            Builder::Text(builder) => builder.append_null(),
            Builder::Null(rows) => *rows += 1,
        }
    }

    fn finish(self, kept: &mut Kept) -> ArrayRef {
        match self {
            Builder::Skip => new_null_array(&DataType::Null, 0),
            Builder::Int(mut builder, _) => Arc::new(builder.finish()),
            Builder::UInt(mut builder, _) => Arc::new(builder.finish()),
            Builder::Float(mut builder) => Arc::new(builder.finish()),
            Builder::Bool(mut builder) => Arc::new(builder.finish()),
            Builder::Text(texts) => Arc::new(texts.finish(kept)),
            Builder::Null(rows) => new_null_array(&DataType::Null, rows),
        }
    }
}

/// Puts one field; false where it isn't what the column holds. `given`: the column is what the user says,
/// and takes what pandas converts.
#[inline]
fn push(builder: &mut Builder, text: &str, literal: bool, words: &Words, given: bool) -> bool {
    let bytes = text.as_bytes();
    if let Builder::Text(texts) = builder {
        if !literal && words.missing.is_missing(bytes) {
            texts.append_null();
            return true;
        }
        return texts.append(text).is_ok();
    }
    // What is missing is no bool, though `false_values` has it.
    let may_be_missing = bytes.is_empty()
        || !words.missing.only_words()
        || (matches!(builder, Builder::Bool(_)) && words.has_bools());
    if may_be_missing && words.missing.is_missing(bytes) {
        builder.push_missing();
        return true;
    }
    let pushed = match builder {
        Builder::Int(builder, range) => match int(bytes, range) {
            Some(value) => i64::try_from(value).map(|value| builder.append_value(value)).is_ok(),
            None => false,
        },
        Builder::UInt(builder, range) => match int(bytes, range) {
            Some(value) => u64::try_from(value).map(|value| builder.append_value(value)).is_ok(),
            None => false,
        },
        Builder::Float(builder) => match numbers::float64(bytes) {
            Some(value) if words.missing.is_missing_number(value) => {
                builder.append_null();
                true
            }
            Some(value) => {
                builder.append_value(value);
                true
            }
            None => false,
        },
        Builder::Bool(builder) => match boolean(bytes, words) {
            Some(value) => {
                builder.append_value(value);
                true
            }
            None => false,
        },
        Builder::Skip | Builder::Text(_) => true,
        Builder::Null(_) => false,
    };
    if !pushed && words.missing.is_missing(bytes) {
        builder.push_missing();
        return true;
    }
    pushed || (given && push_converted(builder, bytes, words))
}

/// Puts a bool as a number, and one of the numbers 0 and 1 as a bool.
#[cold]
fn push_converted(builder: &mut Builder, text: &[u8], words: &Words) -> bool {
    let bit = match (&builder, boolean(text, words), numbers::float64(text)) {
        (Builder::Bool(_), _, Some(value)) if value == 0.0 || value == 1.0 => value == 1.0,
        (Builder::Int(..) | Builder::UInt(..) | Builder::Float(_), Some(bit), _) => bit,
        _ => return false,
    };
    match builder {
        Builder::Bool(builder) => builder.append_value(bit),
        Builder::Int(builder, _) => builder.append_value(bit.into()),
        Builder::UInt(builder, _) => builder.append_value(bit.into()),
        Builder::Float(builder) => builder.append_value(bit.into()),
        _ => return false,
    }
    true
}

/// An integer in `range`; a float that is whole counts.
#[inline]
fn int(text: &[u8], range: &Range<i128>) -> Option<i128> {
    let value = match numbers::int64(text) {
        Ok(value) => i128::from(value),
        Err(_) => match numbers::uint64(text) {
            Ok(value) => i128::from(value),
            Err(_) => numbers::integral(numbers::float64(text)?)?,
        },
    };
    range.contains(&value).then_some(value)
}

impl<'a> Build<'a> {
    /// `bytes`: the length of what will be parsed.
    pub fn new(layout: &'a Layout, bytes: usize, kept: &'a mut Vec<Kept>) -> Self {
        kept.resize_with(layout.columns.len(), Kept::default);
        // A row has a byte a column at least.
        let room = layout.batch_rows.min(bytes / layout.columns.len().max(1) + 1);
        let mut build = Build {
            layout,
            builders: Vec::new(),
            kept,
            room,
            rows: 0,
            rows_before: 0,
            lines: 0,
            batches: Vec::new(),
            bad: None,
            error: None,
        };
        build.start();
        build
    }

    fn start(&mut self) {
        let rows = self.room;
        self.builders = (self.layout.columns.iter().zip(&*self.kept))
            .map(|(target, kept)| match target {
                Some(target) => Builder::new(target, rows, kept),
                None => Builder::Skip,
            })
            .collect();
    }

    pub fn rows(&self) -> usize {
        self.rows_before + self.rows
    }

    /// Makes a batch of the rows that are complete.
    pub fn flush(&mut self) {
        let rows = self.rows;
        let builders = std::mem::take(&mut self.builders).into_iter().zip(&mut *self.kept);
        let arrays = builders.map(|(builder, kept)| builder.finish(kept));
        let arrays: Vec<_> = arrays.map(|array| array.slice(0, rows.min(array.len()))).collect();
        if rows == 0 {
            return;
        }
        match batch(self.layout, &arrays, rows) {
            Ok(batch) => self.batches.push(batch),
            Err(error) => self.error = Some(error.at_row(self.rows_before as u64)),
        }
        self.rows_before += rows;
        self.rows = 0;
    }

    fn fail(&mut self, error: ReadError, span: &Range<usize>) -> ControlFlow<()> {
        let error = error.at_row(self.rows() as u64).at_line(self.lines).at_byte(span.start as u64);
        self.error = Some(error);
        ControlFlow::Break(())
    }

    fn contradiction(&self, bad: Bad) -> ReadError {
        let target = self.layout.columns.get(bad.column).and_then(Option::as_ref);
        let (name, wanted) = target
            .map_or(("", &DataType::Null), |target| (target.name.as_str(), &target.data_type));
        let message = format!("expected {wanted}, found {}", bad.message);
        let error =
            if self.layout.guessed { ReadError::late(message) } else { ReadError::schema(message) };
        error.in_column(name)
    }
}

impl Sink for Build<'_> {
    #[inline]
    fn field(&mut self, column: usize, text: &str) {
        let Some(builder) = self.builders.get_mut(column) else { return };
        let literal = match builder {
            Builder::Skip => return,
            Builder::Text(_) => {
                let target = self.layout.columns.get(column).and_then(Option::as_ref);
                target.is_some_and(|target| target.literal)
            }
            _ => false,
        };
        let (words, given) = (&self.layout.words, !self.layout.guessed);
        if !push(builder, text, literal, words, given) && self.bad.is_none() {
            self.bad = Some(Bad { column, message: shown(text, &self.layout.words) });
        }
    }

    #[inline]
    fn record(&mut self, fields: usize, span: Range<usize>) -> ControlFlow<()> {
        self.lines += 1;
        if let Some(most) = self.layout.most_fields
            && fields > most
        {
            if self.layout.skip_long {
                return ControlFlow::Continue(());
            }
            let message = format!("expected {most} fields, saw {fields}");
            return self.fail(ReadError::damaged(message), &span);
        }
        if let Some(bad) = self.bad.take() {
            let error = self.contradiction(bad);
            return self.fail(error, &span);
        }
        let (layout, missing) = (self.layout, self.layout.words.missing.is_missing(b""));
        for (column, builder) in self.builders.iter_mut().enumerate().skip(fields) {
            let target = layout.columns.get(column).and_then(Option::as_ref);
            let literal = target.is_some_and(|target| target.literal);
            match builder {
                // Nothing has room always.
                Builder::Text(texts) if literal || !missing => drop(texts.append("")),
                builder => builder.push_missing(),
            }
        }
        self.rows += 1;
        if self.rows == self.layout.batch_rows {
            self.flush();
            self.start();
            if self.error.is_some() {
                return ControlFlow::Break(());
            }
        }
        ControlFlow::Continue(())
    }

    fn nothing(&mut self) {
        self.lines += 1;
    }

    fn wants_whole_records(&self) -> Option<usize> {
        self.layout.most_fields.filter(|_| self.layout.skip_long)
    }
}

/// A value for a message: what it looks like, and what it would be.
fn shown(text: &str, words: &Words) -> String {
    let kind = if numbers::int64(text.as_bytes()).is_ok() {
        "int64"
    } else if numbers::float64(text.as_bytes()).is_some() {
        "float64"
    } else if boolean(text.as_bytes(), words).is_some() {
        "bool"
    } else {
        "string"
    };
    let mut shown = format!("{kind} ");
    let head: String = text.chars().take(40).collect();
    let dots = if head.len() < text.len() { "..." } else { "" };
    let _ = write!(shown, "{head:?}{dots}");
    shown
}

fn batch(layout: &Layout, arrays: &[ArrayRef], rows: usize) -> Result<RecordBatch> {
    let columns = layout.schema.fields().iter().zip(&layout.sources).map(|(field, source)| {
        match source.and_then(|source| arrays.get(source)) {
            None => Ok(new_null_array(field.data_type(), rows)),
            // What holds values has none of a text.
            Some(array) if array.data_type() == &DataType::Null => {
                Ok(new_null_array(field.data_type(), rows))
            }
            Some(array) => given_types::cast(array, field.data_type())
                .map_err(|error| ReadError::schema(error.to_string()).in_column(field.name())),
        }
    });
    let columns = columns.collect::<Result<Vec<_>>>()?;
    let options = RecordBatchOptions::new().with_row_count(Some(rows));
    let schema = Arc::clone(&layout.schema);
    RecordBatch::try_new_with_options(schema, columns, &options).map_err(ReadError::from)
}
