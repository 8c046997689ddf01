//! The streaming reader: files to Arrow batches, through the PyCapsule interface, or to lists.

use std::cell::Cell;
use std::path::PathBuf;
use std::ptr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, Instant};

use arrow_array::ffi_stream::FFI_ArrowArrayStream;
use arrow_array::{Array, RecordBatch, RecordBatchReader, StructArray};
use arrow_data::ffi::FFI_ArrowArray;
use arrow_schema::{ArrowError, DataType, FieldRef, Schema, SchemaRef};
use kernels::threads;
use pyo3::exceptions::{PyKeyError, PyOverflowError, PyRuntimeError, PyTypeError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::{PyBool, PyBytes, PyCapsule, PyDict, PyFloat, PyInt, PyList, PyString, PyTuple};
use reader::columnar::ipc::{Ipc, with_features};
use reader::columnar::parquet::Parquet;
use reader::columnar::saved;
use reader::csv::Csv;
use reader::dataset::{Dataset, Reader};
use reader::error::{Cause, ReadError};
use reader::features;
use reader::format::{self, Kind};
use reader::guard::contained;
use reader::json::Json;
use reader::options::{Options, Value};
use reader::scan::{BadFile, Format, Infer, Scan};
use reader::source::{Progress, Source};
use reader::text::Text;

use crate::py::arrow_capsule;
use crate::py::arrow_export::{ArrowSchema, Pair, export_schema};
use crate::py::arrow_values;
use crate::py::by_datasets::ByDatasets;
use crate::py::interpreter::raise_soon;
use crate::py::list_emitter::GcPause;
use crate::py::reader_errors::exception;

/// How often Ctrl-C is looked for.
const POLL: Duration = Duration::from_millis(20);

/// Threads used where none were asked for. Rows come in order, to one caller: on 16 cores, 16 threads
/// won a tenth at most over eight, and each takes memory.
const MOST_THREADS: usize = 8;

/// Looks for signals now and then while Rust works, and keeps what a handler raised.
struct Signals {
    last: Mutex<Instant>,
    raised: Mutex<Option<PyErr>>,
}

impl Signals {
    fn new() -> Arc<Self> {
        Arc::new(Signals { last: Mutex::new(Instant::now()), raised: Mutex::new(None) })
    }

    fn interrupted(&self) -> bool {
        let Ok(mut last) = self.last.try_lock() else { return false };
        if last.elapsed() < POLL {
            return false;
        }
        *last = Instant::now();
        drop(last);
        Python::try_attach(|py| match py.check_signals() {
            Ok(()) => false,
            Err(error) => {
                *lock(&self.raised) = Some(error);
                true
            }
        })
        .unwrap_or(false)
    }

    fn exception(&self, py: Python<'_>, error: &ReadError) -> PyErr {
        if matches!(error.cause, Cause::Interrupted)
            && let Some(raised) = lock(&self.raised).take()
        {
            return raised;
        }
        exception(py, error)
    }

    /// Whoever takes a stream of C gets a message, and may go on: what a handler raised comes behind it.
    fn raise_soon(&self) {
        if let Some(raised) = lock(&self.raised).take() {
            Python::try_attach(|py| raise_soon(py, raised));
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Files of one format with one schema, as they are to be read.
#[pyclass(module = "fast_axolotl._core", frozen)]
pub struct Files {
    dataset: Dataset,
    /// Whether the builder of `datasets` reads them.
    by_datasets: bool,
    progress: Arc<Progress>,
    signals: Arc<Signals>,
    /// What is being read of them.
    open: Mutex<Vec<Weak<Pass>>>,
}

/// Return the format of a file, by its content and its name.
#[pyfunction]
pub fn detect_file(py: Python<'_>, path: PathBuf) -> PyResult<&'static str> {
    let kind = py.detach(|| format::detect(&Source::new(path)));
    Ok(kind.map_err(|error| exception(py, &error))?.name())
}

/// Return whether `datasets` saved this folder.
#[pyfunction]
pub fn is_saved_dataset(path: PathBuf) -> bool {
    saved::is_saved(&path)
}

/// Return the files of a saved dataset, its features as JSON, and the splits left out.
#[pyfunction]
#[pyo3(signature = (path, split))]
pub fn saved_dataset(
    py: Python<'_>,
    path: PathBuf,
    split: Option<String>,
) -> PyResult<(Vec<PathBuf>, Option<String>, Vec<String>)> {
    let saved = py.detach(|| saved::open(&path, split.as_deref()));
    let saved = saved.map_err(|error| exception(py, &error))?;
    Ok((saved.files, saved.features, saved.left_out))
}

/// Open files of one format; finds out their schema unless it is given.
#[pyfunction]
#[pyo3(signature = (
    format, paths, *, columns, batch_size, num_threads, schema, infer, options, features, bad_file,
    found_by_datasets
))]
#[allow(clippy::too_many_arguments)] // keywords
pub fn open_files(
    py: Python<'_>,
    format: &str,
    paths: Vec<PathBuf>,
    columns: Option<Vec<String>>,
    batch_size: usize,
    num_threads: usize,
    schema: Option<&Bound<'_, PyAny>>,
    infer: &str,
    options: &Bound<'_, PyDict>,
    features: Option<String>,
    bad_file: Option<Py<PyAny>>,
    found_by_datasets: bool,
) -> PyResult<Files> {
    let schema = schema.map(arrow_capsule::import_schema).transpose()?;
    let infer = match infer {
        "first" => Infer::First,
        "chunk" => Infer::Chunk,
        "full" => Infer::Full,
        other => {
            let message = format!("infer must be 'first', 'chunk' or 'full', not {other:?}");
            return Err(pyo3::exceptions::PyValueError::new_err(message));
        }
    };
    let (plain, options) = (options_of(options)?, options.clone().unbind());
    let signals = Signals::new();
    let progress = Arc::new(Progress::default());
    let watched = Arc::clone(&signals);
    let scan = Scan {
        columns,
        batch_size,
        threads: match num_threads {
            0 => threads::resolve(0).min(MOST_THREADS),
            asked => threads::resolve(asked),
        },
        infer,
        progress: Arc::clone(&progress),
        bad_file: bad_file.map(told),
        interrupted: Arc::new(move || watched.interrupted()),
        ..Scan::default()
    };
    let opened = py.detach(|| {
        let kind = Kind::from_name(format)?;
        let files: Vec<_> = paths.into_iter().map(Source::new).collect();
        let by_datasets = || Arc::new(ByDatasets::new(kind, options));
        if found_by_datasets {
            let dataset = Dataset::new(by_datasets(), files, schema, scan)?;
            return Ok((dataset.with_found_schema(), true));
        }
        let native = format_of(kind, plain).and_then(|format| {
            if let Some(schema) = &schema {
                check_features(kind, schema)?;
            }
            Dataset::new(format, files.clone(), schema.clone(), scan.clone())
        });
        let (dataset, by_datasets) = match native {
            Err(error) if is_left_to_datasets(&error, kind, schema.as_deref()) => {
                (Dataset::new(by_datasets(), files, schema, scan)?, true)
            }
            dataset => (dataset?, false),
        };
        let schema = with_features(dataset.full_schema(), features.as_deref());
        if let Some(message) = schema.fields().iter().find_map(unspeakable) {
            let error = ReadError::damaged(message);
            return Err(match dataset.files().first() {
                Some(file) => error.in_file(file.path()),
                None => error,
            });
        }
        Ok((dataset.with_schema(schema), by_datasets))
    });
    let (dataset, by_datasets) =
        opened.map_err(|error: ReadError| signals.exception(py, &error))?;
    Ok(Files { dataset, by_datasets, progress, signals, open: Mutex::default() })
}

/// Calls a function of Python with what an error says.
fn told(function: Py<PyAny>) -> BadFile {
    Arc::new(move |error| {
        Python::attach(|py| {
            if let Err(raised) = function.call1(py, (error.to_string(),)) {
                raised.write_unraisable(py, None);
            }
        });
    })
}

/// Whether options or schema ask for what only pandas, Python's codecs or `datasets` itself can do.
fn is_left_to_datasets(error: &ReadError, kind: Kind, schema: Option<&Schema>) -> bool {
    matches!(error.cause, Cause::Unsupported(_))
        && (kind.is_text() || schema.is_some_and(|schema| check_features(kind, schema).is_err()))
}

/// An error where `datasets` makes values of the schema out of what a file has.
fn check_features(kind: Kind, schema: &Schema) -> reader::error::Result<()> {
    if kind.is_text() { features::check_plain(schema) } else { features::check_stored(schema) }
}

/// What the C data interface can't pass on: a name with a NUL, which ends its strings; a type that no
/// other library has.
fn unspeakable(field: &FieldRef) -> Option<String> {
    if field.name().contains('\0') {
        return Some(format!("the name of a column has a NUL character: {:?}", field.name()));
    }
    match field.data_type() {
        DataType::Decimal32(0, _)
        | DataType::Decimal64(0, _)
        | DataType::Decimal128(0, _)
        | DataType::Decimal256(0, _) => {
            Some(format!("column {:?} is a decimal of no digits", field.name()))
        }
        DataType::List(item)
        | DataType::LargeList(item)
        | DataType::FixedSizeList(item, _)
        | DataType::Map(item, _) => unspeakable(item),
        DataType::Struct(fields) => fields.iter().find_map(unspeakable),
        _ => None,
    }
}

fn format_of(kind: Kind, options: Options) -> reader::error::Result<Arc<dyn Format>> {
    Ok(match kind {
        Kind::Parquet => Arc::new(Parquet::new(options)?),
        Kind::Arrow | Kind::HfDataset => Arc::new(Ipc::new(options)?),
        Kind::Json => Arc::new(Json::new(options)?),
        Kind::Csv => Arc::new(Csv::new(options)?),
        Kind::Tsv => Arc::new(Csv::tabs(options)?),
        Kind::Text => Arc::new(Text::new(options)?),
    })
}

#[pymethods]
impl Files {
    /// Rows of all files where they are known without reading them.
    fn num_rows(&self, py: Python<'_>) -> PyResult<Option<u64>> {
        let rows = py.detach(|| self.dataset.num_rows());
        rows.map_err(|error| self.signals.exception(py, &error))
    }

    /// Bytes read of the files as they are stored.
    fn bytes_read(&self) -> u64 {
        self.progress.bytes.load(Ordering::Relaxed)
    }

    /// The names of the columns that are read.
    fn column_names(&self, py: Python<'_>) -> PyResult<Vec<String>> {
        Ok(names(&self.schema(py)?))
    }

    /// The schema of all columns, those that are not read too.
    fn full_schema(&self) -> ArrowSchema {
        ArrowSchema::new(Arc::clone(self.dataset.full_schema()))
    }

    /// Whether the builder of `datasets` reads the files.
    fn is_by_datasets(&self) -> bool {
        self.by_datasets
    }

    /// Start to read; for objects of Python, making which takes longer than reading, little is read ahead.
    #[pyo3(signature = (*, for_objects = false))]
    fn read(&self, py: Python<'_>, for_objects: bool) -> PyResult<Batches> {
        let reader = py.detach(|| match for_objects {
            true => self.dataset.clone().for_slow_caller().reader(),
            false => self.dataset.reader(),
        });
        let reader = reader.map_err(|error| self.signals.exception(py, &error))?;
        let schema = Arc::clone(reader.schema());
        let pass = Arc::new(Pass::new(reader));
        py.detach(|| {
            let mut open = lock(&self.open);
            open.retain(|pass| pass.strong_count() > 0);
            open.push(Arc::downgrade(&pass));
        });
        Ok(Batches { pass, schema, signals: Arc::clone(&self.signals) })
    }

    /// Stop all threads and close all files of what is being read.
    fn close(&self, py: Python<'_>) {
        py.detach(|| {
            let open: Vec<_> = lock(&self.open).drain(..).collect();
            open.iter().filter_map(Weak::upgrade).for_each(|pass| pass.close());
        });
    }

    /// The schema, for any library that knows Arrow.
    fn __arrow_c_schema__<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyCapsule>> {
        export_schema(py, &self.schema(py)?)
    }
}

impl Files {
    fn schema(&self, py: Python<'_>) -> PyResult<SchemaRef> {
        self.dataset.schema().map_err(|error| exception(py, &error))
    }
}

fn names(schema: &SchemaRef) -> Vec<String> {
    schema.fields().iter().map(|field| field.name().clone()).collect()
}

struct State {
    reader: Option<Reader>,
    /// Whether it was closed before it had ended.
    is_closed: bool,
    /// What went wrong in a stream, whose consumer can't pass it on as what it is.
    error: Option<ReadError>,
    /// The value that Python has no object for, behind the rows that were given.
    unconverted: Option<PyErr>,
    rows: u64,
    /// Rows left out.
    skipped: u64,
}

impl State {
    fn new(reader: Reader) -> Self {
        State {
            reader: Some(reader),
            is_closed: false,
            error: None,
            unconverted: None,
            rows: 0,
            skipped: 0,
        }
    }

    fn close(&mut self) {
        self.is_closed |= self.reader.take().is_some();
    }

    fn skip(&mut self, rows: u64) -> reader::error::Result<u64> {
        let Some(reader) = &mut self.reader else { return Ok(0) };
        let skipped = contained(|| reader.skip(rows))?;
        self.skipped += skipped;
        Ok(skipped)
    }

    fn advance(&mut self) -> reader::error::Result<Option<RecordBatch>> {
        if self.is_closed {
            let message = "the reader was closed: there may be more rows";
            return Err(ReadError::request(message));
        }
        let Some(reader) = &mut self.reader else { return Ok(None) };
        // Whoever takes a stream of C can't be told of a panic.
        let next = contained(|| reader.advance());
        match &next {
            Ok(Some(batch)) => self.rows += batch.num_rows() as u64,
            _ => self.reader = None,
        }
        next
    }
}

/// One pass over some files.
struct Pass {
    state: Mutex<State>,
    /// Whether it is to be closed by whoever has the state.
    closes: AtomicBool,
}

thread_local! {
    /// The pass whose state this thread has: a signal's handler may run meanwhile, and ask for it, too.
    static HELD: Cell<*const Pass> = const { Cell::new(ptr::null()) };
}

impl Pass {
    fn new(reader: Reader) -> Self {
        Pass { state: Mutex::new(State::new(reader)), closes: AtomicBool::new(false) }
    }

    fn with<T>(&self, work: impl FnOnce(&mut State) -> T) -> PyResult<T> {
        if ptr::eq(HELD.get(), self) {
            return Err(PyRuntimeError::new_err("this thread is reading these batches already"));
        }
        let mut state = lock(&self.state);
        let outer = HELD.replace(self);
        let result = work(&mut state);
        HELD.set(outer);
        if self.closes.load(Ordering::Relaxed) {
            state.close();
        }
        Ok(result)
    }

    fn close(&self) {
        self.closes.store(true, Ordering::Relaxed);
        // Where this thread has the state, it closes it when it is done.
        let _ = self.with(State::close);
    }
}

/// The batches of some files, read once.
#[pyclass(module = "fast_axolotl._core", frozen)]
pub struct Batches {
    pass: Arc<Pass>,
    schema: SchemaRef,
    signals: Arc<Signals>,
}

#[pymethods]
impl Batches {
    /// The next batch; None after the last.
    fn next_batch(&self, py: Python<'_>) -> PyResult<Option<Batch>> {
        Ok(self.advance(py)?.map(|batch| Batch { batch }))
    }

    /// The next batch as a dict of lists; None after the last.
    fn next_dict<'py>(&self, py: Python<'py>) -> PyResult<Option<Bound<'py, PyDict>>> {
        if let Some(error) = py.detach(|| self.pass.with(|state| state.unconverted.take()))? {
            return Err(error);
        }
        let Some(batch) = self.advance(py)? else { return Ok(None) };
        let error = match to_dict(py, &batch) {
            Ok(dict) => return Ok(Some(dict)),
            Err(error) => error,
        };
        let Some((row, name, error)) = unconverted(py, &batch, &error) else { return Err(error) };
        let message = error.value(py).to_string();
        let placed = py.detach(|| {
            self.pass.with(|state| {
                let place = state.skipped + state.rows - (batch.num_rows() - row) as u64;
                let error = ReadError::schema(message).in_column(&name);
                let file = state.reader.as_ref().and_then(|reader| reader.place_of(place));
                let error = match file {
                    Some((file, row)) => error.at_row(row).in_file(file.path()),
                    None => error.at_row(place),
                };
                state.reader = None;
                error
            })
        })?;
        let error = match error.is_instance_of::<PyOverflowError>(py) {
            true => PyOverflowError::new_err(placed.to_string()),
            false => exception(py, &placed),
        };
        if row == 0 {
            return Err(error);
        }
        py.detach(|| self.pass.with(|state| state.unconverted = Some(error)))?;
        to_dict(py, &batch.slice(0, row)).map(Some)
    }

    /// Leave out up to `rows` rows; returns how many there were.
    fn skip(&self, py: Python<'_>, rows: u64) -> PyResult<u64> {
        let skipped = py.detach(|| self.pass.with(|state| state.skip(rows)))?;
        skipped.map_err(|error| self.signals.exception(py, &error))
    }

    /// Rows given so far.
    fn rows(&self, py: Python<'_>) -> PyResult<u64> {
        py.detach(|| self.pass.with(|state| state.rows))
    }

    /// Stop all threads and close all files.
    fn close(&self, py: Python<'_>) {
        py.detach(|| self.pass.close());
    }

    /// Raise what ended the stream, if anything did.
    fn raise_pending(&self, py: Python<'_>) -> PyResult<()> {
        match py.detach(|| self.pass.with(|state| state.error.take()))? {
            Some(error) => Err(self.signals.exception(py, &error)),
            None => Ok(()),
        }
    }

    fn __arrow_c_schema__<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyCapsule>> {
        export_schema(py, &self.schema)
    }

    /// What is left of the batches, for any library that knows Arrow.
    #[pyo3(signature = (requested_schema=None))]
    fn __arrow_c_stream__<'py>(
        &self,
        py: Python<'py>,
        requested_schema: Option<&Bound<'py, PyAny>>,
    ) -> PyResult<Bound<'py, PyCapsule>> {
        // Another schema than ours may be left to the consumer to cast to.
        let _ = requested_schema;
        let stream = Stream {
            pass: Arc::clone(&self.pass),
            schema: Arc::clone(&self.schema),
            signals: Arc::clone(&self.signals),
        };
        let stream = FFI_ArrowArrayStream::new(Box::new(stream));
        PyCapsule::new_with_value(py, stream, c"arrow_array_stream")
    }
}

