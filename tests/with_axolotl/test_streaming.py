"""The pretraining stream against Axolotl's own, and its rows as tensors against `datasets`."""

import logging
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
import torch
from axolotl.utils.data import streaming
from axolotl.utils.dict import DictDefault
from datasets import Dataset, IterableDataset
from datasets.formatting import TorchFormatter
from hypothesis import given, settings
from hypothesis import strategies as st
from seam_tools import (
    TOO_OLD,
    assert_same,
    check_known,
    original_of,
    outcome,
    replacement_of,
)
from tokenizer_of import small_tokenizer

from fast_axolotl.axolotl.seams.streaming import SEAMS

ENCODE, ROWS = SEAMS


class Tokens:
    """A tokenizer whose answer is given; `max_length` cuts, as a real one does."""

    def __init__(self, ids: Any, masks: Any = None, eos: Any = 1, pad: Any = 2) -> None:
        self.ids, self.masks = ids, masks
        self.eos_token_id, self.pad_token_id = eos, pad
        self.calls: list[Any] = []

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        self.calls.append((args, kwargs))
        masks = self.masks
        if masks is None:
            masks = [[1] * len(row) if isinstance(row, list) else row for row in self.ids]
        return {"input_ids": self.ids, "attention_mask": masks}


def compare(tokens: Callable[[], Tokens], *args: Any, **kwargs: Any) -> Any:
    ours, stock = tokens(), tokens()
    examples = {"text": ["a"] * 3}
    found, error = outcome(replacement_of(ENCODE), examples, ours, *args, **kwargs)
    wanted, expected = outcome(original_of(ENCODE), examples, stock, *args, **kwargs)
    assert error == expected
    assert_same(found, wanted)
    assert ours.calls == stock.calls
    assert_same(ours.ids, stock.ids)
    return wanted if error is None else error


SEQUENCE = st.lists(st.integers(0, 5000), max_size=14)


@given(
    st.lists(SEQUENCE, max_size=25), st.integers(1, 40), st.booleans(), st.sampled_from([2, 1, -7])
)
@settings(max_examples=400, deadline=None)
def test_encoding(ids: list[list[int]], max_tokens: int, concatenate: bool, pad: int) -> None:
    compare(
        lambda: Tokens([list(row) for row in ids], pad=pad), max_tokens, concatenate=concatenate
    )


ODD = st.one_of(
    st.integers(-(2**66), 2**66),
    st.integers(2**23, 2**26),
    st.booleans(),
    st.floats(allow_nan=False),
    st.none(),
    st.just("x"),
    st.just(np.int64(5)),
    st.lists(st.integers(0, 3), max_size=2),
)
ODD_SEQUENCE = st.one_of(
    SEQUENCE,
    st.lists(st.one_of(st.integers(0, 9), ODD), max_size=5),
    st.lists(st.integers(0, 9), max_size=5).map(tuple),
    st.lists(st.integers(0, 9), max_size=5).map(np.array),
    st.integers(0, 9),
    st.none(),
)


@given(
    st.lists(ODD_SEQUENCE, max_size=6),
    st.one_of(st.none(), st.lists(ODD_SEQUENCE, max_size=6)),
    st.sampled_from([-1, 0, 1, 2, 9, 20, 20.0, True, None]),
    st.booleans(),
    st.sampled_from([1, None, 2**40, 1.5, "x", True]),
    st.sampled_from([2, None, 2**40, 1.5, "x", True]),
)
@settings(max_examples=400, deadline=None)
@pytest.mark.filterwarnings("ignore")
def test_encoding_of_odd_tokens(
    ids: list[Any], masks: Any, max_tokens: Any, concatenate: bool, eos: Any, pad: Any
) -> None:
    compare(lambda: Tokens(ids, masks, eos, pad), max_tokens, concatenate=concatenate)


