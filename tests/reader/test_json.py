"""JSON and JSON Lines: the rows and types of `datasets`, for random documents."""

import contextlib
import datetime
import gzip
import json
import lzma
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import datasets
import pyarrow as pa
import pytest
import zstandard
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import fast_axolotl
from fast_axolotl.streaming import DamagedFileError, ReaderError, SchemaError

from .by_builder import Apart, before_error

pytestmark = pytest.mark.skipif(
    not fast_axolotl.RUST_AVAILABLE, reason="the reader needs the extension"
)
HERE = [HealthCheck.function_scoped_fixture, HealthCheck.too_slow]

# Of one kind of value each; a column is drawn from one or two of them.
INTS = st.one_of(st.integers(-5, 5), st.sampled_from([2**53 + 1, 2**63 - 1, -(2**63), 2**31]))
FLOATS = st.sampled_from([0.5, -2.25, 1e10, 3.0, 1.5e-7, 123456.789])
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
    return list(datasets.Dataset(table.replace_schema_metadata(None), info))


def types(table: pa.Table) -> str:
    return types_of(datasets.Features.from_arrow_schema(table.schema))


def types_of(features: datasets.Features) -> str:
    return repr(by_name(features) if is_without_order(features) else features)


def is_without_order(features: datasets.Features) -> bool:
    """`datasets` gives several such columns to rows that lack them in the order of a set."""
    return repr(features).count("Json(") > 1


def by_name(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: by_name(value[name]) for name in sorted(value)}
    if isinstance(value, datasets.List):
        return datasets.List(by_name(value.feature))
    if isinstance(value, list):
        return [by_name(item) for item in value]
    return value


def is_same(table: pa.Table, rows: list[dict[str, Any]]) -> bool:
    found = plain(table)
    if is_without_order(datasets.Features.from_arrow_schema(table.schema)):
        return repr(by_name(found)) == repr(by_name(rows))
    return repr(found) == repr(rows)


def is_truth(found: Any, wanted: Any, *, as_text: bool = True) -> bool:
    """Whether a value is what the text says, in its column's type; that may be text."""
    if isinstance(wanted, dict) and isinstance(found, dict):
        rest = {name: value for name, value in found.items() if name not in wanted}
        return all(value is None for value in rest.values()) and all(
            is_truth(found.get(name), value, as_text=as_text) for name, value in wanted.items()
        )
    if isinstance(wanted, list) and isinstance(found, list):
        pairs = zip(found, wanted, strict=False)
        return len(wanted) == len(found) and all(
            is_truth(one, other, as_text=as_text) for one, other in pairs
        )
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
    if isinstance(wanted, int) and isinstance(found, float):
        return float(wanted) == found  # in a column of floats, as `datasets` has it
    if as_text and isinstance(found, str) and isinstance(wanted, (int, float, dict)):
        with contextlib.suppress(ValueError):
            return bool(json.loads(found) == wanted)  # a later row, in a column of text
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


def is_all(found: list[Any], content: str, *, as_text: bool = True) -> bool:
    """Whether rows are all that the text has."""
    there = truth(content)
    if there and not any(there):
        return not any(found)  # an Arrow table without columns has no rows
    if there is None or len(found) != len(there):
        return False
    rows = [{} if row is None else row for row in there]  # of a row that is null, all is null
    pairs = zip(found, rows, strict=True)
    return all(is_truth(one, other, as_text=as_text) for one, other in pairs)


def read(path: Path, **options: Any) -> pa.Table:
    reader = fast_axolotl.open_dataset(path, batch_size=2, **options)
    batches = list(reader)
    for batch in batches:
        batch.validate(full=True)
    return pa.Table.from_batches(batches, reader.schema)


APART = Apart()


@pytest.fixture(scope="module", autouse=True)
def apart() -> Iterator[None]:
    yield
    APART.close()


