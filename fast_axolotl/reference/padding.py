"""Padding rows to one width."""

from __future__ import annotations

from array import array

from . import _arguments
from ._arrays import Target, changed, int64, int64s, row_at
from ._rows import token_rows

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


def pad_sequences(
    sequences: Any,
    target_length: int | None = None,
    pad_value: Any = 0,
    padding_side: str = "right",
    pad_to_multiple_of: int | None = None,
    *,
    truncate: bool = False,
    output: str = "lists",
) -> Any:
    """Pad rows of tokens to one width.

    The width is `target_length`, or the length of the longest row, rounded up to a multiple of
    `pad_to_multiple_of`.

    Args:
        sequences: n rows: a list of lists of int, of tuples, or of 1-D NumPy arrays of integers; a
            2-D NumPy array of integers; or an Arrow list, large list or fixed-size list of
            integers (any object with the PyCapsule interface).
        target_length: tokens a row of the result has at least; None for the longest row.
        pad_value: what fills a row up.
        padding_side: "right" (after the tokens) or "left" (before them).
        pad_to_multiple_of: the width is rounded up to a multiple of it; None or 0 for no rounding.
        truncate: cut rows that are longer than the width down to their head.
        output: "lists", "numpy" (int64, C-contiguous, n x width), "torch" (int64, over a NumPy
            array) or "arrow" (`pyarrow.FixedSizeListArray` of int64).

    Returns:
        n rows of equal width. Lists hold the very objects of `sequences`; nothing else is shared.

    Raises:
        TypeError: a row is not a sequence of integers, a size not an int; for an array output, an
            element not an integer.
        RuntimeError: a row changed while it was read (by another thread, or by code that reading
            the rows runs).
        ValueError: a row is longer than the width and `truncate` is false; a negative size; an
            unknown `padding_side` or `output`; an Arrow array that holds nulls.
        OverflowError: a size over `sys.maxsize`; for an array output, an element over 64 bits;
            for "arrow", rows of 2**31 tokens or more.
        MemoryError: the result does not fit in memory.
        ImportError: NumPy, torch or pyarrow is asked for and not installed.
    """
    padding_side = _arguments.padding_side(padding_side)
    output = _arguments.output(output)
    if target_length is not None:
        target_length = _arguments.size("target_length", target_length)
    multiple = 0
    if pad_to_multiple_of is not None:
        multiple = _arguments.size("pad_to_multiple_of", pad_to_multiple_of)
    cut = bool(truncate)
    rows = token_rows("sequences", sequences)
    longest = max(map(len, rows), default=0)
    width = longest if target_length is None else target_length
    if multiple:
        width = _arguments.size("the padded length", -(-width // multiple) * multiple)
    if longest > width:
        if not cut:
            raise _too_long(rows, width)
        rows = [row[:width] for row in rows]
    right = padding_side == "right"
    if output != "lists":
        return _padded_array(rows, width, pad_value, right, output)
    _arguments.check_memory(len(rows), width)
    try:
        if right:
            return [row + [pad_value] * (width - len(row)) for row in rows]
        return [[pad_value] * (width - len(row)) + row for row in rows]
    except MemoryError:
        raise _arguments.too_large(len(rows), width) from None


def _too_long(rows: list[list[Any]], width: int) -> Exception:
    for i, row in enumerate(rows):
        if len(row) > width:
            return ValueError(
                f"sequences[{i}] has length {len(row)}, longer than the padded length {width} "
                f"(truncate=True cuts it)"
            )
    return changed()


def _padded_array(
    rows: list[list[Any]], width: int, pad_value: Any, right: bool, output: str
) -> Any:
    count = len(rows)
    target = Target(output, count, width)
    pad = array("q", [int64("pad_value", pad_value)])
    # By number: converting an element may run code that adds rows or drops some.
    for i in range(count):
        # Its own length counts: that code may change the row as well.
        tokens = int64s("sequences", i, row_at("sequences", rows, i))
        fill = pad * (width - len(tokens))
        target.write(tokens + fill if right else fill + tokens)
        target.end_row()
    return target.finish()


def create_padding_mask(current_length: int, target_length: int) -> list[int]:
    """Return the positions of the padding that brings `current_length` to `target_length`.

    Args:
        current_length: tokens there are.
        target_length: tokens there will be.

    Returns:
        `list(range(target_length - current_length))`: 0, 1, 2, ...; empty where nothing is missing.

    Raises:
        TypeError: a length is not an int.
        OverflowError: the difference is over `sys.maxsize`.
        MemoryError: the list does not fit in memory.
    """
    missing = _arguments.integer("target_length", target_length) - _arguments.integer(
        "current_length", current_length
    )
    if missing <= 0:
        return []
    missing = _arguments.size("target_length - current_length", missing)
    _arguments.check_memory(1, missing)
    try:
        return list(range(missing))
    except MemoryError:
        raise _arguments.too_large(1, missing) from None
