//! Files mapped into memory.
#![allow(unsafe_code)]

use std::env;
use std::fs::File;
use std::io::{self, ErrorKind, Read, Write};
use std::path::PathBuf;

use bytes::Bytes;
use memmap2::Mmap;

use crate::compression;
use crate::error::{ReadError, Result};
use crate::scan::Scan;
use crate::source::{Progress, Source};

const PIECE: usize = 1 << 20;

/// The bytes of a file, without a copy; of a compressed one, of a temporary file with its content.
///
/// A file that is made shorter while it is mapped ends the process when what is gone is touched: as with
/// every memory map. A file that is replaced or deleted stays as it was.
pub fn map(source: &Source, scan: &Scan) -> Result<Bytes> {
    let file = source.open()?;
    let in_file = |error| ReadError::io(error).in_file(source.path());
    let head = read_head(source)?;
    let file = if compression::detect(&head).is_some() {
        let (mut content, folder) = temporary()?;
        let mut input = source.input(&std::sync::Arc::new(Progress::default()))?;
        let mut buffer = vec![0; PIECE];
        loop {
            scan.check()?;
            match input.read(&mut buffer) {
                Ok(0) => break,
                Ok(count) => {
                    let piece = buffer.get(..count).unwrap_or_default();
                    let full = |error| ReadError::io(error).in_file(&folder);
                    content.write_all(piece).map_err(full)?;
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(ReadError::from(error).in_file(source.path())),
            }
        }
        content
    } else {
        file
    };
    if file.metadata().map_err(in_file)?.len() == 0 {
        return Ok(Bytes::new());
    }
    // SAFETY: read only. That nobody writes to the file meanwhile can't be known, as its documentation
    // says; what is read is checked before it is believed, in the state it is in then.
    let mapped = unsafe { Mmap::map(&file) }.map_err(in_file)?;
    Ok(Bytes::from_owner(mapped))
}

/// A temporary file and its folder: the first that takes one, of those that Python's `tempfile` tries.
fn temporary() -> Result<(File, PathBuf)> {
    let named = ["TMPDIR", "TEMP", "TMP"].into_iter().filter_map(env::var_os);
    let usual = [env::temp_dir(), "/tmp".into(), "/var/tmp".into(), "/usr/tmp".into(), ".".into()];
    let mut first = None;
    for folder in named.filter(|name| !name.is_empty()).map(PathBuf::from).chain(usual) {
        match tempfile::tempfile_in(&folder) {
            Ok(file) => return Ok((file, folder)),
            Err(error) => {
                first = first.or_else(|| Some(ReadError::io(plain(error)).in_file(&folder)))
            }
        }
    }
    Err(first.unwrap_or_else(|| ReadError::io(ErrorKind::NotFound.into())))
}

/// What the system said, of an error that has more to say.
fn plain(error: io::Error) -> io::Error {
    let mut cause = error.get_ref().and_then(|inner| inner.source());
    while let Some(inner) = cause {
        if let Some(code) = inner.downcast_ref().and_then(io::Error::raw_os_error) {
            return io::Error::from_raw_os_error(code);
        }
        cause = inner.source();
    }
    error
}

fn read_head(source: &Source) -> Result<Vec<u8>> {
    let mut head = Vec::with_capacity(compression::HEAD_BYTES as usize);
    source
        .open()?
        .take(compression::HEAD_BYTES)
        .read_to_end(&mut head)
        .map_err(|error| ReadError::from(error).in_file(source.path()))?;
    Ok(head)
}
