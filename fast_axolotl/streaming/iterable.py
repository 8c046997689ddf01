"""Readers as `datasets.IterableDataset`."""

import copy
import os
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, TypeAlias

import datasets
import numpy as np
import pyarrow as pa
from datasets.iterable_dataset import _BaseExamplesIterable

from .features import features_of
from .reader import Reader, Spec

if TYPE_CHECKING:
    from datasets import IterableDataset

#: A path, the first row, the row after the last.
Shard: TypeAlias = tuple[str, int, int | None]

#: Shards that a dataset of fewer files is cut into, where that takes no reading.
SHARDS = 16
#: Rows of a shard, at least. The size of batches plays no part: a state may be loaded with another.
LEAST_ROWS = 16


class Rows:
    """Reads the rows of shards: a path, the first row, and the row after the last (None: all).

    An object rather than a function, so that it goes to the workers of a DataLoader.
    """

    def __init__(self, spec: Spec) -> None:
        self.spec = spec

    def __call__(self, shard: Shard, skip: int) -> Iterator[dict[str, list[Any]]]:
        """Return the rows of a shard without the first `skip`, as dicts of lists."""
        path, start, stop = shard
        left = None if stop is None else stop - start - skip
        if left is not None and left <= 0:
            return
        spec = self.spec._replace(files=self.spec.files._replace(paths=[path]))
        with Reader(spec) as reader:
            for columns in reader.dicts(start + skip, strictly=True):
                rows = len(next(iter(columns.values()), ()))
                if left is not None and rows >= left:
                    yield {name: values[:left] for name, values in columns.items()}
                    return
                yield columns
                if left is not None:
                    left -= rows

    def tables(self, shard: Shard, skip: int) -> Iterator[pa.Table]:
        """Return the rows of a shard without the first `skip`, as tables."""
        path, start, stop = shard
        left = None if stop is None else stop - start - skip
        spec = self.spec._replace(files=self.spec.files._replace(paths=[path]))
        with Reader(spec) as reader:
            for batch in reader.batches(start + skip, strictly=True):
                if left is not None and left <= 0:
                    return
                kept = batch if left is None else batch.slice(0, left)
                yield pa.Table.from_batches([kept])
                if left is not None:
                    left -= kept.num_rows


class FileExamples(_BaseExamplesIterable):  # type: ignore[misc]
    """Examples of files; resumes at a row by going there, not by reading what is before it.

    It gives rows, and no tables: what `datasets` does with tables (skip, map) loses or repeats rows
    when it is resumed, or when tables are small.
    """

    def __init__(
        self,
        rows: Rows,
        shards: list[Shard],
        features: datasets.Features,
        as_tables: bool = False,
    ) -> None:
        super().__init__()
        self.as_tables = as_tables
        self.rows = rows
        self.shards = shards
        self._features = features

    def _init_state_dict(self) -> dict[str, Any]:
        self._state_dict = {**self._start_of(0), "type": type(self).__name__}
        return self._state_dict

    def _start_of(self, index: int) -> dict[str, Any]:
        """Return the state before the first row of a shard."""
        return {"shard_idx": index, "shard_example_idx": 0, "shard": self._told(index)}

    def _told(self, index: int) -> list[Any] | None:
        """Return what a state tells its shard by: not the folder, which may be moved."""
        if index >= len(self.shards):
            return None
        path, start, stop = self.shards[index]
        return [os.path.basename(path), start, stop]

    def _state(self) -> dict[str, Any]:
        """Return where to go on, to be kept up to date."""
        state: dict[str, Any] = self._state_dict or self._start_of(0)
        index, row = state["shard_idx"], state["shard_example_idx"]
        told = self._told(index)
        is_there = index <= len(self.shards) and state["shard"] in (None, told)
        if is_there and index < len(self.shards):
            size = self._size(index)
            is_there = size is None or row <= size
        if not is_there:
            raise ValueError(
                f"the state is of other shards: shard {index}, row {row} of {state['shard']} is "
                f"{told} here; were the files changed, or the number of workers or nodes?"
            )
        return state

    def __iter__(self) -> Iterator[tuple[tuple[int, int], dict[str, Any]]]:
        state = self._state()
        while state["shard_idx"] < len(self.shards):
            (path, start, stop), end = self._joined(state["shard_idx"])
            size = self._size(state["shard_idx"])
            for columns in self.rows((path, start, stop), state["shard_example_idx"]):
                names = list(columns)
                for values in zip(*columns.values(), strict=True):
                    if state["shard_example_idx"] == size:
                        state.update(self._start_of(state["shard_idx"] + 1))
                        size = self._size(state["shard_idx"])
                    key = (state["shard_idx"], state["shard_example_idx"])
                    state["shard_example_idx"] += 1
                    yield key, dict(zip(names, values, strict=True))
            state.update(self._start_of(end))

    def _size(self, index: int) -> int | None:
        _, start, stop = self.shards[index]
        return None if stop is None else stop - start

    def _joined(self, index: int) -> tuple[Shard, int]:
        """Return a shard with those that go on where it ends, and the index of the one after them.

        So a file is opened once where its shards come one after the other.
        """
        path, start, stop = self.shards[index]
        end = index + 1
        while stop is not None and self.shards[end : end + 1]:
            if self.shards[end][:2] != (path, stop):
                break
            stop = self.shards[end][2]
            end += 1
        return (path, start, stop), end

    @property
    def iter_arrow(self) -> Any:
        """What gives tables, where a format of tables was asked for."""
        return self._iter_arrow if self.as_tables else None

    def _iter_arrow(self) -> Iterator[tuple[tuple[int, int], pa.Table]]:
        state = self._state()
        for index in range(state["shard_idx"], len(self.shards)):
            for table in self.rows.tables(self.shards[index], state["shard_example_idx"]):
                key = (index, state["shard_example_idx"])
                state["shard_example_idx"] += len(table)
                yield key, table
            state.update(self._start_of(index + 1))

    @property
    def num_shards(self) -> int:
        """The number of shards."""
        return len(self.shards)

    @property
    def features(self) -> "datasets.Features | None":
        """The features, where rows have the values that these have; else they are applied later."""
        return self._features if self.is_typed else None

    @property
    def is_typed(self) -> bool:
        """Whether rows are as the features decode them."""
        return all(_is_plain(feature) for feature in self._features.values())

    def shuffle_data_sources(self, generator: np.random.Generator) -> "FileExamples":
        """Return the same shards in another order."""
        # A copy, as in `datasets`: the generator of the caller stays where it is.
        order = copy.deepcopy(generator).permutation(len(self.shards))
        return self._with([self.shards[index] for index in order])

    def shard_data_sources(
        self, num_shards: int, index: int, contiguous: bool = True
    ) -> "FileExamples":
        """Return one of `num_shards` parts of the shards."""
        chosen = self.split_shard_indices_by_worker(num_shards, index, contiguous=contiguous)
        return self._with([self.shards[number] for number in chosen])

    def reshard_data_sources(self) -> "FileExamples":
        """Return the same: it is cut as finely as can be done without reading."""
        return self._with(self.shards)

    def _with(self, shards: list[Shard]) -> "FileExamples":
        return FileExamples(self.rows, shards, self._features, self.as_tables)

    def with_tables(self, as_tables: bool) -> "FileExamples":
        """Return the same examples, given as tables or as rows."""
        return FileExamples(self.rows, self.shards, self._features, as_tables)

    def with_columns(self, features: datasets.Features) -> "FileExamples":
        """Return examples of fewer columns: the others are not decoded."""
        rows = Rows(self.rows.spec._replace(columns=list(features)))
        return FileExamples(rows, self.shards, features, self.as_tables)


