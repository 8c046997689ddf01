"""Local files by our reader: what Axolotl gets is what `load_dataset` would have given it."""

import json
from pathlib import Path
from typing import Any

import pytest
from axolotl.utils.data import shared
from axolotl.utils.dict import DictDefault
from datasets import load_dataset

import fast_axolotl
from fast_axolotl.axolotl import patching, settings
from fast_axolotl.axolotl.seams import local_files

ROWS = [{"text": f"row {i} ü", "n": i, "tags": ["a"] * (i % 3)} for i in range(2500)]


class ArrowReader:
    """Stands for our reader, so that the seam is tested by itself: the file's rows as Arrow."""

    opened: list[tuple[str, str]] = []  # noqa: RUF012

    def __init__(self, path: str, *, format: str, infer: str) -> None:  # noqa: A002
        import pyarrow

        assert infer == "full"
        ArrowReader.opened.append((path, format))
        rows = [json.loads(line) for line in Path(path).read_text().splitlines()]
        self.table = pyarrow.Table.from_pylist(rows)

    def __enter__(self) -> "ArrowReader":
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def __arrow_c_stream__(self, requested_schema: Any = None) -> Any:
        return self.table.__arrow_c_stream__(requested_schema)


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """A file, a cache of its own, our reader where the package has none."""
    path = tmp_path / "rows.jsonl"
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in ROWS))
    monkeypatch.setattr("datasets.config.HF_DATASETS_CACHE", tmp_path / "cache")
    monkeypatch.setattr(fast_axolotl, "open_dataset", ArrowReader, raising=False)
    ArrowReader.opened.clear()
    before = settings.use(settings.Settings(rust_streaming=True, plugin=True))
    yield path
    settings.use(before)


def load(path: Path, split: str | None = None, **more: Any) -> Any:
    options = {"split": split, "name": None, "streaming": False, "trust_remote_code": None}
    config = DictDefault({"path": str(path), **more})
    return shared._load_from_local_path(config, options), options


def test_rows_fingerprint_and_information_are_stocks(
    file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert "load_local_file" in patching.applied
    ours, options = load(file)
    assert ArrowReader.opened == [(str(file), "json")]
    assert options["split"] == "train", "as stock leaves it"
    again, _ = load(file)
    assert ArrowReader.opened == [(str(file), "json")] * 1, "the second call is a cache hit"
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


def test_a_cache_of_stock_serves_ours(file: Path) -> None:
    stock = load_dataset("json", data_files=str(file), split="train")
    ours, _ = load(file)
    assert not ArrowReader.opened
    assert ours.cache_files == stock.cache_files


@pytest.mark.parametrize("split", ["train[:10]", "train[10%:20%]", "train"])
def test_slices_of_the_split(file: Path, split: str) -> None:
    ours, _ = load(file, split)
    assert ArrowReader.opened
    assert ours[:] == load_dataset("json", data_files=str(file), split=split)[:]


def test_it_engages_only_where_it_is_wanted(file: Path) -> None:
    settings.use(settings.Settings(rust_streaming=False, plugin=True))
    load(file)
    settings.use(settings.Settings())
    load(file)
    settings.use(settings.Settings(rust_streaming=True, plugin=True))
    with fast_axolotl.dispatch_mode("python"):
        load(file)
    options = {"split": "train", "name": None, "streaming": True, "trust_remote_code": None}
    shared._load_from_local_path(DictDefault({"path": str(file)}), options)
    assert not ArrowReader.opened


def test_errors_are_stocks(file: Path) -> None:
    (file.parent / "bad.jsonl").write_text('{"a": 1}\n{"a": \n')

    def outcome(mode: str) -> tuple[str, str]:
        with fast_axolotl.dispatch_mode(mode), pytest.raises(Exception) as caught:  # noqa: PT011
            load(file.parent / "bad.jsonl")
        return type(caught.value).__name__, str(caught.value)

    assert outcome("rust") == outcome("python")
    with pytest.raises(ValueError, match="neither a directory or a file"):
        load(file.parent / "gone.jsonl")


def test_what_it_sees_of_a_call(file: Path) -> None:
    args = (DictDefault({"path": str(file)}), {})
    assert local_files.describe(args, {}).sizes.elements == file.stat().st_size
    assert local_files.describe((DictDefault({"path": "gone"}), {}), {}).sizes.elements == 0
