"""The Rust extension, where there is one."""

from __future__ import annotations

import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from types import ModuleType
    from typing import TypeVar

    F = TypeVar("F", bound=Callable[..., object])

core: ModuleType | None
#: Why there is no extension; None where there is one.
UNAVAILABLE: str | None = None

if os.environ.get("FAST_AXOLOTL_DISABLE_RUST") == "1":
    core, UNAVAILABLE = None, "FAST_AXOLOTL_DISABLE_RUST=1"
else:
    try:
        from . import _core as core
    except ImportError as error:
        core, UNAVAILABLE = None, str(error)

RUST_AVAILABLE: bool = core is not None


def dispatched(original: F, module: str) -> F:
    """Return the public function of a Python original.

    Each call of it goes to Rust or to `original`. Without the extension it is `original` itself.
    """
    if core is None:
        return original
    public: F = core.dispatched(original, module)
    return public
