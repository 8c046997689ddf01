"""Lengths, filters by length, packing columns: against Axolotl's own, cache files included."""

import shutil
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import datasets
import numpy as np
import pytest
from datasets import Dataset
from datasets_of import (
    FEATURES,
    by_axolotl,
    contents,
    ended,
    token_datasets,
    tokenized,
    with_nulls,
)
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from seam_tools import DROPS_MASKED, original, replacement, reset

import fast_axolotl
from fast_axolotl.axolotl.seams.conditions import is_dataset
from fast_axolotl.dispatch import dispatch_mode, stats_enabled, trace

quick = settings(
    deadline=None,
    max_examples=60,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)
NAMES = ("drop_outside_range", "filter_short_sequences", "process_datasets_for_packing")


@pytest.fixture(autouse=True, scope="module")
def _axolotl() -> Iterator[None]:
    reset("axolotl.utils.data.utils", "axolotl.utils.trainer", "axolotl.utils.samplers.utils")
    datasets.disable_progress_bars()
    yield
    datasets.enable_progress_bars()


@pytest.fixture(autouse=True)
def _caching() -> Iterator[None]:
    yield
    datasets.enable_caching()


def settings_of(**keys: Any) -> Any:
    from axolotl.utils.dict import DictDefault

    return DictDefault(keys)


def agree(name: str, *args: Any) -> Any:
    """Call both sides; everything seen of the results is the same."""
    with dispatch_mode("python"):
        wanted = ended(original(name), *args)
    with dispatch_mode("rust"):
        found = ended(replacement(name), *args)
    assert found == wanted
    return wanted


def all_agree(cfg: Any, dataset: Any, options: dict[str, Any], *, most: int, least: int) -> Any:
    """Compare what drops rows and what packs; return how the dropping ended."""
    dropped = agree("drop_outside_range", dataset, most, 2, False, options)
    agree("filter_short_sequences", dataset, least, options)
    agree("process_datasets_for_packing", cfg, dataset, None)
    return dropped


def stock_must_not_run(monkeypatch: pytest.MonkeyPatch) -> None:
    """Fail where a batch becomes Python lists."""
    from datasets.formatting.formatting import LazyDict

    def fail(*_args: Any) -> None:
        raise AssertionError("rows were made into Python objects")

    monkeypatch.setattr(LazyDict, "__getitem__", fail)


# --- lengths ---------------------------------------------------------------------------------


def assert_same_lengths(dataset: Any, from_arrow: bool) -> None:
    def seen(call: Any) -> Any:
        kind, *rest = ended(call, dataset, from_arrow)
        if kind == "raised":
            return kind, rest
        (array,) = rest
        writeable = array.flags.writeable and array.flags.owndata
        return kind, type(array), array.dtype, array.shape, writeable, array.tolist()

    with dispatch_mode("rust"):
        found = seen(replacement("get_dataset_lengths"))
    assert found == seen(original("get_dataset_lengths"))


@quick
@given(token_datasets(), st.booleans())
def test_lengths(dataset: Dataset, from_arrow: bool) -> None:
    assert_same_lengths(dataset, from_arrow)


@pytest.mark.parametrize("from_arrow", [False, True])
@pytest.mark.parametrize(
    "columns",
    [
        {"length": [3, 1, 2]},
        {"length": [3, None, 2]},
        {"length": [3.0, 1.0, 2.0]},
        {"length": [True, False, True]},
        {"length": [1 << 62, 1, 2]},
        {"length": ["a", "b", "c"]},
        {"position_ids": [[0, 1, 2], [0], [0, 1]]},
        {"position_ids": [[0, 1, 2], [], [0, 1]]},
        {"position_ids": [[0, 1, 2], None, [0, 1]]},
        {"position_ids": [[0, 1, None], [0], [0, 1]]},
        {"position_ids": [[0, 5], [7], [(1 << 63) - 1]]},
        {"input_ids": [[1, 2], [], [3]]},
        {"input_ids": [[1, 2], None, [3]]},
        {"input_ids": ["ab", "", "c"]},
        {"input_ids": [[[1], [2]], [], [[3]]]},
        {"input_ids": [1, 2, 3]},
        {"other": [1, 2, 3]},
    ],
    ids=str,
)
def test_lengths_of_odd_columns(columns: dict[str, Any], from_arrow: bool) -> None:
    dataset = Dataset.from_dict(columns)
    for each in (dataset, dataset.select([2, 0]), dataset.select(range(1, 3)), dataset.select([])):
        assert_same_lengths(each, from_arrow)


