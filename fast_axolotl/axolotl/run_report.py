"""What the processes of a `fast-axolotl run` did: each writes its figures, the command adds up."""

import json
import os
import sys
from functools import partial
from pathlib import Path
from typing import Any

#: The folder for the figures; set by `fast-axolotl run` for all processes under it.
ENVIRONMENT = "FAST_AXOLOTL_RUN"
#: "1" where calls are timed.
PROFILE = "FAST_AXOLOTL_RUN_PROFILE"

Figures = dict[str, dict[str, dict[str, float]]]


def begin() -> None:
    """Have this process, and those it forks, write their figures when they end."""
    folder = os.environ.get(ENVIRONMENT)
    if not folder:
        return
    import atexit

    from fast_axolotl.dispatch import call, trace

    if os.environ.get(PROFILE) == "1":
        trace.sample()
    atexit.register(write, folder)
    _at_end_of_worker(folder)  # which this process may be
    if not hasattr(os, "register_at_fork"):
        return

    def in_child() -> None:
        call.reset_counts()  # the parent's are the parent's
        _at_end_of_worker(folder)

    os.register_at_fork(after_in_child=in_child)


def _at_end_of_worker(folder: str) -> None:
    # A worker leaves by os._exit, after the finalizers that were made in it. When it has imported
    # what it needs, or has inherited it, it clears the list of them, and then asks for more.
    for name in ("multiprocessing.util", "multiprocess.util"):
        util: Any = sys.modules.get(name)
        if util is not None:
            _finalize(util, folder, None)
            util.register_after_fork(write, partial(_finalize, util, folder))


def _finalize(util: Any, folder: str, _: Any) -> None:
    util.Finalize(None, write, (folder,), exitpriority=0)


def write(folder: str) -> None:
    """Write the figures of this process; they stay away where the folder is gone."""
    from fast_axolotl._native import UNAVAILABLE
    from fast_axolotl.dispatch import call

    from . import patching

    left_alone = dict(patching.left_alone) if UNAVAILABLE is None else {"everything": UNAVAILABLE}
    figures = call.figures_by_function()
    data = {
        "pid": os.getpid(),
        "command": " ".join(sys.argv)[:200],
        "applied": sorted(patching.applied),
        "left_alone": left_alone,
        "figures": figures,
    }
    try:
        Path(folder, f"{os.getpid()}.json").write_text(json.dumps(data), encoding="utf-8")
    except OSError:
        return


def read(folder: str) -> list[dict[str, Any]]:
    """Return what the processes wrote; a file that is cut short is left out."""
    found = []
    for file in sorted(Path(folder).glob("*.json")):
        try:
            found.append(json.loads(file.read_text(encoding="utf-8")))
        except ValueError:  # noqa: PERF203
            continue
    return found


def summary(processes: list[dict[str, Any]], timed: bool) -> str:
    """Return the table that `fast-axolotl run` ends with."""
    if not processes:
        return "fast-axolotl: no process imported Axolotl with the shim on, so nothing of it ran"
    lines = [
        f"fast-axolotl: {_count(len(processes), 'process')} with Axolotl",
        f"{'seam':<42}{'implementation':<16}{'processes':>10}{'calls':>9}"
        + (f"{'seconds':>11}{'saved':>11}" if timed else ""),
    ]
    total = 0.0
    for name, sides in sorted(_merged(processes).items()):
        for side, sums in sides.items():
            line = f"{name:<42}{side:<16}{sums['processes']:>10.0f}{sums['calls']:>9.0f}"
            if timed:
                saved = f"{sums['saved']:>10.3f}s" if "saved" in sums else f"{'-':>11}"
                line += f"{sums.get('seconds', 0.0):>10.3f}s{saved}"
                total += sums.get("saved", 0.0)
            lines.append(line)
    if len(lines) == 2:
        lines[1:] = ["no function that has a seam was called"]
    elif timed:
        lines.append(f"time saved, against what the originals take: {total:.3f} s")
    for name, reason in sorted(
        {k: v for p in processes for k, v in p["left_alone"].items()}.items()
    ):
        lines.append(f"left to Axolotl: {name}: {reason}")
    return "\n".join(lines)


def _count(number: int, what: str) -> str:
    return f"{number} {what}" + ("" if number == 1 else "es")


def _merged(processes: list[dict[str, Any]]) -> Figures:
    merged: Figures = {}
    for process in processes:
        for name, sides in process["figures"].items():
            for side, figures in sides.items():
                if not figures.get("calls"):
                    continue
                sums = merged.setdefault(name, {}).setdefault(side, {"processes": 0})
                sums["processes"] += 1
                for key, value in figures.items():
                    sums[key] = sums.get(key, 0) + value
    return merged
