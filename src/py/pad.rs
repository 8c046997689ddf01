//! `pad_sequences` and `create_padding_mask`.

use kernels::pad::{Request, plan};
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::PyString;

use crate::error::Place;
use crate::error::{Error, Result};
use crate::py::arguments::{Output, check_memory, index, optional_size, shown};
use crate::py::arrays::Target;
use crate::py::fastcall::Arguments;
use crate::py::list_emitter::{Emission, GcPause, Items, NewList, emit, padded};
use crate::py::rows::{Lengths, TokenRows, int64};

const NAME: &str = "sequences";

/// `pad_sequences(sequences, target_length=None, pad_value=0, padding_side="right",
/// pad_to_multiple_of=None, *, truncate=False, output="lists")`
pub fn pad_sequences<'py>(
    py: Python<'py>,
    arguments: &Arguments<'_, 'py>,
) -> Result<Bound<'py, PyAny>> {
    let right = match arguments.optional(3) {
        None => true,
        Some(side) => is_right(side)?,
    };
    let output = Output::new(arguments.optional(6))?;
    let target = optional_size("target_length", arguments.optional(1))?;
    let multiple = optional_size("pad_to_multiple_of", arguments.optional(4))?.unwrap_or(0);
    let truncate = arguments.optional(5).map_or(Ok(false), |truncate| truncate.is_truthy())?;
    let zero;
    let pad_value = match arguments.optional(2) {
        Some(value) => value,
        None => {
            zero = 0i64.into_pyobject(py).map_err(PyErr::from)?.into_any();
            zero.as_borrowed()
        }
    };
    let request = Request { target, multiple, truncate };
    let all_padded = |lists: Items<'_>, width: usize| {
        let longest = if truncate { usize::MAX } else { width };
        emit(Padded { py, lists, longest, width, pad_value, right })
    };
    // With a width that is given, rows are looked at as they are written: a look at all of them before
    // that would wait once more for what thousands of rows have in memory.
    if output == Output::Lists
        && let Some(width) = request.given_width()
        && let Some(lists) = Items::of(arguments.required(0))
        && check_memory(lists.len(), width).is_ok()
        && let Some(table) = all_padded(lists, width)
    {
        return Ok(table);
    }
    let longest = |lengths: &mut Lengths<'_, 'py>| lengths.max().unwrap_or(0);
    let (rows, longest) = TokenRows::planned(NAME, arguments.required(0), longest)?;
    let width =
        plan(longest, rows.lengths(py), request).map_err(|error| Error::from_pad(NAME, error))?;
    if output == Output::Lists {
        check_memory(rows.len(), width)?;
        if let Some(table) = rows.lists().and_then(|lists| all_padded(lists, width)) {
            return Ok(table);
        }
        return pad_each(py, &rows, width, pad_value, right)
            .map_err(|error| error.in_table(py, rows.len(), width));
    }
    let mut target = Target::new(py, output, rows.len(), width)?;
    let pad = int64(Place::argument("pad_value"), &pad_value)?;
    if width > 0 {
        for (i, out) in target.elements().chunks_exact_mut(width).enumerate() {
            let length = rows.length(py, i)?.min(width);
            let (tokens, padding) = if right {
                out.split_at_mut(length)
            } else {
                let (padding, tokens) = out.split_at_mut(width - length);
                (tokens, padding)
            };
            rows.write(py, i, tokens)?;
            padding.fill(pad);
        }
    }
    target.finish()
}

/// Exact lists and tuples as lists of one width; None where a row is something else or longer than
/// `longest`, or memory does not suffice: who asked says what is wrong then.
struct Padded<'a, 'py> {
    py: Python<'py>,
    lists: Items<'a>,
    longest: usize,
    width: usize,
    pad_value: Borrowed<'a, 'py, PyAny>,
    right: bool,
}

impl<'py> Emission for Padded<'_, 'py> {
    type Output = Option<Bound<'py, PyAny>>;

    #[inline(always)]
    fn run(self) -> Self::Output {
        let Padded { py, lists, longest, width, pad_value, right } = self;
        let _pause = GcPause::new(py);
        let mut table = NewList::with_capacity(py, lists.len()).ok()?;
        for (i, row) in lists.of_each(py).enumerate() {
            lists.prefetch(py, i + 1);
            let row = row.filter(|row| row.len() <= longest)?;
            table.push(padded(py, row, pad_value, width, right, room(i, width)).ok()?);
        }
        Some(table.finish())
    }
}

/// Rows of any kind as lists of one width.
fn pad_each<'py>(
    py: Python<'py>,
    rows: &TokenRows<'py>,
    width: usize,
    pad_value: Borrowed<'_, 'py, PyAny>,
    right: bool,
) -> Result<Bound<'py, PyAny>> {
    let _pause = GcPause::new(py);
    let mut table = NewList::with_capacity(py, rows.len())?;
    for (i, length) in rows.lengths(py).enumerate() {
        let length = length.min(width);
        let mut row = NewList::with_capacity(py, width)?;
        if !right {
            row.repeat(pad_value, width - length);
        }
        rows.append(py, i, length, &mut row)?;
        if right {
            row.repeat(pad_value, width - length);
        }
        table.push(row.finish());
    }
    Ok(table.finish())
}

/// How many items row `i` is given room for beyond its `width`.
///
/// glibc keeps seven freed blocks of a size at hand for a thread, up to 1,032 bytes; from the eighth on,
/// getting and freeing one takes several times as long. So the rows of a small batch, where the interpreter
/// leaves their memory to `malloc` (over 512 bytes), are of up to three sizes.
#[inline(always)]
fn room(i: usize, width: usize) -> usize {
    const AT_HAND: usize = 7;
    const SIZES: usize = 3;
    let is_kept = cfg!(target_env = "gnu") && width > 64 && width < 124;
    if is_kept && i < AT_HAND * SIZES { i / AT_HAND * 2 } else { 0 }
}

fn is_right(side: Borrowed<'_, '_, PyAny>) -> Result<bool> {
    if side.is(intern!(side.py(), "right")) {
        return Ok(true);
    }
    let text = side.cast::<PyString>().ok();
    match text.as_ref().and_then(|text| text.to_str().ok()) {
        Some("right") => Ok(true),
        Some("left") => Ok(false),
        _ => Err(Error::PaddingSide),
    }
}

/// `create_padding_mask(current_length, target_length)`
pub fn create_padding_mask<'py>(
    py: Python<'py>,
    arguments: &Arguments<'_, 'py>,
) -> Result<Bound<'py, PyAny>> {
    let target = index("target_length", arguments.required(1))?;
    let current = index("current_length", arguments.required(0))?;
    let missing = target.sub(current)?;
    let missing = match missing.extract::<isize>().ok() {
        Some(missing) => usize::try_from(missing).unwrap_or(0),
        None if missing.gt(0)? => {
            let name = "target_length - current_length";
            return Err(Error::TooLarge { name, found: shown(&missing)? });
        }
        None => 0,
    };
    check_memory(1, missing)?;
    let mut positions =
        NewList::with_capacity(py, missing).map_err(|error| error.in_table(py, 1, missing))?;
    for position in 0..missing {
        positions.push(position.into_pyobject(py).map_err(PyErr::from)?.into_any());
    }
    Ok(positions.finish())
}
