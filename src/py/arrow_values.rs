//! Arrow columns as lists of Python objects: the values and types of pyarrow's `to_pylist`.
//!
//! What JSON and training data are made of is converted here, whole columns at a time; dates, decimals
//! and the like go through pyarrow.

use arrow_array::cast::AsArray;
use arrow_array::types::{
    Float32Type, Float64Type, Int8Type, Int16Type, Int32Type, Int64Type, UInt8Type, UInt16Type,
    UInt32Type, UInt64Type,
};
use arrow_array::{
    Array, ArrayRef, ArrowPrimitiveType, FixedSizeListArray, GenericListArray, OffsetSizeTrait,
    PrimitiveArray, StructArray,
};
use arrow_schema::{DataType, Field};
use pyo3::BoundObject;
use pyo3::exceptions::PyImportError;
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::{PyBool, PyBytes, PyDict, PyFloat, PyString};

use crate::py::arrow_export::export_array;
use crate::py::list_emitter::NewList;

/// The values of `column`, whose type and extension `field` says.
pub fn to_list<'py>(
    py: Python<'py>,
    column: &dyn Array,
    field: &Field,
) -> PyResult<Bound<'py, PyAny>> {
    if extension(field) == Some("arrow.json") {
        return json_list(py, column);
    }
    if needs_pyarrow(field) {
        return through_pyarrow(py, column, field);
    }
    let mut values = NewList::hidden(py, column.len())?;
    fill(py, column, field, 0, column.len(), &mut values)?;
    Ok(values.finish())
}

fn extension(field: &Field) -> Option<&str> {
    field.metadata().get("ARROW:extension:name").map(String::as_str)
}

/// Whether a type, or one inside of it, is not converted here.
fn needs_pyarrow(field: &Field) -> bool {
    if extension(field).is_some_and(|name| name != "arrow.json") {
        return true;
    }
    match field.data_type() {
        DataType::Null
        | DataType::Boolean
        | DataType::Int8
        | DataType::Int16
        | DataType::Int32
        | DataType::Int64
        | DataType::UInt8
        | DataType::UInt16
        | DataType::UInt32
        | DataType::UInt64
        | DataType::Float32
        | DataType::Float64
        | DataType::Utf8
        | DataType::LargeUtf8
        | DataType::Utf8View
        | DataType::Binary
        | DataType::LargeBinary => false,
        DataType::List(item) | DataType::LargeList(item) | DataType::FixedSizeList(item, _) => {
            needs_pyarrow(item)
        }
        DataType::Struct(fields) => {
            let mut names: Vec<_> = fields.iter().map(|field| field.name()).collect();
            names.sort_unstable();
            names.windows(2).any(|pair| pair[0] == pair[1])
                || fields.iter().any(|field| needs_pyarrow(field))
        }
        _ => true,
    }
}

fn through_pyarrow<'py>(
    py: Python<'py>,
    column: &dyn Array,
    field: &Field,
) -> PyResult<Bound<'py, PyAny>> {
    let pyarrow = py.import(intern!(py, "pyarrow")).map_err(|_| {
        PyImportError::new_err(format!(
            "column {:?} of type {} needs pyarrow, which is not installed: pip install pyarrow",
            field.name(),
            field.data_type()
        ))
    })?;
    let (schema, array) = export_array(py, column, field)?;
    let kind = pyarrow.getattr(intern!(py, "Array"))?;
    let array = kind.call_method1(intern!(py, "_import_from_c_capsule"), (schema, array))?;
    values_module(py)?.call_method1(intern!(py, "to_pylist"), (array,))
}