def check(folder: Path, content: str, **options: Any) -> None:
    """Both readers give the same table; where `datasets` fails, we fail or give what is there."""
    path = written(folder, content)
    try:
        expected = APART.theirs_json(path, **options)
        rows = plain(expected)
    except Exception:
        expected = None
    for infer in ("first", "full"):
        try:
            found = read(path, infer=infer, **options)
        except ReaderError as error:
            if infer == "first" and isinstance(error, SchemaError) and 'infer="full"' in str(error):
                continue
            # Where `datasets` gives what is not in the file, an error is right.
            if path.name not in str(error) or (expected is not None and is_all(rows, content)):
                raise AssertionError(f"{error}; expected {expected}") from error
            continue
        if expected is None or (infer == "full" and "chunksize" in options):
            if expected is None or not is_same(found, rows):
                assert truth(content) is None or is_all(plain(found), content), plain(found)
            continue
        assert types(found) == types(expected)
        if not is_same(found, rows):
            # It encodes JSON in nested objects twice; then what the file says is right.
            ours = plain(found)
            assert is_all(ours, content), (ours, rows)
            is_exact = is_all(ours, content, as_text=False)
            assert is_exact or not is_all(rows, content), (ours, rows)


SETTINGS = settings(max_examples=60, suppress_health_check=HERE)


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


@pytest.mark.parametrize(
    "content",
    [
        ' [{"a": {}, "b": 10000000000.0}, {"a": {}, "b": -1e3}]',
        ' [{"a": {}, "b": 1.0}, {"a": {}, "b": 0.5}]',
        '{"a": [], "u": "\\ud83d\\ude00 \\ud800"}\n{"a": [{}]}\n{"a": [0.5]}\n',
        '{"b": 1}\n{"b": -9223372036854775809}\n{"b": 1e300}\n',
        '{"a":0.5,"b":{}, "a": 1, "a": 2}\n',
        '[{"a": {"b": 1, "c": 2}}, {"a": "x", "a": {"b": 1, "c": 0, "b": 1.5}}]',
        '{"a":0.5, "n": 1}\n{"a":0.5,"c":0.5,"b":{}}\n',
        '{"a":0.5}\n{"d": "x", "c":[0.5],"b":1}\n{"b": "x"}\n',
        '{}\n{"a": 0.5, "c": [{}]}\n',
        '{"a": {"x": 1}}\n{"a": {"y": {}, "x": 2}}\n{"a": {"y": "s"}}\n',
        '{"a": 0, "c": {"b": 0.5, "c": {}}, "n": NaN}\n{"a": 0, "c": null, "n": NaN}\n',
        '{"a":{}}\n ',
        '{"a":{}}\r\n ',
        '{"a":{}}\r ',
        '{"a":{}}\r{"a":{}}\n',
        '{"a":{}}\n \n',
    ],
)
def test_found_before(tmp_path: Path, content: str) -> None:
    check(tmp_path, content)


@settings(max_examples=40, suppress_health_check=HERE)
@given(content=st.one_of(lines(), odd_lines()), size=st.sampled_from([1, 20, 60]))
def test_types_of_the_head(tmp_path: Path, content: str, size: int) -> None:
    """Types come from the first bytes; what comes later fits, or is an error that says so."""
    check(tmp_path, content, chunksize=size)


@settings(max_examples=60, suppress_health_check=HERE)
@given(content=st.one_of(lines(), arrays(), sequences()))
def test_blocks_threads_and_compressions(tmp_path: Path, content: str) -> None:
    try:
        expected = read(written(tmp_path, content))
    except ReaderError:
        return
    data = content.encode()
    half = len(data) // 2
    for name, stored in (
        ("x.json", data),
        ("x.json.gz", gzip.compress(data[:half]) + gzip.compress(data[half:])),
        ("x.json.zst", zstandard.compress(data[:half]) + zstandard.compress(data[half:])),
    ):
        path = written(tmp_path, stored, name)
        for threads in (1, 4):
            for batch_size in (1, 1000):
                reader = fast_axolotl.open_dataset(
                    path, num_threads=threads, batch_size=batch_size, infer="full"
                )
                found = reader.read_all()
                assert found.schema == expected.schema
                assert repr(found.to_pylist()) == repr(expected.to_pylist())
                assert reader.to_pydict().keys() == expected.to_pydict().keys()


