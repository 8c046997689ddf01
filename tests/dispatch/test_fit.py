"""Planted cost models: the fit finds them, whatever the noise and the direction."""

import math
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fast_axolotl.calibration import fit
from fast_axolotl.calibration.fit import AUDIT, FIT, SELECT, Point
from fast_axolotl.dispatch import policy
from fast_axolotl.dispatch.policy import PYTHON, RUST, THREADS, Cell, Cost, Sizes

ROWS = (1, 4, 16, 64, 256, 1024, 4096)
LENGTHS = (8, 64, 1024)


def points(
    costs: dict[str, Cost], noise: float = 0.0, seed: int = 0, rows: tuple[int, ...] = ROWS
) -> list[Point]:
    """Return points of cost models, with noise that only adds time."""
    draw = random.Random(seed)
    found = []
    grid = [(n, length, FIT) for n in rows for length in LENGTHS]
    for role in (SELECT, AUDIT):
        for _ in range(6):
            n = round(math.exp(draw.uniform(0, math.log(rows[-1]))))
            length = round(math.exp(draw.uniform(math.log(8), math.log(1024))))
            grid.append((n, length, role))
    for n, length, role in grid:
        sizes = Sizes(n, n * length, n * length)
        times = {s: c.at(sizes) * (1 + noise * draw.random()) for s, c in costs.items()}
        found.append(Point(sizes, times, role))
    return found


@given(
    st.tuples(st.floats(1, 1e4), st.floats(0, 500), st.floats(0.01, 100)).map(
        lambda abc: Cost(*abc, 0.0)
    )
)
@settings(max_examples=60)
def test_exact_times_give_the_cost_back(cost: Cost) -> None:
    found = fit.fit_cost(points({PYTHON: cost}), PYTHON)
    for point in points({PYTHON: cost}):
        assert found.at(point.sizes) == pytest.approx(cost.at(point.sizes), rel=1e-4)


def test_no_coefficient_is_negative() -> None:
    draw = random.Random(3)
    for _ in range(50):
        noisy = [
            Point(p.sizes, {PYTHON: draw.uniform(1, 1e6)})
            for p in points({PYTHON: Cost(1, 1, 1, 0)})
        ]
        assert min(fit.fit_cost(noisy, PYTHON)) >= 0


@pytest.mark.parametrize("above", [RUST, PYTHON])
@pytest.mark.parametrize("planted", [3, 20, 150, 1000])
@pytest.mark.parametrize("seed", range(4))
def test_a_planted_crossover_in_rows_is_found(planted: int, above: str, seed: int) -> None:
    # One side pays to begin, the other by the row; length costs nothing, so rows decide.
    starts, steps = Cost(500.0 * planted, 20, 0, 0), Cost(0.5 * planted, 520, 0, 0)
    costs = {RUST: starts, PYTHON: steps} if above == RUST else {RUST: steps, PYTHON: starts}
    exact = (starts.a - steps.a) / (steps.b - starts.b)
    cell, _ = fit.fit_cell(points(costs, noise=0.04, seed=seed))
    at = crossing(cell, lambda rows: Sizes(rows, rows * 64, rows * 64))
    assert cell.choose(Sizes(10 * planted, 640 * planted, 640 * planted), False) == above
    assert abs(math.log2(at / exact)) < 0.25


def crossing(cell: Cell, sizes_of: "object") -> float:
    """Return where the choice changes, by bisection over sizes."""
    low, high = 0.1, 1e7
    side = cell.choose(sizes_of(low), False)  # type: ignore[operator]
    assert cell.choose(sizes_of(high), False) != side  # type: ignore[operator]
    for _ in range(60):
        middle = math.sqrt(low * high)
        if cell.choose(sizes_of(middle), False) == side:  # type: ignore[operator]
            low = middle
        else:
            high = middle
    return low


@pytest.mark.parametrize("seed", range(4))
def test_what_no_threshold_can_say_is_said_by_a_plane(seed: int) -> None:
    # Rust is better by the element and worse by the row: short rows are Python's, long ones Rust's.
    costs = {PYTHON: Cost(200, 100, 10, 0), RUST: Cost(200, 1000, 1, 0)}
    cell, _ = fit.fit_cell(points(costs, noise=0.03, seed=seed))
    assert cell.choose(Sizes(1000, 1000 * 8, 8000), False) == PYTHON
    assert cell.choose(Sizes(1000, 1000 * 1000, 1e6), False) == RUST
    assert cell.choose(Sizes(10, 10 * 1000, 1e4), False) == RUST


