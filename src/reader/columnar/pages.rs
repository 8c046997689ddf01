//! The pages of a column of Parquet, and whether they have the rows that the file says.
//!
//! The decoder takes the values of all row groups as one sequence: where a row group is damaged so that
//! it begins in the middle of a row, or has more or fewer rows than it should, the rows of others would
//! change. So the repetition levels are looked at before the decoder gets them.

use std::sync::Arc;
use std::vec;

use parquet::arrow::arrow_reader::RowGroups;
use parquet::basic::{Compression, Encoding};
use parquet::column::page::{Page, PageIterator, PageMetadata, PageReader};
use parquet::errors::{ParquetError, Result};
use parquet::file::metadata::{ParquetMetaData, RowGroupMetaData};
use parquet::file::reader::ChunkReader;
use parquet::file::serialized_reader::SerializedPageReader;

use crate::buffers::Buffers;
use crate::columnar::decompress::Codec;

/// Some row groups of a file.
pub struct Groups<R> {
    pub reader: Arc<R>,
    pub metadata: Arc<ParquetMetaData>,
    pub groups: Vec<usize>,
    /// For what pages decompress to.
    pub buffers: Arc<Buffers>,
}

impl<R: ChunkReader + 'static> RowGroups for Groups<R> {
    fn num_rows(&self) -> usize {
        self.row_groups().map(rows_of).sum()
    }

    fn column_chunks(&self, column: usize) -> Result<Box<dyn PageIterator>> {
        Ok(Box::new(Chunks {
            reader: Arc::clone(&self.reader),
            metadata: Arc::clone(&self.metadata),
            groups: self.groups.clone().into_iter(),
            buffers: Arc::clone(&self.buffers),
            column,
        }))
    }

    fn row_groups(&self) -> Box<dyn Iterator<Item = &RowGroupMetaData> + '_> {
        let all = self.metadata.row_groups();
        Box::new(self.groups.iter().filter_map(|group| all.get(*group)))
    }

    fn metadata(&self) -> &ParquetMetaData {
        &self.metadata
    }
}

fn rows_of(group: &RowGroupMetaData) -> usize {
    usize::try_from(group.num_rows()).unwrap_or(0)
}

struct Chunks<R> {
    reader: Arc<R>,
    metadata: Arc<ParquetMetaData>,
    groups: vec::IntoIter<usize>,
    buffers: Arc<Buffers>,
    column: usize,
}

impl<R: ChunkReader + 'static> Chunks<R> {
    fn chunk(&self, index: usize) -> Result<Box<dyn PageReader>> {
        let lacks = || ParquetError::General("a row group lacks a column".to_owned());
        let group = self.metadata.row_groups().get(index).ok_or_else(lacks)?;
        let column = group.columns().get(self.column).ok_or_else(lacks)?;
        let rows = rows_of(group);
        let codec = Codec::of(column.compression());
        let as_stored = || {
            let column = column.clone().into_builder();
            column.set_compression(Compression::UNCOMPRESSED).build()
        };
        let plain = codec.map(|_| as_stored()).transpose()?;
        let read = plain.as_ref().unwrap_or(column);
        let pages = SerializedPageReader::new(Arc::clone(&self.reader), read, rows, None)?;
        let max_level = column.column_descr().max_rep_level();
        let buffers = Arc::clone(&self.buffers);
        Ok(Box::new(Pages { pages, codec, buffers, max_level, rows, seen: Some(0), index }))
    }
}

impl<R: ChunkReader + 'static> Iterator for Chunks<R> {
    type Item = Result<Box<dyn PageReader>>;

    fn next(&mut self) -> Option<Self::Item> {
        let group = self.groups.next()?;
        Some(self.chunk(group))
    }
}

impl<R: ChunkReader + 'static> PageIterator for Chunks<R> {}

/// The pages of one column in one row group, decompressed and counted.
struct Pages<P> {
    pages: P,
    /// What is to be decompressed here.
    codec: Option<Codec>,
    buffers: Arc<Buffers>,
    max_level: i16,
    rows: usize,
    /// Rows that began in the pages so far; `None` once that can't be told.
    seen: Option<usize>,
    /// The number of the row group.
    index: usize,
}

impl<P: PageReader> Pages<P> {
    fn decompressed(&self, page: Page) -> Result<Page> {
        match self.codec {
            Some(codec) => codec.decompress(page, &self.buffers),
            None => Ok(page),
        }
    }

