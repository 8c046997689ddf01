"""Types of the Rust extension, checked against it by stubtest."""

from collections.abc import Callable, Iterable, Sequence
from contextvars import ContextVar
from os import PathLike
from pathlib import Path
from typing import Any, TypeAlias, TypeVar, final

__all__ = [
    "FUNCTIONS",
    "PANICS",
    "ArrowSchema",
    "Batch",
    "Batches",
    "Files",
    "Override",
    "__version__",
    "build_id",
    "call_allocate_sequentially",
    "call_ffd_check",
    "call_pack_group",
    "concatenate_and_pack",
    "copied_rows",
    "cpu_features",
    "create_padding_mask",
    "deduplicate_indices",
    "deduplicate_rows",
    "detect_file",
    "dispatch_choose",
    "dispatch_counts",
    "dispatch_describe",
    "dispatch_plant_panic",
    "dispatch_push",
    "dispatch_reset",
    "dispatch_run",
    "dispatch_threads",
    "dispatch_variable",
    "dispatched",
    "forced",
    "int64_tensor",
    "is_saved_dataset",
    "multipack_batches",
    "multipack_fits",
    "multipack_pack",
    "multipack_sequential",
    "open_files",
    "pack_sequences",
    "pad_sequences",
    "parallel_hash_rows",
    "pickle_indices",
    "row_tensor",
    "row_tensors",
    "row_text_unsupported",
    "row_texts",
    "saved_dataset",
    "streaming_rows",
    "threads_free",
    "usable_threads",
]

_F = TypeVar("_F", bound=Callable[..., object])

# kind, challenger, feature, threshold, plane; layout, output, collector, and three of those.
_Rule: TypeAlias = tuple[int, bool, int, float, list[float]]
_Cell: TypeAlias = tuple[str, str, bool, _Rule | None, _Rule | None, _Rule | None]

__version__: str
FUNCTIONS: list[str]
PANICS: tuple[type[BaseException], ...]

@final
class Override:
    def __new__(cls, modes: dict[str | None, str], codes: bytes) -> Override: ...
    @property
    def modes(self) -> dict[str | None, str]: ...

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
def row_text_unsupported(
    schema: Any, columns: Sequence[int], zones: dict[str, tuple[int, str]]
) -> str | None: ...
def row_texts(
    table: Any,
    columns: Sequence[int],
    zones: dict[str, tuple[int, str]],
    indices: Any = None,
) -> list[str | None]: ...
def deduplicate_rows(
    table: Any,
    columns: Sequence[int],
    zones: dict[str, tuple[int, str]],
    indices: Any,
    seen: set[Any],
    first: str,
    ask: Callable[[int], str],
    num_threads: int = 0,
) -> list[int] | range | None: ...
def pickle_indices(indices: list[int] | range) -> bytes: ...
def int64_tensor(values: Any) -> Any: ...
def row_tensor(rows: list[Any], width: int, fill: int | None, right: bool) -> Any: ...
def row_tensors(
    columns: list[tuple[list[Any], int, int | None, bool, bool]], right: bool
) -> list[Any] | None: ...
def streaming_rows(
    sequences: Any, masks: Any, max_length: int, pad: Any, eos: Any
) -> dict[str, Any] | None: ...
def copied_rows(rows: Any) -> list[list[int]] | None: ...
def dispatched(original: _F, module: str) -> _F: ...
def forced(index: int, side: int) -> Callable[..., Any]: ...
def dispatch_variable(variable: ContextVar[Any]) -> None: ...
def dispatch_push(
    index: int, state: int, refused: bool, forced: bool, cells: Sequence[_Cell] | None
) -> None: ...
def dispatch_threads(threads: int) -> None: ...
def threads_free() -> bool: ...
def dispatch_run(index: int, side: int, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any: ...
def dispatch_describe(
    index: int, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> tuple[str, str, float, float, float, int] | None: ...
def dispatch_choose(cell: _Cell, sizes: Sequence[float], threads: bool, forced: bool) -> int: ...
def dispatch_counts(index: int) -> list[int]: ...
def dispatch_reset(index: int) -> None: ...
def dispatch_plant_panic(index: int | None) -> None: ...
def build_id() -> str: ...
def cpu_features() -> list[str]: ...
def usable_threads() -> int: ...

@final
class ArrowSchema:
    def __arrow_c_schema__(self) -> object: ...

@final
class Batch:
    @property
    def num_rows(self) -> int: ...
    @property
    def column_names(self) -> list[str]: ...
    def to_pydict(self) -> dict[str, list[Any]]: ...
    def column(self, name: str) -> list[Any]: ...
    def __len__(self) -> int: ...
    def __repr__(self) -> str: ...
    def __arrow_c_schema__(self) -> object: ...
    def __arrow_c_array__(
        self, requested_schema: object | None = None
    ) -> tuple[object, object]: ...

@final
class Batches:
    def next_batch(self) -> Batch | None: ...
    def next_dict(self) -> dict[str, list[Any]] | None: ...
    def skip(self, rows: int) -> int: ...
    def rows(self) -> int: ...
    def close(self) -> None: ...
    def raise_pending(self) -> None: ...
    def __arrow_c_schema__(self) -> object: ...
    def __arrow_c_stream__(self, requested_schema: object | None = None) -> object: ...

@final
class Files:
    def num_rows(self) -> int | None: ...
    def bytes_read(self) -> int: ...
    def column_names(self) -> list[str]: ...
    def full_schema(self) -> ArrowSchema: ...
    def is_by_datasets(self) -> bool: ...
    def read(self, *, for_objects: bool = False) -> Batches: ...
    def close(self) -> None: ...
    def __arrow_c_schema__(self) -> object: ...

def detect_file(path: str | PathLike[str]) -> str: ...
def is_saved_dataset(path: str | PathLike[str]) -> bool: ...
def saved_dataset(
    path: str | PathLike[str], split: str | None
) -> tuple[list[Path], str | None, list[str]]: ...
def open_files(
    format: str,  # noqa: A002
    paths: Sequence[str | PathLike[str]],
    *,
    columns: Sequence[str] | None,
    batch_size: int,
    num_threads: int,
    schema: object | None,
    infer: str,
    options: dict[str, Any],
    features: str | None,
    bad_file: Callable[[str], object] | None,
    found_by_datasets: bool,
) -> Files: ...
def call_allocate_sequentially(arguments: tuple[Any, ...]) -> Any: ...
def call_ffd_check(arguments: tuple[Any, ...]) -> Any: ...
def call_pack_group(arguments: tuple[Any, ...]) -> Any: ...
def multipack_pack(
    lengths: Any, capacity: int, group_size: int, per_bin: int, max_bins: int, offset: int
) -> list[list[int]]: ...
def multipack_fits(lengths: Any, capacity: int, bins: int) -> bool: ...
def multipack_sequential(
    lengths: Any, rank: int, capacity: int, ranks: int
) -> tuple[list[list[int]], int, int]: ...
def multipack_batches(
    indices: list[Any],
    lengths: Any,
    capacity: int,
    group_size: int,
    per_bin: int | None,
    batch_size: int,
) -> tuple[list[list[list[Any]]], int, int] | None: ...
