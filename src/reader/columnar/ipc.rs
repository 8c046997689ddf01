//! Arrow IPC, files and streams, out of a memory map: uncompressed columns are never copied, compressed
//! ones are decompressed batch by batch on several threads.
//!
//! Where the footer of a file is missing, its messages are read as those of a stream: every whole batch,
//! then the error.

use std::collections::HashMap;
use std::sync::Arc;

use arrow_array::{ArrayRef, RecordBatch};
use arrow_buffer::Buffer;
use arrow_data::UnsafeFlag;
use arrow_ipc::convert::try_fb_to_schema;
use arrow_ipc::reader::{RecordBatchDecoder, read_dictionary_impl};
use arrow_ipc::{CompressionType, Message, MessageHeader, MetadataVersion, root_as_message};
use arrow_schema::{Schema, SchemaRef};
use bytes::Bytes;

use crate::columnar::conform::Conform;
use crate::columnar::{merged, normal, utf8};
use crate::error::{ReadError, Result};
use crate::guard::guarded;
use crate::mapped;
use crate::options::Options;
use crate::ordered::Ordered;
use crate::scan::{BatchSource, Format, Scan, Skipped};
use crate::source::Source;

pub struct Ipc;

impl Ipc {
    pub fn new(options: Options) -> Result<Self> {
        options.finish("arrow")?;
        Ok(Ipc)
    }
}

impl Format for Ipc {
    fn infer(&self, files: &[Source], scan: &Scan) -> Result<SchemaRef> {
        merged::schema_of(files, scan, |file| {
            Ok(normal::schema(&Content::open(file, scan)?.schema))
        })
    }

    fn open(
        &self,
        file: &Source,
        schema: &SchemaRef,
        given: bool,
        scan: &Scan,
    ) -> Result<Box<dyn BatchSource>> {
        let content = Content::open(file, scan)?;
        let conform = Conform::new(&content.schema, schema, scan.columns.as_deref(), given)
            .map_err(|error| error.in_file(file.path()))?;
        Ok(Box::new(Batches::new(content, conform, file.clone(), scan)))
    }

    fn num_rows(&self, file: &Source, scan: &Scan) -> Result<Option<u64>> {
        let content = Content::open(file, scan)?;
        Ok(content.damage.is_none().then(|| content.batches.iter().map(|batch| batch.rows).sum()))
    }
}

/// Where the batches of a file are.
struct Content {
    bytes: Buffer,
    schema: SchemaRef,
    /// What the decoder is told: binaries for strings.
    binary: SchemaRef,
    version: MetadataVersion,
    batches: Vec<Batch>,
    /// The dictionaries, and the first batch that they are for.
    dictionaries: Vec<(usize, HashMap<i64, ArrayRef>)>,
    damage: Option<ReadError>,
}

#[derive(Clone, Copy)]
struct Batch {
    metadata: (usize, usize),
    body: (usize, usize),
    rows: u64,
}

const MAGIC: &[u8] = b"ARROW1";
const OLD_FEATHER: &[u8] = b"FEA1";
/// What a batch may decompress to.
const MAX_BATCH_BYTES: u64 = 1 << 30;
/// A first batch that has more is decoded by a thread, while the caller looks for Ctrl-C.
const AT_ONCE_BYTES: usize = 2 << 20;

impl Content {
    fn open(file: &Source, scan: &Scan) -> Result<Content> {
        let bytes = mapped::map(file, scan)?;
        guarded(|| Content::parse(&bytes)).map_err(|error| error.in_file(file.path()))
    }

    fn parse(bytes: &Bytes) -> Result<Content> {
        if bytes.is_empty() {
            return Err(ReadError::damaged("the file is empty: not even a schema"));
        }
        if bytes.starts_with(OLD_FEATHER) {
            let message =
                "a Feather file of version 1, which is not supported: write it as version 2";
            return Err(ReadError::damaged(message));
        }
        if !bytes.starts_with(MAGIC) {
            return Content::scan(bytes, 0);
        }
        let footer = Content::from_footer(bytes);
        footer.or_else(|error| {
            let mut content = Content::scan(bytes, 8)?;
            content.damage = Some(error);
            Ok(content)
        })
    }

