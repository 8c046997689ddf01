"""Rows that match a filter, in batches of exact size."""

import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from .reader import _each

if TYPE_CHECKING:
    import pyarrow as pa

    from .reader import Reader, Spec


def filtered(reader: "Reader", spec: "Spec", skip: int = 0) -> "Iterator[pa.RecordBatch]":
    """Return the batches of the rows that `spec.filters` keeps, from the `skip`-th of them on."""
    import pyarrow as pa

    expression = to_expression(spec.filters)
    kept: list[pa.RecordBatch] = []
    rows = 0
    for batch in _candidates(reader, spec, expression):
        found = batch.filter(expression)
        if spec.columns is not None:
            found = found.select(spec.columns)
        left_out = min(skip, found.num_rows)
        skip -= left_out
        found = found.slice(left_out)
        kept.append(found)
        rows += found.num_rows
        while rows >= spec.batch_size:
            table = pa.Table.from_batches(kept)
            yield _one_batch(table.slice(0, spec.batch_size))
            kept = table.slice(spec.batch_size).to_batches()
            rows -= spec.batch_size
    if rows:
        yield _one_batch(pa.Table.from_batches(kept))


def _one_batch(table: "pa.Table") -> "pa.RecordBatch":
    return table.combine_chunks().to_batches()[0]


def _candidates(reader: "Reader", spec: "Spec", expression: Any) -> "Iterator[pa.RecordBatch]":
    """Return the batches without row groups of Parquet whose statistics rule them out."""
    if spec.files.format != "parquet":
        yield from reader._unfiltered(0)
        return
    batches = reader._start()
    try:
        found = _each(batches)
        at = end = 0
        for path in spec.files.paths:
            for rows, is_wanted in _row_groups(path, expression):
                end = sys.maxsize if rows is None else end + rows
                if not is_wanted and at < end:
                    at += batches.skip(end - at)
                # The last batch may reach into groups that are not wanted.
                while at < end and (batch := next(found, None)) is not None:
                    at += batch.num_rows
                    yield batch
        yield from found
    finally:
        batches.close()


def _row_groups(path: str, expression: Any) -> "list[tuple[int | None, bool]]":
    """Return the row groups of a Parquet file: their rows, and whether any of them may be kept.

    Of a file that can't be looked at, all rows (None) may be.
    """
    import pyarrow as pa
    import pyarrow.dataset as ds
    from pyarrow.fs import LocalFileSystem

    try:
        fragment = ds.ParquetFileFormat().make_fragment(path, LocalFileSystem())
        found = fragment.split_by_row_group(expression, schema=fragment.physical_schema)
        wanted = {group.id for part in found for group in part.row_groups}
        return [(group.num_rows, group.id in wanted) for group in fragment.row_groups]
    except (pa.ArrowException, OSError, ValueError, TypeError):
        # Damaged, compressed as a whole, or without the column: whoever reads it says so.
        return [(None, True)]


def to_expression(filters: Any) -> Any:
    """Return the pyarrow expression for filters, which may be one already."""
    if not isinstance(filters, (list, tuple)):
        return filters
    import pyarrow.parquet as pq

    groups = [
        [tuple(term) for term in group] if isinstance(group, (list, tuple)) else group
        for group in (filters if _is_nested(filters) else [filters])
    ]
    return pq.filters_to_expression(groups)


def _is_nested(filters: Any) -> bool:
    first = filters[0] if filters else None
    return isinstance(first, (list, tuple)) and bool(first) and isinstance(first[0], (list, tuple))
