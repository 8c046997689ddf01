"""What a source stands for: files, in order, of one format."""

import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import NamedTuple, TypeAlias, Union

from .errors import os_error

Path: TypeAlias = Union[str, bytes, "os.PathLike[str]", "os.PathLike[bytes]"]
Source: TypeAlias = Path | Sequence[Path]

#: What `datasets` takes for no data, whatever its ending.
_NO_DATA = (
    *("README.md", "config.json", "dataset_info.json", "dataset_infos.json", "dataset_dict.json"),
    *("dummy_data.zip", "state.json"),
)


class Files(NamedTuple):
    """Files of one format, and what their folder says of them."""

    format: str
    paths: list[str]
    #: Features as JSON, where the folder says them and the files may not.
    features: str | None = None
    #: Bytes of all files as they are stored.
    size: int = 0


def find(source: Source, format: str | None, split: str | None) -> Files:  # noqa: A002
    """Return the files of a source.

    Args:
        source: A path, a glob pattern, a folder, or a list of these.
        format: The name of the format, or None to find it out.
        split: The split of a saved DatasetDict, or of a folder whose names say splits.

    Returns:
        The files: in the order of a list, sorted by name within a folder or a pattern.

    Raises:
        FileNotFoundError: There is no such file, or the folder or pattern has none.
        ValueError: The files are of several formats, or of an unknown one; the path is empty, or
            not of this machine; there is no such split.
        TypeError: What is given is no path.
    """
    from .._native import core

    assert core is not None
    split = None if split is None else str(split)
    items = [source] if isinstance(source, (str, bytes, os.PathLike)) else _listed(source)
    paths = []
    for item in items:
        path = _local(item)
        if os.path.isdir(path) and core.is_saved_dataset(path):
            saved = _saved(path, split)
            if len(items) == 1:
                return saved
            paths.extend(saved.paths)
        elif os.path.isdir(path):
            paths.extend(_of_split(path, _folder(path, format), split))
        else:
            if split not in (None, "train"):
                raise ValueError(f"{path}: there is no split {split!r}: only folders have splits")
            paths.extend(_expand(path))
    if not paths:
        raise _missing("", "the list of files is empty")
    kind = format if format is not None else _one_format(core.detect_file, paths)
    return Files(kind, paths, None, _size(paths))


def _saved(path: str, split: str | None) -> Files:
    from .._native import core

    assert core is not None
    found, features, left_out = core.saved_dataset(path, split)
    if left_out:
        _log(f"{path}: reading one split; left out: {', '.join(left_out)}")
    paths = [os.fspath(file) for file in found]
    return Files("hf_dataset", paths, features, _size(paths))


def _listed(source: object) -> list[Path]:
    if isinstance(source, Mapping) or hasattr(source, "read") or not isinstance(source, Iterable):
        raise _no_path(source)
    return list(source)


def _local(item: Path) -> str:
    """Return the path that something stands for, on this machine."""
    if not isinstance(item, (str, bytes, os.PathLike)):
        raise _no_path(item)
    path = os.fsdecode(item)
    if not path:
        raise ValueError("the path is empty: give a file, a folder or a pattern")
    scheme, found, rest = path.partition("://")
    if not found or not scheme.isalnum() or os.path.lexists(path):
        return _settled(path)
    if scheme.lower() != "file":
        raise ValueError(f"{path}: only files of this machine are read, and {scheme}:// is not")
    from urllib.request import url2pathname

    return url2pathname(rest.removeprefix("localhost"))


def _settled(path: str) -> str:
    """Return a path that stays the same in another folder: a file is opened more than once."""
    if path[0] == "~" and not os.path.lexists(path):
        path = os.path.expanduser(path)
    try:
        # Not `abspath`, to which `link/..` is nothing.
        return os.path.join(os.getcwd(), path)
    except FileNotFoundError:  # a working folder that was deleted
        return path


def _no_path(item: object) -> TypeError:
    kind = type(item).__name__
    return TypeError(f"the source must be a path or a list of paths, not {kind}")


def _expand(path: str) -> list[str]:
    if not os.path.lexists(path) and any(sign in path for sign in "*?["):
        import glob

        found = sorted(file for file in glob.glob(path, recursive=True) if os.path.isfile(file))
        if not found:
            raise _missing(path, "no file matches the pattern")
        return found
    return [path]


