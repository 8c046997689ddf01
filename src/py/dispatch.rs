//! Which implementation answers a call, decided inside the native function.
//!
//! The rules come from Python (`fast_axolotl/dispatch/call.py` pushes them); here they are only
//! applied. Where the answer is always Rust, a decision is two loads. Everything that needs more than
//! the rules (the first decision, `verify`, timed and logged calls) goes on to Python.

use std::sync::RwLock;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, AtomicUsize, Ordering::Relaxed};

use kernels::threads;
use pyo3::exceptions::{PyException, PyValueError};
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::{PyBytes, PyDict, PyString, PyType};

use crate::py::arguments::Output;
use crate::py::fastcall::{Arguments, FUNCTIONS, Function, planted_panic};
use crate::py::interpreter;
use crate::py::list_emitter::Items;
use crate::py::small_ints::small_int;

/// What is forced and verified as one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operation {
    Pack,
    Pad,
    Hash,
}

/// An implementation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    Python,
    /// On one thread, where a function has a choice.
    Rust,
    /// On as many threads as it may use.
    Threads,
}

impl Side {
    pub fn from_index(index: usize) -> PyResult<Self> {
        [Side::Python, Side::Rust, Side::Threads]
            .get(index)
            .copied()
            .ok_or_else(|| PyValueError::new_err("an implementation is 0, 1 or 2"))
    }
}

/// What happens to a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    Run(Side),
    /// Python decides, verifies, times or logs.
    Slow,
    /// A test asked for a panic.
    Panic,
    /// None: an exception is set.
    Raised,
}

// What a slot's state says; call.py has the same numbers.
const COLD: u8 = 0;
const RUST: u8 = 1;
const PYTHON: u8 = 2;
const TABLE: u8 = 3;
const SLOW: u8 = 4;
const PLANTED: u8 = 5;

/// The modes of a block, by the codes that modes.py gives them; 0 leaves it to the process.
const AUTO_BLOCK: u8 = 1;
const RUST_BLOCK: u8 = 2;
const PYTHON_BLOCK: u8 = 3;

const LAYOUTS: [&str; 4] = ["lists", "arrays", "array", "arrow"];
const TEXT_LAYOUTS: [&str; 3] = ["str", "bytes", "arrow"];
const OUTPUTS: [&str; 4] = ["lists", "numpy", "torch", "arrow"];

/// A rule between two implementations: whether the challenger is used.
#[derive(Clone, Copy, Debug)]
enum Rule {
    Always(bool),
    Threshold {
        feature: usize,
        at: f64,
        above: bool,
    },
    /// The challenger's cost less the holder's, per call, row, element, element of the result.
    Plane([f64; 4]),
}

impl Rule {
    fn challenger(&self, sizes: &[f64; 3]) -> bool {
        match *self {
            Rule::Always(challenger) => challenger,
            Rule::Threshold { feature, at, above } => (sizes[feature] >= at) == above,
            Rule::Plane([a, b, c, d]) => a + b * sizes[0] + c * sizes[1] + d * sizes[2] < 0.0,
        }
    }

    fn needs(&self) -> Needs {
        match self {
            Rule::Always(_) => Needs::Nothing,
            Rule::Threshold { feature: 0, .. } => Needs::Rows,
            Rule::Threshold { .. } | Rule::Plane(_) => Needs::All,
        }
    }
}

/// The rules of one layout, output and state of the collector.
#[derive(Clone, Copy, Debug)]
struct Cell {
    one: Rule,
    many: Option<Rule>,
    split: Option<Rule>,
}

impl Cell {
    const PYTHON: Cell = Cell { one: Rule::Always(false), many: None, split: None };

    /// `threads`: whether the call may use several now, asked only where they would pay. `forced`:
    /// Rust, only how is open.
    fn choose(&self, sizes: &[f64; 3], threads: impl FnOnce() -> bool, forced: bool) -> Side {
        if let (Some(split), Some(many)) = (self.split, self.many)
            && split.challenger(sizes)
            && threads()
        {
            return if forced || many.challenger(sizes) { Side::Threads } else { Side::Python };
        }
        if forced || self.one.challenger(sizes) { Side::Rust } else { Side::Python }
    }

