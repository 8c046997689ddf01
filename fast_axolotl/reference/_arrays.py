"""Rows of equal width as NumPy, torch or Arrow arrays of int64."""

from __future__ import annotations

import operator
from array import array
from collections.abc import Iterable

from . import _arguments

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

# What the width of an Arrow fixed-size list is held in.
_INT32_MAX = 2**31 - 1
_INT64_MIN, _INT64_MAX = -(2**63), 2**63 - 1


class Target:
    """An int64 array of `rows` x `width` elements, filled row by row.

    Args:
        output: "numpy", "torch" or "arrow".
        rows: number of rows.
        width: elements a row.

    Raises:
        ImportError: the library that `output` names is not installed.
        OverflowError: `output` is "arrow" and `width` over 31 bits.
        MemoryError: the array can't be allocated.
    """

    def __init__(self, output: str, rows: int, width: int) -> None:
        self._output, self._rows, self._width = output, rows, width
        self._position = self._ended = 0
        self._library = import_library("pyarrow" if output == "arrow" else output, output)
        if output == "arrow":
            if width > _INT32_MAX:
                raise OverflowError(
                    f"output='arrow' holds rows of at most {_INT32_MAX} tokens, not of {width}"
                )
        else:
            numpy = import_library("numpy", output)
        if max(rows, 1) * width * 8 > _INT64_MAX or not _arguments.fits(rows, width):
            raise _arguments.too_large(rows, width)
        try:
            if output == "arrow":
                self._memory = self._library.allocate_buffer(rows * width * 8)
                view = memoryview(self._memory)
            else:
                self._memory = numpy.empty((rows, width), numpy.int64)
                view = memoryview(self._memory.reshape(-1)).cast("B")
        except MemoryError:
            raise _arguments.too_large(rows, width) from None
        self._view = view.cast("q") if view.nbytes else view

    def write(self, block: array[int]) -> None:
        """Write elements behind those that are there.

        Raises:
            RuntimeError: there is no room for them (a row grew since it was measured).
        """
        end = self._position + len(block)
        if end > len(self._view):
            raise changed()
        if block:
            self._view[self._position : end] = memoryview(block)
        self._position = end

    def end_row(self) -> None:
        """Check that the last row is filled exactly.

        Raises:
            RuntimeError: it is not (a sequence changed since it was measured): what follows would
                be shifted, or left as the memory was found.
        """
        self._ended += 1
        if self._position != self._ended * self._width:
            raise changed()

    def finish(self) -> Any:
        """Return the filled array.

        Raises:
            RuntimeError: it is not full.
        """
        if self._position != self._rows * self._width:
            raise changed()
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


def changed(what: str | None = None) -> RuntimeError:
    """Return the error for what changed while it was read: a row, or the sequences as a whole."""
    if what is None:
        return RuntimeError("the sequences changed while they were read")
    return RuntimeError(f"{what} changed while it was read")


def row_at(name: str, rows: list[Any], i: int) -> Any:
    """Return a row that was there when its length was asked for.

    Raises:
        RuntimeError: it is gone.
    """
    try:
        return rows[i]
    except IndexError:
        raise changed(f"{name}[{i}]") from None


def int64s(name: str, i: int, row: Iterable[Any]) -> array[int]:
    """Return `row` as an array of int64.

    Raises:
        TypeError: an element is not an integer.
        OverflowError: an element does not fit in an int64.
        RuntimeError: the row became shorter while it was read.
    """
    try:
        return array("q", row)
    except IndexError as error:
        if error.__traceback__ is not None and error.__traceback__.tb_next is not None:
            raise  # out of an element's own code
        raise changed(f"{name}[{i}]") from None
    except (TypeError, OverflowError) as error:
        failure = error
    try:
        for j, element in enumerate(row):
            int64(f"{name}[{i}][{j}]", element)
        raise failure
    finally:
        del failure  # it holds this frame, which would hold it


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
