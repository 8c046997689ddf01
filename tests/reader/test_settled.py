"""Types that settle early: where the rest of the first chunk has others, it is an error."""

import csv
import gzip
import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import datasets
import pyarrow as pa
import pytest

from fast_axolotl import open_dataset
from fast_axolotl.streaming.errors import ReaderError

from .by_builder import OLDER_PANDAS

ROWS, ODD = 6_000, 4_321
TEXT = "x" * 900
Row = dict[str, Any]


def lines(rows: list[Row]) -> bytes:
    return "".join(json.dumps(row) + "\n" for row in rows).encode()


def array(rows: list[Row]) -> bytes:
    return json.dumps(rows).encode()


def table(rows: list[Row]) -> bytes:
    text = io.StringIO()
    writer = csv.DictWriter(text, list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue().encode()


def with_odd(usual: Any, odd: Any) -> list[Row]:
    return [{"t": TEXT, "v": odd if row == ODD else usual} for row in range(ROWS)]


#: The ending, what writes such a file, the usual value, the odd one.
CASES: list[tuple[str, Callable[[list[Row]], bytes], Any, Any]] = [
    ("jsonl", lines, 1, 2.0),
    ("jsonl", lines, {"a": 1, "b": 2}, {"a": 1}),
    ("jsonl", lines, [{"a": "x"}], [{"a": "x"}, {}]),
    ("json", array, 1, 2.0),
    ("json", array, {"a": 1, "b": 2}, {"b": 1}),
    ("csv", table, 7, ""),
    ("csv", table, 7, "3.0"),
]


@pytest.mark.parametrize("packed", [False, True], ids=["plain", "gz"])
@pytest.mark.parametrize(("ending", "write", "usual", "odd"), CASES)
def test_a_type_that_changes_within_the_first_chunk_is_an_error_or_that_of_datasets(
    tmp_path: Path,
    ending: str,
    write: Callable[[list[Row]], bytes],
    usual: Any,
    odd: Any,
    packed: bool,
) -> None:
    content = write(with_odd(usual, odd))
    path = tmp_path / (f"rows.{ending}" + (".gz" if packed else ""))
    path.write_bytes(gzip.compress(content, 1) if packed else content)
    reader = open_dataset(str(path), batch_size=1_000)
    rows: list[int] = []
    with pytest.raises(ReaderError, match=r'row 4321.*"v".*infer="full"') as caught:
        rows.extend(batch.num_rows for batch in reader)
    assert sum(rows) == ODD
    assert path.name in str(caught.value)

    expected = datasets.load_dataset(
        "csv" if ending == "csv" else "json",
        data_files=str(path),
        split="train",
        cache_dir=str(tmp_path / "stock"),
    )
    ours = reader.to_dataset(cache_dir=tmp_path / "ours")
    wanted = expected.features
    # Ours is of the type that pandas 3.1 gives it: see test_csv.py.
    if OLDER_PANDAS and ending == "csv":
        wanted = datasets.Features({**wanted, "t": datasets.Value("large_string")})
    assert ours.features == wanted
    assert ours[ODD - 1 : ODD + 2] == expected[ODD - 1 : ODD + 2]
    assert list(reader.to_iterable_dataset().skip(ODD).take(1)) == [expected[ODD]]
    again = open_dataset(str(path), infer="full").read_all()
    assert len(again) == ROWS
    with pytest.raises(ReaderError):
        list(reader)


@pytest.mark.parametrize(("ending", "write"), [("jsonl", lines), ("json", array), ("csv", table)])
def test_types_that_change_early_or_are_not_known_are_looked_for(
    tmp_path: Path, ending: str, write: Callable[[list[Row]], bytes]
) -> None:
    rows = [
        {"t": TEXT, "v": 1 if row < 900 else 2.5, "w": "late" if row == ODD else None}
        for row in range(ROWS)
    ]
    path = tmp_path / f"rows.{ending}"
    path.write_bytes(write(rows))
    table = open_dataset(str(path)).read_all()
    assert table.schema.field("v").type == pa.float64()
    assert table["w"].to_pylist()[ODD] == "late"
    assert table["w"].null_count == ROWS - 1


def test_what_comes_behind_the_first_chunk_is_read_as_datasets_reads_it(tmp_path: Path) -> None:
    """A missing value behind 10,000 rows makes no floats of the ints before it."""
    rows: list[Row] = [{"t": TEXT, "v": "" if row == 10_000 else row} for row in range(10_200)]
    path = tmp_path / "rows.csv"
    path.write_bytes(table(rows))
    expected = datasets.load_dataset(
        "csv", data_files=str(path), split="train", cache_dir=str(tmp_path / "stock")
    )
    found = open_dataset(str(path)).read_all()
    assert found.schema.field("v").type == pa.int64()
    assert found.to_pydict() == expected[:]
    rows[9_999]["v"] = ""
    path.write_bytes(table(rows))
    with pytest.raises(ReaderError, match="row 9999"):
        open_dataset(str(path)).read_all()


#: The usual value, the odd one behind 10 MiB of an array, and the options to read it with.
ARRAYS: list[tuple[Any, Any, dict[str, Any]]] = [
    (None, "late", {}),
    ("a", 5, {}),
    ({"a": 1, "b": 2}, {"a": 1}, {"chunksize": 5_000}),
    (1.0, 2.5, {"field": "rows"}),
    (None, "late", {"field": "rows", "chunksize": 5_000}),
    (7, 2**63, {"field": "rows"}),
]


@pytest.mark.parametrize(("usual", "odd", "options"), ARRAYS)
def test_an_array_has_the_types_of_all_its_rows(
    tmp_path: Path, usual: Any, odd: Any, options: dict[str, Any]
) -> None:
    rows = [{"t": TEXT * 3, "v": odd if row == ODD else usual} for row in range(ODD + 2)]
    path = tmp_path / "rows.json"
    path.write_text(json.dumps({"rows": rows} if "field" in options else rows))
    expected = datasets.load_dataset(
        "json", data_files=str(path), split="train", cache_dir=str(tmp_path / "stock"), **options
    )
    reader = open_dataset(str(path), **options)
    batches: list[int] = []
    with pytest.raises(ReaderError, match=r'row 4321.*infer="full"'):
        batches.extend(batch.num_rows for batch in reader)
    assert sum(batches) == ODD
    ours = reader.to_dataset(cache_dir=tmp_path / "ours")
    assert ours.features == expected.features
    assert ours[ODD - 1 :] == expected[ODD - 1 :]
    iterable = reader.to_iterable_dataset()
    assert iterable.features == expected.features
    assert list(iterable.skip(ODD - 1)) == list(expected.select(range(ODD - 1, ODD + 2)))
    for infer in ("chunk", "full"):
        table = open_dataset(str(path), infer=infer, **options).read_all()
        assert datasets.Features.from_arrow_schema(table.schema) == expected.features
