"""Does `auto` choose right? Regret of real calls, and what a decision costs.

    python benches/dispatch.py [--calls 400] [--seed 1] [--markdown FILE] [--plot FILE.png]

Calls are drawn log-uniformly over 1..30,000 rows x 1..5,000 elements a row x functions x layouts x
outputs (cut at 500,000 elements, so that Python's share ends). Each is timed as `auto`, with Rust
forced and with Python forced, in turn, minima of each; and `auto` once more, whose difference to
itself is the noise of the machine. What loses more than 3% is measured for longer. Regret is what
`auto` loses against the better forced side, above that noise.

Functions that may use threads are timed call by call, a millisecond of other work apart, since
the pool sleeps between the calls of a real program. Waking it takes a different time each time, so
there the median counts. Run `fast-axolotl calibrate` before; `--default` measures the packaged
default instead, as it decides on a host that was never calibrated.
"""

import argparse
import functools
import gc
import random
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import fast_axolotl
from fast_axolotl import _core, dispatch_mode, reference
from fast_axolotl.calibration import fit
from fast_axolotl.calibration.measure import timer, work_between
from fast_axolotl.dispatch import call, policy, registry, set_mode

MOST = 500_000
SIDES = ("auto", "again", "rust", "python")


def draw_calls(count: int, seed: int) -> list[tuple[registry.Function, str, str, int, int]]:
    """Return functions, layouts, outputs, rows and lengths."""
    draw = random.Random(seed)
    cells = []
    for function in registry.FUNCTIONS.values():
        for layout in function.layouts:
            cells += [(function, layout, o) for o in function.outputs if o != "torch"]
    calls = []
    while len(calls) < count:
        function, layout, output = draw.choice(cells)
        rows = round(30_000 ** draw.random())
        length = round(5_000 ** draw.random())
        if rows * length <= MOST:
            calls.append((function, layout, output, rows, length))
    return calls


def once(work: Callable[..., Any], args: Any, kwargs: Any, number: int) -> float:
    """Return the seconds of a call, the mean of `number`."""
    begin = time.perf_counter()
    for _ in range(number):
        work(*args, **kwargs)
    return (time.perf_counter() - begin) / number


def measure(function: registry.Function, args: Any, kwargs: Any, budget: float) -> dict[str, float]:
    """Return the lowest time of each side, all of them in turn."""
    public = getattr(fast_axolotl, function.name)
    works: dict[str, Callable[..., Any]] = {
        "auto": public,
        "again": public,
        "python": function.python,
        "rust": getattr(_core, function.name),
    }
    if function.threaded:
        works["rust"] = call.forced(call.entry_of(function), policy.RUST)
        works["threads"] = call.forced(call.entry_of(function), policy.THREADS)
        return measure_apart(works, args, kwargs, budget)
    first = max(once(work, args, kwargs, 1) for work in works.values())
    number = max(1, round(3e-5 / first))
    best = dict.fromkeys(works, float("inf"))
    order = list(works)
    begin = time.perf_counter()
    rounds = 0
    while rounds < 5 or (time.perf_counter() - begin < budget and rounds < 60):
        for side in order:
            best[side] = min(best[side], once(works[side], args, kwargs, number))
        order = order[1:] + order[:1]
        rounds += 1
    return best


def measure_apart(
    works: dict[str, Callable[..., Any]], args: Any, kwargs: Any, budget: float
) -> dict[str, float]:
    """Return the median time of each side, all of them in turn, with other work in between."""
    times: dict[str, list[float]] = {side: [] for side in works}
    order = list(works)
    begin = time.perf_counter()
    for turn in range(60):
        if turn >= 11 and time.perf_counter() - begin > budget:
            break
        for side in order:
            work_between()
            times[side].append(once(works[side], args, kwargs, 1))
        order = order[1:] + order[:1]
    return {side: statistics.median(found) for side, found in times.items()}


