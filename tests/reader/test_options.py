"""The options of the builders of `datasets`, and filters."""

import dataclasses
import datetime
import json
from pathlib import Path
from typing import Any

import datasets
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
from datasets.packaged_modules.arrow.arrow import ArrowConfig
from datasets.packaged_modules.csv.csv import CsvConfig
from datasets.packaged_modules.json.json import JsonConfig
from datasets.packaged_modules.parquet.parquet import ParquetConfig
from datasets.packaged_modules.text.text import TextConfig

import fast_axolotl

pytestmark = pytest.mark.skipif(
    not fast_axolotl.RUST_AVAILABLE, reason="the reader needs the extension"
)

COMMON = {field.name for field in dataclasses.fields(datasets.BuilderConfig)}
OPTIONS = [
    (ending, field)
    for ending, config in (
        ("csv", CsvConfig),
        ("jsonl", JsonConfig),
        ("txt", TextConfig),
        ("parquet", ParquetConfig),
        ("arrow", ArrowConfig),
    )
    for field in dataclasses.fields(config)
    if field.name not in COMMON
]


def write(folder: Path, ending: str) -> Path:
    path = folder / f"a.{ending}"
    if ending == "parquet":
        pq.write_table(pa.table({"a": [1, 2]}), path)
    elif ending == "arrow":
        table = pa.table({"a": [1, 2]})
        with pa.OSFile(str(path), "wb") as sink, pa.ipc.new_file(sink, table.schema) as out:
            out.write_table(table)
    else:
        path.write_text(
            {"csv": "a\n1\n2\n", "jsonl": '{"a": 1}\n{"a": 2}\n', "txt": "1\n2\n"}[ending]
        )
    return path


@pytest.mark.parametrize(
    ("ending", "field"), OPTIONS, ids=[f"{ending}-{field.name}" for ending, field in OPTIONS]
)
def test_every_option_is_known(tmp_path: Path, ending: str, field: Any) -> None:
    """With the value that it has where nobody gives it, it changes nothing."""
    value = field.default
    if field.default_factory is not dataclasses.MISSING:
        value = field.default_factory()
    if field.name == "batch_size":
        value = 10
    path = write(tmp_path, ending)
    found = fast_axolotl.open_dataset(path, **{field.name: value}).read_all()
    assert found == fast_axolotl.open_dataset(path).read_all()


def test_an_index_of_pandas_and_a_schema(tmp_path: Path) -> None:
    """Rows that are longer than the header have an index, which pandas makes of the first field."""
    path = tmp_path / "a.csv"
    path.write_text("a,b\n7,1,x\n8,2,y\n")
    plain = fast_axolotl.open_dataset(path).read_all()
    features = datasets.Features({"a": datasets.Value("float32"), "b": datasets.Value("string")})
    expected = datasets.load_dataset(
        "csv", data_files=str(path), features=features, cache_dir=str(tmp_path / "cache")
    )["train"]
    for given in ({"features": features}, {"schema": features.arrow_schema}):
        found = fast_axolotl.open_dataset(path, **given)
        assert found.read_all().to_pydict() == expected.to_dict()
        assert found.schema.types == [pa.float32(), pa.string()]
    assert plain.column("b").to_pylist() == ["x", "y"]
    assert list(fast_axolotl.open_dataset(path).to_iterable_dataset()) == plain.to_pylist()


GROUPS, ROWS = 20, 500


