"""The exceptions of the reader."""

import errno
import os
from importlib import import_module


class ReaderError(RuntimeError, ValueError):
    """Something is wrong with the content of a file.

    Attributes:
        file: The path, or None.
        row: The row, counted from 0 in its file, or None.
        line: The line, counted from 1, or None.
        byte: The position in the decompressed content, or None.
        column: The name of the column, or None.
    """

    file: "str | os.PathLike[str] | None" = None
    row: int | None = None
    line: int | None = None
    byte: int | None = None
    column: str | None = None


class DamagedFileError(ReaderError):
    """A file is truncated, damaged, or not what it says it is."""


class SchemaError(ReaderError):
    """A value or a column contradicts the schema that the files are read with."""


class TooLargeError(ReaderError):
    """A row or a batch is larger than the reader is willing to hold."""


class UnknownFormatError(RuntimeError, ValueError):
    """A format that there is not, or that neither the name nor the content of a file tells."""


def check_installed(library: str, what: str) -> None:
    """Check that a library that `what` needs is there.

    Raises:
        ImportError: It is not installed; the message says what to install.
    """
    try:
        import_module(library)
    except ImportError as error:
        if error.name != library:
            raise
        raise ImportError(
            f"{what} needs {library}, which is not installed: pip install {library}"
        ) from None


# What Rust's `io::ErrorKind` says where there is no number.
_NUMBERS = {
    "NotFound": errno.ENOENT,
    "PermissionDenied": errno.EACCES,
    "IsADirectory": errno.EISDIR,
    "NotADirectory": errno.ENOTDIR,
    "Interrupted": errno.EINTR,
    "InvalidInput": errno.EINVAL,
}
_CLASSES: dict[type[OSError], type[OSError]] = {}


def os_error(
    number: int | None, kind: str, file: "str | os.PathLike[str] | None", reason: str | None
) -> OSError:
    """Return the exception for an error of the system.

    Args:
        number: Its `errno`, if it has one.
        kind: Its `std::io::ErrorKind`.
        file: The file it is about.
        reason: What it says, where it has no number.

    Returns:
        An instance of the `OSError` subclass that Python raises for this number, which is a
        `RuntimeError` too.
    """
    if number is None:
        number = _NUMBERS.get(kind, errno.EIO)
    reason = reason or os.strerror(number)
    plain = OSError(number, reason)
    name = None if file is None else os.fspath(file)
    return _both(type(plain))(number, reason, name)


def _both(base: type[OSError]) -> type[OSError]:
    found = _CLASSES.get(base)
    if found is None:
        found = type(base.__name__, (base, RuntimeError), {"__module__": "builtins"})
        _CLASSES[base] = found
    return found
