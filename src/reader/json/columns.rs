//! Columns that grow value by value, straight from the text.

use std::collections::HashMap;
use std::sync::Arc;

use arrow_array::builder::BooleanBufferBuilder;
use arrow_array::{
    ArrayRef, BooleanArray, Float64Array, Int64Array, ListArray, NullArray, StringArray,
    StructArray, TimestampSecondArray,
};
use arrow_buffer::{
    ArrowNativeType, Buffer, NullBuffer, NullBufferBuilder, OffsetBuffer, ScalarBuffer,
};
use arrow_schema::{ArrowError, DataType, Field, FieldRef, Fields, TimeUnit};

use super::cursor::{Cursor, Number, Text, whole_int64};
use super::fault::{Fault, FaultCause, Parsed};
use super::shape::{is_int, is_json_field};
use super::{jsontext, timestamp};
use crate::floats;
use crate::given_types::SINCE_EPOCH;
use crate::spare::{Spare, room};

/// The values of one column so far.
#[derive(Debug)]
pub struct Column {
    values: Values,
    nulls: NullBufferBuilder,
    /// Whether values of other kinds are converted, as far as `datasets` casts them.
    converts: bool,
    /// Whether an integer is a time since the epoch.
    epoch: bool,
    /// Of integers: lists of them are long.
    spare: Spare<i64>,
}

#[derive(Debug)]
enum Values {
    /// Nothing but nulls.
    Null(usize),
    /// Values of a column that nobody wants.
    Skipped(usize),
    Bool(BooleanBufferBuilder),
    Int(Vec<i64>),
    Float(Vec<f64>),
    Time(Vec<i64>),
    Text(Texts),
    Json(Texts),
    List {
        field: FieldRef,
        offsets: Vec<i32>,
        items: Box<Column>,
    },
    Struct(Box<Struct>),
}

/// Texts so far. Not [`crate::texts::Texts`]: they come from a cursor straight into the bytes, from where a
/// row that turns out to be none is taken back.
#[derive(Debug)]
struct Texts {
    offsets: Vec<i32>,
    bytes: Vec<u8>,
    scratch: Vec<u8>,
    spare: Spare<u8>,
}

/// The columns of an object's keys.
#[derive(Debug)]
pub struct Struct {
    fields: Fields,
    members: Vec<Member>,
    index: HashMap<String, usize>,
    rows: usize,
    scratch: Vec<u8>,
}

#[derive(Debug)]
struct Member {
    name: String,
    /// Its name as it stands in most files, with the closing quote.
    quoted: Vec<u8>,
    column: Column,
}

const MANY: usize = 16;

fn offset(length: usize, at: usize) -> Parsed<i32> {
    i32::try_from(length).map_err(|_| Fault::new(at, FaultCause::TooLarge))
}

impl Texts {
    fn new() -> Self {
        let (bytes, scratch, spare) = (Vec::new(), Vec::new(), Spare::default());
        Texts { offsets: vec![0], bytes, scratch, spare }
    }

    #[inline(always)]
    fn end(&mut self, at: usize) -> Parsed<()> {
        self.offsets.push(offset(self.bytes.len(), at)?);
        Ok(())
    }

    #[inline(always)]
    fn append_string(&mut self, cursor: &mut Cursor<'_>) -> Parsed<()> {
        cursor.string_into(&mut self.bytes)?;
        self.end(cursor.at)
    }

    fn append_json(&mut self, cursor: &mut Cursor<'_>) -> Parsed<()> {
        jsontext::encode(cursor, &mut self.scratch, &mut self.bytes)?;
        self.end(cursor.at)
    }

    fn append(&mut self, text: &[u8], at: usize) -> Parsed<()> {
        self.bytes.extend_from_slice(text);
        self.end(at)
    }

    fn truncate(&mut self, rows: usize) {
        self.offsets.truncate(rows + 1);
        self.bytes.truncate(last(&self.offsets));
    }