def _is_plain(feature: Any) -> bool:
    if isinstance(feature, dict):
        return all(_is_plain(inner) for inner in feature.values())
    if isinstance(feature, (datasets.List, datasets.LargeList)):
        return _is_plain(feature.feature)
    return isinstance(feature, (datasets.Value, datasets.ClassLabel, datasets.Json))


class FileDataset(datasets.IterableDataset):  # type: ignore[misc]
    """An iterable dataset of files, which gives tables where a format of tables is asked for."""

    def with_format(self, type: str | None = None) -> "IterableDataset":  # noqa: A002
        """Return the dataset in a format; see `datasets.IterableDataset.with_format`."""
        formatted = super().with_format(type)
        as_tables = formatted._formatting is not None and formatted._formatting.is_table
        formatted._ex_iterable = self._ex_iterable.with_tables(as_tables)
        return formatted

    def select_columns(self, column_names: str | list[str]) -> "IterableDataset":
        """Return the dataset of these columns; see `datasets.IterableDataset.select_columns`."""
        selected = super().select_columns(column_names)
        if not selected.features:  # rows without columns, which only a reader of all can count
            return selected
        return FileDataset(
            self._ex_iterable.with_columns(selected.features),
            info=selected._info,
            split=selected._split,
            formatting=selected._formatting,
            distributed=selected._distributed,
        )


def to_iterable_dataset(reader: Reader) -> "IterableDataset":
    """Return the dataset of a reader's rows."""
    features = features_of(reader)
    # Known from here on: no shard looks for a schema of its own.
    spec = reader._spec._replace(schema=reader._full_schema, infer="first")
    examples = FileExamples(Rows(spec), _shards(reader), features)
    info = datasets.DatasetInfo(features=features)
    return FileDataset(examples, info=info, split=datasets.Split.TRAIN)


def _shards(reader: Reader) -> list[Shard]:
    paths = reader.files
    parts = -(-SHARDS // max(len(paths), 1))
    if reader._spec.on_bad_files != "error":
        parts = 1  # What comes behind a damage is left out, which no other shard knows.
    shards: list[Shard] = []
    for path in paths:
        spec = reader._spec._replace(files=reader._spec.files._replace(paths=[path]))
        rows = Reader(spec).num_rows if parts > 1 else None
        if rows is None or rows <= LEAST_ROWS:
            shards.append((path, 0, None))
            continue
        size = max(-(-rows // parts), LEAST_ROWS)
        shards.extend((path, start, min(start + size, rows)) for start in range(0, rows, size))
    return shards
