//! The value of one field of a big object, as if it were the file.

use std::io::{self, Read};

use super::cursor::Cursor;

/// Blanks all of an object but the value of one of its fields; places stay what they are.
pub struct FieldReader<R> {
    input: R,
    name: String,
    state: State,
    key: Vec<u8>,
    depth: usize,
    in_string: bool,
    escaped: bool,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    /// Before the brace.
    Start,
    /// Where a key is next, or in one.
    Key,
    Colon,
    /// In a value, and whether it is that which is wanted.
    Value(bool),
    Done,
}

impl<R: Read> FieldReader<R> {
    pub fn new(input: R, name: &str) -> Self {
        FieldReader {
            input,
            name: name.to_owned(),
            state: State::Start,
            key: Vec::new(),
            depth: 0,
            in_string: false,
            escaped: false,
        }
    }

    /// Steps over a byte; whether it belongs to the value.
    fn step(&mut self, byte: u8) -> io::Result<bool> {
        match self.state {
            State::Done => return Ok(false),
            State::Start => match byte {
                b'{' => self.state = State::Key,
                b' ' | b'\t' | b'\r' | b'\n' | 0xef | 0xbb | 0xbf => {}
                _ => return Err(damaged("field= takes a file that is one object")),
            },
            State::Key => self.step_key(byte),
            State::Colon => {
                if byte == b':' {
                    self.state = State::Value(self.is_wanted());
                }
            }
            State::Value(wanted) => return Ok(self.step_value(byte) && wanted),
        }
        Ok(false)
    }

    fn step_key(&mut self, byte: u8) {
        if !self.in_string {
            if byte == b'"' {
                self.in_string = true;
                self.key.clear();
                self.key.push(byte);
            } else if byte == b'}' {
                self.state = State::Done;
            }
            return;
        }
        self.key.push(byte);
        if self.escaped {
            self.escaped = false;
        } else if byte == b'\\' {
            self.escaped = true;
        } else if byte == b'"' {
            self.in_string = false;
            self.state = State::Colon;
        }
    }

    fn is_wanted(&self) -> bool {
        let mut key = Vec::new();
        let mut cursor = Cursor::by_ujson(&self.key);
        cursor.string_into(&mut key).is_ok() && key == self.name.as_bytes()
    }

    /// Whether the byte still belongs to the value.
    fn step_value(&mut self, byte: u8) -> bool {
        if self.in_string {
            if self.escaped {
                self.escaped = false;
            } else if byte == b'\\' {
                self.escaped = true;
            } else if byte == b'"' {
                self.in_string = false;
            }
            return true;
        }
        match byte {
            b'"' => self.in_string = true,
            b'[' | b'{' => self.depth += 1,
            b',' | b'}' | b']' if self.depth == 0 => {
                self.state = match self.state {
                    State::Value(false) if byte == b',' => State::Key,
                    _ => State::Done,
                };
                return false;
            }
            b']' | b'}' => self.depth -= 1,
            _ => {}
        }
        true
    }

    fn is_found(&self) -> bool {
        self.is_wanted() && matches!(self.state, State::Value(true) | State::Done)
    }
}

impl<R: Read> Read for FieldReader<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.input.read(buffer)?;
        if count == 0 && !buffer.is_empty() && !self.is_found() {
            let message = match self.state {
                State::Done => format!("there is no field {:?}", self.name),
                _ => "the object is not closed, a part is missing".to_owned(),
            };
            return Err(io::Error::new(io::ErrorKind::InvalidData, message));
        }
        for byte in &mut buffer[..count] {
            if !self.step(*byte)? && *byte != b'\n' {
                *byte = b' ';
            }
        }
        Ok(count)
    }
}

fn damaged(message: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, message)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn field(text: &str, name: &str) -> Result<String, String> {
        let mut out = String::new();
        let mut reader = FieldReader::new(text.as_bytes(), name);
        match reader.read_to_string(&mut out) {
            Ok(_) => Ok(out.trim().to_owned()),
            Err(error) => Err(error.to_string()),
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
    }
}
