//! The value of one field of a big object, as if it were the file.

use std::io::{self, Read};

use super::cursor::Cursor;
use super::find;

/// Blanks all of an object but the value of one of its fields; places stay what they are.
///
/// What is blanked is checked, that behind the value too: `datasets` parses all of the file. The value
/// is checked by whoever reads it, row by row.
pub struct FieldReader<R> {
    input: R,
    name: String,
    state: State,
    /// The bytes that close what is open.
    open: Vec<u8>,
    /// Whether the string is a key.
    in_key: bool,
    /// Whether the value is that of the field.
    in_field: bool,
    found: bool,
    /// A key of the object, or a number or a word.
    text: Vec<u8>,
    /// A character of which a part is missing; `None` where bytes that are no text are dealt with later.
    cut: Option<Vec<u8>>,
    /// What comes when the bytes before it were given.
    error: Option<io::Error>,
    /// Whether the value is damaged: from there on, all is left to whoever reads it.
    gave_up: bool,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    /// Before the brace.
    Start,
    /// Where a key is next; the first may be missing.
    Key {
        first: bool,
    },
    Colon,
    /// Where a value is next; the first of a list may be missing.
    Value {
        first: bool,
    },
    Text,
    Escape,
    Hex(u8),
    /// In a number or a word.
    Scalar,
    /// Behind a value.
    After,
    /// Behind the object.
    End,
}

/// As deep as ujson goes.
const MOST_LEVELS: usize = 1024;

type Step = Result<bool, &'static str>;

impl<R: Read> FieldReader<R> {
    /// `strict`: whether bytes that are not UTF-8 are damage.
    pub fn new(input: R, name: &str, strict: bool) -> Self {
        FieldReader {
            input,
            name: name.to_owned(),
            state: State::Start,
            open: Vec::new(),
            in_key: false,
            in_field: false,
            found: false,
            text: Vec::new(),
            cut: strict.then(Vec::new),
            error: None,
            gave_up: false,
        }
    }

    /// Steps over a byte; whether it belongs to the value of the field.
    fn step(&mut self, byte: u8) -> Step {
        let kept = self.in_field;
        if self.in_key && self.open.len() == 1 {
            self.text.push(byte);
        }
        let is_blank = matches!(byte, b' ' | b'\t' | b'\r' | b'\n');
        match self.state {
            State::Start if is_blank || matches!(byte, 0xef | 0xbb | 0xbf) => {}
            State::Start if byte == b'{' => self.enter(byte)?,
            State::Start => return Err("field= takes a file that is one object"),
            State::Text => match byte {
                b'"' if self.in_key => (self.in_key, self.state) = (false, State::Colon),
                b'"' => self.end_value(),
                b'\\' => self.state = State::Escape,
                _ => {}
            },
            State::Escape => {
                self.state = match byte {
                    b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't' => State::Text,
                    b'u' => State::Hex(0),
                    _ => return Err("not valid JSON: an unknown escape in a string"),
                }
            }
            State::Hex(digits) => {
                self.state = match digits {
                    _ if !byte.is_ascii_hexdigit() => {
                        return Err("not valid JSON: an escape \\u without four hex digits");
                    }
                    3 => State::Text,
                    _ => State::Hex(digits + 1),
                }
            }
            State::Scalar if is_blank || matches!(byte, b',' | b']' | b'}') => {
                self.check_scalar()?;
                self.end_value();
                return self.step(byte);
            }
            State::Scalar => self.text.push(byte),
            _ if is_blank => {}
            State::Key { .. } if byte == b'"' => {
                (self.in_key, self.state) = (true, State::Text);
                if self.open.len() == 1 {
                    self.text.clear();
                    self.text.push(byte);
                }
            }
            State::Key { first: true } if byte == b'}' => self.leave(),
            State::Key { .. } => {
                return Err("not valid JSON: an object member without a name in quotes");
            }
            State::Colon if byte == b':' => {
                self.state = State::Value { first: false };
                if self.open.len() == 1 && self.is_field() {
                    if self.found {
                        return Err("the field is there twice; the last of them counts");
                    }
                    (self.found, self.in_field) = (true, true);
                }
            }
            State::Colon => return Err("not valid JSON: an object member without a colon"),
            State::Value { first } => match byte {
                b'"' => self.state = State::Text,
                b'{' | b'[' => self.enter(byte)?,
                b']' if first => self.leave(),
                b't' | b'f' | b'n' | b'N' | b'I' | b'-' | b'0'..=b'9' => {
                    self.text.clear();
                    self.text.push(byte);
                    self.state = State::Scalar;
                }
                _ => return Err("not valid JSON: an invalid value"),
            },
            State::After => match (byte, self.open.last()) {
                (b',', Some(b'}')) => self.state = State::Key { first: false },
                (b',', _) => self.state = State::Value { first: false },
                (_, Some(close)) if byte == *close => self.leave(),
                (_, Some(b'}')) => {
                    return Err("not valid JSON: no comma or } after an object member");
                }
                _ => return Err("not valid JSON: no comma or ] after an item of a list"),
            },
            State::End => return Err("not valid JSON: something behind the end of the object"),
        }
        Ok(kept)
    }

