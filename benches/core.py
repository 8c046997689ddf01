"""The speed table of pack, pad and hash: plain Python and Rust interleaved, minima, ratios.

    python benches/core.py [--quick] [--only SUBSTRING] [--out FOLDER]

Every line compares one statement of plain Python with the call that replaces it, Rust forced, on
one thread unless the line says otherwise, the garbage collector on. The answers are compared
before anything is timed. Two figures a line:

- call: the shortest call, its result freed outside the clock;
- loop: the shortest call of a loop that frees each result at once.

Noise only ever adds time, so the minimum locates; the sides take turns, round by round, so that a
slow moment of the machine meets both. A line takes three seconds: on a shared machine one often
holds no quiet moment.

The heap keeps the memory that it got (`heap.py`); `--heap as-is` leaves that to glibc and CPython.
"""

import argparse
import gc
import json
import platform
import random
import string
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from functools import partial
from hashlib import sha256
from pathlib import Path
from typing import Any

import heap
import numpy as np

import fast_axolotl
from fast_axolotl import _native, reference

core: Any = _native.core
SHORT = (10, 100)
VOCABULARY = 50_000
PAD, EOS = 0, 2


@dataclass(frozen=True)
class Work:
    """One line: two statements over the same names."""

    name: str
    python: str
    rust: str
    names: dict[str, Any]
    goal: float
    goal_loop: float | None = None
    #: Whether what it returns are objects of its own, which come from the interpreter's arenas.
    makes_objects: bool = False


@dataclass
class Figures:
    """Seconds a call, minima."""

    name: str
    goal: float
    goal_loop: float | None
    python: float = float("inf")
    rust: float = float("inf")
    python_loop: float = float("inf")
    rust_loop: float = float("inf")
    ratio: float = field(init=False, default=0.0)
    ratio_loop: float = field(init=False, default=0.0)

    def close(self) -> "Figures":
        self.ratio = self.python / self.rust
        self.ratio_loop = self.python_loop / self.rust_loop
        return self

    @property
    def reached(self) -> bool:
        return self.ratio >= self.goal and self.ratio_loop >= (self.goal_loop or 0.0)


def token_rows(count: int, shortest: int, longest: int) -> list[list[int]]:
    draw = random.Random(f"{count} {shortest} {longest}")
    return [
        [draw.randrange(VOCABULARY) for _ in range(draw.randint(shortest, longest))]
        for _ in range(count)
    ]


def text_rows(count: int, shortest: int, longest: int) -> list[str]:
    draw = random.Random(f"{count} {shortest} {longest}")
    return [
        "".join(draw.choices(string.ascii_letters, k=draw.randint(shortest, longest)))
        for _ in range(count)
    ]


def span(lengths: tuple[int, int]) -> str:
    shortest, longest = lengths
    return f"{shortest:,}" if shortest == longest else f"{shortest:,}..{longest:,}"


def pad_numpy(rows: list[list[int]], width: int) -> Any:
    out = np.full((len(rows), width), PAD, np.int64)
    for line, row in zip(out, rows, strict=True):
        line[: len(row)] = row
    return out


def pack_numpy(rows: list[list[int]], length: int) -> dict[str, Any]:
    packed = reference.pack_sequences(rows, length, PAD, EOS)
    return {column: np.array(values) for column, values in packed.items()}


def deduplicate(rows: list[str]) -> tuple[list[int], list[str]]:
    seen: set[str] = set()
    indices, hashes = [], []
    for index, row in enumerate(rows):
        digest = sha256(row.encode()).hexdigest()
        if digest not in seen:
            seen.add(digest)
            indices.append(index)
            hashes.append(digest)
    return indices, hashes


def works() -> Iterator[Callable[[], Work]]:
    """Yield the lines, each made when its turn comes: inputs of one line don't crowd the next."""
    yield from pad_works()
    yield from pack_works()
    yield from hash_works()


