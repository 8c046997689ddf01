"""Calls with few rows, against Axolotl's own: no seam may be slower than 0.97x there.

    python benches/axolotl_small_calls.py [--quick] [--only PART]

1, 2, 10 and 100 rows (or lengths) of each seam, dispatched as installed, without a profile.
"""

import itertools
import os
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import seam_bench

import fast_axolotl  # noqa: F401

# What a profile of this host would say is another question.
os.environ["FAST_AXOLOTL_PROFILE"] = str(Path(__file__).parent / "no_profile.yaml")

COUNTS = (1, 2, 10, 100)
LENGTH = 64
GOAL = 0.97
#: Of a call of a microsecond, so many seconds are timed at a time.
SECONDS = 0.002
IN_A_ROW = 12
Arguments = Callable[[], tuple[Any, ...]]


def measure(name: str, title: str, arguments: Arguments, quick: bool) -> seam_bench.Row:
    stock, ours = seam_bench.seam(name)
    if name == "pack_parallel":
        from axolotl_multipack import untouched

        stock = untouched()
    for side in (stock, ours):
        side(*arguments())
    given = arguments()
    begin = time.perf_counter()
    ours(*given)
    number = max(1, min(2000, int(SECONDS / (time.perf_counter() - begin))))
    rounds = 3 if quick else 7
    # 3% of a millisecond are less than calls of one side differ by: the least of many is asked.
    return seam_bench.compare(
        title, stock, ours, arguments, GOAL, rounds, number, in_a_row=IN_A_ROW
    )


def from_workloads(names: list[str], quick: bool) -> Iterator[seam_bench.Row]:
    from fast_axolotl.axolotl import patching

    for name in names:
        workload = patching.applied[name].seam.workload
        assert workload is not None
        for count in COUNTS:
            args, _ = workload("axolotl", "axolotl", count, LENGTH)
            arguments = _fresh(args) if name.endswith("collator") else lambda args=args: args
            yield measure(name, f"{name}, {count}", arguments, quick)


def _fresh(args: tuple[Any, ...]) -> Arguments:
    # The padding collator replaces what it finds in the features.
    collator, features = args
    if type(features) is list and type(features[0]) is dict:
        return lambda: (collator, [dict(feature) for feature in features])
    return lambda: (collator, features)


def packing(quick: bool) -> list[seam_bench.Row]:
    import axolotl.utils.samplers.multipack  # noqa: F401

    names = ["ffd_check", "pack_group", "pack_parallel", "allocate_sequentially"]
    return [*from_workloads(names, quick), *batches(quick)]


def batches(quick: bool) -> Iterator[seam_bench.Row]:
    import numpy
    from axolotl.utils.samplers.multipack import MultipackBatchSampler
    from torch.utils.data import SequentialSampler

    for count in COUNTS:
        lengths = numpy.full(count, LENGTH, numpy.int32)
        made = MultipackBatchSampler(
            SequentialSampler(lengths), 1, 8 * LENGTH, lengths, 8, num_processes=1
        )

        def arguments(sampler: Any = made) -> tuple[Any, ...]:
            sampler._batches = None
            return (sampler,)

        yield measure("generate_batches", f"generate_batches, {count}", arguments, quick)


def collators(quick: bool) -> list[seam_bench.Row]:
    import axolotl.utils.collators.batching  # noqa: F401

    names = ["pad_collator", "batch_sampler_collator", "v2_batch_sampler_collator"]
    return list(from_workloads([*names, "pretraining_collator"], quick))


def streaming(quick: bool) -> list[seam_bench.Row]:
    import axolotl.utils.data.streaming  # noqa: F401

    return [*from_workloads(["encode_streaming", "torch_rows"], quick), *pretraining(quick)]


