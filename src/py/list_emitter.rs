//! Lists of shared objects, written at memory speed.
//!
//! The one place that touches the insides of lists. A list is visible to the collector from the moment
//! it exists, so its size stays 0 until its items are there; references are counted before that.
//! Nothing in here runs Python code: no attribute is looked up, no object but our own is freed, and
//! while a `GcPause` lives no collection starts. So what was read of a list stays true until the
//! function returns.

#![allow(unsafe_code)]

use kernels::prefetch::prefetch;
use pyo3::ffi::{self, Py_ssize_t, PyListObject, PyObject};
use pyo3::prelude::*;
use pyo3::types::PyString;

use crate::error::{Error, Result};

/// Keeps the collector from starting while many lists are made; it goes on as it was after that.
///
/// A collection in the middle would visit every list made so far, again and again.
pub struct GcPause<'py> {
    was_enabled: bool,
    _py: Python<'py>,
}

impl<'py> GcPause<'py> {
    pub fn new(py: Python<'py>) -> Self {
        // SAFETY: the interpreter is attached, which `py` proves.
        let was_enabled = unsafe { ffi::PyGC_Disable() } != 0;
        GcPause { was_enabled, _py: py }
    }
}

impl Drop for GcPause<'_> {
    fn drop(&mut self) {
        if self.was_enabled {
            // SAFETY: the interpreter is attached: the pause can't outlive its `py`.
            unsafe { ffi::PyGC_Enable() };
        }
    }
}

/// Work that moves many pointers. `run` has to be inlined, to be compiled for the CPU that it runs on.
pub trait Emission {
    type Output;

    fn run(self) -> Self::Output;
}

/// Does the work with the widest vectors that the CPU has: a processor stores once or twice a cycle, and
/// eight pointers in one store leave the rest to the counting of references.
#[inline(always)]
pub fn emit<E: Emission>(emission: E) -> E::Output {
    #[cfg(target_arch = "x86_64")]
    {
        #[target_feature(enable = "avx512f,avx512vl")]
        fn with_512_bits<E: Emission>(emission: E) -> E::Output {
            emission.run()
        }

        #[target_feature(enable = "avx2")]
        fn with_256_bits<E: Emission>(emission: E) -> E::Output {
            emission.run()
        }

        // VBMI2 tells CPUs that go on at full speed from those that slow down for 512 bits.
        if is_x86_feature_detected!("avx512f")
            && is_x86_feature_detected!("avx512vl")
            && is_x86_feature_detected!("avx512vbmi2")
        {
            // SAFETY: the CPU has what the function is built for.
            return unsafe { with_512_bits(emission) };
        }
        if is_x86_feature_detected!("avx2") {
            // SAFETY: as above.
            return unsafe { with_256_bits(emission) };
        }
    }
    emission.run()
}

/// A list of a size known beforehand, on its way to that size.
pub struct NewList<'py> {
    list: Bound<'py, PyAny>,
    items: *mut *mut PyObject,
    filled: usize,
    capacity: usize,
    is_hidden: bool,
}

impl<'py> NewList<'py> {
    /// An empty list with room for `capacity` items.
    #[inline]
    pub fn with_capacity(py: Python<'py>, capacity: usize) -> Result<Self> {
        let (list, items) = allocated(py, capacity)?;
        Ok(NewList { list, items, filled: 0, capacity, is_hidden: false })
    }

    /// The same, out of the sight of the collector until it is finished: for a list that is made while
    /// other threads run, which could ask the collector for all there is.
    pub fn hidden(py: Python<'py>, capacity: usize) -> Result<Self> {
        let mut list = Self::with_capacity(py, capacity)?;
        // SAFETY: a list is tracked from the moment it exists.
        unsafe { ffi::PyObject_GC_UnTrack(list.list.as_ptr().cast()) };
        list.is_hidden = true;
        Ok(list)
    }

    /// The next `n` places, which the caller fills.
    #[inline(always)]
    fn places(&mut self, n: usize) -> *mut *mut PyObject {
        assert!(n <= self.capacity - self.filled, "a list got more items than it has room for");
        // SAFETY: within the `capacity` items, as just checked; a null pointer is offset by 0 only.
        let places = unsafe { self.items.add(self.filled) };
        self.filled += n;
        places
    }

