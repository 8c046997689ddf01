"""The packing functions against Axolotl's own: bins, types, errors."""

import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from seam_tools import ended, original, replacement, reset

import fast_axolotl
from fast_axolotl._native import core
from fast_axolotl.dispatch import call, dispatch_mode, modes, support

FUNCTIONS = ("ffd_check", "pack_group", "pack_parallel", "allocate_sequentially")


@pytest.fixture(autouse=True, scope="module")
def _axolotl() -> None:
    reset("axolotl.utils.samplers.multipack")


def agree(name: str, *args: Any, **kwargs: Any) -> Any:
    """Call both sides; values, types and errors are the same."""
    wanted, found = both(name, *args, **kwargs)
    assert found == wanted
    return wanted


def both(name: str, *args: Any, **kwargs: Any) -> tuple[Any, Any]:
    """Return how the original ended, and ours: outside of a block, where short calls go first."""
    wanted = ended(original(name), args, kwargs)
    with rust_everywhere():
        short = ended(replacement(name), args, kwargs)
    with dispatch_mode("rust"):
        found = ended(replacement(name), args, kwargs)
    # What numba says the second time ends in another way.
    length = 80 if found[0] == "raised" else None
    assert [*short[:2], str(short[2])[:length]] == [*found[:2], str(found[2])[:length]]
    return wanted, found


@contextmanager
def rust_everywhere() -> Iterator[None]:
    before = dict(modes._process)
    modes.set_mode("auto,multipack=rust")
    try:
        yield
    finally:
        modes._replace(before)


# Each is one more compilation by numba.
KINDS = (
    (np.int32, "plain"),
    (np.int32, "strided"),
    (np.int32, "read-only"),
    (np.int64, "plain"),
    (np.uint8, "plain"),
)


@st.composite
def lengths(draw: st.DrawFn) -> Any:
    dtype, layout = draw(st.sampled_from(KINDS))
    info = np.iinfo(dtype)
    low = draw(st.sampled_from((0, 0, 0, 10, 90, -5)))
    high = draw(st.sampled_from((12, 100, 120, 4096)))
    bounds = max(low, info.min), min(max(low, high), info.max)
    values = draw(st.lists(st.integers(*bounds), max_size=200))
    array = np.array(values, dtype)
    if layout == "strided":
        array = np.repeat(array, 2)[::-2]
    elif layout == "read-only":
        array.flags.writeable = False
    return array


CAPACITIES = st.sampled_from((100, 100, 99, 1, 0, -3, 4096, 1 << 40))
quick = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])


@quick
@given(lengths(), CAPACITIES, st.integers(0, 60), st.booleans())
def test_check(array: Any, capacity: int, bins: int, enough: bool) -> None:
    agree("ffd_check", array, capacity, bins + (len(array) if enough else 0))


@quick
@given(
    lengths(),
    st.sampled_from((0, 7, 1 << 35, -2)),
    CAPACITIES,
    st.sampled_from((0, 1, 3, 1000, -1)),
    st.sampled_from((0, 1, 2, 5, 1000, -1)),
    st.booleans(),
)
def test_group(
    array: Any, offset: int, capacity: int, max_bins: int, bin_size: int, safe: bool
) -> None:
    agree("pack_group", array, offset, capacity, max_bins, bin_size, safe)


@quick
@given(
    lengths(),
    CAPACITIES,
    st.sampled_from((1, 2, 17, 100_000)),
    st.sampled_from((0, 1, 2, 5, 1000)),
    st.booleans(),
)
def test_parallel(array: Any, capacity: int, group_size: int, bin_size: int, safe: bool) -> None:
    agree(
        "pack_parallel",
        array,
        bin_capacity=capacity,
        group_size=group_size,
        bin_size=bin_size,
        num_processes=1,
        safe_mode=safe,
    )


