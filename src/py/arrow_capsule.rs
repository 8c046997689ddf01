//! Arrow arrays of other libraries, through the PyCapsule interface and without a copy.
//!
//! The C structs are looked at before anything is believed: a struct that was used up, or that does not
//! have the buffers and children its own format asks for, is an error and not a crash. What can't be
//! checked is whether memory is where a struct says it is.
//! <https://arrow.apache.org/docs/format/CDataInterface/PyCapsuleInterface.html>

#![allow(unsafe_code)]

use std::ffi::{CStr, c_char, c_int, c_void};
use std::sync::Arc;

use arrow_array::ffi::from_ffi;
use arrow_data::ArrayData;
use arrow_data::ffi::FFI_ArrowArray;
use arrow_schema::SchemaRef;
use arrow_schema::ffi::FFI_ArrowSchema;
use arrow_schema::{Fields, Schema as TableSchema};
use pyo3::exceptions::PyTypeError;
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::{PyCapsule, PyTuple};

use crate::error::{Error, Result};

/// The C data interface's `ArrowSchema`.
#[repr(C)]
struct Schema {
    format: *const c_char,
    name: *const c_char,
    metadata: *const c_char,
    flags: i64,
    n_children: i64,
    children: *mut *mut Schema,
    dictionary: *mut Schema,
    release: Option<unsafe extern "C" fn(*mut Schema)>,
    private_data: *mut c_void,
}

/// The C data interface's `ArrowArray`.
#[repr(C)]
struct Array {
    length: i64,
    null_count: i64,
    offset: i64,
    n_buffers: i64,
    n_children: i64,
    buffers: *mut *const c_void,
    children: *mut *mut Array,
    dictionary: *mut Array,
    release: Option<unsafe extern "C" fn(*mut Array)>,
    private_data: *mut c_void,
}

/// The C stream interface's `ArrowArrayStream`.
#[repr(C)]
struct Stream {
    get_schema: Option<unsafe extern "C" fn(*mut Stream, *mut Schema) -> c_int>,
    get_next: Option<unsafe extern "C" fn(*mut Stream, *mut Array) -> c_int>,
    get_last_error: Option<unsafe extern "C" fn(*mut Stream) -> *const c_char>,
    release: Option<unsafe extern "C" fn(*mut Stream)>,
    private_data: *mut c_void,
}

/// What an argument is wanted for.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Wanted {
    /// Lists, large lists and fixed-size lists of integers.
    IntegerLists,
    /// Strings and binaries, large ones and views.
    Bytes,
}

/// Arrays of one wanted type.
pub enum Imported {
    Chunks(Vec<ArrayData>),
    /// Something else; its name as pyarrow has it, without parameters.
    OtherType(String),
}

/// Takes the arrays that `value` offers; None where it offers none.
pub fn import(
    name: &'static str,
    value: Borrowed<'_, '_, PyAny>,
    wanted: Wanted,
) -> Result<Option<Imported>> {
    let py = value.py();
    let kind = value.get_type();
    let invalid =
        || -> Result<Error> { Ok(Error::Arrow { name, found: kind.name()?.to_string() }) };
    let found = if kind.hasattr(intern!(py, "__arrow_c_array__"))? {
        let pair = believed(py, value.call_method0(intern!(py, "__arrow_c_array__")))?;
        pair.as_ref().and_then(|pair| from_array(pair, wanted))
    } else if kind.hasattr(intern!(py, "__arrow_c_stream__"))? {
        let stream = believed(py, value.call_method0(intern!(py, "__arrow_c_stream__")))?;
        stream.as_ref().and_then(|stream| from_stream(stream, wanted))
    } else {
        return Ok(None);
    };
    match found {
        Some(imported) => Ok(Some(imported)),
        None => Err(invalid()?),
    }
}

/// The schema that `value` offers.
pub fn import_schema(value: &Bound<'_, PyAny>) -> PyResult<SchemaRef> {
    let py = value.py();
    let wrong = || {
        let kind = value.get_type();
        PyTypeError::new_err(format!("schema must be an Arrow schema, not {kind}"))
    };
    if !value.hasattr(intern!(py, "__arrow_c_schema__"))? {
        return Err(wrong());
    }
    let capsule = value.call_method0(intern!(py, "__arrow_c_schema__"))?;
    let pointer = pointer::<FFI_ArrowSchema>(&capsule, c"arrow_schema").ok_or_else(wrong)?;
    // SAFETY: a capsule of this name holds this struct, which lives as long as the capsule; a used one
    // has no format and is refused.
    let schema = unsafe {
        if (*pointer.cast::<Schema>()).release.is_none() {
            return Err(wrong());
        }
        arrow_schema::Schema::try_from(&*pointer)
    };
    schema.map(Arc::new).map_err(|error| PyTypeError::new_err(error.to_string()))
}

