//! The extension module `fast_axolotl._core`: registers what `py/` offers.

mod error;
mod py;

use pyo3::exceptions::{PyImportError, PyValueError};
use pyo3::panic::PanicException;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyTuple};

use crate::py::arguments::look_at_memory;
use crate::py::dispatch::{self, Override, Side};
use crate::py::fastcall::{self, FUNCTIONS, Function, PanicError, Way};
use crate::py::small_ints::check_digits;
use crate::py::{arrow_export, collate, interpreter, multipack, reader, row_text};

/// Adds functions to a module, each under its own name.
macro_rules! add_functions {
    ($module:expr, $($function:path),+ $(,)?) => {
        $($module.add_function(wrap_pyfunction!($function, $module)?)?;)+
    };
}

#[pymodule]
fn _core(module: &Bound<'_, PyModule>) -> PyResult<()> {
    let py = module.py();
    // First of all, for what is made below stays for the process: with a subinterpreter's objects in it,
    // the others would break when that one ends.
    if !interpreter::is_main(py) {
        return Err(PyImportError::new_err(
            "the extension of fast_axolotl works in the main interpreter only",
        ));
    }
    check_digits(py)?;
    look_at_memory(py);
    // Remembered before any fork, so that a child can tell that it is one.
    kernels::threads::is_forked();
    module.add("__version__", env!("CARGO_PKG_VERSION"))?;
    module.add_class::<Override>()?;
    module.add_class::<arrow_export::ArrowSchema>()?;
    module.add_class::<reader::Batch>()?;
    module.add_class::<reader::Batches>()?;
    module.add_class::<reader::Files>()?;
    module.add("PANICS", (py.get_type::<PanicError>(), py.get_type::<PanicException>()))?;
    module.add("FUNCTIONS", FUNCTIONS.each_ref().map(|function| function.name))?;
    for function in &FUNCTIONS {
        let doc = "The Rust implementation, whatever the dispatcher says.";
        module.add(function.name, function.build(py, Way::Rust, "fast_axolotl._core", doc)?)?;
    }
    add_functions!(
        module,
        collate::copied_rows,
        collate::int64_tensor,
        collate::row_tensor,
        collate::row_tensors,
        collate::streaming_rows,
        multipack::call_allocate_sequentially,
        multipack::call_ffd_check,
        multipack::call_pack_group,
        multipack::multipack_batches,
        multipack::multipack_fits,
        multipack::multipack_pack,
        multipack::multipack_sequential,
        reader::detect_file,
        reader::is_saved_dataset,
        reader::open_files,
        reader::saved_dataset,
        row_text::deduplicate_rows,
        row_text::pickle_indices,
        row_text::row_text_unsupported,
        row_text::row_texts,
        dispatched,
        forced,
        dispatch_variable,
        dispatch_push,
        dispatch_threads,
        threads_free,
        dispatch_run,
        dispatch_describe,
        dispatch_choose,
        dispatch_counts,
        dispatch_reset,
        dispatch_plant_panic,
        build_id,
        cpu_features,
        usable_threads,
    );
    Ok(())
}

/// Return the public function of the Python original `original`: each call of it goes to the Rust
/// implementation or to `original`.
#[pyfunction]
fn dispatched<'py>(original: &Bound<'py, PyAny>, module: &str) -> PyResult<Bound<'py, PyAny>> {
    let py = original.py();
    let name: String = original.getattr("__name__")?.extract()?;
    let Some(function) = FUNCTIONS.iter().find(|function| function.name == name) else {
        return Err(PyValueError::new_err(format!("no Rust implementation of {name}")));
    };
    function.set_original(py, original.clone().unbind());
    let doc: Option<String> = original.getattr("__doc__")?.extract()?;
    function.build(py, Way::Dispatched, module, doc.as_deref().unwrap_or_default())
}

/// Return the function number `index` as it is when one side is forced: 1 is Rust on one
/// thread, 2 is Rust on as many as are usable.
#[pyfunction]
fn forced(py: Python<'_>, index: usize, side: usize) -> PyResult<Bound<'_, PyAny>> {
    let way = match Side::from_index(side)? {
        Side::Threads => Way::ManyThreads,
        _ => Way::OneThread,
    };
    function(index)?.build(py, way, "fast_axolotl._core", "One side of it.")
}

/// Remember the context variable that holds the `Override` of a block.
#[pyfunction]
fn dispatch_variable(py: Python<'_>, variable: Py<PyAny>) {
    interpreter::set_variable(py, variable);
}

/// Set the state of a function and the rules of its cells.
#[pyfunction]
fn dispatch_push(
    index: usize,
    state: u8,
    refused: bool,
    forced: bool,
    cells: Option<Vec<dispatch::CellData>>,
) -> PyResult<()> {
    dispatch::push(index, state, refused, forced, cells)
}

/// Set how many threads a call uses that asks for no number.
#[pyfunction]
fn dispatch_threads(threads: usize) {
    dispatch::set_budget(threads);
}

/// Return whether a call may use several threads now.
#[pyfunction]
fn threads_free() -> bool {
    dispatch::threads_free()
}

/// Answer a call by one side, and count it.
#[pyfunction]
fn dispatch_run<'py>(
    py: Python<'py>,
    index: usize,
    side: usize,
    args: &Bound<'py, PyTuple>,
    kwargs: &Bound<'py, PyDict>,
) -> PyResult<Bound<'py, PyAny>> {
    function(index)?;
    fastcall::run(py, index, Side::from_index(side)?, args, kwargs)
}

/// Return layout, output, rows, elements, elements of the result and threads of a call; None
/// where the arguments do not fit.
#[pyfunction]
fn dispatch_describe<'py>(
    py: Python<'py>,
    index: usize,
    args: &Bound<'py, PyTuple>,
    kwargs: &Bound<'py, PyDict>,
) -> PyResult<Option<dispatch::Description>> {
    function(index)?;
    fastcall::describe(py, index, args, kwargs)
}

/// Return the side that rules choose: 0 Python, 1 Rust, 2 Rust on many threads.
#[pyfunction]
fn dispatch_choose(
    cell: dispatch::CellData,
    sizes: [f64; 3],
    threads: bool,
    forced: bool,
) -> PyResult<usize> {
    dispatch::choose(cell, sizes, threads, forced)
}

/// Return how many calls each side of a function has answered.
#[pyfunction]
fn dispatch_counts(index: usize) -> PyResult<[u64; 3]> {
    dispatch::counts(index)
}

/// Set the counts of a function to zero.
#[pyfunction]
fn dispatch_reset(index: usize) -> PyResult<()> {
    dispatch::reset(index)
}

/// Make the next call of a function panic in Rust, or (None) the next that a `front` answers; for
/// tests.
#[pyfunction]
fn dispatch_plant_panic(index: Option<usize>) -> PyResult<()> {
    dispatch::plant_panic(index)
}

fn function(index: usize) -> PyResult<&'static Function> {
    FUNCTIONS.get(index).ok_or_else(|| PyValueError::new_err("there is no such function"))
}

/// Return what tells one build of the extension from another.
#[pyfunction]
fn build_id() -> &'static str {
    env!("FAST_AXOLOTL_BUILD")
}

/// Return the CPU features in use, by the names of the architecture.
#[pyfunction]
fn cpu_features() -> Vec<&'static str> {
    kernels::sha256::features().to_vec()
}

/// Return the number of threads that this process may use: affinity and cgroup quota count.
#[pyfunction]
fn usable_threads() -> usize {
    kernels::threads::usable()
}
