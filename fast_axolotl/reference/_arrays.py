"""Rows of equal width as NumPy, torch or Arrow arrays of int64."""

import operator
from array import array
from collections.abc import Iterable
from typing import Any

_INT64_MIN, _INT64_MAX = -(2**63), 2**63 - 1


class Target:
    """An int64 array of `rows` x `width` elements, filled row by row.

    Args:
        output: "numpy", "torch" or "arrow".
        rows: number of rows.
        width: elements a row.

    Raises:
        ImportError: the library that `output` names is not installed.
        MemoryError, ValueError: the array can't be allocated.
    """

    def __init__(self, output: str, rows: int, width: int) -> None:
        self._output, self._rows, self._width = output, rows, width
        self._position = 0
        if output == "arrow":
            self._library = import_library("pyarrow", output)
            _check_bytes(rows, width)
            self._memory = self._library.allocate_buffer(rows * width * 8)
            view = memoryview(self._memory)
        else:
            self._library = import_library("torch", output) if output == "torch" else None
            numpy = import_library("numpy", output)
            _check_bytes(rows, width)
            self._memory = numpy.empty((rows, width), numpy.int64)
            view = memoryview(self._memory.reshape(-1)).cast("B")
        self._view = view.cast("q") if view.nbytes else None

    def extend(self, name: str, i: int, row: Iterable[Any]) -> None:
        """Write the elements of `row`, which is row `i` of the argument `name`.

        Raises:
            TypeError: an element is not an integer.
            OverflowError: an element does not fit in an int64.
        """
        self.write(int64s(name, i, row))

    def write(self, block: "array[int]") -> None:
        """Write elements that are int64 already."""
        end = self._position + len(block)
        if len(block) and self._view is not None:
            self._view[self._position : end] = memoryview(block)
        self._position = end

    def finish(self) -> Any:
        """Return the filled array."""
        if self._output == "torch":
            return self._library.from_numpy(self._memory)
        if self._output == "arrow":
            values = self._library.Array.from_buffers(
                self._library.int64(), self._rows * self._width, [None, self._memory]
            )
            kind = self._library.list_(self._library.int64(), self._width)
            return self._library.Array.from_buffers(kind, self._rows, [None], children=[values])
        return self._memory


def import_library(name: str, output: str) -> Any:
    """Import what an output is made of.

    Raises:
        ImportError: it is not installed; the message says what to install.
    """
    try:
        return __import__(name)
    except ImportError:
        raise ImportError(
            f"output={output!r} needs {name}, which is not installed: pip install {name}"
        ) from None


def _check_bytes(rows: int, width: int) -> None:
    # One answer for what can't be had, whichever library would have been asked.
    if rows * width * 8 > 2**63 - 1:
        raise MemoryError(f"{rows} rows of {width} int64 do not fit in memory")


def int64s(name: str, i: int, row: Iterable[Any]) -> "array[int]":
    """Return `row` as an array of int64.

    Raises:
        TypeError: an element is not an integer.
        OverflowError: an element does not fit in an int64.
    """
    try:
        return array("q", row)
    except (TypeError, OverflowError):
        for j, element in enumerate(row):
            int64(f"{name}[{i}][{j}]", element)
        raise


def int64(name: str, value: Any) -> int:
    """Return `value` as an int that fits in an int64.

    Raises:
        TypeError: it is not an integer.
        OverflowError: it does not fit.
    """
    try:
        found = operator.index(value)
    except TypeError:
        if hasattr(type(value), "__index__"):
            raise
        raise TypeError(f"{name} must be an integer, not {type(value).__name__}") from None
    if not _INT64_MIN <= found <= _INT64_MAX:
        raise OverflowError(f"{name} does not fit in an int64: it has {found.bit_length()} bits")
    return found
