//! Pages of Parquet decompressed into memory that is used again, by decoders that are used again.
//!
//! The parquet crate makes a compressor and a decompressor of zstd for every column of every row group,
//! and asks for fresh memory for every page: for files of many short row groups a quarter of the time.

use std::cell::RefCell;
use std::sync::Arc;

use bytes::Bytes;
use parquet::basic::Compression;
use parquet::column::page::Page;
use parquet::errors::{ParquetError, Result};
use zstd::zstd_safe::{DCtx, get_error_name, get_frame_content_size};

use crate::buffers::{Buffers, LEAST_BYTES, Lent};

/// A codec of which this makes more than the parquet crate.
#[derive(Debug, Clone, Copy)]
pub enum Codec {
    Zstd,
    Snappy,
}

/// What a page may have: its header says so in 31 bits.
const MOST_BYTES: usize = i32::MAX as usize;
/// What a byte may become: with Snappy, three say that 64 are copied; with zstd, four that a block has
/// 128 KiB of one byte.
const SNAPPY_RATIO: usize = 64;
const ZSTD_RATIO: usize = 64 << 10;
/// What it becomes, where a frame does not say it.
const USUAL_RATIO: usize = 4;

/// What zstd calls it.
const TOO_SMALL: &str = "Destination buffer is too small";

thread_local! {
    static ZSTD: RefCell<DCtx<'static>> = RefCell::new(DCtx::create());
}

impl Codec {
    /// The codec of a column chunk; `None` where it is left to the parquet crate.
    pub fn of(compression: Compression) -> Option<Codec> {
        match compression {
            Compression::ZSTD(_) => Some(Codec::Zstd),
            Compression::SNAPPY => Some(Codec::Snappy),
            _ => None,
        }
    }

    /// The page with its content decompressed.
    pub fn decompress(self, mut page: Page, buffers: &Arc<Buffers>) -> Result<Page> {
        match &mut page {
            Page::DataPage { buf, .. } | Page::DictionaryPage { buf, .. } => {
                *buf = self.content(buf, 0, buffers)?;
            }
            Page::DataPageV2 {
                buf,
                def_levels_byte_len,
                rep_levels_byte_len,
                is_compressed,
                ..
            } if *is_compressed => {
                // Levels are not compressed.
                let levels = *def_levels_byte_len as usize + *rep_levels_byte_len as usize;
                *buf = self.content(buf, levels, buffers)?;
                *is_compressed = false;
            }
            Page::DataPageV2 { .. } => {}
        }
        Ok(page)
    }

    /// The first `plain` bytes as they are, and behind them what the others decompress to.
    fn content(self, stored: &Bytes, plain: usize, buffers: &Arc<Buffers>) -> Result<Bytes> {
        let (plain, packed) = stored.split_at_checked(plain).ok_or_else(|| {
            ParquetError::General("the levels of a page are longer than the page".to_owned())
        })?;
        // A page in which all is null has no values.
        if packed.is_empty() {
            return Ok(stored.clone());
        }
        let (said, ratio) = match self {
            Codec::Snappy => {
                (Some(snap::raw::decompress_len(packed).map_err(damage)?), SNAPPY_RATIO)
            }
            Codec::Zstd => {
                let said = get_frame_content_size(packed).ok().flatten();
                (said.map(|size| usize::try_from(size).unwrap_or(usize::MAX)), ZSTD_RATIO)
            }
        };
        let most = packed.len().saturating_mul(ratio).min(MOST_BYTES);
        if let Some(said) = said.filter(|said| *said > most) {
            let message = format!("a page of {} bytes says it has {said}", packed.len());
            return Err(ParquetError::General(message));
        }
        let mut room = said.unwrap_or_else(|| packed.len().saturating_mul(USUAL_RATIO).min(most));
        loop {
            match self.in_room(plain, packed, room, buffers)? {
                Some(content) => return Ok(content),
                // What the first of several frames says may be nothing.
                None if room < most => {
                    room = room.max(packed.len()).saturating_mul(2).min(most);
                }
                None => {
                    let message = format!("a page of {} bytes has more than {most}", packed.len());
                    return Err(ParquetError::General(message));
                }
            }
        }
    }

    /// `None` where the room is too small.
    fn in_room(
        self,
        plain: &[u8],
        packed: &[u8],
        room: usize,
        buffers: &Arc<Buffers>,
    ) -> Result<Option<Bytes>> {
        let whole = plain.len() + room;
        let mut found = None;
        let mut fill = |place: &mut [u8]| {
            let (levels, values) = place.split_at_mut(plain.len());
            levels.copy_from_slice(plain);
            found = self.decode(packed, values)?;
            Ok::<_, ParquetError>(())
        };
        let content = if whole < LEAST_BYTES {
            let mut content = vec![0; whole];
            fill(&mut content)?;
            Bytes::from(content)
        } else {
            Bytes::from_owner(Lent::filled(buffers, whole, fill)?)
        };
        Ok(found.map(|length| content.slice(..plain.len() + length)))
    }