@pytest.mark.parametrize("concatenate", [True, False])
@pytest.mark.parametrize("missing", ["input_ids", "attention_mask"])
def test_a_tokenizer_that_gives_less_is_an_error(concatenate: bool, missing: str) -> None:
    class Less(Tokens):
        def __call__(self, *args: Any, **kwargs: Any) -> Any:
            found = super().__call__(*args, **kwargs)
            del found[missing]
            return found

    kind, message = compare(lambda: Less([[3]]), 8, concatenate=concatenate)
    assert kind is KeyError
    assert missing in message


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
def test_an_empty_sequence_makes_floats_of_its_row(dtype: torch.dtype) -> None:
    torch.set_default_dtype(dtype)
    try:
        rows = compare(lambda: Tokens([[5] * 4, [6], [], [7] * 6, [300], []]), 10)
        compare(lambda: Tokens([[2**24 + 1], []]), 10)
        # Rows that are full, hold nothing else, or have a pad that a float32 can't hold.
        for max_tokens in (2, 4, 9):
            compare(lambda: Tokens([[], [5, 6], [], [], [7, 8], []]), max_tokens)
        compare(lambda: Tokens([[1], []], pad=2**24 + 1), 10)
    finally:
        torch.set_default_dtype(torch.float32)
    assert {type(value) for row in rows["input_ids"] for value in row} == {int, float}


def test_the_rows_are_counted_in_the_log(caplog: pytest.LogCaptureFixture) -> None:
    records = []
    for function in (replacement_of(ENCODE), original_of(ENCODE)):
        caplog.clear()
        with caplog.at_level(logging.DEBUG, logger=streaming.LOG.logger.name):
            function({"text": []}, Tokens([[3] * 4] * 5), 10)
        records.append([(r.name, r.levelno, r.getMessage()) for r in caplog.records])
    assert records[0] == records[1]
    assert len(records[0]) == 1


@pytest.mark.parametrize("concatenate", [True, False])
def test_a_real_tokenizer(concatenate: bool) -> None:
    texts = ["some text " * n for n in (1, 50, 3, 0, 9)] + ["", "é中🦀\x00"]
    for args in (
        ({"text": texts}, small_tokenizer(), 32),
        ({"t": texts}, small_tokenizer(), 16, "t"),
    ):
        found = replacement_of(ENCODE)(*args, concatenate=concatenate)
        assert_same(found, original_of(ENCODE)(*args, concatenate=concatenate))


def test_rows_share_nothing() -> None:
    for concatenate in (True, False):
        tokens = Tokens([[3, 4], [5]])
        found = replacement_of(ENCODE)({"text": []}, tokens, 16, concatenate=concatenate)
        rows = [row for column in found.values() for row in column]
        assert len({id(row) for row in rows + tokens.ids}) == len(rows + tokens.ids)


@pytest.mark.parametrize(
    "seam", [seam for seam in SEAMS if seam.name not in TOO_OLD], ids=lambda seam: seam.name
)
def test_what_was_replaced_is_known(seam: Any) -> None:
    check_known(seam)
    args, kwargs = seam.workload("axolotl", "axolotl", 5, 30)
    assert [c.reason for c in seam.conditions if not c.holds(args, kwargs)] == []
    assert seam.describe(args, kwargs).sizes.elements > 0
    replacement = replacement_of(seam)
    assert_same(replacement(*args, **kwargs), original_of(seam)(*args, **kwargs))
    assert replacement.taken == 1


# --- rows into tensors ----------------------------------------------------------------------------

VALUE = st.one_of(
    st.lists(st.integers(0, 5000), max_size=8),
    st.lists(st.lists(st.integers(-9, 9), max_size=3), max_size=4),
    st.lists(st.lists(st.integers(-9, 9), min_size=2, max_size=2), max_size=4),
    st.lists(st.one_of(st.integers(0, 9), ODD), max_size=4),
    st.integers(-(2**63), 2**63 - 1),
    st.integers(2**63, 2**64),
    st.floats(allow_nan=False),
    st.text(max_size=3),
    st.binary(max_size=3),
    st.none(),
    st.booleans(),
    st.lists(st.text(max_size=2), max_size=3),
    st.lists(st.integers(0, 9), max_size=4).map(tuple),
    st.lists(st.integers(0, 9), max_size=4).map(np.array),
    st.lists(st.integers(0, 9), max_size=4).map(torch.tensor),
    st.lists(st.integers(0, 9), max_size=4).map(lambda v: np.array(v, dtype="uint16")),
    st.dictionaries(st.text(max_size=2), st.lists(st.integers(0, 9), max_size=3), max_size=2),
    st.builds(object),
)


@given(st.dictionaries(st.text(max_size=3), VALUE, max_size=4))
@settings(max_examples=500, deadline=None)
@pytest.mark.filterwarnings("ignore")
def test_rows(row: dict[str, Any]) -> None:
    found, error = outcome(replacement_of(ROWS), TorchFormatter(), row)
    wanted, expected = outcome(original_of(ROWS), TorchFormatter(), row)
    assert error == expected
    assert_same(found, wanted)


