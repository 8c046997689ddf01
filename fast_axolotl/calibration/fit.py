"""From measured times to rules: cost planes, crossovers, verdicts, the audit. No clock here."""

import math
from collections.abc import Iterable, Sequence
from itertools import combinations, pairwise
from typing import Any, NamedTuple

from fast_axolotl.dispatch import policy
from fast_axolotl.dispatch.policy import FEATURES, Cell, Cost, Sizes, Verdict

FIT, SELECT, AUDIT = "fit", "select", "audit"

# A verdict is as good as the best when it loses no more than this on the mean, and no single
# point more than that beyond the best's worst one.
MEAN_SLACK = 0.005
WORST_SLACK = 0.05

# What several threads have to win over one, at their best, before they are used. They take the
# processors of others, and are seldom at their best.
THREADS_MARGIN = 0.2
# Waits that are tried, an octave.
_STEPS = 16


class Point(NamedTuple):
    """One measured size of a cell.

    Attributes:
        sizes: rows, elements, elements of the result.
        times: nanoseconds of each implementation.
        role: "fit" (the planes and thresholds are made from it), "select" (the verdict is chosen by
            it) or "audit" (seen by neither).
    """

    sizes: Sizes
    times: dict[str, float]
    role: str = FIT


def fit_cost(points: Sequence[Point], side: str) -> Cost:
    """Fit `t = a + b*rows + c*elements + d*output`, non-negative, on relative error.

    Non-negative least squares in four unknowns: the best of the unconstrained solutions over every
    subset of them that has no negative one, which is exact.

    Raises:
        ValueError: no points.
    """
    if not points:
        raise ValueError("no points to fit")
    # Divided by the time, every equation's right side is 1: relative errors count alike.
    rows = [[term / p.times[side] for term in (1.0, *p.sizes)] for p in points]
    best, solution = math.inf, [0.0] * 4
    for size in range(1, 5):
        for chosen in combinations(range(4), size):
            found = _solve(rows, chosen)
            if found is None or min(found) < 0:
                continue
            full = [0.0] * 4
            for i, value in zip(chosen, found):
                full[i] = value
            error = sum((sum(x * w for x, w in zip(row, full)) - 1) ** 2 for row in rows)
            if error < best - 1e-12:
                best, solution = error, full
    return Cost(*solution)


def _solve(rows: list[list[float]], chosen: tuple[int, ...]) -> list[float] | None:
    # Normal equations with the columns scaled to one length; Gauss with pivots.
    n = len(chosen)
    scale = [math.sqrt(sum(row[i] ** 2 for row in rows)) or 1.0 for i in chosen]
    matrix = [
        [sum(row[i] * row[j] for row in rows) / (scale[a] * scale[b]) for b, j in enumerate(chosen)]
        + [sum(row[i] for row in rows) / scale[a]]
        for a, i in enumerate(chosen)
    ]
    for column in range(n):
        pivot = max(range(column, n), key=lambda r: abs(matrix[r][column]))
        if abs(matrix[pivot][column]) < 1e-9:
            return None
        matrix[column], matrix[pivot] = matrix[pivot], matrix[column]
        for r in range(n):
            if r != column:
                factor = matrix[r][column] / matrix[column][column]
                matrix[r] = [x - factor * y for x, y in zip(matrix[r], matrix[column])]
    return [matrix[i][n] / matrix[i][i] / scale[i] for i in range(n)]


def best_threshold(
    points: Sequence[Point], feature: str, holder: str, challenger: str
) -> Verdict | None:
    """Return the threshold on one feature that loses least, or None if one side wins throughout.

    Like GMP's tuneup, the cut minimises the summed loss over all sizes measured rather than being
    the first size where a side wins; its place between two sizes comes from a line through the
    logarithm of the ratio near it.
    """
    measured = sorted({getattr(p.sizes, feature) for p in points})
    pairs = [(p.sizes, p.times) for p in points]
    sizes = [getattr(p.sizes, feature) for p in points]
    constant = {
        side: policy.losses(policy.always(side, holder, challenger), pairs)
        for side in (holder, challenger)
    }
    best: tuple[float, float, str] | None = None
    for low, high in pairwise(measured):
        at = math.sqrt(max(low, 0.5) * high)
        for above, below in ((challenger, holder), (holder, challenger)):
            lost = sum(
                up if size >= at else down
                for size, up, down in zip(sizes, constant[above], constant[below])
            )
            if best is None or lost < best[0]:
                best = (lost, at, above)
    if best is None or min(map(sum, constant.values())) <= best[0]:
        return None
    _, at, above = best
    at = _refined(points, feature, at, holder, challenger)
    return policy.threshold(feature, at, above, holder, challenger)


