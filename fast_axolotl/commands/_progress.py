"""Progress of work that takes longer than half a second; it goes to stderr."""

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

_SILENT_SECONDS = 0.5
_SECONDS_BETWEEN_LINES = 1.0


@contextmanager
def step(what: str, total: int) -> Iterator[Callable[[int], None]]:
    """Show how far a step is: a bar on a terminal, a line a second otherwise.

    Args:
        what: names the step.
        total: of what `advance` counts.

    Yields:
        `advance(n)`: n more are done.
    """
    if sys.stderr.isatty():
        yield from _bar(what, total)
    else:
        yield from _lines(what, total)


def _bar(what: str, total: int) -> Iterator[Callable[[int], None]]:
    from rich.console import Console
    from rich.progress import Progress

    started = time.perf_counter()
    with Progress(console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task(what, total=total, visible=False)

        def advance(count: int) -> None:
            late = time.perf_counter() - started > _SILENT_SECONDS
            progress.update(task, advance=count, visible=late)

        yield advance


def _lines(what: str, total: int) -> Iterator[Callable[[int], None]]:
    done = 0
    due = time.perf_counter() + _SILENT_SECONDS
    shown = False

    def advance(count: int) -> None:
        nonlocal done, due, shown
        done += count
        if time.perf_counter() >= due:
            due = time.perf_counter() + _SECONDS_BETWEEN_LINES
            shown = True
            print(f"{what}: {done * 100 // max(total, 1)}%", file=sys.stderr, flush=True)

    yield advance
    if shown:
        print(f"{what}: done", file=sys.stderr, flush=True)