    /// How many bytes they are; `None` where there are more than the place has room for.
    fn decode(self, packed: &[u8], place: &mut [u8]) -> Result<Option<usize>> {
        match self {
            Codec::Snappy => {
                snap::raw::Decoder::new().decompress(packed, place).map(Some).map_err(damage)
            }
            Codec::Zstd => {
                ZSTD.with_borrow_mut(|decoder| match decoder.decompress(place, packed) {
                    Ok(length) => Ok(Some(length)),
                    Err(error) if get_error_name(error) == TOO_SMALL => Ok(None),
                    Err(error) => Err(ParquetError::General(get_error_name(error).to_owned())),
                })
            }
        }
    }
}

fn damage(error: snap::Error) -> ParquetError {
    ParquetError::General(error.to_string())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::io::Write;

    use parquet::basic::Encoding;
    use proptest::prelude::*;

    use super::*;

    /// Content packed in every way that a writer may.
    fn packed(content: &[u8]) -> Vec<(Codec, Vec<u8>)> {
        let zstd = |content: &[u8]| zstd::bulk::compress(content, 1).unwrap();
        let mut unsaid = zstd::stream::write::Encoder::new(Vec::new(), 1).unwrap();
        unsaid.write_all(content).unwrap();
        let (first, second) = content.split_at(content.len() / 3);
        vec![
            (Codec::Snappy, snap::raw::Encoder::new().compress_vec(content).unwrap()),
            (Codec::Zstd, zstd(content)),
            (Codec::Zstd, unsaid.finish().unwrap()),
            (Codec::Zstd, [zstd(first), zstd(second)].concat()),
            (Codec::Zstd, [zstd(&[]), zstd(content)].concat()),
        ]
    }

    fn contents() -> impl Strategy<Value = Vec<u8>> {
        let piece = proptest::collection::vec(any::<u8>(), 1..200);
        (piece, 1usize..3000).prop_map(|(piece, times)| piece.repeat(times))
    }

    proptest! {
        #[test]
        fn all_of_it_comes_back(content in contents(), levels in 0usize..50) {
            let buffers = Arc::default();
            let levels = vec![7; levels];
            for (codec, packed) in packed(&content) {
                let stored = Bytes::from([&levels[..], &packed].concat());
                let page = Page::DataPageV2 {
                    buf: stored,
                    num_values: 1,
                    encoding: Encoding::PLAIN,
                    num_nulls: 0,
                    num_rows: 1,
                    def_levels_byte_len: levels.len() as u32,
                    rep_levels_byte_len: 0,
                    is_compressed: true,
                    statistics: None,
                };
                let page = codec.decompress(page, &buffers).unwrap();
                prop_assert_eq!(page.buffer(), &[&levels[..], &content].concat());
                // It is not compressed any more.
                let page = codec.decompress(page, &buffers).unwrap();
                prop_assert_eq!(page.buffer().len(), levels.len() + content.len());
            }
        }

        #[test]
        fn what_is_damaged_is_an_error_or_something_else(
            content in contents(),
            at in any::<proptest::sample::Index>(),
            flipped in 1u8..,
            cut in any::<proptest::sample::Index>(),
        ) {
            let buffers = Arc::default();
            for (codec, mut packed) in packed(&content) {
                let short = packed.get(..cut.index(packed.len())).unwrap().to_vec();
                let at = at.index(packed.len());
                packed[at] ^= flipped;
                for packed in [short, packed] {
                    let page = Page::DictionaryPage {
                        buf: packed.into(),
                        num_values: 1,
                        encoding: Encoding::PLAIN,
                        is_sorted: false,
                    };
                    let _ = codec.decompress(page, &buffers);
                }
            }
        }
    }

    #[test]
    fn a_page_that_claims_too_much_is_refused() {
        let page = |buf: Vec<u8>| Page::DictionaryPage {
            buf: buf.into(),
            num_values: 1,
            encoding: Encoding::PLAIN,
            is_sorted: false,
        };
        // Four gigabytes less one, in a byte.
        let snappy = vec![0xff, 0xff, 0xff, 0xff, 0x0f, 0x00];
        let error = Codec::Snappy.decompress(page(snappy), &Arc::default()).unwrap_err();
        assert!(error.to_string().contains("a page of 6 bytes says it has 4294967295"), "{error}");
        let mut zstd = zstd::bulk::compress(&[0; 300], 1).unwrap();
        // The content's size in eight bytes instead of two.
        zstd[4] |= 0xc0;
        zstd.splice(5..7, (1u64 << 60).to_le_bytes());
        let error = Codec::Zstd.decompress(page(zstd), &Arc::default()).unwrap_err();
        assert!(error.to_string().contains("says it has"), "{error}");
    }
}
