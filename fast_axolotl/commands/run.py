"""`fast-axolotl run`: any Python program, with the shim in it and in its children."""

import os
import signal
import subprocess
import sys
import tempfile
from pathlib import Path
from types import FrameType
from typing import Annotated, Any

import typer

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
    with tempfile.TemporaryDirectory(prefix="fast-axolotl-run-") as folder:
        status = _wait(command, environment(folder, dispatch, profile))
        print(run_report.summary(run_report.read(folder), profile), file=sys.stderr)
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
    try:
        process = subprocess.Popen(command, env=env)
    except OSError as error:
        print(f"fast-axolotl run: {command[0]}: {error.strerror}", file=sys.stderr)
        raise typer.Exit(127 if isinstance(error, FileNotFoundError) else 126) from None

    def pass_on(number: int, frame: FrameType | None) -> None:
        del frame
        process.send_signal(number)

    # Ctrl-C reaches the program by itself: it is in our process group. We wait for its end.
    before = {signal.SIGINT: signal.signal(signal.SIGINT, lambda *_: None)}
    for name in ("SIGTERM", "SIGHUP"):
        number = getattr(signal, name, None)
        if number is not None:
            before[number] = signal.signal(number, pass_on)
    try:
        status = process.wait()
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    return 128 - status if status < 0 else status
