"""Profiles: what is right is used, everything else is ignored with one line."""

import json
import os
import random
import stat
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from dispatch_helpers import ROOT, needs_rust, run_python

from fast_axolotl.calibration import fit
from fast_axolotl.calibration.fingerprint import key
from fast_axolotl.dispatch import call, policy, profile, registry
from fast_axolotl.dispatch.policy import PYTHON, RUST, Cost, Sizes

CELL = "pad_sequences/lists/lists"


def data(**changes: Any) -> dict[str, Any]:
    """Return a right profile of this host."""
    points = [
        fit.Point(Sizes(n, 8 * n, 8 * n), {PYTHON: 100.0 * n, RUST: 900.0 + n}, "fit")
        for n in (1, 10, 100)
    ]
    found = {
        "version": 1,
        "key": key(),
        "made": {"at": "2026-01-01T00:00:00Z", "effort": "quick", "seconds": 1.0},
        "points": {CELL: fit.points_text(points)},
        "fit": {CELL: {PYTHON: [0.0, 100.0, 0.0, 0.0], RUST: [900.0, 1.0, 0.0, 0.0]}},
        "verdicts": {
            CELL: {"one": {"kind": "threshold", "feature": "rows", "at": 9.1, "above": RUST}}
        },
        "audit": {"points": 1, "mean": 0.0, "p95": 0.0, "max": 0.0, "against_python": 1.0},
    }
    return {**found, **changes}


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "profile.yaml"


def test_what_is_written_can_be_read(file: Path) -> None:
    profile.write(str(file), data())
    found = profile.load(str(file), key())
    assert found.cells[CELL].one == policy.threshold("rows", 9.1, RUST)
    assert found.fits[CELL][RUST] == Cost(900, 1, 0, 0)
    loaded = yaml.safe_load(file.read_text(encoding="utf-8"))
    assert set(loaded) >= {"version", "key", "points", "fit", "verdicts", "audit"}
    assert os.listdir(file.parent) == ["profile.yaml"]


@needs_rust
def test_it_decides(file: Path) -> None:
    import fast_axolotl

    profile.write(str(file), data())
    call.reload()
    fast_axolotl.pad_sequences([[1, 2]] * 9)
    assert fast_axolotl.stats()["pad"]["python"]["calls"] == 1
    fast_axolotl.pad_sequences([[1, 2]] * 10)
    assert fast_axolotl.stats()["pad"]["rust"]["calls"] == 1
    assert str(file) in fast_axolotl.explain("pad", rows=5, length=8).source


def edited(change: Callable[[dict[str, Any]], None]) -> bytes:
    found = json.loads(json.dumps(data()))
    change(found)
    return profile.dump(found) if set(found) >= set(data()) else yaml.safe_dump(found).encode()


def key_change(name: str, value: Any) -> bytes:
    return edited(lambda d: d["key"].__setitem__(name, value))


