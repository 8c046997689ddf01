"""What was decided: counts, times, the logger.

Calls are always counted, by the extension or by the wrapper of an adapter's function. Times cost
two clock readings and a look at the sizes, so they are taken only where somebody asks.
"""

from __future__ import annotations

import sys
from types import TracebackType

from fast_axolotl import _environment

TYPE_CHECKING = False
if TYPE_CHECKING:
    import logging
    from typing import Any

    from .registry import Function

ENVIRONMENT = "FAST_AXOLOTL_STATS"
LOGGER = "fast_axolotl.dispatch"

# How many `stats_enabled` blocks are open, plus one where the environment asks.
_timing = 0
_environment_asks = False
_logger: logging.Logger | None = None

# How often, and for how long, the original answers as well, to learn what a seam saves.
_SAMPLES, _SAMPLE_SECONDS = 4, 2.0
_sampling = False


def timing() -> bool:
    """Whether calls are timed now."""
    return _timing > 0


def sample() -> None:
    """Time all calls from now on; learn from a few what the original takes where no fit says it."""
    global _sampling
    _sampling = True
    _change(1)


def samples(function: Function, sampled: list[float]) -> bool:
    """Whether the original of a function should answer one more call, to be timed."""
    return (
        _sampling
        and not function.native
        and (function.verify is None or function.apart is not None)
        and sampled[0] < _SAMPLES
        and sampled[1] < _SAMPLE_SECONDS
    )


def logger() -> logging.Logger:
    """Return the logger of the dispatcher, which tells it when its level changes.

    `logging` is imported when the first decision is made, not before.
    """
    global _logger
    if _logger is None:
        import logging

        class DispatchLogger(logging.Logger):
            """Tells the dispatcher, which asks for the level only then."""

            def setLevel(self, level: int | str) -> None:  # noqa: N802
                super().setLevel(level)
                from . import call

                call.push()

        _logger = logging.getLogger(LOGGER)
        if type(_logger) is logging.Logger:
            _logger.__class__ = DispatchLogger
    return _logger


def tracing() -> bool:
    """Whether every decision is to be logged."""
    # Where nobody imported logging, nobody set a level.
    return "logging" in sys.modules and logger().isEnabledFor(10)


class stats_enabled:  # noqa: N801 (used like a function)
    """Time the calls of a block (of the whole process, while it lasts).

    >>> with stats_enabled():
    ...     rows = pad_sequences(rows)
    >>> stats()["pad"]["rust"]["seconds"] > 0
    True
    """

    __slots__ = ("_entered",)

    def __init__(self) -> None:
        self._entered = 0

    def __enter__(self) -> stats_enabled:
        """Begin to time."""
        _change(1, self)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Stop, unless another block goes on.

        Raises:
            RuntimeError: it was not entered.
        """
        _change(-1, self)


def _change(by: int, block: stats_enabled | None = None) -> None:
    global _timing
    from . import call

    with call.lock:
        if block is not None:
            if block._entered + by < 0:
                raise RuntimeError("a stats_enabled block ends that was not entered")
            block._entered += by
        _timing += by
        call.push()


def stats() -> dict[str, dict[str, dict[str, float]]]:
    """Return what was called: operation -> implementation -> figures.

    The figures are `calls`; where calls were timed (`FAST_AXOLOTL_STATS=1`, `stats_enabled()`) also
    `timed` (calls), `seconds` (their time) and `saved` (seconds, against what the cost model says
    the original would have taken; negative where it would have been faster). Calls that `verify`
    made count for both sides. Without the extension the public functions are the originals
    themselves, and nothing is counted but what adapters bring.
    """
    from . import call

    return call.collect()


def reset_stats() -> None:
    """Set all figures to zero."""
    from . import call

    call.reset_counts()


def table() -> str:
    """Return the figures as a table in plain text."""
    lines = [f"{'operation':<14}{'implementation':<16}{'calls':>10}{'seconds':>12}{'saved':>12}"]
    for operation, sides in stats().items():
        for side, figures in sides.items():
            if figures["calls"]:
                timed = "timed" in figures
                lines.append(
                    f"{operation:<14}{side:<16}{int(figures['calls']):>10}"
                    + (f"{figures['seconds']:>12.4f}{figures['saved']:>12.4f}" if timed else "")
                )
    return "\n".join(lines)


def read_environment() -> None:
    """Time all calls and print a table at exit where the environment asks for it.

    Raises:
        ValueError: the variable is neither 0 nor 1.
    """
    global _timing, _environment_asks
    # Once: the package may be loaded again.
    if _environment.switch(ENVIRONMENT) and not _environment_asks:
        import atexit

        _environment_asks = True
        _timing += 1
        atexit.register(_print_table)


def _print_table() -> None:
    from contextlib import suppress

    if sys.stderr is None:  # closed: `print` would take stdout
        return
    with suppress(OSError, ValueError):  # nobody can read it any more
        print(f"fast-axolotl:\n{table()}", file=sys.stderr)


def log(level: int, message: str, *values: Any) -> None:
    """Log, if somebody listens."""
    found = logger()
    if found.isEnabledFor(level):
        found.log(level, message, *values)