class Half(TorchFormatter):  # type: ignore[misc]
    def _tensorize(self, value: Any) -> Any:  # noqa: ARG002
        return torch.tensor(0.5)


@pytest.mark.parametrize(
    "formatter", [Half(), TorchFormatter(dtype=torch.float32), TorchFormatter(device="meta")]
)
def test_a_formatter_of_its_own_kind_does_as_it_does(formatter: Any) -> None:
    row = {"input_ids": [3, 4], "x": [[1, 2]]}
    found = replacement_of(ROWS)(formatter, row)
    wanted = original_of(ROWS)(formatter, row)
    for key, value in wanted.items():
        assert (found[key].dtype, found[key].device) == (value.dtype, value.device)
        if value.device.type == "cpu":
            assert_same(found[key], value)
    for data in ([3, 4], 3, "x", np.arange(3)):  # what is no row
        assert_same(replacement_of(ROWS)(Half(), data), original_of(ROWS)(Half(), data))


# --- end to end -----------------------------------------------------------------------------------


@pytest.fixture
def patched() -> Iterator[Callable[[bool], None]]:
    """Puts the seams of the stream in place, and takes them out."""
    places = []
    for seam in SEAMS:
        owner = streaming if seam is ENCODE else TorchFormatter
        name = seam.attribute.rpartition(":")[2].rpartition(".")[2]
        places.append((owner, name, vars(owner)[name], replacement_of(seam)))

    def switch(on: bool) -> None:
        for owner, name, original, replacement in places:
            setattr(owner, name, replacement if on else original)

    before = [(owner, name, original) for owner, name, original, _ in places]
    switch(False)
    yield switch
    for owner, name, original in before:
        setattr(owner, name, original)


def stream(concatenate: bool, columns: int = 1) -> Any:
    cfg = DictDefault(
        {
            "sample_packing": False,
            "sequence_len": 48,
            "pretraining_dataset": [{"path": "x"}],
            "streaming_multipack_buffer_size": 16,
            "pretraining_sample_concatenation": concatenate,
            "shuffle_merged_datasets": False,
        }
    )
    rows = [
        {"text": "word " * (i * 7 % 31 + 1), **{f"c{j}": i for j in range(columns - 1)}}
        for i in range(50)
    ]
    dataset = Dataset.from_list(rows).to_iterable_dataset(num_shards=4)
    return streaming.wrap_streaming_dataset(dataset, small_tokenizer(), cfg, None)


@pytest.mark.parametrize("concatenate", [True, False])
@pytest.mark.parametrize("form", [None, "torch", "numpy", "arrow"])
def test_streams_are_alike(patched: Any, concatenate: bool, form: str | None) -> None:
    answers = []
    for on in (False, True):
        patched(on)
        dataset = stream(concatenate, columns=2)
        dataset = dataset if form is None else dataset.with_format(form)
        rows = list(dataset)
        answers.append((rows, list(dataset.iter(batch_size=3)), dataset.state_dict()))
    assert_same(answers[1], answers[0])
    if form is None:
        assert all(type(value) is list for row in answers[1][0] for value in row.values())
    if form == "torch":
        assert all(value.dtype is torch.int64 for row in answers[1][0] for value in row.values())


def test_a_stream_goes_on_from_where_it_stopped(patched: Any) -> None:
    answers = []
    for on in (False, True):
        patched(on)
        dataset = stream(True).with_format("torch")
        iterator = iter(dataset)
        for _ in range(5):
            next(iterator)
        state = dataset.state_dict()
        other = stream(True).with_format("torch")
        other.load_state_dict(state)
        answers.append((state, list(other)))
    assert_same(answers[1], answers[0])


@pytest.mark.parametrize("start", [None, "fork"])
def test_a_data_loader_gives_the_same_batches(patched: Any, start: str | None) -> None:
    answers = []
    for on in (False, True):
        patched(on)
        dataset = stream(True).with_format("torch")
        workers = {} if start is None else {"num_workers": 2, "multiprocessing_context": start}
        loader = torch.utils.data.DataLoader(dataset, batch_size=2, drop_last=True, **workers)
        answers.append(list(loader))
    assert isinstance(stream(True), IterableDataset)
    assert_same(answers[1], answers[0])