    fn from_footer(bytes: &Bytes) -> Result<Content> {
        let tail = bytes.len().checked_sub(10).filter(|tail| *tail >= 8);
        let tail = tail.ok_or_else(|| ReadError::damaged("the Arrow file is too short"))?;
        if bytes.get(tail + 4..) != Some(MAGIC) {
            return Err(ReadError::damaged(
                "the Arrow file does not end with ARROW1: its footer is missing or damaged",
            ));
        }
        let length = le_i32(bytes, tail).and_then(|length| usize::try_from(length).ok());
        let start = length.and_then(|length| tail.checked_sub(length));
        let start = start.ok_or_else(|| ReadError::damaged("the footer's length is wrong"))?;
        let footer = arrow_ipc::root_as_footer(bytes.get(start..tail).unwrap_or_default())
            .map_err(|error| ReadError::damaged(format!("the footer is damaged: {error}")))?;
        let schema = footer.schema().ok_or_else(|| ReadError::damaged("there is no schema"))?;
        let schema = Arc::new(try_fb_to_schema(schema)?);
        let mut content = Content::new(bytes, schema, footer.version());
        for block in footer.dictionaries().iter().flatten() {
            let (message, _) = content.message_at(block.offset())?;
            content.add_dictionary(message)?;
        }
        for block in footer.recordBatches().iter().flatten() {
            // A block that is not there is a damage behind the batches before it.
            match content.message_at(block.offset()) {
                Ok((message, MessageHeader::RecordBatch)) => content.batches.push(message),
                Ok(_) => {
                    content.damage = Some(ReadError::damaged("a block is not a record batch"));
                    break;
                }
                Err(error) => {
                    content.damage = Some(error);
                    break;
                }
            }
        }
        Ok(content)
    }

    fn new(bytes: &Bytes, schema: SchemaRef, version: MetadataVersion) -> Content {
        Content {
            bytes: Buffer::from(bytes.clone()),
            binary: Arc::new(utf8::as_binary(&schema)),
            schema,
            version,
            batches: Vec::new(),
            dictionaries: vec![(0, HashMap::new())],
            damage: None,
        }
    }

    /// Goes from message to message, as in a stream.
    fn scan(bytes: &Bytes, start: usize) -> Result<Content> {
        let mut content: Option<Content> = None;
        let mut position = start;
        loop {
            let found = match next_message(bytes, position) {
                Ok(Some(found)) => found,
                Ok(None) => break,
                Err(error) => {
                    let Some(content) = &mut content else { return Err(error) };
                    content.damage = Some(error);
                    break;
                }
            };
            let result = match (&mut content, found.kind) {
                (None, MessageHeader::Schema) => {
                    let message = parse(bytes, found.batch.metadata)?;
                    let schema = message.header_as_schema();
                    let schema = schema.ok_or_else(|| ReadError::damaged("no schema"))?;
                    let schema = Arc::new(try_fb_to_schema(schema)?);
                    content = Some(Content::new(bytes, schema, message.version()));
                    Ok(())
                }
                (None, _) => return Err(ReadError::damaged("does not begin with a schema")),
                (Some(content), MessageHeader::DictionaryBatch) => {
                    content.add_dictionary(found.batch)
                }
                (Some(content), MessageHeader::RecordBatch) => {
                    content.batches.push(found.batch);
                    Ok(())
                }
                (Some(_), kind) => {
                    Err(ReadError::damaged(format!("an unexpected message: {kind:?}")))
                }
            };
            if let (Err(error), Some(content)) = (result, &mut content) {
                content.damage = Some(error.at_byte(position as u64));
                break;
            }
            position = found.end;
        }
        content.ok_or_else(|| ReadError::damaged("there is no schema"))
    }

    fn message_at(&self, offset: i64) -> Result<(Batch, MessageHeader)> {
        let offset = usize::try_from(offset)
            .map_err(|_| ReadError::damaged("the footer points before the file"))?;
        match next_message(&self.bytes, offset)? {
            Some(found) => Ok((found.batch, found.kind)),
            None => Err(ReadError::damaged("the footer points to no message")),
        }
    }

    fn add_dictionary(&mut self, message: Batch) -> Result<()> {
        let mut dictionaries =
            self.dictionaries.last().map_or_else(HashMap::new, |(_, last)| last.clone());
        let parsed = parse(&self.bytes, message.metadata)?;
        let batch = parsed
            .header_as_dictionary_batch()
            .ok_or_else(|| ReadError::damaged("a dictionary is missing"))?;
        let data = batch.data().ok_or_else(|| ReadError::damaged("a dictionary has no data"))?;
        let body = self.slice(message.body)?;
        check_compressed(&body, data)?;
        read_dictionary_impl(
            &body,
            batch,
            &self.schema,
            &mut dictionaries,
            &self.version,
            false,
            UnsafeFlag::new(),
        )?;
        let first = self.batches.len();
        match self.dictionaries.last_mut() {
            Some(last) if last.0 == first => last.1 = dictionaries,
            _ => self.dictionaries.push((first, dictionaries)),
        }
        Ok(())
    }

