"""The values of batches as objects of Python, where pyarrow makes them."""

import json
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from . import errors

if TYPE_CHECKING:
    import pyarrow as pa

Decode: TypeAlias = Callable[[Any], Any]

#: `datasets` has no NaN in JSON.
_DECODER = json.JSONDecoder(
    parse_constant={"NaN": None, "Infinity": float("inf"), "-Infinity": -float("inf")}.get
)


def dicts(
    batches: "Iterable[pa.RecordBatch | pa.Table]",
    file: str | None = None,
    start: int | None = None,
) -> Iterator[dict[str, list[Any]]]:
    """Return the values of batches of `file`, whose first row is `start`, where that is known.

    Raises:
        SchemaError: A text is said to be JSON and is not; behind the rows before it.
    """
    for batch in batches:
        try:
            found = to_pydict(batch)
        except errors.SchemaError as error:
            if error.row:
                # Another column may have a fault further ahead.
                yield from dicts([batch.slice(0, error.row)], file, start)
            row = None if start is None or error.row is None else start + error.row
            raise _placed(error, file, row) from None
        yield found
        if start is not None:
            start += batch.num_rows


def to_pydict(batch: "pa.RecordBatch | pa.Table") -> dict[str, list[Any]]:
    """Return the values of pyarrow's `to_pydict`, JSON text (`datasets.Json`) parsed.

    Raises:
        SchemaError: A text is said to be JSON and is not; its row is counted in the batch.
    """
    pairs = zip(batch.schema, batch.columns, strict=True)
    return {field.name: _values(column, field) for field, column in pairs}


def to_pylist(column: "pa.Array") -> list[Any]:
    """Return the values of pyarrow's `to_pylist`, JSON text within them parsed."""
    import pyarrow as pa

    return _values(column, pa.field("", column.type))


def loads(text: str) -> Any:
    """Return what JSON text stands for; what is not quite JSON is read as `datasets` reads it.

    Raises:
        SchemaError: It is no JSON.
    """
    try:
        return _DECODER.decode(text)
    except (ValueError, RecursionError) as error:
        try:
            # It keeps text that its parser takes, which is glad to read `-` and `01`, as it is.
            from datasets.utils.json import ujson_loads

            return ujson_loads(text)
        except (ImportError, ValueError):
            raise errors.SchemaError(f"{text[:40]!r} is no JSON: {error}") from None


def _values(column: "pa.Array | pa.ChunkedArray", field: "pa.Field") -> list[Any]:
    values, decode = _objects(column), _decoder(field)
    if decode is None:
        return values
    decoded: list[Any] = []
    try:
        decoded.extend(_unless_none(decode, value) for value in values)
    except errors.SchemaError as error:
        error.row, error.column = len(decoded), field.name
        raise
    return decoded


def _objects(column: "pa.Array | pa.ChunkedArray") -> list[Any]:
    import pyarrow as pa

    if isinstance(column.type, pa.ExtensionType) and column.null_count:
        # Of arrays beside a null `datasets` makes floats, unless it is given them one by one.
        rows = (column.slice(row, 1) for row in range(len(column)))
        return [value for row in rows for value in row.to_pylist()]
    found: list[Any] = column.to_pylist()
    return found


def _placed(error: errors.SchemaError, file: str | None, row: int | None) -> errors.SchemaError:
    """Return the error with its place in a file, as where Rust finds it."""
    place = ([] if row is None else [f"row {row}"]) + [f"column {json.dumps(error.column)}"]
    name = "" if file is None else f"{file}: "
    placed = errors.SchemaError(f"{name}{', '.join(place)}: {error}")
    placed.file, placed.row, placed.column = file and Path(file), row, error.column
    return placed


def _decoder(field: "pa.Field") -> Decode | None:
    """Return what makes a value of pyarrow's the one to give; None where it is that already."""
    import pyarrow as pa

    kind = field.type
    # As a type, or left to the metadata by a pyarrow that doesn't know it.
    metadata = field.metadata or {}
    names = (getattr(kind, "extension_name", None), metadata.get(b"ARROW:extension:name"))
    if "arrow.json" in names or b"arrow.json" in names:
        return loads
    if pa.types.is_struct(kind):
        fields = [kind.field(place) for place in range(kind.num_fields)]
        found = {field.name: _decoder(field) for field in fields}
        inner = {name: decode for name, decode in found.items() if decode is not None}
        return (lambda row: _members(row, inner)) if inner else None
    # Within maps it stays text, as where Rust makes the objects.
    return _of_list(_decoder(kind.value_field)) if hasattr(kind, "value_field") else None


def _of_list(decode: Decode | None) -> Decode | None:
    if decode is None:
        return None
    return lambda values: [_unless_none(decode, value) for value in values]


def _members(row: dict[str, Any], inner: dict[str, Decode]) -> dict[str, Any]:
    decoded = {name: _unless_none(decode, row[name]) for name, decode in inner.items()}
    return {**row, **decoded}


def _unless_none(decode: Decode, value: Any) -> Any:
    return None if value is None else decode(value)
