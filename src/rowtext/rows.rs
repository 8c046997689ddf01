//! The rows of a table.

use std::collections::HashMap;

use arrow_data::ArrayData;
use arrow_schema::Fields;

use crate::Written;
use crate::column::{self, Column, Python};
use crate::printable::Printable;
use crate::temporal::Zone;
use crate::text::Text;

/// A table as it came: struct arrays whose children are the columns.
pub struct Table {
    pub fields: Fields,
    pub batches: Vec<ArrayData>,
}

/// Rows whose text can be written.
pub struct Rows<'a> {
    batches: Vec<Vec<Column<'a>>>,
    /// The number of rows up to the end of each batch.
    ends: Vec<usize>,
    /// What is written before the value of each column.
    keys: Vec<Vec<u8>>,
    picks: Option<Picks<'a>>,
    printable: &'a Printable,
}

/// A column that can't be written, by the table's order.
#[derive(Debug, PartialEq, Eq)]
pub struct Unsupported(pub usize);

impl<'a> Rows<'a> {
    /// The rows of `table` with these columns, in this order.
    pub fn new(
        table: &'a Table,
        columns: &[usize],
        zones: &'a HashMap<String, Zone>,
        printable: &'a Printable,
    ) -> Result<Self, Unsupported> {
        let python = Python { printable, zones };
        let mut keys = Vec::with_capacity(columns.len());
        for (place, &column) in columns.iter().enumerate() {
            let field = table.fields.get(column).ok_or(Unsupported(column))?;
            let key = column::key(field.name(), place == 0, printable);
            keys.push(key.ok_or(Unsupported(column))?);
        }
        let mut batches = Vec::with_capacity(table.batches.len());
        for batch in &table.batches {
            let view = |&column: &usize| {
                let (field, data) = (table.fields.get(column)?, batch.child_data().get(column)?);
                Column::new(field, data, batch.offset(), &python)
            };
            let views = columns.iter().map(|column| view(column).ok_or(Unsupported(*column)));
            batches.push(views.collect::<Result<Vec<_>, _>>()?);
        }
        let ends = ends(table.batches.iter().map(ArrayData::len));
        Ok(Rows { batches, ends, keys, picks: None, printable })
    }

    /// Only the rows that `picks` names, in its order: a table of one column of 64-bit indices. None
    /// where it is something else.
    pub fn pick(self, picks: &'a Table) -> Option<Self> {
        let picks = Picks::new(picks)?;
        Some(Rows { picks: Some(picks), ..self })
    }

    pub fn len(&self) -> usize {
        match &self.picks {
            Some(picks) => picks.ends.last().copied().unwrap_or(0),
            None => self.ends.last().copied().unwrap_or(0),
        }
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    pub fn cursor(&self) -> Cursor<'_> {
        Cursor { rows: self, batch: 0, pick: 0 }
    }
}

fn ends(lengths: impl Iterator<Item = usize>) -> Vec<usize> {
    let ends = lengths.scan(0, |end, length| {
        *end += length;
        Some(*end)
    });
    ends.collect()
}

/// Rows chosen by index.
struct Picks<'a> {
    chunks: Vec<&'a [[u8; 8]]>,
    ends: Vec<usize>,
}

impl<'a> Picks<'a> {
    fn new(table: &'a Table) -> Option<Self> {
        let mut chunks = Vec::with_capacity(table.batches.len());
        for batch in &table.batches {
            let column = batch.child_data().first()?;
            let is_index = column.data_type().primitive_width() == Some(8)
                && column.data_type().is_integer()
                && column.null_count() == 0;
            if !is_index {
                return None;
            }
            let first = column.offset() + batch.offset();
            let bytes = column.buffers().first()?.as_slice();
            chunks.push(bytes.as_chunks().0.get(first..first + batch.len())?);
        }
        let ends = ends(chunks.iter().map(|chunk| chunk.len()));
        Some(Picks { chunks, ends })
    }
}

/// Reads rows; quick where they follow each other.
pub struct Cursor<'r> {
    rows: &'r Rows<'r>,
    batch: usize,
    pick: usize,
}

impl Cursor<'_> {
    /// Writes the text of a row; None where Python must be asked. What was written then is no text.
    #[inline]
    pub fn write(&mut self, row: usize, text: &mut Text) -> Written {
        let rows = self.rows;
        let row = match &rows.picks {
            Some(picks) => {
                let place = locate(&picks.ends, &mut self.pick, row)?;
                let index = picks.chunks.get(self.pick)?.get(place)?;
                usize::try_from(u64::from_ne_bytes(*index)).ok()?
            }
            None => row,
        };
        let place = locate(&rows.ends, &mut self.batch, row)?;
        for (key, column) in rows.keys.iter().zip(rows.batches.get(self.batch)?) {
            text.push(key);
            column.write(place, rows.printable, text)?;
        }
        text.push(if rows.keys.is_empty() { b"{}" } else { b"}" });
        Some(())
    }
}

/// The place of a row in its chunk, whose number is put into `chunk`: the last one that was used, at
/// first.
#[inline(always)]
fn locate(ends: &[usize], chunk: &mut usize, row: usize) -> Option<usize> {
    let first = |chunk: usize| match chunk {
        0 => 0,
        chunk => ends[chunk - 1],
    };
    let is_here = *chunk < ends.len() && first(*chunk) <= row && row < ends[*chunk];
    if !is_here {
        *chunk = ends.partition_point(|&end| end <= row);
        ends.get(*chunk)?;
    }
    Some(row - first(*chunk))
}
