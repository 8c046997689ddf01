"""Strategies that draw odd inputs on purpose, and every layout that an input can have.

A table is a list of rows of tokens. A layout turns a table into an argument: `layouts` gives all
that can hold it, as functions that make the argument anew each time (a capsule can be read once,
a generator too).
"""

import array
from collections import UserList, deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
from hypothesis import strategies as st

Table = list[list[Any]]


class Int(int):
    """A subclass of int, which must come back as it is."""


class List(list[Any]):
    """A subclass of list."""


class Liar(list[Any]):
    """A list whose methods say something else than the memory they stand for."""

    def __len__(self) -> int:
        return 1

    def __iter__(self) -> Iterator[Any]:
        return iter((7, 8, 9))

    def __getitem__(self, index: Any) -> Any:
        raise AssertionError("nobody asks for elements one by one")


class Few(Sequence[Any]):
    """A sequence that is nothing else."""

    def __init__(self, tokens: Sequence[Any]) -> None:
        self._tokens = tokens

    def __len__(self) -> int:
        return len(self._tokens)

    def __getitem__(self, index: Any) -> Any:
        return self._tokens[index]


class Index:
    """Not an int, but as good as one."""

    def __init__(self, value: int) -> None:
        self._value = value

    def __index__(self) -> int:
        return self._value


class Angry:
    """Raises an error of its own when asked for its value."""

    def __index__(self) -> int:
        raise ZeroDivisionError("asked for its value")


class AngryType(Angry):
    """Raises the very error that stands for "not an integer"."""

    def __index__(self) -> int:
        raise TypeError("has a value but does not give it")


INT64 = (0, 1, 2, -1, -5, -6, 255, 256, 257, 1000, 2**30 - 1, 2**30, 2**31, -(2**31) - 1, 2**32)
INT64_EDGES = (2**60 - 1, 2**60, -(2**60), 2**62, 2**63 - 1, -(2**63), -(2**63) + 1)
TOO_WIDE = (2**63, -(2**63) - 1, 2**64 - 1, 2**64, 2**70, -(2**90), 10**5000)
INTEGERS = (True, False, Int(7), Int(300), Int(-(2**63)), Index(5), np.int8(-3), np.uint16(40000))
NOT_INTEGERS = (None, 1.0, "1", b"1", [1], (1,), object(), np.float32(2), Int, 1 + 0j)
ANGRY = (Angry(), AngryType())

tokens = st.sampled_from(INT64 + INT64_EDGES)
# Mostly ordinary: one odd token is enough, and finding its place is part of the answer.
odd_tokens = st.one_of(
    tokens, st.sampled_from(INTEGERS), st.sampled_from(TOO_WIDE + NOT_INTEGERS + ANGRY + INTEGERS)
)


def _tables(elements: st.SearchStrategy[Any]) -> st.SearchStrategy[Table]:
    rows = st.lists(elements, max_size=9)
    return st.one_of(
        st.lists(rows, max_size=7),
        # Rows of one length: what a 2-D array or a fixed-size list can hold.
        st.integers(0, 6).flatmap(
            lambda width: st.lists(st.lists(elements, min_size=width, max_size=width), max_size=6)
        ),
        # Many rows, the same few again and again.
        st.builds(
            lambda table, times: table * times, st.lists(rows, max_size=4), st.integers(1, 40)
        ),
        # Long rows.
        st.builds(lambda row, times, other: [row * times, other], rows, st.integers(1, 60), rows),
    )


tables = _tables(tokens)
odd_tables = _tables(odd_tokens)


@dataclass(frozen=True)
class Layout:
    """One way to hand a table over."""

    name: str
    make: Callable[[], Any]
    shares: bool


def layouts(table: Table) -> list[Layout]:
    """Return every layout that can hold `table`."""
    found = [Layout(name, _bound(make, table), True) for name, make in _SHARING.items()]
    flat = [token for row in table for token in row]
    if all(type(token) is int for token in flat) and (
        all(-(2**63) <= token < 2**63 for token in flat)
        or all(0 <= token < 2**64 for token in flat)
    ):
        found += [Layout(name, _bound(make, table), False) for name, make in _arrays(table)]
        found += [Layout(name, _bound(make, table), False) for name, make in _arrow(table)]
    return found


