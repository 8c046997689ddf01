"""Tells when a module of Axolotl has been executed, without importing anything.

A finder at the head of `sys.meta_path` lets the others find the module, and has its loader call
back after the module's code ran. Nothing of that stays on the module: its spec and its loader are
what they would be without us.
"""

from __future__ import annotations

import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from importlib.machinery import ModuleSpec
    from types import ModuleType
    from typing import Any

    Loaded = Callable[[ModuleType, frozenset[str]], None]


def take_out(finder: Any) -> bool:
    """Take a finder out of `sys.meta_path`.

    It becomes another list: an import that goes through this one meanwhile would skip a finder.

    Returns:
        True, or False where the finder was not there.
    """
    if finder not in sys.meta_path:
        return False
    sys.meta_path = [other for other in sys.meta_path if other is not finder]
    return True


class _Loader:
    """Stands before a module's loader until the module is executed."""

    def __init__(self, loader: Any, loaded: Loaded) -> None:
        self._loader = loader
        self._loaded = loaded

    def __getattr__(self, name: str) -> Any:
        if name in ("_loader", "_loaded"):  # a copy that is not filled yet
            raise AttributeError(name)
        return getattr(self._loader, name)

    def create_module(self, spec: ModuleSpec) -> ModuleType | None:
        return self._loader.create_module(spec)  # type: ignore[no-any-return]

    def exec_module(self, module: ModuleType) -> None:
        spec: Any = module.__spec__
        if getattr(spec, "loader", None) is self:
            spec.loader = self._loader
        if getattr(module, "__loader__", None) is self:
            module.__loader__ = self._loader
        before = frozenset(sys.modules)
        self._loader.exec_module(module)
        self._loaded(module, before)


class Finder:
    """Watches the import of some modules.

    Args:
        names: of the modules.
        loaded: called with each after its execution, and with the names of the modules that were
            loaded before it.
    """

    def __init__(self, names: Sequence[str], loaded: Loaded) -> None:
        self._names = frozenset(names)
        self._loaded = loaded

    def find_spec(
        self, name: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """Return the spec that the other finders have, with our callback in its loader."""
        if name not in self._names:
            return None
        for finder in sys.meta_path:
            find: Any = getattr(finder, "find_spec", None)
            if finder is self or find is None:
                continue
            spec: ModuleSpec | None = find(name, path, target)
            if spec is not None:
                if spec.loader is not None and hasattr(spec.loader, "exec_module"):
                    spec.loader = _Loader(spec.loader, self._loaded)  # type: ignore[assignment]
                return spec
        return None
