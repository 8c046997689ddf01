"""Progress of work that takes longer than half a second; it goes to stderr."""

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

_SILENT_SECONDS = 0.5
_SECONDS_BETWEEN_LINES = 1.0

# Called with the part done (0 to 1) and what is being done, if that is worth a word.
At = Callable[[float, str], None]


@contextmanager
def step(what: str, total: int) -> Iterator[Callable[[int], None]]:
    """Show how far a step is that is counted.

    Args:
        what: names the step.
        total: of what `advance` counts.

    Yields:
        `advance(n)`: n more are done.
    """
    done = 0
    with parts(what) as at:

        def advance(count: int) -> None:
            nonlocal done
            done += count
            at(done / max(total, 1), "")

        yield advance


@contextmanager
def parts(what: str) -> Iterator[At]:
    """Show how far work is that knows its share: a bar on a terminal, a line a second otherwise.

    Yields:
        `at(part, doing)`, to be called now and then.
    """
    if sys.stderr.isatty():
        yield from _bar(what)
    else:
        yield from _lines(what)


def _bar(what: str) -> Iterator[At]:
    from rich.console import Console
    from rich.progress import Progress

    started = time.perf_counter()
    with Progress(console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task(what, total=1.0, visible=False)

        def at(part: float, doing: str) -> None:
            late = time.perf_counter() - started > _SILENT_SECONDS
            progress.update(task, completed=part, description=doing or what, visible=late)

        yield at


def _lines(what: str) -> Iterator[At]:
    due = time.perf_counter() + _SILENT_SECONDS
    shown = False

    def at(part: float, doing: str) -> None:
        nonlocal due, shown
        if time.perf_counter() >= due:
            due = time.perf_counter() + _SECONDS_BETWEEN_LINES
            shown = True
            more = f" ({doing})" if doing else ""
            _say(f"{what}: {part:.0%}{more}")

    yield at
    if shown:
        _say(f"{what}: done")


def _say(line: str) -> None:
    with suppress(OSError):  # a full disk: the work goes on
        print(line, file=sys.stderr, flush=True)