def _bound(make: Callable[[Table], Any], table: Table) -> Callable[[], Any]:
    return lambda: make(table)


def _mixed(table: Table) -> list[Any]:
    kinds = (list, tuple, List, deque, Few)
    return [kinds[i % len(kinds)](row) for i, row in enumerate(table)]


_SHARING: dict[str, Callable[[Table], Any]] = {
    "lists": lambda table: list(map(list, table)),
    "one row many times": lambda table: [table[0] if table else []] * len(table),
    "tuple of lists": lambda table: tuple(map(list, table)),
    "list of tuples": lambda table: list(map(tuple, table)),
    "list subclasses": lambda table: List(map(List, table)),
    "a list that lies": lambda table: [*table, Liar([1] * 5)],
    "a list of rows that lies": lambda table: Lying(table),
    "sequences": lambda table: Few([Few(row) for row in table]),
    "deque of deques": lambda table: deque(map(deque, table)),
    "UserList": lambda table: UserList(map(UserList, table)),
    "mixed": _mixed,
}


class Lying(list[Any]):
    """A list of rows whose iterator gives one row more than it has."""

    def __iter__(self) -> Iterator[Any]:
        yield from super().__iter__()
        yield [4, 5]


def _smallest(table: Table) -> np.dtype[Any]:
    flat = [token for row in table for token in row]
    least, most = min(flat, default=0), max(flat, default=0)
    for name in ("u1", "i1", "u2", "i2", "u4", "i4", "u8", "i8"):
        limits = np.iinfo(name)
        if limits.min <= least and most <= limits.max:
            return np.dtype(name)
    return np.dtype("i8")


def _fits(table: Table, kind: str) -> bool:
    limits = np.iinfo(kind)
    return all(limits.min <= token <= limits.max for row in table for token in row)


def _spread(row: list[int], dtype: Any, step: int) -> Any:
    """A view with a stride over memory whose gaps hold something else."""
    memory = np.full(abs(step) * len(row) + 1, 99, dtype)
    view = memory[1::step] if step > 0 else memory[::step][: len(row)]
    view = view[: len(row)]
    view[...] = row
    return view


def _unaligned(row: list[int], dtype: Any) -> Any:
    memory = np.zeros(len(row) * np.dtype(dtype).itemsize + 1, "u1")
    view = memory[1:].view(dtype)
    view[...] = row
    return view


def _read_only(values: Any) -> Any:
    values.flags.writeable = False
    return values


def _arrays(table: Table) -> list[tuple[str, Callable[[Table], Any]]]:
    kind = _smallest(table)
    found: list[tuple[str, Callable[[Table], Any]]] = []

    def rows(name: str, make: Callable[[list[int]], Any]) -> None:
        found.append((f"{name} rows", lambda table: [make(row) for row in table]))

    def typed(name: str) -> None:
        rows(name, lambda row: np.array(row, name))

    for name in ("i1", "u1", "i2", "u2", "i4", "u4", "i8", "u8"):
        if _fits(table, name):
            typed(name)
    rows("strided", lambda row: _spread(row, kind, 3))
    rows("reversed", lambda row: _spread(row, kind, -1))
    rows("reversed and strided", lambda row: _spread(row, kind, -2))
    rows("read-only", lambda row: _read_only(np.array(row, kind)))
    rows("other byte order", lambda row: np.array(row, kind.newbyteorder("S")))
    rows("unaligned", lambda row: _unaligned(row, kind))
    rows("ndarray subclass", lambda row: np.array(row, kind).view(Ndarray))
    rows("masked", lambda row: np.ma.array(row, dtype=kind, mask=[i % 2 for i in range(len(row))]))
    if kind.itemsize == 8:
        rows("array.array", lambda row: array.array("q" if kind.kind == "i" else "Q", row))
    found.append(
        ("arrays and lists", lambda table: [np.array(r, kind) if r else [] for r in table])
    )
    if all(token in (0, 1) for row in table for token in row):
        rows("bool", lambda row: np.array(row, bool))
    if len(set(map(len, table))) <= 1:
        found += _matrices(table, kind)
    return found