def test_lengths_of_other_things() -> None:
    dataset = tokenized([1, 2])
    assert_same_lengths(None, False)
    assert_same_lengths(dataset.to_iterable_dataset(), False)
    assert_same_lengths(dataset.with_format("torch"), False)


# --- filters ---------------------------------------------------------------------------------


@quick
@given(
    token_datasets(),
    st.integers(0, 9),
    st.sampled_from((None, 0, 1, 3)),
    st.booleans(),
    st.sampled_from((None, None, 1)),
)
def test_dropping(
    dataset: Dataset, most: int, least: int | None, raises: bool, processes: int | None
) -> None:
    options = {"num_proc": processes, "load_from_cache_file": False}
    agree("drop_outside_range", dataset, most, least, raises, options)
    agree("filter_short_sequences", dataset, least, options)
    agree("drop_outside_range", dataset, most, least, raises, {})


def test_dropping_in_processes() -> None:
    dataset = tokenized([i % 11 for i in range(2500)])
    options = {"num_proc": 2, "load_from_cache_file": False}
    agree("drop_outside_range", dataset, 7, 2, False, options)
    agree("drop_outside_range", dataset.shuffle(seed=3), 7, 2, False, options)
    agree("drop_outside_range", tokenized([5]), 7, 2, False, {**options, "num_proc": 3})


def test_dropping_odd_things() -> None:
    options = {"num_proc": None, "load_from_cache_file": False}
    dataset = tokenized([3, 1, 8])
    for odd in (
        with_nulls(),
        Dataset.from_dict({"input_ids": ["ab", "c"]}),
        dataset.with_format("np"),
    ):
        agree("drop_outside_range", odd, 7, 2, False, options)
        agree("filter_short_sequences", odd, 2, options)
    agree("drop_outside_range", dataset, 7.5, 2, False, options)
    agree("drop_outside_range", dataset, 7, "2", False, options)
    agree("drop_outside_range", dataset, 7, 2, False, {"nonsense": 1})
    agree("drop_outside_range", dataset, 7, 2, False, {"num_proc": -1})
    agree("drop_outside_range", dataset.remove_columns("input_ids"), 7, 2, False, options)
    agree("drop_outside_range", dataset, 7)


@pytest.mark.parametrize("strategy", ["drop", "truncate", "raise", None])
def test_handling_long_sequences(strategy: str | None, caplog: pytest.LogCaptureFixture) -> None:
    import axolotl.utils.data.utils as module

    cfg = settings_of(excess_length_strategy=strategy, is_preprocess=True, dataset_num_proc=None)
    for dataset in (tokenized([5, 1, 9, 3]), tokenized([5, 1, 4]), tokenized([5]).select([])):
        seen = []
        for mode in ("python", "rust"):
            caplog.clear()
            with dispatch_mode(mode), caplog.at_level("INFO"):
                result = ended(module.handle_long_seq_in_dataset, dataset, 8, cfg)
            lines = [record.getMessage() for record in caplog.records if "axolotl" in record.name]
            seen.append((result, lines))
        assert seen[0] == seen[1]


def test_no_row_becomes_python(monkeypatch: pytest.MonkeyPatch) -> None:
    stock_must_not_run(monkeypatch)
    dataset = tokenized([5, 1, 9, 3], [True, True, True, False])
    options = {"num_proc": 2, "load_from_cache_file": False}
    cfg = settings_of(sample_packing=True, dataset_num_proc=2, is_preprocess=True)
    with dispatch_mode("rust"):
        dropped, count = replacement("drop_outside_range")(dataset, 8, 2, False, options)
        packed, _ = replacement("process_datasets_for_packing")(cfg, dropped, None)
    assert count == 2
    assert len(packed) == (1 if DROPS_MASKED else 2)


