"""Calibration: of slowed functions, of a busy machine, by many processes at once, by command."""

import importlib.util
import json
import math
import os
import signal
import statistics
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from dispatch_helpers import ROOT, needs_rust, slowed
from typer.testing import CliRunner

from fast_axolotl.calibration import measure, run
from fast_axolotl.calibration.fit import Point
from fast_axolotl.calibration.measure import BusyError, Case, Probe
from fast_axolotl.dispatch import call, dispatched, profile, stats
from fast_axolotl.dispatch.policy import PYTHON, RUST, THREADS, Cost, Sizes

GRID = run.Grid(
    seconds=1.5,
    floor=20_000,
    rounds=3,
    rows=(1, 4, 16, 64, 256),
    lengths=(4, 32),
    elements=8192,
    characters=8192,
    select=4,
    audit=6,
    cold=0,
    cold_seconds=0.0,
    collector=False,
)


class Quiet(Probe):
    """Trusts the machine: the tests run beside others."""

    def check(self, least: int = 40) -> None:
        pass


@pytest.fixture
def quiet(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run, "Probe", Quiet)


def crossover(data: dict[str, Any], name: str) -> float:
    cell = profile.unsaved(data).cells[name]
    low, high = 0.1, 1e6
    side = cell.choose(Sizes(low, 4 * low, 4 * low), False)
    assert cell.choose(Sizes(high, 4 * high, 4 * high), False) != side, cell
    for _ in range(60):
        middle = math.sqrt(low * high)
        if cell.choose(Sizes(middle, 4 * middle, 4 * middle), False) == side:
            low = middle
        else:
            high = middle
    return low


