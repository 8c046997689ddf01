//! `repr` of str and bytes.

use crate::Written;
use crate::printable::Printable;
use crate::text::Text;

/// What a text holds.
#[derive(Clone, Copy, Default)]
struct Found {
    single: bool,
    double: bool,
    /// A backslash, a control character or DEL.
    escaped: bool,
    /// A byte that is not ASCII.
    high: bool,
}

#[inline(always)]
fn scan(bytes: &[u8]) -> Found {
    let [mut single, mut double, mut escaped, mut high] = [0u8; 4];
    // Branch-free, so that the compiler makes vectors of it.
    for &byte in bytes {
        single |= u8::from(byte == b'\'');
        double |= u8::from(byte == b'"');
        escaped |= u8::from(byte < b' ') | u8::from(byte == b'\\') | u8::from(byte == 0x7f);
        high |= byte & 0x80;
    }
    Found { single: single != 0, double: double != 0, escaped: escaped != 0, high: high != 0 }
}

impl Found {
    /// Double quotes only where they save an escape.
    fn quote(self) -> u8 {
        if self.single && !self.double { b'"' } else { b'\'' }
    }

    fn needs_escapes(self) -> bool {
        self.escaped || (self.single && self.double)
    }
}

/// Writes the `repr` of a str, given as UTF-8; None where it is none.
pub fn write_str(bytes: &[u8], printable: &Printable, text: &mut Text) -> Written {
    let found = scan(bytes);
    let quote = found.quote();
    if found.high {
        simdutf8::basic::from_utf8(bytes).ok()?;
        text.push(&[quote]);
        write_unicode(bytes, quote, printable, text)?;
    } else {
        text.push(&[quote]);
        match found.needs_escapes() {
            false => text.push(bytes),
            true => write_escaped(bytes, quote, text),
        }
    }
    text.push(&[quote]);
    Some(())
}

/// Writes the `repr` of a bytes object.
pub fn write_bytes(bytes: &[u8], text: &mut Text) {
    let found = scan(bytes);
    let quote = found.quote();
    text.push(&[b'b', quote]);
    match found.needs_escapes() || found.high {
        false => text.push(bytes),
        true => write_escaped(bytes, quote, text),
    }
    text.push(&[quote]);
}

#[inline(always)]
fn is_plain(byte: u8, quote: u8) -> bool {
    (b' '..0x7f).contains(&byte) && byte != b'\\' && byte != quote
}

/// How many bytes from the start on stand for themselves.
#[inline(always)]
fn plain_run(bytes: &[u8], quote: u8) -> usize {
    let mut run = 0;
    for block in bytes.as_chunks::<16>().0 {
        // Branch-free over a block.
        let plain = block.iter().fold(true, |plain, &byte| plain & is_plain(byte, quote));
        if !plain {
            break;
        }
        run += 16;
    }
    run + bytes[run..].iter().take_while(|&&byte| is_plain(byte, quote)).count()
}

fn write_escaped(mut bytes: &[u8], quote: u8, text: &mut Text) {
    loop {
        let (plain, rest) = bytes.split_at(plain_run(bytes, quote));
        text.push(plain);
        let Some((&byte, rest)) = rest.split_first() else {
            return;
        };
        push_escape(byte, text);
        bytes = rest;
    }
}

const HEX: &[u8; 16] = b"0123456789abcdef";

/// Quotes and backslashes, control characters, and bytes beyond ASCII.
fn push_escape(byte: u8, text: &mut Text) {
    match byte {
        b'\n' => text.push(b"\\n"),
        b'\r' => text.push(b"\\r"),
        b'\t' => text.push(b"\\t"),
        b'\'' | b'"' | b'\\' => text.push(&[b'\\', byte]),
        byte => {
            text.push(&[b'\\', b'x', HEX[usize::from(byte >> 4)], HEX[usize::from(byte & 15)]]);
        }
    }
}

fn push_unicode_escape(character: u32, text: &mut Text) {
    let (letter, digits) = match character {
        0..=0xff => (b'x', 2),
        0x100..=0xffff => (b'u', 4),
        _ => (b'U', 8),
    };
    text.push(&[b'\\', letter]);
    for digit in (0..digits).rev() {
        text.push(&[HEX[(character >> (4 * digit) & 15) as usize]]);
    }
}

/// Whether these are the bytes of a character that takes three, in text that is UTF-8.
#[inline(always)]
fn is_wide([lead, ..]: &[u8; 3]) -> bool {
    lead & 0xf0 == 0xe0
}

#[inline(always)]
fn wide(&[lead, second, third]: &[u8; 3]) -> u32 {
    (u32::from(lead) & 15) << 12 | (u32::from(second) & 63) << 6 | u32::from(third) & 63
}

