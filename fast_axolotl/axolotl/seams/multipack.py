"""Bins of rows for sample packing: first-fit and next-fit, with Axolotl's bins.

Axolotl compiles these by numba, in every worker again, and looks at every open bin for every row.
Here nothing is compiled, no process is started, and a tree of maxima finds the bin.
"""

from collections.abc import Callable
from functools import cache
from sys import modules
from typing import Any

from fast_axolotl._native import core
from fast_axolotl.axolotl.patch_map import Implementation, Seam
from fast_axolotl.dispatch.policy import Sizes
from fast_axolotl.dispatch.registry import Arguments, Call, Condition, Keywords

from .conditions import taking

MODULE = "axolotl.utils.samplers.multipack"
_core: Any = core

#: SHA-256 of the sources that the seams here and the batch sampler's stand for.
DIGESTS: dict[str, dict[str, str]] = {
    "ffd_check": {
        "0.19.0": "ec95758c1dcd35c4b21f10a4cdb7f841777d42c4a5065842e579b2d3c6937c4d",
    },
    "pack_group": {
        "0.19.0": "a2b2bd0e92457182505c59ca3e56a7d14466285401ff1958891fb4cc2c0b757d",
    },
    "_process_group": {
        "0.19.0": "86c72d293ba3f09e20c457bf262c03605c53989e3833831b5d89ab01ecaa0cc6",
    },
    "pack_parallel": {
        "0.19.0": "a2ed7c59b61c49870ed4d0a460dbd22f29db5392c32ff83c7c6a4ccda951beb7",
    },
    "allocate_sequentially": {
        "0.19.0": "c97292d45068d6b0b8dac6608584b1c575ea47d536133f5a0df6e6ad087f3cbe",
    },
}

#: Bins are never counted up to here.
_UNLIMITED = (1 << 63) - 1
#: Of what has room for one more in 64 bits on either side, as numba has it.
_LARGEST = (1 << 62) - 1
ONE_PROCESS = "Using single process for pack_parallel, running sequentially."


def is_length_array(value: Any) -> bool:
    """Return whether this is a plain 1-D array of integers that fit in an int64."""
    numpy = modules.get("numpy")
    if numpy is None or type(value) is not numpy.ndarray or value.ndim != 1:
        return False
    dtype = value.dtype
    kind = dtype.kind
    return bool((kind == "i" or (kind == "u" and dtype.itemsize < 8)) and dtype.isnative)


def is_size(value: Any) -> bool:
    """Return whether this is an int that numba takes for an int64, and no bool."""
    return type(value) is int and -_LARGEST <= value <= _LARGEST


def starts_no_process(num_processes: Any, start_method: Any) -> bool:
    """Return whether packing in `num_processes` fails for nothing but the packing."""
    if num_processes is not None and (type(num_processes) is not int or num_processes < 1):
        return False
    if num_processes != 1:
        from multiprocessing import current_process

        if current_process().daemon:
            return False  # which may have no children
    return not start_method or start_method in _start_methods()


@cache
def _start_methods() -> list[str]:
    from multiprocessing import get_all_start_methods

    return get_all_start_methods()


