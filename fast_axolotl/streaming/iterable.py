"""Readers as `datasets.IterableDataset`."""

import copy
import itertools
import os
import sys
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, TypeAlias

import datasets
import numpy as np
import pyarrow as pa
from datasets.iterable_dataset import (
    BufferShuffledExamplesIterable,
    RebatchedArrowExamplesIterable,
    _BaseExamplesIterable,
)
from datasets.table import cast_table_to_features

from .features import features_of
from .reader import TYPED_BY_ROWS, Reader, Spec
from .values import dicts

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

    def __init__(self, spec: Spec, cast: datasets.Features | None = None) -> None:
        self.spec = spec
        #: What the columns are to be cast to.
        self.cast = cast

    def __call__(self, shard: Shard, skip: int) -> Iterator[dict[str, list[Any]]]:
        """Return the rows of a shard without the first `skip`, as dicts of lists."""
        if self.cast is not None:
            tables = self.tables(shard, skip, self.spec.batch_size)
            yield from dicts(tables, shard[0], shard[1] + skip)
            return
        path, start, stop = shard
        left = sys.maxsize if stop is None else stop - start - skip
        if left <= 0:
            return
        with self._reader(path, self.spec.batch_size, left) as reader:
            for columns in reader.dicts(start + skip, strictly=True):
                rows = len(next(iter(columns.values()), ()))
                if rows >= left:
                    yield {name: values[:left] for name, values in columns.items()}
                    return
                yield columns
                left -= rows

    def tables(self, shard: Shard, skip: int, rows: int) -> Iterator[pa.Table]:
        """Return the rows of a shard without the first `skip`, as tables of `rows`."""
        path, start, stop = shard
        left = sys.maxsize if stop is None else stop - start - skip
        if left <= 0:
            return
        with self._reader(path, rows, left) as reader:
            for batch in reader.batches(start + skip, strictly=True):
                table = pa.Table.from_batches([batch.slice(0, left)])
                if self.cast is not None:
                    table = cast_table_to_features(table, self.cast)
                yield table
                left -= len(table)
                if left <= 0:
                    return

    def _reader(self, path: str, rows: int, left: int) -> Reader:
        """Return a reader of a file in batches of `rows`, or in one of those that are `left`."""
        spec = self.spec._replace(
            files=self.spec.files._replace(paths=[path]),
            batch_size=min(rows, left),
        )
        if left <= rows:
            spec = spec._replace(num_threads=1)  # others would read what is behind it
        return Reader(spec)


