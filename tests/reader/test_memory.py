"""Memory is bounded by the batches: the same for a file and for one three times as long."""

import json
import subprocess
import sys
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import fast_axolotl

pytestmark = [
    pytest.mark.skipif(not fast_axolotl.RUST_AVAILABLE, reason="the reader needs the extension"),
    pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="reads /proc"),
]

PEAK = """
import sys, threading
import pyarrow, fast_axolotl

def anonymous():
    for line in open("/proc/self/status"):
        if line.startswith("RssAnon"):
            return int(line.split()[1])

before, peak, done = anonymous(), 0, threading.Event()

def watch():
    global peak
    while not done.wait(0.002):
        peak = max(peak, anonymous())

watcher = threading.Thread(target=watch, daemon=True)
watcher.start()
# What allocators keep for each thread is not what this is about.
batches = fast_axolotl.open_dataset(sys.argv[1], num_threads=2)
rows = sum(batch.num_rows for batch in batches)
done.set()
watcher.join()
print(rows, peak - before)
"""
LIMIT_KB = 64 << 10


def peak(path: Path) -> tuple[int, int]:
    run = subprocess.run(
        [sys.executable, "-c", PEAK, str(path)], capture_output=True, text=True, check=True
    )
    rows, kilobytes = run.stdout.split()
    return int(rows), int(kilobytes)


def write(path: Path, times: int) -> None:
    rows = [{"id": i, "text": f"row {i} " * 100, "tokens": list(range(200))} for i in range(6000)]
    if path.suffix == ".parquet":
        table = pa.Table.from_pylist(rows)
        with pq.ParquetWriter(path, table.schema, compression="snappy") as out:
            for _ in range(times):
                out.write_table(table, row_group_size=3000)
    elif path.suffix == ".arrow":
        table = pa.Table.from_pylist(rows)
        options = pa.ipc.IpcWriteOptions(compression="zstd")
        with (
            pa.OSFile(str(path), "wb") as sink,
            pa.ipc.new_file(sink, table.schema, options=options) as out,
        ):
            for _ in range(times):
                out.write_table(table, max_chunksize=1000)
    elif path.suffix == ".csv":
        text = "".join(f'{row["id"]},"{row["text"]}, ""x"""\n' for row in rows) * 2
        path.write_text("id,text\n" + text * times)
    elif path.suffix == ".json":
        text = ",\n".join(json.dumps(row) for row in rows)
        path.write_text("[" + ",\n".join([text] * times) + "]")
    else:
        path.write_text("".join(json.dumps(row) + "\n" for row in rows) * times)


@pytest.mark.parametrize("name", ["a.parquet", "a.arrow", "a.jsonl", "a.json", "a.csv", "a.txt"])
def test_memory_does_not_grow_with_the_file(tmp_path: Path, name: str) -> None:
    write(tmp_path / name, 2)
    write(tmp_path / f"three-{name}", 6)
    # Of a few runs, the least: what else the interpreter did is not the reader's.
    once = min(peak(tmp_path / name) for _ in range(2))
    thrice = min(peak(tmp_path / f"three-{name}") for _ in range(2))
    assert thrice[0] == 3 * once[0]
    assert once[1] <= LIMIT_KB
    assert thrice[1] <= LIMIT_KB
    # What allocators and threads make of the same work in files as short as these.
    assert thrice[1] <= 1.05 * once[1] + (16 << 10)
