//! Types of Parquet files as pyarrow, and so `datasets`, reads them, where arrow-rs reads others.

use std::sync::Arc;

use arrow_ipc::convert::try_schema_from_ipc_buffer;
use arrow_schema::{DataType, FieldRef, Fields, Schema, SchemaRef, TimeUnit};
use base64::prelude::{BASE64_STANDARD, Engine};
use parquet::arrow::ARROW_SCHEMA_META_KEY;
use parquet::basic::Type as Physical;
use parquet::file::metadata::ParquetMetaData;

use crate::columnar::normal;

/// The schema of a file in which arrow-rs finds `stored`.
pub fn schema(stored: &Schema, metadata: &ParquetMetaData) -> SchemaRef {
    let plain = normal::schema(stored);
    let written = written_schema(metadata);
    let columns = metadata.file_metadata().schema_descr().columns().iter();
    let mut physical = columns.map(|column| column.physical_type());
    let fields = read_fields(plain.fields(), written.as_ref().map(Schema::fields), &mut physical);
    Arc::new(Schema::new_with_metadata(fields, plain.metadata().clone()))
}

/// The Arrow schema that the file was written with, where it says so.
fn written_schema(metadata: &ParquetMetaData) -> Option<Schema> {
    let entries = metadata.file_metadata().key_value_metadata()?;
    let entry = entries.iter().find(|entry| entry.key == ARROW_SCHEMA_META_KEY)?;
    let decoded = BASE64_STANDARD.decode(entry.value.as_ref()?).ok()?;
    try_schema_from_ipc_buffer(&decoded).ok()
}

/// `physical`: the types of the leaves from here on.
fn read_fields(
    stored: &Fields,
    written: Option<&Fields>,
    physical: &mut dyn Iterator<Item = Physical>,
) -> Fields {
    let written = written.filter(|written| written.len() == stored.len());
    let read = stored.iter().enumerate().map(|(index, field)| {
        let written = written.and_then(|written| written.get(index));
        read_field(field, written, physical)
    });
    read.collect()
}

fn read_field(
    stored: &FieldRef,
    written: Option<&FieldRef>,
    physical: &mut dyn Iterator<Item = Physical>,
) -> FieldRef {
    use DataType::{
        Date32, Date64, Dictionary, FixedSizeList, LargeList, LargeListView, List, ListView, Map,
        Struct, Timestamp,
    };
    let written = written.map(|field| field.data_type());
    let mut items = |item| {
        let written = match written {
            Some(
                List(item)
                | LargeList(item)
                | FixedSizeList(item, _)
                | ListView(item)
                | LargeListView(item)
                | Map(item, _),
            ) => Some(item),
            _ => None,
        };
        read_field(item, written, physical)
    };
    let kind = match stored.data_type() {
        List(item) => List(items(item)),
        LargeList(item) => LargeList(items(item)),
        FixedSizeList(item, length) => FixedSizeList(items(item), *length),
        ListView(item) => ListView(items(item)),
        LargeListView(item) => LargeListView(items(item)),
        Map(entries, sorted) => Map(items(entries), *sorted),
        Struct(fields) => {
            let written = match written {
                Some(Struct(written)) => Some(written),
                _ => None,
            };
            Struct(read_fields(fields, written, physical))
        }
        leaf => match (leaf, physical.next(), written) {
            // Parquet has no other date.
            (Date64, ..) => Date32,
            // Neither unit nor zone.
            (Timestamp(..), Some(Physical::INT96), _) => Timestamp(TimeUnit::Nanosecond, None),
            // Also where they are stored in another unit, but not inside of a dictionary.
            (Timestamp(unit, Some(_)), _, Some(Timestamp(_, Some(zone)))) => {
                Timestamp(*unit, Some(Arc::clone(zone)))
            }
            (Timestamp(unit, Some(_)), _, Some(Dictionary(..))) => {
                Timestamp(*unit, Some("UTC".into()))
            }
            _ => return Arc::clone(stored),
        },
    };
    Arc::new(stored.as_ref().clone().with_data_type(kind))
}