    fn slice(&self, (start, length): (usize, usize)) -> Result<Buffer> {
        match start.checked_add(length) {
            Some(end) if end <= self.bytes.len() => Ok(self.bytes.slice_with_length(start, length)),
            _ => Err(ReadError::damaged("the file ends inside a record batch: truncated")),
        }
    }

    /// The columns of `projection`, and the number of rows.
    fn decode(&self, index: usize, projection: &[usize]) -> Result<(Vec<ArrayRef>, usize)> {
        let Some(batch) = self.batches.get(index) else {
            return Err(ReadError::damaged("there is no such batch"));
        };
        let message = parse(&self.bytes, batch.metadata)?;
        let header = message
            .header_as_record_batch()
            .ok_or_else(|| ReadError::damaged("a record batch is missing"))?;
        let body = self.slice(batch.body)?;
        check_compressed(&body, header)?;
        let dictionaries = self.dictionaries.iter().rfind(|(first, _)| *first <= index);
        let none = HashMap::new();
        let dictionaries = dictionaries.map_or(&none, |(_, dictionaries)| dictionaries);
        let decoder = RecordBatchDecoder::try_new(
            &body,
            header,
            Arc::clone(&self.binary),
            dictionaries,
            &self.version,
        )?;
        let decoded = decoder.with_projection(Some(projection)).read_record_batch()?;
        let columns = decoded.columns().iter().zip(projection);
        let columns =
            columns.map(|(column, index)| utf8::to_text(column, self.schema.field(*index)));
        Ok((columns.collect::<Result<_>>()?, decoded.num_rows()))
    }
}

struct Found {
    batch: Batch,
    kind: MessageHeader,
    end: usize,
}

fn le_i32(bytes: &[u8], start: usize) -> Option<i32> {
    let bytes = bytes.get(start..start.checked_add(4)?)?;
    Some(i32::from_le_bytes(bytes.try_into().ok()?))
}

fn parse(bytes: &[u8], (start, length): (usize, usize)) -> Result<Message<'_>> {
    let bytes = start.checked_add(length).and_then(|end| bytes.get(start..end));
    root_as_message(bytes.unwrap_or_default()).map_err(|error| {
        ReadError::damaged(format!("a message is damaged: {error}")).at_byte(start as u64)
    })
}

/// The message that begins at `position`; `None` at the end of the stream.
fn next_message(bytes: &[u8], position: usize) -> Result<Option<Found>> {
    let truncated = || {
        ReadError::damaged("the file ends inside a message: truncated").at_byte(bytes.len() as u64)
    };
    if position >= bytes.len() {
        return Ok(None);
    }
    let mut length = le_i32(bytes, position).ok_or_else(truncated)?;
    let mut start = position + 4;
    // Before 0.15 there was no continuation marker.
    if length == -1 {
        length = le_i32(bytes, start).ok_or_else(truncated)?;
        start += 4;
    }
    if length == 0 {
        return Ok(None);
    }
    let length = usize::try_from(length).map_err(|_| {
        ReadError::damaged("a message has a negative length").at_byte(position as u64)
    })?;
    let body = start.checked_add(length).filter(|end| *end <= bytes.len()).ok_or_else(truncated)?;
    let message = parse(bytes, (start, length))?;
    let body_length = usize::try_from(message.bodyLength()).map_err(|_| {
        ReadError::damaged("a message has a negative body").at_byte(position as u64)
    })?;
    let end =
        body.checked_add(body_length).filter(|end| *end <= bytes.len()).ok_or_else(truncated)?;
    let rows = message.header_as_record_batch().map_or(0, |batch| batch.length());
    let rows = u64::try_from(rows)
        .map_err(|_| ReadError::damaged("a batch has a negative number of rows"))?;
    let batch = Batch { metadata: (start, length), body: (body, body_length), rows };
    Ok(Some(Found { batch, kind: message.header_type(), end }))
}

/// Refuses buffers that say they are far bigger than they can be, before memory is asked for.
fn check_compressed(body: &Buffer, batch: arrow_ipc::RecordBatch<'_>) -> Result<()> {
    let Some(compression) = batch.compression() else { return Ok(()) };
    let mut total = 0u64;
    for buffer in batch.buffers().iter().flatten() {
        let start = usize::try_from(buffer.offset()).unwrap_or(usize::MAX);
        let length = usize::try_from(buffer.length()).unwrap_or(usize::MAX);
        let stored = start.checked_add(length).and_then(|end| body.get(start..end));
        let Some(stored) = stored else {
            return Err(ReadError::damaged("a buffer lies outside of its record batch"));
        };
        let Some(Ok(claimed)) = stored.get(..8).map(<[u8; 8]>::try_from) else { continue };
        let claimed = i64::from_le_bytes(claimed);
        if let Ok(claimed) = u64::try_from(claimed) {
            total = total.saturating_add(claimed);
            if compression.codec() == CompressionType::ZSTD
                && let Some(frame) = stored.get(8..)
                && let Ok(Some(size)) = zstd::zstd_safe::get_frame_content_size(frame)
                && size != claimed
            {
                let message = format!("a buffer of {size} bytes says it has {claimed}");
                return Err(ReadError::damaged(message));
            }
        }
    }
    if total > MAX_BATCH_BYTES {
        let message = format!("a record batch says it has {total} bytes, more than 1 GB");
        return Err(ReadError::too_large(message));
    }
    Ok(())
}

