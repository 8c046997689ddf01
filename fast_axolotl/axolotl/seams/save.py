"""A prepared dataset into its folder: the same files, without workers, and all of them or none.

Axolotl starts processes that import everything again, for a dataset of any size. Files are written
beside their folder and moved in when they are whole: what a full disk leaves is taken for nothing.
An older dataset is moved out first: ext4 writes at once to the disk what replaces another file.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

from fast_axolotl.axolotl.patch_map import Implementation, Seam
from fast_axolotl.dispatch.policy import Sizes
from fast_axolotl.dispatch.registry import Arguments, Call, Keywords

from .conditions import is_dataset, taking

MODULE = "axolotl.utils.data.shared"
_ROWS_PER_PROCESS = 256
#: Bytes from which on workers are done sooner: each takes 10 s to start, one process writes 1 GB/s.
_PAYS_FOR_WORKERS = 16_000_000_000


def _build(original: Implementation) -> Implementation:
    namespace: dict[str, Any] = getattr(original, "__globals__", {})

    def save_preprocessed_dataset(
        cfg: Any,
        dataset: Any,
        dataset_hash: str,
        split: str,  # noqa: ARG001 - of streams only
    ) -> None:
        path = namespace["get_prepared_dataset_path"](cfg, dataset_hash)
        workers = cfg.dataset_num_proc or namespace["get_default_process_count"]()
        processes = min(max(1, len(dataset) // _ROWS_PER_PROCESS), workers)
        os.makedirs(path, exist_ok=True)  # noqa: PTH103 - a str or a Path
        save(dataset, str(path), processes, cfg.num_dataset_shards_to_save)
        if cfg.push_dataset_to_hub:
            namespace["LOG"].info(
                "Pushing merged prepared dataset to Huggingface hub at "
                f"{cfg.push_dataset_to_hub} (version {dataset_hash})...",
                main_process_only=False,
            )
            dataset.push_to_hub(cfg.push_dataset_to_hub, dataset_hash, private=True)

    return save_preprocessed_dataset


def save(dataset: Any, folder: str, processes: int, num_shards: int | None) -> None:
    """Write the files that `dataset.save_to_disk(folder, num_proc=processes)` writes.

    Args:
        dataset: a `datasets.Dataset`.
        folder: exists.
        processes: which `datasets` would start: it makes as many files, if not more.
        num_shards: how many files; None for one a process, and one for every 500 MB.
    """
    from shutil import rmtree
    from tempfile import mkdtemp

    if num_shards is None:
        num_shards = _shards(dataset, processes)
    parent, name = os.path.split(os.path.abspath(folder))  # noqa: PTH100
    try:
        place = mkdtemp(prefix=f".{name}.", dir=parent)
    except PermissionError:  # as for a folder that somebody else made for us
        place = mkdtemp(prefix=".", dir=folder)
    try:
        is_large = processes > 1 and dataset._estimate_nbytes() > _PAYS_FOR_WORKERS
        workers = processes if is_large else None
        dataset.save_to_disk(place, num_shards=num_shards, num_proc=workers)
        files = _last_the_state(os.listdir(place))  # noqa: PTH208
        older = mkdtemp(dir=place)
        for file in reversed(files):
            with suppress(FileNotFoundError):
                _move(file, folder, older)
        for file in files:
            _move(file, place, folder)
    finally:
        rmtree(place, ignore_errors=True)


def _shards(dataset: Any, processes: int) -> int:
    from datasets import config
    from datasets.utils.py_utils import convert_file_size_to_int

    by_size = int(dataset._estimate_nbytes() / convert_file_size_to_int(config.MAX_SHARD_SIZE)) + 1
    return min(len(dataset._data), max(by_size, processes))


def _move(file: str, source: str, target: str) -> None:
    os.replace(os.path.join(source, file), os.path.join(target, file))  # noqa: PTH105, PTH118


def _last_the_state(files: list[str]) -> list[str]:
    """Return file names, those last without which a folder is no dataset."""
    return sorted(files, key=lambda file: (file.endswith(".json"), file))


def _takes(cfg: Any, dataset: Any, dataset_hash: Any, split: Any) -> bool:  # noqa: ARG001
    workers, shards = cfg.dataset_num_proc, cfg.num_dataset_shards_to_save
    return (
        is_dataset(dataset)
        and len(dataset) > 0
        and (workers is None or (type(workers) is int and workers > 0))
        and (shards is None or (type(shards) is int and shards > 0))
        and not _holds_local_files(dataset)
        and not _is_in(dataset, cfg, dataset_hash)
    )


def _holds_local_files(dataset: Any) -> bool:
    from datasets.features.features import require_storage_embed

    return any(require_storage_embed(feature) for feature in dataset.features.values())


def _is_in(dataset: Any, cfg: Any, dataset_hash: Any) -> bool:
    """Return whether a dataset would overwrite itself, or what is there can't just be replaced."""
    from pathlib import Path

    folder = _folder(cfg, dataset_hash)
    files = [Path(file["filename"]).resolve().parent for file in dataset.cache_files]
    return (
        folder.resolve() in files
        or folder.is_symlink()
        or folder.is_mount()
        or not all(map(_is_plain_file, _written_before(folder)))
    )