class FileExamples(_BaseExamplesIterable):  # type: ignore[misc]
    """Examples of files; resumes at a row by going there, not by reading what is before it.

    It gives rows, and tables where a format is made of them, but not to what chooses rows: of
    tables, `datasets` loses or repeats some, when it skips or is resumed.
    """

    def __init__(self, rows: Rows, shards: list[Shard], features: datasets.Features) -> None:
        super().__init__()
        self.rows = rows
        self.shards = shards
        self._features = features
        #: Whether to give tables.
        self.as_tables = False
        #: Whether a row is a table of one row, for `Tables`.
        self.in_tables = False
        #: Whether `datasets` is told the features.
        self.is_told = True
        self._is_typed = False
        # `datasets` 5 asks every source: no library reads these in threads that outlive a pass.
        self._sleep_on_threads_shutdown = False

    def _init_state_dict(self) -> dict[str, Any]:
        # What counts rows of tables goes on with tables of the same size.
        self._state_dict = {
            **self._start_of(0),
            "table_rows": self.rows.spec.batch_size,
            "type": type(self).__name__,
        }
        return self._state_dict

    @property
    def table_rows(self) -> int:
        """The rows of a table."""
        rows: int = (self._state_dict or {}).get("table_rows", self.rows.spec.batch_size)
        return rows

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

    def __iter__(self) -> Iterator[tuple[tuple[int, int], Any]]:
        state = self._state()
        while state["shard_idx"] < len(self.shards):
            shard, end = self._joined(state["shard_idx"])
            size = self._size(state["shard_idx"])
            for row in self._rows(shard, state["shard_example_idx"]):
                if state["shard_example_idx"] == size:
                    state.update(self._start_of(state["shard_idx"] + 1))
                    size = self._size(state["shard_idx"])
                key = (state["shard_idx"], state["shard_example_idx"])
                state["shard_example_idx"] += 1
                yield key, row
            state.update(self._start_of(end))

    def _rows(self, shard: Shard, skip: int) -> Iterator[Any]:
        """Return the rows of a shard without the first `skip`: dicts, or tables of one row."""
        if self.in_tables:
            for table in self.rows.tables(shard, skip, self.table_rows):
                for row in range(len(table)):
                    yield table.slice(row, 1)
            return
        for columns in self.rows(shard, skip):
            names = list(columns)
            for values in zip(*columns.values(), strict=True):
                yield dict(zip(names, values, strict=True))

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
        while state["shard_idx"] < len(self.shards):
            index, skip = state["shard_idx"], state["shard_example_idx"]
            shard, end = self._joined(index)
            tables = self.rows.tables(shard, skip, self.table_rows)
            for table in _of_lengths(tables, self._lengths(index, end, skip)):
                key = (state["shard_idx"], state["shard_example_idx"])
                state["shard_example_idx"] += len(table)
                yield key, table
                if state["shard_example_idx"] == self._size(state["shard_idx"]):
                    state.update(self._start_of(state["shard_idx"] + 1))
            state.update(self._start_of(end))

    def _lengths(self, start: int, end: int, skip: int) -> Iterator[int]:
        """Return the rows of each table of shards, without the first `skip` rows of the first.

        No table is of two shards: they are the same wherever a pass begins.
        """
        for index in range(start, end):
            size = self._size(index)
            if size is None:
                yield from itertools.repeat(self.table_rows)
                return
            for row in range(skip, size, self.table_rows):
                yield min(self.table_rows, size - row)
            skip = 0

    @property
    def is_typed(self) -> bool:
        """Whether `datasets` may take rows for what the features say: whichever features it has.

        They may be others, after a cast or a concatenation.
        """
        return self._is_typed

    @property
    def num_shards(self) -> int:
        """The number of shards."""
        return len(self.shards)

    @property
    def features(self) -> "datasets.Features | None":
        """The features, where rows have the values that these have; else they are applied later."""
        return self._features if self.is_told and _are_plain(self._features) else None

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
        return self.having(shards=shards)

    def having(self, **changes: Any) -> "FileExamples":
        """Return the same examples with other attributes."""
        other = copy.copy(self)
        other.__dict__.update(changes)
        return other

    def with_columns(self, names: list[str]) -> "FileExamples":
        """Return examples of fewer columns: the others are not decoded."""
        features = datasets.Features({name: self._features[name] for name in names})
        rows = Rows(self.rows.spec._replace(columns=names), self.rows.cast and features)
        return self.having(rows=rows, _features=features)

    def with_types(self, features: datasets.Features) -> "FileExamples":
        """Return examples of other types."""
        return self.having(rows=Rows(self.rows.spec, features), _features=features)


def _of_lengths(tables: Iterator[pa.Table], lengths: Iterator[int]) -> Iterator[pa.Table]:
    """Return the rows of tables as tables of these lengths; one before the end may have fewer."""
    rest: pa.Table | None = None
    for length in lengths:
        while not rest or len(rest) < length:
            try:
                table = next(tables, None)
            except Exception:  # rows before a damage come first
                if rest:
                    yield rest
                raise
            if table is None:
                if rest:
                    yield rest
                return
            # In one piece: `datasets` counts pieces.
            rest = pa.concat_tables([rest, table]).combine_chunks() if rest else table
        yield rest.slice(0, length)
        rest = rest.slice(length)


def _are_plain(features: datasets.Features) -> bool:
    """Return whether rows are as these features decode them."""
    return all(map(_is_plain, features.values()))


def _is_plain(feature: Any) -> bool:
    if isinstance(feature, dict):
        return all(_is_plain(inner) for inner in feature.values())
    if isinstance(feature, (datasets.List, datasets.LargeList)):
        return _is_plain(feature.feature)
    return isinstance(feature, _PLAIN)


#: `Json` is there since `datasets` 4.7.
_PLAIN = (datasets.Value, datasets.ClassLabel, getattr(datasets, "Json", datasets.Value))


