//! `parallel_hash_rows` and `deduplicate_indices`.

use std::time::{Duration, Instant};

use kernels::dedup::{Seen, TooMany};
use kernels::hash::{Pipeline, parse_hex, write_hex};
use kernels::sha256::{self, Digest};
use kernels::threads;
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::{PyString, PyTuple};

use crate::error::{Error, Place, Result};
use crate::py::arguments;
use crate::py::dispatch;
use crate::py::fastcall::{Arguments, Pool};
use crate::py::list_emitter::{Items, NewList};
use crate::py::objects::type_name;
use crate::py::text::{FEW, Owners, TextRows, hex_str};

/// How much is a part: rows, and bytes at which it is closed early.
#[derive(Clone, Copy)]
struct PartSize {
    rows: usize,
    bytes: usize,
}

/// Little enough for the bytes to be in the second-level cache still when they are digested.
const ALONE: PartSize = PartSize { rows: 1024, bytes: 512 << 10 };

/// About twenty microseconds of work: a thread that comes late to a short call still finds some.
const SHARED: PartSize = PartSize { rows: 256, bytes: 64 << 10 };

/// Parts in work at a time where several threads share them. UTF-8 copies are held for so long.
const PARTS: usize = 128;

/// Digests that memory is asked for before they are looked up.
const AHEAD: usize = 8;

/// What a row costs beside its bytes, in bytes: padding, scheduling, a block begun.
const ROW_BYTES: usize = 64;

/// Work below this is done without letting other threads run: about 50 microseconds.
const DETACH_BYTES: usize = 128 << 10;

/// Work that makes it worth while to wake one more thread, which takes about 50 microseconds.
const THREAD_BYTES: usize = 256 << 10;

/// How often Ctrl-C is looked for.
const POLL: Duration = Duration::from_millis(50);

/// `parallel_hash_rows(rows, num_threads=0)`
pub fn parallel_hash_rows<'py>(
    py: Python<'py>,
    arguments: &Arguments<'_, 'py>,
) -> Result<Bound<'py, PyAny>> {
    let asked = arguments::threads(arguments.optional(1))?;
    let rows = TextRows::new(arguments.required(0))?;
    let mut hashes = NewList::hidden(py, rows.len())?;
    digest(py, &rows, (arguments.pool, asked), |digests| {
        for digest in digests {
            let mut hex = [0; 64];
            write_hex(digest, &mut hex);
            hashes.push(hex_str(py, &hex)?);
        }
        Ok(())
    })?;
    Ok(hashes.finish())
}

/// `deduplicate_indices(rows, existing_hashes=None, num_threads=0)`
pub fn deduplicate_indices<'py>(
    py: Python<'py>,
    arguments: &Arguments<'_, 'py>,
) -> Result<Bound<'py, PyAny>> {
    let asked = arguments::threads(arguments.optional(2))?;
    let existing = match arguments.optional(1) {
        Some(existing) if !existing.is_none() => existing_digests(existing)?,
        _ => Vec::new(),
    };
    let rows = TextRows::new(arguments.required(0))?;
    // Places from 0 on are those of the existing digests, then come the new ones.
    let mut seen = Seen::with_capacity(existing.len() + rows.len());
    for (place, digest) in existing.iter().enumerate() {
        seen.insert(digest, place, |other| existing[other] == *digest).map_err(too_many)?;
    }
    // Both get all the rows there may be; what stays empty is given back.
    let mut indices = NewList::hidden(py, rows.len())?;
    let mut hashes = NewList::hidden(py, rows.len())?;
    let mut row = 0usize;
    digest(py, &rows, (arguments.pool, asked), |digests| {
        for (i, digest) in digests.iter().enumerate() {
            if let Some(expected) = digests.get(i + AHEAD) {
                seen.expect(expected);
            }
            let mut hex = [0; 64];
            write_hex(digest, &mut hex);
            let place = existing.len() + hashes.len();
            let is_at = |place: usize| match existing.get(place) {
                Some(existing) => existing == digest,
                None => hashes.is_str_at(place - existing.len(), &hex),
            };
            if seen.insert(digest, place, is_at).map_err(too_many)? {
                indices.push(row.into_pyobject(py).map_err(PyErr::from)?.into_any());
                hashes.push(hex_str(py, &hex)?);
            }
            row += 1;
        }
        Ok(())
    })?;
    Ok(PyTuple::new(py, [indices.finish_short(), hashes.finish_short()])?.into_any())
}

fn too_many(_: TooMany) -> Error {
    Error::Memory
}

fn existing_digests(existing: Borrowed<'_, '_, PyAny>) -> Result<Vec<Digest>> {
    let py = existing.py();
    let is_iterable = existing.get_type().hasattr(intern!(py, "__iter__"))?;
    if existing.is_instance_of::<PyString>() || !is_iterable {
        return Err(Error::Existing { found: type_name(&existing)? });
    }
    let mut digests = Vec::new();
    for item in existing.try_iter()? {
        let item = item?;
        let Ok(text) = item.cast::<PyString>() else {
            return Err(Error::ExistingItem { found: type_name(&item)? });
        };
        // What is no digest can't be equal to one.
        if let Some(digest) = text.to_str().ok().and_then(|text| parse_hex(text.as_bytes())) {
            digests.push(digest);
        }
    }
    Ok(digests)
}

