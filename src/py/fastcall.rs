//! Functions called with a vector of arguments: nothing is packed into tuples and dicts on the way.
//!
//! Every function comes in several ways: always Rust (judging by itself how many threads pay, on one,
//! on many), and dispatched, which decides first. What can't be bound to the parameters is passed on to the Python original,
//! whose binding raises the TypeError that Python programmers know.

#![allow(unsafe_code)]

use std::any::Any;
use std::ffi::{CString, c_char};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::ptr::null_mut;

use pyo3::exceptions::{PyRuntimeError, PyTypeError};
use pyo3::ffi::{self, Py_ssize_t, PyObject};
use pyo3::impl_::trampoline::{MethodDef, fastcall_cfunction_with_keywords as trampoline};
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::{PyDict, PyString, PyTuple};

use crate::error::Result;
use crate::py::dispatch::{self, Action, Operation, Side};
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
    /// By `Way`.
    entries: [Entry; 4],
    /// The parameters that a decision looks at, where there are such.
    pub output: Option<usize>,
    pub width: Option<usize>,
    pub threads: Option<usize>,
    /// Whether a result of lists makes the collector run.
    pub allocates: bool,
    names: PyOnceLock<Py<PyTuple>>,
    original: PyOnceLock<Py<PyAny>>,
}

/// How a function is called.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(usize)]
pub enum Way {
    Rust,
    Dispatched,
    OneThread,
    ManyThreads,
}

/// The way on of a dispatched call that is Rust's, on one thread.
const DECIDED: usize = Way::ManyThreads as usize + 1;

/// How many threads a call uses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pool {
    /// As many as the work is judged to pay for.
    Judged,
    One,
    /// As many as are usable and asked for: the dispatcher has found that they pay.
    Many,
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
            entries: [
                entry::<$index, { Way::Rust as usize }>,
                entry::<$index, { Way::Dispatched as usize }>,
                entry::<$index, { Way::OneThread as usize }>,
                entry::<$index, { Way::ManyThreads as usize }>,
            ],
            output: find(&[$($parameter),+], "output"),
            width: find(&[$($parameter),+], "target_length"),
            threads: find(&[$($parameter),+], "num_threads"),
            allocates: find(&[$($parameter),+], "output").is_some(),
            names: PyOnceLock::new(),
            original: PyOnceLock::new(),
        }
    };
}

