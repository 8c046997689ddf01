//! Blocks of whole rows, read by one thread, parsed by several, handed out in order.
//!
//! A reading thread fills blocks and lets a [`Splitter`] say where rows end; workers parse them; the
//! consumer gets the results in the order of the file. The number of blocks under way is bounded, and
//! their buffers are used again. Threads start at the first result asked for (so a reader can be forked
//! before), stop at the next block when the pipeline is dropped, and there are none when one thread is
//! asked for: then all of it is done while the consumer asks.

use std::collections::VecDeque;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::process;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};

use arrow_array::RecordBatch;
use arrow_schema::SchemaRef;
use crossbeam_channel::{Receiver, Sender, bounded};

use crate::buffers::Buffers;
use crate::error::{Cause, ReadError, Result};
use crate::guard::contained;
use crate::scan::{BatchSource, Scan};
use crate::source::Input;
use crate::workers::{answer, check_owner, wait};

/// Says where rows end. Lives on the thread that reads.
pub trait Splitter: Send {
    /// How many bytes at the head of `data` are a block of whole rows; `None` where it takes more to
    /// know. The first `seen` bytes were there in the last call, which answered `None` (0 when a block
    /// was taken since): a splitter that remembers need not look at them again.
    ///
    /// A block may have few rows or many; one of `scan.batch_size` rows saves a copy later. Called again
    /// on the rest when a block is taken, before more is read. At the end of the file what is left after
    /// a `None` is the last block, ended or not.
    fn split(&mut self, data: &[u8], seen: usize) -> Result<Option<usize>>;

    /// About how many bytes the next block will have, where there is a way to know: no more is read for it
    /// then. 0 elsewhere.
    fn expected(&self) -> usize {
        0
    }

    /// `split` before a damage: no more comes, and all rows that are whole are wanted.
    fn split_rest(&mut self, data: &[u8]) -> Result<Option<usize>> {
        self.split(data, data.len())
    }
}

/// Parses blocks. Shared by all workers.
pub trait BlockParser: Send + Sync + 'static {
    /// What a worker keeps from block to block: buffers, tables.
    type Scratch: Default + Send;
    type Output: Send + 'static;

    fn parse(&self, block: Block, scratch: &mut Self::Scratch) -> Self::Output;
}

/// A piece of content that starts at a row and ends after one (the last of a file may not).
pub struct Block {
    /// Longer than the block: a buffer is zeroed once and not each time it is used.
    buffer: Vec<u8>,
    length: usize,
    /// Where it starts in the decompressed content.
    pub byte: u64,
    /// The number of the block in its file.
    pub index: u64,
    buffers: Option<Arc<Buffers>>,
}

impl Block {
    pub fn new(data: Vec<u8>) -> Self {
        Block { length: data.len(), buffer: data, byte: 0, index: 0, buffers: None }
    }

    pub fn data(&self) -> &[u8] {
        self.buffer.get(..self.length).unwrap_or_default()
    }
}

impl Drop for Block {
    fn drop(&mut self) {
        let buffer = std::mem::take(&mut self.buffer);
        if let Some(buffers) = &self.buffers {
            buffers.give(buffer);
        }
    }
}

/// What most parsers make of a block.
#[derive(Debug, Default)]
pub struct Parsed {
    /// The rows before the error; all rows if there is none.
    pub batches: Vec<RecordBatch>,
    /// Lines in the block, for the lines that errors of later blocks name (0 if errors name none).
    pub lines: u64,
    /// Its place counts from the start of the block.
    pub error: Option<ReadError>,
    /// An error only if its row, which has been read, is one of those that types are found in.
    pub unlike: Option<ReadError>,
}

/// The output for a block, and where the block starts in the content.
#[derive(Debug)]
pub struct Located<T> {
    pub output: T,
    pub byte: u64,
}

/// The outputs of a parser, in order.
pub struct Pipeline<P: BlockParser> {
    state: State<P>,
    parser: Arc<P>,
    scan: Scan,
    file: PathBuf,
}

enum State<P: BlockParser> {
    Ready(Box<BlockReader>),
    Inline(Box<BlockReader>, Box<P::Scratch>),
    Threads(Threads<Located<P::Output>>),
    Done,
}

struct Threads<T> {
    results: Receiver<Receiver<Result<T>>>,
    reading: Option<JoinHandle<()>>,
    stop: Arc<AtomicBool>,
    owner: u32,
}

