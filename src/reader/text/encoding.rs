//! Text in other encodings than UTF-8, and text that is damaged.

use std::borrow::Cow;
use std::io::{self, Read};

use encoding_rs::{Decoder, DecoderResult, UTF_16BE, UTF_16LE, WINDOWS_1252};

use crate::error::{ReadError, Result};
use crate::options::Options;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Encoding {
    Utf8,
    /// A mark at the start is left out.
    Utf8Sig,
    Ascii,
    Latin1,
    Windows1252,
    /// By its mark.
    Utf16,
    /// By its mark; little-endian without.
    Utf16AnyStart,
    Utf16Le,
    Utf16Be,
}

/// What becomes of bytes that are no text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum OnError {
    Strict,
    Replace,
    Ignore,
}

impl Encoding {
    /// What `bytes.decode` makes of it: unlike a file that is opened as text, UTF-16 may lack its mark.
    pub fn of_bytes(self) -> Self {
        if self == Encoding::Utf16 { Encoding::Utf16AnyStart } else { self }
    }
}

/// The options `encoding` and `encoding_errors`, by Python's names.
pub(crate) fn from_options(options: &mut Options) -> Result<(Encoding, OnError)> {
    let name = options.take_str("encoding")?;
    let encoding = match &name {
        None => Encoding::Utf8,
        Some(name) => by_name(name).ok_or_else(|| {
            ReadError::unsupported(format!("encoding={name:?} is read by Python's codecs only"))
        })?,
    };
    let on_error = match options.take_str("encoding_errors")?.as_deref() {
        None | Some("strict") => OnError::Strict,
        Some("replace") => OnError::Replace,
        Some("ignore") => OnError::Ignore,
        Some(other) => {
            return Err(ReadError::unsupported(format!(
                "encoding_errors={other:?} is read by Python's codecs only"
            )));
        }
    };
    Ok((encoding, on_error))
}

/// Only encodings that mean the same in Python and in the WHATWG's standard, or are simple.
fn by_name(name: &str) -> Option<Encoding> {
    let name: String = name
        .chars()
        .map(|letter| if matches!(letter, '_' | ' ') { '-' } else { letter.to_ascii_lowercase() })
        .collect();
    Some(match name.as_str() {
        "utf-8" | "utf8" | "u8" | "utf" | "cp65001" => Encoding::Utf8,
        "utf-8-sig" => Encoding::Utf8Sig,
        "ascii" | "us-ascii" | "646" => Encoding::Ascii,
        "latin-1" | "latin1" | "iso-8859-1" | "iso8859-1" | "8859" | "cp819" | "latin" | "l1" => {
            Encoding::Latin1
        }
        "cp1252" | "windows-1252" | "1252" => Encoding::Windows1252,
        "utf-16" | "utf16" | "u16" => Encoding::Utf16,
        "utf-16-le" | "utf-16le" => Encoding::Utf16Le,
        "utf-16-be" | "utf-16be" => Encoding::Utf16Be,
        _ => return None,
    })
}

/// Bytes as text. An error says at which of the bytes.
pub(crate) fn utf8(data: &[u8], on_error: OnError) -> Result<Cow<'_, str>> {
    if let Ok(text) = simdutf8::basic::from_utf8(data) {
        return Ok(Cow::Borrowed(text));
    }
    match on_error {
        OnError::Strict => match simdutf8::compat::from_utf8(data) {
            Ok(text) => Ok(Cow::Borrowed(text)),
            Err(error) => Err(invalid(data, error.valid_up_to(), error.error_len().is_none())),
        },
        OnError::Replace => Ok(String::from_utf8_lossy(data)),
        OnError::Ignore => Ok(Cow::Owned(data.utf8_chunks().map(|chunk| chunk.valid()).collect())),
    }
}

/// The text before the damage, and the error; the text alone if it is sound.
pub(crate) fn sound_part(data: &[u8], on_error: OnError) -> (Cow<'_, str>, Option<ReadError>) {
    match utf8(data, on_error) {
        Ok(text) => (text, None),
        Err(error) => {
            let at = error.place.byte.and_then(|at| usize::try_from(at).ok()).unwrap_or(0);
            let before = data.get(..at).unwrap_or_default();
            (Cow::Borrowed(std::str::from_utf8(before).unwrap_or_default()), Some(error))
        }
    }
}

fn invalid(data: &[u8], at: usize, cut: bool) -> ReadError {
    let byte = data.get(at).copied().unwrap_or_default();
    let cause = match byte {
        _ if cut => "unexpected end of data",
        0x80..=0xc1 | 0xf5.. => "invalid start byte",
        _ => "invalid continuation byte",
    };
    ReadError::damaged(format!("not UTF-8: byte {byte:#04x} can't be decoded ({cause})"))
        .at_byte(at as u64)
}

