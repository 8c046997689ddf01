"""CSV, JSON and text files by the builders of `datasets` themselves, and features that it makes.

For what the Rust reader leaves to pandas and to Python's codecs: the rows are theirs by
construction, and still come a chunk at a time where theirs do. Of what Parquet and Arrow files
store, `datasets` makes labels, images and the like.
"""

import contextlib
import errno
import inspect
import io
import os
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from .errors import ReaderError, SchemaError, check_installed, os_error

if TYPE_CHECKING:
    import pyarrow as pa

_SEPARATORS = {"tsv": "\t"}
#: Formats whose columns are stored as such, and what their files are opened as.
_STORED = {"parquet": "parquet", "arrow": "arrow", "hf_dataset": "arrow"}
#: The columns of a file without rows.
_EMPTY = {"text": {"text": "string"}}
#: What is said where a file is written: there is no space for it.
_FULL = (errno.ENOSPC, errno.EFBIG, getattr(errno, "EDQUOT", errno.ENOSPC))


class Stream:
    """The batches that `datasets` reads from one file, as bytes of the IPC stream format.

    Args:
        kind: "csv", "tsv", "json" or "text"; or "parquet", "arrow" or "hf_dataset" with a schema.
        path: The file.
        compression: "gzip", "zstd" or "xz", if it is compressed.
        options: The options of the builder.
        schema: The schema to read with; else that of the first chunk.
        given: Whether it is the user's, who gets what `features=` would give; one that was found in
            a first chunk is what later chunks are cast to.

    Raises:
        ValueError: An option does not exist, or the file can't be read with these options.
        SchemaError: A value is not what its column holds.
        ImportError: `datasets` is not installed.
    """

    def __init__(
        self,
        kind: str,
        path: "str | os.PathLike[str]",
        compression: str | None,
        options: dict[str, Any],
        schema: Any = None,
        given: bool = False,
    ) -> None:
        check_installed("datasets", "this option, or this schema,")
        import pyarrow as pa

        schema = None if schema is None else pa.schema(schema)
        found = _tables(
            kind, os.fspath(path), compression, dict(options), schema if given else None
        )
        tables = _converted(found) if given else found
        first = next(tables, None)
        if schema is None:
            schema = _EMPTY.get(kind, {}) if first is None else first.schema.remove_metadata()
            schema = pa.schema(schema)
        self.schema: pa.Schema = schema
        # Of a field, the builder leaves columns that a later file lacks to its writer, which fails.
        if kind == "json" and options.get("field") is None:
            tables = (_completed(table, schema) for table in tables)
            first = None if first is None else _completed(first, schema)
        self._batches = _batches(first, tables, schema, given)

    def __arrow_c_schema__(self) -> object:
        """Return the schema, for any library that knows Arrow."""
        return self.schema.__arrow_c_schema__()

    def next_bytes(self) -> bytes | None:
        """Return a stream of the next batch; None after the last."""
        import pyarrow as pa

        batch = next(self._batches, None)
        if batch is None:
            return None
        sink = pa.BufferOutputStream()
        with pa.ipc.new_stream(sink, batch.schema) as stream:
            stream.write_batch(batch)
        data: bytes = sink.getvalue().to_pybytes()
        return data


def _batches(
    first: "pa.Table | None", tables: "Iterator[pa.Table]", schema: "pa.Schema", given: bool
) -> "Iterator[pa.RecordBatch]":
    from datasets.table import table_cast

    row = 0
    while first is not None:
        # As the builder's writer does with all that comes after the first chunk.
        try:
            table = table_cast(first, schema)
        except (ValueError, TypeError, NotImplementedError) as error:
            sound, contradiction = _contradiction(first, schema, row, given, error)
            if sound is not None:
                yield from sound.to_batches()
            raise contradiction from error
        yield from table.to_batches()
        row += table.num_rows
        first = next(tables, None)


def _completed(table: "pa.Table", schema: "pa.Schema") -> "pa.Table":
    """Return the table with nulls in columns that it lacks, as the builder for JSON has them."""
    import pyarrow as pa

    for field in schema:
        if field.name not in table.column_names:
            table = table.append_column(field, pa.nulls(len(table), field.type))
    return table


def _contradiction(
    table: "pa.Table", schema: "pa.Schema", row: int, given: bool, error: Exception
) -> "tuple[pa.Table | None, SchemaError]":
    """Return the rows before the first that can't be cast, and what is wrong with that."""
    from datasets.table import table_cast

    hint = "" if given else "; the types are those of the first chunk, or can be given with schema="
    if table.schema.names != schema.names:
        names = f"the columns are {', '.join(table.schema.names)}"
        return None, _at(row, None, f"{names}, not {', '.join(schema.names)}{hint}")
    place, column, cause = table.num_rows, schema.names[0], error
    for name in schema.names:
        # Only rows before what was found in another column matter.
        good, bad = 0, place
        values, kind = table.select([name]), _of_one(schema, name)
        failed: Exception | None = None
        while good < bad:
            middle = (good + bad) // 2
            try:
                table_cast(values.slice(good, middle + 1 - good), kind)
                good = middle + 1
            except (ValueError, TypeError, NotImplementedError) as why:
                bad, failed = middle, why
        if failed is not None:
            place, column, cause = bad, name, failed
    sound = table_cast(table.slice(0, place), schema) if place else None
    # pandas finds a type for a chunk: the value that made it another one may come behind this row.
    found = f"{table.schema.field(column).type} in rows {row} to {row + table.num_rows - 1}"
    message = f"expected {schema.field(column).type}, found {found}: {cause}{hint}"
    return sound, _at(row + place, column, message)


