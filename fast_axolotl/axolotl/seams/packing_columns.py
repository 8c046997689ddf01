"""What packing needs of a dataset: no rows without trainable tokens, position ids, lengths.

All of it from Arrow columns. Axolotl makes Python lists of the labels, of the tokens and of every
position, and Arrow of the latter two again.
"""

from functools import partial
from types import CodeType, FunctionType
from typing import Any

from fast_axolotl.axolotl.patch_map import VERSIONS, Implementation, Seam, version_known
from fast_axolotl.dispatch.policy import RUST, threshold

from . import in_process
from .conditions import Names, taking
from .filters import FEW_ROWS, LEAST, are_options, has_lists, in_range
from .lengths import PLAIN, chunks_of, describe, in_order, is_plain_dataset, row_lengths

MODULE = "axolotl.utils.trainer"
_MASKED = -100
#: One row in so many is read by itself sooner than all of them at once.
_FEW_OF = 8


def has_trainable(batch: Any) -> list[bool]:
    """Return which rows of a batch have a label other than -100."""
    import numpy as np

    keep: list[bool] = []
    for chunk in chunks_of(batch.pa_table.column("labels")):
        offsets = chunk.offsets.to_numpy(zero_copy_only=False)
        labels = chunk.values.to_numpy(zero_copy_only=False)
        # Most rows end with a trainable token: the others need not be read.
        found = np.diff(offsets) > 0
        found[found] = labels[offsets[1:][found] - 1] != _MASKED
        rest = np.flatnonzero(~found)
        if len(rest) * _FEW_OF > len(found):
            first, end = offsets[0], offsets[-1]
            # How many are trainable before each row, and before the end.
            before = np.zeros(end - first + 1, np.int64)
            np.cumsum(labels[first:end] != _MASKED, out=before[1:])
            found = np.diff(before[offsets - first]) > 0
        else:
            for row in rest:
                found[row] = (labels[offsets[row] : offsets[row + 1]] != _MASKED).any()
        keep += found.tolist()
    return keep


def every_row(batch: Any) -> list[bool]:
    """Return that all rows of a batch stay: up to 0.18, Axolotl compares a list with a number."""
    return [True] * len(batch.pa_table)


def with_positions(table: Any) -> Any:
    """Return a table with `position_ids` and `length`, as Axolotl appends them."""
    import numpy as np
    import pyarrow as pa
    from datasets import Features
    from datasets.features.features import generate_from_arrow_type

    lengths = row_lengths(table.column("input_ids"))
    offsets = np.zeros(len(lengths) + 1, np.int64)
    np.cumsum(lengths, out=offsets[1:])
    longest = np.arange(lengths.max(initial=0))
    positions = np.concatenate([longest[:length] for length in lengths.tolist()])
    columns = dict(zip(table.column_names, table.itercolumns(), strict=True))
    columns["position_ids"] = pa.ListArray.from_arrays(
        pa.array(offsets.astype(np.int32)), pa.array(positions)
    )
    columns["length"] = pa.array(lengths)
    features = {name: generate_from_arrow_type(column.type) for name, column in columns.items()}
    return pa.Table.from_arrays(list(columns.values()), schema=Features(features).arrow_schema)


def _inner(function: Any, name: str) -> Any:
    """Return a function that a function defines and closes over nothing, as it defines it."""
    for constant in function.__code__.co_consts:
        if type(constant) is CodeType and constant.co_name == name and not constant.co_freevars:
            found = FunctionType(constant, function.__globals__, name)
            found.__qualname__ = f"{function.__qualname__}.<locals>.{name}"
            found.__module__ = function.__module__
            found.__doc__ = next(iter(constant.co_consts), None)
            return found
    raise LookupError(f"{function.__qualname__} defines no function {name} on its own")


def _build(original: Implementation) -> Implementation:
    namespace: dict[str, Any] = getattr(original, "__globals__", {})
    in_process.remember()
    drop_no_trainable_tokens = _inner(original, "drop_no_trainable_tokens")
    drops = version_known(original, _DIGESTS) == "0.19.0"
    _names.remember(namespace, "add_position_ids")

    def process_datasets_for_packing(cfg: Any, train_dataset: Any, eval_dataset: Any) -> Any:
        if not drops and _has_empty(train_dataset):
            # Rows without a token stay, and a batch of nothing else has positions of no type.
            return original(cfg, train_dataset, eval_dataset)
        log = namespace["LOG"]
        if cfg.model_config_type in ["mamba", "gemma3"]:
            log.info("dropping attention_mask column")
            train_dataset = train_dataset.remove_columns("attention_mask")
        if cfg.model_config_type in ["falcon", "mistral"]:
            log.info("dropping token_type_ids column if it exists")
            if "token_type_ids" in train_dataset.column_names:
                train_dataset = train_dataset.remove_columns("token_type_ids")
        prior_len = len(train_dataset)
        options = _options(cfg)
        train_dataset = in_process.filtered(
            train_dataset,
            drop_no_trainable_tokens,
            has_trainable if drops else every_row,
            {"batched": True, **options, "desc": "Drop Samples with Zero Trainable Tokens"},
        )
        dropped = prior_len - len(train_dataset)
        if dropped:
            log.warning(f"Dropped {dropped} samples with no trainable tokens")
        if prior_len and len(train_dataset) == 0:
            raise ValueError(
                "The dataset has no samples left after dropping samples with no "
                "trainable tokens. Every sample had all of its labels masked to "
                "-100, so there is nothing to train on. Check `train_on_inputs`, "
                "`roles_to_train`, and your prompt strategy / chat template."
            )
        if cfg.sample_packing:
            train_dataset = in_process.mapped(
                train_dataset,
                namespace["add_position_ids"],
                with_positions,
                {**options, "desc": "Add position_id column (Sample Packing)"},
            )
        return train_dataset, eval_dataset

    return process_datasets_for_packing