@quick
@given(lengths(), st.integers(0, 5), CAPACITIES, st.integers(1, 4))
def test_sequential(array: Any, rank: int, capacity: int, ranks: int) -> None:
    agree("allocate_sequentially", array, rank, capacity, ranks)


@pytest.mark.parametrize("count", [300, 5000])
@pytest.mark.parametrize("capacity", [4096, 131072])
def test_bins_of_real_lengths(count: int, capacity: int) -> None:
    draw = np.random.default_rng(count)
    for array in (
        draw.lognormal(6.0, 0.8, count).clip(10, 4096).astype(np.int32),
        draw.integers(10, 101, count).astype(np.int32),
        draw.integers(1, 5000, count).astype(np.int64),
        np.full(count, 512, np.int32),
    ):
        kind, _, bins = agree("pack_parallel", array, capacity, 1000, 200, 1)
        assert kind == "returned"
        agree("pack_group", array, 0, capacity, count, 8, True)
        agree("allocate_sequentially", array, 0, capacity, 1)
        least = int(array.sum()) // capacity
        for bins in (least, least + 1, least + 8, count):
            agree("ffd_check", array, capacity, bins)


def test_workers_pack_the_same() -> None:
    array = np.random.default_rng(1).integers(10, 2000, 700).astype(np.int32)
    agree("pack_parallel", array, 4096, 100, 200, 2)
    agree("pack_parallel", array, 4096, 100, 200, num_processes=2, mp_start_method=None)
    agree("pack_parallel", array, 4096, 100_000, 200)
    agree("pack_parallel", array[:0], 4096, 100, 200, 2)


ARRAY = np.array([5, 3, 9, 1], np.int32)
ODD: list[tuple[str, Callable[[], tuple[Any, ...]]]] = [
    ("pack_parallel", lambda: (ARRAY, 8, 0, 4, 1)),
    ("pack_parallel", lambda: (ARRAY, 8, 0, 4)),
    ("pack_parallel", lambda: (ARRAY, 8, -1, 4, 1)),
    ("pack_parallel", lambda: (ARRAY, 8, 2, 4, 0)),
    ("pack_parallel", lambda: (ARRAY, 8, 2, 4, -1)),
    ("pack_parallel", lambda: (ARRAY, 8, 2.0, 4, 1)),
    ("pack_parallel", lambda: (ARRAY, 8.5, 2, 4, 1)),
    ("pack_parallel", lambda: (ARRAY, True, 2, 4, 1)),
    ("pack_parallel", lambda: (ARRAY, 1 << 70, 2, 4, 1)),
    ("pack_parallel", lambda: (ARRAY, "8", 2, 4, 1)),
    ("pack_parallel", lambda: (ARRAY, 8, 2, None, 1)),
    ("pack_parallel", lambda: (ARRAY.astype(float), 8, 2, 4, 1)),
    ("pack_parallel", lambda: (ARRAY.astype(np.uint64), 8, 2, 4, 1)),
    ("pack_parallel", lambda: (ARRAY.astype(">i4"), 8, 2, 4, 1)),
    ("pack_parallel", lambda: (ARRAY.reshape(2, 2), 8, 2, 4, 1)),
    ("pack_parallel", lambda: (None, 8, 2, 4, 1)),
    ("pack_parallel", lambda: (ARRAY, 8)),
    ("pack_parallel", lambda: ()),
    ("pack_parallel", lambda: (ARRAY, 8, 2, 4, 1, 1)),
    ("pack_parallel", lambda: (ARRAY, 8, 2, 4, 1, True, "nonsense")),
    ("pack_group", lambda: (ARRAY, 0, 8, 4, 4, 1)),
    ("pack_group", lambda: (list(range(5)), 0, 8, 4, 4, True)),
    ("ffd_check", lambda: (ARRAY, 8, -1)),
    ("ffd_check", lambda: (ARRAY, 8, 2.0)),
    ("ffd_check", lambda: (ARRAY.astype(np.int16), 1 << 20, 2)),
    ("ffd_check", lambda: (ARRAY, 1 << 33, 2)),
    ("allocate_sequentially", lambda: (ARRAY, -1, 8, 2)),
    ("allocate_sequentially", lambda: (ARRAY, 0, 8, 0)),
    ("allocate_sequentially", lambda: (ARRAY, 0, 8.5, 1)),
]