FAULTS: dict[str, tuple[Callable[[], bytes], str]] = {
    "empty": (lambda: b"", "holds NoneType"),
    "cut": (lambda: profile.dump(data())[:-40], "checksum|YAML|no '|verdict|complete|a number"),
    "binary": (lambda: bytes(range(256)) * 8, "not text|YAML"),
    "bomb": (
        lambda: b"a: &a [x,x,x,x,x,x,x,x,x]\nb: &b [*a,*a,*a,*a,*a]\nc: [*b,*b,*b,*b]\n",
        "anchors or aliases",
    ),
    "object": (
        lambda: b"version: !!python/object/apply:os.system ['echo harm > harm']\n",
        "tag",
    ),
    "list": (lambda: b"- 1\n- 2\n", "holds list"),
    "scalar": (lambda: b"42\n", "holds int"),
    "spaces": (lambda: b" " * (16 << 20), "larger than"),
    "deep": (lambda: b"[" * 10_000, "nested|YAML"),
    # One number, of which YAML makes an int in quadratic time.
    "sexagesimal": (lambda: b"a: 1" + b":1" * 400_000, "damaged: its checksum"),
    "future": (lambda: profile.dump(data(version=2)), "of version 2"),
    "version": (lambda: profile.dump(data(version="1")), "'version' must be an int"),
    "cpu": (lambda: key_change("cpu", "Z80"), "another cpu: 'Z80'"),
    "flags": (lambda: key_change("flags", "x0"), "another flags"),
    "python": (lambda: key_change("python", "2.7"), "another python: '2.7'"),
    "build": (lambda: key_change("build", "x"), "another build"),
    "threads": (lambda: key_change("threads", 4096), "another threads: 4096"),
    "threads type": (lambda: key_change("threads", "2"), "another threads"),
    "key missing": (lambda: edited(lambda d: d["key"].pop("abi")), "'key' has no 'abi'"),
    "missing": (lambda: edited(lambda d: d.pop("verdicts")), "has no '(verdicts|checksum)'"),
    "mistyped": (lambda: profile.dump(data(fit=[1])), "'fit' must be a dict, not"),
    "negative": (
        lambda: edited(lambda d: d["fit"][CELL].__setitem__(RUST, [-1.0, 0, 0, 0])),
        "from 0 up, not -1.0",
    ),
    "nan": (
        lambda: edited(lambda d: d["fit"][CELL].__setitem__(RUST, [float("nan"), 0, 0, 0])),
        "from 0 up, not nan",
    ),
    "nan point": (
        lambda: edited(
            lambda d: d["points"].__setitem__(
                CELL, "role rows elements output python rust\nfit 1 1 1 nan 1\n"
            )
        ),
        "from 0 up, not nan",
    ),
    "infinite": (
        lambda: edited(lambda d: d["verdicts"][CELL]["one"].__setitem__("at", float("inf"))),
        "from 0 up, not inf",
    ),
    "short": (
        lambda: edited(lambda d: d["fit"][CELL].__setitem__(RUST, [1.0])),
        "4 coefficients, not 1",
    ),
    "side": (
        lambda: edited(lambda d: d["verdicts"][CELL]["one"].__setitem__("above", "cobol")),
        "one of python, rust, not 'cobol'",
    ),
    "rule": (
        lambda: edited(lambda d: d["verdicts"][CELL].__setitem__("one", {"kind": "dice"})),
        "one of always, threshold, plane",
    ),
    "audit": (lambda: profile.dump(data(audit={})), "'audit' has no 'mean'"),
    "checksum": (
        lambda: profile.dump(data()).replace(b"9.1", b"9.2"),
        "damaged: its checksum",
    ),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_is_ignored_with_one_line(
    fault: str, file: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    make, reason = FAULTS[fault]
    content = make()
    file.write_bytes(content)
    monkeypatch.chdir(file.parent)
    call.reload()
    begin = time.perf_counter()
    own, default = call.profiles()
    assert time.perf_counter() - begin < 1
    assert own is None
    assert default.source == "packaged default"
    lines = [r.getMessage() for r in caplog.records if r.levelname == "WARNING"]
    assert len(lines) == 1
    assert "\n" not in lines[0]
    assert lines[0].startswith(f"ignoring the profile {file}: ")
    import re

    assert re.search(reason, lines[0])
    assert file.read_bytes() == content
    assert os.listdir(file.parent) == ["profile.yaml"]


def test_every_flipped_bit_is_seen(file: Path) -> None:
    raw = profile.dump(data())
    draw = random.Random(7)
    for _ in range(300):
        at, bit = draw.randrange(len(raw)), draw.randrange(8)
        damaged = bytearray(raw)
        damaged[at] ^= 1 << bit
        file.write_bytes(bytes(damaged))
        with pytest.raises(profile.ProfileError):
            profile.load(str(file), key())


@pytest.mark.parametrize("what", ["folder", "fifo"])
def test_what_is_no_file_is_ignored(what: str, file: Path) -> None:
    if what == "folder":
        file.mkdir()
    elif hasattr(os, "mkfifo"):
        os.mkfifo(file)
    else:
        pytest.skip("no FIFOs here")
    with pytest.raises(profile.ProfileError):
        profile.load(str(file), key())


def test_one_line_on_stderr_and_the_import_goes_on(file: Path) -> None:
    file.write_bytes(b"- 1\n")
    done = run_python(
        "import fast_axolotl as f; print(f.pad_sequences([[1],[2,3]]))",
        FAST_AXOLOTL_PROFILE=str(file),
    )
    assert done.stdout == "[[1, 0], [2, 3]]\n"
    lines = done.stderr.strip().splitlines()
    assert len(lines) == (1 if call._core is not None else 0)
    if lines:
        assert str(file) in lines[0]
        assert "holds list" in lines[0]


def test_a_failed_write_leaves_everything_as_it_was(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    profile.write(str(file), data())
    before = file.read_bytes()

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(profile.ProfileError, match=r"can't write .*No space left on device"):
        profile.write(str(file), data(made={"at": "later"}))
    assert file.read_bytes() == before
    assert os.listdir(file.parent) == ["profile.yaml"]


def test_what_a_killed_process_left_is_taken_away(file: Path) -> None:
    (file.parent / ".profile.yaml.abc.tmp").write_bytes(b"half")
    profile.write(str(file), data())
    assert os.listdir(file.parent) == ["profile.yaml"]


def test_the_lock_keeps_others_out(file: Path) -> None:
    waited = []
    with profile.lock(str(file)) as first:
        assert not first
        with (
            pytest.raises(profile.ProfileError, match="another process keeps the lock"),
            profile.lock(str(file), timeout=0.1, waiting=lambda: waited.append(1)),
        ):
            pass
    assert waited == [1]
    with profile.lock(str(file)) as again:
        assert not again


def test_the_lock_of_systems_without_locks(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(profile, "_system_lock", lambda _handle: None)
    with profile.lock(str(file)):
        held = Path(f"{file}.lock.held")
        assert held.exists()
        with (
            pytest.raises(profile.ProfileError, match="another process"),
            profile.lock(str(file), timeout=0.1),
        ):
            pass
        os.utime(held, (0, 0))  # its holder died long ago
        with profile.lock(str(file), timeout=5) as waited:
            assert waited
        held.touch()
    assert not held.exists()


def test_the_home_folder_may_be_a_tilde(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FAST_AXOLOTL_PROFILE", "~/profiles/this.yaml")
    assert profile.path() == os.path.join(os.path.expanduser("~"), "profiles/this.yaml")


def test_no_home_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("FAST_AXOLOTL_PROFILE", "XDG_CACHE_HOME", "LOCALAPPDATA"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(os.path, "expanduser", lambda path: path)
    with pytest.raises(profile.ProfileError, match="set FAST_AXOLOTL_PROFILE"):
        profile.path()
    call.reload()
    assert call.profiles()[0] is None


@pytest.mark.skipif(os.name != "posix", reason="Windows says that it is missing")
def test_a_home_that_is_no_folder(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FAST_AXOLOTL_PROFILE", os.devnull + "/profile.yaml")
    call.reload()
    assert call.profiles()[0] is None
    assert not caplog.records


@pytest.mark.skipif(sys.platform == "win32" or os.geteuid() == 0, reason="root may write anywhere")
def test_a_folder_that_may_not_be_written(file: Path) -> None:
    file.parent.chmod(stat.S_IRUSR | stat.S_IXUSR)
    with pytest.raises(profile.ProfileError, match="can't write"), profile.lock(str(file)):
        pass


class TestDefault:
    def test_it_is_what_the_recorded_profiles_give(self) -> None:
        import subprocess

        done = subprocess.run(
            [sys.executable, str(ROOT / "calibration" / "build.py"), "--check"],
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr

    def test_it_never_picks_rust_where_a_machine_saw_python_win(self) -> None:
        default = profile.default()
        seen = 0
        for path in sorted((ROOT / "calibration" / "profiles").glob("*.yaml")):
            recorded = profile.load(str(path), None)
            for name, table in recorded.data["points"].items():
                cell = profile.lookup(default.cells, name) or policy.Cell(policy.always(PYTHON))
                for point in fit.points_from(table):
                    for threads in (False, True):
                        chosen = cell.choose(point.sizes, threads)
                        if chosen in point.times:
                            assert point.times[chosen] <= point.times[PYTHON], (path, name, point)
                            seen += chosen != PYTHON
        assert seen > 100

    def test_every_cell_has_a_rule(self) -> None:
        default = profile.default()
        for function in registry.FUNCTIONS.values():
            for name in function.cells():
                assert profile.lookup(default.cells, name) is not None, name

    def test_python_really_wins_somewhere(self) -> None:
        # One list(range(n)): there is nothing to save, and large ones Python makes faster.
        cell = profile.default().cells["create_padding_mask/lengths/lists"]
        assert cell.choose(Sizes(1, 16_384, 16_384), False) == PYTHON
