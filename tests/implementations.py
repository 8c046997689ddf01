"""The implementations under test, and the guard against a silent change between them.

- rust: the functions of the extension, which never call Python;
- reference: the Python originals;
- auto: the public functions, which choose for themselves.

The oracle is a second copy of the originals, loaded under another name: while Rust is under test
the first copy raises when it is called, however it is reached.
"""

import importlib.util
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FunctionType, ModuleType, SimpleNamespace
from typing import Any

import fast_axolotl
from fast_axolotl import reference

FUNCTIONS = (
    "pack_sequences",
    "concatenate_and_pack",
    "pad_sequences",
    "create_padding_mask",
    "parallel_hash_rows",
    "deduplicate_indices",
)

# Only this switch may take Rust out of a run: an extension that can't be imported fails it.
WITHOUT_RUST = os.environ.get("FAST_AXOLOTL_DISABLE_RUST") == "1"


class SilentFallbackError(AssertionError):
    """A Python original ran where Rust was asked for."""


def _fallback(*args: Any, **kwargs: Any) -> Any:  # noqa: ARG001
    # Runs as the code of another function, whose globals are not these.
    from implementations import SilentFallbackError

    raise SilentFallbackError("a Python original ran while Rust was under test")


@contextmanager
def no_silent_fallback() -> Iterator[None]:
    """Make every call of a Python original fail, also through references that were taken before."""
    originals = [getattr(reference, name) for name in FUNCTIONS]
    codes = [function.__code__ for function in originals]
    assert all(isinstance(function, FunctionType) for function in originals)
    try:
        for function in originals:
            function.__code__ = _fallback.__code__
        yield
    finally:
        for function, code in zip(originals, codes, strict=True):
            function.__code__ = code


def _load_oracle() -> ModuleType:
    name = "oracle_reference"
    path = Path(reference.__file__)
    spec = importlib.util.spec_from_file_location(
        name, path, submodule_search_locations=[str(path.parent)]
    )
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


def _functions(name: str, module: ModuleType) -> SimpleNamespace:
    functions: dict[str, Callable[..., Any]] = {f: getattr(module, f) for f in FUNCTIONS}
    return SimpleNamespace(name=name, **functions)


def load(name: str) -> SimpleNamespace:
    """Return the six functions of the implementation `name`."""
    if name == "rust":
        from fast_axolotl import _core

        return _functions(name, _core)
    return _functions(name, reference if name == "reference" else fast_axolotl)


oracle = _functions("oracle", _load_oracle())
NAMES = ("reference", "auto") if WITHOUT_RUST else ("rust", "reference", "auto")
