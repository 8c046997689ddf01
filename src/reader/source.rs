//! A file to read: opened late, read by position or from start to end, decompressed where it needs it.

use std::fs::{self, File};
use std::io::{self, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::ahead::Ahead;
use crate::compression::{self, Compression};
use crate::error::{ReadError, Result};

/// How far reading has come, over all files of a call; counted by the threads that read.
#[derive(Debug, Default)]
pub struct Progress {
    /// Bytes taken from the files, as they are stored.
    pub bytes: AtomicU64,
}

impl Progress {
    pub fn add(&self, bytes: u64) {
        self.bytes.fetch_add(bytes, Ordering::Relaxed);
    }
}

/// A file by its path. Nothing is open until it is read, so a list of many of them is cheap.
#[derive(Debug, Clone)]
pub struct Source {
    path: Arc<Path>,
}

/// The content of a file from its start, decompressed.
pub struct Input {
    reader: Box<dyn Read + Send>,
    pub compression: Option<Compression>,
    /// Bytes of the file as it is stored, when it was opened.
    pub stored_bytes: u64,
}

impl Source {
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Source { path: Arc::from(path.into()) }
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Opens the file as it is stored.
    pub fn open(&self) -> Result<File> {
        let in_file = |error| ReadError::io(error).in_file(&self.path);
        // Before it is opened: to open a pipe may wait for ever. To open a folder succeeds on Unix, and what
        // is said when it is read is unclear.
        let metadata = fs::metadata(&*self.path).map_err(in_file)?;
        if metadata.is_dir() {
            return Err(in_file(io::Error::from(io::ErrorKind::IsADirectory)));
        }
        if !metadata.is_file() {
            let message = "not a regular file: files are read more than once; copy it into one";
            return Err(in_file(io::Error::new(io::ErrorKind::InvalidInput, message)));
        }
        File::open(&*self.path).map_err(in_file)
    }

    /// Opens the file to read its content; gzip and zstd are decompressed, whatever its name is.
    pub fn input(&self, progress: &Arc<Progress>) -> Result<Input> {
        let file = self.open()?;
        let stored_bytes = file.metadata().map_or(0, |metadata| metadata.len());
        let progress = Arc::clone(progress);
        let counted = Counted { file, length: stored_bytes, position: 0, counted: 0, progress };
        let (reader, compression) = compression::decompress(counted)
            .map_err(|error| ReadError::from(error).in_file(&self.path))?;
        Ok(Input { reader, compression, stored_bytes })
    }
}

impl Input {
    /// One without content that says the same of the file.
    pub(crate) fn placeholder(like: &Input) -> Input {
        Input { reader: Box::new(io::empty()), ..*like }
    }

    /// Puts something between the content and whoever reads it: what was read before, a decoder.
    #[must_use]
    pub fn map(mut self, wrap: impl FnOnce(Box<dyn Read + Send>) -> Box<dyn Read + Send>) -> Input {
        self.reader = wrap(self.reader);
        self
    }

    /// Decompresses what is compressed on a thread of its own, which ends with this.
    pub fn ahead(mut self) -> io::Result<Input> {
        if self.compression.is_some() {
            self.reader = Box::new(Ahead::new(self.reader)?);
        }
        Ok(self)
    }
}

impl Read for Input {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.reader.read(buffer)
    }
}

/// A file, and how far it was read. What is read again does not count.
struct Counted {
    file: File,
    /// What it had when it was opened.
    length: u64,
    position: u64,
    counted: u64,
    progress: Arc<Progress>,
}

impl Read for Counted {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.file.read(buffer)?;
        if count == 0 && !buffer.is_empty() && self.position < self.length {
            // What is missing may be whole rows: nothing else would tell.
            let (length, end) = (self.length, self.position);
            let message = format!("the file had {length} bytes and now ends at byte {end}");
            return Err(io::Error::new(io::ErrorKind::UnexpectedEof, message));
        }
        self.position += count as u64;
        self.progress.add(self.position.saturating_sub(self.counted));
        self.counted = self.counted.max(self.position);
        Ok(count)
    }
}

impl Seek for Counted {
    fn seek(&mut self, position: SeekFrom) -> io::Result<u64> {
        self.position = self.file.seek(position)?;
        Ok(self.position)
    }
}
