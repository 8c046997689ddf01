//! The types of JSON values, found by looking at them: as pyarrow and `datasets` find them.

use std::collections::HashMap;
use std::sync::Arc;

use arrow_schema::{DataType, Field, Fields, TimeUnit};

use super::cursor::{Cursor, Number, Text, whole_int64};
use super::fault::{Fault, FaultCause, MAX_DEPTH, Parsed};
use super::split::Layout;
use super::timestamp;
use crate::columnar::normal;

/// All that was seen at one place: under one key, or in the lists under it.
///
/// Only adds up, so parts of a file can be looked at in any order and merged in the order of the file
/// (which decides on the order of keys).
#[derive(Debug, Default, Clone, PartialEq)]
pub struct Shape {
    bools: bool,
    ints: bool,
    floats: bool,
    fractions: bool,
    non_finite: bool,
    /// An integer beyond those of an int64.
    beyond: bool,
    /// An integer beyond 64 bits, which ujson refuses.
    huge: bool,
    times: bool,
    strings: bool,
    list: Option<Box<Shape>>,
    object: Option<Box<Object>>,
}

#[derive(Debug, Default, Clone, PartialEq)]
struct Object {
    /// Objects seen.
    count: u64,
    /// How many of the keys the first object has.
    first: usize,
    fields: Vec<(Key, Shape)>,
    /// From a key to its index, once there are many.
    index: HashMap<String, usize>,
}

#[derive(Debug, Clone, PartialEq)]
struct Key {
    name: String,
    /// Objects that have it.
    count: u64,
    /// The number of the last object that has it.
    last: u64,
}

/// How `datasets` read what was looked at, which decides what its types become.
#[derive(Debug, Clone, Copy)]
pub struct Rules {
    /// Through ujson, which turns `NaN` and `Infinity` into null.
    pub ujson: bool,
    /// Whether objects with different keys in one place become `Json()`.
    pub mixed_objects: bool,
    /// Through pandas, which finds no timestamps, and makes integers of floats without fractions.
    pub pandas: bool,
}

const MANY: usize = 16;

impl Shape {
    /// Looks at the value at the cursor, and steps over it.
    pub fn observe(&mut self, cursor: &mut Cursor<'_>, depth: usize) -> Parsed<()> {
        if depth > MAX_DEPTH {
            return Err(Fault::new(cursor.at, FaultCause::TooDeep));
        }
        match cursor.next_byte() {
            Some(b'"') => self.observe_string(cursor),
            Some(b'[') => self.observe_list(cursor, depth),
            Some(b'{') => self.object.get_or_insert_default().observe(cursor, depth),
            Some(b't') => {
                self.bools = true;
                cursor.literal(b"true")
            }
            Some(b'f') => {
                self.bools = true;
                cursor.literal(b"false")
            }
            Some(b'n') => cursor.literal(b"null"),
            Some(_) => self.observe_number(cursor),
            None => cursor.fault("no value"),
        }
    }

    #[inline(always)]
    fn observe_number(&mut self, cursor: &mut Cursor<'_>) -> Parsed<()> {
        let start = cursor.at;
        match cursor.number()? {
            Number::Int(_) => self.ints = true,
            Number::Float => {
                let value = cursor.float(start)?;
                // One that no int64 holds makes no integers of a column either.
                self.fractions |= whole_int64(value).is_none();
                self.beyond |= is_int(&cursor.bytes[start..cursor.at]);
                self.floats = true;
                self.huge |= is_huge(&cursor.bytes[start..cursor.at]);
            }
            Number::NonFinite(_) => self.non_finite = true,
        }
        Ok(())
    }

    #[inline(always)]
    fn observe_string(&mut self, cursor: &mut Cursor<'_>) -> Parsed<()> {
        if !self.strings {
            // No timestamp has an escape.
            match cursor.plain_string()? {
                Text::Plain(text) => {
                    let is_time = timestamp::parse(text).is_some();
                    self.times |= is_time;
                    self.strings |= !is_time;
                    return Ok(());
                }
                Text::Escaped => self.strings = true,
            }
        }
        cursor.skip_string()
    }

    fn observe_list(&mut self, cursor: &mut Cursor<'_>, depth: usize) -> Parsed<()> {
        cursor.at += 1;
        let item = self.list.get_or_insert_default();
        if cursor.next_byte() == Some(b']') {
            cursor.at += 1;
            return Ok(());
        }
        loop {
            while let Some((length, _, b',')) = cursor.short_int() {
                item.ints = true;
                cursor.at += length + 1;
                cursor.at += usize::from(cursor.peek() == Some(b' '));
            }
            match cursor.next_byte() {
                Some(b'0'..=b'9' | b'-') => item.observe_number(cursor)?,
                _ => item.observe(cursor, depth + 1)?,
            }
            if !cursor.more(b']')? {
                return Ok(());
            }
        }
    }

