"""Lengths of rows, from the offsets of Arrow columns: no token is read.

Axolotl makes Python lists of all tokens to count them.
"""

from collections.abc import Sequence
from typing import Any

from fast_axolotl.axolotl.patch_map import Implementation, Seam
from fast_axolotl.dispatch.policy import Sizes
from fast_axolotl.dispatch.registry import Arguments, Call, Condition, Keywords

from .conditions import is_dataset

MODULE = "axolotl.utils.samplers.utils"


def is_plain_dataset(dataset: Any) -> bool:
    """Return whether this is a dataset of `datasets`, with rows as Python objects.

    `concatenate_datasets`, by which Axolotl merges several, names all columns as those to format.
    """
    if not is_dataset(dataset) or dataset._format_type is not None:
        return False
    formatted = dataset._format_columns
    return formatted is None or set(formatted) >= set(dataset._data.column_names)


def list_column(table: Any, name: str) -> Any:
    """Return a column of lists of integers, none of them null; None if it is none."""
    from pyarrow import types

    if name not in table.column_names:
        return None
    column = table.column(name)
    kind = column.type
    if not (types.is_list(kind) or types.is_large_list(kind)):
        return None
    if not types.is_integer(kind.value_type) or column.null_count:
        return None
    return column


def chunks_of(column: Any) -> Sequence[Any]:
    """Return the arrays of a column of a batch, one if they fit in one.

    A batch of a dataset with an indices mapping has as many as rows.
    """
    if column.num_chunks > 1:
        column = column.combine_chunks()
    return column.chunks if hasattr(column, "chunks") else [column]


def row_lengths(column: Any) -> Any:
    """Return the length of each list of a column, as int64."""
    import numpy as np
    import pyarrow.compute as pc

    lengths = pc.list_value_length(column)
    return lengths.to_numpy().astype(np.int64, copy=False)


def _last_values(column: Any) -> Any:
    """Return the last integer of each list; None where a list has none, or a null."""
    import numpy as np

    found = np.empty(len(column), np.int64)
    first = 0
    for chunk in column.chunks:
        offsets = chunk.offsets.to_numpy(zero_copy_only=False)
        values = chunk.values
        if values.null_count or (np.diff(offsets) == 0).any():
            return None
        found[first : first + len(chunk)] = values.to_numpy()[offsets[1:] - 1]
        first += len(chunk)
    return found


def _integers(column: Any) -> Any:
    from pyarrow import types

    kind = column.type
    if not types.is_integer(kind) or types.is_uint64(kind) or column.null_count:
        return None
    return column.to_numpy().astype("int64", copy=False)


def in_order(dataset: Any, values: Any) -> Any:
    """Return values of the table's rows in the order of the dataset's."""
    if dataset._indices is None:
        return values
    return values[dataset._indices.column(0).to_numpy()]


def _lengths(dataset: Any, from_arrow: bool) -> Any:
    names, table = dataset.column_names, dataset._data
    if "length" in names:
        values = _integers(table.column("length"))
        return None if values is None else in_order(dataset, values)
    if "position_ids" in names:
        column = list_column(table, "position_ids")
        values = None if column is None else _last_values(column)
        if values is None or (len(values) and values.max() > (1 << 62)):
            return None
        return in_order(dataset, values + 1)
    column = list_column(table, "input_ids")
    if column is None:
        return None
    lengths = row_lengths(column)
    return lengths if from_arrow else in_order(dataset, lengths)


def _build(original: Implementation) -> Implementation:
    def get_dataset_lengths(dataset: Any, from_arrow: Any = False) -> Any:
        lengths = _lengths(dataset, bool(from_arrow)) if dataset._data.num_rows else None
        if lengths is None or not len(lengths):
            return original(dataset, from_arrow)
        # Not what lies in the file of the dataset, which nobody may write to.
        return lengths if lengths.flags.writeable else lengths.copy()

    return get_dataset_lengths


def _dataset(args: Arguments, kwargs: Keywords) -> Any:
    return args[0] if args else kwargs.get("dataset")


def describe(args: Arguments, kwargs: Keywords) -> Call:
    """Read the number of rows off a call whose first argument is a dataset."""
    rows = len(_dataset(args, kwargs))
    return Call("axolotl", "axolotl", Sizes(rows, rows, rows))


PLAIN = Condition(
    lambda args, kwargs: is_plain_dataset(_dataset(args, kwargs)),
    "the dataset overrides something of datasets.Dataset, or has a format",
)

SEAMS: tuple[Seam, ...] = (
    Seam(
        name="get_dataset_lengths",
        module=MODULE,
        attribute="get_dataset_lengths",
        build=_build,
        digests={"0.19.0": "37051fdade7e945ebcae556970131402868d725f6af49fcccd52d873235b903c"},
        operation="filter",
        describe=describe,
        conditions=(PLAIN,),
    ),
)
