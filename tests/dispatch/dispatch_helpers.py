"""Functions with known costs, in the dispatcher's table."""

import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from fast_axolotl import RUST_AVAILABLE
from fast_axolotl.dispatch import Call, Function, Sizes, declare, register
from fast_axolotl.dispatch.policy import Cost

needs_rust = pytest.mark.skipif(not RUST_AVAILABLE, reason="needs the extension")

ROOT = Path(__file__).parents[2]


def run_python(source: str, **environment: str) -> "subprocess.CompletedProcess[str]":
    """Run a program in an interpreter of its own."""
    return subprocess.run(
        [sys.executable, "-c", source],
        capture_output=True,
        text=True,
        timeout=120,
        env={**os.environ, **environment},
        check=False,
    )


def spin_until(end: int) -> None:
    """Burn time, to the nanosecond's clock, as slow code does."""
    while time.perf_counter_ns() < end:
        pass


def costing(cost: Cost) -> Callable[[list[int]], int]:
    """Return a function whose call takes what `cost` says."""

    def run(rows: list[int]) -> int:
        begin = time.perf_counter_ns()
        elements = sum(rows)
        spin_until(begin + round(cost.at(Sizes(len(rows), elements, elements))))
        return elements

    return run


def describe(args: tuple[Any, ...], kwargs: dict[str, Any]) -> Call:
    """Read the sizes off the arguments."""
    rows = args[0] if args else kwargs["rows"]
    elements = sum(rows)
    return Call("lists", "lists", Sizes(len(rows), elements, elements))


def slowed(name: str, python: Cost, rust: Cost, **members: Any) -> Function:
    """Register a function whose two sides have planted costs."""
    declare("slowed", "functions with an artificial cost")
    return register(
        Function(
            name=name,
            operation="slowed",
            layouts=("lists",),
            outputs=("lists",),
            python=costing(python),
            rust=costing(rust),
            describe=describe,
            workload=lambda _layout, _output, rows, length: (([length] * rows,), {}),
            **members,
        )
    )
