"""Packing sequences into rows of one length, as Axolotl's `encode_streaming` does (next-fit)."""

from __future__ import annotations

from array import array

from . import _arguments
from ._arrays import Target, changed, int64, int64s, row_at
from ._rows import token_rows

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_COLUMNS = ("input_ids", "labels", "attention_mask")


def pack_sequences(
    sequences: Any,
    max_length: int,
    pad_token_id: int,
    eos_token_id: int,
    label_pad_id: int = -100,
    *,
    output: str = "lists",
) -> dict[str, Any]:
    """Append `[eos, pad]` to every sequence and pack them into rows of `max_length` tokens.

    Greedy next-fit in the order given: a sequence goes into the current row if it fits, and opens
    the next one if not. These are the rows that Axolotl's `encode_streaming` builds once it has
    tokenized. The labels get `[eos, label_pad]` and the attention mask `[1, 0]` after each
    sequence; what is left of a row is filled with `pad_token_id`, `label_pad_id` and 0.

    Args:
        sequences: n sequences of tokens: a list of lists of int, of tuples, or of 1-D NumPy arrays
            of integers; a 2-D NumPy array of integers; or an Arrow list, large list or fixed-size
            list of integers (any object with the PyCapsule interface).
        max_length: tokens a row has, at least 1.
        pad_token_id: fills the input ids up.
        eos_token_id: ends a sequence.
        label_pad_id: fills the labels up.
        output: "lists", "numpy" (int64, C-contiguous, rows x max_length), "torch" (int64, over a
            NumPy array) or "arrow" (`pyarrow.FixedSizeListArray` of int64).

    Returns:
        "input_ids", "labels" and "attention_mask", each with the same number of rows of
        `max_length`. Lists hold the very objects of `sequences`; nothing else is shared.

    Raises:
        TypeError: a sequence is not one of integers, `max_length` not an int; for an array output,
            an element not an integer.
        RuntimeError: a sequence changed while it was read (by another thread, or by code that
            reading the sequences runs).
        ValueError: a sequence and its two end tokens do not fit in `max_length`; `max_length`
            below 1; an unknown `output`; an Arrow array that holds nulls.
        OverflowError: `max_length` over `sys.maxsize`; for an array output, an element over 64
            bits; for "arrow", rows of 2**31 tokens or more.
        MemoryError: the result does not fit in memory.
        ImportError: NumPy, torch or pyarrow is asked for and not installed.
    """
    output = _arguments.output(output)
    max_length = _arguments.size("max_length", max_length, 1)
    rows = token_rows("sequences", sequences)
    if output != "lists":
        return _packed_arrays(
            rows, max_length, pad_token_id, eos_token_id, label_pad_id, output=output
        )
    _check_memory("sequences", rows, max_length, 2)
    end_ids, end_labels = [eos_token_id, pad_token_id], [eos_token_id, label_pad_id]
    packed: list[list[Any]] = []
    packed_labels: list[list[Any]] = []
    packed_mask: list[list[Any]] = []
    ids: list[Any] = []
    labels: list[Any] = []
    mask: list[int] = []
    try:
        for row in rows:
            needed = len(row) + 2
            if len(ids) + needed > max_length:
                if needed > max_length:
                    raise _too_long("sequences", rows, max_length, ends=2)
                rest = max_length - len(ids)
                if not len(ids) == len(labels) == len(mask) <= max_length:
                    raise changed()
                packed.append(ids + [pad_token_id] * rest)
                packed_labels.append(labels + [label_pad_id] * rest)
                packed_mask.append(mask + [0] * rest)
                ids, labels, mask = [], [], []
            ids += row
            ids += end_ids
            labels += row
            labels += end_labels
            mask += [1] * (needed - 1)
            mask.append(0)
        if ids:
            rest = max_length - len(ids)
            if not len(ids) == len(labels) == len(mask) <= max_length:
                raise changed()
            packed.append(ids + [pad_token_id] * rest)
            packed_labels.append(labels + [label_pad_id] * rest)
            packed_mask.append(mask + [0] * rest)
    except MemoryError:
        plan = _plan("sequences", rows, max_length, 2)
        raise _arguments.too_large(len(plan), max_length) from None
    return {"input_ids": packed, "labels": packed_labels, "attention_mask": packed_mask}


