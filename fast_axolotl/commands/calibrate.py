"""`fast-axolotl calibrate`: measure where Rust and the originals cross on this host."""

import json
import sys
from enum import IntEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from ._progress import parts


class Status(IntEnum):
    """Exit statuses; 2 is a usage error."""

    DONE = 0
    FAILED = 1
    BUSY = 3
    INVALID = 4
    INTERRUPTED = 130


def calibrate(
    quick: Annotated[bool, typer.Option("--quick", help="Within 3 seconds.")] = False,
    full: Annotated[bool, typer.Option("--full", help="Within 40 seconds.")] = False,
    check: Annotated[
        bool, typer.Option("--check", help="Is the profile valid, and does it still agree?")
    ] = False,
    show: Annotated[bool, typer.Option("--show", help="Show the table of crossovers.")] = False,
    axolotl: Annotated[
        bool,
        typer.Option("--axolotl", help="Axolotl's functions as well; imports it, takes longer."),
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="JSON alone on stdout.")] = False,
    plot: Annotated[
        Path | None, typer.Option(help="Draw points, fits and crossovers into a PNG.")
    ] = None,
) -> None:
    """Measure where Rust and Python cross on this host.

    Takes up to 12 seconds. The profile goes to FAST_AXOLOTL_PROFILE or the user's cache folder; the
    next import uses it. Exit status: 0 done, 1 failed, 3 the machine is too busy (the old profile
    stays), 4 --check or --show found no profile, or an invalid or outdated one, 130 interrupted.
    """
    if quick and full:
        raise typer.BadParameter("--quick and --full exclude each other")
    if (check or show) and (quick or full or axolotl):
        raise typer.BadParameter(
            "--check and --show look at the profile that is there: no --quick, --full or --axolotl"
        )
    if check and show:
        raise typer.BadParameter("--check and --show exclude each other")
    drawing = None if plot is None else _drawing(plot)
    try:
        status, result, data = _run(quick, full, check, show, axolotl, as_json)
    except KeyboardInterrupt:
        print("interrupted: the old profile stays", file=sys.stderr)
        raise typer.Exit(Status.INTERRUPTED) from None
    problem = None
    if drawing is not None and data is not None:
        problem = _plot(data, drawing)
        result["plot"] = str(drawing) if problem is None else None
        if problem is None and not as_json:
            typer.echo(f"plot: {drawing}")
    if as_json:
        typer.echo(json.dumps(result))
    if problem is not None:
        _fail(f"the profile stands, but {drawing} can't be drawn: {problem}")
    raise typer.Exit(status)


def _drawing(plot: Path) -> Path:
    """Return the file to draw into; what is wrong with it is found before anything is measured."""
    if not plot.name:
        raise typer.BadParameter("--plot needs the name of a file")
    file = plot if plot.suffix else plot.with_suffix(".png")
    if file.suffix.lower() != ".png":
        raise typer.BadParameter(f"--plot draws a PNG, not {file.suffix}")
    if not file.parent.is_dir():
        raise typer.BadParameter(f"--plot: there is no folder {file.parent}")
    if file.is_dir():
        raise typer.BadParameter(f"--plot: {file} is a folder")
    if not _can_plot():
        _fail("--plot needs matplotlib: pip install 'fast-axolotl[plot]'")
    return file.resolve()


def _run(
    quick: bool, full: bool, check: bool, show: bool, axolotl: bool, as_json: bool
) -> tuple[Status, dict[str, Any], dict[str, Any] | None]:
    from fast_axolotl import _native
    from fast_axolotl.calibration.fingerprint import key
    from fast_axolotl.dispatch import profile

    if _native.core is None:
        _fail(f"nothing to calibrate: no Rust extension ({_native.UNAVAILABLE})")
    try:
        file = profile.path()
    except profile.ProfileError as error:
        _fail(str(error))
    if show or check:
        try:
            found = profile.load(file, key())
        except FileNotFoundError:
            _fail(f"there is no profile {file}; `fast-axolotl calibrate` makes one", Status.INVALID)
        except profile.ProfileError as error:
            _fail(f"the profile {file} can't be used: {error}", Status.INVALID)
        if check:
            return (*_check(found, as_json), found.data)
        return (*_show(found, as_json), found.data)
    effort = "quick" if quick else "full" if full else "default"
    if axolotl:
        _load_axolotl()
    return _calibrate(effort, file, as_json)


def _load_axolotl() -> None:
    from fast_axolotl.calibration.axolotl import load_seams

    try:
        load_seams()
    except ImportError as error:
        _fail(f"--axolotl: {error}")


