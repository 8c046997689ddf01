//! The extension module `fast_axolotl._core`: registers what `py/` offers.

mod error;
mod py;

use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;

use crate::py::dispatch::{Mode, Operation};
use crate::py::fastcall::FUNCTIONS;
use crate::py::small_ints::check_digits;

#[pymodule]
mod _core {
    use super::*;

    #[pymodule_init]
    fn init(module: &Bound<'_, PyModule>) -> PyResult<()> {
        let py = module.py();
        check_digits(py)?;
        // Remembered before any fork, so that a child can tell that it is one.
        kernels::threads::is_forked();
        module.add("__version__", env!("CARGO_PKG_VERSION"))?;
        for function in &FUNCTIONS {
            let doc = "The Rust implementation, whatever the dispatcher says.";
            module.add(function.name, function.build(py, false, "fast_axolotl._core", doc)?)?;
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
        function.set_original(py, original.clone().unbind())?;
        let doc: Option<String> = original.getattr("__doc__")?.extract()?;
        function.build(py, true, module, doc.as_deref().unwrap_or_default())
    }

    /// Send all calls of an operation to "rust" or "python".
    #[pyfunction]
    fn set_mode(operation: &str, mode: &str) -> PyResult<()> {
        let operation = Operation::from_name(operation)
            .ok_or_else(|| PyValueError::new_err("operation must be 'pack', 'pad' or 'hash'"))?;
        operation.set(match mode {
            "rust" => Mode::Rust,
            "python" => Mode::Python,
            _ => return Err(PyValueError::new_err("mode must be 'rust' or 'python'")),
        });
        Ok(())
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
