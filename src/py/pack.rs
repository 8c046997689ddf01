//! `pack_sequences` and `concatenate_and_pack`.

use kernels::pack::{PackedRow, plan};
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::PyDict;

use crate::error::{Error, Place, Result};
use crate::py::arguments::{Output, check_memory, size};
use crate::py::arrays::Target;
use crate::py::fastcall::Arguments;
use crate::py::list_emitter::{GcPause, Items, NewList};
use crate::py::rows::{Now, TokenRows, int64};

/// `[eos, pad]` after every sequence.
pub const ENDS: usize = 2;

/// `pack_sequences(sequences, max_length, pad_token_id, eos_token_id, label_pad_id=-100, *,
/// output="lists")`
pub fn pack_sequences<'py>(
    py: Python<'py>,
    arguments: &Arguments<'_, 'py>,
) -> Result<Bound<'py, PyAny>> {
    const NAME: &str = "sequences";
    let output = Output::new(arguments.optional(5))?;
    let max_length = size("max_length", arguments.required(1), 1)?;
    let rows = TokenRows::new(NAME, arguments.required(0))?;
    let plan = plan(rows.lengths(py), ENDS, max_length)
        .map_err(|error| Error::from_pack(NAME, ENDS, error))?;
    let (pad, eos) = (arguments.required(2), arguments.required(3));
    let default_label_pad;
    let label_pad = match arguments.optional(4) {
        Some(value) => value,
        None => {
            default_label_pad = label_pad_default(py)?;
            default_label_pad.as_borrowed()
        }
    };
    if output == Output::Lists {
        check_memory(py, plan.len(), max_length)?;
        return pack_lists(py, &rows, &plan, max_length, pad, eos, label_pad)
            .map_err(|error| error.in_table(py, plan.len(), max_length));
    }
    let mut ids = Target::new(py, output, plan.len(), max_length)?;
    let mut labels = Target::new(py, output, plan.len(), max_length)?;
    let mut mask = Target::new(py, output, plan.len(), max_length)?;
    let pad = int64(Place::argument("pad_token_id"), &pad)?;
    let eos = int64(Place::argument("eos_token_id"), &eos)?;
    let label_pad = int64(Place::argument("label_pad_id"), &label_pad)?;
    let mut first = 0;
    for (((packed, ids), labels), mask) in plan
        .iter()
        .zip(ids.elements().chunks_exact_mut(max_length))
        .zip(labels.elements().chunks_exact_mut(max_length))
        .zip(mask.elements().chunks_exact_mut(max_length))
    {
        let mut used = 0;
        for i in first..packed.end {
            let end = used + rows.length(py, i)?;
            // What Python code in the rows changed since the plan may not fit any more.
            if end + ENDS > max_length {
                return Err(Error::Changed { place: Place::row(NAME, i) });
            }
            rows.write(py, i, &mut ids[used..end])?;
            labels[used..end].copy_from_slice(&ids[used..end]);
            mask[used..=end].fill(1);
            ids[end..end + ENDS].copy_from_slice(&[eos, pad]);
            labels[end..end + ENDS].copy_from_slice(&[eos, label_pad]);
            mask[end + 1] = 0;
            used = end + ENDS;
        }
        ids[used..].fill(pad);
        labels[used..].fill(label_pad);
        mask[used..].fill(0);
        first = packed.end;
    }
    columns(py, ids.finish()?, labels.finish()?, mask.finish()?)
}

fn pack_lists<'py>(
    py: Python<'py>,
    rows: &TokenRows<'py>,
    plan: &[PackedRow],
    max_length: usize,
    pad: Borrowed<'_, 'py, PyAny>,
    eos: Borrowed<'_, 'py, PyAny>,
    label_pad: Borrowed<'_, 'py, PyAny>,
) -> Result<Bound<'py, PyAny>> {
    let mut packing = Packing::new(py, rows, plan.len(), max_length, [pad, eos, label_pad])?;
    for packed in plan {
        packing.pack(packed)?;
    }
    packing.finish()
}

/// Rows on their way into packed lists, one planned row at a time.
pub struct Packing<'a, 'py> {
    py: Python<'py>,
    rows: &'a TokenRows<'py>,
    now: Now<'a, 'py>,
    /// Sequences packed so far.
    pub done: usize,
    max_length: usize,
    pad: Borrowed<'a, 'py, PyAny>,
    eos: Borrowed<'a, 'py, PyAny>,
    label_pad: Borrowed<'a, 'py, PyAny>,
    one: Bound<'py, PyAny>,
    zero: Bound<'py, PyAny>,
    ids: NewList<'py>,
    labels: NewList<'py>,
    mask: NewList<'py>,
    pause: GcPause<'py>,
}

