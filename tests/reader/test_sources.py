"""What a source stands for: folders and their splits, formats asked for, paths of every kind."""

import copy
import json
import logging
import os
import pickle
import sys
from pathlib import Path
from typing import Any

import datasets
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import fast_axolotl

pytestmark = pytest.mark.skipif(
    not fast_axolotl.RUST_AVAILABLE, reason="the reader needs the extension"
)


def write(path: Path, text: str = '{"a": 1}\n') -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


# Each folder: the files, and nothing else.
FOLDERS = [
    ["train.jsonl", "test.jsonl"],
    ["train-00000-of-00002.jsonl", "train-00001-of-00002.jsonl", "validation-0.jsonl"],
    ["my_training_1.jsonl", "b test.jsonl", "x.dev.jsonl", "VAL.jsonl", "rest.jsonl"],
    ["a_train.jsonl", "train_2.jsonl", "training.jsonl", "train_1.jsonl", "eval.jsonl"],
    ["train/a.jsonl", "train/test.jsonl", "test/b.jsonl", "c.jsonl"],
    ["x/my-test/deep/a.jsonl", "x/0train/a.jsonl", "x/latest/a.jsonl"],
    ["data/train-00000-of-00001.jsonl", "data/extra-00000-of-00001-x.jsonl", "test.jsonl"],
    ["data/extra-00000-of-00001.jsonl", "data/other.v2-00000-of-00001.jsonl"],
    ["train_test.jsonl", "test.jsonl"],
    ["attest.jsonl", "training2.jsonl", "contest.jsonl", "testament.jsonl"],
    ["test.jsonl", "rest.jsonl"],
    ["trained.jsonl", "restrain.jsonl", "latest.jsonl", "Train.jsonl", "Test.jsonl"],
    ["evaluation-1.jsonl", "testing.jsonl", "valid.jsonl"],
]


@pytest.mark.parametrize("names", FOLDERS, ids=lambda names: "+".join(names)[:50])
def test_splits_of_a_folder_are_those_of_datasets(tmp_path: Path, names: list[str]) -> None:
    folder = tmp_path / "train" / "data"
    for name in names:
        write(folder / name, f'{{"a": "{name}"}}\n')
    expected = {
        str(split): dataset["a"][:]
        for split, dataset in datasets.load_dataset(
            str(folder), cache_dir=str(tmp_path / "cache")
        ).items()
    }
    for split, rows in expected.items():
        for asked in (split, datasets.NamedSplit(split)):
            assert fast_axolotl.open_dataset(folder, split=asked).to_pydict()["a"] == rows
        assert fast_axolotl.open_dataset([folder], split=split).to_pydict()["a"] == rows
    unasked = expected.get("train") or (next(iter(expected.values())) if len(expected) == 1 else 0)
    if unasked:
        assert fast_axolotl.open_dataset(folder).to_pydict()["a"] == unasked
    else:
        with pytest.raises(ValueError, match=f"choose one with split=: .*{next(iter(expected))}"):
            fast_axolotl.open_dataset(folder)
    with pytest.raises(ValueError, match="there is no split 'other': the splits are"):
        fast_axolotl.open_dataset(folder, split="other")


