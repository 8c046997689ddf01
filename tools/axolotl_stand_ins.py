"""A conftest for Axolotl's own tests: what they take from the hub, made here.

A tokenizer trained on the standard library stands for `huggyllama/llama-7b`, rows made of its texts
for the data sets. Both sides get the same. `tools/axolotl_own_tests` copies this file.
"""

import inspect
import json
import logging
import pydoc
import tempfile
import textwrap

import pytest
from datasets import Dataset, DatasetDict
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers
from transformers import (
    AutoConfig,
    AutoTokenizer,
    LlamaConfig,
    LlamaTokenizer,
    PreTrainedTokenizerFast,
)

NAME = "huggyllama/llama-7b"
# The tests count the tokens of these.
SENTENCES = [
    "Hello, world!",
    "Nice to meet you again!.",
    "lorem ipsum dolor sit amet.",
    "hello, hello",
]


def paragraphs():
    """Return texts of the standard library."""
    sources = [inspect.getsource(module) for module in (inspect, json, logging, pydoc, textwrap)]
    return [text for source in sources for text in source.split("\n\n") if len(text) > 40]


def make_tokenizer(folder):
    """Save a tokenizer of Llama's kind."""
    backend = Tokenizer(models.BPE(byte_fallback=True, unk_token="<unk>"))
    space = pre_tokenizers.Metaspace(prepend_scheme="first", split=True)
    backend.pre_tokenizer = pre_tokenizers.Sequence(
        [space, pre_tokenizers.Punctuation("contiguous")]
    )
    backend.decoder = decoders.Metaspace(prepend_scheme="first")
    special = ["<unk>", "<s>", "</s>"]
    trainer = trainers.BpeTrainer(vocab_size=4000, special_tokens=special, show_progress=False)
    backend.train_from_iterator(SENTENCES * 50 + paragraphs(), trainer)
    start = ("<s>", backend.token_to_id("<s>"))
    backend.post_processor = processors.TemplateProcessing(
        single="<s> $A", pair="<s> $A <s> $B", special_tokens=[start]
    )
    PreTrainedTokenizerFast(
        tokenizer_object=backend, bos_token="<s>", eos_token="</s>", unk_token="<unk>"
    ).save_pretrained(folder)
    LlamaConfig(vocab_size=backend.get_vocab_size(), num_hidden_layers=1).save_pretrained(folder)


_folder = tempfile.TemporaryDirectory()
make_tokenizer(_folder.name)


def _redirect(owner):
    stock = owner.from_pretrained

    def from_pretrained(name, *args, **kwargs):
        return stock(_folder.name if name == NAME else name, *args, **kwargs)

    owner.from_pretrained = from_pretrained


_redirect(AutoConfig)
_redirect(AutoTokenizer)
LlamaTokenizer.from_pretrained = AutoTokenizer.from_pretrained


@pytest.fixture
def tokenizer_huggyllama():
    """Give a tokenizer, new for each test."""
    tokenizer = AutoTokenizer.from_pretrained(NAME)
    tokenizer.pad_token = "</s>"
    return tokenizer


@pytest.fixture
def tokenizer_huggyllama_w_special_tokens(tokenizer_huggyllama):
    """Give the tokenizer with the special tokens that the tests expect of it."""
    tokenizer_huggyllama.add_special_tokens(
        {"bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>"}
    )
    return tokenizer_huggyllama


@pytest.fixture
def dataset_winglian_tiny_shakespeare():
    """Give long rows of text."""
    texts = paragraphs()
    rows = ["\n\n".join(texts[i : i + 6]) for i in range(0, len(texts), 6)]
    return DatasetDict({"train": Dataset.from_dict({"text": rows})})


@pytest.fixture
def dataset_fozziethebeat_alpaca_messages_2k_dpo_test_rev_ea82cff():
    """Give 1,800 conversations with two answers each."""
    texts = [text[:300] for text in paragraphs()]
    rows = [
        {
            "conversation": [{"role": "user", "content": f"{i}: {texts[i % len(texts)]}"}],
            "chosen": {"role": "assistant", "content": texts[(7 * i + 1) % len(texts)]},
            "rejected": {"role": "assistant", "content": texts[(11 * i + 3) % len(texts)]},
        }
        for i in range(1800)
    ]
    return Dataset.from_list(rows)
