//! Types that rest on less of a file than `datasets` finds them in: the rest of that must agree.

use arrow_schema::{DataType, Field, Fields};
use memchr::memchr;

use super::look::look;
use super::shape::{Rows, is_json_field};
use super::split::Layout;
use crate::error::ReadError;
use crate::pipeline::Block;
use crate::settled::first_change;

/// What was seen when the look at a file ended early.
#[derive(Debug)]
pub struct Head {
    rows: Rows,
    /// The types that this made.
    fields: Fields,
    layout: Layout,
    /// Whether `datasets` reads the file through pandas.
    by_pandas: bool,
    /// Bytes that were looked at.
    looked: u64,
    /// Bytes that `datasets` finds types in, with the line that they end in.
    limit: u64,
}

impl Head {
    pub fn new(rows: Rows, layout: Layout, by_pandas: bool, looked: u64, limit: u64) -> Self {
        let fields = rows.fields(layout.is_array(), by_pandas);
        Head { rows, fields, layout, by_pandas, looked, limit }
    }

    /// The row of a block with which a column gets another type than it has, and why it is an error.
    ///
    /// `data` is the content of the block. Types only add up: where each block by itself leaves those of
    /// the head as they are, all blocks together do.
    pub fn contradiction(
        &self,
        block: &Block,
        data: &[u8],
        ujson: bool,
    ) -> Option<(u64, ReadError)> {
        if block.byte >= self.limit || block.byte + data.len() as u64 <= self.looked {
            return None;
        }
        let data = self.within_limit(data, block.byte);
        let is_first = block.index == 0;
        let (all, _) = look(data, is_first, self.layout, ujson, u64::MAX);
        let change = self.changed_by(&all)?;
        let (row, (column, message)) = first_change(all.count, change, |rows| {
            let part = look(data, is_first, self.layout, ujson, rows).0;
            self.changed_by(&part.of_part(&all))
        });
        let error = ReadError::late(format!("with this row {message}")).at_row(row);
        Some((row, column.into_iter().fold(error, ReadError::in_column)))
    }

    fn within_limit<'a>(&self, data: &'a [u8], byte: u64) -> &'a [u8] {
        let left = usize::try_from(self.limit - byte).unwrap_or(usize::MAX);
        match data.get(left..) {
            Some(after) if self.layout == Layout::Lines => {
                memchr(b'\n', after).map_or(data, |end| &data[..=left + end])
            }
            _ => data,
        }
    }

    /// The first column that has another type with these rows, and what is said of it.
    fn changed_by(&self, later: &Rows) -> Option<(Option<String>, String)> {
        let mut rows = self.rows.clone();
        rows.merge(later.clone());
        let fields = rows.fields(self.layout.is_array(), self.by_pandas);
        if let Some((was, is)) = self.fields.iter().zip(&fields).find(|(was, is)| was != is) {
            let message = format!("the column is {}, not {}", shown(is), shown(was));
            return Some((Some(was.name().clone()), message));
        }
        let is_left = self.by_pandas && rows.needs_pandas(self.layout);
        is_left.then(|| (None, "pandas makes dates, columns or other names of this".to_owned()))
    }
}

fn shown(field: &Field) -> String {
    match field.data_type() {
        _ if is_json_field(field) => "Json()".to_owned(),
        DataType::Utf8 => "string".to_owned(),
        other => other.to_string(),
    }
}