@settings(max_examples=25, suppress_health_check=HERE)
@given(content=st.one_of(lines(), arrays()))
def test_load_dataset_itself(tmp_path: Path, content: str) -> None:
    """The builder, driven as above, is what `load_dataset` does."""
    path = written(tmp_path, content)
    try:
        expected = datasets.load_dataset(
            "json", data_files=str(path), cache_dir=str(tmp_path), download_mode="force_redownload"
        )["train"]
    except Exception:
        check(tmp_path, content)
        return
    found = read(path)
    assert types(found) == types_of(expected.features)
    assert is_same(found, list(expected))


@pytest.mark.parametrize(
    ("first", "later"),
    [
        ('"x"', "1"),
        ('"x"', "1.5"),
        ('"x"', "true"),
        ('"x"', '{"k": 1}'),
        ("1", '"2"'),
        ("1", "true"),
        ("1", "2.0"),
        ("1.5", '"2.5"'),
        ("true", "0"),
        ('{"k": "x", "l": 2}', '{"k": 1}'),
        ('[{"k": "x", "l": 2}]', '[{"l": 1}, {"k": "y"}]'),
        ('["x"]', "[1]"),
    ],
)
@pytest.mark.parametrize("infer", ["first", "chunk", "full"])
def test_later_rows_are_cast_to_the_first_types(
    tmp_path: Path, first: str, later: str, infer: str
) -> None:
    """In another file, and behind the rows that types are found in."""
    row, other = (f'{{"a": {value}}}\n' for value in (first, later))
    files = [str(written(tmp_path, row, "0.jsonl")), str(written(tmp_path, other, "1.jsonl"))]
    expected = datasets.load_dataset("json", data_files=files, cache_dir=str(tmp_path / "cache"))
    reader = fast_axolotl.open_dataset(files, infer=infer)
    assert types_of(expected["train"].features) == types(reader.read_all())
    assert plain(reader.read_all()) == list(expected["train"])
    assert read(written(tmp_path, row + other), chunksize=1, infer=infer).to_pylist() == (
        reader.read_all().to_pylist()
    )


def test_in_an_array_no_row_is_cast(tmp_path: Path) -> None:
    """All of it is what types are found in, however long it is."""
    path = written(tmp_path, "[" + '{"a": "x"},' * 200_000 + '{"a": 1}]')
    with pytest.raises(SchemaError, match='infer="full"'):
        fast_axolotl.open_dataset(path, chunksize=1).read_all()
    found = fast_axolotl.open_dataset(path, infer="full").read_all()
    assert found["a"].slice(199_999).to_pylist() == ['"x"', "1"]


@pytest.mark.parametrize("later", ['{"a": "x"}', '{"a": 2.5}', '{"a": 1, "b": 1}', '{"a": [1]}'])
def test_types_for_what_can_not_be_cast(tmp_path: Path, later: str) -> None:
    files = [written(tmp_path, '{"a": 1}\n', "0.jsonl"), written(tmp_path, later, "1.jsonl")]
    with pytest.raises(SchemaError, match='infer="full"'):
        fast_axolotl.open_dataset(files).read_all()
    (_, row) = plain(fast_axolotl.open_dataset(files, infer="full").read_all())
    assert row == json.loads(later)


DATES = st.sampled_from(
    ["2024-01-02", "2024-01-02T03:04:05", "2024-01-02 03:04:05.5", "x", "", 5, 1.7e9, 1_700_000_000]
)


@st.composite
def fields(draw: st.DrawFn) -> str:
    """Objects with a field `data`: what pandas reads."""
    simple = st.one_of(st.integers(-3, 3), st.sampled_from([0.5, 2.0, -7.25]), st.text(max_size=3))
    kind = draw(st.sampled_from(["rows", "dated", "columns", "texts", "lists"]))
    size = draw(st.integers(1, 4))
    if kind in ("rows", "dated"):
        names = draw(st.lists(st.sampled_from(["a", "b", "c"]), min_size=1, unique=True))
        column = st.sampled_from([st.integers(-3, 3), st.sampled_from(["x", "7", ""])])
        made = {name: draw(column) for name in names}
        if kind == "dated":
            made[draw(st.sampled_from(["date", "made_at", "timestamp2", "Modified"]))] = DATES
        data: Any = draw(st.lists(st.fixed_dictionaries(made), min_size=size, max_size=size))
    elif kind == "columns":
        data = {name: draw(st.lists(simple, min_size=size, max_size=size)) for name in "ab"}
    elif kind == "texts":
        data = draw(st.lists(st.text(max_size=3), min_size=1, max_size=size))
    else:
        data = draw(st.lists(st.lists(st.integers(0, 5), min_size=2, max_size=2), min_size=1))
    return json.dumps({"info": {"data": 1}, "data": data, "x": "}"})


