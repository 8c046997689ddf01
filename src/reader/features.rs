//! The features of `datasets` that a schema carries.

use arrow_schema::Schema;

use crate::error::{ReadError, Result};

/// Features whose values are more than their types say: labels by name, files by path. `datasets` makes
/// them of what a file of text has.
const MADE: [&str; 6] = ["ClassLabel", "Image", "Audio", "Video", "Pdf", "Nifti"];

/// [`crate::error::Cause::Unsupported`] where a schema asks for such a feature.
pub fn check_plain(schema: &Schema) -> Result<()> {
    check(schema, |kind| MADE.contains(&kind))
}

/// The same of what columns are stored as: there, JSON is made of values of other types.
pub fn check_stored(schema: &Schema) -> Result<()> {
    check(schema, |kind| MADE.contains(&kind) || kind == "Json")
}

fn check(schema: &Schema, is_made: impl Fn(&str) -> bool) -> Result<()> {
    let Some(features) = schema.metadata().get("huggingface") else { return Ok(()) };
    let kinds = features.split("\"_type\"").skip(1).filter_map(|rest| {
        let rest = rest.trim_start().strip_prefix(':')?.trim_start().strip_prefix('"')?;
        rest.split('"').next()
    });
    match kinds.into_iter().find(|kind| is_made(kind)) {
        None => Ok(()),
        Some(kind) => {
            Err(ReadError::unsupported(format!("the feature {kind} is made by datasets only")))
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use super::*;

    #[test]
    fn features_that_datasets_makes() {
        let is_plain = |features: &str| {
            let text = format!("{{\"info\": {{\"features\": {{\"a\": {features}}}}}}}");
            let metadata = HashMap::from([("huggingface".to_owned(), text)]);
            check_plain(&Schema::empty().with_metadata(metadata)).is_ok()
        };
        assert!(check_plain(&Schema::empty()).is_ok());
        assert!(is_plain("{\"dtype\": \"string\", \"_type\": \"Value\"}"));
        assert!(is_plain("{\"names\": [\"ClassLabel\"], \"_type\":\"Value\"}"));
        let label = "{\"names\": [\"x\"], \"_type\": \"ClassLabel\"}";
        assert!(!is_plain(label));
        assert!(!is_plain(&format!("{{\"feature\": {label}, \"_type\": \"List\"}}")));
        assert!(is_plain("{\"decode\": true, \"_type\": \"Json\"}"));
    }
}
