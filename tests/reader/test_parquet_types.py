"""Times in Parquet files: with the units and zones that `datasets` gives them."""

import itertools
from pathlib import Path
from typing import Any

import datasets
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import fast_axolotl

SECONDS = [1_577_847_845, None, -11_676_096]
TYPES = {
    f"{unit} {zone}": pa.timestamp(unit, zone)
    for unit, zone in itertools.product(
        ("s", "ms", "us", "ns"), (None, "UTC", "Asia/Tokyo", "+02:00")
    )
}


def times() -> pa.Table:
    columns: dict[str, Any] = {"before": pa.array([[1], [], None], pa.list_(pa.int8()))}
    for name, kind in TYPES.items():
        column = pa.array(SECONDS, pa.timestamp("s", kind.tz)).cast(kind)
        columns[name] = column
        columns[f"lists of {name}"] = pa.ListArray.from_arrays([0, 1, 1, 3], column)
        columns[f"structs of {name}"] = pa.StructArray.from_arrays([column], ["time"])
        columns[f"words of {name}"] = column.dictionary_encode()
    columns["dates"] = pa.array([0, None, 86_400_000], pa.date64())
    columns["lengths"] = pa.array([1, None, 3], pa.duration("s"))
    return pa.table(columns)


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"version": "1.0"},
        {"version": "2.4"},
        {"store_schema": False},
        {"coerce_timestamps": "ms"},
        {"coerce_timestamps": "us", "store_schema": False},
        {"use_deprecated_int96_timestamps": True},
        {"use_deprecated_int96_timestamps": True, "store_schema": False},
    ],
    ids=str,
)
def test_as_datasets_reads_them(tmp_path: Path, options: dict[str, Any]) -> None:
    path = tmp_path / "a.parquet"
    pq.write_table(times(), path, **options)
    loaded = datasets.load_dataset(
        "parquet", data_files=str(path), split="train", cache_dir=tmp_path / "cache"
    )
    read = pa.table(fast_axolotl.open_dataset(path))
    expected = loaded.data.table.combine_chunks()
    assert {field.name: field.type for field in read.schema} == {
        field.name: field.type for field in expected.schema
    }
    assert read.equals(expected)


def test_a_schema_that_can_not_be_read_is_an_error(tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    with pq.ParquetWriter(path, times().schema, store_schema=False) as writer:
        writer.write_table(times())
        writer.add_key_value_metadata({"ARROW:schema": "no base64"})
    with pytest.raises(Exception):  # noqa: B017, PT011
        pq.read_schema(path)
    with pytest.raises(RuntimeError, match=r"a\.parquet.*schema"):
        fast_axolotl.open_dataset(path).schema  # noqa: B018


def json_texts(kind: pa.DataType) -> pa.Table:
    # `datasets` takes what has a null among the first five for other text.
    texts = pa.array(['{"a": [1]}', "3", '"x"', "[]", "null", None], kind)
    column = pa.ExtensionArray.from_storage(pa.json_(kind), texts)
    return pa.table(
        {
            "before": pa.array([{"x": 1}, None, *[{"x": 2}] * 4]),
            "a": column,
            "lists": pa.ListArray.from_arrays([0, 1, None, 2, 3, 4, 6], column),
            "structs": pa.StructArray.from_arrays([pa.array(range(6)), column], ["n", "t"]),
            "text": pa.array(["{}", "[", None, "", "", ""]),
        }
    )


@pytest.mark.parametrize("store_schema", [True, False])
@pytest.mark.parametrize("kind", [pa.string(), pa.large_string()], ids=str)
def test_json_is_that_of_datasets(tmp_path: Path, kind: pa.DataType, store_schema: bool) -> None:
    path = tmp_path / "a.parquet"
    pq.write_table(json_texts(kind), path, store_schema=store_schema)
    # Text of large strings it encodes once more.
    small = tmp_path / "small.parquet"
    pq.write_table(json_texts(pa.string()), small, store_schema=store_schema)
    loaded = datasets.load_dataset(
        "parquet", data_files=str(small), split="train", cache_dir=tmp_path / "cache"
    )
    reader = fast_axolotl.open_dataset(path)
    dataset = reader.to_iterable_dataset()
    built = reader.to_dataset(tmp_path / "ours")
    assert dataset.features == built.features == loaded.features
    assert list(dataset) == list(built) == list(loaded)
    assert reader.to_pydict() == loaded[:]
    some = fast_axolotl.open_dataset(path, columns=["lists"], filters=[("text", "==", "[")])
    assert some.to_pydict() == {"lists": [[3]]}


def test_maps_are_those_of_pyarrow(tmp_path: Path) -> None:
    times = pa.array([0, None, 2], pa.timestamp("s", "Europe/Berlin"))
    days = pa.array([0, None, 86_400_000], pa.date64())
    texts = pa.ExtensionArray.from_storage(pa.json_(), pa.array(["1", None, "{}"]))
    columns = {
        name: pa.MapArray.from_arrays([0, 2, 3], pa.array(["x", "y", "z"]), values)
        for name, values in {"times": times, "days": days, "texts": texts}.items()
    }
    columns["last"] = pa.array(["x", "y"])
    path = tmp_path / "a.parquet"
    pq.write_table(pa.table(columns), path)
    expected = pq.read_table(path)
    found = fast_axolotl.open_dataset(path).read_all()
    assert [str(kind.item_type) for kind in found.schema.types[:3]] == [
        str(kind.item_type) for kind in expected.schema.types[:3]
    ]
    assert found.to_pylist() == expected.to_pylist()
