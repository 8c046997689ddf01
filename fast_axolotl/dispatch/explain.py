"""Why a call goes where it goes: predicted times, winner, margin, source of the figures."""

from __future__ import annotations

from fast_axolotl._records import NamedTuple
from fast_axolotl.reference import _arguments

from . import call as calls
from . import modes, policy, profile, registry, support
from .policy import PYTHON, THREADS, Sizes

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


class Explanation(NamedTuple):
    """What the dispatcher would do with a call.

    Attributes:
        operation: as in the table.
        function: the function that was asked about.
        layout: of the input.
        output: of the result.
        sizes: rows, elements, elements of the result.
        mode: the mode that holds.
        winner: the implementation that would answer.
        seconds: predicted time of each implementation; empty where nothing was measured.
        margin: how many times as fast the winner is as the better of the others; None without a
            prediction.
        rule: the rule that decided, in words.
        source: the profile's file, or "packaged default".
        refused: why Rust can't take the call; None where it can.
    """

    operation: str
    function: str
    layout: str
    output: str
    sizes: Sizes
    mode: str
    winner: str
    seconds: dict[str, float]
    margin: float | None
    rule: str
    source: str
    refused: str | None

    def __str__(self) -> str:
        lines = [
            f"{self.function} ({self.operation}), {self.layout} -> {self.output}, "
            f"{self.sizes.rows:.0f} rows, {self.sizes.elements:.0f} elements",
            f"  winner     {self.winner}{self._compared()}",
        ]
        for side, seconds in self.seconds.items():
            lines.append(f"  {side:<13}{_time(seconds)} predicted")
        lines.append(f"  mode       {self.mode}")
        lines.append(f"  rule       {self.rule}")
        lines.append(f"  source     {self.source}")
        if self.refused is not None:
            lines.append(f"  refused    Rust can't: {self.refused}")
        return "\n".join(lines)

    def _compared(self) -> str:
        if not self.margin:
            return ""
        if self.margin >= 1:
            return f", {self.margin:.2f}x the speed of the next"
        return f", though another is predicted to be {1 / self.margin:.2f}x as fast"


def _time(seconds: float) -> str:
    for unit, size in (("s", 1.0), ("ms", 1e-3), ("µs", 1e-6)):
        if seconds >= size:
            return f"{seconds / size:.3g} {unit}"
    return f"{seconds / 1e-9:.3g} ns"


def explain(
    op: str,
    *,
    rows: int = 1,
    length: int = 1,
    layout: str | None = None,
    output: str | None = None,
    threads: int = 0,
) -> Explanation:
    """Say which side would answer a call, and why.

    Args:
        op: an operation ("pack", "pad", "hash"; the first function of it is meant) or a function.
        rows: sequences or texts.
        length: elements a row.
        layout: of the input; None for the function's first.
        output: of the result; None for the function's first.
        threads: `num_threads` of the call.

    Returns:
        An `Explanation`; its `str` is a report.

    Raises:
        TypeError: a size is not an int.
        ValueError: an unknown operation, layout or output (the message lists those there are), or
            a negative size.
        OverflowError: a size over `sys.maxsize`.
    """
    function = registry.find(op)
    layout = function.layouts[0] if layout is None else layout
    output = function.outputs[0] if output is None else output
    if layout not in function.layouts:
        raise ValueError(
            f"unknown layout {layout!r} of {function.name}; there are {', '.join(function.layouts)}"
        )
    if output not in function.outputs:
        raise ValueError(
            f"unknown output {output!r} of {function.name}; there are {', '.join(function.outputs)}"
        )
    rows, length = _arguments.size("rows", rows), _arguments.size("length", length)
    threads = _arguments.size("threads", threads)
    sizes = Sizes(rows, rows * length, rows * length)
    mode = modes.current(function.operation)
    refused = support.standing_reason(function)
    own, default = calls.profiles()
    collector = calls.collector_on() or not function.allocates or output != "lists"
    name = registry.cell_name(function.name, layout, output, collector)
    cell = calls.rules(name, own, default)
    used = own if own is not None and profile.lookup(own.cells, name) is not None else default
    fits = profile.lookup(used.fits, name) or {}
    many = calls.may_share(function, sizes, threads)
    seconds = {side: cost.at(sizes) / 1e9 for side, cost in fits.items() if many or side != THREADS}
    winner, rule = _winner(cell, sizes, many, mode, refused, threads)
    margin = None
    others = [value for side, value in seconds.items() if side != winner]
    if winner in seconds and others and seconds[winner] > 0:
        margin = min(others) / seconds[winner]
    return Explanation(
        *(function.operation, function.name, layout, output, sizes, mode),
        *(winner, seconds, margin, rule, used.source, refused),
    )


def _winner(
    cell: policy.Cell, sizes: Sizes, many: bool, mode: str, refused: str | None, threads: int
) -> tuple[str, str]:
    if refused is not None:
        return PYTHON, "Rust can't take it"
    if mode == modes.PYTHON:
        return PYTHON, "forced"
    if calls.threads_forced(mode, many, threads):
        return THREADS, "forced, and so are threads"
    if mode == modes.RUST:
        cell = calls.forced_rust(cell)
    winner = cell.choose(sizes, many)
    if many and cell.split is not None and cell.many is not None:
        split = cell.split.choose(sizes)
        verdict = cell.many if split == THREADS else cell.one
        rule = f"{cell.split.describe()}; against python {verdict.describe()}"
    else:
        rule = cell.one.describe()
    if mode == modes.VERIFY:
        return winner, "both sides answer (verify)"
    return winner, f"forced; {rule}" if mode == modes.RUST else rule


def as_dict(found: Explanation) -> dict[str, Any]:
    """Return an explanation as plain data."""
    return {**found._asdict(), "sizes": found.sizes._asdict()}


__all__ = ["Explanation", "as_dict", "explain"]
