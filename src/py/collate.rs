//! Rows of tokens into tensors that own their memory, and into rows as `encode_streaming` has them.
//!
//! Strict where `TokenRows` is generous: what is not exactly lists of int, or 1-D arrays of machine
//! integers, is answered by `None`, before anything is changed; the caller then asks the original.

use kernels::integers::Integers;
use kernels::pack::plan;
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::{PyDict, PyInt, PyList};

use crate::error::{Error, Place, Result};
use crate::py::fresh_array::FreshArray;
use crate::py::integer_buffer::{IntegerBuffer, Scratch};
use crate::py::list_emitter::{GcPause, Items, NewList};
use crate::py::pack::{ENDS, Packing, label_pad_default};
use crate::py::rows::{TokenRows, ndarray};
use crate::py::small_ints::{Known, small_int, write_small_ints};

/// A tensor of int64 with memory of its own, on its way.
struct NewTensor<'py> {
    tensor: Bound<'py, PyAny>,
    fresh: FreshArray,
}

/// What of torch is used, looked up once.
struct Torch {
    empty: Py<PyAny>,
    keywords: Py<PyDict>,
    int64: Py<PyAny>,
    kind: Py<PyAny>,
}

impl Torch {
    fn new(py: Python<'_>) -> PyResult<Self> {
        let torch = py.import("torch")?;
        let int64 = torch.getattr("int64")?;
        let keywords = PyDict::new(py);
        keywords.set_item("dtype", &int64)?;
        keywords.set_item("device", "cpu")?;
        Ok(Torch {
            empty: torch.getattr("empty")?.unbind(),
            keywords: keywords.unbind(),
            int64: int64.unbind(),
            kind: torch.getattr("Tensor")?.unbind(),
        })
    }
}

impl<'py> NewTensor<'py> {
    /// `torch.empty(shape, dtype=torch.int64, device="cpu")`; None where torch makes something else.
    fn new(py: Python<'py>, shape: &[usize]) -> Result<Option<Self>> {
        static TORCH: PyOnceLock<Torch> = PyOnceLock::new();
        let torch = TORCH.get_or_try_init(py, || Torch::new(py))?;
        let tensor = torch.empty.bind(py).call((shape,), Some(torch.keywords.bind(py)))?;
        let count = shape.iter().product();
        let fresh =
            FreshArray::of_tensor(&tensor, torch.kind.bind(py), torch.int64.bind(py), count)?;
        Ok(fresh.map(|fresh| NewTensor { tensor, fresh }))
    }

    fn elements(&mut self) -> &mut [i64] {
        self.fresh.as_mut_slice()
    }

    /// Row `i` of as many elements as `width`; none where there is no such row.
    fn row(&mut self, i: usize, width: usize) -> &mut [i64] {
        self.elements().get_mut(i * width..(i + 1) * width).unwrap_or_default()
    }

    fn finish(self) -> Bound<'py, PyAny> {
        self.tensor
    }
}

/// Return an int64 tensor of the ints of `values`; None where it is not a list of exact ints that fit.
#[pyfunction]
pub fn int64_tensor<'py>(values: &Bound<'py, PyAny>) -> Result<Option<Bound<'py, PyAny>>> {
    let py = values.py();
    let Some(items) = list_items(values.as_borrowed()) else {
        return Ok(None);
    };
    // A look before memory is asked for: most of what does not fit shows at once.
    if items.get(py, 0).is_some_and(|first| int(first).is_none()) {
        return Ok(None);
    }
    let Some(mut target) = NewTensor::new(py, &[items.len()])? else {
        return Ok(None);
    };
    // Python code may have run since.
    let items = list_items(values.as_borrowed()).filter(|now| now.len() == items.len());
    match items.and_then(|items| write_ints(py, items, 1, target.elements(), None)) {
        Some(_) => Ok(Some(target.finish())),
        None => Ok(None),
    }
}

/// Return an int64 tensor of `rows`, each filled up to `width`; None where they are not exactly lists
/// of int or 1-D arrays of integers, or longer than that.
///
/// `fill` is the value that fills up, None for 0, 1, 2 and so on.
#[pyfunction]
pub fn row_tensor<'py>(
    rows: &Bound<'py, PyList>,
    width: usize,
    fill: Option<i64>,
    right: bool,
) -> Result<Option<Bound<'py, PyAny>>> {
    let request = (rows.clone(), width, fill, false, false);
    Ok(row_tensors(rows.py(), vec![request], right)?.and_then(|mut tensors| tensors.pop()))
}

