"""The Python originals: what every Rust implementation is compared with.

Plain Python with the names and signatures of the public functions, usable without the extension.
They are what runs where Python is faster or Rust is not available, so they are written for speed:
slices, list multiplication and C-level loops; the search for the culprit of an error starts only
after the plain loop failed.
"""

from fast_axolotl._by_name import by_name

from .hashing import deduplicate_indices, parallel_hash_rows
from .packing import concatenate_and_pack, pack_sequences
from .padding import create_padding_mask, pad_sequences

__all__ = [
    "concatenate_and_pack",
    "create_padding_mask",
    "deduplicate_indices",
    "pack_sequences",
    "pad_sequences",
    "parallel_hash_rows",
]

by_name(__name__)
