"""Conditions that are a test of the arguments, as the function itself names them."""

from collections.abc import Callable
from functools import partial
from sys import modules
from typing import Any

from fast_axolotl.dispatch.registry import Arguments, Condition, Keywords

#: What a test raises of arguments that are no call of the function, or of a kind it does not know.
_NO_CALL = (TypeError, AttributeError, ValueError, OSError)


def holds(test: Callable[..., bool], args: Arguments, kwargs: Keywords) -> bool:
    """Return what a test says of arguments; False where they are no call of it."""
    try:
        return test(*args, **kwargs)
    except _NO_CALL:
        return False


def taking(test: Callable[..., bool], reason: str) -> Condition:
    """Return the condition that a test with the function's own parameters makes."""
    return Condition(partial(holds, test), reason)


class Names:
    """Names in the globals of Axolotl's modules, and what they meant when they were compared."""

    def __init__(self) -> None:
        self._known: dict[str, tuple[dict[str, Any], Any]] = {}

    def remember(self, namespace: dict[str, Any], *names: str) -> None:
        """Keep what names mean, when a seam is built that repeats them."""
        self._known.update({name: (namespace, namespace[name]) for name in names})

    def unchanged(self, *names: str) -> Condition:
        """Return the condition that names mean what they did."""

        def hold(_args: Arguments, _kwargs: Keywords) -> bool:
            known = ((name, *self._known[name]) for name in names)
            return all(namespace.get(name) is value for name, namespace, value in known)

        return Condition(hold, f"somebody replaced {' or '.join(names)}")


#: What a class has of itself (pickle keeps the slots there), or may have without being read
#: differently.
_OWN = frozenset(
    {
        *("__module__", "__qualname__", "__doc__", "__annotations__", "__init__"),
        *("__firstlineno__", "__static_attributes__", "__annotate_func__", "__slotnames__"),
    }
)


def is_dataset(value: Any) -> bool:
    """Return whether this is a `datasets.Dataset` in all that Axolotl reads of it.

    That is one itself, or of a subclass that adds to it and overrides nothing, as Axolotl's
    `TokenizedPromptDataset` does: neither its classes nor the object have a name of their own that
    a `Dataset` has, nor a special method.
    """
    datasets = modules.get("datasets")
    if datasets is None:
        return False
    base = datasets.Dataset
    kind = type(value)
    if kind is base:
        return True
    if not issubclass(kind, base) or type(kind) is not type(base):
        return False
    added = {name for each in kind.__mro__ if each not in base.__mro__ for name in vars(each)}
    added.update(name for name in vars(value) if hasattr(base, name))
    return not any(hasattr(base, name) or name[:2] == "__" for name in added - _OWN)