struct Batches {
    content: Arc<Content>,
    conform: Conform,
    file: Source,
    scan: Scan,
    next: usize,
    row: u64,
    ordered: Option<Ordered<RecordBatch>>,
    damage: Option<ReadError>,
    done: bool,
}

impl Batches {
    fn new(mut content: Content, conform: Conform, file: Source, scan: &Scan) -> Self {
        let damage = content.damage.take();
        Batches {
            content: Arc::new(content),
            conform,
            file,
            scan: scan.clone(),
            next: 0,
            row: 0,
            ordered: None,
            damage,
            done: false,
        }
    }

    fn start(&self) -> Ordered<RecordBatch> {
        let (content, conform) = (Arc::clone(&self.content), self.conform.clone());
        let indices = conform.indices();
        let firsts: Vec<u64> = content
            .batches
            .iter()
            .scan(0, |row, batch| Some(std::mem::replace(row, *row + batch.rows)))
            .collect();
        let progress = Arc::clone(&self.scan.progress);
        let first = content.batches.get(self.next);
        let at_once = self.next == 0 && first.is_none_or(|batch| batch.body.1 < AT_ONCE_BYTES);
        let size = RecordBatch::get_array_memory_size;
        Ordered::new(&self.scan, self.next, at_once, size, move |index| {
            let Some(batch) = content.batches.get(index) else { return Ok(None) };
            let row = firsts.get(index).copied().unwrap_or(0);
            let decoded = guarded(|| {
                let (columns, rows) = content.decode(index, &indices)?;
                conform.apply(columns, rows, 0)
            });
            progress.add((batch.metadata.1 + batch.body.1) as u64);
            decoded.map(Some).map_err(|mut error| {
                // Counted from the start of the batch, or not at all.
                error.place.row = Some(row + error.place.row.unwrap_or(0));
                error
            })
        })
    }

    fn batch(&mut self) -> Result<Option<RecordBatch>> {
        loop {
            let mut ordered = match self.ordered.take() {
                Some(ordered) => ordered,
                None => self.start(),
            };
            let batch = ordered.advance()?;
            self.ordered = Some(ordered);
            let Some(batch) = batch else {
                return match self.damage.take() {
                    Some(damage) if damage.place.row.is_none() => Err(damage.at_row(self.row)),
                    Some(damage) => Err(damage),
                    None => Ok(None),
                };
            };
            self.next += 1;
            self.row += batch.num_rows() as u64;
            if batch.num_rows() > 0 {
                return Ok(Some(batch));
            }
        }
    }
}

impl BatchSource for Batches {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.conform.schema)
    }

    fn next(&mut self) -> Result<Option<RecordBatch>> {
        if self.done {
            return Ok(None);
        }
        let result = self.batch();
        if !matches!(result, Ok(Some(_))) {
            self.done = true;
            self.ordered = None;
        }
        result.map_err(|error| error.in_file(self.file.path()))
    }

    fn skip(&mut self, rows: u64) -> Result<Skipped> {
        self.ordered = None;
        let mut left = rows;
        while let Some(batch) = self.content.batches.get(self.next) {
            if batch.rows > left {
                break;
            }
            left -= batch.rows;
            self.row += batch.rows;
            self.next += 1;
        }
        if left == 0 {
            return Ok(Skipped { rows, rest: None });
        }
        let Some(batch) = self.next()? else {
            return Ok(Skipped { rows: rows - left, rest: None });
        };
        let start = usize::try_from(left).unwrap_or(usize::MAX).min(batch.num_rows());
        let rest = batch.slice(start, batch.num_rows() - start);
        Ok(Skipped { rows, rest: Some(rest) })
    }
}

/// The schema with the features that `datasets` stored beside it, where it has none itself.
pub fn with_features(schema: &Schema, features: Option<&str>) -> SchemaRef {
    let mut metadata = schema.metadata().clone();
    if let Some(features) = features
        && metadata.get("huggingface").is_none()
    {
        let features = format!("{{\"info\": {{\"features\": {features}}}}}");
        metadata.insert("huggingface".to_owned(), features);
    }
    Arc::new(Schema::new_with_metadata(schema.fields().clone(), metadata))
}
