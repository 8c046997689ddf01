"""`Dataset.filter` and `Dataset.map` with functions that see Arrow, under stock's fingerprints.

`datasets` still does its part: progress, cache files, types, fingerprints. What is saved is the
Python object of every token, and the worker processes that only pay off for those. Tables of all
columns are written here, by its writer, without its temporary files.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from copy import deepcopy
from functools import partial
from pathlib import Path
from secrets import token_hex
from typing import Any

from fast_axolotl.dispatch.registry import Arguments, Condition, Keywords

#: Of a LazyBatch to which rows stay.
Mask = Callable[[Any], Any]
#: Of an Arrow table to another.
Function = Callable[[Any], Any]
#: What the code here repeats, by version of `datasets`.
RELIES_ON: dict[str, dict[str, str]] = {
    "datasets.arrow_dataset:Dataset.filter": {
        "datasets 4.8.4": "430e5fa5f147e93f108a2a6a642836832a36575c5f7079692f8aa89b59aac784"
    },
    "datasets.arrow_dataset:Dataset.map": {
        # Mixed types have no option yet, which is not one of Axolotl's.
        "datasets 4.5.0": "7d529102759843ceb7502c4262dfe68e1b6589ae98a47eca97d1a997e1348fa7",
        "datasets 4.8.4": "1f601f97dcdd911fd7c4bbf2d80aa9d0ce5e1b4445d97948ba5108f4fd484274",
    },
    "datasets.arrow_dataset:Dataset._map_single": {
        "datasets 4.5.0": "7bf42fb3401af36c22fa5c52214a8fa917cc015662d5bfee0ffc980fd47419d4",
        "datasets 4.8.4": "75fc12d5514438ba998dd860ed6cb129afdfea647f7f9b12b6fc719be435065f",
    },
    "datasets.arrow_dataset:get_indices_from_mask_function": {
        "datasets 4.8.4": "ddc0f0cda8b869229c5ad4a3be93a54821e95ce46237b7b868ea5dc4e2f2cb8c"
    },
}
_SUFFIX = "_{rank:05d}_of_{num_proc:05d}"
#: Methods of `Dataset` -> what they were when their source was compared.
_known: dict[str, Any] = {}
#: How many rows `datasets` gives to a function, and writes, at a time.
_BATCH = 1000
#: Rows that a run of a mapping has to have, on average, for slices to be the faster way to them.
_LONG_RUN = 8


def remember() -> None:
    """Keep the methods that are repeated here, when a seam that does so is built."""
    from datasets import Dataset

    _known.update({name: vars(Dataset).get(name) for name in ("filter", "map", "_map_single")})


def _are_remembered(_args: object, _kwargs: object) -> bool:
    from datasets import Dataset

    return all(vars(Dataset).get(name) is value for name, value in _known.items())


UNCHANGED = Condition(_are_remembered, "somebody replaced Dataset.filter or Dataset.map")


@contextmanager
def uncached(args: Arguments, kwargs: Keywords) -> Iterator[tuple[Arguments, Keywords]]:
    """Let `datasets` read no cache file, and write to a folder that it removes (`Seam.apart`)."""
    import datasets

    was_on = datasets.is_caching_enabled()
    datasets.disable_caching()
    try:
        yield args, kwargs
    finally:
        if was_on:
            datasets.enable_caching()


def filtered(dataset: Any, stock: Callable[..., Any], mask: Mask, options: dict[str, Any]) -> Any:
    """Return what `dataset.filter(stock, **options)` returns.

    Args:
        dataset: a plain `datasets.Dataset`.
        stock: the function that Axolotl filters by; it names the result, and is not called.
        mask: says the same of a batch, from its Arrow table.
        options: of `filter`: batched, num_proc, load_from_cache_file, desc.
    """
    from datasets import Dataset, Features, Value
    from datasets.arrow_dataset import _concatenate_map_style_datasets
    from datasets.fingerprint import (
        format_kwargs_for_fingerprint,
        format_transform_for_fingerprint,
        update_fingerprint,
    )

    function = Dataset.filter.__wrapped__.__wrapped__
    arguments = format_kwargs_for_fingerprint(
        function,
        (dataset,),
        {"function": stock, **options},
        ignore_kwargs=["load_from_cache_file", "cache_file_name", "desc"],
    )
    arguments["fingerprint_name"] = "new_fingerprint"
    transform = format_transform_for_fingerprint(function, version="2.0.1")
    fingerprint = update_fingerprint(dataset._fingerprint, transform, arguments)
    return _run(
        dataset,
        fingerprint,
        options,
        whole=lambda more: dataset.filter(mask, batched=True, new_fingerprint=fingerprint, **more),
        part=lambda shard, offset, more: shard.map(
            partial(_kept, mask, offset, dataset._indices),
            with_indices=True,
            features=Features({"indices": Value("uint64")}),
            batched=True,
            remove_columns=dataset.column_names,
            **more,
        ),
        join=lambda parts: _selected(dataset, _concatenate_map_style_datasets(parts).data),
    )


def _selected(dataset: Any, indices: Any) -> Any:
    found = deepcopy(dataset)
    found._indices = indices
    return found


def _kept(mask: Mask, offset: int, mapping: Any, batch: Any, indices: Any) -> Any:
    from datasets.arrow_dataset import get_indices_from_mask_function

    places = [i + offset for i in indices]
    return get_indices_from_mask_function(mask, True, False, False, None, mapping, batch, places, 0)


def mapped(
    dataset: Any, stock: Callable[..., Any], function: Function, options: dict[str, Any]
) -> Any:
    """Return what `dataset.map(stock, batched=True, **options)` returns.

    Args:
        dataset: a plain `datasets.Dataset`.
        stock: the function that Axolotl maps by; it names the result, and is not called.
        function: makes the same of the Arrow table of a batch, as a table of all columns.
        options: of `map`: num_proc, load_from_cache_file, desc.
    """
    from datasets import Dataset
    from datasets.arrow_dataset import _concatenate_map_style_datasets
    from datasets.fingerprint import (
        format_kwargs_for_fingerprint,
        format_transform_for_fingerprint,
        update_fingerprint,
    )

    if not len(dataset):
        return dataset.map(stock, batched=True, **options)  # of no row, neither is called
    single = Dataset._map_single
    arguments = format_kwargs_for_fingerprint(
        single, (), {"shard": dataset, "function": stock, "batched": True, "fn_kwargs": {}}
    )
    arguments["fingerprint_name"] = "new_fingerprint"
    fingerprint = update_fingerprint(
        dataset._fingerprint, format_transform_for_fingerprint(single), arguments
    )
    return _run(
        dataset,
        fingerprint,
        options,
        whole=lambda more: _mapped_whole(
            dataset, function, {**more, "new_fingerprint": fingerprint}
        ),
        part=lambda shard, _offset, more: _mapped_here(shard, function, more),
        join=_concatenate_map_style_datasets,
    )


def _of_batch(function: Function, batch: Any) -> Any:
    return _of_rows(function, batch.pa_table)


def _of_rows(function: Function, rows: Any) -> Any:
    """Call a function with rows that are no part of a longer table.

    What stock writes was made for the rows of a batch. Of a part of a longer column, the writer
    keeps a few bytes of the rows behind it: the files would be others.
    """
    import pyarrow as pa

    columns = [
        column
        if column.nbytes == column.get_total_buffer_size()
        else pa.concat_arrays(column.chunks)
        for column in rows.combine_chunks().itercolumns()
    ]
    return function(pa.Table.from_arrays(columns, schema=rows.schema))


def _mapped_whole(dataset: Any, function: Function, options: dict[str, Any]) -> Any:
    from datasets.arrow_dataset import transmit_format

    if dataset.cache_files and len(dataset) and not options.get("num_proc"):
        file = Path(dataset._get_cache_file_path(options["new_fingerprint"]))
        if not _are_there(file):
            here = {**options, "cache_file_name": str(file)}
            return transmit_format(_mapped_here)(dataset, function, here)
    return dataset.map(partial(_of_batch, function), batched=True, **options)


def _mapped_here(dataset: Any, function: Function, options: dict[str, Any]) -> Any:
    """Return what `dataset.map` makes, without a format, of rows whose cache file is not there."""
    if options.get("cache_file_name") is None:
        plain = dataset.with_format(None)
        return plain.map(partial(_of_batch, function), batched=True, **options)
    import pyarrow as pa
    from datasets import Dataset, arrow_dataset
    from datasets.arrow_writer import ArrowWriter

    file = Path(options["cache_file_name"])
    arrow_dataset.logger.info(f"Caching processed dataset at {file}")
    file.parent.mkdir(parents=True, exist_ok=True)
    # A new name: ext4 writes a file to the disk when it's closed, if it was opened over another.
    place = file.with_name(f"tmp{token_hex(8)}")
    bar = {"unit": " examples", "total": len(dataset), "desc": options["desc"] or "Map"}
    try:
        with arrow_dataset.hf_tqdm(**bar) as progress, pa.OSFile(str(place), "wb") as stream:
            writer = ArrowWriter(
                features=dataset.features,
                stream=stream,
                writer_batch_size=_BATCH,
                update_features=True,
                fingerprint=options["new_fingerprint"],
            )
            for table in map(partial(_of_rows, function), _batches(dataset)):
                writer.write_table(table)
                progress.update(len(table))
            writer.finalize()
        place.replace(file)
    finally:
        place.unlink(missing_ok=True)
    arrow_dataset.logger.debug("Finished processing shard number None of 1.")
    info = dataset.info.copy()
    info.features = writer._features
    return Dataset.from_file(str(file), info=info, split=dataset.split)


def _batches(dataset: Any) -> Iterator[Any]:
    """Yield the rows of a dataset as tables."""
    import numpy as np
    import pyarrow as pa

    table, indices = dataset._data, dataset._indices
    by_row = dataset.with_format("arrow")
    for first in range(0, len(dataset), _BATCH):
        if indices is None:
            rows = table.fast_slice(first, _BATCH)
        else:
            places = indices.fast_slice(first, _BATCH).column(0).to_numpy()
            starts = np.flatnonzero(np.diff(places) != 1) + 1
            if len(starts) * _LONG_RUN < len(places):
                runs = np.split(places, starts)
                rows = pa.concat_tables(table.fast_slice(int(run[0]), len(run)) for run in runs)
            else:
                rows = by_row[first : first + _BATCH]
        yield rows


def _are_there(file: Path) -> bool:
    """Return whether there are cache files under this name: `datasets` knows which to use."""
    return file.parent.exists() and any(
        other.name.startswith(file.stem) for other in file.parent.iterdir()
    )


def _run(
    dataset: Any,
    fingerprint: str,
    options: dict[str, Any],
    whole: Callable[[dict[str, Any]], Any],
    part: Callable[[Any, int, dict[str, Any]], Any],
    join: Callable[[list[Any]], Any],
) -> Any:
    """Run in this process what stock runs in `num_proc`, and leave the same cache files."""
    more = {name: options.get(name) for name in ("load_from_cache_file", "desc")}
    shards = options.get("num_proc")
    if not shards or not len(dataset):
        return whole({**more, "num_proc": shards})
    if shards > len(dataset):
        _warn_of_few_rows(len(dataset))
        shards = len(dataset)
    more["desc"] = f"{more['desc'] or 'Map'} (num_proc={shards})"
    if shards == 1:
        return whole(more)
    file = None
    if dataset.cache_files:
        file = Path(dataset._get_cache_file_path(fingerprint))
        if _are_there(file):
            return whole({**more, "num_proc": shards, "desc": options.get("desc")})
    parts: list[Any] = []
    offset = 0
    for rank in range(shards):
        suffix = _SUFFIX.format(rank=rank, num_proc=shards)
        shard = dataset.shard(num_shards=shards, index=rank, contiguous=True)
        own = {"new_fingerprint": fingerprint + suffix}
        if file is not None:
            own["cache_file_name"] = str(file.with_name(file.stem + suffix + file.suffix))
        parts.append(part(shard, offset, {**more, **own}))
        offset += len(shard)
    from datasets.arrow_dataset import transmit_format

    # Joining names the columns of a format that has none.
    found = transmit_format(lambda _dataset: join(parts))(dataset)
    found._fingerprint = fingerprint
    return found


def _warn_of_few_rows(rows: int) -> None:
    from datasets import arrow_dataset

    arrow_dataset.logger.warning(
        f"num_proc must be <= {rows}. Reducing num_proc to {rows} for dataset of size {rows}."
    )
