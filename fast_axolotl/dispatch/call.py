"""The path of a call: constant where the verdict is, through here where somebody has to look.

The public functions decide inside the extension. They come here for the first decision (which
reads the profile), for `verify`, for timed and logged calls, and after a panic. Functions that an
adapter registers are decided here altogether.
"""

from __future__ import annotations

import os
import time
from _thread import RLock
from collections.abc import Callable
from functools import wraps

from fast_axolotl._native import core

from . import modes, policy, profile, registry, support, trace
from .policy import IMPLEMENTATIONS, PYTHON, RUST, THREADS, Cell
from .registry import Arguments, Call, Function, Keywords

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_core: Any = core
lock: Any = RLock()
if hasattr(os, "register_at_fork"):
    # A thread that is not in the child can't give the lock back.
    os.register_at_fork(after_in_child=lock._at_fork_reinit)

# What the extension does with a call of a function (src/py/dispatch.rs has the same numbers).
_COLD, _RUST, _PYTHON, _TABLE, _SLOW = range(5)


class _Entry:
    """A function at run time: its rules and its figures."""

    __slots__ = (
        *("calls", "cells", "constant", "direct", "front"),
        *("function", "index", "rule", "sampled", "seconds"),
    )

    def __init__(self, function: Function, index: int | None) -> None:
        self.function = function
        self.index = index  # in the extension; None for a function that is decided here
        self.cells: dict[str, Cell] | None = None
        # Of a function that is decided here, outside every block: the original where it answers
        # every call, the side where no size matters, what may answer then without a look, and
        # the rule where only the sizes matter.
        self.direct: Callable[..., Any] | None = None
        self.constant: str | None = None
        self.front: Callable[[Arguments], Any] | None = None
        self.rule: policy.Verdict | None = None
        self.calls: dict[str, int] = {}
        self.forget_figures()

    def forget_figures(self) -> None:
        self.calls.update(dict.fromkeys(IMPLEMENTATIONS, 0))  # which the function's form has, too
        # timed calls, their seconds, seconds saved, seconds of calls of which that is not known
        self.seconds = {side: [0, 0.0, 0.0, 0.0] for side in IMPLEMENTATIONS}
        # calls that the original answered as well; its seconds, ours, without the first of them
        self.sampled = [0, 0.0, 0.0]


_entries: dict[str, _Entry] = {}
_native: dict[int, _Entry] = {}
_forced: dict[tuple[str, str], Callable[..., Any]] = {}
_profile: profile.Profile | None = None
_default: profile.Profile | None = None
# The line that said why the profile on disk is not used; None where it is, or where there is none.
profile_problem: str | None = None


def entry_of(function: Function) -> _Entry:
    """Return the run-time state of a registered function."""
    with lock:
        entry = _entries.get(function.name)
        if entry is None or entry.function is not function:
            index = None
            if function.native:
                index = _core.FUNCTIONS.index(function.name)
            entry = _Entry(function, index)
            _entries[function.name] = entry
            if index is not None:
                _native[index] = entry
        return entry


def forget(name: str) -> None:
    """Drop the run-time state of a function that left the table; its form calls the original."""
    with lock:
        entry = _entries.pop(name, None)
        if entry is not None and entry.index is None:
            entry.function = entry.function._replace(rust=None, strict=False)
            entry.direct = entry.function.python
            entry.constant = entry.front = entry.rule = None


# --- the profile -----------------------------------------------------------------------------


def profiles() -> tuple[profile.Profile | None, profile.Profile]:
    """Return the profile of this host, if there is a usable one, and the packaged default."""
    global _profile, _default, profile_problem
    with lock:
        if _default is None:
            default = profile.default()
            try:
                file = profile.path()
            except profile.ProfileError:
                file = ""
            try:
                if file:
                    from fast_axolotl.calibration.fingerprint import key

                    _profile = profile.load(file, key())
            except FileNotFoundError:
                pass
            except profile.ProfileError as error:
                profile_problem = f"ignoring the profile {file}: {error}"
                trace.logger().warning("%s", profile_problem)
            _default = default
            source = _profile.source if _profile else _default.source
            trace.log(20, "decisions come from %s", source)
        return _profile, _default


