"""The six public functions in the dispatcher's table."""

from __future__ import annotations

from functools import partial

from fast_axolotl import reference
from fast_axolotl._native import core

from . import call, registry
from .policy import Sizes
from .registry import Arguments, Call, Function, Keywords

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


def describe(index: int, args: Arguments, kwargs: Keywords) -> Call:
    """Return what the extension sees of a call, which is what it decides by.

    Raises:
        TypeError: the arguments do not fit the function.
    """
    found = core.dispatch_describe(index, args, kwargs)  # type: ignore[union-attr]
    if found is None:
        raise TypeError("the arguments do not fit")
    layout, output, rows, elements, result, threads = found
    return Call(layout, output, Sizes(rows, elements, result), threads)


def workload(name: str, layout: str, output: str, rows: int, length: int) -> Any:
    """Return the arguments of a call of these sizes (see `calibration.workloads`)."""
    from fast_axolotl.calibration import workloads

    build = getattr(workloads, name, workloads.hash_rows)
    return build(layout, output, rows, length)


_TEXT = {"layouts": registry.TEXT_LAYOUTS, "outputs": ("lists",), "threaded": True}
_TOKENS = {"layouts": registry.TOKEN_LAYOUTS, "outputs": registry.OUTPUTS, "allocates": True}

# name -> operation, members that differ from the defaults
_PUBLIC: dict[str, tuple[str, dict[str, Any]]] = {
    "pack_sequences": ("pack", _TOKENS),
    "concatenate_and_pack": ("pack", _TOKENS),
    "pad_sequences": ("pad", _TOKENS),
    "create_padding_mask": ("pad", {"layouts": ("lengths",), "outputs": ("lists",)}),
    "parallel_hash_rows": ("hash", _TEXT),
    "deduplicate_indices": ("hash", {**_TEXT, "one_pass": ("existing_hashes",)}),
}


def register_public() -> None:
    """Fill the table."""
    for name, (operation, members) in _PUBLIC.items():
        index = -1 if core is None else core.FUNCTIONS.index(name)
        function = Function(
            name=name,
            operation=operation,
            python=getattr(reference, name),
            rust=getattr(core, name, None),
            describe=partial(describe, index),
            workload=partial(workload, name),
            native=core is not None,
            **members,
        )
        registry.unregister(function.name)  # where the package is loaded again
        registry.register(function)
        call.entry_of(function)
    call.push()