def _build_pretraining(original: Implementation) -> Implementation:
    namespace: dict[str, Any] = getattr(original, "__globals__", {})
    in_process.remember()
    _names.remember(namespace, "add_position_ids", "filter_sequences_by_length")

    def process_pretraining_datasets_for_packing(
        train_dataset: Any,
        sequence_len: int,
        skip_position_ids: Any = True,
        drop_attention_mask: Any = False,
    ) -> Any:
        train_dataset = in_process.filtered(
            train_dataset,
            partial(namespace["filter_sequences_by_length"], sequence_len=sequence_len),
            partial(in_range, LEAST, sequence_len, False),
            {"desc": "Dropping Long Sequences", "load_from_cache_file": False},
        )
        if not skip_position_ids:
            train_dataset = in_process.mapped(
                train_dataset,
                namespace["add_position_ids"],
                with_positions,
                {"desc": "Add position_id column (Pretraining Sample Packing)"},
            )
        if drop_attention_mask:
            train_dataset = train_dataset.remove_columns("attention_mask")
        return train_dataset

    return process_pretraining_datasets_for_packing


_names = Names()


def _options(cfg: Any) -> dict[str, Any]:
    return {"num_proc": cfg.dataset_num_proc, "load_from_cache_file": not cfg.is_preprocess}


def _takes(cfg: Any, train_dataset: Any, eval_dataset: Any) -> bool:
    return (
        eval_dataset is None
        and is_plain_dataset(train_dataset)
        and not cfg.group_by_length
        and not cfg.use_pose
        and are_options(_options(cfg))
        and has_lists(train_dataset, "input_ids")
        and has_lists(train_dataset, "labels")
        and _has_no_null(train_dataset._data.column("labels"))
        and _has_no_positions(train_dataset)
    )


def _has_empty(dataset: Any) -> bool:
    return not in_order(dataset, row_lengths(dataset._data.column("input_ids"))).all()


def _has_no_positions(dataset: Any) -> bool:
    return not {"position_ids", "length"} & set(dataset.column_names)


def _has_no_null(column: Any) -> bool:
    return not any(chunk.values.null_count for chunk in column.chunks)


def _takes_pretraining(
    train_dataset: Any,
    sequence_len: Any,
    skip_position_ids: Any = True,  # noqa: ARG001
    drop_attention_mask: Any = False,  # noqa: ARG001
) -> bool:
    return (
        type(sequence_len) is int and has_lists(train_dataset) and _has_no_positions(train_dataset)
    )


_DIGESTS = {
    **dict.fromkeys(
        ("0.16.1", "0.17.0", "0.18.0"),
        "5250a61c5d5f4a0e94cf1559e34ef0d8911d9240042516361123c18cd03792db",
    ),
    "0.19.0": "12b6a9b895dc5a91e9342faf2e00ce236645fc50afd082179007988d75ecc3b0",
}
_POSITIONS = {
    "add_position_ids": dict.fromkeys(
        VERSIONS, "1f2ad58f152ea84a8f00c409f9f2f58dac1848d2635b3a3a1992c8ec8281c1df"
    )
}

SEAMS: tuple[Seam, ...] = (
    Seam(
        name="process_datasets_for_packing",
        module=MODULE,
        attribute="process_datasets_for_packing",
        build=_build,
        digests=_DIGESTS,
        operation="filter",
        verdict=threshold("rows", FEW_ROWS // 4, RUST),
        describe=lambda args, kwargs: describe(args[1:], {"dataset": kwargs.get("train_dataset")}),
        conditions=(
            taking(
                _takes,
                "there is an evaluation dataset, grouping by length, PoSE, or a dataset of another "
                "kind than Axolotl's strategies make",
            ),
            _names.unchanged("add_position_ids"),
            in_process.UNCHANGED,
        ),
        relies_on={**_POSITIONS, **in_process.RELIES_ON},
        apart=in_process.uncached,
    ),
    Seam(
        name="process_pretraining_datasets_for_packing",
        module=MODULE,
        attribute="process_pretraining_datasets_for_packing",
        build=_build_pretraining,
        digests=dict.fromkeys(
            VERSIONS, "90b54b4f1c7214f8f51538607a8f21a25898b935d77c55f80559353a98db7a48"
        ),
        operation="filter",
        verdict=threshold("rows", FEW_ROWS, RUST),
        describe=describe,
        conditions=(
            PLAIN,
            taking(_takes_pretraining, "the rows are no lists of integers, or have positions"),
            _names.unchanged("add_position_ids", "filter_sequences_by_length"),
            in_process.UNCHANGED,
        ),
        relies_on={
            "filter_sequences_by_length": dict.fromkeys(
                VERSIONS, "668be87bc8d2980fa8096da319c3b63fee82f79b1691fc83be9c8707bc492168"
            ),
            **_POSITIONS,
            **in_process.RELIES_ON,
        },
        apart=in_process.uncached,
    ),
)
