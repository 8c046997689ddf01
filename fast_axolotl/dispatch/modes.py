"""Which side is forced: for the process by the environment, for a block by `dispatch_mode`."""

from __future__ import annotations

import os
from contextvars import ContextVar
from types import TracebackType

from fast_axolotl import _environment
from fast_axolotl._native import core

from . import registry

TYPE_CHECKING = False

AUTO, RUST, PYTHON, VERIFY = "auto", "rust", "python", "verify"
MODES = (AUTO, RUST, PYTHON, VERIFY)
ENVIRONMENT = "FAST_AXOLOTL_DISPATCH"

if TYPE_CHECKING or core is not None:
    from fast_axolotl._core import Override
else:

    class Override:
        """The modes of a block: what the extension has under the same name, without its count."""

        __slots__ = ("modes",)

        def __init__(self, modes: dict[str | None, str], codes: bytes) -> None:
            del codes
            self.modes = modes


def _has_extension() -> bool:
    return core is not None


# None stands for every operation that is not named.
_process: dict[str | None, str] = {None: AUTO}
override: ContextVar[Override | None] = ContextVar("fast_axolotl.dispatch_mode", default=None)
if core is not None:
    core.dispatch_variable(override)
# The blocks that are open here, each with what held outside it. Not in the blocks themselves:
# one of them may be entered by several threads and tasks at once.
_open: ContextVar[tuple[tuple[dispatch_mode, Override | None], ...]] = ContextVar(
    "fast_axolotl.dispatch_mode.open", default=()
)


def current(operation: str) -> str:
    """Return the mode that holds for an operation here and now."""
    block = override.get()
    if block is not None:
        mode = block.modes.get(operation) or block.modes.get(None)
        if mode is not None:
            return mode
    return process_mode(operation)


def process_mode(operation: str) -> str:
    """Return the mode that holds for an operation outside every block."""
    process = _process
    return process.get(operation) or process[None]


def allowed(extension: bool) -> str:
    """Return what a mode may be, in words."""
    modes = [mode for mode in MODES if extension or mode not in (RUST, VERIFY)]
    return (
        f"allowed are {', '.join(modes)}, and operation=mode for {', '.join(registry.OPERATIONS)}, "
        "separated by commas (python,hash=auto)"
    )


def parse(text: str, extension: bool, source: str = ENVIRONMENT) -> dict[str | None, str]:
    """Read `auto|rust|python|verify[,operation=mode...]`.

    Args:
        text: what was given; empty for auto.
        extension: whether the Rust side is there.
        source: where the text comes from, for the message.

    Returns:
        The mode of each operation that is named, and under None that of all others.

    Raises:
        ValueError: an unknown word, operation or form, or a mode that needs the extension where
            there is none. The message lists what is allowed.
    """
    found: dict[str | None, str] = {}
    for part in text.split(",") if text.strip() else []:
        name, equals, word = part.strip().partition("=")
        operation: str | None = name.strip() if equals else None
        mode = (word if equals else name).strip()
        if equals and operation not in registry.OPERATIONS:
            raise ValueError(
                f"{source}={text!r}: unknown operation {operation!r}; {allowed(extension)}"
            )
        if mode not in MODES:
            raise ValueError(f"{source}={text!r}: unknown mode {mode!r}; {allowed(extension)}")
        if not extension and mode in (RUST, VERIFY):
            raise ValueError(
                f"{source}={text!r}: {mode!r} needs the Rust extension, which is not available; "
                f"{allowed(extension)}"
            )
        if operation in found:
            raise ValueError(
                f"{source}={text!r}: {part.strip()!r} is given twice; {allowed(extension)}"
            )
        found[operation] = mode
    found.setdefault(None, AUTO)
    return found


def read_environment(extension: bool) -> None:
    """Set the modes of the process from the environment; done once, at import.

    Raises:
        ValueError: as `parse`.
    """
    try:
        found = parse(os.environ.get(ENVIRONMENT, ""), extension)
    except ValueError as error:
        _environment.refuse(error)
    else:
        _replace(found)


def set_mode(text: str, source: str = "dispatch") -> None:
    """Set the modes of the process, in the form the environment variable has.

    Raises:
        ValueError: as `parse`, or not a text.
    """
    if not isinstance(text, str):
        raise ValueError(f"{source}={text!r}: not a text; {allowed(_has_extension())}")
    _replace(parse(text, _has_extension(), source))
    from . import call

    call.push()
    call.log_state(f"mode {text!r} set by {source}")


def _replace(modes: dict[str | None, str]) -> None:
    global _process
    _process = modes  # in one step: other threads read it meanwhile


def process_text() -> str:
    """Return the modes that hold outside every block, in the form the environment variable has."""
    process = _process
    parts = [f"{op}={mode}" for op, mode in process.items() if op is not None]
    return ",".join([process[None], *parts])


def describe() -> str:
    """Return the modes that hold here, in the form the environment variable has."""
    text = process_text()
    block = override.get()
    if block is not None:
        inner = [f"{op}={mode}" if op else mode for op, mode in block.modes.items()]
        text += f" (in a dispatch_mode block: {','.join(inner)})"
    return text


class dispatch_mode:  # noqa: N801 (used like a function)
    """Force one side for a block of code.

    Local to the thread and the asyncio task; tasks that are created inside inherit it. Nests: the
    inner block wins for the operations it names. Functions that were imported by name, bound or
    wrapped before obey as well.

        >>> with dispatch_mode("python"):
        ...     rows = pad_sequences(rows)

    Args:
        mode: "auto", "rust", "python" or "verify".
        op: the operation it is for ("pack", "pad", "hash", ...); None for all.

    Raises:
        ValueError: an unknown mode or operation, or a mode that needs the extension where there is
            none.
    """

    __slots__ = ("_mode", "_operation")

    def __init__(self, mode: str, op: str | None = None) -> None:
        if not isinstance(mode, str) or mode not in MODES:
            raise ValueError(f"unknown mode {mode!r}; {allowed(_has_extension())}")
        if op is not None and op not in registry.OPERATIONS:
            raise ValueError(f"unknown operation {op!r}; {allowed(_has_extension())}")
        parse(mode, _has_extension(), "dispatch_mode")
        self._mode, self._operation = mode, op

    def __enter__(self) -> dispatch_mode:
        """Begin the block."""
        modes: dict[str | None, str] = {self._operation: self._mode}
        outer = override.get()
        if outer is not None and self._operation is not None:
            modes = {**outer.modes, **modes}
        _open.set((*_open.get(), (self, outer)))
        override.set(Override(modes, _codes(modes)))
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """End the block, whatever happened in it.

        Blocks in generators may end in another order than they began: those that were entered
        later go on, and the last of them restores what held outside all.

        Raises:
            RuntimeError: it was not entered in this thread or task.
        """
        blocks = _open.get()
        i = len(blocks) - 1
        while i >= 0 and blocks[i][0] is not self:
            i -= 1
        if i < 0:
            raise RuntimeError("a dispatch_mode block ends where it was not entered")
        outer, later = blocks[i][1], blocks[i + 1 :]
        if later:
            later = ((later[0][0], outer), *later[1:])
        else:
            override.set(outer)
        _open.set((*blocks[:i], *later))


def _codes(modes: dict[str | None, str]) -> bytes:
    # One byte per operation, in the order of the table; 0 leaves it to the process.
    default = modes.get(None)
    return bytes(
        0 if mode is None else 1 + MODES.index(mode)
        for mode in (modes.get(op, default) for op in registry.OPERATIONS)
    )