    fn take(&mut self) -> (OffsetBuffer<i32>, Buffer) {
        (take_offsets(&mut self.offsets), take_buffer(&mut self.bytes, &self.spare))
    }
}

fn last(offsets: &[i32]) -> usize {
    offsets.last().map_or(0, |&end| usize::try_from(end).unwrap_or(0))
}

/// Values that the next block is expected to have, at most.
const MOST: usize = 16 << 20;

fn take_buffer<T: ArrowNativeType>(values: &mut Vec<T>, spare: &Spare<T>) -> Buffer {
    let next = spare.take(values.len(), MOST);
    spare.buffer(std::mem::replace(values, next))
}

fn take_vec<T: ArrowNativeType>(values: &mut Vec<T>) -> ScalarBuffer<T> {
    let next = Vec::with_capacity(room(values.len(), MOST));
    std::mem::replace(values, next).into()
}

fn take_offsets(offsets: &mut Vec<i32>) -> OffsetBuffer<i32> {
    let mut next = Vec::with_capacity(room(offsets.len(), MOST));
    next.push(0);
    OffsetBuffer::new(ScalarBuffer::from(std::mem::replace(offsets, next)))
}

/// The type that JSON is read as, on its way to one that JSON does not know.
pub fn natural(data_type: &DataType) -> DataType {
    match data_type {
        DataType::Null => DataType::Null,
        DataType::Boolean => DataType::Boolean,
        DataType::Int8
        | DataType::Int16
        | DataType::Int32
        | DataType::Int64
        | DataType::UInt8
        | DataType::UInt16
        | DataType::UInt32 => DataType::Int64,
        DataType::Float16 | DataType::Float32 | DataType::Float64 => DataType::Float64,
        DataType::Timestamp(TimeUnit::Second, None) => data_type.clone(),
        DataType::List(item)
        | DataType::LargeList(item)
        | DataType::FixedSizeList(item, _)
        | DataType::ListView(item)
        | DataType::LargeListView(item) => DataType::List(Arc::new(natural_field(item))),
        DataType::Struct(fields) => {
            DataType::Struct(fields.iter().map(|field| natural_field(field)).collect())
        }
        _ => DataType::Utf8,
    }
}

pub fn natural_field(field: &Field) -> Field {
    let natural = field.clone().with_data_type(natural(field.data_type())).with_nullable(true);
    match field.data_type() {
        DataType::Timestamp(..) | DataType::Date64 | DataType::Duration(_) => {
            natural.with_metadata(HashMap::from([(EPOCH.to_owned(), String::new())]))
        }
        _ => natural,
    }
}

/// Marks a field in which an integer is a time since the epoch.
const EPOCH: &str = "fast_axolotl.epoch";

impl Column {
    /// An empty column of a natural type.
    pub fn new(field: &Field, converts: bool) -> Self {
        let values = match field.data_type() {
            DataType::Null => Values::Null(0),
            DataType::Boolean => Values::Bool(BooleanBufferBuilder::new(0)),
            DataType::Int64 => Values::Int(Vec::new()),
            DataType::Float64 => Values::Float(Vec::new()),
            DataType::Timestamp(..) => Values::Time(Vec::new()),
            DataType::List(item) => Values::List {
                field: Arc::clone(item),
                offsets: vec![0],
                items: Box::new(Column::new(item, converts)),
            },
            DataType::Struct(fields) => {
                Values::Struct(Box::new(Struct::new(fields, converts, |_| true)))
            }
            _ if is_json_field(field) => Values::Json(Texts::new()),
            _ => Values::Text(Texts::new()),
        };
        let epoch = field.metadata().contains_key(EPOCH);
        Column { epoch, ..Self::of(values, converts) }
    }

    fn of(values: Values, converts: bool) -> Self {
        let (nulls, spare) = (NullBufferBuilder::new(0), Spare::default());
        Column { values, nulls, converts, epoch: false, spare }
    }