def processes(count: int, group_size: int, asked: int | None) -> int:
    """Return how many processes Axolotl would use."""
    if asked is not None:
        return asked
    from multiprocessing import cpu_count

    return max(1, min(count // group_size, cpu_count(), 16))


def _is_check(sequence_lengths: Any, bin_capacity: Any, num_bins: Any) -> bool:
    if not is_length_array(sequence_lengths) or sequence_lengths.dtype.str[1:] not in ("i4", "i8"):
        return False
    # Bins have the type of the lengths, and a place in memory.
    limit = _LARGEST if sequence_lengths.itemsize == 8 else (1 << 31) - 1
    return (
        is_size(bin_capacity)
        and abs(bin_capacity) <= limit
        and type(num_bins) is int
        and 0 <= num_bins <= 1 << 24
    )


def _is_group(
    sequence_lengths: Any,
    group_offset: Any,
    bin_capacity: Any,
    max_bins: Any,
    bin_size: Any,
    safe_mode: Any = True,
) -> bool:
    sizes = (group_offset, bin_capacity, max_bins, bin_size)
    return (
        is_length_array(sequence_lengths) and all(map(is_size, sizes)) and type(safe_mode) is bool
    )


def _is_parallel(
    sequence_lengths: Any,
    bin_capacity: Any,
    group_size: Any,
    bin_size: Any,
    num_processes: Any = None,
    safe_mode: Any = True,
    mp_start_method: Any = "fork",
) -> bool:
    return (
        is_length_array(sequence_lengths)
        and is_size(bin_capacity)
        and is_size(bin_size)
        and type(group_size) is int
        and 0 < group_size <= _LARGEST
        and type(safe_mode) is bool
        and starts_no_process(num_processes, mp_start_method)
    )


def _is_sequential(sequence_lengths: Any, rank: Any, bin_capacity: Any, num_ranks: Any) -> bool:
    sizes = (rank, bin_capacity, num_ranks)
    return (
        is_length_array(sequence_lengths)
        and all(map(is_size, sizes))
        and rank >= 0
        and num_ranks > 0
    )


def _taking(test: Callable[..., bool]) -> tuple[Condition, ...]:
    return (taking(test, "the lengths are no plain array of integers, or a size is no plain int"),)


def _build_check(_original: Implementation) -> Implementation:
    def ffd_check(sequence_lengths: Any, bin_capacity: int, num_bins: int) -> Any:
        return _core.multipack_fits(sequence_lengths, bin_capacity, num_bins)

    return ffd_check


def _build_group(_original: Implementation) -> Implementation:
    def pack_group(
        sequence_lengths: Any,
        group_offset: int,
        bin_capacity: int,
        max_bins: int,
        bin_size: int,
        safe_mode: bool = True,
    ) -> Any:
        count = len(sequence_lengths)
        bins = max(0, max_bins) if safe_mode else _UNLIMITED
        return _core.multipack_pack(
            sequence_lengths, bin_capacity, count, bin_size, bins, group_offset
        )

    return pack_group


def _build_parallel(original: Implementation) -> Implementation:
    log: Any = getattr(original, "__globals__", {})

    def pack_parallel(
        sequence_lengths: Any,
        bin_capacity: int,
        group_size: int,
        bin_size: int,
        num_processes: int | None = None,
        safe_mode: bool = True,  # noqa: ARG001 - a group may have as many bins as rows
        mp_start_method: str | None = "fork",  # noqa: ARG001 - no process is started
    ) -> Any:
        if processes(len(sequence_lengths), group_size, num_processes) == 1:
            log["LOG"].debug(ONE_PROCESS)
        return _core.multipack_pack(
            sequence_lengths, bin_capacity, group_size, bin_size, _UNLIMITED, 0
        )

    return pack_parallel


def _call_parallel(args: Arguments) -> Any:
    """Answer a call of `pack_parallel` that makes one group in this process, as most do."""
    if len(args) != 5 or type(args[4]) is not int or args[4] != 1:
        return NotImplemented
    lengths, capacity, group_size, per_bin, _ = args
    numpy = modules.get("numpy")
    if numpy is None or type(lengths) is not numpy.ndarray or type(group_size) is not int:
        return NotImplemented
    if lengths.ndim != 1 or not 0 < group_size >= len(lengths) or "fork" not in _start_methods():
        return NotImplemented
    bins = _core.call_pack_group((lengths, 0, capacity, 0, per_bin, False))
    if bins is not NotImplemented:
        modules[MODULE].LOG.debug(ONE_PROCESS)
    return bins


def _build_sequential(_original: Implementation) -> Implementation:
    def allocate_sequentially(
        sequence_lengths: Any, rank: int, bin_capacity: int, num_ranks: int
    ) -> Any:
        bins, used, count = _core.multipack_sequential(
            sequence_lengths, rank, bin_capacity, num_ranks
        )
        return bins, used, count * bin_capacity

    return allocate_sequentially


def _describe(args: Arguments, kwargs: Keywords) -> Call:
    lengths = args[0] if args else kwargs["sequence_lengths"]
    count = len(lengths)
    return Call("axolotl", "axolotl", Sizes(count, count, count))


def _lengths(rows: int, length: int) -> Any:
    """Return lengths as texts have them, `length` in the middle."""
    from numpy import int32
    from numpy.random import default_rng

    drawn = default_rng(rows).lognormal(0.0, 0.8, rows) * length
    return drawn.clip(1, 8 * length).astype(int32)


def _workload(
    rest: Callable[[int, int], Arguments],
) -> Callable[[str, str, int, int], tuple[Arguments, Keywords]]:
    def workload(_layout: str, _output: str, rows: int, length: int) -> tuple[Arguments, Keywords]:
        return (_lengths(rows, length), *rest(rows, 8 * length)), {}

    return workload


SEAMS: tuple[Seam, ...] = (
    Seam(
        name="ffd_check",
        module=MODULE,
        attribute="ffd_check",
        build=_build_check,
        digests=DIGESTS["ffd_check"],
        operation="multipack",
        describe=_describe,
        conditions=_taking(_is_check),
        front=getattr(_core, "call_ffd_check", None),
        workload=_workload(lambda rows, capacity: (capacity, max(1, rows // 7))),
    ),
    Seam(
        name="pack_group",
        module=MODULE,
        attribute="pack_group",
        build=_build_group,
        digests=DIGESTS["pack_group"],
        operation="multipack",
        describe=_describe,
        conditions=_taking(_is_group),
        front=getattr(_core, "call_pack_group", None),
        workload=_workload(lambda rows, capacity: (0, capacity, rows, capacity)),
    ),
    Seam(
        name="pack_parallel",
        module=MODULE,
        attribute="pack_parallel",
        build=_build_parallel,
        digests=DIGESTS["pack_parallel"],
        operation="multipack",
        describe=_describe,
        conditions=_taking(_is_parallel),
        front=_call_parallel,
        workload=_workload(lambda _rows, capacity: (capacity, 100_000, capacity, 1)),
        relies_on={
            "pack_group": DIGESTS["pack_group"],
            "_process_group": DIGESTS["_process_group"],
        },
    ),
    Seam(
        name="allocate_sequentially",
        module=MODULE,
        attribute="allocate_sequentially",
        build=_build_sequential,
        digests=DIGESTS["allocate_sequentially"],
        operation="multipack",
        describe=_describe,
        conditions=_taking(_is_sequential),
        front=getattr(_core, "call_allocate_sequentially", None),
        workload=_workload(lambda _rows, capacity: (0, capacity, 1)),
    ),
)
