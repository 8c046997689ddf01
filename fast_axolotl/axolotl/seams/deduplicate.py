"""Exact deduplication: the hash of `str(row)` straight from Arrow, no Python row in between.

Axolotl builds every row as a Python dict, takes SHA-256 of its `str()`, and keeps the first row of
each hash. Here the same text is written from the Arrow columns by the extension
(`src/rowtext`), and digested right there. Rows whose text depends on more than Arrow's values
(bytes that are not UTF-8, dates that Python does not have) are read by `datasets` itself, one by
one, which raises what there is to raise.

What then costs most is `Dataset.select`, which pickles the list of kept rows in Python for the
fingerprint of the result. The same fingerprint is computed here from the same bytes, made faster,
after one look in this process that `select` agrees.
"""

import functools
import hashlib
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from fast_axolotl import _native
from fast_axolotl.dispatch.policy import RUST, Sizes, threshold
from fast_axolotl.dispatch.registry import Arguments, Call, Condition, Keywords

from ..patch_map import VERSIONS, Implementation, Seam
from .conditions import is_dataset

Zones = dict[str, tuple[int, str]]

# Kept rows from which on a fingerprint of our own pays for the look at what `select` does.
OWN_FINGERPRINT_ROWS = 4096
#: Below, the original answers until this host is calibrated.
FEW_ROWS = 8

MODULE = "axolotl.utils.data.utils"


def build(original: Implementation) -> Implementation:
    """Return the implementation of `_deduplicate_dataset`."""
    names: dict[str, Any] = original.__globals__

    @functools.wraps(original)
    def _deduplicate_dataset(dataset: Any, seen_hashes: set[str] | None = None) -> Any:
        sha256: Callable[[str], str] = names["sha256"]
        first = str(next(iter(dataset)))
        if sha256(first) != hashlib.sha256(first.encode("utf-8")).hexdigest():
            return original(dataset, seen_hashes)
        seen = set() if seen_hashes is None else seen_hashes
        table = dataset._data.table
        indices = dataset._indices
        kept = _native.core.deduplicate_rows(  # type: ignore[union-attr]
            table,
            columns(dataset),
            zones(table.schema),
            None if indices is None else indices.table,
            seen,
            first,
            lambda row: sha256(str(dataset[row])),
        )
        if kept is None:
            # `datasets` makes other rows of these columns than the one this was written for.
            return original(dataset, seen_hashes)
        return select(dataset, kept), seen

    return _deduplicate_dataset


# --- rows ----------------------------------------------------------------------------------------


def columns(dataset: Any) -> list[int]:
    """Return the numbers of the columns that a row has, in the order of its keys."""
    names = dataset._data.column_names
    formatted = dataset._format_columns
    if formatted is None:
        return list(range(len(names)))
    chosen = set(formatted)
    inside = [i for i, name in enumerate(names) if name in chosen]
    if dataset._output_all_columns:
        inside += [i for i, name in enumerate(names) if name not in chosen]
    return inside


def zones(schema: Any) -> Zones:
    """Return the timezones of a schema that have one offset, and the `repr` of their tzinfo."""
    names: set[str] = set()
    for kind in schema.types:
        text = str(kind)
        if "tz=" in text:
            names.update(re.findall(r"tz=([^\]]+)\]", text))
    found = (_zone(name) for name in names)
    return {name: zone for name, zone in zip(names, found, strict=True) if zone is not None}


@functools.cache
def _zone(name: str) -> tuple[int, str] | None:
    import datetime

    import pyarrow as pa

    try:
        tzinfo = pa.scalar(0, pa.timestamp("us", tz=name)).as_py().tzinfo
    except Exception:  # no such zone here: the original says so
        return None
    if isinstance(tzinfo, datetime.timezone):
        offset = tzinfo.utcoffset(None)
        return int(offset.total_seconds()), repr(tzinfo)
    return (0, repr(tzinfo)) if name == "UTC" else None


# --- the result ----------------------------------------------------------------------------------


def select(dataset: Any, kept: list[int] | range) -> Any:
    """Return `dataset.select(list(kept))`, sooner."""
    if len(kept) < OWN_FINGERPRINT_ROWS or not _is_known_fingerprint():
        return dataset.select(list(kept))
    return dataset.select(kept, new_fingerprint=fingerprint(dataset, kept))


def fingerprint(dataset: Any, kept: list[int] | range) -> str:
    """Return the fingerprint that `dataset.select(list(kept))` has."""
    from datasets.fingerprint import Hasher

    method = type(dataset).select
    hasher = Hasher()
    hasher.update(dataset._fingerprint)
    hasher.update(f"{method.__module__}.{method.__qualname__}")
    hasher.update("fingerprint_name")
    hasher.update("new_fingerprint")
    hasher.update("indices")
    # hasher.update(list(kept))
    pickle = _native.core.pickle_indices(kept)  # type: ignore[union-attr]
    hasher.m.update(f"=={list}==".encode())
    hasher.m.update(Hasher.hash_bytes(pickle).encode())
    return str(hasher.hexdigest())


def _is_known_fingerprint() -> bool:
    from datasets import Dataset, fingerprint

    return _agrees(Dataset.select, fingerprint.Hasher, fingerprint.update_fingerprint)


@functools.cache
def _agrees(*_functions: object) -> bool:
    # Once for these functions: a list over every width of an int, with one element left over.
    import pyarrow as pa
    from datasets import Dataset

    dataset = Dataset(pa.table({"a": pa.nulls(70_000)}), fingerprint="0" * 16)
    kept = [0, 255, 256, 65_535, 65_536, *range(1, 997)]
    try:
        return bool(dataset.select(kept)._fingerprint == fingerprint(dataset, kept))
    except AttributeError:  # the hasher has no such insides here
        return False