fn values_module(py: Python<'_>) -> PyResult<Bound<'_, PyModule>> {
    py.import(intern!(py, "fast_axolotl.streaming.values"))
}

/// The values that JSON text stands for, as `datasets` gives them.
fn json_list<'py>(py: Python<'py>, column: &dyn Array) -> PyResult<Bound<'py, PyAny>> {
    let loads = values_module(py)?.getattr(intern!(py, "loads"))?;
    let text = Field::new("", column.data_type().clone(), true);
    let values = to_list(py, column, &text)?;
    let mut parsed = NewList::hidden(py, column.len())?;
    for value in values.try_iter()? {
        let value = value?;
        parsed.push(if value.is_none() { value } else { loads.call1((value,))? });
    }
    Ok(parsed.finish())
}

/// Appends the values from `start` to `end`.
fn fill<'py>(
    py: Python<'py>,
    column: &dyn Array,
    field: &Field,
    start: usize,
    end: usize,
    values: &mut NewList<'py>,
) -> PyResult<()> {
    let none = || py.None().into_bound(py);
    match column.data_type() {
        DataType::Null => {
            let none = none();
            values.repeat(none.as_borrowed(), end - start);
        }
        DataType::Boolean => {
            let column = column.as_boolean();
            for row in start..end {
                values.push(if column.is_null(row) {
                    none()
                } else {
                    PyBool::new(py, column.value(row)).to_owned().into_any()
                });
            }
        }
        DataType::Int8 => integers::<Int8Type>(py, column, start, end, values)?,
        DataType::Int16 => integers::<Int16Type>(py, column, start, end, values)?,
        DataType::Int32 => integers::<Int32Type>(py, column, start, end, values)?,
        DataType::Int64 => integers::<Int64Type>(py, column, start, end, values)?,
        DataType::UInt8 => integers::<UInt8Type>(py, column, start, end, values)?,
        DataType::UInt16 => integers::<UInt16Type>(py, column, start, end, values)?,
        DataType::UInt32 => integers::<UInt32Type>(py, column, start, end, values)?,
        DataType::UInt64 => integers::<UInt64Type>(py, column, start, end, values)?,
        DataType::Float32 => {
            floats(py, column.as_primitive::<Float32Type>(), start, end, values);
        }
        DataType::Float64 => {
            floats(py, column.as_primitive::<Float64Type>(), start, end, values);
        }
        DataType::Utf8 => {
            let column = column.as_string::<i32>();
            texts(py, column, start, end, values, |row| column.value(row));
        }
        DataType::LargeUtf8 => {
            let column = column.as_string::<i64>();
            texts(py, column, start, end, values, |row| column.value(row));
        }
        DataType::Utf8View => {
            let column = column.as_string_view();
            texts(py, column, start, end, values, |row| column.value(row));
        }
        DataType::Binary => {
            let column = column.as_binary::<i32>();
            bytes(py, column, start, end, values, |row| column.value(row));
        }
        DataType::LargeBinary => {
            let column = column.as_binary::<i64>();
            bytes(py, column, start, end, values, |row| column.value(row));
        }
        DataType::List(item) => lists(py, column.as_list::<i32>(), item, start, end, values)?,
        DataType::LargeList(item) => lists(py, column.as_list::<i64>(), item, start, end, values)?,
        DataType::FixedSizeList(item, _) => {
            fixed_lists(py, column.as_fixed_size_list(), item, start, end, values)?;
        }
        DataType::Struct(_) => structs(py, column.as_struct(), start, end, values)?,
        _ => {
            let converted = through_pyarrow(py, &*column.slice(start, end - start), field)?;
            for value in converted.try_iter()? {
                values.push(value?);
            }
        }
    }
    Ok(())
}

fn integers<'py, T>(
    py: Python<'py>,
    column: &dyn Array,
    start: usize,
    end: usize,
    values: &mut NewList<'py>,
) -> PyResult<()>
where
    T: ArrowPrimitiveType,
    T::Native: IntoPyObject<'py>,
    PyErr: From<<T::Native as IntoPyObject<'py>>::Error>,
{
    let column = column.as_primitive::<T>();
    let native = column.values();
    let convert = |row: usize| -> PyResult<Bound<'py, PyAny>> {
        Ok(native[row].into_pyobject(py)?.into_any().into_bound())
    };
    if column.null_count() == 0 {
        for row in start..end {
            values.push(convert(row)?);
        }
        return Ok(());
    }
    for row in start..end {
        let value = if column.is_null(row) { py.None().into_bound(py) } else { convert(row)? };
        values.push(value);
    }
    Ok(())
}

