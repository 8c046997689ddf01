"""The reader against its peers: seconds, first batch, memory.

Every reader runs in a process of its own, in turn with the others, several times; the minimum
counts. What Arrow readers give is touched (a byte of each page): a memory map is not free.
Writes `benches/results/reader.{json,md}`; `--only jsonl,csv` measures a part and keeps the rest.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent
RESULTS = ROOT / "benches" / "results"
BATCH = 1024
Cases = dict[str, tuple[str, Callable[[str], Iterator[int]], bool]]
# The least that the best peer's time may be, as a multiple of ours.
GOALS = {
    "data.parquet": 1.1,
    "snappy.parquet": 1.2,
    "one.parquet": 1.0,
    "data.arrow": 0.9,
    "zstd.arrow": 1.0,
    "data.arrows": 0.9,
    "saved": 0.9,
    "data.jsonl": 1.8,
    "data.jsonl.gz": 2.0,
    "data.jsonl.zst": 2.0,
    "data.csv": 1.2,
    "data.csv.gz": 1.3,
    "data.csv.zst": 1.25,
    "data.json": 2.5,
    "data.txt": 1.0,
    "data.txt.gz": 1.0,
    "short.parquet": 1.0,
    "short.jsonl": 1.0,
    "short.csv": 1.0,
    "data.parquet as lists": 1.5,
    "data.jsonl as lists": 2.0,
    "data.csv as lists": 1.3,
    "data.jsonl as a dataset": 2.0,
    "data.parquet as a dataset": 2.0,
}


def touched(batches: Any) -> Iterator[int]:
    import numpy as np

    for batch in batches:
        for column in batch.columns:
            for chunk in getattr(column, "chunks", [column]):
                for buffer in chunk.buffers():
                    if buffer is not None and buffer.size:
                        np.frombuffer(buffer, np.uint8)[::4096].sum()
        yield batch.num_rows


def lists(batches: Any) -> Iterator[int]:
    for batch in batches:
        yield len(next(iter(batch.values())))


def pydicts(batches: Any) -> Iterator[int]:
    for batch in batches:
        yield len(next(iter(batch.to_pydict().values())))


def sliced(batches: Any) -> Iterator[Any]:
    for batch in batches:
        for start in range(0, batch.num_rows, BATCH):
            yield batch.slice(start, BATCH)


def ours(path: str) -> Iterator[int]:
    import fast_axolotl

    return touched(fast_axolotl.open_dataset(path, batch_size=BATCH))


def ours_lists(path: str) -> Iterator[int]:
    import fast_axolotl

    return lists(fast_axolotl.streaming_dataset_reader(path, None, BATCH, 0))


def ours_dataset(path: str) -> Iterator[int]:
    import fast_axolotl

    with tempfile.TemporaryDirectory() as cache:
        yield len(fast_axolotl.open_dataset(path, batch_size=BATCH).to_dataset(cache_dir=cache))


def built(builder: str) -> Callable[[str], Iterator[int]]:
    def run(path: str) -> Iterator[int]:
        import datasets

        datasets.disable_progress_bars()
        with tempfile.TemporaryDirectory() as cache:
            options = {"data_files": path, "split": "train", "cache_dir": cache}
            yield len(datasets.load_dataset(builder, **options))

    return run


def parquet(**options: Any) -> Callable[[str], Any]:
    def run(path: str) -> Any:
        import pyarrow.parquet as pq

        return pq.ParquetFile(path, **options).iter_batches(BATCH)

    return run


def datafusion(method: str, path: str, **options: Any) -> Any:
    import datafusion

    config = datafusion.SessionConfig().with_batch_size(BATCH)
    context = datafusion.SessionContext(config)
    return (
        batch.to_pyarrow() for batch in getattr(context, method)(path, **options).execute_stream()
    )


def datafusion_json(path: str) -> Any:
    ending = Path(path).name.partition(".")[2]
    packing = {"jsonl.gz": "gzip", "jsonl.zst": "zstd"}.get(ending)
    options = {"file_compression_type": packing} if packing else {}
    return datafusion("read_json", path, file_extension=f".{ending}", **options)


def datafusion_parquet(path: str) -> Any:
    return datafusion("read_parquet", path)


def scanned(kind: str) -> Callable[[str], Any]:
    def run(path: str) -> Any:
        import pyarrow.dataset

        return pyarrow.dataset.dataset(path, format=kind).to_batches(batch_size=BATCH)

    return run


def ipc_file(path: str) -> Any:
    import pyarrow as pa

    reader = pa.ipc.open_file(pa.memory_map(path))
    return (reader.get_batch(i) for i in range(reader.num_record_batches))


def ipc_file_read(path: str) -> Any:
    import pyarrow as pa

    reader = pa.ipc.open_file(pa.OSFile(path))
    return (reader.get_batch(i) for i in range(reader.num_record_batches))


def ipc_stream(path: str) -> Any:
    import pyarrow as pa

    return pa.ipc.open_stream(pa.memory_map(path))


def saved(path: str) -> Any:
    import datasets

    return datasets.load_from_disk(path).with_format("arrow").iter(BATCH)


def opened(path: str) -> Any:
    import pyarrow as pa

    ending = {".gz": "gzip", ".zst": "zstd"}.get(Path(path).suffix)
    return pa.input_stream(path, compression=ending)


def pyarrow_json(path: str) -> Any:
    import pyarrow.json

    options = pyarrow.json.ReadOptions(block_size=1 << 22)
    return sliced(pyarrow.json.open_json(opened(path), read_options=options))


def pyarrow_csv(path: str) -> Any:
    import pyarrow.csv

    options = pyarrow.csv.ParseOptions(newlines_in_values=True)
    return sliced(pyarrow.csv.open_csv(opened(path), parse_options=options))


def pandas_csv(path: str) -> Iterator[int]:
    import pandas as pd

    for frame in pd.read_csv(path, chunksize=BATCH):
        yield len(frame)


def pyarrow_lines(path: str) -> Any:
    import pyarrow.csv as pacsv

    read = pacsv.ReadOptions(column_names=["text"])
    parse = pacsv.ParseOptions(delimiter="\x01", quote_char=False, ignore_empty_lines=False)
    return sliced(pacsv.open_csv(opened(path), read_options=read, parse_options=parse))


def duckdb(function: str) -> Callable[[str], Any]:
    def run(path: str) -> Any:
        import duckdb

        query = f"select * from {function}('{path}')"
        return duckdb.connect().execute(query).to_arrow_reader(BATCH)

    return run


def polars(scan: str) -> Callable[[str], Any]:
    def run(path: str) -> Any:
        import polars

        frames = getattr(polars, scan)(path).collect_batches(chunk_size=BATCH, maintain_order=True)
        return (frame.to_arrow() for frame in frames)

    return run


def orjson_rows(path: str) -> Iterator[int]:
    import orjson

    rows = 0
    with opened(path) as file:
        for line in _lines(file):
            orjson.loads(line)
            rows += 1
            if rows == BATCH:
                yield rows
                rows = 0
    if rows:
        yield rows


def orjson_lists(path: str) -> Iterator[int]:
    import orjson

    def flush(rows: list[dict[str, Any]]) -> int:
        keys = dict.fromkeys(key for row in rows for key in row)
        return len({key: [row.get(key) for row in rows] for key in keys} and rows)

    rows: list[dict[str, Any]] = []
    with opened(path) as file:
        for line in _lines(file):
            rows.append(orjson.loads(line))
            if len(rows) == BATCH:
                yield flush(rows)
                rows = []
    if rows:
        yield flush(rows)


def _lines(file: Any) -> Iterator[bytes]:
    rest = b""
    while block := file.read(1 << 20):
        *lines, rest = (rest + bytes(block)).split(b"\n")
        yield from lines
    if rest:
        yield rest


def text_lines(path: str) -> Iterator[int]:
    import io

    rows = 0
    with io.TextIOWrapper(io.BufferedReader(opened(path)), encoding="utf-8") as file:
        batch = []
        for line in file:
            batch.append(line.rstrip("\n"))
            if len(batch) == BATCH:
                rows, batch = len(batch), []
                yield rows
        if batch:
            yield len(batch)


def in_folder(run: Callable[[str], Any], ending: str) -> Callable[[str], Any]:
    return lambda path: run(f"{path}/*.{ending}")


def arrow(make: Callable[[str], Any]) -> Callable[[str], Iterator[int]]:
    return lambda path: touched(make(path))


def cases() -> Cases:
    """Name -> file, reader, whether it is ours."""
    found: Cases = {}

    def group(file: str, peers: dict[str, Any], mine: Any = ours, what: str = "") -> None:
        found[f"{file}{what}|fast-axolotl"] = (file, mine, True)
        for name, peer in peers.items():
            found[f"{file}{what}|{name}"] = (file, peer, False)

    parquets = {
        "pyarrow iter_batches": arrow(parquet(memory_map=True, pre_buffer=False)),
        "pyarrow to_batches": arrow(scanned("parquet")),
        "polars": arrow(polars("scan_parquet")),
        "duckdb": arrow(duckdb("read_parquet")),
        "datafusion": arrow(datafusion_parquet),
    }
    for file in ("data.parquet", "snappy.parquet", "one.parquet"):
        group(file, parquets)
    peers = {"pyarrow": arrow(ipc_file), "pyarrow read": arrow(ipc_file_read)}
    group("data.arrow", {**peers, "polars": arrow(polars("scan_ipc"))})
    group("zstd.arrow", {"pyarrow": arrow(ipc_file), "polars": arrow(polars("scan_ipc"))})
    group("data.arrows", {"pyarrow": arrow(ipc_stream)})
    group("saved", {"datasets": arrow(saved)})
    for ending in ("", ".gz", ".zst"):
        peers = {"pyarrow": arrow(pyarrow_json), "duckdb": arrow(duckdb("read_json"))}
        peers |= {"orjson rows": orjson_rows, "datafusion": arrow(datafusion_json)}
        group(f"data.jsonl{ending}", {**peers, "polars": arrow(polars("scan_ndjson"))})
        peers = {"pyarrow": arrow(pyarrow_csv), "duckdb": arrow(duckdb("read_csv"))}
        peers |= {"pandas": pandas_csv} if not ending else {}
        group(f"data.csv{ending}", {**peers, "polars": arrow(polars("scan_csv"))})
    group("data.json", {"duckdb": arrow(duckdb("read_json"))})
    for ending in ("", ".gz"):
        peers = {"python": text_lines, "pyarrow": arrow(pyarrow_lines)}
        group(f"data.txt{ending}", {**peers, "polars": arrow(polars("scan_lines"))})
    for ending, kind in (("parquet", "parquet"), ("jsonl", "json"), ("csv", "csv")):
        scan = "scan_ndjson" if kind == "json" else f"scan_{kind}"
        peers = {"pyarrow": arrow(scanned(kind))}
        peers |= {"polars": arrow(in_folder(polars(scan), ending))}
        peers |= {"duckdb": arrow(in_folder(duckdb(f"read_{kind}"), ending))}
        group(f"short.{ending}", peers)
    whole = " as lists"
    group(
        "data.parquet",
        {"pyarrow to_pydict": lambda path: pydicts(parquet()(path))},
        ours_lists,
        whole,
    )
    group(
        "data.jsonl",
        {"orjson": orjson_lists, "pyarrow to_pydict": lambda path: pydicts(pyarrow_json(path))},
        ours_lists,
        whole,
    )
    group(
        "data.csv",
        {"pyarrow to_pydict": lambda path: pydicts(pyarrow_csv(path))},
        ours_lists,
        whole,
    )
    for file, builder in (("data.jsonl", "json"), ("data.parquet", "parquet")):
        group(file, {"load_dataset": built(builder)}, ours_dataset, " as a dataset")
    return found


def memory() -> int:
    """Anonymous memory of this process in kB."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("RssAnon"):
            return int(line.split()[1])
    return 0


