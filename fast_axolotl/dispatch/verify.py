"""`verify`: both sides answer, and the first difference is an error."""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

from . import call as calls
from . import modes
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
    if function.verify is not None:
        sides = (_original(entry), partial(_run, entry, RUST))
        return function.verify(*sides, args, kwargs)
    args, kwargs = _kept(entry, args, kwargs)
    sides_to_run = [RUST]
    if function.threaded and calls.threads_free():
        sides_to_run.append(THREADS)
    answers = []
    for side in sides_to_run:
        with function.aside(args, kwargs) as own:
            answers.append((side, own, *_outcome(entry, side, *own)))
    wanted, error = _outcome(entry, PYTHON, args, kwargs)
    for side, own, found, other in answers:
        where = f"{function.operation}: {function.name}: "
        check_alike(where, (found, other), (wanted, error), side)
        if function.apart is not None:
            what = "the arguments after the call"
            check_equal(where, own, (args, kwargs), side, what)
    if error is not None:
        raise error
    return wanted


def check_alike(where: str, found: "Outcome", wanted: "Outcome", side: str = RUST) -> None:
    """Check that a side ended as the original did.

    Raises:
        VerificationError: it did not; the message begins with `where`.
    """
    if not _same_error(wanted[1], found[1]):
        raise VerificationError(f"{where}{side} {_ended(*found)}, python {_ended(*wanted)}")
    if wanted[1] is None:
        check_equal(where, found[0], wanted[0], side)


def check_equal(
    where: str, found: Any, wanted: Any, side: str = RUST, what: str = "the result"
) -> None:
    """Check that a value of a side is the original's.

    Raises:
        VerificationError: it is another; the message begins with `where`, and `what` is the value.
    """
    difference = first_difference(found, wanted)
    if difference is not None:
        place, got, expected = difference
        raise VerificationError(f"{where}{place or what}: {side} {got}, python {expected}")


def outcome(call: Callable[..., Any], *args: Any, **kwargs: Any) -> "Outcome":
    """Return what a call returns, and what it raises: one of them is None."""
    try:
        return call(*args, **kwargs), None
    except Exception as error:
        return None, error


Outcome = tuple[Any, Exception | None]


def _same_error(left: Exception | None, right: Exception | None) -> bool:
    return type(left) is type(right) and str(left) == str(right)


def _run(entry: "_Entry", side: str, *args: Any, **kwargs: Any) -> Any:
    return calls.run(entry, side, args, kwargs)


def _original(entry: "_Entry") -> Callable[..., Any]:
    """Return the original of an adapter's function; what it calls in turn is original as well."""

    def original(*args: Any, **kwargs: Any) -> Any:
        with modes.dispatch_mode(modes.PYTHON):
            return calls.run(entry, PYTHON, args, kwargs)

    return original


def _outcome(
    entry: "_Entry", side: str, args: Arguments, kwargs: Keywords
) -> tuple[Any, Exception | None]:
    if side == PYTHON and entry.index is None:
        return outcome(_original(entry), *args, **kwargs)
    return outcome(calls.run, entry, side, args, kwargs)


def _ended(value: Any, error: Exception | None) -> str:
    if error is not None:
        return f"raised {type(error).__name__}: {error}"
    return f"returned {_short(value)}"


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 80 else text[:77] + "..."


def _kept(entry: "_Entry", args: Arguments, kwargs: Keywords) -> tuple[Arguments, Keywords]:
    # What can be read once, both sides get in a form that lasts: a stream of Arrow, an iterator.
    args = tuple(map(_lasting, args))
    kwargs = {name: _lasting(value) for name, value in kwargs.items()}
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


def _lasting(value: Any) -> Any:
    kind = type(value)
    if not hasattr(kind, "__arrow_c_stream__") or hasattr(kind, "__len__"):
        return value
    try:
        import pyarrow
    except ImportError:
        return value
    try:
        return pyarrow.chunked_array(value)
    except Exception:
        return value  # whatever is wrong with it, both sides say


def first_difference(found: Any, wanted: Any, place: str = "") -> tuple[str, str, str] | None:
    """Return where two results first differ, and what each has there; None where they agree.

    Types have to agree as well as values: True is not 1 here. NaN agrees with NaN. Tensors,
    arrays, Arrow data, datasets and mappings are compared by what is in them, and so are objects
    that have no `==` of their own.
    """
    return _difference(found, wanted, place, set())


Seen = set[tuple[int, int]]


