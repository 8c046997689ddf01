"""The options of the builders of `datasets`, and filters."""

import dataclasses
import datetime
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
    pc.field("gap").is_null() & (pc.field("id") > 100),
    ~(pc.field("id") > 100),
    pc.field("id") % 1000 == 5 if hasattr(pc.Expression, "__mod__") else pc.field("id") == 5,
]


@pytest.mark.parametrize("filters", FILTERS, ids=str)
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