def _refined(
    points: Sequence[Point], feature: str, at: float, holder: str, challenger: str
) -> float:
    low = max((s for p in points if (s := getattr(p.sizes, feature)) < at), default=at)
    high = min((s for p in points if (s := getattr(p.sizes, feature)) >= at), default=at)
    for reach in (1.5, 2.5, 4.0):
        near = [
            (
                math.log2(max(getattr(p.sizes, feature), 0.5) / at),
                math.log(p.times[challenger] / p.times[holder]),
            )
            for p in points
            if abs(math.log2(max(getattr(p.sizes, feature), 0.5) / at)) <= reach
        ]
        if len(near) >= 4 and min(near)[0] < 0 < max(near)[0]:
            break
    else:
        return at
    found = at * 2.0 ** max(-8.0, min(8.0, _crossing(near)))
    # Not beyond the neighbours: there the measured points themselves say otherwise.
    return float(min(max(found, low / 1.2), high * 1.2))


def _crossing(near: Sequence[tuple[float, float]]) -> float:
    """Return where the line through points crosses 0; 0 where it is level.

    The logarithm of a ratio of times is close to a line of the logarithm of the size near there.
    """
    mean_x = sum(x for x, _ in near) / len(near)
    mean_y = sum(y for _, y in near) / len(near)
    spread = sum((x - mean_x) ** 2 for x, _ in near)
    slope = sum((x - mean_x) * (y - mean_y) for x, y in near) / spread if spread else 0.0
    return mean_x - mean_y / slope if slope else 0.0


def choose_verdict(points: Sequence[Point], holder: str, challenger: str) -> Verdict:
    """Return the simplest rule that is as good as the best on the points held out for it.

    In this order: always the holder (which so wins ties), always the challenger, a threshold on
    one feature, the fitted plane.
    """
    fitted = [p for p in points if p.role == FIT]
    held = [p for p in points if p.role == SELECT] or fitted
    candidates = [policy.always(side, holder, challenger) for side in (holder, challenger)]
    for feature in FEATURES:
        found = best_threshold(fitted, feature, holder, challenger)
        if found is not None:
            candidates.append(found)
    costs = (fit_cost(fitted, holder), fit_cost(fitted, challenger))
    candidates.append(policy.plane(costs, holder, challenger))
    judged = [(p.sizes, p.times) for p in held]
    everything = [(p.sizes, p.times) for p in [*fitted, *held]]
    means = [_mean(policy.losses(verdict, judged)) for verdict in candidates]
    totals = [_mean(policy.losses(verdict, everything)) for verdict in candidates]
    worst = [max(policy.losses(verdict, everything), default=0.0) for verdict in candidates]
    slack = min(worst) + WORST_SLACK
    for i, verdict in enumerate(candidates):
        if (
            means[i] <= min(means) + MEAN_SLACK
            and totals[i] <= min(totals) + 2 * MEAN_SLACK
            and worst[i] <= slack
        ):
            return verdict
    return candidates[min(range(len(candidates)), key=lambda i: (totals[i], i))]


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values) if values else 0.0


def threads_pay_from(cells: Iterable[Sequence[Point]]) -> float:
    """Return how long a call takes on one thread where several begin to pay.

    A call of `one` nanoseconds on one thread takes, on several, `one` while they are on their way,
    and from then on a part less: `one - gain * max(0, one - wait)`. Both belong to the machine
    rather than to what is done, so all cells tell them together: the pair of least squares in
    relative error.

    Args:
        cells: the points of cells; those without times of several threads say nothing.

    Returns:
        Nanoseconds on one thread; infinity where several never pay.
    """
    pairs = [
        (point.times[policy.RUST], point.times[policy.THREADS])
        for points in cells
        for point in points
        if point.role != AUDIT and policy.THREADS in point.times
    ]
    if not pairs:
        return math.inf
    shortest, longest = (end(one for one, _ in pairs) for end in (min, max))
    missing = [one / many - 1 for one, many in pairs]
    best, wait, gain = math.inf, 0.0, 0.0
    for step in range(math.ceil(_STEPS * math.log2(longest / shortest))):
        tried = shortest * 2.0 ** (step / _STEPS)
        # Linear in the gain, for a given wait.
        saved = [max(0.0, one - tried) / many for one, many in pairs]
        found = sum(s * m for s, m in zip(saved, missing)) / sum(s * s for s in saved)
        error = sum((m - found * s) ** 2 for s, m in zip(saved, missing))
        if error < best:
            best, wait, gain = error, tried, found
    won = (1 + THREADS_MARGIN) * gain
    if won <= THREADS_MARGIN:
        return math.inf
    pay_from = wait * won / (won - THREADS_MARGIN)
    return pay_from if pay_from < longest else math.inf


