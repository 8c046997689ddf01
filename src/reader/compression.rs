//! Compressed content: told by its magic bytes and not by the file's name, decompressed member by
//! member and frame by frame.

use std::io::{self, BufRead, BufReader, Cursor, Read};

use flate2::bufread::GzDecoder;
use liblzma::bufread::XzDecoder;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Compression {
    Gzip,
    Zstd,
    Xz,
}

impl Compression {
    pub fn name(self) -> &'static str {
        match self {
            Compression::Gzip => "gzip",
            Compression::Zstd => "zstd",
            Compression::Xz => "xz",
        }
    }
}

const GZIP: &[u8] = &[0x1f, 0x8b];
const ZSTD: &[u8] = &[0x28, 0xb5, 0x2f, 0xfd];
const XZ: &[u8] = &[0xfd, b'7', b'z', b'X', b'Z', 0];
/// A skippable frame: 0x184D2A50 to 0x184D2A5F, little-endian.
const ZSTD_SKIPPABLE: &[u8] = &[0x2a, 0x4d, 0x18];
/// Bytes that tell the compression.
pub const HEAD_BYTES: u64 = 6;
const STORED_BYTES: usize = 256 << 10;

/// The compression that content with this head has.
pub fn detect(head: &[u8]) -> Option<Compression> {
    let skippable = matches!(head, [0x50..=0x5f, rest @ ..] if rest.starts_with(ZSTD_SKIPPABLE));
    if head.starts_with(GZIP) {
        Some(Compression::Gzip)
    } else if head.starts_with(ZSTD) || skippable {
        Some(Compression::Zstd)
    } else if head.starts_with(XZ) {
        Some(Compression::Xz)
    } else {
        None
    }
}

/// Reads `stored` decompressed, if it is compressed.
pub fn decompress(
    mut stored: impl Read + Send + 'static,
) -> io::Result<(Box<dyn Read + Send>, Option<Compression>)> {
    let mut head = Vec::with_capacity(HEAD_BYTES as usize);
    stored.by_ref().take(HEAD_BYTES).read_to_end(&mut head)?;
    let compression = detect(&head);
    let whole = Cursor::new(head).chain(stored);
    let reader: Box<dyn Read + Send> = match compression {
        None => Box::new(whole),
        Some(Compression::Gzip) => Box::new(Gzip {
            state: GzipState::Start(BufReader::with_capacity(STORED_BYTES, whole)),
        }),
        Some(Compression::Zstd) => {
            let stored = BufReader::with_capacity(STORED_BYTES, whole);
            Box::new(Zstd { decoder: zstd::stream::read::Decoder::with_buffer(stored)? })
        }
        Some(Compression::Xz) => {
            let stored = BufReader::with_capacity(STORED_BYTES, whole);
            Box::new(Xz { decoder: XzDecoder::new_multi_decoder(stored) })
        }
    };
    Ok((reader, compression))
}

/// All members of a gzip file, one after the other. Zeros after the last one are padding, anything else
/// is damage.
struct Gzip<R: BufRead> {
    state: GzipState<R>,
}

enum GzipState<R: BufRead> {
    Start(R),
    Member(Box<GzDecoder<R>>),
    Done,
}

impl<R: BufRead> Read for Gzip<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if buffer.is_empty() {
            return Ok(0);
        }
        loop {
            match std::mem::replace(&mut self.state, GzipState::Done) {
                GzipState::Start(stored) => {
                    self.state = GzipState::Member(Box::new(GzDecoder::new(stored)));
                }
                GzipState::Member(mut decoder) => {
                    let count = decoder.read(buffer).map_err(gzip_error)?;
                    if count > 0 {
                        self.state = GzipState::Member(decoder);
                        return Ok(count);
                    }
                    let mut stored = decoder.into_inner();
                    if skip_zeros(&mut stored)? {
                        self.state = GzipState::Done;
                    } else if stored.fill_buf()?.first() == Some(&GZIP[0]) {
                        self.state = GzipState::Start(stored);
                    } else {
                        return Err(damaged("gzip: garbage after the last member"));
                    }
                }
                GzipState::Done => return Ok(0),
            }
        }
    }
}

/// Whether nothing follows.
fn skip_zeros(stored: &mut impl BufRead) -> io::Result<bool> {
    loop {
        let buffer = stored.fill_buf()?;
        if buffer.is_empty() {
            return Ok(true);
        }
        let zeros = buffer.iter().take_while(|byte| **byte == 0).count();
        let all = zeros == buffer.len();
        stored.consume(zeros);
        if !all {
            return Ok(false);
        }
    }
}

fn damaged(message: impl Into<String>) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, message.into())
}

fn gzip_error(error: io::Error) -> io::Error {
    match error.kind() {
        _ if error.raw_os_error().is_some() => error,
        io::ErrorKind::UnexpectedEof => damaged("gzip: the file ends inside a member: truncated"),
        _ => damaged(format!("gzip: {error}")),
    }
}

struct Zstd<R: BufRead> {
    decoder: zstd::stream::read::Decoder<'static, R>,
}

impl<R: BufRead> Read for Zstd<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.decoder.read(buffer).map_err(|error| match error.kind() {
            _ if error.raw_os_error().is_some() => error,
            io::ErrorKind::UnexpectedEof => {
                damaged("zstd: the file ends inside a frame: truncated")
            }
            _ => damaged(format!("zstd: {error}")),
        })
    }
}

struct Xz<R: BufRead> {
    decoder: XzDecoder<R>,
}

impl<R: BufRead> Read for Xz<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.decoder.read(buffer).map_err(|error| match error.kind() {
            _ if error.raw_os_error().is_some() => error,
            io::ErrorKind::UnexpectedEof => damaged("xz: the file ends inside a stream: truncated"),
            _ => damaged(format!("xz: {error}")),
        })
    }
}
