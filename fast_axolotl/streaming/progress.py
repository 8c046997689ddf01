"""Telling how far a reader has come."""

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

from .reader import Progress

if TYPE_CHECKING:
    from .. import _core


def watched(
    batches: Iterator[Any],
    files: "_core.Files",
    total: int,
    progress: "bool | Callable[[Progress], object]",
) -> Iterator[Any]:
    """Return the same batches; after each of them, `progress` is told."""
    before = files.bytes_read()

    def state(rows: int) -> Progress:
        return Progress(rows, min(files.bytes_read() - before, total), total)

    if callable(progress):
        yield from _called(batches, state, progress)
    else:
        yield from _shown(batches, state, total)


def _called(
    batches: Iterator[Any],
    state: Callable[[int], Progress],
    progress: Callable[[Progress], object],
) -> Iterator[Any]:
    rows = 0
    for batch in batches:
        rows += len(next(iter(batch.values()), ())) if isinstance(batch, dict) else batch.num_rows
        progress(state(rows))
        yield batch
    # At the end all is read, whatever a footer or an index left untouched.
    last = state(rows)
    progress(last._replace(bytes=last.total_bytes))


def _shown(batches: Iterator[Any], state: Callable[[int], Progress], total: int) -> Iterator[Any]:
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, TextColumn, TimeRemainingColumn
    from rich.progress import Progress as Bar

    columns = (
        TextColumn("{task.fields[rows]:,} rows"),
        BarColumn(),
        DownloadColumn(),
        TimeRemainingColumn(),
    )
    with Bar(*columns, console=Console(stderr=True)) as bar:
        task = bar.add_task("", total=total, rows=0)
        yield from _called(
            batches, state, lambda at: bar.update(task, completed=at.bytes, rows=at.rows)
        )
