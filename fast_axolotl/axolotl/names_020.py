"""The module names that fast-axolotl 0.2.0 put into Axolotl, for the code that imports them.

0.2.0 placed empty modules into `sys.modules`, so that the real Axolotl could not be imported any
more. Here a finder offers the names, after every other finder: what Axolotl has itself is never
hidden, and none of its packages is made up.
"""

from __future__ import annotations

import sys
from types import ModuleType

from .import_hook import take_out

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from importlib.machinery import ModuleSpec
    from typing import Any

#: Module -> its attributes -> where they are in `fast_axolotl`. A module without any is a package.
MODULES: dict[str, dict[str, str]] = {
    "axolotl.rust_ext": {},
    "axolotl.rust_ext.axolotl_ext": {"streaming_dataset_reader": "streaming_dataset_reader"},
    "axolotl.utils.data.rust_streaming": {
        "get_rust_extension_status": "is_available",
        "streaming_dataset_reader": "streaming_dataset_reader",
        "RUST_EXTENSION_AVAILABLE": "RUST_AVAILABLE",
    },
    "axolotl.utils.data.rust_wrapper": {
        "is_rust_streaming_available": "is_available",
        "load_dataset_with_rust_streaming": "streaming_dataset_reader",
        "RustStreamingDataset": "RustStreamingDataset",
        "create_rust_streaming_dataset": "create_rust_streaming_dataset",
        "should_use_rust_streaming": "should_use_rust_streaming",
    },
}


class Finder:
    """Finds the modules of 0.2.0 where nothing else does."""

    def find_spec(
        self, name: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """Return the spec of one of `MODULES`, and None for every other name."""
        del path, target
        # A folder that happens to be called axolotl is no Axolotl.
        if name not in MODULES or getattr(sys.modules.get("axolotl"), "__file__", None) is None:
            return None
        from importlib.machinery import ModuleSpec

        return ModuleSpec(name, self, is_package=not MODULES[name])  # type: ignore[arg-type]

    def create_module(self, spec: ModuleSpec) -> None:
        """Leave the making of the module to the import system."""

    def exec_module(self, module: ModuleType) -> None:
        """Fill the module with the functions of `fast_axolotl`."""
        import fast_axolotl

        for name, source in MODULES[module.__name__].items():
            setattr(module, name, getattr(fast_axolotl, source))


_finder = Finder()


def install() -> bool:
    """Offer the module names of 0.2.0.

    Returns:
        True, or False where they were offered already.
    """
    meta_path: list[Any] = sys.meta_path
    if _finder in meta_path:
        return False
    meta_path.append(_finder)
    return True


def uninstall() -> bool:
    """Take the module names of 0.2.0 back, and with them the modules that were imported by them.

    Returns:
        True, or False where they were not offered.
    """
    if not take_out(_finder):
        return False
    for name in MODULES:
        module = sys.modules.get(name)
        if getattr(getattr(module, "__spec__", None), "loader", None) is _finder:
            del sys.modules[name]
            package, _, attribute = name.rpartition(".")
            if getattr(sys.modules.get(package), attribute, None) is module:
                delattr(sys.modules[package], attribute)
    return True
