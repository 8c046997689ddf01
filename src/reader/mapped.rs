//! Files mapped into memory.
#![allow(unsafe_code)]

use std::io::{ErrorKind, Read, Write};

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
        let mut content = tempfile::tempfile().map_err(in_file)?;
        let mut input = source.input(&std::sync::Arc::new(Progress::default()))?;
        let mut buffer = vec![0; PIECE];
        loop {
            scan.check()?;
            match input.read(&mut buffer) {
                Ok(0) => break,
                Ok(count) => {
                    content.write_all(buffer.get(..count).unwrap_or_default()).map_err(in_file)?
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

fn read_head(source: &Source) -> Result<Vec<u8>> {
    let mut head = Vec::with_capacity(compression::HEAD_BYTES as usize);
    source
        .open()?
        .take(compression::HEAD_BYTES)
        .read_to_end(&mut head)
        .map_err(|error| ReadError::from(error).in_file(source.path()))?;
    Ok(head)
}
