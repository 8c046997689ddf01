"""SHA-256 of rows of text, and the rows that are the first of their kind."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from . import _arguments
from ._rows import arrow_array, arrow_type_name, check_arrow, is_arrow

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


def _first_sha256(data: bytes) -> Any:
    # hashlib loads OpenSSL, which takes a fifth of what the whole package may take to import.
    import hashlib

    global sha256
    sha256 = hashlib.sha256
    return sha256(data)


#: `hashlib.sha256`, from the first call on.
sha256: Any = _first_sha256


def parallel_hash_rows(rows: Any, num_threads: int = 0) -> list[str]:
    """Return the SHA-256 of every row, as `hashlib` gives it.

    Args:
        rows: n rows: a list (or another sequence) of str and bytes, or an Arrow string, large
            string, string view, binary, large binary or binary view array (any object with the
            PyCapsule interface). Of a str its UTF-8 bytes are hashed.
        num_threads: threads to use; 0 for as many as this process may use, which is also the most
            that are used. The Python original uses one.

    Returns:
        n digests in lower-case hexadecimal (64 characters).

    Raises:
        TypeError: a row is neither str nor bytes, `num_threads` not an int.
        ValueError: `num_threads` is negative; an Arrow array holds a null.
        UnicodeEncodeError: a str holds a lone surrogate; the reason names the row.
    """
    _arguments.threads(num_threads)
    rows, kinds = _text_rows(rows)
    if kinds <= {str}:
        try:
            return [sha256(row.encode()).hexdigest() for row in rows]
        except UnicodeEncodeError:
            pass  # explained below
    elif kinds <= {bytes}:
        return [sha256(row).hexdigest() for row in rows]
    return [sha256(_row_bytes(i, row)).hexdigest() for i, row in enumerate(rows)]


def deduplicate_indices(
    rows: Any, existing_hashes: Iterable[str] | None = None, num_threads: int = 0
) -> tuple[list[int], list[str]]:
    """Return which rows are the first of their kind, and their hashes.

    Args:
        rows: n rows, in any layout that `parallel_hash_rows` takes.
        existing_hashes: hashes that count as seen already (lower-case hexadecimal SHA-256); it is
            read, not changed.
        num_threads: as in `parallel_hash_rows`.

    Returns:
        The indices of the rows whose hash was not seen before, ascending, and their hashes.

    Raises:
        TypeError: a row is neither str nor bytes, `existing_hashes` not an iterable of str,
            `num_threads` not an int.
        ValueError: `num_threads` is negative; an Arrow array holds a null.
        UnicodeEncodeError: a str holds a lone surrogate; the reason names the row.
    """
    _arguments.threads(num_threads)
    seen = _existing(existing_hashes)
    indices: list[int] = []
    hashes: list[str] = []
    for i, digest in enumerate(parallel_hash_rows(rows)):
        if digest not in seen:
            seen.add(digest)
            indices.append(i)
            hashes.append(digest)
    return indices, hashes


def _text_rows(rows: Any) -> tuple[Any, set[type]]:
    if type(rows) is not list and type(rows) is not tuple:
        if is_arrow(rows):
            rows = _arrow_bytes(rows)
        elif isinstance(rows, Sequence) and not isinstance(
            rows, (str, bytes, bytearray, memoryview)
        ):
            rows = list(rows)
        else:
            raise TypeError(
                "rows must be a list of str or bytes, or an Arrow string or binary array, "
                f"not {type(rows).__name__}"
            )
    kinds = set(map(type, rows))
    if not kinds <= {str, bytes}:
        for i, row in enumerate(rows):
            if not isinstance(row, (str, bytes)):
                raise TypeError(f"rows[{i}] must be str or bytes, not {type(row).__name__}")
    return rows, kinds


def _row_bytes(i: int, row: str | bytes) -> bytes:
    if isinstance(row, bytes):
        return row
    try:
        return str.encode(row)
    except UnicodeEncodeError as error:
        raise UnicodeEncodeError(
            error.encoding, error.object, error.start, error.end, f"{error.reason} (rows[{i}])"
        ) from None


def _arrow_bytes(value: Any) -> list[bytes]:
    array = arrow_array("rows", value)
    import pyarrow
    import pyarrow.types as types

    kind = array.type
    if types.is_string(kind) or types.is_binary(kind):
        array = array.cast(pyarrow.binary())
    elif types.is_large_string(kind) or types.is_large_binary(kind):
        array = array.cast(pyarrow.large_binary())
    elif types.is_string_view(kind) or types.is_binary_view(kind):
        array = array.cast(pyarrow.binary_view())
    else:
        raise TypeError(
            f"rows must be an Arrow string or binary array, not {arrow_type_name(kind)}"
        )
    check_arrow("rows", value, array)
    rows: list[bytes] = array.to_pylist()
    if array.null_count:
        raise ValueError(f"rows[{rows.index(None)}] is null")  # type: ignore[arg-type]
    return rows


def _existing(hashes: Iterable[str] | None) -> set[str]:
    if hashes is None:
        return set()
    if isinstance(hashes, str) or not hasattr(type(hashes), "__iter__"):
        raise TypeError(f"existing_hashes must be an iterable of str, not {type(hashes).__name__}")
    seen: set[str] = set()
    for digest in hashes:
        if not isinstance(digest, str):
            raise TypeError(f"existing_hashes must hold str, not {type(digest).__name__}")
        seen.add(digest)
    return seen
