"""Decides, call by call, between Rust and the original Python implementation.

Operations are declared in `registry`, whether Rust can take a call in `support`, which side is
faster in `policy`; `profile` holds what was measured on this host, `call` is the path of a call,
`trace` what was decided.
"""

from fast_axolotl._by_name import by_name

from . import call, registry
from .explain import Explanation, explain
from .modes import dispatch_mode, set_mode
from .policy import Sizes
from .registry import Call, Condition, Function
from .support import UnsupportedError
from .trace import reset_stats, stats, stats_enabled

__all__ = [
    "Call",
    "Condition",
    "Explanation",
    "Function",
    "Sizes",
    "UnsupportedError",
    "declare",
    "dispatch_mode",
    "dispatched",
    "explain",
    "register",
    "reset_stats",
    "set_mode",
    "stats",
    "stats_enabled",
    "unregister",
]

declare = registry.declare
dispatched = call.dispatched


def register(function: Function) -> Function:
    """Add a function to the table: it is decided, forced, verified, calibrated and counted.

    Call `dispatched` for the function that decides.

    Raises:
        ValueError: its operation is not declared, or its name is taken.
    """
    registry.register(function)
    call.entry_of(function)
    return function


def unregister(name: str) -> None:
    """Take a function out of the table, if it is there; its dispatched form calls the original."""
    registry.unregister(name)
    call.forget(name)


by_name(__name__)
