"""Switches the shim on in a Python process that `fast-axolotl run` started, or a child of one.

The folder of this file is at the head of PYTHONPATH, and the interpreter imports it at its start.
The `sitecustomize` that it would have found otherwise runs first, as if this one were not there.
`fast_axolotl` is imported when Axolotl is: other programs, and older Pythons, pay next to nothing.
"""

import os
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


def _run_the_other() -> None:
    from importlib.machinery import PathFinder

    folder = os.path.dirname(__file__)
    at = sys.path.index(folder) if folder in sys.path else -1
    # Behind ours only: that of another installation, of a run around this one, looks for more, too.
    others = [path for path in sys.path[at + 1 :] if path != folder]
    spec = PathFinder.find_spec("sitecustomize", others)
    if spec is None or spec.loader is None:
        return
    from importlib.util import module_from_spec

    module = module_from_spec(spec)
    sys.modules["sitecustomize"] = module
    spec.loader.exec_module(module)


class _WhenAxolotlIsImported:
    """Imports `fast_axolotl` before Axolotl, and leaves."""

    def find_spec(self, name: str, path: "Any" = None, target: "Any" = None) -> None:
        del path, target
        if name != "axolotl":
            return
        # Another list: the import that asks goes through this one, and would skip a finder.
        sys.meta_path = [finder for finder in sys.meta_path if finder is not self]
        try:
            from fast_axolotl.axolotl import run_report
        except ImportError as error:
            print(f"fast-axolotl: not in {sys.executable}: {error}", file=sys.stderr)
            return
        run_report.begin()


sys.meta_path.insert(0, _WhenAxolotlIsImported())
_run_the_other()  # what it raises, the interpreter reports as it would without us
