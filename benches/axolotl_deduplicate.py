"""Exact deduplication, against Axolotl's own: interleaved minima, and memory on a million rows.

    python benches/axolotl_deduplicate.py [--quick] [--memory]

Ours is the dispatched form, as installed. `--memory` measures instead how much the peak of a
process of its own grows during one call on 10^6 rows, where nothing is kept (every row is in
`seen_hashes` or the same) and where all is.
"""

import argparse
import json
import random
import subprocess
import sys
from typing import Any

import heap
import seam_bench

ROWS = 1_000_000


def tokens(rows: int) -> Any:
    from datasets import Dataset

    draw = random.Random(0)
    ids = [[draw.randrange(128_000) for _ in range(525)] for _ in range(rows)]
    return Dataset.from_dict({"input_ids": ids})


def texts(rows: int, length: int, characters: str) -> Any:
    from datasets import Dataset

    draw = random.Random(0)
    kinds = ["".join(draw.choices(characters, k=length)) for _ in range(rows * 3 // 4)]
    return Dataset.from_dict({"text": [kinds[i % len(kinds)] for i in range(rows)]})


ASCII = "abcdefghijklmnopqrstuvwxyz" * 3 + "     .,'\n"
CJK = "".join(map(chr, range(0x4E00, 0x9FA6)))


def compare(quick: bool) -> None:
    heap.keep()
    import fast_axolotl

    fast_axolotl.install()
    import axolotl.utils.data.utils  # noqa: F401

    stock, ours = seam_bench.seam("deduplicate")
    found = []

    def measure(name: str, dataset: Any, goal: float | None, rounds: int, number: int = 1) -> None:
        answers = [side(dataset) for side in (stock, ours)]
        assert answers[0][1] == answers[1][1]
        assert answers[0][0]._fingerprint == answers[1][0]._fingerprint
        row = seam_bench.compare(name, stock, ours, lambda: (dataset,), goal, rounds, number)
        found.append(row)

    rounds = 2 if quick else 4
    for rows in (1, 2, 10, 100):
        measure(f"{rows} rows of 525 tokens", tokens(rows), 0.97, 15, 5)
    measure("5,000 rows of 525 tokens", tokens(5000), 38, rounds)
    measure("5,000 rows of 525 tokens, shuffled", tokens(5000).shuffle(seed=1), None, rounds)
    measure("50,000 rows of 500 ASCII characters", texts(50_000, 500, ASCII), 28, rounds)
    measure("50,000 rows of 250 CJK characters", texts(50_000, 250, CJK), 24, rounds)
    seam_bench.write("axolotl_deduplicate.json", found)


# --- memory --------------------------------------------------------------------------------------


def peak(side: str, kept: str, rows: int) -> None:
    """Print by how many bytes the peak of this process grows during one call."""
    import resource

    import numpy as np
    import pyarrow as pa
    from datasets import Dataset

    import fast_axolotl

    fast_axolotl.install()
    import axolotl.utils.data.utils  # noqa: F401

    call = seam_bench.seam("deduplicate")[side == "ours"]
    values = np.arange(rows) if kept == "all" else np.zeros(rows, np.int64)
    dataset = Dataset(pa.table({"a": values}), fingerprint="f" * 16)
    call(dataset.select(range(100)))
    call(dataset.select(range(5000)))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    result, seen = call(dataset)
    after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    assert len(result) == len(seen) == (rows if kept == "all" else 1)
    print(json.dumps((after - before) * 1024 / rows))


def memory(rows: int) -> None:
    for kept in ("none", "all"):
        for side in ("ours", "stock"):
            command = [sys.executable, __file__, "--peak", side, kept, str(rows)]
            text = subprocess.run(command, check=True, capture_output=True, text=True).stdout
            grown = json.loads(text.splitlines()[-1])
            print(f"{rows:,} rows, {kept} kept, {side}: {grown:.1f} bytes a row", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="fewer rounds")
    parser.add_argument("--memory", action="store_true", help="memory instead of time")
    parser.add_argument("--rows", type=int, default=ROWS, help="of --memory")
    parser.add_argument("--peak", nargs=3, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.peak:
        side, kept, rows = given.peak
        peak(side, kept, int(rows))
    elif given.memory:
        memory(given.rows)
    else:
        compare(given.quick)


if __name__ == "__main__":
    main()
