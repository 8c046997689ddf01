//! First-fit and next-fit into bins, as lists of the places of sequences.

use kernels::integers::Integers;
use kernels::multipack::{self, Bins, Limits};
use kernels::with_integers;
use pyo3::prelude::*;
use pyo3::types::{PyBool, PyList, PyTuple};

use crate::error::{Error, Place, Result};
use crate::py::dispatch::in_a_block;
use crate::py::integer_buffer::{IntegerBuffer, Scratch, plain_row};
use crate::py::list_emitter::{GcPause, Items, NewList};
use crate::py::places::Places;
use crate::py::small_ints::small_int;

/// From so many sequences on, other threads may run meanwhile.
const LONG: usize = 1000;
/// Up to so many lengths no memory is asked for to look whether they fit.
const FEW: usize = 128;

/// Return the bins of each group of `group_size` lengths, one group after the other: lists of the
/// places of the lengths, plus `offset`.
#[pyfunction]
pub fn multipack_pack<'py>(
    lengths: &Bound<'py, PyAny>,
    capacity: i64,
    group_size: usize,
    per_bin: i64,
    max_bins: usize,
    offset: i64,
) -> Result<Bound<'py, PyAny>> {
    let limits = Limits { capacity, per_bin, bins: max_bins };
    bins_of_groups(lengths.py(), &sizes_of(lengths)?, group_size, limits, offset)
}

fn bins_of_groups<'py>(
    py: Python<'py>,
    sizes: &Sizes,
    group_size: usize,
    limits: Limits,
    offset: i64,
) -> Result<Bound<'py, PyAny>> {
    let groups = first_fit_groups(py, sizes, group_size, limits);
    let places = Places::new(py, sizes.len().saturating_add(offset.max(0) as usize))?;
    let _pause = GcPause::new(py);
    let mut all = NewList::with_capacity(py, bins_in(&groups))?;
    let mut first = offset;
    for (group, bins) in sizes.groups(group_size).zip(&groups) {
        let members = bins.members();
        let mut members = members.iter();
        for &count in &bins.counts {
            let mut bin = NewList::with_capacity(py, count as usize)?;
            for &member in members.by_ref().take(count as usize) {
                places.push(&mut bin, first.wrapping_add(i64::from(member)))?;
            }
            all.push(bin.finish());
        }
        first = first.wrapping_add(group as i64);
    }
    Ok(all.finish())
}

/// Return whether first-fit in descending order needs no more than `bins` bins of `capacity`.
#[pyfunction]
pub fn multipack_fits(lengths: &Bound<'_, PyAny>, capacity: i64, bins: usize) -> Result<bool> {
    let mut scratch = Scratch::default();
    let buffer = buffer_of(lengths)?;
    let row = row_of(&buffer, &mut scratch)?;
    // What is left of a bin has the type of the lengths.
    let wrap: fn(i64) -> i64 = match row {
        Integers::I32(_) => |room| i64::from(room as i32),
        _ => |room| room,
    };
    let sizes = wide(row);
    let py = lengths.py();
    if sizes.len() < LONG {
        return Ok(multipack::fits(&sizes, capacity, bins, wrap));
    }
    Ok(py.detach(|| multipack::fits(&sizes, capacity, bins, wrap)))
}

/// Return the bins that next-fit makes of the lengths in their order, every `ranks`-th from `rank` on,
/// the sum of all lengths, and the number of all bins.
#[pyfunction]
pub fn multipack_sequential<'py>(
    lengths: &Bound<'py, PyAny>,
    rank: usize,
    capacity: i64,
    ranks: usize,
) -> Result<(Bound<'py, PyAny>, i64, usize)> {
    bins_in_order(lengths.py(), &next_fit(&sizes_of(lengths)?, capacity), rank, ranks)
}

fn bins_in_order<'py>(
    py: Python<'py>,
    packed: &multipack::Sequential,
    rank: usize,
    ranks: usize,
) -> Result<(Bound<'py, PyAny>, i64, usize)> {
    let ends = &packed.ends;
    let ours = (rank..ends.len()).step_by(ranks);
    let places = Places::new(py, ends.last().copied().unwrap_or_default())?;
    let _pause = GcPause::new(py);
    let mut all = NewList::with_capacity(py, ours.len())?;
    for i in ours {
        let first = if i == 0 { 0 } else { ends[i - 1] };
        let mut bin = NewList::with_capacity(py, ends[i] - first)?;
        places.extend(&mut bin, first, ends[i])?;
        all.push(bin.finish());
    }
    Ok((all.finish(), packed.used, ends.len()))
}

