//! Content that a thread of its own reads ahead: decompressing takes as long as all that is done with it.

use std::io::{self, Read};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::thread::{self, JoinHandle};

use crossbeam_channel::{Receiver, Sender, bounded};

/// What is read at a time, and how many of them wait.
const PIECE: usize = 256 << 10;
const PIECES: usize = 4;

/// The content of another reader, in the same order, with its error at the same place.
pub struct Ahead {
    /// Empty: the end of the content.
    pieces: Receiver<io::Result<Vec<u8>>>,
    used: Sender<Vec<u8>>,
    piece: Vec<u8>,
    taken: usize,
    ended: bool,
    thread: Option<JoinHandle<()>>,
}

impl Ahead {
    pub fn new(content: Box<dyn Read + Send>) -> io::Result<Self> {
        let (found, pieces) = bounded(PIECES);
        let (used, free) = bounded(PIECES + 2);
        let thread = thread::Builder::new()
            .name("fast-axolotl-decompress".to_owned())
            .spawn(move || run(content, &found, &free))?;
        let thread = Some(thread);
        Ok(Ahead { pieces, used, piece: Vec::new(), taken: 0, ended: false, thread })
    }
}

/// Ends at the end of the content, after an error, or when nobody takes the pieces any more.
fn run(
    mut content: Box<dyn Read + Send>,
    found: &Sender<io::Result<Vec<u8>>>,
    free: &Receiver<Vec<u8>>,
) {
    loop {
        let mut piece = free.try_recv().unwrap_or_default();
        piece.resize(PIECE, 0);
        let read = catch_unwind(AssertUnwindSafe(|| fill(&mut content, &mut piece)));
        let (count, error) = read.unwrap_or_else(|_| {
            (0, Some(io::Error::other("decompressing it has failed in an unforeseen way")))
        });
        piece.truncate(count);
        if count > 0 && found.send(Ok(piece)).is_err() {
            return;
        }
        if count < PIECE {
            let _ = found.send(error.map_or(Ok(Vec::new()), Err));
            return;
        }
    }
}

/// How much of the piece could be filled, and why not all of it (`None` at the end of the content).
fn fill(content: &mut impl Read, piece: &mut [u8]) -> (usize, Option<io::Error>) {
    let mut count = 0;
    while let Some(rest) = piece.get_mut(count..).filter(|rest| !rest.is_empty()) {
        match content.read(rest) {
            Ok(0) => break,
            Ok(read) => count += read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return (count, Some(error)),
        }
    }
    (count, None)
}

impl Read for Ahead {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.taken == self.piece.len() && !self.ended {
            let piece = match self.pieces.recv() {
                Ok(piece) => piece,
                Err(_) => Err(io::Error::other("decompressing it has ended early")),
            };
            let _ = self.used.try_send(std::mem::take(&mut self.piece));
            self.taken = 0;
            self.ended = !matches!(&piece, Ok(piece) if !piece.is_empty());
            self.piece = piece?;
        }
        let rest = self.piece.get(self.taken..).unwrap_or_default();
        let count = rest.len().min(buffer.len());
        buffer[..count].copy_from_slice(&rest[..count]);
        self.taken += count;
        Ok(count)
    }
}

impl Drop for Ahead {
    fn drop(&mut self) {
        // The thread may wait for room: there will be none.
        self.pieces = bounded(0).1;
        if let Some(thread) = self.thread.take() {
            // It has the file: closed when this returns.
            let _ = thread.join();
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::panic)]
mod tests {
    use std::io::Cursor;
    use std::sync::Arc;

    use super::*;

    fn ahead(content: impl Read + Send + 'static) -> Ahead {
        Ahead::new(Box::new(content)).unwrap()
    }

    struct Fault(fn() -> io::Result<usize>);

    impl Read for Fault {
        fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
            (self.0)()
        }
    }

    #[test]
    fn content_is_the_same() {
        for length in [0, 1, PIECE - 1, PIECE, PIECE + 1, 20 * PIECE + 7] {
            let content: Vec<u8> = (0..length).map(|index| (index % 251) as u8).collect();
            let mut read = Vec::new();
            let mut reader = ahead(Cursor::new(content.clone()));
            reader.read_to_end(&mut read).unwrap();
            assert!(read == content, "{length}");
            assert_eq!(reader.read(&mut [0; 8]).unwrap(), 0);
        }
    }

    #[test]
    fn an_error_comes_after_what_was_read_before() {
        let damaged = Fault(|| Err(io::Error::other("damaged")));
        let broken = Fault(|| panic!("planted"));
        let unforeseen = "decompressing it has failed in an unforeseen way";
        for (fault, message) in [(damaged, "damaged"), (broken, unforeseen)] {
            let mut reader = ahead(Cursor::new(vec![7; PIECE]).chain(fault));
            let mut read = Vec::new();
            let error = reader.read_to_end(&mut read).unwrap_err();
            assert_eq!((read, error.to_string()), (vec![7; PIECE], message.to_owned()));
            assert_eq!(reader.read(&mut [0; 8]).unwrap(), 0);
        }
    }

    #[test]
    fn one_that_is_dropped_leaves_nothing_open() {
        struct Endless(#[allow(dead_code)] Arc<()>);
        impl Read for Endless {
            fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
                Ok(buffer.len())
            }
        }
        let file = Arc::new(());
        let mut reader = ahead(Endless(Arc::clone(&file)));
        reader.read_exact(&mut [0; 1000]).unwrap();
        drop(reader);
        assert_eq!(Arc::strong_count(&file), 1);
    }
}
