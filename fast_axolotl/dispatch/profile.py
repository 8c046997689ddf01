"""The profile of a host: read when the first decision needs it, replaced as a whole.

A YAML file: `checksum`, `version`, `key`, `made`, `points`, `fit`, `verdicts`, `audit`. What does
not match this host and this build, or is damaged, is ignored with one line that says why. Nothing
in it is executed: only plain scalars, lists and mappings are accepted.
"""

from __future__ import annotations

import errno
import math
import os
import stat
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

from fast_axolotl._records import NamedTuple

from . import registry
from .policy import FEATURES, IMPLEMENTATIONS, PYTHON, RUST, THREADS, Cell, Cost, Verdict

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

ENVIRONMENT = "FAST_AXOLOTL_PROFILE"
VERSION = 1
FILE_NAME = "profile.yaml"

# A full calibration's profile has 200 KB; reading must end within a second whatever is in it. What
# no calibration wrote is parsed, to say what is wrong with it, only where it is small.
_MAX_BYTES = 1 << 20
_MAX_BYTES_UNCHECKED = 16 << 10
_MAX_DEPTH = 8

_KEYS = {
    "checksum": str,
    "version": int,
    "key": dict,
    "made": dict,
    "points": dict,
    "fit": dict,
    "verdicts": dict,
    "audit": dict,
}
# The two implementations that each verdict of a cell is about: holder, challenger.
PAIRS = {"one": (PYTHON, RUST), "many": (PYTHON, THREADS), "split": (RUST, THREADS)}


class ProfileError(Exception):
    """A profile that can't be used or written; the message is one line."""


class Profile(NamedTuple):
    """A profile that was read.

    Attributes:
        source: the file, or "packaged default".
        cells: the rules of each cell.
        fits: cell -> implementation -> cost.
        data: everything, as it was read.
    """

    source: str
    cells: dict[str, Cell]
    fits: dict[str, dict[str, Cost]]
    data: dict[str, Any]


def path() -> str:
    """Return where the profile of this user and host is.

    Raises:
        ProfileError: there is no home folder to put it in.
    """
    given = os.environ.get(ENVIRONMENT)
    if given:
        return os.path.expanduser(given)
    folder = _cache_folder()
    if not os.path.isabs(folder):  # "~" that could not be expanded
        raise ProfileError(f"no home folder for the profile; set {ENVIRONMENT}")
    return os.path.join(folder, FILE_NAME)


def _cache_folder() -> str:
    # What platformdirs would say, without its import: the first decision of every process asks.
    if sys.platform == "win32":
        local = os.environ.get("LOCALAPPDATA") or os.path.expanduser("~\\AppData\\Local")
        return os.path.join(local, "fast-axolotl", "Cache")
    if sys.platform == "darwin":
        return os.path.expanduser("~/Library/Caches/fast-axolotl")
    cache = os.environ.get("XDG_CACHE_HOME", "")
    if not os.path.isabs(cache):
        cache = os.path.expanduser("~/.cache")
    return os.path.join(cache, "fast-axolotl")


# --- reading ---------------------------------------------------------------------------------


def load(file: str, key: dict[str, Any] | None) -> Profile:
    """Read and check a profile.

    Args:
        file: its path.
        key: what it has to match; None to take any host's.

    Raises:
        FileNotFoundError: there is none.
        ProfileError: it can't be used; the message says why, in one line, without the path.
    """
    raw = _read(file)
    damaged = ProfileError("damaged: its checksum does not match its contents")
    intact = raw.startswith(f"checksum: {checksum(raw)}\n".encode())
    if not intact and len(raw) > _MAX_BYTES_UNCHECKED:
        raise damaged
    profile = validate(_parse(raw), key, source=file)
    if not intact:
        raise damaged
    return profile