impl Batches {
    fn advance(&self, py: Python<'_>) -> PyResult<Option<RecordBatch>> {
        let next = py.detach(|| self.pass.with(State::advance))?;
        next.map_err(|error| self.signals.exception(py, &error))
    }
}

struct Stream {
    pass: Arc<Pass>,
    schema: SchemaRef,
    signals: Arc<Signals>,
}

impl Iterator for Stream {
    type Item = Result<RecordBatch, ArrowError>;

    fn next(&mut self) -> Option<Self::Item> {
        let next = self.pass.with(|state| {
            state.advance().map_err(|error| {
                if matches!(error.cause, Cause::Interrupted) {
                    self.signals.raise_soon();
                }
                // A string of C, which a NUL out of the file would end.
                let message = error.to_string().replace('\0', "\\0");
                state.error = Some(error);
                message
            })
        });
        let next = next.unwrap_or_else(|error| Err(error.to_string()));
        next.map_err(|message| ArrowError::ExternalError(message.into())).transpose()
    }
}

impl RecordBatchReader for Stream {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }
}

/// A record batch that any library which knows Arrow can take, without a copy.
#[pyclass(module = "fast_axolotl._core", frozen)]
pub struct Batch {
    batch: RecordBatch,
}

#[pymethods]
impl Batch {
    /// The number of rows.
    #[getter]
    fn num_rows(&self) -> usize {
        self.batch.num_rows()
    }

