"""Rows of any accepted layout, as a list of lists."""

from __future__ import annotations

import sys
from collections.abc import Sequence

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

# What a str would be read as is never what was meant; the others have no order.
_TEXT = (str, bytes, bytearray, memoryview)


def token_rows(name: str, rows: Any) -> list[list[Any]]:
    """Return `rows` as a list of lists that share the elements of the input.

    A list of lists comes back as it is; every other layout is copied:
    tuples and other sequences, 1-D and 2-D NumPy arrays of integers, Arrow lists of integers.

    Raises:
        TypeError: `rows`, or one of them, is not a sequence of integers.
        ValueError: an Arrow array holds a null, or an array has the wrong number of dimensions.
    """
    if type(rows) is not list:
        rows = _outer(name, rows)
    if set(map(type, rows)) <= {list}:
        return rows  # type: ignore[no-any-return]
    # Over a copy: reading a row may run code that changes the list of them.
    rows = enumerate(list(rows))
    return [row if type(row) is list else _inner(name, i, row) for i, row in rows]


def _outer(name: str, rows: Any) -> list[Any]:
    if type(rows) is tuple:
        return list(rows)
    if is_arrow(rows):
        return _arrow_lists(name, rows)
    if _is_ndarray(rows):
        if rows.ndim != 2:
            raise ValueError(f"{name} must have 2 dimensions as an array, not {rows.ndim}")
        if rows.dtype.kind not in "iub":
            raise TypeError(f"{name} must be an array of integers, not of {rows.dtype}")
        return rows.tolist()  # type: ignore[no-any-return]
    if isinstance(rows, Sequence) and not isinstance(rows, _TEXT):
        return list(rows)
    raise TypeError(
        f"{name} must be a list of rows, a 2-D integer array or an Arrow list array, "
        f"not {type(rows).__name__}"
    )


def _inner(name: str, i: int, row: Any) -> list[Any]:
    if type(row) is tuple:
        return list(row)
    if _is_ndarray(row):
        if row.ndim != 1:
            raise ValueError(f"{name}[{i}] must have 1 dimension as an array, not {row.ndim}")
        if row.dtype.kind not in "iub":
            raise TypeError(f"{name}[{i}] must be an array of integers, not of {row.dtype}")
        return row.tolist()  # type: ignore[no-any-return]
    if isinstance(row, Sequence) and not isinstance(row, _TEXT):
        return list(row)
    raise TypeError(
        f"{name}[{i}] must be a list, a tuple or a 1-D integer array, not {type(row).__name__}"
    )


def _is_ndarray(value: Any) -> bool:
    # An array can only be met where numpy is loaded already.
    numpy = sys.modules.get("numpy")
    return numpy is not None and isinstance(value, numpy.ndarray)


def is_arrow(value: Any) -> bool:
    """Whether `value` offers the Arrow PyCapsule interface (array or stream)."""
    kind = type(value)
    return hasattr(kind, "__arrow_c_array__") or hasattr(kind, "__arrow_c_stream__")


def arrow_array(name: str, value: Any) -> Any:
    """Return `value` as a `pyarrow.ChunkedArray`, whichever library it comes from.

    Raises:
        ImportError: pyarrow is not installed.
        ValueError: what `value` gives is not valid Arrow data.
    """
    try:
        import pyarrow
    except ImportError:
        raise ImportError(
            f"{name} is an Arrow array: install pyarrow (pip install pyarrow) to read it"
        ) from None
    try:
        array = _imported(pyarrow, value)
        array.validate()
        # pyarrow believes these two.
        if any(chunk.offset < 0 or len(chunk) < 0 for chunk in array.chunks):
            raise ValueError("a negative length or offset")
    except (pyarrow.ArrowException, TypeError, ValueError):
        raise _not_arrow(name, value) from None
    # What an extension type is made of counts: which of them are known differs between libraries.
    while isinstance(array.type, pyarrow.BaseExtensionType):
        chunks = [chunk.storage for chunk in array.chunks]
        array = pyarrow.chunked_array(chunks, type=array.type.storage_type)
    return array


def check_arrow(name: str, value: Any, array: Any) -> None:
    """Check the offsets of `array`, read from `value`, before anything follows them.

    Raises:
        ValueError: they do not fit together.
    """
    import pyarrow

    try:
        array.validate(full=True)
    except pyarrow.ArrowException:
        raise _not_arrow(name, value) from None


def _not_arrow(name: str, value: Any) -> ValueError:
    return ValueError(
        f"{name} must give valid Arrow data through the PyCapsule interface, "
        f"{type(value).__name__} does not"
    )


def _imported(pyarrow: Any, value: Any) -> Any:
    if isinstance(value, pyarrow.ChunkedArray):
        return value
    if isinstance(value, pyarrow.Array):
        return pyarrow.chunked_array([value], type=value.type)
    if hasattr(type(value), "__arrow_c_array__"):
        schema, array = value.__arrow_c_array__()
        array = pyarrow.Array._import_from_c_capsule(schema, array)
        return pyarrow.chunked_array([array], type=array.type)
    return pyarrow.ChunkedArray._import_from_c_capsule(value.__arrow_c_stream__())


def _arrow_lists(name: str, value: Any) -> list[Any]:
    array = arrow_array(name, value)
    import pyarrow
    import pyarrow.types as types

    if isinstance(getattr(array.type, "value_type", None), pyarrow.BaseExtensionType):
        array = array.cast(_with_values(pyarrow, array.type, array.type.value_type.storage_type))
    kind = array.type
    if not (types.is_list(kind) or types.is_large_list(kind) or types.is_fixed_size_list(kind)):
        raise TypeError(f"{name} must be an Arrow list of integers, not {arrow_type_name(kind)}")
    if not types.is_integer(kind.value_type):
        raise TypeError(
            f"{name} must be an Arrow list of integers, "
            f"not a list of {arrow_type_name(kind.value_type)}"
        )
    check_arrow(name, value, array)
    rows: list[Any] = array.to_pylist()
    if array.null_count:
        raise ValueError(f"{name}[{rows.index(None)}] is null")
    if any(chunk.values.null_count for chunk in array.chunks):
        for i, row in enumerate(rows):
            if None in row:
                raise ValueError(f"{name}[{i}][{row.index(None)}] is null")
    return rows


def _with_values(pyarrow: Any, kind: Any, values: Any) -> Any:
    """Return the list type `kind` with other values."""
    if pyarrow.types.is_fixed_size_list(kind):
        return pyarrow.list_(values, kind.list_size)
    large = pyarrow.types.is_large_list(kind)
    return (pyarrow.large_list if large else pyarrow.list_)(values)


# The spelling of Arrow types in errors: pyarrow's own for the types without parameters.
_PLAIN_ARROW_TYPES = frozenset(
    (
        *("null", "bool", "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64"),
        *("halffloat", "float", "double", "date32", "date64"),
        *("string", "large_string", "string_view", "binary", "large_binary", "binary_view"),
    )
)


def arrow_type_name(kind: Any) -> str:
    """Return the name an Arrow type has in our errors, the same from both sides."""
    name = str(kind)
    if name in _PLAIN_ARROW_TYPES:
        return name
    for bracket in "[<(":
        name = name.partition(bracket)[0]
    return name