    /// Appends one object.
    #[inline(always)]
    pub fn push(&mut self, object: Bound<'py, PyAny>) {
        let place = self.places(1);
        // SAFETY: the place is ours and empty; the reference moves into it.
        unsafe { *place = object.into_ptr() };
    }

    /// Appends the same object `n` times.
    #[inline(always)]
    pub fn repeat(&mut self, object: Borrowed<'_, 'py, PyAny>, n: usize) {
        if n == 0 {
            return;
        }
        let places = self.places(n);
        // SAFETY: `n` places are ours.
        unsafe { write_repeated(places, object, n) };
    }

    /// Appends the objects that `items` holds.
    #[inline(always)]
    pub fn extend(&mut self, items: Items<'_>) {
        let places = self.places(items.length);
        // SAFETY: as many places are ours as there are items.
        unsafe { write_items(places, items) };
    }

    /// Appends the objects that `items` holds to two lists.
    #[inline(always)]
    pub fn extend_both(one: &mut Self, other: &mut Self, items: Items<'_>) {
        let places = one.places(items.length);
        let other_places = other.places(items.length);
        // SAFETY: as in `extend`, with two references counted for every object.
        unsafe {
            by_blocks(items.length, |start, n| {
                std::ptr::copy_nonoverlapping(items.first.add(start), places.add(start), n);
                std::ptr::copy_nonoverlapping(items.first.add(start), other_places.add(start), n);
                for i in start..start + n {
                    add_references(*items.first.add(i), 2);
                }
            });
        }
    }

    /// Appends the objects of `items` to one list and as many of `other_items` to the other.
    ///
    /// Labels are mostly the very objects of input_ids: those are counted once, by two.
    #[inline(always)]
    pub fn extend_pair(one: &mut Self, items: Items<'_>, other: &mut Self, other_items: Items<'_>) {
        let length = items.length.min(other_items.length);
        let places = one.places(length);
        let other_places = other.places(length);
        // SAFETY: as in `extend`, for two lists and the items of both.
        unsafe {
            by_blocks(length, |start, n| {
                let (from, other_from) = (items.first.add(start), other_items.first.add(start));
                std::ptr::copy_nonoverlapping(from, places.add(start), n);
                std::ptr::copy_nonoverlapping(other_from, other_places.add(start), n);
                // Compared side by side, and not one by one on the way to each counter.
                if n == BLOCK && are_equal(&*from.cast(), &*other_from.cast()) {
                    for i in 0..BLOCK {
                        add_references(*from.add(i), 2);
                    }
                    return;
                }
                for i in 0..n {
                    let (object, other_object) = (*from.add(i), *other_from.add(i));
                    if object == other_object {
                        add_references(object, 2);
                    } else {
                        ffi::Py_INCREF(object);
                        ffi::Py_INCREF(other_object);
                    }
                }
            });
        }
    }

    /// Items appended so far.
    #[inline(always)]
    pub fn len(&self) -> usize {
        self.filled
    }

    /// Whether the item at `index` is a str of these ASCII characters.
    #[inline]
    pub fn is_str_at(&self, index: usize, text: &[u8]) -> bool {
        if index >= self.filled {
            return false;
        }
        // SAFETY: an item that was appended, which the list keeps alive.
        let item = unsafe { Borrowed::from_ptr(self.list.py(), *self.items.add(index)) };
        item.cast::<PyString>()
            .is_ok_and(|item| item.to_str().is_ok_and(|item| item.as_bytes() == text))
    }

