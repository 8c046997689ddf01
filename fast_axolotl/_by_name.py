"""Modules that pickle as their names.

dill, and with it the fingerprints of `datasets`, writes out the contents of a module that is in no
`site-packages`: ours would be others in every process.
"""

from __future__ import annotations

import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from types import ModuleType
else:
    ModuleType = type(sys)  # the class, without an import of `types`


class ByName(ModuleType):
    """A module that is imported where it is unpickled, whatever it holds."""

    def __reduce__(self) -> tuple[Callable[[str], ModuleType], tuple[str]]:
        from importlib import import_module

        return import_module, (self.__name__,)


def by_name(module: str) -> None:
    """Make an imported module pickle as its name."""
    sys.modules[module].__class__ = ByName
