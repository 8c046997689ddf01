//! Where rows end: at line feeds, or at the ends of values where these span lines.

use std::sync::{Arc, OnceLock};

use memchr::{memchr, memchr_iter, memrchr};

use super::find::Structure;
use crate::error::Result;
use crate::pipeline;

/// How the rows lie in a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Layout {
    /// One a line.
    Lines,
    /// Objects that span lines, one after the other.
    Objects,
    /// An array of objects.
    Array,
    /// An array of other values, each the row of the one column [`super::TEXT`].
    Values,
}

pub const BOM: &[u8] = b"\xef\xbb\xbf";

impl Layout {
    pub fn is_array(self) -> bool {
        matches!(self, Layout::Array | Layout::Values)
    }

    /// Whether it takes more of a file than `head` to know.
    fn is_open(head: &[u8]) -> bool {
        let head = head.strip_prefix(BOM).unwrap_or(head).trim_ascii_start();
        head.is_empty() || (head.first() == Some(&b'[') && head.len() < ARRAY_LOOK)
    }

    /// The layout of a file that begins with `head`.
    pub fn of(head: &[u8]) -> Layout {
        let head = head.strip_prefix(BOM).unwrap_or(head).trim_ascii_start();
        if head.first() == Some(&b'[') {
            // As `datasets` decides it.
            let look = &head[..head.len().min(ARRAY_LOOK)];
            let unquoted = memchr(b'"', look).map_or(look, |quote| &look[..quote]);
            return match memchr(b'{', unquoted) {
                Some(_) => Layout::Array,
                None => Layout::Values,
            };
        }
        if spans_lines(&head[..head.len().min(LOOK)]) { Layout::Objects } else { Layout::Lines }
    }
}

/// Bytes of an array that tell what is in it, and of a file that tell its layout.
const ARRAY_LOOK: usize = 100;
const LOOK: usize = 64 << 10;

/// Whether an object goes on behind a line feed.
fn spans_lines(head: &[u8]) -> bool {
    let mut nesting = Nesting::default();
    let mut start = 0;
    for end in memchr_iter(b'\n', head) {
        nesting.walk(&head[start..end], 0, |_, _| ());
        if nesting.depth > 0 || nesting.in_string {
            // A line that ends within a string is damaged, and does not go on.
            return !nesting.in_string;
        }
        start = end;
    }
    false
}

/// How deep a place is nested. Deepest first: strings, then brackets and braces of either kind.
#[derive(Debug, Clone, Copy, Default)]
struct Nesting {
    depth: i64,
    in_string: bool,
    /// The next byte is escaped.
    escaped: bool,
}

impl Nesting {
    /// Steps over `bytes`; calls `at` for each comma at depth 1 (`floor` 1) or each end of a value at
    /// depth 0 (`floor` 0), with its place and the depth there.
    #[inline(always)]
    fn walk(&mut self, bytes: &[u8], floor: i64, mut at: impl FnMut(usize, i64)) {
        let (words, rest) = bytes.as_chunks::<64>();
        for (index, word) in words.iter().enumerate() {
            self.word(word, 64, floor, |place, depth| at(index * 64 + place, depth));
        }
        if !rest.is_empty() {
            let mut word = [b' '; 64];
            word[..rest.len()].copy_from_slice(rest);
            let start = bytes.len() - rest.len();
            self.word(&word, rest.len(), floor, |place, depth| at(start + place, depth));
        }
    }

    #[inline(always)]
    fn word(&mut self, word: &[u8; 64], length: usize, floor: i64, mut at: impl FnMut(usize, i64)) {
        let structure = Structure::of(word);
        let escaped = self.escaped(structure.escapes, length);
        let quotes = structure.quotes & !escaped;
        let strings = prefix_xor(quotes) ^ if self.in_string { u64::MAX } else { 0 };
        self.in_string = strings >> 63 != 0;
        let opening = structure.opening & !strings;
        let closing = structure.closing & !strings;
        if self.depth - i64::from(closing.count_ones()) > floor {
            self.depth += i64::from(opening.count_ones()) - i64::from(closing.count_ones());
            return;
        }
        let commas = if floor > 0 { commas(word) & !strings } else { 0 };
        let mut events = opening | closing | commas;
        while events != 0 {
            let place = events.trailing_zeros() as usize;
            let bit = 1 << place;
            events &= events - 1;
            if opening & bit != 0 {
                self.depth += 1;
            } else if closing & bit != 0 {
                self.depth -= 1;
                if floor == 0 && self.depth == 0 {
                    at(place, 0);
                } else if floor > 0 && self.depth < floor {
                    at(place, self.depth);
                }
            } else if self.depth == floor {
                at(place, floor);
            }
        }
    }

