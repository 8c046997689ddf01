"""Readers as datasets of `datasets`: features, resuming, shards, the cache."""

import gzip
import itertools
import json
import multiprocessing
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import datasets
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

import fast_axolotl

pytestmark = pytest.mark.skipif(
    not fast_axolotl.RUST_AVAILABLE, reason="the reader needs the extension"
)

ROWS = 53
TABLE = pa.table(
    {
        "id": range(ROWS),
        "text": [f"row {i} é" if i % 7 else None for i in range(ROWS)],
        "tokens": [list(range(i % 5)) for i in range(ROWS)],
    }
)


def write(folder: Path, kind: str, table: pa.Table = TABLE) -> Path:
    path = folder / f"data.{kind}"
    if kind == "parquet":
        pq.write_table(table, path, row_group_size=20)
    elif kind == "arrow":
        with pa.OSFile(str(path), "wb") as sink, pa.ipc.new_file(sink, table.schema) as out:
            out.write_table(table, max_chunksize=9)
    else:
        path.write_text("".join(json.dumps(row) + "\n" for row in table.to_pylist()))
    return path


KINDS = ["parquet", "arrow", "jsonl"]


@pytest.fixture(params=KINDS)
def path(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    return write(tmp_path, request.param)


def iterable(path: Any, **options: Any) -> Any:
    return fast_axolotl.open_dataset(path, batch_size=4, **options).to_iterable_dataset()


def test_rows_and_features(path: Path) -> None:
    dataset = iterable(path)
    expected = datasets.Features.from_arrow_schema(TABLE.schema)
    assert set(dataset.features) == set(expected)
    assert list(dataset) == TABLE.to_pylist()
    assert list(dataset) == TABLE.to_pylist()
    assert [len(batch["id"]) for batch in dataset.iter(10)] == [10] * 5 + [3]


def test_it_resumes_after_any_row(path: Path) -> None:
    rows = TABLE.to_pylist()
    for stop in (0, 1, 3, 4, 5, 19, 20, 21, ROWS - 1, ROWS):
        dataset = iterable(path)
        seen = []
        if stop:
            for row in dataset:
                seen.append(row)
                if len(seen) == stop:
                    break
        state = json.loads(json.dumps(dataset.state_dict()))
        other = iterable(path)
        other.load_state_dict(state)
        assert seen + list(other) == rows, stop


def test_batches_resume(path: Path) -> None:
    dataset = iterable(path).map(lambda row: {**row, "double": row["id"] * 2})
    iterator = iter(dataset)
    seen = [next(iterator) for _ in range(11)]
    other = iterable(path).map(lambda row: {**row, "double": row["id"] * 2})
    other.load_state_dict(dataset.state_dict())
    assert [row["double"] for row in [*seen, *other]] == [2 * i for i in range(ROWS)]


@pytest.mark.parametrize("world", [2, 3, 5])
def test_nodes_share_the_rows(path: Path, world: int) -> None:
    from datasets.distributed import split_dataset_by_node

    dataset = iterable(path)
    ids = [
        row["id"]
        for rank in range(world)
        for row in split_dataset_by_node(dataset, rank=rank, world_size=world)
    ]
    assert sorted(ids) == list(range(ROWS))


# Three workers, also where there are fewer processors.
@pytest.mark.filterwarnings("ignore:This DataLoader will create")
@pytest.mark.parametrize("workers", [0, 1, 3])
def test_workers_share_the_rows(path: Path, workers: int) -> None:
    torch = pytest.importorskip("torch")
    dataset = iterable(path).select_columns(["id"])
    loader = torch.utils.data.DataLoader(dataset, batch_size=None, num_workers=workers)
    ids = [int(row["id"]) for row in loader]
    assert sorted(ids) == list(range(ROWS))


def test_shards_of_one_file(tmp_path: Path) -> None:
    assert iterable(write(tmp_path, "parquet")).num_shards > 1
    assert iterable(write(tmp_path, "arrow")).num_shards > 1


def test_what_users_do_with_it(path: Path) -> None:
    dataset = iterable(path)
    assert [row["id"] for row in dataset.skip(5).take(3)] == [5, 6, 7]
    shuffled = [row["id"] for row in dataset.shuffle(seed=1, buffer_size=10)]
    assert sorted(shuffled) == list(range(ROWS))
    assert shuffled != list(range(ROWS))
    assert shuffled == [row["id"] for row in iterable(path).shuffle(seed=1, buffer_size=10)]
    table = next(iter(dataset.with_format("arrow").iter(ROWS)))
    assert table.column("id").to_pylist() == list(range(ROWS))
    filtered = dataset.filter(lambda row: row["id"] % 2 == 0)
    assert [row["id"] for row in filtered] == list(range(0, ROWS, 2))


def test_columns_are_pushed_down(path: Path) -> None:
    dataset = iterable(path, columns=["tokens", "id"])
    assert list(dataset.features) == ["tokens", "id"]
    assert list(dataset) == TABLE.select(["tokens", "id"]).to_pylist()


def test_filters_too(path: Path) -> None:
    dataset = iterable(path, columns=["text"], filters=[("id", ">=", 40)])
    assert list(dataset) == TABLE.slice(40).select(["text"]).to_pylist()
    reader = fast_axolotl.open_dataset(path, batch_size=4, filters=[("id", "<", 9)])
    assert [batch.num_rows for batch in reader] == [4, 4, 1]
    assert reader.num_rows is None


def test_a_dataset_of_the_cache(path: Path, tmp_path: Path) -> None:
    cache = tmp_path / "cache"

    def built() -> Any:
        return fast_axolotl.open_dataset(path, batch_size=4).to_dataset(cache_dir=cache)

    first = built()
    assert first.to_list() == TABLE.to_pylist()
    assert first.cache_files
    files = {file: file.stat().st_mtime_ns for file in cache.rglob("data.arrow")}
    second = built()
    assert second._fingerprint == first._fingerprint
    assert {file: file.stat().st_mtime_ns for file in cache.rglob("data.arrow")} == files
    assert second.features == first.features
    # Another process finds it, too.
    code = (
        "import sys, fast_axolotl as f; "
        "d = f.open_dataset(sys.argv[1], batch_size=4).to_dataset(cache_dir=sys.argv[2]); "
        "print(d._fingerprint, len(d))"
    )
    run = subprocess.run(
        [sys.executable, "-c", code, str(path), str(cache)],
        capture_output=True,
        text=True,
        check=True,
    )
    assert run.stdout.split() == [first._fingerprint, str(ROWS)]


def test_a_changed_file_is_built_again(tmp_path: Path) -> None:
    path = write(tmp_path, "jsonl")
    first = fast_axolotl.open_dataset(path).to_dataset(cache_dir=tmp_path / "cache")
    with path.open("a") as file:
        file.write(json.dumps({"id": 99, "text": "new", "tokens": []}) + "\n")
    second = fast_axolotl.open_dataset(path).to_dataset(cache_dir=tmp_path / "cache")
    assert (len(first), len(second)) == (ROWS, ROWS + 1)
    assert first._fingerprint != second._fingerprint
    assert first[0]["id"] == 0
    third = fast_axolotl.open_dataset(path, columns=["id"]).to_dataset(cache_dir=tmp_path / "cache")
    assert third.column_names == ["id"]


def build(path: str, cache: str) -> int:
    return len(fast_axolotl.open_dataset(path).to_dataset(cache_dir=cache))


def test_four_processes_build_one(tmp_path: Path) -> None:
    path, cache = write(tmp_path, "parquet"), tmp_path / "cache"
    context = multiprocessing.get_context("spawn")
    with context.Pool(4) as pool:
        assert pool.starmap(build, [(str(path), str(cache))] * 4) == [ROWS] * 4
    assert len(list(cache.rglob("data.arrow"))) == 1


def test_the_cache_of_datasets_is_the_default(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "hf")
    dataset = fast_axolotl.open_dataset(write(tmp_path, "parquet")).to_dataset()
    assert str(tmp_path / "hf") in dataset.cache_files[0]["filename"]


def test_features_are_kept(tmp_path: Path) -> None:
    features = datasets.Features(
        {"label": datasets.ClassLabel(names=["no", "yes"]), "x": datasets.Array2D((2, 2), "int32")}
    )
    saved = datasets.Dataset.from_dict(
        {"label": [0, 1, 1], "x": [[[1, 2], [3, 4]]] * 3}, features=features
    )
    saved.save_to_disk(tmp_path / "saved")
    saved.to_parquet(tmp_path / "data.parquet")
    for source in (tmp_path / "saved", tmp_path / "data.parquet"):
        reader = fast_axolotl.open_dataset(source)
        assert reader.to_dataset(cache_dir=tmp_path / "cache").features == features
        assert reader.to_iterable_dataset().features == features
        assert list(reader.to_iterable_dataset()) == saved.to_list()


def test_features_given(tmp_path: Path) -> None:
    features = datasets.Features(
        {
            "id": datasets.Value("int32"),
            "text": datasets.Value("large_string"),
            "tokens": datasets.List(datasets.Value("int64")),
        }
    )
    for kind in KINDS:
        path = write(tmp_path, kind)
        for given in ({"features": features}, {"schema": features}):
            dataset = iterable(path, **given)
            assert dataset.features == features
            assert list(dataset) == TABLE.to_pylist()


def test_it_is_read_in_a_forked_process(path: Path) -> None:
    if not hasattr(os, "fork"):
        pytest.skip("no fork here")
    reader = fast_axolotl.open_dataset(path, batch_size=4)
    iterator = iter(reader)
    next(iterator)
    context = multiprocessing.get_context("fork")
    queue: Any = context.Queue()
    child = context.Process(target=lambda: queue.put(sum(batch.num_rows for batch in reader)))
    child.start()
    assert queue.get(timeout=30) == ROWS
    child.join(30)
    assert child.exitcode == 0
    assert sum(batch.num_rows for batch in iterator) == ROWS - 4


IDS = np.arange(2000)
OTHERS = np.where((IDS >= 500) & (IDS < 600), 4999, IDS)


def test_the_fingerprint_knows_all_of_a_filter(tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    pq.write_table(pa.table({"id": range(5000), "t": ["x"] * 5000}), path)
    listed = [*range(50), 4000, *range(51, 100)]
    filters: list[Any] = [
        [("id", "in", IDS)],
        [("id", "in", OTHERS)],
        [("id", "in", [1, 2])],
        [("id", "not in", [1, 2])],
        pc.field("id").isin(list(range(100))),
        pc.field("id").isin(listed),
    ]
    sets = [
        fast_axolotl.open_dataset(path, filters=wanted).to_dataset(cache_dir=tmp_path / "cache")
        for wanted in filters
    ]
    assert len({dataset._fingerprint for dataset in sets}) == len(filters)
    assert sets[1]["id"] == sorted({*OTHERS.tolist()})
    assert sets[5]["id"] == sorted(listed)


def test_the_fingerprint_of_a_set_is_that_of_every_process(tmp_path: Path) -> None:
    path = write(tmp_path, "parquet")
    code = (
        "import sys, fast_axolotl as f\n"
        "values = {'row ' + str(i) + ' \\u00e9' for i in range(30)}\n"
        "filters = [('text', 'in', values), ('id', 'in', frozenset(range(40)))]\n"
        "reader = f.open_dataset(sys.argv[1], filters=filters)\n"
        "print(reader.to_dataset(cache_dir=sys.argv[2])._fingerprint)\n"
    )
    found = {
        subprocess.run(
            [sys.executable, "-c", code, str(path), str(tmp_path / "cache")],
            capture_output=True,
            text=True,
            check=True,
            env={**os.environ, "PYTHONHASHSEED": seed},
        ).stdout
        for seed in ("0", "1", "2")
    }
    assert len(found) == 1


def test_what_is_left_out_is_not_found_by_who_wants_all(tmp_path: Path) -> None:
    path, cache = tmp_path / "a.jsonl", tmp_path / "cache"
    path.write_text('{"a": 1}\n' * 3000 + "{")
    short = fast_axolotl.open_dataset(path, on_bad_files="skip").to_dataset(cache_dir=cache)
    assert len(short) <= 3000
    with pytest.raises(fast_axolotl.streaming.DamagedFileError):
        fast_axolotl.open_dataset(path).to_dataset(cache_dir=cache)


@pytest.mark.skipif(os.name == "nt", reason="modes are those of POSIX")
def test_a_cache_is_open_to_whom_the_umask_lets_in(tmp_path: Path) -> None:
    old = os.umask(0o027)
    try:
        fast_axolotl.open_dataset(write(tmp_path, "jsonl")).to_dataset(cache_dir=tmp_path / "c")
    finally:
        os.umask(old)
    (data,) = (tmp_path / "c").rglob("data.arrow")
    assert data.parent.stat().st_mode & 0o777 == 0o750
    files = [*data.parent.iterdir(), *data.parent.parent.glob("*.lock")]
    assert {file.stat().st_mode & 0o777 for file in files} == {0o640}


def damage(folder: Path, how: str) -> None:
    data, info = folder / "data.arrow", folder / "dataset.json"
    if how == "deleted":
        data.unlink()
    elif how == "truncated":
        os.truncate(data, data.stat().st_size // 2)
    elif how == "no size":
        info.write_text("{}")
    else:
        info.write_bytes(info.read_bytes()[:20])


@pytest.mark.parametrize("how", ["deleted", "truncated", "no size", "cut"])
def test_a_damaged_cache_is_built_again(tmp_path: Path, how: str) -> None:
    path, cache = write(tmp_path, "jsonl"), tmp_path / "cache"
    first = fast_axolotl.open_dataset(path).to_dataset(cache_dir=cache)
    (data,) = cache.rglob("data.arrow")
    damage(data.parent, how)
    left = data.parent.with_name(f"{data.parent.name}.killed")
    left.mkdir()
    (left / "data.arrow").write_bytes(b"half")
    other = left.with_name("another.build")
    other.mkdir()
    second = fast_axolotl.open_dataset(path).to_dataset(cache_dir=cache)
    assert second.to_list() == TABLE.to_pylist()
    assert second._fingerprint == first._fingerprint
    assert not left.exists()
    assert other.exists()
    kept = {entry.name for entry in data.parent.parent.iterdir() if entry.is_dir()}
    assert kept == {data.parent.name, "another.build"}


@pytest.mark.parametrize("name", ["a.jsonl", "a.jsonl.gz", "a.csv.gz", "a.txt.gz", "a.parquet"])
@pytest.mark.parametrize("infer", ["first", "chunk", "full"])
def test_a_file_replaced_before_the_build(tmp_path: Path, name: str, infer: str) -> None:
    path, cache = tmp_path / name, tmp_path / "cache"

    def replace(text: str) -> None:
        new = tmp_path / "new"
        if name == "a.parquet":
            pq.write_table(pa.table({"t": [text] * 3000, text: [1] * 3000}), new)
        else:
            line = f'{{"t": "{text}"}}\n' if "json" in name else f"{text}\n"
            data = (("t\n" if "csv" in name else "") + line * 3000).encode()
            new.write_bytes(gzip.compress(data, 1) if name.endswith("gz") else data)
        new.replace(path)

    replace("old")
    reader = fast_axolotl.open_dataset(path, infer=infer)
    replace("new")
    for found in (reader, fast_axolotl.open_dataset(path, infer=infer)):
        dataset = found.to_dataset(cache_dir=cache)
        assert set(dataset[dataset.column_names[0]]) == {"new"}
        assert len(dataset) == 3000


def test_a_file_changed_during_the_build(tmp_path: Path) -> None:
    path, cache = write(tmp_path, "jsonl"), tmp_path / "cache"

    def change(at: Any) -> None:
        if at.rows <= 4:
            with path.open("a") as file:
                file.write("\n")

    reader = fast_axolotl.open_dataset(path, batch_size=4, progress=change)
    with pytest.raises(fast_axolotl.streaming.ReaderError, match="changed while"):
        reader.to_dataset(cache_dir=cache)
    assert not list(cache.rglob("data.arrow"))
    assert len(fast_axolotl.open_dataset(path).to_dataset(cache_dir=cache)) == ROWS


def test_a_cache_in_the_home_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("USERPROFILE", str(tmp_path / "home"))
    dataset = fast_axolotl.open_dataset(write(tmp_path, "jsonl")).to_dataset(cache_dir="~/cache")
    assert str(tmp_path / "home") in dataset.cache_files[0]["filename"]


def test_rows_without_columns_are_no_dataset(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text("{}\n{}\n")
    for reader in (
        fast_axolotl.open_dataset(path),
        fast_axolotl.open_dataset(write(tmp_path, "parquet"), columns=[]),
    ):
        with pytest.raises(ValueError, match="needs columns"):
            reader.to_dataset(cache_dir=tmp_path / "cache")
        with pytest.raises(ValueError, match="needs columns"):
            reader.to_iterable_dataset()
    path.write_text("")
    assert len(fast_axolotl.open_dataset(path).to_dataset(cache_dir=tmp_path / "cache")) == 0


@pytest.mark.parametrize("filters", [None, [("id", ">", 2)]])
def test_it_resumes_with_batches_of_another_size(path: Path, filters: Any) -> None:
    rows = [row for row in TABLE.to_pylist() if not filters or row["id"] > 2]
    for stop in (1, 15, 17, 30, ROWS - 4):
        dataset = iterable(path, filters=filters)
        seen = list(itertools.islice(dataset, stop))
        for size in (1, 9, 50, 1000):
            other = fast_axolotl.open_dataset(path, batch_size=size, filters=filters)
            resumed = other.to_iterable_dataset()
            resumed.load_state_dict(dataset.state_dict())
            assert resumed.num_shards == dataset.num_shards
            assert seen + list(resumed) == rows, (stop, size)


@pytest.mark.parametrize("filters", [None, [("id", ">", 2)]])
def test_a_state_of_other_files_is_an_error(tmp_path: Path, filters: Any) -> None:
    for kind in KINDS:
        path = write(tmp_path, kind)
        dataset = iterable(path, filters=filters)
        assert len(list(itertools.islice(dataset, 40))) == 40
        state = dataset.state_dict()
        with pytest.raises(ValueError, match="other shards"):
            list(resumed(write(tmp_path, "parquet").rename(tmp_path / "other"), state))
        if kind == "jsonl":
            path.write_text("".join(path.read_text().splitlines(keepends=True)[:30]))
        elif kind == "parquet":
            pq.write_table(TABLE.slice(0, 30), path)
        else:
            with pa.OSFile(str(path), "wb") as sink, pa.ipc.new_file(sink, TABLE.schema) as out:
                out.write_table(TABLE.slice(0, 30))
        with pytest.raises(ValueError, match=r"other shards|fewer rows than"):
            list(resumed(path, state, filters=filters))


def resumed(path: Path, state: Any, **options: Any) -> Any:
    dataset = iterable(path, **options)
    dataset.load_state_dict(state)
    return dataset


def test_a_state_without_its_shard_is_taken(path: Path) -> None:
    """As older versions wrote it."""
    dataset = iterable(path)
    assert len(list(itertools.islice(dataset, 4))) == 4
    state = dataset.state_dict()
    del state["examples_iterable"]["shard"]
    assert len(list(resumed(path, state))) == ROWS - 4


def test_shards_that_follow_one_another_are_one_pass(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    dataset = iterable([path, path])
    rows, opened = dataset._ex_iterable.rows, []
    read = type(rows).__call__
    monkeypatch.setattr(
        type(rows), "__call__", lambda *given: (opened.append(given[1]), read(*given))[1]
    )
    assert list(dataset) == TABLE.to_pylist() * 2
    assert len(opened) == 2
    shuffled = [row["id"] for row in dataset.shuffle(seed=3, buffer_size=1)]
    assert sorted(shuffled) == sorted([*range(ROWS)] * 2)
    examples = iterable([path, path])._ex_iterable
    keys, shards = [key for key, _ in examples], examples.shards
    assert [index for index, row in keys if row == 0] == list(range(len(shards)))


def test_no_more_is_read_than_a_shard_has(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from fast_axolotl.streaming import iterable as module

    specs = []

    class Recorded(module.Reader):  # type: ignore[name-defined, misc]
        def __init__(self, spec: Any) -> None:
            specs.append(spec)
            super().__init__(spec)

    reader = fast_axolotl.open_dataset(write(tmp_path, "parquet"))
    dataset = reader.to_iterable_dataset().shard(3, 1)
    monkeypatch.setattr(module, "Reader", Recorded)
    for given in (dataset, dataset.with_format("arrow")):
        specs.clear()
        assert len(list(given)) == 18
        assert [(spec.batch_size, spec.num_threads) for spec in specs] == [(18, 1)]


def test_selected_columns_are_all_that_is_decoded(tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    table = pa.table({name: range(100) for name in "abc"})
    pq.write_table(table, path, use_dictionary=False, compression="snappy")
    data = bytearray(path.read_bytes())
    column = pq.ParquetFile(path).metadata.row_group(0).column(2)
    data[column.data_page_offset : column.data_page_offset + 40] = b"\xff" * 40
    path.write_bytes(data)
    for filters in (None, [("a", ">", 3)]):
        dataset = iterable(path, filters=filters).select_columns(["b", "a"])
        expected = table.slice(4 if filters else 0).select(["b", "a"]).to_pylist()
        assert list(dataset) == expected
        assert list(dataset.features) == ["b", "a"]
        assert [row["b"] for row in dataset.select_columns("b")] == [row["b"] for row in expected]
        seen = list(itertools.islice(dataset, 30))
        other = iterable(path, filters=filters).select_columns(["b", "a"])
        other.load_state_dict(dataset.state_dict())
        assert seen + list(other) == expected
        batch = next(iter(dataset.with_format("arrow").iter(1000)))
        assert batch.to_pylist() == expected
    with pytest.raises(ValueError, match="not in the dataset"):
        iterable(path).select_columns("d")
    with pytest.raises(fast_axolotl.streaming.DamagedFileError):
        list(iterable(path))


def test_a_cast_is_done(path: Path) -> None:
    dataset = iterable(path)
    texts = [str(i) for i in range(ROWS)]
    cast = dataset.cast_column("id", datasets.Value("string"))
    assert [row["id"] for row in cast] == texts
    assert [text for batch in cast.iter(10) for text in batch["id"]] == texts
    for other in (
        dataset.skip(0),
        dataset.take(ROWS),
        dataset.repeat(1),
        dataset.shard(1, 0),
        dataset.select_columns(["text", "id"]),
        dataset.with_format("arrow").with_format(None),
        cast.select_columns("id").cast_column("id", datasets.Value("int32")),
    ):
        found = other.cast_column("id", datasets.Value("string"))
        assert [row["id"] for row in found] == texts
        assert found.to_pandas()["id"].tolist() == texts
        assert [row["id"] for row in found.map(lambda row: row)] == texts
        assert [row["id"] for row in found.filter(lambda row: row["id"] == "7")] == ["7"]
        seen = [row["id"] for row in itertools.islice(found, 20)]
        resumed = other.cast_column("id", datasets.Value("string"))
        resumed.load_state_dict(found.state_dict())
        assert seen + [row["id"] for row in resumed] == texts
    shuffled = dataset.shuffle(seed=2, buffer_size=5).cast_column("id", datasets.Value("string"))
    assert sorted(row["id"] for row in shuffled) == sorted(texts)
    # As `datasets` casts what it reads itself, what does not fit is an error.
    with pytest.raises(pa.ArrowInvalid):
        list(dataset.skip(1).cast_column("text", datasets.Value("int64")))
    features = datasets.Features({**dataset.features, "new": datasets.Value("string")})
    assert next(iter(dataset.cast(features)))["new"] is None


def test_datasets_of_other_columns_are_joined(tmp_path: Path) -> None:
    both, one = tmp_path / "both.jsonl", tmp_path / "one.jsonl"
    both.write_text('{"a": 1, "b": "x"}\n' * 2)
    one.write_text('{"a": 1}\n' * 2)
    full, part = {"a": 1, "b": "x"}, {"a": 1, "b": None}
    pair = [iterable(both), iterable(one)]
    assert list(datasets.concatenate_datasets(pair)) == [full, full, part, part]
    assert list(datasets.concatenate_datasets(pair[::-1])) == [part, part, full, full]
    assert list(datasets.interleave_datasets(pair)) == [full, part, full]
    assert list(datasets.concatenate_datasets([pair[0].skip(1), pair[1].take(1)])) == [full, part]


def test_chosen_rows_as_tables(tmp_path: Path) -> None:
    table = pa.table({"a": [1, 2, 3, 4], "b": ["x", None, None, "y"], "c": [[], [1], None, []]})
    path = tmp_path / "a.parquet"
    pq.write_table(table, path)
    rows = table.to_pylist()
    for given in (iterable(path), iterable(path).with_format("arrow")):
        assert given.skip(1).to_list() == rows[1:]
        assert given.take(3).to_list() == rows[:3]
        assert given.repeat(2).to_list() == rows * 2
        assert sorted(row["a"] for row in given.shuffle(seed=1).to_list()) == [1, 2, 3, 4]
        chosen = given.skip(1).with_format("arrow").take(2).select_columns(["b", "a"])
        (found,) = chosen.iter(10)
        assert found.to_pylist() == [{"b": None, "a": 2}, {"b": None, "a": 3}]
        assert found.schema.field("b").type in (pa.string(), pa.large_string())


def test_rows_are_skipped_across_tables(path: Path) -> None:
    tables = iterable(path).with_format("arrow").skip(10)
    assert [row for table in tables.iter(7) for row in table.to_pylist()] == TABLE.to_pylist()[10:]


def exact(value: Any) -> Any:
    """Return what tells values of other types apart."""
    if isinstance(value, dict):
        return {name: exact(inner) for name, inner in value.items()}
    if isinstance(value, (list, tuple)):
        return [exact(inner) for inner in value]
    shown = value.tolist() if hasattr(value, "tolist") else value
    return type(value), getattr(value, "dtype", None), repr(shown)


@pytest.mark.parametrize("form", ["numpy", "torch"])
@pytest.mark.filterwarnings("ignore:To copy construct")  # by datasets
def test_tensors_are_those_of_datasets(tmp_path: Path, form: str) -> None:
    if form == "torch":
        pytest.importorskip("torch")
    table = pa.table(
        {
            "id": pa.array([1, None, 3, 4], pa.int8()),
            "real": pa.array([0.5, None, 1.5, 2.0], pa.float32()),
            "tokens": pa.array([[1, 2], [], None, [3]], pa.list_(pa.int32())),
            "pairs": pa.array([[[1], [2]], [[]], [], [[3]]], pa.list_(pa.list_(pa.int16()))),
            "text": ["x", None, "", "y"],
            "label": pa.array([0, 1, 1, 0]),
            "turns": pa.array([[{"n": 1}], [], [{"n": 2}], None]),
        }
    )
    features = datasets.Features.from_arrow_schema(table.schema)
    features["label"] = datasets.ClassLabel(names=["a", "b"])
    path = tmp_path / "a.parquet"
    datasets.Dataset(table).cast(features).to_parquet(path)
    ours = iterable(path).with_format(form)
    stock = datasets.load_dataset(
        "parquet", data_files=str(path), split="train", streaming=True, cache_dir=tmp_path / "cache"
    ).with_format(form)
    for change in (
        lambda dataset: dataset,
        lambda dataset: dataset.iter(3),
        lambda dataset: dataset.take(3),
        lambda dataset: dataset.shuffle(seed=2, buffer_size=2),
        lambda dataset: dataset.cast_column("id", datasets.Value("float64")),
        lambda dataset: dataset.map(lambda row: {"new": row["id"]}),
        lambda dataset: dataset.select_columns(["pairs"]).filter(lambda row: len(row["pairs"]) > 0),
        lambda dataset: dataset.map(lambda rows: {"new": rows["text"]}, batched=True, batch_size=4),
    ):
        assert list(map(exact, change(ours))) == list(map(exact, change(stock)))
    rows = [exact(row) for row in stock]
    assert list(map(exact, iterable(path).skip(1).with_format(form))) == rows[1:]
    assert list(ours.with_format(None)) == table.to_pylist()


@pytest.mark.parametrize("form", ["numpy", "arrow"])
def test_tables_resume_with_batches_of_another_size(path: Path, form: str) -> None:
    changes: list[Any] = [
        lambda dataset: dataset,
        lambda dataset: dataset.skip(3),
        lambda dataset: dataset.take(20).repeat(2),
    ]
    if form == "numpy":
        changes.append(lambda dataset: dataset.filter(lambda row: row["id"] % 3 != 0))
        changes.append(lambda dataset: dataset.map(lambda rows: rows, batched=True, batch_size=6))

    def batches(dataset: Any) -> Any:
        return (np.asarray(batch["id"]).tolist() for batch in dataset.iter(3))

    for change in changes:
        expected = list(batches(change(iterable(path).with_format(form))))
        for stop in (1, 4, 5, len(expected) - 1):
            dataset = change(iterable(path).with_format(form))
            seen = list(itertools.islice(batches(dataset), stop))
            for size in (1, 9, 1000):
                other = fast_axolotl.open_dataset(path, batch_size=size).to_iterable_dataset()
                other = change(other.with_format(form))
                other.load_state_dict(dataset.state_dict())
                assert seen + list(batches(other)) == expected, (stop, size)


def test_rows_before_a_damage_come_as_tables(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text('{"a": 1}\n' * 6 + "{")
    for form in ("numpy", "arrow"):
        for dataset, rows in ((iterable(path), 6), (iterable(path).skip(1), 5)):
            found = iter(dataset.with_format(form))
            assert len(list(itertools.islice(found, rows))) == rows
            with pytest.raises(fast_axolotl.streaming.DamagedFileError):
                next(found)


@pytest.mark.parametrize("rows", [1, 3, 17, 40, 53])
@pytest.mark.parametrize("kind", KINDS)
def test_more_nodes_than_shards(tmp_path: Path, kind: str, rows: int) -> None:
    from datasets.distributed import split_dataset_by_node

    path = write(tmp_path, kind, TABLE.slice(0, rows))
    dataset = iterable(path)
    for world in (2, 8, 16):
        parts = [
            [row["id"] for row in split_dataset_by_node(dataset, rank=rank, world_size=world)]
            for rank in range(world)
        ]
        assert sorted(itertools.chain(*parts)) == list(range(rows))
        # A rank with many rows more than another would wait for it, or be waited for.
        assert max(map(len, parts)) - min(map(len, parts)) <= -(-dataset.num_shards // world)
        shards = [[row["id"] for row in dataset.shard(world, index)] for index in range(world)]
        assert list(itertools.chain(*shards)) == list(range(rows))


def test_shards_are_of_one_size(tmp_path: Path) -> None:
    for rows in (0, 17, 31, 32, 33, 100, 1000):
        pq.write_table(pa.table({"id": pa.array(range(rows), pa.int64())}), tmp_path / "a.parquet")
        dataset = iterable(tmp_path / "a.parquet")
        sizes = [len(list(dataset.shard(dataset.num_shards, i))) for i in range(dataset.num_shards)]
        assert sum(sizes) == rows
        assert max(sizes) - min(sizes) <= 1
        assert len(sizes) == max(1, min(16, rows // 16))


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="limits are those of Linux")
def test_a_full_disk_is_named(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text('{"a": "some text"}\n' * 50_000)
    code = (
        "import resource, signal, sys, fast_axolotl as f\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, 50_000))\n"
        "try:\n"
        "    f.open_dataset(sys.argv[1]).to_dataset(cache_dir=sys.argv[2])\n"
        "except OSError as error:\n"
        "    print(isinstance(error, RuntimeError), error.filename)\n"
    )
    cache = tmp_path / "cache"
    run = subprocess.run(
        [sys.executable, "-B", "-c", code, str(path), str(cache)], capture_output=True, text=True
    )
    assert run.stdout.startswith(f"True {cache}"), run.stderr
    assert not list(cache.rglob("data.arrow"))


MIXED = [{"k": 1}, "x", [1, {"y": 2}], "-", "1.", "01", "NaN", "-Infinity", '{"k": 1,}', None]


@pytest.mark.parametrize("beside", ["2024-01-02T03:04:05", "plain"])
@pytest.mark.parametrize("place", ["column", "member", "items", "messages"])
def test_values_of_mixed_types_are_those_of_datasets(
    tmp_path: Path, place: str, beside: str
) -> None:
    wrapped = {
        "column": lambda value: value,
        "member": lambda value: {"content": value, "at": beside},
        "items": lambda value: {"content": [value, {"z": 1}], "at": beside},
        "messages": lambda value: [{"content": value, "at": beside}],
    }[place]
    path = tmp_path / "a.jsonl"
    path.write_text("".join(json.dumps({"a": wrapped(value)}) + "\n" for value in MIXED))
    loaded = datasets.load_dataset(
        "json", data_files=str(path), split="train", cache_dir=str(tmp_path / "theirs")
    )
    reader = fast_axolotl.open_dataset(path, batch_size=3)
    dataset = reader.to_iterable_dataset()
    assert dataset.features == loaded.features
    assert list(dataset) == list(loaded) == list(reader.to_dataset(tmp_path / "ours"))
    rows = [row for batch in fast_axolotl.streaming_dataset_reader(path) for row in batch["a"]]
    assert rows == loaded["a"][:]


@pytest.mark.parametrize(
    "values",
    [
        [[[1, 2**53 + 1]], None, [[3, 4]]],
        [[[[1, 2**53 + 1]]], None],
        [[[[[1, 2**53 + 1]]]], None],
        [[[[[[1, 2**53 + 1]]]]], None],
    ],
)
@pytest.mark.parametrize("options", [{}, {"filters": [("n", ">=", 0)]}], ids=str)
def test_arrays_beside_a_null_are_those_of_datasets(
    tmp_path: Path, values: list[Any], options: dict[str, Any]
) -> None:
    shape = np.array(values[0]).shape
    kind = getattr(datasets, f"Array{len(shape)}D")(shape, "int64")
    features = datasets.Features({"a": kind, "n": datasets.Value("int64")})
    rows = {"a": values, "n": list(range(len(values)))}
    path = tmp_path / "a.parquet"
    datasets.Dataset.from_dict(rows, features=features).to_parquet(path)
    expected = datasets.load_dataset("parquet", data_files=str(path), streaming=True)["train"]
    found = fast_axolotl.open_dataset(path, **options).to_iterable_dataset()
    assert repr([row["a"] for row in found]) == repr([row["a"] for row in expected])