    fn count(&mut self, page: &Page) -> Result<()> {
        let Some(seen) = self.seen.filter(|_| page.is_data_page()) else { return Ok(()) };
        let Some(levels) = Levels::of(page, self.max_level) else {
            self.seen = None;
            return Ok(());
        };
        // Only in the old kind of page a row may go on that began in the page before.
        let begins = seen == 0 || matches!(page, Page::DataPageV2 { .. });
        if begins && !levels.first_is_zero {
            let message = format!("row group {} begins a page inside a row", self.index);
            return Err(ParquetError::General(message));
        }
        self.seen = Some(seen + levels.zeros);
        self.check(seen + levels.zeros > self.rows)
    }

    fn check(&self, wrong: bool) -> Result<()> {
        match self.seen {
            Some(seen) if wrong => Err(ParquetError::General(format!(
                "row group {} has {seen} rows in its pages and says it has {}",
                self.index, self.rows
            ))),
            _ => Ok(()),
        }
    }

    fn check_whole(&self) -> Result<()> {
        self.check(self.seen.is_some_and(|seen| seen != self.rows))
    }
}

impl<P: PageReader> PageReader for Pages<P> {
    fn get_next_page(&mut self) -> Result<Option<Page>> {
        let page = self.pages.get_next_page()?;
        let page = page.map(|page| self.decompressed(page)).transpose()?;
        match &page {
            Some(page) => self.count(page)?,
            None => self.check_whole()?,
        }
        Ok(page)
    }

    fn peek_next_page(&mut self) -> Result<Option<PageMetadata>> {
        let page = self.pages.peek_next_page()?;
        if page.is_none() {
            self.check_whole()?;
        }
        Ok(page)
    }

    fn skip_next_page(&mut self) -> Result<()> {
        if let Some(page) = self.pages.peek_next_page()?
            && !page.is_dict
        {
            // A page whose rows aren't known is not skipped.
            let rows = page.num_rows.or(page.num_levels.filter(|_| self.max_level == 0));
            self.seen = self.seen.zip(rows).map(|(seen, rows)| seen + rows);
        }
        self.pages.skip_next_page()
    }

    fn supports_deferred_dictionary(&self) -> bool {
        self.pages.supports_deferred_dictionary()
    }

    fn take_deferred_dictionary(&mut self) -> Result<Option<Page>> {
        let page = self.pages.take_deferred_dictionary()?;
        page.map(|page| self.decompressed(page)).transpose()
    }

    fn at_record_boundary(&mut self) -> Result<bool> {
        self.pages.at_record_boundary()
    }
}

impl<P: PageReader> Iterator for Pages<P> {
    type Item = Result<Page>;

    fn next(&mut self) -> Option<Self::Item> {
        self.get_next_page().transpose()
    }
}

/// What the repetition levels of a page say: a row begins at each zero.
#[derive(Debug, PartialEq)]
struct Levels {
    first_is_zero: bool,
    zeros: usize,
}

impl Levels {
    /// `None` of an encoding that nobody writes any more.
    fn of(page: &Page, max_level: i16) -> Option<Levels> {
        let count = page.num_values() as usize;
        if max_level == 0 || count == 0 {
            return Some(Levels { first_is_zero: true, zeros: count });
        }
        let width = 16 - max_level.leading_zeros() as usize;
        let levels = match page {
            Page::DataPage { buf, rep_level_encoding: Encoding::RLE, .. } => {
                let length = buf.get(..4).and_then(|length| length.try_into().ok())?;
                let length = usize::try_from(u32::from_le_bytes(length)).ok()?;
                buf.get(4..)?.get(..length)?
            }
            Page::DataPageV2 { buf, rep_levels_byte_len, .. } => {
                buf.get(..*rep_levels_byte_len as usize)?
            }
            _ => return None,
        };
        Some(Levels::in_runs(levels, width, count))
    }

