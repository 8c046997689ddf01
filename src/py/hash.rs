//! `parallel_hash_rows` and `deduplicate_indices`.

use std::time::{Duration, Instant};

use kernels::dedup::Seen;
use kernels::hash::{digest_rows, parse_hex};
use kernels::sha256::Digest;
use kernels::threads;
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::{PyString, PyTuple};

use crate::error::{Error, Place, Result};
use crate::py::arguments;
use crate::py::fastcall::Arguments;
use crate::py::list_emitter::{Items, NewList};
use crate::py::rows::type_name;
use crate::py::text::{HeldRows, TextRows, hex_str};

/// Rows digested in one go: their bytes stay in the second-level cache between the two passes.
const CHUNK: usize = 2048;

/// Rows in one go on several threads, where waking them has to pay.
const THREADED_CHUNK: usize = 65_536;

/// UTF-8 copies held at a time.
const COPIED_BYTES: usize = 16 << 20;

/// What a message costs beside its bytes, in bytes: padding, scheduling, a block begun.
const ROW_BYTES: usize = 64;

/// Work below this is done without letting other threads run: about 50 microseconds.
const DETACH_BYTES: usize = 96 << 10;

/// Work that makes it worth while to wake one more thread, which takes about 50 microseconds.
const THREAD_BYTES: usize = 256 << 10;

/// How often Ctrl-C is looked for.
const POLL: Duration = Duration::from_millis(50);

/// `parallel_hash_rows(rows, num_threads=0)`
pub fn parallel_hash_rows<'py>(
    py: Python<'py>,
    arguments: &Arguments<'_, 'py>,
) -> Result<Bound<'py, PyAny>> {
    let threads = arguments::threads(arguments.optional(1))?;
    let rows = TextRows::new(arguments.required(0))?;
    let mut hashes = NewList::with_capacity(py, rows.len())?;
    digest(py, &rows, threads, |digests| {
        for digest in digests {
            hashes.push(hex_str(py, digest)?);
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
    let threads = arguments::threads(arguments.optional(2))?;
    let mut seen = Seen::default();
    if let Some(existing) = arguments.optional(1)
        && !existing.is_none()
    {
        add_existing(existing, &mut seen)?;
    }
    let rows = TextRows::new(arguments.required(0))?;
    let known = seen.digests().len();
    let mut firsts = Vec::new();
    let mut row = 0usize;
    digest(py, &rows, threads, |digests| {
        for digest in digests {
            if seen.insert(digest) {
                firsts.push(row);
            }
            row += 1;
        }
        Ok(())
    })?;
    let new = &seen.digests()[known..];
    let mut indices = NewList::with_capacity(py, firsts.len())?;
    let mut hashes = NewList::with_capacity(py, new.len())?;
    for first in firsts {
        indices.push(first.into_pyobject(py).map_err(PyErr::from)?.into_any());
    }
    for digest in new {
        hashes.push(hex_str(py, digest)?);
    }
    Ok(PyTuple::new(py, [indices.finish(), hashes.finish()])?.into_any())
}

fn add_existing(existing: Borrowed<'_, '_, PyAny>, seen: &mut Seen) -> Result<()> {
    let py = existing.py();
    let is_iterable = existing.get_type().hasattr(intern!(py, "__iter__"))?;
    if existing.is_instance_of::<PyString>() || !is_iterable {
        return Err(Error::Existing { found: type_name(&existing)? });
    }
    for item in existing.try_iter()? {
        let item = item?;
        let Ok(text) = item.cast::<PyString>() else {
            return Err(Error::ExistingItem { found: type_name(&item)? });
        };
        // What is no digest can't be equal to one.
        if let Some(digest) = text.to_str().ok().and_then(|text| parse_hex(text.as_bytes())) {
            seen.insert(&digest);
        }
    }
    Ok(())
}

/// Digests all rows in order and hands the digests to `sink`, some at a time.
fn digest<'py>(
    py: Python<'py>,
    rows: &TextRows<'py>,
    threads: usize,
    mut sink: impl FnMut(&[Digest]) -> Result<()>,
) -> Result<()> {
    let total = rows.len();
    // Only where there may be work for more than one is it looked up how many may be used.
    let threads = match total * ROW_BYTES < THREAD_BYTES && total < 2 {
        true => 1,
        false => threads::resolve(threads),
    };
    let chunk = if threads > 1 { THREADED_CHUNK } else { CHUNK };
    let mut digests = vec![[0; 32]; total.min(chunk)];
    match rows {
        TextRows::Objects(rows) => {
            let mut held = HeldRows::with_capacity(total.min(chunk));
            let mut next = 0;
            while next < total {
                held.clear();
                let mut copied = 0;
                // Looked up again: other threads ran while the last rows were digested.
                let items = Items::of(rows.as_borrowed());
                while next < total && held.len() < chunk && copied < COPIED_BYTES {
                    let row = items.and_then(|items| items.get(py, next));
                    let place = Place::row("rows", next);
                    copied += held.hold(next, row.ok_or(Error::Changed { place })?)?;
                    next += 1;
                }
                let out = &mut digests[..held.len()];
                digest_messages(py, held.messages(), held.bytes(), threads, out)?;
                sink(out)?;
            }
        }
        TextRows::Arrow(rows) => {
            let mut messages = Vec::with_capacity(total.min(chunk));
            let mut rows = rows.iter().peekable();
            while rows.peek().is_some() {
                messages.clear();
                messages.extend(rows.by_ref().take(chunk));
                let bytes = messages.iter().map(|message| message.len()).sum();
                let out = &mut digests[..messages.len()];
                digest_messages(py, &messages, bytes, threads, out)?;
                sink(out)?;
            }
        }
    }
    Ok(())
}

fn digest_messages(
    py: Python<'_>,
    messages: &[&[u8]],
    bytes: usize,
    threads: usize,
    out: &mut [Digest],
) -> Result<()> {
    let work = bytes.saturating_add(messages.len() * ROW_BYTES);
    if work < DETACH_BYTES {
        digest_rows(messages, out, 1, &mut || true);
        return Ok(());
    }
    let threads = threads.min(1 + work / THREAD_BYTES);
    let mut interrupt = None;
    let mut polled = Instant::now();
    let mut keep_going = || {
        if polled.elapsed() >= POLL {
            polled = Instant::now();
            interrupt = Python::attach(|py| py.check_signals()).err();
        }
        interrupt.is_none()
    };
    py.detach(|| digest_rows(messages, out, threads, &mut keep_going));
    interrupt.map_or(Ok(()), |error| Err(error.into()))
}
