"""Columns cast to another schema: as `datasets` casts them, or refused."""

import datetime
import decimal
from pathlib import Path
from typing import Any

import datasets
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from datasets.table import table_cast

import fast_axolotl
from fast_axolotl.streaming import ReaderError, SchemaError

DECIMAL = decimal.Decimal
NUMBERS = [pa.int8(), pa.int64(), pa.uint64(), pa.float16(), pa.float32(), pa.float64()]
DECIMALS = [pa.decimal128(5, 1), pa.decimal128(25, 2), pa.decimal256(40, 2)]
TEXTS = [pa.string(), pa.large_string(), pa.string_view()]
TIMES = [
    *(pa.timestamp(unit) for unit in ("s", "ms", "us", "ns")),
    *(pa.timestamp("us", zone) for zone in ("UTC", "Europe/Berlin", "+02:00")),
    *(pa.date32(), pa.date64(), pa.time32("s"), pa.time64("us")),
    *(pa.duration("s"), pa.duration("ns")),
]
PAIR = pa.struct({"a": pa.int64(), "b": pa.int64()})
NESTED = [
    pa.list_(pa.int64()),
    pa.list_(pa.int8()),
    pa.list_(pa.string()),
    pa.large_list(pa.int64()),
    pa.list_(pa.int64(), 2),
    pa.struct({"b": pa.int64(), "a": pa.int64()}),
    pa.struct({"a": pa.int64()}),
    pa.struct({"a": pa.int64(), "c": pa.int64()}),
    pa.struct({"a": pa.int32(), "b": pa.string()}),
    pa.struct({"x": pa.int64(), "y": pa.int64()}),
    pa.struct({"a": pa.int64(), "b": pa.int64(), "c": pa.list_(pa.string())}),
    pa.list_(pa.struct({"b": pa.int64(), "a": pa.int64()})),
    pa.list_(pa.struct({"a": pa.int64(), "b": pa.int64(), "c": pa.string()})),
    pa.list_(pa.struct({"a": pa.int64()})),
]
WANTED = [
    *(pa.null(), pa.bool_(), pa.binary(), pa.large_binary()),
    *(NUMBERS + DECIMALS + TEXTS + TIMES + NESTED),
]

COLUMNS = {
    "integers": pa.array([0, 1, -1, 127, None]),
    "beyond a double": pa.array([2**53 + 1]),
    "beyond a float": pa.array([2**24 + 1]),
    "beyond an int64": pa.array([2**63], pa.uint64()),
    "floats": pa.array([0.1, 1.5, 123456789.125, 1e10, 1e-7, 1e300, None]),
    "whole floats": pa.array([1.0, 2.0, -0.0]),
    "no numbers": pa.array([1.0, float("nan"), float("inf")]),
    "short floats": pa.array([0.1, 1e10, 16777216.0], pa.float32()),
    "bools": pa.array([True, False, None]),
    "digits": pa.array(["1", "-2", None]),
    "a space": pa.array([" 1"]),
    "a plus": pa.array(["+1"]),
    "floats in text": pa.array(["1.5", "1e3", "nan", "-inf"]),
    "bools in text": pa.array(["true", "0", "1", "False"]),
    "words": pa.array(["yes", "on", ""]),
    "dates in text": pa.array(["2020-01-02"]),
    "times in text": pa.array(["2020-01-02 03:04:05"]),
    "milliseconds in text": pa.array(["2020-01-02T03:04:05.123"]),
    "times in a zone": pa.array(["2020-01-02T03:04:05Z", "2020-01-02T03:04:05+05:30"]),
    "no dates in text": pa.array(["2020-13-45"]),
    "bytes": pa.array([b"abc", b""]),
    "no text": pa.array([b"\xff"]),
    "microseconds": pa.array([1234567, None], pa.timestamp("us")),
    "seconds": pa.array([12, None], pa.timestamp("s")),
    "far seconds": pa.array([10**11], pa.timestamp("s")),
    "in UTC": pa.array([12000000], pa.timestamp("us", "UTC")),
    "in Berlin": pa.array([12000000], pa.timestamp("us", "Europe/Berlin")),
    "days": pa.array([1, 20000], pa.date32()),
    "clocks": pa.array([1500001], pa.time64("us")),
    "durations": pa.array([1500, 2000], pa.duration("ms")),
    "decimals": pa.array([DECIMAL("1.25"), DECIMAL("-0.01"), None], pa.decimal128(5, 2)),
    "whole decimals": pa.array([DECIMAL("1.00")], pa.decimal128(5, 2)),
    "long decimals": pa.array([DECIMAL("0.0000001")], pa.decimal128(20, 10)),
    "lists": pa.array([[1, 2], [], None]),
    "a part of lists": pa.array([[999], [1, 2], [3, 4], [999]]).slice(1, 2),
    "fixed lists": pa.array([[1, 2], [3, 4]], pa.list_(pa.int64(), 2)),
    "pairs": pa.array([{"a": 1, "b": 2}, None], PAIR),
    "one field": pa.array([{"a": 1}]),
    "lists of pairs": pa.array([[{"a": 1, "b": 2}], None, []], pa.list_(PAIR)),
    "nulls": pa.nulls(2),
    "maps": pa.array([[("k", 1)]], pa.map_(pa.string(), pa.int64())),
    "dictionaries": pa.array(["1", "2", "1"]).dictionary_encode(),
    "views": pa.array(["1", "a"], pa.string_view()),
}