class Ndarray(np.ndarray[Any, Any]):
    """A subclass of ndarray."""


def _matrices(table: Table, kind: Any) -> list[tuple[str, Callable[[Table], Any]]]:
    shape = (len(table), len(table[0]) if table else 0)

    def matrix(table: Table, dtype: Any = kind, order: Any = "C") -> Any:
        return np.array(table, dtype, order=order).reshape(shape)

    def spread(table: Table) -> Any:
        memory = np.full((2 * shape[0], 3 * shape[1]), 77, kind)
        view = memory[::-2, ::3]
        view[...] = matrix(table)
        return view

    return [
        ("2-D", matrix),
        ("2-D Fortran order", lambda table: np.asfortranarray(matrix(table))),
        ("2-D strided", spread),
        ("2-D read-only", lambda table: _read_only(matrix(table))),
        ("2-D other byte order", lambda table: matrix(table, kind.newbyteorder("S"))),
        ("2-D columns reversed", lambda table: np.array(matrix(table)[:, ::-1])[:, ::-1]),
    ]


def _arrow(table: Table) -> list[tuple[str, Callable[[Table], Any]]]:
    names = {"i": "int", "u": "uint"}
    kind = _smallest(table)
    value = getattr(pa, f"{names[kind.kind]}{8 * kind.itemsize}")()
    wide = pa.int64() if _fits(table, "i8") else pa.uint64()
    found: list[tuple[str, Callable[[Table], Any]]] = []
    for name, make in (("list", pa.list_), ("large list", pa.large_list)):
        found += [
            (f"Arrow {name}", _maker(make(value))),
            (f"Arrow {name} of 8 bytes", _maker(make(wide))),
            (f"Arrow {name}, sliced", _sliced(make(value))),
            (f"Arrow {name}, chunked", _chunked(make(value))),
        ]
    found.append(("Arrow by capsule alone", lambda table: Offer(pa.array(table, pa.list_(value)))))
    found.append(
        (
            "Arrow by stream alone",
            lambda table: StreamOffer(pa.chunked_array([table[:2], table[2:]], pa.list_(value))),
        )
    )
    found.append(("Arrow nulls in the child's slack", lambda table: _slack(table, value)))
    if len(set(map(len, table))) <= 1:
        fixed = pa.list_(value, len(table[0]) if table else 0)
        found += [
            ("Arrow fixed-size list", _maker(fixed)),
            ("Arrow fixed-size list, sliced", _sliced(fixed)),
            ("Arrow fixed-size list, chunked", _chunked(fixed)),
        ]
    for library in (_polars, _arro3):
        found += library(value)
    return found


def _maker(kind: Any) -> Callable[[Table], Any]:
    return lambda table: pa.array(table, kind)


def _sliced(kind: Any) -> Callable[[Table], Any]:
    """Between a null and rows that are not asked for."""

    def make(table: Table) -> Any:
        width = kind.list_size if pa.types.is_fixed_size_list(kind) else 2
        outside = [None, [1] * width]
        return pa.array([*outside, *table, *outside], kind).slice(2, len(table))

    return make


def _chunked(kind: Any) -> Callable[[Table], Any]:
    return lambda table: pa.chunked_array([table[:1], [], table[1:3], table[3:]], kind)


def _slack(table: Table, value: Any) -> Any:
    """Nulls among the values, none of which belongs to a row."""
    offsets, values = [1], [None]
    for row in table:
        values += row
        offsets.append(len(values))
    values += [None]
    return pa.ListArray.from_arrays(pa.array(offsets, pa.int32()), pa.array(values, value))


class Offer:
    """An Arrow array of no library: only the interface."""

    def __init__(self, held: Any) -> None:
        self._held = held

    def __arrow_c_array__(self, requested_schema: Any = None) -> Any:
        return self._held.__arrow_c_array__(requested_schema)


class StreamOffer:
    """An Arrow stream of no library."""

    def __init__(self, held: Any) -> None:
        self._held = held

    def __arrow_c_stream__(self, requested_schema: Any = None) -> Any:
        return self._held.__arrow_c_stream__(requested_schema)


