"""Checks of the arguments that are not rows: sizes, sides, outputs."""

from __future__ import annotations

import operator
import os
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

OUTPUTS = ("lists", "numpy", "torch", "arrow")

_memory = 0


def size(name: str, value: Any, minimum: int = 0) -> int:
    """Return `value` as an int between `minimum` and `sys.maxsize`.

    Raises:
        TypeError: `value` is not an int (nor has `__index__`).
        ValueError: it is below `minimum`.
        OverflowError: it is above `sys.maxsize`.
    """
    found = integer(name, value)
    if found < minimum:
        raise ValueError(f"{name} must be at least {minimum}, got {_shown(found)}")
    if found > sys.maxsize:
        raise OverflowError(f"{name} must be at most {sys.maxsize}, got {_shown(found)}")
    return found


def integer(name: str, value: Any) -> int:
    """Return `value` as an int of any size.

    Raises:
        TypeError: it is not an int (nor has `__index__`).
    """
    try:
        return operator.index(value)
    except TypeError:
        if hasattr(type(value), "__index__"):
            raise
        raise TypeError(f"{name} must be an int, not {type(value).__name__}") from None


def _shown(value: int) -> str:
    # str() of an int with thousands of digits is an error of its own (sys.set_int_max_str_digits).
    bits = value.bit_length()
    return str(value) if bits <= 128 else f"an int of {bits} bits"


def too_large(rows: int, width: int) -> MemoryError:
    """Return the error for a result of `rows` x `width` tokens that can't be had.

    The same words for every output: each library has its own, and a list has none.
    """
    return MemoryError(f"{rows} rows of {width} tokens do not fit in memory")


def fits(rows: int, width: int) -> bool:
    """Return whether a result of `rows` x `width` tokens may be tried.

    macOS, and Linux where `vm.overcommit_memory` is 1, promise any memory and end the process that
    uses it. What is over twice the physical memory, more than swap makes up for, is not tried.
    """
    global _memory
    if not _memory:
        try:
            _memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
        except (AttributeError, OSError, ValueError):
            _memory = sys.maxsize  # Windows promises no more than there is.
    return rows * width * 8 <= 2 * _memory


def check_memory(rows: int, width: int) -> None:
    """Check that a result of `rows` x `width` tokens may be tried.

    Raises:
        MemoryError: it may not.
    """
    if not fits(rows, width):
        raise too_large(rows, width)


def output(value: Any) -> str:
    """Return `value` if it names an output.

    Raises:
        ValueError: it does not.
    """
    if isinstance(value, str) and value in OUTPUTS:
        return value
    raise ValueError(f"output must be 'lists', 'numpy', 'torch' or 'arrow', not {value!r}")


def padding_side(value: Any) -> str:
    """Return `value` if it names a side.

    Raises:
        ValueError: it does not.
    """
    if isinstance(value, str) and value in ("right", "left"):
        return value
    raise ValueError("padding_side must be 'right' or 'left'")


def threads(value: Any) -> int:
    """Return a number of threads; 0 stands for as many as are usable.

    Raises:
        TypeError: it is not an int.
        ValueError: it is negative.
    """
    found = integer("num_threads", value)
    if found < 0:
        raise ValueError(f"num_threads must be at least 0, got {_shown(found)}")
    return found
