//! Compressed content: told by its magic bytes and not by the file's name, decompressed member by
//! member and frame by frame.

mod gzip;

use std::io::{self, BufRead, BufReader, Read, Seek};

use liblzma::stream::{Action, CONCATENATED, Stream};
use zstd::stream::raw::{Decoder, InBuffer, Operation, OutBuffer};

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

const ZSTD: &[u8] = &[0x28, 0xb5, 0x2f, 0xfd];
const XZ: &[u8] = &[0xfd, b'7', b'z', b'X', b'Z', 0];
/// A skippable frame: 0x184D2A50 to 0x184D2A5F, little-endian.
const ZSTD_SKIPPABLE: &[u8] = &[0x2a, 0x4d, 0x18];
/// Bytes that tell the compression.
pub const HEAD_BYTES: u64 = 10;
const STORED_BYTES: usize = 256 << 10;

/// The compression that content with this head has.
pub fn detect(head: &[u8]) -> Option<Compression> {
    let skippable = matches!(head, [0x50..=0x5f, rest @ ..] if rest.starts_with(ZSTD_SKIPPABLE));
    if head.starts_with(gzip::MAGIC) {
        Some(Compression::Gzip)
    } else if head.starts_with(ZSTD) || skippable {
        Some(Compression::Zstd)
    } else if head.starts_with(XZ) {
        Some(Compression::Xz)
    } else {
        None
    }
}

/// An error where content with this head is compressed in a way that is not read: its bytes are no rows.
pub fn check_known(head: &[u8]) -> io::Result<()> {
    // Of bzip2, the head of the file and that of its first block, or of its end.
    let is_bzip2 = match head {
        [b'B', b'Z', b'h', b'1'..=b'9', block @ ..] => {
            block.starts_with(b"1AY&SY") || block.starts_with(b"\x17rE8P\x90")
        }
        _ => false,
    };
    let name = match head {
        _ if is_bzip2 => "bzip2",
        [b'P', b'K', 3, 4, ..] => "zip",
        [4, 0x22, 0x4d, 0x18, ..] => "lz4",
        _ => return Ok(()),
    };
    Err(damaged(format!("compressed with {name}, which is not supported: decompress it first")))
}

/// Reads `stored` decompressed, if it is compressed.
pub fn decompress(
    mut stored: impl Read + Seek + Send + 'static,
) -> io::Result<(Box<dyn Read + Send>, Option<Compression>)> {
    let mut head = Vec::with_capacity(HEAD_BYTES as usize);
    stored.by_ref().take(HEAD_BYTES).read_to_end(&mut head)?;
    check_known(&head)?;
    let compression = detect(&head);
    stored.rewind()?;
    let reader: Box<dyn Read + Send> = match compression {
        None => Box::new(stored),
        Some(Compression::Gzip) => Box::new(gzip::Gzip::new(stored)),
        Some(Compression::Zstd) => Box::new(Decompressed::new(stored, Zstd::new()?)),
        Some(Compression::Xz) => Box::new(Decompressed::new(stored, Xz::new()?)),
    };
    Ok((reader, compression))
}

/// The content of `stored`. Unlike the readers of the decoders' crates it gives all that was
/// decompressed before a damage.
struct Decompressed<R, C> {
    stored: BufReader<R>,
    codec: C,
    /// Whether a member or a frame has ended, and another one may follow.
    between: bool,
    /// What comes after the bytes that were given.
    error: Option<io::Error>,
    done: bool,
}

trait Codec {
    const NAME: &'static str;
    /// What a file that is not complete ends inside of.
    const PART: &'static str;

    /// Decompresses a step; without `input`, what is left.
    fn step(&mut self, input: &[u8], output: &mut [u8]) -> Step;

    /// Begins with the next member or frame; false where nothing follows.
    fn next_part(&mut self, stored: &mut impl BufRead) -> io::Result<bool>;
}

