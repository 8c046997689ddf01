//! Folders that `datasets` saved (`save_to_disk`): which files, in which order, with which features.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::error::{ReadError, Result};

const STATE: &str = "state.json";
const INFO: &str = "dataset_info.json";
const DICT: &str = "dataset_dict.json";

/// A saved dataset.
#[derive(Debug)]
pub struct Saved {
    pub files: Vec<PathBuf>,
    /// Its features, as JSON.
    pub features: Option<String>,
    /// Splits of the same folder that are not read.
    pub left_out: Vec<String>,
}

/// Whether a folder is one of these, or was before it lost a file. What a builder prepared has an [`INFO`],
/// too, and data files of other names.
pub fn is_saved(folder: &Path) -> bool {
    folder.join(DICT).is_file()
        || folder.join(STATE).is_file()
        || (folder.join(INFO).is_file() && has_data(folder))
}

fn has_data(folder: &Path) -> bool {
    let files = fs::read_dir(folder).into_iter().flatten().flatten();
    files.map(|file| file.file_name()).any(|name| {
        let name = name.to_string_lossy();
        name.starts_with("data-") && name.contains("-of-") && name.ends_with(".arrow")
    })
}

/// Reads what the folder says of itself. Of several splits, `split`, else `train`, else the only one.
pub fn open(folder: &Path, split: Option<&str>) -> Result<Saved> {
    if folder.join(DICT).is_file() {
        let (split, left_out) = choose(folder, split)?;
        let mut saved = open_one(&folder.join(split))?;
        saved.left_out = left_out;
        return Ok(saved);
    }
    match split {
        Some(split) if split != "train" => Err(ReadError::request(format!(
            "a saved dataset without splits has no split {split:?}"
        ))
        .in_file(folder)),
        _ => open_one(folder),
    }
}

fn choose(folder: &Path, split: Option<&str>) -> Result<(String, Vec<String>)> {
    let path = folder.join(DICT);
    let splits: Option<Vec<String>> = read(&path)?
        .get("splits")
        .and_then(Value::as_array)
        .map(|splits| splits.iter().filter_map(|name| name.as_str().map(str::to_owned)).collect());
    let splits = splits.unwrap_or_default();
    let chosen = match split {
        Some(split) => splits.iter().find(|name| *name == split),
        None if splits.len() == 1 => splits.first(),
        None => splits.iter().find(|name| *name == "train"),
    };
    let Some(chosen) = chosen else {
        let names = splits.join(", ");
        let asked = split.map_or("choose one with split=".to_owned(), |split| {
            format!("there is no split {split:?}")
        });
        return Err(ReadError::request(format!("{asked}: the splits are {names}")).in_file(&path));
    };
    let left_out = splits.iter().filter(|name| *name != chosen).cloned().collect();
    Ok((chosen.clone(), left_out))
}

fn open_one(folder: &Path) -> Result<Saved> {
    let state_path = folder.join(STATE);
    let info_path = folder.join(INFO);
    for path in [&state_path, &info_path] {
        if !path.is_file() {
            let message = format!(
                "not a dataset that save_to_disk wrote: {} is missing",
                path.file_name().unwrap_or_default().display()
            );
            let error = io::Error::new(io::ErrorKind::NotFound, message);
            return Err(ReadError::io(error).in_file(folder));
        }
    }
    let state = read(&state_path)?;
    let names = state.get("_data_files").and_then(Value::as_array);
    let damaged = |message: &str| ReadError::damaged(message).in_file(&state_path);
    let names = names.ok_or_else(|| damaged("it names no _data_files"))?;
    if state
        .get("_indices_data_files")
        .and_then(Value::as_array)
        .is_some_and(|files| !files.is_empty())
    {
        return Err(ReadError::unsupported(
            "the dataset was saved with an indices mapping, by an old version of datasets: \
             load and save it again",
        )
        .in_file(&state_path));
    }
    let files: Option<Vec<_>> =
        names.iter().map(|file| Some(folder.join(file.get("filename")?.as_str()?))).collect();
    let files = files.ok_or_else(|| damaged("a data file has no name"))?;
    let features = read(&info_path)?.get("features").filter(|value| !value.is_null()).cloned();
    Ok(Saved { files, features: features.map(|value| value.to_string()), left_out: Vec::new() })
}

fn read(path: &Path) -> Result<Value> {
    let text = fs::read(path).map_err(|error| ReadError::io(error).in_file(path))?;
    serde_json::from_slice(&text)
        .map_err(|error| ReadError::damaged(format!("no valid JSON: {error}")).in_file(path))
}
