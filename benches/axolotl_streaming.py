"""The pretraining stream, against Axolotl's own: interleaved minima.

    python benches/axolotl_streaming.py [--quick] [--only encode|stream|packed]

`encode_streaming` without the tokenizer (its answer is ready), and the stream end to end, with a
real one: 1,000 documents into rows of 2,048 tokens; the same documents as a packed stream. Ours is
the dispatched form, as installed.
"""

import functools
import inspect
import random
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import seam_bench

import fast_axolotl


class Ready:
    """A tokenizer whose answer is ready."""

    pad_token_id, eos_token_id = 0, 1

    def __init__(self, sequences: int, mean: float) -> None:
        drawn = random.Random(0)
        lengths = [min(2046, int(drawn.lognormvariate(mean, 0.8)) + 1) for _ in range(sequences)]
        ids = [[drawn.randrange(3, 32000) for _ in range(length)] for length in lengths]
        self.result = {"input_ids": ids, "attention_mask": [[1] * len(row) for row in ids]}

    def __call__(self, _texts: Any, **_kwargs: Any) -> Any:
        return self.result


def tokenizer_and_text() -> tuple[Any, str]:
    import argparse as one
    import decimal
    import typing

    sys.path.insert(0, str(Path(__file__).parent.parent / "tests" / "with_axolotl"))
    from tokenizer_of import byte_level_tokenizer

    text = "\n".join(map(inspect.getsource, (one, decimal, typing, inspect, random)))
    return byte_level_tokenizer([text], 4000), text


def documents(text: str, count: int, mean: float) -> list[str]:
    drawn = random.Random(0)
    found = []
    for _ in range(count):
        length = int(drawn.lognormvariate(mean, 0.8)) + 1
        start = drawn.randrange(max(1, len(text) - length))
        found.append(text[start : start + length])
    return found


def end_to_end(
    tokenizer: Any, texts: list[str], form: str | None, joined: bool
) -> Callable[[], Any]:
    from axolotl.utils.data import streaming
    from axolotl.utils.dict import DictDefault
    from datasets import Dataset

    cfg = DictDefault(
        {
            "sample_packing": False,
            "sequence_len": 2048,
            "pretraining_dataset": [{"path": "documents"}],
            "streaming_multipack_buffer_size": 1000,
            "pretraining_sample_concatenation": joined,
            "shuffle_merged_datasets": False,
        }
    )
    source = Dataset.from_dict({"text": texts}).to_iterable_dataset()

    def run() -> int:
        stream = streaming.wrap_streaming_dataset(source, tokenizer, cfg, None)
        stream = stream if form is None else stream.with_format(form)
        return sum(1 for _ in stream)

    return run


def packed_end_to_end(tokenizer: Any, texts: list[str], isolated: bool) -> Callable[[], Any]:
    from axolotl.utils.data import streaming
    from axolotl.utils.data.sft import get_dataset_wrapper
    from axolotl.utils.dict import DictDefault
    from datasets import Dataset

    source = Dataset.from_dict({"text": texts}).to_iterable_dataset()

    def run() -> int:
        cfg = DictDefault(
            {
                "sample_packing": True,
                "sequence_len": 2048,
                "micro_batch_size": 1,
                "pretraining_dataset": [{"path": "documents", "type": "pretrain"}],
                "streaming_multipack_buffer_size": 1000,
                "pretrain_multipack_attn": isolated,
                "sample_packing_bin_size": 200,
                "shuffle_merged_datasets": False,
                "train_on_inputs": True,
            }
        )
        wrapper = functools.partial(
            get_dataset_wrapper,
            dataset_config=cfg.pretraining_dataset[0],
            tokenizer=tokenizer,
            cfg=cfg,
            dataset_base_type="pretrain",
        )
        stream = streaming.wrap_streaming_dataset(source, tokenizer, cfg, wrapper)
        return sum(1 for _ in stream.with_format("torch"))

    return run


def stock_of(run: Callable[[], Any]) -> Callable[[], Any]:
    def stock() -> Any:
        fast_axolotl.uninstall()
        try:
            return run()
        finally:
            fast_axolotl.install()

    return stock


def encoding(quick: bool) -> list[seam_bench.Row]:
    import axolotl.utils.data.streaming  # noqa: F401

    rows = []
    stock, ours = seam_bench.seam("encode_streaming")
    for joined in (True, False):
        for count in (1, 2, 10, 100, 5000):
            ready = Ready(count, 4.0)
            keywords = {"concatenate": joined}
            goal = {100: 5.0, 5000: 100.0}.get(count) if joined else None
            rows.append(
                seam_bench.compare(
                    f"encode_streaming, {count} sequences, {'joined' if joined else 'apart'}",
                    functools.partial(stock, **keywords),
                    functools.partial(ours, **keywords),
                    lambda r=ready, n=count: ({"text": ["a"] * n}, r, 2048),
                    goal,
                    rounds=(2 if quick else 7) * (1 if count > 1000 else 5),
                    number=1 if count > 100 else 10,
                )
            )
    return rows


def streams(quick: bool) -> list[seam_bench.Row]:
    rows = []
    tokenizer, text = tokenizer_and_text()
    texts = documents(text, 1000, 6.5)
    sizes = [len(row) for row in tokenizer(texts)["input_ids"]]
    print(f"1,000 documents, {sum(sizes):,} tokens")
    rows.append(
        seam_bench.compare(
            "tokenization alone",
            lambda: tokenizer(texts),
            lambda: tokenizer(texts),
            tuple,
            rounds=2,
        )
    )
    for joined in (True, False):
        for form in ("torch", None):
            run = end_to_end(tokenizer, texts, form, joined)
            rows.append(
                seam_bench.compare(
                    f"stream, {'joined' if joined else 'apart'}, format {form}",
                    stock_of(run),
                    run,
                    tuple,
                    20.0 if form == "torch" else None,
                    rounds=1 if quick else 4,
                )
            )
    return rows


def packed_streams(quick: bool) -> list[seam_bench.Row]:
    import datasets

    datasets.disable_progress_bars()
    tokenizer, text = tokenizer_and_text()
    texts = documents(text, 1000, 6.5)
    rows = []
    for isolated in (True, False):
        run = packed_end_to_end(tokenizer, texts, isolated)
        rows.append(
            seam_bench.compare(
                f"packed stream, documents {'isolated' if isolated else 'not isolated'}",
                stock_of(run),
                run,
                tuple,
                rounds=1 if quick else 4,
            )
        )
    return rows


if __name__ == "__main__":
    seam_bench.run(
        __doc__,
        "axolotl_streaming.json",
        {"encode": encoding, "stream": streams, "packed": packed_streams},
    )
