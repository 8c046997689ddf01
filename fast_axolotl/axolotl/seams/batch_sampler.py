"""The batches of `MultipackBatchSampler`, made in one go from the sampler's indices.

Axolotl packs five times before training starts, each time in worker processes that compile the
packing again, and asks for a full garbage collection after each. Nothing in here makes garbage.
"""

from typing import Any

from fast_axolotl._native import core
from fast_axolotl.axolotl.patch_map import Implementation, Seam, version_known
from fast_axolotl.dispatch.policy import Sizes
from fast_axolotl.dispatch.registry import Arguments, Call, Condition, Keywords

from . import multipack
from .conditions import taking

MODULE = multipack.MODULE
_core: Any = core

Bins = list[list[Any]]

#: What `generate_batches` packs by: these, or what stands for them, is what we repeat.
_PACKING = ("pack_parallel", "allocate_sequentially", "pack_group", "_process_group")

#: The globals of the sampler's module, and what these names meant when its source was compared.
_globals: list[dict[str, Any]] = []


def _build(original: Implementation) -> Implementation:
    namespace: dict[str, Any] = getattr(original, "__globals__", {})
    _globals[:] = [namespace, {name: namespace[name] for name in _PACKING}]
    drop = _DROPS[version_known(original, _DIGESTS)]

    def generate_batches(self: Any, set_stats: bool = False) -> Any:
        if self._batches is not None:
            return self._batches
        indices = [idx for idx in self.sampler]  # noqa: C416 - list() would ask for its length
        capacity, size = self.batch_max_len, self.batch_size
        # One after the other there are no groups, whatever the sampler has for their size.
        group, per_bin = 1, None
        if not self.sequential:
            group, per_bin = self.group_size, self.bin_size or capacity
        made = _core.multipack_batches(indices, self.lengths, capacity, group, per_bin, size)
        if made is None:
            bins, total_used = _bins(self, indices, namespace)
            batches = [bins[i : i + size] for i in range(0, len(bins), size)]
            count = len(bins)
        else:
            batches, total_used, count = made
            if per_bin is not None:
                # As NumPy adds lengths up.
                total_used = self.lengths[:0].sum() + total_used
                if _processes(self) == 1:
                    namespace["LOG"].debug(multipack.ONE_PROCESS)
        total_slots = count * capacity
        if self.drop_last:
            batches, total_used, total_slots = drop(self, batches, total_used, total_slots)
        if set_stats:
            self.total_tokens_used += total_used
            self.total_token_slots += total_slots
        self._batches = batches
        return batches

    return generate_batches


def _drop(self: Any, batches: list[Bins], used: Any, slots: Any) -> tuple[list[Bins], Any, Any]:
    """Return batches and figures without a last batch that is not full."""
    if batches and len(batches[-1]) < self.batch_size:
        dropped = batches[-1]
        batches = batches[:-1]
        slots -= len(dropped) * self.batch_max_len
        used -= sum(self.lengths[idx] for members in dropped for idx in members)
    return batches, used, slots


def _drop_before_019(
    self: Any, batches: list[Bins], used: Any, slots: Any
) -> tuple[list[Bins], Any, Any]:
    """Do as Axolotl did to 0.18: an IndexError without a full batch, other figures."""
    if len(batches[-1]) < self.batch_size:
        batches = batches[:-1]
        if not self.sequential:
            slots -= (self.batch_size - len(batches[-1])) * self.batch_max_len
    return batches, used, slots


#: Version of Axolotl -> how it drops the last batch.
_DROPS = {"0.16.0": _drop_before_019, "0.19.0": _drop}
_DIGESTS = {
    **dict.fromkeys(
        ("0.16.0", "0.16.1", "0.17.0", "0.18.0"),
        "264289c41fbce2bbeb470a19b96511150779b2a5777bd4bacdb9729722a57feb",
    ),
    "0.19.0": "6989dd41831e78c19bc94b7f57df6fd59721c76ebbaec1982ae77dd6eecdc30c",
}


