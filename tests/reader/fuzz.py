"""Damaged files of every format: rows or an error, never a crash, a hang or unsound Arrow.

`python tests/reader/fuzz.py --inputs 100000` (`make fuzz`) reads mutated files in processes of
their own, with a limit on memory and on time. What it finds is kept in `--keep` and printed; the
exit code says whether it found anything. An input is told by its number alone: `--only NUMBER`
reads it again.
"""

import argparse
import faulthandler
import gzip
import json
import os
import random
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.feather
import pyarrow.parquet as pq

if __package__:
    from . import fuzz_oracle as oracle
else:
    import fuzz_oracle as oracle

MEMORY = 2 << 30
SECONDS = 10

Seed = oracle.Seed
Seeds = list[Seed]


def tables() -> Iterator[pa.Table]:
    rng = random.Random(5)
    yield pa.table({"a": [1, 2, None], "s": ["x", "é", None]})
    rows = 40
    yield pa.table(
        {
            "i": [rng.randrange(-(2**40), 2**40) for _ in range(rows)],
            "f": [rng.random() for _ in range(rows)],
            "b": [rng.choice([True, False, None]) for _ in range(rows)],
            "s": ["é" * rng.randrange(9) for _ in range(rows)],
            "l": [[rng.randrange(9) for _ in range(rng.randrange(4))] for _ in range(rows)],
            "c": [
                [{"role": "u", "content": "x" * rng.randrange(20)}] * (i % 3) for i in range(rows)
            ],
            "d": pa.array([f"k{i % 4}" for i in range(rows)]).dictionary_encode(),
            "t": pa.array(range(rows), pa.timestamp("us")),
        }
    )


def seeds(folder: Path) -> Seeds:
    """Small files of every format and layout."""
    found: Seeds = []

    def keep(name: str, write: Callable[[Path], object]) -> None:
        path = folder / name
        write(path)
        found.append(oracle.seed(name, path.read_bytes(), rows_of))

    def ipc(path: Path, table: pa.Table, stream: bool, compression: str | None) -> None:
        options = pa.ipc.IpcWriteOptions(compression=compression)
        make = pa.ipc.new_stream if stream else pa.ipc.new_file
        with pa.OSFile(str(path), "wb") as sink, make(sink, table.schema, options=options) as out:
            out.write_table(table, max_chunksize=16)

    for number, table in enumerate(tables()):
        rows_of = table.to_pylist()
        for codec in ("none", "snappy", "zstd", "gzip", "lz4", "brotli"):
            keep(
                f"{number}-{codec}.parquet",
                lambda path, table=table, codec=codec: pq.write_table(
                    table, path, compression=codec, row_group_size=16
                ),
            )
        keep(
            f"{number}-v2.parquet",
            lambda path, table=table: pq.write_table(
                table, path, data_page_version="2.0", use_dictionary=False, data_page_size=64
            ),
        )
        for codec in (None, "zstd", "lz4"):
            for stream in (False, True):
                ending = "arrows" if stream else "arrow"
                keep(
                    f"{number}-{codec}.{ending}",
                    lambda path, table=table, codec=codec, stream=stream: ipc(
                        path, table, stream, codec
                    ),
                )
        rows = [
            {name: value for name, value in row.items() if name != "t"} for row in table.to_pylist()
        ]
        lines = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows).encode()
        array = json.dumps(rows, indent=1 if number else None).encode()
        flat = "i,s,f\n" + "".join(
            f'{row.get("i", 1)},"{row["s"]}, ""q""\n",{i / 7}\n' for i, row in enumerate(rows)
        )
        for name, data in (
            (f"{number}.jsonl", lines),
            (f"{number}.json", array),
            (f"{number}.csv", flat.encode()),
            (f"{number}.tsv", flat.replace(",", "\t").encode()),
            (f"{number}.txt", flat.encode()),
        ):
            for ending, stored in (
                ("", data),
                (".gz", gzip.compress(data, mtime=0)),
                (".zst", pa.compress(data, "zstd", asbytes=True)),
            ):
                found.append(oracle.seed(name + ending, stored, rows))
    return found


def mutated(found: Seeds, number: int) -> tuple[str, bytes, Seed]:
    """The input of this number: a seed, damaged; a name for it, and the seed."""
    rng = random.Random(number)
    seed = rng.choice(found)
    name, data = seed.name, bytearray(seed.data)
    for _ in range(rng.choice((1, 1, 1, 2, 4))):
        kind = rng.randrange(10)
        at = rng.randrange(len(data)) if data else 0
        if kind <= 2 and data:
            data[at] ^= 1 << rng.randrange(8)
        elif kind == 3 and data:
            data[at] = rng.choice((0, 0xFF, 0x7F, 0x80, rng.randrange(256)))
        elif kind == 4:
            del data[at:]
        elif kind == 5:
            del data[at : at + rng.randrange(1, 40)]
        elif kind == 6:
            data[at:at] = rng.randbytes(rng.randrange(1, 20))
        elif kind == 7:
            other = rng.choice(found).data
            cut = rng.randrange(len(other)) if other else 0
            data[at:] = other[cut:]
        elif kind == 8:
            size = rng.choice((2, 4, 8))
            value = rng.choice((0, 1, -1, 2 ** (8 * size - 1) - 1, 1 << 20, 1 << 30))
            raw = (value & ((1 << 8 * size) - 1)).to_bytes(size, "little")
            data[at : at + size] = raw
        else:
            text = rng.choice((b"[" * 300, b'"', b"\n", b"\r", b"{", b"}", b"\\u", b"1e999", b"\0"))
            data[at:at] = text
    if rng.random() < 0.05:
        data = bytearray(gzip.compress(bytes(data), mtime=0))
    if rng.random() < 0.05:
        name = rng.choice(found).name
    return name, bytes(data), seed


