"""Saving a prepared dataset: stock's files byte for byte, whole or not at all."""

import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import datasets
import pytest
from datasets import Dataset
from datasets_of import by_axolotl, tokenized
from seam_tools import is_before, original, outcome, replacement, reset

from fast_axolotl.dispatch import dispatch_mode, reset_stats, stats, stats_enabled, trace
from fast_axolotl.dispatch.verify import VerificationError

NAME = "save_preprocessed_dataset"


@pytest.fixture(autouse=True, scope="module")
def _axolotl() -> Iterator[None]:
    reset("axolotl.utils.data.shared")
    datasets.disable_progress_bars()
    yield
    datasets.enable_progress_bars()


def settings_of(folder: Path, **keys: Any) -> Any:
    from axolotl.utils.dict import DictDefault

    return DictDefault(dataset_prepared_path=str(folder), **keys)


def files_of(folder: Path) -> dict[str, bytes]:
    return {
        str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()
    }


def saved(mode: str, folder: Path, dataset: Any, **keys: Any) -> Any:
    """Save by one side; return how it ended and all that is in the folder."""
    side = original(NAME) if mode == "python" else replacement(NAME)
    with dispatch_mode(mode):
        try:
            ended: Any = side(settings_of(folder, **keys), dataset, "hash", "train")
        except Exception as error:
            ended = type(error), str(error).replace(str(folder), "FOLDER")
    return ended, files_of(folder), sorted(path.name for path in folder.iterdir())