// Calls of Axolotl's functions by their positional arguments, for arrays and sizes as Axolotl has them:
// for short arrays, looking at the arguments in Python takes longer than packing. NotImplemented is
// returned for all others, before anything is done, and where a `dispatch_mode` block is open.

/// Answer `ffd_check(sequence_lengths, bin_capacity, num_bins)`.
#[pyfunction]
pub fn call_ffd_check<'py>(arguments: &Bound<'py, PyTuple>) -> Result<Bound<'py, PyAny>> {
    let py = arguments.py();
    let items = plain_arguments(arguments);
    let Some([lengths, capacity, bins]) = items.and_then(|items| taken(py, items)) else {
        return not_implemented(py);
    };
    let (Some(capacity), Some(bins)) = (size(capacity), size(bins)) else {
        return not_implemented(py);
    };
    let mut few = [0; FEW];
    let fit = match plain_row(lengths)? {
        Some(Integers::I32(sizes)) if sizes.len() <= FEW => {
            let few = &mut few[..sizes.len()];
            few.copy_from_slice(sizes);
            if few.iter().any(|size| !(0..i32::MAX).contains(size)) {
                return not_implemented(py);
            }
            multipack::fits_small(few, capacity, bins as usize)
        }
        _ => {
            let Some(mut sizes) = plain_sizes(lengths)? else {
                return not_implemented(py);
            };
            let is_short = sizes.len() < LONG;
            let mut fits = || multipack::fits_small(&mut sizes, capacity, bins as usize);
            if is_short { fits() } else { py.detach(fits) }
        }
    };
    Ok(PyBool::new(py, fit).to_owned().into_any())
}

/// Answer `pack_group(sequence_lengths, group_offset, bin_capacity, max_bins, bin_size, safe_mode=True)`.
#[pyfunction]
pub fn call_pack_group<'py>(arguments: &Bound<'py, PyTuple>) -> Result<Bound<'py, PyAny>> {
    let py = arguments.py();
    let Some(items) = plain_arguments(arguments) else {
        return not_implemented(py);
    };
    let is_safe = match items.get(py, 5) {
        None => true,
        Some(safe_mode) => match safe_mode.cast_exact::<PyBool>() {
            Ok(safe_mode) => safe_mode.is_true(),
            Err(_) => return not_implemented(py),
        },
    };
    let Some([lengths, offset, capacity, max_bins, per_bin]) = taken(py, items.head(5)) else {
        return not_implemented(py);
    };
    let (Some(offset), Some(capacity), Some(max_bins), Some(per_bin)) =
        (size(offset), size(capacity), size(max_bins), size(per_bin))
    else {
        return not_implemented(py);
    };
    if items.len() > 6 {
        return not_implemented(py);
    }
    let bins = if is_safe { max_bins as usize } else { usize::MAX };
    let limits = Limits { capacity, per_bin, bins };
    let short = match plain_row(lengths)? {
        Some(Integers::I32(sizes)) => multipack::first_fit_short(sizes, limits),
        Some(Integers::I64(sizes)) => multipack::first_fit_short(sizes, limits),
        _ => return not_implemented(py),
    };
    if let Some(short) = short {
        return short_bins(py, &short, offset);
    }
    let Some(sizes) = plain_sizes(lengths)? else {
        return not_implemented(py);
    };
    let sizes = Sizes::Small(sizes);
    bins_of_groups(py, &sizes, sizes.len(), limits, offset)
}

fn short_bins<'py>(
    py: Python<'py>,
    short: &multipack::ShortBins,
    offset: i64,
) -> Result<Bound<'py, PyAny>> {
    let places = Places::new(py, multipack::SHORT)?;
    let _pause = GcPause::new(py);
    let bins = short.bins();
    let mut all = NewList::with_capacity(py, bins.len())?;
    for members in bins {
        let mut bin = NewList::with_capacity(py, members.len())?;
        for &member in members {
            places.push(&mut bin, offset + i64::from(member))?;
        }
        all.push(bin.finish());
    }
    Ok(all.finish())
}

/// Answer `allocate_sequentially(sequence_lengths, rank, bin_capacity, num_ranks)`.
#[pyfunction]
pub fn call_allocate_sequentially<'py>(
    arguments: &Bound<'py, PyTuple>,
) -> Result<Bound<'py, PyAny>> {
    let py = arguments.py();
    let items = plain_arguments(arguments);
    let Some([lengths, rank, capacity, ranks]) = items.and_then(|items| taken(py, items)) else {
        return not_implemented(py);
    };
    let (Some(rank), Some(capacity), Some(ranks)) = (size(rank), size(capacity), size(ranks))
    else {
        return not_implemented(py);
    };
    let packed = match plain_row(lengths)? {
        Some(Integers::I32(sizes)) if ranks > 0 => multipack::next_fit(sizes, capacity),
        Some(Integers::I64(sizes)) if ranks > 0 => multipack::next_fit(sizes, capacity),
        _ => return not_implemented(py),
    };
    let (bins, used, count) = bins_in_order(py, &packed, rank as usize, ranks as usize)?;
    let answer = (bins, used, count as i64 * capacity).into_pyobject(py)?;
    Ok(answer.into_any())
}

