//! Which columns can be written: decided by their types, before a row is looked at.

use std::collections::{HashMap, HashSet};

use arrow_schema::{DataType, Field, TimeUnit};

use crate::temporal::Zone;

/// Lists in lists, structs in structs: how deep.
const DEEPEST: usize = 64;

const EXTENSION: &str = "ARROW:extension:name";
const EXTENSION_METADATA: &str = "ARROW:extension:metadata";

/// Why the text of a column can't be written; None where it can.
pub fn unsupported(field: &Field, zones: &HashMap<String, Zone>) -> Option<String> {
    let name = field.name();
    let Some(extension) = field.metadata().get(EXTENSION) else {
        return unsupported_type(field.data_type(), zones, 0)
            .map(|reason| format!("column {name:?} has {reason}"));
    };
    let Some(shape) = shape(field) else {
        return Some(format!("column {name:?} has the extension type {extension}"));
    };
    match array_elements(field.data_type(), shape.len()) {
        Some(DataType::Boolean) => None,
        Some(elements) if elements.is_integer() || elements.is_floating() => None,
        _ => Some(format!("column {name:?} is an array of other things than numbers")),
    }
}

/// The shape of an array type of `datasets`: None for the dimension that is not fixed.
pub fn shape(field: &Field) -> Option<Vec<Option<usize>>> {
    let name = field.metadata().get(EXTENSION)?;
    let dimensions = name.strip_prefix("datasets.features.features.Array")?;
    if !matches!(dimensions.strip_suffix("DExtensionType"), Some("2" | "3" | "4" | "5")) {
        return None;
    }
    // [[2, 3], "int64"], with null for a dimension that is not fixed.
    let metadata = field.metadata().get(EXTENSION_METADATA)?;
    let shape = metadata.trim_start_matches([' ', '[']).split(']').next()?;
    shape
        .split(',')
        .map(|length| match length.trim() {
            "null" => Some(None),
            length => length.parse().ok().map(Some),
        })
        .collect()
}

fn array_elements(mut kind: &DataType, dimensions: usize) -> Option<&DataType> {
    for _ in 0..dimensions {
        match kind {
            DataType::List(child) => kind = child.data_type(),
            _ => return None,
        }
    }
    Some(kind)
}

fn unsupported_type(
    kind: &DataType,
    zones: &HashMap<String, Zone>,
    depth: usize,
) -> Option<String> {
    if depth > DEEPEST {
        return Some("types nested too deep".into());
    }
    let inner = |field: &Field| match field.metadata().get(EXTENSION) {
        Some(extension) => Some(format!("the extension type {extension} inside")),
        None => unsupported_type(field.data_type(), zones, depth + 1),
    };
    match kind {
        DataType::Timestamp(unit, Some(zone)) => {
            let known = *unit != TimeUnit::Nanosecond && zones.contains_key(&**zone);
            (!known).then(|| format!("timestamps of the timezone {zone}"))
        }
        DataType::List(child) | DataType::LargeList(child) | DataType::FixedSizeList(child, _) => {
            inner(child)
        }
        DataType::Map(entries, _) => match entries.data_type() {
            DataType::Struct(fields) => fields.iter().find_map(|field| inner(field)),
            _ => Some("a map without entries".into()),
        },
        DataType::Struct(fields) => {
            let mut names = HashSet::new();
            if !fields.iter().all(|field| names.insert(field.name())) {
                return Some("a struct with two fields of one name".into());
            }
            fields.iter().find_map(|field| inner(field))
        }
        DataType::Dictionary(_, values) => unsupported_type(values, zones, depth + 1),
        DataType::Interval(_)
        | DataType::ListView(_)
        | DataType::LargeListView(_)
        | DataType::Union(..)
        | DataType::RunEndEncoded(..) => Some(format!("the type {kind}")),
        _ => None,
    }
}
