"""`open_dataset` and the `Reader` that it returns."""

import operator
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from . import errors
from .sources import Files, Source, find, stamps

if TYPE_CHECKING:
    from types import TracebackType

    import datasets
    import pyarrow as pa

    from .. import _core


class Progress(NamedTuple):
    """How far a reader has come."""

    rows: int
    #: Bytes read of the files, as they are stored.
    bytes: int
    total_bytes: int

    @property
    def share(self) -> float:
        """The share of the files that was read, between 0 and 1."""
        return min(1.0, self.bytes / self.total_bytes) if self.total_bytes else 1.0


class Spec(NamedTuple):
    """All that it takes to open the same files again, in another process too."""

    files: Files
    columns: list[str] | None
    batch_size: int
    num_threads: int
    infer: str
    options: dict[str, Any]
    #: An Arrow schema, or anything that offers one.
    schema: Any
    #: A `filters.Filter`, or None.
    filters: Any
    #: "error", or "warn" or "skip" to leave out what is damaged.
    on_bad_files: str = "error"
    #: Whether the schema was found by the builder of `datasets`, which then reads with it, too.
    found_by_datasets: bool = False

    @property
    def decoded(self) -> list[str] | None:
        """The columns to decode: those that are wanted, and those that the filters look at."""
        if self.filters is None or self.columns is None:
            return self.columns
        if self.filters.columns is None:
            return None
        return list(dict.fromkeys([*self.columns, *self.filters.columns]))


#: Formats whose types are found by looking at rows.
TYPED_BY_ROWS = ("json", "jsonl", "csv", "tsv")


def open_dataset(
    source: Source,
    *,
    format: str | None = None,  # noqa: A002
    columns: Sequence[str] | None = None,
    batch_size: int = 1000,
    num_threads: int = 0,
    schema: "pa.Schema | datasets.Features | None" = None,
    infer: str = "first",
    filters: Any = None,
    split: str | None = None,
    progress: "bool | Callable[[Progress], object]" = False,
    on_bad_files: str | None = "error",
    **options: Any,
) -> "Reader":
    """Open files of any supported format, to be read as record batches.

    Args:
        source: A path, a glob pattern, a folder, a folder saved by `datasets`, or a list of these.
        format: One of `list_supported_formats()`; else name and content tell. Of a folder, only
            files of this format are read, else those of its most common one.
        columns: The columns to read, in this order. Others are not decoded.
        batch_size: Rows of a batch. The last batch may have fewer.
        num_threads: Threads to use; 0 for as many as this process may use, but no more than 8.
        schema: An Arrow schema or `datasets.Features` to read with, instead of finding one.
        infer: "first" finds types from the head of the first file, 250 rows and 512 KiB or more
            until they have settled; "chunk" from as much of it as `datasets` reads at first (10 MiB
            of JSON lines, all of an array, 10,000 rows of CSV); "full" reads all files once before.
        filters: Rows to keep: a list of tuples (or a list of such lists) or a pyarrow expression,
            as `pyarrow.parquet` takes them. Row groups of Parquet that can't have such rows, by
            their statistics, are not read.
        split: Which split of a saved DatasetDict, or of a folder whose names say splits by the rule
            of `datasets`; "train" if it has one. Other sources have only "train".
        progress: True for a progress bar, or a function that is called with a `Progress`.
        on_bad_files: "error", or "warn" or "skip" to leave out files that can't be opened, and what
            lies behind a damage. The logger `fast_axolotl.streaming` is told, at WARNING or DEBUG.
        **options: The options of the builder that `datasets` has for the format, with the same
            names and meanings; `features` is another name of `schema`.

    Returns:
        A `Reader`.

    Raises:
        OSError: A file is missing or unreadable: the matching subclass, a `RuntimeError` too.
        ReaderError: A file is damaged, or contradicts the schema (a `ValueError`).
        ValueError: An option, a column or a split does not exist, or the format is unknown.
        ImportError: The Rust extension is not available, or pyarrow is not, which filters need.
    """
    _core_or_raise()
    batch_size = _count("batch_size", batch_size, 1)
    num_threads = _count("num_threads", num_threads, 0)
    features = options.pop("features", None)
    if features is not None:
        if schema is not None:
            raise ValueError("schema and features say the same thing: give one of them")
        schema = features
    if schema is not None and hasattr(schema, "arrow_schema"):
        schema = schema.arrow_schema
    bad = on_bad_files or "error"
    if bad not in ("error", "warn", "skip"):
        raise ValueError(f"on_bad_files must be 'error', 'warn' or 'skip', not {bad!r}")
    files = find(source, format, split)
    if files.format == "parquet":
        options.pop("fragment_scan_options", None)  # how pyarrow is to buffer what it reads
    names = None if columns is None else _names(columns)
    spec = Spec(files, names, batch_size, num_threads, infer, options, schema, None, bad)
    if filters is not None:
        errors.check_installed("pyarrow", "filters=")
        from .filters import to_filter

        spec = spec._replace(filters=to_filter(filters))
    if bad != "error":
        spec = spec._replace(files=_without_bad_files(spec))
    reader = Reader(spec, progress)
    return reader if filters is None else reader._fitted()