def kind(wanted: pa.DataType) -> str:
    """What the refusals are told by."""
    types = pa.types
    if types.is_string(wanted) or types.is_large_string(wanted) or types.is_string_view(wanted):
        return "text"
    if types.is_decimal(wanted):
        return "decimal"
    if types.is_timestamp(wanted) and wanted.tz is not None:
        return "zoned"
    return "time" if types.is_temporal(wanted) else "other"


#: What `datasets` casts and the reader refuses: its text is pyarrow's own, or it drops a part.
REFUSED = {
    **{key: {"text", "time"} for key in ("microseconds", "seconds", "far seconds")},
    **{key: {"text", "time"} for key in ("in UTC", "in Berlin")},
    "days": {"text", "zoned"},
    "clocks": {"text", "time"},
    "durations": {"text"},
    "long decimals": {"text"},
    **{key: {"decimal"} for key in ("digits", "floats in text", "a plus", "dictionaries")},
    "integers": {"time"},
    "beyond a float": {"time", "other"},
    "beyond a double": {"time"},
}


def outcome(read: object) -> "pa.Table | Exception":
    """What a call returns or raises."""
    try:
        return read()  # type: ignore[operator]
    except (pa.ArrowException, TypeError, ValueError, ReaderError) as error:
        return error


def shown(column: pa.ChunkedArray) -> str:
    """All values, as far as Python has objects for them."""
    try:
        return repr(column.to_pylist())
    except (OverflowError, ValueError):
        return str(column)


@pytest.mark.parametrize("name", COLUMNS)
@pytest.mark.parametrize("stored", ["arrow", "parquet"])
def test_values_are_those_of_datasets_or_refused(name: str, stored: str, tmp_path: Path) -> None:
    path = tmp_path / f"x.{stored}"
    table = pa.table({"x": COLUMNS[name]})
    if stored == "parquet":
        pq.write_table(table, path)
        table = pq.read_table(path)
    else:
        with pa.ipc.new_file(path, table.schema) as writer:
            writer.write_table(table)
    cast = 0
    for wanted in WANTED:
        schema = pa.schema({"x": wanted})
        theirs = outcome(lambda schema=schema: table_cast(table, schema))
        ours = outcome(
            lambda schema=schema: fast_axolotl.open_dataset(path, schema=schema).read_all()
        )
        if isinstance(ours, pa.Table):
            ours.validate(full=True)
            assert ours.schema.field("x").type == wanted
            if isinstance(theirs, pa.Table):
                if pa.types.is_fixed_size_list(wanted) and name == "a part of lists":
                    # `datasets` takes items of other rows.
                    theirs = pa.table({"x": table["x"].cast(wanted)})
                if pa.types.is_decimal(table["x"].type) and pa.types.is_floating(wanted):
                    # pyarrow divides, and misses the nearest float by one.
                    assert ours["x"].to_pylist() == pytest.approx(theirs["x"].to_pylist())
                else:
                    assert shown(ours["x"]) == shown(theirs["x"]), wanted
                cast += 1
            else:
                # What pyarrow does not know, or refuses for the type alone.
                assert isinstance(theirs, pa.ArrowNotImplementedError | pa.ArrowInvalid)
                assert ours["x"].to_pylist() == table["x"].to_pylist(), (wanted, theirs)
        else:
            assert isinstance(ours, SchemaError), (wanted, ours)
            if isinstance(theirs, pa.Table):
                assert kind(wanted) in REFUSED.get(name, set()), (wanted, ours, theirs["x"])
    assert cast or name in ("maps", "clocks", "long decimals")


