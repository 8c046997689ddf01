"""The features of `datasets` for an Arrow schema."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import datasets
    import pyarrow as pa


def features_of(schema: "pa.Schema") -> "datasets.Features":
    """Return the features that `datasets` reads from a schema and its metadata."""
    import datasets

    return datasets.Features.from_arrow_schema(schema)
