"""`fast-axolotl demo`: its table, its JSON, and that it sees a difference."""

import importlib
import json
import sys
from types import SimpleNamespace
from typing import Any

import implementations
import pytest
from typer.testing import CliRunner

import fast_axolotl
from fast_axolotl import _native
from fast_axolotl.cli import app

demo = importlib.import_module("fast_axolotl.commands.demo")
needs_rust = pytest.mark.skipif(
    implementations.WITHOUT_RUST, reason="FAST_AXOLOTL_DISABLE_RUST=1: nothing to compare"
)

ROWS = 300


def invoke(*arguments: str) -> Any:
    return CliRunner().invoke(app, arguments)


@pytest.fixture
def planted(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Return a function that replaces one of Rust's functions."""

    def plant(name: str, function: Any) -> None:
        core = {each: getattr(_native.core, each) for each in dir(_native.core)}
        monkeypatch.setattr(_native, "core", SimpleNamespace(**core | {name: function}))

    return plant


@needs_rust
def test_the_table_has_every_step_and_ends_with_identical() -> None:
    result = invoke("demo", "--rows", str(ROWS))
    assert result.exit_code == 0, result.output
    lines = result.stdout.splitlines()
    assert lines[0].startswith(f"{ROWS} docstrings")
    steps = [line.split()[0] for line in lines[1:7]]
    assert steps == ["step", "read", "deduplicate", "tokenize", "pack", "pad"]
    assert lines[-2].startswith(f"compared: {ROWS} rows")
    assert lines[-1] == "identical: yes"


@needs_rust
def test_json_holds_the_figures_of_the_table() -> None:
    result = invoke("demo", "--rows", str(ROWS), "--json")
    assert result.exit_code == 0, result.output
    report = json.loads(result.stdout)
    assert report["identical"] is True
    assert report["difference"] is None
    assert report["docstrings"] == ROWS
    steps = {row["step"].split()[0]: row for row in report["steps"]}
    assert steps["deduplicate"]["rows_in"] == ROWS
    assert 0 < steps["deduplicate"]["rows_out"] <= ROWS
    assert steps["pad"]["rows_in"] == steps["pad"]["rows_out"] == steps["tokenize"]["rows_out"]
    for name in ("deduplicate", "pack", "pad"):
        assert steps[name]["ratio"] == steps[name]["python"] / steps[name]["rust"] > 0


@needs_rust
def test_a_wrong_token_is_found_and_fails_the_demo(planted: Any) -> None:
    original = _native.core.pack_sequences

    def wrong(*args: Any) -> Any:
        packed = original(*args)
        packed["labels"][1][7] = 12345
        return packed

    planted("pack_sequences", wrong)
    result = invoke("demo", "--rows", str(ROWS))
    assert result.exit_code == 1
    last = result.stdout.splitlines()[-1]
    assert last.startswith("identical: no: pack to 2,048: ['labels'][1][7] is ")
    assert last.endswith("in Python, 12345 in Rust")


@needs_rust
@pytest.mark.parametrize(
    ("expected", "answer", "where"),
    [
        ([1, 2], [1, 2], None),
        ([1, 2], [1, 2, 3], "result has 2 items in Python, 3 in Rust"),
        ([1, [2]], [1, [True]], "[1][0] is int in Python, bool in Rust"),
        ({"a": 1}, {"b": 1}, "result has ['a'] in Python, ['b'] in Rust"),
        (([0], ["x"]), ([0], ["y"]), "[1][0] is 'x' in Python, 'y' in Rust"),
    ],
)
def test_the_first_difference(expected: Any, answer: Any, where: str | None) -> None:
    assert demo._first_difference(expected, answer) == where


def test_without_rust_the_demo_says_why(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fast_axolotl, "RUST_AVAILABLE", False)
    monkeypatch.setattr(_native, "UNAVAILABLE", "it was left at home")
    result = invoke("demo")
    assert result.exit_code == 2
    assert "it was left at home" in result.stderr


@pytest.mark.parametrize(("columns", "drawn"), [(30, False), (200, True)])
def test_a_narrow_terminal_loses_no_figures(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    columns: int,
    drawn: bool,
) -> None:
    monkeypatch.setenv("COLUMNS", str(columns))
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    demo._print_table([demo.Row("pack to 2,048", 0.12345, 0.0123, 12_345, 678)])
    found = capsys.readouterr().out
    for figure in ("123.45 ms", "12.30 ms", "10.0x", "12,345", "678"):
        assert figure in found
    assert (found[0] in "┏╭┌") == drawn
