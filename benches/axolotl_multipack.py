"""Packing functions and the batch sampler, against Axolotl's own with numba warm.

    python benches/axolotl_multipack.py [--quick] [--only packing|sampler]

Bins of 4,096. The sampler's figure is `len` and the first epoch, of 20,000 rows.
"""

from collections.abc import Callable
from types import FunctionType
from typing import Any

import seam_bench

import fast_axolotl

CAPACITY = 4096
LENGTHS = ("lognormal", "10..100", "uniform")
GOALS = {("lognormal", 10_000): 4.0, ("lognormal", 100_000): 24.0}


def lengths_of(kind: str, count: int) -> Any:
    import numpy

    draw = numpy.random.default_rng(0)
    if kind == "lognormal":
        return draw.lognormal(6.0, 0.8, count).clip(10, CAPACITY).astype(numpy.int32)
    high = 100 if kind == "10..100" else CAPACITY
    return draw.integers(10, high + 1, count).astype(numpy.int32)


def untouched() -> Callable[..., Any]:
    """Return `pack_parallel` as it is without us: it packs groups by whatever has that name."""
    from axolotl.utils.samplers import multipack

    function = seam_bench.seam("pack_parallel")[0]
    names = {**vars(multipack), "pack_group": seam_bench.seam("pack_group")[0]}
    group = multipack._process_group
    names["_process_group"] = FunctionType(group.__code__, names)
    return FunctionType(
        function.__code__, names, argdefs=function.__defaults__, closure=function.__closure__
    )


def packing(quick: bool) -> list[seam_bench.Row]:
    import axolotl.utils.samplers.multipack  # noqa: F401

    from fast_axolotl._native import core

    native: Any = core
    rows = []
    for kind in LENGTHS:
        for count in (10, 100, 1000, 10_000, *(() if quick else (100_000,))):
            lengths = lengths_of(kind, count)
            bins = 1 + int(lengths.sum()) // CAPACITY
            calls: dict[str, tuple[Any, ...]] = {
                "pack_group": (lengths, 0, CAPACITY, count, CAPACITY, True),
                "pack_parallel": (lengths, CAPACITY, 100_000, CAPACITY, 1),
                "ffd_check": (lengths, CAPACITY, bins),
                "allocate_sequentially": (lengths, 0, CAPACITY, 1),
            }
            rounds = 3 if count == 100_000 else 7
            number = max(1, 2000 // count)
            for name, given in calls.items():
                stock, ours = seam_bench.seam(name)
                if name == "pack_parallel":
                    stock = untouched()
                assert ours(*given) == stock(*given)
                goal = GOALS.get((kind, count))
                rows.append(
                    seam_bench.compare(
                        f"{name}, {kind}, {count:,}",
                        stock,
                        ours,
                        lambda given=given: given,
                        goal,
                        rounds,
                        number,
                    )
                )
            stock, _ = seam_bench.seam("pack_group")
            rows.append(
                seam_bench.compare(
                    f"pack_group, {kind}, {count:,}, not dispatched",
                    lambda array, count=count, stock=stock: stock(
                        array, 0, CAPACITY, count, CAPACITY, True
                    ),
                    lambda array, count=count: native.multipack_pack(
                        array, CAPACITY, count, CAPACITY, count, 0
                    ),
                    lambda lengths=lengths: (lengths,),
                    GOALS.get((kind, count)),
                    rounds,
                    number,
                )
            )
    return rows


def sampler(quick: bool) -> list[seam_bench.Row]:
    import torch
    from axolotl.utils.samplers.multipack import MultipackBatchSampler
    from torch.utils.data import RandomSampler

    lengths = lengths_of("lognormal", 20_000)

    def epoch(mode: str, processes: int) -> tuple[int, Any]:
        torch.manual_seed(0)
        with fast_axolotl.dispatch_mode(mode):
            made = MultipackBatchSampler(
                RandomSampler(lengths), 4, CAPACITY, lengths, 200, num_processes=processes
            )
            return len(made), list(made)

    rows = []
    for processes, goal in ((2, 45.0), (1, 25.0)):
        assert epoch("python", processes) == epoch("auto", processes)
        rows.append(
            seam_bench.compare(
                f"MultipackBatchSampler, 20,000 rows, num_processes={processes}",
                lambda processes: epoch("python", processes),
                lambda processes: epoch("auto", processes),
                lambda processes=processes: (processes,),
                goal,
                rounds=2 if quick else 4,
            )
        )
    return rows


if __name__ == "__main__":
    seam_bench.run(__doc__, "axolotl_multipack.json", {"sampler": sampler, "packing": packing})