def split_at(cost: Cost, nanoseconds: float) -> Verdict:
    """Return the verdict that uses several threads where one takes longer than this."""
    if math.isinf(nanoseconds):
        return policy.RUST_ALONE
    least = Cost(nanoseconds / (1 + policy.PLANE_MARGIN), 0.0, 0.0, 0.0)
    return policy.plane((cost, least), policy.RUST, policy.THREADS)


def fit_cell(
    points: Sequence[Point], threads_from: float | None = None
) -> tuple[Cell, dict[str, Cost]]:
    """Return the rules of a cell and the cost of each side, from its points.

    Args:
        points: of the cell.
        threads_from: `threads_pay_from` of the machine; None to tell it from these points alone.
    """
    sides = [s for s in policy.IMPLEMENTATIONS if all(s in p.times for p in points)]
    fitted = [p for p in points if p.role == FIT]
    costs = {side: fit_cost(fitted, side) for side in sides}
    one = choose_verdict(points, policy.PYTHON, policy.RUST)
    if policy.THREADS not in sides:
        return Cell(one), costs
    many = choose_verdict(points, policy.PYTHON, policy.THREADS)
    if threads_from is None:
        threads_from = threads_pay_from([points])
    return Cell(one, many, split_at(costs[policy.RUST], threads_from)), costs


def audit(cells: dict[str, Cell], points: dict[str, Sequence[Point]]) -> dict[str, Any]:
    """Return the regret on points that neither fit nor selection saw.

    Regret is the time of the side chosen over that of the best side, less one.

    Returns:
        mean, p95, max, points, and `against_python`: the lowest speed relative to Python.
    """
    regrets: list[float] = []
    against = math.inf
    for name, measured in points.items():
        for point in measured:
            if point.role != AUDIT:
                continue
            chosen = point.times[cells[name].choose(point.sizes, policy.THREADS in point.times)]
            regrets.append(chosen / min(point.times.values()) - 1)
            against = min(against, point.times[policy.PYTHON] / chosen)
    regrets.sort()
    return {
        "points": len(regrets),
        "mean": _mean(regrets),
        "p95": quantile(regrets, 0.95),
        "max": regrets[-1] if regrets else 0.0,
        "against_python": against if regrets else 1.0,
    }


def quantile(ordered: Sequence[float], q: float) -> float:
    """Return a quantile of sorted values (nearest rank); 0 of none."""
    if not ordered:
        return 0.0
    return ordered[min(len(ordered) - 1, max(0, math.ceil(q * len(ordered)) - 1))]


def verdict_data(verdict: Verdict) -> dict[str, Any]:
    """Return a verdict as it stands in a profile."""
    if verdict.kind == "always":
        return {"kind": "always", "side": verdict.side}
    if verdict.kind == "threshold":
        return {
            "kind": "threshold",
            "feature": verdict.feature,
            "at": float(f"{verdict.at:.4g}"),
            "above": verdict.above,
        }
    assert verdict.costs is not None
    sides = (verdict.holder, verdict.challenger)
    return {"kind": "plane", **{s: cost_data(c) for s, c in zip(sides, verdict.costs)}}


def cost_data(cost: Cost) -> list[float]:
    """Return a cost as it stands in a profile: 4 significant digits."""
    return [float(f"{value:.4g}") for value in cost]


def cell_data(cell: Cell) -> dict[str, Any]:
    """Return the rules of a cell as they stand in a profile."""
    return {
        name: verdict_data(verdict)
        for name, verdict in zip(("one", "many", "split"), cell)
        if verdict is not None
    }


def points_text(points: Sequence[Point]) -> str:
    """Return points as they stand in a profile: a table with a heading, times in nanoseconds.

    One text a cell rather than a list of lists: YAML reads that a hundred times as fast, and every
    process reads the profile.
    """
    sides = [s for s in policy.IMPLEMENTATIONS if all(s in p.times for p in points)]
    lines = [" ".join(["role", *FEATURES, *sides])]
    for point in points:
        sizes = [f"{round(size)}" for size in point.sizes]
        lines.append(" ".join([point.role, *sizes, *(f"{point.times[s]:.5g}" for s in sides)]))
    return "\n".join(lines) + "\n"


def points_from(text: str) -> list[Point]:
    """Return the points of a cell of a profile that was checked."""
    heading, *rows = (line.split() for line in text.splitlines())
    points = []
    for row in rows:
        found = dict(zip(heading, row))
        sizes = Sizes(*(float(found[name]) for name in FEATURES))
        times = {side: float(found[side]) for side in policy.IMPLEMENTATIONS if side in found}
        points.append(Point(sizes, times, found["role"]))
    return points