    /// What its rules ask for.
    fn needs(&self) -> Needs {
        let rules = [Some(&self.one), self.many.as_ref(), self.split.as_ref()];
        rules.into_iter().flatten().map(Rule::needs).max().unwrap_or(Needs::Nothing)
    }
}

/// How much of the sizes of a call is to be known, each with what is before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Needs {
    Nothing,
    Rows,
    All,
}

/// Asking an Arrow array for its bytes takes a microsecond or two. Below this many rows the call itself
/// is so short that its rows are taken to be of a usual length.
const ARROW_ROWS: usize = 1024;
const ARROW_MEAN: f64 = 64.0;

const CELLS: usize = LAYOUTS.len() * OUTPUTS.len() * 2;

fn place(layout: usize, output: usize, collector: bool) -> usize {
    (layout * OUTPUTS.len() + output) * 2 + usize::from(collector)
}

/// What a rule says of lists, as one number that is read without a lock: Rust from so many rows on, or
/// below where it is negative; no number where that is not all there is to it.
#[derive(Clone, Copy)]
struct Early(f64);

/// Those of a function, by `early_place`.
const EARLY: usize = 8;

fn early_place(layout: usize, collector: bool, single: bool) -> usize {
    layout * 4 + usize::from(collector) * 2 + usize::from(single)
}

impl Early {
    fn of(cell: &Cell, single: bool) -> Self {
        // One row is never shared between threads.
        if !single && (cell.many.is_some() || cell.split.is_some()) {
            return Early(f64::NAN);
        }
        Early(match cell.one {
            Rule::Always(true) => 0.0,
            Rule::Always(false) => f64::INFINITY,
            Rule::Threshold { feature: 0, at, above: true } => at.max(0.0),
            Rule::Threshold { feature: 0, at, above: false } => -at.max(0.0),
            Rule::Threshold { .. } | Rule::Plane(_) => f64::NAN,
        })
    }

    #[inline(always)]
    fn choose(self, rows: usize) -> Option<Side> {
        let rows = rows as f64;
        let rust = match self.0 {
            at if at.is_nan() => return None,
            at if at.is_sign_negative() => rows < -at,
            at => rows >= at,
        };
        Some(if rust { Side::Rust } else { Side::Python })
    }
}

/// What is known about a function.
struct Slot {
    state: AtomicU8,
    /// Rust can't take any call of it.
    refused: AtomicBool,
    /// The process, not a block, wants Rust.
    forced: AtomicBool,
    cells: RwLock<Option<Box<[Cell; CELLS]>>>,
    early: [AtomicU64; EARLY],
    calls: [AtomicU64; 3],
}

static SLOTS: [Slot; FUNCTIONS.len()] = [const {
    Slot {
        state: AtomicU8::new(COLD),
        refused: AtomicBool::new(false),
        forced: AtomicBool::new(false),
        cells: RwLock::new(None),
        early: [const { AtomicU64::new(f64::NAN.to_bits()) }; EARLY],
        calls: [const { AtomicU64::new(0) }; 3],
    }
}; FUNCTIONS.len()];

/// How many `dispatch_mode` blocks are alive anywhere: without one, no context is looked at.
static BLOCKS: AtomicUsize = AtomicUsize::new(0);

/// Whether a panic is planted for the next short call, which then counts as a block.
static PLANTED_IN_SHORT: AtomicBool = AtomicBool::new(false);

/// Whether a `dispatch_mode` block is open anywhere.
#[inline(always)]
pub fn in_a_block() -> bool {
    BLOCKS.load(Relaxed) != 0 && is_no_planted_panic()
}

#[cold]
fn is_no_planted_panic() -> bool {
    if PLANTED_IN_SHORT.swap(false, Relaxed) {
        BLOCKS.fetch_sub(1, Relaxed);
        planted_panic();
    }
    true
}

/// How many threads a call may use that did not ask for a number.
static BUDGET: AtomicUsize = AtomicUsize::new(1);

/// The number of threads that a call may use here.
pub fn budget() -> usize {
    BUDGET.load(Relaxed)
}

