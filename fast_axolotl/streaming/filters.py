"""Rows that match a filter, in batches of exact size."""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pyarrow as pa

    from .reader import Reader, Spec


def filtered(reader: "Reader", spec: "Spec", skip: int = 0) -> "Iterator[pa.RecordBatch]":
    """Return the batches of the rows that `spec.filters` keeps, from the `skip`-th of them on."""
    import pyarrow as pa

    expression = to_expression(spec.filters)
    kept: list[pa.RecordBatch] = []
    rows = 0
    for batch in reader._unfiltered(0):
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
