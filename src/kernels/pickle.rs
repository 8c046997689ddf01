//! The pickle of a list of integers, byte for byte as the pickler of the standard library that is
//! written in Python makes it (`pickle._Pickler`, protocol 4). The one in C, which `pickle.dumps` is,
//! ends a list with another opcode where one element is left over.
//! <https://github.com/python/cpython/blob/main/Lib/pickletools.py> says what the opcodes do.

const PROTOCOL: &[u8] = b"\x80\x04";
const FRAME: u8 = 0x95;
const EMPTY_LIST: u8 = b']';
const MEMOIZE: u8 = 0x94;
const MARK: u8 = b'(';
const APPEND: u8 = b'a';
const APPENDS: u8 = b'e';
const STOP: u8 = b'.';
const ONE_BYTE: u8 = b'K';
const TWO_BYTES: u8 = b'M';
const FOUR_BYTES: u8 = b'J';
const LONG: u8 = 0x8a;

/// Elements that are appended at once.
const BATCH: usize = 1000;

/// A frame is closed before an element once it is this long.
const FRAME_BYTES: usize = 64 << 10;

/// Frames shorter than this are written without a header.
const LEAST_FRAME_BYTES: usize = 4;

struct Frames {
    pickle: Vec<u8>,
    frame: Vec<u8>,
}

impl Frames {
    fn close(&mut self) {
        if self.frame.len() >= LEAST_FRAME_BYTES {
            self.pickle.push(FRAME);
            self.pickle.extend((self.frame.len() as u64).to_le_bytes());
        }
        self.pickle.append(&mut self.frame);
    }

    fn save(&mut self, value: u64) {
        if self.frame.len() >= FRAME_BYTES {
            self.close();
        }
        match value {
            0..=0xff => self.frame.extend([ONE_BYTE, value as u8]),
            0x100..=0xffff => {
                self.frame.push(TWO_BYTES);
                self.frame.extend((value as u16).to_le_bytes());
            }
            0x1_0000..=0x7fff_ffff => {
                self.frame.push(FOUR_BYTES);
                self.frame.extend((value as u32).to_le_bytes());
            }
            _ => {
                // As few bytes as leave the sign bit free.
                let length = (64 - value.leading_zeros()) as usize / 8 + 1;
                let mut bytes = [0; 9];
                bytes[..8].copy_from_slice(&value.to_le_bytes());
                self.frame.extend([LONG, length as u8]);
                self.frame.extend(&bytes[..length]);
            }
        }
    }
}

/// The pickle of a list of these.
pub fn list(mut values: impl ExactSizeIterator<Item = u64>) -> Vec<u8> {
    let mut frames = Frames { pickle: PROTOCOL.to_vec(), frame: vec![EMPTY_LIST, MEMOIZE] };
    loop {
        let batch = values.len().min(BATCH);
        if batch > 1 {
            frames.frame.push(MARK);
        }
        for value in values.by_ref().take(batch) {
            frames.save(value);
        }
        match batch {
            0 => {}
            1 => frames.frame.push(APPEND),
            _ => frames.frame.push(APPENDS),
        }
        if batch < BATCH {
            break;
        }
    }
    frames.frame.push(STOP);
    frames.close();
    frames.pickle
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn as_the_standard_library_has_them() {
        assert_eq!(list([].into_iter()), b"\x80\x04]\x94.");
        assert_eq!(list([7].into_iter()), b"\x80\x04\x95\x06\0\0\0\0\0\0\0]\x94K\x07a.");
        assert_eq!(
            list([255, 256, 65535, 65536, 1 << 31].into_iter()),
            b"\x80\x04\x95\x19\0\0\0\0\0\0\0]\x94(K\xffM\0\x01M\xff\xffJ\0\0\x01\0\x8a\x05\0\0\0\x80\0e."
        );
    }

    #[test]
    fn one_element_left_over_is_appended_alone() {
        let pickle = list((0..1001u64).map(|_| 1).collect::<Vec<_>>().into_iter());
        assert!(pickle.ends_with(b"K\x01eK\x01a."));
        let pickle = list((0..1000u64).map(|_| 1).collect::<Vec<_>>().into_iter());
        assert!(pickle.ends_with(b"K\x01e."));
    }
}