/// Counts a call.
#[inline(always)]
pub fn count(index: usize, side: Side) {
    // The interpreter is attached, so nobody else counts between load and store.
    let calls = &SLOTS[index].calls[side as usize];
    calls.store(calls.load(Relaxed) + 1, Relaxed);
}

/// Decides where nothing but the state is needed.
#[inline(always)]
pub fn decide_at_once(index: usize) -> Option<Side> {
    if BLOCKS.load(Relaxed) != 0 {
        return None;
    }
    constant(SLOTS[index].state.load(Relaxed))
}

/// What a state answers every call with, if it is one that does.
#[inline(always)]
fn constant(state: u8) -> Option<Side> {
    match state {
        RUST => Some(Side::Rust),
        PYTHON => Some(Side::Python),
        _ => None,
    }
}

/// Decides, of a call with positional arguments only, what the first of them and the mode of a block are
/// enough for.
#[inline(always)]
pub fn decide_early(
    py: Python<'_>,
    index: usize,
    function: &Function,
    first: Borrowed<'_, '_, PyAny>,
) -> Option<Side> {
    let slot = &SLOTS[index];
    let state = slot.state.load(Relaxed);
    if BLOCKS.load(Relaxed) != 0 {
        // Whatever the profile says, which may not have been asked for yet.
        let is_known = !matches!(state, SLOW | PLANTED);
        let is_open = function.threads.is_none() && !slot.refused.load(Relaxed);
        return match block_mode(py, function.operation) {
            PYTHON_BLOCK if is_known => Some(Side::Python),
            RUST_BLOCK if is_known && is_open => Some(Side::Rust),
            0 => constant(state),
            _ => None,
        };
    }
    if state != TABLE || slot.forced.load(Relaxed) {
        return None;
    }
    let rows = Items::of(first)?;
    let layout = match rows.get(py, 0) {
        Some(row) if function.is_text() => usize::from(row.is_instance_of::<PyBytes>()),
        Some(row) => Items::of(row).map(|_| 0)?,
        None => 0,
    };
    let collector = !function.allocates || interpreter::collector_is_on(py);
    let early = &slot.early[early_place(layout, collector, rows.len() < 2)];
    Early(f64::from_bits(early.load(Relaxed))).choose(rows.len())
}

/// Decides the rest. `arguments` is None where they do not fit the parameters.
#[inline(never)]
pub fn decide(
    py: Python<'_>,
    index: usize,
    function: &Function,
    arguments: Option<&Arguments<'_, '_>>,
) -> Action {
    let slot = &SLOTS[index];
    let state = slot.state.load(Relaxed);
    let refused = slot.refused.load(Relaxed);
    let block = match BLOCKS.load(Relaxed) {
        0 => 0,
        _ => block_mode(py, function.operation),
    };
    match (state, block) {
        (PLANTED, _) => Action::Panic,
        (SLOW, _) => Action::Slow,
        (_, PYTHON_BLOCK) => Action::Run(Side::Python),
        (_, RUST_BLOCK) if refused => Action::Slow,
        (_, RUST_BLOCK) => apply(py, slot, function, arguments, true),
        (_, AUTO_BLOCK) if refused => Action::Run(Side::Python),
        (_, AUTO_BLOCK) => apply(py, slot, function, arguments, false),
        (RUST, 0) => Action::Run(Side::Rust),
        (PYTHON, 0) => Action::Run(Side::Python),
        (TABLE, 0) => apply(py, slot, function, arguments, slot.forced.load(Relaxed)),
        _ => Action::Slow,
    }
}

