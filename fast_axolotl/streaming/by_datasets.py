"""CSV, JSON and text files by the builders of `datasets` themselves.

For what the Rust reader leaves to pandas and to Python's codecs: the rows are theirs by
construction, and still come a chunk at a time where theirs do.
"""

import contextlib
import io
import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pyarrow as pa

_GZIP = b"\x1f\x8b"
_ZSTD = b"\x28\xb5\x2f\xfd"
_SEPARATORS = {"tsv": "\t"}


class Stream:
    """The batches that `datasets` reads from one file, as bytes of the IPC stream format.

    Args:
        kind: "csv", "tsv", "json" or "text".
        path: The file; gzip and zstd are told by its content.
        options: The options of the builder.
        schema: The schema to read with; else that of the first chunk.
        given: Whether it is the user's, who gets what `features=` would give; one that was found in
            a first chunk is what later chunks are cast to.

    Raises:
        ValueError: An option does not exist, or the file can't be read with these options.
    """

    def __init__(
        self,
        kind: str,
        path: "str | os.PathLike[str]",
        options: dict[str, Any],
        schema: Any = None,
        given: bool = False,
    ) -> None:
        import pyarrow as pa

        schema = None if schema is None else pa.schema(schema)
        tables = _tables(kind, os.fspath(path), dict(options), schema if given else None)
        first = next(tables, None)
        if schema is None:
            schema = pa.schema([]) if first is None else first.schema.remove_metadata()
        self.schema: pa.Schema = schema
        self._batches = _batches(first, tables, schema)

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
    first: "pa.Table | None", tables: "Iterator[pa.Table]", schema: "pa.Schema"
) -> "Iterator[pa.RecordBatch]":
    from datasets.table import table_cast

    while first is not None:
        # As the builder's writer does with all that comes after the first chunk.
        yield from table_cast(first, schema).to_batches()
        first = next(tables, None)


def _tables(
    kind: str, path: str, options: dict[str, Any], schema: "pa.Schema | None"
) -> "Iterator[pa.Table]":
    builder = _builder(kind, options, schema)
    with contextlib.ExitStack() as stack:
        file = _content(path, stack, by_name=kind in ("text", "json"))
        # Kept by name: it must outlive the files, or complains that it was not closed.
        tables = builder._generate_tables([path], [[file]])
        for _, table in tables:
            yield table


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


def _content(path: str, stack: contextlib.ExitStack, *, by_name: bool) -> Any:
    with Path(path).open("rb") as file:
        head = file.read(4)
    content: Any
    if head.startswith(_GZIP):
        import gzip

        content = stack.enter_context(gzip.GzipFile(path, "rb"))
    elif head == _ZSTD:
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
    with os.fdopen(handle, "wb") as plain:
        shutil.copyfileobj(content, plain)
    return name
