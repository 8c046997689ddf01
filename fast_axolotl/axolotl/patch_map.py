"""What of Axolotl is replaced, by what, and where: data, read by `patching`.

A seam is one function of Axolotl that has an implementation here. Each module under `seams`
exports `SEAMS`; the table below says which modules of Axolotl it is about, so that nothing of it
is imported before Axolotl's own module is.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from fast_axolotl._records import NamedTuple
from fast_axolotl.dispatch.policy import RUST, Verdict, always
from fast_axolotl.dispatch.registry import Apart, Arguments, Call, Condition, Keywords

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

Implementation = Callable[..., "Any"]


class Seam(NamedTuple):
    """One function of Axolotl and what stands for it.

    Attributes:
        name: unique; the name in `stats()`, `explain`, profiles and the documentation.
        module: the module of Axolotl that defines the function.
        attribute: its name there; `"Class.method"` for a method, `"other.module:name"` for what
            Axolotl uses of another package.
        build: returns the implementation, given the original. Its signature is the original's;
            it may call the original.
        digests: version (of Axolotl; of another package with its name) -> SHA-256 of
            `inspect.getsource(original)`. A function with another source is left alone.
        operation: the dispatcher's operation it belongs to (see `OPERATIONS`).
        describe: reads `registry.Call` (rows, elements, elements of the result) off the arguments.
        conditions: what has to hold for the implementation to take a call, each with its reason;
            asked before the call. Where one does not hold, the original runs, in every mode.
        workload: builds `(args, kwargs)` for `(layout, output, rows, length)`, for calibration,
            which calls both sides with them many times. None where that can't be.
        layouts: input layouts that `describe` may name.
        outputs: output layouts that `describe` may name.
        verdict: the rule until this host is calibrated, as the benchmarks of the seam found it.
        relies_on: names whose code the implementation repeats instead of calling it: `"name"` in
            `module`, or `"other.module:name"` -> digests as above. Where one differs from what is
            known, the seam is left alone.
        apart: see `registry.Function`; of calls that change their arguments or leave files.
            `verify` compares the arguments after the call as well.
        verify: for `verify`, instead of the general comparison: called with the original, the
            implementation, `args` and `kwargs`; returns the original's answer, raises
            `VerificationError` where the two differ. For results that can be read only once and
            for effects outside the process.
        front: see `registry.Function`; of calls of a microsecond.
    """

    name: str
    module: str
    attribute: str
    build: Callable[[Implementation], Implementation]
    digests: Mapping[str, str]
    operation: str
    describe: Callable[[Arguments, Keywords], Call]
    conditions: tuple[Condition, ...] = ()
    workload: Callable[[str, str, int, int], tuple[Arguments, Keywords]] | None = None
    layouts: tuple[str, ...] = ("axolotl",)
    outputs: tuple[str, ...] = ("axolotl",)
    verdict: Verdict = always(RUST)
    relies_on: Mapping[str, Mapping[str, str]] | None = None
    apart: Apart | None = None
    verify: Callable[[Implementation, Implementation, Arguments, Keywords], Any] | None = None
    front: Callable[[Arguments], Any] | None = None


def version_known(original: Implementation, digests: Mapping[str, str]) -> str:
    """Return the first version in `digests` that has the source of a function.

    A seam that stands for several sources chooses by it.

    Raises:
        LookupError: none has.
    """
    import inspect
    from hashlib import sha256

    found = sha256(inspect.getsource(original).encode()).hexdigest()
    for version, digest in digests.items():
        if digest == found:
            return version
    raise LookupError(f"no known version has the source of {original.__qualname__}")


#: Versions of Axolotl, for the digests of a function that is the same in all of them.
VERSIONS = ("0.16.1", "0.17.0", "0.18.0", "0.19.0")

#: Operations of the seams that are not the core's (pack, pad, hash). Declared at import, so that
#: FAST_AXOLOTL_DISPATCH may name them before Axolotl is there.
OPERATIONS: dict[str, str] = {
    "multipack": "bins of rows for sample packing, and their batches",
    "filter": "rows by length, lengths, the columns that packing needs",
    "save": "a prepared dataset into its folder",
    "load": "local files into a dataset",
}

#: Module under `seams` -> the modules of Axolotl that its seams are in.
SEAM_MODULES: dict[str, tuple[str, ...]] = {
    "deduplicate": ("axolotl.utils.data.utils",),
    "multipack": ("axolotl.utils.samplers.multipack",),
    "batch_sampler": ("axolotl.utils.samplers.multipack",),
    "lengths": ("axolotl.utils.samplers.utils",),
    "filters": ("axolotl.utils.data.utils",),
    "packing_columns": ("axolotl.utils.trainer",),
    "save": ("axolotl.utils.data.shared",),
    "collators": ("axolotl.utils.collators.batching",),
    "streaming": ("axolotl.utils.data.streaming",),
    "tokenize": ("axolotl.prompt_strategies.pretrain",),
    "local_files": ("axolotl.utils.data.shared",),
}


def hooked() -> dict[str, list[str]]:
    """Return the modules of Axolotl that have seams -> the modules under `seams` they are in."""
    found: dict[str, list[str]] = {}
    for seam_module, modules in SEAM_MODULES.items():
        for module in modules:
            found.setdefault(module, []).append(seam_module)
    return found