def test_a_side_that_always_wins_is_always_used() -> None:
    slow, fast = Cost(900, 90, 9, 0), Cost(300, 30, 3, 0)
    for costs, side in (({PYTHON: slow, RUST: fast}, RUST), ({PYTHON: fast, RUST: slow}, PYTHON)):
        cell, _ = fit.fit_cell(points(costs, noise=0.05))
        assert cell.one == policy.always(side)


def test_python_wins_ties() -> None:
    same = Cost(300, 30, 3, 0)
    assert fit.fit_cell(points({PYTHON: same, RUST: same}))[0].one == policy.always(PYTHON)


def test_the_thread_crossover_is_found() -> None:
    one, many = Cost(200, 50, 1, 0), Cost(60_000, 50, 0.5, 0)
    python = Cost(200, 500, 2, 0)
    cell, _ = fit.fit_cell(points({PYTHON: python, RUST: one, THREADS: many}, noise=0.03))
    exact = (many.a - one.a) / 0.5
    assert cell.split is not None
    assert cell.choose(Sizes(100, exact / 4, 0), True) == RUST
    assert cell.choose(Sizes(100, exact * 4, 0), True) == THREADS
    assert cell.choose(Sizes(100, exact * 4, 0), False) == RUST


@pytest.mark.parametrize("seed", range(20))
def test_where_threads_begin_to_pay_is_told_by_all_cells_together(seed: int) -> None:
    draw = random.Random(seed)
    wait, gain = 60_000.0, 0.45

    def cell(slowness: float) -> list[Point]:
        found = []
        for octave in range(13, 22):
            one = 2.0**octave * slowness
            many = one - gain * max(0.0, one - wait)
            times = {RUST: one * draw.gauss(1, 0.02), THREADS: many * draw.gauss(1, 0.06)}
            found.append(Point(Sizes(2.0**octave, 0, 0), {PYTHON: 9 * one, **times}))
        return found

    found = fit.threads_pay_from([cell(1 + i / 6) for i in range(6)])
    won = (1 + fit.THREADS_MARGIN) * gain
    exact = wait * won / (won - fit.THREADS_MARGIN)
    assert abs(math.log2(found / exact)) < 0.25
    # There several threads win what is asked of them.
    assert exact / (exact - gain * (exact - wait)) == pytest.approx(1 + fit.THREADS_MARGIN)


def test_threads_that_never_pay_are_never_used() -> None:
    sizes = [Sizes(2.0**octave, 0, 0) for octave in range(13, 22)]
    for part in (1.0, 1.2, 0.9):
        told = [Point(size, {RUST: size.rows, THREADS: part * size.rows}) for size in sizes]
        assert fit.threads_pay_from([told]) == math.inf
    assert fit.threads_pay_from([[Point(sizes[0], {RUST: 1.0, PYTHON: 2.0})]]) == math.inf
    assert fit.threads_pay_from([]) == math.inf


def test_the_audit_counts_only_what_was_held_back() -> None:
    costs = {PYTHON: Cost(0, 100, 0, 0), RUST: Cost(0, 50, 0, 0)}
    measured = {"f/lists/lists": tuple(points(costs))}
    wrong = fit.audit({"f/lists/lists": Cell(policy.always(PYTHON))}, measured)
    right = fit.audit({"f/lists/lists": Cell(policy.always(RUST))}, measured)
    assert wrong["points"] == right["points"] == 6
    assert (wrong["mean"], wrong["max"]) == pytest.approx((1.0, 1.0))
    assert (right["mean"], right["p95"], right["max"]) == (0, 0, 0)
    assert wrong["against_python"] == pytest.approx(1)
    assert right["against_python"] == pytest.approx(2)


def test_points_survive_their_table() -> None:
    measured = points({PYTHON: Cost(1234.5, 1, 2, 0), RUST: Cost(1, 2, 3, 0)})
    back = fit.points_from(fit.points_text(measured))
    assert [p.role for p in back] == [p.role for p in measured]
    for old, new in zip(measured, back):
        assert new.sizes == old.sizes
        assert new.times == pytest.approx(old.times, rel=1e-4)