    /// Adds what was seen in a later part.
    pub fn merge(&mut self, later: Shape) {
        self.bools |= later.bools;
        self.ints |= later.ints;
        self.floats |= later.floats;
        self.fractions |= later.fractions;
        self.non_finite |= later.non_finite;
        self.beyond |= later.beyond;
        self.huge |= later.huge;
        self.times |= later.times;
        self.strings |= later.strings;
        if let Some(item) = later.list {
            self.list.get_or_insert_default().merge(*item);
        }
        if let Some(object) = later.object {
            self.object.get_or_insert_default().merge(*object);
        }
    }

    fn has_huge(&self) -> bool {
        self.huge
            || self.list.as_ref().is_some_and(|item| item.has_huge())
            || self.object.as_ref().is_some_and(|object| object.has_huge())
    }

    fn is_number(&self, rules: Rules) -> bool {
        self.ints || self.floats || (self.non_finite && !rules.ujson)
    }

    fn is_json(&self, rules: Rules) -> bool {
        let kinds = usize::from(self.bools)
            + usize::from(self.is_number(rules))
            + usize::from(self.times || self.strings)
            + usize::from(self.list.is_some())
            + usize::from(self.object.is_some());
        kinds > 1
            || (rules.mixed_objects
                && self.object.as_ref().is_some_and(|object| object.has_mixed_keys()))
    }

    /// Whether some place under this one becomes `Json()`. The columns are what this is asked of: rows
    /// themselves may differ in their keys.
    pub fn has_json(&self, rules: Rules) -> bool {
        self.is_json(rules)
            || self.list.as_ref().is_some_and(|item| item.has_json(rules))
            || self
                .object
                .as_ref()
                .is_some_and(|object| object.fields.iter().any(|(_, shape)| shape.has_json(rules)))
    }

    fn field(&self, name: &str, rules: Rules) -> Field {
        if self.is_json(rules) {
            return json_field(name);
        }
        Field::new(name, self.data_type(rules), true)
    }

    fn data_type(&self, rules: Rules) -> DataType {
        if let Some(object) = &self.object {
            DataType::Struct(object.fields(rules))
        } else if let Some(item) = &self.list {
            DataType::List(Arc::new(item.field("item", rules)))
        } else if self.strings || (self.times && rules.pandas) {
            DataType::Utf8
        } else if self.times {
            DataType::Timestamp(TimeUnit::Second, None)
        } else if self.bools {
            DataType::Boolean
        } else if self.floats || (self.non_finite && !rules.ujson) {
            DataType::Float64
        } else if self.ints {
            DataType::Int64
        } else {
            DataType::Null
        }
    }
}

impl Object {
    fn observe(&mut self, cursor: &mut Cursor<'_>, depth: usize) -> Parsed<()> {
        self.count += 1;
        let observed = self.observe_members(cursor, depth);
        if self.count == 1 {
            self.first = self.fields.len();
        }
        observed
    }

    fn observe_members(&mut self, cursor: &mut Cursor<'_>, depth: usize) -> Parsed<()> {
        cursor.at += 1;
        if cursor.next_byte() == Some(b'}') {
            cursor.at += 1;
            return Ok(());
        }
        if cursor.has_repeated_key {
            return self.observe_last(cursor, depth);
        }
        let mut scratch = Vec::new();
        let mut expected = 0;
        loop {
            let key = cursor.key(&mut scratch)?;
            let index = match self.fields.get(expected) {
                Some((known, _)) if known.name.as_bytes() == key => expected,
                _ => self.find(key, cursor.at)?,
            };
            expected = index + 1;
            if let Some((known, shape)) = self.fields.get_mut(index) {
                cursor.has_repeated_key |= known.last == self.count;
                known.count += 1;
                known.last = self.count;
                shape.observe(cursor, depth + 1)?;
            }
            if !cursor.more(b'}')? {
                return Ok(());
            }
        }
    }

    /// The same of the members of an object that may have a key twice: the last value counts.
    fn observe_last(&mut self, cursor: &mut Cursor<'_>, depth: usize) -> Parsed<()> {
        let mut scratch = Vec::new();
        let mut starts: Vec<(usize, usize)> = Vec::new();
        loop {
            let index = self.find(cursor.key(&mut scratch)?, cursor.at)?;
            starts.retain(|(other, _)| *other != index);
            starts.push((index, cursor.at));
            cursor.skip_value(depth + 1)?;
            if !cursor.more(b'}')? {
                break;
            }
        }
        let end = cursor.at;
        for (index, start) in starts {
            if let Some((known, shape)) = self.fields.get_mut(index) {
                known.count += 1;
                cursor.at = start;
                shape.observe(cursor, depth + 1)?;
            }
        }
        cursor.at = end;
        Ok(())
    }

