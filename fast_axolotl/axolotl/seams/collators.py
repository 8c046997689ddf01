"""The padding collators: columns go from lists or arrays straight into the tensors of the batch.

The originals pad every row as a Python list, flatten all of it once more to see whether it is
empty, and let torch read each int. Here each column is written once, into memory that a tensor
owns. What a batch is made of is looked at first, and nothing is changed before the last column
stands: a batch that has anything unusual in it is the original's, as if we had not been there.
"""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

from fast_axolotl._native import core
from fast_axolotl.axolotl.patch_map import Implementation, Seam
from fast_axolotl.dispatch.policy import Sizes
from fast_axolotl.dispatch.registry import Arguments, Call, Condition, Keywords

from .torch_state import makes_plain_tensors

MODULE = "axolotl.utils.collators.batching"
_core: Any = core

# Columns that are filled up; others have to fit as they are.
_MASK = "attention_mask"
_PADDED_FIRST = ("labels", "position_ids")
_SEQUENCES = ("input_ids", "labels", "position_ids", _MASK, "token_type_ids", "special_tokens_mask")


class _Settings(NamedTuple):
    """What of a collator and its tokenizer decides about the padding; all of it plain values."""

    right: bool
    multiple: int | None
    max_length: int | None  # the width of the input ids; None for that of the longest row
    fill: dict[str, int]  # of the columns that the tokenizer pads
    label_fill: int


def _settings(collator: Any, keys: Any) -> _Settings | None:
    """Return the settings, or None where a value is of a kind that the originals treat apart."""
    tokenizer = collator.tokenizer
    side = tokenizer.padding_side
    multiple = collator.pad_to_multiple_of
    padding, max_length = collator.padding, collator.max_length
    if side not in ("right", "left") or not (
        multiple is None or (type(multiple) is int and multiple > 0)
    ):
        return None
    if padding is True or padding == "longest":
        if max_length is not None:  # of which the tokenizer warns
            return None
    elif padding != "max_length" or type(max_length) is not int or max_length <= 0:
        return None
    names = tokenizer.model_input_names
    if type(names) is not list or names[:1] != ["input_ids"]:
        return None
    pad = tokenizer.pad_token_id
    label_fill = collator.label_pad_token_id
    if type(pad) is not int or pad < 0 or type(label_fill) is not int:
        return None
    fill = {"input_ids": pad, "special_tokens_mask": 1}
    if _MASK in names:
        fill[_MASK] = 0
    if "token_type_ids" in keys:
        kind = tokenizer.pad_token_type_id
        if type(kind) is not int:
            return None
        fill["token_type_ids"] = kind
    least, most = min(label_fill, *fill.values()), max(label_fill, *fill.values())
    if least < -(1 << 63) or most >= 1 << 63:
        return None
    return _Settings(side == "right", multiple, max_length, fill, label_fill)


def _rounded(width: int, multiple: int | None) -> int:
    return width if multiple is None else (width + multiple - 1) // multiple * multiple


# Of a column its name, its rows, what length they get, and by which value (None: 0, 1, 2 ...).
_Column = tuple[str, list[Any], int, int | None]


def _widths(
    settings: _Settings, columns: dict[str, tuple[list[Any], list[int]]]
) -> list[_Column] | None:
    """Return the columns with what they are filled up to; None where one comes out ragged."""
    ids = columns["input_ids"][1]
    longest = max(ids)
    width = _rounded(
        longest if settings.max_length is None else settings.max_length, settings.multiple
    )
    if longest == 0 or longest > width:
        return None
    found: list[_Column] = []
    for name, (rows, lengths) in columns.items():
        if name in settings.fill:
            # As many are added as to the input ids, whatever there is.
            if lengths != ids:
                return None
            found.append((name, rows, width, settings.fill[name]))
        elif name in _PADDED_FIRST:
            fill = settings.label_fill if name == "labels" else None
            found.append((name, rows, _rounded(max(lengths), settings.multiple), fill))
        elif lengths.count(lengths[0]) == len(lengths):
            found.append((name, rows, lengths[0], 0))
        else:
            return None
    return found


def _finish(collator: Any, data: dict[str, Any]) -> Any:
    """Return the batch, as the end of the original's `__call__` does."""
    batch = _transformers().BatchEncoding(data)
    model = collator.model
    if (
        "labels" in data
        and model is not None
        and hasattr(model, "prepare_decoder_input_ids_from_labels")
    ):
        decoder_input_ids = model.prepare_decoder_input_ids_from_labels(labels=batch["labels"])
        batch["decoder_input_ids"] = decoder_input_ids
    return batch