/// What a decoder did.
struct Step {
    consumed: usize,
    produced: usize,
    /// Whether a member or a frame has ended, or what is wrong with it.
    ended: Result<bool, String>,
}

impl<R: Read, C: Codec> Decompressed<R, C> {
    fn new(stored: R, codec: C) -> Self {
        let stored = BufReader::with_capacity(STORED_BYTES, stored);
        Decompressed { stored, codec, between: false, error: None, done: false }
    }

    fn advance(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.between {
            self.done = !self.codec.next_part(&mut self.stored)?;
            self.between = false;
            if self.done {
                return Ok(0);
            }
        }
        let input = self.stored.fill_buf()?;
        let is_end = input.is_empty();
        let step = self.codec.step(input, buffer);
        self.stored.consume(step.consumed);
        let is_stuck = step.produced == 0 && (is_end || step.consumed == 0);
        match step.ended {
            Ok(true) => self.between = true,
            Ok(false) if is_stuck => {
                let (name, part) = (C::NAME, C::PART);
                let message = format!("{name}: the file ends inside a {part}: truncated");
                self.error = Some(damaged(message));
            }
            Ok(false) => {}
            Err(message) => self.error = Some(damaged(format!("{}: {message}", C::NAME))),
        }
        Ok(step.produced)
    }
}

impl<R: Read, C: Codec> Read for Decompressed<R, C> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if buffer.is_empty() {
            return Ok(0);
        }
        while !self.done {
            if let Some(error) = self.error.take() {
                self.done = true;
                return Err(error);
            }
            let count = self.advance(buffer)?;
            if count > 0 {
                return Ok(count);
            }
        }
        Ok(0)
    }
}

/// All frames of a zstd file.
struct Zstd {
    decoder: Decoder<'static>,
    /// Bytes that it asks for: to the end of a block. With more, a damage in a later block would hide
    /// what was decompressed of those before.
    hint: usize,
}

/// What the head of a frame has at least.
const FRAME_HEAD: usize = 5;

impl Zstd {
    fn new() -> io::Result<Self> {
        Ok(Zstd { decoder: Decoder::new()?, hint: FRAME_HEAD })
    }
}

impl Codec for Zstd {
    const NAME: &'static str = "zstd";
    const PART: &'static str = "frame";

    fn step(&mut self, input: &[u8], output: &mut [u8]) -> Step {
        let mut input = InBuffer::around(&input[..input.len().min(self.hint)]);
        let mut output = OutBuffer::around(output);
        let hint = self.decoder.run(&mut input, &mut output);
        let ended = hint.map_err(|error| error.to_string()).map(|hint| {
            self.hint = if hint == 0 { FRAME_HEAD } else { hint };
            hint == 0
        });
        Step { consumed: input.pos(), produced: output.pos(), ended }
    }

    fn next_part(&mut self, stored: &mut impl BufRead) -> io::Result<bool> {
        if stored.fill_buf()?.is_empty() {
            return Ok(false);
        }
        self.decoder.reinit()?;
        Ok(true)
    }
}

/// All streams of an xz file.
struct Xz {
    stream: Stream,
}

/// Far more than the highest preset takes.
const XZ_MEMORY: u64 = 512 << 20;

impl Xz {
    fn new() -> io::Result<Self> {
        Ok(Xz { stream: Stream::new_auto_decoder(XZ_MEMORY, CONCATENATED)? })
    }
}

impl Codec for Xz {
    const NAME: &'static str = "xz";
    const PART: &'static str = "stream";

    fn step(&mut self, input: &[u8], output: &mut [u8]) -> Step {
        let (read, written) = (self.stream.total_in(), self.stream.total_out());
        let action = if input.is_empty() { Action::Finish } else { Action::Run };
        let status = self.stream.process(input, output, action);
        Step {
            consumed: size(self.stream.total_in() - read),
            produced: size(self.stream.total_out() - written),
            ended: match status {
                Ok(status) => Ok(status == liblzma::stream::Status::StreamEnd),
                Err(error) => Err(error.to_string()),
            },
        }
    }