def _difference(found: Any, wanted: Any, place: str, seen: Seen) -> tuple[str, str, str] | None:
    if found is wanted:
        return None
    kind = type(wanted)
    if type(found) is not kind:
        return place, f"has a {type(found).__name__}", f"a {kind.__name__}"
    if kind in (int, str, bytes, bool):
        return None if found == wanted else (place, f"has {_short(found)}", _short(wanted))
    if kind is float:
        same = found == wanted or (found != found and wanted != wanted)
        return None if same else (place, f"has {found!r}", f"{wanted!r}")
    pair = (id(found), id(wanted))
    if pair in seen:
        return None  # under comparison already: a structure that holds itself
    seen.add(pair)
    try:
        return _deep(found, wanted, place, seen)
    finally:
        seen.discard(pair)


def _deep(found: Any, wanted: Any, place: str, seen: Seen) -> tuple[str, str, str] | None:
    kind: Any = type(wanted)
    if isinstance(wanted, Mapping):
        return _mappings(found, wanted, place, seen)
    if isinstance(wanted, (list, tuple)):
        return _sequences(found, wanted, place, seen)
    compare = _COMPARISONS.get(kind.__module__.partition(".")[0])
    if compare is not None:
        known = compare(found, wanted, place, seen)
        if known is not NotImplemented:
            return known  # type: ignore[no-any-return]
    if kind.__eq__ is object.__eq__ and hasattr(wanted, "__dict__"):
        return _difference(vars(found), vars(wanted), f"{place}.__dict__", seen)
    if found == wanted:
        return None
    return place, f"has {_short(found)}", _short(wanted)


def _mappings(
    found: Mapping[Any, Any], wanted: Mapping[Any, Any], place: str, seen: Seen
) -> tuple[str, str, str] | None:
    if list(found) != list(wanted):
        return place, f"has the keys {list(found)}", f"{list(wanted)}"
    for key in wanted:
        difference = _difference(found[key], wanted[key], f"{place}[{key!r}]", seen)
        if difference is not None:
            return difference
    return None


def _sequences(
    found: Sequence[Any], wanted: Sequence[Any], place: str, seen: Seen
) -> tuple[str, str, str] | None:
    for i, (left, right) in enumerate(zip(found, wanted)):
        if left is right:
            continue
        difference = _difference(left, right, f"{place}[{i}]", seen)
        if difference is not None:
            return difference
    if len(found) != len(wanted):
        return place, f"has {len(found)} rows", f"{len(wanted)}"
    return None


def _arrays(found: Any, wanted: Any, place: str, seen: Seen) -> Any:
    if not (hasattr(wanted, "dtype") and hasattr(wanted, "shape")):
        return NotImplemented
    if found.dtype != wanted.dtype:
        return place, f"has the dtype {found.dtype}", f"{wanted.dtype}"
    if tuple(found.shape) != tuple(wanted.shape):
        return place, f"has the shape {tuple(found.shape)}", f"{tuple(wanted.shape)}"
    device = str(getattr(wanted, "device", ""))
    if str(getattr(found, "device", "")) != device:
        return place, f"is on {found.device}", device
    # tolist() is the one way that NumPy and torch share; only its cost is higher, in `verify`.
    return _difference(found.tolist(), wanted.tolist(), place, seen)


def _arrow(found: Any, wanted: Any, place: str, seen: Seen) -> Any:
    if hasattr(wanted, "schema"):
        if not found.schema.equals(wanted.schema, check_metadata=True):
            return place, f"has the schema {found.schema}", f"{wanted.schema}"
    elif hasattr(wanted, "to_pylist") and found.type != wanted.type:
        return place, f"has the type {found.type}", f"{wanted.type}"
    if not hasattr(wanted, "to_pylist"):
        return NotImplemented
    if found.equals(wanted):
        return None
    return _difference(found.to_pylist(), wanted.to_pylist(), place, seen)


def _dataset(found: Any, wanted: Any, place: str, seen: Seen) -> Any:
    # Of `datasets`: what a dataset is is its table, seen through its indices, and these.
    if not hasattr(wanted, "_fingerprint") or not hasattr(wanted, "_indices"):
        return NotImplemented
    for name in ("_fingerprint", "features", "format", "_format_columns", "split", "info"):
        difference = _difference(
            getattr(found, name), getattr(wanted, name), f"{place}.{name}", seen
        )
        if difference is not None:
            return difference
    if found.num_rows != wanted.num_rows:
        return place, f"has {found.num_rows} rows", f"{wanted.num_rows}"
    left, right = (each.with_format("arrow") for each in (found, wanted))
    for begin in range(0, wanted.num_rows, 1000):
        rows = slice(begin, begin + 1000)
        difference = _arrow(left[rows], right[rows], f"{place}[{begin}:]", seen)
        if difference is not None:
            return difference
    return None


_COMPARISONS: dict[str, Callable[[Any, Any, str, Seen], Any]] = {
    "numpy": _arrays,
    "torch": _arrays,
    "pyarrow": _arrow,
    "datasets": _dataset,
}