/// Rows, width, what fills up, whether rows are lists of pieces that are joined, and whether the first
/// piece is multiplied by 1, the second by 2 and so on.
type Request<'py> = (Bound<'py, PyList>, usize, Option<i64>, bool, bool);

/// Return what `row_tensor` does of several columns with as many rows; None where it does of one.
///
/// They are written piece by piece: the ints of one column are mostly those of another, and still at
/// hand.
#[pyfunction]
pub fn row_tensors<'py>(
    py: Python<'py>,
    columns: Vec<Request<'py>>,
    right: bool,
) -> Result<Option<Vec<Bound<'py, PyAny>>>> {
    let count = columns.first().map_or(0, |(rows, ..)| rows.len());
    let mut targets = Vec::with_capacity(columns.len());
    for (_, width, ..) in &columns {
        let Some(target) = NewTensor::new(py, &[count, *width])? else {
            return Ok(None);
        };
        targets.push(target);
    }
    let mut used = vec![0; columns.len()];
    for i in 0..count {
        // Written from the left, and moved where the filling comes first.
        if write_row(i, &columns, &mut targets, &mut used)?.is_none() {
            return Ok(None);
        }
        for (((_, width, fill, ..), target), &used) in columns.iter().zip(&mut targets).zip(&used) {
            let out = target.row(i, *width);
            let filling = if right {
                &mut out[used..]
            } else {
                out.copy_within(..used, width - used);
                &mut out[..width - used]
            };
            match fill {
                Some(value) => filling.fill(*value),
                None => (0..).zip(filling).for_each(|(position, out)| *out = position),
            }
        }
    }
    Ok(Some(targets.into_iter().map(NewTensor::finish).collect()))
}

/// Writes row `i` of every column, and how many elements that are; None where one has something odd.
fn write_row(
    i: usize,
    columns: &[Request<'_>],
    targets: &mut [NewTensor<'_>],
    used: &mut [usize],
) -> Result<Option<()>> {
    used.fill(0);
    for p in 0.. {
        let mut first: Option<First<'_>> = None;
        let mut is_last = true;
        for (c, column) in columns.iter().enumerate() {
            let (rows, width, _, is_joined, is_numbered) = column;
            let Ok(row) = rows.get_item(i) else {
                return Ok(None);
            };
            let piece = match is_joined {
                false if p == 0 => row,
                false => continue,
                true => {
                    let Ok(pieces) = row.cast_exact::<PyList>() else {
                        return Ok(None);
                    };
                    let Ok(piece) = pieces.get_item(p) else {
                        continue;
                    };
                    is_last &= pieces.len() == p + 1;
                    piece
                }
            };
            let factor = if *is_numbered { p as i64 + 1 } else { 1 };
            let (before, target) = targets.split_at_mut(c);
            let Some(out) = target.first_mut().and_then(|t| t.row(i, *width).get_mut(used[c]..))
            else {
                return Ok(None);
            };
            let known = first.as_ref().and_then(|first| first.known(i, before.first_mut()?));
            let Some(written) = write_piece(&piece, factor, out, known)? else {
                return Ok(None);
            };
            let is_list = piece.is_exact_instance_of::<PyList>();
            // NumPy takes an empty list for one of floats.
            if *is_joined && ((is_list && written.count == 0) || !written.exact_in_float64) {
                return Ok(None);
            }
            if !is_list {
                first = None; // NumPy may have run, and whatever it calls
            } else if c == 0 && factor == 1 && written.are_small {
                let end = used[c] + written.count;
                first = Some(First { piece, start: used[c], end, width: *width });
            }
            used[c] += written.count;
        }
        if is_last {
            break;
        }
    }
    Ok(Some(()))
}

/// A list of the first column, and where its values were written.
struct First<'py> {
    piece: Bound<'py, PyAny>,
    start: usize,
    end: usize,
    width: usize,
}

impl First<'_> {
    fn known<'a>(&'a self, i: usize, target: &'a mut NewTensor<'_>) -> Option<Known<'a>> {
        let items = list_items(self.piece.as_borrowed())?;
        let values = target.row(i, self.width).get(self.start..self.end)?;
        (items.len() == values.len()).then_some(Known { items, values })
    }
}

