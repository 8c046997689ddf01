"""What `open_dataset` takes and gives: sources, exact batches, errors, threads, other libraries."""

import contextlib
import gc
import gzip
import json
import logging
import os
import pickle
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import fast_axolotl
from fast_axolotl import streaming

pytestmark = pytest.mark.skipif(
    not fast_axolotl.RUST_AVAILABLE, reason="the reader needs the extension"
)

ROWS = 2500
TABLE = pa.table(
    {
        "id": range(ROWS),
        "text": [f"row {i}, é" if i % 7 else None for i in range(ROWS)],
        "tokens": [list(range(i % 5)) for i in range(ROWS)],
        "chat": [[{"role": "user", "content": f"q{i}"}] * (i % 3) for i in range(ROWS)],
        "score": [i / 3 for i in range(ROWS)],
        "good": [None if i % 4 == 0 else i % 4 == 1 for i in range(ROWS)],
    }
)


def write(path: Path, table: Any = TABLE) -> Path:
    name = path.name.removesuffix(".gz")
    if name.endswith(".parquet"):
        pq.write_table(table, path, row_group_size=700)
        return path
    if name.endswith((".arrow", ".feather")):
        with pa.OSFile(str(path), "wb") as sink, pa.ipc.new_file(sink, table.schema) as out:
            out.write_table(table, max_chunksize=333)
        return path
    if name.endswith(".arrows"):
        with pa.OSFile(str(path), "wb") as sink, pa.ipc.new_stream(sink, table.schema) as out:
            out.write_table(table, max_chunksize=333)
        return path
    rows = table.to_pylist()
    if name.endswith(".jsonl"):
        text = "".join(json.dumps(row) + "\n" for row in rows)
    elif name.endswith(".json"):
        text = json.dumps(rows)
    elif name.endswith(".csv"):
        text = "id,text\n" + "".join(f'{r["id"]},"{r["text"] or ""}"\n' for r in rows)
    else:
        text = "".join(f"{row['text']}\n" for row in rows)
    data = text.encode()
    path.write_bytes(gzip.compress(data) if path.suffix == ".gz" else data)
    return path


