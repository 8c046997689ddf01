"""Do more threads help? Hashing and reading on one thread, two, four, up to all that are usable.

    python benches/threads.py [--rows 20000] [--output FOLDER]

Hashing has Rust forced and the number of threads asked for; the pool is warm. Reading counts the
rows of `open_dataset` in batches of 1,000; pyarrow's whole-table readers, on all threads, stand
beside where there is one. Sides take turns; minima. Writes `threads.{json,md}`.
"""

import argparse
import json
import platform
import random
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import fast_axolotl
from fast_axolotl import dispatch_mode
from fast_axolotl.calibration.fingerprint import key
from fast_axolotl.dispatch.call import thread_budget

ROUNDS = 5
TEXTS = ((10_000, 20, 80), (100_000, 20, 80), (20_000, 300, 700), (10_000, 1_500, 2_500))
FILES = (
    "data.parquet",
    "one.parquet",
    "zstd.arrow",
    "data.arrow",
    "data.jsonl",
    "data.jsonl.gz",
    "data.jsonl.zst",
    "data.json",
    "data.csv",
    "data.csv.gz",
    "data.txt",
)
Line = dict[str, float]


def counts() -> list[int]:
    """Return the powers of two up to the usable threads, and these."""
    most = thread_budget()
    found = [1]
    while found[-1] * 2 < most:
        found.append(found[-1] * 2)
    return sorted({*found, most})


def fastest(works: dict[str, Callable[[], Any]]) -> Line:
    """Return the lowest seconds of each, all of them in turn."""
    best = dict.fromkeys(works, float("inf"))
    for _ in range(ROUNDS):
        for name, work in works.items():
            begin = time.perf_counter()
            result = work()
            best[name] = min(best[name], time.perf_counter() - begin)
            del result
    return best


def hashing() -> dict[str, Line]:
    """Return seconds by threads for each kind of text."""
    draw = random.Random(1)
    lines = {}
    for count, shortest, longest in TEXTS:
        rows = [
            "".join(draw.choices("abcdefgh ", k=draw.randint(shortest, longest)))
            for _ in range(count)
        ]
        for name in ("parallel_hash_rows", "deduplicate_indices"):
            function = getattr(fast_axolotl, name)

            def forced(
                mode: str, threads: int, function: Any = function, rows: list[str] = rows
            ) -> Any:
                with dispatch_mode(mode):
                    return function(rows, num_threads=threads)

            works: dict[str, Callable[[], Any]] = {"python": partial(forced, "python", 1)}
            works |= {str(n): partial(forced, "rust", n) for n in counts()}
            lines[f"{name}, {count:,} x {shortest:,}..{longest:,}"] = fastest(works)
    return lines


def whole_table(path: Path) -> Callable[[], Any] | None:
    """Return what reads a file whole with pyarrow, where it does so on all threads."""
    import pyarrow.csv
    import pyarrow.json
    import pyarrow.parquet

    if path.suffix == ".parquet":
        return partial(pyarrow.parquet.read_table, path)
    if path.suffix == ".jsonl":
        return partial(pyarrow.json.read_json, path)
    if path.suffix == ".csv":
        options = pyarrow.csv.ParseOptions(newlines_in_values=True)
        return partial(pyarrow.csv.read_csv, path, parse_options=options)
    return None


def reading(folder: Path, rows: int) -> dict[str, Line]:
    """Return seconds by threads for each file."""
    import reader_data

    expected = reader_data.make(folder, rows)
    lines = {}
    for name in FILES:
        path = folder / name

        def read(threads: int, path: Path = path, expected: int = expected[name]) -> None:
            batches = fast_axolotl.open_dataset(path, num_threads=threads)
            found = sum(batch.num_rows for batch in batches)
            assert found == expected, (path, found, expected)

        works: dict[str, Callable[[], Any]] = {str(n): partial(read, n) for n in counts()}
        peer = whole_table(path)
        lines[name] = fastest(works if peer is None else {**works, "pyarrow, whole": peer})
    return lines


def table(lines: dict[str, Line], last: str) -> str:
    """Return a table: milliseconds by threads, and what is beside them."""
    columns = [*map(str, counts()), last]
    text = "| work, ms by threads | " + " | ".join(columns) + " |\n"
    text += "| --- |" + " ---: |" * len(columns) + "\n"
    for name, line in lines.items():
        cells = [f"{1e3 * line[column]:.3g}" if column in line else "" for column in columns]
        text += f"| {name} | " + " | ".join(cells) + " |\n"
    return text


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=20_000)
    parser.add_argument("--data", type=Path, help="folder for the files; kept")
    default = Path(__file__).parent / "results"
    parser.add_argument("--output", type=Path, default=default)
    options = parser.parse_args()
    host = key()
    machine = (
        f"{host['cpu']}, {thread_budget()} threads, "
        f"CPython {platform.python_version()}, fast-axolotl {fast_axolotl.__version__}"
    )
    hashed = hashing()
    with tempfile.TemporaryDirectory() as folder:
        read = reading(options.data or Path(folder), options.rows)
    text = f"{machine}; `python benches/threads.py`.\n\n"
    text += table(hashed, "python") + "\n" + table(read, "pyarrow, whole")
    print(text)
    options.output.mkdir(parents=True, exist_ok=True)
    found = {"machine": machine, "seconds": {**hashed, **read}}
    (options.output / "threads.json").write_text(json.dumps(found, indent=1) + "\n")
    (options.output / "threads.md").write_text(text)


if __name__ == "__main__":
    main()
