"""Inputs of a given size for the public functions, in every layout: what calibration times."""

import random
from functools import cache, lru_cache
from typing import Any

from fast_axolotl.dispatch.registry import Arguments, Keywords

_VOCABULARY = 32_000  # ints above 256 are objects of their own, as they are after tokenizing
_EOS, _PAD = 2, 0


@cache
def _tokens() -> list[int]:
    draw = random.Random(1)
    vocabulary = list(range(_VOCABULARY))
    return draw.choices(vocabulary, k=1 << 16)


@cache
def _text() -> str:
    draw = random.Random(2)
    words = ["".join(draw.choices("etaoinshrdlu", k=draw.randint(2, 9))) for _ in range(4000)]
    return " ".join(draw.choices(words, k=40_000))


def lengths(rows: int, length: int) -> list[int]:
    """Return row lengths with the mean `length`, between a half and one and a half of it."""
    draw = random.Random(rows * 1_000_003 + length)
    spread = length // 2
    if not spread:
        return [length] * rows
    low = length - spread
    return [low + int(draw.random() * (2 * spread + 1)) for _ in range(rows)]


@lru_cache(maxsize=64)
def token_rows(layout: str, rows: int, length: int) -> Any:
    """Return `rows` rows of about `length` tokens in a layout."""
    pool = _tokens()
    sizes = [length] * rows if layout == "array" else lengths(rows, length)
    found = []
    position = 0
    for size in sizes:
        if position + size > len(pool):
            position = (position * 7 + 13) % 251
        row = pool[position : position + size]
        while len(row) < size:  # longer than the pool
            row += pool[: size - len(row)]
        found.append(row)
        position += size
    if layout == "lists":
        return found
    if layout == "arrow":
        import pyarrow

        return pyarrow.array(found, pyarrow.list_(pyarrow.int64()))
    import numpy

    if layout == "arrays":
        return [numpy.array(row, numpy.int64) for row in found]
    return numpy.array(found, numpy.int64).reshape(rows, length)


@lru_cache(maxsize=64)
def text_rows(layout: str, rows: int, length: int) -> Any:
    """Return `rows` rows of about `length` characters in a layout."""
    text = _text()
    found: list[Any] = []
    position = 0
    for size in lengths(rows, length):
        if position + size > len(text):
            position = (position * 7 + 13) % 241
        row = text[position : position + size]
        while len(row) < size:
            row += text[: size - len(row)]
        found.append(row)
        position += size
    if layout == "arrow":
        import pyarrow

        return pyarrow.array(found, pyarrow.string())
    return found if layout == "str" else [row.encode() for row in found]


def _keywords(output: str) -> Keywords:
    return {} if output == "lists" else {"output": output}


def pad_sequences(layout: str, output: str, rows: int, length: int) -> tuple[Arguments, Keywords]:
    """Return the arguments of a call of `pad_sequences`."""
    return (token_rows(layout, rows, length),), _keywords(output)


def pack_sequences(layout: str, output: str, rows: int, length: int) -> tuple[Arguments, Keywords]:
    """Return the arguments of a call of `pack_sequences`."""
    limit = max(512, 2 * length + 2)
    return (token_rows(layout, rows, length), limit, _PAD, _EOS), _keywords(output)


def concatenate_and_pack(
    layout: str, output: str, rows: int, length: int
) -> tuple[Arguments, Keywords]:
    """Return the arguments of a call of `concatenate_and_pack`."""
    limit = max(512, 2 * length + 2)
    ids = token_rows(layout, rows, length)
    if layout == "lists":
        columns: tuple[Any, ...] = (
            ids,
            [list(row) for row in ids],
            [[1] * len(row) for row in ids],
        )
    else:
        columns = (ids, ids, ids)
    return (*columns, limit, _PAD), _keywords(output)


def create_padding_mask(
    layout: str, output: str, rows: int, length: int
) -> tuple[Arguments, Keywords]:
    """Return the arguments of a call of `create_padding_mask`."""
    del layout, output
    return (length, length + rows * length), {}


def hash_rows(layout: str, output: str, rows: int, length: int) -> tuple[Arguments, Keywords]:
    """Return the arguments of a call of `parallel_hash_rows` or `deduplicate_indices`."""
    del output
    return (text_rows(layout, rows, length),), {}