def test_what_is_of_another_split_is_named(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    for name in ("train-1.jsonl", "test-1.jsonl", "rest.jsonl"):
        write(tmp_path / name)
    with caplog.at_level(logging.WARNING, logger="fast_axolotl.streaming"):
        assert len(fast_axolotl.open_dataset(tmp_path).files) == 1
    assert "reading split train" in caplog.text
    assert "test-1.jsonl" in caplog.text
    assert "rest.jsonl" in caplog.text


def test_what_has_no_splits_has_train(tmp_path: Path) -> None:
    path = write(tmp_path / "test.jsonl")
    for source in (path, [path], str(tmp_path / "*.jsonl")):
        for split in (None, "train"):
            assert fast_axolotl.open_dataset(source, split=split).to_pydict() == {"a": [1]}
        with pytest.raises(ValueError, match="no split 'test': only folders have splits"):
            fast_axolotl.open_dataset(source, split="test")


def test_hidden_files_of_a_folder_are_those_of_datasets(tmp_path: Path) -> None:
    for name in ("a", "_b", "__c", ".d", "_e/f", "g/_h", "g/.i", ".j/k", "__l/m", "g/__n/o"):
        write(tmp_path / "data" / f"{name}.jsonl", json.dumps({"name": name}))
    write(tmp_path / "data" / "_SUCCESS", "")
    found = fast_axolotl.open_dataset(tmp_path / "data").to_pydict()
    cache = tmp_path / "cache"
    expected = datasets.load_dataset(str(tmp_path / "data"), split="train", cache_dir=cache)
    assert found == expected.to_dict()
    assert sorted(found["name"]) == ["__c", "_b", "_e/f", "a", "g/_h"]


@pytest.mark.parametrize("kind", ["arrow", "parquet"])
def test_a_folder_that_a_builder_prepared(tmp_path: Path, kind: str) -> None:
    names = {name: str(write(tmp_path / f"{name}.jsonl")) for name in ("train", "test")}
    builder = datasets.load_dataset_builder("json", data_files=names, cache_dir=tmp_path / "cache")
    builder.download_and_prepare(tmp_path / "prepared", file_format=kind)
    assert (tmp_path / "prepared/dataset_info.json").exists()
    for split in ("train", "test"):
        reader = fast_axolotl.open_dataset(tmp_path / "prepared", split=split)
        assert [Path(name).name for name in reader.files] == [f"json-{split}.{kind}"]
        assert reader.to_pydict() == {"a": [1]}


def test_a_folder_of_a_format_that_is_asked_for(tmp_path: Path) -> None:
    def names(kind: str | None) -> list[str]:
        return [Path(file).name for file in fast_axolotl.open_dataset(tmp_path, format=kind).files]

    write(tmp_path / "a.csv", "x\n1\n")
    write(tmp_path / "b.csv", "x\n1\n")
    write(tmp_path / "c.jsonl")
    write(tmp_path / "README.md")
    write(tmp_path / "config.json")
    assert names(None) == ["a.csv", "b.csv"]
    assert names("json") == names("jsonl") == ["c.jsonl"]
    assert names("csv") == ["a.csv", "b.csv"]
    with pytest.raises(FileNotFoundError, match="no data files of format text, but csv, json"):
        names("text")
    write(tmp_path / "d.jsonl")
    assert names("json") == ["c.jsonl", "d.jsonl"]
    write(tmp_path / "part-0")
    assert names("text") == ["part-0"]
    assert names("json") == ["c.jsonl", "d.jsonl"]
    with pytest.raises(ValueError, match="several formats"):
        names(None)


def test_a_folder_without_known_endings(tmp_path: Path) -> None:
    write(tmp_path / "part-0")
    write(tmp_path / "part-1")
    write(tmp_path / "README.md")
    with pytest.raises(FileNotFoundError, match="no data files"):
        fast_axolotl.open_dataset(tmp_path)
    assert fast_axolotl.open_dataset(tmp_path, format="json").to_pydict() == {"a": [1, 1]}


def test_a_folder_of_one_format_is_read_as_another(tmp_path: Path) -> None:
    write(tmp_path / "lines" / "a.jsonl")
    found = fast_axolotl.open_dataset(tmp_path / "lines", format="text").to_pydict()
    assert found == {"text": ['{"a": 1}']}
    write(tmp_path / "tabs" / "a.tsv", "a,b\n1,2\n")
    write(tmp_path / "tabs" / "LICENSE")
    found = fast_axolotl.open_dataset(tmp_path / "tabs", format="csv").to_pydict()
    assert found == {"a": [1], "b": [2]}


def test_paths_of_every_kind(tmp_path: Path) -> None:
    path = write(tmp_path / "a é%20.jsonl")
    for source in (
        *(path, str(path), os.fsencode(path), [os.fsencode(path)], path.as_uri()),
        *(f"file://{tmp_path}/*.jsonl", (path,), f"file://localhost{path.as_uri()[7:]}"),
    ):
        assert fast_axolotl.open_dataset(source).to_pydict() == {"a": [1]}
    for name in ("hf://datasets/a/b.jsonl", "s3://a/b.jsonl", "https://a.b/c.jsonl"):
        for source in (name, [name]):
            with pytest.raises(ValueError, match="only files of this machine"):
                fast_axolotl.open_dataset(source)
    for wrong in (None, 3, {"train": str(path)}, [None], [3]):
        with pytest.raises(TypeError, match="the source must be a path"):
            fast_axolotl.open_dataset(wrong)  # type: ignore[arg-type]
    with path.open() as file, pytest.raises(TypeError, match="not TextIOWrapper"):
        fast_axolotl.open_dataset(file)  # type: ignore[arg-type]
    with path.open("rb") as file, pytest.raises(TypeError, match="not BufferedReader"):
        fast_axolotl.open_dataset([file])  # type: ignore[list-item]


def test_numbers_and_names(tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    pq.write_table(pa.table({"a": [1, 2], "b": [3, 4]}), path)
    reader = fast_axolotl.open_dataset(path, batch_size=np.int64(1), num_threads=np.int8(1))  # type: ignore[arg-type]
    assert [batch.num_rows for batch in reader] == [1, 1]
    cases: list[tuple[dict[str, Any], type[Exception], str]] = [
        ({"batch_size": 2**64}, ValueError, "batch_size must be at most"),
        ({"num_threads": 2**64}, ValueError, "num_threads must be at most"),
        ({"num_threads": True}, TypeError, "num_threads must be an int, not bool"),
        ({"num_threads": "3"}, TypeError, "num_threads must be an int, not str"),
        ({"num_threads": None}, TypeError, "num_threads must be an int, not NoneType"),
        ({"columns": "ab"}, TypeError, "columns must be a list of names, not str"),
        ({"columns": ["b", "a", "b"]}, ValueError, "columns has 'b' twice"),
    ]
    for options, error, match in cases:
        with pytest.raises(error, match=match):
            fast_axolotl.open_dataset(path, **options)


def test_the_working_folder_may_change(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path / "a.jsonl")
    write(tmp_path / "other" / "a.jsonl", '{"a": 2}\n')
    monkeypatch.chdir(tmp_path)
    readers = [
        fast_axolotl.open_dataset(source) for source in ("a.jsonl", b"a.jsonl", "a*", ["a.jsonl"])
    ]
    made = readers[0].to_iterable_dataset()
    monkeypatch.chdir(tmp_path / "other")
    for reader in readers:
        assert reader.to_pydict() == {"a": [1]}
        assert reader.to_dataset(cache_dir=tmp_path / "cache")["a"] == [1]
    assert list(made) == [{"a": 1}]


def test_a_path_in_the_home_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path / "a.jsonl")
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    assert fast_axolotl.open_dataset("~/a.jsonl").to_pydict() == {"a": [1]}
    # A name that begins so is one.
    write(tmp_path / "~", '{"a": 2}\n')
    assert fast_axolotl.open_dataset("~", format="jsonl").to_pydict() == {"a": [2]}


@pytest.mark.skipif(sys.platform != "linux", reason="names are bytes there")
def test_names_that_are_no_text(tmp_path: Path) -> None:
    folder = tmp_path / os.fsdecode(b"\xff")
    for name, text in ((b"a\xfe.jsonl", '{"a": 1}\n'), (b"a\xfe.csv", "a\n1\n")):
        path = write(folder / os.fsdecode(name), text)
        for source in (path, os.fsencode(path)):
            reader = fast_axolotl.open_dataset(source)
            assert reader.to_pydict() == {"a": [1]}
            assert reader.to_dataset(cache_dir=tmp_path / "cache")["a"] == [1]
            dataset = reader.to_iterable_dataset()
            assert next(iter(dataset)) == {"a": 1}
            json.dumps(dataset.state_dict())
    write(path, 'a\n1\n"1')
    with pytest.raises(ValueError, match=r"a.*\.csv"):
        fast_axolotl.open_dataset(path).to_pydict()


def test_a_copy_of_a_reader_opens_its_files_again(tmp_path: Path) -> None:
    path = write(tmp_path / "a.jsonl", '{"a": 1, "b": 2}\n{"a": 3, "b": 4}\n')
    with fast_axolotl.open_dataset(path, columns=["b"], filters=[("a", ">", 1)]) as reader:
        copies = [pickle.loads(pickle.dumps(reader)), copy.deepcopy(reader), copy.copy(reader)]
    for other in copies:
        assert other.to_pydict() == {"b": [4]}
