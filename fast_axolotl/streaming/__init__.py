"""The streaming reader: files of every format as exact record batches, in bounded memory."""

from fast_axolotl._by_name import by_name
from fast_axolotl._native import RUST_AVAILABLE, is_available

from .errors import (
    DamagedFileError,
    ReaderError,
    SchemaError,
    TooLargeError,
    UnknownFormatError,
)
from .reader import Progress, Reader, open_dataset
from .rows import (
    RustStreamingDataset,
    create_rust_streaming_dataset,
    should_use_rust_streaming,
    streaming_dataset_reader,
)

__all__ = [
    "RUST_AVAILABLE",
    "DamagedFileError",
    "Progress",
    "Reader",
    "ReaderError",
    "RustStreamingDataset",
    "SchemaError",
    "TooLargeError",
    "UnknownFormatError",
    "create_rust_streaming_dataset",
    "is_available",
    "open_dataset",
    "should_use_rust_streaming",
    "streaming_dataset_reader",
]

by_name(__name__)
