"""Which implementation answers a call: numbers in, a name out.

Nothing here reads a clock, a file or the interpreter's state. The extension holds the same rule
in Rust (`src/py/dispatch.rs`); `tests/dispatch/test_native_policy.py` compares the two.
"""

from __future__ import annotations

import math
from collections.abc import Iterable

from fast_axolotl._records import NamedTuple

PYTHON, RUST, THREADS = "python", "rust", "rust_threads"
IMPLEMENTATIONS = (PYTHON, RUST, THREADS)
FEATURES = ("rows", "elements", "output")

# A plane only picks its challenger when that is predicted to be this much faster: fitted times
# are off by a few percent, and what is uncertain belongs to the side that holds.
PLANE_MARGIN = 0.05


class Sizes(NamedTuple):
    """What the time of a call depends on.

    Attributes:
        rows: sequences or texts.
        elements: tokens in all rows; for text, characters or bytes.
        output: elements of the result, padding included.
    """

    rows: float
    elements: float
    output: float


class Cost(NamedTuple):
    """Predicted nanoseconds of a call: `a + b * rows + c * elements + d * output`."""

    a: float
    b: float
    c: float
    d: float

    def at(self, sizes: Sizes) -> float:
        """Return the predicted time in nanoseconds."""
        return self.a + self.b * sizes.rows + self.c * sizes.elements + self.d * sizes.output


class Verdict(NamedTuple):
    """The rule that picks one of two implementations.

    The holder keeps ties and everything uncertain; the challenger has to win.

    Attributes:
        kind: "always", "threshold" or "plane".
        holder: the implementation that holds.
        challenger: the other one.
        side: of "always", the implementation that is used.
        feature: of "threshold", the member of `Sizes` it is about.
        at: of "threshold", the size from which on `above` is used.
        above: of "threshold", the implementation used from `at` on.
        costs: of "plane", the costs of holder and challenger.
    """

    kind: str
    holder: str
    challenger: str
    side: str = ""
    feature: str = ""
    at: float = math.inf
    above: str = ""
    costs: tuple[Cost, Cost] | None = None

    def choose(self, sizes: Sizes) -> str:
        """Return the implementation for a call of these sizes."""
        if self.kind == "always":
            return self.side
        if self.kind == "threshold":
            size = getattr(sizes, self.feature)
            return self.above if size >= self.at else self.below
        assert self.costs is not None
        holder, challenger = (cost.at(sizes) for cost in self.costs)
        return self.challenger if challenger * (1 + PLANE_MARGIN) < holder else self.holder

    @property
    def below(self) -> str:
        """Of "threshold", the implementation used under `at`."""
        return self.holder if self.above == self.challenger else self.challenger

    def describe(self) -> str:
        """Return the rule in words."""
        if self.kind == "always" and (self.holder, self.side) == (RUST, RUST):
            return "never several threads"
        if self.kind == "always":
            return f"always {self.side}"
        if self.kind == "threshold":
            return f"{self.above} from {self.at:.3g} {self.feature}, {self.below} below"
        if self.costs is not None and not any(self.costs[1][1:]):
            microseconds = self.costs[1].a * (1 + PLANE_MARGIN) / 1e3
            return f"{self.challenger} where {self.holder} takes over {microseconds:.3g} µs"
        return f"{self.challenger} where its plane is lower, else {self.holder}"


def always(side: str, holder: str = PYTHON, challenger: str = RUST) -> Verdict:
    """Return the verdict that knows no sizes."""
    return Verdict("always", holder, challenger, side=side)


def threshold(
    feature: str, at: float, above: str, holder: str = PYTHON, challenger: str = RUST
) -> Verdict:
    """Return the verdict that uses `above` from `at` on and the other side below."""
    return Verdict("threshold", holder, challenger, feature=feature, at=at, above=above)


def plane(costs: tuple[Cost, Cost], holder: str = PYTHON, challenger: str = RUST) -> Verdict:
    """Return the verdict that compares two fitted costs."""
    return Verdict("plane", holder, challenger, costs=costs)


class Cell(NamedTuple):
    """The rules of one function for one input layout, output and state of the collector.

    Attributes:
        one: Python against Rust on one thread.
        many: Python against Rust on several threads; None where there is no such thing.
        split: Rust on one thread against Rust on several; None likewise.
    """

    one: Verdict
    many: Verdict | None = None
    split: Verdict | None = None

    def choose(self, sizes: Sizes, threads: bool) -> str:
        """Return the implementation for a call.

        Args:
            sizes: of the call.
            threads: whether the call may use several threads now: more than one is usable, the
                caller did not ask for one, no other call holds the pool, this is no forked child.
        """
        if (
            threads
            and self.split is not None
            and self.many is not None
            and self.split.choose(sizes) == THREADS
        ):
            return self.many.choose(sizes)
        return self.one.choose(sizes)

    def constant(self) -> str | None:
        """Return the implementation that is used at every size, if there is one."""
        asked = [self.one]
        if self.split is not None and self.many is not None and self.split != RUST_ALONE:
            asked += [self.many, self.split]
        if any(verdict.kind != "always" for verdict in asked):
            return None
        sides = {self.choose(Sizes(1, 1, 1), threads) for threads in (False, True)}
        return sides.pop() if len(sides) == 1 else None


RUST_ALONE = always(RUST, RUST, THREADS)


def losses(verdict: Verdict, points: Iterable[tuple[Sizes, dict[str, float]]]) -> list[float]:
    """Return what a verdict loses at each measured point: 0.1 is ten percent.

    This is the badness that GMP's tuneup sums up: the percentage lost against the better method.

    Args:
        verdict: the rule.
        points: sizes, and the time of each implementation there.
    """
    lost = []
    for sizes, times in points:
        best = min(times[verdict.holder], times[verdict.challenger])
        lost.append(times[verdict.choose(sizes)] / best - 1)
    return lost