@settings(max_examples=60, suppress_health_check=HERE)
@given(content=fields())
def test_a_field(tmp_path: Path, content: str) -> None:
    """`datasets` reads a field through pandas, which makes dates and columns of it."""
    path = written(tmp_path, content)
    try:
        expected = APART.theirs_json(path, field="data")
    except Exception:
        with pytest.raises((ValueError, NotImplementedError)):
            read(path, field="data")
        return
    found = read(path, field="data")
    assert types(found) == types(expected)
    assert repr(found.to_pylist()) == repr(expected.to_pylist())


@pytest.mark.parametrize(
    "rows",
    [
        # What a row lacks is no null to pandas.
        *('[{"a": null}, {}]', '[{"b": 1}, {"a": null, "b": 2}]', '[{"a": null}, {"a": null}]'),
        # Names that can all be numbers or dates become such.
        *('[{"01": 1}]', '[{" 7": 1, "1_0": 2}]', '[{"2024-01": 1, "2024-02": 2}]', '[{"": 1}]'),
        *('[{"1700000000": 1}]', '[{"Jan 2024": 1}]', '[{"0": 1}]', '[{"0": 1, "1": 2}]'),
        *('[{"2": 1, "10": 2}]', '[{"01": 1, "a": 2}]', '[{"": 1, "a1": 2}]', '[{"x1": 1}]'),
    ],
)
def test_columns_of_a_field(tmp_path: Path, rows: str) -> None:
    path = written(tmp_path, f'{{"d": {rows}}}')
    expected = APART.theirs_json(path, field="d")
    found = read(path, field="d")
    assert types(found) == types(expected)
    assert found.to_pylist() == expected.to_pylist()


@pytest.mark.parametrize(
    "content", ['{"a": {}}\n', '{"a": {"x": 1}}\n{"a": {"y": 1}}\n', '{"a": [{}, {"x": 1}]}\n']
)
def test_types_that_are_not_to_be_mixed(tmp_path: Path, content: str) -> None:
    path = written(tmp_path, content)
    expected = APART.theirs_json(path, on_mixed_types=None)
    found = read(path, on_mixed_types=None)
    assert types(found) == types(expected)
    assert found.to_pylist() == expected.to_pylist()


def test_mixed_types_that_are_not_to_be_mixed(tmp_path: Path) -> None:
    path = written(tmp_path, '{"a": 1}\n{"a": "x"}\n')
    with pytest.raises(ReaderError, match="changed from number to string"):
        read(path, on_mixed_types=None)


def test_columns_that_a_later_file_lacks_by_the_builder(tmp_path: Path) -> None:
    paths = [tmp_path / "a.jsonl", tmp_path / "b.jsonl"]
    for path, line in zip(paths, ['{"a": 1, "b": "x"}', '{"b": "y"}'], strict=True):
        path.write_text(line)
    found = fast_axolotl.open_dataset(paths, on_mixed_types=None).read_all()
    assert found.to_pylist() == [{"a": 1, "b": "x"}, {"a": None, "b": "y"}]


