//! Functions called with a vector of arguments: nothing is packed into tuples and dicts on the way.
//!
//! Every function comes twice: `rust`, which always runs the Rust implementation, and `dispatched`,
//! which decides first. What can't be bound to the parameters is passed on to the Python original,
//! whose binding raises the TypeError that Python programmers know.

#![allow(unsafe_code)]

use std::any::Any;
use std::ffi::{CString, c_char};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::ptr::null_mut;

use pyo3::exceptions::{PyRuntimeError, PyTypeError};
use pyo3::ffi::{self, Py_ssize_t, PyObject};
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::{PyString, PyTuple};

use crate::error::Result;
use crate::error::unraised;
use crate::py::dispatch::Operation;
use crate::py::{hash, pack, pad};

/// The most parameters a function has.
const MOST: usize = 7;

type Rust = for<'a, 'py> fn(Python<'py>, &Arguments<'a, 'py>) -> Result<Bound<'py, PyAny>>;
type Entry = unsafe extern "C" fn(
    *mut PyObject,
    *const *mut PyObject,
    Py_ssize_t,
    *mut PyObject,
) -> *mut PyObject;

/// A public function: its parameters, its Rust implementation, and the Python original.
pub struct Function {
    pub name: &'static str,
    /// As Python writes it, without the parentheses.
    signature: &'static str,
    parameters: &'static [&'static str],
    required: usize,
    positional: usize,
    pub operation: Operation,
    rust: Rust,
    rust_entry: Entry,
    dispatched_entry: Entry,
    names: PyOnceLock<Py<PyTuple>>,
    original: PyOnceLock<Py<PyAny>>,
}

macro_rules! function {
    ($index:literal, $name:literal, $operation:ident, $rust:path, $signature:literal,
     $required:literal required, $positional:literal positional, [$($parameter:literal),+]) => {
        Function {
            name: $name,
            signature: $signature,
            parameters: &[$($parameter),+],
            required: $required,
            positional: $positional,
            operation: Operation::$operation,
            rust: $rust,
            rust_entry: entry::<$index, false>,
            dispatched_entry: entry::<$index, true>,
            names: PyOnceLock::new(),
            original: PyOnceLock::new(),
        }
    };
}

pub static FUNCTIONS: [Function; 6] = [
    function!(
        0, "pack_sequences", Pack, pack::pack_sequences,
        "sequences, max_length, pad_token_id, eos_token_id, label_pad_id=-100, *, output='lists'",
        4 required, 5 positional,
        ["sequences", "max_length", "pad_token_id", "eos_token_id", "label_pad_id", "output"]
    ),
    function!(
        1, "concatenate_and_pack", Pack, pack::concatenate_and_pack,
        "input_ids, labels, attention_masks, max_length, pad_token_id, label_pad_id=-100, *, output='lists'",
        5 required, 6 positional,
        ["input_ids", "labels", "attention_masks", "max_length", "pad_token_id", "label_pad_id", "output"]
    ),
    function!(
        2, "pad_sequences", Pad, pad::pad_sequences,
        "sequences, target_length=None, pad_value=0, padding_side='right', pad_to_multiple_of=None, *, truncate=False, output='lists'",
        1 required, 5 positional,
        ["sequences", "target_length", "pad_value", "padding_side", "pad_to_multiple_of", "truncate", "output"]
    ),
    function!(
        3, "create_padding_mask", Pad, pad::create_padding_mask,
        "current_length, target_length",
        2 required, 2 positional,
        ["current_length", "target_length"]
    ),
    function!(
        4, "parallel_hash_rows", Hash, hash::parallel_hash_rows,
        "rows, num_threads=0",
        1 required, 2 positional,
        ["rows", "num_threads"]
    ),
    function!(
        5, "deduplicate_indices", Hash, hash::deduplicate_indices,
        "rows, existing_hashes=None, num_threads=0",
        1 required, 3 positional,
        ["rows", "existing_hashes", "num_threads"]
    ),
];

/// The arguments of a call, by the order of the parameters.
pub struct Arguments<'a, 'py> {
    values: [Option<Borrowed<'a, 'py, PyAny>>; MOST],
}

impl<'a, 'py> Arguments<'a, 'py> {
    /// An argument that may be left out.
    #[inline(always)]
    pub fn optional(&self, index: usize) -> Option<Borrowed<'a, 'py, PyAny>> {
        self.values[index]
    }

    /// An argument that was bound, or the call would not have come here.
    #[inline(always)]
    #[allow(clippy::expect_used)] // a bug of the tables above, not of an input
    pub fn required(&self, index: usize) -> Borrowed<'a, 'py, PyAny> {
        self.values[index].expect("required arguments are bound before the call")
    }
}

impl Function {
    /// None where the arguments do not fit the parameters.
    ///
    /// # Safety
    /// `args` holds `count` positional arguments and then those that the tuple `keywords` names; all
    /// live for `'a`.
    #[inline(always)]
    unsafe fn bind<'a, 'py>(
        &self,
        py: Python<'py>,
        args: *const *mut PyObject,
        count: usize,
        keywords: *mut PyObject,
    ) -> Option<Arguments<'a, 'py>> {
        let mut values = [None; MOST];
        if count > self.positional {
            return None;
        }
        // SAFETY: the caller's promise.
        unsafe {
            for (i, value) in values.iter_mut().enumerate().take(count) {
                *value = Some(Borrowed::from_ptr(py, *args.add(i)));
            }
            if !keywords.is_null() {
                let names = self.names.get(py)?.as_ptr();
                for k in 0..ffi::PyTuple_GET_SIZE(keywords) {
                    let keyword = ffi::PyTuple_GET_ITEM(keywords, k);
                    let index = self.parameter(py, names, keyword)?;
                    let value = &mut values[index];
                    if value.is_some() {
                        return None;
                    }
                    *value = Some(Borrowed::from_ptr(py, *args.add(count + k as usize)));
                }
            }
        }
        let bound = values[..self.required].iter().all(Option::is_some);
        bound.then_some(Arguments { values })
    }

