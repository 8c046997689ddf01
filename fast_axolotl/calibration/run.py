"""A whole calibration: grids, cells, points, refinement near crossings, rules, audit, profile."""

import os
import random
import time
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

from fast_axolotl.dispatch import call as calls
from fast_axolotl.dispatch import modes, profile, registry
from fast_axolotl.dispatch.policy import PYTHON, RUST, THREADS, Cell, Cost
from fast_axolotl.dispatch.registry import Arguments, Function, Keywords
from fast_axolotl.dispatch.verify import first_difference

from . import fit, measure
from .fit import AUDIT, FIT, SELECT, Point
from .measure import Case, Probe

EFFORTS = ("quick", "default", "full")

# Called with the part done (0 to 1) and what is being done.
Progress = Callable[[float, str], None]


class Grid(NamedTuple):
    """How much a calibration measures.

    Attributes:
        seconds: wall time of the measurements.
        floor: nanoseconds a timing lasts.
        rounds: the least rounds a case.
        rows: row counts.
        lengths: elements a row.
        elements: the most tokens of one case.
        characters: the most characters of one case; threads pay late.
        select: points a cell held out for the choice of the verdict.
        audit: points a cell held out for the audit.
        cold: passes over all cases on several threads; 0 for no thread crossover.
        cold_seconds: wall time since the beginning up to which more of them are made.
        collector: whether cells with the collector off are measured.
    """

    seconds: float
    floor: float
    rounds: int
    rows: tuple[int, ...]
    lengths: tuple[int, ...]
    elements: int
    characters: int
    select: int
    audit: int
    cold: int
    cold_seconds: float
    collector: bool


class DifferenceError(Exception):
    """The sides gave different answers: nothing is timed, and no profile is written."""


def grids() -> dict[str, Grid]:
    """Return the grid of each effort."""
    import json

    file = os.path.join(os.path.dirname(__file__), "grids.json")
    with open(file, encoding="utf-8") as stream:
        data = json.load(stream)
    return {
        name: Grid(**{**grid, "rows": tuple(grid["rows"]), "lengths": tuple(grid["lengths"])})
        for name, grid in data.items()
    }


def calibrate(
    effort: str = "default",
    functions: Iterable[Function] | None = None,
    progress: Progress | None = None,
    grid: Grid | None = None,
    seed: int | None = None,
    key: dict[str, Any] | None = None,
) -> dict[str, Any]:
    """Measure where the sides cross on this host, and return the profile.

    Args:
        effort: "quick", "default" or "full".
        functions: of the table; None for all that have a workload.
        progress: told how far it is.
        grid: what to measure, instead of the grid of `effort`.
        seed: of the points held out; None for others each time.
        key: of the profile; None for that of this host.

    Returns:
        The profile, ready for `fast_axolotl.dispatch.profile.write`.

    Raises:
        BusyError: the machine is too busy.
        DifferenceError: the sides do not agree.
    """
    begin = time.perf_counter()
    grid = grid or grids()[effort]
    chosen = list(registry.FUNCTIONS.values() if functions is None else functions)
    chosen = [f for f in chosen if f.workload is not None and f.rust is not None]
    seed = random.SystemRandom().getrandbits(32) if seed is None else seed
    probe = Probe()
    for _ in range(4):
        probe.look()
    names = [name for f in chosen for name in _measurable(f, grid)]
    table = {f.name: f for f in chosen}
    report = progress or (lambda _part, _what: None)
    measured: dict[str, list[Point]] = {}
    threaded = [n for n in names if grid.cold and _has_threads(table[registry.split_cell(n)[0]])]
    # Those first: how several threads do is then seen over the time of all the others.
    names.sort(key=lambda name: name not in threaded)
    asleep = measure.Asleep(grid.cold)
    numbers: dict[str, list[int | None]] = {}
    with modes.dispatch_mode(modes.AUTO):
        deadline = begin + grid.seconds
        for i, name in enumerate(names):
            report(i / (len(names) + 1), name)
            left = max(0.0, deadline - time.perf_counter()) * (1 - _COLD_SHARE * bool(threaded))
            function = table[registry.split_cell(name)[0]]
            cases, points = _measure_cell(
                function, name, grid, left / (len(names) - i), probe, seed
            )
            measured[name] = points
            if name in threaded:
                numbers[name] = [
                    asleep.add(case) if point.times[RUST] >= _NO_THREADS else None
                    for case, point in zip(cases, points)
                ]
            else:
                asleep.advance((i + 1 - len(threaded)) / (len(names) - len(threaded)))
        asleep.advance(1.0)
        asleep.go_on(begin + grid.cold_seconds)
    gains = asleep.gains()
    for name, found in numbers.items():
        pairs = zip(measured[name], found)
        measured[name] = [_with_threads(p, None if i is None else gains[i]) for p, i in pairs]
    probe.check(least=8)
    report(1.0, "fit")
    rules: dict[str, Cell] = {}
    costs: dict[str, dict[str, Cost]] = {}
    threads_from = fit.threads_pay_from(measured.values())
    for name, points in measured.items():
        rules[name], costs[name] = fit.fit_cell(points, threads_from)
    if key is None:
        from .fingerprint import key as host_key

        key = host_key()
    return profile_data(key, effort, measured, rules, costs, probe, time.perf_counter() - begin)


