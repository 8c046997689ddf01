"""The shim as a whole: `install()` and `uninstall()`."""

from __future__ import annotations

import os
import sys
from _thread import RLock
from types import ModuleType

from fast_axolotl._native import RUST_AVAILABLE
from fast_axolotl.dispatch import registry

from . import names_020, patch_map
from .import_hook import Finder, take_out
from .patch_map import Seam

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_lock: Any = RLock()
_installed = False
# Without the extension there is nothing to put in anybody's place.
_hooked = patch_map.hooked() if RUST_AVAILABLE else {}
for _operation, _summary in patch_map.OPERATIONS.items():
    registry.declare(_operation, _summary)


def install() -> bool:
    """Put the implementations of fast-axolotl in the place of Axolotl's functions.

    `import fast_axolotl` does it. Modules of Axolotl that are loaded are patched now, others when
    they are imported; without Axolotl nothing happens. 0.2.0's module names are offered as well.
    Any number of calls, from any thread, is as good as one.

    Returns:
        True, or False where it was done already.
    """
    global _installed
    with _lock:
        changed = not _installed
        _installed = True
        if _finder not in sys.meta_path:
            sys.meta_path.insert(0, _finder)
            changed = True
        names_020.install()
    for name in _hooked:
        module: Any = sys.modules.get(name)
        # What somebody put there without an import, say a mock in a test, has no such spec.
        spec = getattr(module, "__spec__", None)
        if getattr(spec, "name", None) == name and not getattr(spec, "_initializing", False):
            _patch(module, None)
    return changed


def uninstall() -> bool:
    """Put every function of Axolotl back that `install` replaced, by identity.

    What somebody else has put in the place of ours since then stays.

    Returns:
        True, or False where nothing was installed.
    """
    global _installed
    with _lock:
        changed = _installed
        _installed = False
        take_out(_finder)
        names_020.uninstall()
        if "fast_axolotl.axolotl.patching" in sys.modules:
            from . import patching

            patching.undo(list(sys.modules.values()))
    return changed


def is_installed() -> bool:
    """Return whether the shim is installed in this process."""
    return _installed


def _loaded(module: ModuleType, before: frozenset[str]) -> None:
    # Called by the import system: nothing may go wrong here that stock would not do.
    try:
        _patch(module, before)
    except Exception as error:
        _warn(module.__name__, error)


_finder = Finder(tuple(_hooked), _loaded)


def _warn(name: str, error: Exception) -> None:
    import logging

    logger = logging.getLogger("fast_axolotl.axolotl")
    logger.warning("%s: left to Axolotl: %s: %s", name, type(error).__name__, error)


def seams_of(module: str) -> list[Seam]:
    """Return the seams that are in a module of Axolotl."""
    from importlib import import_module

    found = []
    for name in _hooked[module]:
        try:
            seams: tuple[Seam, ...] = import_module(f"{__package__}.seams.{name}").SEAMS
        except Exception as error:
            _warn(f"{module} ({name})", error)
            continue
        found += [seam for seam in seams if seam.module == module]
    return found


def _patch(module: ModuleType, before: frozenset[str] | None) -> None:
    # Imports first, outside the lock: another thread may hold an import lock and wait for ours.
    from . import patching

    seams = seams_of(module.__name__)
    with _lock:
        if not _installed:
            return
        among = [
            other
            for name, other in sys.modules.copy().items()
            if before is None or name not in before
        ]
        patching.apply(seams, module, among)


if hasattr(os, "register_at_fork"):
    # A thread that is not in the child can't give the lock back.
    os.register_at_fork(after_in_child=_lock._at_fork_reinit)
