"""Ctrl-C while the reader works, whatever it works on: the time until Python has it."""

import gzip
import json
import lzma
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import fast_axolotl

pytestmark = pytest.mark.skipif(
    not fast_axolotl.RUST_AVAILABLE, reason="the reader needs the extension"
)

READ = """
import os, signal, sys, threading, time
import fast_axolotl, pyarrow

path, threads, wait = sys.argv[1], int(sys.argv[2]), float(sys.argv[3])
at = []

def stop():
    at.append(time.monotonic())
    os.kill(os.getpid(), signal.SIGINT)

try:
    threading.Timer(0.15, stop).start()
    while True:
        with fast_axolotl.open_dataset(path, num_threads=threads) as reader:
            for batch in reader:
                time.sleep(wait)
except KeyboardInterrupt:
    print(time.monotonic() - at[0])
"""
ROWS = [{"id": i, "text": f"row {i} é " * 30, "tokens": list(range(i % 200))} for i in range(4000)]
LONG = 100 << 20


def write(path: Path) -> None:
    kind, *packed = path.name.split(".")[1:]
    if kind in ("parquet", "arrow"):
        table = pa.concat_tables([pa.Table.from_pylist(ROWS)] * 12).combine_chunks()
        if kind == "parquet":
            pq.write_table(table, path)
        else:
            # One batch, decompressed at once.
            with pa.OSFile(str(path), "wb") as sink:
                options = pa.ipc.IpcWriteOptions(compression="zstd")
                with pa.ipc.new_file(sink, table.schema, options=options) as out:
                    out.write_table(table)
        text = path.read_bytes()
    elif path.name.startswith("long"):
        head, tail = {"jsonl": ('{"a": "', '"}\n'), "csv": ('a,b\n1,"', '"\n')}.get(kind, ("", ""))
        text = head.encode() + b"x" * LONG + tail.encode()
    elif kind == "json":
        text = ("[" + ",\n".join(map(json.dumps, ROWS * 12)) + "]").encode()
    elif kind == "csv":
        flat = "".join(f'{row["id"]},"{row["text"]}, ""x"""\n' for row in ROWS)
        text = ("id,text\n" + flat * 30).encode()
    else:
        text = "".join(json.dumps(row) + "\n" for row in ROWS).encode() * 12
    if packed:
        compress = {
            "gz": lambda text: gzip.compress(text, 1),
            "xz": lambda text: lzma.compress(text, preset=0),
            "zst": lambda text: pa.compress(text, "zstd", asbytes=True),
        }
        text = compress[packed[0]](text)
    path.write_bytes(text)


def started(code: str, *arguments: object) -> "subprocess.CompletedProcess[str]":
    """Run code in a process of its own, to its end."""
    return subprocess.run(
        [sys.executable, "-c", code, *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )


@pytest.mark.parametrize(
    "name",
    [
        *("a.jsonl", "a.json", "a.csv", "a.txt", "a.parquet", "a.arrow"),
        *("a.jsonl.gz", "a.jsonl.zst", "a.jsonl.xz", "a.parquet.gz", "a.arrow.gz"),
        *("long.jsonl", "long.csv", "long.txt"),
        "waiting.jsonl",
    ],
)
def test_ctrl_c_comes_soon(
    tmp_path: Path, name: str, record_property: Callable[[str, float], None]
) -> None:
    write(tmp_path / name)
    wait = "0.02" if name.startswith("waiting") else "0"
    found = []
    for threads in ("1", "2"):
        run = started(READ, tmp_path / name, threads, wait)
        found.append(float(run.stdout or "inf"))
        assert found[-1] < 5, run.stderr
    # A tenth of a second where a core is free, which is no business of a test.
    record_property("ctrl_c", 1e3 * max(found))


#: Who takes the stream of C gets an error that says so, and takes it for one of the file.
EXPORTED = """
import os, signal, sys, threading, time
import fast_axolotl, pyarrow

path, threads = sys.argv[1], int(sys.argv[2])
at, said = [], []

def stop():
    at.append(time.monotonic())
    os.kill(os.getpid(), signal.SIGINT)

def read():
    while True:
        try:
            pyarrow.table(fast_axolotl.open_dataset(path, num_threads=threads))
        except Exception as error:
            said.append(error)
            time.sleep(10)

try:
    threading.Timer(0.15, stop).start()
    read()
except KeyboardInterrupt:
    print(time.monotonic() - at[0])
# Once: nothing is left to be raised.
time.sleep(0.01)
print(len(said) < 2)
"""


@pytest.mark.parametrize("threads", ["1", "2"])
@pytest.mark.parametrize("name", ["a.jsonl", "a.parquet", "long.csv"])
def test_ctrl_c_is_raised_behind_a_stream_of_c(tmp_path: Path, name: str, threads: str) -> None:
    write(tmp_path / name)
    run = started(EXPORTED, tmp_path / name, threads)
    waited, is_once = run.stdout.split()
    assert float(waited) < 5, run.stderr
    assert is_once == "True"


#: Reads one row of 100 MB; a signal's handler asks for the reader meanwhile.
HANDLED = """
import faulthandler, os, signal, sys, threading
faulthandler.dump_traceback_later(60, exit=True)
import fast_axolotl, pyarrow

path, threads = sys.argv[1], int(sys.argv[2])
reader = fast_axolotl.open_dataset([path] * 3, num_threads=threads, batch_size=1)
batches = reader._start()
said = []

def handle(*_):
    for use in (batches.next_batch, batches.rows):
        try:
            use()
        except RuntimeError as error:
            said.append(str(error))
    reader.close()

signal.signal(signal.SIGINT, handle)
threading.Timer(0.02, os.kill, (os.getpid(), signal.SIGINT)).start()
rows = 0
try:
    while batches.next_batch() is not None:
        rows += 1
except ValueError as error:
    print(error, rows < 3, set(said))
"""


@pytest.mark.parametrize("threads", ["1", "2"])
def test_a_handler_may_close_the_reader(tmp_path: Path, threads: str) -> None:
    write(tmp_path / "long.jsonl")
    run = started(HANDLED, tmp_path / "long.jsonl", threads)
    wanted = "the reader was closed: there may be more rows True "
    assert run.stdout.startswith(wanted), (run.stdout, run.stderr)
    # Unless the signal came between two batches.
    assert run.stdout.removeprefix(wanted).strip() in (
        "{'this thread is reading these batches already'}",
        "set()",
    )
