"""Local files by our reader: what Axolotl gets is what `load_dataset` would have given it."""

import bz2
import gzip
import io
import json
import lzma
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pandas
import pytest
from axolotl.utils.data import shared
from axolotl.utils.dict import DictDefault
from datasets import load_dataset

import fast_axolotl
from fast_axolotl.axolotl import patching, settings
from fast_axolotl.axolotl.seams import local_files
from fast_axolotl.dispatch.verify import VerificationError

PANDAS_IS_KNOWN = pandas.__version__.startswith(local_files.PANDAS)
ROWS = [{"text": f"row {i} ü", "n": i, "tags": ["a"] * (i % 3)} for i in range(2500)]


class Opened(list[tuple[str, str]]):
    """What the seam opened with our reader: path and format."""

    def __init__(self) -> None:
        super().__init__()
        self.reader = fast_axolotl.open_dataset

    def __call__(self, path: str, *, format: str, infer: str) -> Any:  # noqa: A002
        self.append((path, format))
        return self.reader(path, format=format, infer=infer)


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> Opened:
    found = Opened()
    monkeypatch.setattr(fast_axolotl, "open_dataset", found)
    return found


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A file, a cache of its own, settings that engage the reader."""
    fast_axolotl.install()
    path = tmp_path / "rows.jsonl"
    path.write_text(lines(ROWS), encoding="utf-8")
    monkeypatch.setattr("datasets.config.HF_DATASETS_CACHE", tmp_path / "cache")
    before = settings.use(settings.Settings(rust_streaming=True, plugin=True))
    yield path
    settings.use(before)


def lines(rows: list[Any]) -> str:
    return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)


def load(path: Path, split: str | None = None, **more: Any) -> Any:
    options = {"split": split, "name": None, "streaming": False, "trust_remote_code": None}
    config = DictDefault({"path": str(path), "type": "completion", **more})
    return shared._load_from_local_path(config, options), options


def test_rows_fingerprint_and_information_are_stocks(
    file: Path, opened: Opened, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert "load_local_file" in patching.applied
    ours, options = load(file)
    assert opened == [(str(file), "json")]
    assert options["split"] == "train", "as stock leaves it"
    again, _ = load(file)
    assert opened == [(str(file), "json")] * 1, "the second call is a cache hit"
    assert again._fingerprint == ours._fingerprint
    monkeypatch.setattr("datasets.config.HF_DATASETS_CACHE", tmp_path / "another")
    stock = load_dataset("json", data_files=str(file), split="train")
    assert ours._fingerprint == stock._fingerprint
    assert ours.features == stock.features
    assert ours[:] == stock[:]
    assert ours.split == stock.split
    for name in (
        "builder_name",
        "dataset_name",
        "config_name",
        "download_size",
        "download_checksums",
    ):
        assert getattr(ours.info, name) == getattr(stock.info, name), name


def test_a_cache_of_stock_serves_ours(file: Path, opened: Opened) -> None:
    stock = load_dataset("json", data_files=str(file), split="train")
    ours, _ = load(file)
    assert not opened
    assert ours.cache_files == stock.cache_files


@pytest.mark.parametrize("split", ["train[:10]", "train[10%:20%]", "train"])
def test_slices_of_the_split(file: Path, opened: Opened, split: str) -> None:
    ours, _ = load(file, split)
    assert opened
    assert ours[:] == load_dataset("json", data_files=str(file), split=split)[:]


def test_it_engages_only_where_it_is_wanted(file: Path, opened: Opened) -> None:
    settings.use(settings.Settings(rust_streaming=False, plugin=True))
    load(file)
    settings.use(settings.Settings())
    load(file)
    settings.use(settings.Settings(rust_streaming=True, plugin=True))
    with fast_axolotl.dispatch_mode("python"):
        load(file)
    load(file, type=None)  # tokenized already: what is known of the file is kept
    settings.use(settings.Settings(rust_streaming=True, plugin=True, preferences=True))
    load(file)
    options = {"split": "train", "name": None, "streaming": True, "trust_remote_code": None}
    shared._load_from_local_path(DictDefault({"path": str(file), "type": "completion"}), options)
    assert not opened


def test_errors_are_stocks(file: Path) -> None:
    (file.parent / "bad.jsonl").write_text('{"a": 1}\n{"a": \n')

    def outcome(mode: str) -> tuple[str, str]:
        with fast_axolotl.dispatch_mode(mode), pytest.raises(Exception) as caught:  # noqa: PT011
            load(file.parent / "bad.jsonl")
        return type(caught.value).__name__, str(caught.value)

    assert outcome("rust") == outcome("python")
    with pytest.raises(ValueError, match="neither a directory or a file"):
        load(file.parent / "gone.jsonl")


@pytest.mark.parametrize(
    ("args", "kwargs"),
    [((), {}), ((1,), {"x": 2}), ((1, 2, 3), {}), ((1,), {"dataset_config": 2}), ((None, {}), {})],
)
def test_what_is_no_call_is_stocks_affair(
    file: Path, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> None:
    assert file.exists()

    def outcome(mode: str) -> tuple[str, str]:
        with fast_axolotl.dispatch_mode(mode), pytest.raises(Exception) as caught:  # noqa: PT011
            shared._load_from_local_path(*args, **kwargs)
        return type(caught.value).__name__, str(caught.value)

    assert outcome("auto") == outcome("rust") == outcome("python")


def tables() -> Iterator[tuple[str, bytes]]:
    """Files of columns, as their formats have them."""
    import pyarrow as pa
    from pyarrow import parquet

    plain = pa.table({"a": [1, None], "s": ["x", "y"], "l": [[1], []], "st": [{"k": 1}, None]})
    three = pa.array([1, 2, 3])
    odd = pa.table(
        {
            "d": pa.array(["x", "y", "x"]).dictionary_encode(),
            "ls": pa.array(["q", "r", "s"], pa.large_string()),
            "ts": three.cast(pa.timestamp("ns")),
            "dec": three.cast(pa.decimal128(30, 2)),
            "b": pa.array([b"1", b"", None]),
            "fsl": pa.array([[1, 2]] * 3, pa.list_(pa.int32(), 2)),
        }
    )
    for name, table in (("plain", plain), ("odd", odd), ("none", plain.slice(0, 0))):
        file = io.BytesIO()
        parquet.write_table(table, file)
        yield f"{name}.parquet", file.getvalue()
    for name, writer in (("stream", pa.ipc.new_stream), ("file", pa.ipc.new_file)):
        file = io.BytesIO()
        with writer(file, plain.schema) as out:
            out.write_table(plain)
        yield f"{name}.arrow", file.getvalue()
    yield "bad.parquet", b"PAR1 nothing PAR1"
    yield "bad.arrow", b"ARROW1 nothing"


LONG = [{"a": "x" * 1000, "n": 1}] * 11_000  # more than the builder reads at once
FILES: dict[str, str | bytes] = {
    "dates.jsonl": lines([{"t": "2020-01-01", "u": "2020-01-01T10:00:00Z"}] * 3),
    "missing.jsonl": lines([{"a": 1}, {"b": "x"}, {"a": None, "c": [1.5, None]}]),
    "numbers.jsonl": lines([{"a": 1}, {"a": 2.5}]),
    "mixed.jsonl": lines([{"a": 1}, {"a": "x"}, {"a": [1]}]),
    "structs.jsonl": lines([{"a": {"k": 1}}, {"a": {"z": "x"}}, {"a": {}}]),
    "wide.jsonl": '{"a": 92233720368547758070}\n{"a": 1}\n',
    "floats.jsonl": '{"a": 1e5, "b": 1.0}\n{"a": 1E-400, "b": -0.0}\n',
    # From text that stock makes of the rows, with ten decimals.
    "floats.json": '[{"p": -0.12345678901234567, "z": -0.0, "l": [{"x": 1e-12}], "s": "x"}]',
    "floats_mixed.jsonl": '{"p": -0.12345678901234567, "m": 1}\n{"p": 2.0, "m": "x"}\n',
    "objects.jsonl": lines([{"m": {"src": {}}}, {"m": {"src": 1}}, {"m": {"src": [{}]}}]),
    "floats_object.json": '{"p": [-0.12345678901234567, -0.0]}',
    "decimals.jsonl": '{"p": -0.12345678901234567}\n{"p": -0.0}\n',
    "infinite.jsonl": '{"a": 1e400}\n',
    "nulls.jsonl": lines([{"a": None, "b": []}] * 2),
    "blank.jsonl": '{"a": 1}\n\n{"a": 2}\n',
    "empty.jsonl": "",
    "array.json": json.dumps([{"a": 1, "b": "x"}, {"a": 2, "c": {"d": [1]}}], indent=2),
    "strings.json": json.dumps(["a", "b"]),
    "object.json": json.dumps({"a": [1, 2], "b": ["x", "y"]}, indent=1),
    "surrogate.jsonl": '{"a": "\\ud83e\\udd8e \\u0000"}\n{"a": "\\ud800"}\n',
    "twice.jsonl": '{"a": 1, "a": 2}\n',
    "mark.jsonl": '\ufeff{"a": 1}\r\n',
    "late_column.jsonl": lines([*LONG, {"a": "y", "n": 1, "b": 1}]),
    "late_type.jsonl": lines([*LONG, {"a": "y", "n": 1.5}]),
    "late_gap.jsonl": lines([*LONG, {"a": "y"}]),
    "early_type.jsonl": lines([*LONG[:3000], {"a": "y", "n": 1.5}, {"a": "z", "n": 2}]),
    "early_gap.jsonl": lines([*[{"a": LONG[0]}] * 3000, {"a": {"n": 1}}]),
    "early_gap.csv": "a,b\n" + f"{'x' * 400},1\n" * 3000 + "y,\n",
    "types.csv": "i,f,s,d,b,n,z\n1,1.0,x,2020-01-01,True,NA,007\n2,nan,,2020-01-02,False,,008\n",
    "mixed.csv": "a\n1\nx\n2.5\n",
    "late_text.csv": "a\n" + "1\n" * 10_500 + "x\n",
    "late_float.csv": "a\n" + "1\n" * 10_500 + "1.5\n",
    "ragged.csv": "a,b\n1\n1,2,3\n",
    "quoted.csv": 'a,b\n"two\nlines","q""q"\n',
    "same.csv": "a,a\n1,2\n",
    "head.csv": "a,b\n",
    "empty.csv": "",
    "ends.txt": "one\r\ntwo\rthree\x0bfour\x85five\u2028six\n\nlast",
    "bad.txt": b"one\n\xff\xfe\n",
    "empty.txt": "",
    **dict(tables()),
}


#: The builder's look at the first rows or at the schema is what fails.
NEVER_OPENED = {"empty.jsonl", "bad.parquet", "bad.arrow"}


Outcome = Callable[[Path, str], dict[str, Any]]


@pytest.fixture
def outcome(file: Path, monkeypatch: pytest.MonkeyPatch) -> Outcome:
    """What a file is in a mode, whose cache is its own."""

    def of(path: Path, mode: str) -> dict[str, Any]:
        monkeypatch.setattr("datasets.config.HF_DATASETS_CACHE", file.parent / mode)
        try:
            with fast_axolotl.dispatch_mode(mode):
                found, options = load(path)
        except Exception as error:
            return {"error": type(error), "message": str(error)}
        return {
            "fingerprint": found._fingerprint,
            "features": found.features,
            "schema": found.data.schema,
            "rows": repr(found[:]),  # NaN is NaN
            "options": options,
            "checksums": found.info.download_checksums,
        }

    return of


@pytest.mark.parametrize("name", FILES)
def test_odd_files(file: Path, opened: Opened, outcome: Outcome, name: str) -> None:
    path, content = file.parent / name, FILES[name]
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    wanted = outcome(path, "python")
    assert not opened
    found = outcome(path, "rust")
    kind = shared.get_dataset_type(DictDefault({"path": name}))
    is_stocks = name in NEVER_OPENED or (kind == "csv" and not PANDAS_IS_KNOWN)
    assert opened == ([] if is_stocks else [(str(path), local_files.FORMATS[kind])])
    assert found == wanted


@pytest.mark.parametrize("version", ["2.3.3", "3.0.6", "3.2.0", "3.1.1"])
def test_csv_is_left_to_another_pandas(
    file: Path, opened: Opened, monkeypatch: pytest.MonkeyPatch, version: str
) -> None:
    """Each has its own types of text, or its own doubles of `0.14285714285714285`."""
    path = file.parent / "rows.csv"
    path.write_text("text,x\na,0.14285714285714285\n")
    monkeypatch.setattr("pandas.__version__", version)
    with fast_axolotl.dispatch_mode("rust"):
        found, _ = load(path)
        assert opened == ([(str(path), "csv")] if version == "3.1.1" else [])
        assert found["text"] == ["a"]
        opened.clear()
        load(file)
    assert opened == [(str(file), "json")]


def zipped(*contents: str) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        for i, content in enumerate(contents):
            archive.writestr(f"{i}.jsonl", content)
    return file.getvalue()


MANY, FEW = lines(ROWS[:9]), lines(ROWS[:2])
PACKED = {
    "rows.jsonl.gz": gzip.compress(MANY.encode()),
    "rows.jsonl.xz": lzma.compress(MANY.encode()),
    "rows.jsonl.bz2": bz2.compress(MANY.encode()),
    "one.zip": zipped(MANY),
    "two.zip": zipped(MANY, FEW),
    "gzipped.zip": gzip.compress(zipped(MANY)),
    "floats.json.gz": gzip.compress(b'[{"p": 0.12345678901234567}]'),
    "floats.json.xz": lzma.compress(b'[{"p": 0.12345678901234567}]'),
}
OURS = {"rows.jsonl.gz", "rows.jsonl.xz", "floats.json.gz", "floats.json.xz"}


@pytest.mark.parametrize("name", PACKED)
def test_compressed_files(file: Path, opened: Opened, outcome: Outcome, name: str) -> None:
    path = file.parent / name
    path.write_bytes(PACKED[name])
    wanted = outcome(path, "python")
    assert outcome(path, "rust") == wanted
    assert opened == ([(str(path), "json")] if name in OURS else [])


def test_each_side_reads_the_file_to_be_compared(
    file: Path, opened: Opened, monkeypatch: pytest.MonkeyPatch
) -> None:
    with fast_axolotl.dispatch_mode("verify"):
        found, options = load(file)
    assert opened == [(str(file), "json")]
    assert options["split"] == "train"
    assert found[:] == load_dataset("json", data_files=str(file), split="train")[:]
    ours = local_files._tables
    monkeypatch.setattr(
        local_files, "_tables", lambda *a: ((key, table[:-1]) for key, table in ours(*a))
    )
    with (
        fast_axolotl.dispatch_mode("verify"),
        pytest.raises(VerificationError, match="load: load_local_file: "),
    ):
        load(file)


@pytest.mark.parametrize("name", ["a[1].jsonl", "a*.jsonl", "a?.jsonl", "a[2].jsonl"])
def test_a_name_is_the_pattern_that_it_is_for_stock(
    file: Path, opened: Opened, outcome: Outcome, name: str
) -> None:
    for other in ("a1.jsonl", "a33.jsonl"):
        (file.parent / other).write_text(FEW, encoding="utf-8")
    path = file.parent / name
    path.write_text(MANY, encoding="utf-8")
    wanted = outcome(path, "python")
    assert outcome(path, "rust") == wanted
    assert opened == ([(str(file.parent / "a1.jsonl"), "json")] if name == "a[1].jsonl" else [])


def test_what_it_sees_of_a_call(file: Path) -> None:
    args = (DictDefault({"path": str(file)}), {})
    assert local_files.describe(args, {}).sizes.elements == file.stat().st_size
    assert local_files.describe((DictDefault({"path": "gone"}), {}), {}).sizes.elements == 0