    /// The names of the columns.
    #[getter]
    fn column_names(&self) -> Vec<String> {
        names(&self.batch.schema())
    }

    /// The batch as a dict of lists.
    fn to_pydict<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        to_dict(py, &self.batch)
    }

    /// A column as a list.
    fn column<'py>(&self, py: Python<'py>, name: &str) -> PyResult<Bound<'py, PyAny>> {
        let schema = self.batch.schema();
        let Some((index, field)) = schema.fields().find(name) else {
            return Err(PyKeyError::new_err(name.to_owned()));
        };
        arrow_values::to_list(py, &**self.batch.column(index), field)
    }

    fn __len__(&self) -> usize {
        self.batch.num_rows()
    }

    fn __repr__(&self) -> String {
        format!("<Batch of {} rows: {}>", self.batch.num_rows(), self.column_names().join(", "))
    }

    fn __arrow_c_schema__<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyCapsule>> {
        export_schema(py, &self.batch.schema())
    }

    #[pyo3(signature = (requested_schema=None))]
    fn __arrow_c_array__<'py>(
        &self,
        py: Python<'py>,
        requested_schema: Option<&Bound<'py, PyAny>>,
    ) -> PyResult<Pair<'py>> {
        let _ = requested_schema;
        let schema = export_schema(py, &self.batch.schema())?;
        let array = StructArray::from(self.batch.clone());
        let array = FFI_ArrowArray::new(&array.to_data());
        Ok((schema, PyCapsule::new_with_value(py, array, c"arrow_array")?))
    }
}