def _of_split(folder: str, paths: list[str], split: str | None) -> list[str]:
    """Return the files of one split, chosen as from a saved DatasetDict."""
    from .splits import by_split

    splits = by_split(folder, paths) or {"train": paths}
    chosen = split
    if split is None:
        chosen = next(iter(splits)) if len(splits) == 1 else "train"
    if chosen not in splits:
        asked = "choose one with split=" if split is None else f"there is no split {split!r}"
        raise ValueError(f"{folder}: {asked}: the splits are {', '.join(splits)}")
    left_out = sorted({*paths} - {*splits[chosen]})
    if left_out:
        _log(f"{folder}: reading split {chosen}; left out: {', '.join(left_out)}")
    return splits[chosen]


def _folder(folder: str, asked: str | None) -> list[str]:
    """Return the data files of a folder and those below it: of this, or its most common format."""
    from ..formats import split_name

    by_format: dict[str | None, list[str]] = {}
    foreign = []
    for place, names, files in os.walk(folder):
        # Those that `datasets` looks into.
        names[:] = sorted(name for name in names if not name.startswith((".", "__")))
        for name in sorted(files):
            path = os.path.join(place, name)
            kind = _group(split_name(name)[0])
            is_marker = kind is None and name[0] == "_"  # `_SUCCESS`
            if name[0] == "." or is_marker or name in _NO_DATA:
                foreign.append(path)
                continue
            kind = "tsv" if kind == "csv" and ".tsv" in name.lower() else kind
            by_format.setdefault(kind, []).append(path)
    chosen = _most_common(folder, by_format) if asked is None else _of(asked, folder, by_format)
    foreign.extend(path for other in by_format if other != chosen for path in by_format[other])
    if foreign:
        _log(f"{folder}: reading {chosen or asked}; left out: {', '.join(sorted(foreign))}")
    return sorted(by_format[chosen])


def _group(kind: str | None) -> str | None:
    return {"jsonl": "json", "feather": "arrow", "hf_dataset": "arrow"}.get(kind or "", kind)


def _of(asked: str, folder: str, by_format: dict[str | None, list[str]]) -> str | None:
    """Return what the names say of the files to be read as a format: None where it is nothing."""
    kind = _group(asked)
    for told in (kind, "tsv" if kind == "csv" else kind, None):
        if told in by_format:
            return told
    # What is all of one format may be asked for as another: lines of JSON as text.
    if len(by_format) != 1:
        found = ", ".join(sorted(filter(None, by_format))) or "none of any other"
        raise _missing(folder, f"the folder has no data files of format {asked}, but {found}")
    return next(iter(by_format))


def _most_common(folder: str, by_format: dict[str | None, list[str]]) -> str:
    found = {kind: len(paths) for kind, paths in by_format.items() if kind is not None}
    if not found:
        raise _missing(folder, "the folder has no data files")
    chosen = max(found, key=found.__getitem__)
    if list(found.values()).count(found[chosen]) > 1:
        raise ValueError(
            f"{folder}: has files of several formats ({', '.join(sorted(found))}): "
            "name the files, or a pattern for them"
        )
    return chosen


def _one_format(detect: Callable[[str], str], paths: Iterable[str]) -> str:
    found: dict[str, str] = {}
    for path in paths:
        found.setdefault(detect(path), path)
    if len(found) > 1:
        listed = ", ".join(f"{path} is {kind}" for kind, path in found.items())
        raise ValueError(f"the files are of several formats: {listed}")
    return next(iter(found))


def _size(paths: Iterable[str]) -> int:
    # What is missing is for the reader to say, in its place.
    return sum(stamp[0] for stamp in stamps(paths) if stamp)


def stamps(paths: Iterable[str]) -> list[tuple[int, int, int] | None]:
    """Return what tells whether files were changed or replaced since; None for one that is gone."""
    return [_stamp(path) for path in paths]


def _stamp(path: str) -> tuple[int, int, int] | None:
    try:
        status = os.stat(path)
    except OSError:
        return None
    return status.st_size, status.st_mtime_ns, status.st_ino


def _missing(path: str, reason: str) -> OSError:
    return os_error(None, "NotFound", path, reason)


def _log(message: str) -> None:
    import logging

    logging.getLogger("fast_axolotl.streaming").warning(message)
