"""Nothing is kept, and no more memory is used than the result needs."""

import gc
import subprocess
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import psutil
import pyarrow as pa
import pytest
import strategies

CALLS = 100_000
BIG, FILL, END = 10**30, 10**31, 10**32
LISTS = [[BIG, 1, 2], [3, BIG], [], [BIG] * 5]
SMALL = [[300, 1], [2], [400] * 4]
BATCH = LISTS * 6
ARRAYS = [np.arange(300, 304), np.arange(5)]
ARROW = pa.array(SMALL)
TEXTS = ["a", "é" * 40, "x" * 100, "a"]
HASHES = ["0" * 64, "f" * 64]

WORK: dict[str, Callable[[SimpleNamespace], Any]] = {
    "pad": lambda f: f.pad_sequences(LISTS, 6, FILL),
    "pad left": lambda f: f.pad_sequences(LISTS, None, FILL, "left", 8),
    "pad, cut": lambda f: f.pad_sequences(LISTS, 1, FILL, truncate=True),
    "pad, mixed": lambda f: f.pad_sequences([(BIG, 2), [3], ARRAYS[0]], None, FILL),
    "pad to a width, mixed": lambda f: f.pad_sequences([[BIG, 2], (3,), ARRAYS[0]], 6, FILL),
    "pad a batch": lambda f: f.pad_sequences(BATCH, 80, FILL),
    "pad, Arrow": lambda f: f.pad_sequences(ARROW),
    "pad to NumPy": lambda f: f.pad_sequences(SMALL, output="numpy"),
    "pad arrays": lambda f: f.pad_sequences(ARRAYS),
    "pad arrays to NumPy": lambda f: f.pad_sequences(ARRAYS, output="numpy"),
    "pack": lambda f: f.pack_sequences(LISTS, 12, FILL, END, BIG),
    "pack to NumPy": lambda f: f.pack_sequences(SMALL, 12, 0, 2, output="numpy"),
    "concatenate": lambda f: f.concatenate_and_pack(LISTS, LISTS, LISTS, 12, FILL, END),
    "concatenate, mixed": lambda f: f.concatenate_and_pack(
        SMALL, ARRAYS_OF_SMALL, SMALL, 12, FILL, END
    ),
    "concatenate to NumPy": lambda f: f.concatenate_and_pack(
        SMALL, ARRAYS_OF_SMALL, SMALL, 12, 0, output="numpy"
    ),
    "mask": lambda f: f.create_padding_mask(3, 300),
    "hash": lambda f: f.parallel_hash_rows(TEXTS, 1),
    "hash, Arrow": lambda f: f.parallel_hash_rows(ARROW_TEXTS, 1),
    "deduplicate": lambda f: f.deduplicate_indices(TEXTS, HASHES, 1),
}
ARRAYS_OF_SMALL = [np.array(row) for row in SMALL]
ARROW_TEXTS = pa.array(TEXTS)

# pyarrow makes objects of its own for each of these: slower, so fewer of them.
SLOW: dict[str, Callable[[SimpleNamespace], Any]] = {
    "pad to Arrow": lambda f: f.pad_sequences(SMALL, output="arrow"),
    "pack to Arrow": lambda f: f.pack_sequences(SMALL, 12, 0, 2, output="arrow"),
    "sequences": lambda f: f.pad_sequences([strategies.Few([BIG, 2]), strategies.List([3])]),
}