    /// The bytes that a backslash before them escapes.
    #[inline(always)]
    fn escaped(&mut self, mut escapes: u64, length: usize) -> u64 {
        let mut escaped = u64::from(self.escaped);
        escapes &= !escaped;
        self.escaped = false;
        while escapes != 0 {
            let place = escapes.trailing_zeros();
            let next = 1u64.checked_shl(place + 1).unwrap_or(0);
            self.escaped |= place as usize + 1 == length;
            escaped |= next;
            escapes &= !(1 << place | next);
        }
        escaped
    }
}

#[inline(always)]
fn prefix_xor(mut bits: u64) -> u64 {
    for shift in [1, 2, 4, 8, 16, 32] {
        bits ^= bits << shift;
    }
    bits
}

fn commas(word: &[u8; 64]) -> u64 {
    word.iter().rev().fold(0, |mask, &byte| mask << 1 | u64::from(byte == b','))
}

/// Cuts a file into blocks of whole rows, of as many as a batch has where it can.
pub struct Splitter {
    layout: Arc<OnceLock<Layout>>,
    batch_rows: usize,
    /// A block that ends before this goes on, if it has not the rows of a batch.
    patience: usize,
    /// Rows handed out since the last whole batch, and whether there was one.
    rows: usize,
    first: bool,
    /// Rows seen in what is pending.
    pending: usize,
    /// Bytes of the last block, if it was a whole batch: the next one will be much alike.
    batch_bytes: usize,
    /// The last end of a row in what is pending, and the last that ends a batch.
    last_end: usize,
    last_batch_end: usize,
    nesting: Nesting,
    /// Whether the bracket that opens the array lies behind, and in what is pending that which closes it.
    started: bool,
    ended: bool,
    /// The bytes of the file that are looked at: a block ends with the line that they end in.
    look: Option<u64>,
}

impl Splitter {
    pub fn new(layout: Arc<OnceLock<Layout>>, batch_rows: usize, block_bytes: usize) -> Self {
        Splitter {
            layout,
            batch_rows: batch_rows.max(1),
            patience: 4 * block_bytes,
            rows: 0,
            first: true,
            pending: 0,
            batch_bytes: 0,
            last_end: 0,
            last_batch_end: 0,
            nesting: Nesting::default(),
            started: false,
            ended: false,
            look: None,
        }
    }

    /// For a look at the first `bytes` of the file, in blocks that are not made to fit batches.
    pub fn looking(mut self, bytes: Option<u64>) -> Self {
        self.look = bytes;
        self.batch_rows = usize::MAX;
        self.patience = 0;
        self
    }

    fn find_lines(&mut self, data: &[u8], seen: usize) {
        if self.batch_rows == usize::MAX {
            if let Some(end) = memrchr(b'\n', &data[seen..]) {
                self.row_ends(seen + end + 1, 1);
            }
            return;
        }
        for end in memchr_iter(b'\n', &data[seen..]) {
            self.row_ends(seen + end + 1, 1);
        }
    }

    fn row_ends(&mut self, end: usize, rows: usize) {
        self.pending += rows;
        self.last_end = end;
        if (self.rows + self.pending).is_multiple_of(self.batch_rows) {
            self.last_batch_end = end;
        }
    }

    fn find_values(&mut self, data: &[u8], seen: usize, floor: i64) {
        let mut nesting = self.nesting;
        let mut start = seen;
        if !self.started && floor > 0 {
            let Some(bracket) = memchr(b'[', &data[seen..]) else { return };
            start = seen + bracket + 1;
            nesting.depth = 1;
            self.started = true;
        }
        nesting.walk(&data[start..], floor, |place, depth| {
            // What follows the end of an array belongs to the last block.
            self.ended |= depth < floor;
            if !self.ended {
                self.row_ends(start + place + 1, 1);
            }
        });
        self.nesting = nesting;
    }

    fn take(&mut self, length: usize, is_batch_end: bool) -> usize {
        self.batch_bytes = if is_batch_end && self.rows == 0 { length } else { 0 };
        self.rows = if is_batch_end { 0 } else { self.rows + self.pending };
        self.first &= !is_batch_end;
        self.pending = 0;
        self.last_end = 0;
        self.last_batch_end = 0;
        self.ended = false;
        self.nesting = Nesting { depth: i64::from(self.started), ..Nesting::default() };
        length
    }
}