fn to_dict<'py>(py: Python<'py>, batch: &RecordBatch) -> PyResult<Bound<'py, PyDict>> {
    let _pause = GcPause::new(py);
    let dict = PyDict::new(py);
    for (column, field) in batch.columns().iter().zip(batch.schema().fields()) {
        dict.set_item(field.name(), arrow_values::to_list(py, &**column, field)?)?;
    }
    Ok(dict)
}

/// The row, the column and the reason, where Python has no object for a value: a date of the year 10,000,
/// or text that is said to be JSON and is not.
fn unconverted(
    py: Python<'_>,
    batch: &RecordBatch,
    error: &PyErr,
) -> Option<(usize, String, PyErr)> {
    if !error.is_instance_of::<PyOverflowError>(py) && !error.is_instance_of::<PyValueError>(py) {
        return None;
    }
    (0..batch.num_rows()).find_map(|row| {
        let slice = batch.slice(row, 1);
        let schema = slice.schema();
        slice.columns().iter().zip(schema.fields()).find_map(|(column, field)| {
            let error = arrow_values::to_list(py, &**column, field).err()?;
            Some((row, field.name().clone(), error))
        })
    })
}

fn options_of(options: &Bound<'_, PyDict>) -> PyResult<Options> {
    let values = options.iter().map(|(name, value)| {
        Ok((name.extract::<String>()?, value_of(&name.extract::<String>()?, &value)?))
    });
    Ok(Options::new(values.collect::<PyResult<_>>()?))
}