    pub fn len(&self) -> usize {
        match &self.values {
            Values::Null(rows) | Values::Skipped(rows) => *rows,
            Values::Bool(values) => values.len(),
            Values::Int(values) | Values::Time(values) => values.len(),
            Values::Float(values) => values.len(),
            Values::Text(texts) | Values::Json(texts) => texts.offsets.len() - 1,
            Values::List { offsets, .. } => offsets.len() - 1,
            Values::Struct(inner) => inner.rows,
        }
    }

    fn append_null(&mut self, at: usize) -> Parsed<()> {
        self.nulls.append_null();
        match &mut self.values {
            Values::Null(rows) | Values::Skipped(rows) => *rows += 1,
            Values::Bool(values) => values.append(false),
            Values::Int(values) | Values::Time(values) => values.push(0),
            Values::Float(values) => values.push(0.0),
            Values::Text(texts) | Values::Json(texts) => texts.end(at)?,
            Values::List { offsets, items, .. } => offsets.push(offset(items.len(), at)?),
            Values::Struct(inner) => {
                for member in &mut inner.members {
                    member.column.append_null(at)?;
                }
                inner.rows += 1;
            }
        }
        Ok(())
    }

    /// What a row has that lacks the key. In a column of `Json()` it is the text `null`, as in
    /// `datasets`.
    fn append_missing(&mut self, at: usize) -> Parsed<()> {
        match &mut self.values {
            Values::Json(texts) => {
                self.nulls.append_non_null();
                texts.append(jsontext::NULL, at)
            }
            _ => self.append_null(at),
        }
    }

    /// Leaves out all rows from `rows` on.
    pub fn truncate(&mut self, rows: usize) {
        self.nulls.truncate(rows);
        match &mut self.values {
            Values::Null(count) | Values::Skipped(count) => *count = (*count).min(rows),
            Values::Bool(values) => values.truncate(rows),
            Values::Int(values) | Values::Time(values) => values.truncate(rows),
            Values::Float(values) => values.truncate(rows),
            Values::Text(texts) | Values::Json(texts) => texts.truncate(rows),
            Values::List { offsets, items, .. } => {
                offsets.truncate(rows + 1);
                items.truncate(last(offsets));
            }
            Values::Struct(inner) => inner.truncate(rows),
        }
    }

    /// Appends the value at the cursor.
    #[inline]
    pub fn append(&mut self, cursor: &mut Cursor<'_>) -> Parsed<()> {
        let first = cursor.next_byte();
        match (&mut self.values, first) {
            (Values::Text(texts), Some(b'"')) => {
                self.nulls.append_non_null();
                texts.append_string(cursor)
            }
            (Values::Json(texts), Some(_)) => {
                self.nulls.append_non_null();
                texts.append_json(cursor)
            }
            (Values::Skipped(rows), Some(_)) => {
                *rows += 1;
                cursor.skip_value(1)
            }
            (_, Some(b'n')) => {
                cursor.literal(b"null")?;
                self.append_null(cursor.at)
            }
            (Values::List { offsets, items, .. }, Some(b'[')) => {
                self.nulls.append_non_null();
                items.append_items(cursor)?;
                offsets.push(offset(items.len(), cursor.at)?);
                Ok(())
            }
            (Values::Struct(inner), Some(b'{')) => {
                self.nulls.append_non_null();
                inner.append_object(cursor)
            }
            (Values::Bool(values), Some(b't')) => {
                self.nulls.append_non_null();
                values.append(true);
                cursor.literal(b"true")
            }
            (Values::Bool(values), Some(b'f')) => {
                self.nulls.append_non_null();
                values.append(false);
                cursor.literal(b"false")
            }
            (Values::Int(_) | Values::Float(_), Some(b'-' | b'0'..=b'9' | b'N' | b'I')) => {
                self.append_number(cursor)
            }
            (Values::Time(values), Some(b'"')) => {
                if let Text::Plain(text) = cursor.clone().plain_string()?
                    && let Some(seconds) = timestamp::parse(text)
                {
                    self.nulls.append_non_null();
                    values.push(seconds);
                    return cursor.skip_string();
                }
                self.mismatch(cursor)
            }
            _ => self.append_other(cursor),
        }
    }