/// An error of the kinds that say "not valid" is ours to word; any other comes through.
fn believed<'py>(
    py: Python<'py>,
    given: PyResult<Bound<'py, PyAny>>,
) -> Result<Option<Bound<'py, PyAny>>> {
    match given {
        Ok(given) => Ok(Some(given)),
        Err(error)
            if error.is_instance_of::<pyo3::exceptions::PyTypeError>(py)
                || error.is_instance_of::<pyo3::exceptions::PyValueError>(py) =>
        {
            Ok(None)
        }
        Err(error) => Err(error.into()),
    }
}

fn pointer<T>(capsule: &Bound<'_, PyAny>, name: &CStr) -> Option<*mut T> {
    let capsule = capsule.cast::<PyCapsule>().ok()?;
    Some(capsule.pointer_checked(Some(name)).ok()?.as_ptr().cast())
}

fn from_array(pair: &Bound<'_, PyAny>, wanted: Wanted) -> Option<Imported> {
    let pair = pair.cast::<PyTuple>().ok()?;
    if pair.len() != 2 {
        return None;
    }
    let schema = pointer::<Schema>(&pair.get_item(0).ok()?, c"arrow_schema")?;
    let array = pointer::<Array>(&pair.get_item(1).ok()?, c"arrow_array")?;
    // SAFETY: capsules of these names hold these structs, which live as long as the capsules.
    let kind = match unsafe { checked_type(schema, wanted) }? {
        Ok(kind) => kind,
        Err(other) => return Some(Imported::OtherType(other)),
    };
    // SAFETY: as above; a struct that passes is whole, and is taken over: its release is ours now.
    let data = unsafe {
        checked_array(array, &kind)?;
        let taken = FFI_ArrowArray::from_raw(array.cast());
        data_of(taken, &*schema.cast::<FFI_ArrowSchema>())?
    };
    Some(Imported::Chunks(data.into_iter().collect()))
}

/// The array in a whole struct; `Some(None)` where it has no rows, for then its buffers may be left out,
/// which Arrow for Rust refuses.
///
/// # Safety
/// The struct is whole, and is an array of this schema.
unsafe fn data_of(array: FFI_ArrowArray, schema: &FFI_ArrowSchema) -> Option<Option<ArrayData>> {
    if array.is_empty() {
        return Some(None);
    }
    // SAFETY: as promised.
    unsafe { from_ffi(array, schema) }.ok().map(Some)
}

fn from_stream(capsule: &Bound<'_, PyAny>, wanted: Wanted) -> Option<Imported> {
    let stream = OpenStream::new(capsule)?;
    // SAFETY: the struct was filled in by the stream, or is empty.
    let kind = match unsafe { checked_type((&raw const stream.schema).cast(), wanted) }? {
        Ok(kind) => kind,
        Err(other) => return Some(Imported::OtherType(other)),
    };
    // SAFETY: as above.
    let check =
        |array: &FFI_ArrowArray| unsafe { checked_array((&raw const *array).cast(), &kind) };
    stream.chunks(check).map(Imported::Chunks)
}

/// A stream in a capsule, which releases it, and its schema.
struct OpenStream {
    stream: *mut Stream,
    schema: FFI_ArrowSchema,
}

impl OpenStream {
    fn new(capsule: &Bound<'_, PyAny>) -> Option<Self> {
        let stream = pointer::<Stream>(capsule, c"arrow_array_stream")?;
        let mut schema = FFI_ArrowSchema::empty();
        // SAFETY: a capsule of this name holds this struct. The struct that it fills in is ours, and is
        // dropped by its Arrow type.
        unsafe {
            (*stream).release?;
            if (*stream).get_schema?(stream, (&raw mut schema).cast()) != 0 {
                return None;
            }
        }
        Some(OpenStream { stream, schema })
    }

