//! gzip (RFC 1952): a fast decoder as far as all is well, and one that says how far it got where it is not.

use std::io::{self, BufRead, BufReader, Read, Seek, SeekFrom};

use crc32fast::Hasher;
use flate2::{Decompress, FlushDecompress};

use crate::guard::guarded;

use super::{Codec, Decompressed, STORED_BYTES, Step, damaged, size};

pub const MAGIC: &[u8] = &[0x1f, 0x8b];

/// The content of a gzip file, member by member.
///
/// fdeflate is a quarter faster than zlib, but tells neither what is wrong with a member nor what it made
/// of it before. Where it finds a fault, or is unsure, zlib reads that member again: it has the last word.
pub struct Gzip<R> {
    state: State<R>,
}

enum State<R> {
    Fast(Box<Fast<R>>),
    Careful(Decompressed<R, Zlib>),
    Done,
}

impl<R: Read + Seek> Gzip<R> {
    pub fn new(stored: R) -> Self {
        let stored = BufReader::with_capacity(STORED_BYTES, stored);
        Gzip { state: State::Fast(Box::new(Fast::new(stored))) }
    }
}

impl<R: Read + Seek> Read for Gzip<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            match &mut self.state {
                State::Fast(fast) => {
                    if let Ok(Some(count)) = guarded(|| Ok(fast.read(buffer))) {
                        return Ok(count);
                    }
                    let State::Fast(fast) = std::mem::replace(&mut self.state, State::Done) else {
                        return Ok(0);
                    };
                    self.state = State::Careful(fast.carefully()?);
                }
                State::Careful(careful) => return careful.read(buffer),
                State::Done => return Ok(0),
            }
        }
    }
}

/// How far back content is repeated from.
const WINDOW: usize = 32 << 10;
/// Content made at a time. Fits into the cache of a core.
const PIECE: usize = 256 << 10;
/// And at first: who asks for the format of a file needs no more.
const FIRST_PIECE: usize = 4 << 10;
/// The head of a zlib stream: fdeflate expects one.
const ZLIB_HEAD: &[u8] = &[0x78, 0x01];
/// The checksum of a member and its length, which end it.
const TRAILER: usize = 8;
/// How much of the trailer fdeflate takes: as much as the checksum of a zlib stream, and three bytes more
/// that it holds of what it is given. Less where it was given less, which it does not tell.
const TAKEN: usize = 4 + 3;

/// As far as all is well.
struct Fast<R> {
    stored: BufReader<R>,
    /// `None` between members.
    member: Option<Member>,
    /// Where the member starts in the file, and how much of its content was given.
    start: u64,
    given: u64,
    /// The window and the content after it: made up to `made`, given up to `taken`.
    content: Vec<u8>,
    made: usize,
    taken: usize,
}

struct Member {
    inflate: fdeflate::Decompressor,
    checksum: Hasher,
    length: u32,
    /// What was consumed last, and whether more was given.
    consumed: [u8; TAKEN],
    had_more: bool,
}

impl<R: Read + Seek> Fast<R> {
    fn new(stored: BufReader<R>) -> Self {
        let content = vec![0; FIRST_PIECE];
        Fast { stored, member: None, start: 0, given: 0, content, made: 0, taken: 0 }
    }

    /// `None` where zlib is to say what is there.
    fn read(&mut self, buffer: &mut [u8]) -> Option<usize> {
        if buffer.is_empty() {
            return Some(0);
        }
        while self.taken == self.made {
            match &self.member {
                None => {
                    if !self.next_member()? {
                        return Some(0);
                    }
                }
                Some(member) if member.inflate.is_done() => self.end_member()?,
                Some(_) => self.inflate()?,
            }
        }
        let count = buffer.len().min(self.made - self.taken);
        let end = self.taken + count;
        buffer.get_mut(..count)?.copy_from_slice(self.content.get(self.taken..end)?);
        self.taken = end;
        self.given += count as u64;
        Some(count)
    }

    /// Begins with the next member; false where nothing follows.
    fn next_member(&mut self) -> Option<bool> {
        self.start = self.stored.stream_position().ok()?;
        self.given = 0;
        if skip_zeros(&mut self.stored).ok()? {
            return Some(false);
        }
        skip_header(&mut self.stored)?;
        let mut inflate = fdeflate::Decompressor::new();
        inflate.ignore_adler32();
        // From the start: nothing is repeated from the member before.
        (self.made, self.taken) = (0, 0);
        let (consumed, _) = inflate.read(ZLIB_HEAD, &mut self.content, 0, false).ok()?;
        self.member = Some(Member {
            inflate,
            checksum: Hasher::new(),
            length: 0,
            consumed: [0; TAKEN],
            had_more: false,
        });
        (consumed == ZLIB_HEAD.len()).then_some(true)
    }