    #[inline(always)]
    fn append_number(&mut self, cursor: &mut Cursor<'_>) -> Parsed<()> {
        let start = cursor.at;
        let number = cursor.number()?;
        match (&mut self.values, number) {
            (Values::Int(values), Number::Int(value)) => {
                self.nulls.append_non_null();
                values.push(value);
                Ok(())
            }
            (Values::Int(values), Number::Float) => {
                if let Some(value) = whole(cursor, start) {
                    self.nulls.append_non_null();
                    values.push(value);
                    return Ok(());
                }
                cursor.at = start;
                self.append_other(cursor)
            }
            (Values::Float(values), Number::Float | Number::Int(_)) => {
                self.nulls.append_non_null();
                values.push(cursor.float(start)?);
                Ok(())
            }
            (_, Number::NonFinite(_)) if cursor.lenient => self.append_null(cursor.at),
            (Values::Float(values), Number::NonFinite(value)) => {
                self.nulls.append_non_null();
                values.push(value.value());
                Ok(())
            }
            _ => {
                cursor.at = start;
                self.append_other(cursor)
            }
        }
    }

    /// The items of a list. The cursor is on its opening bracket.
    #[inline(always)]
    fn append_items(&mut self, cursor: &mut Cursor<'_>) -> Parsed<()> {
        cursor.at += 1;
        if cursor.next_byte() == Some(b']') {
            cursor.at += 1;
            return Ok(());
        }
        if let Values::Int(values) = &mut self.values {
            let before = values.len();
            let ended = append_ints(values, cursor);
            self.nulls.append_n_non_nulls(values.len() - before);
            if ended? {
                return Ok(());
            }
        }
        loop {
            self.append(cursor).map_err(|fault| fault.inside("[]"))?;
            if !cursor.more(b']')? {
                return Ok(());
            }
        }
    }

    /// A value of another kind than the column's.
    #[cold]
    fn append_other(&mut self, cursor: &mut Cursor<'_>) -> Parsed<()> {
        let start = cursor.at;
        if cursor.lenient && matches!(cursor.peek(), Some(b'N' | b'I' | b'-')) {
            if let Ok(Number::NonFinite(_)) = cursor.number() {
                return self.append_null(cursor.at);
            }
            cursor.at = start;
        }
        if self.converts && self.convert(cursor)? {
            return Ok(());
        }
        cursor.at = start;
        self.mismatch(cursor)
    }