def _of_one(schema: "pa.Schema", name: str) -> "pa.Schema":
    """Return the schema of one column, with its feature."""
    import datasets

    features = datasets.Features.from_arrow_schema(schema)
    return datasets.Features({name: features[name]}).arrow_schema


def _at(row: int, column: str | None, message: str) -> SchemaError:
    error = SchemaError(message)
    error.row, error.column = row, column
    return error


def _converted(tables: "Iterator[pa.Table]") -> "Iterator[pa.Table]":
    """Return the tables of a builder that has features, which fails where a value does not fit."""
    row = 0
    while True:
        try:
            table = next(tables, None)
        except (UnicodeError, ReaderError):
            raise  # damage
        except (ValueError, TypeError, NotImplementedError) as error:
            raise _at(row, None, f"{error} (in the rows from this one on)") from error
        if table is None:
            return
        yield table
        row += table.num_rows


def _tables(
    kind: str,
    path: str,
    compression: str | None,
    options: dict[str, Any],
    schema: "pa.Schema | None",
) -> "Iterator[pa.Table]":
    if kind in _STORED:
        yield from _stored(path, _STORED[kind])
        return
    builder = _builder(kind, options, schema)
    with contextlib.ExitStack() as stack:
        file = _content(path, compression, stack, by_name=kind in ("text", "json"))
        files = {"base_files": [path], "files_iterables": [[file]]}
        if "original_files" in inspect.signature(builder._generate_tables).parameters:
            files["original_files"] = [path]  # of JSON, since `datasets` 5
        # Kept by name: it must outlive the files, or complains that it was not closed.
        tables = builder._generate_tables(**files)
        for _, table in tables:
            yield table


def _stored(path: str, kind: str) -> "Iterator[pa.Table]":
    import pyarrow as pa

    from .reader import open_dataset

    with open_dataset(path, format=kind) as reader:
        # Not as a stream: read within one that pyarrow reads, which this is, it crashes.
        batches = reader._start()
        while (batch := batches.next_batch()) is not None:
            yield pa.Table.from_batches([pa.record_batch(batch)])


def _builder(kind: str, options: dict[str, Any], schema: "pa.Schema | None") -> Any:
    import datasets
    from datasets.packaged_modules.csv.csv import Csv, CsvConfig
    from datasets.packaged_modules.json.json import Json, JsonConfig
    from datasets.packaged_modules.text.text import Text, TextConfig

    features: datasets.Features | None = None
    if schema is not None:
        features = datasets.Features.from_arrow_schema(schema)
    config: Any
    if kind == "text":
        config, builder = TextConfig(features=features, **options), Text.__new__(Text)
    elif kind == "json":
        config, builder = JsonConfig(features=features, **options), Json.__new__(Json)
        builder.info = datasets.DatasetInfo(features=features)
    else:
        if kind in _SEPARATORS:
            options.setdefault("sep", _SEPARATORS[kind])
        config, builder = CsvConfig(features=features, **options), Csv.__new__(Csv)
    builder.config = config
    return builder


def _content(
    path: str, compression: str | None, stack: contextlib.ExitStack, *, by_name: bool
) -> Any:
    content: Any
    if compression == "gzip":
        import gzip

        content = stack.enter_context(gzip.GzipFile(path, "rb"))
    elif compression == "xz":
        import lzma

        content = stack.enter_context(lzma.LZMAFile(path))  # noqa: SIM115 (the stack closes it)
    elif compression == "zstd":
        check_installed("zstandard", "zstd with this option, or this schema,")
        import zstandard

        stored = stack.enter_context(io.FileIO(path))
        raw = zstandard.ZstdDecompressor().stream_reader(stored, read_across_frames=True)
        content = stack.enter_context(io.BufferedReader(raw, 1 << 20))
    elif by_name:
        return path
    else:
        # Not by its name: the builder would leave it open when nobody reads to the end.
        content = stack.enter_context(io.BufferedReader(io.FileIO(path), 1 << 18))
    if not by_name:
        return content
    import shutil
    import tempfile

    # The builder opens the file itself.
    handle, name = tempfile.mkstemp(suffix=".txt")
    stack.callback(os.unlink, name)
    try:
        with os.fdopen(handle, "wb") as plain:
            shutil.copyfileobj(content, plain)
    except OSError as error:
        if error.errno not in _FULL:
            raise
        raise os_error(error.errno, "Other", os.path.dirname(name), None) from error
    return name