def _count(name: str, value: Any, least: int) -> int:
    if isinstance(value, bool) or not hasattr(value, "__index__"):
        raise TypeError(f"{name} must be an int, not {type(value).__name__}")
    count: int = operator.index(value)
    if count < least:
        raise ValueError(f"{name} must be at least {least}, got {count}")
    if count > sys.maxsize:
        raise ValueError(f"{name} must be at most {sys.maxsize}, got {count}")
    return count


def _names(columns: Sequence[str]) -> list[str]:
    if isinstance(columns, (str, bytes)):
        raise TypeError(f"columns must be a list of names, not {type(columns).__name__}")
    names = [str(name) for name in columns]
    seen: set[str] = set()
    for name in names:
        if name in seen:
            raise ValueError(f"columns has {name!r} twice")
        seen.add(name)
    return names


def _core_or_raise() -> "_core":  # type: ignore[valid-type]
    from .. import _native

    if _native.core is None:
        raise ImportError(f"the reader needs the Rust extension: {_native.UNAVAILABLE}")
    return _native.core


def _without_bad_files(spec: Spec) -> Files:
    """Return the files that can be opened; what is damaged behind its start is met when read."""
    good = [path for path in spec.files.paths if _opens(spec, path)]
    if not good:
        raise ValueError(f"none of the files can be read: {', '.join(spec.files.paths)}")
    return spec.files._replace(paths=good)


def _opens(spec: Spec, path: str) -> bool:
    one = spec._replace(files=spec.files._replace(paths=[path]), infer="first", schema=None)
    try:
        _open(one)
    except errors.ReaderError as error:
        _left_out(spec.on_bad_files)(str(error))
        return False
    return True


def _left_out(policy: str) -> Callable[[str], object]:
    import logging

    level = logging.WARNING if policy == "warn" else logging.DEBUG
    logger = logging.getLogger("fast_axolotl.streaming")
    return lambda reason: logger.log(level, "left out: %s", reason)


def _open(spec: Spec) -> "_core.Files":
    core: Any = _core_or_raise()
    return core.open_files(  # type: ignore[no-any-return]
        spec.files.format,
        spec.files.paths,
        columns=spec.decoded,
        batch_size=spec.batch_size,
        num_threads=spec.num_threads,
        schema=spec.schema,
        infer=spec.infer,
        options=dict(spec.options),
        features=spec.files.features,
        bad_file=None if spec.on_bad_files == "error" else _left_out(spec.on_bad_files),
        found_by_datasets=spec.found_by_datasets,
    )


