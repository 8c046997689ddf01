//! Parquet: columns decoded side by side in lanes of their own, exact batches without a copy.

use std::fs::File;
use std::io::{self, BufReader, Read};
use std::sync::Arc;

use arrow_array::{Array, ArrayRef, RecordBatch};
use arrow_schema::SchemaRef;
use bytes::Bytes;
use parquet::arrow::arrow_reader::{
    ArrowReaderMetadata, ArrowReaderOptions, ParquetRecordBatchReader, RowGroups, RowSelection,
    RowSelector,
};
use parquet::arrow::{FieldLevels, ProjectionMask, parquet_to_arrow_field_levels};
use parquet::errors::ParquetError;
use parquet::file::metadata::ParquetMetaData;
use parquet::file::reader::{ChunkReader, Length};

use crate::buffers::{Buffers, Lent};
use crate::columnar::conform::Conform;
use crate::columnar::lanes::{Lane, Lanes, Step};
use crate::columnar::pages::Groups;
use crate::columnar::{merged, parquet_types};
use crate::compression;
use crate::error::{ReadError, Result};
use crate::guard::guarded;
use crate::mapped;
use crate::options::Options;
use crate::scan::{BatchSource, Format, Scan, Skipped};
use crate::source::{Progress, Source};

pub struct Parquet;

impl Parquet {
    pub fn new(options: Options) -> Result<Self> {
        options.finish("parquet")?;
        Ok(Parquet)
    }
}

impl Format for Parquet {
    fn infer(&self, files: &[Source], scan: &Scan) -> Result<SchemaRef> {
        merged::schema_of(files, scan, |file| {
            let (_, metadata) = open(file, scan)?;
            Ok(parquet_types::schema(metadata.schema(), metadata.metadata()))
        })
    }

    fn open(
        &self,
        file: &Source,
        schema: &SchemaRef,
        given: bool,
        scan: &Scan,
    ) -> Result<Box<dyn BatchSource>> {
        let (data, metadata) = open(file, scan)?;
        let conform = Conform::new(metadata.schema(), schema, scan.columns.as_deref(), given)?;
        Ok(Box::new(Batches::new(data, metadata, conform, file.clone(), scan)))
    }

    fn num_rows(&self, file: &Source, scan: &Scan) -> Result<Option<u64>> {
        let (_, metadata) = open(file, scan)?;
        let total = rows_of_groups(metadata.metadata());
        Ok((rows_said(metadata.metadata()) == Some(total)).then_some(total))
    }
}

/// The rows of all row groups: what is read.
fn rows_of_groups(metadata: &ParquetMetaData) -> u64 {
    let rows =
        metadata.row_groups().iter().map(|group| u64::try_from(group.num_rows()).unwrap_or(0));
    rows.fold(0, u64::saturating_add)
}

/// The rows that the footer says the file has: the same, where it is not damaged.
fn rows_said(metadata: &ParquetMetaData) -> Option<u64> {
    u64::try_from(metadata.file_metadata().num_rows()).ok()
}

fn open(file: &Source, scan: &Scan) -> Result<(Data, ArrowReaderMetadata)> {
    let opened = || {
        let data = Data::open(file, scan)?;
        let options = ArrowReaderOptions::new();
        let metadata = ArrowReaderMetadata::load(&data, options).map_err(from_parquet)?;
        Ok((data, parquet_types::readable(metadata).map_err(from_parquet)?))
    };
    guarded(opened).map_err(|error| error.in_file(file.path()))
}

fn from_parquet(error: ParquetError) -> ReadError {
    match error {
        ParquetError::External(error) => match error.downcast::<io::Error>() {
            Ok(error) => ReadError::from(*error),
            Err(error) => ReadError::damaged(error.to_string()),
        },
        ParquetError::NYI(message) => ReadError::unsupported(message),
        error => ReadError::damaged(error.to_string()),
    }
}

