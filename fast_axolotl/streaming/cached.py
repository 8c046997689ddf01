"""Readers as `datasets.Dataset`, in the Hugging Face cache."""

import contextlib
import hashlib
import json
import os
import pickle
import shutil
import uuid
from pathlib import Path
from typing import Any

import datasets
import pyarrow as pa
from datasets import config
from datasets.utils._filelock import FileLock  # whose files follow the umask

from .. import __version__
from .errors import ReaderError, os_error
from .features import features_of
from .reader import Reader, Spec

_DATA = "data.arrow"
_INFO = "dataset.json"


def to_dataset(
    reader: Reader, cache_dir: "str | os.PathLike[str] | None" = None
) -> datasets.Dataset:
    """Return the dataset of a reader's rows; see `Reader.to_dataset`."""
    reader = reader._fresh()
    features = features_of(reader)
    fingerprint = fingerprint_of(reader._spec, reader.schema)
    place = Path(cache_dir if cache_dir is not None else config.HF_DATASETS_CACHE)
    root = place.expanduser() / "fast_axolotl"
    folder = root / fingerprint
    if not _is_whole(folder):
        root.mkdir(parents=True, exist_ok=True)
        # Others that want the same wait here, and find it built.
        with FileLock(str(root / f"{fingerprint}.lock")):
            if not _is_whole(folder):
                _build(reader, features, folder)
    info = datasets.DatasetInfo(features=features)
    return datasets.Dataset(
        _table(folder / _DATA), info=info, split=datasets.Split.TRAIN, fingerprint=fingerprint
    )


def _table(path: Path) -> Any:
    from datasets.arrow_reader import ArrowReader

    return ArrowReader.read_table(str(path), in_memory=False)


def _is_whole(folder: Path) -> bool:
    """Return whether the folder has what was built there, as far as sizes tell."""
    try:
        told = json.loads((folder / _INFO).read_bytes())
        return bool((folder / _DATA).stat().st_size == told["bytes"])
    except (OSError, ValueError, KeyError, TypeError):
        return False


def _build(reader: Reader, features: datasets.Features, folder: Path) -> None:
    """Build the dataset; the caller has the lock, so nobody else is at it."""
    schema = features.arrow_schema
    for left in folder.parent.glob(f"{folder.name}.*"):  # by builds that were killed
        if left.is_dir():
            shutil.rmtree(left)
    # Not `mkdtemp`, whose folders are closed to others, who may share the cache.
    making = folder.with_name(f"{folder.name}.{uuid.uuid4().hex}")
    making.mkdir()
    try:
        data = making / _DATA
        rows = _write(reader, schema, data)
        if reader._has_changed():
            files = ", ".join(reader.files)
            raise ReaderError(f"a file was changed while it was read: one of {files}")
        told = {"rows": rows, "bytes": data.stat().st_size, "files": reader.files}
        (making / _INFO).write_text(json.dumps(told, indent=1))
        if folder.exists():  # damaged
            shutil.rmtree(folder)
        making.rename(folder)
    finally:
        with contextlib.suppress(FileNotFoundError):
            shutil.rmtree(making)


def _write(reader: Reader, schema: pa.Schema, data: Path) -> int:
    """Write all rows to a file, and return how many there are."""
    rows = 0
    try:
        with pa.OSFile(str(data), "wb") as sink, pa.ipc.new_stream(sink, schema) as out:
            for batch in reader:
                out.write_batch(_conforming(batch, schema))
                rows += batch.num_rows
    except OSError as error:
        if error.filename is None:  # a full disk: pyarrow doesn't say where
            raise os_error(error.errno, "Other", data, None) from error
        raise
    return rows


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
        place = os.fsencode(Path(path).resolve())
        digest.update(place + f"\0{status.st_size}\0{status.st_mtime_ns}\0".encode())
    how = (
        *(__version__, spec.files.format, spec.columns, spec.infer),
        *(sorted(spec.options.items()), "None"),
    )
    digest.update(repr(how).encode())
    digest.update(schema.serialize().to_pybytes())
    if spec.filters is not None:
        # Not its text, which leaves out the middle of a long list of values.
        digest.update(pickle.dumps(spec.filters.expression, protocol=4))
    if spec.on_bad_files != "error":
        digest.update(b"without what is damaged")
    return digest.hexdigest()[:32]
