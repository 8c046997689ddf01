//! Digests of the text of rows, on several threads: parts of rows are written and digested by whichever
//! thread gets to them, and read in order by one.

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use kernels::sha256::{self, Digest};

use crate::rows::Rows;
use crate::text::Text;

/// Rows of a part at most. Of the digests of parts nothing else is held than what is not yet read.
const PART_ROWS: usize = 128;

/// Parts that a thread gets at least, where there are rows enough.
const PARTS_PER_THREAD: usize = 16;

/// Text is digested when it is this long: while it is in the second-level cache.
const TEXT_BYTES: usize = 256 << 10;

/// Parts that may be done before they are read.
const AHEAD: usize = 256;

/// The digests of consecutive rows.
#[derive(Default)]
pub struct Part {
    pub digests: Vec<Digest>,
    /// Places in `digests` of rows that Python must be asked for, in order. Their digests say nothing.
    pub unwritten: Vec<usize>,
}

/// All rows on their way to digests.
pub struct Digests<'a> {
    rows: &'a Rows<'a>,
    part_rows: usize,
    done: Vec<Mutex<Option<Part>>>,
    /// The first part that nobody has taken.
    next: AtomicUsize,
    read: AtomicUsize,
    stopped: AtomicBool,
}

impl<'a> Digests<'a> {
    pub fn new(rows: &'a Rows<'a>, threads: usize) -> Self {
        let part_rows = rows.len().div_ceil(threads.max(1) * PARTS_PER_THREAD).clamp(1, PART_ROWS);
        let parts = rows.len().div_ceil(part_rows);
        Digests {
            rows,
            part_rows,
            done: (0..parts).map(|_| Mutex::new(None)).collect(),
            next: AtomicUsize::new(0),
            read: AtomicUsize::new(0),
            stopped: AtomicBool::new(false),
        }
    }

    /// The number of parts.
    pub fn parts(&self) -> usize {
        self.done.len()
    }

    /// The first row of a part.
    pub fn first_row(&self, part: usize) -> usize {
        part * self.part_rows
    }

    /// Ends the work of helpers as soon as they look.
    pub fn stop(&self) {
        self.stopped.store(true, Ordering::Relaxed);
    }

    /// Digests part after part; for helpers.
    pub fn help(&self) {
        let mut text = Text::default();
        let keep_going = || !self.stopped.load(Ordering::Relaxed);
        while keep_going() {
            let read = self.read.load(Ordering::Relaxed);
            if self.next.load(Ordering::Relaxed) > read + AHEAD {
                std::thread::yield_now();
                continue;
            }
            if !self.take(&mut text, &mut { keep_going }) {
                return;
            }
        }
    }

    /// Digests one part that nobody has taken, and says whether there was one.
    pub fn take(&self, text: &mut Text, keep_going: &mut dyn FnMut() -> bool) -> bool {
        let part = self.next.fetch_add(1, Ordering::Relaxed);
        if part >= self.done.len() {
            return false;
        }
        if let Some(digests) = self.digest(part, text, keep_going)
            && let Ok(mut place) = self.done[part].lock()
        {
            *place = Some(digests);
        }
        true
    }

    /// The digests of a part, once they are there; each can be read once, and in order.
    pub fn read(&self, part: usize) -> Option<Part> {
        let found = self.done[part].try_lock().ok()?.take()?;
        self.read.store(part, Ordering::Relaxed);
        Some(found)
    }

    /// None where `keep_going` said no.
    fn digest(
        &self,
        part: usize,
        text: &mut Text,
        keep_going: &mut dyn FnMut() -> bool,
    ) -> Option<Part> {
        let first = self.first_row(part);
        let end = self.rows.len().min(first + self.part_rows);
        let mut found = Part { digests: vec![[0; 32]; end - first], unwritten: Vec::new() };
        let mut cursor = self.rows.cursor();
        let mut begun = first;
        let mut ends = Vec::with_capacity(end - first);
        text.clear();
        for row in first..end {
            let begin = text.len();
            if cursor.write(row, text).is_none() {
                text.truncate(begin);
                found.unwritten.push(row - first);
            }
            ends.push(text.len());
            if text.len() < TEXT_BYTES && row + 1 < end {
                continue;
            }
            let mut begin = 0;
            let messages: Vec<&[u8]> = ends
                .iter()
                .map(|&end| &text.as_bytes()[std::mem::replace(&mut begin, end)..end])
                .collect();
            let out = &mut found.digests[begun - first..row + 1 - first];
            if !sha256::digest_all(&messages, out, keep_going) || !keep_going() {
                return None;
            }
            begun = row + 1;
            ends.clear();
            text.clear();
        }
        Some(found)
    }
}
