//! `pack_sequences` and `concatenate_and_pack`.

use kernels::pack::{PackedRow, plan};
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::PyDict;

use crate::error::{Error, Place, Result};
use crate::py::arguments::{Output, check_memory, size};
use crate::py::arrays::Target;
use crate::py::fastcall::Arguments;
use crate::py::list_emitter::{Emission, GcPause, Items, NewList, emit};
use crate::py::rows::{Lengths, Now, TokenRows, int64};

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
    let (rows, plan) =
        TokenRows::planned(NAME, arguments.required(0), |lengths| plan(lengths, ENDS, max_length))?;
    let plan = plan.map_err(|error| Error::from_pack(NAME, ENDS, error))?;
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
        check_memory(plan.len(), max_length)?;
        let tokens = [pad, eos, label_pad];
        return emit(Packed { py, rows: &rows, plan: &plan, max_length, tokens })
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
    columns_of(py, ids.finish()?, labels.finish()?, mask.finish()?)
}

/// Rows as packed lists; `tokens` are those of `Packing`.
struct Packed<'a, 'py> {
    py: Python<'py>,
    rows: &'a TokenRows<'py>,
    plan: &'a [PackedRow],
    max_length: usize,
    tokens: [Borrowed<'a, 'py, PyAny>; 3],
}

impl<'py> Emission for Packed<'_, 'py> {
    type Output = Result<Bound<'py, PyAny>>;

    #[inline(always)]
    fn run(self) -> Self::Output {
        let Packed { py, rows, plan, max_length, tokens } = self;
        let mut packing = Packing::new(py, rows, plan.len(), max_length, tokens)?;
        for packed in plan {
            packing.pack(packed)?;
        }
        packing.finish()
    }
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
            self.now.prefetch();
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
        columns_of(self.py, ids, labels, mask)
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
    let columns = [0, 1, 2].map(|i| arguments.required(i));
    let pad = arguments.required(4);
    let default_label_pad;
    let label_pad = match arguments.optional(5) {
        Some(value) => value,
        None => {
            default_label_pad = label_pad_default(py)?;
            default_label_pad.as_borrowed()
        }
    };
    if output == Output::Lists
        && let Some(packed) = concatenated_lists(py, columns, max_length, pad, label_pad)?
    {
        return Ok(packed);
    }
    let ids = TokenRows::new("input_ids", columns[0])?;
    let labels = TokenRows::new("labels", columns[1])?;
    let masks = TokenRows::new("attention_masks", columns[2])?;
    check_column(py, &ids, &labels)?;
    check_column(py, &ids, &masks)?;
    let plan = plan(ids.lengths(py), 0, max_length)
        .map_err(|error| Error::from_pack("input_ids", 0, error))?;
    if output == Output::Lists {
        check_memory(plan.len(), max_length)?;
        let zero = 0u8.into_pyobject(py).map_err(PyErr::from)?.into_any();
        let pause = GcPause::new(py);
        let column = |rows, pad| {
            concatenated_list(py, rows, &plan, max_length, pad)
                .map_err(|error| error.in_table(py, plan.len(), max_length))
        };
        let ids = column(&ids, pad)?;
        let labels = column(&labels, label_pad)?;
        let masks = column(&masks, zero.as_borrowed())?;
        drop(pause);
        return columns_of(py, ids, labels, masks);
    }
    let mut ids_target = Target::new(py, output, plan.len(), max_length)?;
    let mut labels_target = Target::new(py, output, plan.len(), max_length)?;
    let mut masks_target = Target::new(py, output, plan.len(), max_length)?;
    let pad = int64(Place::argument("pad_token_id"), &pad)?;
    let label_pad = int64(Place::argument("label_pad_id"), &label_pad)?;
    concatenated_array(py, &ids, &plan, max_length, pad, ids_target.elements())?;
    concatenated_array(py, &labels, &plan, max_length, label_pad, labels_target.elements())?;
    concatenated_array(py, &masks, &plan, max_length, 0, masks_target.elements())?;
    columns_of(py, ids_target.finish()?, labels_target.finish()?, masks_target.finish()?)
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

