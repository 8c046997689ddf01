"""JSON and JSON Lines: the rows and types of `datasets`, for random documents."""

import contextlib
import datetime
import json
import math
from pathlib import Path
from typing import Any

import datasets
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import fast_axolotl
from fast_axolotl.streaming import ReaderError, SchemaError

from .by_builder import theirs_json

pytestmark = pytest.mark.skipif(
    not fast_axolotl.RUST_AVAILABLE, reason="the reader needs the extension"
)
HERE = [HealthCheck.function_scoped_fixture, HealthCheck.too_slow]

# Of one kind of value each; a column is drawn from one or two of them.
INTS = st.one_of(st.integers(-5, 5), st.sampled_from([2**53 + 1, 2**63 - 1, -(2**63), 2**31]))
FLOATS = st.sampled_from([0.5, -2.25, 1e10, 3.0, -0.0, 1.5e-7, 123456.789])
BIG = st.sampled_from([2**63, 2**64 - 1, 2**64, -(2**63) - 1, 10**30])
TEXTS = st.one_of(
    st.text(st.characters(codec="utf-8"), max_size=5),
    st.sampled_from(["", "null", "1", "-", "true", "[1]", "a\u2028b", "\x7f", "é\t\n", "😀"]),
)
TIMES = st.sampled_from(
    [
        *("2024-01-02", "2024-01-02T03:04:05", "2024-01-02 03:04:05Z", "1969-12-31T23:59:59"),
        *("2024-01-02T03:04:05+01:00", "2024-01-02T03:04:05.5", "2024-13-01", "0001-01-01"),
    ]
)
SCALARS = [INTS, FLOATS, st.booleans(), TEXTS, TIMES, st.just(None)]
KEYS = st.sampled_from(["a", "b", "c", "d", "text", "", "é", "a.b"])


def lists(items: st.SearchStrategy[Any]) -> st.SearchStrategy[list[Any]]:
    # pyarrow reads a list that begins with null past its end (apache/arrow#51305).
    return st.lists(items, max_size=3).filter(lambda found: not found or found[0] is not None)


def kinds() -> st.SearchStrategy[st.SearchStrategy[Any]]:
    scalars = st.sampled_from(SCALARS)
    return st.recursive(
        scalars,
        lambda inner: st.one_of(
            inner.map(lists),
            st.dictionaries(KEYS, inner, max_size=3).map(
                lambda fields: st.fixed_dictionaries(fields)
            ),
            st.dictionaries(KEYS, inner, max_size=3).map(
                lambda fields: st.fixed_dictionaries({}, optional=fields)
            ),
        ),
        max_leaves=4,
    )


@st.composite
def columns(draw: st.DrawFn) -> Any:
    kind = draw(kinds())
    others = draw(st.integers(0, 9))
    if others == 0:
        return st.one_of(kind, draw(kinds()))
    if others == 1:
        return st.one_of(INTS, FLOATS)
    return st.one_of(kind, st.none()) if others < 5 else kind


@st.composite
def rows(draw: st.DrawFn) -> list[dict[str, Any]]:
    """Return rows whose columns mostly have something in common."""
    fields = draw(st.dictionaries(KEYS, columns(), min_size=1, max_size=4))
    required = {name: kind for name, kind in fields.items() if draw(st.integers(0, 3))}
    late = {name: kind for name, kind in fields.items() if name not in required}
    return draw(st.lists(st.fixed_dictionaries(required, optional=late), min_size=1, max_size=6))


def dumped(value: Any, draw: st.DrawFn) -> str:
    text = json.dumps(
        value,
        ensure_ascii=draw(st.booleans()),
        separators=draw(st.sampled_from([(",", ":"), (", ", ": "), (" , ", " : ")])),
    )
    return text.replace("/", "\\/") if draw(st.integers(0, 9)) == 0 else text


@st.composite
def lines(draw: st.DrawFn) -> str:
    found = [dumped(row, draw) for row in draw(rows())]
    end = draw(st.sampled_from(["\n", "\n", "\r\n"]))
    if draw(st.integers(0, 5)) == 0:
        found.insert(draw(st.integers(0, len(found))), draw(st.sampled_from(["", " ", "\t"])))
    if draw(st.integers(0, 9)) == 0:
        found.insert(draw(st.integers(0, len(found))), "{}")
    mark = "\ufeff" if draw(st.integers(0, 9)) == 0 else ""
    return mark + end.join(found) + draw(st.sampled_from(["", end]))


@st.composite
def arrays(draw: st.DrawFn) -> str:
    found = draw(rows())
    if draw(st.booleans()):
        return json.dumps(found, indent=draw(st.sampled_from([None, 0, 2])))
    joined = ",\n".join(dumped(row, draw) for row in found)
    return f"[{joined}]" + draw(st.sampled_from(["", "\n", " \r\n"]))


@st.composite
def sequences(draw: st.DrawFn) -> str:
    """Objects that span lines."""
    return "\n".join(json.dumps(row, indent=draw(st.integers(0, 2))) for row in draw(rows()))


