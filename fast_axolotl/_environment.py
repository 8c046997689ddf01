"""Variables of the environment that are read at import, where a wrong one is an error."""

from __future__ import annotations

import os
import sys

#: What is wrong, where the command `fast-axolotl` runs: it reports this instead of a traceback.
problems: list[str] = []


def switch(name: str) -> bool:
    """Return a variable that is 0 or 1; not set is 0.

    Raises:
        ValueError: it is neither.
    """
    value = os.environ.get(name, "").strip()
    if value not in ("", "0", "1"):
        refuse(ValueError(f"{name}={value!r}; allowed are 0 and 1"))
    return value == "1"


def refuse(error: ValueError) -> None:
    """Raise an error, unless the command runs: it goes on without the variable, and says so."""
    if not _is_command():
        raise error
    problems.append(str(error))


def _is_command() -> bool:
    given = sys.argv[:1]
    if given == ["-m"]:  # the package is imported before its name gets there
        return sys.orig_argv[-len(sys.argv)].removeprefix("-m") == "fast_axolotl"
    # Not pathlib, as in `formats`.
    names = [os.path.basename(name) for name in given]  # noqa: PTH119
    return [name.partition(".")[0] for name in names] == ["fast-axolotl"]
