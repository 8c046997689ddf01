"""The batches of the sampler against Axolotl's own: values, state, randomness, errors."""

import random
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from seam_tools import ended, original, replacement, reset, types_of

from fast_axolotl.dispatch import dispatch_mode

pytestmark = pytest.mark.filterwarnings("ignore")


collections: list[int] = []


@pytest.fixture(autouse=True, scope="module")
def _axolotl() -> Iterator[None]:
    reset("axolotl.utils.samplers.multipack")
    import axolotl.utils.samplers.multipack as module

    # Counted, not done: they are most of what stock takes.
    gc, module.gc = module.gc, SimpleNamespace(collect=lambda: collections.append(1))
    yield
    module.gc = gc


def stock_class() -> Any:
    """The sampler with its own method, and all else as it is."""
    from axolotl.utils.samplers.multipack import MultipackBatchSampler

    class Stock(MultipackBatchSampler):
        generate_batches = original("generate_batches")

    return Stock


def our_class() -> Any:
    from axolotl.utils.samplers.multipack import MultipackBatchSampler

    return MultipackBatchSampler


STATE = (
    "_batches",
    "_len_across_ranks",
    "epoch",
    "total_tokens_used",
    "total_token_slots",
    "num_count_samples",
)


def state_of(sampler: Any) -> Any:
    values = [getattr(sampler, name) for name in STATE]
    return values, types_of(values)


def epochs(sampler: Any) -> list[Any]:
    """What a trainer asks of a sampler, and what is left on it after each question."""
    found: list[Any] = []
    found += [ended(len, (sampler,), {}), state_of(sampler)]
    for epoch in range(2):
        sampler.set_epoch(epoch)
        found += [ended(lambda s: list(s), (sampler,), {}), state_of(sampler)]
        found += [ended(lambda s: list(s), (sampler,), {}), state_of(sampler)]
    found.append(ended(type(sampler).efficiency, (sampler,), {}))
    return found


def agree(make: Any) -> Any:
    """Drive both from the same random state; everything seen is the same, in the end as well."""
    import torch

    results = []
    for side, mode in ((stock_class(), "python"), (our_class(), "rust")):
        torch.manual_seed(7)
        random.seed(7)
        np.random.seed(7)
        with dispatch_mode(mode):
            seen = epochs(make(side))
        results.append((seen, torch.get_rng_state().tolist(), random.getstate(), np.random.rand()))
    assert results[0] == results[1]
    return results[0][0]


class Drawn:
    """A sampler that is an iterable and nothing else."""

    def __init__(self, indices: list[Any]) -> None:
        self._indices = indices

    def __iter__(self) -> Iterator[Any]:
        yield from self._indices

    def __repr__(self) -> str:
        return f"Drawn({self._indices})"


@settings(deadline=None)
@given(
    st.lists(st.integers(1, 120), max_size=120),
    st.integers(1, 4),
    st.sampled_from((0, 1, 2, 8, 200)),
    st.sampled_from((1, 13, 100_000)),
    st.booleans(),
    st.booleans(),
    st.booleans(),
    st.sampled_from(("all", "some", "again", "numpy", "negative")),
)
def test_epochs(
    lengths: list[int],
    batch_size: int,
    bin_size: int,
    group_size: int,
    drop_last: bool,
    sequential: bool,
    safe_mode: bool,
    kind: str,
) -> None:
    indices: list[Any] = list(range(len(lengths)))
    random.Random(len(lengths)).shuffle(indices)
    if kind == "some":
        indices = indices[::2]
    elif kind == "again":
        indices += indices
    elif kind == "numpy":
        indices = list(np.array(indices, np.int64))
    elif kind == "negative":
        indices = [i - len(lengths) for i in indices]
    agree(
        lambda side: side(
            Drawn(indices),
            batch_size=batch_size,
            batch_max_len=100,
            lengths=np.array(lengths, np.int64),
            bin_size=bin_size,
            drop_last=drop_last,
            sequential=sequential,
            group_size=group_size,
            num_processes=1,
            safe_mode=safe_mode,
        )
    )