    /// The list, with the room given back that nothing was appended to.
    pub fn finish_short(mut self) -> Bound<'py, PyAny> {
        if self.filled < self.capacity {
            let bytes = self.filled * size_of::<*mut PyObject>();
            let object = self.list.as_ptr().cast::<PyListObject>();
            // SAFETY: the items of a list that only we know; of a failure to shrink they stay.
            unsafe {
                if self.filled == 0 {
                    ffi::PyMem_Free(self.items.cast());
                    (*object).ob_item = std::ptr::null_mut();
                    (*object).allocated = 0;
                } else {
                    let items = ffi::PyMem_Realloc(self.items.cast(), bytes);
                    if !items.is_null() {
                        (*object).ob_item = items.cast();
                        (*object).allocated = self.filled as Py_ssize_t;
                        self.items = items.cast();
                    }
                }
            }
        }
        self.finish()
    }

    /// The list, with all that was appended.
    #[inline]
    pub fn finish(mut self) -> Bound<'py, PyAny> {
        self.publish();
        let this = std::mem::ManuallyDrop::new(self);
        // SAFETY: the reference moves out, and `this` is never dropped.
        unsafe { std::ptr::read(&raw const this.list) }
    }

    #[inline(always)]
    fn publish(&mut self) {
        // SAFETY: the first `filled` items are there, with their references.
        unsafe {
            let object = self.list.as_ptr().cast::<PyListObject>();
            (*object).ob_base.ob_size = self.filled as Py_ssize_t;
        }
        if self.is_hidden {
            // SAFETY: untracked in `hidden`, and whole by now.
            unsafe { ffi::PyObject_GC_Track(self.list.as_ptr().cast()) };
        }
    }
}

impl Drop for NewList<'_> {
    fn drop(&mut self) {
        // An abandoned list frees what it got so far.
        self.publish();
    }
}

/// A list of `items`, filled up to `width` with `pad`, behind or before them.
///
/// As a `NewList` would have it, without the steps in between: at a few dozen nanoseconds a row, what is
/// kept for the case that a list is abandoned half made costs a tenth.
///
/// `room` is how many items the list can grow by before it asks for memory.
#[inline(always)]
pub fn padded<'py>(
    py: Python<'py>,
    items: Items<'_>,
    pad: Borrowed<'_, 'py, PyAny>,
    width: usize,
    right: bool,
    room: usize,
) -> Result<Bound<'py, PyAny>> {
    let items = items.head(width);
    let missing = width - items.length;
    let (list, places) = allocated(py, width + room)?;
    // SAFETY: `width` places are ours, which the items and what is missing fill; the size says so after
    // that. Of an empty list nothing is written.
    unsafe {
        let (first, padding) = if right { (0, items.length) } else { (missing, 0) };
        write_items(places.add(first), items);
        write_repeated(places.add(padding), pad, missing);
        (*list.as_ptr().cast::<PyListObject>()).ob_base.ob_size = width as Py_ssize_t;
    }
    Ok(list)
}

/// An empty list, and the `capacity` places for its items.
#[inline(always)]
fn allocated<'py>(
    py: Python<'py>,
    capacity: usize,
) -> Result<(Bound<'py, PyAny>, *mut *mut PyObject)> {
    // SAFETY: the interpreter is attached; a null pointer becomes an error.
    let list = unsafe { Bound::from_owned_ptr_or_opt(py, ffi::PyList_New(0)) };
    let Some(list) = list else {
        return Err(out_of_memory(py));
    };
    let mut items = std::ptr::null_mut();
    if capacity > 0 {
        let bytes = capacity.checked_mul(size_of::<*mut PyObject>());
        let Some(bytes) = bytes.filter(|&bytes| bytes <= isize::MAX as usize) else {
            return Err(Error::Memory);
        };
        // SAFETY: PyMem_Malloc is what lists themselves get and free their items with.
        items = unsafe { ffi::PyMem_Malloc(bytes) }.cast::<*mut PyObject>();
        if items.is_null() {
            return Err(Error::Memory);
        }
        let object = list.as_ptr().cast::<PyListObject>();
        // SAFETY: an exact list that only we know, of size 0 and without items until here.
        unsafe {
            (*object).ob_item = items;
            (*object).allocated = capacity as Py_ssize_t;
        }
    }
    Ok((list, items))
}

/// Writes `items` to as many `places`.
///
/// # Safety
/// The places are there, empty, and belong to a list that owns what is written from then on.
#[inline(always)]
unsafe fn write_items(places: *mut *mut PyObject, items: Items<'_>) {
    // SAFETY: the caller's promise; the items are alive while `items` is, and a reference is counted for
    // every one.
    unsafe {
        if items.has_runs() {
            items.add_references_by_runs();
            std::ptr::copy_nonoverlapping(items.first, places, items.length);
            return;
        }
        by_blocks(items.length, |start, n| {
            std::ptr::copy_nonoverlapping(items.first.add(start), places.add(start), n);
            for i in start..start + n {
                ffi::Py_INCREF(*items.first.add(i));
            }
        });
    }
}