@settings(max_examples=100, suppress_health_check=HERE)
@given(data=st.data())
def test_a_damaged_field(tmp_path: Path, data: st.DataObject) -> None:
    """What is wrong anywhere in the file is an error, though the rows before it are sound."""
    before = '{"i": {"d": [1, -2.5e1, true]}, '
    text = before + '"d": [{"a": 1}, {"a": 2}], "x": "\\u00e9\\n}", "y": [null]}'
    at = data.draw(st.integers(0, len(text) - 1))
    other = data.draw(st.sampled_from(["", " ", "x", '"', "}", "]", ",", "{", "1", "\\", ":"]))
    content = text[:at] + other + text[at + data.draw(st.integers(0, 1)) :]
    path = written(tmp_path, content)
    try:
        expected = APART.theirs_json(path, field="d")
    except Exception:
        with pytest.raises((ValueError, NotImplementedError)):
            read(path, field="d")
        return
    try:
        found = read(path, field="d")
    except (ReaderError, NotImplementedError):
        assert truth(content) is None  # ujson takes more than JSON is
        return
    assert found.to_pylist() == expected.to_pylist()


@pytest.mark.parametrize(
    "around",
    [
        '{"d":[{"a":1}]}\n{"d":[{"a":2}]}\n',
        '{"d":[{"a":1}],"x":',
        '{"d":[{"a":1}]} x',
        '{"d":[{"a":1}],"x":"\\q"}',
        b'{"d":[{"a":1}],"x":"caf\xe9"}',
        '{"d":[{"a":1}],"d":[{"a":2}]}',
    ],
)
def test_damage_behind_a_field(tmp_path: Path, around: "str | bytes") -> None:
    seen, error = before_error(written(tmp_path, around), field="d")
    assert [row for batch in seen for row in batch.to_pylist()] == [{"a": 1}]
    assert isinstance(error, DamagedFileError)
    assert error.byte is not None


@pytest.mark.parametrize(
    "value",
    ["1e300", "1e19", "9.5e18", "18446744073709551615", "9223372036854775808", "2.0", "-1e18"],
)
@pytest.mark.parametrize("infer", ["first", "full"])
def test_big_numbers_in_a_field(tmp_path: Path, value: str, infer: str) -> None:
    path = written(tmp_path, f'{{"d": [{{"a": {value}}}, {{"a": 1}}]}}')
    expected = APART.theirs_json(path, field="d")
    found = read(path, field="d", infer=infer)
    assert types(found) == types(expected)
    assert repr(found.to_pylist()) == repr(expected.to_pylist())


@pytest.mark.parametrize(
    ("content", "kind"),
    [
        ('{"a": 1.0}\n{"a": 1e2}', "uint64"),
        ('{"a": true}\n{"a": false}', "uint64"),
        ('{"a": "7"}', "uint64"),
        ('{"a": "2024-01-02T03:04:05"}', "date64"),
        ('{"a": -1}\n{"a": 100000000000}', "date64"),
        ('{"a": -1}\n{"a": 5}\n{"a": null}', "timestamp[us]"),
        ('{"a": "2024-01-02T03:04:05"}\n{"a": null}', "timestamp[us]"),
        ('{"a": 5}', "timestamp[s]"),
        ('{"a": 5}', "timestamp[ms, tz=UTC]"),
        ('{"a": 5}', "duration[s]"),
    ],
)
def test_values_of_other_types(tmp_path: Path, content: str, kind: str) -> None:
    features = datasets.Features({"a": datasets.Value(kind)})
    path = written(tmp_path, content)
    expected = APART.theirs_json(path, features=features)
    assert plain(read(path, features=features)) == plain(expected)


@pytest.mark.parametrize("value", ['"123"', "1.5", "true"])
def test_no_timestamp(tmp_path: Path, value: str) -> None:
    features = datasets.Features({"a": datasets.Value("timestamp[us]")})
    with pytest.raises(SchemaError):
        read(written(tmp_path, f'{{"a": {value}}}'), features=features)


def test_no_time_of_a_day(tmp_path: Path) -> None:
    features = datasets.Features({"a": datasets.Value("time64[us]")})
    with pytest.raises(SchemaError, match="-1 is no time of a day"):
        read(written(tmp_path, '{"a": -1}'), features=features)


def test_labels(tmp_path: Path) -> None:
    label = datasets.ClassLabel(names=["x", "y", "1"])
    features = datasets.Features({"a": label, "b": datasets.List(label)})
    path = written(tmp_path, '{"a": "x", "b": ["y"]}\n{"a": "1", "b": []}\n')
    expected = APART.theirs_json(path, features=features)
    found = read(path, features=features)
    assert types(found) == types(expected)
    assert found.to_pylist() == expected.to_pylist()
    with pytest.raises(SchemaError, match="label z"):
        read(written(tmp_path, '{"a": "z", "b": []}'), features=features)