    /// # Safety
    /// `names` is the tuple of the parameters' names, `keyword` an object.
    #[inline(always)]
    unsafe fn parameter(
        &self,
        py: Python<'_>,
        names: *mut PyObject,
        keyword: *mut PyObject,
    ) -> Option<usize> {
        // SAFETY: the caller's promise. Keywords in source code are interned, as the names are.
        unsafe {
            let same = |i: &usize| ffi::PyTuple_GET_ITEM(names, *i as Py_ssize_t) == keyword;
            if let Some(index) = (0..self.parameters.len()).find(same) {
                return Some(index);
            }
            let keyword = Borrowed::from_ptr(py, keyword);
            let keyword = keyword.cast::<PyString>().ok()?;
            let keyword = unraised(keyword.to_str())?;
            self.parameters.iter().position(|&name| name == keyword)
        }
    }

    /// Makes a function of this; `doc` is its docstring.
    pub fn build<'py>(
        &'static self,
        py: Python<'py>,
        dispatched: bool,
        module: &str,
        doc: &str,
    ) -> PyResult<Bound<'py, PyAny>> {
        self.names.get_or_try_init(py, || {
            let names = self.parameters.iter().map(|name| PyString::intern(py, name));
            Ok::<_, PyErr>(PyTuple::new(py, names)?.unbind())
        })?;
        let entry = if dispatched { self.dispatched_entry } else { self.rust_entry };
        let doc = format!("{}({})\n--\n\n{}", self.name, self.signature, doc);
        // A method definition and its strings live as long as the interpreter: functions point there.
        let leaked = |text: &str| Ok::<*const c_char, PyErr>(CString::new(text)?.into_raw());
        let definition = Box::leak(Box::new(ffi::PyMethodDef {
            ml_name: leaked(self.name)?,
            ml_meth: ffi::PyMethodDefPointer { PyCFunctionFastWithKeywords: entry },
            ml_flags: ffi::METH_FASTCALL | ffi::METH_KEYWORDS,
            ml_doc: leaked(&doc)?,
        }));
        let module = PyString::intern(py, module);
        // SAFETY: the definition is complete and never freed; the module is a str, as it may be.
        unsafe {
            let function = ffi::PyCFunction_NewEx(definition, null_mut(), module.as_ptr());
            Bound::from_owned_ptr_or_err(py, function)
        }
    }

    /// Sets the Python original, once.
    pub fn set_original(&'static self, py: Python<'_>, original: Py<PyAny>) -> PyResult<()> {
        self.original.set(py, original).map_err(|_| {
            PyRuntimeError::new_err(format!("{} has its Python original already", self.name))
        })
    }

    /// Calls the Python original with the same arguments.
    ///
    /// # Safety
    /// As for a vectorcall.
    unsafe fn call_original(
        &self,
        py: Python<'_>,
        args: *const *mut PyObject,
        count: Py_ssize_t,
        keywords: *mut PyObject,
    ) -> *mut PyObject {
        let Some(original) = self.original.get(py) else {
            let message = format!("{}() got arguments that do not fit its parameters", self.name);
            PyTypeError::new_err(message).restore(py);
            return null_mut();
        };
        // SAFETY: the arguments are passed on as they came.
        unsafe { ffi::PyObject_Vectorcall(original.as_ptr(), args, count as usize, keywords) }
    }
}

/// What the interpreter calls.
///
/// # Safety
/// Called by the interpreter only, by the protocol of METH_FASTCALL | METH_KEYWORDS.
unsafe extern "C" fn entry<const INDEX: usize, const DISPATCHED: bool>(
    _module: *mut PyObject,
    args: *const *mut PyObject,
    count: Py_ssize_t,
    keywords: *mut PyObject,
) -> *mut PyObject {
    let function = &FUNCTIONS[INDEX];
    // SAFETY: the interpreter calls with itself attached, and `count` arguments, those that the
    // keywords name behind them.
    unsafe {
        let py = Python::assume_attached();
        if DISPATCHED && function.operation.is_python() {
            return function.call_original(py, args, count, keywords);
        }
        let Some(arguments) = function.bind(py, args, count as usize, keywords) else {
            return function.call_original(py, args, count, keywords);
        };
        match catch_unwind(AssertUnwindSafe(|| (function.rust)(py, &arguments))) {
            Ok(Ok(result)) => result.into_ptr(),
            Ok(Err(error)) => {
                // An attachment of PyO3's, in which errors and what they hold are dropped for good.
                Python::attach(|py| PyErr::from(error).restore(py));
                null_mut()
            }
            Err(panic) => {
                Python::attach(|py| panicked(function, panic).restore(py));
                null_mut()
            }
        }
    }
}

fn panicked(function: &Function, panic: Box<dyn Any + Send>) -> PyErr {
    let reason = match (panic.downcast_ref::<&str>(), panic.downcast_ref::<String>()) {
        (Some(reason), _) => reason,
        (_, Some(reason)) => reason.as_str(),
        _ => "unknown",
    };
    PyRuntimeError::new_err(format!(
        "fast-axolotl: {} failed ({reason}); this is a bug, please report it",
        function.name
    ))
}