    /// All arrays that are left, each of them `check`ed before it is believed.
    fn chunks(&self, check: impl Fn(&FFI_ArrowArray) -> Option<()>) -> Option<Vec<ArrayData>> {
        let mut chunks = Vec::new();
        loop {
            let mut array = FFI_ArrowArray::empty();
            // SAFETY: the stream is open, for its capsule is borrowed by whoever walks over it; an array
            // that passed the check is whole, and its release is ours now.
            unsafe {
                if (*self.stream).get_next?(self.stream, (&raw mut array).cast()) != 0 {
                    return None;
                }
                if array.is_released() {
                    return Some(chunks);
                }
                check(&array)?;
                chunks.extend(data_of(array, &self.schema)?);
            }
        }
    }
}

/// Takes the record batches that `value` offers, whatever their types, as struct arrays.
///
/// These come from pyarrow itself: that the arrays are whole is believed, where they point is not, and
/// is checked whenever they are read.
pub fn table(name: &'static str, value: &Bound<'_, PyAny>) -> Result<(Fields, Vec<ArrayData>)> {
    let py = value.py();
    let invalid = || -> Result<Error> {
        Ok(Error::Arrow { name, found: value.get_type().name()?.to_string() })
    };
    if !value.get_type().hasattr(intern!(py, "__arrow_c_stream__"))? {
        return Err(invalid()?);
    }
    let capsule = value.call_method0(intern!(py, "__arrow_c_stream__"))?;
    match batches(&capsule) {
        Some(table) => Ok(table),
        None => Err(invalid()?),
    }
}

fn batches(capsule: &Bound<'_, PyAny>) -> Option<(Fields, Vec<ArrayData>)> {
    let stream = OpenStream::new(capsule)?;
    let fields = TableSchema::try_from(&stream.schema).ok()?.fields;
    Some((fields, stream.chunks(|_| Some(()))?))
}

/// The columns of the schema that `value` offers; None where Arrow for Rust does not know a type.
pub fn fields(name: &'static str, value: &Bound<'_, PyAny>) -> Result<Option<Fields>> {
    let py = value.py();
    let found = value.get_type().name()?.to_string();
    let capsule = believed(py, value.call_method0(intern!(py, "__arrow_c_schema__")))?;
    let schema = capsule
        .as_ref()
        .and_then(|capsule| pointer::<FFI_ArrowSchema>(capsule, c"arrow_schema"))
        .ok_or(Error::Arrow { name, found })?;
    // SAFETY: a capsule of this name holds this struct, which lives as long as the capsule.
    let schema = unsafe { TableSchema::try_from(&*schema) };
    Ok(schema.ok().map(|schema| schema.fields))
}

/// What an array of the wanted type is made of.
enum Layout {
    List(Box<Layout>),
    /// The number of elements of a list.
    FixedSizeList(i64, Box<Layout>),
    Integers,
    /// Bytes of an offset.
    Bytes(usize),
    Views,
}

/// The layout of a type, or the name of one that is not wanted; None where the struct is not whole.
///
/// # Safety
/// `schema` points to a C struct, or is null.
unsafe fn checked_type(
    schema: *const Schema,
    wanted: Wanted,
) -> Option<std::result::Result<Layout, String>> {
    // SAFETY: not null as checked; its strings and children are valid while it is not released.
    unsafe {
        let schema = schema.as_ref()?;
        schema.release?;
        if schema.format.is_null() {
            return None;
        }
        let format = CStr::from_ptr(schema.format).to_str().ok()?;
        if !schema.dictionary.is_null() {
            return Some(Err("dictionary".into()));
        }
        let other = |format: &str| type_name(format).map(Err);
        if wanted == Wanted::Bytes {
            return match format {
                "u" | "z" => Some(Ok(Layout::Bytes(4))),
                "U" | "Z" => Some(Ok(Layout::Bytes(8))),
                "vu" | "vz" => Some(Ok(Layout::Views)),
                _ => other(format),
            };
        }
        let elements = format.strip_prefix("+w:").map(str::parse::<i64>);
        if !matches!(format, "+l" | "+L") && elements.is_none() {
            return other(format);
        }
        if schema.n_children != 1 || schema.children.is_null() {
            return None;
        }
        let child = (*schema.children).as_ref()?;
        child.release?;
        if child.format.is_null() {
            return None;
        }
        let child_format = CStr::from_ptr(child.format).to_str().ok()?;
        let is_integer = matches!(child_format, "c" | "C" | "s" | "S" | "i" | "I" | "l" | "L")
            && child.dictionary.is_null();
        if !is_integer {
            let found = if child.dictionary.is_null() {
                type_name(child_format)?
            } else {
                "dictionary".into()
            };
            return Some(Err(format!("a list of {found}")));
        }
        let child = Box::new(Layout::Integers);
        Some(Ok(match elements {
            Some(elements) => Layout::FixedSizeList(elements.ok().filter(|n| *n >= 0)?, child),
            None => Layout::List(child),
        }))
    }
}

