"""The text of rows from Arrow, against `str(row)` of the rows that pyarrow makes."""

import datetime
import decimal
import hashlib
import io
import pickle
import threading
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fast_axolotl import _native

core: Any = _native.core
pytestmark = pytest.mark.skipif(core is None, reason="there is no extension")

INTEGERS = [pa.int8(), pa.int16(), pa.int32(), pa.int64()]
INTEGERS += [pa.uint8(), pa.uint16(), pa.uint32(), pa.uint64()]

# Quotes, escapes, what is not printable, every width of UTF-8.
ODD = "'\"\\\n\r\t\0\x1f\x7f\x85\xa0\xad\u0378\u200b\u2028\ue000\ufeff\U0001f600\U000e0001é日 a"
texts = st.one_of(
    st.text(st.sampled_from(ODD), max_size=60),
    st.text(max_size=40),
    st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=80),
)
# Arrow's C interface ends a name at its first NUL.
field_names = texts.map(lambda name: name.replace("\0", "'"))
binaries = st.one_of(st.binary(max_size=40), texts.map(str.encode))

Zones = dict[str, tuple[int, str]]
ZONES: Zones = {
    name: (offset, repr(pa.scalar(0, pa.timestamp("s", tz=name)).as_py().tzinfo))
    for name, offset in (("UTC", 0), ("+05:30", 19_800), ("-08:00", -28_800))
}


def integers(kind: pa.DataType) -> st.SearchStrategy[int]:
    bits = kind.bit_width
    signed = pa.types.is_signed_integer(kind)
    low, high = (-(1 << bits - 1), (1 << bits - 1) - 1) if signed else (0, (1 << bits) - 1)
    small = st.integers(max(low, -100), min(high, 128_000))
    return st.one_of(small, st.integers(low, high))


def pandas_is_there() -> bool:
    try:
        import pandas  # noqa: F401
    except ImportError:
        return False
    return True


DAY = 86_400
# 0001-01-02 to 9999-12-30, so that no timezone leads out of it.
SECONDS = (-719_161 * DAY, 2_932_895 * DAY)