# --- which calls ---------------------------------------------------------------------------------


def _arguments(args: Arguments, kwargs: Keywords) -> tuple[Any, Any]:
    if not kwargs and len(args) == 1:  # by far most calls, some of which are short
        return args[0], None
    given = dict(zip(("dataset", "seen_hashes"), args, strict=False))
    given.update(kwargs)
    return given.get("dataset"), given.get("seen_hashes")


def _are_valid(args: Arguments, kwargs: Keywords) -> bool:
    names = [*("dataset", "seen_hashes")[: len(args)], *kwargs]
    return len(args) <= 2 and sorted(names) in (["dataset"], ["dataset", "seen_hashes"])


def _is_plain_dataset(args: Arguments, kwargs: Keywords) -> bool:
    return is_dataset(_arguments(args, kwargs)[0])


def _has_a_set(args: Arguments, kwargs: Keywords) -> bool:
    _, seen = _arguments(args, kwargs)
    return seen is None or type(seen) is set


def _has_no_format(args: Arguments, kwargs: Keywords) -> bool:
    dataset, _ = _arguments(args, kwargs)
    return dataset._format_type is None and not dataset._format_kwargs


def _has_rows(args: Arguments, kwargs: Keywords) -> bool:
    dataset, _ = _arguments(args, kwargs)
    return len(dataset) > 0 and len(columns(dataset)) > 0


def _needs_no_decoding(args: Arguments, kwargs: Keywords) -> bool:
    dataset, _ = _arguments(args, kwargs)
    features = dataset._info.features
    names = dataset._data.column_names
    if features is None or list(features) != names:
        return False
    return not any(features._column_requires_decoding[name] for name in names)


def _are_known_names(args: Arguments, kwargs: Keywords) -> bool:
    # Arrow's C interface ends a name at its first NUL.
    dataset, _ = _arguments(args, kwargs)
    schema = dataset._data.table.schema
    return not any("\0" in name for name in schema.names) and not any(map(_holds_nul, schema.types))


def _holds_nul(kind: Any) -> bool:
    fields = (kind.field(i) for i in range(kind.num_fields))
    return any("\0" in field.name or _holds_nul(field.type) for field in fields)


def _are_known_types(args: Arguments, kwargs: Keywords) -> bool:
    dataset, _ = _arguments(args, kwargs)
    schema = dataset._data.table.schema
    found = _native.core.row_text_unsupported(  # type: ignore[union-attr]
        schema, columns(dataset), zones(schema)
    )
    return found is None


CONDITIONS = (
    Condition(_are_valid, "these are not its arguments"),
    Condition(_is_plain_dataset, "the dataset overrides something of datasets.Dataset"),
    Condition(_has_a_set, "seen_hashes is not a plain set"),
    Condition(_has_no_format, "the dataset has a format that makes other rows than dicts"),
    Condition(_has_rows, "the dataset has no rows, or rows without columns"),
    Condition(_needs_no_decoding, "columns are decoded when they are read"),
    Condition(_are_known_names, "the name of a column or field holds a NUL"),
    Condition(_are_known_types, "a column has a type whose text is not known here"),
)


def describe(args: Arguments, kwargs: Keywords) -> Call:
    """Return rows and values of 8 bytes of a call."""
    dataset, _ = _arguments(args, kwargs)
    rows = len(dataset)
    if rows < FEW_ROWS:  # where adding up the buffers takes longer than it could save
        return Call("axolotl", "axolotl", Sizes(rows, rows, rows))
    table = dataset._data.table
    elements = table.nbytes * rows / max(1, table.num_rows) / 8
    return Call("axolotl", "axolotl", Sizes(rows, elements, rows))


def workload(_layout: str, _output: str, rows: int, length: int) -> tuple[Arguments, Keywords]:
    """Return a call with rows of tokens, a quarter of them twice."""
    import numpy as np
    import pyarrow as pa
    from datasets import Dataset

    draw = np.random.default_rng(rows + length)
    tokens = draw.integers(0, 128_000, (max(rows, 1), length))
    tokens[: rows // 4] = tokens[rows // 2 : rows // 2 + rows // 4]
    offsets = np.arange(len(tokens) + 1, dtype=np.int32) * length
    column = pa.ListArray.from_arrays(offsets, tokens.reshape(-1))
    return (Dataset(pa.table({"input_ids": column}), fingerprint="0" * 16),), {}


@contextmanager
def _apart(args: Arguments, kwargs: Keywords) -> Iterator[tuple[Arguments, Keywords]]:
    def copied(value: Any) -> Any:
        return set(value) if type(value) is set else value

    yield tuple(map(copied, args)), {name: copied(value) for name, value in kwargs.items()}


SEAMS = (
    Seam(
        name="deduplicate",
        module=MODULE,
        attribute="_deduplicate_dataset",
        build=build,
        digests=dict.fromkeys(
            VERSIONS, "7dc0f3b5192b1ad6bb424f66cbbd32595353a960bac3e526e9a73459e09b4bb5"
        ),
        operation="hash",
        describe=describe,
        conditions=CONDITIONS,
        workload=workload,
        # One look at the first row and at the schema: more than a few rows cost.
        verdict=threshold("rows", FEW_ROWS, RUST),
        relies_on={
            "sha256": dict.fromkeys(
                VERSIONS, "7940ccceba5e8a2ba97d5b3ed71f96b01a6160092c9478382a77632ab8f670fc"
            )
        },
        apart=_apart,
    ),
)