@pytest.mark.parametrize("name", ["filter", "map"])
def test_a_method_that_somebody_replaced_is_called(
    monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    """As on stock, and with what stock gives it: a log of what is done to data, say."""
    called: list[Any] = []
    stock = getattr(Dataset, name)

    def theirs(self: Dataset, *args: Any, **kwargs: Any) -> Dataset:
        called.append(kwargs.get("desc"))
        return stock(self, *args, **kwargs)  # type: ignore[no-any-return]

    monkeypatch.setattr(Dataset, name, theirs)
    cfg = settings_of(sample_packing=True, dataset_num_proc=None, is_preprocess=True)
    dataset = tokenized([5, 1, 9, 3], [True, True, True, False])
    for seam, args in (
        ("drop_outside_range", (dataset, 8, 2, False, OPTIONS)),
        ("filter_short_sequences", (dataset, 4, OPTIONS)),
        ("process_datasets_for_packing", (cfg, dataset, None)),
    ):
        called.clear()
        agree(seam, *args)
        half = len(called) // 2
        assert called[:half] == called[half:] != []


@pytest.mark.parametrize("processes", [None, 2])
@pytest.mark.parametrize(
    "merge",
    [
        lambda dataset: datasets.concatenate_datasets([dataset, dataset.shuffle(seed=1)]),
        lambda dataset: dataset.with_format(None, ["labels", "input_ids", "attention_mask"]),
    ],
    ids=["merged", "in another order"],
)
def test_merged_datasets_are_ours_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, merge: Any, processes: int | None
) -> None:
    """`datasets` names all columns of what it joins as those to format; so is it stored."""
    cfg = settings_of(sample_packing=True, dataset_num_proc=processes, is_preprocess=True)
    options = {"num_proc": processes, "load_from_cache_file": False}
    dataset = merge(tokenized([5, 1, 9, 3, 4], [True, True, True, False, True]))
    all_agree(cfg, dataset, options, most=8, least=4)
    assert_same_lengths(dataset, True)
    stock_must_not_run(monkeypatch)
    with dispatch_mode("rust"):
        dropped, _ = replacement("drop_outside_range")(dataset, 8, 2, False, options)
        replacement("filter_short_sequences")(dataset, 4, options)
        packed, _ = replacement("process_datasets_for_packing")(cfg, dropped, None)
    packed.save_to_disk(str(tmp_path))
    read = datasets.load_from_disk(str(tmp_path))
    before = fast_axolotl.stats()["filter"]["rust"]["calls"]
    assert_same_lengths(read, False)
    assert fast_axolotl.stats()["filter"]["rust"]["calls"] == before + 1


# --- subclasses ------------------------------------------------------------------------------

OPTIONS = {"num_proc": None, "load_from_cache_file": False}


