//! The formats, and how to tell them: by name first, corrected by content.

use std::io::Read;
use std::path::Path;

use crate::compression::{self, Compression};
use crate::error::{Cause, ReadError, Result};
use crate::source::Source;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Kind {
    Parquet,
    /// The IPC file and the IPC stream format; Feather v2 is the former.
    Arrow,
    /// An array of objects, or objects one after the other: told apart by content.
    Json,
    Csv,
    Tsv,
    Text,
    /// A folder that `datasets` saved.
    HfDataset,
}

/// Every name that a format goes by.
pub const NAMES: [(&str, Kind); 15] = [
    ("parquet", Kind::Parquet),
    ("arrow", Kind::Arrow),
    ("arrows", Kind::Arrow),
    ("ipc", Kind::Arrow),
    ("feather", Kind::Arrow),
    ("json", Kind::Json),
    ("jsonl", Kind::Json),
    ("ndjson", Kind::Json),
    ("csv", Kind::Csv),
    ("tsv", Kind::Tsv),
    ("text", Kind::Text),
    ("txt", Kind::Text),
    ("hf_dataset", Kind::HfDataset),
    ("hf_dir", Kind::HfDataset),
    ("pq", Kind::Parquet),
];

const COMPRESSIONS: [(&str, Compression); 5] = [
    ("xz", Compression::Xz),
    ("gz", Compression::Gzip),
    ("gzip", Compression::Gzip),
    ("zst", Compression::Zstd),
    ("zstd", Compression::Zstd),
];

impl Kind {
    pub fn name(self) -> &'static str {
        match self {
            Kind::Parquet => "parquet",
            Kind::Arrow => "arrow",
            Kind::Json => "json",
            Kind::Csv => "csv",
            Kind::Tsv => "tsv",
            Kind::Text => "text",
            Kind::HfDataset => "hf_dataset",
        }
    }

    /// The format of a name that a caller gave: "jsonl", "jsonl.gz".
    pub fn from_name(name: &str) -> Result<Kind> {
        let lower = name.to_ascii_lowercase();
        let plain = without_compression(&lower);
        NAMES
            .iter()
            .find(|(known, _)| *known == plain)
            .map(|(_, kind)| *kind)
            .ok_or_else(|| unknown(format!("unknown format {name:?}; the formats are {}", names())))
    }

    /// The format that a file's name announces.
    pub fn from_path(path: &Path) -> Option<Kind> {
        // Whatever its bytes are, the ending is what is looked at.
        let name = path.file_name()?.to_string_lossy().to_ascii_lowercase();
        let (_, extension) = without_compression(&name).rsplit_once('.')?;
        NAMES.iter().find(|(known, _)| *known == extension).map(|(_, kind)| *kind)
    }

    pub fn is_text(self) -> bool {
        matches!(self, Kind::Json | Kind::Csv | Kind::Tsv | Kind::Text)
    }
}

fn without_compression(name: &str) -> &str {
    let ending = COMPRESSIONS
        .iter()
        .find_map(|(ending, _)| name.strip_suffix(ending).and_then(|rest| rest.strip_suffix('.')));
    ending.unwrap_or(name)
}

fn names() -> String {
    let mut names: Vec<_> = NAMES.iter().map(|(_, kind)| kind.name()).collect();
    names.sort_unstable();
    names.dedup();
    names.join(", ")
}

fn unknown(message: String) -> ReadError {
    ReadError::new(Cause::Format(message))
}

/// The format of a file: what its content says, else what its name says.
pub fn detect(source: &Source) -> Result<Kind> {
    let named = Kind::from_path(source.path());
    let mut head = Vec::with_capacity(64);
    let mut file = source.open()?;
    file.by_ref()
        .take(64)
        .read_to_end(&mut head)
        .map_err(|error| ReadError::from(error).in_file(source.path()))?;
    compression::check_known(&head)
        .map_err(|error| ReadError::from(error).in_file(source.path()))?;
    if compression::detect(&head).is_some() {
        head.clear();
        let input = source.input(&std::sync::Arc::default())?;
        // Damage inside is for whoever reads the file to meet, after the rows before it.
        let _ = input.take(64).read_to_end(&mut head);
    }
    match (by_content(&head), named) {
        (Some(kind), _) => Ok(kind),
        (None, Some(kind)) => Ok(kind),
        (None, None) => Err(unknown(format!(
            "can't tell the format from the name or the content; say it with format=: {}",
            names()
        ))
        .in_file(source.path())),
    }
}

/// The format of content that begins with `head`, where that is sure.
fn by_content(head: &[u8]) -> Option<Kind> {
    const CONTINUATION: [u8; 4] = [0xff; 4];
    if head.starts_with(b"PAR1") {
        Some(Kind::Parquet)
    } else if head.starts_with(b"ARROW1") || head.starts_with(&CONTINUATION) {
        Some(Kind::Arrow)
    } else {
        None
    }
}