/// Digests all rows in order and hands the digests to `sink`, some at a time.
fn digest<'py>(
    py: Python<'py>,
    rows: &TextRows<'py>,
    (pool, asked): (Pool, usize),
    mut sink: impl FnMut(&[Digest]) -> Result<()>,
) -> Result<()> {
    let total = rows.len();
    // A short call: no memory is asked for, and nothing runs before the rows are read.
    if let Some(few) = rows.plain(py)
        && work(&few[..total]) < DETACH_BYTES
    {
        let mut digests = [[0; 32]; FEW];
        sha256::digest_all(&few[..total], &mut digests[..total], &mut || true);
        return sink(&digests[..total]);
    }
    let threads = match pool {
        Pool::One => 1,
        _ if asked == 1 || total < 2 => 1,
        Pool::Many if asked == 0 => threads::resolve(0).min(dispatch::budget()),
        Pool::Many | Pool::Judged => threads::resolve(asked),
    };
    let part = if threads > 1 { SHARED } else { ALONE };
    let mut source = Source { rows, next: 0, total, part };
    // For the whole call: one part takes less time than there is between two looks.
    let mut interrupt = Interrupt::default();
    while source.next < total {
        let owners = Owners::with_capacity(source.part.rows.min(total - source.next));
        let first = source.part(py, &owners)?;
        if source.next == total && work(&first) < DETACH_BYTES {
            let mut digests = vec![[0; 32]; first.len()];
            sha256::digest_all(&first, &mut digests, &mut || true);
            return sink(&digests);
        }
        // The first part tells what the rest is like.
        let work = work(&first).saturating_mul(1 + (total - source.next) / first.len());
        let threads = match pool {
            Pool::Judged => threads.min(1 + work / THREAD_BYTES),
            Pool::One | Pool::Many => threads,
        };
        if threads == 1 {
            source.part = ALONE;
        }
        let rest = (total - source.next).div_ceil(first.len());
        let parts = if threads > 1 { (1 + rest).min(PARTS) } else { 1 };
        let pipeline = Pipeline::new(parts);
        pipeline.fill(0, first);
        threads::with_helpers(threads, &|| pipeline.help(), || {
            let _stop = pipeline.stop_on_drop();
            fill_and_sink(py, &pipeline, parts, &mut source, &owners, &mut interrupt, &mut sink)
        })?;
    }
    Ok(())
}

/// Fills all parts but the first, and hands on the digests of all.
fn fill_and_sink<'m, 'a: 'm, 'py>(
    py: Python<'py>,
    pipeline: &Pipeline<'m>,
    parts: usize,
    source: &mut Source<'a, 'py>,
    owners: &'m Owners<'py>,
    interrupt: &mut Interrupt,
    sink: &mut impl FnMut(&[Digest]) -> Result<()>,
) -> Result<()> {
    for part in 1..parts {
        pipeline.fill(part, source.part(py, owners)?);
    }
    for part in 0..parts {
        let digests = loop {
            if let Some(digests) = pipeline.digests(part) {
                break digests;
            }
            match pipeline.claim(part) {
                Some(claimed) => {
                    // What it returns is told by `interrupt` too.
                    py.detach(|| pipeline.digest(claimed, &mut || interrupt.keep_going()));
                }
                None => py.detach(|| {
                    std::thread::yield_now();
                    interrupt.keep_going();
                }),
            }
            interrupt.raise()?;
        };
        sink(&digests)?;
        // Here too: a part may be too small for a look while it is digested.
        interrupt.keep_going();
        interrupt.raise()?;
    }
    Ok(())
}

/// Looks for Ctrl-C now and then, from a thread that has let go of the interpreter.
pub struct Interrupt {
    polled: Instant,
    error: Option<PyErr>,
}

impl Default for Interrupt {
    fn default() -> Self {
        Interrupt { polled: Instant::now(), error: None }
    }
}

impl Interrupt {
    pub fn keep_going(&mut self) -> bool {
        if self.polled.elapsed() >= POLL {
            self.polled = Instant::now();
            self.error = Python::attach(|py| py.check_signals()).err();
        }
        self.error.is_none()
    }

    pub fn raise(&mut self) -> Result<()> {
        self.error.take().map_or(Ok(()), |error| Err(error.into()))
    }
}

fn work(messages: &[&[u8]]) -> usize {
    messages.iter().map(|message| message.len() + ROW_BYTES).sum()
}

/// Rows on their way into parts.
struct Source<'a, 'py> {
    rows: &'a TextRows<'py>,
    next: usize,
    total: usize,
    part: PartSize,
}

impl<'a, 'py> Source<'a, 'py> {
    /// The bytes of the next rows; `owners` keeps them.
    fn part<'m>(&mut self, py: Python<'py>, owners: &'m Owners<'py>) -> Result<Vec<&'m [u8]>>
    where
        'a: 'm,
    {
        let end = self.total.min(self.next + self.part.rows);
        let mut messages = Vec::with_capacity(end - self.next);
        let mut bytes = 0;
        match self.rows {
            TextRows::Objects(rows) => {
                // Looked up every time: other threads ran while the last rows were digested.
                let items = Items::of(rows.as_borrowed());
                while self.next < end && bytes < self.part.bytes {
                    let row = items.and_then(|items| items.get(py, self.next));
                    let place = Place::row("rows", self.next);
                    let row = row.ok_or(Error::Changed { place })?;
                    let message = owners
                        .hold(self.next, row)
                        .map_err(|error| self.rows.culprit(py, self.next, error))?;
                    bytes += message.len();
                    messages.push(message);
                    self.next += 1;
                }
            }
            TextRows::Arrow(rows) => {
                while self.next < end && bytes < self.part.bytes {
                    let message = rows.get(self.next).unwrap_or_default();
                    bytes += message.len();
                    messages.push(message);
                    self.next += 1;
                }
            }
        }
        Ok(messages)
    }
}
