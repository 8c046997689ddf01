//! Rows of tokens in any layout, ready to be written.

use kernels::integers::Integers;
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::{PyByteArray, PyBytes, PyList, PyMemoryView, PySequence, PyString, PyTuple};

use crate::error::{Error, Place, Result};
use crate::py::arrow_rows::{self, ArrowLists};
use crate::py::integer_buffer::{IntegerBuffer, Scratch};
use crate::py::list_emitter::{Items, NewList};
use crate::py::objects::{index, loaded, type_name};
use crate::py::small_ints::{small_int, write_small_ints};

/// The rows of one argument.
pub struct TokenRows<'py> {
    pub name: &'static str,
    source: Source<'py>,
}

/// What is large is boxed: a call with one short row would wait for its copies.
enum Source<'py> {
    /// An exact list or tuple whose items are exact lists and tuples.
    Lists(Bound<'py, PyAny>),
    /// An exact list whose items are exact lists, exact tuples and 1-D arrays of integers; the
    /// lengths as they were found.
    Mixed(Bound<'py, PyAny>, Box<[usize]>),
    Array(Box<IntegerBuffer>),
    Arrow(Box<ArrowLists>),
}

/// One row, as it is now.
enum Row<'a, 'py> {
    Objects(Items<'a>),
    Array(Borrowed<'a, 'py, PyAny>),
    Integers(Integers<'a>),
}

impl<'py> TokenRows<'py> {
    /// Accepts what `fast_axolotl.reference` accepts, and refuses the rest in the same words.
    #[inline(always)]
    pub fn new(name: &'static str, rows: Borrowed<'_, 'py, PyAny>) -> Result<Self> {
        let source = match Items::of(rows) {
            Some(items) if all_objects(rows.py(), items) => Source::Lists(rows.to_owned()),
            items => other(name, rows, items.is_some())?,
        };
        Ok(TokenRows { name, source })
    }

    /// The same, and what `plan` makes of the lengths: in one look at rows that are exact lists and tuples,
    /// since thousands of them wait for memory at each.
    #[inline(always)]
    pub fn planned<T>(
        name: &'static str,
        rows: Borrowed<'_, 'py, PyAny>,
        plan: impl Fn(&mut Lengths<'_, 'py>) -> T,
    ) -> Result<(Self, T)> {
        let py = rows.py();
        if let Some(items) = Items::of(rows) {
            let mut lengths = Lengths::of_lists(py, items);
            let planned = plan(&mut lengths);
            if lengths.are_all_seen() {
                return Ok((TokenRows { name, source: Source::Lists(rows.to_owned()) }, planned));
            }
        }
        let rows = TokenRows::new(name, rows)?;
        let planned = plan(&mut rows.lengths(py));
        Ok((rows, planned))
    }

    #[inline]
    pub fn len(&self) -> usize {
        match &self.source {
            Source::Lists(rows) => Items::of(rows.as_borrowed()).map_or(0, |items| items.len()),
            Source::Mixed(_, lengths) => lengths.len(),
            Source::Array(array) => array.rows(),
            Source::Arrow(lists) => lists.len(),
        }
    }

    /// The length of row `i`, as it is now.
    pub fn length(&self, py: Python<'py>, i: usize) -> Result<usize> {
        match &self.source {
            Source::Lists(_) => match self.row(py, i, &mut Scratch::default())? {
                Row::Objects(items) => Ok(items.len()),
                Row::Array(_) | Row::Integers(_) => Err(self.changed(i)),
            },
            Source::Mixed(_, lengths) => lengths.get(i).copied().ok_or_else(|| self.changed(i)),
            Source::Array(array) => Ok(array.width()),
            Source::Arrow(lists) => lists.length(i).ok_or_else(|| self.changed(i)),
        }
    }

    /// The rows where all of them are exact lists and tuples: only for as long as no Python code runs.
    #[inline(always)]
    pub fn lists(&self) -> Option<Items<'_>> {
        match &self.source {
            Source::Lists(rows) => Items::of(rows.as_borrowed()),
            Source::Mixed(..) | Source::Array(_) | Source::Arrow(_) => None,
        }
    }

    /// All rows, as they are now: only for as long as no Python code runs.
    #[inline]
    pub fn now(&self, py: Python<'py>) -> Now<'_, 'py> {
        let rows = match &self.source {
            Source::Lists(rows) => match Items::of(rows.as_borrowed()) {
                Some(rows) => RowsNow::Objects(rows),
                None => RowsNow::Known(&[]),
            },
            Source::Mixed(_, lengths) => RowsNow::Known(lengths),
            Source::Array(array) => RowsNow::Same(array.width()),
            Source::Arrow(lists) => RowsNow::Arrow(lists),
        };
        Now { py, rows, next: 0, end: self.len() }
    }

    /// The lengths of all rows, as they are now: only for as long as no Python code runs.
    #[inline]
    pub fn lengths(&self, py: Python<'py>) -> Lengths<'_, 'py> {
        Lengths(self.now(py))
    }

    /// Row `i`, which may have been taken away by Python code that ran since `new`.
    #[inline(always)]
    fn row<'a>(
        &'a self,
        py: Python<'py>,
        i: usize,
        scratch: &'a mut Scratch,
    ) -> Result<Row<'a, 'py>> {
        let changed = || Error::Changed { place: Place::row(self.name, i) };
        match &self.source {
            Source::Lists(rows) | Source::Mixed(rows, _) => {
                let items = Items::of(rows.as_borrowed());
                let row = items.and_then(|items| items.get(py, i)).ok_or_else(changed)?;
                Ok(Items::of(row).map_or(Row::Array(row), Row::Objects))
            }
            Source::Array(array) => array.row(i, scratch).map(Row::Integers).ok_or_else(changed),
            Source::Arrow(lists) => lists.row(i).map(Row::Integers).ok_or_else(changed),
        }
    }

    /// Appends the first `n` elements of row `i` to a list.
    ///
    /// The row has at least so many, or it is an error: no Python code may run between planning and
    /// this, and none does.
    #[inline(always)]
    pub fn append(
        &self,
        py: Python<'py>,
        i: usize,
        n: usize,
        list: &mut NewList<'py>,
    ) -> Result<()> {
        let mut scratch = Scratch::default();
        match self.row(py, i, &mut scratch)? {
            Row::Objects(items) if items.len() >= n => list.extend(items.head(n)),
            Row::Objects(_) => return Err(self.changed(i)),
            Row::Array(row) => {
                let buffer = IntegerBuffer::new(Place::row(self.name, i), row)?;
                let mut scratch = Scratch::default();
                let integers = buffer.row(0, &mut scratch).filter(|row| row.len() >= n);
                append_integers(py, integers.ok_or_else(|| self.changed(i))?, n, |int| {
                    list.push(int);
                })?;
            }
            Row::Integers(integers) => append_integers(py, integers, n, |int| list.push(int))?,
        }
        Ok(())
    }

    /// Appends the `n` elements of row `i` to two lists, the same objects to both.
    #[inline(always)]
    pub fn append_both(
        &self,
        py: Python<'py>,
        i: usize,
        n: usize,
        one: &mut NewList<'py>,
        other: &mut NewList<'py>,
    ) -> Result<()> {
        let mut scratch = Scratch::default();
        let mut both = |int: Bound<'py, PyAny>| {
            one.push(int.clone());
            other.push(int);
        };
        match self.row(py, i, &mut scratch)? {
            Row::Objects(items) if items.len() == n => NewList::extend_both(one, other, items),
            Row::Objects(_) => return Err(self.changed(i)),
            Row::Array(row) => {
                let buffer = IntegerBuffer::new(Place::row(self.name, i), row)?;
                let mut scratch = Scratch::default();
                let integers = buffer.row(0, &mut scratch).filter(|row| row.len() == n);
                append_integers(py, integers.ok_or_else(|| self.changed(i))?, n, &mut both)?;
            }
            Row::Integers(integers) => append_integers(py, integers, n, &mut both)?,
        }
        Ok(())
    }

    /// Writes the first elements of row `i` to `out`, as many as it holds; rows are written in order.
    #[inline]
    pub fn write(&self, py: Python<'py>, i: usize, out: &mut [i64]) -> Result<()> {
        if let Some(rows) = self.lists() {
            rows.prefetch(py, i + 1);
        }
        let mut scratch = Scratch::default();
        match self.row(py, i, &mut scratch)? {
            Row::Objects(items) => {
                let first = write_small_ints(items, out, None);
                if first < out.len() { self.write_objects(py, i, first, out) } else { Ok(()) }
            }
            Row::Array(row) => {
                let buffer = IntegerBuffer::new(Place::row(self.name, i), row)?;
                let mut scratch = Scratch::default();
                let integers = buffer.row(0, &mut scratch).ok_or_else(|| self.changed(i))?;
                self.widen(i, integers, out)
            }
            Row::Integers(integers) => self.widen(i, integers, out),
        }
    }

    fn widen(&self, i: usize, integers: Integers<'_>, out: &mut [i64]) -> Result<()> {
        if integers.len() < out.len() {
            return Err(self.changed(i));
        }
        integers.widen(out).map_err(|(j, value)| Error::Int64 {
            place: Place::element(self.name, i, j),
            bits: u64::from(u64::BITS - value.leading_zeros()),
        })
    }

    /// Writes the rest of the elements of row `i`, of which the first are written.
    #[cold]
    #[inline(never)]
    fn write_objects(
        &self,
        py: Python<'py>,
        i: usize,
        first: usize,
        out: &mut [i64],
    ) -> Result<()> {
        let mut j = first;
        while j < out.len() {
            // The row is looked up again after every element that may have run Python code.
            let mut scratch = Scratch::default();
            let Row::Objects(items) = self.row(py, i, &mut scratch)? else {
                return Err(self.changed(i));
            };
            if items.len() < out.len() {
                return Err(self.changed(i));
            }
            j += write_small_ints(items.tail(j), &mut out[j..], None);
            if let (Some(out), Some(item)) = (out.get_mut(j), items.get(py, j)) {
                *out = int64(Place::element(self.name, i, j), &item.to_owned())?;
                j += 1;
            }
        }
        Ok(())
    }

    fn changed(&self, i: usize) -> Error {
        Error::Changed { place: Place::row(self.name, i) }
    }
}

