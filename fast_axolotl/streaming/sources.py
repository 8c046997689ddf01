"""What a source stands for: files, in order, of one format."""

import os
from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple, TypeAlias, Union

from .errors import os_error

Path: TypeAlias = Union[str, "os.PathLike[str]"]
Source: TypeAlias = Path | Sequence[Path]


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
        split: The split of a saved DatasetDict.

    Returns:
        The files: in the order of a list, sorted by name within a folder or a pattern.

    Raises:
        FileNotFoundError: There is no such file, or the folder or pattern has none.
        ValueError: The files are of several formats, or of an unknown one; the path is empty.
    """
    from .._native import core

    assert core is not None
    if isinstance(source, (str, os.PathLike)):
        path = os.fspath(source)
        if not path:
            raise ValueError("the path is empty: give a file, a folder or a pattern")
        if os.path.isdir(path) and core.is_saved_dataset(path):
            return _saved(path, split)
        paths = _expand(path)
    else:
        paths = []
        for item in source:
            path = os.fspath(item)
            if os.path.isdir(path) and core.is_saved_dataset(path):
                saved = _saved(path, split)
                if len(source) == 1:
                    return saved
                paths.extend(saved.paths)
            else:
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


def _expand(path: str) -> list[str]:
    if os.path.isdir(path):
        return _folder(path)
    if not os.path.lexists(path) and any(sign in path for sign in "*?["):
        import glob

        found = sorted(file for file in glob.glob(path, recursive=True) if os.path.isfile(file))
        if not found:
            raise _missing(path, "no file matches the pattern")
        return found
    return [path]


def _folder(folder: str) -> list[str]:
    """Return the data files of a folder and those below it: those of its most common format."""
    from ..formats import split_name

    by_format: dict[str, list[str]] = {}
    foreign = []
    for place, names, files in os.walk(folder):
        names[:] = sorted(name for name in names if name[0] not in "._")
        for name in sorted(files):
            path = os.path.join(place, name)
            kind = None if name[0] in "._" else split_name(name)[0]
            if kind is None or name in ("dataset_info.json", "state.json"):
                foreign.append(path)
            else:
                kind = {"jsonl": "json", "feather": "arrow"}.get(kind, kind)
                kind = "tsv" if kind == "csv" and ".tsv" in name.lower() else kind
                by_format.setdefault(kind, []).append(path)
    if not by_format:
        raise _missing(folder, "the folder has no data files")
    ranked = sorted(by_format, key=lambda kind: -len(by_format[kind]))
    chosen = ranked[0]
    for kind in ranked[1:]:
        if len(by_format[kind]) == len(by_format[chosen]):
            raise ValueError(
                f"{folder}: has files of several formats ({', '.join(sorted(by_format))}): "
                "name the files, or a pattern for them"
            )
        foreign.extend(by_format[kind])
    if foreign:
        _log(f"{folder}: reading {chosen}; left out: {', '.join(sorted(foreign))}")
    return sorted(by_format[chosen])


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
    return sum(os.stat(path).st_size for path in paths if os.path.exists(path))


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