ERRORS: dict[str, Callable[[SimpleNamespace], Any]] = {
    "row of a wrong kind": lambda f: f.pad_sequences([LISTS[0], (BIG,), None], 9, FILL),
    "not rows": lambda f: f.pack_sequences(BIG, 9, FILL, END),
    "row too long": lambda f: f.pad_sequences(LISTS, 3, FILL),
    "sequence too long": lambda f: f.pack_sequences([*LISTS, [BIG] * 99], 12, FILL, END),
    "row of a wrong kind, to the longest": lambda f: f.pad_sequences([*BATCH, None], None, FILL),
    "row too long, of a batch": lambda f: f.pad_sequences([*BATCH, [BIG] * 81], 80, FILL),
    "ragged": lambda f: f.concatenate_and_pack(LISTS, LISTS, [*LISTS[:3], [1]], 12, FILL),
    "not an int64": lambda f: f.pad_sequences([[1], [1, BIG]], output="numpy"),
    "not an integer": lambda f: f.pack_sequences([[1], [1, "a"]], 12, 0, 2, output="numpy"),
    "memory": lambda f: f.pad_sequences(LISTS, 2**60, FILL),
    "memory of NumPy": lambda f: f.pad_sequences(SMALL, 2**50, output="numpy"),
    "size": lambda f: f.pack_sequences(LISTS, BIG, FILL, END),
    "output": lambda f: f.pad_sequences(LISTS, output="what"),
    "floats": lambda f: f.pad_sequences([np.ones(2)]),
    "null": lambda f: f.pad_sequences(NULLS),
    "text of a wrong kind": lambda f: f.parallel_hash_rows(["a", "b", 5]),
    "surrogate": lambda f: f.parallel_hash_rows(["é", "\ud800"]),
    "existing": lambda f: f.deduplicate_indices(TEXTS, [*HASHES, 5]),
    "threads": lambda f: f.deduplicate_indices(TEXTS, HASHES, -1),
    "mask": lambda f: f.create_padding_mask(0, 2**62),
}
NULLS = pa.array([[1], [None]])


def repeat(work: Callable[[SimpleNamespace], Any], functions: SimpleNamespace, times: int) -> None:
    for _ in range(times):
        with suppress(Exception):
            work(functions)


def flat(work: Callable[[SimpleNamespace], Any], functions: SimpleNamespace, times: int) -> None:
    """Run `work` many times: references, blocks and resident memory stay where they are."""
    process = psutil.Process()
    watched = [BIG, FILL, END, None, "lists", LISTS, *LISTS, *ARRAYS, *TEXTS, *HASHES]
    repeat(work, functions, 2_000)
    gc.collect()
    counts = [sys.getrefcount(thing) for thing in watched]
    blocks, resident = sys.getallocatedblocks(), process.memory_info().rss
    repeat(work, functions, times)
    grown = process.memory_info().rss - resident
    more = sys.getallocatedblocks() - blocks
    after = [sys.getrefcount(thing) for thing in watched]
    # The lists of this function are references too; what a call kept would be there `times` times.
    assert [
        (thing, a, b) for thing, a, b in zip(watched, counts, after, strict=True) if abs(a - b) > 20
    ] == []
    assert more < 500, f"{more} blocks more after {times} calls"
    assert grown < 4 << 20, f"{grown} bytes more after {times} calls"


@pytest.mark.parametrize("name", WORK)
def test_flat(rust: SimpleNamespace, collector: bool, name: str) -> None:
    del collector
    flat(WORK[name], rust, CALLS)


