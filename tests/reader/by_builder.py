"""What `datasets` makes of files: its builders, driven as it drives them, without its cache."""

import bz2
import inspect
import io
import multiprocessing
import zipfile
from concurrent.futures import BrokenExecutor, ProcessPoolExecutor
from pathlib import Path
from typing import Any

import datasets
import pandas
import pyarrow as pa
import pytest
from datasets.packaged_modules.csv.csv import Csv, CsvConfig
from datasets.packaged_modules.json.json import FullReadDisallowed, Json, JsonConfig
from datasets.packaged_modules.text.text import Text, TextConfig
from datasets.table import table_cast

import fast_axolotl
from fast_axolotl.streaming import ReaderError

#: Before 3.1 doubles are others; with 2, the last one for CPython 3.10, types of columns are, too.
OLDER_PANDAS = tuple(map(int, pandas.__version__.split(".")[:2])) < (3, 1)


def theirs(builder: str, path: Path, **options: Any) -> pa.Table:
    """Return the rows of a file; raises what the builder raises."""
    made: Any = (Csv if builder == "csv" else Text).__new__(Csv if builder == "csv" else Text)
    made.config = (CsvConfig if builder == "csv" else TextConfig)(**options)
    tables = [table for _, table in made._generate_tables([str(path)], [[str(path)]])]
    tables = [datasets.table.InMemoryTable(table).table for table in tables]
    schema = tables[0].schema.remove_metadata()
    return pa.concat_tables([table_cast(table, schema) for table in tables])


def theirs_json(path: Path, **options: Any) -> pa.Table:
    """Return the rows of a JSON file; raises what the builder or its writer raises."""
    made: Any = Json.__new__(Json)
    made.config = JsonConfig(**options)
    made.info = datasets.DatasetInfo(features=options.get("features"))
    files: Any = {"base_files": [str(path)], "files_iterables": [[str(path)]]}
    if "original_files" in inspect.signature(made._generate_tables).parameters:
        files["original_files"] = [str(path)]  # since `datasets` 5
    if made.info.features is None:
        try:
            _, first = next(made._generate_tables(**files, allow_full_read=False))
            made.info.features = datasets.Features.from_arrow_schema(first.schema)
        except FullReadDisallowed:
            pass
    tables = [table for _, table in made._generate_tables(**files)]
    features = made.info.features or datasets.Features.from_arrow_schema(tables[0].schema)
    schema = features.arrow_schema
    tables = [datasets.table.InMemoryTable(table).table for table in tables]
    return pa.concat_tables([table_cast(table, schema) for table in tables])


class Apart:
    """`theirs_json` in a process of its own, which is started again when it dies.

    pyarrow's JSON reader may end the process, where blocks are smaller than rows and elsewhere.
    """

    def __init__(self) -> None:
        self._pool: ProcessPoolExecutor | None = None

    def theirs_json(self, path: Path, **options: Any) -> pa.Table:
        """Return the rows of a JSON file; raises what `theirs_json` raises, or BrokenExecutor."""
        if self._pool is None:
            self._pool = ProcessPoolExecutor(1, multiprocessing.get_context("spawn"))
        try:
            return self._pool.submit(theirs_json, path, **options).result()
        except BrokenExecutor:
            self.close()
            raise

    def close(self) -> None:
        """End the process."""
        if self._pool is not None:
            self._pool.shutdown()
            self._pool = None


def same(ours: pa.Table, expected: pa.Table) -> None:
    """Compare names, types and values."""
    assert ours.schema.names == expected.schema.names
    assert [str(kind) for kind in ours.schema.types] == [str(k) for k in expected.schema.types]
    assert repr(ours.to_pydict()) == repr(expected.to_pydict())


def unknown_compressions(data: bytes) -> dict[str, bytes]:
    """Return what the reader does not decompress, by name."""
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as file:
        file.writestr("x", data)
    lz4 = b"\x04\x22\x4d\x18\x60\x40\x82\0\0\0\0"  # an empty frame
    return {"bzip2": bz2.compress(data), "zip": archive.getvalue(), "lz4": lz4}


def before_error(path: Path, **options: Any) -> tuple[list[pa.RecordBatch], ReaderError]:
    """Return the batches of a damaged file before the error, and the error."""
    seen: list[pa.RecordBatch] = []
    try:
        seen.extend(iter(fast_axolotl.open_dataset(path, **options)))
    except ReaderError as error:
        return seen, error
    pytest.fail("nothing was found wrong")
