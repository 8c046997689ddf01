"""What a profile says, and whether it still holds."""

from typing import Any

from fast_axolotl.dispatch import policy, profile, registry
from fast_axolotl.dispatch.policy import PYTHON, RUST, THREADS, Sizes

from . import fit, run
from .fingerprint import key
from .fit import AUDIT, Point

# The table's sizes.
ROWS = (1, 10, 100, 1_000, 10_000)
LENGTH = 64

# A profile is outdated when what it chooses loses more than this, on the mean of a new measurement.
_OUTDATED = 0.05
# A rule that is slower than Python by more than this, at a size held out, is worth a warning.
SLOWER = 0.05


def valid(file: str) -> profile.Profile | None:
    """Return the profile in a file; None where there is none that this host and build can use."""
    try:
        return profile.load(file, key())
    except (profile.ProfileError, FileNotFoundError):
        return None


def check(found: profile.Profile) -> dict[str, Any]:
    """Measure a little again, and compare with what a profile chooses.

    Returns:
        points, mean and max regret, and whether the profile agrees.

    Raises:
        BusyError: the machine is too busy.
    """
    grid = run.grids()["quick"]._replace(cold=0, select=0, audit=1, rounds=2)
    data = run.calibrate(grid=grid, key={})
    points = {}
    for name, table in data["points"].items():
        rules = profile.lookup(found.cells, name)
        if rules is not None:
            measured = fit.points_from(table)
            points[name] = [Point(p.sizes, p.times, AUDIT) for p in measured]
    cells = {name: profile.lookup(found.cells, name) for name in points}
    # Without the cold pool, only the rules for one thread are looked at.
    cells = {name: policy.Cell(cell.one) for name, cell in cells.items()}
    for name, measured in points.items():
        points[name] = [
            p._replace(times={s: t for s, t in p.times.items() if s != THREADS}) for p in measured
        ]
    result = fit.audit(cells, {name: tuple(p) for name, p in points.items()})
    return {**result, "agrees": result["mean"] <= _OUTDATED}


def table(found: profile.Profile) -> list[dict[str, Any]]:
    """Return the crossovers of a profile: a row for each cell."""
    rows = []
    for name, cell in found.cells.items():
        function, layout, output, collector = registry.split_cell(name)
        known = registry.FUNCTIONS.get(function)
        fits = found.fits.get(name, {})
        speeds = []
        for count in ROWS:
            sizes = Sizes(count, count * LENGTH, count * LENGTH)
            sides = [fits[s].at(sizes) for s in (RUST, THREADS) if s in fits]
            speeds.append(fits[PYTHON].at(sizes) / min(sides) if PYTHON in fits and sides else 0.0)
        verdict = cell.one.describe()
        if cell.split is not None:
            verdict += f"; {cell.split.describe()}"
        rows.append(
            {
                "operation": known.operation if known else "",
                "function": function,
                "layout": layout,
                "output": output,
                "collector": collector,
                "verdict": verdict,
                "speed": [round(speed, 3) for speed in speeds],
            }
        )
    return rows