/// The bytes of a file, read by position: any number of decoders may read at once.
#[derive(Clone)]
enum Data {
    File(Arc<Opened>),
    Mapped(Bytes),
}

struct Opened {
    file: File,
    length: u64,
    progress: Arc<Progress>,
    buffers: Arc<Buffers>,
}

impl Data {
    fn open(source: &Source, scan: &Scan) -> Result<Self> {
        let file = source.open()?;
        let length = file.metadata().map_err(ReadError::io)?.len();
        let data = Data::File(Arc::new(Opened {
            file,
            length,
            progress: Arc::clone(&scan.progress),
            buffers: Arc::clone(&scan.buffers),
        }));
        let mut head = [0; compression::HEAD_BYTES as usize];
        let count = data.read_at(0, &mut head).map_err(ReadError::io)?;
        match compression::detect(head.get(..count).unwrap_or_default()) {
            None => Ok(data),
            Some(_) => mapped::map(source, scan).map(Data::Mapped),
        }
    }

    fn read_at(&self, position: u64, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Data::File(opened) => {
                let count = read_file_at(&opened.file, position, buffer)?;
                opened.progress.add(count as u64);
                Ok(count)
            }
            Data::Mapped(bytes) => {
                let start = usize::try_from(position).unwrap_or(usize::MAX).min(bytes.len());
                let rest = bytes.get(start..).unwrap_or_default();
                let count = rest.len().min(buffer.len());
                buffer[..count].copy_from_slice(&rest[..count]);
                Ok(count)
            }
        }
    }
}

#[cfg(unix)]
fn read_file_at(file: &File, position: u64, buffer: &mut [u8]) -> io::Result<usize> {
    std::os::unix::fs::FileExt::read_at(file, buffer, position)
}

#[cfg(windows)]
fn read_file_at(file: &File, position: u64, buffer: &mut [u8]) -> io::Result<usize> {
    std::os::windows::fs::FileExt::seek_read(file, buffer, position)
}

impl Length for Data {
    fn len(&self) -> u64 {
        match self {
            Data::File(opened) => opened.length,
            Data::Mapped(bytes) => bytes.len() as u64,
        }
    }
}

impl ChunkReader for Data {
    type T = BufReader<DataReader>;

    fn get_read(&self, start: u64) -> parquet::errors::Result<Self::T> {
        Ok(BufReader::new(DataReader { data: self.clone(), position: start }))
    }

    fn get_bytes(&self, start: u64, length: usize) -> parquet::errors::Result<Bytes> {
        let end = start.checked_add(length as u64);
        if end.is_none_or(|end| end > self.len()) {
            return Err(ParquetError::EOF(format!(
                "{length} bytes at {start} are more than the file has: {} bytes",
                self.len()
            )));
        }
        let opened = match self {
            Data::File(opened) => opened,
            Data::Mapped(bytes) => {
                let start = usize::try_from(start).unwrap_or(usize::MAX);
                return Ok(bytes.slice(start..start + length));
            }
        };
        let mut reader = DataReader { data: self.clone(), position: start };
        let page = Lent::filled(&opened.buffers, length, |page| reader.read_exact(page))?;
        Ok(Bytes::from_owner(page))
    }
}

pub struct DataReader {
    data: Data,
    position: u64,
}

impl Read for DataReader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.data.read_at(self.position, buffer)?;
        if count == 0 && !buffer.is_empty() {
            // Pages lie before the footer. Whoever skips a page's header takes no bytes for a sound
            // rest of it, and may go on to do so for hours.
            let message = "the file ends inside a page";
            return Err(io::Error::new(io::ErrorKind::UnexpectedEof, message));
        }
        self.position += count as u64;
        Ok(count)
    }
}