fn plain_arguments<'a>(arguments: &'a Bound<'_, PyTuple>) -> Option<Items<'a>> {
    if in_a_block() { None } else { Items::of(arguments.as_any().as_borrowed()) }
}

fn not_implemented(py: Python<'_>) -> Result<Bound<'_, PyAny>> {
    Ok(py.NotImplemented().into_bound(py))
}

/// As many items as asked for; None where there are more or fewer.
#[inline(always)]
fn taken<'a, 'py, const N: usize>(
    py: Python<'py>,
    items: Items<'a>,
) -> Option<[Borrowed<'a, 'py, PyAny>; N]> {
    let first = items.get(py, 0)?;
    if items.len() != N {
        return None;
    }
    let mut found = [first; N];
    for (i, found) in found.iter_mut().enumerate() {
        *found = items.get(py, i)?;
    }
    Some(found)
}

/// An exact int of one digit from 0 up.
#[inline(always)]
fn size(value: Borrowed<'_, '_, PyAny>) -> Option<i64> {
    small_int(value).filter(|&value| value >= 0)
}

/// A copy of an array's lengths; None where they are not plain.
fn plain_sizes(lengths: Borrowed<'_, '_, PyAny>) -> Result<Option<Vec<i32>>> {
    Ok(match plain_row(lengths)? {
        Some(Integers::I32(sizes)) => narrow(sizes),
        Some(Integers::I64(sizes)) => narrow(sizes),
        _ => None,
    })
}

/// Return the batches that a batch sampler makes of `indices`: lists of `batch_size` bins, which hold
/// the very objects of `indices`; then the sum of their lengths and the number of all bins.
///
/// `per_bin` None packs by next-fit, in order. None where an index is no small int, or out of range.
#[pyfunction]
pub fn multipack_batches<'py>(
    indices: &Bound<'py, PyList>,
    lengths: &Bound<'py, PyAny>,
    capacity: i64,
    group_size: usize,
    per_bin: Option<i64>,
    batch_size: usize,
) -> Result<Option<(Bound<'py, PyAny>, i64, usize)>> {
    let py = indices.py();
    let Some(items) = Items::of(indices.as_any().as_borrowed()) else { return Ok(None) };
    let mut scratch = Scratch::default();
    let buffer = buffer_of(lengths)?;
    let Integers::I32(lengths) = row_of(&buffer, &mut scratch)? else { return Ok(None) };
    let Some(sizes) = gathered(py, items, lengths) else { return Ok(None) };
    let used = sizes.sum();
    // The lengths of the bins, and the places of their sequences one bin after the other.
    let (mut counts, mut members) = (Vec::new(), Vec::new());
    match per_bin {
        Some(per_bin) => {
            let limits = Limits { capacity, per_bin, bins: usize::MAX };
            let groups = first_fit_groups(py, &sizes, group_size, limits);
            for (i, bins) in groups.iter().enumerate() {
                counts.extend(bins.counts.iter().map(|&count| count as usize));
                members.extend(bins.members().iter().map(|&m| m as usize + i * group_size));
            }
        }
        None => {
            let mut first = 0;
            for end in next_fit(&sizes, capacity).ends {
                counts.push(end - first);
                first = end;
            }
            members.extend(0..first);
        }
    }
    // Read again: other threads ran meanwhile.
    let Some(items) = Items::of(indices.as_any().as_borrowed()) else { return Ok(None) };
    if items.len() != sizes.len() {
        return Err(Error::Changed { place: Place::argument("indices") });
    }
    let _pause = GcPause::new(py);
    let mut batches = NewList::with_capacity(py, counts.len().div_ceil(batch_size))?;
    let mut members = members.iter();
    for counts in counts.chunks(batch_size) {
        let mut batch = NewList::with_capacity(py, counts.len())?;
        for &count in counts {
            let mut bin = NewList::with_capacity(py, count)?;
            for &member in members.by_ref().take(count) {
                if let Some(index) = items.get(py, member) {
                    bin.repeat(index, 1);
                }
            }
            batch.push(bin.finish());
        }
        batches.push(batch.finish());
    }
    Ok(Some((batches.finish(), used, counts.len())))
}