/// The place of a parameter; comparing strings is not const otherwise.
const fn find(parameters: &[&str], name: &str) -> Option<usize> {
    let mut i = 0;
    while i < parameters.len() {
        let (one, other) = (parameters[i].as_bytes(), name.as_bytes());
        let mut k = 0;
        while k < one.len() && k < other.len() && one[k] == other[k] {
            k += 1;
        }
        if k == one.len() && k == other.len() {
            return Some(i);
        }
        i += 1;
    }
    None
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
///
/// Filled and read where it lies: a copy would wait for what was just written word by word.
pub struct Arguments<'a, 'py> {
    values: [Option<Borrowed<'a, 'py, PyAny>>; MOST],
    pub pool: Pool,
}

impl<'a, 'py> Arguments<'a, 'py> {
    #[inline(always)]
    fn none() -> Self {
        Arguments { values: [None; MOST], pool: Pool::Judged }
    }

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
    /// Whether its rows are texts rather than tokens.
    pub fn is_text(&self) -> bool {
        matches!(self.operation, Operation::Hash)
    }

    /// Whether it has two lengths in the place of rows.
    pub fn takes_lengths(&self) -> bool {
        self.parameters[0] == "current_length"
    }

    /// Fills `arguments`, of which there are none yet; false where they do not fit the parameters.
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
        arguments: &mut Arguments<'a, 'py>,
    ) -> bool {
        let values = &mut arguments.values;
        if count > self.positional {
            return false;
        }
        // SAFETY: the caller's promise.
        unsafe {
            for (i, value) in values.iter_mut().enumerate().take(count) {
                *value = Some(Borrowed::from_ptr(py, *args.add(i)));
            }
            if !keywords.is_null() {
                let Some(names) = self.names.get(py) else {
                    return false;
                };
                for k in 0..ffi::PyTuple_GET_SIZE(keywords) {
                    let keyword = ffi::PyTuple_GET_ITEM(keywords, k);
                    let index = self.parameter(py, names.as_ptr(), keyword);
                    let Some(value @ None) = index.map(|index| &mut values[index]) else {
                        return false;
                    };
                    *value = Some(Borrowed::from_ptr(py, *args.add(count + k as usize)));
                }
            }
        }
        values[..self.required].iter().all(Option::is_some)
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
            let keyword = keyword.to_str().ok()?;
            self.parameters.iter().position(|&name| name == keyword)
        }
    }

    /// Makes a function of this; `doc` is its docstring.
    pub fn build<'py>(
        &'static self,
        py: Python<'py>,
        way: Way,
        module: &str,
        doc: &str,
    ) -> PyResult<Bound<'py, PyAny>> {
        self.names.get_or_try_init(py, || {
            let names = self.parameters.iter().map(|name| PyString::intern(py, name));
            Ok::<_, PyErr>(PyTuple::new(py, names)?.unbind())
        })?;
        let entry = self.entries[way as usize];
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

    /// Sets the Python original, once: that of a package imported again is the same function.
    pub fn set_original(&'static self, py: Python<'_>, original: Py<PyAny>) {
        let _ = self.original.set(py, original);
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
unsafe extern "C" fn entry<const INDEX: usize, const WAY: usize>(
    module: *mut PyObject,
    args: *const *mut PyObject,
    count: Py_ssize_t,
    keywords: *mut PyObject,
) -> *mut PyObject {
    // SAFETY: the interpreter calls with itself attached; the arguments are passed on as they came.
    unsafe {
        if WAY == Way::Dispatched as usize {
            let function = &FUNCTIONS[INDEX];
            let py = Python::assume_attached();
            let positional = function.required..=function.positional;
            let side = match dispatch::decide_at_once(INDEX) {
                None if keywords.is_null() && positional.contains(&(count as usize)) => {
                    let first = Borrowed::from_ptr(py, *args);
                    dispatch::decide_early(py, INDEX, function, first)
                }
                side => side,
            };
            match side {
                Some(Side::Python) => {
                    dispatch::count(INDEX, Side::Python);
                    return function.call_original(py, args, count, keywords);
                }
                Some(_) => {
                    return trampoline::<Entered<INDEX, DECIDED>>(module, args, count, keywords);
                }
                None => {}
            }
        }
        trampoline::<Entered<INDEX, WAY>>(module, args, count, keywords)
    }
}

/// The way in that PyO3's `#[pyfunction]` uses, too: it knows that the interpreter is attached, which
/// `Python::attach` would ask for 30 ns.
struct Entered<const INDEX: usize, const WAY: usize>;

impl<const INDEX: usize, const WAY: usize> MethodDef<trampoline::Func> for Entered<INDEX, WAY> {
    const METH: trampoline::Func = enter::<INDEX, WAY>;
}

/// # Safety
/// By the protocol of METH_FASTCALL | METH_KEYWORDS.
unsafe fn enter<const INDEX: usize, const WAY: usize>(
    py: Python<'_>,
    _module: *mut PyObject,
    args: *const *mut PyObject,
    count: Py_ssize_t,
    keywords: *mut PyObject,
) -> PyResult<*mut PyObject> {
    let function = &FUNCTIONS[INDEX];
    // SAFETY: `count` arguments came, those that the keywords name behind them. They are passed on as
    // they came.
    unsafe {
        if WAY == Way::Dispatched as usize || WAY == DECIDED {
            let mut arguments = Arguments::none();
            let fit = function.bind(py, args, count as usize, keywords, &mut arguments);
            let action = match WAY {
                DECIDED => Action::Run(Side::Rust),
                _ => dispatch::decide(py, INDEX, function, fit.then_some(&arguments)),
            };
            let arguments = fit.then_some(&mut arguments);
            return Ok(match action {
                Action::Run(Side::Python) => {
                    dispatch::count(INDEX, Side::Python);
                    function.call_original(py, args, count, keywords)
                }
                Action::Run(side) => {
                    answer(py, INDEX, side, arguments, false, args, count, keywords)
                }
                Action::Panic => {
                    answer(py, INDEX, Side::Rust, arguments, true, args, count, keywords)
                }
                Action::Slow => slow(py, INDEX, args, count, keywords),
                Action::Raised => null_mut(),
            });
        }
    }
    let mut arguments = Arguments::none();
    // SAFETY: as above.
    if !unsafe { function.bind(py, args, count as usize, keywords, &mut arguments) } {
        // SAFETY: the arguments are passed on as they came.
        return Ok(unsafe { function.call_original(py, args, count, keywords) });
    }
    if WAY == Way::OneThread as usize {
        arguments.pool = Pool::One;
    } else if WAY == Way::ManyThreads as usize {
        arguments.pool = Pool::Many;
    }
    match catch_unwind(AssertUnwindSafe(|| outcome((function.rust)(py, &arguments)))) {
        Ok(Ok(result)) => Ok(result),
        Ok(Err(error)) => Err((*error).into()),
        Err(panic) => Err(PanicError::new_err(format!(
            "fast-axolotl: {} failed ({}); this is a bug, please report it",
            function.name,
            reason(&panic)
        ))),
    }
}

/// Runs one side of a dispatched function and counts it. Where Rust panics, its operation goes to
/// Python from then on, beginning with this call. `planted`: panic.
///
/// # Safety
/// As for a vectorcall.
#[inline(always)]
#[allow(clippy::too_many_arguments)] // those of a vectorcall, and what was decided
unsafe fn answer(
    py: Python<'_>,
    index: usize,
    side: Side,
    arguments: Option<&mut Arguments<'_, '_>>,
    planted: bool,
    args: *const *mut PyObject,
    count: Py_ssize_t,
    keywords: *mut PyObject,
) -> *mut PyObject {
    let function = &FUNCTIONS[index];
    dispatch::count(index, side);
    let Some(arguments) = arguments.filter(|_| side != Side::Python) else {
        // SAFETY: the caller's promise.
        return unsafe { function.call_original(py, args, count, keywords) };
    };
    if function.threads.is_some() {
        arguments.pool = if side == Side::Threads { Pool::Many } else { Pool::One };
    }
    let outcome = catch_unwind(AssertUnwindSafe(|| {
        if planted {
            planted_panic();
        }
        outcome((function.rust)(py, arguments))
    }));
    let error = match outcome {
        Ok(Ok(result)) => return result,
        Ok(Err(error)) => PyErr::from(*error),
        Err(panic) => match quarantine(py, index, &reason(&panic)) {
            Err(error) => error,
            Ok(()) => {
                dispatch::count(index, Side::Python);
                // SAFETY: the caller's promise.
                return unsafe { function.call_original(py, args, count, keywords) };
            }
        },
    };
    error.restore(py);
    null_mut()
}

/// In two words, which come in registers; a copy of all that an error may be would be waited for.
#[inline(always)]
fn outcome(
    result: Result<Bound<'_, PyAny>>,
) -> std::result::Result<*mut PyObject, Box<crate::error::Error>> {
    match result {
        Ok(result) => Ok(result.into_ptr()),
        Err(error) => Err(Box::new(error)),
    }
}

#[cold]
#[allow(clippy::panic)] // what it is for
pub fn planted_panic() {
    panic!("planted by a test");
}

/// Hands a call to Python, which decides.
///
/// # Safety
/// As for a vectorcall.
#[cold]
unsafe fn slow(
    py: Python<'_>,
    index: usize,
    args: *const *mut PyObject,
    count: Py_ssize_t,
    keywords: *mut PyObject,
) -> *mut PyObject {
    // SAFETY: the caller's promise.
    let called = unsafe {
        let value = |i: usize| Borrowed::from_ptr(py, *args.add(i));
        let named = match keywords.is_null() {
            true => 0,
            false => ffi::PyTuple_GET_SIZE(keywords) as usize,
        };
        let positional = PyTuple::new(py, (0..count as usize).map(value));
        let names = (0..named)
            .map(|k| Borrowed::from_ptr(py, ffi::PyTuple_GET_ITEM(keywords, k as Py_ssize_t)));
        let values = (count as usize..count as usize + named).map(value);
        let pairs = PyDict::new(py);
        let filled: PyResult<()> =
            names.zip(values).try_for_each(|(name, value)| pairs.set_item(name, value));
        filled.and(positional).and_then(|positional| {
            dispatcher(py)?.call_method1(intern!(py, "slow"), (index, positional, pairs))
        })
    };
    match called {
        Ok(result) => result.into_ptr(),
        Err(error) => {
            error.restore(py);
            null_mut()
        }
    }
}

fn dispatcher(py: Python<'_>) -> PyResult<Bound<'_, PyModule>> {
    py.import(intern!(py, "fast_axolotl.dispatch.call"))
}

fn quarantine(py: Python<'_>, index: usize, reason: &str) -> PyResult<()> {
    let operation = match FUNCTIONS[index].operation {
        Operation::Pack => "pack",
        Operation::Pad => "pad",
        Operation::Hash => "hash",
    };
    dispatcher(py)?.call_method1(intern!(py, "panicked"), (operation, reason)).map(|_| ())
}

/// Runs one side of a dispatched function, as `answer` does, for the dispatcher in Python.
pub fn run<'py>(
    py: Python<'py>,
    index: usize,
    side: Side,
    args: &Bound<'py, PyTuple>,
    kwargs: &Bound<'py, PyDict>,
) -> PyResult<Bound<'py, PyAny>> {
    let (values, keywords) = vector(py, args, kwargs)?;
    let pointers: Vec<_> = values.iter().map(Bound::as_ptr).collect();
    let count = args.len();
    // SAFETY: `count` positional arguments, then those that the tuple names; all live until the end.
    unsafe {
        let mut arguments = Arguments::none();
        let names = keywords.as_ptr();
        let fit = FUNCTIONS[index].bind(py, pointers.as_ptr(), count, names, &mut arguments);
        let result = answer(
            py,
            index,
            side,
            fit.then_some(&mut arguments),
            false,
            pointers.as_ptr(),
            count as Py_ssize_t,
            keywords.as_ptr(),
        );
        Bound::from_owned_ptr_or_err(py, result)
    }
}