/// Some columns of the file, decoded by themselves.
struct Columns {
    data: Arc<Data>,
    metadata: ArrowReaderMetadata,
    indices: Vec<usize>,
    /// Where each of them is in a batch of the decoder.
    places: Vec<usize>,
    buffers: Arc<Buffers>,
    /// How their leaves make up the columns; made when they are read.
    levels: Option<FieldLevels>,
    rows: usize,
    cost: u64,
    reader: Option<ParquetRecordBatchReader>,
    /// Rows given or left out.
    row: usize,
}

impl Columns {
    fn reader(
        &mut self,
        rows: usize,
        offset: usize,
        limit: Option<usize>,
    ) -> Result<ParquetRecordBatchReader> {
        let levels = match self.levels.take() {
            Some(levels) => levels,
            None => self.levels()?,
        };
        let levels = self.levels.insert(levels);
        let (groups, offset) = groups_from(self.metadata.metadata(), offset);
        let groups = Groups {
            reader: Arc::clone(&self.data),
            metadata: Arc::clone(self.metadata.metadata()),
            groups,
            buffers: Arc::clone(&self.buffers),
        };
        let there = groups.num_rows();
        let left = there.saturating_sub(offset);
        let wanted = limit.unwrap_or(left).min(left);
        let selection = (offset > 0 || wanted < left).then(|| {
            RowSelection::from(vec![RowSelector::skip(offset), RowSelector::select(wanted)])
        });
        // No more room than there can be rows.
        let rows = rows.min(there.max(1));
        ParquetRecordBatchReader::try_new_with_row_groups(levels, &groups, rows, selection)
            .map_err(from_parquet)
    }

    fn levels(&self) -> Result<FieldLevels> {
        let schema = self.metadata.parquet_schema();
        let mask = ProjectionMask::roots(schema, self.indices.iter().copied());
        let fields = self.metadata.schema().fields();
        parquet_to_arrow_field_levels(schema, mask, Some(fields)).map_err(from_parquet)
    }

    /// In the order of the indices.
    fn read(&mut self) -> Result<Option<Vec<ArrayRef>>> {
        if self.reader.is_none() {
            self.reader = Some(self.reader(self.rows, self.row, None)?);
        }
        let Some(reader) = &mut self.reader else { return Ok(None) };
        match reader.next() {
            None => Ok(None),
            Some(batch) => {
                let batch = batch?;
                let column = |place: &usize| batch.columns().get(*place).map(Arc::clone);
                Ok(Some(self.places.iter().filter_map(column).collect()))
            }
        }
    }

    /// One of them from the same row on.
    fn alone(&self, index: usize) -> Columns {
        Columns {
            data: Arc::clone(&self.data),
            metadata: self.metadata.clone(),
            indices: vec![index],
            places: vec![0],
            buffers: Arc::clone(&self.buffers),
            levels: None,
            reader: None,
            ..*self
        }
    }

    /// The rows of its only column between here and the damage: as many as can be decoded.
    fn before_damage(&mut self) -> Option<ArrayRef> {
        let (mut good, mut bad, mut found) = (0, self.rows, None);
        let mut first = |limit: usize| {
            guarded(|| {
                let mut reader = self.reader(limit, self.row, Some(limit))?;
                match reader.next() {
                    Some(Ok(batch)) if batch.num_rows() == limit => Ok(Arc::clone(batch.column(0))),
                    Some(Err(error)) => Err(error.into()),
                    _ => Err(ReadError::damaged("fewer rows")),
                }
            })
            .ok()
        };
        while bad - good > 1 {
            let middle = good + (bad - good) / 2;
            match first(middle) {
                Some(column) => (good, found) = (middle, Some(column)),
                None => bad = middle,
            }
        }
        found
    }
}

/// The places of columns in a batch of theirs, which has each of them once, in the order of the file.
fn places(indices: &[usize]) -> Vec<usize> {
    let mut there = indices.to_vec();
    there.sort_unstable();
    there.dedup();
    indices.iter().map(|index| there.partition_point(|other| other < index)).collect()
}

