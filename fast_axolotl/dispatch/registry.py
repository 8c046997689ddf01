"""The operations, their functions and what each takes: data, not branches.

`FUNCTIONS` is filled with the six public functions. An adapter adds a function of its own, with
its own original, through `register`; from then on it is decided, forced, verified, calibrated and
counted like the rest.
"""

from __future__ import annotations

from collections.abc import Callable

from fast_axolotl._records import NamedTuple

from .policy import PYTHON, Sizes, Verdict, always

TYPE_CHECKING = False
if TYPE_CHECKING:
    from contextlib import AbstractContextManager
    from typing import Any

# A list of lists or tuples, a list of 1-D NumPy arrays, a 2-D one, an Arrow list array.
TOKEN_LAYOUTS = ("lists", "arrays", "array", "arrow")
TEXT_LAYOUTS = ("str", "bytes", "arrow")
OUTPUTS = ("lists", "numpy", "torch", "arrow")

Arguments = tuple["Any", ...]
Keywords = dict[str, "Any"]
Apart = Callable[[Arguments, Keywords], "AbstractContextManager[tuple[Arguments, Keywords]]"]


class Call(NamedTuple):
    """What a decision looks at in the arguments of a call.

    Attributes:
        layout: the layout of the input.
        output: the layout of the result.
        sizes: rows, elements, elements of the result (estimated from a few rows).
        threads: the number of threads asked for; 0 for as many as are usable.
    """

    layout: str
    output: str
    sizes: Sizes
    threads: int = 0


class Condition(NamedTuple):
    """One link of the chain that says whether Rust can take a call.

    Attributes:
        holds: called with the arguments; true where this condition is met.
        reason: why Rust can't, where it is not.
    """

    holds: Callable[[Arguments, Keywords], bool]
    reason: str


class Function(NamedTuple):
    """One dispatched function.

    Attributes:
        name: unique in the table.
        operation: the operation it belongs to.
        layouts: input layouts it takes.
        outputs: layouts of its result.
        python: the original.
        rust: the replacement; None without the extension.
        describe: reads a `Call` off the arguments.
        threaded: whether `num_threads` is one of its parameters.
        allocates: whether a list result makes the collector run, so that its state matters.
        one_pass: parameters that may be iterators, which `verify` must not use up.
        conditions: what has to hold for `rust` to take a call.
        workload: builds `(args, kwargs)` for `(layout, output, rows, length)`, for calibration.
        native: whether the decision is made inside the extension.
        verdict: the rule where no profile has one.
        strict: whether a call that Rust can't take is an error where Rust is forced; otherwise
            the original answers it.
        apart: takes `args` and `kwargs`; a context in which a side runs whose answer is not kept
            (ours in `verify`, an original that is timed), and the arguments for it. They share
            nothing that a call changes; it finds nothing that the other side left, and leaves
            nothing. None where a call changes nothing.
        verify: takes original, replacement, args and kwargs, compares, and returns the original's
            answer; None for the general comparison.
        front: for calls too short to look at in Python: takes the tuple of positional arguments,
            and answers as `rust` does, or returns NotImplemented before anything is done. It is
            asked first where Rust is used at every size, and answers nothing while a
            `dispatch_mode` block is open anywhere.
    """

    name: str
    operation: str
    layouts: tuple[str, ...]
    outputs: tuple[str, ...]
    python: Callable[..., Any]
    rust: Callable[..., Any] | None
    describe: Callable[[Arguments, Keywords], Call]
    threaded: bool = False
    allocates: bool = False
    one_pass: tuple[str, ...] = ()
    conditions: tuple[Condition, ...] = ()
    workload: Callable[[str, str, int, int], tuple[Arguments, Keywords]] | None = None
    native: bool = False
    verdict: Verdict = always(PYTHON)
    strict: bool = True
    apart: Apart | None = None
    verify: Callable[..., Any] | None = None
    front: Callable[[Arguments], Any] | None = None

    def aside(
        self, args: Arguments, kwargs: Keywords
    ) -> AbstractContextManager[tuple[Arguments, Keywords]]:
        """Return the context and the arguments for the side whose answer is not kept."""
        from contextlib import nullcontext

        return nullcontext((args, kwargs)) if self.apart is None else self.apart(args, kwargs)

    def cells(self) -> list[str]:
        """Return the names of its cells: each is decided by rules of its own."""
        names = []
        for layout in self.layouts:
            for output in self.outputs:
                names.append(cell_name(self.name, layout, output))
                if self.allocates and output == "lists":
                    names.append(cell_name(self.name, layout, output, collector=False))
        return names


# Adapters may add functions to these, and operations of their own through `declare`.
OPERATIONS: dict[str, str] = {
    "pack": "sequences into rows of one length",
    "pad": "rows to one width",
    "hash": "SHA-256 of rows, duplicates",
}
FUNCTIONS: dict[str, Function] = {}


def cell_name(function: str, layout: str, output: str, collector: bool = True) -> str:
    """Return the name that a cell has in profiles."""
    return f"{function}/{layout}/{output}" + ("" if collector else "/collector-off")


def split_cell(name: str) -> tuple[str, str, str, bool]:
    """Return function, layout, output and whether the collector is on, of a cell's name."""
    function, layout, output, *rest = name.split("/")
    return function, layout, output, not rest


def declare(operation: str, summary: str) -> None:
    """Add an operation; the same one again is no error."""
    OPERATIONS.setdefault(operation, summary)


def register(function: Function) -> Function:
    """Add a function to the table.

    Raises:
        ValueError: its operation is not declared, or its name is taken.
    """
    if function.operation not in OPERATIONS:
        raise ValueError(
            f"unknown operation {function.operation!r}; there are {', '.join(OPERATIONS)}"
        )
    if function.name in FUNCTIONS:
        raise ValueError(f"{function.name} is registered already")
    FUNCTIONS[function.name] = function
    return function


def unregister(name: str) -> None:
    """Take a function out of the table, if it is there."""
    FUNCTIONS.pop(name, None)


def functions_of(operation: str | None) -> list[Function]:
    """Return the functions of an operation, or all of them."""
    return [f for f in FUNCTIONS.values() if operation is None or f.operation == operation]


def find(name: str) -> Function:
    """Return a function by its own name or by its operation's (then the first of it).

    Raises:
        ValueError: there is none; the message lists what there is.
    """
    if name in FUNCTIONS:
        return FUNCTIONS[name]
    if name in OPERATIONS and functions_of(name):
        return functions_of(name)[0]
    if name in OPERATIONS:
        raise ValueError(f"{name} has no functions until Axolotl is imported")
    raise ValueError(
        f"unknown operation {name!r}; there are {', '.join(OPERATIONS)} "
        f"(functions: {', '.join(FUNCTIONS)})"
    )
