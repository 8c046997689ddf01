"""The features of `datasets` for an Arrow schema."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import datasets

    from .reader import Reader


def features_of(reader: "Reader") -> "datasets.Features":
    """Return the features that `datasets` reads from a reader's schema and its metadata.

    Raises:
        ValueError: There are rows, but no columns: `datasets` would lose them.
    """
    import datasets

    if not reader.schema.names and any(batch.num_rows for batch in reader.batches()):
        raise ValueError(f"a dataset needs columns, and these rows have none: {reader.files[0]}")
    return datasets.Features.from_arrow_schema(reader.schema)
