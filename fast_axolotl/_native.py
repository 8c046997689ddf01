"""The Rust extension, where there is one."""

from __future__ import annotations

import sys

from . import _environment

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from types import ModuleType
    from typing import TypeVar

    F = TypeVar("F", bound=Callable[..., object])

core: ModuleType | None
#: Why there is no extension; None where there is one.
UNAVAILABLE: str | None = None

if _environment.switch("FAST_AXOLOTL_DISABLE_RUST"):
    core, UNAVAILABLE = None, "FAST_AXOLOTL_DISABLE_RUST=1"
else:
    try:
        # Not `from . import`: what that says of a missing module is misleading.
        import fast_axolotl._core

        core = fast_axolotl._core
    except ImportError as error:
        core, UNAVAILABLE = None, str(error)
        if isinstance(error, ModuleNotFoundError) and error.name == "fast_axolotl._core":
            _python = "{} {}.{}".format(sys.implementation.name, *sys.version_info)
            UNAVAILABLE = (
                f"this installation has no extension for {_python}: "
                "install the package with this Python"
            )

RUST_AVAILABLE: bool = core is not None


def is_available() -> bool:
    """Return whether the Rust extension is there."""
    return RUST_AVAILABLE


def dispatched(original: F, module: str) -> F:
    """Return the public function of a Python original.

    Each call of it goes to Rust or to `original`. Without the extension it is `original` itself.
    """
    if core is None:
        return original
    public: F = core.dispatched(original, module)
    return public