def _bins(self: Any, indices: list[Any], namespace: dict[str, Any]) -> tuple[Bins, Any]:
    """Return the bins of indices that are no plain ints, and the sum of their lengths."""
    lengths = self.lengths[indices]
    if self.sequential:
        bins, used, _ = namespace["allocate_sequentially"](
            lengths, rank=0, bin_capacity=self.batch_max_len, num_ranks=1
        )
    else:
        bins = namespace["pack_parallel"](
            lengths,
            bin_capacity=self.batch_max_len,
            group_size=self.group_size,
            bin_size=self.bin_size or self.batch_max_len,
            num_processes=_processes(self),
            safe_mode=self.safe_mode,
            mp_start_method=self.mp_start_method,
        )
        used = lengths.sum()
    return [[indices[place] for place in members] for members in bins], used


def _processes(self: Any) -> int:
    return min(4, self.num_processes or 1)


def _takes(self: Any, set_stats: Any = False) -> bool:  # noqa: ARG001 - a call's arguments
    if self._batches is not None:
        return True
    sizes = (self.batch_max_len, self.bin_size or self.batch_max_len)
    lengths = self.lengths
    if not (
        multipack.is_length_array(lengths)
        and lengths.dtype.str[1:] == "i4"
        and all(map(multipack.is_size, sizes))
        and multipack.is_size(self.batch_size)
        and self.batch_size > 0
    ):
        return False
    if self.sequential:
        return True
    return (
        multipack.is_size(self.group_size)
        and self.group_size > 0
        and type(self.safe_mode) is bool
        and type(self.num_processes) in (int, type(None))
        and multipack.starts_no_process(_processes(self), self.mp_start_method)
    )


def _calls_stock() -> bool:
    from fast_axolotl.axolotl.patching import applied

    namespace, known = _globals
    for name in _PACKING:
        value = namespace.get(name)
        patch = applied.get(name)
        if value is not known[name] and (
            patch is None or (value is not patch.replacement and value is not patch.original)
        ):
            return False
    return True


def _describe(args: Arguments, kwargs: Keywords) -> Call:
    lengths = (args[0] if args else kwargs["self"]).lengths
    count = len(lengths)
    return Call("axolotl", "axolotl", Sizes(count, count, count))


def _verify(
    original: Implementation, ours: Implementation, args: Arguments, kwargs: Keywords
) -> Any:
    """Run both on copies of the sampler that share what it draws, once; keep stock's."""
    from fast_axolotl.dispatch.verify import check_alike, check_equal

    where = "multipack: generate_batches: "
    sampler = args[0] if args else kwargs["self"]
    if sampler._batches is not None:
        return original(*args, **kwargs)
    indices = [idx for idx in sampler.sampler]  # noqa: C416
    stock, (wanted, raised) = _run_on_a_twin(original, args, kwargs, indices)
    state, found = _run_on_a_twin(ours, args, kwargs, indices)
    check_alike(where, found, (wanted, raised))
    check_equal(where, state, stock)
    for name, value in stock.items():
        setattr(sampler, name, value)
    if raised is not None:
        raise raised
    return wanted


def _run_on_a_twin(
    side: Implementation, args: Arguments, kwargs: Keywords, indices: list[Any]
) -> tuple[dict[str, Any], tuple[Any, Exception | None]]:
    """Call one side on a copy that draws `indices`: its state after that, and how it ended."""
    from copy import copy

    from fast_axolotl.dispatch.verify import outcome

    twin = copy(args[0] if args else kwargs["self"])
    twin.sampler = indices
    ended = outcome(side, twin, *args[1:], **{k: v for k, v in kwargs.items() if k != "self"})
    return {name: value for name, value in vars(twin).items() if name != "sampler"}, ended


SEAMS: tuple[Seam, ...] = (
    Seam(
        name="generate_batches",
        module=MODULE,
        attribute="MultipackBatchSampler.generate_batches",
        build=_build,
        digests=_DIGESTS,
        operation="multipack",
        describe=_describe,
        conditions=(
            taking(
                _takes, "the sampler has lengths or sizes of another kind than Axolotl gives it"
            ),
            Condition(
                lambda _args, _kwargs: _calls_stock(),
                "somebody replaced the packing that the sampler calls",
            ),
        ),
        relies_on={name: multipack.DIGESTS[name] for name in _PACKING},
        verify=_verify,
    ),
)