def _read(file: str) -> bytes:
    # Not blocking: a FIFO at that path must not stop the caller.
    try:
        handle = os.open(
            file, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)
        )
    except FileNotFoundError:
        raise
    except NotADirectoryError as error:  # as where the home folder is /dev/null
        raise FileNotFoundError(*error.args) from None
    except OSError as error:
        raise ProfileError(f"can't be read: {error.strerror or error}") from None
    try:
        if not stat.S_ISREG(os.fstat(handle).st_mode):
            raise ProfileError("is not a file")
        with open(handle, "rb", closefd=False) as stream:
            raw = stream.read(_MAX_BYTES + 1)
    except OSError as error:
        raise ProfileError(f"can't be read: {error.strerror or error}") from None
    finally:
        os.close(handle)
    if len(raw) > _MAX_BYTES:
        raise ProfileError(f"is larger than {_MAX_BYTES} bytes")
    return raw


def _parse(raw: bytes) -> dict[str, Any]:
    import yaml

    # The C parser where PyYAML has it: ten times as fast. Both read YAML 1.1 without tags.
    loader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    try:
        text = raw.decode("utf-8")
        _check_events(yaml, text, loader)
        data = yaml.load(text, loader)
    except UnicodeDecodeError:
        raise ProfileError("is not text") from None
    except yaml.YAMLError as error:
        raise ProfileError(f"is not the YAML of a profile: {_one_line(error)}") from None
    except (ValueError, OverflowError, RecursionError) as error:
        raise ProfileError(f"is not the YAML of a profile: {_one_line(error)}") from None
    if not isinstance(data, dict):
        raise ProfileError(f"holds {type(data).__name__}, not a mapping")
    return data


def _check_events(yaml: Any, text: str, loader: Any) -> None:
    # What a profile never has and an attack needs: aliases (bombs), tags (objects), depth.
    depth = 0
    for event in yaml.parse(text, loader):
        if isinstance(event, yaml.AliasEvent) or getattr(event, "anchor", None):
            raise ProfileError("has YAML anchors or aliases, which no profile has")
        if getattr(event, "tag", None):
            raise ProfileError(f"has the YAML tag {event.tag!r}, which no profile has")
        if isinstance(event, yaml.CollectionStartEvent):
            depth += 1
            if depth > _MAX_DEPTH:
                raise ProfileError(f"is nested more than {_MAX_DEPTH} deep")
        elif isinstance(event, yaml.CollectionEndEvent):
            depth -= 1


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())[:200]


def validate(data: dict[str, Any], key: dict[str, Any] | None, source: str) -> Profile:
    """Check what a profile holds, and return its rules.

    Args:
        data: the profile as `yaml.safe_load` gives it.
        key: what it has to match; None to take any host's.
        source: where it comes from.

    Raises:
        ProfileError: it can't be used; the message says why, in one line.
    """
    version = data.get("version")
    if type(version) is not int:
        raise ProfileError(f"'version' must be an int, not {_shown(version)}")
    if version != VERSION:
        raise ProfileError(f"is of version {version}; this fast-axolotl reads version {VERSION}")
    for name, kind in _KEYS.items():
        if name not in data:
            raise ProfileError(f"has no {name!r}")
        if type(data[name]) is not kind:
            raise ProfileError(f"{name!r} must be a {kind.__name__}, not {_shown(data[name])}")
    unknown = sorted(map(str, set(data) - set(_KEYS)))
    if unknown:
        raise ProfileError(f"has the unknown key {unknown[0][:50]!r}")
    if key is not None:
        _check_key(data["key"], key)
    for cell, columns in data["points"].items():
        _check_points(cell, columns)
    fits = {
        _text(cell): {
            _one_of(f"fit of {cell}", side, IMPLEMENTATIONS): _cost(f"fit of {cell}", values)
            for side, values in _mapping(f"fit of {cell}", sides).items()
        }
        for cell, sides in data["fit"].items()
    }
    cells = {_text(cell): _cell(cell, rules) for cell, rules in data["verdicts"].items()}
    for name in ("mean", "p95", "max"):
        if name not in data["audit"]:
            raise ProfileError(f"'audit' has no {name!r}")
        _number(f"audit {name}", data["audit"][name])
    return Profile(source, cells, fits, data)