/// Content as UTF-8, whatever it is in.
pub(crate) fn transcode(
    input: Box<dyn Read + Send>,
    encoding: Encoding,
    on_error: OnError,
) -> Box<dyn Read + Send> {
    let state = match encoding {
        Encoding::Utf8 => return input,
        Encoding::Utf8Sig => State::Mark,
        Encoding::Ascii => State::Ascii,
        Encoding::Latin1 => State::Latin1,
        Encoding::Windows1252 => State::Decoder(WINDOWS_1252.new_decoder_without_bom_handling()),
        Encoding::Utf16 => State::Utf16 { needs_mark: true },
        Encoding::Utf16AnyStart => State::Utf16 { needs_mark: false },
        Encoding::Utf16Le => State::Decoder(UTF_16LE.new_decoder_without_bom_handling()),
        Encoding::Utf16Be => State::Decoder(UTF_16BE.new_decoder_without_bom_handling()),
    };
    let windows = encoding == Encoding::Windows1252;
    let raw = vec![0; 64 << 10];
    Box::new(Transcoder {
        input,
        state,
        on_error,
        windows,
        raw,
        text: Vec::new(),
        at: 0,
        position: 0,
    })
}

enum State {
    /// UTF-8 after a mark that may be there.
    Mark,
    Utf16 {
        needs_mark: bool,
    },
    Ascii,
    Latin1,
    Decoder(Decoder),
    /// Nothing to decode any more.
    Plain,
    Done,
}

struct Transcoder {
    input: Box<dyn Read + Send>,
    state: State,
    on_error: OnError,
    /// Bytes that Windows-1252 has no character for are errors in Python.
    windows: bool,
    raw: Vec<u8>,
    text: Vec<u8>,
    at: usize,
    position: u64,
}

impl Read for Transcoder {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.at == self.text.len() {
            match self.state {
                State::Plain => return self.input.read(buffer),
                State::Done => return Ok(0),
                _ => self.refill()?,
            }
        }
        let pending = self.text.get(self.at..).unwrap_or_default();
        let count = pending.len().min(buffer.len());
        if let (Some(to), Some(from)) = (buffer.get_mut(..count), pending.get(..count)) {
            to.copy_from_slice(from);
        }
        self.at += count;
        Ok(count)
    }
}