def parquet(path: Path, **options: Any) -> Path:
    first = datetime.date(2024, 1, 1)
    table = pa.table(
        {
            "id": range(GROUPS * ROWS),
            "day": [first + datetime.timedelta(number // 50) for number in range(GROUPS * ROWS)],
            "text": [f"row {number}" for number in range(GROUPS * ROWS)],
            "gap": [None if number < 4000 else number % 7 for number in range(GROUPS * ROWS)],
        }
    )
    pq.write_table(table, path, row_group_size=ROWS, **options)
    return path


FILTERS = [
    [("id", ">=", 9000)],
    [("id", "<", 700)],
    [[("id", "==", 1234)], [("id", ">", 9990)]],
    [("day", "==", datetime.date(2024, 2, 1))],
    [("gap", "in", [3, 5]), ("id", "<", 6000)],
    [("text", "==", "row 777")],
    [("id", "<", 0)],
    [("text", "in", ["row 7", "你好", "文" * 33])],
    pc.field("text").isin(["row 8", "你好", "文" * 33]),
    pc.field("gap").is_null() & (pc.field("id") > 100),
    ~(pc.field("id") > 100),
    pc.field("id") % 1000 == 5 if hasattr(pc.Expression, "__mod__") else pc.field("id") == 5,
]


@pytest.mark.parametrize("filters", FILTERS, ids=range(len(FILTERS)))
def test_filters_keep_the_rows_of_pyarrow(tmp_path: Path, filters: Any) -> None:
    paths = [parquet(tmp_path / "a.parquet"), parquet(tmp_path / "b.parquet", compression="zstd")]
    expected = pa.concat_tables([pq.read_table(path, filters=filters) for path in paths])
    for threads in (1, 2):
        for size in (7, 300, 100_000):
            reader = fast_axolotl.open_dataset(
                paths, filters=filters, batch_size=size, num_threads=threads
            )
            batches = list(reader)
            found = pa.Table.from_batches(batches, reader.schema)
            assert found.to_pylist() == expected.to_pylist()
            assert all(batch.num_rows == size for batch in batches[:-1])
    rows = list(fast_axolotl.open_dataset(paths, filters=filters).to_iterable_dataset())
    assert rows == expected.to_pylist()


def test_statistics_rule_row_groups_out(tmp_path: Path) -> None:
    """What is not read can't be found damaged."""
    path = parquet(tmp_path / "a.parquet", use_dictionary=False)
    data = bytearray(path.read_bytes())
    metadata = pq.ParquetFile(path).metadata
    for group in range(GROUPS - 1):
        for index in range(metadata.num_columns):
            column = metadata.row_group(group).column(index)
            data[column.data_page_offset : column.data_page_offset + 40] = b"\xff" * 40
    path.write_bytes(data)
    for threads in (1, 2):
        reader = fast_axolotl.open_dataset(
            path, filters=[("id", ">=", 9700)], columns=["id"], num_threads=threads
        )
        assert reader.to_pydict() == {"id": list(range(9700, 10_000))}
    with pytest.raises(fast_axolotl.streaming.DamagedFileError):
        fast_axolotl.open_dataset(path, filters=[("id", ">=", 9400)]).to_pydict()


def test_rows_behind_skipped_groups(tmp_path: Path) -> None:
    reader = fast_axolotl.open_dataset(parquet(tmp_path / "a.parquet"), batch_size=90)
    for skip in (0, 1, 499, 500, 501, 5250, 9999, 10_000, 20_000):
        found = [value for batch in reader.batches(skip) for value in batch["id"].to_pylist()]
        assert found == list(range(skip, GROUPS * ROWS))


def test_columns_that_only_a_filter_looks_at(tmp_path: Path) -> None:
    """Of Parquet, what is not decoded can't be found damaged."""
    path = tmp_path / "a.parquet"
    table = pa.table(
        {"a": range(50), "b": [i % 3 for i in range(50)], "c": [i / 7 for i in range(50)]}
    )
    pq.write_table(table, path, use_dictionary=False, compression="snappy")
    data = bytearray(path.read_bytes())
    column = pq.ParquetFile(path).metadata.row_group(0).column(2)
    data[column.data_page_offset : column.data_page_offset + 40] = b"\xff" * 40
    path.write_bytes(data)
    expected = [{"a": number} for number in range(1, 50, 3)]
    for filters in ([("b", "==", 1)], pc.field("b") == 1):
        reader = fast_axolotl.open_dataset(path, columns=["a"], filters=filters)
        assert reader.read_all().to_pylist() == expected
        assert list(reader.to_iterable_dataset()) == expected
    with pytest.raises(fast_axolotl.streaming.DamagedFileError):
        fast_axolotl.open_dataset(path, filters=[("b", "==", 1)]).read_all()


@pytest.mark.parametrize("ending", ["parquet", "jsonl"])
def test_an_expression_with_columns(tmp_path: Path, ending: str) -> None:
    table = pa.table({"n": range(9), "s": [{"x": i % 2} for i in range(9)], "t": ["é"] * 9})
    path = tmp_path / f"a.{ending}"
    if ending == "parquet":
        pq.write_table(table, path)
    else:
        path.write_text("".join(json.dumps(row) + "\n" for row in table.to_pylist()))
    for filters in (
        pc.field("s", "x") == 1,
        (pc.field("n") > 3) | (pc.field("t") == "e"),
        pc.field(0) > 3,
        (pc.field(0) > 3) & (pc.field("s", "x") == 1),
        pc.scalar(True),
    ):
        for columns in (["t"], ["t", "n"]):
            reader = fast_axolotl.open_dataset(path, columns=columns, filters=filters, batch_size=4)
            expected = table.filter(filters).select(columns)
            assert reader.read_all().to_pylist() == expected.to_pylist()
            assert reader.schema.names == columns
            assert list(reader.to_iterable_dataset()) == expected.to_pylist()


@pytest.mark.parametrize(
    ("filters", "error", "match"),
    [
        ([("nothing", ">", 1)], ValueError, "no column .*nothing.*; there are id, day"),
        (pc.field("nothing") > 1, ValueError, "nothing"),
        ([("id", ">", "x")], ValueError, "don't fit the columns"),
        (pc.field("id"), ValueError, "yes or no"),
        (pc.if_else(pc.field("text").isin(["你好", "文" * 33]), 1, 2), ValueError, "yes or no"),
        ([], ValueError, "filters are empty"),
        ([("id", ">")], ValueError, "a filter is a tuple"),
        ("id > 3", TypeError, "filters must be a list"),
    ],
    ids=range(8),
)
@pytest.mark.parametrize("columns", [None, ["text"]])
def test_filters_that_can_not_be(
    tmp_path: Path, filters: Any, error: Any, match: str, columns: Any
) -> None:
    with pytest.raises(error, match=match):
        fast_axolotl.open_dataset(parquet(tmp_path / "a.parquet"), filters=filters, columns=columns)


NAN = float("nan")


@pytest.mark.parametrize(
    "filters",
    [
        ~(pc.field("f") > 0.5),
        pc.field("f").is_nan(),
        pc.field("f") != 0.9,
        (pc.field("f") > 0.5) == pc.scalar(False),
        pc.field("s", "f").is_nan(),
        [("f", "!=", 0.1)],
        [("f", "in", [NAN])],
        [("f", "not in", [0.9])],
        [("f", "<", 0.5)],
        [("f", ">=", 0.9), ("id", "in", [3, 4])],
    ],
    ids=str,
)
def test_statistics_know_no_nan(tmp_path: Path, filters: Any) -> None:
    values = [0.1, NAN, 0.9, NAN, 0.9, 0.9]
    table = pa.table({"f": values, "s": [{"f": value} for value in values], "id": range(6)})
    pq.write_table(table, tmp_path / "a.parquet", row_group_size=2)
    expected = table.filter(pq.filters_to_expression(filters)).column("id").to_pylist()
    for size in (1, 2, 3, 10):
        reader = fast_axolotl.open_dataset(tmp_path / "a.parquet", filters=filters, batch_size=size)
        assert reader.to_pydict()["id"] == expected


def test_statistics_are_of_the_values_before_a_cast(tmp_path: Path) -> None:
    """As float32, 0.1 is more than 0.1."""
    path = tmp_path / "a.parquet"
    pq.write_table(pa.table({"f": [0.1, 0.1], "id": [1, 2]}), path)
    schema = pa.schema({"f": pa.float32(), "id": pa.int64()})
    every = fast_axolotl.open_dataset(path, schema=schema).read_all()
    for filters in ([("f", ">", 0.1)], [("f", ">", 0.1), ("id", ">=", 1)]):
        expected = every.filter(pq.filters_to_expression(filters))
        assert expected.num_rows == 2
        found = fast_axolotl.open_dataset(path, schema=schema, filters=filters, batch_size=1)
        assert found.read_all().to_pydict() == expected.to_pydict()


@pytest.mark.parametrize(
    "column",
    [
        pa.array(["a", None, "b", "b", "c"]).cast(pa.string_view()),
        pa.array([b"a", None, b"b", b"b", b"c"]).cast(pa.binary_view()),
        pc.run_end_encode(pa.array(["a", None, "b", "b", "c"])),
        pa.array([["a"], None, ["b"], ["b", "b"], ["c"]]).cast(pa.list_(pa.string_view())),
    ],
    ids=lambda column: str(column.type),
)
def test_columns_that_pyarrow_can_not_filter(tmp_path: Path, column: Any) -> None:
    table = pa.table({"id": range(5), "v": column})
    path = tmp_path / "a.arrow"
    with pa.OSFile(str(path), "wb") as sink, pa.ipc.new_file(sink, table.schema) as out:
        out.write_table(table)
    filters: list[Any] = [[("id", ">", 1)], [("id", "in", [0, 3])], [("id", ">", 9)]]
    if not pa.types.is_list(column.type):
        filters.append([("v", "==", b"b" if pa.types.is_binary_view(column.type) else "b")])
    for wanted, rows in zip(filters, ([2, 3, 4], [0, 3], [], [2, 3]), strict=False):
        for size in (1, 2, 10):
            reader = fast_axolotl.open_dataset(path, filters=wanted, batch_size=size)
            found = reader.read_all()
            assert found.schema == fast_axolotl.open_dataset(path).schema
            assert found.to_pylist() == [table.to_pylist()[row] for row in rows]


@pytest.mark.parametrize("line", ['{"m": %s, "id": %d}', '{"m": [%s, null], "id": %d}'])
def test_json_is_parsed_behind_a_filter_too(tmp_path: Path, line: str) -> None:
    path = tmp_path / "a.jsonl"
    mixed = ['{"a": 1}', '"x"', "[1, {}]", "null", "3"]
    path.write_text("".join(line % (text, row) + "\n" for row, text in enumerate(mixed)))
    item: Any = datasets.Json()
    features = datasets.Features(
        {"m": datasets.List(item) if "[" in line else item, "id": datasets.Value("int64")}
    )
    filters = [("id", ">=", 0)]
    plain = fast_axolotl.open_dataset(path, features=features)
    found = fast_axolotl.open_dataset(path, features=features, filters=filters)
    assert found.to_pydict() == plain.to_pydict()
    assert list(found.dicts()) == list(plain.dicts())
    assert list(found.to_iterable_dataset()) == list(plain.to_iterable_dataset())


def test_json_within_structs_and_maps_is_parsed(tmp_path: Path) -> None:
    text = pa.array(['{"a": 1}', None, "[]"]).cast(pa.json_())
    table = pa.table(
        {
            "s": pa.StructArray.from_arrays([text, pa.array([1, 2, 3])], ["x", "n"]),
            "m": pa.MapArray.from_arrays([0, 1, 2, 3], pa.array(["k", "l", "m"]), text),
        }
    )
    path = tmp_path / "a.arrow"
    with pa.OSFile(str(path), "wb") as sink, pa.ipc.new_file(sink, table.schema) as out:
        out.write_table(table)
    found = fast_axolotl.open_dataset(path, filters=pc.scalar(True)).to_pydict()
    assert found == fast_axolotl.open_dataset(path).to_pydict()
    assert found["s"] == [{"x": {"a": 1}, "n": 1}, {"x": None, "n": 2}, {"x": [], "n": 3}]
