//! Arrow data for other libraries, through the PyCapsule interface and without a copy.

use arrow_array::Array;
use arrow_data::ffi::FFI_ArrowArray;
use arrow_schema::ffi::FFI_ArrowSchema;
use arrow_schema::{ArrowError, Field, SchemaRef};
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::types::PyCapsule;

/// The capsules of a schema and of an array that has it.
pub type Pair<'py> = (Bound<'py, PyCapsule>, Bound<'py, PyCapsule>);

/// A schema, for any library that knows Arrow.
#[pyclass(module = "fast_axolotl._core", frozen)]
pub struct ArrowSchema {
    schema: SchemaRef,
}

impl ArrowSchema {
    pub fn new(schema: SchemaRef) -> Self {
        ArrowSchema { schema }
    }
}

#[pymethods]
impl ArrowSchema {
    fn __arrow_c_schema__<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyCapsule>> {
        export_schema(py, &self.schema)
    }
}

/// A schema as the capsule of the C data interface.
pub fn export_schema<'py>(py: Python<'py>, schema: &SchemaRef) -> PyResult<Bound<'py, PyCapsule>> {
    let schema = FFI_ArrowSchema::try_from(schema.as_ref()).map_err(arrow_error)?;
    PyCapsule::new_with_value(py, schema, c"arrow_schema")
}

/// A column as the two capsules of the C data interface.
pub fn export_array<'py>(
    py: Python<'py>,
    column: &dyn Array,
    field: &Field,
) -> PyResult<Pair<'py>> {
    let schema = FFI_ArrowSchema::try_from(field).map_err(arrow_error)?;
    let array = FFI_ArrowArray::new(&column.to_data());
    Ok((
        PyCapsule::new_with_value(py, schema, c"arrow_schema")?,
        PyCapsule::new_with_value(py, array, c"arrow_array")?,
    ))
}

fn arrow_error(error: ArrowError) -> PyErr {
    PyValueError::new_err(error.to_string())
}