/// None where the struct has not got what its layout needs.
///
/// # Safety
/// `array` points to a C struct, or is null.
unsafe fn checked_array(array: *const Array, layout: &Layout) -> Option<()> {
    // SAFETY: not null as checked; its buffer and child tables are valid while it is not released.
    unsafe {
        let array = array.as_ref()?;
        array.release?;
        let end = array.length.checked_add(array.offset)?;
        if array.length < 0
            || array.offset < 0
            || array.null_count < -1
            || array.null_count > array.length
        {
            return None;
        }
        let (buffers, children) = match layout {
            Layout::List(_) => (2..=2, 1),
            Layout::FixedSizeList(..) => (1..=1, 1),
            Layout::Integers => (2..=2, 0),
            Layout::Bytes(_) => (3..=3, 0),
            Layout::Views => (3..=i64::MAX, 0),
        };
        if !buffers.contains(&array.n_buffers)
            || array.buffers.is_null()
            || array.n_children != children
            || (children > 0 && array.children.is_null())
            || !array.dictionary.is_null()
        {
            return None;
        }
        let has = |buffer: usize| !(*array.buffers.add(buffer)).is_null();
        if array.null_count > 0 && !has(0) {
            return None;
        }
        match layout {
            Layout::List(child) => {
                checked_array(*array.children, child)?;
                // Of no rows, the offsets may be left out.
                (end == 0 || has(1)).then_some(())
            }
            Layout::FixedSizeList(elements, child) => {
                let child_array = *array.children;
                checked_array(child_array, child)?;
                ((*child_array).length >= end.checked_mul(*elements)?).then_some(())
            }
            Layout::Bytes(_) if end == 0 => Some(()),
            Layout::Bytes(size) => {
                // The last offset is what the size of the data is told by.
                let offsets = (*array.buffers.add(1)).cast::<u8>();
                let last = offsets.add(usize::try_from(end).ok()?.checked_mul(*size)?);
                let last = match (offsets.is_null(), size) {
                    (true, _) => return None,
                    (false, 4) => i64::from(last.cast::<i32>().read_unaligned()),
                    (false, _) => last.cast::<i64>().read_unaligned(),
                };
                (last == 0 || (last > 0 && has(2))).then_some(())
            }
            Layout::Integers | Layout::Views => (end == 0 || has(1)).then_some(()),
        }
    }
}

/// The name that pyarrow gives a type, without parameters; None where there is no such format.
/// <https://arrow.apache.org/docs/format/CDataInterface.html#data-type-description-format-strings>
fn type_name(format: &str) -> Option<String> {
    let head = format.split(':').next().unwrap_or(format);
    let head = head.split(',').next().unwrap_or(head);
    let name = match head {
        "n" => "null",
        "b" => "bool",
        "c" => "int8",
        "C" => "uint8",
        "s" => "int16",
        "S" => "uint16",
        "i" => "int32",
        "I" => "uint32",
        "l" => "int64",
        "L" => "uint64",
        "e" => "halffloat",
        "f" => "float",
        "g" => "double",
        "z" => "binary",
        "Z" => "large_binary",
        "vz" => "binary_view",
        "u" => "string",
        "U" => "large_string",
        "vu" => "string_view",
        "d" => match format.rsplit(',').next() {
            Some("32") => "decimal32",
            Some("64") => "decimal64",
            Some("256") => "decimal256",
            _ => "decimal128",
        },
        "w" => "fixed_size_binary",
        "tdD" => "date32",
        "tdm" => "date64",
        "tts" | "ttm" => "time32",
        "ttu" | "ttn" => "time64",
        "tss" | "tsm" | "tsu" | "tsn" => "timestamp",
        "tDs" | "tDm" | "tDu" | "tDn" => "duration",
        "tiM" => "month_interval",
        "tiD" => "day_time_interval",
        "tin" => "month_day_nano_interval",
        "+l" => "list",
        "+L" => "large_list",
        "+vl" => "list_view",
        "+vL" => "large_list_view",
        "+w" => "fixed_size_list",
        "+s" => "struct",
        "+m" => "map",
        "+ud" => "dense_union",
        "+us" => "sparse_union",
        "+r" => "run_end_encoded",
        _ => return None,
    };
    Some(name.to_owned())
}