NAMES = [
    "a.parquet",
    "a.arrow",
    "a.arrows",
    "a.feather",
    "a.jsonl",
    "a.json",
    "a.jsonl.gz",
    "a.csv",
    "a.txt",
]


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("size", [1, 7, 1000, 2499, 2500, 2501])
def test_batches_are_exact(tmp_path: Path, name: str, threads: int, size: int) -> None:
    reader = fast_axolotl.open_dataset(write(tmp_path / name), batch_size=size, num_threads=threads)
    sizes = [batch.num_rows for batch in reader]
    assert sizes == [size] * (ROWS // size) + ([ROWS % size] if ROWS % size else [])


@pytest.mark.parametrize("name", [name for name in NAMES if not name.endswith(("csv", "txt"))])
def test_rows_are_those_that_were_written(tmp_path: Path, name: str) -> None:
    path = write(tmp_path / name)
    for threads in (1, 2):
        reader = fast_axolotl.open_dataset(path, num_threads=threads)
        assert reader.read_all().to_pylist() == TABLE.to_pylist()
        assert reader.to_pydict() == TABLE.to_pydict()
        for batch in reader:
            batch.validate(full=True)


@pytest.mark.parametrize("name", NAMES)
def test_dicts(tmp_path: Path, name: str) -> None:
    path = write(tmp_path / name)
    found = list(fast_axolotl.streaming_dataset_reader(path, None, 600))
    expected = [batch.to_pydict() for batch in fast_axolotl.open_dataset(path, batch_size=600)]
    assert found == expected
    assert [len(next(iter(batch.values()))) for batch in found] == [600] * 4 + [100]
    dataset = fast_axolotl.create_rust_streaming_dataset(str(path), None, batch_size=600)
    assert list(dataset) == found


@pytest.mark.parametrize("name", NAMES)
def test_columns(tmp_path: Path, name: str) -> None:
    path = write(tmp_path / name)
    every = fast_axolotl.open_dataset(path)
    wanted = every.schema.names[::-1][:2]
    some = fast_axolotl.open_dataset(path, columns=wanted)
    assert some.schema.names == wanted
    assert some.read_all().to_pydict() == every.read_all().select(wanted).to_pydict()
    with pytest.raises(ValueError, match=r"'?\"?nothing.*there are"):
        fast_axolotl.open_dataset(path, columns=["nothing"])


def test_numbers_of_rows(tmp_path: Path) -> None:
    for name in ("a.parquet", "a.arrow", "a.arrows"):
        assert fast_axolotl.open_dataset(write(tmp_path / name)).num_rows == ROWS
    assert fast_axolotl.open_dataset(write(tmp_path / "a.jsonl.gz")).num_rows is None


def test_lists_patterns_and_folders(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    parts = [write(tmp_path / f"part-{i}.jsonl", TABLE.slice(i * 10, 10)) for i in (2, 0, 1)]

    def ids(source: Any) -> list[int]:
        found: list[int] = fast_axolotl.open_dataset(source, batch_size=8).to_pydict()["id"]
        return found

    assert ids(parts) == [*range(20, 30), *range(20)]
    assert ids(str(tmp_path / "*.jsonl")) == list(range(30))
    (tmp_path / "README.md").write_text("no data")
    (tmp_path / "_SUCCESS").write_text("")
    (tmp_path / ".part-0.jsonl.crc").write_bytes(b"crc")
    with caplog.at_level(logging.WARNING, logger="fast_axolotl.streaming"):
        assert ids(tmp_path) == list(range(30))
    assert "README.md" in caplog.text
    assert "_SUCCESS" in caplog.text
    with pytest.raises(FileNotFoundError, match="no file matches"):
        ids(str(tmp_path / "*.parquet"))
    with pytest.raises(FileNotFoundError):
        ids([])
    (tmp_path / "empty").mkdir()
    with pytest.raises(FileNotFoundError, match="no data files"):
        ids(tmp_path / "empty")
    write(tmp_path / "x.parquet", TABLE)
    with pytest.raises(ValueError, match="several formats"):
        ids([parts[0], tmp_path / "x.parquet"])


def test_content_corrects_the_name(tmp_path: Path) -> None:
    path = write(tmp_path / "a.parquet").rename(tmp_path / "a.jsonl")
    assert fast_axolotl.open_dataset(path).format == "parquet"
    assert fast_axolotl.open_dataset(path).read_all().to_pydict() == TABLE.to_pydict()
    path = write(tmp_path / "a.arrows").rename(tmp_path / "b.arrow")
    assert fast_axolotl.open_dataset(path).read_all().to_pydict() == TABLE.to_pydict()
    path = write(tmp_path / "a.jsonl.gz").rename(tmp_path / "plain.jsonl")
    assert fast_axolotl.open_dataset(path).read_all().to_pydict() == TABLE.to_pydict()
    unknown = write(tmp_path / "a.jsonl").rename(tmp_path / "a.data")
    with pytest.raises(ValueError, match=r"format=.*arrow.*csv.*json.*parquet.*text"):
        fast_axolotl.open_dataset(unknown)
    assert fast_axolotl.open_dataset(unknown, format="jsonl").to_pydict() == TABLE.to_pydict()
    with pytest.raises(ValueError, match=r"unknown format .yaml."):
        fast_axolotl.open_dataset(unknown, format="yaml")
    # As 0.2.0 had it; and it comes back from another process as what it is.
    for kind in ("yaml", "auto"):
        with pytest.raises(RuntimeError, match="format") as caught:
            list(fast_axolotl.streaming_dataset_reader(unknown, kind))
        assert type(pickle.loads(pickle.dumps(caught.value))) is streaming.UnknownFormatError


def test_missing_and_unreadable(tmp_path: Path) -> None:
    for name in NAMES:
        with pytest.raises(FileNotFoundError) as caught:
            list(fast_axolotl.open_dataset(tmp_path / name))
        assert isinstance(caught.value, RuntimeError)
        assert caught.value.filename == str(tmp_path / name)
        assert caught.value.errno
        with pytest.raises(RuntimeError, match="No such file"):
            list(fast_axolotl.streaming_dataset_reader(str(tmp_path / name)))
    if hasattr(os, "geteuid") and os.geteuid() != 0:
        path = write(tmp_path / "a.jsonl")
        path.chmod(0)
        with pytest.raises(PermissionError):
            list(fast_axolotl.open_dataset(path))


def test_arguments() -> None:
    for wrong, error in (
        ({"batch_size": 0}, ValueError),
        ({"batch_size": 1.5}, TypeError),
        ({"num_threads": -1}, ValueError),
        ({"infer": "maybe"}, ValueError),
        ({"schema": 3}, TypeError),
    ):
        with pytest.raises(error):
            fast_axolotl.open_dataset(__file__, format="text", **wrong)
    with pytest.raises(ValueError, match=r"no option .*sep.*it has"):
        fast_axolotl.open_dataset(__file__, format="text", sep=";")


def test_other_libraries_take_it(tmp_path: Path) -> None:
    path = write(tmp_path / "a.parquet")
    assert pa.table(fast_axolotl.open_dataset(path)).to_pydict() == TABLE.to_pydict()
    import polars

    frame = polars.DataFrame(fast_axolotl.open_dataset(path))
    assert frame["id"].to_list() == list(range(ROWS))
    import duckdb

    connection = duckdb.connect()
    stream = pa.RecordBatchReader.from_stream(fast_axolotl.open_dataset(path))
    connection.register("stream", stream)
    assert connection.sql("select sum(id) from stream").fetchall() == [(sum(range(ROWS)),)]


def test_batches_without_pyarrow(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from fast_axolotl.streaming import reader as module

    monkeypatch.setattr(module, "_pyarrow", lambda: None)
    batches = list(fast_axolotl.open_dataset(write(tmp_path / "a.parquet"), batch_size=1000))
    assert [len(batch) for batch in batches] == [1000, 1000, 500]
    assert pa.record_batch(batches[0]).to_pydict() == TABLE.slice(0, 1000).to_pydict()
    assert batches[2].column("id") == list(range(2000, 2500))


def threads() -> list[str]:
    folder = Path("/proc/self/task")
    if not folder.exists():
        pytest.skip("counts threads in /proc")
    names = []
    for task in folder.iterdir():
        # A thread that ends while it is looked at is gone.
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):
            names.append((task / "comm").read_text().strip())
    return [name for name in names if name.startswith("fast-axolotl")]


@pytest.mark.parametrize("name", NAMES)
def test_a_closed_or_dropped_reader_is_gone(tmp_path: Path, name: str) -> None:
    path = write(tmp_path / name)
    before = len(threads())

    def settled() -> bool:
        stop = threading.Event()
        for _ in range(200):
            if len(threads()) <= before and not is_open(path):
                return True
            stop.wait(0.01)
        return False

    with fast_axolotl.open_dataset(path, batch_size=3, num_threads=2) as reader:
        iterator = iter(reader)
        next(iterator)
    assert settled()
    with pytest.raises(ValueError, match="closed"):
        next(iter(reader))
    # What was begun says that it did not end.
    with pytest.raises(ValueError, match="closed"):
        next(iterator)
    reader = fast_axolotl.open_dataset(path, batch_size=3, num_threads=2)
    batch = next(iter(reader))
    del reader, iterator
    del batch
    gc.collect()
    assert settled()


@pytest.mark.parametrize("name", NAMES)
def test_a_stream_of_a_closed_reader_has_not_ended(tmp_path: Path, name: str) -> None:
    path = write(tmp_path / name)
    with fast_axolotl.open_dataset(path, batch_size=3) as reader:
        stream = pa.RecordBatchReader.from_stream(reader)
        ended = pa.RecordBatchReader.from_stream(reader)
        ended.read_all()
        stream.read_next_batch()
    with pytest.raises((OSError, ValueError, pa.ArrowException), match="closed"):
        stream.read_all()
    with pytest.raises(StopIteration):
        ended.read_next_batch()


def test_streams_that_were_dropped_leave_nothing_open(tmp_path: Path) -> None:
    path = write(tmp_path / NAMES[0])
    before = len(threads())
    reader = fast_axolotl.open_dataset(path, batch_size=3, num_threads=2)
    for _ in range(20):
        pa.RecordBatchReader.from_stream(reader).read_next_batch()
    gc.collect()
    stop = threading.Event()
    for _ in range(200):
        if len(threads()) <= before and not is_open(path):
            break
        stop.wait(0.01)
    assert len(threads()) <= before
    assert not is_open(path)


def is_open(path: Path) -> bool:
    folder = Path("/proc/self/fd")
    return any(entry.resolve() == path for entry in folder.iterdir() if entry.is_symlink())


def test_progress(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    for name in NAMES:
        path = write(tmp_path / name)
        seen: list[fast_axolotl.streaming.Progress] = []
        list(fast_axolotl.open_dataset(path, batch_size=100, progress=seen.append))
        assert seen[-1].rows == ROWS
        assert seen[-1].share == 1
        assert [at.rows for at in seen] == sorted(at.rows for at in seen)
        assert [at.bytes for at in seen] == sorted(at.bytes for at in seen)
        assert seen[-1].total_bytes == path.stat().st_size
        told: list[fast_axolotl.streaming.Progress] = []
        fast_axolotl.open_dataset(path, batch_size=100, progress=told.append).to_pydict()
        assert [at.rows for at in told] == [at.rows for at in seen]
    list(fast_axolotl.open_dataset(path, progress=True))
    assert "rows" in capfd.readouterr().err


def test_a_file_that_grows_or_is_deleted(tmp_path: Path) -> None:
    for name in ("a.jsonl", "a.csv", "a.txt", "a.parquet", "a.arrow"):
        path = write(tmp_path / name)
        reader = iter(fast_axolotl.open_dataset(path, batch_size=50))
        rows = next(reader).num_rows
        path.unlink()
        assert rows + sum(batch.num_rows for batch in reader) == ROWS


def test_saved_datasets_say_which_split(tmp_path: Path) -> None:
    import datasets

    parts = {"train": {"a": [1, 2]}, "test": {"a": [3]}}
    saved = datasets.DatasetDict(
        {name: datasets.Dataset.from_dict(part) for name, part in parts.items()}
    )
    saved.save_to_disk(tmp_path / "saved")
    assert fast_axolotl.open_dataset(tmp_path / "saved").to_pydict() == {"a": [1, 2]}
    reader = fast_axolotl.open_dataset(tmp_path / "saved", split="test")
    assert reader.to_pydict() == {"a": [3]}
    with pytest.raises(ValueError, match="train, test"):
        fast_axolotl.open_dataset(tmp_path / "saved", split="dev")


INTERRUPTED = """
import os, signal, sys, threading
import fast_axolotl
reader = fast_axolotl.open_dataset(sys.argv[1], num_threads=int(sys.argv[2]), batch_size=10**9)
threading.Timer(0.2, lambda: os.kill(os.getpid(), signal.SIGINT)).start()
try:
    for _ in range(1000):
        for batch in reader:
            pass
except KeyboardInterrupt:
    print("interrupted")
"""


@pytest.mark.parametrize("threads", ["1", "2"])
@pytest.mark.parametrize("name", ["a.jsonl", "a.parquet"])
def test_ctrl_c(tmp_path: Path, name: str, threads: str) -> None:
    path = tmp_path / name
    big = pa.concat_tables([TABLE] * 60)
    if name == "a.jsonl":
        line = json.dumps(TABLE.to_pylist()[5]) + "\n"
        path.write_text(line * 300_000)
    else:
        pq.write_table(big, path)
    run = subprocess.run(
        [sys.executable, "-c", INTERRUPTED, str(path), threads],
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert run.stdout == "interrupted\n", run.stderr


def test_should_use_rust_streaming(tmp_path: Path) -> None:
    path = write(tmp_path / "a.jsonl")
    asked = {"dataset_use_rust_streaming": True, "sequence_len": 10_000}
    use = fast_axolotl.should_use_rust_streaming
    assert use(str(path), {}, asked) is False  # too small
    assert use("no such file", {}, asked) is True
    assert use("no such file", {}, {**asked, "sequence_len": 9999}) is False
    assert use("no such file", {}, {**asked, "dataset_keep_in_memory": True}) is False
    assert use("no such file", {}, {}) is False
