"""Chat rows in every format, for `benches/reader.py`. The same seed gives the same rows."""

import gzip
import json
import random
import shutil
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

BATCH = 1024
SYLLABLES = [c + v for c in "bdfgklmnprstvz" for v in "aeiou"]
PIECES = [
    "\n",
    ' "quoted" ',
    ", and ",
    "\t",
    " café ",
    " 你好 ",
    " 😀 ",
    "\n```\nx = 1\n```\n",
    " it's ",
]
SCHEMA = pa.schema(
    [
        ("id", pa.int64()),
        ("source", pa.string()),
        ("prompt", pa.string()),
        ("response", pa.string()),
        ("messages", pa.list_(pa.struct([("role", pa.string()), ("content", pa.string())]))),
        ("input_ids", pa.list_(pa.int32())),
        ("score", pa.float64()),
        ("reward", pa.float32()),
        ("is_safe", pa.bool_()),
        ("lang", pa.string()),
        ("note", pa.string()),
    ]
)
FLAT = pa.schema([field for field in SCHEMA if field.name not in ("messages", "input_ids")])


class Rows:
    """Draws rows: lengths are lognormal, words are Zipf-distributed."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)
        self.numpy = np.random.default_rng(seed)
        self.words = np.array(
            [
                "".join(self.random.choices(SYLLABLES, k=self.random.randint(1, 4)))
                for _ in range(20_000)
            ]
            + PIECES * 90,
            dtype=object,
        )

    def text(self, words: int) -> str:
        count = int(np.clip(self.numpy.lognormal(np.log(words), 0.6), 2, words * 8))
        drawn = (self.numpy.random(count) ** 3 * len(self.words)).astype(int)
        return " ".join(self.words[drawn])

    def row(self, number: int) -> dict[str, object]:
        draw = self.random.random
        ids = self.numpy.zipf(1.2, int(np.clip(self.numpy.lognormal(5.3, 0.5), 8, 1024))) % 128_000
        return {
            "id": number,
            "source": self.random.choice(["sharegpt", "alpaca", "ultrachat", "dolly"]),
            "prompt": self.text(40),
            "response": self.text(110),
            "messages": [
                {"role": role, "content": self.text(length)}
                for _ in range(self.random.randint(1, 3))
                for role, length in (("user", 18), ("assistant", 50))
            ],
            "input_ids": ids.astype(np.int32),
            "score": self.random.gauss(0, 1),
            "reward": None if draw() < 0.2 else float(np.float32(draw())),
            "is_safe": None if draw() < 0.1 else draw() < 0.7,
            "lang": self.random.choice(["en", "fr", "zh", None]),
            "note": f"see row {number}" if draw() < 0.03 else None,
        }


def make(folder: Path, rows: int, seed: int = 7) -> dict[str, int]:
    """Write all files that are not there; return the rows of each."""
    folder.mkdir(parents=True, exist_ok=True)
    done = folder / "rows.json"
    if done.exists():
        found: dict[str, int] = json.loads(done.read_text())
        if found.get("short.parquet") == rows:
            return found
    source = Rows(seed)
    batches = [
        pa.RecordBatch.from_pylist(
            [source.row(i) for i in range(start, min(start + BATCH, rows))], schema=SCHEMA
        )
        for start in range(0, rows, BATCH)
    ]
    counts = _columnar(folder, pa.Table.from_batches(batches, SCHEMA), batches)
    counts |= _text(folder, batches) | _short(folder, pa.Table.from_batches(batches, SCHEMA))
    done.write_text(json.dumps(counts))
    return counts


def _columnar(folder: Path, table: pa.Table, batches: list[pa.RecordBatch]) -> dict[str, int]:
    pq.write_table(table, folder / "data.parquet", compression="zstd", row_group_size=8192)
    pq.write_table(table, folder / "snappy.parquet", compression="snappy", row_group_size=8192)
    pq.write_table(table, folder / "one.parquet", compression="zstd", row_group_size=len(table))
    names = {"data.arrow": (pa.ipc.new_file, None), "zstd.arrow": (pa.ipc.new_file, "zstd")}
    for name, (new, codec) in {**names, "data.arrows": (pa.ipc.new_stream, None)}.items():
        options = pa.ipc.IpcWriteOptions(compression=codec)
        with pa.OSFile(str(folder / name), "wb") as sink, new(sink, SCHEMA, options=options) as out:
            for batch in batches:
                out.write_batch(batch)
    import datasets

    shutil.rmtree(folder / "saved", ignore_errors=True)
    datasets.Dataset(table).save_to_disk(folder / "saved", num_shards=4)
    files = ("data.parquet", "snappy.parquet", "one.parquet", *names, "data.arrows", "saved")
    return dict.fromkeys(files, len(table))


def _short(folder: Path, table: pa.Table) -> dict[str, int]:
    """The same rows in a thousand files."""
    import pyarrow.csv as pacsv

    def lines(part: pa.Table, path: Path) -> None:
        with path.open("w") as out:
            out.writelines(json.dumps(row, ensure_ascii=False) + "\n" for row in part.to_pylist())

    writers = {
        "parquet": lambda part, path: pq.write_table(part, path, compression="zstd"),
        "csv": lambda part, path: pacsv.write_csv(part.select(FLAT.names), path),
        "jsonl": lines,
    }
    size = -(-len(table) // 1000)
    for ending, write in writers.items():
        shutil.rmtree(folder / f"short.{ending}", ignore_errors=True)
        (folder / f"short.{ending}").mkdir()
        for start in range(0, len(table), size):
            path = folder / f"short.{ending}" / f"{start:08}.{ending}"
            write(table.slice(start, size), path)
    return {f"short.{ending}": len(table) for ending in writers}


def _text(folder: Path, batches: list[pa.RecordBatch]) -> dict[str, int]:
    import pyarrow.csv as pacsv

    rows = sum(batch.num_rows for batch in batches)
    with (
        (folder / "data.jsonl").open("w") as lines,
        (folder / "data.json").open("w") as array,
        (folder / "data.txt").open("w") as text,
    ):
        for number, batch in enumerate(batches):
            encoded = [json.dumps(row, ensure_ascii=False) for row in batch.to_pylist()]
            lines.writelines(f"{line}\n" for line in encoded)
            array.write(("[" if number == 0 else ",\n") + ",\n".join(encoded))
            for name in ("prompt", "response"):
                text.writelines(
                    " ".join(value.split()) + "\n" for value in batch.column(name).to_pylist()
                )
        array.write("]\n")
    flat = pa.Table.from_batches(batches).select(FLAT.names)
    pacsv.write_csv(pa.concat_tables([flat] * 3), folder / "data.csv")
    counts = {"data.jsonl": rows, "data.json": rows, "data.txt": 2 * rows, "data.csv": 3 * rows}
    for name in ("data.jsonl", "data.csv", "data.txt"):
        content = (folder / name).read_bytes()
        (folder / f"{name}.gz").write_bytes(gzip.compress(content, 6))
        (folder / f"{name}.zst").write_bytes(pa.compress(content, "zstd", asbytes=True))
        counts |= {f"{name}.gz": counts[name], f"{name}.zst": counts[name]}
    return counts


TIMES = 3


def make_longer(folder: Path, longer: Path) -> None:
    """Write the files of `folder` with all their rows three times; those that are there stay."""
    longer.mkdir(parents=True, exist_ok=True)
    done = longer / "done"
    if done.exists() and (longer / "short.csv").exists():
        return
    for name in ("data.jsonl", "data.txt"):
        for ending in ("", ".gz", ".zst"):
            # Members and frames follow one another in a compressed file.
            _repeat(longer / f"{name}{ending}", b"", (folder / f"{name}{ending}").read_bytes())
    array = (folder / "data.json").read_bytes()[1:-2]
    _repeat(longer / "data.json", b"[", array, b",\n", b"]\n")
    header, _, rows = (folder / "data.csv").read_bytes().partition(b"\n")
    header += b"\n"
    _repeat(longer / "data.csv", header, rows)
    _repeat(longer / "data.csv.gz", gzip.compress(header), gzip.compress(rows, 6))
    packed = [pa.compress(part, "zstd", asbytes=True) for part in (header, rows)]
    _repeat(longer / "data.csv.zst", *packed)
    _repeat_columnar(folder, longer)
    for ending in ("parquet", "jsonl", "csv"):
        for number in range(TIMES):
            shutil.copytree(folder / f"short.{ending}", longer / f"short.{ending}" / str(number))
    done.touch()


def _repeat(path: Path, head: bytes, part: bytes, between: bytes = b"", end: bytes = b"") -> None:
    with path.open("wb") as file:
        file.write(head + part)
        for _ in range(TIMES - 1):
            file.write(between + part)
        file.write(end)


def _repeat_columnar(folder: Path, longer: Path) -> None:
    for name, codec, rows in (
        ("data.parquet", "zstd", 8192),
        ("snappy.parquet", "snappy", 8192),
        ("one.parquet", "zstd", None),
    ):
        # Groups and batches as long as those of the file, also where its rows begin again.
        table = pa.concat_tables([pq.read_table(folder / name)] * TIMES)
        pq.write_table(table, longer / name, rows or len(table), compression=codec)
    for name, codec in (("data.arrow", None), ("zstd.arrow", "zstd"), ("data.arrows", None)):
        new = pa.ipc.new_stream if name == "data.arrows" else pa.ipc.new_file
        once = pa.ipc.open_file(pa.memory_map(str(folder / "data.arrow"))).read_all()
        table = pa.concat_tables([once] * TIMES).combine_chunks()
        options = pa.ipc.IpcWriteOptions(compression=codec)
        path = str(longer / name)
        with pa.OSFile(path, "wb") as sink, new(sink, table.schema, options=options) as out:
            out.write_table(table, len(once.column(0).chunk(0)))
    import datasets

    shutil.rmtree(longer / "saved", ignore_errors=True)
    saved = datasets.load_from_disk(str(folder / "saved"))
    tripled = datasets.concatenate_datasets([saved] * TIMES)
    tripled.save_to_disk(str(longer / "saved"), num_shards=4 * TIMES)