/// Writes the same object to `n` places.
///
/// # Safety
/// As for `write_items`.
#[inline(always)]
unsafe fn write_repeated(places: *mut *mut PyObject, object: Borrowed<'_, '_, PyAny>, n: usize) {
    // SAFETY: the caller's promise; the references are counted at once.
    unsafe {
        add_references(object.as_ptr(), n);
        for i in 0..n {
            *places.add(i) = object.as_ptr();
        }
    }
}

fn out_of_memory(py: Python<'_>) -> Error {
    // The interpreter has raised MemoryError itself: take it down, and raise ours.
    drop(PyErr::take(py));
    Error::Memory
}

/// Pointers looked at side by side.
pub const BLOCK: usize = 8;

/// Whether both blocks hold the same objects.
#[inline(always)]
pub fn are_equal(one: &[*mut PyObject; BLOCK], other: &[*mut PyObject; BLOCK]) -> bool {
    // Without a branch, so that the compiler makes vectors of it.
    let differing = |i: usize| one[i].addr() ^ other[i].addr();
    (0..BLOCK).fold(0, |found, i| found | differing(i)) == 0
}

/// Calls `work` with start and length of every block of eight, then of what is left.
///
/// A processor stores once or twice a cycle: pointers copied by the block, many at a time, leave the
/// stores to the counting of references.
#[inline(always)]
fn by_blocks(length: usize, mut work: impl FnMut(usize, usize)) {
    let whole = length - length % BLOCK;
    for start in (0..whole).step_by(BLOCK) {
        work(start, BLOCK);
    }
    for start in whole..length {
        work(start, 1);
    }
}

/// Adds `n` references to an object.
///
/// # Safety
/// The interpreter is attached, and `object` is alive.
#[inline(always)]
unsafe fn add_references(object: *mut PyObject, n: usize) {
    // SAFETY: the caller's promise; the layouts are those of the interpreter that this is built for.
    unsafe {
        #[cfg(not(Py_3_12))]
        {
            (*object).ob_refcnt += n as Py_ssize_t;
        }
        // From 3.12 on, the lower half counts, and a set top bit in it marks an immortal object.
        #[cfg(all(Py_3_12, not(Py_3_14), target_pointer_width = "64"))]
        {
            let half = usize::from(cfg!(target_endian = "big"));
            let count = (*object).ob_refcnt.ob_refcnt_split[half];
            if count as i32 >= 0 {
                if let Ok(n) = u32::try_from(n)
                    && let Some(sum) = count.checked_add(n)
                    && sum as i32 >= 0
                {
                    (*object).ob_refcnt.ob_refcnt_split[half] = sum;
                } else {
                    for _ in 0..n {
                        ffi::Py_INCREF(object);
                    }
                }
            }
        }
        #[cfg(any(Py_3_14, all(Py_3_12, not(target_pointer_width = "64"))))]
        for _ in 0..n {
            ffi::Py_INCREF(object);
        }
    }
}

/// The items of an exact list or tuple, as they are now.
///
/// True until Python code runs: keep it only as long as nothing in between can run any.
#[derive(Clone, Copy)]
pub struct Items<'a> {
    first: *const *mut PyObject,
    length: usize,
    _object: std::marker::PhantomData<&'a PyObject>,
}

impl<'a> Items<'a> {
    /// None where `object` is neither an exact list nor an exact tuple.
    #[inline(always)]
    pub fn of(object: Borrowed<'a, '_, PyAny>) -> Option<Self> {
        let pointer = object.as_ptr();
        // SAFETY: the type is checked before the object is read as one of that type.
        unsafe {
            let (first, length) = if ffi::PyList_CheckExact(pointer) != 0 {
                let list = pointer.cast::<PyListObject>();
                ((*list).ob_item.cast_const(), (*list).ob_base.ob_size)
            } else if ffi::PyTuple_CheckExact(pointer) != 0 {
                let tuple = pointer.cast::<ffi::PyTupleObject>();
                ((&raw const (*tuple).ob_item).cast(), (*tuple).ob_base.ob_size)
            } else {
                return None;
            };
            Some(Items { first, length: length as usize, _object: std::marker::PhantomData })
        }
    }

