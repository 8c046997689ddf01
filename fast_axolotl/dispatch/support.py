"""Whether Rust can take a call: asked before it, with a reason for every no.

A chain of conditions, the process's own first. There is no "try Rust, catch, run Python": an
error of the chosen side is the caller's error.
"""

from . import registry
from .registry import Arguments, Function, Keywords

# function name -> why it was taken out for the rest of the process.
quarantined: dict[str, str] = {}


class UnsupportedError(RuntimeError):
    """Rust was asked for and can't take the call; the message says why."""


def standing_reason(function: Function) -> str | None:
    """Return why Rust can't take any call of a function now, or None."""
    if function.rust is None:
        return "the Rust extension is not available"
    return quarantined.get(function.name)


def refusal(function: Function, args: Arguments, kwargs: Keywords) -> str | None:
    """Return the first reason why Rust can't take this call, or None if it can."""
    reason = standing_reason(function)
    if reason is not None:
        return reason
    for condition in function.conditions:
        if not condition.holds(args, kwargs):
            return condition.reason
    return None


def quarantine(operation: str, reason: str) -> None:
    """Take the functions of an operation out of Rust for the rest of the process."""
    for function in registry.functions_of(operation):
        quarantined[function.name] = reason
