//! One schema for files that each say their own.

use std::sync::Arc;

use arrow_schema::{Schema, SchemaRef};

use crate::error::{Cause, ReadError, Result};
use crate::scan::{Infer, Scan};
use crate::source::Source;

/// The schema of the first file, or of all of them, each as `read` finds it.
pub fn schema_of(
    files: &[Source],
    scan: &Scan,
    read: impl Fn(&Source) -> Result<SchemaRef>,
) -> Result<SchemaRef> {
    let mut known: Option<SchemaRef> = None;
    for file in files {
        scan.check()?;
        known = Some(match (known, read(file)) {
            (None, schema) => schema?,
            (Some(known), Ok(schema)) => merge(&known, &schema),
            // The rows of the files before come first.
            (Some(known), Err(ReadError { cause: Cause::Damaged(_), .. })) => return Ok(known),
            (Some(_), Err(error)) => return Err(error),
        });
        if scan.infer != Infer::Full {
            break;
        }
    }
    known.ok_or_else(|| ReadError::request("there is no file to read"))
}

/// One schema for both: columns of either, types of the first.
fn merge(known: &SchemaRef, other: &SchemaRef) -> SchemaRef {
    let mut fields: Vec<_> = known.fields().iter().cloned().collect();
    for field in other.fields() {
        match known.fields().find(field.name()) {
            None => fields.push(Arc::clone(field)),
            // A null column takes the type of the other; what else differs is cast or refused.
            Some((index, before)) if before.data_type().is_null() => {
                fields[index] = Arc::clone(field);
            }
            Some(_) => {}
        }
    }
    Arc::new(Schema::new_with_metadata(fields, known.metadata().clone()))
}