def _polars(value: Any) -> list[tuple[str, Callable[[Table], Any]]]:
    try:
        import polars
    except ImportError:
        return []
    kind = {
        pa.uint8(): polars.UInt8,
        pa.int8(): polars.Int8,
        pa.uint16(): polars.UInt16,
        pa.int16(): polars.Int16,
        pa.uint32(): polars.UInt32,
        pa.int32(): polars.Int32,
        pa.uint64(): polars.UInt64,
        pa.int64(): polars.Int64,
    }[value]
    return [("polars", lambda table: polars.Series(table, dtype=polars.List(kind)))]


def _arro3(value: Any) -> list[tuple[str, Callable[[Table], Any]]]:
    try:
        import arro3.core
    except ImportError:
        return []
    kind = pa.list_(value)
    return [
        ("arro3", lambda table: arro3.core.Array.from_arrow(pa.array(table, kind))),
        (
            "arro3 chunked",
            lambda table: arro3.core.ChunkedArray.from_arrow(
                pa.chunked_array([table[:2], table[2:]], kind)
            ),
        ),
    ]


# --- sizes and other arguments

lengths = st.one_of(
    st.none(),
    st.integers(0, 30),
    st.sampled_from((True, Int(12), Index(11), np.int64(12), np.uint8(25))),
    st.sampled_from((-1, -(2**70), 2**40, 2**62, 2**63 - 1, 2**63, 2**70, 10**50)),
    st.sampled_from((1.0, "8", None, b"8", [8], Angry(), AngryType(), float("nan"), Int)),
)
multiples = st.one_of(st.none(), st.sampled_from((0, 1, 2, 7, 8, 64)), lengths)
sides = st.one_of(
    st.sampled_from(("right", "left")),
    st.sampled_from(("right", "left", "Right", "", "both", None, 1, b"left", np.str_("left"))),
)
flags = st.sampled_from((False, True, False, True, 0, 1, None, "", "yes", [], np.bool_(True)))
fills = st.one_of(
    st.sampled_from((0, -100, 1, 2, 256, 257, 2**40)),
    st.sampled_from(INT64_EDGES + INTEGERS),
    st.sampled_from(TOO_WIDE + NOT_INTEGERS + ANGRY),
)
bad_outputs = st.sampled_from((None, "", "Lists", "list", 3, b"lists", "tensorflow", ["lists"]))


# --- text


class Str(str):
    """A subclass of str whose methods are not its text."""

    def encode(self, *args: Any, **kwargs: Any) -> bytes:  # noqa: ARG002
        return b"not the text"

    def __str__(self) -> str:
        return "not the text"


class Bytes(bytes):
    """A subclass of bytes."""

    def __len__(self) -> int:
        return 0


_PLAIN = ("", "a", "b", "ab", "\0", "a\0b", "é", "ß" * 40, "中文", "😀", "\uffff", "\U0010ffff")
# Around the ends of a block of 64 bytes, where the padding needs another one.
_BLOCKS = tuple("x" * n for n in (54, 55, 56, 57, 63, 64, 65, 118, 119, 120, 127, 128, 129, 1000))
_WIDE_BLOCKS = tuple(c * n for c in ("é", "中", "😀") for n in (13, 14, 18, 21, 27, 28, 31, 32))
TEXTS = _PLAIN + _BLOCKS + _WIDE_BLOCKS
SURROGATES = ("\ud800", "a\udfff", "ok \ud800\udc00 no", "x" * 70 + "\udcff" * 3)
OTHER_TEXTS = (Str("a"), Str("é"), Str("\ud800"), b"", b"a", b"\xff\0", b"y" * 64, Bytes(b"zz"))
NOT_TEXTS = (None, 1, bytearray(b"a"), memoryview(b"a"), ["a"], ("a",), 1.5, str, np.bytes_, Int(1))

texts = st.one_of(st.sampled_from(TEXTS), st.text(max_size=80).filter(lambda s: _encodes(s)))
odd_texts = st.one_of(
    texts, texts, st.sampled_from(OTHER_TEXTS), st.sampled_from(SURROGATES + NOT_TEXTS)
)