def pad_works() -> Iterator[Callable[[], Work]]:
    def lists(count: int, lengths: tuple[int, int], goal: float, loop: float) -> Work:
        rows = token_rows(count, *lengths)
        names = {"rows": rows, "width": max(map(len, rows)), "pad": PAD}
        return Work(
            f"pad lists, {count:,} x {span(lengths)}",
            "[r + [pad] * (width - len(r)) for r in rows]",
            "core.pad_sequences(rows, width, pad)",
            names,
            goal,
            loop,
        )

    for count, goal, loop in (
        (1, 2.5, 2.3),
        (16, 3.5, 2.0),
        (256, 3.7, 1.9),
        (1_000, 7.5, 3.3),
        (10_000, 5.2, 2.8),
    ):
        yield partial(lists, count, SHORT, goal, loop)
    yield partial(lists, 8, (2_048, 4_096), 1.35, 1.2)

    def numpy(count: int, lengths: tuple[int, int], goal: float) -> Work:
        rows = token_rows(count, *lengths)
        return Work(
            f"pad into NumPy, {count:,} x {span(lengths)}",
            "pad_numpy(rows, width)",
            "core.pad_sequences(rows, width, pad, output='numpy')",
            {"rows": rows, "width": max(map(len, rows)), "pad": PAD, "pad_numpy": pad_numpy},
            goal,
        )

    for count, lengths, goal in (
        (4, SHORT, 11.0),
        (256, SHORT, 16.0),
        (10_000, SHORT, 7.0),
        (8, (4_096, 4_096), 15.0),
    ):
        yield partial(numpy, count, lengths, goal)

    def torch() -> Work:
        import torch

        rows = token_rows(64, 512, 512)
        return Work(
            "pad into torch, 64 x 512",
            "torch.tensor(padded)",
            "core.pad_sequences(rows, output='torch')",
            {"torch": torch, "rows": rows, "padded": [list(row) for row in rows]},
            60.0,
        )

    yield torch


def pack_works() -> Iterator[Callable[[], Work]]:
    pack = "pack_sequences(rows, length, pad, eos)"
    concatenate = "concatenate_and_pack(rows, labels, masks, length, pad)"

    def work(
        what: str,
        python: str,
        rust: str,
        count: int,
        lengths: tuple[int, int],
        length: int,
        goal: float,
        loop: float | None = None,
    ) -> Work:
        rows = token_rows(count, *lengths)
        names = {
            "rows": rows,
            "labels": [list(row) for row in rows],
            "masks": [[1] * len(row) for row in rows],
            "length": length,
            "pad": PAD,
            "eos": EOS,
            "reference": reference,
            "pack_numpy": pack_numpy,
        }
        name = f"{what}, {count:,} x {span(lengths)} to {length:,}"
        return Work(name, python, rust, names, goal, loop)

    sizes = (
        (1, SHORT, 512),
        (100, SHORT, 512),
        (1_000, SHORT, 512),
        (10_000, SHORT, 512),
        (1_000, (100, 2_000), 4_096),
    )
    goals = ((3.0, 2.1), (6.0, 2.9), (6.8, 3.1), (5.2, 3.2), (4.3, 2.6))
    for what, call in (("pack lists", pack), ("concatenate and pack lists", concatenate)):
        for size, goal in zip(sizes, goals, strict=True):
            yield partial(work, what, f"reference.{call}", f"core.{call}", *size, *goal)
    for size, goal_numpy in zip(sizes, (21.0, 21.0, 22.0, 9.5, 10.5), strict=True):
        rust = "core.pack_sequences(rows, length, pad, eos, output='numpy')"
        yield partial(work, "pack into NumPy", "pack_numpy(rows, length)", rust, *size, goal_numpy)