impl Transcoder {
    fn refill(&mut self) -> io::Result<()> {
        self.text.clear();
        self.at = 0;
        if let Some(mark) = match self.state {
            State::Mark => Some(3),
            State::Utf16 { .. } => Some(2),
            _ => None,
        } {
            return self.start(mark);
        }
        let count = loop {
            match self.input.read(&mut self.raw) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                result => break result?,
            }
        };
        let mut raw = std::mem::take(&mut self.raw);
        let result = self.decode(raw.get(..count).unwrap_or_default(), count == 0);
        self.raw = std::mem::take(&mut raw);
        self.position += count as u64;
        if count == 0 {
            self.state = State::Done;
        }
        result
    }

    fn start(&mut self, mark: u64) -> io::Result<()> {
        let mut head = Vec::new();
        self.input.by_ref().take(mark).read_to_end(&mut head)?;
        let (state, rest): (State, &[u8]) = match (&self.state, head.as_slice()) {
            (State::Mark, [0xef, 0xbb, 0xbf]) => (State::Plain, &[]),
            (State::Mark, head) => (State::Plain, head),
            (_, [0xfe, 0xff]) => (State::Decoder(UTF_16BE.new_decoder_without_bom_handling()), &[]),
            (_, [0xff, 0xfe]) => (State::Decoder(UTF_16LE.new_decoder_without_bom_handling()), &[]),
            (State::Utf16 { needs_mark: true }, [_, _]) => {
                let message = "UTF-16 without a mark at its start: say utf-16-le or utf-16-be";
                return Err(io::Error::new(io::ErrorKind::InvalidData, message));
            }
            (_, head) => (State::Decoder(UTF_16LE.new_decoder_without_bom_handling()), head),
        };
        self.state = state;
        self.position = head.len() as u64;
        match self.state {
            State::Plain => self.text.extend_from_slice(rest),
            _ => self.decode(rest, false)?,
        }
        Ok(())
    }

    fn decode(&mut self, raw: &[u8], last: bool) -> io::Result<()> {
        match &mut self.state {
            State::Latin1 => {
                let text: String = raw.iter().map(|byte| char::from(*byte)).collect();
                self.text.extend_from_slice(text.as_bytes());
                Ok(())
            }
            State::Ascii => self.one_by_one(raw, |byte| byte.is_ascii()),
            State::Decoder(_) if self.windows => {
                let undefined = |byte: u8| matches!(byte, 0x81 | 0x8d | 0x8f | 0x90 | 0x9d);
                if raw.iter().any(|byte| undefined(*byte)) {
                    return self.one_by_one(raw, |byte| !undefined(byte));
                }
                self.decode_known(raw, last)
            }
            _ => self.decode_known(raw, last),
        }
    }

    /// Single bytes, some of which mean nothing.
    fn one_by_one(&mut self, raw: &[u8], is_text: impl Fn(u8) -> bool) -> io::Result<()> {
        for (index, byte) in raw.iter().enumerate() {
            if is_text(*byte) {
                if byte.is_ascii() {
                    self.text.push(*byte);
                } else {
                    self.decode_known(&[*byte], false)?;
                }
            } else {
                self.malformed(index)?;
            }
        }
        Ok(())
    }

    fn malformed(&mut self, index: usize) -> io::Result<()> {
        match self.on_error {
            OnError::Strict => {
                let at = self.position + index as u64;
                let message =
                    format!("byte {at} of the file can't be decoded in the encoding given");
                Err(io::Error::new(io::ErrorKind::InvalidData, message))
            }
            OnError::Replace => {
                self.text.extend_from_slice("\u{fffd}".as_bytes());
                Ok(())
            }
            OnError::Ignore => Ok(()),
        }
    }

    fn decode_known(&mut self, raw: &[u8], last: bool) -> io::Result<()> {
        let mut used = 0;
        loop {
            let rest = raw.get(used..).unwrap_or_default();
            let filled = self.text.len();
            self.text.resize(filled + rest.len() * 3 + 16, 0);
            let State::Decoder(decoder) = &mut self.state else { return Ok(()) };
            let room = self.text.get_mut(filled..).unwrap_or_default();
            let (result, read, written) =
                decoder.decode_to_utf8_without_replacement(rest, room, last);
            used += read;
            self.text.truncate(filled + written);
            match result {
                DecoderResult::InputEmpty => return Ok(()),
                DecoderResult::OutputFull => {}
                DecoderResult::Malformed(..) => self.malformed(used)?,
            }
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn read(data: &[u8], name: &str, on_error: OnError) -> io::Result<String> {
        let input = Box::new(io::Cursor::new(data.to_vec()));
        let mut text = String::new();
        transcode(input, by_name(name).unwrap(), on_error).read_to_string(&mut text)?;
        Ok(text)
    }

    #[test]
    fn utf_16_without_a_mark() {
        let data = &b"a\0\xe9\0"[..];
        assert!(read(data, "utf-16", OnError::Replace).unwrap_err().to_string().contains("mark"));
        assert_eq!(read(b"", "utf-16", OnError::Strict).unwrap(), "");
        let mut text = String::new();
        let encoding = by_name("utf-16").unwrap().of_bytes();
        transcode(Box::new(data), encoding, OnError::Strict).read_to_string(&mut text).unwrap();
        assert_eq!(text, "aé");
    }

    #[test]
    fn encodings() {
        let strict = OnError::Strict;
        assert_eq!(read(b"caf\xe9\x80", "latin-1", strict).unwrap(), "café\u{80}");
        assert_eq!(read(b"caf\xe9\x80", "cp1252", strict).unwrap(), "café€");
        assert_eq!(read(b"\xff\xfea\0\xe9\0", "utf-16", strict).unwrap(), "aé");
        assert_eq!(read(b"\xfe\xff\0a\0\xe9", "UTF_16", strict).unwrap(), "aé");
        assert_eq!(read(b"\xef\xbb\xbfa", "utf-8-sig", strict).unwrap(), "a");
        assert_eq!(read(b"ab", "utf-8-sig", strict).unwrap(), "ab");
    }

    #[test]
    fn what_is_no_text() {
        assert!(read(b"caf\xe9", "ascii", OnError::Strict).is_err());
        assert_eq!(read(b"caf\xe9!", "ascii", OnError::Replace).unwrap(), "caf\u{fffd}!");
        assert_eq!(read(b"caf\xe9!", "ascii", OnError::Ignore).unwrap(), "caf!");
        assert!(read(b"a\x81", "cp1252", OnError::Strict).is_err());
        assert_eq!(read(b"\xe9\x81b", "cp1252", OnError::Replace).unwrap(), "é\u{fffd}b");
        assert!(read(b"\xff\xfea", "utf-16", OnError::Strict).is_err());
        assert!(read(b"\xff\xfe\0\xd8a\0", "utf-16", OnError::Strict).is_err());
    }

    #[test]
    fn damaged_utf8() {
        let error = utf8(b"ok\ncaf\xe9\n", OnError::Strict).unwrap_err();
        assert_eq!(error.place.byte, Some(6));
        assert_eq!(utf8(b"caf\xe9", OnError::Replace).unwrap(), "caf\u{fffd}");
        assert_eq!(utf8(b"caf\xe9!", OnError::Ignore).unwrap(), "caf!");
        assert_eq!(sound_part(b"ok\ncaf\xe9\n", OnError::Strict).0, "ok\ncaf");
    }
}