def child(name: str, folder: str, looks_closely: bool) -> None:
    """Run one reader; to look at the memory at each batch costs time, and sees short reads, too."""
    import numpy  # noqa: F401
    import pyarrow.parquet  # noqa: F401

    file, run, _ = cases()[name]
    library = name.split("|")[1].split()[0]
    module = {"fast-axolotl": "fast_axolotl", "load_dataset": "datasets"}.get(library, library)
    if module != "python":
        __import__(module)
    if library == "fast-axolotl":
        # Its reader is imported when first asked for: all libraries have been imported here.
        import fast_axolotl.streaming  # noqa: F401
    if "as a dataset" in name:
        import datasets  # noqa: F401
    # OpenBLAS starts threads that spin on the other cores until they fall asleep.
    time.sleep(0.3)
    before, peak, done = memory(), 0, threading.Event()

    def watch() -> None:
        nonlocal peak
        while not done.wait(0.005):
            peak = max(peak, memory())

    watcher = threading.Thread(target=watch)
    watcher.start()
    start = time.perf_counter()
    batches = run(f"{folder}/{file}")
    rows = next(batches)
    first = time.perf_counter()
    for count in batches:
        rows += count
        if looks_closely:
            peak = max(peak, memory())
    end = time.perf_counter()
    done.set()
    watcher.join()
    print(json.dumps([end - start, first - start, max(peak - before, 0) / 1024, rows]))