class Tables(_BaseExamplesIterable):  # type: ignore[misc]
    """The rows of a `FileDataset` that are tables of one row, as tables."""

    def __init__(self, ex_iterable: Any) -> None:
        super().__init__()
        self.ex_iterable = ex_iterable

    def _init_state_dict(self) -> dict[str, Any]:
        state: dict[str, Any] = self.ex_iterable._init_state_dict()
        self._state_dict = state
        return state

    def __iter__(self) -> Iterator[tuple[Any, dict[str, Any]]]:
        for key, table in self.ex_iterable:
            for columns in dicts([table]):
                yield key, {name: value for name, (value,) in columns.items()}

    @property
    def iter_arrow(self) -> Any:
        """What gives tables."""
        return self._iter_arrow

    def _iter_arrow(self) -> Iterator[tuple[Any, pa.Table]]:
        if _is_shuffled(self.ex_iterable):
            # They stay of one row, as in `datasets`: a state is that of a row.
            yield from self.ex_iterable
            return
        size = _files(self.ex_iterable).table_rows
        rows: list[pa.Table] = []
        key = None
        try:
            for key, row in self.ex_iterable:
                rows.append(row)
                if len(rows) == size:
                    found, rows = rows, []
                    yield key, pa.concat_tables(found).combine_chunks()
        except Exception:  # rows before a damage come first
            if rows:
                yield key, pa.concat_tables(rows).combine_chunks()
            raise
        if rows:
            yield key, pa.concat_tables(rows).combine_chunks()

    @property
    def is_typed(self) -> bool:
        """Whether `datasets` may take rows for what the features say."""
        return bool(self.ex_iterable.is_typed)

    @property
    def features(self) -> "datasets.Features | None":
        """The features of the rows."""
        found: datasets.Features | None = self.ex_iterable.features
        return found

    @property
    def num_shards(self) -> int:
        """The number of shards."""
        count: int = self.ex_iterable.num_shards
        return count

    def shuffle_data_sources(self, generator: np.random.Generator) -> "Tables":
        """Return the same shards in another order."""
        return Tables(self.ex_iterable.shuffle_data_sources(generator))

    def shard_data_sources(self, num_shards: int, index: int, contiguous: bool = True) -> "Tables":
        """Return one of `num_shards` parts of the shards."""
        return Tables(self.ex_iterable.shard_data_sources(num_shards, index, contiguous=contiguous))

    def reshard_data_sources(self) -> "Tables":
        """Return the same, cut as finely as can be done without reading."""
        return Tables(self.ex_iterable.reshard_data_sources())


class FileDataset(datasets.IterableDataset):  # type: ignore[misc]
    """An iterable dataset of files, which gives tables where a format that needs them is asked for.

    It stays one where rows are only chosen or shuffled. So a choice of columns and a cast are
    always done where the files are read.
    """

    def with_format(self, type: str | None = None) -> "IterableDataset":  # noqa: A002
        """Return the dataset in a format; see `datasets.IterableDataset.with_format`."""
        formatted = super().with_format(type)
        is_table, is_tensor = formatted._formatting.is_table, formatted._formatting.is_tensor
        rows = self._ex_iterable
        if isinstance(rows, Tables):
            rows = rows.ex_iterable
        # `datasets` makes tensors of tables: of the values of rows, it makes others, and slowly.
        of_tables, is_whole = is_table or is_tensor, isinstance(rows, FileExamples)
        changes = {
            "as_tables": of_tables and is_whole,
            "in_tables": of_tables and not is_whole,
            "_is_typed": self._is_as_told() and not of_tables,
        }
        examples = _changed(rows, lambda files: files.having(**changes))
        return _again(formatted, Tables(examples) if changes["in_tables"] else examples)

    def select_columns(self, column_names: str | list[str]) -> "IterableDataset":
        """Return the dataset of these columns; see `datasets.IterableDataset.select_columns`."""
        selected = super().select_columns(column_names)
        names = list(selected.features)
        # Rows without columns can be counted only by a reader of all; a cast may have added some.
        if not names or not {*names} <= {*_files(self._ex_iterable)._features}:
            return selected
        return self._like(selected, lambda files: files.with_columns(names))

    def cast(self, features: datasets.Features) -> "IterableDataset":
        """Return the dataset with other types; see `datasets.IterableDataset.cast`."""
        return self._cast(super().cast(features))

    def cast_column(self, column: str, feature: Any) -> "IterableDataset":
        """Return the dataset with another type; see `datasets.IterableDataset.cast_column`."""
        return self._cast(super().cast_column(column, feature))

    def _cast(self, cast: "IterableDataset") -> "IterableDataset":
        features = cast.features
        if self._is_as_told() and _are_plain(features) and {*features} == {*self.features}:
            return self._like(cast, lambda files: files.with_types(features))
        return self._like(cast, _is_typed=False)  # done by `datasets`, row by row

    def map(self, *args: Any, **options: Any) -> "IterableDataset":
        """Return what a function makes of the rows; see `datasets.IterableDataset.map`."""
        return datasets.IterableDataset.map(self._typed(), *args, **options)

    def filter(self, *args: Any, **options: Any) -> "IterableDataset":
        """Return the rows that a function keeps; see `datasets.IterableDataset.filter`."""
        chosen = self._typed()
        if self._ex_iterable.iter_arrow:  # of larger tables, a state is not that of a row
            chosen = _again(self, RebatchedArrowExamplesIterable(self._ex_iterable, 1))
        return datasets.IterableDataset.filter(chosen, *args, **options)

    def shuffle(self, *args: Any, **options: Any) -> "IterableDataset":
        """Return the rows in another order; see `datasets.IterableDataset.shuffle`."""
        return self._of_rows(datasets.IterableDataset.shuffle, *args, **options)

    def skip(self, n: int) -> "IterableDataset":
        """Return the dataset without its first rows; see `datasets.IterableDataset.skip`."""
        return self._of_rows(datasets.IterableDataset.skip, n)

    def take(self, n: int) -> "IterableDataset":
        """Return the first rows of the dataset; see `datasets.IterableDataset.take`."""
        return self._of_rows(datasets.IterableDataset.take, n)

    def repeat(self, num_times: int | None) -> "IterableDataset":
        """Return the dataset several times; see `datasets.IterableDataset.repeat`."""
        return self._of_rows(datasets.IterableDataset.repeat, num_times)

    def _of_rows(self, choose: Any, *args: Any, **options: Any) -> "IterableDataset":
        """Return what a method makes of the rows: of tables, some lose or repeat rows."""
        if not self._ex_iterable.iter_arrow:
            return _again(choose(self, *args, **options))
        rows = choose(self.with_format(None), *args, **options)
        return _again(rows).with_format(self._formatting.format_type)

    def shard(self, *args: Any, **options: Any) -> "IterableDataset":
        """Return a part of the dataset; see `datasets.IterableDataset.shard`."""
        return _again(super().shard(*args, **options))

    def _resolve_features(self) -> "IterableDataset":
        # Asked for by what puts datasets together, and then takes what it is told by the first of
        # them for what is true of the rows of all.
        return self._like(super()._resolve_features(), _is_typed=False, is_told=False)

    def _typed(self) -> "IterableDataset":
        is_typed = self._is_as_told() and not self._ex_iterable.iter_arrow
        return self._like(self, _is_typed=True) if is_typed else self

    def _is_as_told(self) -> bool:
        """Return whether the rows that are read are as the features of the dataset have them."""
        return bool(self._ex_iterable.features == self.features)

    def _like(
        self,
        dataset: "IterableDataset",
        change: Callable[[FileExamples], FileExamples] | None = None,
        **changes: Any,
    ) -> "IterableDataset":
        """Return a dataset of other examples of the files of this one."""
        change = change or (lambda files: files.having(**changes))
        return _again(dataset, _changed(self._ex_iterable, change))


