"""What no file should be: rows or a clear error, in bounded memory."""

import errno
import gzip
import json
import logging
import os
import random
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import fast_axolotl
from fast_axolotl.streaming import DamagedFileError, ReaderError, SchemaError, TooLargeError

pytestmark = pytest.mark.skipif(
    not fast_axolotl.RUST_AVAILABLE, reason="the reader needs the extension"
)

# Reads a file within 2 GB of address space beside what the interpreter has mapped.
BOUNDED = """
import resource, sys
import pyarrow, fast_axolotl

mapped = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (mapped + (2 << 30),) * 2)
rows = 0
try:
    reader = fast_axolotl.open_dataset(sys.argv[1], num_threads=int(sys.argv[2]), infer=sys.argv[3])
    for batch in reader:
        rows += batch.num_rows
except fast_axolotl.streaming.ReaderError as error:
    print(rows, type(error).__name__, error.byte, error)
else:
    print(rows, "read")
"""
needs_proc = pytest.mark.skipif(
    not Path("/proc/self/statm").exists(), reason="limits its memory as Linux does"
)


def bounded(path: Path, threads: int = 2, infer: str = "first") -> str:
    run = subprocess.run(
        [sys.executable, "-c", BOUNDED, str(path), str(threads), infer],
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 0, run.stderr[-2000:]
    return run.stdout


def members(path: Path, head: bytes, megabytes: int) -> Path:
    """Write a gzip file of `head` and of a line that does not end."""
    part = gzip.compress(b"x" * (64 << 20), 1, mtime=0)
    with path.open("wb") as file:
        file.write(gzip.compress(head, mtime=0))
        for _ in range(megabytes // 64):
            file.write(part)
    return path


def drain(batches: Iterable[Any], into: list[Any], column: str = "a") -> None:
    """Add the rows to a list, which has those before an error."""
    for batch in batches:
        into += batch[column] if isinstance(batch, dict) else batch.to_pylist()


HEADS = {
    "a.jsonl.gz": b'{"a": "x"}\n{"a": "',
    "a.json.gz": b'[{"a": "x"},\n{"a": "',
    "a.csv.gz": b'a\nx\n"',
    "a.txt.gz": b"x\n",
}


@needs_proc
@pytest.mark.parametrize("name", HEADS)
def test_a_line_of_4_gigabytes_in_a_small_file(tmp_path: Path, name: str) -> None:
    path = members(tmp_path / name, HEADS[name], 4096)
    assert path.stat().st_size < 20 << 20
    said = bounded(path)
    assert said.startswith("1 TooLargeError"), said
    assert name in said
    assert "256 MB" in said


@needs_proc
@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("name", ["a.jsonl", "a.csv", "a.txt"])
def test_a_line_of_a_gigabyte(tmp_path: Path, name: str, threads: int) -> None:
    path = tmp_path / name
    head = HEADS[f"{name}.gz"]
    with path.open("wb") as file:
        file.write(head)
        # Without the disk for it: what lies between is a hole.
        file.seek(1 << 30)
        file.write(b'"}\n')
    said = bounded(path, threads, "full")
    assert said.startswith("1 TooLargeError"), said
    assert name in said


def test_a_long_line_is_no_fault(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    long = "é" * (20 << 20)
    rows = [{"a": "x"}, {"a": long}, {"a": "y"}]
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows))
    assert fast_axolotl.open_dataset(path).read_all().to_pylist() == rows


@pytest.mark.parametrize("infer", ["first", "full"])
@pytest.mark.parametrize("deep", ["[" * 100_000 + "]" * 100_000, '{"a":' * 100_000, "[" * 100_000])
def test_nesting_without_end(tmp_path: Path, deep: str, infer: str) -> None:
    for name, text in (
        ("a.jsonl", f'{{"a": 1}}\n{{"a": {deep}}}\n'),
        ("a.json", f'[{{"a": 1}}, {{"a": {deep}}}]'),
        ("b.json", f'{{\n"a": 1}}\n{{"a": {deep}}}'),
    ):
        path = tmp_path / name
        path.write_text(text)
        rows: list[Any] = []
        with pytest.raises(DamagedFileError, match=r"nested deeper|not closed|ends in") as caught:
            drain(fast_axolotl.open_dataset(path, infer=infer), rows)
        assert name in str(caught.value)
        assert rows == [{"a": 1}]


@pytest.mark.parametrize("name", ["a.jsonl", "a.json", "a.csv", "a.parquet", "a.arrow"])
def test_ten_thousand_columns(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    rows = [{f"c{index}": row * index for index in range(10_000)} for row in range(3)]
    table = pa.Table.from_pylist(rows)
    if name == "a.parquet":
        pq.write_table(table, path)
    elif name == "a.arrow":
        with pa.OSFile(str(path), "wb") as sink, pa.ipc.new_file(sink, table.schema) as out:
            out.write_table(table)
    elif name == "a.csv":
        lines = [",".join(map(str, row.values())) for row in rows]
        path.write_text("\n".join([",".join(rows[0]), *lines]) + "\n")
    elif name == "a.json":
        path.write_text(json.dumps(rows))
    else:
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    for threads in (1, 2):
        assert fast_axolotl.open_dataset(path, num_threads=threads).read_all().to_pylist() == rows
    some = fast_axolotl.open_dataset(path, columns=["c9999", "c1"]).to_pydict()
    assert some == {"c9999": [0, 9999, 19998], "c1": [0, 1, 2]}


def test_a_file_that_grows_while_it_is_read(tmp_path: Path) -> None:
    for name, line in (("a.jsonl", '{"a": 1}\n'), ("a.csv", "1\n"), ("a.txt", "x\n")):
        path = tmp_path / name
        path.write_text("a\n" * (name == "a.csv") + line * 200_000)
        batches = iter(fast_axolotl.open_dataset(path, batch_size=100))
        rows = next(batches).num_rows
        with path.open("a") as file:
            file.write(line * 7)
        # What was there is read, and what came in time for it.
        rows += sum(batch.num_rows for batch in batches)
        assert rows in (200_000, 200_007)


def test_a_file_that_is_made_shorter(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text('{"a": 1}\n' * 2_000_000)
    batches = iter(fast_axolotl.open_dataset(path, batch_size=100, num_threads=1))
    rows = next(batches).to_pylist()
    os.truncate(path, 9_000_004)
    with pytest.raises(DamagedFileError, match=r"a\.jsonl.*row 1000000") as caught:
        drain(batches, rows)
    assert caught.value.row == len(rows) == 1_000_000


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("name", ["a.jsonl", "a.csv", "a.txt"])
def test_one_that_ends_with_a_whole_row_then(tmp_path: Path, name: str, threads: int) -> None:
    path = tmp_path / name
    path.write_text('{"a": 1}\n' * 2_000_000)
    header = int(name == "a.csv")
    batches = iter(fast_axolotl.open_dataset(path, batch_size=100, num_threads=threads))
    rows = next(batches).to_pylist()
    os.truncate(path, 15_000_003 // 9 * 9)
    with pytest.raises(DamagedFileError, match=f"{name}.*had 18000000 bytes") as caught:
        drain(batches, rows)
    assert caught.value.row == len(rows) == 15_000_003 // 9 - header


EMPTY = ["a.jsonl", "a.json", "a.txt", "a.jsonl.gz", "a.txt.gz"]


@pytest.mark.parametrize("name", EMPTY)
def test_an_empty_file(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    path.write_bytes(gzip.compress(b"") if name.endswith("gz") else b"")
    for infer in ("first", "full"):
        reader = fast_axolotl.open_dataset(path, infer=infer)
        assert list(reader) == []
        assert reader.to_pydict() == {name: [] for name in reader.schema.names}


@pytest.mark.parametrize("name", ["a.parquet", "a.arrow", "a.feather", "a.csv"])
def test_an_empty_file_that_can_not_be(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    path.write_bytes(b"")
    with pytest.raises((DamagedFileError, ValueError), match=name.replace(".", r"\.")):
        list(fast_axolotl.open_dataset(path))


@pytest.mark.parametrize("name", ["a.jsonl", "a.csv", "a.txt", "a.parquet", "a.arrow"])
def test_what_is_no_file(tmp_path: Path, name: str) -> None:
    """The subclass of OSError that Python has for it, which is a RuntimeError too."""
    kind = "feather" if name == "a.arrow" else name[2:]
    (tmp_path / "folder").mkdir()
    (tmp_path / name).symlink_to(tmp_path / "nothing")
    for path, error in (
        (tmp_path / name, FileNotFoundError),
        (tmp_path / "nothing" / name, FileNotFoundError),
        (tmp_path / ("x" * 300 + name), OSError),
        (Path(__file__) / name, NotADirectoryError),
    ):
        with pytest.raises(error) as caught:
            list(fast_axolotl.open_dataset(path, format=kind))
        assert isinstance(caught.value, RuntimeError)
        assert caught.value.filename == str(path)
        assert caught.value.errno
    with pytest.raises(FileNotFoundError, match="no data files"):
        fast_axolotl.open_dataset(tmp_path / "folder", format=kind)
    reader = fast_axolotl.open_dataset(
        tmp_path / "later.txt", format="text", schema=pa.schema({"text": pa.string()})
    )
    with pytest.raises(FileNotFoundError):
        list(reader)


UNREADABLE = """
import os, sys
import fast_axolotl
try:
    fast_axolotl.open_dataset("nothing.jsonl")  # imports what nobody else may read
except FileNotFoundError:
    pass
os.seteuid(65534)
try:
    list(fast_axolotl.open_dataset(sys.argv[1]))
except PermissionError as error:
    print(isinstance(error, RuntimeError), error.filename == sys.argv[1])
"""


@pytest.mark.skipif(not hasattr(os, "geteuid"), reason="permissions as Unix has them")
def test_an_unreadable_file(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text('{"a": 1}\n')
    path.chmod(0)
    if os.geteuid() != 0:
        with pytest.raises(PermissionError) as caught:
            list(fast_axolotl.open_dataset(path))
        assert isinstance(caught.value, RuntimeError)
        return
    for folder in path.parents:
        if folder.stat().st_mode & 0o005 == 0 and folder.is_relative_to("/tmp"):
            folder.chmod(0o755)
    run = subprocess.run(
        [sys.executable, "-c", UNREADABLE, str(path)], capture_output=True, text=True, check=False
    )
    assert run.stdout == "True True\n", run.stderr


@pytest.mark.parametrize("threads", ["1", "2"])
def test_ctrl_c_while_a_look_at_all_rows_is_on(tmp_path: Path, threads: str) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text(json.dumps({"a": list(range(50)), "b": "x" * 200}) + "\n")
    line = path.read_bytes()
    with path.open("wb") as file:
        for _ in range(400):
            file.write(line * 1000)
    code = (
        "import os, signal, sys, threading, time, fast_axolotl\n"
        "at = []\n"
        "def stop():\n"
        "    at.append(time.monotonic())\n"
        "    os.kill(os.getpid(), signal.SIGINT)\n"
        "threading.Timer(0.2, stop).start()\n"
        "try:\n"
        "    while True:\n"
        "        reader = fast_axolotl.open_dataset(\n"
        "            sys.argv[1], infer='full', num_threads=int(sys.argv[2])\n"
        "        )\n"
        "except KeyboardInterrupt:\n"
        "    print(time.monotonic() - at[0])\n"
    )
    run = subprocess.run(
        [sys.executable, "-c", code, str(path), threads],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    # A hundred milliseconds where a core is free; here others may have it.
    assert float(run.stdout) < 5, run.stderr


def files_of(folder: Path, count: int) -> list[Path]:
    paths = []
    for number in range(count):
        path = folder / f"{number}.parquet"
        table = pa.table({"a": range(number * 1000, number * 1000 + 1000)})
        pq.write_table(table, path, row_group_size=100, compression="snappy", use_dictionary=False)
        paths.append(path)
    return paths


@pytest.mark.parametrize("policy", ["warn", "skip"])
def test_bad_files_are_left_out(
    tmp_path: Path, policy: str, caplog: pytest.LogCaptureFixture
) -> None:
    paths = files_of(tmp_path, 3)
    paths[0].write_bytes(b"PAR1 is not all that it takes")
    data = bytearray(paths[1].read_bytes())
    group = pq.ParquetFile(paths[1]).metadata.row_group(4).column(0)
    data[group.data_page_offset : group.data_page_offset + 30] = b"\xff" * 30
    paths[1].write_bytes(data)
    with caplog.at_level(logging.WARNING, logger="fast_axolotl.streaming"):
        found = fast_axolotl.open_dataset(paths, on_bad_files=policy, batch_size=70)
        ids = found.to_pydict()["a"]
    # As in `datasets`: what came before the damage stays.
    assert ids == [*range(1000, 1400), *range(2000, 3000)]
    assert ("0.parquet" in caplog.text) is (policy == "warn")
    assert ("1.parquet" in caplog.text) is (policy == "warn")
    assert list(found.to_iterable_dataset()) == [{"a": value} for value in ids]
    with pytest.raises(DamagedFileError):
        fast_axolotl.open_dataset(paths)
    with pytest.raises(ValueError, match="none of the files"):
        fast_axolotl.open_dataset(paths[0], on_bad_files=policy)
    with pytest.raises(ValueError, match="'error', 'warn' or 'skip'"):
        fast_axolotl.open_dataset(paths, on_bad_files="maybe")


def test_a_header_that_is_skipped_without_end(tmp_path: Path) -> None:
    """Maps in maps behind the end of the file: no bytes are read, and none are missed."""
    path = tmp_path / "a.parquet"
    pq.write_table(pa.table({"s": ["x", "é", None]}), path, compression="brotli")
    data = bytearray(path.read_bytes())
    at = pq.ParquetFile(path).metadata.row_group(0).column(0).data_page_offset
    data[at + 10 : at + 10] = b"[" * 300
    path.write_bytes(data)
    with pytest.raises(DamagedFileError, match=r"a\.parquet"):
        list(fast_axolotl.open_dataset(path))


def test_a_nul_in_a_message(tmp_path: Path) -> None:
    """What is found in a file is part of the message, which goes through C."""
    path = tmp_path / "a.jsonl"
    path.write_bytes(b'{"a": 1}\n{"a": "\\u0000", "a\\u0000b": 2}\n')
    with pytest.raises(ReaderError, match=r"a\.jsonl"):
        list(fast_axolotl.open_dataset(path, schema=pa.schema({"a": pa.int64()})))
    path = tmp_path / "a.csv"
    path.write_bytes(b'i,s\n1,"a"\n2,"x\0y","z"\n')
    with pytest.raises(ReaderError, match=r"a\.csv"):
        list(fast_axolotl.open_dataset(path))


def test_a_value_that_python_has_no_object_for(tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    times = pa.array([0, 1, 2, 2**60, 3], pa.timestamp("us"))
    pq.write_table(pa.table({"a": range(5), "t": times}), path)
    assert fast_axolotl.open_dataset(path).read_all().column("t").combine_chunks() == times
    rows: list[int] = []
    with pytest.raises(OverflowError, match="row 3, column"):
        drain(fast_axolotl.open_dataset(path, batch_size=4).dicts(), rows)
    assert rows == [0, 1, 2]


@pytest.mark.parametrize("skip", [0, 3, 5, 6])
def test_text_that_is_no_json_is_named(tmp_path: Path, skip: int) -> None:
    paths = [tmp_path / "a.parquet", tmp_path / "b.parquet"]
    for path, text in zip(paths, ["[]", "[1"], strict=True):
        texts = pa.ExtensionArray.from_storage(pa.json_(), pa.array(["{}", "1", text, "2"]))
        pq.write_table(pa.table({"n": range(4), "a": texts}), path)
    reader = fast_axolotl.open_dataset(paths, batch_size=5)
    rows: list[int] = []
    with pytest.raises(SchemaError, match=r'b\.parquet: row 2, column "a": .*no JSON') as caught:
        drain(reader.dicts(skip), rows, "n")
    assert rows == [0, 1, 2, 3, 0, 1][skip:]
    assert (caught.value.file, caught.value.row, caught.value.column) == (paths[1], 2, "a")
    rows = []
    chosen = fast_axolotl.open_dataset(paths[1], filters=[("n", ">", 0)])
    with pytest.raises(SchemaError, match=r'b\.parquet: column "a": .*no JSON') as caught:
        drain(chosen.dicts(), rows, "n")
    assert rows == [1]
    assert (caught.value.file, caught.value.row, caught.value.column) == (paths[1], None, "a")


@pytest.mark.parametrize("name", ["a.json.gz", "a.jsonl.gz", "a.csv.gz", "a.txt.gz"])
def test_a_wrong_checksum_comes_after_the_rows(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    text = {
        "a.json.gz": '[{"a": 1}, {"a": 2}]',
        "a.jsonl.gz": '{"a": 1}\n{"a": 2}\n',
        "a.csv.gz": "a\n1\n2\n",
        "a.txt.gz": "1\n2\n",
    }[name]
    data = bytearray(gzip.compress(text.encode()))
    data[-5] ^= 1
    path.write_bytes(data)
    rows: list[Any] = []
    with pytest.raises(DamagedFileError, match="gzip"):
        drain(fast_axolotl.open_dataset(path), rows)
    assert [int(next(iter(row.values()))) for row in rows] == [1, 2]


def test_rows_before_a_broken_block(tmp_path: Path) -> None:
    """A decoder gives what it has, and then says that it can't go on."""
    import zstandard

    rng = random.Random(1)
    lines = [json.dumps({"a": number, "s": rng.random()}) for number in range(60_000)]
    text = ("\n".join(lines) + "\n").encode()
    for name, data in (
        ("a.jsonl.gz", gzip.compress(text)),
        ("a.jsonl.zst", zstandard.ZstdCompressor().compress(text)),
    ):
        path = tmp_path / name
        broken = bytearray(data)
        middle = len(data) // 2
        broken[middle : middle + 300] = b"\xff" * 300
        path.write_bytes(broken)
        for threads in (1, 2):
            rows: list[Any] = []
            with pytest.raises(ReaderError, match=name.replace(".", r"\.")):
                drain(fast_axolotl.open_dataset(path, num_threads=threads), rows)
            assert len(rows) > 20_000
            assert [row["a"] for row in rows[:20_000]] == list(range(20_000))


@pytest.mark.skipif(os.name == "nt", reason="limits are those of POSIX")
@pytest.mark.parametrize("name", ["a.parquet.gz", "a.csv.gz"])
def test_a_folder_for_temporary_files_that_is_full_or_missing(tmp_path: Path, name: str) -> None:
    """What is decompressed, or is a copy for the builder of `datasets`, needs some space there."""
    table = pa.table({"t": [f"row {random.random()}" for _ in range(20_000)]})
    path = tmp_path / name
    with gzip.open(path, "wb", 1) as out:
        if "parquet" in name:
            pq.write_table(table, out, compression="none", use_dictionary=False)
        else:
            out.write(b"t\n" + "\n".join(table["t"].to_pylist()).encode())
    options = "" if "parquet" in name else ', format="text", encoding="cp1250"'
    code = (
        "import resource, signal, sys, fast_axolotl as f\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "if sys.argv[2:]:\n"
        "    resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, 50_000))\n"
        "try:\n"
        f"    reader = f.open_dataset(sys.argv[1], num_threads=1{options})\n"
        "    print(sum(len(batch['t' if 't' in batch else 'text']) for batch in reader.dicts()))\n"
        "except OSError as error:\n"
        "    print(isinstance(error, RuntimeError), error.errno, error.filename)\n"
    )
    for folder, full in ((tmp_path, ["full"]), (tmp_path / "missing", [])):
        run = subprocess.run(
            [sys.executable, "-B", "-c", code, str(path), *full],
            env={**os.environ, "TMPDIR": str(folder)},
            capture_output=True,
            text=True,
            check=False,
        )
        if full:
            assert run.stdout == f"True {errno.EFBIG} {folder}\n", run.stderr
        else:
            assert run.stdout in ("20000\n", "20001\n"), run.stderr


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no named pipes on this platform")
def test_a_pipe_is_refused_and_not_waited_for(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    os.mkfifo(path)
    with pytest.raises(OSError, match="not a regular file"):
        fast_axolotl.open_dataset(path).to_pydict()


@needs_proc
@pytest.mark.parametrize("threads", [1, 2])
def test_a_batch_of_more_than_offsets_can_tell(tmp_path: Path, threads: int) -> None:
    """Three batches of one row each with 2^30 nulls, which take no memory."""
    path = tmp_path / "a.arrow"
    items = pa.ListArray.from_arrays(pa.array([0, 2**30], pa.int32()), pa.nulls(2**30))
    with pa.ipc.new_file(path, pa.schema({"ids": items.type})) as writer:
        for _ in range(3):
            writer.write_batch(pa.record_batch([items], names=["ids"]))
    reader = fast_axolotl.open_dataset(path, num_threads=threads)
    for read in (list, fast_axolotl.streaming.Reader.to_pydict):
        with pytest.raises(TooLargeError, match=r'column "ids": .* use a smaller batch_size'):
            read(reader)
    with pytest.raises(pa.ArrowException, match="use a smaller batch_size"):
        pa.table(reader)
    for batch in fast_axolotl.open_dataset(path, num_threads=threads, batch_size=1):
        assert batch.num_rows == 1


def test_a_filter_behind_a_damage_that_is_left_out(tmp_path: Path) -> None:
    """The row groups of the files that follow are not where the lost rows would have put them."""
    paths = files_of(tmp_path, 2)
    data = bytearray(paths[0].read_bytes())
    group = pq.ParquetFile(paths[0]).metadata.row_group(4).column(0)
    data[group.data_page_offset : group.data_page_offset + 30] = b"\xff" * 30
    paths[0].write_bytes(data)
    every_filter: Any = ([[("a", "<", 500)], [("a", ">=", 1600)]], [("a", ">=", 350)])
    for filters in every_filter:
        options: dict[str, Any] = {"on_bad_files": "skip", "batch_size": 70}
        every = fast_axolotl.open_dataset(paths, **options).read_all()
        found = fast_axolotl.open_dataset(paths, filters=filters, **options).read_all()
        assert found.to_pydict() == every.filter(pq.filters_to_expression(filters)).to_pydict()


def test_the_first_version_of_feather_is_refused_by_name(tmp_path: Path) -> None:
    path = tmp_path / "a.feather"
    path.write_bytes(b"FEA1" + bytes(40) + b"FEA1")
    with pytest.raises(DamagedFileError, match="a Feather file of version 1"):
        fast_axolotl.open_dataset(path)
