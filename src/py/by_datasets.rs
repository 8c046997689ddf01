//! What only Python knows how to make: text formats with options of pandas and of Python's codecs, read by the
//! builders of `datasets`, and features that it makes of stored columns, through
//! `fast_axolotl.streaming.by_datasets`.

use std::collections::VecDeque;
use std::path::PathBuf;
use std::sync::Arc;

use arrow_array::RecordBatch;
use arrow_schema::{Schema, SchemaRef};
use pyo3::exceptions::{PyImportError, PyKeyboardInterrupt, PyOSError};
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict};
use reader::compression::Compression;
use reader::error::{Cause, ReadError, Result};
use reader::format::Kind;
use reader::scan::{BatchSource, Format, Infer, Scan};
use reader::serialized;
use reader::source::Source;

use crate::py::arrow_capsule;
use crate::py::arrow_export::ArrowSchema;

/// The format, with options as they came from Python.
pub struct ByDatasets {
    kind: Kind,
    options: Py<PyDict>,
}

impl ByDatasets {
    pub fn new(kind: Kind, options: Py<PyDict>) -> Self {
        ByDatasets { kind, options }
    }

    /// Opens a file as a stream of batches, and says their schema.
    fn stream(
        &self,
        file: &Source,
        schema: Option<&SchemaRef>,
        given: bool,
    ) -> Result<(Py<PyAny>, SchemaRef)> {
        // What is compressed is told by its content here, once for all formats.
        let compression = file.input(&Arc::default())?.compression;
        let opened = Python::attach(|py| {
            let schema = schema.map(|schema| ArrowSchema::new(Arc::clone(schema)));
            let module = py.import(intern!(py, "fast_axolotl.streaming.by_datasets"))?;
            let path = PathBuf::from(file.path());
            let compression = compression.map(Compression::name);
            let options = self.options.bind(py);
            let arguments = (self.kind.name(), path, compression, options, schema, given);
            let stream = module.getattr(intern!(py, "Stream"))?.call1(arguments)?;
            let schema = arrow_capsule::import_schema(&stream)?;
            Ok((stream.unbind(), schema))
        });
        opened.map_err(|error| read_error(&error).in_file(file.path()))
    }
}

fn read_error(error: &PyErr) -> ReadError {
    Python::attach(|py| {
        if error.is_instance_of::<PyKeyboardInterrupt>(py) {
            return ReadError::new(Cause::Interrupted);
        }
        let value = error.value(py);
        if error.is_instance_of::<PyImportError>(py) {
            return ReadError::request(value.to_string());
        }
        if let Ok(found) = contradiction(py, value)
            && let Some(found) = found
        {
            return found;
        }
        if let Ok(Some(found)) = of_system(value) {
            return found;
        }
        let name = value.get_type().name().map_or_else(|_| String::new(), |name| name.to_string());
        ReadError::damaged(format!("{name}: {value}"))
    })
}

/// What the system said of a file, such as the folder for temporary files.
fn of_system(value: &Bound<'_, PyAny>) -> PyResult<Option<ReadError>> {
    if !value.is_instance_of::<PyOSError>() {
        return Ok(None);
    }
    let number: Option<i32> = value.getattr(intern!(value.py(), "errno"))?.extract()?;
    let file: Option<PathBuf> = value.getattr(intern!(value.py(), "filename"))?.extract()?;
    Ok(number.zip(file).map(|(number, file)| {
        ReadError::io(std::io::Error::from_raw_os_error(number)).in_file(&file)
    }))
}

/// A value that the schema does not have, with its place.
fn contradiction(py: Python<'_>, value: &Bound<'_, PyAny>) -> PyResult<Option<ReadError>> {
    let errors = py.import(intern!(py, "fast_axolotl.streaming.errors"))?;
    if !value.is_instance(&errors.getattr(intern!(py, "SchemaError"))?)? {
        return Ok(None);
    }
    let mut error = ReadError::schema(value.to_string());
    if let Some(row) = value.getattr(intern!(py, "row"))?.extract()? {
        error = error.at_row(row);
    }
    if let Some(column) = value.getattr(intern!(py, "column"))?.extract::<Option<String>>()? {
        error = error.in_column(column);
    }
    Ok(Some(error))
}

impl Format for ByDatasets {
    fn infer(&self, files: &[Source], scan: &Scan) -> Result<SchemaRef> {
        let Some(first) = files.first() else {
            return Err(ReadError::request("no file to infer a schema from"));
        };
        let schema = self.stream(first, None, false)?.1;
        if scan.infer == Infer::Full
            && matches!(self.kind, Kind::Csv | Kind::Tsv)
            && !self.fits(files, &schema, scan)?
        {
            return Err(ReadError::unsupported(
                "infer=\"full\" finds no other types than those of the first chunk in what is read by \
                 pandas, and these do not fit all rows: give the types with schema=",
            )
            .in_file(first.path()));
        }
        Ok(schema)
    }

    fn reads_side_by_side(&self) -> bool {
        // Python runs one thread at a time.
        false
    }

    fn open(
        &self,
        file: &Source,
        schema: &SchemaRef,
        given: bool,
        scan: &Scan,
    ) -> Result<Box<dyn BatchSource>> {
        let (stream, _) = self.stream(file, Some(schema), given)?;
        let indices = scan.columns.as_ref().map(|columns| {
            let find = |name: &String| {
                schema.index_of(name).map_err(|error| ReadError::request(error.to_string()))
            };
            columns.iter().map(find).collect::<Result<Vec<_>>>()
        });
        let indices = indices.transpose()?;
        let schema = match &indices {
            None => Arc::clone(schema),
            Some(indices) => Arc::new(schema.project(indices)?),
        };
        Ok(Box::new(Batches { stream: Some(stream), schema, indices, ready: VecDeque::new() }))
    }
}

struct Batches {
    stream: Option<Py<PyAny>>,
    schema: Arc<Schema>,
    indices: Option<Vec<usize>>,
    ready: VecDeque<RecordBatch>,
}

impl Batches {
    fn refill(&mut self) -> Result<bool> {
        let Some(stream) = &self.stream else { return Ok(false) };
        let batches = Python::attach(|py| {
            let bytes = stream.bind(py).call_method0(intern!(py, "next_bytes"));
            match bytes.map_err(|error| read_error(&error))? {
                bytes if bytes.is_none() => Ok(None),
                bytes => {
                    let bytes = bytes
                        .cast_into::<PyBytes>()
                        .map_err(|error| ReadError::new(Cause::Internal(error.to_string())))?;
                    serialized::batches(bytes.as_bytes()).map(Some)
                }
            }
        });
        if !matches!(batches, Ok(Some(_))) {
            self.stream = None;
        }
        match batches? {
            None => Ok(false),
            Some(batches) => {
                self.ready.extend(batches);
                Ok(true)
            }
        }
    }
}

impl BatchSource for Batches {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }

    fn next(&mut self) -> Result<Option<RecordBatch>> {
        loop {
            let Some(batch) = self.ready.pop_front() else {
                if self.refill()? {
                    continue;
                }
                return Ok(None);
            };
            if batch.num_rows() == 0 {
                continue;
            }
            let batch = match &self.indices {
                None => batch,
                Some(indices) => batch.project(indices)?,
            };
            return Ok(Some(batch.with_schema(Arc::clone(&self.schema))?));
        }
    }
}