def unsaved(data: dict[str, Any]) -> Profile:
    """Return the profile that a calibration has just measured, which has no checksum yet."""
    return validate({"checksum": "", **data}, None, source="calibration")


def _check_key(found: dict[str, Any], wanted: dict[str, Any]) -> None:
    for name, value in wanted.items():
        if name not in found:
            raise ProfileError(f"'key' has no {name!r}")
        if found[name] != value or type(found[name]) is not type(value):
            raise ProfileError(
                f"was made for another {name}: {_shown(found[name])}, here it is {_shown(value)}"
            )


def _check_points(cell: Any, table: Any) -> None:
    # A heading, then a line a point (see calibration.fit.points_text).
    what = f"points of {_text(cell)}"
    if type(table) is not str:
        raise ProfileError(f"{what} must be a table, not {_shown(table)}")
    heading, *rows = [line.split() for line in table.splitlines()] or [[]]
    known = ("role", *FEATURES, *IMPLEMENTATIONS)
    for name in ("role", *FEATURES, PYTHON, RUST):
        if name not in heading:
            raise ProfileError(f"{what} have no {name!r}")
    for name in heading:
        _one_of(what, name, known)
    for row in rows:
        if len(row) != len(heading):
            raise ProfileError(f"{what}: {len(row)} values in a line, not {len(heading)}")
        for name, value in zip(heading, row):
            if name == "role":
                _one_of(what, value, ("fit", "select", "audit"))
                continue
            try:
                number = float(value)
            except ValueError:
                raise ProfileError(f"{what}: {name} is no number: {_shown(value)}") from None
            if not math.isfinite(number) or number < 0:
                raise ProfileError(f"{what}: {name} must be a number from 0 up, not {value}")


def _cell(name: Any, rules: Any) -> Cell:
    found = _mapping(f"verdict of {name}", rules)
    for pair in found:
        _one_of(f"verdict of {name}", pair, tuple(PAIRS))
    if "one" not in found or ("many" in found) != ("split" in found):
        raise ProfileError(f"the verdicts of {_shown(name)} are incomplete")
    return Cell(*(_verdict(name, pair, found[pair]) if pair in found else None for pair in PAIRS))  # type: ignore[arg-type]


def _verdict(cell: Any, pair: str, rule: Any) -> Verdict:
    what = f"verdict of {cell}"
    rule = _mapping(what, rule)
    holder, challenger = PAIRS[pair]
    members = {
        "always": {"kind", "side"},
        "threshold": {"kind", "feature", "at", "above"},
        "plane": {"kind", holder, challenger},
    }
    kind = _one_of(what, rule.get("kind"), tuple(members))
    if set(rule) != members[kind]:
        raise ProfileError(f"{what}: {kind!r} has the keys {sorted(members[kind])}")
    sides = (holder, challenger)
    if kind == "always":
        return Verdict(kind, holder, challenger, side=_one_of(what, rule["side"], sides))
    if kind == "threshold":
        return Verdict(
            kind,
            holder,
            challenger,
            feature=_one_of(what, rule["feature"], FEATURES),
            at=_number(f"{what}: at", rule["at"]),
            above=_one_of(what, rule["above"], sides),
        )
    return Verdict(
        kind, holder, challenger, costs=(_cost(what, rule[holder]), _cost(what, rule[challenger]))
    )


def _cost(what: str, values: Any) -> Cost:
    numbers = [_number(what, value) for value in _sequence(what, values)]
    if len(numbers) != 4:
        raise ProfileError(f"{what} must have 4 coefficients, not {len(numbers)}")
    return Cost(*numbers)


def _number(what: str, value: Any) -> float:
    if type(value) not in (int, float):
        raise ProfileError(f"{what} must be a number, not {_shown(value)}")
    if not math.isfinite(value) or value < 0:
        raise ProfileError(f"{what} must be a number from 0 up, not {_shown(value)}")
    return float(value)


