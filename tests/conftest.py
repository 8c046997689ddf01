"""Fixtures of the core's tests, the profiles of Hypothesis, and the count of parity calls."""

import contextlib
import gc
import os
import signal
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import implementations
import parity
import pytest
from hypothesis import HealthCheck, settings

_COMMON = {
    "deadline": None,
    "suppress_health_check": [HealthCheck.too_slow, HealthCheck.data_too_large],
    "print_blob": True,
}
# The same examples in every run: a red run is red again. The soak draws new ones.
settings.register_profile("test", max_examples=250, derandomize=True, database=None, **_COMMON)
settings.register_profile("soak", max_examples=1250, **_COMMON)
settings.register_profile("sanitize", max_examples=15, derandomize=True, database=None, **_COMMON)
settings.load_profile("test")  # --hypothesis-profile overrides it

# A suite that was started in the background ignores Ctrl-C, and so would the processes it starts.
with contextlib.suppress(ValueError):
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session", autouse=True)
def neutral_folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Run where no checkout is: `python -c` would import its sources, not what is installed."""
    before = Path.cwd()
    os.chdir(tmp_path_factory.mktemp("neutral"))
    yield
    os.chdir(before)


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--min-parity-calls",
        type=int,
        default=0,
        help="fail unless Rust and the Python originals were compared in this many calls",
    )


@pytest.fixture(params=implementations.NAMES)
def impl(request: pytest.FixtureRequest) -> Iterator[SimpleNamespace]:
    """The six functions of each implementation; falling back from Rust to Python fails the test."""
    yield from _guarded(request.param)


@pytest.fixture(params=[name for name in implementations.NAMES if name != "reference"])
def subject(request: pytest.FixtureRequest) -> Iterator[SimpleNamespace]:
    """What is compared with the Python originals: Rust, and the public functions."""
    yield from _guarded(request.param)


@pytest.fixture
def rust() -> Iterator[SimpleNamespace]:
    """The functions of the extension."""
    if implementations.WITHOUT_RUST:
        pytest.skip("FAST_AXOLOTL_DISABLE_RUST=1")
    yield from _guarded("rust")


def _guarded(name: str) -> Iterator[SimpleNamespace]:
    functions = implementations.load(name)
    if name == "rust":
        with implementations.no_silent_fallback():
            yield functions
    else:
        yield functions


@pytest.fixture(params=[True, False], ids=["gc", "nogc"])
def collector(request: pytest.FixtureRequest) -> Iterator[bool]:
    """Run with the garbage collector on and off."""
    was = gc.isenabled()
    (gc.enable if request.param else gc.disable)()
    try:
        yield request.param
    finally:
        (gc.enable if was else gc.disable)()


_from_workers: list[int] = []


class _Workers:
    """Adds up what the workers of pytest-xdist counted."""

    @pytest.hookimpl(optionalhook=True)
    def pytest_testnodedown(self, node: object) -> None:
        _from_workers.append(getattr(node, "workeroutput", {}).get("parity_calls", 0))


def pytest_configure(config: pytest.Config) -> None:
    if not hasattr(config, "workerinput"):
        config.pluginmanager.register(_Workers(), "parity-count")


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session: pytest.Session) -> None:
    config = session.config
    if hasattr(config, "workerinput"):
        config.workeroutput["parity_calls"] = parity.calls["rust"]
    elif _calls() < config.getoption("--min-parity-calls"):
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def _calls() -> int:
    return parity.calls["rust"] + sum(_from_workers)


def pytest_terminal_summary(
    terminalreporter: pytest.TerminalReporter, config: pytest.Config
) -> None:
    asked = config.getoption("--min-parity-calls")
    if _calls() or asked:
        line = f"parity: {_calls():,} calls of Rust compared with the Python originals"
        terminalreporter.write_line(line if _calls() >= asked else f"{line}, {asked:,} wanted")
    _report_cases(terminalreporter)
    found = sorted(
        (value, report.nodeid)
        for report in terminalreporter.getreports("passed")
        for key, value in report.user_properties
        if key == "ctrl_c"
    )
    if found:
        slowest, where = found[-1]
        line = f"Ctrl-C: {found[len(found) // 2][0]:.0f} ms at the median of {len(found)} reads"
        terminalreporter.write_line(
            f"{line}, at most {slowest:.0f} ms ({where.split('[')[-1][:-1]})"
        )


def _report_cases(terminalreporter: pytest.TerminalReporter) -> None:
    """How many cases of a list have passed: those that none of their tests has failed."""
    passed: set[str] = set()
    failed: set[str] = set()
    total = 0
    for outcome, into in (("passed", passed), ("failed", failed)):
        for report in terminalreporter.getreports(outcome):
            for key, value in report.user_properties:
                if key == "case":
                    into.add(value[0])
                    total = value[1]
    if total:
        terminalreporter.write_line(f"passed {len(passed - failed)} of {total} cases")
