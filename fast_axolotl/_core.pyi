"""Types of the Rust extension, checked against it by stubtest."""

from collections.abc import Callable, Iterable
from typing import Any, TypeVar

__all__ = [
    "__version__",
    "concatenate_and_pack",
    "cpu_features",
    "create_padding_mask",
    "deduplicate_indices",
    "dispatched",
    "pack_sequences",
    "pad_sequences",
    "parallel_hash_rows",
    "set_mode",
    "usable_threads",
]

_F = TypeVar("_F", bound=Callable[..., object])

__version__: str

def pack_sequences(
    sequences: Any,
    max_length: int,
    pad_token_id: int,
    eos_token_id: int,
    label_pad_id: int = -100,
    *,
    output: str = "lists",
) -> dict[str, Any]: ...
def concatenate_and_pack(
    input_ids: Any,
    labels: Any,
    attention_masks: Any,
    max_length: int,
    pad_token_id: int,
    label_pad_id: int = -100,
    *,
    output: str = "lists",
) -> dict[str, Any]: ...
def pad_sequences(
    sequences: Any,
    target_length: int | None = None,
    pad_value: Any = 0,
    padding_side: str = "right",
    pad_to_multiple_of: int | None = None,
    *,
    truncate: bool = False,
    output: str = "lists",
) -> Any: ...
def create_padding_mask(current_length: int, target_length: int) -> list[int]: ...
def parallel_hash_rows(rows: Any, num_threads: int = 0) -> list[str]: ...
def deduplicate_indices(
    rows: Any, existing_hashes: Iterable[str] | None = None, num_threads: int = 0
) -> tuple[list[int], list[str]]: ...
def dispatched(original: _F, module: str) -> _F: ...
def set_mode(operation: str, mode: str) -> None: ...
def cpu_features() -> list[str]: ...
def usable_threads() -> int: ...