/// The rows in order: length, and the objects of the row where it is made of any.
pub struct Now<'a, 'py> {
    py: Python<'py>,
    rows: RowsNow<'a>,
    next: usize,
    end: usize,
}

enum RowsNow<'a> {
    Objects(Items<'a>),
    Known(&'a [usize]),
    Same(usize),
    Arrow(&'a ArrowLists),
}

impl Now<'_, '_> {
    /// Asks for what the next rows will wait for.
    #[inline(always)]
    pub fn prefetch(&self) {
        if let RowsNow::Objects(rows) = &self.rows {
            rows.prefetch(self.py, self.next);
        }
    }
}

impl<'a> Iterator for Now<'a, '_> {
    type Item = (usize, Option<Items<'a>>);

    #[inline(always)]
    fn next(&mut self) -> Option<Self::Item> {
        if self.next == self.end {
            return None;
        }
        let i = self.next;
        let row = match &self.rows {
            RowsNow::Objects(rows) => {
                let row = Items::of(rows.get(self.py, i)?)?;
                (row.len(), Some(row))
            }
            RowsNow::Known(lengths) => (*lengths.get(i)?, None),
            RowsNow::Same(length) => (*length, None),
            RowsNow::Arrow(lists) => (lists.length(i)?, None),
        };
        self.next += 1;
        Some(row)
    }
}

/// The lengths of rows in order.
pub struct Lengths<'a, 'py>(Now<'a, 'py>);

impl<'a, 'py> Lengths<'a, 'py> {
    /// Those of exact lists and tuples, up to the first row that is something else.
    #[inline(always)]
    pub fn of_lists(py: Python<'py>, rows: Items<'a>) -> Self {
        Lengths(Now { py, rows: RowsNow::Objects(rows), next: 0, end: rows.len() })
    }

    /// Whether the lengths of all rows were given.
    #[inline(always)]
    pub fn are_all_seen(&self) -> bool {
        self.0.next == self.0.end
    }
}

impl Iterator for Lengths<'_, '_> {
    type Item = usize;

    #[inline(always)]
    fn next(&mut self) -> Option<usize> {
        self.0.next().map(|(length, _)| length)
    }
}

fn append_integers<'py>(
    py: Python<'py>,
    integers: Integers<'_>,
    n: usize,
    mut push: impl FnMut(Bound<'py, PyAny>),
) -> Result<()> {
    kernels::with_integers!(integers, slice => {
        for &value in slice.iter().take(n) {
            push(value.into_pyobject(py).map_err(PyErr::from)?.into_any());
        }
    });
    Ok(())
}

#[inline(always)]
fn all_objects(py: Python<'_>, rows: Items<'_>) -> bool {
    rows.of_each(py).all(|row| row.is_some())
}

/// Rows that are not all exact lists and tuples, in such a one or in something else.
#[cold]
#[inline(never)]
fn other<'py>(
    name: &'static str,
    rows: Borrowed<'_, 'py, PyAny>,
    is_sequence: bool,
) -> Result<Source<'py>> {
    if is_sequence { mixed(name, rows.to_owned()) } else { outer(name, rows) }
}

