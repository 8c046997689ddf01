"""Datasets as Axolotl's strategies make them, and uglier ones; how two are compared."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import datasets
import pyarrow as pa
from datasets import Dataset, Features, List, Value
from hypothesis import strategies as st

FEATURES = Features(
    {
        "input_ids": List(Value("int32")),
        "attention_mask": List(Value("int8")),
        "labels": List(Value("int64")),
    }
)


def tokenized(lengths: list[int], trainable: list[bool] | None = None) -> Dataset:
    """Return rows of these lengths; those that are not trainable have labels of -100 only."""
    rows = [list(range(i, i + length)) for i, length in enumerate(lengths)]
    keep = trainable or [True] * len(rows)
    labels = [row if wanted else [-100] * len(row) for row, wanted in zip(rows, keep, strict=True)]
    columns = {
        "input_ids": rows,
        "attention_mask": [[1] * len(row) for row in rows],
        "labels": labels,
    }
    return Dataset.from_dict(columns, features=FEATURES)


class _Strategy:
    """A prompt strategy whose prompts are tokenized already."""

    supports_batched = True

    def tokenize_prompt(self, rows: Any) -> dict[str, Any]:
        return {name: rows[name] for name in FEATURES}


def by_axolotl(dataset: Dataset, kind: type[Dataset] | None = None) -> Dataset:
    """Return a dataset of the class that Axolotl wraps around every dataset, or of one of it."""
    from axolotl.datasets import TokenizedPromptDataset

    return (kind or TokenizedPromptDataset)(_Strategy(), dataset)  # type: ignore[call-arg]


@st.composite
def token_datasets(draw: st.DrawFn) -> Dataset:
    """Draw a dataset: its lengths, its types, what was done to it before."""
    lengths = draw(st.lists(st.integers(0, 9), min_size=1, max_size=40))
    trainable = draw(st.lists(st.booleans(), min_size=len(lengths), max_size=len(lengths)))
    dataset = tokenized(lengths, trainable)
    kind = draw(st.sampled_from(("plain", "plain", "wide", "large", "extra", "formatted")))
    if kind == "wide":
        dataset = dataset.cast_column("input_ids", List(Value("int64")))
    elif kind == "large":
        dataset = dataset.cast_column("labels", datasets.LargeList(Value("int32")))
    elif kind == "extra":
        dataset = dataset.add_column("prompt", [f"row {i}" for i in range(len(dataset))])
    elif kind == "formatted":
        dataset.set_format("numpy")
    done = draw(st.sampled_from(("nothing", "shuffled", "sliced", "concatenated", "none left")))
    if done == "shuffled":
        dataset = dataset.shuffle(seed=1)
    elif done == "sliced":
        dataset = dataset.select(range(len(dataset) // 3, len(dataset)))
    elif done == "concatenated":
        dataset = datasets.concatenate_datasets([dataset, dataset.select(range(1))])
    elif done == "none left":
        dataset = dataset.select([])
    return dataset


def with_nulls() -> Dataset:
    table = pa.table(
        {
            "input_ids": pa.array([[1, 2], None, [3]], pa.list_(pa.int32())),
            "labels": pa.array([[1, None], [-100, None], [-100]], pa.list_(pa.int64())),
        }
    )
    return Dataset(table)


def contents(value: Any) -> Any:
    """Return all that is seen of a result: rows, types, fingerprint, metadata, format."""
    if isinstance(value, tuple):
        return tuple(map(contents, value))
    if not isinstance(value, Dataset):
        return value
    metadata = value._data.table.schema.metadata or {}
    return {
        "type": type(value),
        "rows": value.with_format("arrow")[:].to_pylist(),
        "features": value.features,
        "schema": str(value._data.table.schema.remove_metadata()),
        "metadata": {k: json.loads(v) for k, v in metadata.items()},
        "fingerprint": value._fingerprint,
        "indices": None if value._indices is None else value._indices.column(0).to_pylist(),
        "indices type": None if value._indices is None else value._indices.column(0).type,
        "format": value.format,
        "format columns": value._format_columns,  # `format` has all of them for None
        "info": value.info,
        "split": value.split,
        "cached": [Path(file["filename"]).name for file in value.cache_files],
    }


def ended(call: Callable[..., Any], *args: Any) -> Any:
    """Return how a call ended: what is seen of its result, or its error."""
    try:
        result = call(*args)
    except Exception as error:
        return "raised", type(error), str(error)
    return "returned", contents(result)
