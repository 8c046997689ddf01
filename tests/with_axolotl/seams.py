"""Both sides of a seam, for tests."""

import inspect
from collections.abc import Callable
from importlib import import_module
from typing import Any

import fast_axolotl
from fast_axolotl.axolotl.patching import applied, left_alone


def reset(*modules: str) -> None:
    """Put the seams of modules in place, whatever other tests did."""
    for module in modules:
        import_module(module)
    fast_axolotl.install()


def original(name: str) -> Callable[..., Any]:
    """Return Axolotl's own function."""
    assert name in applied, left_alone
    patch = applied[name]
    found = getattr(patch.original, "__func__", patch.original)
    owner = inspect.unwrap(found).__globals__["__name__"].partition(".")[0]
    assert owner != "fast_axolotl", owner
    return found  # type: ignore[no-any-return]


def replacement(name: str) -> Callable[..., Any]:
    """Return what is in its place."""
    found = applied[name].replacement
    return getattr(found, "__func__", found)  # type: ignore[no-any-return]


def types_of(value: Any) -> Any:
    """Return the types in nested lists and tuples."""
    if isinstance(value, (list, tuple)):
        return (type(value), [types_of(item) for item in value])
    return type(value)


def ended(call: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """Return how a call ended: its result with all types, or its error."""
    try:
        result = call(*args, **kwargs)
    except Exception as error:
        return "raised", type(error), str(error)
    return "returned", types_of(result), result
