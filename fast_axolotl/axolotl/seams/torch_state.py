"""Where torch makes its tensors now."""

from typing import Any

from fast_axolotl.dispatch.registry import Arguments, Keywords


def makes_plain_tensors(_args: Arguments = (), _kwargs: Keywords | None = None) -> bool:
    """Return whether a new tensor is a plain one on the CPU.

    A default device, and everything else that looks into the making of tensors (fake tensors,
    tracing, functionalisation), is a mode on one of two stacks; an older default is a type.
    """
    import torch

    found: Any = torch._C
    try:
        return bool(
            found._len_torch_function_stack() == 0
            and found._len_torch_dispatch_stack() == 0
            and found._get_default_device() == "cpu"
        )
    except AttributeError:  # a torch without these names
        return False