    fn find(&mut self, key: &[u8], at: usize) -> Parsed<usize> {
        let name = std::str::from_utf8(key)
            .map_err(|_| Fault::syntax(at, "a key that is not valid UTF-8"))?;
        Ok(self.find_or_add(name))
    }

    fn find_or_add(&mut self, name: &str) -> usize {
        let found = if self.fields.len() <= MANY {
            self.fields.iter().position(|(known, _)| known.name == name)
        } else {
            if self.index.len() != self.fields.len() {
                let names = self.fields.iter().map(|(key, _)| key.name.clone());
                self.index = names.enumerate().map(|(index, name)| (name, index)).collect();
            }
            self.index.get(name).copied()
        };
        found.unwrap_or_else(|| {
            let key = Key { name: name.to_owned(), count: 0, last: 0 };
            self.fields.push((key, Shape::default()));
            let index = self.fields.len() - 1;
            if index > MANY {
                self.index.insert(name.to_owned(), index);
            }
            index
        })
    }

    fn merge(&mut self, later: Object) {
        if self.count == 0 {
            self.first = later.first;
        }
        for (key, shape) in later.fields {
            let index = self.find_or_add(&key.name);
            if let Some((known, into)) = self.fields.get_mut(index) {
                known.count += key.count;
                into.merge(shape);
            }
        }
        self.count += later.count;
        // No object to come has the number of one that was.
        for (key, _) in &mut self.fields {
            key.last = 0;
        }
    }

    /// Also true of objects without any key, as in `datasets`.
    fn has_mixed_keys(&self) -> bool {
        self.fields.is_empty() || self.fields.iter().any(|(key, _)| key.count != self.count)
    }

    fn has_huge(&self) -> bool {
        self.fields.iter().any(|(_, shape)| shape.has_huge())
    }

    /// In the order in which `datasets` comes upon them: where a key has JSON texts, or leads to some, it
    /// gives that key to every object that lacks it, behind those that the object has.
    fn fields(&self, rules: Rules) -> Fields {
        let (first, later) = self.fields.split_at(self.first.min(self.fields.len()));
        let (texts, others): (Vec<_>, Vec<_>) =
            later.iter().partition(|(_, shape)| !rules.pandas && shape.has_json(rules));
        let fields = first.iter().chain(texts).chain(others);
        fields.map(|(key, shape)| shape.field(&key.name, rules)).collect()
    }
}

/// The names that `pandas.read_json` looks for dates under.
fn is_date_name(name: &str) -> bool {
    let name = name.to_lowercase();
    name.ends_with("_at")
        || name.ends_with("_time")
        || name.starts_with("timestamp")
        || matches!(name.as_str(), "modified" | "date" | "datetime")
}

/// Whether `pandas.read_json` may have another name for a column, if it may for all of them: their names
/// become numbers or dates where all of them can, and a lone "0" is taken for no name.
fn is_label(name: &str) -> bool {
    const MONTHS: [&str; 12] =
        ["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"];
    let name = name.trim().to_lowercase();
    if matches!(name.as_str(), "" | "nan" | "nat") {
        return true;
    }
    let is_dated = MONTHS.iter().any(|month| name.starts_with(month));
    let has_digit = name.contains(char::is_numeric);
    has_digit && (is_dated || !name.starts_with(char::is_alphabetic))
}

/// Whether a name is an integer that pandas writes as it is, and takes for no date.
fn is_plain_int(name: &str) -> bool {
    const SECONDS_OF_A_YEAR: u64 = 31_536_000;
    let value = name.parse::<u64>();
    value.is_ok_and(|value| value <= SECONDS_OF_A_YEAR && value.to_string() == name)
}

/// Whether a number has neither a point nor an exponent.
pub(super) fn is_int(text: &[u8]) -> bool {
    !text.iter().any(|byte| matches!(byte, b'.' | b'e' | b'E'))
}

fn is_huge(text: &[u8]) -> bool {
    is_int(text) && str::from_utf8(text).is_ok_and(|text| text.parse::<u64>().is_err())
}

/// A field of JSON texts, which `datasets` has as `Json()`.
pub fn json_field(name: &str) -> Field {
    Field::new(name, DataType::Utf8, true).with_metadata(normal::json())
}

pub fn is_json_field(field: &Field) -> bool {
    field.metadata().get(normal::EXTENSION[0]).is_some_and(|name| name == normal::JSON)
}