@pytest.mark.parametrize("name", SLOW)
def test_flat_through_other_libraries(rust: SimpleNamespace, collector: bool, name: str) -> None:
    # With the collector off, cycles that pyarrow itself leaves behind would count as ours.
    flat(SLOW[name], rust, CALLS // 5 if collector else CALLS // 20)


@pytest.mark.parametrize("name", ERRORS)
def test_flat_on_errors(rust: SimpleNamespace, collector: bool, name: str) -> None:
    del collector
    with pytest.raises((TypeError, ValueError, OverflowError, MemoryError)):
        ERRORS[name](rust)
    flat(ERRORS[name], rust, CALLS)


QUIET = """
import sys
from fast_axolotl import _core as f
from collections import deque
assert "numpy" not in sys.modules
existing = ["\\ud800", "0" * 64]
row = deque([10**30])
def work():
    f.pad_sequences([row], None, 0, "left")
    f.parallel_hash_rows(["a"], 2**70)
    f.create_padding_mask(2**70, 0)
    f.deduplicate_indices(["a"], existing, 1)
for _ in range(1000): work()
blocks = sys.getallocatedblocks()
for _ in range(20_000): work()
print(sys.getallocatedblocks() - blocks)
"""


def test_errors_that_nobody_sees_are_dropped(rust: SimpleNamespace) -> None:
    """Calls that succeed although something failed inside, without NumPy to look things up in."""
    del rust
    run = subprocess.run([sys.executable, "-c", QUIET], capture_output=True, text=True, check=True)
    assert int(run.stdout) < 100


MEASURE = """
import re, sys
from fast_axolotl import _core as f
{prepare}

def status(name):
    with open("/proc/self/status") as lines:
        return next(int(line.split()[1]) << 10 for line in lines if line.startswith(name))

{warm}
with open("/proc/self/clear_refs", "w") as reset:
    reset.write("5")
before = status("VmRSS")
found = {call}
peak = status("VmHWM")

def size(found):
    if isinstance(found, dict):
        return sum(map(size, found.values()))
    if isinstance(found, list):
        # 16 bytes of the collector's before each list; items over 512 bytes have malloc's 16 too.
        return sys.getsizeof(found) + sum(
            sys.getsizeof(row) + 16 + 16 * (sys.getsizeof(row) > 560) for row in found
        ) + sum(-(sys.getsizeof(row) - 56) % 16 + 8 for row in found)
    return found.nbytes

rows = len(found) if not isinstance(found, dict) else len(found["input_ids"])
print(peak - before, size(found), {rows})
"""

LISTS_OF_32 = """
import itertools
ROWS = 200_000
rows = [[n % 200] * (n % 33) for n in range(ROWS)]
"""


@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="Linux tells the peak")
@pytest.mark.parametrize("output", ["lists", "numpy", "arrow"])
@pytest.mark.parametrize(
    ("prepare", "call"),
    [
        pytest.param(LISTS_OF_32, "f.pad_sequences(rows, output=OUTPUT)", id="pad"),
        pytest.param(
            LISTS_OF_32 + "rows = list(map(tuple, rows))",
            "f.pad_sequences(rows, output=OUTPUT)",
            id="pad tuples",
        ),
        pytest.param(
            # NumPy itself keeps some 70 bytes for an array whose buffer was asked for once.
            LISTS_OF_32 + "import numpy\nrows = [numpy.array(row, 'u1') for row in rows]\n"
            "for row in rows: memoryview(row)",
            "f.pad_sequences(rows, output=OUTPUT)",
            id="pad arrays",
        ),
        pytest.param(
            LISTS_OF_32 + "import pyarrow\nrows = pyarrow.array(rows, "
            "pyarrow.list_(pyarrow.uint8()))",
            "f.pad_sequences(rows, output=OUTPUT)",
            id="pad Arrow",
        ),
        pytest.param(LISTS_OF_32, "f.pack_sequences(rows, 512, 0, 2, output=OUTPUT)", id="pack"),
        pytest.param(
            LISTS_OF_32,
            "f.concatenate_and_pack(rows, rows, rows, 512, 0, output=OUTPUT)",
            id="concatenate",
        ),
    ],
)
def test_no_more_memory_than_the_result(
    rust: SimpleNamespace, prepare: str, call: str, output: str
) -> None:
    del rust
    call = call.replace("OUTPUT", repr(output))
    warm = f"import numpy, pyarrow\nsmall, rows = rows, rows[:10]\n{call}\nrows = small\n"
    # A row of the input or of the result, whichever are more: plans are made of both.
    code = MEASURE.format(prepare=prepare, warm=warm, call=call, rows="ROWS + rows")
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr
    used, result, rows = map(int, run.stdout.split())
    spare = used - result
    # Pages and the allocator's arenas come in whole pieces.
    assert spare <= 16 * rows + (3 << 20) + result // 50, f"{spare / rows:.1f} bytes a row"
