"""A round through the seams, for tests of processes and threads; run as a program, it prints it."""

import sys
from typing import Any

ROWS = 120


def rows() -> Any:
    """Return a tokenized dataset with rows that are there twice, too short, masked."""
    from datasets import Dataset

    lengths = [(7 * i) % 90 + 1 for i in range(ROWS)]
    ids = [[(i % 40 + j) % 200 for j in range(n)] for i, n in enumerate(lengths)]
    labels = [[-100] * len(row) if i % 9 == 0 else row for i, row in enumerate(ids)]
    masks = [[1] * len(row) for row in ids]
    columns = {"input_ids": ids, "labels": labels, "attention_mask": masks}
    return Dataset.from_dict({name: value + value[:30] for name, value in columns.items()})


def results() -> dict[str, Any]:
    """Call what has a seam by the names in Axolotl, as Axolotl does."""
    import numpy as np
    from axolotl.utils import trainer
    from axolotl.utils.collators import batching
    from axolotl.utils.data import streaming, utils
    from axolotl.utils.dict import DictDefault
    from axolotl.utils.samplers import get_dataset_lengths, multipack
    from tokenizer_of import small_tokenizer
    from torch.utils.data import SequentialSampler

    tokenizer = small_tokenizer()
    cfg = DictDefault(sample_packing=True, is_preprocess=True, sequence_len=80)
    data = rows()
    unique, hashes = utils._deduplicate_dataset(data)
    kept = utils.handle_long_seq_in_dataset(unique, 80, cfg)
    packed, _ = trainer.process_datasets_for_packing(cfg, kept, None)
    lengths = np.asarray(get_dataset_lengths(packed, from_arrow=True), np.int32)
    sampler = multipack.MultipackBatchSampler(
        SequentialSampler(range(len(lengths))),  # type: ignore[arg-type]
        batch_size=2,
        batch_max_len=100,
        lengths=lengths,
        drop_last=True,
        bin_size=16,
        num_processes=1,
    )
    batches = sampler.generate_batches()
    features = [[packed[i] for i in members] for members in batches[0]]
    plain = [{k: v for k, v in data[i].items() if k != "length"} for i in range(8)]
    return {
        "unique": (unique.to_dict(), unique._fingerprint, sorted(hashes)),
        "packed": (packed.to_dict(), packed._fingerprint),
        "lengths": lengths.tolist(),
        "batches": batches,
        "bins": multipack.pack_parallel(lengths, 100, 1000, 16, 1),
        "padded": batching.DataCollatorForSeq2Seq(tokenizer)(plain),
        "collated": batching.V2BatchSamplerDataCollatorForSeq2Seq(tokenizer)(features),
        "stream": streaming.encode_streaming(
            {"text": ["some words", "and others", "of a stream"] * 20}, tokenizer, 64
        ),
    }


def digest() -> str:
    """Return the digest of a round."""
    from conformance import digest_of

    return digest_of(results())


def used() -> set[str]:
    """Return the seams that Rust answered in this process."""
    from fast_axolotl.axolotl import patching
    from fast_axolotl.dispatch import call

    figures = call.figures_by_function()
    return {
        name
        for name in patching.applied
        if figures[name]["rust"]["calls"] + figures[name]["rust_threads"]["calls"]
    }


if __name__ == "__main__":
    if sys.argv[1:] == ["stock"]:
        print(digest())
        assert not any(name.startswith("fast_axolotl") for name in sys.modules)
