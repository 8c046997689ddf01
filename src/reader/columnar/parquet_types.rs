//! Types of Parquet files as pyarrow, and so `datasets`, reads them, where arrow-rs reads others.

use std::sync::Arc;

use arrow_ipc::convert::try_schema_from_ipc_buffer;
use arrow_schema::{DataType, FieldRef, Fields, Schema, SchemaRef, TimeUnit};
use base64::prelude::{BASE64_STANDARD, Engine};
use parquet::arrow::ARROW_SCHEMA_META_KEY;
use parquet::arrow::arrow_reader::{ArrowReaderMetadata, ArrowReaderOptions};
use parquet::basic::{ConvertedType, LogicalType, Type as Physical};
use parquet::errors::Result;
use parquet::file::metadata::ParquetMetaData;
use parquet::schema::types::ColumnDescPtr;

use crate::columnar::normal;

/// The file with the types that its columns are to be decoded to. Those that the writer left say dictionaries
/// of which some can't be made, and units of INT96, whose are nanoseconds.
pub fn readable(metadata: ArrowReaderMetadata) -> Result<ArrowReaderMetadata> {
    let columns = metadata.parquet_schema().columns().iter();
    let mut leaves = columns.map(|column| column.physical_type());
    let stored = metadata.schema();
    let fields: Fields =
        stored.fields().iter().map(|field| readable_field(field, &mut leaves)).collect();
    if fields == *stored.fields() {
        return Ok(metadata);
    }
    let schema = Arc::new(Schema::new_with_metadata(fields, stored.metadata().clone()));
    let options = ArrowReaderOptions::new().with_schema(schema);
    ArrowReaderMetadata::try_new(Arc::clone(metadata.metadata()), options)
}

/// `leaves`: how the file stores the leaves from here on.
fn readable_field(field: &FieldRef, leaves: &mut dyn Iterator<Item = Physical>) -> FieldRef {
    use DataType::{
        Boolean, Dictionary, FixedSizeList, Float16, LargeList, LargeListView, List, ListView, Map,
        Struct, Timestamp,
    };
    let kind = match field.data_type() {
        List(item) => List(readable_field(item, leaves)),
        LargeList(item) => LargeList(readable_field(item, leaves)),
        ListView(item) => ListView(readable_field(item, leaves)),
        LargeListView(item) => LargeListView(readable_field(item, leaves)),
        FixedSizeList(item, length) => FixedSizeList(readable_field(item, leaves), *length),
        Map(entries, sorted) => Map(readable_field(entries, leaves), *sorted),
        Struct(fields) => {
            Struct(fields.iter().map(|field| readable_field(field, leaves)).collect())
        }
        leaf => match (leaf, leaves.next()) {
            (Timestamp(..) | Dictionary(..), Some(Physical::INT96)) => {
                Timestamp(TimeUnit::Nanosecond, None)
            }
            (Dictionary(_, values), _)
                if values.is_decimal() || matches!(**values, Boolean | Float16) =>
            {
                values.as_ref().clone()
            }
            _ => return Arc::clone(field),
        },
    };
    Arc::new(field.as_ref().clone().with_data_type(kind))
}

/// The schema that pyarrow reads from a file whose columns are decoded to `stored`.
pub fn schema(stored: &Schema, metadata: &ParquetMetaData) -> SchemaRef {
    let written = written_schema(metadata);
    let mut leaves = metadata.file_metadata().schema_descr().columns().iter().map(is_json);
    let fields = read_fields(stored.fields(), written.as_ref().map(Schema::fields), &mut leaves);
    normal::schema(&Schema::new_with_metadata(fields, stored.metadata().clone()))
}

/// The Arrow schema that the file was written with, where it says so.
fn written_schema(metadata: &ParquetMetaData) -> Option<Schema> {
    let entries = metadata.file_metadata().key_value_metadata()?;
    let entry = entries.iter().find(|entry| entry.key == ARROW_SCHEMA_META_KEY)?;
    let decoded = BASE64_STANDARD.decode(entry.value.as_ref()?).ok()?;
    try_schema_from_ipc_buffer(&decoded).ok()
}

fn is_json(leaf: &ColumnDescPtr) -> bool {
    leaf.logical_type_ref() == Some(&LogicalType::Json)
        || leaf.converted_type() == ConvertedType::JSON
}

/// `leaves`: whether the leaves from here on are JSON.
fn read_fields(
    stored: &Fields,
    written: Option<&Fields>,
    leaves: &mut dyn Iterator<Item = bool>,
) -> Fields {
    let written = written.filter(|written| written.len() == stored.len());
    let read = stored.iter().enumerate().map(|(index, field)| {
        read_field(field, written.and_then(|written| written.get(index)), leaves)
    });
    read.collect()
}

fn read_field(
    stored: &FieldRef,
    written: Option<&FieldRef>,
    leaves: &mut dyn Iterator<Item = bool>,
) -> FieldRef {
    use DataType::{FixedSizeList, LargeList, LargeListView, List, ListView, Map, Struct};
    let written = written.map(|field| field.data_type());
    let mut inner = |item: &FieldRef| match written {
        Some(
            List(written)
            | LargeList(written)
            | ListView(written)
            | LargeListView(written)
            | FixedSizeList(written, _)
            | Map(written, _),
        ) => read_field(item, Some(written), leaves),
        _ => read_field(item, None, leaves),
    };
    let field = stored.as_ref().clone();
    let kind = match stored.data_type() {
        List(item) => List(inner(item)),
        LargeList(item) => LargeList(inner(item)),
        ListView(item) => ListView(inner(item)),
        LargeListView(item) => LargeListView(inner(item)),
        FixedSizeList(item, length) => FixedSizeList(inner(item), *length),
        Map(entries, sorted) => Map(inner(entries), *sorted),
        Struct(fields) => match written {
            Some(Struct(written)) => Struct(read_fields(fields, Some(written), leaves)),
            _ => Struct(read_fields(fields, None, leaves)),
        },
        // Whichever type of text the writer had.
        _ if leaves.next() == Some(true) => {
            let mut metadata = field.metadata().clone();
            metadata.extend(normal::json());
            return Arc::new(field.with_data_type(DataType::Utf8).with_metadata(metadata));
        }
        leaf => read(leaf, written),
    };
    Arc::new(field.with_data_type(kind))
}

fn read(stored: &DataType, written: Option<&DataType>) -> DataType {
    use DataType::{Binary, Date32, Date64, Dictionary, LargeBinary, LargeUtf8, Timestamp, Utf8};
    match (stored, written) {
        // Parquet has no other date.
        (Date64, _) => Date32,
        // Dictionaries are of plain values.
        (Dictionary(_, values), _) => match values.as_ref() {
            LargeUtf8 => Utf8,
            LargeBinary => Binary,
            Timestamp(unit, Some(_)) => Timestamp(*unit, Some("UTC".into())),
            values => read(values, None),
        },
        (Timestamp(unit, Some(_)), Some(Dictionary(..))) => Timestamp(*unit, Some("UTC".into())),
        // Times have the zone that they were written with, also where they are stored in another unit.
        (Timestamp(unit, Some(_)), Some(Timestamp(_, Some(zone)))) => {
            Timestamp(*unit, Some(Arc::clone(zone)))
        }
        (other, _) => other.clone(),
    }
}