impl<P: BlockParser> Pipeline<P> {
    /// `head` is content that was read from `input` before (to infer a schema) and comes first.
    pub fn new(
        file: &Path,
        input: Input,
        head: Vec<u8>,
        splitter: Box<dyn Splitter>,
        parser: P,
        scan: &Scan,
    ) -> Self {
        let reader = BlockReader::new(input, head, splitter, scan);
        Pipeline {
            state: State::Ready(Box::new(reader)),
            parser: Arc::new(parser),
            scan: scan.clone(),
            file: file.to_owned(),
        }
    }

    /// The output for the next block. An error is one of reading; after it comes `None`.
    pub fn next_output(&mut self) -> Result<Option<Located<P::Output>>> {
        let output = self.advance();
        if !matches!(output, Ok(Some(_))) {
            self.stop();
        }
        output.map_err(|error| error.in_file(&self.file))
    }

    /// Stops the threads and closes the file.
    pub fn stop(&mut self) {
        self.state = State::Done;
    }

    fn advance(&mut self) -> Result<Option<Located<P::Output>>> {
        self.scan.check()?;
        if let State::Ready(_) = self.state {
            let State::Ready(reader) = std::mem::replace(&mut self.state, State::Done) else {
                return Ok(None);
            };
            self.state = if self.scan.threads > 1 {
                State::Threads(start(*reader, &self.parser, &self.scan)?)
            } else {
                State::Inline(reader, Box::default())
            };
        }
        match &mut self.state {
            State::Inline(reader, scratch) => match reader.next()? {
                Some(block) => parse(&*self.parser, block, scratch).map(Some),
                None => Ok(None),
            },
            State::Threads(threads) => threads.next(&self.scan),
            State::Ready(_) | State::Done => Ok(None),
        }
    }
}

fn parse<P: BlockParser>(
    parser: &P,
    block: Block,
    scratch: &mut P::Scratch,
) -> Result<Located<P::Output>> {
    let byte = block.byte;
    contained(|| Ok(Located { output: parser.parse(block, scratch), byte }))
        .map_err(|error| error.at_byte(byte))
}

fn start<P: BlockParser>(
    mut reader: BlockReader,
    parser: &Arc<P>,
    scan: &Scan,
) -> Result<Threads<Located<P::Output>>> {
    type Job<T> = (Block, Sender<Result<Located<T>>>);
    let under_way = blocks_under_way(scan);
    let stop = Arc::new(AtomicBool::new(false));
    let (jobs, work) = bounded::<Job<P::Output>>(under_way);
    let (ordered, results) = bounded::<Receiver<Result<Located<P::Output>>>>(under_way);
    for index in 0..scan.threads {
        let (parser, work, stop) = (Arc::clone(parser), work.clone(), Arc::clone(&stop));
        spawn(format!("fast-axolotl-parse-{index}"), move || {
            let mut scratch = P::Scratch::default();
            for (block, answer) in work {
                if stop.load(Ordering::Relaxed) {
                    return;
                }
                // Nobody waits for it any more when the pipeline was dropped.
                let _ = answer.send(parse(&*parser, block, &mut scratch));
            }
        })?;
    }
    reader.stop = Some(Arc::clone(&stop));
    let reading = spawn("fast-axolotl-read".to_owned(), move || {
        loop {
            let (answer, result) = bounded(1);
            let goes_on = match contained(|| reader.next()) {
                Ok(None) => return,
                // The slot in the order first: its place bounds the number of blocks under way.
                Ok(Some(block)) => {
                    ordered.send(result).is_ok() && jobs.send((block, answer)).is_ok()
                }
                Err(error) => {
                    let _ = answer.send(Err(error));
                    let _ = ordered.send(result);
                    false
                }
            };
            if !goes_on {
                return;
            }
        }
    })?;
    Ok(Threads { results, reading: Some(reading), stop, owner: process::id() })
}

fn spawn(name: String, run: impl FnOnce() + Send + 'static) -> Result<JoinHandle<()>> {
    thread::Builder::new().name(name).spawn(run).map_err(ReadError::io)
}

/// Blocks that wait or are parsed, beside the one that the caller waits for and the one that is read: enough
/// to keep all threads busy, and not more than the memory that a reader may take; one where the caller is
/// what is waited for.
fn blocks_under_way(scan: &Scan) -> usize {
    const BYTES: usize = 12 << 20;
    let fitting = BYTES / scan.block_bytes.max(1);
    if scan.caller_is_slow { 1 } else { scan.threads.min(fitting.max(2)) }
}

impl<T> Threads<T> {
    fn next(&mut self, scan: &Scan) -> Result<Option<T>> {
        check_owner(self.owner)?;
        wait(&self.results, scan)?.map(|result| answer(&result, scan)).transpose()
    }
}