/// Lengths, as narrow as they came where that is what the kernel likes best.
enum Sizes {
    Small(Vec<i32>),
    Wide(Vec<i64>),
}

impl Sizes {
    fn len(&self) -> usize {
        match self {
            Sizes::Small(sizes) => sizes.len(),
            Sizes::Wide(sizes) => sizes.len(),
        }
    }

    fn sum(&self) -> i64 {
        match self {
            Sizes::Small(sizes) => sizes.iter().map(|&size| i64::from(size)).sum(),
            Sizes::Wide(sizes) => sizes.iter().fold(0, |sum, &size| sum.wrapping_add(size)),
        }
    }

    /// How many sequences each group has.
    fn groups(&self, group_size: usize) -> impl Iterator<Item = usize> + use<> {
        let length = self.len();
        (0..length).step_by(group_size.max(1)).map(move |i| group_size.min(length - i))
    }
}

fn buffer_of(lengths: &Bound<'_, PyAny>) -> Result<IntegerBuffer> {
    IntegerBuffer::new(Place::argument("sequence_lengths"), lengths.as_borrowed())
}

fn row_of<'a>(buffer: &'a IntegerBuffer, scratch: &'a mut Scratch) -> Result<Integers<'a>> {
    let none = Error::Changed { place: Place::argument("sequence_lengths") };
    buffer.row(0, scratch).ok_or(none)
}

fn sizes_of(lengths: &Bound<'_, PyAny>) -> Result<Sizes> {
    let mut scratch = Scratch::default();
    let buffer = buffer_of(lengths)?;
    let row = row_of(&buffer, &mut scratch)?;
    let small = with_integers!(row, sizes => narrow(sizes));
    Ok(small.map_or_else(|| Sizes::Wide(wide(row)), Sizes::Small))
}

/// The values as 32-bit integers; None where one is negative or too large for the tree.
fn narrow<T: Copy + TryInto<i32>>(values: &[T]) -> Option<Vec<i32>> {
    let mut fit = true;
    let narrow = values
        .iter()
        .map(|&value| {
            let value = value.try_into().unwrap_or(-1);
            fit &= (0..i32::MAX).contains(&value);
            value
        })
        .collect();
    fit.then_some(narrow)
}

fn wide(row: Integers<'_>) -> Vec<i64> {
    let mut sizes = vec![0; row.len()];
    // The callers take no uint64, which is all that could fail.
    let _ = row.widen(&mut sizes);
    sizes
}

/// The lengths at `indices`; None where one is no small int or out of range.
fn gathered(py: Python<'_>, indices: Items<'_>, lengths: &[i32]) -> Option<Sizes> {
    let mut sizes = Vec::with_capacity(indices.len());
    let mut smallest = 0;
    for i in 0..indices.len() {
        let index = usize::try_from(small_int(indices.get(py, i)?)?).ok()?;
        let size = *lengths.get(index)?;
        smallest = smallest.min(size);
        sizes.push(size);
    }
    let fit = smallest >= 0 && sizes.iter().all(|&size| size < i32::MAX);
    if fit {
        return Some(Sizes::Small(sizes));
    }
    Some(Sizes::Wide(sizes.iter().map(|&size| i64::from(size)).collect()))
}

fn first_fit_groups(py: Python<'_>, sizes: &Sizes, group_size: usize, limits: Limits) -> Vec<Bins> {
    let pack = || {
        let group_size = group_size.max(1);
        match sizes {
            Sizes::Small(sizes) if (0..i64::from(i32::MAX)).contains(&limits.capacity) => sizes
                .chunks(group_size)
                .map(|group| multipack::first_fit_small(group, limits))
                .collect(),
            Sizes::Small(sizes) => sizes
                .chunks(group_size)
                .map(|group| {
                    let group: Vec<i64> = group.iter().map(|&size| i64::from(size)).collect();
                    multipack::first_fit(&group, limits)
                })
                .collect(),
            Sizes::Wide(sizes) => {
                sizes.chunks(group_size).map(|group| multipack::first_fit(group, limits)).collect()
            }
        }
    };
    if sizes.len() < LONG { pack() } else { py.detach(pack) }
}

fn next_fit(sizes: &Sizes, capacity: i64) -> multipack::Sequential {
    match sizes {
        Sizes::Small(sizes) => multipack::next_fit(sizes, capacity),
        Sizes::Wide(sizes) => multipack::next_fit(sizes, capacity),
    }
}

fn bins_in(groups: &[Bins]) -> usize {
    groups.iter().map(|bins| bins.counts.len()).sum()
}
