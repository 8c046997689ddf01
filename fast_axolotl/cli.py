"""The command `fast-axolotl`."""

import os
import pkgutil
import sys
from importlib import import_module
from typing import Annotated, TextIO

import typer

import fast_axolotl

from . import _environment, commands

app = typer.Typer(
    name="fast-axolotl",
    help="Axolotl's data pipeline in Rust: the same results, never slower.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"fast-axolotl {fast_axolotl.get_version()}")
        raise typer.Exit


@app.callback()
def _root(
    context: typer.Context,
    version: Annotated[
        bool,
        typer.Option(
            "--version", callback=_print_version, is_eager=True, help="Show the version and exit."
        ),
    ] = False,
) -> None:
    del version
    if _environment.problems and context.invoked_subcommand != "doctor" and _runs():
        for problem in _environment.problems:
            print(f"fast-axolotl: {problem}", file=sys.stderr)
        raise typer.Exit(2)


def _runs() -> bool:
    # A command's help is asked for behind its name.
    return "--help" not in sys.argv


def _register() -> None:
    for found in pkgutil.iter_modules(commands.__path__):
        if not found.name.startswith("_"):
            module = import_module(f"{commands.__name__}.{found.name}")
            settings = getattr(module, "SETTINGS", {})
            app.command(found.name.replace("_", "-"), **settings)(getattr(module, found.name))


_register()


def _nowhere() -> TextIO:
    return os.fdopen(os.open(os.devnull, os.O_WRONLY), "w")


def main() -> None:
    """Run the command line."""
    # Closed: who asks stdout whether it is a terminal needs one, and without stderr `print` would
    # take stdout.
    sys.stdout = sys.stdout or _nowhere()
    sys.stderr = sys.stderr or _nowhere()
    try:
        app()
    except OSError as error:
        if error.filename is not None:
            raise
        # Of the output: its disk is full. What is left of it must not be tried again at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        print(f"fast-axolotl: {error.strerror or error}", file=sys.stderr)
        sys.exit(1)