/// `bytes` are UTF-8.
fn write_unicode(bytes: &[u8], quote: u8, printable: &Printable, text: &mut Text) -> Written {
    let byte = |at: usize| u32::from(bytes.get(at).copied().unwrap_or(0)) & 0x3f;
    // Bytes from `begin` on are plain and not yet written.
    let (mut begin, mut at) = (0, 0);
    while let Some(&lead) = bytes.get(at) {
        // Three bytes a character: what most of the writing of the world takes. Four at once, so that they
        // are looked up side by side.
        if let Some(four) = bytes[at..].first_chunk::<12>() {
            let four = four.as_chunks::<3>().0;
            let stays =
                |&three: &[u8; 3]| is_wide(&three) & printable.is_known_printable(wide(&three));
            if four.iter().fold(true, |stay, three| stay & stays(three)) {
                at += 12;
                continue;
            }
        }
        if let Some(three) = bytes[at..].first_chunk()
            && is_wide(three)
            && printable.is_printable(wide(three))?
        {
            at += 3;
            continue;
        }
        if lead < 0x80 {
            if is_plain(lead, quote) {
                at += 1;
                continue;
            }
            text.push(&bytes[begin..at]);
            push_escape(lead, text);
            at += 1;
            begin = at;
            continue;
        }
        let (character, width) = match lead {
            0xf0.. => {
                let high = (u32::from(lead) & 7) << 18 | byte(at + 1) << 12;
                (high | byte(at + 2) << 6 | byte(at + 3), 4)
            }
            0xe0.. => ((u32::from(lead) & 15) << 12 | byte(at + 1) << 6 | byte(at + 2), 3),
            _ => ((u32::from(lead) & 31) << 6 | byte(at + 1), 2),
        };
        if printable.is_printable(character)? {
            at += width;
            continue;
        }
        text.push(&bytes[begin..at]);
        push_unicode_escape(character, text);
        at += width;
        begin = at;
    }
    text.push(&bytes[begin.min(bytes.len())..]);
    Some(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const ODD: u64 = 0xaaaa_aaaa_aaaa_aaaa;

    fn odd_is_printable(_page: u32) -> Option<[u64; 4]> {
        Some([ODD; 4])
    }

    fn repr(text: &str) -> String {
        let mut out = Text::default();
        let printable = Printable::new(odd_is_printable);
        assert_eq!(write_str(text.as_bytes(), &printable, &mut out), Some(()));
        String::from_utf8_lossy(out.as_bytes()).into_owned()
    }

    /// The rules, one character at a time.
    fn expected(text: &str) -> String {
        let quote = if text.contains('\'') && !text.contains('"') { '"' } else { '\'' };
        let mut out = String::from(quote);
        for character in text.chars() {
            let code = u32::from(character);
            match character {
                '\n' => out.push_str("\\n"),
                '\r' => out.push_str("\\r"),
                '\t' => out.push_str("\\t"),
                '\\' => out.push_str("\\\\"),
                _ if character == quote => out.extend(['\\', quote]),
                ' '..='~' => out.push(character),
                _ if code > 0x7f && code % 2 == 1 => out.push(character),
                _ if code <= 0xff => out.push_str(&format!("\\x{code:02x}")),
                _ if code <= 0xffff => out.push_str(&format!("\\u{code:04x}")),
                _ => out.push_str(&format!("\\U{code:08x}")),
            }
        }
        out.push(quote);
        out
    }

    #[test]
    fn what_is_not_utf8_is_for_python() {
        let printable = Printable::new(odd_is_printable);
        for bytes in [&b"\xff"[..], b"a\xe4\xb8", b"\xed\xa0\x80", b"\xc0\x80"] {
            assert_eq!(write_str(bytes, &printable, &mut Text::default()), None);
        }
    }

    #[test]
    fn bytes_as_cpython_has_them() {
        for (bytes, expected) in [
            (&b""[..], "b''"),
            (b"it's", "b\"it's\""),
            (b"'\"", "b'\\'\"'"),
            (b"\x00\t\n\r\x1f \x7f\x80\xff\\", "b'\\x00\\t\\n\\r\\x1f \\x7f\\x80\\xff\\\\'"),
        ] {
            let mut text = Text::default();
            write_bytes(bytes, &mut text);
            assert_eq!(text.as_bytes(), expected.as_bytes());
        }
    }

    proptest! {
        #[test]
        fn any_text(text in "\\PC*|[a-z '\"\\\\\n\u{7f}]{0,80}|(?s:.{0,60})") {
            prop_assert_eq!(repr(&text), expected(&text));
        }

        #[test]
        fn any_characters(text in proptest::collection::vec(any::<char>(), 0..40)) {
            let text: String = text.into_iter().collect();
            prop_assert_eq!(repr(&text), expected(&text));
        }
    }
}