def concatenate_and_pack(
    input_ids: Any,
    labels: Any,
    attention_masks: Any,
    max_length: int,
    pad_token_id: int,
    label_pad_id: int = -100,
    *,
    output: str = "lists",
) -> dict[str, Any]:
    """Pack sequences that have their labels and attention masks into rows of `max_length` tokens.

    Greedy next-fit like `pack_sequences`, with nothing appended: what is left of a row is filled
    with `pad_token_id`, `label_pad_id` and 0. An empty sequence adds nothing and opens no row.

    Args:
        input_ids: n sequences of tokens, in any layout that `pack_sequences` takes.
        labels: n sequences, each as long as that of `input_ids`.
        attention_masks: n sequences, each as long as that of `input_ids`.
        max_length: tokens a row has, at least 1.
        pad_token_id: fills the input ids up.
        label_pad_id: fills the labels up.
        output: "lists", "numpy" (int64, C-contiguous, rows x max_length), "torch" (int64, over a
            NumPy array) or "arrow" (`pyarrow.FixedSizeListArray` of int64).

    Returns:
        "input_ids", "labels" and "attention_mask", each with the same number of rows of
        `max_length`. Lists hold the very objects of the columns; nothing else is shared.

    Raises:
        TypeError: a sequence is not one of integers, `max_length` not an int; for an array output,
            an element not an integer.
        RuntimeError: a sequence changed while it was read (by another thread, or by code that
            reading the sequences runs).
        ValueError: the columns differ in their number of sequences or in the length of one; a
            sequence does not fit in `max_length`; `max_length` below 1; an unknown `output`; an
            Arrow array that holds nulls.
        OverflowError: `max_length` over `sys.maxsize`; for an array output, an element over 64
            bits; for "arrow", rows of 2**31 tokens or more.
        MemoryError: the result does not fit in memory.
        ImportError: NumPy, torch or pyarrow is asked for and not installed.
    """
    output = _arguments.output(output)
    max_length = _arguments.size("max_length", max_length, 1)
    ids_rows = token_rows("input_ids", input_ids)
    labels_rows = token_rows("labels", labels)
    mask_rows = token_rows("attention_masks", attention_masks)
    _check_columns(ids_rows, labels_rows, "labels")
    _check_columns(ids_rows, mask_rows, "attention_masks")
    if output != "lists":
        return _concatenated_arrays(
            (ids_rows, labels_rows, mask_rows), max_length, pad_token_id, label_pad_id, output
        )
    _check_memory("input_ids", ids_rows, max_length, 0)
    packed: list[list[Any]] = []
    packed_labels: list[list[Any]] = []
    packed_mask: list[list[Any]] = []
    row_ids: list[Any] = []
    row_labels: list[Any] = []
    row_mask: list[Any] = []
    try:
        for ids, label, mask in zip(ids_rows, labels_rows, mask_rows, strict=True):
            if len(row_ids) + len(ids) > max_length:
                if len(ids) > max_length:
                    raise _too_long("input_ids", ids_rows, max_length, ends=0)
                rest = max_length - len(row_ids)
                if not len(row_ids) == len(row_labels) == len(row_mask) <= max_length:
                    raise changed()
                packed.append(row_ids + [pad_token_id] * rest)
                packed_labels.append(row_labels + [label_pad_id] * rest)
                packed_mask.append(row_mask + [0] * rest)
                row_ids, row_labels, row_mask = [], [], []
            row_ids += ids
            row_labels += label
            row_mask += mask
        if row_ids:
            rest = max_length - len(row_ids)
            if not len(row_ids) == len(row_labels) == len(row_mask) <= max_length:
                raise changed()
            packed.append(row_ids + [pad_token_id] * rest)
            packed_labels.append(row_labels + [label_pad_id] * rest)
            packed_mask.append(row_mask + [0] * rest)
    except MemoryError:
        plan = _plan("input_ids", ids_rows, max_length, 0)
        raise _arguments.too_large(len(plan), max_length) from None
    return {"input_ids": packed, "labels": packed_labels, "attention_mask": packed_mask}