fn outer<'py>(name: &'static str, rows: Borrowed<'_, 'py, PyAny>) -> Result<Source<'py>> {
    if let Some(lists) = arrow_rows::lists(name, rows)? {
        return Ok(Source::Arrow(Box::new(lists)));
    }
    if is_ndarray(rows)? {
        return array(Place::argument(name), rows, 2, "2 dimensions").map(|array| match array {
            Numbers::Buffer(buffer) => Ok(Source::Array(Box::new(buffer))),
            Numbers::Objects(rows) => mixed(name, rows),
        })?;
    }
    match sequence(rows)? {
        Some(rows) => {
            let items = Items::of(rows.as_borrowed());
            match items.is_some_and(|items| all_objects(rows.py(), items)) {
                true => Ok(Source::Lists(rows)),
                false => mixed(name, rows),
            }
        }
        None => Err(Error::Rows { name, found: type_name(&rows)? }),
    }
}

/// Replaces the rows that are of odd kinds by lists, in a list of our own.
fn mixed<'py>(name: &'static str, rows: Bound<'py, PyAny>) -> Result<Source<'py>> {
    let py = rows.py();
    // A list of our own: what runs below can change the other, but not this one.
    let rows = PyList::new(py, copied(&rows))?;
    let mut lengths = Vec::with_capacity(rows.len());
    for (i, row) in rows.iter().enumerate() {
        if let Some(items) = Items::of(row.as_borrowed()) {
            lengths.push(items.len());
            continue;
        }
        let place = Place::row(name, i);
        let odd = if is_ndarray(row.as_borrowed())? {
            match array(place, row.as_borrowed(), 1, "1 dimension")? {
                Numbers::Buffer(buffer) => {
                    lengths.push(buffer.width());
                    continue;
                }
                Numbers::Objects(row) => row,
            }
        } else {
            let found = type_name(&row)?;
            sequence(row.as_borrowed())?.ok_or(Error::Row { place, found })?
        };
        lengths.push(Items::of(odd.as_borrowed()).map_or(0, |items| items.len()));
        rows.set_item(i, odd)?;
    }
    // Python code may have run after the length of an earlier list was read.
    for (length, row) in lengths.iter_mut().zip(rows.iter()) {
        if let Some(items) = Items::of(row.as_borrowed()) {
            *length = items.len();
        }
    }
    Ok(Source::Mixed(rows.into_any(), lengths.into()))
}

