"""fast-axolotl: Axolotl's data pipeline in Rust, with the same results, and never slower."""

from __future__ import annotations

from ._by_name import by_name
from ._native import RUST_AVAILABLE, is_available
from .axolotl.shim import install, uninstall
from .dispatch import dispatch_mode, explain, modes, reset_stats, stats, stats_enabled, trace
from .dispatch import public as _public
from .formats import detect_format, list_supported_formats
from .hashing import deduplicate_indices, parallel_hash_rows
from .packing import concatenate_and_pack, pack_sequences
from .padding import create_padding_mask, pad_sequences

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from .streaming import (
        RustStreamingDataset,
        create_rust_streaming_dataset,
        open_dataset,
        should_use_rust_streaming,
        streaming_dataset_reader,
    )

__version__ = "0.3.0"

__all__ = [
    "RUST_AVAILABLE",
    "RustStreamingDataset",
    "__version__",
    "concatenate_and_pack",
    "create_padding_mask",
    "create_rust_streaming_dataset",
    "deduplicate_indices",
    "detect_format",
    "dispatch_mode",
    "explain",
    "fast_create_padding_mask",
    "fast_deduplicate_indices",
    "fast_pad_sequences",
    "fast_parallel_hash_rows",
    "get_version",
    "install",
    "is_available",
    "list_supported_formats",
    "open_dataset",
    "pack_sequences",
    "pad_sequences",
    "parallel_hash_rows",
    "reset_stats",
    "should_use_rust_streaming",
    "stats",
    "stats_enabled",
    "streaming_dataset_reader",
    "uninstall",
]

# Read once: an unknown word is an error here, not at the first call.
modes.read_environment(RUST_AVAILABLE)
trace.read_environment()
_public.register_public()
install()

# The names under which 0.2.0 offered these to Axolotl.
fast_create_padding_mask = create_padding_mask
fast_deduplicate_indices = deduplicate_indices
fast_pad_sequences = pad_sequences
fast_parallel_hash_rows = parallel_hash_rows


def get_version() -> str:
    """Return the version of the package and of its Rust extension."""
    from . import _native

    rust = "not available" if _native.core is None else _native.core.__version__
    return f"{__version__} (rust: {rust})"


# Imported when they are asked for: the plugin is a subclass of Axolotl's, and the reader is more
# than packing needs.
_LATER = {
    "AxolotlPlugin": "axolotl.plugin",
    "RustStreamingDataset": "streaming",
    "create_rust_streaming_dataset": "streaming",
    "open_dataset": "streaming",
    "should_use_rust_streaming": "streaming",
    "streaming": "streaming",
    "streaming_dataset_reader": "streaming",
}


def __getattr__(name: str) -> Any:
    if name not in _LATER:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    module = import_module(f"{__name__}.{_LATER[name]}")
    found = module if name == "streaming" else getattr(module, name)
    globals()[name] = found
    return found


def __dir__() -> list[str]:
    return sorted({*globals(), *_LATER})


by_name(__name__)