/// Exact lists and tuples as packed lists, in one look at labels and masks; None where a row is something
/// else, of another length than its ids or longer than `max_length`, or memory does not suffice: who asked
/// says what is wrong then.
fn concatenated_lists<'py>(
    py: Python<'py>,
    columns: [Borrowed<'_, 'py, PyAny>; 3],
    max_length: usize,
    pad: Borrowed<'_, 'py, PyAny>,
    label_pad: Borrowed<'_, 'py, PyAny>,
) -> Result<Option<Bound<'py, PyAny>>> {
    let [Some(ids), Some(labels), Some(masks)] = columns.map(Items::of) else {
        return Ok(None);
    };
    if labels.len() != ids.len() || masks.len() != ids.len() {
        return Ok(None);
    }
    let mut lengths = Lengths::of_lists(py, ids);
    let Ok(plan) = plan(&mut lengths, 0, max_length) else {
        return Ok(None);
    };
    if !lengths.are_all_seen() || check_memory(plan.len(), max_length).is_err() {
        return Ok(None);
    }
    let zero = 0u8.into_pyobject(py).map_err(PyErr::from)?.into_any();
    let pads = [pad, label_pad, zero.as_borrowed()];
    let columns = [ids, labels, masks];
    match emit(Concatenated { py, columns, plan: &plan, max_length, pads }) {
        Some([ids, labels, masks]) => columns_of(py, ids, labels, masks).map(Some),
        None => Ok(None),
    }
}

/// Three columns of lists and tuples, and what each is filled up with.
struct Concatenated<'a, 'py> {
    py: Python<'py>,
    columns: [Items<'a>; 3],
    plan: &'a [PackedRow],
    max_length: usize,
    pads: [Borrowed<'a, 'py, PyAny>; 3],
}

impl<'py> Emission for Concatenated<'_, 'py> {
    type Output = Option<[Bound<'py, PyAny>; 3]>;

    #[inline(always)]
    fn run(self) -> Self::Output {
        let Concatenated { py, columns, plan, max_length, pads } = self;
        let _pause = GcPause::new(py);
        let with_capacity = |capacity| NewList::with_capacity(py, capacity).ok();
        let mut ids_column = with_capacity(plan.len())?;
        let mut labels_column = with_capacity(plan.len())?;
        let mut masks_column = with_capacity(plan.len())?;
        let sequence = |i| {
            let [ids, labels, mask] = columns.map(|column| column.get(py, i).and_then(Items::of));
            let (ids, labels, mask) = (ids?, labels?, mask?);
            let same = labels.len() == ids.len() && mask.len() == ids.len();
            same.then_some([ids, labels, mask])
        };
        let mut first = 0;
        // Row by row, not column by column: what one column brings into the cache, the next finds there.
        for packed in plan {
            let mut ids_row = with_capacity(max_length)?;
            let mut labels_row = with_capacity(max_length)?;
            let mut masks_row = with_capacity(max_length)?;
            for i in first..packed.end {
                for column in &columns {
                    column.prefetch(py, i + 1);
                }
                let [ids, labels, mask] = sequence(i)?;
                NewList::extend_pair(&mut ids_row, ids, &mut labels_row, labels);
                masks_row.extend(mask);
            }
            ids_row.repeat(pads[0], max_length - ids_row.len());
            labels_row.repeat(pads[1], max_length - labels_row.len());
            masks_row.repeat(pads[2], max_length - masks_row.len());
            ids_column.push(ids_row.finish());
            labels_column.push(labels_row.finish());
            masks_column.push(masks_row.finish());
            first = packed.end;
        }
        // Empty sequences at the end are in no row, and have to be of one length all the same.
        if !(first..columns[0].len()).all(|i| sequence(i).is_some()) {
            return None;
        }
        Some([ids_column.finish(), labels_column.finish(), masks_column.finish()])
    }
}

/// One column of rows of any kind as packed lists.
fn concatenated_list<'py>(
    py: Python<'py>,
    rows: &TokenRows<'py>,
    plan: &[PackedRow],
    max_length: usize,
    pad: Borrowed<'_, 'py, PyAny>,
) -> Result<Bound<'py, PyAny>> {
    let mut column = NewList::with_capacity(py, plan.len())?;
    let mut lengths = rows.lengths(py);
    let mut first = 0;
    for packed in plan {
        let mut row = NewList::with_capacity(py, max_length)?;
        for (i, length) in (first..packed.end).zip(&mut lengths) {
            rows.append(py, i, length, &mut row)?;
        }
        row.repeat(pad, max_length - row.len());
        column.push(row.finish());
        first = packed.end;
    }
    Ok(column.finish())
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

fn columns_of<'py>(
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