fn copied<'py>(rows: &Bound<'py, PyAny>) -> Vec<Bound<'py, PyAny>> {
    let Some(items) = Items::of(rows.as_borrowed()) else {
        return Vec::new();
    };
    (0..items.len()).filter_map(|i| items.get(rows.py(), i).map(|row| row.to_owned())).collect()
}

/// A copy of any other sequence as a list; None for what is no sequence, or text.
pub fn sequence<'py>(value: Borrowed<'_, 'py, PyAny>) -> Result<Option<Bound<'py, PyAny>>> {
    let is_text = value.is_instance_of::<PyString>()
        || value.is_instance_of::<PyBytes>()
        || value.is_instance_of::<PyByteArray>()
        || value.is_instance_of::<PyMemoryView>();
    if is_text || value.cast::<PySequence>().is_err() {
        return Ok(None);
    }
    if value.is_exact_instance_of::<PyTuple>() {
        return Ok(Some(value.to_owned()));
    }
    // As list(value) does it, with whatever __iter__ it has.
    Ok(Some(value.py().get_type::<PyList>().call1((value,))?))
}

enum Numbers<'py> {
    Buffer(IntegerBuffer),
    /// What `tolist` gives: for subclasses and byte orders that are read through NumPy itself.
    Objects(Bound<'py, PyAny>),
}

