//! The text that `str(row)` has of rows of Arrow tables: its digests, and the duplicates among them.

use std::collections::HashMap;
use std::sync::LazyLock;

use kernels::hash::write_hex;
use kernels::threads;
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyList, PySet, PyString};
use rowtext::digest::{Digests, Part};
use rowtext::printable::{Bits, Printable};
use rowtext::rows::{Rows, Table, Unsupported};
use rowtext::schema;
use rowtext::temporal::Zone;
use rowtext::text::Text;

use crate::error::{Error, Result};
use crate::py::arrow_capsule;
use crate::py::dispatch;
use crate::py::hash::Interrupt;
use crate::py::text::hex_str;

/// Rows that make it worth while to wake one more thread.
const THREAD_ROWS: usize = 64;

/// Name of a timezone -> seconds east of UTC, `repr` of its tzinfo.
type Zones = HashMap<String, (i64, String)>;

/// Return why the text of rows can't be written from these columns; None where it can.
///
/// `schema` is a pyarrow schema, `zones` are the timezones whose offset never changes:
/// name -> (seconds east of UTC, `repr` of the tzinfo).
#[pyfunction]
pub fn row_text_unsupported(
    schema: &Bound<'_, PyAny>,
    columns: Vec<usize>,
    zones: Zones,
) -> Result<Option<String>> {
    let Some(fields) = arrow_capsule::fields("schema", schema)? else {
        return Ok(Some("a column has a type that is not known here".into()));
    };
    let zones = named(zones);
    let reason = |&column: &usize| match fields.get(column) {
        Some(field) => schema::unsupported(field, &zones),
        None => Some(format!("there is no column {column}")),
    };
    Ok(columns.iter().find_map(reason))
}

/// Return the text of every row as `str` gives it, None where Python has to be asked.
///
/// `table` is a pyarrow table, `columns` are the numbers of its columns, in the order of the dict.
#[pyfunction]
#[pyo3(signature = (table, columns, zones, indices=None))]
pub fn row_texts<'py>(
    py: Python<'py>,
    table: &Bound<'py, PyAny>,
    columns: Vec<usize>,
    zones: Zones,
    indices: Option<&Bound<'py, PyAny>>,
) -> Result<Bound<'py, PyList>> {
    let source = Source::new(table, zones, indices)?;
    let rows = source.rows(py, &columns)?;
    // Attached only where characters are asked for.
    let texts: Vec<Option<Vec<u8>>> = py.detach(|| {
        let (mut text, mut cursor) = (Text::default(), rows.cursor());
        let mut write = |row: usize| {
            text.clear();
            cursor.write(row, &mut text).map(|()| text.as_bytes().to_vec())
        };
        (0..rows.len()).map(&mut write).collect()
    });
    let text = |text: Option<Vec<u8>>| text.map(|text| String::from_utf8_lossy(&text).into_owned());
    Ok(PyList::new(py, texts.into_iter().map(text))?)
}