impl pipeline::Splitter for Splitter {
    fn split(&mut self, data: &[u8], seen: usize) -> Result<Option<usize>> {
        // Until the layout is known, nothing is looked at.
        let seen = if self.layout.get().is_none() { 0 } else { seen };
        if self.layout.get().is_none() && Layout::is_open(data) {
            return Ok(None);
        }
        let layout = *self.layout.get_or_init(|| Layout::of(data));
        if let (Layout::Lines, Some(left)) = (layout, self.look)
            && let Ok(left) = usize::try_from(left)
            && let Some(after) = data.get(left..)
        {
            // What `datasets` reads at first: so many bytes, and the line that they end in.
            let Some(end) = memchr(b'\n', after) else { return Ok(None) };
            self.look = Some(0);
            return Ok(Some(left + end + 1));
        }
        match layout {
            Layout::Lines => self.find_lines(data, seen),
            Layout::Objects => self.find_values(data, seen, 0),
            Layout::Array | Layout::Values => self.find_values(data, seen, 1),
        }
        if self.last_batch_end > 0 {
            let end = self.last_batch_end;
            return Ok(Some(self.take(end, true)));
        }
        if self.last_end > 0 && (self.first || data.len() >= self.patience) {
            let end = self.last_end;
            if let Some(left) = &mut self.look {
                *left = left.saturating_sub(end as u64);
            }
            return Ok(Some(self.take(end, false)));
        }
        Ok(None)
    }

    fn expected(&self) -> usize {
        self.batch_bytes + self.batch_bytes / 32
    }

    fn split_rest(&mut self, data: &[u8]) -> Result<Option<usize>> {
        // No more comes that would tell the layout, without which nothing was looked at.
        let seen = if self.layout.get().is_none() { 0 } else { data.len() };
        self.layout.get_or_init(|| Layout::of(data));
        self.first = true;
        let end = self.split(data, seen)?;
        // The last row of an array ends with it, and not with a comma.
        Ok(end.or_else(|| self.ended.then(|| self.take(data.len(), false))))
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::pipeline::Splitter as _;

    #[test]
    fn layouts() {
        for (head, layout) in [
            ("{\"a\":1}\n{\"a\":2}\n", Layout::Lines),
            ("\n\n{\"a\":\"{\"}\n", Layout::Lines),
            ("{\n \"a\": 1}", Layout::Objects),
            ("{\"a\": [\"x\\\"]}\"\n", Layout::Objects),
            ("\u{feff} [ {\"a\":1}]", Layout::Array),
            ("[1]", Layout::Values),
            ("[\"a {b\"]", Layout::Values),
            ("{}\n{\n \"a\": 1}", Layout::Objects),
            ("{\"a\":1}\n{\"a\":\"\n", Layout::Lines),
            ("", Layout::Lines),
        ] {
            assert_eq!(Layout::of(head.as_bytes()), layout, "{head:?}");
        }
    }

    /// Items with strings that look like structure.
    fn items() -> impl Strategy<Value = Vec<String>> {
        let texts = proptest::collection::vec("[a{}\\[\\],\\\\\"é ]{0,70}", 0..4);
        let item = texts
            .prop_map(|texts| serde_json::json!({ "k": texts, "n": [[1, 2], {}] }).to_string());
        proptest::collection::vec(item, 1..20)
    }

    /// Feeds the text in pieces; the blocks.
    fn blocks(text: &str, piece: usize, mut splitter: Splitter) -> Vec<String> {
        let (mut start, mut end, mut seen, mut blocks) = (0, 0, 0, Vec::new());
        while end < text.len() {
            end = (end + piece).min(text.len());
            while let Some(length) = splitter.split(&text.as_bytes()[start..end], seen).unwrap() {
                assert!(length > 0 && start + length <= end);
                blocks.push(text[start..start + length].to_owned());
                start += length;
                seen = 0;
                if start == end {
                    break;
                }
            }
            seen = end - start;
        }
        blocks.push(text[start..].to_owned());
        blocks
    }

    proptest! {
        #[test]
        fn arrays_are_cut_behind_commas(items in items(), piece in 1usize..300, rows in 1usize..5) {
            let text = format!("[{}] ", items.join(" ,"));
            let cell = Arc::new(OnceLock::new());
            cell.set(Layout::Array).unwrap();
            let blocks = blocks(&text, piece, Splitter::new(cell, rows, 1));
            let mut got = Vec::new();
            let last = blocks.len() - 1;
            for (index, block) in blocks.iter().enumerate() {
                let block = if index == 0 { block.strip_prefix('[').unwrap() } else { block };
                let block = if index == last { block.trim().strip_suffix(']').unwrap() } else {
                    block.strip_suffix(',').unwrap()
                };
                let values: Vec<serde_json::Value> = serde_json::from_str(&format!("[{block}]")).unwrap();
                got.extend(values.iter().map(ToString::to_string));
            }
            prop_assert_eq!(got, items);
        }

        #[test]
        fn objects_are_cut_behind_braces(items in items(), piece in 1usize..300, rows in 1usize..5) {
            let text = items.join("\n");
            let cell = Arc::new(OnceLock::new());
            cell.set(Layout::Objects).unwrap();
            let blocks = blocks(&text, piece, Splitter::new(cell, rows, 1));
            let mut got = Vec::new();
            for block in blocks {
                let values = serde_json::Deserializer::from_str(&block).into_iter::<serde_json::Value>();
                got.extend(values.map(|value| value.unwrap().to_string()));
            }
            prop_assert_eq!(got, items);
        }
    }
}