def counts(unit: str, low: int, high: int) -> st.SearchStrategy[int]:
    scale = {"s": 1, "ms": 10**3, "us": 10**6, "ns": 10**9}[unit]
    low, high = (max(low * scale, -(2**63) + 1), min(high * scale, 2**63 - 1))
    days = st.integers(low, high).map(lambda value: max(low, value // (DAY * scale) * DAY * scale))
    return st.one_of(st.integers(low, high), days, st.integers(max(low, -scale), min(high, scale)))


def temporal_kinds() -> list[tuple[pa.DataType, Any]]:
    found: list[tuple[pa.DataType, Any]] = [
        (pa.date32(), st.integers(-719_162, 2_932_896)),
        (pa.date64(), st.integers(-719_162, 2_932_896).map(lambda days: days * DAY * 1000)),
        (pa.time32("s"), counts("s", 0, DAY - 1)),
        (pa.time32("ms"), counts("ms", 0, DAY - 1)),
        (pa.time64("us"), counts("us", 0, DAY - 1)),
        (pa.time64("ns"), counts("ns", 0, DAY - 1).map(lambda value: value // 1000 * 1000)),
    ]
    for unit in ("s", "ms", "us"):
        found += [(pa.timestamp(unit), counts(unit, *SECONDS))]
        found += [(pa.timestamp(unit, tz), counts(unit, *SECONDS)) for tz in ZONES]
        found += [(pa.duration(unit), counts(unit, -999_999_999 * DAY, 999_999_999 * DAY))]
    if pandas_is_there():
        found += [(pa.timestamp("ns"), st.integers(-(2**63) + 2**40, 2**63 - 2**40))]
        found += [(pa.timestamp("ns"), st.integers(-(10**10), 10**10))]
        found += [(pa.duration("ns"), st.integers(-(2**63) + 2**40, 2**63 - 2**40))]
        found += [(pa.duration("ns"), st.integers(-(10**6), 10**6).map(lambda n: n * 1000))]
    return found


TEMPORAL = temporal_kinds()
DECIMALS = [pa.decimal128(38, 9), pa.decimal128(5, -2), pa.decimal128(20, 0), pa.decimal256(70, 33)]

floats = st.floats() | st.sampled_from([1e16, 1e15, 1e-4, 1e-5, -0.0, 5e-324, 2.0**53])
bits = st.integers(0, 2**64 - 1)


def with_nulls(values: Any, n: int) -> st.SearchStrategy[list[Any]]:
    return st.lists(st.none() | values, min_size=n, max_size=n) | st.lists(
        values, min_size=n, max_size=n
    )


@st.composite
def leaves(draw: Any, n: int) -> pa.Array:
    kind = draw(st.sampled_from(["int", "float", "text", "bytes", "time", "decimal", "other"]))
    if kind == "int":
        of = draw(st.sampled_from(INTEGERS))
        return pa.array(draw(with_nulls(integers(of), n)), of)
    if kind == "float":
        width = draw(st.sampled_from([16, 32, 64]))
        of = {16: (pa.uint16(), pa.float16()), 32: (pa.uint32(), pa.float32())}.get(
            width, (pa.uint64(), pa.float64())
        )
        if width == 64 and draw(st.booleans()):
            return pa.array(draw(with_nulls(floats, n)), pa.float64())
        values = with_nulls(bits.map(lambda value: value >> (64 - width)), n)
        return pa.array(draw(values), of[0]).view(of[1])
    if kind == "text":
        of = draw(st.sampled_from([pa.string(), pa.large_string(), pa.string_view()]))
        return pa.array(draw(with_nulls(texts, n)), of)
    if kind == "bytes":
        if draw(st.booleans()):
            fixed = st.binary(min_size=3, max_size=3)
            return pa.array(draw(with_nulls(fixed, n)), pa.binary(3))
        of = draw(st.sampled_from([pa.binary(), pa.large_binary(), pa.binary_view()]))
        return pa.array(draw(with_nulls(binaries, n)), of)
    if kind == "time":
        of, values = draw(st.sampled_from(TEMPORAL))
        storage = pa.int32() if of.bit_width == 32 else pa.int64()
        return pa.array(draw(with_nulls(values, n)), storage).view(of)
    if kind == "decimal":
        of = draw(st.sampled_from(DECIMALS))
        digits = st.integers(-(10**of.precision) + 1, 10**of.precision - 1)
        digits |= st.integers(-99, 99).filter(lambda value: abs(value) < 10**of.precision)
        scaled = digits.map(lambda value: decimal.Decimal(value).scaleb(-of.scale, CONTEXT))
        return pa.array(draw(with_nulls(scaled, n)), of)
    if draw(st.booleans()):
        return pa.array(draw(with_nulls(st.booleans(), n)), pa.bool_())
    if draw(st.booleans()):
        return pa.nulls(n)
    values = pa.array(draw(st.lists(st.none() | texts, min_size=1, max_size=4)), pa.string())
    keys = draw(with_nulls(st.integers(0, len(values) - 1), n))
    return pa.DictionaryArray.from_arrays(pa.array(keys, draw(st.sampled_from(INTEGERS))), values)


CONTEXT = decimal.Context(prec=100)


@st.composite
def arrays(draw: Any, n: int, depth: int = 3) -> pa.Array:
    kind = draw(st.sampled_from(["leaf"] * 3 + ["list", "large", "fixed", "struct", "map"]))
    if kind == "leaf" or depth == 0:
        return draw(leaves(n))
    mask = pa.array(draw(st.lists(st.booleans(), min_size=n, max_size=n)), pa.bool_())
    if kind == "struct":
        names = draw(st.lists(field_names, max_size=3, unique=True))
        children = [draw(arrays(n, depth - 1)) for _ in names]
        if not names:
            return pa.array([None if null else {} for null in mask.to_pylist()], pa.struct([]))
        return pa.StructArray.from_arrays(children, names, mask=mask)
    if kind == "fixed":
        size = draw(st.integers(1, 3))
        return pa.FixedSizeListArray.from_arrays(draw(arrays(n * size, depth - 1)), size, mask=mask)
    lengths = draw(st.lists(st.integers(0, 4), min_size=n, max_size=n))
    offsets = [sum(lengths[:i]) for i in range(n + 1)]
    child = draw(arrays(offsets[-1], depth - 1))
    if kind == "map":
        keys = pa.array([f"k{i}'" for i in range(offsets[-1])], pa.string())
        return pa.MapArray.from_arrays(pa.array(offsets, pa.int32()), keys, child)
    if kind == "large":
        return pa.LargeListArray.from_arrays(pa.array(offsets, pa.int64()), child, mask=mask)
    return pa.ListArray.from_arrays(pa.array(offsets, pa.int32()), child, mask=mask)


@st.composite
def tables(draw: Any) -> pa.Table:
    n = draw(st.integers(1, 6))
    names = draw(st.lists(field_names, min_size=1, max_size=3, unique=True))
    columns = [draw(arrays(n)) for _ in names]
    if draw(st.booleans()):
        # A slice of longer columns, so that every buffer begins somewhere else.
        begin = draw(st.integers(0, n))
        return pa.table(columns, names).slice(begin)
    if draw(st.booleans()):
        cut = draw(st.integers(0, n))
        columns = [pa.chunked_array([c[:cut], c[cut:]], c.type) for c in columns]
    return pa.table(columns, names)


def expected(table: pa.Table) -> list[str]:
    return [
        str({name: table.column(name)[i].as_py() for name in table.column_names})
        for i in range(table.num_rows)
    ]


def written(table: pa.Table, **kwargs: Any) -> list[str | None]:
    columns = list(range(table.num_columns))
    assert core.row_text_unsupported(table.schema, columns, ZONES) is None
    found: list[str | None] = core.row_texts(table, columns, ZONES, **kwargs)
    return found


@given(tables())
def test_rows_of_every_type(table: pa.Table) -> None:
    assert written(table) == expected(table)


@given(st.data())
def test_leaves_of_every_type(data: Any) -> None:
    n = data.draw(st.integers(1, 5))
    table = pa.table({"a": data.draw(leaves(n))})
    assert written(table) == expected(table)


@given(tables(), st.data())
def test_rows_by_index(table: pa.Table, data: Any) -> None:
    last = table.num_rows - 1
    picks = data.draw(st.lists(st.integers(0, last), max_size=8)) if last >= 0 else []
    chunks = [pa.array(picks[:2], pa.uint64()), pa.array(picks[2:], pa.uint64())]
    indices = pa.table({"indices": pa.chunked_array(chunks)})
    texts = expected(table)
    assert written(table, indices=indices) == [texts[i] for i in picks]


def test_every_character() -> None:
    characters = [chr(i) for i in range(0x110000) if not 0xD800 <= i < 0xE000]
    rows = ["".join(characters[i : i + 64]) for i in range(0, len(characters), 64)]
    table = pa.table({"a": rows})
    assert written(table) == [str({"a": row}) for row in rows]
    table = pa.table({"a": characters[:70_000]})
    assert written(table) == [str({"a": character}) for character in characters[:70_000]]


def test_every_half_float() -> None:
    table = pa.table({"a": pa.array(range(65_536), pa.uint16()).view(pa.float16())})
    assert written(table) == expected(table)


def test_columns_in_another_order() -> None:
    table = pa.table({"a": [1, 2], "b": ["x", None], "c": [[], [3]]})
    found = core.row_texts(table, [2, 0], {})
    assert found == ["{'c': [], 'a': 1}", "{'c': [3], 'a': 2}"]
    assert core.row_texts(table, [], {}) == ["{}", "{}"]


@pytest.mark.parametrize(
    ("values", "storage", "kind"),
    [
        ([2_932_897, -719_163], pa.int32(), pa.date32()),
        ([2**62], pa.int64(), pa.timestamp("s")),
        ([2**62], pa.int64(), pa.duration("s")),
        ([-(2**63)], pa.int64(), pa.timestamp("ns")),
        ([DAY, -1], pa.int32(), pa.time32("s")),
    ],
)
def test_what_python_has_no_object_for(values: Any, storage: Any, kind: Any) -> None:
    table = pa.table({"a": pa.array([*values, None], storage).view(kind)})
    assert written(table) == [None] * len(values) + ["{'a': None}"]


def test_text_that_is_no_utf8() -> None:
    raw = pa.array([b"ok", b"\xff", b"\xed\xa0\x80", "é".encode()], pa.binary())
    table = pa.table({"a": raw.view(pa.string())})
    assert written(table) == ["{'a': 'ok'}", None, None, "{'a': 'é'}"]


def test_offsets_that_lead_nowhere() -> None:
    offsets = pa.py_buffer(b"".join(n.to_bytes(4, "little", signed=True) for n in (0, 2, 9, 4)))
    values = pa.array([1, 2, 3, 4], pa.int64())
    rows = pa.Array.from_buffers(pa.list_(pa.int64()), 3, [None, offsets], children=[values])
    assert core.row_texts(pa.table({"a": rows}), [0], {}) == ["{'a': [1, 2]}", None, None]


@pytest.mark.parametrize(
    ("kind", "reason"),
    [
        (pa.month_day_nano_interval(), "the type"),
        (pa.list_view(pa.int8()), "the type"),
        (pa.dense_union([pa.field("a", pa.int8())]), "the type"),
        (pa.run_end_encoded(pa.int32(), pa.int8()), "the type"),
        (pa.timestamp("s", "Europe/Paris"), "timezone"),
        (pa.list_(pa.timestamp("ns", "UTC")), "timezone"),
        (pa.struct([("a", pa.int8()), ("a", pa.int8())]), "one name"),
        (pa.uuid(), "extension"),
        (pa.list_(pa.uuid()), "extension"),
    ],
)
def test_types_that_are_left_to_python(kind: pa.DataType, reason: str) -> None:
    found = core.row_text_unsupported(pa.schema([("a", kind)]), [0], ZONES)
    assert reason in found
    assert "'a'" in found or '"a"' in found


def test_a_table_that_is_left_to_python() -> None:
    table = pa.table({"a": pa.array([None], pa.month_day_nano_interval())})
    with pytest.raises(TypeError, match='can\'t be written: column "a" has the type'):
        core.row_texts(table, [0], ZONES)


def test_what_is_no_table() -> None:
    with pytest.raises(ValueError, match="table must give valid Arrow data"):
        core.row_texts([1], [0], {})
    with pytest.raises(TypeError, match="indices are not"):
        core.row_texts(pa.table({"a": [1]}), [0], {}, pa.table({"i": ["x"]}))


# --- duplicates ----------------------------------------------------------------------------------


def duplicates(texts: list[str], seen: set[str]) -> list[int]:
    kept = []
    for row, text in enumerate(texts):
        digest = hashlib.sha256(text.encode()).hexdigest()
        if digest not in seen:
            seen.add(digest)
            kept.append(row)
    return kept


def never(row: int) -> str:
    raise AssertionError(f"row {row} was asked for")


@pytest.mark.parametrize("threads", [0, 1, 2])
@pytest.mark.parametrize("kinds", [1, 50, 3000, 10**6])
def test_the_first_of_each_kind_is_kept(threads: int, kinds: int) -> None:
    rows = [i * 7919 % kinds for i in range(5000)]
    table = pa.table({"a": [[row] * (row % 40) for row in rows], "b": [str(row) for row in rows]})
    texts = expected(table)
    known = {hashlib.sha256(texts[3].encode()).hexdigest(), "not a hash"}
    seen, wanted_seen = set(known), set(known)
    wanted = duplicates(texts, wanted_seen)
    kept = core.deduplicate_rows(table, [0, 1], {}, None, seen, texts[0], never, threads)
    assert list(kept) == wanted
    assert seen == wanted_seen
    follows = wanted == list(range(wanted[0], wanted[0] + len(wanted))) if wanted else False
    assert type(kept) is (range if follows else list)


def test_another_first_row_changes_nothing() -> None:
    seen: set[str] = set()
    table = pa.table({"a": [1, 2]})
    assert core.deduplicate_rows(table, [0], {}, None, seen, "{'a': 3}", never) is None
    assert seen == set()


def test_rows_that_python_is_asked_for() -> None:
    raw = [b"ok" if i % 3 else b"\xff%d" % (i % 9) for i in range(1000)]
    table = pa.table({"a": pa.array(raw, pa.binary()).view(pa.string())})
    asked = []

    def ask(row: int) -> str:
        asked.append(row)
        return f"hash of {raw[row]!r}"

    seen: set[str] = set()
    kept = core.deduplicate_rows(table, [0], {}, None, seen, "", ask)
    assert kept == [0, 1, 3, 6]
    assert asked == list(range(0, 1000, 3))
    assert len(seen) == 4


def test_an_error_of_python_comes_through() -> None:
    raw = [b"%d" % i for i in range(5000)]
    raw[3000] = b"\xff"
    table = pa.table({"a": pa.array(raw, pa.binary()).view(pa.string())})
    seen: set[str] = set()

    def ask(row: int) -> str:
        raise KeyError(row)

    with pytest.raises(KeyError, match="3000"):
        core.deduplicate_rows(table, [0], {}, None, seen, "{'a': '0'}", ask)
    assert len(seen) == 3000


def test_threads_at_once() -> None:
    characters = [chr(i) for i in range(0x20000) if not 0xD800 <= i < 0xE000]
    table = pa.table({"a": ["".join(characters[i : i + 9]) for i in range(0, 120_000, 9)]})
    wanted = duplicates(expected(table), set())
    found: list[Any] = []

    def work() -> None:
        first = str(table.slice(0, 1).to_pylist()[0])
        kept = core.deduplicate_rows(table, [0], {}, None, set(), first, never)
        found.append(list(kept))

    workers = [threading.Thread(target=work) for _ in range(8)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(60)
    assert found == [wanted] * 8


# --- pickles -------------------------------------------------------------------------------------


def plain_pickle(values: list[int]) -> bytes:
    file = io.BytesIO()
    pickle._Pickler(file, 4).dump(values)  # type: ignore[attr-defined]
    return file.getvalue()


@given(
    st.lists(st.integers(0, 300) | st.integers(0, 2**64 - 1), max_size=20),
    st.sampled_from([1, 2, 50, 77, 143, 1000, 1001, 3000]),
)
def test_pickles_of_indices(values: list[int], times: int) -> None:
    values = (values * times)[:60_000]
    assert core.pickle_indices(values) == plain_pickle(values)


@pytest.mark.parametrize("stop", [0, 1, 2, 1000, 1001, 40_000, 100_001])
def test_pickles_of_ranges(stop: int) -> None:
    for start in (0, 1, 70_000):
        values = range(start, start + stop)
        assert core.pickle_indices(values) == plain_pickle(list(values))


def test_dates_are_those_of_the_calendar() -> None:
    days = [datetime.date(year, 2, 28) for year in range(1, 10_000)]
    table = pa.table({"a": days, "b": [day + datetime.timedelta(1) for day in days]})
    assert written(table) == [str(row) for row in table.to_pylist()]