fn apply(
    py: Python<'_>,
    slot: &Slot,
    function: &Function,
    arguments: Option<&Arguments<'_, '_>>,
    forced: bool,
) -> Action {
    if forced && function.threads.is_none() {
        return Action::Run(Side::Rust);
    }
    let Some(arguments) = arguments else { return Action::Run(Side::Python) };
    let (layout, output) = kind(py, function, arguments);
    let collector = !function.allocates || output != 0 || interpreter::collector_is_on(py);
    // Copied, and the lock given back: `sizes` may run code of the caller's, in which somebody writes.
    let Ok(cells) = slot.cells.try_read() else { return Action::Slow };
    let Some(cell) = cells.as_ref().map(|cells| cells[place(layout, output, collector)]) else {
        return Action::Slow;
    };
    drop(cells);
    let items = Items::of(arguments.required(0));
    // One row is never shared between threads.
    let single = function.threads.is_some() && items.is_some_and(|items| items.len() < 2);
    let cell = if single { Cell { many: None, split: None, ..cell } } else { cell };
    let sizes = match (cell.needs(), items) {
        (Needs::Nothing, _) => [0.0; 3],
        (Needs::Rows, Some(items)) => [items.len() as f64, 0.0, 0.0],
        _ => match sizes(py, function, arguments, layout) {
            Ok(sizes) => sizes,
            Err(error) => {
                error.restore(py);
                return Action::Raised;
            }
        },
    };
    if forced && asked(function, arguments) > 1 && threads_allowed(function, arguments) {
        return Action::Run(Side::Threads); // both were asked for
    }
    Action::Run(cell.choose(&sizes, || threads_allowed(function, arguments), forced))
}

fn block_mode(py: Python<'_>, operation: Operation) -> u8 {
    let Some(found) = interpreter::context_value(py) else { return 0 };
    found
        .cast::<Override>()
        .map_or(0, |block| block.get().codes.get(operation as usize).copied().unwrap_or(0))
}

fn asked(function: &Function, arguments: &Arguments<'_, '_>) -> usize {
    let value = function.threads.and_then(|index| arguments.optional(index));
    value.and_then(small_int).and_then(|asked| usize::try_from(asked).ok()).unwrap_or(0)
}

fn threads_allowed(function: &Function, arguments: &Arguments<'_, '_>) -> bool {
    if function.threads.is_none() {
        return false;
    }
    match asked(function, arguments) {
        1 => false,
        0 => threads_free(),
        _ => !threads::is_busy() && threads::usable() > 1,
    }
}

/// Whether a call that asks for nothing may use several threads now: there are some, it is no forked
/// child, and no other call holds the pool.
pub fn threads_free() -> bool {
    budget() > 1 && !threads::is_forked() && !threads::is_busy()
}

/// Layout of the rows and of the result, as places in the lists above. No Python code runs.
fn kind(py: Python<'_>, function: &Function, arguments: &Arguments<'_, '_>) -> (usize, usize) {
    let output = function.output.and_then(|index| arguments.optional(index));
    // An unknown output is the error of whichever side gets the call.
    let output = output.and_then(Output::named).unwrap_or(Output::Lists) as usize;
    let rows = arguments.required(0);
    let layout = match Items::of(rows) {
        None if function.takes_lengths() => 0,
        None if function.is_text() || is_array(rows) => 2,
        None => 3,
        Some(items) => match items.get(py, 0) {
            Some(first) if function.is_text() => usize::from(first.is_instance_of::<PyBytes>()),
            Some(first) if !function.takes_lengths() && Items::of(first).is_none() => 1,
            _ => 0,
        },
    };
    (layout, output)
}

/// Whether this is exactly a `numpy.ndarray`; looked up once NumPy is loaded.
fn is_array(value: Borrowed<'_, '_, PyAny>) -> bool {
    static NDARRAY: PyOnceLock<Py<PyType>> = PyOnceLock::new();
    let py = value.py();
    let kind = NDARRAY.get_or_try_init(py, || {
        let modules = py.import(intern!(py, "sys"))?.getattr(intern!(py, "modules"))?;
        let numpy = modules.get_item(intern!(py, "numpy"))?;
        Ok::<_, PyErr>(numpy.getattr(intern!(py, "ndarray"))?.cast_into::<PyType>()?.unbind())
    });
    kind.is_ok_and(|kind| value.get_type().is(kind))
}