def _encodes(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _columns(elements: st.SearchStrategy[Any]) -> st.SearchStrategy[list[Any]]:
    return st.one_of(
        st.lists(elements, max_size=12),
        st.builds(lambda rows, n: rows * n, st.lists(elements, max_size=9), st.integers(1, 120)),
    )


text_columns = _columns(texts)
bytes_columns = _columns(st.one_of(st.binary(max_size=150), st.sampled_from(TEXTS).map(str.encode)))
odd_columns = _columns(odd_texts)


def text_layouts(rows: list[Any]) -> list[Layout]:
    """Return every layout that can hold the texts `rows`."""
    found = [
        Layout("list", lambda: list(rows), False),
        Layout("tuple", lambda: tuple(rows), False),
        Layout("list subclass", lambda: List(rows), False),
        Layout("a list that lies", lambda: LyingTexts(rows), False),
        Layout("sequence", lambda: Few(rows), False),
        Layout("deque", lambda: deque(rows), False),
    ]
    kinds: list[Any] = []
    if all(type(row) is str and _encodes(row) for row in rows):
        kinds = [pa.string(), pa.large_string(), pa.string_view(), pa.binary(), pa.large_binary()]
        kinds += [pa.binary_view()]
    elif all(type(row) is bytes for row in rows):
        kinds = [pa.binary(), pa.large_binary(), pa.binary_view()]
    for kind in kinds:
        found += [
            Layout(f"Arrow {kind}", _arrow_text(rows, kind), False),
            Layout(f"Arrow {kind}, sliced", _sliced_text(rows, kind), False),
            Layout(f"Arrow {kind}, chunked", _chunked_text(rows, kind), False),
            Layout(f"Arrow {kind}, with a null", _null_text(rows, kind), False),
            Layout(f"Arrow {kind}, capsule", _offered_text(rows, kind), False),
        ]
    if kinds:
        found.append(Layout("Arrow dictionary", lambda: pa.array(rows).dictionary_encode(), False))
    return found


class LyingTexts(list[Any]):
    """A list whose iterator gives one text more than it has."""

    def __iter__(self) -> Iterator[Any]:
        yield from super().__iter__()
        yield "one more"


def _arrow_text(rows: list[Any], kind: Any) -> Callable[[], Any]:
    return lambda: pa.array(rows, kind)


def _sliced_text(rows: list[Any], kind: Any) -> Callable[[], Any]:
    return lambda: pa.array([None, "before", *rows, None], kind).slice(2, len(rows))


def _chunked_text(rows: list[Any], kind: Any) -> Callable[[], Any]:
    return lambda: pa.chunked_array([rows[:1], [], rows[1:5], rows[5:]], kind)


def _null_text(rows: list[Any], kind: Any) -> Callable[[], Any]:
    return lambda: pa.array([*rows, None], kind)


def _offered_text(rows: list[Any], kind: Any) -> Callable[[], Any]:
    return lambda: Offer(pa.array(rows, kind))


thread_counts = st.one_of(
    st.sampled_from((0, 1, 2, 3, 4)),
    st.sampled_from(
        (True, 64, 2**31, 2**63, 2**70, -1, -(2**70), None, "2", 1.0, Index(2), Int(2))
    ),
)


def existing_hashes(known: list[str]) -> st.SearchStrategy[Callable[[], Any]]:
    """Draw makers of an `existing_hashes` argument over the hashes `known`."""
    hashes = st.one_of(
        st.sampled_from(known or ["0" * 64]),
        st.sampled_from(("", "a", "A" * 64, "é", "\ud800", "0" * 64, Str("0" * 64))),
    )
    # Upper case is another text.
    hashes = st.one_of(hashes, hashes.map(str.upper))
    odd = st.sampled_from((None, 1, b"0" * 64, ("a",)))
    held = st.one_of(
        st.lists(hashes, max_size=8), st.lists(st.one_of(hashes, hashes, odd), max_size=6)
    )
    kinds = st.sampled_from((list, tuple, set, frozenset, dict.fromkeys, deque, iter, Few, List))
    return st.one_of(
        st.none().map(lambda _: lambda: None),
        st.builds(lambda kind, held: lambda: kind(held), kinds, held),
        st.sampled_from((5, "ab", b"ab", "", object(), Index(1))).map(lambda bad: lambda: bad),
    )