def _fail(message: str, status: Status = Status.FAILED) -> Any:
    print(f"fast-axolotl calibrate: {message}", file=sys.stderr)
    raise typer.Exit(status)


# --- measuring -------------------------------------------------------------------------------


def _calibrate(
    effort: str, file: str, as_json: bool
) -> tuple[Status, dict[str, Any], dict[str, Any]]:
    from fast_axolotl.calibration import axolotl, check, run
    from fast_axolotl.calibration.fingerprint import key
    from fast_axolotl.calibration.measure import BusyError
    from fast_axolotl.dispatch import call, profile

    def waiting() -> None:
        print("another process is calibrating: waiting for it", file=sys.stderr)

    try:
        with profile.lock(file, waiting=waiting) as waited:
            found = check.valid(file) if waited else None
            if found is not None:
                if not as_json:
                    typer.echo(f"profile: {file} (another process has just made it)")
                return Status.DONE, _result(found.data, file), found.data
            with parts("calibrating") as progress:
                data = run.calibrate(
                    effort, progress=progress, grid=axolotl.grid(effort), key=key()
                )
            profile.write(file, data)
    except profile.ProfileError as error:
        _fail(str(error))
    except BusyError as error:
        _fail(f"{error}; the old profile stays", Status.BUSY)
    except run.DifferenceError as error:
        _fail(f"the sides differ, nothing was written; please report it: {error}")
    call.reload()
    if not as_json:
        audit = data["audit"]
        typer.echo(
            f"profile: {file}\n"
            f"{len(data['verdicts'])} cells measured in {data['made']['seconds']:.1f} s; regret on "
            f"{audit['points']} points held out: mean {audit['mean']:.2%}, p95 {audit['p95']:.2%}, "
            f"max {audit['max']:.2%}"
        )
    _warn(data["audit"]["against_python"])
    return Status.DONE, _result(data, file), data


def _warn(against_python: float) -> None:
    from fast_axolotl.calibration.check import SLOWER

    if against_python < 1 / (1 + SLOWER):
        print(
            "warning: at a size held out, what the rules choose takes "
            f"{1 / against_python:.2f} times as long as Python; calibrate again on a quieter "
            "machine, or with --full",
            file=sys.stderr,
        )


def _result(data: dict[str, Any], file: str) -> dict[str, Any]:
    return {
        "profile": file,
        **{name: data[name] for name in ("version", "key", "made", "verdicts", "fit", "audit")},
    }


# --- looking at a profile --------------------------------------------------------------------


def _check(found: Any, as_json: bool) -> tuple[Status, dict[str, Any]]:
    from fast_axolotl.calibration import check
    from fast_axolotl.calibration.measure import BusyError

    try:
        result = check.check(found)
    except BusyError as error:
        _fail(f"{error}: nothing can be said about the profile", Status.BUSY)
    if not as_json:
        typer.echo(f"profile: {found.source} (valid)")
        typer.echo(
            f"{result['points']} calls measured again: regret mean {result['mean']:.2%}, "
            f"max {result['max']:.2%}: {'it agrees' if result['agrees'] else 'it is outdated'}"
        )
    return Status.DONE if result["agrees"] else Status.INVALID, {
        "profile": found.source,
        "valid": True,
        **result,
    }


def _show(found: Any, as_json: bool) -> tuple[Status, dict[str, Any]]:
    from fast_axolotl.calibration import check

    rows = check.table(found)
    if not as_json:
        made = found.data["made"]
        typer.echo(f"profile: {found.source} (made {made['at']}, {made['effort']})")
        sizes = "".join(f"{n:>9,}" for n in check.ROWS)
        header = f"{'function':<22}{'layout':<8}{'output':<8}"
        typer.echo(f"\nspeed of Rust against Python at rows of {check.LENGTH} elements")
        typer.echo(f"{header}{sizes}  verdict")
        for row in rows:
            speeds = "".join(f"{speed:>8.2f}x" for speed in row["speed"])
            output = row["output"] + ("" if row["collector"] else "*")
            typer.echo(
                f"{row['function']:<22}{row['layout']:<8}{output:<8}{speeds}  {row['verdict']}"
            )
        typer.echo("* with the garbage collector off")
    return Status.DONE, {"profile": found.source, "cells": rows}


def _can_plot() -> bool:
    import importlib.util

    return importlib.util.find_spec("matplotlib") is not None


def _plot(data: dict[str, Any], file: Path) -> str | None:
    """Draw; returns what went wrong."""
    from fast_axolotl.calibration.plot import plot

    try:
        plot(data, file)
    except (ImportError, OSError, ValueError) as error:
        return str(error)
    except KeyboardInterrupt:
        return "interrupted"
    return None
