"""The pretraining stream: rows of `encode_streaming`, and their way into tensors.

`encode_streaming` makes a tensor of every sequence and copies the whole row for each one that joins
it. Here the rows are planned from the lengths and written once, as lists that share the tokenizer's
ints. With `with_format("torch")`, `datasets` then makes a tensor of every single token and stacks
those: here a list of ints becomes a tensor in one go. Without a format, rows stay lists.
"""

from itertools import repeat
from typing import Any

from fast_axolotl._native import core
from fast_axolotl.axolotl.patch_map import Implementation, Seam
from fast_axolotl.dispatch.policy import Sizes
from fast_axolotl.dispatch.registry import Arguments, Call, Condition, Keywords

from .tokenize import described, tokenized
from .torch_state import makes_plain_tensors

MODULE = "axolotl.utils.data.streaming"
_core: Any = core

_COLUMNS = ("input_ids", "labels", "attention_mask")
_ENDS = 2  # [eos, pad] after every sequence
# Up to here a float32 holds every integer.
_EXACT_IN_FLOAT32 = 1 << 24


class _Encoded:
    """Stands for a tokenizer that has done its work: the original goes on from its result."""

    def __init__(self, tokenizer: Any, result: Any) -> None:
        self._tokenizer = tokenizer
        self._result = result

    def __call__(self, *_args: Any, **_kwargs: Any) -> Any:
        return self._result

    def __getattr__(self, name: str) -> Any:
        return getattr(self._tokenizer, name)


def _build_encoding(original: Implementation) -> Implementation:
    log: Any = getattr(original, "__globals__", {})

    def encode_streaming(
        examples: Any,
        tokenizer: Any,
        max_tokens: Any,
        text_column: Any = "text",
        concatenate: Any = True,
    ) -> Any:
        result = tokenized(
            tokenizer,
            examples[text_column],
            truncation=True,
            max_length=max_tokens - 2,
            add_special_tokens=True,
        )
        if not concatenate:
            rows = _copied(result)
        else:
            rows = _packed(result, tokenizer, max_tokens)
            if rows is not None:
                log["LOG"].debug(len(rows["input_ids"]))
        if rows is not None:
            return rows
        encoded = _Encoded(tokenizer, result)
        return original(examples, encoded, max_tokens, text_column, concatenate)

    return encode_streaming


def _lists(result: Any) -> tuple[Any, Any] | None:
    """Return ids and masks of a tokenizer's result; None where it has not both."""
    try:
        return result["input_ids"], result["attention_mask"]
    except KeyError:
        return None


def _copied(result: Any) -> dict[str, Any] | None:
    lists = _lists(result)
    if lists is None:
        return None
    ids, masks = lists
    columns = (_core.copied_rows(ids), _core.copied_rows(ids), _core.copied_rows(masks))
    return None if None in columns else dict(zip(_COLUMNS, columns, strict=True))


def _packed(result: Any, tokenizer: Any, max_tokens: Any) -> dict[str, Any] | None:
    lists = _lists(result)
    if lists is None or type(max_tokens) is not int or max_tokens < 1:
        return None
    ids, masks = lists
    rows: dict[str, Any] | None = _core.streaming_rows(
        ids, masks, max_tokens, tokenizer.pad_token_id, tokenizer.eos_token_id
    )
    if rows is None or all(ids):
        return rows
    return _with_floats(rows, [len(sequence) for sequence in ids], max_tokens)


def _with_floats(
    rows: dict[str, Any], lengths: list[int], max_tokens: int
) -> dict[str, Any] | None:
    """Return rows as torch has them: an empty sequence, of floats, makes floats of its row."""
    import torch

    if torch.get_default_dtype() not in (torch.float32, torch.float64):
        return None
    for row, used in _rows_with_an_empty_sequence(lengths, max_tokens).items():
        if max(rows["input_ids"][row][: used + 1]) > _EXACT_IN_FLOAT32:
            return None
        for column in _COLUMNS:
            values = rows[column][row]
            # All that follows is the padding.
            padding = [float(value) for value in values[used : used + 1]]
            rows[column][row] = [*map(float, values[:used]), *padding * (len(values) - used)]
    return rows


def _rows_with_an_empty_sequence(lengths: list[int], max_tokens: int) -> dict[int, int]:
    """Return such rows, each with the number of its tokens that are no padding."""
    found: dict[int, int] = {}
    row = used = 0
    for length in lengths:
        if used + length + _ENDS > max_tokens:
            row, used = row + 1, 0
        used += length + _ENDS
        if length == 0 or row in found:
            found[row] = used
    return found


def _describe_encoding(args: Arguments, kwargs: Keywords) -> Call:
    examples = args[0] if args else kwargs["examples"]
    column = args[3] if len(args) > 3 else kwargs.get("text_column", "text")
    return described(examples[column], len(_COLUMNS))


class _Tokens:
    """A tokenizer for calibration, whose work costs nothing."""

    pad_token_id, eos_token_id = 0, 1

    def __init__(self, rows: int, length: int) -> None:
        ids = [list(range(1000, 1000 + length - i % 7)) for i in repeat(0, rows)]
        self._result = {"input_ids": ids, "attention_mask": [[1] * len(row) for row in ids]}

    def __call__(self, _texts: Any, **_kwargs: Any) -> Any:
        return self._result