@pytest.mark.parametrize(
    ("second", "message"),
    [
        ({"text": "t", "role": "r"}, 'the field "text" has no place in it'),
        ({"content": "c", "weight": 1.0, "role": "r"}, 'the field "weight" has no place in it'),
    ],
)
def test_fields_of_another_file_are_not_taken_for_others(
    second: dict[str, object], message: str, tmp_path: Path
) -> None:
    paths = [str(tmp_path / f"{index}.parquet") for index in range(2)]
    for path, row in zip(paths, ({"role": "user", "content": "hi"}, second), strict=True):
        pq.write_table(pa.table({"messages": [[row]]}), path)
    batches = iter(fast_axolotl.open_dataset(paths, batch_size=1))
    assert next(batches).to_pylist() == [{"messages": [{"role": "user", "content": "hi"}]}]
    with pytest.raises(SchemaError) as caught:
        next(batches)
    for part in (paths[1], "row 0", '"messages"', message):
        assert part in str(caught.value)


def test_fields_in_another_order_and_missing_ones(tmp_path: Path) -> None:
    paths = [str(tmp_path / f"{index}.parquet") for index in range(3)]
    rows = [{"role": "a", "content": "b"}, {"content": "d", "role": "c"}, {"role": "e"}]
    for path, row in zip(paths, rows, strict=True):
        pq.write_table(pa.table({"messages": [[row], None]}), path)
    found = fast_axolotl.open_dataset(paths).to_pydict()["messages"]
    wanted = [{"content": None, **row} for row in rows]
    assert found == [[wanted[0]], None, [wanted[1]], None, [wanted[2]], None]


def test_a_value_that_would_not_be_the_same_is_named(tmp_path: Path) -> None:
    path = tmp_path / "x.parquet"
    times = [datetime.datetime(2020, 1, 2), datetime.datetime(2020, 1, 2, 3, 4, 5, 600000)]
    pq.write_table(pa.table({"t": pa.array(times, pa.timestamp("ms"))}), path)
    reader = fast_axolotl.open_dataset(path, schema=pa.schema({"t": pa.timestamp("s")}))
    with pytest.raises(SchemaError, match=r'row 1, column "t": .*a value would not be the same'):
        reader.read_all()


def test_two_columns_of_one_name(tmp_path: Path) -> None:
    path = tmp_path / "x.parquet"
    twice = pa.Table.from_arrays([pa.array([1]), pa.array([2])], names=["a", "a"])
    pq.write_table(twice, path)
    with pytest.raises(SchemaError, match='column "a": the file has two columns of this name'):
        fast_axolotl.open_dataset(path).read_all()


def test_a_null_that_the_schema_does_not_allow(tmp_path: Path) -> None:
    path = tmp_path / "x.parquet"
    pq.write_table(pa.table({"a": [1, None]}), path)
    schema = pa.schema([pa.field("a", pa.int64(), nullable=False)])
    with pytest.raises(SchemaError, match='row 1, column "a": a null'):
        fast_axolotl.open_dataset(path, schema=schema).read_all()


