//! The text of values in columns that `datasets` has as `Json()`, as ujson writes it.
//!
//! With one exception: numbers keep the digits that the file has, where ujson rounds to ten decimals.

use super::cursor::{Cursor, Number, Text};
use super::fault::{Fault, FaultCause, MAX_DEPTH, Parsed};

pub const NULL: &[u8] = b"null";

/// Appends the text of the value at the cursor, and steps over it.
///
/// A string that is JSON itself stands for that JSON, as in `datasets`.
pub fn encode(cursor: &mut Cursor<'_>, scratch: &mut Vec<u8>, out: &mut Vec<u8>) -> Parsed<()> {
    if cursor.next_byte() != Some(b'"') {
        return encode_value(cursor, scratch, out, 1);
    }
    scratch.clear();
    cursor.string_into(scratch)?;
    if is_readable(scratch) {
        out.extend_from_slice(scratch);
    } else {
        quote(scratch, out);
    }
    Ok(())
}

fn encode_value(
    cursor: &mut Cursor<'_>,
    scratch: &mut Vec<u8>,
    out: &mut Vec<u8>,
    depth: usize,
) -> Parsed<()> {
    if depth > MAX_DEPTH {
        return Err(Fault::new(cursor.at, FaultCause::TooDeep));
    }
    match cursor.next_byte() {
        Some(b'"') => encode_string(cursor, scratch, out),
        Some(b'[') => {
            cursor.at += 1;
            out.push(b'[');
            if cursor.next_byte() == Some(b']') {
                cursor.at += 1;
            } else {
                loop {
                    encode_value(cursor, scratch, out, depth + 1)?;
                    if !cursor.more(b']')? {
                        break;
                    }
                    out.push(b',');
                }
            }
            out.push(b']');
            Ok(())
        }
        Some(b'{') => {
            cursor.at += 1;
            out.push(b'{');
            if cursor.next_byte() == Some(b'}') {
                cursor.at += 1;
            } else {
                loop {
                    if cursor.next_byte() != Some(b'"') {
                        return cursor.fault("an object member without a name in quotes");
                    }
                    encode_string(cursor, scratch, out)?;
                    cursor.expect(b':', "an object member without a colon")?;
                    out.push(b':');
                    encode_value(cursor, scratch, out, depth + 1)?;
                    if !cursor.more(b'}')? {
                        break;
                    }
                    out.push(b',');
                }
            }
            out.push(b'}');
            Ok(())
        }
        Some(b'-' | b'0'..=b'9' | b'N' | b'I') => {
            let start = cursor.at;
            match cursor.number()? {
                Number::NonFinite(_) => out.extend_from_slice(NULL),
                Number::Int(0) => out.push(b'0'),
                // To ujson, one that no float holds is infinite.
                Number::Float if cursor.float(start).is_err() => out.extend_from_slice(NULL),
                _ => out.extend_from_slice(&cursor.bytes[start..cursor.at]),
            }
            Ok(())
        }
        _ => {
            let start = cursor.at;
            cursor.skip_value(depth)?;
            out.extend_from_slice(&cursor.bytes[start..cursor.at]);
            Ok(())
        }
    }
}

fn encode_string(cursor: &mut Cursor<'_>, scratch: &mut Vec<u8>, out: &mut Vec<u8>) -> Parsed<()> {
    if let Text::Plain(text) = cursor.plain_string()? {
        quote(text, out);
    } else {
        scratch.clear();
        cursor.string_into(scratch)?;
        quote(scratch, out);
    }
    Ok(())
}

/// Appends a string's content as JSON in ASCII.
fn quote(text: &[u8], out: &mut Vec<u8>) {
    out.push(b'"');
    for chunk in text.utf8_chunks() {
        for character in chunk.valid().chars() {
            match character {
                '"' | '\\' | '/' => out.extend_from_slice(&[b'\\', character as u8]),
                '\n' => out.extend_from_slice(b"\\n"),
                '\r' => out.extend_from_slice(b"\\r"),
                '\t' => out.extend_from_slice(b"\\t"),
                '\x08' => out.extend_from_slice(b"\\b"),
                '\x0c' => out.extend_from_slice(b"\\f"),
                ' '..='\x7f' => out.push(character as u8),
                _ => {
                    for unit in character.encode_utf16(&mut [0; 2]) {
                        let digit =
                            |shift: u16| b"0123456789abcdef"[usize::from(*unit >> shift & 0xf)];
                        out.extend_from_slice(&[
                            b'\\',
                            b'u',
                            digit(12),
                            digit(8),
                            digit(4),
                            digit(0),
                        ]);
                    }
                }
            }
        }
    }
    out.push(b'"');
}

