"""The functions of 0.2.0 that read files: batches as dicts of lists."""

import os
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import datasets

    from .reader import Reader


def streaming_dataset_reader(
    file_path: "str | os.PathLike[str]",
    dataset_type: str | None = None,
    batch_size: int = 1000,
    num_threads: int = 4,
) -> Iterator[dict[str, list[Any]]]:
    """Read a file in batches, as dicts.

    Args:
        file_path: A file, a glob pattern, a folder, or a folder saved by `datasets`.
        dataset_type: The name of the format; None or "auto" to find it out.
        batch_size: Rows of a batch; the last may have fewer.
        num_threads: Threads to use, at most; 0 for as many as this process may use.

    Yields:
        For every batch a dict: column -> list of `batch_size` values.

    Raises:
        OSError: The file is missing or unreadable (a `RuntimeError` too).
        ValueError: The format is unknown, or the content is damaged (a `RuntimeError` too).
        ImportError: The Rust extension is not available.
    """
    with _open(file_path, dataset_type, batch_size, num_threads) as reader:
        yield from reader.dicts()


def _open(
    file_path: "str | os.PathLike[str]", dataset_type: str | None, batch_size: int, num_threads: int
) -> "Reader":
    from .reader import open_dataset

    kind = None if dataset_type in (None, "", "auto") else dataset_type
    return open_dataset(file_path, format=kind, batch_size=batch_size, num_threads=num_threads)


class RustStreamingDataset:
    """A file as an iterable of batches, each a dict: column -> list."""

    def __init__(
        self,
        file_path: "str | os.PathLike[str]",
        dataset_type: str | None = None,
        batch_size: int = 1000,
        num_threads: int = 4,
        dataset_keep_in_memory: bool = False,
    ) -> None:
        from .reader import _core_or_raise

        _core_or_raise()
        self.file_path = file_path
        self.dataset_type = dataset_type
        self.batch_size = batch_size
        self.num_threads = num_threads
        self.dataset_keep_in_memory = dataset_keep_in_memory
        self._format: str | None = None

    def __iter__(self) -> Iterator[Any]:
        """Return the batches: dicts, or what `with_format` asked for."""
        if self._format is None:
            yield from streaming_dataset_reader(
                self.file_path, self.dataset_type, self.batch_size, self.num_threads
            )
            return
        yield from self.to_iterable_dataset().with_format(self._format).iter(self.batch_size)

    def to_iterable_dataset(self) -> "datasets.IterableDataset":
        """Return a `datasets.IterableDataset` of the file's rows."""
        reader = _open(self.file_path, self.dataset_type, self.batch_size, self.num_threads)
        return reader.to_iterable_dataset()

    def with_format(self, format: str | None) -> "RustStreamingDataset":  # noqa: A002
        """Return the same dataset, its batches in a format of `datasets` (None: dicts of lists)."""
        other = RustStreamingDataset(
            self.file_path,
            self.dataset_type,
            self.batch_size,
            self.num_threads,
            self.dataset_keep_in_memory,
        )
        other._format = None if format == "python" else format
        return other


def create_rust_streaming_dataset(
    file_path: "str | os.PathLike[str]",
    dataset_type: str | None = None,
    batch_size: int = 1000,
    num_threads: int = 4,
    dataset_keep_in_memory: bool = False,
) -> RustStreamingDataset:
    """Return a `RustStreamingDataset` of these arguments."""
    return RustStreamingDataset(
        file_path, dataset_type, batch_size, num_threads, dataset_keep_in_memory
    )


def should_use_rust_streaming(
    file_path: "str | os.PathLike[str]", dataset_config: Any, cfg: Any
) -> bool:
    """Return whether a configuration of 0.2.0 asks for this reader.

    It does with `dataset_use_rust_streaming`, unless the dataset is kept in memory, the file has
    less than 1 GiB, or `sequence_len` is below 10,000.
    """
    del dataset_config
    from .. import _native

    if _native.core is None or not cfg.get("dataset_use_rust_streaming", False):
        return False
    if cfg.get("dataset_keep_in_memory", False):
        return False
    try:
        if os.path.getsize(file_path) < 1 << 30:
            return False
    except OSError:
        # As 0.2.0: what can't be looked at (a name on a hub) is not too small.
        pass
    return bool(cfg.get("sequence_len", 0) >= 10_000)