/// What a decision sees of a call; None where the arguments do not fit.
pub fn describe<'py>(
    py: Python<'py>,
    index: usize,
    args: &Bound<'py, PyTuple>,
    kwargs: &Bound<'py, PyDict>,
) -> PyResult<Option<dispatch::Description>> {
    let (values, keywords) = vector(py, args, kwargs)?;
    let pointers: Vec<_> = values.iter().map(Bound::as_ptr).collect();
    let function = &FUNCTIONS[index];
    let names = keywords.as_ptr();
    let mut arguments = Arguments::none();
    // SAFETY: as in `run`.
    let fit = unsafe { function.bind(py, pointers.as_ptr(), args.len(), names, &mut arguments) };
    fit.then(|| dispatch::describe(py, function, &arguments)).transpose()
}

type Vector<'py> = (Vec<Bound<'py, PyAny>>, Bound<'py, PyTuple>);

fn vector<'py>(
    py: Python<'py>,
    args: &Bound<'py, PyTuple>,
    kwargs: &Bound<'py, PyDict>,
) -> PyResult<Vector<'py>> {
    let mut values: Vec<_> = args.iter().collect();
    values.extend(kwargs.iter().map(|(_, value)| value));
    let names: Vec<_> = kwargs.iter().map(|(name, _)| name).collect();
    Ok((values, PyTuple::new(py, names)?))
}

pyo3::create_exception!(
    _core,
    PanicError,
    PyRuntimeError,
    "The Rust side failed in a way it should not have: a bug, please report it."
);

fn reason(panic: &Box<dyn Any + Send>) -> String {
    match (panic.downcast_ref::<&str>(), panic.downcast_ref::<String>()) {
        (Some(reason), _) => (*reason).to_owned(),
        (_, Some(reason)) => reason.clone(),
        _ => "unknown".to_owned(),
    }
}