    /// Converts what `datasets` casts: whether it did.
    fn convert(&mut self, cursor: &mut Cursor<'_>) -> Parsed<bool> {
        let start = cursor.at;
        match (&mut self.values, cursor.peek()) {
            // An object in a column of strings is its JSON, a number its digits, a bool its name.
            (Values::Text(texts), Some(b'{' | b't' | b'f')) => {
                self.nulls.append_non_null();
                texts.append_json(cursor)?;
            }
            (Values::Text(texts), Some(b'-' | b'0'..=b'9' | b'N' | b'I')) => {
                let text = match cursor.number()? {
                    Number::Int(value) if self.epoch => format!("{SINCE_EPOCH}{value}"),
                    // Nor does `datasets` make a time of a fraction.
                    _ if self.epoch => return Ok(false),
                    Number::Int(value) => value.to_string(),
                    Number::Float => floats::text(cursor.float(start)?),
                    Number::NonFinite(value) => floats::text(value.value()),
                };
                self.nulls.append_non_null();
                texts.append(text.as_bytes(), cursor.at)?;
            }
            (Values::Time(values), Some(b'-' | b'0'..=b'9')) => {
                let Number::Int(value) = cursor.number()? else { return Ok(false) };
                self.nulls.append_non_null();
                values.push(value);
            }
            (Values::Int(values), Some(b'-' | b'0'..=b'9')) => {
                let Number::Float = cursor.number()? else { return Ok(false) };
                let Some(value) = whole_int64(cursor.float(start)?) else { return Ok(false) };
                self.nulls.append_non_null();
                values.push(value);
            }
            (Values::Int(_) | Values::Float(_) | Values::Bool(_), Some(b'"')) => {
                let Text::Plain(text) = cursor.plain_string()? else { return Ok(false) };
                if !self.convert_text(text) {
                    return Ok(false);
                }
            }
            (Values::Int(_) | Values::Float(_), Some(b't' | b'f')) => {
                let value = cursor.peek() == Some(b't');
                cursor.skip_value(1)?;
                self.nulls.append_non_null();
                match &mut self.values {
                    Values::Int(values) => values.push(i64::from(value)),
                    Values::Float(values) => values.push(f64::from(u8::from(value))),
                    _ => return Ok(false),
                }
            }
            (Values::Bool(values), Some(b'-' | b'0'..=b'9')) => {
                if let Number::NonFinite(_) = cursor.number()? {
                    return Ok(false);
                }
                values.append(cursor.float(start)? != 0.0);
                self.nulls.append_non_null();
            }
            _ => return Ok(false),
        }
        Ok(true)
    }

    fn convert_text(&mut self, text: &[u8]) -> bool {
        let text = str::from_utf8(text).unwrap_or_default();
        match &mut self.values {
            Values::Int(values) => {
                let Ok(value) = text.parse() else { return false };
                values.push(value);
            }
            Values::Float(values) => {
                let Ok(value) = fast_float2::parse(text) else { return false };
                values.push(value);
            }
            Values::Bool(values) => match text {
                "true" | "True" | "1" => values.append(true),
                "false" | "False" | "0" => values.append(false),
                _ => return false,
            },
            _ => return false,
        }
        self.nulls.append_non_null();
        true
    }

    #[cold]
    fn mismatch(&self, cursor: &mut Cursor<'_>) -> Parsed<()> {
        let (start, kind) = (cursor.at, cursor.kind());
        // It may be no value at all.
        cursor.skip_value(1)?;
        let text = cursor.bytes.get(start..cursor.at).unwrap_or_default();
        let shown = String::from_utf8_lossy(&text[..text.len().min(60)]);
        let dots = if text.len() > 60 { "..." } else { "" };
        let found = match kind {
            "null" => kind.to_owned(),
            _ => format!("{kind} ({shown}{dots})"),
        };
        let expected = self.kind().to_owned();
        Err(Fault::new(start, FaultCause::Type { found, expected }))
    }

    fn kind(&self) -> &'static str {
        match &self.values {
            Values::Null(_) => "nothing but null",
            Values::Skipped(_) => "any value",
            Values::Bool(_) => "bool",
            Values::Int(_) => "int64",
            Values::Float(_) => "float64",
            Values::Time(_) => "timestamp[s]",
            Values::Text(_) => "string",
            Values::Json(_) => "JSON",
            Values::List { .. } => "a list",
            Values::Struct(_) => "a struct",
        }
    }

    /// The values as an array; the column is empty after it.
    pub fn take(&mut self) -> Result<ArrayRef, ArrowError> {
        let nulls = self.nulls.finish();
        Ok(match &mut self.values {
            Values::Null(rows) | Values::Skipped(rows) => {
                Arc::new(NullArray::new(std::mem::take(rows)))
            }
            Values::Bool(values) => Arc::new(BooleanArray::new(values.finish(), nulls)),
            Values::Int(values) => {
                let values = take_buffer(values, &self.spare);
                Arc::new(Int64Array::try_new(values.into(), nulls)?)
            }
            Values::Float(values) => Arc::new(Float64Array::try_new(take_vec(values), nulls)?),
            Values::Time(values) => {
                Arc::new(TimestampSecondArray::try_new(take_vec(values), nulls)?)
            }
            Values::Text(texts) | Values::Json(texts) => {
                let (offsets, bytes) = texts.take();
                Arc::new(StringArray::try_new(offsets, bytes, nulls)?)
            }
            Values::List { field, offsets, items } => {
                let offsets = take_offsets(offsets);
                Arc::new(ListArray::try_new(Arc::clone(field), offsets, items.take()?, nulls)?)
            }
            Values::Struct(inner) => Arc::new(inner.take(nulls)?),
        })
    }
}