    fn enter(&mut self, byte: u8) -> Result<(), &'static str> {
        if self.open.len() == MOST_LEVELS {
            return Err("nested deeper than 1024 levels");
        }
        let is_object = byte == b'{';
        self.open.push(if is_object { b'}' } else { b']' });
        self.state =
            if is_object { State::Key { first: true } } else { State::Value { first: true } };
        Ok(())
    }

    fn leave(&mut self) {
        self.open.pop();
        self.end_value();
    }

    fn end_value(&mut self) {
        self.state = if self.open.is_empty() { State::End } else { State::After };
        self.in_field &= self.open.len() > 1;
    }

    fn check_scalar(&self) -> Result<(), &'static str> {
        let mut cursor = Cursor::by_ujson(&self.text);
        let read = match self.text.first() {
            Some(b't') => cursor.literal(b"true"),
            Some(b'f') => cursor.literal(b"false"),
            Some(b'n') => cursor.literal(b"null"),
            _ => cursor.number().map(drop),
        };
        let is_whole = read.is_ok() && cursor.at == self.text.len();
        if is_whole { Ok(()) } else { Err("not valid JSON: an invalid value") }
    }

    fn is_field(&self) -> bool {
        let mut key = Vec::new();
        let mut cursor = Cursor::by_ujson(&self.text);
        cursor.string_into(&mut key).is_ok() && key == self.name.as_bytes()
    }

    /// Blanks what is not the value; the number of bytes before something that is wrong, and what.
    fn blank(&mut self, data: &mut [u8]) -> (usize, Option<&'static str>) {
        let invalid = self.cut.as_mut().and_then(|cut| invalid_utf8(cut, data));
        let sound = invalid.unwrap_or(data.len());
        let mut at = 0;
        while at < sound {
            if self.state == State::Text {
                let rest = data.get_mut(at..sound).unwrap_or_default();
                let length = find::special(rest);
                let text = rest.get_mut(..length).unwrap_or_default();
                if self.in_key && self.open.len() == 1 {
                    self.text.extend_from_slice(text);
                }
                if !self.in_field {
                    text.fill(b' ');
                }
                at += length;
            }
            let Some(byte) = data.get_mut(at).filter(|_| at < sound) else { break };
            match self.step(*byte) {
                Ok(true) => {}
                Ok(false) if *byte == b'\n' => {}
                Ok(false) => *byte = b' ',
                Err(what) => return (at, Some(what)),
            }
            at += 1;
        }
        (sound, invalid.map(|_| "not valid JSON: bytes that are not UTF-8"))
    }

    /// What is wrong at the end of the content, if anything is.
    fn at_end(&mut self) -> io::Result<()> {
        match self.error.take() {
            Some(error) => Err(error),
            None if self.state != State::End => {
                Err(damaged("the object is not closed, a part is missing"))
            }
            None if !self.found => Err(damaged(&format!("there is no field {:?}", self.name))),
            None => Ok(()),
        }
    }
}

impl<R: Read> Read for FieldReader<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if !self.gave_up
            && let Some(error) = self.error.take()
        {
            return Err(error);
        }
        let count = self.input.read(buffer)?;
        if count == 0 && !buffer.is_empty() {
            return self.at_end().map(|()| 0);
        }
        if self.gave_up {
            return Ok(count);
        }
        let (sound, wrong) = self.blank(buffer.get_mut(..count).unwrap_or_default());
        let Some(what) = wrong else { return Ok(count) };
        self.error = Some(damaged(what));
        self.gave_up = self.in_field;
        match (self.gave_up, sound) {
            (true, _) => Ok(count),
            (false, 0) => self.error.take().map_or(Ok(0), Err),
            (false, sound) => Ok(sound),
        }
    }
}

/// The place in `data` of the first byte that is no part of UTF-8. `cut` has the start of a character
/// from the data before, and gets that of one that goes on behind.
fn invalid_utf8(cut: &mut Vec<u8>, data: &[u8]) -> Option<usize> {
    let mut start = 0;
    while !cut.is_empty() {
        cut.push(*data.get(start)?);
        match std::str::from_utf8(cut) {
            Ok(_) => cut.clear(),
            Err(error) if error.error_len().is_some() => return Some(start),
            Err(_) => {}
        }
        start += 1;
    }
    let rest = data.get(start..).unwrap_or_default();
    let error = simdutf8::compat::from_utf8(rest).err()?;
    if error.error_len().is_some() {
        return Some(start + error.valid_up_to());
    }
    cut.extend_from_slice(rest.get(error.valid_up_to()..).unwrap_or_default());
    None
}