def read(path: Path, number: int, seed: Seed | None = None) -> None:
    """Read a file to its end or to an error.

    Batches must be sound Arrow, the rows of `seed` before the damage unchanged, and nothing may be
    lost in silence: what other libraries find in the file is there, or an error says why not.
    """
    import fast_axolotl

    how = {"batch_size": (3, 1000)[number % 2], "num_threads": (1, 2)[number % 8 == 0]}
    infer = "full" if number % 5 == 0 else "first"
    rows: list[dict[str, Any]] = []
    error: Exception | None = None
    try:
        with fast_axolotl.open_dataset(path, infer=infer, **how) as reader:
            if number % 3 == 0 and len(reader.schema):  # a dict of no columns holds no rows
                for columns in reader.dicts():
                    values = zip(*columns.values(), strict=True)
                    rows.extend(dict(zip(columns, row, strict=True)) for row in values)
            else:
                for batch in reader:
                    batch.validate(full=True)
                    rows.extend(batch.to_pylist())
    except pa.ArrowInvalid as unsound:
        raise AssertionError(f"unsound: {unsound}") from unsound
    except (fast_axolotl.streaming.ReaderError, OSError, NotImplementedError) as found:
        error = found
        if path.name not in str(found):
            raise AssertionError(f"names no file: {found}") from found
    except OverflowError as found:
        # Times that are fine in Arrow and that Python has no object for.
        if "out of range" not in str(found) and "too large" not in str(found):
            raise
        return
    except ValueError as found:
        # What was asked for is fine; it is not told from the name when the content is damaged.
        if "format" not in str(found) and "column" not in str(found):
            raise
        error = found
    if seed is not None:
        oracle.check(seed, path, rows, error)


def limits() -> None:
    try:
        import resource
    except ImportError:
        return
    # The interpreter and its libraries have mapped something before.
    with Path("/proc/self/statm").open() as file:
        mapped = int(file.read().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (mapped + MEMORY, mapped + MEMORY))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def work(first: int, last: int, folder: Path) -> None:
    # What takes seconds to import is there before the clock runs: some CSV files need it.
    import datasets  # noqa: F401
    import pandas  # noqa: F401

    found = seeds(folder)
    limits()
    for number in range(first, last):
        name, data, seed = mutated(found, number)
        path = folder / name
        path.write_bytes(data)
        print(f"at {number}", flush=True)
        faulthandler.dump_traceback_later(SECONDS, exit=True)
        try:
            read(path, number, seed)
        except BaseException as error:
            print(f"bad {number} {name} {type(error).__name__}: {str(error)[:300]!r}", flush=True)
        faulthandler.cancel_dump_traceback_later()


def run(first: int, last: int, keep: Path) -> list[str]:
    """Read the inputs from `first` on; start again behind one that ends the process."""
    problems = []
    while first < last:
        with tempfile.TemporaryDirectory() as folder:
            command = [sys.executable, __file__, "--worker", folder, str(first), str(last)]
            done = subprocess.run(command, capture_output=True, text=True, check=False)
        lines = done.stdout.splitlines()
        problems += [line for line in lines if line.startswith("bad ")]
        at = [int(line.split()[1]) for line in lines if line.startswith("at ")]
        if done.returncode == 0:
            break
        if not at:
            raise SystemExit(done.stderr)
        problems.append(f"bad {at[-1]} ended {done.returncode}: {done.stderr[-600:]!r}")
        first = at[-1] + 1
    with tempfile.TemporaryDirectory() as folder:
        found = seeds(Path(folder))
    for line in problems:
        name, data, _ = mutated(found, int(line.split()[1]))
        keep.mkdir(parents=True, exist_ok=True)
        (keep / f"{line.split()[1]}-{name}").write_bytes(data)
    return problems


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--inputs", type=int, default=100_000)
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--only", type=int)
    parser.add_argument("--keep", type=Path, default=Path("build/fuzz"))
    parser.add_argument("--worker", nargs=3)
    asked = parser.parse_args()
    if asked.worker:
        work(int(asked.worker[1]), int(asked.worker[2]), Path(asked.worker[0]))
        return 0
    first, last = asked.first, asked.first + asked.inputs
    if asked.only is not None:
        first, last = asked.only, asked.only + 1
    shutil.rmtree(asked.keep, ignore_errors=True)
    started, problems = time.monotonic(), []
    for start in range(first, last, 5000):
        found = run(start, min(start + 5000, last), asked.keep)
        problems += found
        done = min(start + 5000, last) - first
        seconds = time.monotonic() - started
        print(f"{done} inputs, {len(problems)} problems, {seconds:.0f} s", *found, sep="\n")
        sys.stdout.flush()
    return 1 if problems else 0


if __name__ == "__main__":
    os.environ.setdefault("RUST_BACKTRACE", "0")
    sys.exit(main())