def regrets(calls: list[Any], seconds: float) -> list[dict[str, Any]]:
    """Return one row for each call."""
    rows = []
    for function, layout, output, count, length in calls:
        args, kwargs = function.workload(layout, output, count, length)
        times = measure(function, args, kwargs, seconds / len(calls))
        # Noise does not come back where it was; a wrong choice does.
        for _ in range(3):
            both = [times[side] for side in ("rust", "python", "threads") if side in times]
            better = min(both)
            auto = min(times["auto"], times["again"])
            noise = abs(times["auto"] / times["again"] - 1)
            if auto / better - 1 <= 0.03:
                break
            more = measure(function, args, kwargs, 0.3)
            times = {side: min(times[side], more[side]) for side in times}
        rows.append(
            {
                "function": function.name,
                "layout": layout,
                "output": output,
                "rows": count,
                "length": length,
                **times,
                "noise": noise,
                "regret": max(0.0, auto / better - 1 - noise),
                "against_python": times["python"] / auto,
                "better": "python" if times["python"] == better else "rust",
            }
        )
    return rows


def decision_costs() -> list[tuple[str, float]]:
    """Return nanoseconds that deciding adds to a one-row call, by situation.

    A Python function that native code calls costs more than one that Python code calls, which the
    interpreter inlines: what `functools.partial` adds to the original is the least that a native
    dispatcher is expected to add, and comes first. The original's code is a short one meanwhile:
    its own takes microseconds, whose noise is larger than what is looked for.
    """
    code = reference.pad_sequences.__code__
    reference.pad_sequences.__code__ = short.__code__
    try:
        return _decision_costs()
    finally:
        reference.pad_sequences.__code__ = code


def short(
    sequences: Any,
    target_length: Any = None,  # noqa: ARG001
    pad_value: Any = 0,  # noqa: ARG001
    padding_side: Any = "right",  # noqa: ARG001
    pad_to_multiple_of: Any = None,  # noqa: ARG001
    *,
    truncate: Any = False,  # noqa: ARG001
    output: Any = "lists",  # noqa: ARG001
) -> Any:
    """Stand in for `pad_sequences`."""
    return sequences


def _decision_costs() -> list[tuple[str, float]]:
    rows = [[1, 2, 3]]
    floor = added(functools.partial(reference.pad_sequences), reference.pad_sequences, rows)
    found = [("functools.partial over Python", floor)]
    rule = policy.threshold("rows", 0.5, policy.RUST)
    situations: list[tuple[str, policy.Verdict | None, Callable[..., Any]]] = [
        ("constant verdict: Rust", policy.always(policy.RUST), _core.pad_sequences),
        ("constant verdict: Python", policy.always(policy.PYTHON), reference.pad_sequences),
        ("threshold, Rust chosen", rule, _core.pad_sequences),
        ("threshold, Python chosen", rule._replace(at=1e9), reference.pad_sequences),
    ]
    own, default = call.profiles()
    base = own or default
    for name, verdict, direct in situations:
        cells = dict(base.cells)
        if name.startswith("constant"):
            cells = {
                cell: policy.Cell(verdict) if "pad_sequences" in cell else rules
                for cell, rules in base.cells.items()
            }
        else:
            cells["pad_sequences/lists/lists"] = policy.Cell(verdict)
        call.use(base._replace(cells=cells))
        found.append((name, added(fast_axolotl.pad_sequences, direct, rows)))
    call.use(base)
    for mode, direct in (("python", reference.pad_sequences), ("rust", _core.pad_sequences)):
        set_mode(mode)
        found.append(
            (f"forced for the process: {mode}", added(fast_axolotl.pad_sequences, direct, rows))
        )
        set_mode("auto")
        with dispatch_mode(mode):
            found.append(
                (f"forced in a block: {mode}", added(fast_axolotl.pad_sequences, direct, rows))
            )
    return found


def added(dispatched: Callable[..., Any], direct: Callable[..., Any], rows: Any) -> float:
    """Return the nanoseconds that `dispatched` takes more than `direct`."""
    # Each called from a loop of its own: one place that calls both is never specialised.
    timers = [timer(work, (rows,), {}) for work in (dispatched, direct)]
    best = [float("inf")] * 2
    for _ in range(200):
        for which, time_calls in enumerate(timers):
            best[which] = min(best[which], time_calls(1000) / 1000)
    return best[0] - best[1]


