"""SHA-256 of rows, and the rows that are the first of their kind."""

from . import reference
from ._native import dispatched

__all__ = ["deduplicate_indices", "parallel_hash_rows"]

deduplicate_indices = dispatched(reference.deduplicate_indices, __name__)
parallel_hash_rows = dispatched(reference.parallel_hash_rows, __name__)