fn damaged(message: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, message.to_owned())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    /// Gives a few bytes at a time.
    struct Steps<'a>(&'a [u8], usize);

    impl Read for Steps<'_> {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            let count = self.1.min(buffer.len());
            (&mut self.0).take(count as u64).read(buffer)
        }
    }

    /// What is left of a text, and the error after it.
    fn all(text: &[u8], name: &str) -> (String, Option<String>) {
        let read = |step| {
            let mut out = Vec::new();
            let mut reader = FieldReader::new(Steps(text, step), name, true);
            let error = reader.read_to_end(&mut out).err().map(|error| error.to_string());
            (String::from_utf8_lossy(&out).trim().to_owned(), error)
        };
        let found = read(1 << 20);
        assert_eq!(read(1), found);
        assert_eq!(read(3), found);
        found
    }

    fn field(text: &str, name: &str) -> Result<String, String> {
        match all(text.as_bytes(), name) {
            (out, None) => Ok(out),
            (_, Some(error)) => Err(error),
        }
    }

    #[test]
    fn the_value_alone_is_left() {
        let text = r#"{"v": "a,\"}", "x": {"d": [1]}, "d\u0061ta" : [{"a": "]}"}, 2] , "z": 1}"#;
        assert_eq!(field(text, "data").unwrap(), r#"[{"a": "]}"}, 2]"#);
        assert_eq!(field(text, "z").unwrap(), "1");
        assert_eq!(field(text, "v").unwrap(), r#""a,\"}""#);
        assert!(field(text, "d").unwrap_err().contains("no field"));
        assert!(field("[1]", "d").unwrap_err().contains("one object"));
        assert!(field("{\"x\": 1", "d").unwrap_err().contains("missing"));
        let odd = "{\"é\":[],\"o\":{}, \"x\":[NaN,-Infinity,1e400,-0.5E+1,true,\"a\tb\\ud800\"],\"d\":[\"ü\"]}\n";
        assert_eq!(field(odd, "d").unwrap(), "[\"ü\"]");
    }

    #[test]
    fn what_is_around_it_is_checked() {
        for around in [
            r#"{"data":[1]} x"#,
            "{\"data\":[1]}\n{\"data\":[2]}\n",
            r#"{"data":[1],"x":"#,
            r#"{"data":[1],"#,
            r#"{"data":[1],}"#,
            r#"{"data":[1]]"#,
            r#"{"data":[1] "x":2}"#,
            r#"{"data":[1],"x":1 2}"#,
            r#"{"data":[1],"x":[1}}"#,
            r#"{"data":[1],"x":[1,]}"#,
            r#"{"data":[1],"x":tru}"#,
            r#"{"data":[1],"x":truer}"#,
            r#"{"data":[1],"x":--1}"#,
            r#"{"data":[1],"x":"\q"}"#,
            r#"{"data":[1],"x":"\u00g0"}"#,
            r#"{"data":[1],"x"=:1}"#,
            r#"{"data":[1],x:1}"#,
            r#"{"data":[1],"data":[2]}"#,
        ] {
            let (value, error) = all(around.as_bytes(), "data");
            assert_eq!(value, "[1]", "{around}");
            assert!(error.is_some(), "{around}");
        }
        for before in
            [r#"{"x":[1},"data":[1]}"#, r#"{"x":tru,"data":[1]}"#, r#"{"x"=:1,"data":[1]}"#]
        {
            assert_eq!(all(before.as_bytes(), "data").0, "", "{before}");
        }
        let (value, error) = all(b"{\"data\":[1],\"x\":\"caf\xe9\"}", "data");
        assert_eq!(value, "[1]");
        assert!(error.unwrap().contains("UTF-8"));
        assert!(all(b"{\"data\":[1],\"x\":\"caf\xc3", "data").1.unwrap().contains("missing"));
    }

    #[test]
    fn a_damaged_value_is_left_to_its_reader() {
        for text in [&b"{\"data\":[1,}, 2]}"[..], b"{\"data\":[1,\"\xff\"]}", b"{\"data\":[tru]}"] {
            let (value, error) = all(text, "data");
            let whole = String::from_utf8_lossy(&text[8..]);
            assert!(whole.starts_with(&value) || value == whole, "{value}");
            assert!(value.len() > 4 && error.is_some());
        }
    }
}