fn floats<'py, T>(
    py: Python<'py>,
    column: &PrimitiveArray<T>,
    start: usize,
    end: usize,
    values: &mut NewList<'py>,
) where
    T: ArrowPrimitiveType,
    T::Native: Into<f64>,
{
    for row in start..end {
        values.push(if column.is_null(row) {
            py.None().into_bound(py)
        } else {
            PyFloat::new(py, column.value(row).into()).into_any()
        });
    }
}

fn texts<'py, 'a>(
    py: Python<'py>,
    column: &dyn Array,
    start: usize,
    end: usize,
    values: &mut NewList<'py>,
    value: impl Fn(usize) -> &'a str,
) {
    for row in start..end {
        values.push(if column.is_null(row) {
            py.None().into_bound(py)
        } else {
            PyString::new(py, value(row)).into_any()
        });
    }
}

fn bytes<'py, 'a>(
    py: Python<'py>,
    column: &dyn Array,
    start: usize,
    end: usize,
    values: &mut NewList<'py>,
    value: impl Fn(usize) -> &'a [u8],
) {
    for row in start..end {
        values.push(if column.is_null(row) {
            py.None().into_bound(py)
        } else {
            PyBytes::new(py, value(row)).into_any()
        });
    }
}

/// The list of the items from `start` to `end`.
fn items<'py>(
    py: Python<'py>,
    column: &ArrayRef,
    field: &Field,
    start: usize,
    end: usize,
) -> PyResult<Bound<'py, PyAny>> {
    if extension(field) == Some("arrow.json") {
        return json_list(py, &*column.slice(start, end - start));
    }
    let mut items = NewList::hidden(py, end - start)?;
    fill(py, column, field, start, end, &mut items)?;
    Ok(items.finish())
}

fn lists<'py, O: OffsetSizeTrait>(
    py: Python<'py>,
    column: &GenericListArray<O>,
    item: &Field,
    start: usize,
    end: usize,
    values: &mut NewList<'py>,
) -> PyResult<()> {
    let offsets = column.value_offsets();
    for row in start..end {
        values.push(if column.is_null(row) {
            py.None().into_bound(py)
        } else {
            let (from, to) = (offsets[row].as_usize(), offsets[row + 1].as_usize());
            items(py, column.values(), item, from, to)?
        });
    }
    Ok(())
}

fn fixed_lists<'py>(
    py: Python<'py>,
    column: &FixedSizeListArray,
    item: &Field,
    start: usize,
    end: usize,
    values: &mut NewList<'py>,
) -> PyResult<()> {
    let length = usize::try_from(column.value_length()).unwrap_or(0);
    for row in start..end {
        values.push(if column.is_null(row) {
            py.None().into_bound(py)
        } else {
            items(py, column.values(), item, row * length, (row + 1) * length)?
        });
    }
    Ok(())
}

fn structs<'py>(
    py: Python<'py>,
    column: &StructArray,
    start: usize,
    end: usize,
    values: &mut NewList<'py>,
) -> PyResult<()> {
    let names: Vec<_> =
        column.fields().iter().map(|field| PyString::intern(py, field.name())).collect();
    let mut children = Vec::with_capacity(names.len());
    for (child, field) in column.columns().iter().zip(column.fields()) {
        children.push(items(py, child, field, start, end)?.try_iter()?);
    }
    for row in start..end {
        let dict = PyDict::new(py);
        for (name, child) in names.iter().zip(&mut children) {
            if let Some(value) = child.next() {
                dict.set_item(name, value?)?;
            }
        }
        values.push(if column.is_null(row) { py.None().into_bound(py) } else { dict.into_any() });
    }
    Ok(())
}