/// The row groups from the one that has row `offset` on, and its place in that.
fn groups_from(metadata: &ParquetMetaData, offset: usize) -> (Vec<usize>, usize) {
    let groups = metadata.row_groups();
    let (mut first, mut left) = (0, offset);
    while let Some(rows) = groups.get(first).map(|group| group.num_rows())
        && let Ok(rows) = usize::try_from(rows)
        && rows <= left
    {
        left -= rows;
        first += 1;
    }
    ((first..groups.len()).collect(), left)
}

impl Lane for Columns {
    fn advance(&mut self) -> Vec<Step> {
        match guarded(|| self.read()) {
            Ok(None) => self.indices.iter().map(|_| Step::End).collect(),
            Ok(Some(columns)) => {
                self.row += columns.first().map_or(0, |column| column.len());
                columns.into_iter().map(Step::Column).collect()
            }
            Err(error) => {
                self.reader = None;
                let &[index] = self.indices.as_slice() else {
                    // Which of them it is in is seen when each is read alone.
                    let alone = self.indices.iter().map(|index| self.alone(*index));
                    return alone.flat_map(|mut column| column.advance()).collect();
                };
                let name = self.metadata.schema().field(index).name().clone();
                let before = self.before_damage();
                let row = self.row + before.as_ref().map_or(0, |column| column.len());
                vec![Step::Broken(before, error.at_row(row as u64).in_column(name))]
            }
        }
    }

    fn width(&self) -> usize {
        self.indices.len()
    }

    fn cost(&self) -> u64 {
        self.cost
    }
}

struct Batches {
    data: Data,
    metadata: ArrowReaderMetadata,
    conform: Conform,
    file: Source,
    scan: Scan,
    total: u64,
    lanes: Option<Lanes>,
    error: Option<ReadError>,
    row: u64,
    done: bool,
}

/// Decoding fewer rows at a time costs more than it saves memory.
const ROWS: usize = 1024;
const AHEAD_BYTES: u64 = 12 << 20;

/// More lanes help no number of threads, and each of them goes through all columns of the footer.
const LANES: usize = 64;

impl Batches {
    fn new(
        data: Data,
        metadata: ArrowReaderMetadata,
        conform: Conform,
        file: Source,
        scan: &Scan,
    ) -> Self {
        let total = rows_of_groups(metadata.metadata());
        Batches {
            data,
            metadata,
            conform,
            file,
            scan: scan.clone(),
            total,
            lanes: None,
            error: None,
            row: 0,
            done: false,
        }
    }

    /// Uncompressed bytes of the roots' columns.
    fn costs(&self) -> Vec<u64> {
        let descriptor = self.metadata.parquet_schema();
        let mut costs = vec![0u64; self.metadata.schema().fields().len()];
        for group in self.metadata.metadata().row_groups() {
            for (leaf, column) in group.columns().iter().enumerate() {
                if leaf < descriptor.num_columns()
                    && let Some(cost) = costs.get_mut(descriptor.get_column_root_idx(leaf))
                {
                    *cost += u64::try_from(column.uncompressed_size()).unwrap_or(0);
                }
            }
        }
        costs
    }

    fn start(&self) -> Lanes {
        let costs = self.costs();
        let wanted = self.conform.indices();
        let data = Arc::new(self.data.clone());
        let bytes: u64 = wanted.iter().filter_map(|index| costs.get(*index)).sum();
        let row_bytes = (bytes / self.total.max(1)).max(1);
        let batch = self.scan.batch_size.max(1);
        // A multiple of the batch where batches are small, less than one where they are huge.
        let mut rows = batch * ROWS.div_ceil(batch);
        let fitting = usize::try_from(AHEAD_BYTES / row_bytes).unwrap_or(usize::MAX).max(1);
        if rows > fitting {
            rows = if batch <= fitting { batch } else { fitting };
        }
        let depth = usize::try_from(AHEAD_BYTES / (row_bytes * rows as u64).max(1)).unwrap_or(4);
        let lanes = wanted
            .chunks(wanted.len().div_ceil(LANES).max(1))
            .map(|indices| {
                Box::new(Columns {
                    data: Arc::clone(&data),
                    metadata: self.metadata.clone(),
                    buffers: Arc::clone(&self.scan.buffers),
                    indices: indices.to_vec(),
                    places: places(indices),
                    levels: None,
                    rows,
                    cost: indices.iter().filter_map(|index| costs.get(*index)).sum(),
                    reader: None,
                    row: usize::try_from(self.row).unwrap_or(usize::MAX),
                }) as Box<dyn Lane>
            })
            .collect();
        let most = if self.scan.caller_is_slow { 2 } else { 4 };
        Lanes::new(lanes, depth.clamp(1, most), &self.scan)
    }

