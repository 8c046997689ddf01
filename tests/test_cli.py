"""The command line: its help, its errors, what it needs, and what it is called as."""

import errno
import io
import os
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import typer.main
from typer.testing import CliRunner

import fast_axolotl
from fast_axolotl.cli import app
from fast_axolotl.commands import _progress

COMMANDS = typer.main.get_command(app).commands  # type: ignore[attr-defined]


def invoke(*arguments: str) -> Any:
    return CliRunner().invoke(app, arguments)


def test_the_help_says_what_each_command_does() -> None:
    lines = invoke("--help").stdout.partition("Commands:\n")[2].splitlines()
    assert [line.split()[0] for line in lines] == sorted(COMMANDS)
    assert all(line.endswith(".") and not line.endswith("...") for line in lines)


@pytest.mark.parametrize("name", COMMANDS)
def test_every_option_is_explained(name: str) -> None:
    assert invoke(name, "--help").exit_code == 0
    for parameter in COMMANDS[name].params:
        assert parameter.help, parameter.name


def test_a_wrong_option_is_a_usage_error() -> None:
    assert invoke("demo", "--rows", "0").exit_code == 2
    assert invoke("demo", "--no-such").exit_code == 2
    assert invoke("no-such-command").exit_code == 2


def test_version() -> None:
    result = invoke("--version")
    assert result.exit_code == 0
    assert result.stdout == f"fast-axolotl {fast_axolotl.get_version()}\n"


def test_the_command_line_starts_light() -> None:
    heavy = {"numpy", "pyarrow", "torch", "yaml", "datasets", "tokenizers", "matplotlib"}
    code = f"import fast_axolotl.cli, sys; print(sorted({heavy!r} & set(sys.modules)))"
    found = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60
    )
    assert found.stdout == "[]\n"


@pytest.mark.skipif(os.name != "posix", reason="a shell of POSIX")
@pytest.mark.parametrize("arguments", ["--version", "run -- /no/such/program"])
def test_stdout_has_only_what_belongs_there_where_stderr_is_closed(arguments: str) -> None:
    command = f"{shlex.quote(sys.executable)} -m fast_axolotl {arguments}"
    outputs = [
        subprocess.run(
            ["sh", "-c", f"{command} {redirected}"],
            env={**os.environ, "FAST_AXOLOTL_STATS": "1"},
            stdout=subprocess.PIPE,
            timeout=60,
        )
        for redirected in ("2>/dev/null", "2>&-")
    ]
    assert outputs[0].returncode == outputs[1].returncode
    assert outputs[0].stdout == outputs[1].stdout


@pytest.mark.skipif(os.name != "posix", reason="a shell of POSIX")
def test_no_figures_on_stdout_where_stderr_is_closed() -> None:
    command = f"{shlex.quote(sys.executable)} -c 'import fast_axolotl; print(1)' 2>&-"
    found = subprocess.run(
        ["sh", "-c", command],
        env={**os.environ, "FAST_AXOLOTL_STATS": "1"},
        stdout=subprocess.PIPE,
        timeout=60,
    )
    assert (found.returncode, found.stdout) == (0, b"1\n")


@pytest.mark.skipif(os.name != "posix", reason="a shell of POSIX")
def test_without_an_output() -> None:
    command = f"exec {shlex.quote(sys.executable)} -m fast_axolotl demo --rows 50 >&-"
    found = subprocess.run(["sh", "-c", command], stderr=subprocess.PIPE, text=True, timeout=60)
    assert "Traceback" not in found.stderr


def test_python_m_is_the_command() -> None:
    found = subprocess.run(
        [sys.executable, "-m", "fast_axolotl", "--version"],
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
        cwd=Path(__file__).parent,
    )
    assert found.stdout.startswith("fast-axolotl ")


# Whoever has calibrated here, perhaps with another build, is told so on stderr.
NO_PROFILE = {"FAST_AXOLOTL_PROFILE": str(Path(__file__).with_name("no-such-profile.yaml"))}


def command(*arguments: str, **environment: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, *arguments],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
        env={**os.environ, **NO_PROFILE, **environment},
    )


SCRIPT = """
import sys
sys.argv[0] = "/somewhere/bin/fast-axolotl"
from fast_axolotl.cli import main
main()
"""


@pytest.mark.parametrize("way", [["-m", "fast_axolotl"], ["-c", SCRIPT]])
@pytest.mark.parametrize(
    ("name", "problem"),
    [
        ("FAST_AXOLOTL_DISPATCH", "unknown mode 'nope'"),
        ("FAST_AXOLOTL_STATS", "allowed are 0 and 1"),
        ("FAST_AXOLOTL_DISABLE_RUST", "allowed are 0 and 1"),
    ],
)
def test_a_wrong_environment_is_reported_by_the_command(
    way: list[str], name: str, problem: str
) -> None:
    environment = {name: "nope"}
    report = command(*way, "doctor", **environment)
    assert (report.returncode, report.stderr) == (0, "")
    assert f"{name}='nope'" in report.stdout
    assert problem in report.stdout
    assert command(*way, "--help", **environment).returncode == 0
    assert "rows" in command(*way, "explain", "--help", **environment).stdout
    refused = command(*way, "explain", "pad", **environment)
    assert (refused.returncode, refused.stdout) == (2, "")
    assert refused.stderr.startswith(f"fast-axolotl: {name}='nope'")
    assert len(refused.stderr.splitlines()) == 1
    # A program of another name that imports the package gets the error.
    assert "ValueError" in command("-m", "fast_axolotl.cli", **environment).stderr


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full here")
def test_a_full_disk_is_one_line() -> None:
    with Path("/dev/full").open("w") as full:
        found = subprocess.run(
            [sys.executable, "-m", "fast_axolotl", "doctor"],
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
            timeout=60,
            env={**os.environ, **NO_PROFILE},
        )
    assert found.returncode == 1
    assert found.stderr == f"fast-axolotl: {os.strerror(errno.ENOSPC)}\n"


def test_progress_goes_on_where_it_cannot_be_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    class Full(io.StringIO):
        def write(self, _: str) -> int:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(sys, "stderr", Full())
    monkeypatch.setattr(_progress, "_SILENT_SECONDS", -1.0)
    with _progress.parts("work") as at:
        at(0.5, "")
