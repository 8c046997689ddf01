"""Small tokenizers that no hub is needed for. Imports nothing of fast-axolotl."""

import functools
import inspect
from collections.abc import Iterable
from typing import Any


def byte_level_tokenizer(texts: Iterable[str], vocab_size: int, **special: str) -> Any:
    """Train a byte-level BPE tokenizer; it adds no special tokens to what it reads.

    Args:
        texts: what it is trained on.
        vocab_size: tokens it has at most, the special ones included.
        **special: more of those, as `PreTrainedTokenizerFast` names them; `<s>`, `</s>` and `<pad>`
            are the first three.
    """
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    special = {"bos_token": "<s>", "eos_token": "</s>", "pad_token": "<pad>", **special}
    backend = Tokenizer(models.BPE())
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size,
        special_tokens=list(special.values()),
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    backend.train_from_iterator(texts, trainer)
    return PreTrainedTokenizerFast(tokenizer_object=backend, **special)


@functools.cache
def small_tokenizer() -> Any:
    """Return a tokenizer of 600 tokens."""
    return byte_level_tokenizer([inspect.getsource(inspect)], 600)