/// Rows, elements and elements of the result: estimated from four rows, so at a constant cost. An object that
/// is no list is asked, and its code may be the caller's: an error is one that is no `Exception`, as Ctrl-C.
fn sizes(
    py: Python<'_>,
    function: &Function,
    arguments: &Arguments<'_, '_>,
    layout: usize,
) -> PyResult<[f64; 3]> {
    let rows = arguments.required(0);
    if function.takes_lengths() {
        let number = |index| small_int(arguments.required(index)).unwrap_or(0) as f64;
        let missing = (number(1) - number(0)).max(0.0);
        return Ok([1.0, missing, missing]);
    }
    let (count, mean, longest) = match Items::of(rows) {
        Some(items) if items.len() == 0 => (0, 0.0, 0.0),
        Some(items) => {
            let count = items.len();
            let last = count - 1;
            let (mut sum, mut longest) = (0, 0);
            let places = [0, last / 3, last - last / 3, last];
            // Of up to four rows each one once.
            let places = if count > 4 { &places[..] } else { &[0, 1, 2, 3][..count] };
            for &at in places {
                let length = items.get(py, at).map_or(0, |row| length(row, function.is_text()));
                sum += length;
                longest = longest.max(length);
            }
            (count, sum as f64 / places.len() as f64, longest as f64)
        }
        None => {
            let count = told(py, rows.len())?;
            let is_arrow = layout == if function.is_text() { 2 } else { 3 };
            if is_arrow && count < ARROW_ROWS {
                let mean = ARROW_MEAN;
                return Ok([count as f64, count as f64 * mean, count as f64 * mean]);
            }
            let bytes = rows.getattr(intern!(py, "nbytes"));
            let bytes = told(py, bytes.and_then(|bytes| bytes.extract::<f64>()))?;
            let each = if function.is_text() { 1.0 } else { 8.0 };
            let mean = if count == 0 { 0.0 } else { bytes / each / count as f64 };
            (count, if is_arrow { (mean - 0.5).max(0.0) } else { mean }, mean)
        }
    };
    let count = count as f64;
    let width = match function.width.and_then(|index| arguments.optional(index)) {
        Some(width) => small_int(width).map_or(longest, |width| width as f64),
        None if function.width.is_some() => longest,
        None => mean,
    };
    Ok([count, count * mean, count * width])
}

/// What an object says, or nothing where it raises: whoever gets the call will meet that again.
fn told<T: Default>(py: Python<'_>, answer: PyResult<T>) -> PyResult<T> {
    match answer {
        Err(error) if error.is_instance_of::<PyException>(py) => Ok(T::default()),
        answer => answer,
    }
}

fn length(row: Borrowed<'_, '_, PyAny>, text: bool) -> usize {
    if let Some(items) = Items::of(row) {
        return items.len();
    }
    // Only of types whose length runs no code of the caller's.
    if text && (row.is_exact_instance_of::<PyString>() || row.is_exact_instance_of::<PyBytes>()) {
        return row.len().unwrap_or(0);
    }
    if !text && is_array(row) {
        return row.len().unwrap_or(0);
    }
    0
}

pub type RuleData = (u8, bool, usize, f64, [f64; 4]);
pub type CellData = (String, String, bool, Option<RuleData>, Option<RuleData>, Option<RuleData>);

fn rule((kind, challenger, feature, at, plane): RuleData) -> PyResult<Rule> {
    match kind {
        0 => Ok(Rule::Always(challenger)),
        1 if feature < 3 => Ok(Rule::Threshold { feature, at, above: challenger }),
        2 => Ok(Rule::Plane(plane)),
        _ => Err(PyValueError::new_err("not a rule")),
    }
}

fn position(names: &[&str], name: &str) -> PyResult<usize> {
    let found = names.iter().position(|&known| known == name);
    found.ok_or_else(|| PyValueError::new_err(format!("there is no {name} here")))
}

fn layouts(function: &Function) -> &'static [&'static str] {
    match (function.is_text(), function.takes_lengths()) {
        (true, _) => &TEXT_LAYOUTS,
        (false, true) => &["lengths"],
        (false, false) => &LAYOUTS,
    }
}

fn slot(index: usize) -> PyResult<&'static Slot> {
    SLOTS.get(index).ok_or_else(|| PyValueError::new_err("there is no such function"))
}

