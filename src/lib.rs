//! The extension module `fast_axolotl._core`: registers what `py/` offers.

mod error;
mod py;

use pyo3::exceptions::PyValueError;
use pyo3::panic::PanicException;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyTuple};

use crate::py::dispatch::{self, Override, Side};
use crate::py::fastcall::{self, FUNCTIONS, Function, PanicError, Way};
use crate::py::interpreter;
use crate::py::small_ints::check_digits;

#[pymodule]
mod _core {
    use super::*;

    #[pymodule_export]
    use crate::py::arrow_export::ArrowSchema;
    #[pymodule_export]
    use crate::py::collate::{copied_rows, int64_tensor, row_tensor, row_tensors, streaming_rows};
    #[pymodule_export]
    use crate::py::multipack::{
        call_allocate_sequentially, call_ffd_check, call_pack_group, multipack_batches,
        multipack_fits, multipack_pack, multipack_sequential,
    };
    #[pymodule_export]
    use crate::py::reader::{
        Batch, Batches, Files, detect_file, is_saved_dataset, open_files, saved_dataset,
    };
    #[pymodule_export]
    use crate::py::row_text::{deduplicate_rows, pickle_indices, row_text_unsupported, row_texts};

    #[pymodule_init]
    fn init(module: &Bound<'_, PyModule>) -> PyResult<()> {
        let py = module.py();
        check_digits(py)?;
        // Remembered before any fork, so that a child can tell that it is one.
        kernels::threads::is_forked();
        module.add("__version__", env!("CARGO_PKG_VERSION"))?;
        module.add_class::<Override>()?;
        module.add("PANICS", (py.get_type::<PanicError>(), py.get_type::<PanicException>()))?;
        module.add("FUNCTIONS", FUNCTIONS.each_ref().map(|function| function.name))?;
        for function in &FUNCTIONS {
            let doc = "The Rust implementation, whatever the dispatcher says.";
            module.add(function.name, function.build(py, Way::Rust, "fast_axolotl._core", doc)?)?;
        }
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
}