LABEL = datasets.ClassLabel(names=["no", "yes"])
MADE = [
    (["no", "yes", None], LABEL),
    ([0, 1, None], LABEL),
    (["1", "0"], LABEL),
    ([["yes"], [], None], datasets.List(LABEL)),
    ([{"k": "yes"}, {"k": None}], {"k": LABEL}),
    (["x", "1", None], datasets.Json()),
    ([[1], [], None], datasets.Json()),
    ([{"k": 1}, None], datasets.Json()),
]


def stored(column: "pa.Array | list[Any]", path: Path) -> Path:
    table = pa.table({"a": column, "b": range(len(column))})
    if path.suffix == ".parquet":
        pq.write_table(table, path)
    else:
        with pa.ipc.new_file(path, table.schema) as writer:
            writer.write_table(table)
    return path


@pytest.mark.parametrize("name", ["x.parquet", "x.arrow"])
@pytest.mark.parametrize(("column", "feature"), MADE)
def test_features_that_datasets_makes(
    name: str, column: list[Any], feature: Any, tmp_path: Path
) -> None:
    path = stored(column, tmp_path / name)
    features = datasets.Features({"a": feature, "b": datasets.Value("int32")})
    kind = "parquet" if name == "x.parquet" else "arrow"
    expected = datasets.load_dataset(
        kind, data_files=str(path), features=features, cache_dir=str(tmp_path / "cache")
    )["train"]
    reader = fast_axolotl.open_dataset(path, features=features, batch_size=2)
    found = reader.to_iterable_dataset()
    assert found.features == expected.features == features
    assert list(found) == list(expected)
    only = fast_axolotl.open_dataset(path, features=features, columns=["b"])
    assert only.to_pydict() == {"b": list(range(len(column)))}


@pytest.mark.parametrize("name", ["x.parquet", "x.arrow"])
@pytest.mark.parametrize(
    ("column", "cause"),
    [(pa.array(["no", "z"]), "label z"), (pa.array([0, 7], pa.int32()), "label 7")],
)
def test_labels_that_are_none(name: str, column: pa.Array, cause: str, tmp_path: Path) -> None:
    path = stored(column, tmp_path / name)
    features = datasets.Features({"a": LABEL, "b": datasets.Value("int64")})
    with pytest.raises(SchemaError, match=f'row 1, column "a": .*{cause}'):
        fast_axolotl.open_dataset(path, features=features).read_all()


@pytest.mark.parametrize("name", ["x.parquet", "x.arrow"])
def test_columns_that_nobody_asked_for_need_no_place(name: str, tmp_path: Path) -> None:
    path = stored(["x"], tmp_path / name)
    schema = pa.schema({"b": pa.int64()})
    found = fast_axolotl.open_dataset(path, schema=schema, columns=["b"])
    assert found.to_pydict() == {"b": [0]}
    with pytest.raises(SchemaError, match='"a"'):
        fast_axolotl.open_dataset(path, schema=schema).read_all()


@pytest.mark.parametrize(
    "values",
    [
        pa.array(["x", "y"], pa.large_string()),
        pa.array([b"x", b"y"], pa.large_binary()),
        pa.array([True, False]),
        pa.array([DECIMAL("1.25")], pa.decimal128(5, 2)),
        pa.array([1.5], pa.float16()),
        pa.array([1], pa.int8()),
        pa.array([1], pa.timestamp("s")),
    ],
    ids=lambda values: str(values.type),
)
def test_dictionaries_in_parquet_are_those_of_pyarrow(values: pa.Array, tmp_path: Path) -> None:
    column = pa.DictionaryArray.from_arrays(pa.array([0, None, 0], pa.int8()), values)
    nested = pa.ListArray.from_arrays([0, 1, 2, 3], column)
    table = pa.table({"a": column, "l": nested, "s": [{"t": "x"}] * 3})
    pq.write_table(table, tmp_path / "x.parquet")
    expected = datasets.load_dataset(
        "parquet", data_files=str(tmp_path / "x.parquet"), cache_dir=str(tmp_path / "cache")
    )["train"]
    reader = fast_axolotl.open_dataset(tmp_path / "x.parquet")
    assert datasets.Features.from_arrow_schema(reader.schema) == expected.features
    assert reader.read_all().to_pylist() == list(expected)
