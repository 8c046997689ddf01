"""A picture of a profile: both sides' points and fits, the crossover marked."""

from pathlib import Path
from typing import Any

from fast_axolotl.dispatch import profile, registry
from fast_axolotl.dispatch.policy import IMPLEMENTATIONS

from . import fit

_COLOURS = {"python": "#3b6ea5", "rust": "#c1440e", "rust_threads": "#6a9a3b"}


def plot(data: dict[str, Any], file: Path, cells: list[str] | None = None) -> None:
    """Draw a profile into a PNG file: one panel a cell, time against elements.

    Args:
        data: the profile.
        file: where the picture goes.
        cells: which to draw; None for all with the collector on.

    Raises:
        ImportError: matplotlib is not installed.
        OSError: the file can't be written.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    checked = profile.unsaved(data)
    names = [
        name
        for name in data["points"]
        if (name in cells if cells is not None else registry.split_cell(name)[3])
    ]
    columns = min(4, len(names))
    rows = -(-len(names) // columns)
    figure = Figure(figsize=(4.2 * columns, 3.2 * rows), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots(rows, columns, squeeze=False)
    for axis in axes.flat[len(names) :]:
        axis.set_axis_off()
    for axis, name in zip(axes.flat, names):
        points = sorted(fit.points_from(data["points"][name]), key=lambda p: p.sizes.elements)
        for side in IMPLEMENTATIONS:
            shown = [p for p in points if side in p.times]
            if not shown:
                continue
            x = [max(1.0, p.sizes.elements) for p in shown]
            axis.loglog(
                *(x, [p.times[side] / 1e3 for p in shown], "o"),
                color=_COLOURS[side],
                markersize=3,
                label=side,
            )
            cost = checked.fits[name][side]
            axis.loglog(
                *(x, [cost.at(p.sizes) / 1e3 for p in shown], "+"),
                color=_COLOURS[side],
                markersize=5,
                alpha=0.5,
            )
        cell = checked.cells[name]
        for verdict in cell:
            if verdict is not None and (verdict.kind, verdict.feature) == ("threshold", "elements"):
                axis.axvline(verdict.at, color="#444444", linestyle="--", linewidth=1)
        rule = cell.one.describe() + (f"\n{cell.split.describe()}" if cell.split else "")
        axis.set_title(f"{name}\n{rule}", fontsize=7)
        axis.set_xlabel("elements", fontsize=7)
        axis.set_ylabel("µs (o measured, + fit)", fontsize=7)
        axis.tick_params(labelsize=6)
    axes.flat[0].legend(fontsize=6)
    figure.savefig(file, dpi=110)