def measure(
    names: list[str], folder: Path, rounds: int, *options: str
) -> dict[str, list[list[float]]]:
    """Run all of them in turn, `rounds` times."""
    found: dict[str, list[list[float]]] = {name: [] for name in names}
    environment = {**os.environ, "HF_HUB_OFFLINE": "1"}
    for number in range(rounds):
        for name in names:
            command = [sys.executable, __file__, "--child", name, "--data", str(folder)]
            command += options
            run = subprocess.run(
                command, capture_output=True, text=True, check=False, env=environment
            )
            if run.returncode:
                print(name, run.stderr.strip().splitlines()[-1:], file=sys.stderr)
                continue
            found[name].append(json.loads(run.stdout.splitlines()[-1]))
            print(f"round {number + 1}: {name}: {found[name][-1][0]:.3f} s", flush=True)
    return found


def best_of(found: dict[str, list[list[float]]]) -> list[dict[str, Any]]:
    """The minima of each reader; of memory the maximum."""
    rows = []
    for name, runs in found.items():
        if not runs:
            continue
        file, reader = name.split("|")
        seconds, first, _, count = (min(column) for column in zip(*runs, strict=True))
        row = {"file": file, "reader": reader, "seconds": seconds, "first_ms": first * 1e3}
        rows.append({**row, "peak_mb": max(run[2] for run in runs), "rows": count})
    return rows