def reload() -> None:
    """Forget the profile: the next decision reads it again."""
    global _profile, _default, profile_problem
    with lock:
        _profile = _default = profile_problem = None
        for entry in _entries.values():
            entry.cells = None
        push()


def use(found: profile.Profile) -> None:
    """Decide by this profile from now on (in this process)."""
    global _profile, _default
    with lock:
        _default = _default or profile.default()
        _profile = found
        for entry in _entries.values():
            entry.cells = None
            _fill(entry)
        push()


def _fill(entry: _Entry) -> dict[str, Cell]:
    if entry.cells is None:
        own, default = profiles()
        cells = {}
        for name in entry.function.cells():
            cells[name] = rules(name, own, default)
        entry.cells = cells
    return entry.cells


def rules(name: str, own: profile.Profile | None, default: profile.Profile) -> Cell:
    """Return the rules of a cell: the profile's, the default's, or the function's own."""
    for source in (own, default):
        found = profile.lookup(source.cells, name) if source is not None else None
        if found is not None:
            return found  # type: ignore[no-any-return]
    function = registry.FUNCTIONS.get(registry.split_cell(name)[0])
    return Cell(policy.always(PYTHON) if function is None else function.verdict)


def thread_budget() -> int:
    """Return how many threads a call may use here: its share where ranks share the machine."""
    usable: int = _core.usable_threads() if _core is not None else 1
    try:
        ranks = int(os.environ.get("LOCAL_WORLD_SIZE", "1"))
    except ValueError:
        ranks = 1
    return max(1, usable // max(1, ranks))


# --- what the extension is told --------------------------------------------------------------


def forced_rust(cell: Cell) -> Cell:
    """Return the rules of a cell where Rust is forced: only the number of threads is open."""
    one = policy.always(RUST)
    if cell.split is None:
        return Cell(one)
    return Cell(one, policy.always(THREADS, PYTHON, THREADS), cell.split)


def _tracked() -> bool:
    return trace.timing() or trace.tracing()


def push() -> None:
    """Tell the extension, and the wrappers of adapters, what holds now."""
    with lock:
        tracked = _tracked()
        for entry in _entries.values():
            function = entry.function
            mode = modes.process_mode(function.operation)
            standing = support.standing_reason(function)
            if entry.index is None:
                side = PYTHON if standing is not None else _constant(entry, mode)
                entry.constant = None if tracked else side
                entry.direct = function.python if entry.constant == PYTHON else None
                entry.front = function.front if entry.constant == RUST else None
                entry.rule = None if tracked or side is not None else _rule(entry, mode)
                continue
            refused = standing is not None
            _core.dispatch_push(
                entry.index,
                _SLOW if tracked else _state(entry, mode, refused),
                refused,
                mode == modes.RUST,
                None if entry.cells is None else _table(entry.cells),
            )
        if _core is not None:
            _core.dispatch_threads(thread_budget())


def _state(entry: _Entry, mode: str, refused: bool) -> int:
    """Return what the extension does with a call outside every block that nobody watches."""
    cells, threaded = entry.cells, entry.function.threaded
    if mode == modes.VERIFY and (cells is None or not refused):
        return _SLOW
    if refused or mode == modes.PYTHON:
        return _PYTHON
    if mode == modes.RUST and not threaded:
        return _RUST
    if cells is None:
        return _COLD
    if mode == modes.RUST:
        cells = {name: forced_rust(cell) for name, cell in cells.items()}
    constants = {cell.constant() for cell in cells.values()}
    if constants == {PYTHON}:
        return _PYTHON
    return _RUST if constants == {RUST} and mode != modes.RUST else _TABLE


def _constant(entry: _Entry, mode: str) -> str | None:
    """Return the side that a mode uses at every size, if it is known."""
    if mode == modes.PYTHON:
        return PYTHON
    if mode == modes.VERIFY or entry.cells is None or entry.function.threaded:
        return None
    if mode == modes.RUST:
        return None if entry.function.strict else RUST
    sides = {cell.constant() for cell in entry.cells.values()}
    return sides.pop() if len(sides) == 1 else None


def _rule(entry: _Entry, mode: str) -> policy.Verdict | None:
    """Return the rule of a function that has one for all its calls, where nothing else decides."""
    cells = entry.cells
    if mode != modes.AUTO or cells is None or len(cells) != 1 or entry.function.threaded:
        return None
    (cell,) = cells.values()
    return cell.one


_KINDS = ("always", "threshold", "plane")


def _table(cells: dict[str, Cell]) -> list[tuple[Any, ...]]:
    table = []
    for name, cell in cells.items():
        _, layout, output, collector = registry.split_cell(name)
        table.append((layout, output, collector, *(_encoded(verdict) for verdict in cell)))
    return table


def _encoded(verdict: policy.Verdict | None) -> tuple[int, bool, int, float, list[float]] | None:
    # kind, whether the challenger is used (always) or used above (threshold), feature, at, and the
    # plane as one difference: the challenger wins where it is negative.
    if verdict is None:
        return None
    difference = [0.0] * 4
    if verdict.costs is not None:
        holder, challenger = verdict.costs
        difference = [c * (1 + policy.PLANE_MARGIN) - h for h, c in zip(holder, challenger)]
    challenger_used = verdict.challenger in (verdict.side, verdict.above)
    feature = policy.FEATURES.index(verdict.feature) if verdict.feature else 0
    return _KINDS.index(verdict.kind), challenger_used, feature, verdict.at, difference


def log_state(message: str) -> None:
    """Log a change of what holds."""
    import sys

    if "logging" in sys.modules:
        trace.log(20, "%s", message)


#: Of arguments that are no call at all: the side chosen for them raises what there is to raise.
_NO_SIZES = policy.Sizes(0, 0, 0)

# --- one call --------------------------------------------------------------------------------


def slow(index: int, args: Arguments, kwargs: Keywords) -> Any:
    """Answer a call that the extension did not decide by itself."""
    return answer(_native[index], args, kwargs)


def answer(entry: _Entry, args: Arguments, kwargs: Keywords) -> Any:
    """Answer a call: decide, or verify, and count.

    Raises:
        UnsupportedError: Rust is forced and can't take the call.
        VerificationError: `verify`, and the sides differ.
    """
    function = entry.function
    if entry.constant == RUST and modes.override.get() is None:
        refused = support.refusal(function, args, kwargs)
        return run(entry, RUST if refused is None else PYTHON, args, kwargs)
    mode = modes.current(function.operation)
    if mode != modes.PYTHON and entry.cells is None:
        with lock:
            _fill(entry)
            push()
    if mode == modes.AUTO and not _tracked():
        # Sizes first: where the original is chosen, nobody need ask what Rust can take.
        side, _ = _decide(entry, mode, args, kwargs)
        if side != PYTHON and support.refusal(function, args, kwargs) is not None:
            side = PYTHON
        return run(entry, side, args, kwargs)
    reason = None if mode == modes.PYTHON else support.refusal(function, args, kwargs)
    if reason is not None:
        if mode == modes.RUST and function.strict and function.name not in support.quarantined:
            raise support.UnsupportedError(f"{function.name}: Rust can't take this call: {reason}")
        trace.log(10, "%s: python, since %s", function.name, reason)
    elif mode == modes.VERIFY:
        from .verify import verify

        return verify(entry, args, kwargs)
    is_open = mode != modes.PYTHON and reason is None
    if _tracked():
        return _tracked_answer(entry, mode, is_open, args, kwargs)
    side = _decide(entry, mode, args, kwargs)[0] if is_open else PYTHON
    return run(entry, side, args, kwargs)


def _tracked_answer(
    entry: _Entry, mode: str, is_open: bool, args: Arguments, kwargs: Keywords
) -> Any:
    """Answer a call that is logged or timed; `is_open`: it need not go to the original."""
    function = entry.function
    side, call = PYTHON, None
    if is_open:
        side, call = _decide(entry, mode, args, kwargs)
        trace.log(
            10,
            "%s: %s (mode %s, %s -> %s, %.0f rows, %.0f elements)",
            *(function.name, side, mode, call.layout, call.output, *call.sizes[:2]),
        )
    if not trace.timing():
        return run(entry, side, args, kwargs)
    if call is None:
        call = describe(entry, args, kwargs)
    known = {} if call is None else predicted(function, call, collector_on())
    sample = side != PYTHON and PYTHON not in known and trace.samples(function, entry.sampled)
    original = _time_original(function, args, kwargs) if sample else known.get(PYTHON)
    begin = time.perf_counter()
    result = run(entry, side, args, kwargs)
    spent = time.perf_counter() - begin
    figures = entry.seconds[side]
    figures[0] += 1
    figures[1] += spent
    if side != PYTHON and original is not None:
        figures[2] += original - spent
    else:
        figures[3] += spent
    if sample and original is not None:
        # The first call of an original compiles and imports: it says nothing of the others.
        if entry.sampled[0]:
            entry.sampled[1] += original
            entry.sampled[2] += spent
        entry.sampled[0] += 1
    return result


def _time_original(function: Function, args: Arguments, kwargs: Keywords) -> float | None:
    """Return the seconds of the original, apart from the call itself; None where it raises."""
    try:
        with modes.dispatch_mode(modes.PYTHON), function.aside(args, kwargs) as (args, kwargs):
            begin = time.perf_counter()
            function.python(*args, **kwargs)
            return time.perf_counter() - begin
    except Exception:
        return None


def collector_on() -> bool:
    """Whether the garbage collector runs by itself."""
    import gc

    return gc.isenabled()


def describe(entry: _Entry, args: Arguments, kwargs: Keywords) -> Call | None:
    """Return what a decision sees of a call; None where the arguments are no call at all."""
    try:
        return entry.function.describe(args, kwargs)
    except Exception:
        return None  # the chosen side raises what there is to raise


def _decide(entry: _Entry, mode: str, args: Arguments, kwargs: Keywords) -> tuple[str, Call]:
    function = entry.function
    call = describe(entry, args, kwargs)
    if call is None:
        call = Call(function.layouts[0], function.outputs[0], _NO_SIZES)
    cells = _fill(entry)
    collector = not function.allocates or call.output != "lists" or collector_on()
    cell = cells.get(registry.cell_name(function.name, call.layout, call.output, collector))
    if cell is None:
        cell = Cell(policy.always(RUST if mode == modes.RUST else PYTHON))
    many = may_share(function, call.sizes, call.threads)
    if threads_forced(mode, many, call.threads):
        return THREADS, call
    if mode == modes.RUST:
        cell = forced_rust(cell)
    return cell.choose(call.sizes, many), call


def may_share(function: Function, sizes: policy.Sizes, threads: int) -> bool:
    """Whether a call may use several threads now; one row is never shared between them."""
    return function.threaded and sizes.rows > 1 and threads != 1 and threads_free()


def threads_forced(mode: str, many: bool, threads: int) -> bool:
    """Whether a call that may use several threads does: Rust is forced and they were asked for."""
    return many and mode == modes.RUST and threads > 1


def forced(entry: _Entry, side: str) -> Callable[..., Any]:
    """Return a function of the extension as it is when a side of it is forced, uncounted."""
    if not entry.function.threaded:
        return entry.function.rust  # type: ignore[return-value]
    name = (entry.function.name, side)
    if name not in _forced:
        _forced[name] = _core.forced(entry.index, IMPLEMENTATIONS.index(side))
    return _forced[name]


def threads_free() -> bool:
    """Whether a call may use several threads now."""
    return _core is not None and bool(_core.threads_free())


def run(entry: _Entry, side: str, args: Arguments, kwargs: Keywords) -> Any:
    """Answer a call by one implementation, and count it."""
    if entry.index is not None:
        return _core.dispatch_run(entry.index, IMPLEMENTATIONS.index(side), args, kwargs)
    function = entry.function
    if side == PYTHON or function.rust is None:
        entry.calls[PYTHON] += 1
        return function.python(*args, **kwargs)
    try:
        result = function.rust(*args, **kwargs)
    except BaseException as error:
        if _core is None or not isinstance(error, _core.PANICS):
            entry.calls[side] += 1
            raise
        panicked(function.operation, str(error))
        entry.calls[PYTHON] += 1
        return function.python(*args, **kwargs)
    entry.calls[side] += 1
    return result


def panicked(operation: str, message: str) -> None:
    """Quarantine an operation, with one warning that asks for a report."""
    import warnings

    with lock:
        known = any(f.name in support.quarantined for f in registry.functions_of(operation))
        support.quarantine(operation, f"quarantined after a panic in this process: {message}")
        push()
    log_state(f"{operation} is quarantined: {message}")
    if known:
        return
    text = (
        f"fast-axolotl: the Rust side of {operation!r} panicked ({message}); the Python originals "
        "answer for the rest of this process. Please report it with the output of "
        "`fast-axolotl doctor`: https://github.com/neul-labs/fast-axolotl/issues"
    )
    try:
        warnings.warn(text, RuntimeWarning, stacklevel=2)
    except RuntimeWarning:
        # Warnings are errors here; the call answers all the same.
        trace.logger().warning("%s", text)


def dispatched(function: Function) -> Callable[..., Any]:
    """Return a registered function's dispatched form, for functions that adapters bring.

    Name, docstring, module and signature are the original's.
    """
    entry = entry_of(function)
    block = modes.override.get
    calls = entry.calls

    @wraps(function.python)
    def call(*args: Any, **kwargs: Any) -> Any:
        front = entry.front
        if front is not None and not kwargs:
            try:
                found = front(args)
            except _core.PANICS as error:
                panicked(function.operation, str(error))
                return answer(entry, args, kwargs)
            if found is not NotImplemented:
                calls[RUST] += 1
                return found
        direct = entry.direct
        if direct is not None and block() is None:
            calls[PYTHON] += 1
            return direct(*args, **kwargs)
        rule = entry.rule
        if rule is not None and block() is None:
            # What `answer` does, in as few steps as may be: of a short call they are a share.
            described = describe(entry, args, kwargs)
            if rule.choose(_NO_SIZES if described is None else described.sizes) == PYTHON:
                calls[PYTHON] += 1
                return entry.function.python(*args, **kwargs)
            refused = support.refusal(entry.function, args, kwargs)
            return run(entry, RUST if refused is None else PYTHON, args, kwargs)
        return answer(entry, args, kwargs)

    with lock:
        push()
    return call


# --- figures ---------------------------------------------------------------------------------


def predicted(function: Function, call: Call, collector: bool) -> dict[str, float]:
    """Return the predicted seconds of each side, as far as there is a fit."""
    own, default = profiles()
    collector = collector or not function.allocates or call.output != "lists"
    name = registry.cell_name(function.name, call.layout, call.output, collector)
    for source in (own, default):
        fits = profile.lookup(source.fits, name) if source is not None else None
        if fits:
            return {side: cost.at(call.sizes) / 1e9 for side, cost in fits.items()}
    return {}


def figures_by_function() -> dict[str, dict[str, dict[str, float]]]:
    """Return the figures of every function in the table."""
    with lock:
        return {
            entry.function.name: _figures(entry)
            for entry in _entries.values()
            if entry.function.name in registry.FUNCTIONS
        }


def _figures(entry: _Entry) -> dict[str, dict[str, float]]:
    counts = entry.calls
    if entry.index is not None:
        counts = dict(zip(IMPLEMENTATIONS, _core.dispatch_counts(entry.index)))
    found: dict[str, dict[str, float]] = {}
    for side in IMPLEMENTATIONS:
        found[side] = {"calls": counts[side]}
        timed, seconds, saved, unknown = entry.seconds[side]
        if timed:
            if side != PYTHON and entry.sampled[2]:
                # What the sampled calls took says how long the others would have.
                saved += unknown * (entry.sampled[1] / entry.sampled[2] - 1)
            found[side].update(timed=timed, seconds=seconds, saved=saved)
    return found


def collect() -> dict[str, dict[str, dict[str, float]]]:
    """Return the figures of every operation (see `fast_axolotl.stats`)."""
    figures: dict[str, dict[str, dict[str, float]]] = {}
    for name, sides in figures_by_function().items():
        function = registry.FUNCTIONS.get(name)
        if function is None:
            continue  # it left the table meanwhile
        operation = figures.setdefault(
            function.operation, {side: {"calls": 0} for side in IMPLEMENTATIONS}
        )
        for side, values in sides.items():
            sums = operation[side]
            for key, value in values.items():
                sums[key] = sums.get(key, 0) + value
    return figures


def reset_counts() -> None:
    """Set all figures to zero."""
    with lock:
        for entry in _entries.values():
            entry.forget_figures()
            if entry.index is not None:
                _core.dispatch_reset(entry.index)
