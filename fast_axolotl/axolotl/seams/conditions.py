"""Conditions that are a test of the arguments, as the function itself names them."""

from collections.abc import Callable
from functools import partial

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
