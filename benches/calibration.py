"""Do calibrations of one machine agree? The spread of the crossovers over several of them.

    python benches/calibration.py [--runs 10] [--level default] [--markdown FILE]

Every calibration is a process of its own and writes a profile of its own. A crossover is the number
of rows (of 64 tokens or characters) from which on the rules choose another implementation; where
the rules never change, there is none. The spread is the standard deviation, in octaves.
"""

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import yaml

from fast_axolotl.dispatch import policy, profile

LENGTH = 64
STEPS = 16  # an octave


def crossover(cell: policy.Cell) -> tuple[str, float | None]:
    """Return the implementation of short calls, and the octave from which on it is another."""
    first = None
    for step in range(20 * STEPS + 1):
        rows = 2 ** (step / STEPS)
        sizes = policy.Sizes(rows, rows * LENGTH, rows * LENGTH)
        side = cell.choose(sizes, threads=True)
        if first is None:
            first = side
        elif side != first:
            return first, step / STEPS
    assert first is not None
    return first, None


def calibrate(file: Path, level: str) -> tuple[dict[str, policy.Cell], float, dict[str, float]]:
    """Return the rules that one calibration finds, its seconds, its audit."""
    environment = {**os.environ, "FAST_AXOLOTL_PROFILE": str(file)}
    flags = [] if level == "default" else [f"--{level}"]
    begin = time.perf_counter()
    subprocess.run(
        [sys.executable, "-m", "fast_axolotl", "calibrate", *flags],
        env=environment,
        check=True,
        capture_output=True,
    )
    seconds = time.perf_counter() - begin
    audit = yaml.safe_load(file.read_text(encoding="utf-8"))["audit"]
    from fast_axolotl.calibration.fingerprint import key

    return profile.load(str(file), key()).cells, seconds, audit


def report(found: list[dict[str, policy.Cell]]) -> str:
    """Return the table, as Markdown."""
    lines = [
        "| cell | short calls | found a crossover | rows, median | spread, octaves |",
        "| --- | --- | --- | --- | --- |",
    ]
    constant = 0
    for name in found[0]:
        crossings = [crossover(cells[name]) for cells in found]
        places = [place for _, place in crossings if place is not None]
        sides = sorted({side for side, _ in crossings})
        if not places and len(sides) == 1:
            constant += 1
            continue
        spread = f"{statistics.stdev(places):.2f}" if len(places) > 1 else ""
        rows = f"{2 ** statistics.median(places):,.0f}" if places else ""
        lines.append(
            f"| {name} | {', '.join(sides)} | {len(places)} of {len(found)} | {rows} | {spread} |"
        )
    lines.append(f"\nThe other {constant} cells have one implementation at every size, in all.")
    return "\n".join(lines) + "\n"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--runs", type=int, default=10)
    parser.add_argument("--level", choices=("quick", "default", "full"), default="default")
    parser.add_argument("--markdown", type=Path)
    options = parser.parse_args()
    found, seconds, worst = [], [], []
    with tempfile.TemporaryDirectory() as folder:
        for run in range(options.runs):
            cells, took, audit = calibrate(Path(folder) / f"{run}.yaml", options.level)
            found.append(cells)
            seconds.append(took)
            worst.append(audit["max"])
            print(
                f"{run + 1}: {took:.1f} s, audit {audit['mean']:.2%} mean, {audit['max']:.2%} max"
            )
    text = report(found)
    text += (
        f"\n{options.runs} calibrations, {min(seconds):.1f} to {max(seconds):.1f} s; "
        f"the worst regret of their audits {max(worst):.2%}.\n"
    )
    print(text)
    if options.markdown:
        options.markdown.write_text(text, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
