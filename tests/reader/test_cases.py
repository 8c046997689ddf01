"""Files that readers disagree about: what `datasets` gives, or what is right where it is wrong."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import datasets
import pyarrow as pa
import pytest

import fast_axolotl

FOLDER = Path(__file__).parent / "cases"
CASES: dict[str, dict[str, Any]] = json.loads((FOLDER / "expected.json").read_text())["cases"]
BUILDERS = {"json": "json", "csv": "csv", "text": "text", "arrow": "arrow", "parquet": "parquet"}
# Where our error has no place to name: there is no file, or nothing in it.
FULL = "must succeed with infer='full'"

pytestmark = pytest.mark.skipif(
    not fast_axolotl.RUST_AVAILABLE, reason="the reader needs the extension"
)


# The test that runs: what it opens is a case that it is about.
running: list[pytest.Item] = []


@pytest.fixture(autouse=True)
def quiet(monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> None:
    monkeypatch.chdir(FOLDER)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    running[:] = [request.node]


def told(case: dict[str, Any]) -> None:
    """Have the case counted at the end of the run: passed, if all of its tests have."""
    name = next(name for name, other in CASES.items() if other is case)
    running[0].user_properties.append(("case", [name, len(CASES)]))


def options(case: dict[str, Any]) -> dict[str, Any]:
    found = dict(case["load_dataset_kwargs"])
    if "features" in found:
        found["features"] = eval(found["features"], vars(datasets).copy())
    return found


def opened(case: dict[str, Any], **more: Any) -> fast_axolotl.streaming.Reader:
    told(case)
    files = case["files"]
    kind = None if case["builder"] == "hf_dir" else BUILDERS[case["builder"]]
    if kind == "csv" and files[0].endswith(".tsv"):
        # The builder splits at commas whatever the name; asked for by name, so do we.
        kind = "csv"
    source = files if len(files) > 1 else files[0]
    return fast_axolotl.open_dataset(source, format=kind, batch_size=7, **options(case), **more)


def outcome(make: Callable[[], Any]) -> tuple[list[dict[str, Any]], Exception | None, Any]:
    """Rows, the error after them, features."""
    rows: list[dict[str, Any]] = []
    features = None
    try:
        reader = make()
        features = datasets.Features.from_arrow_schema(reader.schema)
        for batch in reader:
            table = pa.Table.from_batches([batch])
            rows.extend(datasets.Dataset(table, datasets.DatasetInfo(features=features)))
    except Exception as error:
        return rows, error, features
    return rows, None, features


def assert_rows(expected: dict[str, Any], rows: list[dict[str, Any]]) -> None:
    assert len(rows) == expected["num_rows"]
    if "last_row" in expected:
        shown = [repr(row) for row in rows]
        assert (
            "[" + ", ".join(shown[: expected["rows"].count("}, {") + 1]) + "]" == expected["rows"]
        )
        assert shown[-1] == expected["last_row"]
    else:
        assert repr(rows) == expected["rows"]


def names_a_place(error: Exception, case: dict[str, Any]) -> None:
    text = str(error)
    assert any(Path(file).name in text for file in case["files"]), text
    assert isinstance(error, RuntimeError)
    assert isinstance(error, (OSError, ValueError))


def parity(name: str, case: dict[str, Any], expected: dict[str, Any]) -> None:
    rows, error, features = outcome(lambda: opened(case))
    if "error" in expected:
        assert error is not None, rows[:5]
        names_a_place(error, case)
        good = case.get("streaming", {}).get("num_rows", 0)
        assert len(rows) >= good if name.startswith(("gz", "zst", "arrow")) else True
        return
    assert error is None, error
    assert_rows(expected, rows)
    assert repr(features) == expected["features"]


@pytest.mark.parametrize("name", [n for n, c in CASES.items() if c["policy"] == "parity"])
def test_parity(name: str) -> None:
    case = CASES[name]
    expected = case["expected"]
    if isinstance(expected.get("rows"), dict):
        told(case)
        for split, rows in expected["rows"].items():
            reader = fast_axolotl.open_dataset(case["files"][0], split=split, batch_size=7)
            dataset = reader.to_iterable_dataset()
            assert repr(list(dataset)) == rows
            assert repr(dataset.features) == expected["features"][split]
        return
    parity(name, case, expected)


def of_error(case: dict[str, Any]) -> None:
    """A late contradiction: an error that says so, or all rows with `infer="full"`."""
    rows, error, _ = outcome(lambda: opened(case))
    if error is not None:
        names_a_place(error, case)
        assert 'infer="full"' in str(error)
    full, error, _ = outcome(lambda: opened(case, infer="full"))
    assert error is None, error
    assert full
    assert len(full) >= len(rows)


SUPERSET = [n for n, c in CASES.items() if c["policy"] == "superset"]
ZERO = [n for n in SUPERSET if CASES[n]["ours"].startswith("zero rows")]
LATE = [n for n in SUPERSET if FULL in CASES[n]["ours"]]
PASSED_ON = [n for n in SUPERSET if "pass Arrow through" in CASES[n]["ours"]]
OTHERS = sorted({*SUPERSET} - {*ZERO, *LATE, *PASSED_ON})


@pytest.mark.parametrize("name", LATE)
def test_what_a_first_look_cannot_know(name: str) -> None:
    of_error(CASES[name])


@pytest.mark.parametrize("name", ZERO)
def test_nothing_to_read_is_no_error(name: str) -> None:
    rows, error, _ = outcome(lambda: opened(CASES[name]))
    assert error is None, error
    streamed = CASES[name].get("streaming", {})
    expected = streamed.get("num_rows", 0) if "many" in name else 0
    assert len(rows) == expected


@pytest.mark.parametrize("name", PASSED_ON)
def test_types_that_datasets_has_not(name: str) -> None:
    case = CASES[name]
    path = case["files"][0]
    with opened(case) as reader:
        table = pa.Table.from_batches(list(reader), reader.schema)
    if path.endswith(".parquet"):
        import pyarrow.parquet as pq

        expected = pq.read_table(path)
    else:
        with pa.memory_map(path) as source:
            expected = pa.ipc.open_file(source).read_all()
    assert table.to_pylist() == expected.to_pylist()
    assert table.schema.types == expected.schema.types
    with opened(case) as reader:
        assert reader.to_pydict() == expected.to_pydict()


def rows_of(name: str) -> list[dict[str, Any]]:
    rows, error, _ = outcome(lambda: opened(CASES[name]))
    assert error is None, error
    return rows


def test_a_byte_order_mark_before_an_array_is_skipped() -> None:
    assert rows_of("json_bom_array")
    assert not [key for key in rows_of("json_bom_array")[0] if key.startswith("\ufeff")]


def test_encoding_errors_are_honoured() -> None:
    assert "\ufffd" in repr(rows_of("json_invalid_utf8_replace"))


def test_bad_lines_are_skipped_where_asked_for() -> None:
    assert rows_of("csv_long_row_skip")


def test_compression_is_told_by_content() -> None:
    assert_rows(CASES["gz_content_plain_ext"]["expected"], rows_of("gz_content_plain_ext"))


def test_an_arrow_file_in_gzip_is_read() -> None:
    rows = rows_of("arrow_gz_whole")
    assert rows
    assert [row["a"] for row in rows] == list(range(len(rows)))


def test_others_are_the_ones_above() -> None:
    assert (
        sorted(
            [
                "arrow_gz_whole",
                "csv_long_row_skip",
                "gz_content_plain_ext",
                "json_bom_array",
                "json_invalid_utf8_replace",
            ]
        )
        == OTHERS
    )


def test_a_leading_null_in_a_list_stays_null() -> None:
    assert rows_of("json_list_leading_null") == [{"a": [None, 1]}, {"a": [2, 3]}]
    assert rows_of("json_list_of_struct_leading_null") == [
        {"a": [None, {"k": 1}]},
        {"a": [{"k": 2}]},
    ]


def test_mixed_structs_are_decoded_streaming_too() -> None:
    case = CASES["json_array_mixed_struct"]
    assert repr(rows_of("json_array_mixed_struct")) == case["expected"]["rows"]
    with opened(case) as reader:
        dataset = reader.to_iterable_dataset()
        assert repr(list(dataset)) == case["expected"]["rows"]
        assert repr(dataset.features) == case["expected"]["features"]
    assert repr(opened(case).to_pydict()) == "{'m': [{'a': 1}, {'b': 2}]}"


def test_a_truncated_zstd_frame_is_an_error() -> None:
    rows, error, _ = outcome(lambda: opened(CASES["zst_truncated"]))
    assert error is not None, rows
    assert "truncated" in str(error)
    names_a_place(error, CASES["zst_truncated"])


def test_text_after_a_nul_is_kept() -> None:
    assert rows_of("csv_nul_byte")[0]["b"] == "x\0y"


@pytest.mark.parametrize(
    "name",
    [n for n, c in CASES.items() if c["policy"] == "parity" and "error" not in c["expected"]],
)
def test_lists_are_those_of_pyarrow(name: str) -> None:
    """The conversion to Python objects, which is ours, against pyarrow's."""
    case = CASES[name]
    if case["builder"] == "hf_dir":
        return
    with opened(case) as reader:
        if any("json" in str(kind) for kind in reader.schema.types):
            return
        for batch, found in zip(reader, opened(case).dicts(), strict=True):
            expected = batch.to_pydict()
            assert repr(found) == repr(expected)


def test_every_case_has_a_test() -> None:
    assert len(CASES) == 160
    differ = {name for name, case in CASES.items() if case["policy"] == "differ"}
    assert differ == {
        "csv_nul_byte",
        "json_array_mixed_struct",
        "json_list_leading_null",
        "json_list_of_struct_leading_null",
        "zst_truncated",
    }
