"""Rows that match a filter, in batches of exact size."""

import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, NamedTuple

from .reader import _each

if TYPE_CHECKING:
    import pyarrow as pa

    from .reader import Reader, Spec

#: Comparisons that hold for no NaN, which the statistics of a row group leave out.
_FALSE_FOR_NAN = ("=", "==", "<", "<=", ">", ">=")
#: Formats whose schema is found without a look at rows.
_TYPED = ("parquet", "arrow", "feather", "hf_dataset")


class Filter(NamedTuple):
    """Which rows to keep."""

    #: A `pyarrow.compute.Expression`.
    expression: Any
    #: The columns it looks at; None where they aren't known.
    columns: list[str] | None
    #: Columns of which it asks nothing that a NaN fulfils.
    compared: frozenset[str] = frozenset()


def to_filter(filters: Any) -> Filter:
    """Return the filter for what `pyarrow.parquet` takes: tuples, lists of these, an expression."""
    import pyarrow.compute as pc
    import pyarrow.parquet as pq

    if isinstance(filters, pc.Expression):
        return Filter(filters, None)
    if not isinstance(filters, (list, tuple)):
        kind = type(filters).__name__
        raise TypeError(f"filters must be a list of tuples or a pyarrow expression, not {kind}")
    groups = [
        [_term(term) for term in group] for group in (filters if _is_nested(filters) else [filters])
    ]
    if not all(groups):
        raise ValueError("filters are empty: give None to keep all rows")
    terms = [term for group in groups for term in group]
    columns = list(dict.fromkeys(name for name, _, _ in terms))
    others = {name for name, sign, _ in terms if sign not in _FALSE_FOR_NAN}
    return Filter(pq.filters_to_expression(groups), columns, frozenset(columns) - others)


def _is_nested(filters: Any) -> bool:
    first = filters[0] if filters else None
    return isinstance(first, (list, tuple)) and bool(first) and isinstance(first[0], (list, tuple))


def _term(term: Any) -> tuple[str, str, Any]:
    if not isinstance(term, (list, tuple)) or len(term) != 3:
        raise ValueError(f"a filter is a tuple (column, comparison, value), not {term!r}")
    name, sign, value = term
    if isinstance(value, (set, frozenset)):
        # In an order that no process has of its own: the fingerprint depends on it.
        value = sorted(value, key=repr)
    return name, sign, value


def fitted(spec: "Spec", schema: "pa.Schema") -> "Spec":
    """Return how to read files of this schema: with the columns that are needed, if they're known.

    Raises:
        ValueError: There is no such column, or the filters don't fit the types.
    """
    import pyarrow as pa

    keep = spec.filters
    for name in (*(spec.columns or ()), *(keep.columns or ())):
        if name not in schema.names:
            there = ", ".join(schema.names)
            raise ValueError(f"there is no column {name!r}; there are {there}")
    try:
        kind = _mask(pa.Table.from_batches([], schema), keep.expression).type
    except (pa.ArrowException, TypeError) as error:
        said = str(error).replace("\n", ", ")
        raise ValueError(f"the filters don't fit the columns: {said}") from error
    if not pa.types.is_boolean(kind):
        raise ValueError(
            f"filters must say yes or no of a row: {_shown(keep.expression)} gives {kind}"
        )
    # For others, to find the schema again would take another look at the rows.
    if keep.columns is None and spec.columns is not None and spec.files.format in _TYPED:
        keep = keep._replace(columns=_columns_of(keep.expression, schema))
    return spec._replace(filters=keep)


def _columns_of(expression: Any, schema: "pa.Schema") -> list[str] | None:
    """Return the columns of an expression, which doesn't tell them: those it can't do without."""
    import pyarrow as pa

    def needed(fields: "list[pa.Field]") -> list[str]:
        rest = pa.schema([field for field in schema if field not in fields])
        try:
            _mask(pa.Table.from_batches([], rest), expression)
        except pa.ArrowInvalid:
            if len(fields) == 1:
                return [fields[0].name]
            half = len(fields) // 2
            return needed(fields[:half]) + needed(fields[half:])
        return []

    return None if _has_places(expression) else needed(list(schema))


def _has_places(expression: Any) -> bool:
    """Return whether an expression may tell columns by place, which is another among fewer."""
    return "FieldPath(" in _shown(expression)


def _shown(expression: Any) -> str:
    try:
        return str(expression)
    except UnicodeDecodeError as error:  # pyarrow cuts long lists, within a character too
        return bytes(error.object).decode(errors="replace")