/// Sets the rules of a function.
pub fn push(
    index: usize,
    state: u8,
    refused: bool,
    forced: bool,
    cells: Option<Vec<CellData>>,
) -> PyResult<()> {
    let slot = slot(index)?;
    let cells = cells.map(|cells| {
        let mut table = Box::new([Cell::PYTHON; CELLS]);
        for (layout, output, collector, one, many, split) in cells {
            let layout = position(layouts(&FUNCTIONS[index]), &layout)?;
            let output = position(&OUTPUTS, &output)?;
            table[place(layout, output, collector)] = Cell {
                one: one.map(rule).transpose()?.unwrap_or(Rule::Always(false)),
                many: many.map(rule).transpose()?,
                split: split.map(rule).transpose()?,
            };
        }
        Ok::<_, PyErr>(table)
    });
    let cells = cells.transpose()?;
    let Ok(mut old) = slot.cells.write() else {
        return Err(PyValueError::new_err("the rules can't be replaced"));
    };
    for (layout, collector, single) in (0..EARLY).map(|at| (at / 4, at / 2 % 2 == 1, at % 2 == 1)) {
        let cell = cells.as_ref().map(|cells| &cells[place(layout, 0, collector)]);
        let early = cell.map_or(Early(f64::NAN), |cell| Early::of(cell, single));
        slot.early[early_place(layout, collector, single)].store(early.0.to_bits(), Relaxed);
    }
    *old = cells;
    slot.refused.store(refused, Relaxed);
    slot.forced.store(forced, Relaxed);
    slot.state.store(state.min(SLOW), Relaxed);
    Ok(())
}

/// Makes the next call of a function panic in Rust, or the next short call of an adapter's (for tests).
pub fn plant_panic(index: Option<usize>) -> PyResult<()> {
    match index {
        Some(index) => slot(index)?.state.store(PLANTED, Relaxed),
        None if PLANTED_IN_SHORT.swap(true, Relaxed) => {}
        None => {
            BLOCKS.fetch_add(1, Relaxed);
        }
    }
    Ok(())
}

pub fn set_budget(threads: usize) {
    BUDGET.store(threads.max(1), Relaxed);
}

pub fn counts(index: usize) -> PyResult<[u64; 3]> {
    let calls = &slot(index)?.calls;
    Ok([0, 1, 2].map(|side: usize| calls[side].load(Relaxed)))
}

pub fn reset(index: usize) -> PyResult<()> {
    for calls in &slot(index)?.calls {
        calls.store(0, Relaxed);
    }
    Ok(())
}

/// Layout, output, rows, elements, elements of the result, threads asked for.
pub type Description = (&'static str, &'static str, f64, f64, f64, usize);

pub fn describe(
    py: Python<'_>,
    function: &Function,
    arguments: &Arguments<'_, '_>,
) -> PyResult<Description> {
    let (layout, output) = kind(py, function, arguments);
    let [rows, elements, result] = sizes(py, function, arguments, layout)?;
    let threads = asked(function, arguments);
    Ok((layouts(function)[layout], OUTPUTS[output], rows, elements, result, threads))
}

/// The rule that `push` would apply, for the test that compares it with `policy.py`.
pub fn choose(cell: CellData, sizes: [f64; 3], threads: bool, forced: bool) -> PyResult<usize> {
    let (_, _, _, one, many, split) = cell;
    let cell = Cell {
        one: one.map(rule).transpose()?.unwrap_or(Rule::Always(false)),
        many: many.map(rule).transpose()?,
        split: split.map(rule).transpose()?,
    };
    Ok(cell.choose(&sizes, || threads, forced) as usize)
}

/// The modes of a `dispatch_mode` block. Contexts hold it; while one lives, calls look for it.
#[pyclass(frozen, module = "fast_axolotl._core")]
pub struct Override {
    /// Operation (None: all that are not named) -> mode.
    #[pyo3(get)]
    modes: Py<PyDict>,
    codes: Vec<u8>,
}

#[pymethods]
impl Override {
    #[new]
    fn new(modes: Py<PyDict>, codes: Vec<u8>) -> Self {
        BLOCKS.fetch_add(1, Relaxed);
        Override { modes, codes }
    }
}

impl Drop for Override {
    fn drop(&mut self) {
        BLOCKS.fetch_sub(1, Relaxed);
    }
}