def profile_data(
    key: dict[str, Any],
    effort: str,
    measured: dict[str, list[Point]],
    rules: dict[str, Cell],
    costs: dict[str, dict[str, Cost]],
    probe: Probe,
    seconds: float,
) -> dict[str, Any]:
    """Return a profile's data."""
    found = fit.audit(rules, {name: tuple(points) for name, points in measured.items()})
    return {
        "version": profile.VERSION,
        "key": key,
        "made": {
            "at": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
            "effort": effort,
            "seconds": round(seconds, 2),
            "disturbed": round(probe.disturbed, 3),
        },
        "points": {name: fit.points_text(points) for name, points in measured.items()},
        "fit": {
            name: {side: fit.cost_data(cost) for side, cost in sides.items()}
            for name, sides in costs.items()
        },
        "verdicts": {name: fit.cell_data(cell) for name, cell in rules.items()},
        "audit": {
            name: value if isinstance(value, int) else round(value, 5)
            for name, value in found.items()
        },
    }


def _has_threads(function: Function) -> bool:
    return function.threaded and calls.thread_budget() > 1 and calls.threads_free()


def _measurable(function: Function, grid: Grid) -> list[str]:
    names = []
    for name in function.cells():
        _, layout, output, collector = registry.split_cell(name)
        # A tensor shares a NumPy array's memory: "numpy" stands for it (see profile.lookup).
        if output == "torch" or (not collector and not grid.collector):
            continue
        if (layout in ("arrays", "array") or output == "numpy") and not _importable("numpy"):
            continue
        if "arrow" in (layout, output) and not _importable("pyarrow"):
            continue
        names.append(name)
    return names


def _importable(library: str) -> bool:
    try:
        __import__(library)
    except ImportError:
        return False
    return True


def _sizes_of(function: Function, grid: Grid, draw: random.Random) -> list[tuple[int, int, str]]:
    """Return (rows, length, role) of the points of a cell."""
    lengths = grid.lengths
    most = grid.characters if function.threaded else grid.elements
    grid_points = [
        (rows, length, FIT) for rows in grid.rows for length in lengths if rows * length <= most
    ]
    held = []
    for role, count in ((SELECT, grid.select), (AUDIT, grid.audit)):
        for _ in range(count):
            while True:
                rows = round(_log_uniform(draw, grid.rows[0], grid.rows[-1]))
                length = round(_log_uniform(draw, lengths[0], lengths[-1]))
                if rows * length <= most:
                    break
            held.append((rows, length, role))
    return grid_points + held


def _log_uniform(draw: random.Random, low: float, high: float) -> float:
    return float(low * (high / low) ** draw.random())


def _measure_cell(
    function: Function, name: str, grid: Grid, budget: float, probe: Probe, seed: int
) -> tuple[list[Case], list[Point]]:
    begin = time.perf_counter()
    _, layout, output, collector = registry.split_cell(name)
    restore = calls.collector_on()
    try:
        if not collector:
            _set_collector(False)
        cases = []
        # The same sizes for every output of a layout, so that inputs are made once.
        draw = random.Random(f"{seed}{function.name}{layout}")
        for i, (rows, length, role) in enumerate(_sizes_of(function, grid, draw)):
            compare = i % 3 == 0 and rows * length <= 4096
            cases.append(_case(function, name, layout, output, rows, length, role, compare))
        spent = time.perf_counter() - begin
        found = measure.measure(cases, 0.8 * budget - spent, grid.floor, probe, grid.rounds)
        points = measure.points(cases, found)
        left = budget - (time.perf_counter() - begin)
        more, refined = _refine(function, name, points, grid, left, probe)
        return cases + more, points + refined
    finally:
        _set_collector(restore)