    /// Of runs of one value, and runs of packed values of `width` bits; what ends early is counted as
    /// far as it goes, for the decoder will say so.
    fn in_runs(mut data: &[u8], width: usize, count: usize) -> Levels {
        let (mut left, mut zeros, mut first_is_zero) = (count, 0, None);
        while left > 0
            && let Some((header, rest)) = varint(data)
        {
            let length = header >> 1;
            let is_packed = header & 1 == 1;
            let bytes = if is_packed { length.saturating_mul(width) } else { width.div_ceil(8) };
            let run = rest.get(..bytes.min(rest.len())).unwrap_or_default();
            data = rest.get(run.len()..).unwrap_or_default();
            let values = if is_packed { length.saturating_mul(8) } else { length }.min(left);
            let (first, found) = if is_packed {
                (bits(run, 0, width) == 0, zeros_in(run, width, values))
            } else {
                let zero = run.iter().all(|byte| *byte == 0);
                (zero, if zero { values } else { 0 })
            };
            if values > 0 {
                first_is_zero.get_or_insert(first);
            }
            zeros += found;
            left -= values;
        }
        Levels { first_is_zero: first_is_zero.unwrap_or(true), zeros }
    }
}

fn varint(data: &[u8]) -> Option<(usize, &[u8])> {
    let mut value = 0usize;
    for (index, byte) in data.iter().enumerate().take(10) {
        value |= usize::from(byte & 0x7f).checked_shl(7 * index as u32)?;
        if byte & 0x80 == 0 {
            return Some((value, data.get(index + 1..)?));
        }
    }
    None
}

/// The value of `width` bits, 16 at most, that begins at bit `at`.
fn bits(packed: &[u8], at: usize, width: usize) -> u32 {
    let byte = |index: usize| packed.get(at / 8 + index).copied().map_or(0, u32::from);
    let three = byte(0) | byte(1) << 8 | byte(2) << 16;
    (three >> (at % 8)) & ((1 << width) - 1)
}

fn zeros_in(packed: &[u8], width: usize, values: usize) -> usize {
    let values = values.min(packed.len() * 8 / width);
    if width == 1 {
        let (whole, rest) = packed.split_at(values / 8);
        let ones: u32 = whole.iter().map(|byte| byte.count_ones()).sum();
        let last = rest.first().map_or(0, |byte| (byte & ((1 << (values % 8)) - 1)).count_ones());
        return values - (ones + last) as usize;
    }
    (0..values).filter(|index| bits(packed, index * width, width) == 0).count()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Levels as a writer may store them: runs of both kinds.
    fn stored(runs: &[(bool, Vec<u16>)], width: usize) -> (Vec<u8>, Vec<u16>) {
        let (mut data, mut levels) = (Vec::new(), Vec::new());
        let header = |data: &mut Vec<u8>, mut value: usize| {
            while value >= 0x80 {
                data.push((value & 0x7f) as u8 | 0x80);
                value >>= 7;
            }
            data.push(value as u8);
        };
        for (packed, values) in runs {
            if *packed {
                // A multiple of eight: the last run alone may be cut short.
                let mut values = values.clone();
                values.resize(values.len().next_multiple_of(8), 0);
                header(&mut data, (values.len() / 8) << 1 | 1);
                let mut packed = vec![0u8; values.len() * width / 8];
                for (index, value) in values.iter().enumerate() {
                    for bit in (0..width).filter(|bit| value >> bit & 1 == 1) {
                        packed[(index * width + bit) / 8] |= 1 << ((index * width + bit) % 8);
                    }
                }
                data.extend(packed);
                levels.extend(values);
            } else {
                header(&mut data, values.len() << 1);
                data.extend(&values[0].to_le_bytes()[..width.div_ceil(8)]);
                levels.extend(vec![values[0]; values.len()]);
            }
        }
        (data, levels)
    }

    proptest! {
        #[test]
        fn levels_are_counted(
            width in 1usize..=9,
            runs in proptest::collection::vec(
                (any::<bool>(), proptest::collection::vec(0u16..512, 1..40)), 1..6,
            ),
            cut in 0usize..8,
        ) {
            let narrow = |level: &u16| (level % 3).min((1 << width) - 1);
            let runs: Vec<(bool, Vec<u16>)> = runs.iter()
                .map(|(packed, levels)| (*packed, levels.iter().map(narrow).collect()))
                .collect();
            let (data, mut levels) = stored(&runs, width);
            levels.truncate((levels.len() - cut.min(levels.len() - 1)).max(1));
            let found = Levels::in_runs(&data, width, levels.len());
            let zeros = levels.iter().filter(|level| **level == 0).count();
            prop_assert_eq!(found, Levels { first_is_zero: levels[0] == 0, zeros });
        }

        #[test]
        fn anything_is_looked_at(
            data in proptest::collection::vec(any::<u8>(), 0..40),
            width in 1usize..=16,
            count in 1usize..100,
        ) {
            prop_assert!(Levels::in_runs(&data, width, count).zeros <= count);
        }
    }
}
