"""Folders of many short files: the rows of each in their order, however many are read at a time."""

import contextlib
import gzip
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq
import pytest

import fast_axolotl

KINDS = ["parquet", "arrow", "jsonl", "json", "jsonl.gz", "csv", "txt"]
SIZES = [5, 300, 0, 1, 900, 7] * 5


def write(folder: Path, kind: str, number: int, rows: int) -> Path:
    ids = range(number * 1000, number * 1000 + rows)
    table = pa.table({"id": pa.array(ids, pa.int64()), "text": [f"row {i} é" for i in ids]})
    path = folder / f"part-{number:03}.{kind}"
    if kind == "parquet":
        pq.write_table(table, path, row_group_size=250)
    elif kind == "arrow":
        with pa.OSFile(str(path), "wb") as sink, pa.ipc.new_file(sink, table.schema) as out:
            out.write_table(table, max_chunksize=100)
    elif kind == "csv":
        pa.csv.write_csv(table, path)
    else:
        lines = [f'{{"id": {i}, "text": "row {i} é"}}' for i in ids]
        if kind == "txt":
            lines = [f"row {i} é" for i in ids]
        text = f"[{','.join(lines)}]" if kind == "json" else "".join(f"{line}\n" for line in lines)
        data = text.encode()
        path.write_bytes(gzip.compress(data) if kind.endswith("gz") else data)
    return path


@pytest.fixture(params=KINDS)
def folder(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    for number, rows in enumerate(SIZES):
        write(tmp_path, request.param, number, rows)
    return tmp_path


def rows_of(reader: Any) -> list[str]:
    rows: list[str] = reader.to_pydict()["text"]
    return rows


EXPECTED = [
    f"row {i} é"
    for number, rows in enumerate(SIZES)
    for i in range(1000 * number, 1000 * number + rows)
]


@pytest.mark.parametrize("threads", [1, 2, 5])
@pytest.mark.parametrize("batch_size", [1, 64, 5000])
def test_rows_are_in_order(folder: Path, threads: int, batch_size: int) -> None:
    reader = fast_axolotl.open_dataset(folder, num_threads=threads, batch_size=batch_size)
    assert rows_of(reader) == EXPECTED
    sizes = [batch.num_rows for batch in reader]
    assert set(sizes[:-1]) <= {batch_size}
    lists = fast_axolotl.streaming_dataset_reader(str(folder), None, batch_size, threads)
    assert [text for batch in lists for text in batch["text"]] == EXPECTED


def test_it_goes_on_behind_any_row(folder: Path) -> None:
    pytest.importorskip("datasets")
    reader = fast_axolotl.open_dataset(folder, num_threads=3, batch_size=10)
    for skip in range(0, len(EXPECTED) + 1, 997):
        found = [text for batch in reader.batches(skip) for text in batch["text"].to_pylist()]
        assert found == EXPECTED[skip:]
    rows = reader.to_iterable_dataset()
    for taken in (1, 700, 2500):
        first = iter(rows)
        before = [next(first)["text"] for _ in range(taken)]
        rows.load_state_dict(rows.state_dict())
        assert before + [row["text"] for row in rows] == EXPECTED
        rows = reader.to_iterable_dataset()


# All bytes are text, and nearly all are CSV.
@pytest.mark.parametrize(
    "folder", [kind for kind in KINDS if kind not in ("csv", "txt")], indirect=True
)
@pytest.mark.parametrize("at", [1, 2, 17, 29])
def test_a_damaged_one(folder: Path, at: int) -> None:
    path = sorted(folder.iterdir())[at]
    kind = path.name.split(".", 1)[1]
    path.write_bytes(write(folder, kind, at, 900).read_bytes()[:-30])
    whole = [text for text in EXPECTED if not at * 1000 <= int(text.split()[1]) < at * 1000 + 1000]
    before = sum(SIZES[:at])
    found: list[str] = []

    def read() -> None:
        for batch in fast_axolotl.open_dataset(folder, num_threads=3, batch_size=1):
            found.extend(batch["text"].to_pylist())

    with pytest.raises(RuntimeError, match=path.name):
        read()
    assert found[:before] == EXPECTED[:before]
    assert all(int(text.split()[1]) // 1000 == at for text in found[before:])
    skipping = fast_axolotl.open_dataset(folder, num_threads=3, on_bad_files="skip")
    rest = [text for text in rows_of(skipping) if int(text.split()[1]) // 1000 != at]
    assert rest == whole


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="needs /proc")
def test_nothing_stays_open(folder: Path) -> None:
    def are_open() -> set[str]:
        found = set()
        for fd in Path("/proc/self/fd").iterdir():
            with contextlib.suppress(OSError):
                found.add(str(fd.readlink()))
        return {name for name in found if name.startswith(str(folder))}

    for taken in (1, 5, 40, 200):
        reader = fast_axolotl.open_dataset(folder, num_threads=3, batch_size=10)
        batches = iter(reader)
        for _ in range(taken):
            next(batches)
        reader.close()
        assert are_open() == set()
        batches = iter(fast_axolotl.open_dataset(folder, num_threads=3, batch_size=10))
        for _ in range(taken):
            next(batches)
        del batches
        assert are_open() == set()


def test_one_that_is_short_only_as_it_is_stored(tmp_path: Path) -> None:
    for number in range(8):
        write(tmp_path, "jsonl.gz", number, 20)
    line = b'{"id": 7, "text": "%s"}\n' % (b"x" * 1000)
    (tmp_path / "part-004.jsonl.gz").write_bytes(gzip.compress(line * 40_000))
    reader = fast_axolotl.open_dataset(tmp_path, num_threads=2)
    ids = reader.to_pydict()["id"]
    assert len(ids) == 40_000 + 7 * 20
    assert ids[80:-60] == [7] * 40_000
    assert ids[-60:] == [number * 1000 + i for number in (5, 6, 7) for i in range(20)]


def test_long_ones_between(tmp_path: Path) -> None:
    sizes = [10, 20, 60_000, 30, 60_000, 60_000, 5, 5]
    for number, rows in enumerate(sizes):
        ids = [number] * rows
        text = "".join(f'{{"id": {i}, "text": "{"x" * 60}"}}\n' for i in ids)
        (tmp_path / f"{number}.jsonl").write_text(text)
    found = fast_axolotl.open_dataset(tmp_path, num_threads=2).to_pydict()["id"]
    assert found == [number for number, rows in enumerate(sizes) for _ in range(rows)]