def merged(path: Path, rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """These rows and those of files that were measured before, in the order of the cases.

    A file's readers are compared within one run only.
    """
    files = {row["file"] for row in rows}
    before = json.loads(path.read_text()) if path.exists() else []
    rows = rows + [row for row in before if row["file"] not in files]
    order = {name: index for index, name in enumerate(cases())}
    return sorted(rows, key=lambda row: order.get(f"{row['file']}|{row['reader']}", len(order)))


def table(rows: list[dict[str, Any]]) -> str:
    lines = [
        "| read | ours, s | best peer, s | ratio | goal | first batch, ms | peak, MB |",
        "| --- | ---: | ---: | ---: | ---: | ---: | ---: |",
    ]
    for row in rows:
        peers = [other for other in rows if other["file"] == row["file"] and other != row]
        if row["reader"] != "fast-axolotl" or not peers:
            continue
        peer = min(peers, key=lambda other: other["seconds"])
        ratio, goal = peer["seconds"] / row["seconds"], GOALS[row["file"]]
        mark = "" if ratio >= goal else " ✗"
        lines.append(
            f"| {row['file']} | {row['seconds']:.3f} | {peer['reader']} {peer['seconds']:.3f} "
            f"| {ratio:.2f}x | {goal}x{mark} | {row['first_ms']:.0f} | {row['peak_mb']:.0f} |"
        )
    return "\n".join(lines) + "\n"


def grown(names: list[str], folder: Path, longer: Path, rounds: int) -> str:
    """Peaks of memory for the files, and for those with all rows three times."""
    once, thrice = (measure(names, part, rounds, "--memory") for part in (folder, longer))
    lines = ["| read | peak, MB | three times as long | grown by |", "| --- | --- | --- | --- |"]
    for name in names:
        # The least of several: what the machine did beside is not the reader's.
        before, after = (min(run[2] for run in runs[name]) for runs in (once, thrice))
        growth = f"{after / before - 1:+.0%}" if before >= 1 else ""
        lines.append(f"| {name.split('|')[0]} | {before:.0f} | {after:.0f} | {growth} |")
    return "\n".join(lines) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    default = Path(tempfile.gettempdir()) / "fast-axolotl-reader-bench"
    parser.add_argument("--data", type=Path, default=default)
    parser.add_argument("--rows", type=int, default=64_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--only", default="")
    parser.add_argument("--child")
    parser.add_argument("--memory", action="store_true", help="of files three times as long, too")
    parser.add_argument("--output", type=Path, default=RESULTS)
    asked = parser.parse_args()
    if asked.child:
        child(asked.child, str(asked.data), asked.memory)
        return
    sys.path.insert(0, str(Path(__file__).parent))
    import reader_data

    reader_data.make(asked.data, asked.rows)
    wanted = [word for word in asked.only.split(",") if word]
    names = [name for name in cases() if not wanted or any(word in name for word in wanted)]
    asked.output.mkdir(parents=True, exist_ok=True)
    if asked.memory:
        longer = asked.data / "longer"
        reader_data.make_longer(asked.data, longer)
        ours_only = [name for name in names if name.endswith("|fast-axolotl")]
        text = grown(ours_only, asked.data, longer, asked.rounds)
        (asked.output / "reader-memory.md").write_text(text)
        print(text)
        return
    results = asked.output / "reader.json"
    rows = merged(results, best_of(measure(names, asked.data, asked.rounds)))
    text = table(rows)
    results.write_text(json.dumps(rows, indent=1) + "\n")
    (asked.output / "reader.md").write_text(text)
    print(text)


if __name__ == "__main__":
    main()