class Reader:
    """Reads files as record batches of exactly `batch_size` rows (the last may be shorter).

    Every iteration reads from the start. Batches are `pyarrow.RecordBatch` where pyarrow is
    installed, else objects that any Arrow library takes through the PyCapsule interface. `pyarrow`,
    `polars`, `duckdb` and `pandas` take the reader itself, without a copy.
    """

    def __init__(self, spec: Spec, progress: "bool | Callable[[Progress], object]" = False) -> None:
        self._spec = spec
        self._progress = progress
        self._stamps = stamps(spec.files.paths)
        self._files = _open(spec)
        self._closed = False
        self._schema: pa.Schema | None = None

    @property
    def schema(self) -> "pa.Schema":
        """The Arrow schema, with the features of `datasets` in its metadata, if known."""
        if self._schema is None:
            errors.check_installed("pyarrow", "the schema of a reader")
            import pyarrow as pa

            schema = pa.schema(self._files)
            if self._spec.filters is not None and self._spec.columns is not None:
                metadata = schema.metadata
                schema = pa.schema([schema.field(name) for name in self._spec.columns])
                schema = schema.with_metadata(metadata)
            self._schema = schema
        return self._schema

    @property
    def _full_schema(self) -> "pa.Schema":
        """The schema of all columns, those that are not read too."""
        import pyarrow as pa

        return pa.schema(self._files.full_schema())

    def _known(self) -> Spec:
        """Return how to read any of the files with the schema of all, without a look for it."""
        found = self._spec.schema is None and self._files.is_by_datasets()
        return self._spec._replace(
            schema=self._full_schema,
            infer="first",
            found_by_datasets=found or self._spec.found_by_datasets,
        )

    def _fitted(self) -> "Reader":
        """Return a reader of the same that decodes no more than filters and caller need."""
        from .filters import fitted

        spec = fitted(self._spec, self._full_schema)
        if spec.decoded == self._spec.decoded:
            return self
        return Reader(spec, self._progress)

    @property
    def num_rows(self) -> int | None:
        """The number of rows; None where it takes a scan to know it."""
        return None if self._spec.filters is not None else self._files.num_rows()

    @property
    def files(self) -> list[str]:
        """The files, in the order they are read."""
        return list(self._spec.files.paths)

    @property
    def format(self) -> str:
        """The name of the format."""
        return self._spec.files.format

    def __iter__(self) -> "Iterator[pa.RecordBatch]":
        return self._watched(self.batches())

    def batches(self, skip: int = 0, *, strictly: bool = False) -> "Iterator[pa.RecordBatch]":
        """Return the batches from row `skip` on; `strictly`: it is an error if it isn't there."""
        if self._spec.filters is not None:
            from .filters import filtered

            yield from filtered(self, self._spec, skip, strictly=strictly)
            return
        yield from self._unfiltered(skip, strictly=strictly)

    def _unfiltered(self, skip: int = 0, *, strictly: bool = False) -> "Iterator[pa.RecordBatch]":
        batches = self._start()
        try:
            self._skip(batches, skip, strictly=strictly)
            yield from _each(batches)
        finally:
            batches.close()

    def _skip(self, batches: "_core.Batches", skip: int, *, strictly: bool) -> None:
        if skip and batches.skip(skip) < skip and strictly:
            raise self._too_short(skip)

    def _too_short(self, skip: int) -> Exception:
        files = ", ".join(self.files)
        return errors.ReaderError(f"{files}: fewer rows than the {skip} that were read before")

    def dicts(self, skip: int = 0, *, strictly: bool = False) -> Iterator[dict[str, list[Any]]]:
        """Return the batches as dicts of lists, with the values of pyarrow's `to_pydict`.

        The first `skip` rows are left out (`strictly`: it is an error if there are fewer). What is
        JSON text (`datasets.Json`) is parsed.
        """
        return self._watched(self._dicts(skip, strictly=strictly))

    def _dicts(self, skip: int, *, strictly: bool) -> Iterator[dict[str, list[Any]]]:
        if self._spec.filters is not None:
            from .values import dicts

            file = self.files[0] if len(self.files) == 1 else None
            yield from dicts(self.batches(skip, strictly=strictly), file)
            return
        batches = self._start(for_objects=True)
        try:
            self._skip(batches, skip, strictly=strictly)
            while (found := batches.next_dict()) is not None:
                yield found
        finally:
            batches.close()

    def to_pydict(self) -> dict[str, list[Any]]:
        """Return all rows as one dict: column -> list."""
        columns: dict[str, list[Any]] = {name: [] for name in self._names()}
        for batch in self.dicts():
            for name, values in batch.items():
                columns[name].extend(values)
        return columns

    def _names(self) -> list[str]:
        if self._spec.columns is not None:
            return self._spec.columns
        return self._files.column_names()

    def read_all(self) -> "pa.Table":
        """Return all rows as one table."""
        errors.check_installed("pyarrow", "a table")
        import pyarrow as pa

        return pa.Table.from_batches(self, self.schema)

    def __arrow_c_stream__(self, requested_schema: object = None) -> object:
        """Return the stream of batches, for any library that knows Arrow."""
        if self._spec.filters is not None:
            import pyarrow as pa

            reader = pa.RecordBatchReader.from_batches(self.schema, self)
            return reader.__arrow_c_stream__(requested_schema)
        return self._start().__arrow_c_stream__(requested_schema)

    def __arrow_c_schema__(self) -> object:
        """Return the schema, for any library that knows Arrow."""
        if self._spec.filters is not None:
            return self.schema.__arrow_c_schema__()
        return self._files.__arrow_c_schema__()

    def _typed_as_datasets(self) -> "Reader":
        """Return a reader of the same, with the types of all that `datasets` reads at first."""
        spec = self._spec
        settles = spec.infer == "first" and spec.schema is None
        if self._closed or not settles or spec.files.format not in TYPED_BY_ROWS:
            return self
        return Reader(spec._replace(infer="chunk"), self._progress)

    def _has_changed(self) -> bool:
        return stamps(self._spec.files.paths) != self._stamps

    def _fresh(self) -> "Reader":
        """Return a reader of the files as they are now: a reader may keep what it looked at."""
        if self._closed or not self._has_changed():
            return self
        return Reader(self._spec, self._progress)

    def to_iterable_dataset(self) -> "datasets.IterableDataset":
        """Return a `datasets.IterableDataset` that reads these files.

        Its features are known. Its `state_dict` resumes after any row. It has shards for the
        workers of a DataLoader and for `split_dataset_by_node`: one for each file, or for each part
        of a file where parts can be found without reading it.
        """
        errors.check_installed("datasets", "an IterableDataset")
        from .iterable import to_iterable_dataset

        return to_iterable_dataset(self._typed_as_datasets())

    def to_dataset(self, cache_dir: "str | os.PathLike[str] | None" = None) -> "datasets.Dataset":
        """Return a `datasets.Dataset` of all rows, memory-mapped from the Hugging Face cache.

        Args:
            cache_dir: Where to keep it, instead of the cache of `datasets`.

        Returns:
            The dataset. Its fingerprint depends on the files (path, size, time of change) and on
            how they are read; a second call finds what the first one wrote.
        """
        errors.check_installed("datasets", "a Dataset")
        from .cached import to_dataset

        return to_dataset(self._typed_as_datasets(), cache_dir)

    def close(self) -> None:
        """Stop all threads and close all files. The reader can't be used after that."""
        self._closed = True
        self._files.close()

    def __enter__(self) -> "Reader":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: "TracebackType | None",
    ) -> None:
        self.close()

    def __reduce__(self) -> Any:
        # What is open stays in its process: copies open the files again.
        return Reader, (self._spec, self._progress)

    def __repr__(self) -> str:
        files = self._spec.files
        return f"<Reader of {len(files.paths)} {files.format} file(s): {', '.join(self._names())}>"

    def _start(self, *, for_objects: bool = False) -> "_core.Batches":
        if self._closed:
            raise ValueError("the reader is closed")
        return self._files.read(for_objects=for_objects)

    def _watched(self, batches: Iterator[Any]) -> Iterator[Any]:
        if not self._progress:
            return batches
        from .progress import watched

        return watched(batches, self._files, self._spec.files.size, self._progress)


def _each(batches: "_core.Batches") -> "Iterator[pa.RecordBatch]":
    """Return what is left of the batches."""
    pyarrow = _pyarrow()
    if pyarrow is None:
        while (batch := batches.next_batch()) is not None:
            yield batch
        return
    stream = pyarrow.RecordBatchReader.from_stream(batches)
    while True:
        try:
            batch = stream.read_next_batch()
        except StopIteration:
            return
        except Exception:
            batches.raise_pending()
            raise
        yield batch


def _pyarrow() -> Any:
    try:
        import pyarrow
    except ImportError:
        return None
    return pyarrow
