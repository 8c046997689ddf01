"""Build what the package carries: the grids, and the default from the recorded profiles.

    python calibration/build.py            # writes grids.json and default.json
    python calibration/build.py --check    # fails where they are not what would be written

The default picks Rust only where no recorded machine saw Python win, with room to spare.
"""

import argparse
import json
import math
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml

from fast_axolotl.calibration import fit
from fast_axolotl.dispatch import policy, profile
from fast_axolotl.dispatch.policy import Cell, Cost, Sizes, Verdict

HERE = Path(__file__).parent
PACKAGE = HERE.parent / "fast_axolotl"
GRIDS = PACKAGE / "calibration" / "grids.json"
DEFAULT = PACKAGE / "dispatch" / "default.json"

# The challenger has to be this much faster on every machine; another one may be unlike them.
MARGIN = 1.05
# A threshold keeps this factor away from the last point that the holder won.
ROOM = 2.0
# Regions with fewer points than this on each machine are not worth a rule.
LEAST = 3

Measured = list[tuple[Sizes, bool]]


def recorded() -> dict[str, profile.Profile]:
    """Return the recorded profiles, whatever host they are of."""
    return {
        path.stem: profile.load(str(path), None) for path in sorted(HERE.glob("profiles/*.yaml"))
    }


def points_of(profiles: dict[str, profile.Profile], cell: str) -> list[fit.Point]:
    """Return the points of a cell on all machines."""
    found = []
    for one in profiles.values():
        if cell in one.data["points"]:
            found += fit.points_from(one.data["points"][cell])
    return found


def conservative(points: list[fit.Point], holder: str, challenger: str, least: int) -> Verdict:
    """Return the rule that uses the challenger only where it won on every machine."""
    safe: Measured = [
        (p.sizes, p.times[challenger] * MARGIN <= p.times[holder])
        for p in points
        if challenger in p.times
    ]
    if not safe:
        return policy.always(holder, holder, challenger)
    if all(won for _, won in safe):
        return policy.always(challenger, holder, challenger)
    best, most = policy.always(holder, holder, challenger), least - 1
    for feature in policy.FEATURES:
        lost = [getattr(sizes, feature) for sizes, won in safe if not won]
        for above in (challenger, holder):
            at = max(lost) * ROOM if above == challenger else min(lost) / ROOM
            rule = policy.threshold(feature, float(f"{at:.3g}"), above, holder, challenger)
            kept = sum(rule.choose(sizes) == challenger for sizes, _ in safe)
            if kept > most:
                best, most = rule, kept
    return best


def conservative_split(points: list[fit.Point], cost: Cost) -> Verdict:
    """Return the rule that uses several threads only for what takes one long on every machine.

    Args:
        points: of a cell on all machines.
        cost: of one thread, which the rule predicts the time by.
    """
    timed = [p for p in points if policy.THREADS in p.times]
    lost = [
        cost.at(p.sizes) for p in timed if p.times[policy.THREADS] * MARGIN > p.times[policy.RUST]
    ]
    longest = max((cost.at(p.sizes) for p in timed), default=0.0)
    at = max(lost, default=0.0) * ROOM
    return fit.split_at(cost, at if at < longest else math.inf)


def default(profiles: dict[str, profile.Profile]) -> dict[str, Any]:
    """Return the data of the packaged default."""
    cells = sorted({cell for one in profiles.values() for cell in one.data["points"]})
    verdicts, fits = {}, {}
    for cell in cells:
        points = points_of(profiles, cell)
        least = LEAST * len(profiles)
        costs = mean_costs([one.fits[cell] for one in profiles.values() if cell in one.fits])
        one = conservative(points, policy.PYTHON, policy.RUST, least)
        many = split = None
        if policy.THREADS in costs:
            split = conservative_split(points, costs[policy.RUST])
            # Asked only where several threads beat one.
            long = [p for p in points if split.choose(p.sizes) == policy.THREADS]
            many = conservative(long or points, policy.PYTHON, policy.THREADS, least)
        verdicts[cell] = fit.cell_data(Cell(one, many, split))
        fits[cell] = {side: fit.cost_data(cost) for side, cost in costs.items()}
    machines = {name: one.data["key"] for name, one in profiles.items()}
    rules = {name: profile._cell(name, rule) for name, rule in verdicts.items()}
    judged: dict[str, Sequence[fit.Point]] = {
        cell: tuple(p._replace(role=fit.AUDIT) for p in points_of(profiles, cell)) for cell in cells
    }
    return {
        "checksum": "",
        "version": profile.VERSION,
        "key": {"machines": machines},
        "made": {"effort": "recorded profiles", "by": "calibration/build.py"},
        "points": {},
        "fit": fits,
        "verdicts": verdicts,
        "audit": {k: round(v, 5) for k, v in fit.audit(rules, judged).items()},
    }


def mean_costs(fits: list[dict[str, Cost]]) -> dict[str, Cost]:
    """Return the mean cost of each side over the machines that have it."""
    found = {}
    for side in policy.IMPLEMENTATIONS:
        costs = [one[side] for one in fits if side in one]
        if costs:
            found[side] = Cost(*(math.fsum(values) / len(costs) for values in zip(*costs)))
    return found


def built() -> dict[Path, str]:
    """Return what the package should carry, by file."""
    grids = yaml.safe_load((HERE / "grids.yaml").read_text(encoding="utf-8"))
    return {
        GRIDS: json.dumps(grids, indent=1) + "\n",
        DEFAULT: json.dumps(default(recorded()), indent=1) + "\n",
    }


def main() -> int:
    """Write the files, or check them."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--check", action="store_true", help="write nothing, fail on a difference")
    check = parser.parse_args().check
    status = 0
    for path, text in built().items():
        if check:
            if not path.exists() or path.read_text(encoding="utf-8") != text:
                print(f"{path} is not what calibration/build.py would write", file=sys.stderr)
                status = 1
        else:
            path.write_text(text, encoding="utf-8")
            print(path)
    return status


if __name__ == "__main__":
    sys.exit(main())