@pytest.fixture
def _no_workers(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let stock save in its own process: the files are those of workers, see `test_workers`."""
    stock = Dataset.save_to_disk

    def save_to_disk(self: Any, path: Any, num_proc: Any = None, **more: Any) -> None:
        if num_proc is not None and more.get("num_shards") is None:
            size = datasets.config.MAX_SHARD_SIZE
            by_size = datasets.utils.py_utils.convert_file_size_to_int(size)
            by_size = int(self._estimate_nbytes() / by_size) + 1
            more["num_shards"] = min(len(self.data), max(by_size, num_proc))
        stock(self, path, **more)

    monkeypatch.setattr(Dataset, "save_to_disk", save_to_disk)


DATASETS = {
    "one row": lambda: tokenized([3]),
    "rows": lambda: tokenized([i % 11 for i in range(2000)]),
    "shuffled": lambda: tokenized([i % 11 for i in range(700)]).shuffle(seed=1),
    "selected": lambda: tokenized([i % 11 for i in range(700)]).select(range(3, 611, 2)),
    "sliced": lambda: tokenized([i % 11 for i in range(700)]).select(range(30, 600)),
    "of Axolotl's class": lambda: by_axolotl(tokenized([i % 11 for i in range(700)])),
    "formatted": lambda: tokenized([1, 2, 3]).with_format("torch", columns=["labels"]),
    "none": lambda: tokenized([1]).select([]),
    "texts": lambda: Dataset.from_dict({"text": ["a", None, "c"], "n": [1.5, 2.5, None]}),
    "concatenated": lambda: datasets.concatenate_datasets([tokenized([1, 2]), tokenized([3])]),
}


@pytest.mark.usefixtures("_no_workers")
@pytest.mark.parametrize("keys", [{}, {"dataset_num_proc": 2}, {"num_dataset_shards_to_save": 3}])
@pytest.mark.parametrize("name", DATASETS)
def test_files(name: str, keys: dict[str, Any], tmp_path: Path) -> None:
    stock, ours = tmp_path / "stock", tmp_path / "ours"
    dataset = DATASETS[name]()
    wanted = saved("python", stock, dataset, **keys)
    if wanted[0] is not None:
        # More files than rows: stock leaves what it had written by then.
        wanted = (wanted[0], {}, ["hash"])
    assert saved("rust", ours, dataset, **keys) == wanted


def test_workers(tmp_path: Path) -> None:
    dataset = DATASETS["rows"]().shuffle(seed=2)
    keys = {"dataset_num_proc": 2}
    wanted = saved("python", tmp_path / "stock", dataset, **keys)
    found = saved("rust", tmp_path / "ours", dataset, **keys)
    assert found == wanted
    assert len([name for name in found[1] if name.endswith(".arrow")]) == 2
    loaded = datasets.load_from_disk(str(tmp_path / "ours" / "hash"))
    stock = datasets.load_from_disk(str(tmp_path / "stock" / "hash"))
    assert loaded._fingerprint == stock._fingerprint
    assert loaded[:] == dataset[:]


def test_workers_of_a_large_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from fast_axolotl.axolotl.seams import save

    dataset = DATASETS["rows"]()
    wanted = saved("rust", tmp_path / "small", dataset, dataset_num_proc=2)
    monkeypatch.setattr(save, "_PAYS_FOR_WORKERS", 0)
    assert saved("rust", tmp_path / "large", dataset, dataset_num_proc=2) == wanted


def test_many_files_by_size(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(datasets.config, "MAX_SHARD_SIZE", "20KB")
    dataset = DATASETS["rows"]()
    wanted = saved("python", tmp_path / "stock", dataset, dataset_num_proc=2)
    assert saved("rust", tmp_path / "ours", dataset, dataset_num_proc=2) == wanted
    assert len(wanted[1]) > 6


@pytest.mark.usefixtures("_no_workers")
def test_over_an_older_one(tmp_path: Path) -> None:
    seen = []
    for mode in ("python", "rust"):
        folder = tmp_path / mode
        saved(mode, folder, DATASETS["rows"](), num_dataset_shards_to_save=4)
        (folder / "hash" / "notes.txt").write_text("kept")
        seen.append(saved(mode, folder, DATASETS["one row"](), num_dataset_shards_to_save=1))
    assert seen[0] == seen[1]
    assert "hash/notes.txt" in seen[1][1]


@pytest.mark.usefixtures("_no_workers")
@pytest.mark.parametrize("name", ["state.json", "data-00000-of-00001.arrow"])
@pytest.mark.parametrize("kind", ["folder", "link", "hard link"])
def test_over_what_somebody_else_has(kind: str, name: str, tmp_path: Path) -> None:
    seen = []
    for mode in ("python", "rust"):
        folder = tmp_path / mode
        (folder / "hash").mkdir(parents=True)
        place, other = folder / "hash" / name, folder / "other"
        if kind == "folder":
            place.mkdir()
            (place / "mine").write_text("kept")
        else:
            other.write_text("{}")
            (place.symlink_to if kind == "link" else place.hardlink_to)(other)
        seen.append((saved(mode, folder, DATASETS["one row"]()), place.is_symlink()))
    assert seen[0] == seen[1]


def test_itself(tmp_path: Path) -> None:
    seen = []
    for mode in ("python", "rust"):
        folder = tmp_path / mode
        tokenized([1, 2]).save_to_disk(str(folder / "hash"))
        seen.append(saved(mode, folder, datasets.load_from_disk(str(folder / "hash"))))
    assert seen[0] == seen[1]
    assert seen[0][0][0] is PermissionError


def test_streams_are_stocks_affair(tmp_path: Path) -> None:
    seen = []
    for mode in ("python", "rust"):
        folder = tmp_path / mode
        stream = tokenized([i % 7 for i in range(50)]).to_iterable_dataset()
        with dispatch_mode(mode):
            cfg = settings_of(folder, dataset_num_proc=1)
            _, error = outcome(replacement(NAME), cfg, stream, "hash", "train")
        assert error or len(datasets.load_from_disk(str(folder / "hash"))) == 50
        seen.append(error)
    assert seen[0] == seen[1]
    # With a newer dill than it knows, `datasets` 4.5 can't.
    assert seen[0] is None or is_before("datasets", 4, 8)


@pytest.mark.usefixtures("_no_workers")
@pytest.mark.parametrize("timed", [False, True])
def test_pushing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, timed: bool) -> None:
    """Once, also where the original saves as well to be timed."""
    asked: list[Any] = []
    monkeypatch.setattr(Dataset, "push_to_hub", lambda _self, *a, **k: asked.append((a, k)))
    monkeypatch.setattr(trace, "_sampling", timed)
    reset_stats()
    with stats_enabled():
        keys: dict[str, Any] = {"push_dataset_to_hub": "me/rows", "dataset_num_proc": 1}
        saved("rust", tmp_path, tokenized([1, 2]), **keys)
        assert (stats()["save"]["rust"]["saved"] != 0) is timed
    files = sorted(path.name for path in (tmp_path / "hash").iterdir())
    assert files == ["data-00000-of-00001.arrow", "dataset_info.json", "state.json"]
    assert asked == [(("me/rows", "hash"), {"private": True})]


@pytest.mark.usefixtures("_no_workers")
def test_verifying(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One push, stock's files and no others; an error where ours would write something else."""
    from fast_axolotl.axolotl.seams import save

    asked: list[Any] = []
    monkeypatch.setattr(Dataset, "push_to_hub", lambda _self, *a, **k: asked.append((a, k)))
    dataset = DATASETS["rows"]()
    keys: dict[str, Any] = {"dataset_num_proc": 1}
    wanted = saved("python", tmp_path / "stock", dataset, **keys)
    both = tmp_path / "both"
    assert saved("verify", both, dataset, push_dataset_to_hub="me/rows", **keys) == wanted
    assert len(asked) == 1

    real = save.save
    other = dataset.select(range(1, 2000))
    monkeypatch.setattr(save, "save", lambda _dataset, *rest: real(other, *rest))
    kind, message = saved("verify", both, dataset, **keys)[0]
    assert kind is VerificationError
    assert "data-00000-of-00001.arrow has other bytes" in message

    def shards(*args: Any) -> None:
        real(*args[:-1], 3)

    monkeypatch.setattr(save, "save", shards)
    _, message = saved("verify", both, dataset, **keys)[0]
    assert "rust wrote data-00000-of-00003.arrow" in message

    def fail(*_args: Any) -> None:
        raise OSError("no room")

    monkeypatch.setattr(save, "save", fail)
    ended, files, _ = saved("verify", tmp_path / "last", dataset, **keys)
    assert "rust raised OSError('no room')" in ended[1]
    assert files == wanted[1]


@pytest.mark.usefixtures("_no_workers")
@pytest.mark.parametrize("after", [0, 1, 2])
def test_a_full_disk_leaves_nothing(
    after: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from axolotl.utils.data.shared import load_preprocessed_dataset
    from datasets.arrow_writer import ArrowWriter

    real = ArrowWriter.write_table
    written: list[int] = []

    def write_table(self: Any, *args: Any, **kwargs: Any) -> None:
        written.append(1)
        if len(written) > after:
            raise OSError(28, "No space left on device")
        real(self, *args, **kwargs)

    monkeypatch.setattr(ArrowWriter, "write_table", write_table)
    dataset = DATASETS["rows"]()
    wanted = saved("python", tmp_path / "stock", dataset, num_dataset_shards_to_save=3)
    written.clear()
    found = saved("rust", tmp_path / "ours", dataset, num_dataset_shards_to_save=3)
    assert found[0] == wanted[0]
    assert found[0][0] is OSError
    assert found[1:] == ({}, ["hash"])
    assert load_preprocessed_dataset(settings_of(tmp_path / "ours"), "hash") is None


@pytest.mark.usefixtures("_no_workers")
def test_a_folder_in_one_that_is_read_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    dataset = tokenized([3, 4])
    wanted = saved("python", tmp_path / "stock", dataset)
    (tmp_path / "ours" / "hash").mkdir(parents=True)
    make = tempfile.mkdtemp

    def mkdtemp(*args: Any, dir: Any, **more: Any) -> str:  # noqa: A002 - its name
        if Path(dir) == tmp_path / "ours":
            raise PermissionError(13, "Permission denied")
        return make(*args, dir=dir, **more)

    monkeypatch.setattr(tempfile, "mkdtemp", mkdtemp)
    assert saved("rust", tmp_path / "ours", dataset) == wanted
    assert sorted(path.name for path in (tmp_path / "ours" / "hash").iterdir()) == sorted(
        name.removeprefix("hash/") for name in wanted[1]
    )


def test_no_process_is_started(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import multiprocess

    def fail(*_args: Any, **_kwargs: Any) -> None:
        raise AssertionError("a process was asked for")

    monkeypatch.setattr(multiprocess, "get_context", fail)
    assert saved("rust", tmp_path, DATASETS["rows"](), dataset_num_proc=2)[0] is None
