//! Arrays of int64 for the outputs "numpy", "torch" and "arrow".

use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyList, PyMemoryView, PyString};

use crate::error::{Error, Result};
use crate::py::arguments::{Output, check_memory};
use crate::py::fresh_array::FreshArray;
use crate::py::objects::loaded;

/// An array of rows of equal width: allocated by the library it belongs to, filled by us.
pub struct Target<'py> {
    output: Output,
    rows: usize,
    width: usize,
    library: Bound<'py, PyAny>,
    /// The NumPy array, or the Arrow buffer.
    memory: Bound<'py, PyAny>,
    fresh: Option<FreshArray>,
}

impl<'py> Target<'py> {
    pub fn new(py: Python<'py>, output: Output, rows: usize, width: usize) -> Result<Self> {
        let library = match output {
            Output::Arrow => import(intern!(py, "pyarrow"), output)?,
            Output::Lists | Output::Numpy => import(intern!(py, "numpy"), output)?,
            Output::Torch => {
                let torch = import(intern!(py, "torch"), output)?;
                import(intern!(py, "numpy"), output)?;
                torch
            }
        };
        if output == Output::Arrow && i32::try_from(width).is_err() {
            return Err(Error::ArrowWidth { width });
        }
        // Of a result without rows NumPy asks the same.
        if rows.max(1).checked_mul(width).is_none_or(|count| count > isize::MAX as usize / 8) {
            return Err(Error::TableMemory { rows, width });
        }
        check_memory(rows, width)?;
        let (memory, fresh) = match output {
            Output::Lists | Output::Numpy | Output::Torch => FreshArray::numpy(py, rows, width)
                .map(|(memory, fresh)| (memory, Some(fresh)))
                .map_err(|error| Error::Python(error).in_table(py, rows, width))?,
            Output::Arrow => {
                let bytes = rows * width * size_of::<i64>();
                let memory = library
                    .call_method1(intern!(py, "allocate_buffer"), (bytes,))
                    .map_err(|error| Error::Python(error).in_table(py, rows, width))?;
                let view = || {
                    let bytes = PyMemoryView::from(&memory)?;
                    bytes.call_method1(intern!(py, "cast"), ("B",))?.call_method1("cast", ("q",))
                };
                let fresh = (bytes > 0).then(|| FreshArray::new(&view()?)).transpose()?;
                (memory, fresh)
            }
        };
        Ok(Target { output, rows, width, library, memory, fresh })
    }

    /// All elements, row after row.
    pub fn elements(&mut self) -> &mut [i64] {
        self.fresh.as_mut().map_or(&mut [], FreshArray::as_mut_slice)
    }

    /// The array, filled.
    pub fn finish(self) -> Result<Bound<'py, PyAny>> {
        let py = self.memory.py();
        drop(self.fresh);
        match self.output {
            Output::Lists | Output::Numpy => Ok(self.memory),
            Output::Torch => {
                Ok(self.library.call_method1(intern!(py, "from_numpy"), (self.memory,))?)
            }
            Output::Arrow => {
                let array = self.library.getattr(intern!(py, "Array"))?;
                let from_buffers = array.getattr(intern!(py, "from_buffers"))?;
                let int64 = self.library.call_method0(intern!(py, "int64"))?;
                let buffers = PyList::new(py, [py.None().into_bound(py), self.memory])?;
                let values = from_buffers.call1((&int64, self.rows * self.width, buffers))?;
                let kind = self.library.call_method1(intern!(py, "list_"), (int64, self.width))?;
                let children = PyDict::new(py);
                children.set_item(intern!(py, "children"), PyList::new(py, [values])?)?;
                let buffers = PyList::new(py, [py.None()])?;
                Ok(from_buffers.call((kind, self.rows, buffers), Some(&children))?)
            }
        }
    }
}

fn import<'py>(library: &Bound<'py, PyString>, output: Output) -> Result<Bound<'py, PyAny>> {
    // What is loaded is found in a tenth of the time that an import takes.
    let py = library.py();
    if let Some(module) = loaded(py, library)? {
        return Ok(module);
    }
    match py.import(library) {
        Ok(module) => Ok(module.into_any()),
        Err(error) if error.is_instance_of::<pyo3::exceptions::PyImportError>(py) => {
            let library = library.to_str()?.to_owned();
            Err(Error::MissingLibrary { output: output.name(), library })
        }
        Err(error) => Err(error.into()),
    }
}