def _mapping(what: str, value: Any) -> dict[Any, Any]:
    if type(value) is not dict:
        raise ProfileError(f"{what} must be a mapping, not {_shown(value)}")
    return value


def _sequence(what: str, value: Any) -> list[Any]:
    if type(value) is not list:
        raise ProfileError(f"{what} must be a list, not {_shown(value)}")
    return value


def _one_of(what: str, value: Any, allowed: tuple[str, ...]) -> str:
    if type(value) is not str or value not in allowed:
        raise ProfileError(f"{what} must be one of {', '.join(allowed)}, not {_shown(value)}")
    return value


def _text(value: Any) -> str:
    if type(value) is not str:
        raise ProfileError(f"the name of a cell must be a str, not {_shown(value)}")
    return value


def _shown(value: Any) -> str:
    return " ".join(repr(value).split())[:80]


# --- the packaged default --------------------------------------------------------------------


def default() -> Profile:
    """Return the packaged default: Rust only where no recorded machine saw Python win."""
    import json

    file = os.path.join(os.path.dirname(__file__), "default.json")
    # By the loader: the package may be in an archive.
    data = json.loads(__spec__.loader.get_data(file))  # type: ignore[union-attr]
    return validate(data, None, source="packaged default")


# --- writing ---------------------------------------------------------------------------------


def dump(data: dict[str, Any]) -> bytes:
    """Return a profile as YAML, with its checksum in the first line."""
    import yaml

    body: dict[str, Any] = {name: data[name] for name in _KEYS if name != "checksum"}

    class Dumper(getattr(yaml, "CSafeDumper", yaml.SafeDumper)):  # type: ignore[misc]
        """Tables as blocks of lines."""

    def represent(dumper: Any, value: str) -> Any:
        style = "|" if "\n" in value else None
        return dumper.represent_scalar("tag:yaml.org,2002:str", value, style=style)

    Dumper.add_representer(str, represent)
    text = yaml.dump(
        body, Dumper=Dumper, default_flow_style=None, sort_keys=False, width=100, allow_unicode=True
    )
    raw = text.encode()
    return b"checksum: " + _digest(raw).encode() + b"\n" + raw


def checksum(raw: bytes) -> str:
    """Return the checksum that a profile's first line should have: of all that follows it."""
    return _digest(raw.partition(b"\n")[2])


def _digest(raw: bytes) -> str:
    from hashlib import sha256

    # Never all digits, which YAML would read as a number.
    return "sha256-" + sha256(raw).hexdigest()


def write(file: str, data: dict[str, Any]) -> None:
    """Put a profile in place: beside it first, then moved over the old one.

    The caller holds the lock.

    Raises:
        ProfileError: it can't be written; the old one is as it was and nothing is left beside it.
    """
    import tempfile

    raw = dump(data)
    _check_place(file)
    folder, name = os.path.split(os.path.abspath(file))
    temporary = None
    try:
        for stale in os.listdir(folder):
            if stale.startswith(f".{name}.") and stale.endswith(".tmp"):
                os.unlink(os.path.join(folder, stale))
        handle, temporary = tempfile.mkstemp(".tmp", f".{name}.", folder)
        with open(handle, "wb") as stream:
            stream.write(raw)
            stream.flush()
            os.fsync(stream.fileno())
        os.replace(temporary, file)
        temporary = None
    except OSError as error:
        raise ProfileError(f"can't write {file}: {error.strerror or error}") from None
    finally:
        if temporary is not None:
            with suppress(OSError):
                os.unlink(temporary)


def _check_place(file: str) -> None:
    if os.path.isdir(file):
        raise ProfileError(f"{file} is a folder")
    if os.path.exists(file) and not os.path.isfile(file):
        # Moved over /dev/null, a profile would take its place.
        raise ProfileError(f"{file} is no regular file")


# --- the lock --------------------------------------------------------------------------------