def _transformers() -> Any:
    # The package finds names by a function of its own, which takes longer.
    return sys.modules["transformers.tokenization_utils_base"]


def _asks_for_tensors(collator: Any, return_tensors: Any) -> bool:
    return bool((collator.return_tensors if return_tensors is None else return_tensors) == "pt")


# --- a batch of rows ------------------------------------------------------------------------------


def _rows_of(features: list[Any]) -> dict[str, list[Any]] | None:
    """Return the columns of a batch; None where it is not a list of dicts that have them all."""
    first = features[0]
    try:
        return {name: [feature[name] for feature in features] for name in first}
    except KeyError:
        return None


def _kinds(table: dict[str, list[Any]]) -> dict[str, type] | None:
    """Return the type of the rows of each column; None where one has several."""
    kinds = {}
    for name, rows in table.items():
        found = set(map(type, rows))
        if len(found) > 1:
            return None
        kinds[name] = found.pop()
    return kinds


def _as_arrays(rows: list[Any], kind: type) -> list[Any] | None:
    """Return rows of one kind as lists or arrays; None where they are neither, nor tensors."""
    import numpy
    import torch

    if kind is list or kind is numpy.ndarray:
        return rows
    if kind is torch.Tensor and all(
        row.ndim == 1
        and row.device.type == "cpu"
        and row.layout is torch.strided
        and row.dtype in _integer_types()
        for row in rows
    ):
        return [row.numpy() for row in rows]
    return None


def _integer_types() -> tuple[Any, ...]:
    import torch

    return (torch.int64, torch.int32, torch.int16, torch.int8, torch.uint8)


def _padded_arrays(rows: list[Any], fill: int | None, width: int, right: bool) -> list[Any]:
    """Return what the original leaves in the features where labels or positions are no lists."""
    import numpy

    padded = []
    for row in rows:
        missing = width - len(row)
        rest = list(range(missing)) if fill is None else [fill] * missing
        joined = numpy.concatenate([row, rest] if right else [rest, row])
        padded.append(joined.astype(numpy.int64))
    return padded


def _pad_lists(features: list[Any], name: str, width: int, fill: int | None, right: bool) -> None:
    for feature in features:
        row = feature[name]
        missing = width - len(row)
        rest = list(range(missing)) if fill is None else [fill] * missing
        feature[name] = row + rest if right else rest + row


def _sequences(
    table: dict[str, list[Any]], kinds: dict[str, type]
) -> dict[str, tuple[list[Any], list[int]]] | None:
    """Return the columns of lists or arrays, with their lengths; None where one is neither."""
    has_lists = kinds["input_ids"] is list
    found = {}
    for name, rows in table.items():
        kind = kinds[name]
        if kind is not list:
            if kind is int and name not in _SEQUENCES:
                continue
            # Next to lists the tokenizer takes arrays for what they are not, but for what we pad.
            if has_lists and name not in _PADDED_FIRST:
                return None
            arrays = _as_arrays(rows, kind)
            if arrays is None or any(row.ndim != 1 for row in arrays):
                return None
            rows = arrays
        found[name] = (rows, list(map(len, rows)))
    return found


def _batch_of_rows(collator: Any, features: list[Any]) -> dict[str, Any] | None:
    """Return the tensors of a batch, and leave labels and positions padded in `features`."""
    table = _rows_of(features)
    if table is None or "input_ids" not in table:
        return None
    settings = _settings(collator, table)
    kinds = _kinds(table)
    if settings is None or kinds is None:
        return None
    sequences = _sequences(table, kinds)
    columns = None if sequences is None else _widths(settings, sequences)
    if columns is None:
        return None
    data: dict[str, Any] = dict.fromkeys(table)
    left_behind: dict[str, list[Any]] = {}
    wanted = []
    for name, rows, width, fill in columns:
        if kinds[name] is not list and name in _PADDED_FIRST:
            if any(row.dtype.kind not in "iu" for row in rows):
                return None
            rows = left_behind[name] = _padded_arrays(rows, fill, width, settings.right)
        wanted.append((rows, width, fill, False, False))
    tensors = _core.row_tensors(wanted, settings.right)
    if tensors is None:
        return None
    for (name, *_), tensor in zip(columns, tensors, strict=True):
        data[name] = tensor
    if len(columns) < len(table):
        for name, kind in kinds.items():
            if data[name] is None and kind is int:
                data[name] = _core.int64_tensor(table[name])
                if data[name] is None:
                    return None
    for name, _, width, fill in columns:
        if name in left_behind:
            for feature, row in zip(features, left_behind[name], strict=True):
                feature[name] = row
        elif name in _PADDED_FIRST:
            _pad_lists(features, name, width, fill, settings.right)
    return data


