"""The values of batches as objects of Python, where pyarrow makes them."""

import json
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeAlias

if TYPE_CHECKING:
    import pyarrow as pa

Decode: TypeAlias = Callable[[Any], Any]


def to_pydict(batch: "pa.RecordBatch | pa.Table") -> dict[str, list[Any]]:
    """Return the values of pyarrow's `to_pydict`, JSON text (`datasets.Json`) parsed."""
    pairs = zip(batch.schema, batch.columns, strict=True)
    return {field.name: _values(column, field) for field, column in pairs}


def to_pylist(column: "pa.Array") -> list[Any]:
    """Return the values of pyarrow's `to_pylist`, JSON text within them parsed."""
    import pyarrow as pa

    return _values(column, pa.field("", column.type))


def _values(column: "pa.Array | pa.ChunkedArray", field: "pa.Field") -> list[Any]:
    values, decode = _objects(column), _decoder(field)
    return values if decode is None else [_unless_none(decode, value) for value in values]


def _objects(column: "pa.Array | pa.ChunkedArray") -> list[Any]:
    import pyarrow as pa

    if isinstance(column.type, pa.ExtensionType) and column.null_count:
        # Of arrays beside a null `datasets` makes floats, unless it is given them one by one.
        rows = (column.slice(row, 1) for row in range(len(column)))
        return [value for row in rows for value in row.to_pylist()]
    found: list[Any] = column.to_pylist()
    return found


def _decoder(field: "pa.Field") -> Decode | None:
    """Return what makes a value of pyarrow's the one to give; None where it is that already."""
    import pyarrow as pa

    kind = field.type
    # As a type, or left to the metadata by a pyarrow that doesn't know it.
    metadata = field.metadata or {}
    names = (getattr(kind, "extension_name", None), metadata.get(b"ARROW:extension:name"))
    if "arrow.json" in names or b"arrow.json" in names:
        return json.loads
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