def _files(examples: Any) -> FileExamples:
    """Return the examples that those of a `FileDataset` are made of."""
    while not isinstance(examples, FileExamples):
        examples = examples.ex_iterable
    return examples


def _is_shuffled(examples: Any) -> bool:
    """Return whether rows of a `FileDataset` come from a shuffle buffer."""
    while not isinstance(examples, (FileExamples, BufferShuffledExamplesIterable)):
        examples = examples.ex_iterable
    return isinstance(examples, BufferShuffledExamplesIterable)


def _changed(examples: Any, change: Callable[[FileExamples], FileExamples]) -> Any:
    if isinstance(examples, FileExamples):
        return change(examples)
    other = copy.copy(examples)
    other.ex_iterable = _changed(examples.ex_iterable, change)
    return other


def _again(dataset: "IterableDataset", examples: Any = None) -> "IterableDataset":
    """Return a dataset that `datasets` made of a `FileDataset` as one."""
    return FileDataset(
        dataset._ex_iterable if examples is None else examples,
        info=dataset._info,
        split=dataset._split,
        formatting=dataset._formatting,
        distributed=dataset._distributed,
    )


def to_iterable_dataset(reader: Reader) -> "IterableDataset":
    """Return the dataset of a reader's rows."""
    features = features_of(reader)
    spec = reader._known()
    examples = FileExamples(Rows(spec), _shards(reader), features)
    info = datasets.DatasetInfo(features=features)
    return FileDataset(examples, info=info, split=datasets.Split.TRAIN)


def _shards(reader: Reader) -> list[Shard]:
    paths = reader.files
    parts = -(-SHARDS // max(len(paths), 1))
    if reader.format in TYPED_BY_ROWS:
        parts = 1  # To count rows, all would be read.
    elif reader._spec.on_bad_files != "error":
        parts = 1  # What comes behind a damage is left out, which no other shard knows.
    shards: list[Shard] = []
    for path in paths:
        spec = reader._spec._replace(files=reader._spec.files._replace(paths=[path]))
        rows = Reader(spec).num_rows if parts > 1 else None
        if rows is None or rows < 2 * LEAST_ROWS:
            shards.append((path, 0, None))
            continue
        # Of one size, or one more: ranks that have as many shards have as many rows, almost.
        count = min(parts, rows // LEAST_ROWS)
        ends = [rows * part // count for part in range(count + 1)]
        shards.extend((path, start, stop) for start, stop in itertools.pairwise(ends))
    return shards