impl<'a, 'py> Packing<'a, 'py> {
    /// `count` is that of planned rows; then: what ids are padded with, what ends a sequence, and what
    /// labels are padded with.
    #[inline(always)]
    pub fn new(
        py: Python<'py>,
        rows: &'a TokenRows<'py>,
        count: usize,
        max_length: usize,
        [pad, eos, label_pad]: [Borrowed<'a, 'py, PyAny>; 3],
    ) -> Result<Self> {
        Ok(Packing {
            py,
            rows,
            now: rows.now(py),
            done: 0,
            max_length,
            pad,
            eos,
            label_pad,
            one: 1u8.into_pyobject(py).map_err(PyErr::from)?.into_any(),
            zero: 0u8.into_pyobject(py).map_err(PyErr::from)?.into_any(),
            pause: GcPause::new(py),
            ids: NewList::with_capacity(py, count)?,
            labels: NewList::with_capacity(py, count)?,
            mask: NewList::with_capacity(py, count)?,
        })
    }

    #[inline(always)]
    pub fn pack(&mut self, packed: &PackedRow) -> Result<()> {
        let (pad, eos, label_pad) = (self.pad, self.eos, self.label_pad);
        let (one, zero) = (self.one.as_borrowed(), self.zero.as_borrowed());
        let mut ids = NewList::with_capacity(self.py, self.max_length)?;
        let mut labels = NewList::with_capacity(self.py, self.max_length)?;
        let mut mask = NewList::with_capacity(self.py, self.max_length)?;
        for i in self.done..packed.end {
            let (length, objects) = self.now.next().unwrap_or_default();
            match objects {
                Some(objects) => NewList::extend_both(&mut ids, &mut labels, objects),
                None => self.rows.append_both(self.py, i, length, &mut ids, &mut labels)?,
            }
            ids.repeat(eos, 1);
            ids.repeat(pad, 1);
            labels.repeat(eos, 1);
            labels.repeat(label_pad, 1);
            mask.repeat(one, length + 1);
            mask.repeat(zero, 1);
        }
        let rest = self.max_length - packed.used;
        ids.repeat(pad, rest);
        labels.repeat(label_pad, rest);
        mask.repeat(zero, rest);
        self.ids.push(ids.finish());
        self.labels.push(labels.finish());
        self.mask.push(mask.finish());
        self.done = packed.end;
        Ok(())
    }

    /// The columns of all rows packed so far.
    pub fn finish(self) -> Result<Bound<'py, PyAny>> {
        let (ids, labels, mask) = (self.ids.finish(), self.labels.finish(), self.mask.finish());
        drop(self.pause);
        columns(self.py, ids, labels, mask)
    }
}

/// `concatenate_and_pack(input_ids, labels, attention_masks, max_length, pad_token_id,
/// label_pad_id=-100, *, output="lists")`
pub fn concatenate_and_pack<'py>(
    py: Python<'py>,
    arguments: &Arguments<'_, 'py>,
) -> Result<Bound<'py, PyAny>> {
    let output = Output::new(arguments.optional(6))?;
    let max_length = size("max_length", arguments.required(3), 1)?;
    let ids = TokenRows::new("input_ids", arguments.required(0))?;
    let labels = TokenRows::new("labels", arguments.required(1))?;
    let masks = TokenRows::new("attention_masks", arguments.required(2))?;
    check_column(py, &ids, &labels)?;
    check_column(py, &ids, &masks)?;
    let plan = plan(ids.lengths(py), 0, max_length)
        .map_err(|error| Error::from_pack("input_ids", 0, error))?;
    let pad = arguments.required(4);
    let default_label_pad;
    let label_pad = match arguments.optional(5) {
        Some(value) => value,
        None => {
            default_label_pad = label_pad_default(py)?;
            default_label_pad.as_borrowed()
        }
    };
    if output == Output::Lists {
        check_memory(py, plan.len(), max_length)?;
        return concatenated_lists(py, [&ids, &labels, &masks], &plan, max_length, pad, label_pad)
            .map_err(|error| error.in_table(py, plan.len(), max_length));
    }
    let mut ids_target = Target::new(py, output, plan.len(), max_length)?;
    let mut labels_target = Target::new(py, output, plan.len(), max_length)?;
    let mut masks_target = Target::new(py, output, plan.len(), max_length)?;
    let pad = int64(Place::argument("pad_token_id"), &pad)?;
    let label_pad = int64(Place::argument("label_pad_id"), &label_pad)?;
    concatenated_array(py, &ids, &plan, max_length, pad, ids_target.elements())?;
    concatenated_array(py, &labels, &plan, max_length, label_pad, labels_target.elements())?;
    concatenated_array(py, &masks, &plan, max_length, 0, masks_target.elements())?;
    columns(py, ids_target.finish()?, labels_target.finish()?, masks_target.finish()?)
}

fn check_column<'py>(py: Python<'py>, ids: &TokenRows<'py>, column: &TokenRows<'py>) -> Result<()> {
    let name = column.name;
    if column.len() != ids.len() {
        return Err(Error::ColumnRows { name, found: column.len(), expected: ids.len() });
    }
    let mut lengths = column.lengths(py).zip(ids.lengths(py)).enumerate();
    match lengths.find(|(_, (found, expected))| found != expected) {
        None => Ok(()),
        Some((row, (found, expected))) => Err(Error::ColumnLength { name, row, found, expected }),
    }
}