def filtered(
    reader: "Reader", spec: "Spec", skip: int = 0, *, strictly: bool = False
) -> "Iterator[pa.RecordBatch]":
    """Return the batches of the rows that `spec.filters` keeps, from the `skip`-th of them on."""
    import pyarrow as pa

    kept: list[pa.RecordBatch] = []
    rows = 0
    left = skip
    for batch in _candidates(reader, spec):
        found = _kept(batch, spec.filters.expression)
        if spec.columns is not None:
            found = found.select(spec.columns)
        left_out = min(left, found.num_rows)
        left -= left_out
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
    if left and strictly:
        raise reader._too_short(skip)


def _one_batch(table: "pa.Table") -> "pa.RecordBatch":
    return table.combine_chunks().to_batches()[0]


def _kept(batch: "pa.RecordBatch", expression: Any) -> "pa.RecordBatch":
    import pyarrow as pa
    import pyarrow.compute as pc

    try:
        return batch.filter(expression)
    except pa.ArrowNotImplementedError:
        # Of views and runs pyarrow can't choose rows, but it can cut and join them.
        mask = _mask(pa.Table.from_batches([batch]), expression).combine_chunks()
    runs = pc.run_end_encode(pc.fill_null(mask, False))
    parts = []
    start = 0
    for stop, is_kept in zip(runs.run_ends.to_pylist(), runs.values.to_pylist(), strict=True):
        if is_kept:
            parts.append(batch.slice(start, stop - start))
        start = stop
    return _one_batch(pa.Table.from_batches(parts)) if parts else batch.slice(0, 0)


def _mask(table: "pa.Table", expression: Any) -> "pa.ChunkedArray":
    """Return what an expression says of each row."""
    import pyarrow as pa
    from pyarrow import acero

    plain = [_plain(column) for column in table.columns]
    table = pa.Table.from_arrays(plain, names=table.column_names)
    steps = [
        acero.Declaration("table_source", acero.TableSourceNodeOptions(table)),
        acero.Declaration("project", acero.ProjectNodeOptions([expression], ["mask"])),
    ]
    return acero.Declaration.from_sequence(steps).to_table(use_threads=False).column(0)


def _plain(column: "pa.ChunkedArray") -> "pa.ChunkedArray":
    """Return a column as the type that pyarrow compares."""
    import pyarrow as pa
    import pyarrow.compute as pc

    if pa.types.is_run_end_encoded(column.type):
        return _plain(pc.run_end_decode(column))
    if pa.types.is_string_view(column.type):
        return column.cast(pa.large_string())
    if pa.types.is_binary_view(column.type):
        return column.cast(pa.large_binary())
    return column


def _candidates(reader: "Reader", spec: "Spec") -> "Iterator[pa.RecordBatch]":
    """Return the batches without row groups of Parquet whose statistics rule them out."""
    # Where a damage ends a file early, rows aren't where the row groups have them.
    if spec.files.format != "parquet" or spec.on_bad_files != "error":
        yield from reader._unfiltered()
        return
    schema = reader._full_schema
    batches = reader._start()
    try:
        found = _each(batches)
        at = end = 0
        for path in spec.files.paths:
            for rows, is_wanted in _row_groups(path, spec.filters, schema):
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


def _row_groups(path: str, keep: Filter, schema: "pa.Schema") -> "list[tuple[int | None, bool]]":
    """Return the row groups of a Parquet file: their rows, and whether any of them may be kept.

    Of a file that can't be looked at, all rows (None) may be.
    """
    import pyarrow as pa
    import pyarrow.dataset as ds
    from pyarrow.fs import LocalFileSystem

    if keep.columns is None and _has_places(keep.expression):
        return [(None, True)]
    try:
        fragment = ds.ParquetFileFormat().make_fragment(path, LocalFileSystem())
        telling = [field for field in fragment.physical_schema if _tells(field, keep, schema)]
        if not telling:  # pyarrow would take its own schema for an empty one
            return [(None, True)]
        found = fragment.split_by_row_group(keep.expression, schema=pa.schema(telling))
        wanted = {group.id for part in found for group in part.row_groups}
        return [(group.num_rows, group.id in wanted) for group in fragment.row_groups]
    except (pa.ArrowException, OSError, ValueError, TypeError):
        # Damaged, compressed as a whole, or a column of the filter tells nothing.
        return [(None, True)]


def _tells(field: "pa.Field", keep: Filter, schema: "pa.Schema") -> bool:
    """Return whether the statistics of a column say what its rows will be."""
    place = schema.get_field_index(field.name)
    # Others are of the values before they are cast.
    is_same = place >= 0 and schema.field(place).type == field.type
    return is_same and (field.name in keep.compared or not _has_floats(field.type))


def _has_floats(kind: "pa.DataType") -> bool:
    import pyarrow as pa

    if pa.types.is_dictionary(kind):
        return _has_floats(kind.value_type)
    inner = [kind.field(place).type for place in range(kind.num_fields)]
    return pa.types.is_floating(kind) or any(_has_floats(other) for other in inner)
