//! Batches of just the number of rows that was asked for.

use std::collections::VecDeque;

use arrow_array::RecordBatch;

/// Cuts batches into the parts of others. A batch that lies within one that came in is a slice of it and no copy.
pub struct Rechunker {
    rows: usize,
    pending: VecDeque<RecordBatch>,
    pending_rows: usize,
}

impl Rechunker {
    pub fn new(rows: usize) -> Self {
        Rechunker { rows: rows.max(1), pending: VecDeque::new(), pending_rows: 0 }
    }

    pub fn push(&mut self, batch: RecordBatch) {
        self.pending_rows += batch.num_rows();
        if batch.num_rows() > 0 {
            self.pending.push_back(batch);
        }
    }

    /// Puts batches that were taken back to the front.
    pub fn put_back(&mut self, batches: impl DoubleEndedIterator<Item = RecordBatch>) {
        for batch in batches.rev() {
            self.pending_rows += batch.num_rows();
            self.pending.push_front(batch);
        }
    }

    /// The parts of a whole batch, if there are rows for it.
    pub fn parts(&mut self) -> Option<Vec<RecordBatch>> {
        (self.pending_rows >= self.rows).then(|| self.take(self.rows))
    }

    /// The parts of the rows that are left: fewer than a batch.
    pub fn rest(&mut self) -> Option<Vec<RecordBatch>> {
        (self.pending_rows > 0).then(|| self.take(self.pending_rows))
    }

    /// Leaves out up to `rows` of the rows that are left; returns how many there were.
    pub fn skip(&mut self, rows: u64) -> u64 {
        let count = usize::try_from(rows).unwrap_or(usize::MAX).min(self.pending_rows);
        if count > 0 {
            self.take(count);
        }
        count as u64
    }

    fn take(&mut self, rows: usize) -> Vec<RecordBatch> {
        let mut parts = Vec::new();
        let mut left = rows;
        while left > 0
            && let Some(batch) = self.pending.pop_front()
        {
            if batch.num_rows() > left {
                self.pending.push_front(batch.slice(left, batch.num_rows() - left));
                parts.push(batch.slice(0, left));
                left = 0;
            } else {
                left -= batch.num_rows();
                parts.push(batch);
            }
        }
        self.pending_rows -= rows;
        parts
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::sync::Arc;

    use arrow_array::{Int64Array, RecordBatch};
    use arrow_select::concat::concat_batches;
    use proptest::prelude::*;

    use super::*;

    fn batch(values: std::ops::Range<i64>) -> RecordBatch {
        let column: Int64Array = values.collect();
        RecordBatch::try_from_iter([("a", Arc::new(column) as _)]).unwrap()
    }

    proptest! {
        #[test]
        fn rows_keep_their_order(sizes in proptest::collection::vec(0i64..20, 0..20), rows in 1usize..15, skipped in 0u64..20) {
            let mut chunks = Rechunker::new(rows);
            let mut start = 0;
            let mut got = Vec::new();
            for size in sizes {
                chunks.push(batch(start..start + size));
                start += size;
                while let Some(parts) = chunks.parts() {
                    let batch = concat_batches(&batch(0..1).schema(), &parts).unwrap();
                    prop_assert_eq!(batch.num_rows(), rows);
                    got.push(batch);
                }
            }
            let left = chunks.skip(skipped);
            let first = start - i64::try_from(chunks.pending_rows).unwrap();
            prop_assert!(left == skipped || chunks.pending_rows == 0);
            got.push(batch(first - i64::try_from(left).unwrap()..first));
            got.extend(chunks.rest().unwrap_or_default());
            let all = concat_batches(&batch(0..1).schema(), &got).unwrap();
            prop_assert_eq!(all, batch(0..start));
        }
    }
}