def _build_padding(original: Implementation) -> Implementation:
    def __call__(self: Any, features: Any, return_tensors: Any = None) -> Any:  # noqa: N807
        if _asks_for_tensors(self, return_tensors):
            data = _batch_of_rows(self, features)
            if data is not None:
                return _finish(self, data)
        return original(self, features, return_tensors=return_tensors)

    return __call__


# --- rows that are joined first -------------------------------------------------------------------


def _batch_of_pieces(
    collator: Any, table: dict[str, list[list[Any]]], numbered: bool, squashed: bool
) -> dict[str, Any] | None:
    """Return the tensors of a batch whose rows are joined of pieces.

    Args:
        collator: the collator.
        table: of each column its rows, of each row the list of its pieces.
        numbered: whether the attention mask of the second piece is twos, and so on.
        squashed: whether the position ids go on from piece to piece.
    """
    settings = _settings(collator, table)
    if settings is None or "input_ids" not in table:
        return None
    sequences = {}
    for name, rows in table.items():
        lengths = [_joined_length(pieces) for pieces in rows]
        if None in lengths:
            return None
        sequences[name] = (rows, lengths)
    columns = _widths(settings, sequences)  # type: ignore[arg-type]
    if columns is None:
        return None
    wanted = [
        (rows, width, fill, True, numbered and name == _MASK) for name, rows, width, fill in columns
    ]
    tensors = _core.row_tensors(wanted, settings.right)
    if tensors is None:
        return None
    data = {name: tensor for (name, *_), tensor in zip(columns, tensors, strict=True)}
    if squashed and "position_ids" in data:
        counted = [list(range(length)) for length in sequences["position_ids"][1]]  # type: ignore[arg-type]
        width = data["position_ids"].shape[1]
        data["position_ids"] = _core.row_tensor(counted, width, None, settings.right)
    return data


def _joined_length(pieces: list[Any]) -> int | None:
    for piece in pieces:
        if type(piece) is not list:
            import numpy

            if type(piece) is not numpy.ndarray or piece.ndim != 1:
                return None
    return sum(map(len, pieces)) if pieces else None


def _pieces_of_groups(features: list[Any]) -> dict[str, list[list[Any]]] | None:
    """Return the columns of groups of rows; None where a row lacks one, or is no dict."""
    groups = features if isinstance(features[0], list) else [features]
    first = groups[0][0]
    if type(first) is not dict:
        return None
    table: dict[str, list[list[Any]]] = {name: [] for name in first if name != "length"}
    for group in groups:
        if type(group) is not list or not group or not all(type(row) is dict for row in group):
            return None
        if group[0].keys() != first.keys():
            return None
        try:
            for name, rows in table.items():
                rows.append([row[name] for row in group])
        except KeyError:
            return None
    return table


def _build_groups(numbered: bool) -> Callable[[Implementation], Implementation]:
    def build(original: Implementation) -> Implementation:
        def __call__(self: Any, features: Any, return_tensors: Any = None) -> Any:  # noqa: N807
            if _asks_for_tensors(self, return_tensors):
                table = _pieces_of_groups(features)
                if table is not None:
                    squashed = numbered and bool(self.squash_position_ids)
                    data = _batch_of_pieces(self, table, numbered, squashed)
                    if data is not None:
                        return _finish(self, data)
            return original(self, features, return_tensors=return_tensors)

        return __call__

    return build


def _build_pretraining(original: Implementation) -> Implementation:
    def __call__(self: Any, features: Any, return_tensors: Any = None) -> Any:  # noqa: N807
        if _asks_for_tensors(self, return_tensors):
            table = {name: [rows] for name, rows in features.items() if name != "length"}
            if all(type(rows[0]) is list for rows in table.values()):
                data = _batch_of_pieces(self, table, bool(self.multipack_attn), False)
                if data is not None:
                    return _finish(self, data)
        return original(self, features, return_tensors=return_tensors)

    return __call__


# --- what a call has to be ------------------------------------------------------------------------


#: Methods by which tokenizers pad, as their base class had them when their source was compared.
_padding: dict[str, Any] = {}