def _encoding_workload(
    _layout: str, _output: str, rows: int, length: int
) -> tuple[Arguments, Keywords]:
    length = max(length, 1)
    examples = {"text": ["abcd" * length] * rows}
    return (examples, _Tokens(rows, length), max(2048, length + _ENDS)), {}


# --- rows into tensors ----------------------------------------------------------------------------


def _build_formatting(original: Implementation) -> Implementation:
    stock: list[type] = []

    def recursive_tensorize(self: Any, data_struct: Any) -> Any:
        tensors: dict[str, Any] = {}
        rest: dict[str, Any] = {}
        for name, value in data_struct.items():
            if type(value) is list and value:
                tensors[name] = _tensor_of(value)
                if tensors[name] is not None:
                    continue
            tensors[name] = None
            rest[name] = value
        if rest:
            # What is inside is tensorized by the original's own recursion, without us.
            if not stock:
                stock.append(_with_original(type(self), original))
            twin: Any = object.__new__(stock[0])
            twin.__dict__ = self.__dict__
            for name, value in rest.items():
                if isinstance(value, dict):
                    tensors[name] = twin.recursive_tensorize(value)
                else:
                    tensors[name] = twin._recursive_tensorize(value)
        return tensors

    return recursive_tensorize


def _with_original(kind: type, original: Implementation) -> type:
    class Stock(kind):  # type: ignore[misc]
        recursive_tensorize = original

    return Stock


def _tensor_of(values: list[Any]) -> Any:
    """Return a tensor of ints, a stack of rows of ints, or a list of such rows; None for others."""
    first = values[0]
    if type(first) is int:
        return _core.int64_tensor(values)
    if type(first) is not list or not all(values):
        return None
    width = len(first)
    if all(type(row) is list and len(row) == width for row in values):
        return _core.row_tensor(values, width, 0, True)
    rows = [_core.int64_tensor(row) for row in values]
    return None if None in rows else rows


def _is_stock_formatter(args: Arguments, kwargs: Keywords) -> bool:
    from datasets.formatting import TorchFormatter

    return (
        type(args[0]) is TorchFormatter
        and not args[0].torch_tensor_kwargs
        and type(args[1] if len(args) > 1 else kwargs.get("data_struct")) is dict
    )


def _describe_formatting(args: Arguments, kwargs: Keywords) -> Call:
    row = args[1] if len(args) > 1 else kwargs["data_struct"]
    elements = 0
    for value in row.values():
        if type(value) is list:
            elements += len(value)
    return Call("axolotl", "axolotl", Sizes(len(row), elements, elements))


def _formatting_workload(
    _layout: str, _output: str, rows: int, length: int
) -> tuple[Arguments, Keywords]:
    from datasets.formatting import TorchFormatter

    row = {f"column {i}": list(range(1000, 1000 + max(length, 1))) for i in range(max(rows, 1))}
    return (TorchFormatter(), row), {}


_FORMATTER = "datasets.formatting.torch_formatter"
_FORMATTING = {
    f"{_FORMATTER}:TorchFormatter._recursive_tensorize": {
        "datasets 4.8.4": "d7ece9668e51486cc5cd38ac3c63f17d79c236f7c5cb4c0c7c06ed0c9f1c45bf"
    },
    f"{_FORMATTER}:TorchFormatter._tensorize": {
        "datasets 4.8.4": "e8bef2f2239152e42cda6a6b9cdbbf4cb0da10fd17c6d3b8fdbaa173029e43ba"
    },
    f"{_FORMATTER}:TorchFormatter._consolidate": {
        "datasets 4.8.4": "111ea27c17e9126db43f453d6559fd7ac46241fe514252866792ae4a6cea86fa"
    },
    "datasets.utils.py_utils:map_nested": {
        "datasets 4.8.4": "7466c9a9dea079470953231bc81149ddc3cf0fd434e5d2cd60c1a59515df8eb8"
    },
    "datasets.utils.py_utils:_single_map_nested": {
        "datasets 4.8.4": "b5491df1ef8a0e3ee29edcfe8e88e920c93817f3b9d5f231560eae035883e7b3"
    },
}

SEAMS: tuple[Seam, ...] = (
    Seam(
        name="encode_streaming",
        module=MODULE,
        attribute="encode_streaming",
        build=_build_encoding,
        digests={"0.19.0": "6677b4f3c52ae788a01e7f7d6192b30f4a2097cba770b9f72c4ca84bc089d9dd"},
        operation="pack",
        describe=_describe_encoding,
        conditions=(Condition(makes_plain_tensors, "torch makes its tensors elsewhere"),),
        workload=_encoding_workload,
    ),
    # The formatter is not Axolotl's own: its stream is what it is replaced for.
    Seam(
        name="torch_rows",
        module=MODULE,
        attribute=f"{_FORMATTER}:TorchFormatter.recursive_tensorize",
        build=_build_formatting,
        digests={
            "datasets 4.8.4": "02678d31e90a8369a619975f60081dcb424572243942cb6e02d000255bc8561f"
        },
        operation="pad",
        describe=_describe_formatting,
        conditions=(
            Condition(_is_stock_formatter, "no plain row, or a formatter with settings of its own"),
            Condition(makes_plain_tensors, "torch makes its tensors elsewhere"),
        ),
        workload=_formatting_workload,
        relies_on=_FORMATTING,
    ),
)