/// What stands where a row should.
#[cold]
pub fn not_an_object(cursor: &mut Cursor<'_>) -> Fault {
    let (start, kind) = (cursor.at, cursor.kind());
    match cursor.skip_value(1) {
        Ok(()) => Fault::new(start, FaultCause::NotAnObject(kind)),
        Err(fault) => fault,
    }
}

/// What was seen in the rows of a part of a file.
#[derive(Debug, Default, Clone)]
pub struct Rows {
    columns: Object,
    pub count: u64,
    /// Those of them that were read to their ends.
    pub whole: u64,
    /// Whether each row was on a line of its own, and each line had one, all readable by ujson: only
    /// then does `datasets` look for objects with mixed keys.
    one_a_line: bool,
}

impl Rows {
    pub fn new() -> Self {
        Rows { one_a_line: true, ..Rows::default() }
    }

    /// Looks at a row: an object, or null.
    pub fn observe(&mut self, cursor: &mut Cursor<'_>) -> Parsed<()> {
        self.count += 1;
        match cursor.next_byte() {
            Some(b'{') => self.columns.observe(cursor, 1),
            Some(b'n') => cursor.literal(b"null"),
            _ => Err(not_an_object(cursor)),
        }
    }

    /// Looks at a value that is a row of one column.
    pub fn observe_item(&mut self, cursor: &mut Cursor<'_>, name: &str) -> Parsed<()> {
        self.count += 1;
        self.columns.count += 1;
        let index = self.columns.find_or_add(name);
        match self.columns.fields.get_mut(index) {
            Some((_, shape)) => shape.observe(cursor, 1),
            None => Ok(()),
        }
    }

    /// The same rows, with what is known of lines only when all of their part was seen.
    #[must_use]
    pub fn of_part(mut self, all: &Rows) -> Rows {
        self.one_a_line = all.one_a_line;
        self
    }

    pub fn not_one_a_line(&mut self) {
        self.one_a_line = false;
    }

    pub fn merge(&mut self, later: Rows) {
        self.columns.merge(later.columns);
        self.count += later.count;
        self.whole += later.whole;
        self.one_a_line &= later.one_a_line;
    }

    /// Whether pandas, where `datasets` reads through it, makes something else of these rows than their
    /// columns: dates of columns with such names, unsigned integers, columns of lists or of an object, and
    /// other names for them.
    pub fn needs_pandas(&self, layout: Layout) -> bool {
        let columns = &self.columns.fields;
        match layout {
            Layout::Lines | Layout::Objects => true,
            Layout::Array => {
                columns.iter().any(|(key, shape)| is_date_name(&key.name) || shape.beyond)
                    || self.has_labels()
            }
            Layout::Values => columns.iter().any(|(_, shape)| shape.list.is_some()),
        }
    }

    fn has_labels(&self) -> bool {
        let names: Vec<_> = self.columns.fields.iter().map(|(key, _)| key.name.as_str()).collect();
        let stay = names != ["0"] && names.iter().all(|name| is_plain_int(name));
        !stay && names.iter().all(|name| is_label(name))
    }

    fn rules(&self, array: bool, pandas: bool) -> Rules {
        let by_ujson = self.one_a_line && !self.columns.has_huge();
        let mixed_objects = !pandas && (array || by_ujson);
        let mut rules = Rules { ujson: array, mixed_objects, pandas };
        // With one such column, datasets sends whole rows through ujson.
        rules.ujson |= self.columns.fields.iter().any(|(_, shape)| shape.has_json(rules));
        rules
    }

    /// Whether one of the columns, of rows that are in no array, becomes `Json()`.
    pub fn has_json(&self) -> bool {
        self.rules(false, false).ujson
    }

    /// The columns. `pandas`: where `datasets` reads through it.
    pub fn fields(&self, array: bool, pandas: bool) -> Fields {
        let rules = self.rules(array, pandas);
        let fields = self.columns.fields(rules);
        if !pandas {
            return fields;
        }
        let becomes_ints = |field: &Field| {
            let column = self.columns.fields.iter().find(|(key, _)| key.name == *field.name());
            column.is_some_and(|(key, shape)| match field.data_type() {
                DataType::Float64 => shape.floats && !shape.fractions && !shape.huge,
                // What a row lacks is NaN there, so that nulls and such are floats, and whole.
                DataType::Null => key.count < self.columns.count,
                _ => false,
            })
        };
        let whole = |field: &Arc<Field>| match becomes_ints(field) {
            true => Arc::new(field.as_ref().clone().with_data_type(DataType::Int64)),
            false => Arc::clone(field),
        };
        fields.iter().map(whole).collect()
    }
}
