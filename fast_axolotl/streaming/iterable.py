"""Readers as `datasets.IterableDataset`."""

from collections.abc import Iterator
from itertools import islice
from typing import TYPE_CHECKING, Any

import datasets
import numpy as np
import pyarrow as pa
from datasets.iterable_dataset import (
    ArrowExamplesIterable,
    _merge_gen_kwargs,
    _shuffle_gen_kwargs,
    _split_gen_kwargs,
)

from .features import features_of
from .reader import Reader, Spec

if TYPE_CHECKING:
    from datasets import IterableDataset

#: Shards that a dataset of fewer files is cut into, where that takes no reading.
SHARDS = 16


class Rows:
    """Reads the rows of shards: a path, the first row, and the row after the last (None: all).

    An object rather than a function, so that it goes to the workers of a DataLoader.
    """

    def __init__(self, spec: Spec) -> None:
        self.spec = spec

    def __call__(
        self, shards: list[tuple[str, int, int | None]], skip: int = 0
    ) -> Iterator[tuple[tuple[int, int], pa.Table]]:
        """Return keys and tables, without the first `skip` rows of the first shard."""
        for number, (path, start, stop) in enumerate(shards):
            start += skip
            skip = 0
            left = None if stop is None else stop - start
            if left is not None and left <= 0:
                continue
            spec = self.spec._replace(files=self.spec.files._replace(paths=[path]))
            with Reader(spec) as reader:
                for index, batch in enumerate(reader.batches(start)):
                    if left is not None and batch.num_rows > left:
                        batch = batch.slice(0, left)
                    yield (number, index), pa.Table.from_batches([batch])
                    if left is not None:
                        left -= batch.num_rows
                        if left == 0:
                            break


class FileExamples(ArrowExamplesIterable):  # type: ignore[misc]
    """Examples of files; resumes at a row by going there, not by reading what is before it."""

    def __init__(self, rows: Rows, kwargs: dict[str, Any]) -> None:
        super().__init__(rows, kwargs)

    def __iter__(self) -> Iterator[tuple[Any, dict[str, Any]]]:
        for key, table in self._tables(count=False):
            columns = table.to_pydict()
            names = list(columns)
            for values in zip(*columns.values(), strict=True):
                if self._state_dict:
                    self._state_dict["shard_example_idx"] += 1
                yield key, dict(zip(names, values, strict=True))

    def _iter_arrow(self) -> Iterator[tuple[Any, pa.Table]]:
        yield from self._tables(count=True)

    def _tables(self, count: bool) -> Iterator[tuple[Any, pa.Table]]:
        state = self._state_dict
        first = state["shard_idx"] if state else 0
        parts = _split_gen_kwargs(self.kwargs, max_num_jobs=self.num_shards)
        for part in islice(parts, first, None):
            skip = state["shard_example_idx"] if state else 0
            for key, table in self.generate_tables_fn(**part, skip=skip):
                if state and count:
                    state["shard_example_idx"] += len(table)
                yield key, table
            if state:
                state["shard_idx"] += 1
                state["shard_example_idx"] = 0

    def shuffle_data_sources(self, generator: np.random.Generator) -> "FileExamples":
        """Return the same shards in another order."""
        import copy

        shuffled = _shuffle_gen_kwargs(copy.deepcopy(generator), self.kwargs)
        return FileExamples(self.generate_tables_fn, shuffled)

    def shard_data_sources(
        self, num_shards: int, index: int, contiguous: bool = True
    ) -> "FileExamples":
        """Return one of `num_shards` parts of the shards."""
        parts = _split_gen_kwargs(self.kwargs, max_num_jobs=self.num_shards)
        chosen = self.split_shard_indices_by_worker(num_shards, index, contiguous=contiguous)
        return FileExamples(self.generate_tables_fn, _merge_gen_kwargs([parts[i] for i in chosen]))

    def reshard_data_sources(self) -> "FileExamples":
        """Return the same: it is cut as finely as can be done without reading."""
        return FileExamples(self.generate_tables_fn, self.kwargs)


def to_iterable_dataset(reader: Reader) -> "IterableDataset":
    """Return the dataset of a reader's rows."""
    features = features_of(reader.schema)
    # Known from here on: no shard looks for a schema of its own.
    spec = reader._spec._replace(schema=pa.schema(reader._files), infer="first")
    if spec.filters is None and spec.columns is not None:
        spec = spec._replace(schema=_full_schema(reader))
    examples = FileExamples(Rows(spec), {"shards": _shards(reader)})
    info = datasets.DatasetInfo(features=features)
    return datasets.IterableDataset(examples, info=info, split=datasets.Split.TRAIN)


def _full_schema(reader: Reader) -> pa.Schema:
    return pa.schema(reader._files.full_schema())


def _shards(reader: Reader) -> list[tuple[str, int, int | None]]:
    paths = reader.files
    parts = -(-SHARDS // max(len(paths), 1))
    shards: list[tuple[str, int, int | None]] = []
    for path in paths:
        spec = reader._spec._replace(files=reader._spec.files._replace(paths=[path]))
        rows = Reader(spec).num_rows if parts > 1 else None
        if rows is None or rows <= reader._spec.batch_size:
            shards.append((path, 0, None))
            continue
        size = max(-(-rows // parts), reader._spec.batch_size)
        shards.extend((path, start, min(start + size, rows)) for start in range(0, rows, size))
    return shards
