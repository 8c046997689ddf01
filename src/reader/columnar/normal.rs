//! Types as `datasets` has them: no dictionaries, all nullable, list elements named `item`.

use std::collections::HashMap;
use std::sync::Arc;

use arrow_schema::{DataType, Field, FieldRef, Schema, SchemaRef};

pub const JSON: &str = "arrow.json";
pub const EXTENSION: [&str; 2] = ["ARROW:extension:name", "ARROW:extension:metadata"];

/// The metadata of a field of JSON texts, which `datasets` has as `Json()`.
pub fn json() -> HashMap<String, String> {
    let [name, metadata] = EXTENSION.map(str::to_owned);
    HashMap::from([(name, JSON.to_owned()), (metadata, String::new())])
}

/// The schema that `datasets` would give what has `schema`. The metadata `huggingface` stays.
pub fn schema(schema: &Schema) -> SchemaRef {
    let fields: Vec<_> =
        schema.fields().iter().map(|field| normal_field(field, field.name())).collect();
    let metadata = schema.metadata().iter().filter(|(key, _)| *key == "huggingface");
    let metadata: HashMap<_, _> =
        metadata.map(|(key, value)| (key.clone(), value.clone())).collect();
    Arc::new(Schema::new_with_metadata(fields, metadata))
}

fn normal_field(field: &Field, name: &str) -> FieldRef {
    let metadata: HashMap<_, _> = EXTENSION
        .iter()
        .filter_map(|key| Some(((*key).to_owned(), field.metadata().get(key)?.clone())))
        .collect();
    Arc::new(Field::new(name, normal(field.data_type()), true).with_metadata(metadata))
}

fn normal(kind: &DataType) -> DataType {
    match kind {
        DataType::Dictionary(_, values) => normal(values),
        DataType::List(item) => DataType::List(normal_field(item, "item")),
        DataType::LargeList(item) => DataType::LargeList(normal_field(item, "item")),
        DataType::FixedSizeList(item, length) => {
            DataType::FixedSizeList(normal_field(item, "item"), *length)
        }
        DataType::Struct(fields) => {
            DataType::Struct(fields.iter().map(|field| normal_field(field, field.name())).collect())
        }
        other => other.clone(),
    }
}
