"""Lengths, length filters, packing columns and saving, against Axolotl's own.

    python benches/axolotl_rows.py [--rows 20000] [--only SUBSTRING]
    python benches/axolotl_rows.py --memory [--rows 1000000]

Rows of 520 tokens, as Axolotl's strategies leave them; caching off. `--memory` prepares a dataset
on disk and measures, in a process of its own, what the start of a training adds to its memory.
"""

import argparse
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import heap
import seam_bench

import fast_axolotl

LENGTH = 520


def dataset_of(rows: int, folder: str) -> Any:
    import numpy
    import pyarrow as pa
    from datasets import Dataset, Features, List, Value

    features = Features(
        {
            "input_ids": List(Value("int32")),
            "attention_mask": List(Value("int8")),
            "labels": List(Value("int64")),
        }
    )
    draw = numpy.random.default_rng(0)
    offsets = pa.array(numpy.arange(rows + 1, dtype=numpy.int32) * LENGTH)
    tokens = draw.integers(0, 30_000, rows * LENGTH)
    labels = tokens.copy()
    labels.reshape(rows, LENGTH)[:, : LENGTH // 2] = -100
    labels.reshape(rows, LENGTH)[::50] = -100
    columns = {
        "input_ids": tokens.astype(numpy.int32),
        "attention_mask": numpy.ones(len(tokens), numpy.int8),
        "labels": labels,
    }
    arrays = [pa.ListArray.from_arrays(offsets, pa.array(column)) for column in columns.values()]
    table = pa.Table.from_arrays(arrays, names=list(columns)).cast(features.arrow_schema)
    # On disk, as a tokenized dataset is: workers then map the file, too.
    place = f"{folder}/rows.arrow"
    with pa.OSFile(place, "wb") as file, pa.ipc.new_stream(file, table.schema) as out:
        out.write_table(table.combine_chunks(), max_chunksize=1000)
    return Dataset.from_file(place)


def speed(rows: int, only: str) -> None:
    heap.keep()
    import axolotl.utils.data.shared as shared
    import axolotl.utils.data.utils as utils
    import axolotl.utils.samplers.utils as samplers
    import datasets
    from axolotl.utils import trainer
    from axolotl.utils.dict import DictDefault
    from datasets.fingerprint import get_temporary_cache_files_directory

    datasets.disable_caching()
    datasets.disable_progress_bars()
    folder = tempfile.TemporaryDirectory()
    dataset = dataset_of(rows, folder.name)
    prepared = Path(folder.name, "prepared")

    def settings(processes: int | None) -> Any:
        return DictDefault(
            dataset_num_proc=processes,
            sample_packing=True,
            is_preprocess=True,
            dataset_prepared_path=str(prepared),
        )

    def clean() -> None:
        """Remove what a call wrote: its pages serve the next one, as those of its memory do."""
        shutil.rmtree(prepared, ignore_errors=True)
        for file in Path(get_temporary_cache_files_directory()).iterdir():
            if file not in kept:
                file.unlink()

    packed = trainer.process_datasets_for_packing(settings(None), dataset, None)[0]
    kept = [Path(file["filename"]) for file in packed.cache_files]
    options = {"num_proc": None, "load_from_cache_file": False}
    calls: list[tuple[str, float, Any]] = [
        ("handle_long_seq_in_dataset", 10, lambda: utils.handle_long_seq_in_dataset(
            dataset, 2048, settings(None))),
        ("handle_long_seq_in_dataset, 2 processes", 10, lambda: utils.handle_long_seq_in_dataset(
            dataset, 2048, settings(2))),
        ("_drop_outside_range", 10, lambda: utils._drop_outside_range(
            dataset, 2048, 2, False, options)),
        ("process_datasets_for_packing", 8, lambda: trainer.process_datasets_for_packing(
            settings(None), dataset, None)),
        ("process_datasets_for_packing, 2 processes", 8,
         lambda: trainer.process_datasets_for_packing(settings(2), dataset, None)),
        ("get_dataset_lengths, input_ids", 50, lambda: samplers.get_dataset_lengths(dataset)),
        ("get_dataset_lengths, from_arrow", 1, lambda: samplers.get_dataset_lengths(
            dataset, from_arrow=True)),
        ("get_dataset_lengths, length", 50, lambda: samplers.get_dataset_lengths(packed)),
        ("get_dataset_lengths, position_ids", 50, lambda: samplers.get_dataset_lengths(
            packed.remove_columns("length"))),
        ("save_preprocessed_dataset, 600 rows, 2 processes", 10,
         lambda: shared.save_preprocessed_dataset(
             settings(2), packed.select(range(min(600, len(packed)))), "few", "train")),
        (f"save_preprocessed_dataset, {rows:,} rows, 2 processes", 10,
         lambda: shared.save_preprocessed_dataset(settings(2), packed, "all", "train")),
    ]  # fmt: skip
    found = []
    for name, goal, call in calls:
        if only not in name:
            continue

        def stock(call: Any = call) -> None:
            with fast_axolotl.dispatch_mode("python"):
                call()

        found.append(seam_bench.compare(name, stock, call, tuple, goal, rounds=6, clean=clean))
    folder.cleanup()
    seam_bench.write("axolotl_rows.json", found)


START = """
import sys
import psutil
import datasets, torch
from torch.utils.data import RandomSampler
import fast_axolotl
from axolotl.utils.samplers import MultipackBatchSampler, get_dataset_lengths
import pyarrow.compute

def private():
    # Without the pages of the file, which the system drops when it needs them.
    try:
        with open("/proc/self/smaps_rollup") as rollup:
            return 1024 * sum(int(l.split()[1]) for l in rollup if l.startswith("Anonymous:"))
    except OSError:
        return psutil.Process().memory_full_info().uss

dataset = datasets.Dataset.from_file(sys.argv[1] + "/rows.arrow")
with fast_axolotl.dispatch_mode(sys.argv[2]):
    get_dataset_lengths(dataset.select(range(2)))
    few = MultipackBatchSampler(RandomSampler([1, 2]), 1, 8, [1, 2], 4, num_processes=1)
    few.generate_batches()
    peak = start = private()
    import threading, time
    stop = False
    def watch():
        global peak
        while not stop:
            peak = max(peak, private())
            time.sleep(0.02)
    thread = threading.Thread(target=watch)
    thread.start()
    lengths = get_dataset_lengths(dataset)
    sampler = MultipackBatchSampler(
        RandomSampler(dataset), 1, 4 * 4096, lengths, 200, num_processes=1
    )
    len(sampler)
    next(iter(sampler))
    stop = True
    thread.join()
print(len(dataset), (peak - start) / 1e6, (private() - start) / 1e6)
"""


def memory(rows: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        _prepare(rows, folder)
        for columns in ("length", "position_ids", "input_ids"):
            place = str(Path(folder) / columns)
            for mode in ("auto",):
                command = [sys.executable, "-W", "ignore", "-c", START, place, mode]
                found = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
                count, peak, kept = found.stdout.split()[-3:]
                per_row = (float(peak) * 1e6 - 64e6) / int(count)
                print(
                    f"{columns:14} {int(count):>9,} rows: peak {float(peak):7.1f} MB, "
                    f"{float(kept):7.1f} MB kept; {per_row:.0f} bytes a row over 64 MB",
                    flush=True,
                )


def _prepare(rows: int, folder: str) -> None:
    import numpy
    import pyarrow as pa
    from datasets import Features, List, Value
    from datasets.arrow_writer import ArrowWriter

    length = 64
    for columns in ("length", "position_ids", "input_ids"):
        features = Features({"input_ids": List(Value("int32"))})
        if columns != "input_ids":
            features["position_ids"] = List(Value("int64"))
        if columns == "length":
            features["length"] = Value("int64")
        place = Path(folder) / columns
        place.mkdir()
        with ArrowWriter(features=features, path=str(place / "rows.arrow")) as out:
            for first in range(0, rows, 10_000):
                count = min(10_000, rows - first)
                offsets = pa.array(numpy.arange(count + 1, dtype=numpy.int32) * length)
                ids = numpy.tile(numpy.arange(length), count)
                arrays: list[Any] = [
                    pa.ListArray.from_arrays(offsets, pa.array(ids.astype("int32")))
                ]
                if columns != "input_ids":
                    arrays.append(pa.ListArray.from_arrays(offsets, pa.array(ids)))
                if columns == "length":
                    arrays.append(pa.array(numpy.full(count, length)))
                out.write_table(pa.Table.from_arrays(arrays, schema=features.arrow_schema))
            out.finalize()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=0)
    parser.add_argument("--only", default="")
    parser.add_argument("--memory", action="store_true")
    options = parser.parse_args()
    if options.memory:
        memory(options.rows or 1_000_000)
    else:
        speed(options.rows or 20_000, options.only)


if __name__ == "__main__":
    main()
