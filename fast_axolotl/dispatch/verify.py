"""`verify`: both sides answer, and the first difference is an error."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from . import call as calls
from .policy import PYTHON, RUST, THREADS
from .registry import Arguments, Keywords

if TYPE_CHECKING:
    from .call import _Entry


class VerificationError(AssertionError):
    """Rust and Python differ; the message names operation, function, row and place."""


def verify(entry: "_Entry", args: Arguments, kwargs: Keywords) -> Any:
    """Answer a call by both sides and compare.

    Returns:
        What both answer.

    Raises:
        VerificationError: they differ, in a value or in an error.
        Exception: both raise it.
    """
    function = entry.function
    args, kwargs = _kept(entry, args, kwargs)
    wanted, error = _outcome(entry, PYTHON, args, kwargs)
    sides = [RUST]
    if function.threaded and calls.threads_free():
        sides.append(THREADS)
    for side in sides:
        found, other = _outcome(entry, side, args, kwargs)
        where = f"{function.operation}: {function.name}: "
        if (error is None) != (other is None):
            raise VerificationError(
                f"{where}{side} {_ended(found, other)}, python {_ended(wanted, error)}"
            )
        if error is not None:
            if type(error) is not type(other) or str(error) != str(other):
                raise VerificationError(
                    f"{where}{side} {_ended(found, other)}, python {_ended(wanted, error)}"
                )
            continue
        difference = first_difference(found, wanted)
        if difference is not None:
            place, got, expected = difference
            raise VerificationError(
                f"{where}{place or 'the result'}: {side} {got}, python {expected}"
            )
    if error is not None:
        raise error
    return wanted


def _outcome(
    entry: "_Entry", side: str, args: Arguments, kwargs: Keywords
) -> tuple[Any, Exception | None]:
    try:
        return calls.run(entry, side, args, kwargs), None
    except Exception as error:
        return None, error


def _ended(value: Any, error: Exception | None) -> str:
    if error is not None:
        return f"raised {type(error).__name__}: {error}"
    return f"returned {_short(value)}"


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 80 else text[:77] + "..."


def _kept(entry: "_Entry", args: Arguments, kwargs: Keywords) -> tuple[Arguments, Keywords]:
    # An iterator can be read once: both sides get the list of it.
    names = entry.function.one_pass
    if not names:
        return args, kwargs
    import inspect

    try:
        bound = inspect.signature(entry.function.python).bind(*args, **kwargs)
    except TypeError:
        return args, kwargs
    for name in names:
        value: Any = bound.arguments.get(name)
        if hasattr(type(value), "__next__"):
            bound.arguments[name] = list(value)
    return bound.args, bound.kwargs


def first_difference(found: Any, wanted: Any, place: str = "") -> tuple[str, str, str] | None:
    """Return where two results first differ, and what each has there; None where they agree.

    Types have to agree as well as values: True is not 1 here.
    """
    if found is wanted:
        return None
    if type(found) is not type(wanted):
        return place, f"has a {type(found).__name__}", f"a {type(wanted).__name__}"
    if isinstance(wanted, dict):
        if list(found) != list(wanted):
            return place, f"has the keys {list(found)}", f"{list(wanted)}"
        for key in wanted:
            difference = first_difference(found[key], wanted[key], f"{place}[{key!r}]")
            if difference is not None:
                return difference
        return None
    if isinstance(wanted, (list, tuple)):
        return _sequences(found, wanted, place)
    module = type(wanted).__module__.partition(".")[0]
    if module in ("numpy", "torch"):
        return _arrays(found, wanted, place)
    if module == "pyarrow" and hasattr(wanted, "to_pylist"):
        if found.type != wanted.type:
            return place, f"has the type {found.type}", f"{wanted.type}"
        if found.equals(wanted):
            return None
        return _sequences(found.to_pylist(), wanted.to_pylist(), place)
    if found == wanted:
        return None
    return place, f"has {_short(found)}", _short(wanted)


def _sequences(
    found: Sequence[Any], wanted: Sequence[Any], place: str
) -> tuple[str, str, str] | None:
    for i, (left, right) in enumerate(zip(found, wanted)):
        if left is right:
            continue
        difference = first_difference(left, right, f"{place}[{i}]")
        if difference is not None:
            return difference
    if len(found) != len(wanted):
        return place, f"has {len(found)} rows", f"{len(wanted)}"
    return None


def _arrays(found: Any, wanted: Any, place: str) -> tuple[str, str, str] | None:
    if found.dtype != wanted.dtype:
        return place, f"has the dtype {found.dtype}", f"{wanted.dtype}"
    if tuple(found.shape) != tuple(wanted.shape):
        return place, f"has the shape {tuple(found.shape)}", f"{tuple(wanted.shape)}"
    # tolist() is the one way that NumPy and torch share; only its cost is higher, in `verify`.
    return _sequences(found.tolist(), wanted.tolist(), place) if found.ndim else None
