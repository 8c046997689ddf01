//! Content that is looked at before it is read, so that it need not be decompressed twice.

use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::process;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::source::Input;

/// Content of a longer look than this is not kept: memory is bounded, whatever is looked at.
const MOST: usize = 24 << 20;
const USUAL: usize = 16 << 20;

/// A file that stays open between the look at its head and the first pass over its rows.
#[derive(Default)]
pub struct Shelf<T>(Mutex<Option<Opened<T>>>);

struct Opened<T> {
    path: PathBuf,
    /// A forked child shares the place in the file with its parent: whoever opened it reads it.
    process: u32,
    content: T,
}

impl<T> Shelf<T> {
    pub fn new() -> Self {
        Shelf(Mutex::new(None))
    }

    pub fn put(&self, path: &Path, content: T) {
        *lock(&self.0) = Some(Opened { path: path.to_owned(), process: process::id(), content });
    }

    /// What was put there for this file by this process, once.
    pub fn take(&self, path: &Path) -> Option<T> {
        let mine = |opened: &mut Opened<T>| opened.path == path && opened.process == process::id();
        lock(&self.0).take_if(mine).map(|opened| opened.content)
    }
}

impl<T> std::fmt::Debug for Shelf<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let path = lock(&self.0).as_ref().map(|opened| opened.path.clone());
        f.debug_tuple("Shelf").field(&path).finish()
    }
}

/// An input whose content is kept while it is read.
#[derive(Clone)]
pub struct Recording(Arc<Mutex<Option<State>>>);

struct State {
    input: Input,
    head: Vec<u8>,
    ended: bool,
    /// Nothing is missing in `head`, and no error was met.
    whole: bool,
}

impl Recording {
    /// The input to look at, and the recording of it.
    pub fn of(input: Input) -> (Input, Recording) {
        let shown = Input::placeholder(&input);
        // Room for the usual look and what is read ahead of it, so that it is not copied as it grows.
        let head = Vec::with_capacity(USUAL);
        let state = State { input, head, ended: false, whole: true };
        let recording = Recording(Arc::new(Mutex::new(Some(state))));
        let reader = recording.clone();
        (shown.map(|_| Box::new(reader)), recording)
    }

    /// The input from its start again, if all that was read of it could be kept.
    pub fn replay(&self) -> Option<Input> {
        let state = lock(&self.0).take().filter(|state| state.whole)?;
        let (head, ended) = (state.head, state.ended);
        Some(state.input.map(|rest| Box::new(Replay { head, at: 0, rest, ended })))
    }
}

impl Read for Recording {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let mut state = lock(&self.0);
        let Some(state) = state.as_mut() else { return Ok(0) };
        match state.input.read(buffer) {
            Ok(count) => {
                state.ended = count == 0 && !buffer.is_empty();
                state.whole = state.whole && state.head.len() + count <= MOST;
                if state.whole {
                    state.head.extend_from_slice(buffer.get(..count).unwrap_or_default());
                } else {
                    state.head = Vec::new();
                }
                Ok(count)
            }
            Err(error) => {
                state.whole &= error.kind() == io::ErrorKind::Interrupted;
                Err(error)
            }
        }
    }
}

struct Replay {
    head: Vec<u8>,
    at: usize,
    rest: Box<dyn Read + Send>,
    ended: bool,
}

impl Read for Replay {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let pending = self.head.get(self.at..).unwrap_or_default();
        if pending.is_empty() {
            self.head = Vec::new();
            self.at = 0;
            return if self.ended { Ok(0) } else { self.rest.read(buffer) };
        }
        let count = pending.len().min(buffer.len());
        if let (Some(to), Some(from)) = (buffer.get_mut(..count), pending.get(..count)) {
            to.copy_from_slice(from);
        }
        self.at += count;
        Ok(count)
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::io::Write;

    use super::*;
    use crate::source::Source;

    fn recording(content: &[u8]) -> (tempfile::NamedTempFile, Input, Recording) {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(content).unwrap();
        let input = Source::new(file.path()).input(&Arc::default()).unwrap();
        let (input, recording) = Recording::of(input);
        (file, input, recording)
    }

    #[test]
    fn comes_again_from_the_start() {
        let content: Vec<u8> = (0..100_000u32).flat_map(u32::to_le_bytes).collect();
        for looked in [0, 1, 1000, content.len(), content.len() + 1] {
            let (_file, mut input, recording) = recording(&content);
            let mut head = Vec::new();
            input.by_ref().take(looked as u64).read_to_end(&mut head).unwrap();
            assert_eq!(head, content[..looked.min(content.len())]);
            let mut all = Vec::new();
            recording.replay().unwrap().read_to_end(&mut all).unwrap();
            assert_eq!(all, content);
            assert!(recording.replay().is_none());
        }
    }

    #[test]
    fn too_much_is_not_kept() {
        let (_file, mut input, recording) = recording(&vec![b' '; MOST + 1]);
        io::copy(&mut input, &mut io::sink()).unwrap();
        assert!(recording.replay().is_none());
    }

    #[test]
    fn a_shelf_has_one_file() {
        let shelf = Shelf::new();
        shelf.put(Path::new("a"), 1);
        assert_eq!(shelf.take(Path::new("b")), None);
        assert_eq!(shelf.take(Path::new("a")), Some(1));
        assert_eq!(shelf.take(Path::new("a")), None);
    }
}