    fn inflate(&mut self) -> Option<()> {
        let member = self.member.as_mut()?;
        if self.content.len() < WINDOW + PIECE && self.made > 0 {
            self.content.resize(WINDOW + PIECE, 0);
        } else if self.made == self.content.len() {
            self.content.copy_within(self.made - WINDOW.., 0);
            (self.made, self.taken) = (WINDOW, WINDOW);
        }
        let input = self.stored.fill_buf().ok()?;
        let (consumed, made) =
            member.inflate.read(input, &mut self.content, self.made, false).ok()?;
        if consumed == 0 && made == 0 {
            return None;
        }
        member.remember(input.get(..consumed)?);
        member.had_more = consumed < input.len();
        self.stored.consume(consumed);
        member.checksum.update(self.content.get(self.made..self.made + made)?);
        // Modulo 2^32, as the trailer has it.
        member.length = member.length.wrapping_add(u32::try_from(made).ok()?);
        self.made += made;
        Some(())
    }

    fn end_member(&mut self) -> Option<()> {
        let member = self.member.take()?;
        let expected = [member.checksum.finalize(), member.length].map(u32::to_le_bytes).concat();
        let (begun, rest) = expected.split_at(TAKEN);
        let mut found = [0; TRAILER - TAKEN];
        self.stored.read_exact(&mut found).ok()?;
        (member.had_more && member.consumed == *begun && found == *rest).then_some(())
    }

    /// The same content from where it was given to, and then what is wrong with it.
    fn carefully(self) -> io::Result<Decompressed<R, Zlib>> {
        let mut stored = self.stored.into_inner();
        stored.seek(SeekFrom::Start(self.start))?;
        let mut careful = Decompressed::new(stored, Zlib::new());
        careful.between = true;
        io::copy(&mut careful.by_ref().take(self.given), &mut io::sink())?;
        Ok(careful)
    }
}

impl Member {
    fn remember(&mut self, consumed: &[u8]) {
        let count = consumed.len().min(TAKEN);
        self.consumed.rotate_left(count);
        self.consumed[TAKEN - count..].copy_from_slice(&consumed[consumed.len() - count..]);
    }
}

/// Skips the head of a member; `None` for one that is damaged, or that has a checksum of its own.
fn skip_header(stored: &mut impl BufRead) -> Option<()> {
    const DEFLATE: u8 = 8;
    const TEXT: u8 = 1;
    const EXTRA: u8 = 1 << 2;
    const NAME: u8 = 1 << 3;
    const COMMENT: u8 = 1 << 4;
    let mut header = [0; 10];
    stored.read_exact(&mut header).ok()?;
    let flags = header[3];
    let is_known = flags & !(TEXT | EXTRA | NAME | COMMENT) == 0;
    if !header.starts_with(MAGIC) || header[2] != DEFLATE || !is_known {
        return None;
    }
    if flags & EXTRA != 0 {
        let mut length = [0; 2];
        stored.read_exact(&mut length).ok()?;
        let length = u64::from(u16::from_le_bytes(length));
        let skipped = io::copy(&mut stored.by_ref().take(length), &mut io::sink()).ok()?;
        (skipped == length).then_some(())?;
    }
    for text in [NAME, COMMENT] {
        if flags & text != 0 {
            stored.skip_until(0).ok()?;
        }
    }
    Some(())
}

#[cfg(test)]
impl<R> Gzip<R> {
    /// Whether zlib was not asked.
    pub fn is_fast(&self) -> bool {
        matches!(self.state, State::Fast(_))
    }
}

/// All members of a gzip file by zlib. Zeros after the last one are padding, anything else is damage.
struct Zlib {
    inflate: Decompress,
}

/// The largest window that there is.
const WINDOW_BITS: u8 = 15;

impl Zlib {
    fn new() -> Self {
        Zlib { inflate: Decompress::new_gzip(WINDOW_BITS) }
    }
}

impl Codec for Zlib {
    const NAME: &'static str = "gzip";
    const PART: &'static str = "member";

    fn step(&mut self, input: &[u8], output: &mut [u8]) -> Step {
        let (read, written) = (self.inflate.total_in(), self.inflate.total_out());
        let status = self.inflate.decompress(input, output, FlushDecompress::None);
        Step {
            consumed: size(self.inflate.total_in() - read),
            produced: size(self.inflate.total_out() - written),
            ended: match status {
                Ok(status) => Ok(status == flate2::Status::StreamEnd),
                Err(error) => Err(error.to_string()),
            },
        }
    }

    fn next_part(&mut self, stored: &mut impl BufRead) -> io::Result<bool> {
        if skip_zeros(stored)? {
            return Ok(false);
        }
        if stored.fill_buf()?.first() != Some(&MAGIC[0]) {
            return Err(damaged("gzip: garbage after the last member"));
        }
        *self = Zlib::new();
        Ok(true)
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