def _remember_padding() -> None:
    base = vars(_transformers().PreTrainedTokenizerBase)
    for name in ("pad", "_pad", "_get_padding_truncation_strategies"):
        _padding[name] = base[name]


def _pads_as_its_base(args: Arguments, _kwargs: Keywords) -> bool:
    # By what the base class had, which somebody may have replaced since.
    tokenizer = args[0].tokenizer
    kind = type(tokenizer)
    return (
        isinstance(tokenizer, _transformers().PreTrainedTokenizerBase)
        and all(getattr(kind, name) is method for name, method in _padding.items())
        and not _padding.keys() & vars(tokenizer).keys()
    )


def _features(args: Arguments, kwargs: Keywords) -> Any:
    return args[1] if len(args) > 1 else kwargs.get("features")


def _is_list_of_dicts(args: Arguments, kwargs: Keywords) -> bool:
    features = _features(args, kwargs)
    return (
        type(features) is list
        and len(features) > 0
        and all(type(feature) is dict for feature in features)
    )


def _is_list(args: Arguments, kwargs: Keywords) -> bool:
    features = _features(args, kwargs)
    if type(features) is not list or not features:
        return False
    first = features[0]
    return type(first) is dict or (type(first) is list and len(first) > 0)


def _is_dict(args: Arguments, kwargs: Keywords) -> bool:
    return type(_features(args, kwargs)) is dict


def _is_exactly(name: str) -> Callable[[Arguments, Keywords], bool]:
    def holds(args: Arguments, _kwargs: Keywords) -> bool:
        kind = type(args[0])
        return kind.__module__ == MODULE and kind.__qualname__ == name

    return holds


_COMMON = (
    Condition(_pads_as_its_base, "the tokenizer pads in a way of its own"),
    Condition(makes_plain_tensors, "torch makes its tensors elsewhere, or is traced"),
)


def _describe(args: Arguments, kwargs: Keywords) -> Call:
    features = _features(args, kwargs)
    if type(features) is dict:
        ids = features["input_ids"]
        elements = len(features) * sum(map(len, ids))
        return Call("axolotl", "axolotl", Sizes(len(ids), elements, elements))
    rows = elements = 0
    for group in features:
        for row in group if type(group) is list else (group,):
            rows += 1
            elements += len(row) * len(row["input_ids"])
    return Call("axolotl", "axolotl", Sizes(rows, elements, elements))


def _collator(name: str) -> Any:
    from tokenizers import Tokenizer
    from tokenizers.models import WordLevel
    from transformers import PreTrainedTokenizerFast

    words = {"<pad>": 0, "</s>": 1, "a": 2}
    tokenizer: Any = PreTrainedTokenizerFast(
        tokenizer_object=Tokenizer(WordLevel(words)), pad_token="<pad>", eos_token="</s>"
    )
    return getattr(sys.modules[MODULE], name)(tokenizer)


def _feature(length: int) -> dict[str, Any]:
    tokens = list(range(1000, 1000 + length))
    return {
        "input_ids": tokens,
        "labels": list(tokens),
        "attention_mask": [1] * length,
        "position_ids": list(range(length)),
    }