/// Return the rows of `encode_streaming`, without a tokenizer; None where `sequences` are not lists of
/// one-digit ints, `masks` not lists of as many ones, or one does not fit.
#[pyfunction]
pub fn streaming_rows<'py>(
    sequences: &Bound<'py, PyAny>,
    masks: &Bound<'py, PyAny>,
    max_length: usize,
    pad: &Bound<'py, PyAny>,
    eos: &Bound<'py, PyAny>,
) -> Result<Option<Bound<'py, PyAny>>> {
    let py = sequences.py();
    if small_int(pad.as_borrowed()).is_none() || small_int(eos.as_borrowed()).is_none() {
        return Ok(None);
    }
    let Some(tokens) = Tokens::new(py, sequences, masks)? else {
        return Ok(None);
    };
    let (rows, plan) = TokenRows::planned("sequences", sequences.as_borrowed(), |lengths| {
        plan(lengths, ENDS, max_length)
    })?;
    let Ok(plan) = plan else {
        return Ok(None);
    };
    let label_pad = label_pad_default(py)?;
    let pads = [pad.as_borrowed(), eos.as_borrowed(), label_pad.as_borrowed()];
    let in_table = |error: Error| error.in_table(py, plan.len(), max_length);
    let mut packing = Packing::new(py, &rows, plan.len(), max_length, pads).map_err(in_table)?;
    for packed in &plan {
        // Looked at right before they are packed: by then they are in the cache.
        if !(packing.done..packed.end).all(|i| tokens.are_at(i)) {
            return Ok(None);
        }
        packing.pack(packed).map_err(in_table)?;
    }
    packing.finish().map(Some)
}

/// Return copies of lists of ints; None where they are not exactly that.
#[pyfunction]
pub fn copied_rows<'py>(rows: &Bound<'py, PyAny>) -> Result<Option<Bound<'py, PyAny>>> {
    let py = rows.py();
    let Some(items) = list_items(rows.as_borrowed()) else {
        return Ok(None);
    };
    let pause = GcPause::new(py);
    let mut copies = NewList::with_capacity(py, items.len())?;
    for i in 0..items.len() {
        let Some(row) = items.get(py, i).and_then(list_items) else {
            return Ok(None);
        };
        if !(0..row.len()).all(|j| row.get(py, j).is_some_and(|item| int(item).is_some())) {
            return Ok(None);
        }
        let mut copy = NewList::with_capacity(py, row.len())?;
        copy.extend(row);
        copies.push(copy.finish());
    }
    let copies = copies.finish();
    drop(pause);
    Ok(Some(copies))
}

/// Sequences and their masks: lists of lists, of which each two are as long.
struct Tokens<'a, 'py> {
    py: Python<'py>,
    sequences: Items<'a>,
    masks: Items<'a>,
    one: Bound<'py, PyAny>,
}

impl<'a, 'py> Tokens<'a, 'py> {
    fn new(
        py: Python<'py>,
        sequences: &'a Bound<'py, PyAny>,
        masks: &'a Bound<'py, PyAny>,
    ) -> Result<Option<Self>> {
        let one = 1u8.into_pyobject(py).map_err(PyErr::from)?.into_any();
        let lists = (list_items(sequences.as_borrowed()), list_items(masks.as_borrowed()));
        let (Some(sequences), Some(masks)) = lists else { return Ok(None) };
        let tokens = Tokens { py, sequences, masks, one };
        let are_alike = sequences.len() == masks.len()
            && (0..sequences.len())
                .all(|i| tokens.at(i).is_some_and(|(sequence, mask)| sequence.len() == mask.len()));
        Ok(are_alike.then_some(tokens))
    }

    #[inline(always)]
    fn at(&self, i: usize) -> Option<(Items<'a>, Items<'a>)> {
        let list_at = |items: &Items<'a>| items.get(self.py, i).and_then(list_items);
        list_at(&self.sequences).zip(list_at(&self.masks))
    }

    /// Whether these are one-digit ints, and every item of their mask is the object 1.
    #[inline(always)]
    fn are_at(&self, i: usize) -> bool {
        let Some((sequence, mask)) = self.at(i) else { return false };
        (0..sequence.len())
            .all(|j| sequence.get(self.py, j).is_some_and(|item| small_int(item).is_some()))
            && mask.are_all(&self.one)
    }
}