/// Add the hashes of rows to `seen` and return the rows whose hash was not in it, as a range where
/// they follow each other.
///
/// A hash is the hexadecimal SHA-256 of the text that `str` gives of a row. `first` is that text of the
/// first row: where it is another one here, nothing is done, and None returned. Where Python has to be
/// asked, `ask` is called with the row, and returns its hash.
#[pyfunction]
#[pyo3(signature = (table, columns, zones, indices, seen, first, ask, num_threads=0))]
#[expect(clippy::too_many_arguments, reason = "what a call is about, and no less")]
pub fn deduplicate_rows<'py>(
    py: Python<'py>,
    table: &Bound<'py, PyAny>,
    columns: Vec<usize>,
    zones: Zones,
    indices: Option<&Bound<'py, PyAny>>,
    seen: &Bound<'py, PySet>,
    first: &str,
    ask: &Bound<'py, PyAny>,
    num_threads: usize,
) -> Result<Option<Bound<'py, PyAny>>> {
    let source = Source::new(table, zones, indices)?;
    let rows = source.rows(py, &columns)?;
    if !py.detach(|| begins_with(&rows, first)) {
        return Ok(None);
    }
    let threads = match num_threads {
        0 if !dispatch::threads_free() => 1,
        0 => threads::resolve(0).min(dispatch::budget()),
        asked => threads::resolve(asked),
    };
    let threads = threads.min(1 + rows.len() / THREAD_ROWS);
    let digests = Digests::new(&rows, threads);
    let mut sink =
        Sink { seen: seen.clone().unbind(), ask: ask.clone().unbind(), kept: Vec::new() };
    // Detached as a whole: helpers may wait for the interpreter when this thread waits for them.
    py.detach(|| {
        threads::with_helpers(threads, &|| digests.help(), || {
            let _stop = StopOnDrop(&digests);
            read_all(&digests, &mut sink)
        })
    })?;
    Ok(Some(indices_of(py, &sink.kept)?))
}

/// Return what `pickle.dumps` gives of a list of indices in protocol 4, written in plain Python.
///
/// The pickler that is written in C makes other batches. `indices` is a list, or a range of step 1.
#[pyfunction]
pub fn pickle_indices<'py>(
    py: Python<'py>,
    indices: &Bound<'py, PyAny>,
) -> Result<Bound<'py, PyBytes>> {
    let pickle = match indices.cast::<PyList>() {
        Ok(list) => {
            let mut numbers = Vec::with_capacity(list.len());
            for index in list.iter() {
                numbers.push(index.extract::<u64>()?);
            }
            kernels::pickle::list(numbers.into_iter())
        }
        Err(_) => {
            let begin: u64 = indices.getattr(intern!(py, "start"))?.extract()?;
            let end: u64 = indices.getattr(intern!(py, "stop"))?.extract()?;
            let length = usize::try_from(end.saturating_sub(begin)).unwrap_or(0);
            kernels::pickle::list((0..length).map(|i| begin + i as u64))
        }
    };
    Ok(PyBytes::new(py, &pickle))
}

/// What rows are read from.
struct Source {
    table: Table,
    picks: Option<Table>,
    zones: HashMap<String, Zone>,
}

impl Source {
    fn new(
        table: &Bound<'_, PyAny>,
        zones: Zones,
        indices: Option<&Bound<'_, PyAny>>,
    ) -> Result<Self> {
        let imported = |name, value| -> Result<Table> {
            let (fields, batches) = arrow_capsule::table(name, value)?;
            Ok(Table { fields, batches })
        };
        let picks = indices.map(|indices| imported("indices", indices)).transpose()?;
        Ok(Source { table: imported("table", table)?, picks, zones: named(zones) })
    }

