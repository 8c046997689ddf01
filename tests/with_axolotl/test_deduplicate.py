"""Exact deduplication against Axolotl's own: rows, hashes, fingerprints, errors."""

import datetime
import decimal
import gc
import importlib
import os
import random
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import datasets
import pyarrow as pa
import pytest
import seam_tools
from datasets import (
    Array2D,
    Array3D,
    ClassLabel,
    Dataset,
    Features,
    Image,
    LargeList,
    List,
    Translation,
    Value,
    concatenate_datasets,
)
from datasets_of import by_axolotl, tokenized
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from seam_tools import is_before

sys.path.insert(0, str(Path(__file__).parent.parent))
from test_row_text import arrays, texts

from fast_axolotl.axolotl.seams import deduplicate

(SEAM,) = deduplicate.SEAMS
importlib.import_module(SEAM.module)
original: Any = seam_tools.original_of(SEAM)
assert original.__globals__["__name__"] == SEAM.module
ours: Any = seam_tools.replacement_of(SEAM)

slow = settings(
    max_examples=120,
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=list(HealthCheck),
)


@pytest.fixture(autouse=True)
def own_fingerprints(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of small results, too."""
    monkeypatch.setattr(deduplicate, "OWN_FINGERPRINT_ROWS", 3)


def check(dataset: Any, seen: Any = None, *, taken: bool | None = True) -> None:
    """Both sides of one call; `taken` says whether it must be ours that answered."""
    wanted_seen, own_seen = (set(seen) if seen is not None else None for _ in range(2))
    wanted, wanted_error = seam_tools.outcome(original, dataset, wanted_seen)
    before = ours.taken
    found, error = seam_tools.outcome(ours, dataset, own_seen)
    assert error == wanted_error
    assert own_seen == wanted_seen
    if taken is not None:
        assert bool(ours.taken - before) == taken
    if wanted_error is not None:
        return
    assert found[1] == wanted[1]
    if own_seen is not None:
        assert found[1] is own_seen
    assert type(found[1]) is set
    same_dataset(found[0], wanted[0])


def same_dataset(found: Any, wanted: Any) -> None:
    assert type(found) is type(wanted)
    assert found._fingerprint == wanted._fingerprint
    assert found.features == wanted.features
    assert found.format == wanted.format
    assert len(found) == len(wanted)
    left, right = (each._indices for each in (found, wanted))
    assert (left is None) == (right is None)
    if left is not None:
        assert left.table == right.table
    # Not ==, for NaN.
    assert found._data.table.schema == wanted._data.table.schema
    assert str(found._data.table.to_pydict()) == str(wanted._data.table.to_pydict())


def of(**columns: Any) -> Dataset:
    return Dataset(pa.table(columns), fingerprint="f" * 16)


def test_the_installed_axolotl_is_known() -> None:
    seam_tools.check_known(SEAM)


# --- values --------------------------------------------------------------------------------------


@st.composite
def plain_datasets(draw: Any) -> Dataset:
    n = draw(st.integers(1, 6))
    names = draw(st.lists(texts, min_size=1, max_size=3, unique=True))
    table = pa.table([draw(arrays(n, 2)) for _ in names], names)
    try:
        dataset = Dataset(table, fingerprint="f" * 16)
    except Exception:  # not a type of `datasets`
        dataset = Dataset(pa.table({"a": list(range(n))}), fingerprint="f" * 16)
    for step in draw(
        st.lists(st.sampled_from(["twice", "shuffle", "select", "slice"]), max_size=3)
    ):
        if step == "twice":
            dataset = concatenate_datasets([dataset, dataset])
        elif step == "shuffle":
            dataset = dataset.shuffle(seed=draw(st.integers(0, 9)))
        elif step == "select":
            last = len(dataset) - 1
            picks = draw(st.lists(st.integers(0, last), min_size=1, max_size=12))
            dataset = dataset.select(picks)
        else:
            begin = draw(st.integers(0, len(dataset) - 1))
            dataset = dataset.select(range(begin, len(dataset)))
    return dataset


@given(plain_datasets(), st.booleans())
@slow
def test_rows_of_every_type(dataset: Dataset, with_seen: bool) -> None:
    check(dataset, {"not a hash"} if with_seen else None, taken=None)


@given(st.lists(st.sampled_from([None, *"ab'\"\\\n\0\u200b\U0001f600"]) | texts, min_size=1))
@slow
def test_texts(values: list[str | None]) -> None:
    dataset = of(text=pa.array(values, pa.string()))
    check(concatenate_datasets([dataset, dataset]))


@given(
    st.lists(st.lists(st.integers(-100, 3), max_size=5), min_size=1, max_size=30),
    st.integers(0, 20),
)
@slow
def test_tokens_and_a_set_of_hashes(rows: list[list[int]], known: int) -> None:
    dataset = of(input_ids=pa.array(rows, pa.list_(pa.int32())))
    _, seen = original(dataset.select(range(min(known, len(rows)))))
    check(dataset, seen)


FEATURES: dict[str, tuple[Any, list[Any], bool]] = {
    "class label": (ClassLabel(names=["a", "b"]), [0, 1, 0, None], True),
    "list": (List(Value("int32")), [[1], [], None, [1]], True),
    "fixed list": (List(Value("int8"), length=2), [[1, 2], [3, 4], [1, 2]], True),
    "large list": (LargeList(Value("float32")), [[0.1], [], None, [0.1]], True),
    "struct": ({"a": Value("string"), "b": Value("int8")}, [{"a": "x", "b": 1}] * 2, True),
    "list of structs": (List({"role": Value("string")}), [[{"role": "it's"}], [], None], True),
    "array": (
        Array2D((2, 2), "int32"),
        [[[1, 2], [3, 4]], [[1, 2], [3, 4]], [[0, 0], [0, 0]]],
        True,
    ),
    "array of floats": (Array2D((1, 2), "float32"), [[[0.1, 1e20]], [[0.1, 1e20]]], True),
    "array with a null": (Array2D((1, 2), "int32"), [[[1, 2]], None, [[1, 2]], None], True),
    "array of any height": (Array2D((None, 2), "int64"), [[[1, 2]], [], [[1, 2], [3, 4]]], True),
    "array of bool": (Array2D((1, 2), "bool"), [[[True, False]], [[True, True]]], True),
    "array of three": (Array3D((1, 2, 1), "float64"), [[[[0.5], [1.5]]], [[[0.5], [1.5]]]], True),
    "array of text": (Array2D((1, 2), "string"), [[["a", "b"]], [["a", "b"]]], False),
    "translation": (Translation(["de", "fr"]), [{"de": "x", "fr": "y"}] * 2, True),
    "half": (Value("float16"), [0.5, 0.1, None, 0.1], True),
    "date": (Value("date32"), [datetime.date(2020, 2, 29), None], True),
    "time": (Value("time64[us]"), [datetime.time(1, 2, 3, 4), datetime.time(1)], True),
    "timestamp": (Value("timestamp[us]"), [datetime.datetime(2020, 1, 2, 3, 4, 5, 6)] * 2, True),
    "seconds": (Value("timestamp[s, tz=UTC]"), [datetime.datetime(2020, 1, 2)] * 2, True),
    "zone": (Value("timestamp[s, tz=+02:00]"), [datetime.datetime(2020, 1, 2)] * 2, True),
    "summer": (Value("timestamp[s, tz=Europe/Paris]"), [datetime.datetime(2020, 7, 2)] * 2, False),
    "nanoseconds": (Value("timestamp[ns]"), [datetime.datetime(2020, 1, 2)] * 2, True),
    "duration": (Value("duration[ns]"), [datetime.timedelta(1, 2, 3), None], True),
    "decimal": (Value("decimal128(20, 9)"), [decimal.Decimal("1.20"), None], True),
    "binary": (Value("large_binary"), [b"'\x00\xff", b"", None], True),
    "text view": (Value("string_view"), ["a longer text that is not inline", None], True),
    "image": (Image(), [None, None], False),
    "image undecoded": (Image(decode=False), [{"bytes": b"x", "path": None}] * 2, True),
}
if not is_before("datasets", 4, 8):
    from datasets import Json

    FEATURES["json"] = (Json(), [{"a": 1}, [1, None]], False)


@pytest.mark.parametrize("name", FEATURES)
def test_features(name: str) -> None:
    feature, values, taken = FEATURES[name]
    dataset = Dataset.from_dict({"x": values}, features=Features({"x": feature}))
    check(dataset, taken=taken)
    both = concatenate_datasets([dataset, dataset])
    check(both, taken=taken)
    check(both.shuffle(seed=1), taken=taken)
    check(both.select(range(1, len(both))), taken=taken)


def test_arrays_inside_of_others_are_left_to_axolotl() -> None:
    features = Features({"x": List(Array2D((1, 1), "int8"))})
    check(Dataset.from_dict({"x": [[[[1]]], [[[1]]]]}, features=features), taken=False)


# --- formats -------------------------------------------------------------------------------------

FORMATS = ["numpy", "torch", "arrow", "pandas", "polars", "python", None]


@pytest.mark.parametrize("kind", FORMATS)
@pytest.mark.parametrize("columns", [None, ["b"], ["c", "a"], []])
@pytest.mark.parametrize("others", [False, True])
def test_formats(kind: str | None, columns: list[str] | None, others: bool) -> None:
    dataset = Dataset.from_dict(
        {"a": [1, 2, 1, 1], "b": ["x", "y", "x", "z"], "c": [[1.5], [], [1.5], [1.5]]}
    )
    if kind in ("arrow", "pandas", "polars") and others:
        others = False
    dataset.set_format(kind, columns=columns, output_all_columns=others)
    ours_takes = kind in ("python", None) and (columns != [] or others)
    check(dataset, taken=ours_takes)


def test_a_transform_is_axolotls_to_call() -> None:
    dataset = Dataset.from_dict({"a": [1, 2, 1]})
    dataset.set_transform(lambda batch: {"a": [value % 1 for value in batch["a"]]})
    check(dataset, taken=False)


def test_lazy_rows_are_left_to_axolotl() -> None:
    dataset = Dataset.from_dict({"a": [1, 2, 1]})
    check(dataset.with_format("python", lazy=True), taken=False)


# --- datasets ------------------------------------------------------------------------------------


@pytest.mark.parametrize("n", [0, 1, 2, 1001, 5000])
@pytest.mark.parametrize("kinds", [1, 7, 4000, 10**9])
def test_sizes(n: int, kinds: int) -> None:
    rows = [[i * 7919 % kinds, i % 3] if i % 3 else [i * 7919 % kinds] for i in range(n)]
    dataset = Dataset.from_dict({"input_ids": rows, "labels": [i % 2 for i in range(n)]})
    check(dataset, taken=n > 0)
    if n:
        check(dataset.shuffle(seed=3))
        check(dataset.sort("labels").select(range(n // 2, n)), taken=n > n // 2)


def test_the_fingerprint_of_many_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    draw = random.Random(1)
    values = [draw.randrange(60_000) for _ in range(80_000)]
    dataset = Dataset.from_dict({"a": values})
    found, wanted = ours(dataset)[0], original(dataset)[0]
    assert len(wanted) > deduplicate.OWN_FINGERPRINT_ROWS
    assert found._fingerprint == wanted._fingerprint
    assert found["a"][:] == wanted["a"][:]
    assert deduplicate._is_known_fingerprint()


@pytest.mark.parametrize("enabled", [True, False])
def test_caching(enabled: bool) -> None:
    (datasets.enable_caching if enabled else datasets.disable_caching)()
    try:
        check(Dataset.from_dict({"a": [1, 2, 1, 3, 1, 4, 1, 5]}))
    finally:
        datasets.enable_caching()


def test_another_way_of_select_to_name_its_result(monkeypatch: pytest.MonkeyPatch) -> None:
    from datasets import fingerprint

    update = fingerprint.update_fingerprint
    monkeypatch.setattr(fingerprint, "update_fingerprint", lambda *given: update(*given)[::-1])
    assert not deduplicate._is_known_fingerprint()
    check(Dataset.from_dict({"a": [1, 2, 1, 3, 1, 4]}))


def test_files(tmp_path: Path) -> None:
    Dataset.from_dict({"a": ["x", "y", "x"], "b": [[1], [2], [1]]}).save_to_disk(tmp_path)
    loaded = datasets.load_from_disk(str(tmp_path))
    check(loaded)
    check(concatenate_datasets([loaded, loaded.to_iterable_dataset and loaded]))


def test_a_subclass_runs_its_own_code() -> None:
    class Own(Dataset):
        def __iter__(self) -> Iterator[Any]:
            yield from ({"a": 1}, {"a": 1})

    table = pa.table({"a": [5, 6, 5]})
    check(Own(table, fingerprint="f" * 16), taken=False)


def test_the_class_that_axolotl_wraps_around_rows() -> None:
    dataset = by_axolotl(tokenized([i % 7 for i in range(40)]))
    assert type(dataset) is not Dataset
    check(dataset)
    check(dataset.filter(lambda row: len(row["input_ids"]) > 2))


def test_rows_that_somebody_changed(monkeypatch: pytest.MonkeyPatch) -> None:
    from datasets.formatting.formatting import PythonFormatter

    format_row = PythonFormatter.format_row
    monkeypatch.setattr(
        PythonFormatter, "format_row", lambda self, table: {**format_row(self, table), "z": 1}
    )
    check(Dataset.from_dict({"a": [1, 2, 1]}))


def test_a_hash_that_somebody_changed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(original.__globals__, "sha256", lambda text: text[:7])
    check(Dataset.from_dict({"a": [1, 2, 1]}))


def test_both_data_sets_of_a_run() -> None:
    deduplicate_and_log = original.__globals__["deduplicate_and_log_datasets"]
    train = Dataset.from_dict({"a": [1, 2, 1, 3, 5], "b": list("abacd")})
    test = Dataset.from_dict({"a": [2, 9, 9, 4], "b": list("bzzq")})
    wanted = deduplicate_and_log(train, test)
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(original.__globals__, "_deduplicate_dataset", ours)
        found = deduplicate_and_log(train, test)
    for left, right in zip(found, wanted, strict=True):
        same_dataset(left, right)
    assert found[1]["a"][:] == [9, 4]


# --- bad input -----------------------------------------------------------------------------------


def broken_text(at: int) -> Dataset:
    raw = [b"%d" % (i % 5) for i in range(300)]
    raw[at] = b"\xff\xfe"
    return of(text=pa.array(raw, pa.binary()).view(pa.string()))


@pytest.mark.parametrize("at", [0, 1, 150, 299])
def test_bytes_that_are_no_text(at: int) -> None:
    check(broken_text(at), {"x"})
    check(broken_text(at).shuffle(seed=1), {"x"})


@pytest.mark.parametrize(
    ("values", "kind"),
    [
        ([0, 1, 10**7, 0], pa.date32()),
        ([0, 86_400, 1], pa.time32("s")),
        ([0, 2**62], pa.timestamp("s")),
        ([0, -(2**63), 0], pa.timestamp("ns")),
        ([0, 1, 1], pa.time64("ns")),
    ],
)
def test_what_python_has_no_object_for(values: list[int], kind: Any) -> None:
    storage = pa.int32() if kind.bit_width == 32 else pa.int64()
    check(of(x=pa.array(values, storage).view(kind)), {"x"})


def test_arrays_that_have_another_shape() -> None:
    features = Features({"x": Array2D((2, 2), "int32")})
    dataset = Dataset.from_dict({"x": [[[1, 2], [3, 4]], [[1, 2], [3, 4]]]}, features=features)
    storage = pa.array(
        [[[1, 2], [3, 4]], [[1, 2, 3], [4]], [[1], [2]]], pa.list_(pa.list_(pa.int32()))
    )
    column = pa.ExtensionArray.from_storage(dataset.data.schema.field("x").type, storage)
    check(Dataset(pa.table({"x": column}), fingerprint="f" * 16), {"x"})


@pytest.mark.parametrize("seen", [[], frozenset(), {"a": 1}, "text", 5])
def test_what_is_no_set(seen: Any) -> None:
    dataset = Dataset.from_dict({"a": [1, 2, 1]})
    wanted = seam_tools.outcome(original, dataset, seen)
    found = seam_tools.outcome(ours, dataset, seen)
    assert str(found[1]) == str(wanted[1])


@pytest.mark.parametrize("arguments", [(), (1,), ("text",), ([{"a": 1}],), (1, 2, 3)])
def test_what_is_no_call(arguments: tuple[Any, ...]) -> None:
    assert seam_tools.outcome(ours, *arguments)[1] == seam_tools.outcome(original, *arguments)[1]


def test_keywords() -> None:
    dataset = Dataset.from_dict({"a": [1, 2, 1]})
    seen: set[str] = set()
    found = ours(seen_hashes=seen, dataset=dataset)
    assert found[1] is seen
    same_dataset(found[0], original(dataset)[0])


def test_an_index_forbids_select() -> None:
    dataset = Dataset.from_dict({"a": [1, 2, 1, 3]})
    dataset._indexes["a"] = object()
    check(dataset, {"x"})


def test_names_with_a_nul() -> None:
    with pytest.raises(datasets.table.CastError):
        of(**{"a\0b": [1, 1]})
    # `datasets` loses what is behind it, so that Arrow has nothing to lose.
    check(Dataset.from_dict({"a": [{"x\0y": 1}, {"x\0y": 1}]}))
    assert deduplicate._holds_nul(pa.list_(pa.struct([("x\0y", pa.int8())])))
    assert not deduplicate._holds_nul(pa.list_(pa.struct([("x", pa.map_(pa.int8(), pa.int8()))])))


# --- processes and memory ------------------------------------------------------------------------


def test_a_forked_child() -> None:
    dataset = Dataset.from_dict({"a": list(range(2000)) * 2})
    wanted = ours(dataset)[0]._fingerprint
    child = os.fork()
    if child == 0:
        os._exit(0 if ours(dataset)[0]._fingerprint == wanted else 1)
    assert os.waitpid(child, 0)[1] == 0


def test_nothing_is_left_behind() -> None:
    dataset = Dataset.from_dict({"a": [str(i % 10) for i in range(20_000)]})
    ours(dataset)
    gc.collect()
    before = pa.total_allocated_bytes()
    for _ in range(5):
        ours(dataset)
    gc.collect()
    assert pa.total_allocated_bytes() <= before


def test_the_workload_is_a_call_of_ours() -> None:
    args, kwargs = deduplicate.workload("axolotl", "axolotl", 40, 12)
    assert all(condition.holds(args, kwargs) for condition in deduplicate.CONDITIONS)
    described = deduplicate.describe(args, kwargs)
    assert described.sizes.rows == 40
    assert 40 * 12 <= described.sizes.elements <= 40 * 14
    check(args[0])
    seen = {"x"}
    with deduplicate._apart((args[0], seen), {}) as ((dataset, copied), _):
        assert dataset is args[0]
        assert copied == seen
        assert copied is not seen