def _check_columns(ids_rows: list[list[Any]], rows: list[list[Any]], name: str) -> None:
    if len(rows) != len(ids_rows):
        raise ValueError(f"{name} has {len(rows)} rows, input_ids has {len(ids_rows)}")
    if list(map(len, rows)) == list(map(len, ids_rows)):
        return
    for i, (ids, row) in enumerate(zip(ids_rows, rows, strict=True)):
        if len(row) != len(ids):
            raise ValueError(
                f"{name}[{i}] has length {len(row)}, input_ids[{i}] has length {len(ids)}"
            )
    raise changed()


def _too_long(name: str, rows: list[list[Any]], max_length: int, ends: int) -> Exception:
    for i, row in enumerate(rows):
        length = len(row)
        if length + ends > max_length:
            with_ends = f" ({length + ends} with its end tokens)" if ends else ""
            return ValueError(
                f"{name}[{i}] has length {length}{with_ends}, longer than max_length {max_length}"
            )
    return changed()


def _check_memory(name: str, rows: list[list[Any]], max_length: int, ends: int) -> None:
    # There are no more packed rows than sequences: the plan is only made where that is too many.
    if not _arguments.fits(len(rows), max_length):
        _arguments.check_memory(len(_plan(name, rows, max_length, ends)), max_length)


def _plan(
    name: str, rows: list[list[Any]], max_length: int, ends: int
) -> list[tuple[int, int, int]]:
    """Return (first sequence, end, tokens left) of every packed row."""
    plan = []
    first = used = 0
    for i, row in enumerate(rows):
        needed = len(row) + ends
        if used + needed > max_length:
            if needed > max_length:
                raise _too_long(name, rows, max_length, ends)
            plan.append((first, i, max_length - used))
            first, used = i, 0
        used += needed
    if used:
        plan.append((first, len(rows), max_length - used))
    return plan


def _targets(output: str, rows: int, width: int) -> dict[str, Target]:
    return {name: Target(output, rows, width) for name in _COLUMNS}


def _packed_arrays(
    rows: list[list[Any]],
    max_length: int,
    pad_token_id: int,
    eos_token_id: int,
    label_pad_id: int,
    *,
    output: str,
) -> dict[str, Any]:
    plan = _plan("sequences", rows, max_length, 2)
    targets = _targets(output, len(plan), max_length)
    ids, labels, mask = targets.values()
    pad = array("q", [int64("pad_token_id", pad_token_id)])
    eos = array("q", [int64("eos_token_id", eos_token_id)])
    label_pad = array("q", [int64("label_pad_id", label_pad_id)])
    one, zero = array("q", [1]), array("q", [0])
    for first, end, rest in plan:
        for i in range(first, end):
            tokens = int64s("sequences", i, row_at("sequences", rows, i))
            ids.write(tokens + eos + pad)
            labels.write(tokens + eos + label_pad)
            mask.write(one * (len(tokens) + 1) + zero)
        for target, fill in zip((ids, labels, mask), (pad, label_pad, zero), strict=True):
            target.write(fill * rest)
            target.end_row()
    return {name: target.finish() for name, target in targets.items()}


def _concatenated_arrays(
    columns: tuple[list[list[Any]], list[list[Any]], list[list[Any]]],
    max_length: int,
    pad_token_id: int,
    label_pad_id: int,
    output: str,
) -> dict[str, Any]:
    plan = _plan("input_ids", columns[0], max_length, 0)
    targets = _targets(output, len(plan), max_length)
    fills = (
        array("q", [int64("pad_token_id", pad_token_id)]),
        array("q", [int64("label_pad_id", label_pad_id)]),
        array("q", [0]),
    )
    names = ("input_ids", "labels", "attention_masks")
    for name, rows, target, fill in zip(names, columns, targets.values(), fills, strict=True):
        for first, end, rest in plan:
            for i in range(first, end):
                target.write(int64s(name, i, row_at(name, rows, i)))
            target.write(fill * rest)
            target.end_row()
    return {name: target.finish() for name, target in targets.items()}