def summary(rows: list[dict[str, Any]]) -> list[tuple[str, str]]:
    """Return the figures and their names."""
    values = sorted(row["regret"] for row in rows)
    return [
        ("calls", str(len(rows))),
        ("regret, mean", f"{statistics.fmean(values):.2%}"),
        ("regret, p95", f"{fit.quantile(values, 0.95):.2%}"),
        ("regret, max", f"{values[-1]:.2%}"),
        ("speed against Python, lowest", f"{min(r['against_python'] for r in rows):.2f}x"),
        (
            "speed against Python, lowest above noise",
            f"{min(r['against_python'] * (1 + r['noise']) for r in rows):.2f}x",
        ),
        ("calls where Python is better", str(sum(r["better"] == "python" for r in rows))),
        ("always Rust instead, mean", f"{forced_regret(rows, 'rust'):.2%}"),
        ("always Python instead, mean", f"{forced_regret(rows, 'python'):.2%}"),
        (
            "noise (the same call twice), p95",
            f"{fit.quantile(sorted(r['noise'] for r in rows), 0.95):.2%}",
        ),
    ]


def forced_regret(rows: list[dict[str, Any]], side: str) -> float:
    """Return the mean loss of always using one side."""
    return statistics.fmean(r[side] / min(r["rust"], r["python"]) - 1 for r in rows)


def report(rows: list[dict[str, Any]], costs: list[tuple[str, float]]) -> str:
    """Return the tables, as Markdown."""
    lines = ["| figure | value |", "| --- | --- |"]
    lines += [f"| {name} | {value} |" for name, value in summary(rows)]
    lines += ["", "| function | layout | calls | mean | max | lowest against Python |"]
    lines += ["| --- | --- | --- | --- | --- | --- |"]
    groups: dict[tuple[str, str], list[dict[str, Any]]] = {}
    for row in rows:
        groups.setdefault((row["function"], row["layout"]), []).append(row)
    for (function, layout), group in sorted(groups.items()):
        values = [row["regret"] for row in group]
        lowest = min(row["against_python"] for row in group)
        lines.append(
            f"| {function} | {layout} | {len(group)} | {statistics.fmean(values):.2%} | "
            f"{max(values):.2%} | {lowest:.2f}x |"
        )
    lines += ["", "| decision | ns added |", "| --- | --- |"]
    lines += [f"| {name} | {cost:.0f} |" for name, cost in costs]
    worst = sorted(rows, key=lambda row: -row["regret"])[:5]
    lines += ["", "Worst calls:", ""]
    for r in worst:
        lines.append(
            f"- {r['function']} {r['layout']} -> {r['output']}, {r['rows']} x {r['length']}: "
            f"regret {r['regret']:.1%}, {r['better']} is better"
        )
    return "\n".join(lines) + "\n"


def plot(rows: list[dict[str, Any]], file: Path) -> None:
    """Draw the regret of every call against its size."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 4), layout="constrained")
    FigureCanvasAgg(figure)
    left, right = figure.subplots(1, 2)
    for better, colour in (("rust", "#c1440e"), ("python", "#3b6ea5")):
        chosen = [row for row in rows if row["better"] == better]
        sizes = [row["rows"] * row["length"] for row in chosen]
        label = f"{better} is better"
        left.scatter(sizes, [100 * r["regret"] for r in chosen], s=8, c=colour, label=label)
        right.scatter(sizes, [r["against_python"] for r in chosen], s=8, c=colour)
    left.set(xscale="log", xlabel="elements", ylabel="regret of auto (%)")
    left.legend(fontsize=7)
    right.axhline(1, color="#444444", linewidth=1)
    right.set(xscale="log", yscale="log", xlabel="elements", ylabel="speed against Python")
    figure.savefig(file, dpi=110)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--calls", type=int, default=400)
    parser.add_argument("--seconds", type=float, default=40.0)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--markdown", type=Path)
    parser.add_argument("--plot", type=Path)
    parser.add_argument("--default", action="store_true", help="by the packaged default")
    options = parser.parse_args()
    own, default = call.profiles()
    if options.default:
        call.use(default)
    elif own is None:
        print("no profile of this host: run `fast-axolotl calibrate` first", file=sys.stderr)
        return 1
    gc.collect()
    gc.freeze()
    rows = regrets(draw_calls(options.calls, options.seed), options.seconds)
    text = report(rows, decision_costs())
    print(text)
    if options.markdown:
        options.markdown.write_text(text, encoding="utf-8")
    if options.plot:
        plot(rows, options.plot)
    return 0


if __name__ == "__main__":
    sys.exit(main())
