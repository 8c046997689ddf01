//! Ints from 0 up that are made once: the places of rows, which every packing returns anew.

use std::sync::{Mutex, PoisonError};

use pyo3::prelude::*;
use pyo3::types::{PyInt, PyTuple};

use crate::error::Result;
use crate::py::list_emitter::{Items, NewList};

/// Ints that are kept at most: 5 MB of them.
const MOST: usize = 1 << 17;
/// They are made so many at a time.
const STEP: usize = 1 << 10;

/// A tuple, which the collector need not look into, of 0, 1, 2 and so on.
static MADE: Mutex<Option<Py<PyTuple>>> = Mutex::new(None);

/// Ints from 0 up, as many as were asked for or are kept.
pub struct Places<'py> {
    py: Python<'py>,
    made: Bound<'py, PyTuple>,
}

impl<'py> Places<'py> {
    /// Makes what is missing of the first `count` ints.
    pub fn new(py: Python<'py>, count: usize) -> Result<Self> {
        let count = count.min(MOST);
        // Held for two moves of a pointer: nothing that runs Python code or waits.
        let kept = || MADE.lock().unwrap_or_else(PoisonError::into_inner);
        let made = kept().as_ref().map(|made| made.bind(py).clone());
        let known = made.as_ref().map_or(0, |made| made.len());
        if let Some(made) = made
            && count <= known
        {
            return Ok(Places { py, made });
        }
        let wanted = count.next_multiple_of(STEP);
        let mut ints = Vec::with_capacity(wanted);
        if let Some(made) = kept().as_ref() {
            ints.extend(made.bind(py).iter());
        }
        for value in ints.len()..wanted {
            ints.push(int(py, value as i64)?);
        }
        let made = PyTuple::new(py, ints)?;
        let before = kept().replace(made.clone().unbind());
        drop(before); // with its ints alive in the new one
        Ok(Places { py, made })
    }

    /// Appends the ints from `first` to `end`.
    pub fn extend(&self, list: &mut NewList<'py>, first: usize, end: usize) -> Result<()> {
        let made = self.made.len().clamp(first, end);
        if let Some(items) = Items::of(self.made.as_any().as_borrowed()) {
            list.extend(items.head(made).tail(first));
        }
        for value in made..end {
            list.push(int(self.py, value as i64)?);
        }
        Ok(())
    }

    /// Appends one int.
    #[inline]
    pub fn push(&self, list: &mut NewList<'py>, value: i64) -> Result<()> {
        let items = Items::of(self.made.as_any().as_borrowed());
        let known = items.zip(usize::try_from(value).ok());
        match known.and_then(|(items, value)| items.get(self.py, value)) {
            Some(int) => list.repeat(int, 1),
            None => list.push(int(self.py, value)?),
        }
        Ok(())
    }
}

fn int(py: Python<'_>, value: i64) -> Result<Bound<'_, PyAny>> {
    let int: Bound<'_, PyInt> = value.into_pyobject(py).map_err(PyErr::from)?;
    Ok(int.into_any())
}