fn concatenated_lists<'py>(
    py: Python<'py>,
    [ids, labels, masks]: [&TokenRows<'py>; 3],
    plan: &[PackedRow],
    max_length: usize,
    pad: Borrowed<'_, 'py, PyAny>,
    label_pad: Borrowed<'_, 'py, PyAny>,
) -> Result<Bound<'py, PyAny>> {
    let zero = 0u8.into_pyobject(py).map_err(PyErr::from)?.into_any();
    let pause = GcPause::new(py);
    let mut ids = ListColumn::new(py, ids, pad, plan.len())?;
    let mut labels = ListColumn::new(py, labels, label_pad, plan.len())?;
    let mut masks = ListColumn::new(py, masks, zero.as_borrowed(), plan.len())?;
    let mut first = 0;
    // Row by row, not column by column: what one column brings into the cache, the next finds there.
    for packed in plan {
        let mut ids_row = NewList::with_capacity(py, max_length)?;
        let mut labels_row = NewList::with_capacity(py, max_length)?;
        let mut masks_row = NewList::with_capacity(py, max_length)?;
        for i in first..packed.end {
            match (ids.next(), labels.next()) {
                ((_, Some(some)), (_, Some(others))) if some.len() == others.len() => {
                    NewList::extend_pair(&mut ids_row, some, &mut labels_row, others);
                }
                (one, other) => {
                    ids.append(py, i, one, &mut ids_row)?;
                    labels.append(py, i, other, &mut labels_row)?;
                }
            }
            let mask = masks.next();
            masks.append(py, i, mask, &mut masks_row)?;
        }
        ids.push(ids_row, max_length);
        labels.push(labels_row, max_length);
        masks.push(masks_row, max_length);
        first = packed.end;
    }
    let (ids, labels, masks) = (ids.packed.finish(), labels.packed.finish(), masks.packed.finish());
    drop(pause);
    columns(py, ids, labels, masks)
}

/// One column on its way into packed lists.
struct ListColumn<'a, 'py> {
    rows: &'a TokenRows<'py>,
    now: Now<'a, 'py>,
    pad: Borrowed<'a, 'py, PyAny>,
    packed: NewList<'py>,
}

impl<'a, 'py> ListColumn<'a, 'py> {
    fn new(
        py: Python<'py>,
        rows: &'a TokenRows<'py>,
        pad: Borrowed<'a, 'py, PyAny>,
        count: usize,
    ) -> Result<Self> {
        Ok(ListColumn { rows, now: rows.now(py), pad, packed: NewList::with_capacity(py, count)? })
    }

    /// The next sequence: its length, and its objects where it is made of any.
    #[inline(always)]
    fn next(&mut self) -> (usize, Option<Items<'a>>) {
        self.now.next().unwrap_or_default()
    }

    /// Appends sequence `i`, which `next` gave, to a row.
    #[inline(always)]
    fn append(
        &self,
        py: Python<'py>,
        i: usize,
        sequence: (usize, Option<Items<'a>>),
        row: &mut NewList<'py>,
    ) -> Result<()> {
        match sequence {
            (_, Some(objects)) => row.extend(objects),
            (length, None) => self.rows.append(py, i, length, row)?,
        }
        Ok(())
    }

    /// Fills a row up and appends it to the column.
    #[inline(always)]
    fn push(&mut self, mut row: NewList<'py>, max_length: usize) {
        row.repeat(self.pad, max_length - row.len());
        self.packed.push(row.finish());
    }
}

fn concatenated_array<'py>(
    py: Python<'py>,
    rows: &TokenRows<'py>,
    plan: &[PackedRow],
    max_length: usize,
    pad: i64,
    elements: &mut [i64],
) -> Result<()> {
    let mut first = 0;
    for (packed, out) in plan.iter().zip(elements.chunks_exact_mut(max_length)) {
        let mut used = 0;
        for i in first..packed.end {
            let end = used + rows.length(py, i)?;
            let changed = Error::Changed { place: Place::row(rows.name, i) };
            rows.write(py, i, out.get_mut(used..end).ok_or(changed)?)?;
            used = end;
        }
        out[used..].fill(pad);
        first = packed.end;
    }
    Ok(())
}

fn columns<'py>(
    py: Python<'py>,
    ids: Bound<'py, PyAny>,
    labels: Bound<'py, PyAny>,
    mask: Bound<'py, PyAny>,
) -> Result<Bound<'py, PyAny>> {
    let columns = PyDict::new(py);
    columns.set_item(intern!(py, "input_ids"), ids)?;
    columns.set_item(intern!(py, "labels"), labels)?;
    columns.set_item(intern!(py, "attention_mask"), mask)?;
    Ok(columns.into_any())
}

pub fn label_pad_default(py: Python<'_>) -> Result<Bound<'_, PyAny>> {
    Ok((-100i64).into_pyobject(py).map_err(PyErr::from)?.into_any())
}