def test_json_values_that_no_float_holds(tmp_path: Path) -> None:
    features = datasets.Features({"a": datasets.Json()})
    path = written(tmp_path, '{"a": 1e400}\n{"a": [1, -1e400]}\n{"a": "x"}')
    assert plain(read(path, features=features)) == plain(APART.theirs_json(path, features=features))


@pytest.mark.parametrize("place", ["[%s, null]", '{"x": %s}', '[{"x": [%s]}]'])
@pytest.mark.parametrize(
    ("value", "kind"),
    [
        *(("9223372036854775808", "uint64"), ("7.0", "uint64"), ("true", "uint64")),
        *(("5", "timestamp[us]"), ('"2024-01-02T03:04:05"', "timestamp[us]")),
        *(("5", "duration[s]"), ("86400000", "date64"), ('"2024-01-02"', "date64")),
    ],
)
def test_given_types_in_lists_and_structs(
    tmp_path: Path, place: str, value: str, kind: str
) -> None:
    path = written(tmp_path, f'{{"a": {place % value}}}\n{{"a": null}}\n')
    feature: Any = datasets.Value(kind)
    if "x" in place:
        feature = {"x": datasets.List(feature) if "[%s]" in place else feature}
    features = datasets.Features({"a": [feature] if place[0] == "[" else feature})
    found = read(path, features=features).to_pylist()
    assert found == APART.theirs_json(path, features=features).to_pylist()


def test_durations_that_are_all_missing(tmp_path: Path) -> None:
    path = written(tmp_path, '{"a": null, "b": {"x": null}}\n{}\n')
    duration = datasets.Value("duration[s]")
    features = datasets.Features({"a": duration, "b": {"x": duration}, "c": [duration]})
    found = read(path, features=features).to_pylist()
    assert found == APART.theirs_json(path, features=features).to_pylist()


def test_utf_16_without_a_mark(tmp_path: Path) -> None:
    path = written(tmp_path, '{"a": 1}\n'.encode("utf-16-le"))
    expected = APART.theirs_json(path, encoding="utf-16")
    assert read(path, encoding="utf-16").to_pylist() == expected.to_pylist()


def test_a_field_of_columns_in_xz(tmp_path: Path) -> None:
    path = tmp_path / "a.json.xz"
    path.write_bytes(lzma.compress(b'{"data": {"a": [1, 2]}}'))
    assert read(path, field="data").to_pylist() == [{"a": 1}, {"a": 2}]


def test_a_field_of_columns_in_gzip(tmp_path: Path) -> None:
    path = tmp_path / "a.json.gz"
    path.write_bytes(gzip.compress(b'{"data": {"a": [1, 2], "date": ["2024-01-02", null]}}'))
    found = read(path, field="data", columns=["date"])
    assert found.to_pylist() == [{"date": datetime.datetime(2024, 1, 2)}, {"date": None}]
    given_types = pa.schema({"a": pa.string(), "date": pa.timestamp("s")})
    assert read(path, field="data", schema=given_types).schema == given_types


@settings(max_examples=40, suppress_health_check=HERE)
@given(content=arrays(), blank=st.sampled_from([" ", "\n", "\r\n\t"]))
def test_an_array_behind_blanks(tmp_path: Path, content: str, blank: str) -> None:
    check(tmp_path, blank + content)


def test_dates_of_an_array_behind_blanks(tmp_path: Path) -> None:
    for value in ("2024-01-02", "no date", 1_700_000_000):
        content = f"\n{json.dumps([{'a': 1, 'made_at': value}, {'a': 2, 'made_at': None}])}"
        check(tmp_path, content)


def test_damage_names_its_place(tmp_path: Path) -> None:
    path = written(tmp_path, '{"a": 1}\n{"a": 2}\n{"a": }\n', "x.jsonl")
    with pytest.raises(DamagedFileError) as caught:
        read(path)
    assert (caught.value.row, caught.value.line, caught.value.byte) == (2, 3, 24)