/// Whether ujson reads the text, which it does more gladly than others.
fn is_readable(text: &[u8]) -> bool {
    // Most strings are words, and no word begins as a value does.
    let mut cursor = Cursor::by_ujson(text);
    read(&mut cursor, 1).is_some() && cursor.next_byte().is_none()
}

fn read(cursor: &mut Cursor<'_>, depth: usize) -> Option<()> {
    if depth > MAX_DEPTH {
        return None;
    }
    match cursor.next_byte()? {
        b'"' => cursor.skip_string().ok(),
        b'[' => {
            cursor.at += 1;
            if cursor.next_byte()? == b']' {
                cursor.at += 1;
                return Some(());
            }
            loop {
                read(cursor, depth + 1)?;
                if !cursor.more(b']').ok()? {
                    return Some(());
                }
            }
        }
        b'{' => {
            cursor.at += 1;
            loop {
                // A comma may be the last.
                if cursor.next_byte()? == b'}' {
                    cursor.at += 1;
                    return Some(());
                }
                if cursor.next_byte()? != b'"' {
                    return None;
                }
                cursor.skip_string().ok()?;
                cursor.expect(b':', "").ok()?;
                read(cursor, depth + 1)?;
                if !cursor.more(b'}').ok()? {
                    return Some(());
                }
            }
        }
        b't' => cursor.literal(b"true").ok(),
        b'f' => cursor.literal(b"false").ok(),
        b'n' => cursor.literal(b"null").ok(),
        b'N' => cursor.literal(b"NaN").ok(),
        b'I' => cursor.literal(b"Infinity").ok(),
        b'-' | b'0'..=b'9' => read_number(cursor),
        _ => None,
    }
}

/// `-`, `007`, `1.` and `1e` are numbers to it.
fn read_number(cursor: &mut Cursor<'_>) -> Option<()> {
    let negative = cursor.peek() == Some(b'-');
    cursor.at += usize::from(negative);
    if negative && cursor.peek() == Some(b'I') {
        return cursor.literal(b"Infinity").ok();
    }
    let mut value = 0u64;
    while let Some(digit @ b'0'..=b'9') = cursor.peek() {
        value = value.checked_mul(10)?.checked_add(u64::from(digit - b'0'))?;
        cursor.at += 1;
    }
    if negative && value > 1 << 63 {
        return None;
    }
    let digits = |cursor: &mut Cursor<'_>| {
        while let Some(b'0'..=b'9') = cursor.peek() {
            cursor.at += 1;
        }
    };
    if cursor.peek() == Some(b'.') {
        cursor.at += 1;
        digits(cursor);
    }
    if let Some(b'e' | b'E') = cursor.peek() {
        cursor.at += 1;
        if let Some(b'+' | b'-') = cursor.peek() {
            cursor.at += 1;
        }
        digits(cursor);
    }
    Some(())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn encoded(json: &str) -> String {
        let mut out = Vec::new();
        let mut cursor = Cursor::by_ujson(json.as_bytes());
        encode(&mut cursor, &mut Vec::new(), &mut out).unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn text_is_that_of_ujson() {
        for (json, text) in [
            ("1", "1"),
            ("\"x\"", "\"x\""),
            ("\"1\"", "1"),
            ("\"007\"", "007"),
            ("\"-\"", "-"),
            ("\" [1, 2]\"", " [1, 2]"),
            ("\"\"", "\"\""),
            ("\"18446744073709551616\"", "\"18446744073709551616\""),
            ("[ 1 , {\"a\" : [] , \"b\":{ } } ]", "[1,{\"a\":[],\"b\":{}}]"),
            ("[\"1\", NaN, -Infinity]", "[\"1\",null,null]"),
            ("\"é/\\u0001\\n<>&😀\"", "\"\\u00e9\\/\\u0001\\n<>&\\ud83d\\ude00\""),
            ("0.12345678901234567", "0.12345678901234567"),
        ] {
            assert_eq!(encoded(json), text);
        }
    }
}
