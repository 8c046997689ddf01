"""`fast-axolotl explain`: which side would answer a call, and why."""

import json
from typing import Annotated

import typer


def explain(
    operation: Annotated[
        str, typer.Argument(help="pack, pad or hash, for the first function of it; or a function.")
    ],
    rows: Annotated[int, typer.Option(help="Sequences or texts.", min=0)] = 1,
    length: Annotated[int, typer.Option(help="Elements a row.", min=0)] = 1,
    layout: Annotated[
        str | None, typer.Option(help="Of the input; default: lists, or str.")
    ] = None,
    output: Annotated[str | None, typer.Option(help="Of the result; default: lists.")] = None,
    threads: Annotated[int, typer.Option(help="num_threads of the call.", min=0)] = 0,
    as_json: Annotated[bool, typer.Option("--json", help="JSON alone on stdout.")] = False,
) -> None:
    """Say which side would answer a call, and why."""
    from fast_axolotl.dispatch import explain as module
    from fast_axolotl.dispatch.explain import as_dict

    try:
        found = module(
            operation, rows=rows, length=length, layout=layout, output=output, threads=threads
        )
    except (ValueError, OverflowError) as error:
        raise typer.BadParameter(str(error)) from None
    typer.echo(json.dumps(as_dict(found)) if as_json else str(found))