def _set_collector(on: bool) -> None:
    import gc

    if on:
        gc.enable()
    else:
        gc.disable()


def _case(
    function: Function,
    name: str,
    layout: str,
    output: str,
    rows: int,
    length: int,
    role: str,
    compare: bool = False,
) -> Case:
    assert function.workload is not None
    args, kwargs = function.workload(layout, output, rows, length)
    call = function.describe(args, kwargs)
    sides = [PYTHON, RUST] + ([THREADS] if _has_threads(function) else [])
    runs = {side: runner(function, side) for side in sides}
    if compare:
        _compare(function, runs, args, kwargs)
    timers = {side: measure.timer(run, args, kwargs) for side, run in runs.items()}
    return Case(name, call.sizes, role, timers)


def runner(function: Function, side: str) -> Callable[..., Any]:
    """Return what calls one side of a function directly."""
    entry = calls.entry_of(function)
    if side == PYTHON:
        return function.python
    assert function.rust is not None
    if entry.index is None:
        return function.rust
    return calls.forced(entry, side)


def _compare(
    function: Function, runs: dict[str, Callable[..., Any]], args: Arguments, kwargs: Keywords
) -> None:
    wanted = runs[PYTHON](*args, **kwargs)
    for side, run in runs.items():
        if side == PYTHON:
            continue
        difference = first_difference(run(*args, **kwargs), wanted)
        if difference is not None:
            place, got, expected = difference
            raise DifferenceError(
                f"{function.operation}: {function.name}: {place or 'the result'}: "
                f"{side} {got}, python {expected}"
            )


# Below this (nanoseconds on one thread) no thread comes in time: as good as one thread.
_NO_THREADS = 20_000.0
# The part of the time that goes to passes with the pool asleep.
_COLD_SHARE = 0.25


def _with_threads(point: Point, gain: tuple[float, float] | None) -> Point:
    # Asleep, both sides pay for the pause (caches, clock); their ratio is put on the warm time.
    best, usual = gain or (1.0, 1.0)
    # The audit is about what a call usually loses. No call gains more than it has threads: what
    # says so was disturbed while it ran on one.
    part = max(usual if point.role == AUDIT else best, 1 / calls.thread_budget())
    return point._replace(times={**point.times, THREADS: point.times[RUST] * part})


# Octaves about a crossing.
_STEPS = (-1.2, -0.8, -0.4, 0.0, 0.4, 0.8, 1.2)


def _refine(
    function: Function, name: str, points: list[Point], grid: Grid, seconds: float, probe: Probe
) -> tuple[list[Case], list[Point]]:
    """Measure more points around a crossing of Python and one thread."""
    verdict = fit.choose_verdict(points, PYTHON, RUST)
    if verdict.kind != "threshold":
        return [], []
    _, layout, output, _ = registry.split_cell(name)
    cases = []
    for step in _STEPS:
        rows, length = _size_at(points, verdict.feature, verdict.at * 2**step)
        if rows * length <= 4 * max(grid.elements, grid.characters):
            cases.append(_case(function, name, layout, output, rows, length, FIT))
    if not cases:
        return [], []
    found = measure.measure(cases, seconds, 4 * grid.floor, probe, grid.rounds + 2)
    return cases, measure.points(cases, found)


def _size_at(points: list[Point], feature: str, at: float) -> tuple[int, int]:
    # Along the row length where most points near the crossing lie.
    near = min(points, key=lambda p: abs(_log(getattr(p.sizes, feature)) - _log(at)))
    length = max(1, round(near.sizes.elements / max(1.0, near.sizes.rows)))
    if feature == "rows":
        return max(1, round(at)), length
    if near.sizes.rows <= 1:
        return 1, max(1, round(at))
    return max(1, round(at / length)), length


def _log(value: float) -> float:
    import math

    return math.log(max(value, 0.5))


__all__ = [
    "EFFORTS",
    "DifferenceError",
    "Grid",
    "calibrate",
    "grids",
    "profile_data",
    "runner",
]