@st.composite
def odd_lines(draw: st.DrawFn) -> str:
    """Lines with what `json.dumps` does not write."""
    found = []
    for row in draw(rows()):
        text = dumped(row, draw)
        odd = draw(st.integers(0, 12))
        if odd == 0:
            text = text[:-1] + (", " if row else "") + '"n": NaN, "i": -Infinity}'
        elif odd == 1:
            text = text[:-1] + (", " if row else "") + '"a": 1, "a": 2}'
        elif odd == 2:
            text = text[:-1] + (", " if row else "") + f'"h": {draw(BIG)}}}'
        elif odd == 3:
            text = text[:-1] + (", " if row else "") + '"u": "\\ud83d\\ude00 \\ud800"}'
        elif odd == 4:
            text = text[:-1] + (", " if row else "") + '"e": 1e5, "f": -0, "g": 1.0E+2}'
        elif odd == 5:
            text = text[: draw(st.integers(0, len(text)))]
        elif odd == 6:
            text = draw(st.sampled_from(["null", "[1]", "1", '"x"', "{", "}", "{'a': 1}"]))
        found.append(text)
    return "\n".join(found) + "\n"


def written(folder: Path, content: "bytes | str", name: str = "x.json") -> Path:
    path = folder / name
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


def plain(table: pa.Table) -> list[dict[str, Any]]:
    """Return the rows, JSON text parsed, as the features decode them."""
    features = datasets.Features.from_arrow_schema(table.schema)
    info = datasets.DatasetInfo(features=features)
    return datasets.Dataset(table.replace_schema_metadata(None), info).to_list()  # type: ignore[no-any-return]


def types(table: pa.Table) -> str:
    return repr(datasets.Features.from_arrow_schema(table.schema))


def is_truth(found: Any, wanted: Any) -> bool:
    """Whether a value is what the text says, in the type that its column has."""
    if isinstance(wanted, dict) and isinstance(found, dict):
        rest = {name: value for name, value in found.items() if name not in wanted}
        return all(value is None for value in rest.values()) and all(
            is_truth(found.get(name), value) for name, value in wanted.items()
        )
    if isinstance(wanted, list) and isinstance(found, list):
        return len(wanted) == len(found) and all(map(is_truth, found, wanted))
    if isinstance(wanted, str) and isinstance(found, datetime.datetime):
        there = datetime.datetime.fromisoformat(wanted.replace("Z", "+00:00"))
        if there.tzinfo is not None:
            there = there.astimezone(datetime.timezone.utc).replace(tzinfo=None)
        return there == found
    if isinstance(wanted, float) and not math.isfinite(wanted):
        return found is None or repr(found) == repr(wanted)
    if isinstance(wanted, str) and wanted != found:
        # In a column of JSON, text that is JSON stands for that JSON.
        with contextlib.suppress(ValueError):
            return bool(json.loads(wanted) == found)
    return bool(found == wanted)


def truth(content: str) -> "list[Any] | None":
    """Return the rows as Python's parser has them; None where they are not JSON to it."""
    text = content.removeprefix("\ufeff")
    with contextlib.suppress(ValueError):
        found = json.loads(text)
        return found if isinstance(found, list) else [found]
    with contextlib.suppress(ValueError):
        return [json.loads(line) for line in text.split("\n") if line.strip()]
    return None


def read(path: Path, **options: Any) -> pa.Table:
    reader = fast_axolotl.open_dataset(path, batch_size=2, **options)
    batches = list(reader)
    for batch in batches:
        batch.validate(full=True)
    return pa.Table.from_batches(batches, reader.schema)


def check(folder: Path, content: str, **options: Any) -> None:
    """Both readers give the same table; where `datasets` fails, we fail or give what is there."""
    path = written(folder, content)
    try:
        expected = theirs_json(path, **options)
        rows = plain(expected)
    except Exception:
        expected = None
    for infer in ("first", "full"):
        try:
            found = read(path, infer=infer, **options)
        except ReaderError as error:
            if infer == "first" and isinstance(error, SchemaError) and 'infer="full"' in str(error):
                continue
            if expected is not None or path.name not in str(error):
                raise AssertionError(f"{error}; expected {expected}") from error
            continue
        if expected is None or (infer == "full" and "chunksize" in options):
            there = truth(content)
            assert there is None or all(map(is_truth, plain(found), there)), (plain(found), there)
            continue
        assert types(found) == types(expected)
        assert repr(plain(found)) == repr(rows)


SETTINGS = settings(max_examples=300, suppress_health_check=HERE)


@SETTINGS
@given(content=lines())
def test_lines(tmp_path: Path, content: str) -> None:
    check(tmp_path, content)


@SETTINGS
@given(content=arrays())
def test_arrays(tmp_path: Path, content: str) -> None:
    check(tmp_path, content)


@SETTINGS
@given(content=sequences())
def test_objects_that_span_lines(tmp_path: Path, content: str) -> None:
    check(tmp_path, content)


@SETTINGS
@given(content=odd_lines())
def test_odd_lines(tmp_path: Path, content: str) -> None:
    check(tmp_path, content)
