"""Formats by name, as 0.2.0 answers."""

import os

_COMPRESSIONS = {".zst": "zstd", ".zstd": "zstd", ".gz": "gzip", ".gzip": "gzip"}
_FORMATS = {
    ".parquet": "parquet",
    ".arrow": "arrow",
    ".ipc": "arrow",
    ".feather": "feather",
    ".csv": "csv",
    ".tsv": "csv",
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".json": "json",
    ".txt": "text",
}


def split_name(path: "str | os.PathLike[str]") -> tuple[str | None, str | None]:
    """Return the format and the compression that the name alone announces."""
    name = os.fspath(path).lower()
    compression = None
    for ending, found in _COMPRESSIONS.items():
        if name.endswith(ending):
            name, compression = name[: -len(ending)], found
            break
    for ending, found in _FORMATS.items():
        if name.endswith(ending):
            return found, compression
    return None, compression


def detect_format(file_path: "str | os.PathLike[str]") -> tuple[str, str | None]:
    """Return the format and the compression of a path, by its name: ("json", None) if unknown."""
    found, compression = split_name(file_path)
    # Not pathlib: it would take a fifth of the whole import.
    if found is None and os.path.exists(os.path.join(file_path, "dataset_info.json")):  # noqa: PTH110, PTH118
        found = "hf_dataset"
    return found or "json", compression


def list_supported_formats() -> list[str]:
    """Return the names of the formats, alone and with their compressions."""
    plain = ["parquet", "arrow", "feather", "csv", "json", "jsonl", "text"]
    packed = ["parquet", "arrow", "json", "jsonl", "csv", "text"]
    endings = [f"{name}.{ending}" for name in packed for ending in ("zst", "gz")]
    return [*plain, *endings, "hf_dataset"]
