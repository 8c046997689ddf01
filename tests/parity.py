"""Comparison of two implementations: values, identity, types, layout in memory, errors."""

from collections import Counter
from collections.abc import Callable, Sequence
from types import SimpleNamespace
from typing import Any

import implementations
import numpy as np
import pyarrow as pa

# Calls compared with the originals, by the name of the implementation under test.
calls: Counter[str] = Counter()

OUTPUTS = ("lists", "numpy", "torch", "arrow")


def assert_same(
    subject: SimpleNamespace,
    function: str,
    arguments: Callable[[], tuple[tuple[Any, ...], dict[str, Any]]],
    *,
    shares: bool = False,
) -> Any:
    """Call `function` of `subject` and of the oracle, and compare all that a caller can see.

    Args:
        subject: the implementation under test.
        function: the name of the function.
        arguments: makes the arguments; called once for each side, since some are used up.
        shares: whether lists must hold the very objects of the arguments, which both sides get.

    Returns:
        what the call returned, or the exception that it raised.
    """
    args, kwargs = arguments()
    expected = outcome(getattr(implementations.oracle, function), args, kwargs)
    args, kwargs = arguments()
    found = outcome(getattr(subject, function), args, kwargs)
    calls[subject.name] += 1
    if isinstance(expected, BaseException) or isinstance(found, BaseException):
        _same_error(found, expected)
    else:
        same_value(found, expected, shares=shares)
    return found


def outcome(function: Callable[..., Any], args: Sequence[Any], kwargs: dict[str, Any]) -> Any:
    """Return what a call returns or the exception it raises."""
    try:
        return function(*args, **kwargs)
    except implementations.SilentFallbackError:
        raise
    except Exception as error:
        return error


def _same_error(found: Any, expected: Any) -> None:
    # Shown with both sides' answers: one may be a value.
    assert isinstance(expected, BaseException), f"raised {found!r}, expected {_short(expected)}"
    assert isinstance(found, BaseException), f"returned {_short(found)}, expected {expected!r}"
    assert type(found) is type(expected), f"{found!r} != {expected!r}"
    assert str(found) == str(expected)
    assert found.args == expected.args
    assert found.__cause__ is None
    # An error is raised as it is, not while another is handled in sight of the user.
    assert found.__context__ is None or found.__suppress_context__


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) < 400 else text[:400] + "..."


def same_value(found: Any, expected: Any, *, shares: bool = False) -> None:
    """Compare two results: types and layout too."""
    assert type(found) is type(expected), f"{_short(found)} != {_short(expected)}"
    if isinstance(expected, dict):
        assert list(found) == list(expected)
        for key in expected:
            same_value(found[key], expected[key], shares=shares)
    elif isinstance(expected, tuple):
        assert len(found) == len(expected)
        for one, other in zip(found, expected, strict=True):
            same_value(one, other)
    elif isinstance(expected, list):
        _same_lists(found, expected, shares=shares)
    elif isinstance(expected, np.ndarray):
        _same_ndarrays(found, expected)
    elif isinstance(expected, pa.Array):
        _same_arrow(found, expected)
    else:
        _same_tensors(found, expected)


def _same_lists(found: list[Any], expected: list[Any], *, shares: bool) -> None:
    assert len(found) == len(expected), f"{_short(found)} != {_short(expected)}"
    if not expected or type(expected[0]) is not list:
        _same_elements(found, expected, shares=False)
        return
    assert set(map(type, found)) == {list}
    assert len(set(map(id, found))) == len(found), "rows of the result are one object"
    for one, other in zip(found, expected, strict=True):
        _same_elements(one, other, shares=shares)


def _same_elements(found: list[Any], expected: list[Any], *, shares: bool) -> None:
    assert len(found) == len(expected), f"{_short(found)} != {_short(expected)}"
    if shares:
        assert list(map(id, found)) == list(map(id, expected)), f"{_short(found)}"
    else:
        assert list(map(type, found)) == list(map(type, expected))
        assert found == expected


def _same_ndarrays(found: Any, expected: Any) -> None:
    assert found.dtype == expected.dtype == np.int64
    assert found.dtype.isnative
    assert found.shape == expected.shape
    flags = found.flags
    assert flags.c_contiguous
    assert flags.writeable
    assert flags.aligned
    assert found.tobytes() == expected.tobytes(), f"{found} != {expected}"


def _same_arrow(found: Any, expected: Any) -> None:
    assert found.type == expected.type
    assert found.type.field(0) == expected.type.field(0)
    assert len(found) == len(expected)
    assert found.null_count == 0
    found.validate(full=True)
    assert found.equals(expected), f"{found} != {expected}"
    assert found.values.equals(expected.values)


def _same_tensors(found: Any, expected: Any) -> None:
    assert found.dtype == expected.dtype
    assert found.shape == expected.shape
    assert found.is_contiguous()
    assert found.device == expected.device
    assert not found.requires_grad
    assert bool((found == expected).all())
