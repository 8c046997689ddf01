"""A reader that is opened before a fork: parent and child read all rows, each by itself."""

import gzip
import json
import multiprocessing
import sys
from pathlib import Path
from typing import Any

import pytest

import fast_axolotl

pytestmark = [
    pytest.mark.skipif(not fast_axolotl.RUST_AVAILABLE, reason="the reader needs the extension"),
    pytest.mark.skipif(sys.platform == "win32", reason="there is no fork"),
]
ROWS = 40_000


def ids(reader: Any) -> list[int]:
    return [value for batch in reader for value in batch.column("id").to_pylist()]


def told(reader: Any, answers: Any) -> None:
    try:
        answers.put(ids(reader))
    except Exception as error:
        answers.put(repr(error))


@pytest.mark.parametrize("name", ["a.jsonl.gz", "a.csv.gz"])
def test_a_compressed_file_whose_head_was_looked_at(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    texts = ((i, f"{i * 7919 % 104729:x}" * 20) for i in range(ROWS))
    with gzip.open(path, "wt") as file:
        if "csv" in name:
            file.write("id,text\n")
            file.writelines(f"{i},{text}\n" for i, text in texts)
        else:
            file.writelines(json.dumps({"id": i, "text": text}) + "\n" for i, text in texts)
    reader = fast_axolotl.open_dataset(path)
    fork = multiprocessing.get_context("fork")
    answers = fork.Queue()
    children = [fork.Process(target=told, args=(reader, answers)) for _ in range(2)]
    for child in children:
        child.start()
    mine = ids(reader)
    theirs = [answers.get(timeout=60) for _ in children]
    for child in children:
        child.join(timeout=60)
    assert mine == list(range(ROWS))
    assert theirs == [mine, mine]