@contextmanager
def lock(
    file: str, timeout: float = 120.0, waiting: Callable[[], None] | None = None
) -> Iterator[bool]:
    """Hold the lock of a profile: one process calibrates at a time.

    The lock is a file beside the profile that stays. It is the operating system's (released when
    its holder dies) where there is one, and a file that must not exist yet where there is none.

    Args:
        file: path of the profile; its folder is made.
        timeout: seconds to wait for another process.
        waiting: called once, before waiting.

    Yields:
        Whether this process had to wait.

    Raises:
        ProfileError: the folder or the lock can't be made, another process keeps it, or there is
            something else than a file in the profile's place.
    """
    _check_place(file)  # before anybody measures for nothing
    folder = os.path.dirname(os.path.abspath(file))
    try:
        os.makedirs(folder, exist_ok=True)
        handle = os.open(f"{file}.lock", os.O_RDWR | os.O_CREAT, 0o644)
    except OSError as error:
        raise ProfileError(f"can't write beside {file}: {error.strerror or error}") from None
    try:
        release, waited = _acquire(handle, file, time.monotonic() + timeout, waiting)
        try:
            yield waited
        finally:
            release()
    finally:
        os.close(handle)


def _acquire(
    handle: int, file: str, deadline: float, waiting: Callable[[], None] | None
) -> tuple[Callable[[], None], bool]:
    take = _system_lock(handle) or _file_lock(f"{file}.lock.held")
    waited = False
    while True:
        try:
            release = take()
        except OSError as error:
            if error.errno in (errno.ENOLCK, errno.ENOSYS, errno.ENOTSUP):
                take = _file_lock(f"{file}.lock.held")  # a file system without locks
                continue
            raise ProfileError(f"can't lock {file}: {error.strerror or error}") from None
        if release is not None:
            return release, waited
        if not waited and waiting is not None:
            waiting()
        waited = True
        if time.monotonic() > deadline:
            raise ProfileError(f"another process keeps the lock {file}.lock")
        time.sleep(0.05)


def _system_lock(handle: int) -> Callable[[], Callable[[], None] | None] | None:
    try:
        import fcntl
    except ImportError:
        try:
            import msvcrt
        except ImportError:
            return None
        return lambda: _take_windows(msvcrt, handle)
    return lambda: _take_posix(fcntl, handle)


def _take_posix(fcntl: Any, handle: int) -> Callable[[], None] | None:
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno in (errno.EWOULDBLOCK, errno.EACCES, errno.EAGAIN):
            return None
        raise
    return lambda: fcntl.flock(handle, fcntl.LOCK_UN)


def _take_windows(msvcrt: Any, handle: int) -> Callable[[], None] | None:
    def release() -> None:
        os.lseek(handle, 0, os.SEEK_SET)
        msvcrt.locking(handle, msvcrt.LK_UNLCK, 1)

    os.lseek(handle, 0, os.SEEK_SET)
    try:
        msvcrt.locking(handle, msvcrt.LK_NBLCK, 1)
    except OSError as error:
        if error.errno in (errno.EACCES, errno.EDEADLK):
            return None
        raise
    return release


def _file_lock(path: str) -> Callable[[], Callable[[], None] | None]:
    # The last resort. A holder that died leaves its file; after an hour it counts as gone.
    def take() -> Callable[[], None] | None:
        try:
            os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o644))
        except FileExistsError:
            with suppress(OSError):
                if time.time() - os.stat(path).st_mtime > 3600:
                    os.unlink(path)
            return None
        return lambda: os.unlink(path)

    return take


def lookup(table: dict[str, Any], name: str) -> Any:
    """Return the entry of a cell, or of the one that stands for it.

    `torch` shares the memory of a NumPy array, so both sides pay the same few microseconds more
    and the verdict is that of "numpy"; a collector that is off only matters where it was measured.
    """
    function, layout, output, collector = registry.split_cell(name)
    for out in (output, "numpy") if output == "torch" else (output,):
        for state in (collector, True):
            found = table.get(registry.cell_name(function, layout, out, state))
            if found is not None:
                return found
    return None
