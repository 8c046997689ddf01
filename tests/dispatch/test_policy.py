"""The rules are pure: numbers in, a name out."""

import math

import pytest
from dispatch_helpers import needs_rust
from hypothesis import given
from hypothesis import strategies as st

from fast_axolotl._native import core
from fast_axolotl.dispatch import call, policy
from fast_axolotl.dispatch.policy import PYTHON, RUST, THREADS, Cell, Cost, Sizes

sizes = st.builds(Sizes, *(st.floats(0, 1e9, allow_nan=False) for _ in range(3)))
costs = st.builds(Cost, *(st.floats(0, 1e6, allow_nan=False) for _ in range(4)))


def verdicts(holder: str, challenger: str) -> st.SearchStrategy[policy.Verdict]:
    side = st.sampled_from([holder, challenger])
    return st.one_of(
        side.map(lambda s: policy.always(s, holder, challenger)),
        st.builds(
            lambda feature, at, above: policy.threshold(feature, at, above, holder, challenger),
            st.sampled_from(policy.FEATURES),
            st.floats(0, 1e8),
            side,
        ),
        st.tuples(costs, costs).map(lambda pair: policy.plane(pair, holder, challenger)),
    )


cells = st.one_of(
    verdicts(PYTHON, RUST).map(Cell),
    st.builds(Cell, verdicts(PYTHON, RUST), verdicts(PYTHON, THREADS), verdicts(RUST, THREADS)),
)


@pytest.mark.parametrize("above", [PYTHON, RUST])
def test_a_threshold_has_two_directions(above: str) -> None:
    rule = policy.threshold("rows", 10, above)
    below = RUST if above == PYTHON else PYTHON
    assert rule.choose(Sizes(9.9, 1e6, 1e6)) == below
    assert rule.choose(Sizes(10, 1, 1)) == above


def test_python_wins_ties_of_a_plane() -> None:
    same = Cost(100, 10, 1, 0)
    assert policy.plane((same, same)).choose(Sizes(5, 50, 50)) == PYTHON
    barely = Cost(*(value * 0.97 for value in same))
    assert policy.plane((same, barely)).choose(Sizes(5, 50, 50)) == PYTHON
    clearly = Cost(*(value * 0.9 for value in same))
    assert policy.plane((same, clearly)).choose(Sizes(5, 50, 50)) == RUST


def test_threads_are_used_only_where_they_may_be() -> None:
    cell = Cell(
        policy.always(RUST),
        policy.always(THREADS, PYTHON, THREADS),
        policy.threshold("elements", 1000, THREADS, RUST, THREADS),
    )
    assert cell.choose(Sizes(10, 999, 0), threads=True) == RUST
    assert cell.choose(Sizes(10, 1000, 0), threads=True) == THREADS
    assert cell.choose(Sizes(10, 1000, 0), threads=False) == RUST


def test_python_may_win_against_many_threads_and_lose_against_one() -> None:
    cell = Cell(
        policy.always(RUST),
        policy.always(PYTHON, PYTHON, THREADS),
        policy.always(THREADS, RUST, THREADS),
    )
    assert cell.choose(Sizes(1, 1, 1), threads=True) == PYTHON
    assert cell.choose(Sizes(1, 1, 1), threads=False) == RUST
    assert cell.constant() is None


def test_constant_cells_are_recognised() -> None:
    assert Cell(policy.always(RUST)).constant() == RUST
    assert Cell(policy.always(PYTHON)).constant() == PYTHON
    assert Cell(policy.threshold("rows", 3, RUST)).constant() is None


def test_losses_are_parts_of_the_better_time() -> None:
    points = [
        (Sizes(1, 1, 1), {PYTHON: 100.0, RUST: 150.0}),
        (Sizes(9, 9, 9), {PYTHON: 9.0, RUST: 3.0}),
    ]
    assert policy.losses(policy.always(PYTHON), points) == [0.0, 2.0]
    assert policy.losses(policy.always(RUST), points) == [0.5, 0.0]


@needs_rust
@given(cell=cells, at=sizes, threads=st.booleans(), forced=st.booleans())
def test_the_extension_applies_the_same_rules(
    cell: Cell, at: Sizes, threads: bool, forced: bool
) -> None:
    used = call.forced_rust(cell) if forced else cell
    wanted = used.choose(at, threads)
    # Where a plane's two sides are equal to the last bit, either answer is right.
    for verdict in cell:
        if verdict is not None and verdict.costs is not None:
            holder, challenger = (cost.at(at) for cost in verdict.costs)
            if math.isclose(holder, challenger * (1 + policy.PLANE_MARGIN), rel_tol=1e-9):
                return
    data = ("lists", "lists", True, *(call._encoded(verdict) for verdict in cell))
    found = core.dispatch_choose(data, list(at), threads, forced)
    assert policy.IMPLEMENTATIONS[found] == wanted