@pytest.mark.parametrize(("name", "make"), ODD, ids=[f"{n}-{i}" for i, (n, _) in enumerate(ODD)])
@pytest.mark.filterwarnings("ignore")
def test_odd_arguments_are_stocks_affair(name: str, make: Callable[[], tuple[Any, ...]]) -> None:
    wanted, found = both(name, *make())
    # What numba says of a type that it can't take ends in places of the file that differ.
    assert [*found[:2], str(found[2])[:80]] == [*wanted[:2], str(wanted[2])[:80]]


def test_replacements_look_like_the_originals() -> None:
    import inspect

    for name in FUNCTIONS:
        ours, stock = replacement(name), original(name)
        assert ours.__name__ == stock.__name__
        assert ours.__doc__ == stock.__doc__
        assert ours.__module__ == stock.__module__
        assert inspect.signature(ours) == inspect.signature(stock)


def test_nothing_is_compiled_and_no_process_starts(monkeypatch: pytest.MonkeyPatch) -> None:
    import axolotl.utils.samplers.multipack as module

    def fail(*_args: Any, **_kwargs: Any) -> None:
        raise AssertionError("a process was asked for")

    monkeypatch.setattr(module, "ProcessPoolExecutor", fail)
    monkeypatch.setattr(module, "_process_group", fail)
    fast_axolotl.reset_stats()
    with dispatch_mode("rust"):
        assert module.pack_parallel(ARRAY, 8, 2, 4, 2) == [[0, 1], [2], [3]]
    assert fast_axolotl.stats()["multipack"]["rust"]["calls"] == 1


def test_the_log_says_what_stocks_does(caplog: pytest.LogCaptureFixture) -> None:
    def lines(call: Callable[..., Any]) -> list[tuple[str, int, str]]:
        caplog.clear()
        with caplog.at_level("DEBUG"), dispatch_mode("rust"):
            call(ARRAY, 8, 2, 4, 1)
            call(ARRAY, 8, 100, 4)
        return [r for r in caplog.record_tuples if r[0].startswith("axolotl")]

    assert lines(replacement("pack_parallel")) == lines(original("pack_parallel"))


SHORT_CALLS: dict[str, tuple[Any, ...]] = {
    "ffd_check": (ARRAY, 8, 3),
    "pack_group": (ARRAY, 0, 8, 4, 4),
    "pack_parallel": (ARRAY, 8, 100, 4, 1),
    "allocate_sequentially": (ARRAY, 0, 8, 1),
}


@pytest.fixture
def _no_quarantine() -> Iterator[None]:
    yield
    support.quarantined.clear()
    call.push()


@pytest.mark.usefixtures("_no_quarantine")
@pytest.mark.parametrize("name", FUNCTIONS)
def test_a_panic_in_a_short_call_is_quarantined(name: str) -> None:
    native: Any = core
    args = SHORT_CALLS[name]
    wanted = ended(original(name), args, {})
    with rust_everywhere():
        replacement(name)(*args)
        fast_axolotl.reset_stats()
        native.dispatch_plant_panic(None)
        with pytest.warns(RuntimeWarning, match=r"(?s)'multipack' panicked.*planted.*doctor"):
            assert ended(replacement(name), args, {}) == wanted
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            # The whole operation: nothing asks Rust again.
            for other, given in SHORT_CALLS.items():
                assert ended(replacement(other), given, {}) == ended(original(other), given, {})
    assert fast_axolotl.stats()["multipack"]["rust"]["calls"] == 0
    assert "planted" in support.quarantined[name]