@pytest.mark.parametrize("sequential", [False, True])
@pytest.mark.parametrize("processes", [None, 0, 1, 2])
def test_random_sampler(processes: int | None, sequential: bool) -> None:
    from torch.utils.data import RandomSampler

    lengths = np.random.default_rng(3).lognormal(6.0, 0.8, 1500).clip(10, 4096)
    seen = agree(
        lambda side: side(
            RandomSampler(lengths),
            batch_size=2,
            batch_max_len=4096,
            lengths=lengths,
            bin_size=200,
            num_processes=processes,
            sequential=sequential,
        )
    )
    assert seen[0][2] > 50


def odd(change: Any) -> Any:
    def make(side: Any) -> Any:
        sampler = side(
            Drawn([0, 1, 2, 3]),
            batch_size=1,
            batch_max_len=8,
            lengths=np.array([5, 3, 9, 1]),
            bin_size=4,
            num_processes=1,
        )
        for name, value in change.items():
            setattr(sampler, name, value)
        return sampler

    return make


@pytest.mark.parametrize(
    "change",
    [
        {"sampler": Drawn([0, 1, 9])},
        {"sampler": Drawn([0, 1, "a"])},
        {"sampler": Drawn([0, 1.5])},
        {"sampler": Drawn([True, False, True, True])},
        {"sampler": Drawn([[0, 1], [2, 3]])},
        {"sampler": Drawn([1 << 70])},
        {"sampler": 5},
        {"lengths": np.array([5, 3, 9, 1], np.int64)},
        {"lengths": np.array([5.0, 3, 9, 1])},
        {"lengths": np.array([5, -3, 9, 1], np.int32)},
        {"lengths": [5, 3, 9, 1]},
        {"lengths": None},
        {"batch_max_len": 8.0},
        {"batch_max_len": None, "bin_size": None},
        {"batch_max_len": np.int64(8)},
        {"batch_size": 0},
        {"batch_size": -1},
        {"batch_size": None},
        {"batch_size": 1 << 64},
        {"group_size": 0},
        {"group_size": 1 << 64},
        {"group_size": None},
        *({"sequential": True, "group_size": size} for size in (None, -1, 2.0, 1 << 64, "x")),
        {"bin_size": -1},
        {"num_processes": -1},
        {"num_processes": "2"},
        {"mp_start_method": "nonsense"},
        {"mp_start_method": None},
        {"safe_mode": 1},
        {"sequential": 1},
        {"drop_last": 1},
        {"num_count_samples": 0},
        {"_len_across_ranks": 2},
    ],
    ids=str,
)
def test_odd_samplers(change: dict[str, Any]) -> None:
    agree(odd(change))


def test_the_objects_of_the_sampler_come_back() -> None:
    indices = [int(str(5000 + i)) for i in range(40)]
    sampler = our_class()(
        Drawn(indices), 2, 100, np.full(5040, 30), bin_size=10, num_processes=1, drop_last=False
    )
    with dispatch_mode("rust"):
        batches = sampler.generate_batches()
    found = [index for batch in batches for members in batch for index in members]
    assert {id(index) for index in found} == {id(index) for index in indices}


def test_other_packing_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    import axolotl.utils.samplers.multipack as module

    monkeypatch.setattr(
        module, "pack_parallel", lambda lengths, **_: [[i] for i in range(len(lengths))]
    )
    for side in (stock_class(), our_class()):
        sampler = odd({})(side)
        with dispatch_mode("rust"):
            assert sampler.generate_batches() == [[[0]], [[1]], [[2]], [[3]]]


def test_no_collection() -> None:
    collections.clear()
    with dispatch_mode("rust"):
        len(odd({})(our_class()))
    assert collections == []
    len(odd({})(stock_class()))
    assert len(collections) == 5


def test_verify_draws_once() -> None:
    import torch
    from torch.utils.data import RandomSampler

    lengths = np.arange(1, 300)
    states = []
    for mode in ("python", "verify"):
        torch.manual_seed(3)
        sampler = our_class()(RandomSampler(lengths), 2, 400, lengths, 100, num_processes=1)
        with dispatch_mode(mode):
            states.append((len(sampler), list(sampler), state_of(sampler)))
        states[-1] += (torch.get_rng_state().tolist(),)
    assert states[0] == states[1]
    assert replacement("generate_batches").__qualname__ == "MultipackBatchSampler.generate_batches"