impl<T> Drop for Threads<T> {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        // The thread that reads may wait for room: there will be none.
        self.results = bounded(0).1;
        if let Some(reading) = self.reading.take() {
            if self.owner == process::id() {
                // It has the file: closed when this returns.
                let _ = reading.join();
            } else {
                // A forked child has no such thread to wait for.
                std::mem::forget(reading);
            }
        }
    }
}

/// Cuts content into blocks.
struct BlockReader {
    input: Option<Input>,
    splitter: Box<dyn Splitter>,
    /// Its first `filled` bytes were read and not handed out.
    buffer: Vec<u8>,
    filled: usize,
    /// How many bytes of it the splitter has seen and not been able to split.
    seen: usize,
    byte: u64,
    index: u64,
    target: usize,
    limit: usize,
    max_row: usize,
    error: Option<ReadError>,
    buffers: Arc<Buffers>,
    stop: Option<Arc<AtomicBool>>,
    is_ahead: bool,
    interrupted: Arc<dyn Fn() -> bool + Send + Sync>,
}

/// The first blocks are small, so that the first rows come soon: all threads have their part of them, and
/// little is read before these are done.
const FIRST_BLOCK: usize = 256 << 10;
const FIRST_BLOCKS: u64 = 16;
/// Also how much is decompressed at a time: of each piece, the decoder copies a window.
const READ: usize = 1 << 20;

impl BlockReader {
    fn new(input: Input, head: Vec<u8>, splitter: Box<dyn Splitter>, scan: &Scan) -> Self {
        BlockReader {
            input: Some(input),
            splitter,
            filled: head.len(),
            buffer: head,
            seen: 0,
            byte: 0,
            index: 0,
            target: FIRST_BLOCK.min(scan.block_bytes),
            limit: scan.block_bytes,
            max_row: scan.max_row_bytes,
            error: None,
            buffers: Arc::clone(&scan.buffers),
            stop: None,
            is_ahead: false,
            interrupted: Arc::clone(&scan.interrupted),
        }
    }

    fn next(&mut self) -> Result<Option<Block>> {
        loop {
            let pending = self.buffer.get(..self.filled).unwrap_or_default();
            if pending.len() > self.seen
                && let Some(length) = self.splitter.split(pending, self.seen)?
                && length > 0
            {
                return Ok(Some(self.take(length)));
            }
            self.seen = self.filled;
            if self.input.is_none() {
                return self.rest();
            }
            if self.seen > self.max_row {
                let limit = self.max_row >> 20;
                let message = format!("a row is longer than {limit} MB");
                self.error = Some(ReadError::too_large(message));
                self.input = None;
                return self.rest();
            }
            // What was read for one block and belongs to the next has to be copied there.
            let expected = self.splitter.expected();
            let more = self.target.max(self.seen / 4);
            self.fill(if self.seen < expected { expected } else { self.seen + more })?;
        }
    }

    /// The last block: what has no end of a row. After a damage it is not a row but a part of one.
    fn rest(&mut self) -> Result<Option<Block>> {
        let pending = self.buffer.get(..self.filled).unwrap_or_default();
        if self.error.is_some()
            && let Some(length) = self.splitter.split_rest(pending)?
            && length > 0
        {
            return Ok(Some(self.take(length)));
        }
        if let Some(mut error) = self.error.take() {
            self.filled = 0;
            self.seen = 0;
            // Where the row begins that has no end.
            error.place.byte.get_or_insert(self.byte);
            return Err(error);
        }
        match self.filled {
            0 => Ok(None),
            length => Ok(Some(self.take(length))),
        }
    }

    fn take(&mut self, length: usize) -> Block {
        let length = length.min(self.filled);
        let rest = self.filled - length;
        let mut next = self.buffers.take();
        // A buffer that one huge row has grown is not kept for the small ones after it.
        if next.len() > 4 * self.limit.max(rest) {
            next = Vec::new();
        }
        if next.len() < rest {
            next.resize(rest, 0);
        }
        next[..rest].copy_from_slice(&self.buffer[length..self.filled]);
        let buffer = std::mem::replace(&mut self.buffer, next);
        self.filled = rest;
        self.seen = 0;
        let block = Block {
            buffer,
            length,
            byte: self.byte,
            index: self.index,
            buffers: Some(Arc::clone(&self.buffers)),
        };
        self.byte += length as u64;
        self.index += 1;
        if self.index >= FIRST_BLOCKS {
            self.target = self.limit;
        }
        block
    }

