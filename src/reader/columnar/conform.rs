//! Batches of a file brought to the schema that all files are read with.

use std::collections::HashMap;
use std::sync::Arc;

use arrow_array::{Array, ArrayRef, RecordBatch, RecordBatchOptions, new_null_array};
use arrow_schema::{Field, Schema, SchemaRef};

use crate::columnar::lossless::cast;
use crate::error::{ReadError, Result};

/// How each column of the wanted schema comes from a file.
#[derive(Debug, Clone)]
pub struct Conform {
    pub schema: SchemaRef,
    /// The column of the file, or `None` where it lacks it.
    columns: Vec<Option<usize>>,
    /// Nothing to do but to take the columns.
    same: bool,
}

/// The schema of `columns` of `schema`, in the order asked for.
pub fn project(schema: &SchemaRef, columns: Option<&[String]>) -> Result<SchemaRef> {
    let Some(columns) = columns else { return Ok(Arc::clone(schema)) };
    let places = places(schema);
    let fields: Result<Vec<_>> = columns
        .iter()
        .map(|name| match places.get(name.as_str()).and_then(|&index| schema.fields().get(index)) {
            Some(field) => Ok(Arc::clone(field)),
            None => Err(no_column(name, schema)),
        })
        .collect();
    Ok(Arc::new(Schema::new_with_metadata(fields?, schema.metadata().clone())))
}

/// Where each name is first.
fn places(schema: &Schema) -> HashMap<&str, usize> {
    let names = schema.fields().iter().enumerate();
    names.rev().map(|(index, field)| (field.name().as_str(), index)).collect()
}

fn no_column(name: &str, schema: &Schema) -> ReadError {
    let names: Vec<_> = schema.fields().iter().map(|field| field.name().as_str()).collect();
    ReadError::request(format!("there is no column {name:?}; there are {}", names.join(", ")))
}

impl Conform {
    /// `full` is the schema of all columns, `asked` names those asked for. Where all are, a column of the
    /// file that `full` has not is an error: its values would be lost.
    pub fn new(
        file: &Schema,
        full: &SchemaRef,
        asked: Option<&[String]>,
        given: bool,
    ) -> Result<Self> {
        let wanted = project(full, asked)?;
        let (known, there) = (places(full), places(file));
        let place = |field: &Field| there.get(field.name().as_str()).copied();
        for (index, field) in file.fields().iter().enumerate() {
            if place(field) != Some(index) {
                let message = "the file has two columns of this name";
                return Err(ReadError::schema(message).in_column(field.name()));
            }
            if asked.is_none() && !known.contains_key(field.name().as_str()) {
                let message = format!(
                    "the file has a column that the schema has not: {:?} of type {}",
                    field.name(),
                    field.data_type()
                );
                let error =
                    if given { ReadError::schema(message) } else { ReadError::late(message) };
                return Err(error.in_column(field.name()));
            }
        }
        let columns: Vec<_> = wanted.fields().iter().map(|field| place(field)).collect();
        let same = columns.iter().zip(wanted.fields()).all(|(index, field)| {
            index.is_some_and(|index| file.field(index).data_type() == field.data_type())
        });
        Ok(Conform { schema: wanted, columns, same })
    }

    /// Columns of the file that are wanted, in the order of the schema.
    pub fn indices(&self) -> Vec<usize> {
        self.columns.iter().flatten().copied().collect()
    }

    /// A batch of the wanted columns that the file has, in the order of [`Conform::indices`].
    ///
    /// `row` is the number of its first row, for errors.
    pub fn apply(&self, columns: Vec<ArrayRef>, rows: usize, row: u64) -> Result<RecordBatch> {
        let mut given = columns.into_iter();
        let mut result = Vec::with_capacity(self.columns.len());
        for (index, field) in self.columns.iter().zip(self.schema.fields()) {
            let column = index.and_then(|_| given.next());
            let column = match column {
                None => new_null_array(field.data_type(), rows),
                Some(column) if self.same || column.data_type() == field.data_type() => column,
                Some(column) => convert(&column, field, row)?,
            };
            if !field.is_nullable()
                && let Some(null) = first_null(&column)
            {
                let message = "a null, which the schema does not allow";
                let error = ReadError::schema(message).at_row(row + null as u64);
                return Err(error.in_column(field.name()));
            }
            result.push(column);
        }
        let options = RecordBatchOptions::new().with_row_count(Some(rows));
        Ok(RecordBatch::try_new_with_options(Arc::clone(&self.schema), result, &options)?)
    }
}

fn first_null(column: &ArrayRef) -> Option<usize> {
    column.logical_nulls()?.iter().position(|is_there| !is_there)
}

/// Casts a column; a value that does not survive is an error with its row.
pub fn convert(column: &ArrayRef, field: &Field, row: u64) -> Result<ArrayRef> {
    let wanted = field.data_type();
    cast(column, wanted).map_err(|message| {
        let bad = (0..column.len()).find(|index| cast(&column.slice(*index, 1), wanted).is_err());
        let message = format!("{} does not fit in {wanted}: {message}", column.data_type());
        let error = ReadError::late(message).in_column(field.name());
        match bad {
            Some(index) => error.at_row(row + index as u64),
            None => error,
        }
    })
}
