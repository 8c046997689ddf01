"""What the benchmarks of seams share: interleaved minima, a table, a JSON file.

    python benches/seam_bench.py

prints what they measured last, as a table for the documentation.
"""

import argparse
import gc
import json
import os
import platform
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import heap

os.environ.setdefault("AXOLOTL_DO_NOT_TRACK", "1")
os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
os.environ.setdefault("CUDA_VISIBLE_DEVICES", "")

RESULTS = Path(__file__).parent / "results"
#: Calls in a row, of which all but the first find what they read in the caches of the CPU; seconds
#: of a call that does not depend on that.
_IN_A_ROW, _LONG = 3, 0.1


class Row(NamedTuple):
    """One line of the table: seconds of both, and the ratio asked for."""

    name: str
    stock: float
    ours: float
    goal: float | None

    @property
    def ratio(self) -> float:
        return self.stock / self.ours


def run(
    description: str | None, file: str, parts: "Mapping[str, Callable[[bool], list[Row]]]"
) -> None:
    """Read the command line, measure, and write the table.

    Args:
        description: of the benchmark, for `--help`.
        file: of the results.
        parts: name -> what measures a part of the table; given whether it has to be quick.
    """
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--quick", action="store_true", help="fewer rounds and sizes")
    parser.add_argument("--only", choices=list(parts), help="leave the other parts out")
    options = parser.parse_args()
    heap.keep()
    print(f"{'':58} {'Axolotl':>13} {'ours':>12} {'ratio':>9}")
    rows: list[Row] = []
    for name, measure in parts.items():
        if options.only in (None, name):
            rows += measure(options.quick)
    write(file if options.only is None else file.replace(".", f"_{options.only}."), rows)


def compare(
    name: str,
    stock: Callable[..., Any],
    ours: Callable[..., Any],
    arguments: Callable[[], tuple[Any, ...]],
    goal: float | None = None,
    rounds: int = 15,
    number: int = 1,
    clean: Callable[[], object] = lambda: None,
    in_a_row: int = _IN_A_ROW,
) -> Row:
    """Time both in turn, on arguments made anew for each call, and keep the lowest of each.

    A turn is `in_a_row` calls, or one that is long; the result of each is freed outside the clock.
    What is timed is one call, or `number` of them, the result of each freed before the next: a
    train loop, too, gets for a batch the memory of the one before it. The collector rests
    meanwhile. After each, `clean` removes what the calls left behind.
    """
    best = {stock: float("inf"), ours: float("inf")}
    for _ in range(rounds):
        for work in (stock, ours):
            gc.collect()
            gc.disable()
            for _ in range(in_a_row):
                given = [arguments() for _ in range(number)]
                begin = time.perf_counter()
                for args in given:
                    # The result before is freed here.
                    result = None
                    result = work(*args)
                spent = time.perf_counter() - begin
                del result
                clean()
                best[work] = min(best[work], spent / number)
                if spent > _LONG:
                    break
            gc.enable()
    row = Row(name, best[stock], best[ours], goal)
    wanted = "" if goal is None else f"   goal {goal:g}x"
    print(
        f"{name:58} {row.stock * 1e3:10.4f} ms {row.ours * 1e3:9.4f} ms {row.ratio:8.2f}x{wanted}",
        flush=True,
    )
    return row


def write(file: str, rows: list[Row]) -> None:
    """Write the rows to `benches/results`."""
    import datasets
    import torch
    import transformers

    import fast_axolotl

    RESULTS.mkdir(exist_ok=True)
    found = {
        "python": platform.python_version(),
        "machine": platform.machine(),
        "cpus": os.cpu_count(),
        "fast_axolotl": fast_axolotl.get_version(),
        "torch": torch.__version__,
        "transformers": transformers.__version__,
        "datasets": datasets.__version__,
        "rows": [{**row._asdict(), "ratio": row.ratio} for row in rows],
    }
    (RESULTS / file).write_text(json.dumps(found, indent=2) + "\n")


def seam(name: str) -> tuple[Callable[..., Any], Callable[..., Any]]:
    """Return the original and the dispatched form that stands in its place."""
    from fast_axolotl.axolotl import patching

    patch = patching.applied[name]
    return patching.unbound(patch.original), patching.unbound(patch.replacement)


def table() -> None:
    """Print what was measured last as a table for the documentation."""
    for file in sorted(RESULTS.glob("axolotl_*.json")):
        found = json.loads(file.read_text())
        print(f"\n`python benches/{file.stem.partition('.')[0]}.py`\n")
        print("| call | Axolotl | ours | ratio | goal |\n| --- | ---: | ---: | ---: | ---: |")
        for row in found["rows"]:
            goal = "" if row["goal"] is None else f"{row['goal']:g}x"
            missed = " ✗" if row["goal"] and row["ratio"] < row["goal"] else ""
            stock, ours = _time(row["stock"]), _time(row["ours"])
            print(f"| {row['name']} | {stock} | {ours} | {row['ratio']:.2f}x | {goal}{missed} |")


def _time(seconds: float) -> str:
    for unit, factor in (("s", 1), ("ms", 1e3), ("µs", 1e6)):
        if seconds * factor >= 1 or unit == "µs":
            return f"{seconds * factor:.3g} {unit}"
    raise AssertionError


if __name__ == "__main__":
    table()