def hash_works() -> Iterator[Callable[[], Work]]:
    def hashed(count: int, lengths: tuple[int, int], threads: int, goal: float) -> Work:
        return Work(
            f"hash, {count:,} x {span(lengths)} characters"
            + (", 2 threads" if threads == 2 else ""),
            "[sha256(row.encode()).hexdigest() for row in rows]",
            f"core.parallel_hash_rows(rows, {threads})",
            {"rows": text_rows(count, *lengths), "sha256": sha256},
            goal,
            makes_objects=True,
        )

    text = (20, 80)
    for count, lengths, threads, goal in (
        (1, text, 1, 2.5),
        (10, text, 1, 5.3),
        (100, text, 1, 6.3),
        (1_000, text, 1, 6.8),
        (10_000, text, 1, 6.8),
        (100_000, text, 1, 4.0),
        (10_000, text, 2, 9.5),
        (100_000, text, 2, 4.5),
        (1_000, (2_000, 2_000), 1, 2.5),
        (1_000, (2_000, 2_000), 2, 4.2),
    ):
        yield partial(hashed, count, lengths, threads, goal)

    def deduplicated(count: int, goal: float) -> Work:
        rows = text_rows(count - count // 10, *text)
        return Work(
            f"deduplicate_indices, {count:,}, a tenth of them twice",
            "deduplicate(rows)",
            "core.deduplicate_indices(rows, None, 1)",
            {"rows": rows + rows[: count // 10], "deduplicate": deduplicate},
            goal,
            makes_objects=True,
        )

    for count, goal in ((100, 8.0), (1_000, 8.0), (10_000, 8.0), (100_000, 7.0)):
        yield partial(deduplicated, count, goal)


def compiled(statement: str, names: dict[str, Any]) -> tuple[Callable[..., Any], ...]:
    """Return (one call, a loop that keeps, a loop that frees), the statement written into each.

    Through a function object a call of 150 ns would be measured with 40 ns of our own.
    """
    source = f"""
def once({", ".join(names)}, core):
    return {statement}
def keeping(keep, indices, clock, {", ".join(names)}, core):
    started = clock()
    for i in indices:
        keep[i] = {statement}
    return clock() - started
def freeing(indices, clock, {", ".join(names)}, core):
    started = clock()
    for i in indices:
        {statement}
    return clock() - started
"""
    scope: dict[str, Any] = {}
    exec(source, scope)
    return scope["once"], scope["keeping"], scope["freeing"]


def same(expected: Any, answer: Any) -> bool:
    if isinstance(expected, dict):
        return list(expected) == list(answer) and all(
            same(value, answer[key]) for key, value in expected.items()
        )
    if isinstance(expected, np.ndarray):
        return bool(expected.dtype == answer.dtype and np.array_equal(expected, answer))
    if hasattr(expected, "numpy"):
        return same(expected.numpy(), answer.numpy())
    return bool(expected == answer)


def measure(work: Work, seconds: float) -> Figures:
    figures = Figures(work.name, work.goal, work.goal_loop)
    clock = time.perf_counter
    names = {**work.names, "core": core}
    sides = {}
    answers = []
    for side, statement in (("python", work.python), ("rust", work.rust)):
        once, keeping, freeing = compiled(statement, work.names)
        answers.append(once(**names))
        started = clock()
        once(**names)
        one = max(clock() - started, 1e-7)
        calls = max(int(20e-6 / one), 1)  # so that reading the clock costs a thousandth
        loops = max(int(500e-6 / one), 1)
        sides[side] = (keeping, freeing, [None] * calls, range(calls), range(loops))
    if not same(*answers):
        sys.exit(f"{work.name}: the answers differ")
    del answers
    gc.collect()
    end = clock() + seconds
    rounds = 0
    while clock() < end or rounds < 5:
        order = ("python", "rust") if rounds % 2 else ("rust", "python")
        for side in order:
            keeping, freeing, keep, indices, loop = sides[side]
            kept = keeping(keep, indices, clock, **names) / len(indices)
            keep[:] = [None] * len(keep)
            freed = freeing(loop, clock, **names) / len(loop)
            setattr(figures, side, min(getattr(figures, side), kept))
            setattr(figures, f"{side}_loop", min(getattr(figures, f"{side}_loop"), freed))
        rounds += 1
    return figures.close()


def machine() -> dict[str, Any]:
    model = platform.processor() or platform.machine()
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        lines = cpuinfo.read_text().splitlines()
        named = [line.split(":")[1].strip() for line in lines if line.startswith("model name")]
        model = named[0] if named else model
    return {
        "cpu": model,
        "features": core.cpu_features(),
        "threads": core.usable_threads(),
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        "numpy": np.__version__,
        "fast_axolotl": fast_axolotl.__version__,
    }


def duration(seconds: float) -> str:
    for unit, scale in (("s", 1.0), ("ms", 1e3), ("µs", 1e6)):
        if seconds * scale >= 1:
            return f"{seconds * scale:,.3g} {unit}"
    return f"{seconds * 1e9:,.0f} ns"


def markdown(results: list[Figures], about: dict[str, Any], left_out: list[str]) -> str:
    lines = [
        f"{about['cpu']}, {about['threads']} usable threads, {about['system']}, "
        f"CPython {about['python']}, NumPy {about['numpy']}, "
        f"fast-axolotl {about['fast_axolotl']}; `python benches/core.py`.",
        "",
        "| work | plain Python | Rust | call (loop) | goal |",
        "| --- | ---: | ---: | ---: | ---: |",
    ]
    for each in results:
        goal = f"{each.goal:g}x" + (f" ({each.goal_loop:g}x)" if each.goal_loop else "")
        lines.append(
            f"| {each.name} | {duration(each.python)} | {duration(each.rust)} "
            f"| {each.ratio:.1f}x ({each.ratio_loop:.1f}x) | {goal}{'' if each.reached else ' ✗'} |"
        )
    lines += [f"\nNot measured: {name}." for name in left_out]
    return "\n".join(lines) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="a fifth of a second a line")
    parser.add_argument("--only", default="", help="lines whose name holds this")
    parser.add_argument("--heap", choices=("steady", "as-is"), default="steady")
    parser.add_argument("--out", type=Path, help="folder for core.json and core.md")
    options = parser.parse_args()
    if options.heap == "steady":
        heap.keep()
    if core is None:
        sys.exit(f"no Rust extension: {_native.UNAVAILABLE}")
    assert gc.isenabled()
    results: list[Figures] = []
    left_out: list[str] = []
    for make in works():
        try:
            work = make()
        except ImportError as error:
            left_out.append(f"pad into torch ({error})")
            continue
        if options.only not in work.name:
            continue
        if "2 threads" in work.name and core.usable_threads() < 2:
            left_out.append(f"{work.name} (one usable thread)")
            continue
        staying = heap.arenas() if work.makes_objects and options.heap == "steady" else []
        figures = measure(work, 0.2 if options.quick else 3.0)
        del staying
        results.append(figures)
        print(
            f"{figures.name:55} {duration(figures.python):>9} {duration(figures.rust):>9} "
            f"{figures.ratio:6.2f}x ({figures.ratio_loop:.2f}x)  goal {figures.goal:g}x"
            + (f" ({figures.goal_loop:g}x)" if figures.goal_loop else "")
            + ("" if figures.reached else "  MISSED"),
            flush=True,
        )
    for name in left_out:
        print(f"not measured: {name}")
    folder = options.out
    if folder is None and not (options.quick or options.only):
        folder = Path(__file__).parent / "results"
    if folder is not None:
        folder.mkdir(parents=True, exist_ok=True)
        about = machine()
        report = {
            "machine": about,
            "results": [asdict(each) | {"reached": each.reached} for each in results],
            "left_out": left_out,
        }
        (folder / "core.json").write_text(json.dumps(report, indent=1) + "\n")
        (folder / "core.md").write_text(markdown(results, about, left_out), encoding="utf-8")


if __name__ == "__main__":
    main()