    #[inline(always)]
    pub fn len(&self) -> usize {
        self.length
    }

    /// The pointers to the items.
    #[inline(always)]
    pub fn pointers(&self) -> &'a [*mut PyObject] {
        if self.length == 0 {
            return &[];
        }
        // SAFETY: as many are there, and stay while the view is.
        unsafe { std::slice::from_raw_parts(self.first, self.length) }
    }

    /// The items of each item; None in the place of what is neither an exact list nor an exact tuple.
    #[inline(always)]
    pub fn of_each<'py>(&self, py: Python<'py>) -> impl Iterator<Item = Option<Items<'a>>> {
        // SAFETY: the items are alive while the view is.
        self.pointers().iter().map(move |&item| Items::of(unsafe { Borrowed::from_ptr(py, item) }))
    }

    /// Asks for what reading the list or tuple at `i` will wait for, its items, and for what says where the
    /// items of the one behind it are.
    ///
    /// Between two rows lie two calls of the allocator, so no processor looks that far ahead by itself.
    #[inline(always)]
    pub fn prefetch(&self, py: Python<'_>, i: usize) {
        if let Some(next) = self.get(py, i).and_then(Items::of) {
            // The caches hold thousands of rows no more, and a processor only the page of what it knows.
            let most = if self.length < 2048 { 4 * BLOCK } else { 16 * BLOCK };
            for j in (0..next.length.min(most)).step_by(BLOCK) {
                prefetch(next.first.wrapping_add(j));
            }
        }
        if let Some(row) = self.get(py, i + 1) {
            prefetch(row.as_ptr());
        }
    }

    /// Whether every item is this very object.
    #[inline]
    pub fn are_all(&self, object: &Bound<'_, PyAny>) -> bool {
        let run = [object.as_ptr(); BLOCK];
        let (blocks, rest) = self.pointers().as_chunks();
        blocks.iter().all(|block| are_equal(block, &run)) && rest.iter().all(|item| *item == run[0])
    }

    /// Whether this looks like a mask: runs of the same few objects.
    #[inline(always)]
    fn has_runs(&self) -> bool {
        // SAFETY: four items are there.
        self.length >= 4
            && unsafe {
                let first = *self.first;
                (1..4).all(|i| *self.first.add(i) == first)
            }
    }

    /// Adds a reference to every item, to the items of a run at once: counting one by one, each addition
    /// would wait for the one before it to reach the memory.
    ///
    /// # Safety
    /// The interpreter is attached.
    unsafe fn add_references_by_runs(&self) {
        let mut i = 0;
        while i < self.length {
            // SAFETY: within the items, which are alive while the view is.
            unsafe {
                let object = *self.first.add(i);
                let start = i;
                let run = [object; BLOCK];
                while i + BLOCK <= self.length && are_equal(&*self.first.add(i).cast(), &run) {
                    i += BLOCK;
                }
                while i < self.length && *self.first.add(i) == object {
                    i += 1;
                }
                add_references(object, i - start);
            }
        }
    }

    /// The first `n` items, or all where there are fewer.
    #[inline(always)]
    pub fn head(self, n: usize) -> Self {
        Items { length: self.length.min(n), ..self }
    }

    /// All but the first `n` items.
    #[inline(always)]
    pub fn tail(self, n: usize) -> Self {
        let n = n.min(self.length);
        // SAFETY: within the items, or right behind them; a null pointer is offset by 0 only.
        Items { first: unsafe { self.first.add(n) }, length: self.length - n, ..self }
    }

    /// The item at `index`, while it is there.
    #[inline(always)]
    pub fn get<'py>(&self, py: Python<'py>, index: usize) -> Option<Borrowed<'a, 'py, PyAny>> {
        // SAFETY: within the items, which are alive while the view is.
        (index < self.length).then(|| unsafe { Borrowed::from_ptr(py, *self.first.add(index)) })
    }
}