def _workload(name: str) -> Callable[[str, str, int, int], tuple[Arguments, Keywords]]:
    def workload(_layout: str, _output: str, rows: int, length: int) -> tuple[Arguments, Keywords]:
        length = max(length, 1)
        features: Any = [_feature(length - (i % 2 and length // 4)) for i in range(max(rows, 1))]
        if name.startswith("Pretraining"):
            features = {key: [row[key] for row in features] for key in features[0]}
        elif name != "DataCollatorForSeq2Seq":
            features = [features]
        return (_collator(name), features), {}

    return workload


@contextmanager
def _apart(args: Arguments, kwargs: Keywords) -> Iterator[tuple[Arguments, Keywords]]:
    # Only labels and positions are replaced, and only in the dicts.
    collator, *rest = args
    if rest:
        rest[0] = _copied(rest[0])
    elif "features" in kwargs:
        kwargs = {**kwargs, "features": _copied(kwargs["features"])}
    yield (collator, *rest), kwargs


def _copied(features: Any) -> Any:
    if type(features) is not list:
        return features
    copies: dict[int, Any] = {}  # the same row twice stays the same row twice
    for feature in features:
        copies.setdefault(id(feature), dict(feature) if type(feature) is dict else feature)
    return [copies[id(feature)] for feature in features]


_TOKENIZERS = "transformers.tokenization_utils_base"
_RELIES_ON = {
    f"{_TOKENIZERS}:PreTrainedTokenizerBase.pad": {
        # Without masks of more dimensions, which are no columns that are padded here.
        "transformers 5.5.0": "21914ca04d1d98173d960b50755f177c8e3d28a45e5ec00c24254a32aea8debb",
        "transformers 5.16.1": "d79d33e491842f0e62c62115a61a69bc7bb4c1d04fc72539a8f6fd34d60ec9a2",
    },
    f"{_TOKENIZERS}:PreTrainedTokenizerBase._pad": {
        "transformers 5.16.1": "69cf99164d731c06b3c9fc36bd71371cb24312f1557ebad48b5351c252db70b5"
    },
    f"{_TOKENIZERS}:PreTrainedTokenizerBase._get_padding_truncation_strategies": {
        "transformers 5.16.1": "17b39f61ffc95726ee7801b9068bb4998b95a318bf5953aee709f4b0c68e7b0f"
    },
    f"{_TOKENIZERS}:BatchEncoding.__init__": {
        "transformers 5.16.1": "966e800539289d3c349918aa8bb91712a326fb5b319965d369f6a4cd57b2a772"
    },
    f"{_TOKENIZERS}:BatchEncoding.convert_to_tensors": {
        # Of 5.16.1 but for a word in its documentation; in 5.9.0 and 5.14.1, too.
        "transformers 5.5.0": "2e12336be99c0b1899577ef6e9b73051c9687ae57c3daac9a1e36016fd84ca56",
        "transformers 5.16.1": "bce71ace798fc53ecffb7492ed024feabf77427e21e8e9f225a9da2024af9b4b",
    },
    f"{_TOKENIZERS}:flatten": {
        "transformers 5.16.1": "97b19cf98307c3450657fd4154361864432cfe7de63870e89b6bea16d4c05788"
    },
    "transformers.utils.generic:to_py_obj": {
        "transformers 5.16.1": "75b337c6c9ccb41a975f398f0cf0de85aa29d607904c4f50e5df1ae81cfa7fe3"
    },
}
_PADDING = "a62178284c2834b927e0fd691b8438c184e02af7b3119baff67234306b243f10"
_BASE = {"DataCollatorForSeq2Seq.__call__": {"0.19.0": _PADDING}}


def _seam(
    name: str,
    kind: str,
    digest: str,
    build: Callable[[Implementation], Implementation],
    conditions: tuple[Condition, ...],
) -> Seam:
    def build_and_remember(original: Implementation) -> Implementation:
        _remember_padding()
        return build(original)

    return Seam(
        name=name,
        module=MODULE,
        attribute=f"{kind}.__call__",
        build=build_and_remember,
        digests={"0.19.0": digest},
        operation="pad",
        describe=_describe,
        conditions=(*conditions, *_COMMON),
        workload=_workload(kind),
        relies_on=_RELIES_ON if kind == "DataCollatorForSeq2Seq" else {**_RELIES_ON, **_BASE},
        apart=_apart,
    )


def _joining(name: str, kind: str, digest: str, build: Any, shape: Condition) -> Seam:
    own = Condition(_is_exactly(kind), "it is a subclass")
    return _seam(name, kind, digest, build, (own, shape))


SEAMS: tuple[Seam, ...] = (
    _seam(
        "pad_collator",
        "DataCollatorForSeq2Seq",
        _PADDING,
        _build_padding,
        (Condition(_is_list_of_dicts, "the features are no list of dicts"),),
    ),
    _joining(
        "batch_sampler_collator",
        "BatchSamplerDataCollatorForSeq2Seq",
        "d308c9943a0a0070a191e36bcc705593106a30d0e8bbaa8dcc2049be4f27f027",
        _build_groups(numbered=False),
        Condition(_is_list, "the features are no list of dicts or of lists of them"),
    ),
    _joining(
        "v2_batch_sampler_collator",
        "V2BatchSamplerDataCollatorForSeq2Seq",
        "84237ceffa79262a1214cc81e0c072b6ae226b0483c16a14775367a4427a5ba3",
        _build_groups(numbered=True),
        Condition(_is_list, "the features are no list of dicts or of lists of them"),
    ),
    _joining(
        "pretraining_collator",
        "PretrainingBatchSamplerDataCollatorForSeq2Seq",
        "35f6fcc6a5758c93603d18abb046af85240bb707222e1a22604a7412486bec2b",
        _build_pretraining,
        Condition(_is_dict, "the features are no dict of columns"),
    ),
)