@pytest.mark.parametrize("processes", [None, 2])
def test_the_class_that_axolotl_wraps_around_rows(
    processes: int | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = [i % 11 for i in range(60)]
    dataset = by_axolotl(tokenized(rows, [i % 3 > 0 for i in rows]))
    assert type(dataset) is not Dataset
    options = {**OPTIONS, "num_proc": processes}
    cfg = settings_of(sample_packing=True, dataset_num_proc=processes, is_preprocess=True)
    dropped = all_agree(cfg, dataset, options, most=7, least=2)
    assert dropped[1][0]["type"] is type(dataset)
    assert_same_lengths(dataset, False)
    stock_must_not_run(monkeypatch)
    with dispatch_mode("rust"):
        kept, _ = replacement("drop_outside_range")(dataset, 7, 2, False, options)
        kept, _ = replacement("filter_short_sequences")(kept, 2, options)
        packed, _ = replacement("process_datasets_for_packing")(cfg, kept, None)
        assert len(replacement("get_dataset_lengths")(kept)) == len(kept)
        assert (len(kept) > len(packed) > 0) if DROPS_MASKED else (len(kept) == len(packed))


def _own(name: str, calls: list[str]) -> type[Dataset]:
    """Return a class of Axolotl's with a method of its own."""
    from axolotl.datasets import TokenizedPromptDataset

    def method(self: Any, *args: Any, **kwargs: Any) -> Any:
        calls.append(name)
        return getattr(Dataset, name)(self, *args, **kwargs)

    def missing(_self: Any, name: str) -> Any:
        raise AttributeError(name)

    found = missing if name == "__getattr__" else method
    return type("Own", (TokenizedPromptDataset,), {name: found})


@pytest.mark.parametrize("name", ["filter", "__len__", "map", "__getattr__", "on the object"])
def test_a_subclass_runs_its_own_code(name: str) -> None:
    rows = tokenized([i % 11 for i in range(60)])
    calls: list[str] = []
    assert is_dataset(by_axolotl(rows))
    assert is_dataset(by_axolotl(rows, _own("another", calls)))
    if name == "on the object":
        dataset = by_axolotl(rows)
        dataset.map = partial(_own("map", calls).map, dataset)  # type: ignore[method-assign]
    else:
        dataset = by_axolotl(rows, _own(name, calls))
    assert not is_dataset(dataset)
    calls.clear()
    with dispatch_mode("python"):
        wanted = original("drop_outside_range")(dataset, 7, 2, False, OPTIONS)
    count = len(calls)
    with dispatch_mode("rust"):
        found = replacement("drop_outside_range")(dataset, 7, 2, False, OPTIONS)
    assert len(calls) >= 2 * count
    assert calls or name == "__getattr__"
    assert contents(found[0]) == contents(wanted[0])
    assert found[1] == wanted[1]


# --- columns for packing ---------------------------------------------------------------------


@quick
@given(
    token_datasets(),
    st.booleans(),
    st.sampled_from((None, None, 1)),
    st.sampled_from((None, "mamba", "falcon")),
)
def test_packing_columns(
    dataset: Dataset, packing: bool, processes: int | None, model: str | None
) -> None:
    cfg = settings_of(
        sample_packing=packing,
        dataset_num_proc=processes,
        is_preprocess=True,
        model_config_type=model,
    )
    agree("process_datasets_for_packing", cfg, dataset, None)


def test_packing_columns_in_processes() -> None:
    dataset = tokenized([i % 11 for i in range(2500)], [i % 3 > 0 for i in range(2500)])
    cfg = settings_of(sample_packing=True, dataset_num_proc=2, is_preprocess=True)
    agree("process_datasets_for_packing", cfg, dataset, None)
    agree("process_datasets_for_packing", cfg, dataset.shuffle(seed=3), None)


@pytest.mark.parametrize(
    "change",
    [
        {"group_by_length": True},
        {"eval_sample_packing": True},
        {"use_pose": True, "pose_max_context_len": 32},
        {"sample_packing": None},
        {"is_preprocess": None},
    ],
    ids=str,
)
def test_packing_by_other_settings(change: dict[str, Any]) -> None:
    import random

    cfg = settings_of(**{"sample_packing": True, "is_preprocess": True, **change})
    dataset = tokenized([5, 2, 9, 3], [True, True, True, False])
    evaluation = tokenized([4, 4], [True, False])
    for args in ((dataset, None), (dataset, evaluation)):
        seen = []
        for side, mode in ((original, "python"), (replacement, "rust")):
            random.seed(1)
            with dispatch_mode(mode):
                seen.append(ended(side("process_datasets_for_packing"), cfg, *args))
        assert seen[0] == seen[1]


def test_packing_odd_things() -> None:
    cfg = settings_of(sample_packing=True, is_preprocess=True)
    dataset = tokenized([5, 2, 9, 3])
    odd = [
        with_nulls(),
        tokenized([3, 4], [False, False]),
        tokenized([3, 4]).select([]),
        dataset.add_column("length", [9, 9, 9, 9]),
        dataset.remove_columns("labels"),
        dataset.remove_columns("input_ids"),
        dataset.with_format("torch"),
        dataset.to_iterable_dataset(),
        None,
    ]
    for each in odd:
        if isinstance(each, datasets.IterableDataset):
            with dispatch_mode("rust"):
                rows = list(replacement("process_datasets_for_packing")(cfg, each, None)[0])
            assert rows == list(original("process_datasets_for_packing")(cfg, each, None)[0])
        else:
            agree("process_datasets_for_packing", cfg, each, None)


PRETRAINING = "process_pretraining_datasets_for_packing"


@quick
@given(token_datasets(), st.integers(-1, 12), st.booleans(), st.booleans())
def test_packing_for_pretraining(dataset: Dataset, most: int, skip: bool, drop: bool) -> None:
    agree(PRETRAINING, dataset, most, skip, drop)


def test_packing_for_pretraining_makes_no_python_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    dataset = tokenized([i % 11 for i in range(2500)]).remove_columns("labels")
    with dispatch_mode("python"):
        wanted = original(PRETRAINING)(dataset, 8, False, True)
    stock_must_not_run(monkeypatch)
    found = replacement(PRETRAINING)(dataset, 8, False, drop_attention_mask=True)
    monkeypatch.undo()
    assert contents(found) == contents(wanted)
    assert found.column_names == ["input_ids", "position_ids", "length"]


def test_packing_for_pretraining_of_odd_things() -> None:
    dataset = tokenized([5, 2, 9, 3])
    odd = [
        with_nulls(),
        tokenized([3, 4]).select([]),
        dataset.add_column("length", [9, 9, 9, 9]),
        dataset.remove_columns("input_ids"),
        dataset.remove_columns("attention_mask"),
        dataset.with_format("torch"),
        by_axolotl(dataset),
        None,
    ]
    for each in odd:
        for most in (4, 2**70, 4.5, None, "4"):
            agree(PRETRAINING, each, most, False, True)
    agree(PRETRAINING, dataset)
    agree(PRETRAINING, dataset, 4, False, True, True)


# --- cache files -----------------------------------------------------------------------------


def stored(folder: Path, rows: int = 2300) -> Dataset:
    shutil.rmtree(folder, ignore_errors=True)
    lengths = np.random.default_rng(1).integers(0, 12, rows).tolist()
    tokenized(lengths, [length % 5 > 0 for length in lengths]).save_to_disk(str(folder))
    return datasets.load_from_disk(str(folder))


def prepare(dataset: Dataset, processes: int | None, preprocess: bool) -> Any:
    import axolotl.utils.data.utils as utils
    from axolotl.utils import trainer

    cfg = settings_of(sample_packing=True, dataset_num_proc=processes, is_preprocess=preprocess)
    dataset = utils.handle_long_seq_in_dataset(dataset, 8, cfg)
    return trainer.process_datasets_for_packing(cfg, dataset, None)[0]


def files_of(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(folder.glob("cache-*"))}


@pytest.mark.parametrize("processes", [None, 2])
def test_cache_files_are_stocks(tmp_path: Path, processes: int | None) -> None:
    folder = tmp_path / "rows"
    seen = []
    for mode in ("python", "rust"):
        dataset = stored(folder)
        with dispatch_mode(mode):
            found = prepare(dataset, processes, preprocess=True)
        seen.append((contents(found), files_of(folder)))
    assert seen[0][0] == seen[1][0]
    assert list(seen[0][1]) == list(seen[1][1])
    assert seen[0][1] == seen[1][1]
    assert len(seen[0][1]) >= 3


def _prompted(folder: Path, masked: bool = True) -> Dataset:
    """Store rows of which one in 40 is not trainable (if `masked`), one ends with a masked label.

    Of three files, none of which has a multiple of 8 tokens in its first thousand rows.
    """
    rows = [list(range(i, i + 3 + i % 4)) for i in range(2300)]
    labels = [
        [row[0], *[-100] * (len(row) - 1)] if i % 40 == 3 else row for i, row in enumerate(rows)
    ]
    if masked:
        labels[::40] = [[-100] * len(row) for row in rows[::40]]
    columns = {"input_ids": rows, "attention_mask": [[1] * len(row) for row in rows]}
    shutil.rmtree(folder, ignore_errors=True)
    dataset = Dataset.from_dict({**columns, "labels": labels}, features=FEATURES)
    dataset.save_to_disk(str(folder), num_shards=3)
    return datasets.load_from_disk(str(folder))


@pytest.mark.parametrize("processes", [None, 1, 2])
@pytest.mark.parametrize(
    "change",
    [
        lambda dataset: dataset,
        lambda dataset: dataset.select(range(700, 2200)),
        lambda dataset: dataset.select([*range(900, 1800), *range(900), *range(1700, 2300, 3)]),
        lambda dataset: dataset.shuffle(seed=4),
        lambda dataset: dataset.with_format(None, columns=["labels"]),
        by_axolotl,
    ],
    ids=["all", "some", "runs", "shuffled", "formatted", "of Axolotl's class"],
)
def test_cache_files_of_runs_of_rows(tmp_path: Path, change: Any, processes: int | None) -> None:
    seen = []
    for mode in ("python", "rust"):
        with dispatch_mode("python"):
            dataset = change(_prompted(tmp_path / "rows"))
        with dispatch_mode(mode):
            found = prepare(dataset, processes, preprocess=True)
        modes = {path.name: path.stat().st_mode for path in (tmp_path / "rows").iterdir()}
        seen.append((contents(found), files_of(tmp_path / "rows"), modes))
    assert seen[0] == seen[1]


@pytest.mark.parametrize("processes", [None, 2])
@pytest.mark.parametrize("rows", [range(2300), range(701, 2202), range(0, 2300, 2)], ids=str)
def test_cache_files_where_no_row_is_dropped(
    tmp_path: Path, rows: range, processes: int | None
) -> None:
    """Each batch is a part of what a file has: no byte around it is written."""
    seen = []
    for mode in ("python", "rust"):
        dataset = _prompted(tmp_path / "rows", masked=False).select(rows)
        with dispatch_mode(mode):
            found = prepare(dataset, processes, preprocess=True)
        seen.append((contents(found), files_of(tmp_path / "rows")))
    assert seen[0] == seen[1]


def test_a_full_disk_leaves_no_cache_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from axolotl.utils import trainer  # noqa: F401
    from datasets.arrow_writer import ArrowWriter

    dataset = _prompted(tmp_path / "rows")
    before = sorted(path.name for path in (tmp_path / "rows").iterdir())

    def write_table(*_args: Any, **_kwargs: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(ArrowWriter, "write_table", write_table)
    cfg = settings_of(sample_packing=True, dataset_num_proc=None, is_preprocess=True)
    seen = agree("process_datasets_for_packing", cfg, dataset, None)
    assert seen[0] == "raised"
    assert sorted(path.name for path in (tmp_path / "rows").iterdir()) == before


@pytest.mark.parametrize("columns", [None, ["labels", "input_ids"], ["input_ids"]])
def test_the_format_stays_in_processes(columns: list[str] | None) -> None:
    cfg = settings_of(sample_packing=True, dataset_num_proc=2, is_preprocess=True)
    dataset = tokenized([5, 2, 9, 3], [True, True, True, False]).with_format(None, columns)
    agree("process_datasets_for_packing", cfg, dataset, None)
    agree("drop_outside_range", dataset, 8, 3, False, {"num_proc": 2})


@pytest.mark.parametrize("how", ["verify", "profile"])
@pytest.mark.parametrize("processes", [None, 2])
def test_no_side_is_given_the_others_files_where_both_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, processes: int | None, how: str
) -> None:
    """It would be compared with itself, and timed where it does nothing."""
    from fast_axolotl.axolotl.seams import filters, packing_columns

    with dispatch_mode("python"):
        wanted = contents(prepare(stored(tmp_path / "rows"), processes, preprocess=False))
    files = files_of(tmp_path / "rows")
    computed = []
    for module in (filters, packing_columns):

        def row_lengths(column: Any, module: Any = module, real: Any = module.row_lengths) -> Any:
            computed.append(module)
            return real(column)

        monkeypatch.setattr(module, "row_lengths", row_lengths)
    if how == "profile":
        monkeypatch.setattr(trace, "_sampling", True)
    dataset = stored(tmp_path / "rows")
    with dispatch_mode("rust" if how == "profile" else how), stats_enabled():
        found = contents(prepare(dataset, processes, preprocess=False))
    assert {filters, packing_columns} <= set(computed)
    assert found == wanted
    assert files_of(tmp_path / "rows") == files
    assert datasets.is_caching_enabled()


@pytest.mark.parametrize("first", ["python", "rust"])
@pytest.mark.parametrize("processes", [None, 2])
def test_each_goes_on_with_the_others_files(
    tmp_path: Path, first: str, processes: int | None
) -> None:
    folder = tmp_path / "rows"
    dataset = stored(folder)
    with dispatch_mode(first):
        wanted = contents(prepare(dataset, processes, preprocess=False))
    before = {path: path.stat().st_mtime_ns for path in folder.iterdir()}
    other = "rust" if first == "python" else "python"
    with dispatch_mode(other):
        found = contents(prepare(datasets.load_from_disk(str(folder)), processes, preprocess=False))
    assert found == wanted
    assert {path: path.stat().st_mtime_ns for path in folder.iterdir()} == before


def test_without_caching(tmp_path: Path) -> None:
    folder = tmp_path / "rows"
    seen = []
    for mode in ("python", "rust"):
        dataset = stored(folder)
        datasets.disable_caching()
        with dispatch_mode(mode):
            found = contents(prepare(dataset, None, preprocess=True))
        found["cached"] = len(found["cached"])
        seen.append((found, sorted(path.name for path in folder.iterdir())))
    assert seen[0] == seen[1]
    assert not files_of(folder)


def test_verify_agrees() -> None:
    dataset = tokenized([i % 11 for i in range(300)], [i % 3 > 0 for i in range(300)])
    assert dataset.features == FEATURES
    with dispatch_mode("verify"):
        prepare(dataset, None, preprocess=True)