/// The integers of a list, up to its end (then true) or the first item that is none. Lists of token ids
/// are most of the numbers that there are.
#[inline(always)]
fn append_ints(values: &mut Vec<i64>, cursor: &mut Cursor<'_>) -> Parsed<bool> {
    loop {
        while let Some((length, value, b',')) = cursor.short_int() {
            values.push(value.cast_signed());
            cursor.at += length + 1;
            cursor.at += usize::from(cursor.peek() == Some(b' '));
        }
        let start = cursor.at;
        match cursor.next_byte() {
            Some(b'0'..=b'9' | b'-') => {
                let Number::Int(value) = cursor.number()? else {
                    cursor.at = start;
                    return Ok(false);
                };
                values.push(value);
                if !cursor.more(b']')? {
                    return Ok(true);
                }
            }
            _ => return Ok(false),
        }
    }
}

/// The integer that a number with a point or an exponent is, as in `1e3`: `datasets` casts it.
#[cold]
fn whole(cursor: &Cursor<'_>, start: usize) -> Option<i64> {
    let text = cursor.bytes.get(start..cursor.at)?;
    let value = cursor.float(start).ok()?;
    // Digits alone are an integer beyond 64 bits.
    whole_int64(value).filter(|_| !is_int(text))
}

/// Where the value ends that starts at `start`, if its key comes again in the same object, and the last
/// of them counts.
#[cold]
fn end_of_overwritten(cursor: &Cursor<'_>, start: usize, name: &str) -> Option<usize> {
    let mut cursor = cursor.lenient.then(|| cursor.clone())?;
    cursor.at = start;
    cursor.skip_value(1).ok()?;
    let end = cursor.at;
    let mut scratch = Vec::new();
    while cursor.more(b'}').ok()? {
        if cursor.key(&mut scratch).ok()? == name.as_bytes() {
            return Some(end);
        }
        cursor.skip_value(1).ok()?;
    }
    None
}

impl Struct {
    /// A column for each field; those that are not `wanted` are skipped.
    pub fn new(fields: &Fields, converts: bool, wanted: impl Fn(&str) -> bool) -> Self {
        let members: Vec<_> = fields
            .iter()
            .map(|field| {
                let column = if wanted(field.name()) {
                    Column::new(field, converts)
                } else {
                    Column::of(Values::Skipped(0), false)
                };
                let mut quoted = field.name().as_bytes().to_vec();
                quoted.push(b'"');
                Member { name: field.name().clone(), quoted, column }
            })
            .collect();
        let index = if members.len() > MANY {
            let names = members.iter().enumerate();
            names.map(|(index, member)| (member.name.clone(), index)).collect()
        } else {
            HashMap::new()
        };
        Struct { fields: fields.clone(), members, index, rows: 0, scratch: Vec::new() }
    }

    pub fn rows(&self) -> usize {
        self.rows
    }

    pub fn truncate(&mut self, rows: usize) {
        self.rows = self.rows.min(rows);
        for member in &mut self.members {
            member.column.truncate(rows);
        }
    }

    /// A row without any value.
    pub fn append_null_row(&mut self, at: usize) -> Parsed<()> {
        for member in &mut self.members {
            member.column.append_null(at)?;
        }
        self.rows += 1;
        Ok(())
    }