    fn next_part(&mut self, stored: &mut impl BufRead) -> io::Result<bool> {
        Ok(!stored.fill_buf()?.is_empty())
    }
}

fn size(count: u64) -> usize {
    usize::try_from(count).unwrap_or(usize::MAX)
}

fn damaged(message: impl Into<String>) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, message.into())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::io::{Cursor, Write};

    use super::*;

    fn gzip(content: &[u8]) -> Vec<u8> {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        encoder.write_all(content).unwrap();
        encoder.finish().unwrap()
    }

    /// With a checksum, as the command writes them: without one, a damage need not be seen.
    fn zstd(content: &[u8]) -> Vec<u8> {
        let mut encoder = zstd::stream::write::Encoder::new(Vec::new(), 1).unwrap();
        encoder.include_checksum(true).unwrap();
        encoder.write_all(content).unwrap();
        encoder.finish().unwrap()
    }

    fn xz(content: &[u8]) -> Vec<u8> {
        let mut encoder = liblzma::write::XzEncoder::new(Vec::new(), 1);
        encoder.write_all(content).unwrap();
        encoder.finish().unwrap()
    }

    /// What is read in pieces, and the error after it.
    fn read(stored: Vec<u8>, piece: usize) -> (Vec<u8>, Option<String>) {
        let (mut reader, _) = decompress(Cursor::new(stored)).unwrap();
        let (mut content, mut buffer) = (Vec::new(), vec![0; piece]);
        loop {
            match reader.read(&mut buffer) {
                Ok(0) => return (content, None),
                Ok(count) => content.extend_from_slice(&buffer[..count]),
                Err(error) => return (content, Some(error.to_string())),
            }
        }
    }

    /// Text that does not compress well, so that it is many blocks.
    fn text() -> Vec<u8> {
        let mut state = 1u64;
        (0..2_000_000)
            .map(|_| {
                state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                b'a' + ((state >> 60) as u8)
            })
            .collect()
    }

    #[test]
    fn parts_follow_each_other() {
        for compress in [gzip, zstd, xz] {
            let parts = [compress(b"ab"), compress(b""), compress(&text())].concat();
            for piece in [1 << 20, 1000] {
                assert_eq!(read(parts.clone(), piece), ([&b"ab"[..], &text()].concat(), None));
            }
            let (content, error) = read([compress(b"ab"), b"garbage".to_vec()].concat(), 100);
            assert_eq!(content, b"ab");
            assert!(error.is_some());
        }
        assert_eq!(read([gzip(b"ab"), vec![0; 9]].concat(), 5), (b"ab".to_vec(), None));
    }

    #[test]
    fn other_compressions_are_refused() {
        for (head, name) in [
            (&b"BZh91AY&SY\x01"[..], "bzip2"),
            (b"BZh9\x17rE8P\x90\x00", "bzip2"),
            (b"PK\x03\x04\x14\x00", "zip"),
            (b"\x04\x22\x4d\x18d@", "lz4"),
        ] {
            let error = decompress(Cursor::new(head.to_vec())).err().unwrap();
            assert!(error.to_string().contains(name), "{error}");
        }
        for text in [&b"BZh9 is a magic"[..], b"PK", b"BZh"] {
            assert_eq!(read(text.to_vec(), 100), (text.to_vec(), None));
        }
    }

    #[test]
    fn heads_of_gzip_members_are_skipped() {
        let member = |builder: flate2::GzBuilder| {
            let mut encoder = builder.write(Vec::new(), flate2::Compression::best());
            encoder.write_all(b"abc").unwrap();
            encoder.finish().unwrap()
        };
        let named = member(flate2::GzBuilder::new().filename("a.txt").comment("b").extra("cd"));
        let plain = member(flate2::GzBuilder::new());
        // With a checksum of the head, which is 5 bytes longer then: of a file of 1 byte, stored.
        let checked = [
            &[0x1f, 0x8b, 8, 2, 0, 0, 0, 0, 0, 255, 0x61, 0xd0, 1, 1, 0, 0xfe, 0xff, b'a'][..],
            &[0x43, 0xbe, 0xb7, 0xe8, 1, 0, 0, 0],
        ]
        .concat();
        let (content, error) = read([&named[..], &plain, &named].concat(), 100);
        assert_eq!((&content[..], error), (&b"abcabcabc"[..], None));
        let expected = flate2::read::MultiGzDecoder::new(&checked[..]).read_to_end(&mut Vec::new());
        let (content, error) = read([&plain[..], &checked].concat(), 100);
        assert_eq!(error.is_none(), expected.is_ok(), "{error:?} {expected:?}");
        assert!(content.starts_with(b"abc"));
        for length in 0..named.len() {
            let (content, error) = read([&plain[..], &named[..length]].concat(), 100);
            assert!(content.starts_with(b"abc"));
            assert_eq!(error.is_some(), length > 0, "{length}");
        }
    }

    #[test]
    fn gzip_of_every_level_and_length_is_whole() {
        let text = text();
        for level in [0, 1, 6, 9] {
            for length in [0, 1, 7, 1000, 32 << 10, 400_000] {
                let compression = flate2::Compression::new(level);
                let mut encoder = flate2::write::GzEncoder::new(Vec::new(), compression);
                // Both what repeats and what does not.
                let content = [&text[..length], &[b'x'; 100][..length.min(100)]].concat();
                encoder.write_all(&content).unwrap();
                let member = encoder.finish().unwrap();
                let twice = [&content[..], &content].concat();
                let both = [&member[..], &member].concat();
                assert_eq!(read(both.clone(), 10_000), (twice.clone(), None));
                let mut fast = gzip::Gzip::new(Cursor::new(both));
                let mut found = Vec::new();
                fast.read_to_end(&mut found).unwrap();
                assert_eq!(found, twice);
                assert!(fast.is_fast(), "level {level}, {length} bytes");
                for place in [8, 6, 2] {
                    // A byte too many in front of the trailer, and in it.
                    let mut longer = member.clone();
                    longer.insert(longer.len() - place, 0x7d);
                    let (found, error) = read(longer, 10_000);
                    assert_eq!(found, content);
                    assert!(error.unwrap().starts_with("gzip: "), "{place}");
                }
                let mut wrong = member;
                let last = wrong.len() - 6;
                wrong[last] ^= 1;
                let (found, error) = read(wrong, 10_000);
                assert_eq!(found, content);
                assert!(error.unwrap().starts_with("gzip: "));
            }
        }
    }

    #[test]
    fn nothing_is_repeated_from_the_member_before() {
        // A match at the start of a member: of length 3 and distance 1, in fixed codes.
        let mut stored = gzip(b"abcdefgh".repeat(5000).as_slice());
        let mut member = vec![0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 255];
        member.extend([0x03, 0x02, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
        stored.extend(member);
        let (content, error) = read(stored, 1 << 20);
        assert_eq!(content, b"abcdefgh".repeat(5000));
        assert!(error.is_some());
    }

    #[test]
    fn what_comes_before_a_damage_is_given() {
        let text = text();
        // A block of these is at most 128 KB of content; of LZMA2, 2 MB.
        for (compress, lost) in [(gzip as fn(&[u8]) -> _, 64 << 10), (zstd, 300 << 10)] {
            let sound = compress(&text);
            let middle = sound.len() / 2;
            let cut = read(sound[..middle].to_vec(), 256 << 10);
            assert!(cut.1.unwrap().contains("truncated"));
            let mut broken = sound;
            broken[middle..middle + 200].fill(0xff);
            let (content, error) = read(broken, 256 << 10);
            assert!(error.is_some());
            for content in [content, cut.0] {
                let same = content.iter().zip(&text).take_while(|(a, b)| a == b).count();
                assert!(same + lost > text.len() / 2, "{same}");
            }
        }
    }
}
