"""Rows by their length, from the offsets of the Arrow column instead of Python lists of tokens."""

from functools import partial
from typing import Any

from fast_axolotl.axolotl.patch_map import Implementation, Seam
from fast_axolotl.dispatch.policy import RUST, threshold

from . import in_process
from .conditions import Names, taking
from .lengths import PLAIN, describe, list_column, row_lengths

MODULE = "axolotl.utils.data.utils"
#: Tokens of a row that is kept, at least, unless something else is said.
LEAST = 2


def in_range(least: int, most: int | None, raises: bool, batch: Any) -> list[bool]:
    """Return which rows of a batch have a length from `least` to `most`.

    Raises:
        ValueError: one is longer, and `raises` is set.
    """
    lengths = row_lengths(batch.pa_table.column("input_ids"))
    keep = lengths >= least
    if most is not None:
        is_long = lengths > most
        if raises and is_long.any():
            length = int(lengths[is_long.argmax()])
            raise ValueError(
                f"Sequence encountered with {length} tokens, which exceeds the maximum {most}."
            )
        keep &= ~is_long
    found: list[bool] = keep.tolist()
    return found


def _build_dropping(original: Implementation) -> Implementation:
    namespace: dict[str, Any] = getattr(original, "__globals__", {})
    in_process.remember()
    _names.remember(namespace, "filter_sequences_by_length")

    def _drop_outside_range(
        dataset: Any, max_len: int, min_len: int, raise_on_long: bool, filter_kwargs: dict[str, Any]
    ) -> Any:
        prior_len = len(dataset)
        options = dict(filter_kwargs)
        if filter_kwargs:
            action = "Checking Sequence Lengths" if raise_on_long else "Dropping Invalid Sequences"
            options["desc"] = f"{action} (<{min_len} or >{max_len})"
        stock = partial(
            namespace["filter_sequences_by_length"],
            sequence_len=max_len,
            min_sequence_len=min_len,
            raise_on_drop=raise_on_long,
        )
        mask = partial(in_range, min_len or LEAST, max_len, raise_on_long)
        dataset = in_process.filtered(dataset, stock, mask, {"batched": True, **options})
        dropped = 0
        if not raise_on_long and prior_len:
            dropped = prior_len - len(dataset)
            if dropped > 0:
                namespace["LOG"].info(
                    f"Dropped {dropped} sequences outside valid range ([{min_len}, {max_len}])"
                )
        return dataset, dropped

    return _drop_outside_range


def _build_short(original: Implementation) -> Implementation:
    namespace: dict[str, Any] = getattr(original, "__globals__", {})
    in_process.remember()
    _names.remember(namespace, "keep_min_len")

    def _filter_short_sequences(dataset: Any, min_len: int, filter_kwargs: dict[str, Any]) -> Any:
        prior_len = len(dataset)
        options = dict(filter_kwargs)
        if filter_kwargs:
            options["desc"] = f"Filtering Short Sequences (<{min_len})"
        stock = partial(namespace["keep_min_len"], min_sequence_len=min_len)
        mask = partial(in_range, min_len or LEAST, None, False)
        dataset = in_process.filtered(dataset, stock, mask, {"batched": True, **options})
        dropped = 0
        if prior_len:
            dropped = prior_len - len(dataset)
            if dropped > 0:
                namespace["LOG"].info(f"Dropped {dropped} short sequences (<{min_len} tokens)")
        return dataset, dropped

    return _filter_short_sequences


_names = Names()


def are_options(options: Any) -> bool:
    """Return whether these are the options of `filter` and `map` that Axolotl gives."""
    if type(options) is not dict or not options.keys() <= {"num_proc", "load_from_cache_file"}:
        return False
    shards = options.get("num_proc")
    return (shards is None or (type(shards) is int and shards >= 0)) and type(
        options.get("load_from_cache_file")
    ) in (bool, type(None))


def has_lists(dataset: Any, column: str = "input_ids") -> bool:
    """Return whether a dataset has rows, with a column of lists of integers and no null."""
    return len(dataset) > 0 and list_column(dataset._data, column) is not None


def _takes_dropping(
    dataset: Any, max_len: Any, min_len: Any, raise_on_long: Any, filter_kwargs: Any
) -> bool:
    return (
        type(max_len) is int
        and type(min_len) in (int, type(None))
        and type(raise_on_long) is bool
        and are_options(filter_kwargs)
        and has_lists(dataset)
    )


def _takes_short(dataset: Any, min_len: Any, filter_kwargs: Any) -> bool:
    return type(min_len) in (int, type(None)) and are_options(filter_kwargs) and has_lists(dataset)


#: Below, `datasets`' own work is all there is.
FEW_ROWS = 32
_OTHERS = "the rows are no lists of integers, or an argument is of another kind"


SEAMS: tuple[Seam, ...] = (
    Seam(
        name="drop_outside_range",
        module=MODULE,
        attribute="_drop_outside_range",
        build=_build_dropping,
        digests={"0.19.0": "966720e8db8e482962e7289513f746e6cf48af15f2979d9912149b21d813c1e9"},
        operation="filter",
        verdict=threshold("rows", FEW_ROWS, RUST),
        describe=describe,
        conditions=(
            PLAIN,
            in_process.UNCHANGED,
            _names.unchanged("filter_sequences_by_length"),
            taking(_takes_dropping, _OTHERS),
        ),
        relies_on={
            "axolotl.utils.trainer:filter_sequences_by_length": {
                "0.19.0": "668be87bc8d2980fa8096da319c3b63fee82f79b1691fc83be9c8707bc492168"
            },
            **in_process.RELIES_ON,
        },
        apart=in_process.uncached,
    ),
    Seam(
        name="filter_short_sequences",
        module=MODULE,
        attribute="_filter_short_sequences",
        build=_build_short,
        digests={"0.19.0": "c6c2c76c93cea3c9881c3c93ea832d3ff050a7776b0915ba858ce555ff21d228"},
        operation="filter",
        verdict=threshold("rows", FEW_ROWS, RUST),
        describe=describe,
        conditions=(
            PLAIN,
            in_process.UNCHANGED,
            _names.unchanged("keep_min_len"),
            taking(_takes_short, _OTHERS),
        ),
        relies_on={
            "keep_min_len": {
                "0.19.0": "fc170306b845445a7f704f20659883dae89f5c86d290910986a966e0919db454"
            },
            **in_process.RELIES_ON,
        },
        apart=in_process.uncached,
    ),
)
