"""`fast-axolotl run`: any Python program, with the shim in it and in its children."""

import os
import signal
import subprocess
import sys
import tempfile
from contextlib import suppress
from pathlib import Path
from types import FrameType
from typing import Annotated, Any

import typer

#: What a scheduler ends or warns a program by; most would end us, and leave the program behind.
_PASSED_ON = ("SIGTERM", "SIGHUP", "SIGUSR1", "SIGUSR2")
#: What a terminal sends to the program as well.
_OF_TERMINALS = ("SIGINT", "SIGQUIT")

SETTINGS: dict[str, Any] = {
    "context_settings": {"allow_interspersed_args": False, "ignore_unknown_options": False}
}


def run(
    command: Annotated[
        list[str], typer.Argument(help="The program and its arguments, after `--`.")
    ],
    dispatch: Annotated[
        str | None,
        typer.Option(help="auto, rust, python or verify, also an operation at a time."),
    ] = None,
    profile: Annotated[
        bool, typer.Option("--profile", help="Time the calls and say what was saved; costs some.")
    ] = False,
) -> None:
    """Run a program, say axolotl, with functions of Axolotl replaced.

    They are in every Python that it starts, too: fast-axolotl run -- axolotl preprocess config.yml.
    Its exit status is passed on (126 and 127: it can't be started); which functions ran where is
    printed to stderr at the end.
    """
    from fast_axolotl import RUST_AVAILABLE
    from fast_axolotl.axolotl import run_report
    from fast_axolotl.dispatch import modes

    if dispatch is not None:
        try:
            modes.parse(dispatch, RUST_AVAILABLE, "--dispatch")
        except ValueError as error:
            raise typer.BadParameter(str(error)) from None
    # What the program left running may write there still.
    with tempfile.TemporaryDirectory(
        prefix="fast-axolotl-run-", ignore_cleanup_errors=True
    ) as folder:
        status = _wait(command, environment(folder, dispatch, profile))
        with suppress(OSError):  # nobody can read it: what the program did is what counts
            summary = run_report.summary(run_report.read(folder), profile)
            print(summary, file=sys.stderr, flush=True)
    raise typer.Exit(status)


def environment(folder: str, dispatch: str | None, profile: bool) -> dict[str, str]:
    """Return the environment of a program that runs with the shim.

    Args:
        folder: where its processes write their figures.
        dispatch: mode of the dispatcher; None for what the environment says.
        profile: whether calls are timed.
    """
    import fast_axolotl
    from fast_axolotl.axolotl import run_report
    from fast_axolotl.dispatch import modes

    package = Path(fast_axolotl.__file__).parent
    site = str(package / "axolotl" / "site")
    old = os.environ.get("PYTHONPATH")
    found = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join([site, old] if old else [site]),
        run_report.ENVIRONMENT: folder,
    }
    if dispatch is not None:
        found[modes.ENVIRONMENT] = dispatch
    if profile:
        found[run_report.PROFILE] = "1"
    return found


def _wait(command: list[str], env: dict[str, str]) -> int:
    if hasattr(signal, "SIGCHLD"):
        # No exit status is kept for who was started with it ignored.
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    try:
        process = subprocess.Popen(command, env=env)
    except OSError as error:
        print(f"fast-axolotl run: {command[0]}: {error.strerror}", file=sys.stderr)
        raise typer.Exit(127 if isinstance(error, FileNotFoundError) else 126) from None

    def pass_on(number: int, frame: FrameType | None) -> None:
        del frame
        process.send_signal(number)

    def pass_on_unless_it_has_it(number: int, frame: FrameType | None) -> None:
        if not _is_in_foreground():
            pass_on(number, frame)

    handlers = dict.fromkeys(_PASSED_ON, pass_on)
    handlers.update(dict.fromkeys(_OF_TERMINALS, pass_on_unless_it_has_it))
    before: dict[int, Any] = {}
    for name, handler in handlers.items():
        number = getattr(signal, name, None)
        if number is not None:
            before[number] = signal.signal(number, handler)
    try:
        status = process.wait()
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    return 128 - status if status < 0 else status


def _is_in_foreground() -> bool:
    """Return whether a terminal sends its Ctrl-C to our group, in which the program is, too."""
    if not hasattr(os, "tcgetpgrp"):
        return True
    try:
        with Path("/dev/tty").open("rb", buffering=0) as terminal:
            return os.tcgetpgrp(terminal.fileno()) == os.getpgrp()
    except OSError:  # there is none
        return False
