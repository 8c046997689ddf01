"""The splits that the names in a folder say, by the rule of `datasets.data_files`."""

import os
import re
from collections.abc import Iterable

_KEYWORDS = {
    "train": ("train", "training"),
    "validation": ("validation", "valid", "dev", "val"),
    "test": ("test", "testing", "eval", "evaluation"),
}
_ANY_KEYWORD = re.compile("|".join(word for words in _KEYWORDS.values() for word in words))
_SEPARATOR = "[-._ 0-9]"
#: What a name with a keyword looks like, in the order in which files are listed.
_FOLDERS = ("{keyword}", "{keyword}{sep}.*", ".*{sep}{keyword}", ".*{sep}{keyword}{sep}.*")
_FILES = ("{keyword}{sep}.*", ".*{sep}{keyword}{sep}.*")
_SHARDED = re.compile(r"data/(\w+(?:\.\w+)*)-\d{5}-of-\d{5}[^/]*\.[^/]*")


def by_split(folder: str, paths: Iterable[str]) -> dict[str, list[str]]:
    """Return the files of each split, of all in and below a folder; none where no name says one.

    What the folders say counts more than the names of files. Where one file is of a split, those
    that are of none are left out.
    """
    start = len(os.path.join(folder, ""))
    places = {path: path[start:].replace(os.sep, "/") for path in sorted(paths)}
    return _sharded(places) or _named(places, _FOLDERS) or _named(places, _FILES)


def _sharded(places: dict[str, str]) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for path, place in places.items():
        if told := _SHARDED.fullmatch(place):
            found.setdefault(told[1], []).append(path)
    return found


def _named(places: dict[str, str], looks: Iterable[str]) -> dict[str, list[str]]:
    parts = {}
    for path, place in places.items():
        *folders, name = place.split("/")
        names = folders if looks is _FOLDERS else [name]
        if any(map(_ANY_KEYWORD.search, names)):
            parts[path] = names
    found = {}
    for split, keywords in _KEYWORDS.items():
        files: dict[str, None] = {}
        for keyword in keywords:
            for look in looks:
                pattern = re.compile(look.format(keyword=keyword, sep=_SEPARATOR), re.DOTALL)
                for path, names in parts.items():
                    if any(map(pattern.fullmatch, names)):
                        files[path] = None
        if files:
            found[split] = list(files)
    return found
