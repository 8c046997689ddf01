//! Short files, each read by one thread, several of them at a time.
//!
//! To start threads for a file takes longer than to read one of a few hundred kilobytes; a folder of a
//! thousand such files is read by threads that take one file after the other.

use std::collections::VecDeque;
use std::fs;
use std::process;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, RwLock};

use arrow_array::RecordBatch;
use arrow_schema::SchemaRef;

use crate::error::{ReadError, Result};
use crate::guard::contained;
use crate::ordered::Ordered;
use crate::scan::{BatchSource, Scan};
use crate::source::Source;

/// A file of so many bytes, as it is stored, is read by one thread as soon as by two.
const ONE_THREAD_BYTES: u64 = 256 << 10;
/// Where there are more files, those of so many bytes are read side by side.
const SIDE_BY_SIDE_BYTES: u64 = 2 << 20;
/// What is read of a file before it is its turn: it may decompress to any size.
const AHEAD_BYTES: usize = 4 << 20;

/// Whether more than one thread would be of no use for the file.
pub fn is_for_one_thread(file: &Source) -> bool {
    is_shorter(file, ONE_THREAD_BYTES)
}

/// Whether the file is to be read beside others.
pub fn is_short(file: &Source) -> bool {
    is_shorter(file, SIDE_BY_SIDE_BYTES)
}

fn is_shorter(file: &Source, bytes: u64) -> bool {
    fs::metadata(file.path()).is_ok_and(|metadata| metadata.len() <= bytes)
}

/// Opens one of the files, to be read as the scan says.
pub type Open = dyn Fn(usize, &Scan) -> Result<Box<dyn BatchSource>> + Send + Sync;

/// Files in their order, the next ones read ahead.
pub struct ShortFiles {
    files: Ordered<ShortFile>,
    stop: Arc<AtomicBool>,
    /// Shared by those that have a file open.
    at_work: Arc<RwLock<()>>,
    owner: u32,
}

impl ShortFiles {
    /// From file `first` on, up to one that `is_short` says no of. `schema` is that of the batches.
    pub fn new(
        first: usize,
        schema: SchemaRef,
        scan: &Scan,
        is_short: impl Fn(usize) -> bool + Send + Sync + 'static,
        open: Arc<Open>,
    ) -> Self {
        let (stop, at_work) = (Arc::new(AtomicBool::new(false)), Arc::new(RwLock::new(())));
        let (template, stopped, lock) = (scan.clone(), Arc::clone(&stop), Arc::clone(&at_work));
        let work = move |index| {
            let _at_work = lock.read();
            if stopped.load(Ordering::Relaxed) || !is_short(index) {
                return Ok(None);
            }
            let its_turn = Arc::new(AtomicBool::new(false));
            let scan = Scan {
                threads: 1,
                interrupted: until_its_turn(&its_turn, &stopped, &template),
                ..template.clone()
            };
            let mut file = ShortFile {
                schema: Arc::clone(&schema),
                batches: VecDeque::new(),
                bytes: 0,
                rest: Rest::None,
                its_turn,
            };
            file.read(|| open(index, &scan));
            Ok(Some(file))
        };
        let size = |file: &ShortFile| file.bytes;
        let files = Ordered::new(scan, first, false, size, work);
        ShortFiles { files, stop, at_work, owner: process::id() }
    }

    /// The next file; `None` where that is not a short one.
    pub fn advance(&mut self) -> Result<Option<ShortFile>> {
        let file = self.files.advance()?;
        if let Some(file) = &file {
            file.its_turn.store(true, Ordering::Relaxed);
        }
        Ok(file)
    }
}

impl Drop for ShortFiles {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        // Their files are closed when this returns. A forked child has no such threads to wait for.
        if self.owner == process::id() {
            drop(self.at_work.write());
        }
    }
}

/// What is asked by whoever reads a file: before its turn, a thread of ours, which must not run the
/// handlers of signals; from then on, the caller.
fn until_its_turn(
    its_turn: &Arc<AtomicBool>,
    stop: &Arc<AtomicBool>,
    scan: &Scan,
) -> Arc<dyn Fn() -> bool + Send + Sync> {
    let (its_turn, stop) = (Arc::clone(its_turn), Arc::clone(stop));
    let interrupted = Arc::clone(&scan.interrupted);
    Arc::new(move || match its_turn.load(Ordering::Relaxed) {
        true => interrupted(),
        false => stop.load(Ordering::Relaxed),
    })
}

/// The first batches of a file, and how it goes on.
pub struct ShortFile {
    schema: SchemaRef,
    batches: VecDeque<RecordBatch>,
    /// What the batches take.
    bytes: usize,
    rest: Rest,
    its_turn: Arc<AtomicBool>,
}

enum Rest {
    None,
    Source(Box<dyn BatchSource>),
    Error(ReadError),
}

impl ShortFile {
    fn read(&mut self, open: impl FnOnce() -> Result<Box<dyn BatchSource>>) {
        let read = contained(|| {
            let mut source = open()?;
            while self.bytes < AHEAD_BYTES {
                let Some(batch) = source.next()? else { return Ok(Rest::None) };
                self.bytes += batch.get_array_memory_size();
                self.batches.push_back(batch);
            }
            Ok(Rest::Source(source))
        });
        self.rest = read.unwrap_or_else(Rest::Error);
    }
}