/// A Python value as plain data.
fn value_of(name: &str, value: &Bound<'_, PyAny>) -> PyResult<Value> {
    Ok(if value.is_none() {
        Value::None
    } else if let Ok(value) = value.cast::<PyBool>() {
        Value::Bool(value.is_true())
    } else if value.is_instance_of::<PyInt>() {
        Value::Int(value.extract()?)
    } else if value.is_instance_of::<PyFloat>() {
        Value::Float(value.extract()?)
    } else if value.is_instance_of::<PyString>() {
        Value::Str(value.extract()?)
    } else if value.is_instance_of::<PyBytes>() {
        Value::Bytes(value.extract()?)
    } else if value.is_instance_of::<PyList>() || value.is_instance_of::<PyTuple>() {
        let items = value.try_iter()?.map(|item| value_of(name, &item?));
        Value::List(items.collect::<PyResult<_>>()?)
    } else if let Ok(value) = value.cast::<PyDict>() {
        let items =
            value.iter().map(|(key, item)| Ok((value_of(name, &key)?, value_of(name, &item)?)));
        Value::Map(items.collect::<PyResult<_>>()?)
    } else {
        let kind = value.get_type().name()?;
        return Err(PyTypeError::new_err(format!("{name} must be plain data, not {kind}")));
    })
}
