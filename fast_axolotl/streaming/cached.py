"""Readers as `datasets.Dataset`, in the Hugging Face cache."""

import contextlib
import hashlib
import json
import os
import shutil
import tempfile
from pathlib import Path
from typing import Any

import datasets
import pyarrow as pa
from datasets import config
from filelock import FileLock

from .. import __version__
from .features import features_of
from .reader import Reader, Spec

_DATA = "data.arrow"
_INFO = "dataset.json"


def to_dataset(
    reader: Reader, cache_dir: "str | os.PathLike[str] | None" = None
) -> datasets.Dataset:
    """Return the dataset of a reader's rows; see `Reader.to_dataset`."""
    features = features_of(reader.schema)
    fingerprint = fingerprint_of(reader._spec, reader.schema)
    root = Path(cache_dir if cache_dir is not None else config.HF_DATASETS_CACHE) / "fast_axolotl"
    folder = root / fingerprint
    if not (folder / _INFO).exists():
        root.mkdir(parents=True, exist_ok=True)
        # Others that want the same wait here, and find it built.
        with FileLock(str(root / f"{fingerprint}.lock")):
            if not (folder / _INFO).exists():
                _build(reader, features, root, folder)
    info = datasets.DatasetInfo(features=features)
    return datasets.Dataset(
        _table(folder / _DATA), info=info, split=datasets.Split.TRAIN, fingerprint=fingerprint
    )


def _table(path: Path) -> Any:
    from datasets.arrow_reader import ArrowReader

    return ArrowReader.read_table(str(path), in_memory=False)


def _build(reader: Reader, features: datasets.Features, root: Path, folder: Path) -> None:
    schema = features.arrow_schema
    making = Path(tempfile.mkdtemp(prefix=f"{folder.name}.", dir=root))
    try:
        rows = 0
        with pa.OSFile(str(making / _DATA), "wb") as sink, pa.ipc.new_stream(sink, schema) as out:
            for batch in reader:
                out.write_batch(_conforming(batch, schema))
                rows += batch.num_rows
        (making / _INFO).write_text(json.dumps({"rows": rows, "files": reader.files}, indent=1))
        if folder.exists():  # what is left of one that was not finished
            shutil.rmtree(folder)
        making.rename(folder)
    finally:
        with contextlib.suppress(FileNotFoundError):
            shutil.rmtree(making)


def _conforming(batch: pa.RecordBatch, schema: pa.Schema) -> pa.RecordBatch:
    if batch.schema.equals(schema, check_metadata=False):
        return pa.RecordBatch.from_arrays(batch.columns, schema=schema)
    table = pa.Table.from_batches([batch]).cast(schema)
    return table.combine_chunks().to_batches()[0]


def fingerprint_of(spec: Spec, schema: pa.Schema) -> str:
    """Return the digest of the files and of how they are read: the same in every process."""
    digest = hashlib.sha256()
    for path in spec.files.paths:
        status = Path(path).stat()
        place = str(Path(path).resolve())
        digest.update(f"{place}\0{status.st_size}\0{status.st_mtime_ns}\0".encode())
    how = (
        *(__version__, spec.files.format, spec.columns, spec.infer),
        *(sorted(spec.options.items()), str(spec.filters)),
    )
    digest.update(repr(how).encode())
    digest.update(schema.serialize().to_pybytes())
    return digest.hexdigest()[:32]