    fn batch(&mut self) -> Result<Option<RecordBatch>> {
        if let Some(error) = self.error.take() {
            return Err(error);
        }
        if self.conform.indices().is_empty() {
            return self.without_columns();
        }
        let mut lanes = match self.lanes.take() {
            Some(lanes) => lanes,
            None => self.start(),
        };
        let steps = lanes.advance()?;
        self.lanes = Some(lanes);
        let mut columns = Vec::with_capacity(steps.len());
        let mut ended = 0;
        for step in steps {
            match step {
                Step::Column(column) => columns.push(Some(column)),
                Step::Broken(before, error) => {
                    if self.error.as_ref().is_none_or(|known| error.place.row < known.place.row) {
                        self.error = Some(error);
                    }
                    columns.push(before);
                }
                Step::End => {
                    ended += 1;
                    columns.push(None);
                }
            }
        }
        if ended == columns.len() {
            return self.end();
        }
        let rows = |column: &Option<ArrayRef>| column.as_ref().map_or(0, |column| column.len());
        let shortest = columns.iter().map(rows).min().unwrap_or(0);
        if self.error.is_none() && columns.iter().any(|column| rows(column) != shortest) {
            let error = ReadError::damaged("columns have different numbers of rows");
            self.error = Some(error.at_row(self.row + shortest as u64));
        }
        if shortest == 0 {
            return self.error.take().map_or(Ok(None), Err);
        }
        let columns = columns.into_iter().flatten().map(|column| {
            if column.len() == shortest { column } else { column.slice(0, shortest) }
        });
        let batch = self.conform.apply(columns.collect(), shortest, self.row)?;
        self.row += shortest as u64;
        Ok(Some(batch))
    }

    /// Whether as many rows were there as the file says, in both places.
    fn end(&self) -> Result<Option<RecordBatch>> {
        if self.row == self.total && rows_said(self.metadata.metadata()) == Some(self.total) {
            return Ok(None);
        }
        let said = self.metadata.metadata().file_metadata().num_rows();
        let error = format!("the file says it has {said} rows, its row groups {}", self.total);
        Err(ReadError::damaged(error).at_row(self.row))
    }

    /// Rows of nulls only: none of the columns asked for is in this file.
    fn without_columns(&mut self) -> Result<Option<RecordBatch>> {
        let left = usize::try_from(self.total.saturating_sub(self.row)).unwrap_or(usize::MAX);
        let rows = left.min(self.scan.batch_size.max(1));
        if rows == 0 {
            return self.end();
        }
        let batch = self.conform.apply(Vec::new(), rows, self.row)?;
        self.row += rows as u64;
        Ok(Some(batch))
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
        let result = self.scan.check().and_then(|()| self.batch());
        if !matches!(result, Ok(Some(_))) {
            self.done = true;
            self.lanes = None;
        }
        result.map_err(|error| error.in_file(self.file.path()))
    }

    fn skip(&mut self, rows: u64) -> Result<Skipped> {
        let rows = rows.min(self.total.saturating_sub(self.row));
        // Decoders start where they are told to; those that run start again.
        self.lanes = None;
        self.row += rows;
        Ok(Skipped { rows, rest: None })
    }
}