def pretraining(quick: bool) -> Iterator[seam_bench.Row]:
    from axolotl.prompt_strategies.pretrain import PretrainTokenizationStrategy, PretrainTokenizer
    from axolotl_streaming import tokenizer_and_text

    tokenizer, text = tokenizer_and_text()
    strategy = PretrainTokenizationStrategy(
        PretrainTokenizer(), tokenizer, True, 2048, max_length=2048
    )
    for count in COUNTS:
        # A token is some four characters long.
        texts = [text[i : i + 4 * LENGTH] for i in range(0, 4 * LENGTH * count, 4 * LENGTH)]
        name = "tokenize_pretraining"
        yield measure(name, f"{name}, {count}", lambda t=texts: (strategy, t), quick)


def deduplicate(quick: bool) -> list[seam_bench.Row]:
    import axolotl.utils.data.utils  # noqa: F401

    return list(from_workloads(["deduplicate"], quick))


def rows(quick: bool) -> list[seam_bench.Row]:
    import axolotl.utils.data.shared
    import axolotl.utils.samplers.utils  # noqa: F401
    import datasets
    from axolotl.utils import trainer
    from axolotl.utils.dict import DictDefault
    from axolotl_rows import dataset_of

    datasets.disable_caching()
    datasets.disable_progress_bars()
    numbers = itertools.count()
    found: list[seam_bench.Row] = []
    with tempfile.TemporaryDirectory() as folder:
        cfg = DictDefault(
            sample_packing=True, is_preprocess=True, dataset_prepared_path=folder,
            dataset_num_proc=None,
        )  # fmt: skip
        options = {"num_proc": None, "load_from_cache_file": False}
        for count in COUNTS:
            source = Path(folder, str(count))
            source.mkdir()
            dataset = dataset_of(2 * count, str(source)).select(range(1, 1 + count))
            packed = trainer.process_datasets_for_packing(cfg, dataset, None)[0]
            without = packed.remove_columns("length")
            calls: dict[str, tuple[str, Arguments]] = {
                "get_dataset_lengths, input_ids": (
                    "get_dataset_lengths", lambda d=dataset: (d,)),
                "get_dataset_lengths, length": ("get_dataset_lengths", lambda d=packed: (d,)),
                "get_dataset_lengths, position_ids": (
                    "get_dataset_lengths", lambda d=without: (d,)),
                "drop_outside_range": (
                    "drop_outside_range", lambda d=dataset: (d, 2048, 2, False, options)),
                "filter_short_sequences": (
                    "filter_short_sequences", lambda d=dataset: (d, 2, options)),
                "process_datasets_for_packing": (
                    "process_datasets_for_packing", lambda d=dataset: (cfg, d, None)),
                "process_pretraining_datasets_for_packing": (
                    "process_pretraining_datasets_for_packing",
                    lambda d=dataset: (d, 2048, False)),
                "save_preprocessed_dataset": (
                    "save_preprocessed_dataset",
                    lambda d=dataset: (cfg, d, f"small{next(numbers)}", "train")),
            }  # fmt: skip
            for title, (name, arguments) in calls.items():
                if quick and name == "save_preprocessed_dataset":
                    continue
                found.append(measure(name, f"{title}, {count}", arguments, quick))
        found += files(Path(folder), quick)
    return found


def files(folder: Path, quick: bool) -> Iterator[seam_bench.Row]:
    """Measure local files for which our reader is not asked."""
    import json

    from axolotl.utils.dict import DictDefault

    options = {"split": "train"}
    for count in COUNTS:
        file = folder / f"{count}.jsonl"
        file.write_text("".join(json.dumps({"text": "abcd" * i}) + "\n" for i in range(count)))
        config = DictDefault(path=str(file), ds_type="json", type="completion")
        yield measure(
            "load_local_file",
            f"load_local_file, {count}, not engaged",
            lambda config=config: (config, options),
            quick,
        )


if __name__ == "__main__":
    parts = (packing, collators, streaming, deduplicate, rows)
    seam_bench.run(__doc__, "axolotl_small_calls.json", {part.__name__: part for part in parts})