    fn rows(&self, py: Python<'_>, columns: &[usize]) -> Result<Rows<'_>> {
        let unsupported = |reason: String| Error::RowText { reason };
        for field in columns.iter().filter_map(|&column| self.table.fields.get(column)) {
            if let Some(reason) = schema::unsupported(field, &self.zones) {
                return Err(unsupported(reason));
            }
        }
        let rows = py.detach(|| Rows::new(&self.table, columns, &self.zones, &PRINTABLE));
        let rows = rows.map_err(|Unsupported(column)| unsupported(format!("column {column}")))?;
        match &self.picks {
            None => Ok(rows),
            Some(picks) => rows
                .pick(picks)
                .ok_or_else(|| unsupported("indices are not one column of 64-bit integers".into())),
        }
    }
}

fn named(zones: Zones) -> HashMap<String, Zone> {
    let zone = |(name, (offset, text))| (name, Zone { offset, text });
    zones.into_iter().map(zone).collect()
}

static PRINTABLE: LazyLock<Printable> = LazyLock::new(|| Printable::new(printable_page));

/// Asks the interpreter for 256 characters: all at once, then in blocks, then one by one.
fn printable_page(page: u32) -> Option<Bits> {
    Python::attach(|py| {
        // Surrogates are in no UTF-8.
        let characters: Vec<char> =
            (0..256).map(|i| char::from_u32(256 * page + i).unwrap_or('\0')).collect();
        let is_printable = |characters: &[char]| {
            let text = PyString::new(py, &characters.iter().collect::<String>());
            text.call_method0(intern!(py, "isprintable")).ok()?.extract::<bool>().ok()
        };
        if is_printable(&characters)? {
            return Some([u64::MAX; 4]);
        }
        let mut bits = [0; 4];
        for (word, block) in bits.iter_mut().zip(characters.chunks(64)) {
            if is_printable(block)? {
                *word = u64::MAX;
                continue;
            }
            for (bit, character) in block.iter().enumerate() {
                *word |= u64::from(is_printable(std::slice::from_ref(character))?) << bit;
            }
        }
        Some(bits)
    })
}

fn begins_with(rows: &Rows<'_>, first: &str) -> bool {
    let mut text = Text::default();
    match rows.cursor().write(0, &mut text) {
        Some(()) => text.as_bytes() == first.as_bytes(),
        // Python is going to be asked.
        None => !rows.is_empty(),
    }
}

/// Hands on the digests of all parts in order, and makes those that nobody else makes.
fn read_all(digests: &Digests<'_>, sink: &mut Sink) -> Result<()> {
    let mut interrupt = Interrupt::default();
    let mut text = Text::default();
    for part in 0..digests.parts() {
        let found = loop {
            if let Some(found) = digests.read(part) {
                break found;
            }
            if !digests.take(&mut text, &mut || interrupt.keep_going()) {
                std::thread::yield_now();
                interrupt.keep_going();
            }
            interrupt.raise()?;
        };
        let first = digests.first_row(part);
        Python::attach(|py| sink.take(py, first, &found))?;
        interrupt.keep_going();
        interrupt.raise()?;
    }
    Ok(())
}

struct StopOnDrop<'d, 'a>(&'d Digests<'a>);

impl Drop for StopOnDrop<'_, '_> {
    fn drop(&mut self) {
        self.0.stop();
    }
}

/// Where hashes go, and the rows that were the first to have theirs.
struct Sink {
    seen: Py<PySet>,
    ask: Py<PyAny>,
    kept: Vec<u64>,
}

impl Sink {
    fn take(&mut self, py: Python<'_>, first: usize, part: &Part) -> Result<()> {
        let seen = self.seen.bind(py);
        let mut unwritten = part.unwritten.iter().copied().peekable();
        for (place, digest) in part.digests.iter().enumerate() {
            let hash = if unwritten.next_if_eq(&place).is_some() {
                self.ask.bind(py).call1((first + place,))?
            } else {
                let mut hex = [0; 64];
                write_hex(digest, &mut hex);
                hex_str(py, &hex)?
            };
            // One look at the set instead of two: it grows by what was not in it.
            let before = seen.len();
            seen.add(hash)?;
            if seen.len() > before {
                self.kept.push((first + place) as u64);
            }
        }
        Ok(())
    }
}

/// A list of ints, or a range where they follow each other.
fn indices_of<'py>(py: Python<'py>, kept: &[u64]) -> Result<Bound<'py, PyAny>> {
    let builtin = |name| py.import(intern!(py, "builtins"))?.getattr(name);
    match kept {
        [] => Ok(PyList::empty(py).into_any()),
        [first, .., last] if last - first == kept.len() as u64 - 1 => {
            Ok(builtin(intern!(py, "range"))?.call1((first, last + 1))?)
        }
        [only] => Ok(builtin(intern!(py, "range"))?.call1((only, only + 1))?),
        _ => Ok(PyList::new(py, kept)?.into_any()),
    }
}