impl BatchSource for ShortFile {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }

    fn next(&mut self) -> Result<Option<RecordBatch>> {
        if let Some(batch) = self.batches.pop_front() {
            return Ok(Some(batch));
        }
        match std::mem::replace(&mut self.rest, Rest::None) {
            Rest::None => Ok(None),
            Rest::Error(error) => Err(error),
            Rest::Source(mut source) => {
                let next = source.next()?;
                if next.is_some() {
                    self.rest = Rest::Source(source);
                }
                Ok(next)
            }
        }
    }
}

#[cfg(test)]
#[allow(clippy::panic, clippy::unwrap_used)]
mod tests {
    use std::sync::atomic::AtomicUsize;
    use std::time::Duration;

    use arrow_array::Int64Array;
    use proptest::prelude::*;

    use super::*;

    fn batch(values: std::ops::Range<i64>) -> RecordBatch {
        let column: Int64Array = values.collect();
        RecordBatch::try_from_iter([("a", Arc::new(column) as _)]).unwrap()
    }

    /// A file of batches of 1,000 rows each, which may end in a damage; counts those that are open.
    struct Made {
        left: std::ops::Range<i64>,
        is_damaged: bool,
        scan: Scan,
        open: Arc<AtomicUsize>,
    }

    impl BatchSource for Made {
        fn schema(&self) -> SchemaRef {
            batch(0..0).schema()
        }

        fn next(&mut self) -> Result<Option<RecordBatch>> {
            self.scan.check()?;
            match self.left.next() {
                Some(number) => Ok(Some(batch(number * 1000..(number + 1) * 1000))),
                None if std::mem::take(&mut self.is_damaged) => Err(ReadError::damaged("broken")),
                None => Ok(None),
            }
        }
    }

    impl Drop for Made {
        fn drop(&mut self) {
            self.open.fetch_sub(1, Ordering::SeqCst);
        }
    }

    /// Batches of each file (one too many for what is read ahead at 500), and whether it is damaged.
    fn files(sizes: Vec<(i64, bool)>, long: usize, scan: &Scan) -> (ShortFiles, Arc<AtomicUsize>) {
        let open = Arc::new(AtomicUsize::new(0));
        let opened = Arc::clone(&open);
        let count = sizes.len();
        let made = move |index: usize, scan: &Scan| {
            let (batches, is_damaged) = sizes[index];
            opened.fetch_add(1, Ordering::SeqCst);
            let (scan, open) = (scan.clone(), Arc::clone(&opened));
            Ok(Box::new(Made { left: 0..batches, is_damaged, scan, open }) as _)
        };
        let is_short = move |index| index < count && index != long;
        let schema = batch(0..0).schema();
        (ShortFiles::new(0, schema, scan, is_short, Arc::new(made)), open)
    }

    fn scan(threads: usize) -> Scan {
        Scan { threads, ..Scan::default() }
    }

    proptest! {
        #[test]
        fn files_come_in_order_up_to_a_long_one(
            sizes in proptest::collection::vec((0i64..4, any::<bool>()), 0..12),
            long in 0usize..14,
            threads in 2usize..5,
        ) {
            let (mut short, open) = files(sizes.clone(), long, &scan(threads));
            for (batches, is_damaged) in sizes.iter().take(long) {
                let mut file = short.advance().unwrap().unwrap();
                for number in 0..*batches {
                    let found = file.next().unwrap();
                    prop_assert_eq!(found, Some(batch(number * 1000..(number + 1) * 1000)));
                }
                prop_assert_eq!(file.next().is_err(), *is_damaged);
                prop_assert!(file.next().unwrap().is_none());
            }
            prop_assert!(short.advance().unwrap().is_none());
            drop(short);
            prop_assert_eq!(open.load(Ordering::SeqCst), 0);
        }
    }

    #[test]
    fn what_is_longer_than_it_seemed_is_read_at_its_turn() {
        const BATCHES: i64 = 2000;
        let interrupted = Arc::new(AtomicBool::new(false));
        let asked = Arc::clone(&interrupted);
        let caller =
            Scan { interrupted: Arc::new(move || asked.load(Ordering::SeqCst)), ..scan(2) };
        let (mut short, open) = files(vec![(BATCHES, false); 3], 3, &caller);
        let mut file = short.advance().unwrap().unwrap();
        assert!(file.bytes < AHEAD_BYTES + 100_000, "{}", file.bytes);
        for _ in 0..BATCHES {
            assert!(file.next().unwrap().is_some());
        }
        assert!(file.next().unwrap().is_none());
        // Whoever wants no more of them may still go on with this one, and be interrupted.
        let mut file = short.advance().unwrap().unwrap();
        drop(short);
        assert_eq!(open.load(Ordering::SeqCst), 1);
        for _ in 0..BATCHES - 1 {
            assert!(file.next().unwrap().is_some());
        }
        interrupted.store(true, Ordering::SeqCst);
        assert!(file.next().is_err());
        assert_eq!(open.load(Ordering::SeqCst), 0);
    }

    #[test]
    fn they_are_closed_when_nobody_wants_them() {
        for waited in [0, 1, 5] {
            let (mut short, open) = files(vec![(400, false); 8], 8, &scan(4));
            drop(short.advance().unwrap());
            std::thread::sleep(Duration::from_millis(waited));
            drop(short);
            assert_eq!(open.load(Ordering::SeqCst), 0);
        }
    }

    #[test]
    fn a_panic_is_an_error_of_its_file() {
        let schema = batch(0..0).schema();
        let open: Arc<Open> = Arc::new(|_, _: &Scan| panic!("a surprise"));
        let mut short = ShortFiles::new(0, schema, &scan(2), |_| true, open);
        let mut file = short.advance().unwrap().unwrap();
        assert!(file.next().unwrap_err().to_string().contains("a surprise"));
    }
}