@pytest.mark.usefixtures("quiet")
@pytest.mark.parametrize("slow_start", [RUST, PYTHON])
@pytest.mark.parametrize("planted", [10, 60])
def test_a_cost_injected_into_real_calls_is_found(planted: int, slow_start: str) -> None:
    # One side takes long to begin, the other long by the row: they cross at `planted` rows.
    start, step = Cost(3000.0 * planted, 0, 0, 0), Cost(0, 3000, 0, 0)
    costs = {RUST: start, PYTHON: step} if slow_start == RUST else {RUST: step, PYTHON: start}
    function = slowed(f"trial_{planted}", costs[PYTHON], costs[RUST])
    public = dispatched(function)
    data = run.calibrate(functions=[function], grid=GRID, seed=5)
    found = crossover(data, f"trial_{planted}/lists/lists")
    assert abs(math.log2(found / planted)) < 0.25
    assert data["audit"]["mean"] < 0.05
    # And used: real calls on either side of it.
    call.use(profile.unsaved(data))
    before = {side: stats()["slowed"][side]["calls"] for side in (PYTHON, RUST)}
    public([4] * (planted // 2))
    public([4] * (planted * 2))
    after = {side: stats()["slowed"][side]["calls"] for side in (PYTHON, RUST)}
    assert {side: after[side] - before[side] for side in after} == {PYTHON: 1, RUST: 1}


@pytest.mark.usefixtures("quiet")
def test_answers_are_compared_before_anything_is_timed() -> None:
    function = slowed("trial", Cost(1000, 0, 0, 0), Cost(1000, 0, 0, 0))
    wrong = function._replace(rust=lambda rows: sum(rows) + 1)
    with pytest.raises(
        run.DifferenceError, match=r"slowed: trial: the result: rust has .*, python"
    ):
        run.calibrate(functions=[wrong], grid=GRID)


def test_threads_are_judged_by_the_passes_in_which_they_came(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(measure, "work_between", lambda: None)
    turns = dict.fromkeys(range(4), 0)

    def case(i: int) -> Case:
        def many(_number: int) -> float:
            turns[i] += 1
            # In six of ten passes the second processor belongs to somebody else.
            return 1000.0 * (i + 1) * (0.6 if turns[i] in (2, 5, 8, 9) else 1.3)

        timers = {RUST: lambda _number: 1000.0 * (i + 1), THREADS: many}
        return Case("cell", Sizes(1, 1, 1), "fit", timers)

    asleep = measure.Asleep(10)
    assert [asleep.add(case(i)) for i in range(4)] == [0, 1, 2, 3]
    for part in (0.3, 0.35, 0.99, 1.0):
        asleep.advance(part)
        assert sum(turns.values()) == round(40 * part)
    for best, usual in asleep.gains():
        assert (best, usual) == pytest.approx((0.6, 0.6))
    assert measure.Asleep(10).gains() == []


def test_no_call_gains_more_than_it_has_threads() -> None:
    point = Point(Sizes(1, 1, 1), {RUST: 100.0}, "fit")
    gained = run._with_threads(point, (0.03, 0.9)).times[THREADS]
    assert gained == 100.0 / call.thread_budget()


def test_the_probe_sees_a_busy_machine() -> None:
    shared = Probe(lambda: (1e6, 5e5))
    for _ in range(50):
        assert not shared.look()
    with pytest.raises(BusyError, match="100% of the probes were disturbed"):
        shared.check()
    quiet = Probe(lambda: (1e6, 1e6))
    for _ in range(50):
        assert quiet.look()
    quiet.check()
    slow = iter([1e6] + [5e6] * 60)
    slowed_down = Probe(lambda: ((wall := next(slow)), wall))
    for _ in range(50):
        slowed_down.look()
    with pytest.raises(BusyError):
        slowed_down.check()


def test_the_minimum_is_taken_and_sides_alternate() -> None:
    order: list[str] = []
    noise = iter([3.0, 1.0, 2.0] * 1000)

    def timer(side: str, cost: float) -> Any:
        def run_number(number: int) -> float:
            order.append(side)
            return number * cost * next(noise)

        return run_number

    case = Case("c", Sizes(1, 1, 1), "fit", {PYTHON: timer(PYTHON, 100), RUST: timer(RUST, 30)})
    (best,) = measure.measure([case], 0.05, 1000, Quiet(lambda: (1e6, 1e6)), rounds=6)
    assert best == {PYTHON: pytest.approx(100), RUST: pytest.approx(30)}
    assert order[4:10] in (
        [RUST, PYTHON, PYTHON, RUST, RUST, PYTHON],
        [PYTHON, RUST, RUST, PYTHON, PYTHON, RUST],
    )


def test_a_timer_repeats_the_call() -> None:
    calls = []
    time_calls = measure.timer(
        lambda *args, **kwargs: calls.append((args, kwargs)), (1, [2]), {"k": 3}
    )
    assert time_calls(3) > 0
    assert calls == [((1, [2]), {"k": 3})] * 3


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "profile.yaml"


# The command where the machine is trusted: the tests run beside others.
TRUSTING = (
    "from fast_axolotl.calibration import run, measure\n"
    "class Quiet(measure.Probe):\n"
    "    def check(self, least=40): pass\n"
    "run.Probe = Quiet\n"
)


def command(*arguments: str, **environment: str) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        [sys.executable, "-c", f"{TRUSTING}from fast_axolotl.cli import main; main()", *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, **environment},
    )


@pytest.fixture
def cli() -> Any:
    from fast_axolotl.cli import app

    runner = CliRunner()
    return lambda *arguments: runner.invoke(app, list(arguments))


@pytest.fixture(scope="module")
def recorded() -> dict[str, Any]:
    """Return the data of a profile that was recorded."""
    file = sorted((ROOT / "calibration" / "profiles").glob("*.yaml"))[0]
    return profile.load(str(file), None).data


@needs_rust
class TestCommand:
    def test_usage_errors(self, cli: Any) -> None:
        for wrong in (
            ["--fast"],
            ["--quick", "--full"],
            ["--show", "--check"],
            ["--show", "--full"],
        ):
            assert cli("calibrate", *wrong).exit_code == 2

    def test_without_a_profile_there_is_nothing_to_show(self, cli: Any) -> None:
        for flag in ("--show", "--check"):
            done = cli("calibrate", flag)
            assert done.exit_code == 4
            assert "there is no profile" in done.stderr

    @pytest.mark.usefixtures("quiet")
    def test_a_round(self, cli: Any, file: Path) -> None:
        done = cli("calibrate", "--quick", "--json")
        assert done.exit_code == 0, done.output
        result = json.loads(done.stdout)
        assert result["profile"] == str(file)
        assert sorted(os.listdir(file.parent)) == ["profile.yaml", "profile.yaml.lock"]
        loaded = yaml.safe_load(file.read_text(encoding="utf-8"))
        assert loaded["audit"]["points"] > 20
        assert {"pad_sequences/lists/lists", "parallel_hash_rows/str/lists"} <= set(loaded["fit"])
        shown = json.loads(cli("calibrate", "--show", "--json").stdout)
        assert {row["operation"] for row in shown["cells"]} == {"pack", "pad", "hash"}
        assert "verdict" in cli("calibrate", "--show").stdout
        checked = json.loads(cli("calibrate", "--check", "--json").stdout)
        assert checked["valid"]
        call.reload()
        explained = json.loads(cli("explain", "pad", "--rows", "9", "--json").stdout)
        assert explained["source"] == str(file)
        assert str(file) in cli("doctor").stdout

    def test_a_busy_machine_keeps_the_old_profile(
        self, cli: Any, file: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        file.write_bytes(b"old")

        def busy(*_: Any, **__: Any) -> None:
            raise BusyError("the machine is busy: 90%")

        monkeypatch.setattr(run, "calibrate", busy)
        done = cli("calibrate")
        assert done.exit_code == 3
        assert "the old profile stays" in done.stderr
        assert file.read_bytes() == b"old"

    def test_a_folder_in_its_place(self, cli: Any, file: Path) -> None:
        file.mkdir()
        done = cli("calibrate", "--quick")
        assert done.exit_code == 1
        assert done.stderr.strip().splitlines()[-1].endswith("is a folder")
        assert os.listdir(file) == []

    @pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="special files of POSIX")
    def test_a_device_in_its_place(self, cli: Any, file: Path) -> None:
        os.mkfifo(file)  # stands for /dev/null, which root could move a profile over
        done = cli("calibrate", "--quick")
        assert done.exit_code == 1
        assert done.stderr.strip().splitlines()[-1].endswith("is no regular file")
        assert file.is_fifo()
        assert os.listdir(file.parent) == [file.name]

    def test_a_path_that_can_not_be_made(
        self, cli: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        (tmp_path / "a file").write_text("")
        monkeypatch.setenv("FAST_AXOLOTL_PROFILE", str(tmp_path / "a file" / "profile.yaml"))
        done = cli("calibrate", "--quick")
        assert done.exit_code == 1
        assert len(done.stderr.strip().splitlines()) == 1
        assert "can't write" in done.stderr

    def test_ctrl_c_leaves_the_old_profile(self, file: Path) -> None:
        if sys.platform == "win32":
            pytest.skip("no SIGINT to a child here")
        file.write_bytes(b"old")
        process = command("calibrate", FAST_AXOLOTL_PROFILE=str(file))
        assert process.stderr is not None
        assert process.stderr.readline().startswith("calibrating: ")
        process.send_signal(signal.SIGINT)
        _, stderr = process.communicate(timeout=60)
        assert process.returncode == 130, stderr
        assert "interrupted: the old profile stays" in stderr
        assert file.read_bytes() == b"old"
        assert sorted(os.listdir(file.parent)) == ["profile.yaml", "profile.yaml.lock"]

    def test_a_picture(self, tmp_path: Path, recorded: dict[str, Any]) -> None:
        pytest.importorskip("matplotlib")
        from fast_axolotl.calibration.plot import plot

        target = tmp_path / "picture.png"
        plot(recorded, target, ["pad_sequences/lists/lists"])
        assert target.read_bytes()[:4] == b"\x89PNG"

    @pytest.mark.parametrize("error", [None, KeyboardInterrupt(), ImportError("broken")])
    def test_a_drawing_that_fails_takes_no_result_with_it(
        self,
        cli: Any,
        file: Path,
        recorded: dict[str, Any],
        monkeypatch: pytest.MonkeyPatch,
        error: BaseException | None,
    ) -> None:
        def draw(_data: Any, target: Path) -> None:
            if error is not None:
                raise error
            target.write_bytes(b"drawn")

        monkeypatch.chdir(file.parent)
        monkeypatch.setattr(run, "calibrate", lambda *_, **__: recorded)
        monkeypatch.setattr(importlib.util, "find_spec", lambda _name: True)
        monkeypatch.setattr("fast_axolotl.calibration.plot.plot", draw)
        done = cli("calibrate", "--json", "--plot", "out")
        drawn = file.parent / "out.png"
        assert json.loads(done.stdout)["plot"] == (None if error else str(drawn))
        assert (done.exit_code, drawn.exists()) == ((1, False) if error else (0, True))
        assert "the old profile stays" not in done.stderr
        assert ("the profile stands, but" in done.stderr) == (error is not None)
        assert file.exists()

    @pytest.mark.parametrize(("against", "warned"), [(0.5, True), (0.98, False)])
    def test_a_rule_slower_than_python_is_told(
        self,
        cli: Any,
        recorded: dict[str, Any],
        monkeypatch: pytest.MonkeyPatch,
        against: float,
        warned: bool,
    ) -> None:
        data = {**recorded, "audit": {**recorded["audit"], "against_python": against}}
        monkeypatch.setattr(run, "calibrate", lambda *_, **__: data)
        done = cli("calibrate")
        assert done.exit_code == 0
        assert ("takes 2.00 times as long as Python" in done.stderr) == warned

    def test_without_matplotlib(self, cli: Any, monkeypatch: pytest.MonkeyPatch) -> None:

        monkeypatch.setattr(importlib.util, "find_spec", lambda _name: None)
        done = cli("calibrate", "--plot", "x.png")
        assert done.exit_code == 1
        assert "pip install 'fast-axolotl[plot]'" in done.stderr

    @pytest.mark.parametrize(
        ("plot", "message"),
        [
            ("", "needs the name of a file"),
            ("x.pdf", "draws a PNG, not .pdf"),
            ("nowhere/x.png", "no folder nowhere"),
        ],
    )
    def test_a_picture_that_can_not_be_is_refused_before_anything_is_measured(
        self, cli: Any, monkeypatch: pytest.MonkeyPatch, plot: str, message: str
    ) -> None:
        monkeypatch.setattr(run, "calibrate", None)
        done = cli("calibrate", "--plot", plot)
        assert done.exit_code == 2
        assert message in " ".join(done.stderr.replace("│", " ").split())

    def test_explain_lists_operations(self, cli: Any) -> None:
        done = cli("explain", "pax")
        assert done.exit_code == 2
        assert "pack, pad, hash" in " ".join(done.stderr.split())


@needs_rust
def test_sixteen_processes(file: Path) -> None:
    """Half of them calibrate, half import, all at once."""
    small = GRID._replace(seconds=0.2, rows=(1, 8), lengths=(4,), select=1, audit=1, rounds=1)
    writer = (
        f"{TRUSTING}"
        f"run.grids = lambda: dict.fromkeys(run.EFFORTS, run.Grid(**{small._asdict()!r}))\n"
        "from fast_axolotl.cli import main; import sys; sys.argv[1:] = ['calibrate']; main()\n"
    )
    reader = (
        "import fast_axolotl as f, time\n"
        "from fast_axolotl.dispatch import call\n"
        "end = time.monotonic() + 4\n"
        "while time.monotonic() < end:\n"
        "    call.reload(); f.pad_sequences([[1], [2, 3]]); time.sleep(0.01)\n"
        "print('done')\n"
    )
    environment = {**os.environ, "FAST_AXOLOTL_PROFILE": str(file)}
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", writer if i % 2 else reader],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=environment,
        )
        for i in range(16)
    ]
    results = [process.communicate(timeout=240) for process in processes]
    assert [process.returncode for process in processes] == [0] * 16, results
    for i, (stdout, stderr) in enumerate(results):
        if not i % 2:
            assert stdout == "done\n"
            assert "ignoring" not in stderr
    assert sorted(os.listdir(file.parent)) == ["profile.yaml", "profile.yaml.lock"]
    from fast_axolotl.calibration.fingerprint import key

    profile.load(str(file), key())


def test_the_grids_are_what_is_packed() -> None:
    source = yaml.safe_load((ROOT / "calibration" / "grids.yaml").read_text(encoding="utf-8"))
    assert {name: grid._asdict() for name, grid in run.grids().items()} == {
        name: {k: tuple(v) if isinstance(v, list) else v for k, v in grid.items()}
        for name, grid in source.items()
    }
    assert list(source) == list(run.EFFORTS)


def test_workloads_have_the_sizes_asked_for() -> None:
    from fast_axolotl.calibration import workloads

    for rows, length in ((1, 1), (3, 100), (500, 7)):
        found = workloads.token_rows("lists", rows, length)
        assert len(found) == rows
        assert statistics.fmean(map(len, found)) == pytest.approx(length, rel=0.6)
        assert len(workloads.text_rows("bytes", rows, length)) == rows