fn array<'py>(
    place: Place,
    array: Borrowed<'_, 'py, PyAny>,
    dimensions: usize,
    expected: &'static str,
) -> Result<Numbers<'py>> {
    let py = array.py();
    let found: usize = array.getattr(intern!(py, "ndim"))?.extract()?;
    if found != dimensions {
        return Err(Error::Dimensions { place, expected, found });
    }
    let dtype = array.getattr(intern!(py, "dtype"))?;
    let kind: String = dtype.getattr(intern!(py, "kind"))?.extract()?;
    if !matches!(kind.as_str(), "i" | "u" | "b") {
        return Err(Error::ArrayType { place, found: dtype.str()?.to_string() });
    }
    let is_plain = ndarray(py)?.is_some_and(|ndarray| array.get_type().is(&ndarray))
        && kind != "b"
        && dtype.getattr(intern!(py, "isnative"))?.is_truthy()?;
    if is_plain {
        return IntegerBuffer::new(place, array).map(Numbers::Buffer);
    }
    Ok(Numbers::Objects(array.call_method0(intern!(py, "tolist"))?))
}

fn is_ndarray(value: Borrowed<'_, '_, PyAny>) -> Result<bool> {
    Ok(match ndarray(value.py())? {
        Some(ndarray) => value.is_instance(&ndarray)?,
        None => false,
    })
}

/// `numpy.ndarray`, where NumPy is loaded: an array can't be met anywhere else.
pub fn ndarray(py: Python<'_>) -> Result<Option<Bound<'_, PyAny>>> {
    match loaded(py, intern!(py, "numpy"))? {
        Some(numpy) => Ok(Some(numpy.getattr(intern!(py, "ndarray"))?)),
        None => Ok(None),
    }
}

/// The int64 that `value` stands for; runs `__index__` where it has one.
pub fn int64(place: Place, value: &Bound<'_, PyAny>) -> Result<i64> {
    let py = value.py();
    if let Some(small) = small_int(value.as_borrowed()) {
        return Ok(small);
    }
    let index = match index(value) {
        Ok(index) => index,
        Err(error) if value.get_type().hasattr(intern!(py, "__index__"))? => {
            return Err(error.into());
        }
        Err(_) => {
            return Err(Error::NotAnInteger { place, found: type_name(value)? });
        }
    };
    match index.extract::<i64>() {
        Ok(value) => Ok(value),
        Err(_) => {
            let bits = index.call_method0(intern!(py, "bit_length"))?.extract()?;
            Err(Error::Int64 { place, bits })
        }
    }
}