/// What was written of a row.
struct Written {
    count: usize,
    /// Whether every value was an int of one digit.
    are_small: bool,
    /// Whether a float64 holds every value: NumPy takes that way where it joins an empty list to an
    /// array.
    exact_in_float64: bool,
}

/// Up to here a float64 holds every integer.
const EXACT_IN_FLOAT64: u64 = 1 << 53;
/// Small ints have 30 bits; times such a factor they still have less than 53.
const EXACT_FACTOR: i64 = 1 << 23;

/// Writes one list or array, times `factor`, to the head of `out`.
fn write_piece(
    piece: &Bound<'_, PyAny>,
    factor: i64,
    out: &mut [i64],
    known: Option<Known<'_>>,
) -> Result<Option<Written>> {
    if let Some(items) = list_items(piece.as_borrowed()) {
        return Ok(write_ints(piece.py(), items, factor, out, known));
    }
    write_array(piece, factor, out)
}

#[inline]
fn write_ints(
    py: Python<'_>,
    items: Items<'_>,
    factor: i64,
    out: &mut [i64],
    known: Option<Known<'_>>,
) -> Option<Written> {
    let count = items.len();
    let out = out.get_mut(..count)?;
    let mut are_small = true;
    let mut next = 0;
    loop {
        let known = known.map(|known| known.tail(next));
        next += write_small_ints(items.tail(next), &mut out[next..], known);
        if next == count {
            break;
        }
        out[next] = int(items.get(py, next)?)?;
        are_small = false;
        next += 1;
    }
    multiply(out, factor);
    let exact_in_float64 = (are_small && factor <= EXACT_FACTOR) || are_exact(out);
    Some(Written { count, are_small, exact_in_float64 })
}

fn write_array(array: &Bound<'_, PyAny>, factor: i64, out: &mut [i64]) -> Result<Option<Written>> {
    let py = array.py();
    if !ndarray(py)?.is_some_and(|ndarray| array.get_type().is(&ndarray)) {
        return Ok(None);
    }
    let dtype = array.getattr(intern!(py, "dtype"))?;
    let dimensions: usize = array.getattr(intern!(py, "ndim"))?.extract()?;
    let kind = dtype.getattr(intern!(py, "kind"))?;
    let is_integer = kind.eq("i")? || kind.eq("u")?;
    if dimensions != 1 || !is_integer || !dtype.getattr(intern!(py, "isnative"))?.is_truthy()? {
        return Ok(None);
    }
    let buffer = IntegerBuffer::new(Place::argument("rows"), array.as_borrowed())?;
    let mut scratch = Scratch::default();
    let Some(integers) = buffer.row(0, &mut scratch) else {
        return Ok(None);
    };
    // NumPy multiplies in the array's own type, and joins uint64 to others as floats.
    let is_wide = matches!(integers, Integers::I64(_));
    if matches!(integers, Integers::U64(_)) || (factor != 1 && !is_wide) {
        return Ok(None);
    }
    let Some(out) = out.get_mut(..integers.len()) else {
        return Ok(None);
    };
    if integers.widen(out).is_err() {
        return Ok(None);
    }
    multiply(out, factor);
    let exact_in_float64 = !is_wide || are_exact(out);
    Ok(Some(Written { count: integers.len(), are_small: false, exact_in_float64 }))
}

fn multiply(values: &mut [i64], factor: i64) {
    if factor != 1 {
        values.iter_mut().for_each(|value| *value = value.wrapping_mul(factor));
    }
}

fn are_exact(values: &[i64]) -> bool {
    values.iter().fold(true, |all, &value| all & (value.unsigned_abs() <= EXACT_IN_FLOAT64))
}

/// The items of an exact list.
#[inline(always)]
fn list_items<'a>(object: Borrowed<'a, '_, PyAny>) -> Option<Items<'a>> {
    if object.is_exact_instance_of::<PyList>() { Items::of(object) } else { None }
}

/// The value of an exact int, where it fits.
#[inline]
fn int(object: Borrowed<'_, '_, PyAny>) -> Option<i64> {
    small_int(object).or_else(|| object.cast_exact::<PyInt>().ok()?.extract().ok())
}
