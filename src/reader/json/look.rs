//! What types the rows of a block have.

use std::sync::{Arc, OnceLock};

use super::TEXT;
use super::block::{RowCursor, content, line_breaks, read_error};
use super::fault::Fault;
use super::shape::Rows;
use super::split::Layout;
use crate::error::ReadError;
use crate::pipeline::{Block, BlockParser};
use crate::text::encoding::OnError;

/// Looks at the types in blocks.
pub struct Looker {
    pub layout: Arc<OnceLock<Layout>>,
    pub on_error: OnError,
}

/// What was seen in a block.
#[derive(Debug)]
pub struct Seen {
    pub rows: Rows,
    pub bytes: usize,
    /// Whether it is the first, of an array that blanks come before.
    pub blank_before_array: bool,
    /// Why not all of the block could be read.
    pub error: Option<ReadError>,
}

impl BlockParser for Looker {
    type Scratch = ();
    type Output = Seen;

    fn parse(&self, block: Block, (): &mut ()) -> Seen {
        let bytes = block.data().len();
        let data = &*content(&block, self.on_error);
        let layout = *self.layout.get_or_init(|| Layout::of(data));
        let is_first = block.index == 0;
        let (mut rows, mut fault) = look(data, is_first, layout, false, u64::MAX);
        if fault.is_some() && !layout.is_array() {
            // With a column of JSON, rows are read as by ujson, which takes what others don't.
            let (by_ujson, why) = look(data, is_first, layout, true, u64::MAX);
            if by_ujson.has_json() {
                (rows, fault) = (by_ujson, why);
            }
        }
        let blank_before_array =
            is_first && layout.is_array() && data.first().is_some_and(u8::is_ascii_whitespace);
        let Some(fault) = fault else {
            return Seen { rows, bytes, blank_before_array, error: None };
        };
        // Once more without the row that is damaged.
        let sound = rows.whole;
        let (rows, _) = look(data, is_first, layout, rows.has_json(), sound);
        let error = Some(read_error(&fault, data, sound, false));
        Seen { rows, bytes, blank_before_array, error }
    }
}

/// What is seen in the first `limit` rows of a block, and why not in all of them.
pub fn look(
    data: &[u8],
    is_first: bool,
    layout: Layout,
    ujson: bool,
    limit: u64,
) -> (Rows, Option<Fault>) {
    let mut seen = Rows::new();
    let mut rows = RowCursor::new(data, is_first, layout, ujson);
    let mut result = observe(&mut rows, layout, limit, &mut seen);
    if rows.cursor.has_repeated_key {
        // Once more: of such a key, the last value in an object counts.
        seen = Rows::new();
        rows = RowCursor::new(data, is_first, layout, ujson);
        rows.cursor.has_repeated_key = true;
        result = observe(&mut rows, layout, limit, &mut seen);
    }
    let lines = line_breaks(data) as u64;
    let is_blank = seen.count == 0 && !data.is_empty();
    if is_blank || !rows.one_a_line || lines > seen.count || lines + 1 < seen.count {
        seen.not_one_a_line();
    }
    let fault = result.err().map(|fault| rows.explain(fault));
    (seen, fault)
}

fn observe(
    rows: &mut RowCursor<'_>,
    layout: Layout,
    limit: u64,
    seen: &mut Rows,
) -> Result<(), Fault> {
    while seen.count < limit && rows.next_row()? {
        if layout == Layout::Values {
            seen.observe_item(&mut rows.cursor, TEXT)?;
        } else {
            seen.observe(&mut rows.cursor)?;
        }
        rows.end_row()?;
        seen.whole = seen.count;
    }
    Ok(())
}