    /// Reads until `wanted` bytes are pending. An error waits for the rows that came before it.
    fn fill(&mut self, wanted: usize) -> Result<()> {
        self.read_ahead()?;
        if self.buffer.is_empty() {
            self.buffer = self.buffers.take();
        }
        if let Some(missing) = wanted.checked_sub(self.buffer.len()) {
            self.buffer.reserve_exact(missing);
            self.buffer.resize(wanted, 0);
        }
        while self.filled < wanted {
            if self.is_stopped() {
                return Err(ReadError::new(Cause::Interrupted));
            }
            let Some(input) = &mut self.input else { return Ok(()) };
            let end = wanted.min(self.filled + READ);
            match input.read(&mut self.buffer[self.filled..end]) {
                Ok(0) => self.input = None,
                Ok(count) => self.filled += count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => {
                    let byte = self.byte + self.filled as u64;
                    self.error = Some(ReadError::from(error).at_byte(byte));
                    self.input = None;
                }
            }
        }
        Ok(())
    }

    /// Has what is compressed decompressed on a thread of its own, where there are threads, but not for the
    /// first rows: those come sooner without one more thread that wants a core.
    fn read_ahead(&mut self) -> Result<()> {
        if !self.is_ahead
            && self.index >= FIRST_BLOCKS
            && self.stop.is_some()
            && let Some(input) = self.input.take()
        {
            self.is_ahead = true;
            self.input = Some(input.ahead().map_err(ReadError::io)?);
        }
        Ok(())
    }

    fn is_stopped(&self) -> bool {
        match &self.stop {
            Some(stop) => stop.load(Ordering::Relaxed),
            None => (self.interrupted)(),
        }
    }
}

/// A pipeline of parsers that make record batches, as a source of them.
pub struct Blocks<P: BlockParser<Output = Parsed>> {
    pipeline: Pipeline<P>,
    schema: SchemaRef,
    ready: VecDeque<RecordBatch>,
    rows: u64,
    lines: u64,
    error: Option<ReadError>,
    /// Rows that types are found in, and what is told when they lie behind.
    typed: Option<(u64, Arc<AtomicBool>)>,
}

impl<P: BlockParser<Output = Parsed>> Blocks<P> {
    pub fn new(schema: SchemaRef, pipeline: Pipeline<P>) -> Self {
        Blocks {
            pipeline,
            schema,
            ready: VecDeque::new(),
            rows: 0,
            lines: 0,
            error: None,
            typed: None,
        }
    }

    /// Types are found in the first `rows` rows; `passed` is set when they lie behind.
    pub fn typed_by(mut self, rows: u64, passed: Arc<AtomicBool>) -> Self {
        self.typed = Some((rows, passed));
        self
    }

    /// What a block is found to have, as an error where its row matters.
    fn check_types(&mut self, parsed: &mut Parsed) {
        let Some((rows, passed)) = &self.typed else { return };
        if let Some(unlike) = parsed.unlike.take()
            && let Some(row) = unlike.place.row
            && self.rows + row < *rows
        {
            parsed.error = Some(unlike);
            let mut left = usize::try_from(row).unwrap_or(usize::MAX);
            for batch in &mut parsed.batches {
                *batch = batch.slice(0, left.min(batch.num_rows()));
                left -= batch.num_rows();
            }
        }
        let read: u64 = parsed.batches.iter().map(|batch| batch.num_rows() as u64).sum();
        if self.rows + read >= *rows {
            passed.store(true, Ordering::Relaxed);
        }
    }
}

impl<P: BlockParser<Output = Parsed>> BatchSource for Blocks<P> {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }

    fn next(&mut self) -> Result<Option<RecordBatch>> {
        loop {
            while let Some(batch) = self.ready.pop_front() {
                if batch.num_rows() > 0 {
                    return Ok(Some(batch));
                }
            }
            if let Some(error) = self.error.take() {
                return Err(error);
            }
            let next = self.pipeline.next_output().map_err(|mut error| {
                if matches!(error.cause, Cause::Damaged(_)) {
                    error.place.row.get_or_insert(self.rows);
                }
                error
            });
            let Some(Located { output: mut parsed, byte }) = next? else { return Ok(None) };
            self.check_types(&mut parsed);
            if let Some(mut error) = parsed.error {
                error.rebase(self.rows, self.lines, byte);
                self.error = Some(error.in_file(&self.pipeline.file));
                self.pipeline.stop();
            }
            self.rows += parsed.batches.iter().map(|batch| batch.num_rows() as u64).sum::<u64>();
            self.lines += parsed.lines;
            self.ready = parsed.batches.into();
        }
    }
}
