"""The command `fast-axolotl`."""

import pkgutil
from importlib import import_module
from typing import Annotated

import typer

import fast_axolotl

from . import commands

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
    version: Annotated[
        bool,
        typer.Option(
            "--version", callback=_print_version, is_eager=True, help="Show the version and exit."
        ),
    ] = False,
) -> None:
    pass


def _register() -> None:
    for found in pkgutil.iter_modules(commands.__path__):
        if not found.name.startswith("_"):
            module = import_module(f"{commands.__name__}.{found.name}")
            settings = getattr(module, "SETTINGS", {})
            app.command(found.name.replace("_", "-"), **settings)(getattr(module, found.name))


_register()


def main() -> None:
    """Run the command line."""
    app()