    /// A row that is the value of the column at `index`.
    pub fn append_only(&mut self, index: usize, cursor: &mut Cursor<'_>) -> Parsed<()> {
        if let Some(member) = self.members.get_mut(index) {
            member.column.append(cursor).map_err(|fault| fault.inside(&member.name))?;
        }
        for (other, member) in self.members.iter_mut().enumerate() {
            if other != index {
                member.column.append_missing(cursor.at)?;
            }
        }
        self.rows += 1;
        Ok(())
    }

    /// A row of an object. The cursor is on its opening brace.
    pub fn append_object(&mut self, cursor: &mut Cursor<'_>) -> Parsed<()> {
        cursor.at += 1;
        let row = self.rows;
        let mut filled = 0;
        if cursor.next_byte() == Some(b'}') {
            cursor.at += 1;
        } else {
            let mut expected = 0;
            loop {
                let index = self.key(cursor, expected)?;
                let Some(member) = self.members.get_mut(index) else {
                    return cursor.fault("an unknown key");
                };
                if member.column.len() == row {
                    filled += 1;
                } else if cursor.lenient {
                    // The last of them counts.
                    member.column.truncate(row);
                } else {
                    return Err(Fault::new(cursor.at, FaultCause::Twice(member.name.clone())));
                }
                let start = cursor.at;
                if let Err(fault) = member.column.append(cursor) {
                    let Some(end) = end_of_overwritten(cursor, start, &member.name) else {
                        return Err(fault.inside(&member.name));
                    };
                    member.column.truncate(row);
                    filled -= 1;
                    cursor.at = end;
                }
                expected = index + 1;
                if !cursor.more(b'}')? {
                    break;
                }
            }
        }
        if filled < self.members.len() {
            for member in &mut self.members {
                if member.column.len() == row {
                    member.column.append_missing(cursor.at)?;
                }
            }
        }
        self.rows += 1;
        Ok(())
    }

    /// Steps over a key and its colon: the index of its column, most often that after the one before.
    #[inline(always)]
    fn key(&mut self, cursor: &mut Cursor<'_>, expected: usize) -> Parsed<usize> {
        if cursor.next_byte() == Some(b'"')
            && let Some(member) = self.members.get(expected)
            && let Some(rest) = cursor.bytes.get(cursor.at + 1..)
            && rest.starts_with(&member.quoted)
        {
            cursor.at += 1 + member.quoted.len();
            cursor.expect(b':', "an object member without a colon")?;
            return Ok(expected);
        }
        self.other_key(cursor)
    }

    #[inline(never)]
    fn other_key(&mut self, cursor: &mut Cursor<'_>) -> Parsed<usize> {
        let start = cursor.at;
        let key = cursor.key(&mut self.scratch)?;
        let found = if self.index.is_empty() {
            self.members.iter().position(|member| member.name.as_bytes() == key)
        } else {
            str::from_utf8(key).ok().and_then(|key| self.index.get(key).copied())
        };
        match found {
            Some(index) => Ok(index),
            None => {
                let name = String::from_utf8_lossy(key).into_owned();
                cursor.next_byte();
                let found = cursor.kind();
                cursor.skip_value(1)?;
                Err(Fault::new(start, FaultCause::NewColumn { name, found }))
            }
        }
    }

    fn take(&mut self, nulls: Option<NullBuffer>) -> Result<StructArray, ArrowError> {
        let arrays = self.take_columns()?;
        let rows = std::mem::take(&mut self.rows);
        StructArray::try_new_with_length(self.fields.clone(), arrays, nulls, rows)
    }

    /// The arrays of all columns; of those that were skipped, none that means anything.
    pub fn take_columns(&mut self) -> Result<Vec<ArrayRef>, ArrowError> {
        self.members.iter_mut().map(|member| member.column.take()).collect()
    }

    pub fn reset(&mut self) {
        self.rows = 0;
    }
}