def _written_before(folder: Any) -> Any:
    names = ("*.arrow", "dataset_info.json", "state.json")
    return [place for name in names for place in folder.glob(name)]


def _is_plain_file(place: Any) -> bool:
    # Through a link, or under another name, stock writes to what somebody else has; and it does
    # not replace a folder.
    return place.is_file() and not place.is_symlink() and place.stat().st_nlink == 1


@contextmanager
def _apart(args: Arguments, kwargs: Keywords) -> Iterator[tuple[Arguments, Keywords]]:
    """Yield arguments for saving into a folder within the one to save to, without a push."""
    from copy import copy
    from tempfile import TemporaryDirectory

    cfg, dataset, dataset_hash, split = _arguments(*args, **kwargs)
    folder = _folder(cfg, dataset_hash)
    folder.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(prefix=".", dir=folder) as scratch:
        cfg = copy(cfg)
        cfg["dataset_prepared_path"], cfg["push_dataset_to_hub"] = scratch, None
        yield (cfg, dataset, dataset_hash, split), {}


def _arguments(cfg: Any, dataset: Any, dataset_hash: str, split: str) -> tuple[Any, Any, str, str]:
    return cfg, dataset, dataset_hash, split


def _folder(cfg: Any, dataset_hash: str) -> Any:
    from pathlib import Path

    from axolotl.utils.data import shared

    return Path(str(shared.get_prepared_dataset_path(cfg, dataset_hash)))


def _verify(
    original: Implementation, ours: Implementation, args: Arguments, kwargs: Keywords
) -> None:
    """Let stock save, and push if asked to; ours apart from it, and compare the files.

    What stock raises is not compared: it may be the Hub's.
    """
    import filecmp

    from fast_axolotl.dispatch.verify import VerificationError

    where = "save: save_preprocessed_dataset: "
    cfg, _, dataset_hash, _ = _arguments(*args, **kwargs)
    original(*args, **kwargs)
    with _apart(args, kwargs) as (own, _):
        try:
            ours(*own)
        except Exception as error:
            raise VerificationError(f"{where}rust raised {error!r}, python saved") from error
        for file in sorted(_folder(own[0], dataset_hash).iterdir()):
            stock = _folder(cfg, dataset_hash) / file.name
            if not stock.is_file():
                raise VerificationError(f"{where}rust wrote {file.name}, python did not")
            if not filecmp.cmp(file, stock, shallow=False):
                raise VerificationError(f"{where}{file.name} has other bytes than python's")


def _describe(args: Arguments, kwargs: Keywords) -> Call:
    rows = len(args[1] if len(args) > 1 else kwargs["dataset"])
    return Call("axolotl", "axolotl", Sizes(rows, rows, rows))


_SAVING = {
    # Its workers are forked, not spawned.
    "datasets 4.5.0": "a4d0000978cee65ab516102534e4de27fa8986ca1fa53064445f4e50df15f72b",
    "datasets 4.8.4": "2c70cb1e352cc8afe960a0c558a4873d74b2b67e62f6651cf7e6c78564d0f770",
}

SEAMS: tuple[Seam, ...] = (
    Seam(
        name="save_preprocessed_dataset",
        module=MODULE,
        attribute="save_preprocessed_dataset",
        build=_build,
        digests={"0.19.0": "808362dcbb053c62165b9c419930b37ee61fb60d148c92d0046729f1d12c4271"},
        operation="save",
        describe=_describe,
        apart=_apart,
        verify=_verify,
        conditions=(
            taking(_takes, "the dataset is a stream, holds local files, or is its own folder"),
        ),
        relies_on={
            "get_prepared_dataset_path": {
                "0.19.0": "cb63fa0f03a1e8f6d17d2bdf7406fd177dc65d624b81201e1e9618ccc039465d"
            },
            "datasets.arrow_dataset:Dataset.save_to_disk": _SAVING,
        },
    ),
)
