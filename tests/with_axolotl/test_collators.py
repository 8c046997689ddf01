"""The padding collators against Axolotl's own."""

import copy
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from axolotl.utils.collators import batching
from hypothesis import given, settings
from hypothesis import strategies as st
from seam_tools import (
    assert_same,
    check_known,
    original_of,
    outcome,
    replacement_of,
)
from tokenizer_of import small_tokenizer
from transformers import PreTrainedTokenizerBase

import fast_axolotl
from fast_axolotl.axolotl import shim
from fast_axolotl.axolotl.seams.collators import SEAMS

KINDS = {seam.name: seam.attribute.split(".")[0] for seam in SEAMS}
SEAM = {seam.name: seam for seam in SEAMS}
PADDING, BATCH, V2, PRETRAINING = KINDS


def collator(name: str, **settings: Any) -> Any:
    tokenizer = copy.deepcopy(small_tokenizer())
    for key in ("padding_side", "model_input_names", "pad_token", "pad_token_type_id"):
        if key in settings:
            setattr(tokenizer, key, settings.pop(key))
    return getattr(batching, KINDS[name])(tokenizer, **settings)


def compare(name: str, collate: Any, features: Any, *args: Any, **kwargs: Any) -> Any:
    """Both answer, and leave the same behind; returns what they answer, or the error."""
    ours = copy.deepcopy(features)
    stock = copy.deepcopy(features)
    replacement = replacement_of(SEAM[name])
    found, error = outcome(replacement, collate, ours, *args, **kwargs)
    wanted, expected = outcome(original_of(SEAM[name]), collate, stock, *args, **kwargs)
    assert error == expected
    assert_same(found, wanted)
    assert_same(ours, stock)
    if wanted is not None:
        for key, value in wanted.items():
            if isinstance(value, torch.Tensor):
                other = found[key]
                assert other.is_contiguous() == value.is_contiguous()
                assert other.stride() == value.stride()
                assert (other.requires_grad, other.layout) == (value.requires_grad, value.layout)
                resizable = other.untyped_storage().resizable()
                assert resizable >= value.untyped_storage().resizable()
    return wanted if error is None else error


# --- drawn batches --------------------------------------------------------------------------------

TOKENS = st.integers(0, 600)
ODD = st.one_of(
    st.integers(-(2**63), 2**63 - 1),
    st.integers(2**63, 2**66),
    st.booleans(),
    st.floats(allow_nan=False, width=32),
    st.none(),
    st.just("x"),
    st.just(np.int64(3)),
)


@st.composite
def row(draw: st.DrawFn, names: list[str], form: str, ragged: bool, odd: bool) -> dict[str, Any]:
    length = draw(st.integers(0 if draw(st.integers(0, 9)) == 0 else 1, 12))
    features: dict[str, Any] = {}
    for name in names:
        if name == "length":
            features[name] = length
            continue
        own = draw(st.integers(0, 12)) if ragged and draw(st.booleans()) else length
        items = TOKENS if not odd else st.one_of(TOKENS, TOKENS, TOKENS, ODD)
        if name == "attention_mask":
            items = st.integers(0, 1) if not odd else items
        values: Any = draw(st.lists(items, min_size=own, max_size=own))
        kind = form if form != "mixed" else draw(st.sampled_from(["list", "numpy", "torch"]))
        if kind == "numpy":
            dtype = draw(st.sampled_from(["int64", "int64", "int32", "int8", "uint8", "uint64"]))
            if name == "attention_mask" or dtype in ("int64", "int32", "uint64"):
                try:
                    values = np.array(values, dtype=dtype)
                except (TypeError, ValueError, OverflowError):
                    values = np.array(values, dtype=object)
            else:
                values = np.array(values)
        elif kind == "torch":
            try:
                values = torch.tensor(values)
            except (TypeError, ValueError, RuntimeError, OverflowError):
                values = list(values)
        features[name] = values
    return features


NAMES = st.lists(
    st.sampled_from(
        ["labels", "attention_mask", "position_ids", "token_type_ids", "length", "loss_weights"]
    ),
    unique=True,
    max_size=6,
)


@st.composite
def batch(draw: st.DrawFn, groups: bool = False) -> list[Any]:
    names = draw(NAMES)
    names.insert(draw(st.integers(0, len(names))), "input_ids")
    form = draw(st.sampled_from(["list", "list", "numpy", "torch", "mixed"]))
    ragged, odd = draw(st.integers(0, 9)) == 0, draw(st.integers(0, 4)) == 0
    rows = st.lists(row(names, form, ragged, odd), min_size=1, max_size=4)
    found = draw(st.lists(rows, min_size=1, max_size=3) if groups else rows)
    if draw(st.integers(0, 9)) == 0:
        first = found[-1] if not groups else found[-1][-1]
        name = draw(st.sampled_from(names))
        del first[name]
    return found


SETTINGS = st.fixed_dictionaries(
    {
        "padding_side": st.sampled_from(["right", "left"]),
        "pad_to_multiple_of": st.sampled_from([None, None, 1, 4, 8, 0]),
        "label_pad_token_id": st.sampled_from([-100, -100, 0]),
        "return_tensors": st.sampled_from(["pt", "pt", "pt", "pt", "np", None]),
        "model_input_names": st.sampled_from(
            [["input_ids", "attention_mask"]] * 3
            + [["input_ids"], ["input_ids", "token_type_ids", "attention_mask"], ["labels"]]
        ),
    },
    optional={
        "padding": st.sampled_from([True, "longest", "max_length", False]),
        "max_length": st.sampled_from([None, 12, 16, 4]),
    },
)


@given(batch(), SETTINGS)
@settings(max_examples=250, deadline=None)
@pytest.mark.filterwarnings("ignore:`max_length` is ignored")
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_padding(features: list[Any], chosen: dict[str, Any]) -> None:
    compare(PADDING, collator(PADDING, **chosen), features)


@given(batch(groups=True), SETTINGS, st.sampled_from([BATCH, V2]), st.booleans(), st.booleans())
@settings(max_examples=250, deadline=None)
@pytest.mark.filterwarnings("ignore:`max_length` is ignored")
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_joining(
    features: list[Any], chosen: dict[str, Any], name: str, flat: bool, squash: bool
) -> None:
    more = {"squash_position_ids": squash} if name == V2 else {}
    compare(name, collator(name, **chosen, **more), features[0] if flat else features)


@given(batch(), SETTINGS, st.booleans())
@settings(max_examples=200, deadline=None)
@pytest.mark.filterwarnings("ignore:`max_length` is ignored")
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_pretraining(features: list[Any], chosen: dict[str, Any], numbered: bool) -> None:
    columns: dict[str, list[Any]] = {}
    for each in features:
        for key, value in each.items():
            columns.setdefault(key, []).append(value)
    compare(PRETRAINING, collator(PRETRAINING, multipack_attn=numbered, **chosen), columns)


#: Some of one digit and some of several, each the same object wherever it is drawn.
SHARED = [*range(300, 340), -5, -(2**40), 2**30 - 1, 2**30, 2**52, 2**53 + 1]


@st.composite
def shared_row(draw: st.DrawFn, large: bool, odd: bool) -> dict[str, Any]:
    """Draw a row as strategies make them: labels are the very ints of the tokens, masks one int."""
    length = draw(st.integers(1, 70))
    places = st.integers(0, len(SHARED) - 1 if large else 39)
    ids = [SHARED[i] for i in draw(st.lists(places, min_size=length, max_size=length))]
    masked = draw(st.integers(0, length))
    labels = [-100] * masked + ids[masked:]
    mask = [1] * length
    if draw(st.booleans()):
        labels[draw(st.integers(0, length - 1))] = draw(st.sampled_from(SHARED[:40]))
    if draw(st.booleans()):
        mask[draw(st.integers(0, length - 1))] = draw(st.sampled_from([0, 2**40]))
    found = {"input_ids": ids, "labels": labels, "attention_mask": mask}
    if odd:
        column = found[draw(st.sampled_from(sorted(found)))]
        column[draw(st.integers(0, length - 1))] = draw(st.sampled_from([True, 2**63, 1.0, None]))
    names = draw(st.permutations(sorted(found)))
    return {name: found[name] for name in names}


@given(st.data(), st.booleans(), st.sampled_from([False, False, False, True]))
@settings(max_examples=120, deadline=None)
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_columns_that_share_their_ints(data: st.DataObject, large: bool, odd: bool) -> None:
    rows = data.draw(st.lists(shared_row(large, odd), min_size=1, max_size=4))
    side = data.draw(st.sampled_from(["right", "left"]))
    compare(PADDING, collator(PADDING, padding_side=side), rows)
    compare(BATCH, collator(BATCH, padding_side=side), [rows, rows[::-1]])
    compare(V2, collator(V2, padding_side=side), [rows, rows[:1]])
    columns = {name: [row[name] for row in rows] for name in rows[0]}
    for numbered in (False, True):
        compare(PRETRAINING, collator(PRETRAINING, multipack_attn=numbered), columns)


# --- what must be taken, and what must not --------------------------------------------------------


def feature(length: int) -> dict[str, Any]:
    return {
        "input_ids": list(range(length)),
        "labels": list(range(length)),
        "attention_mask": [1] * length,
        "position_ids": list(range(length)),
        "length": length,
    }


def features_for(name: str, form: str = "lists") -> Any:
    rows: list[Any] = [feature(5), feature(3), feature(9)]
    if form == "arrays":
        rows = [{k: np.array(v) if k != "length" else v for k, v in r.items()} for r in rows]
    elif form == "tensors":
        rows = [{k: torch.tensor(v) if k != "length" else v for k, v in r.items()} for r in rows]
    if name == PRETRAINING:
        return {key: [each[key] for each in rows] for key in rows[0]}
    return rows if name == PADDING else [rows, rows[:1]]


@pytest.fixture
def without_original(monkeypatch: pytest.MonkeyPatch) -> None:
    """Makes it an error that our side falls back to the original."""

    def refuse(*_args: Any, **_kwargs: Any) -> None:
        raise AssertionError("the original was asked")

    for name, seam in SEAM.items():
        monkeypatch.setitem(SEAM, name, seam)
        monkeypatch.setitem(REFUSING, name, seam.build(refuse))


REFUSING: dict[str, Any] = {}


@pytest.mark.usefixtures("without_original")
@pytest.mark.parametrize("side", ["right", "left"])
@pytest.mark.parametrize("multiple", [None, 8])
@pytest.mark.parametrize(
    ("name", "form"),
    [(name, form) for name in KINDS for form in ("lists", "arrays")] + [(PADDING, "tensors")],
)
def test_usual_batches_are_ours(name: str, form: str, side: str, multiple: int | None) -> None:
    collate = collator(name, padding_side=side, pad_to_multiple_of=multiple)
    found = REFUSING[name](collate, features_for(name, form))
    assert_same(found, original_of(SEAM[name])(collate, features_for(name, form)))


@pytest.mark.parametrize("name", KINDS)
def test_what_was_replaced_is_known(name: str) -> None:
    check_known(SEAM[name])


@pytest.mark.parametrize("name", KINDS)
def test_conditions_hold_for_usual_batches(name: str) -> None:
    seam = SEAM[name]
    for args, kwargs in (
        ((collator(name), features_for(name)), {}),
        ((collator(name),), {"features": features_for(name)}),
        (seam.workload("axolotl", "axolotl", 4, 16)),
    ):
        assert [c.reason for c in seam.conditions if not c.holds(args, kwargs)] == []
        assert seam.describe(args, kwargs).sizes.elements > 0


@pytest.mark.parametrize("name", KINDS)
def test_workloads_are_answered_alike(name: str) -> None:
    seam = SEAM[name]
    (collate, features), _ = seam.workload("axolotl", "axolotl", 3, 40)
    compare(name, collate, features)


@pytest.mark.parametrize("name", KINDS)
def test_a_wrong_keyword_is_told_in_stocks_words(name: str) -> None:
    collate, said = collator(name), []
    for mode in ("python", "rust", "auto"):
        with fast_axolotl.dispatch_mode(mode), pytest.raises(TypeError) as caught:
            collate(features_for(name), tensors="pt")
        said.append(str(caught.value))
    assert said == [said[0]] * 3


class Eager(type(small_tokenizer())):  # type: ignore[misc]
    def pad(self, *args: Any, **kwargs: Any) -> Any:
        padded = super().pad(*args, **kwargs)
        padded["mine"] = torch.zeros(1)
        return padded


@pytest.mark.parametrize("name", KINDS)
def test_a_tokenizer_that_pads_in_its_own_way_does_so(name: str) -> None:
    collate = collator(name)
    collate.tokenizer.__class__ = Eager
    assert "mine" in compare(name, collate, features_for(name))


@pytest.mark.parametrize("name", KINDS)
def test_padding_that_somebody_replaced_is_called(
    monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    """For every tokenizer, and after our installation."""
    stock = PreTrainedTokenizerBase.pad

    def theirs(*args: Any, **kwargs: Any) -> Any:
        padded = stock(*args, **kwargs)
        padded["mine"] = torch.zeros(1)
        return padded

    monkeypatch.setattr(PreTrainedTokenizerBase, "pad", theirs)
    with fast_axolotl.dispatch_mode("rust"):
        assert "mine" in collator(name)(features_for(name))


@pytest.mark.parametrize("name", [BATCH, V2, PRETRAINING])
def test_a_subclass_runs_the_code_of_its_bases(name: str) -> None:
    class Between(batching.DataCollatorForSeq2Seq):
        def __call__(self, features: Any, return_tensors: Any = None) -> Any:
            found = super().__call__(features, return_tensors=return_tensors)
            found["between"] = torch.ones(1)
            return found

    kind = getattr(batching, KINDS[name])
    mixed = type("Mixed", (kind, Between), {})
    collate = mixed(small_tokenizer())
    assert "between" in compare(name, collate, features_for(name))


def test_the_model_prepares_decoder_inputs() -> None:
    def prepare(labels: torch.Tensor) -> torch.Tensor:
        return labels.roll(1)

    model = SimpleNamespace(prepare_decoder_input_ids_from_labels=prepare)
    for name in KINDS:
        assert "decoder_input_ids" in compare(name, collator(name, model=model), features_for(name))


def test_return_tensors_of_the_call_wins() -> None:
    for name in KINDS:
        compare(name, collator(name, return_tensors="np"), features_for(name), "pt")
        compare(name, collator(name), features_for(name), return_tensors="np")


@pytest.mark.parametrize("name", KINDS)
def test_errors_are_those_of_the_original(name: str) -> None:
    collate = collator(name)
    collate.tokenizer.pad_token = None
    assert "padding token" in compare(name, collate, features_for(name))[1]
    for features in ([], {}, None, [None], [[]], [{}], [[{}]], "ab", [{"labels": [1]}]):
        compare(name, collator(name), features)


def test_a_row_that_is_there_twice_is_padded_once() -> None:
    def features() -> list[Any]:
        row, other = feature(3), feature(6)
        row["labels"] = row["position_ids"] = other["input_ids"]
        return [row, other, row]

    ours, stock = features(), features()
    collate = collator(PADDING)
    assert_same(
        replacement_of(SEAM[PADDING])(collate, ours), original_of(SEAM[PADDING])(collate, stock)
    )
    assert_same(ours, stock)
    assert ours[0] is ours[2]


@pytest.mark.parametrize("name", KINDS)
def test_a_default_device_and_dtype_are_respected(name: str) -> None:
    torch.set_default_device("meta")
    try:
        found, error = outcome(replacement_of(SEAM[name]), collator(name), features_for(name))
        wanted, expected = outcome(original_of(SEAM[name]), collator(name), features_for(name))
    finally:
        torch.set_default_device(None)
    assert error == expected
    assert {k: (v.device, v.shape) for k, v in found.items()} == {
        k: (v.device, v.shape) for k, v in wanted.items()
    }
    torch.set_default_dtype(torch.float64)
    try:
        compare(name, collator(name), features_for(name))
    finally:
        torch.set_default_dtype(torch.float32)
    with torch.inference_mode():
        compare(name, collator(name), features_for(name))


def test_tensors_can_be_resized_and_shared() -> None:
    found = replacement_of(SEAM[PADDING])(collator(PADDING), features_for(PADDING))
    ids = found["input_ids"]
    ids.resize_(1, 4)
    assert ids.share_memory_().is_shared()


def test_in_place_changes_stay_within_a_batch() -> None:
    features = features_for(PADDING, "arrays")
    found = replacement_of(SEAM[PADDING])(collator(PADDING), features)
    found["input_ids"].fill_(7)
    found["labels"].fill_(7)
    assert_same([row["input_ids"] for row in features], [np.arange(n) for n in (5, 3, 9)])
    assert list(features[0]["labels"][:5]) == [0, 1, 2, 3, 4]


# --- as it is installed ---------------------------------------------------------------------------


@pytest.fixture
def installed() -> Iterator[None]:
    was_installed = shim.is_installed()
    fast_axolotl.install()
    yield
    if not was_installed:
        fast_axolotl.uninstall()


@pytest.mark.usefixtures("installed")
@pytest.mark.parametrize("mode", ["auto", "rust", "python", "verify"])
def test_every_mode_gives_the_same(mode: str) -> None:
    for name in KINDS:
        seam = SEAM[name]
        assert original_of(seam) is not getattr(batching, KINDS[name]).__call__
        for form in ("lists", "arrays"):
            wanted = original_of(seam)(collator(name), features_for(name, form))
            with fast_axolotl.dispatch_mode(mode):
                assert_same(collator(name)(features_for(name, form)), wanted)


@pytest.mark.usefixtures("installed")
def test_eight_threads_at_once() -> None:
    features = [feature(1 + i * 37 % 400) for i in range(32)]
    collate = collator(V2)
    wanted = original_of(SEAM[V2])(collate, [features[:5], features[5:]])

    def work(_: int) -> Any:
        return [collate([features[:5], features[5:]]) for _ in range(20)]

    with ThreadPoolExecutor(8) as pool:
        for batches in pool.map(work, range(8)):
            for found in batches:
                assert_same(found, wanted)


@pytest.mark.usefixtures("installed")
@pytest.mark.parametrize("start", ["fork", "spawn"])
@pytest.mark.filterwarnings("ignore")
def test_workers_of_a_data_loader(start: str) -> None:
    rows = [feature(1 + i * 7 % 30) for i in range(12)]
    collate = collator(PADDING, pad_to_multiple_of=8)
    collate([dict(row) for row in rows])  # used before the fork
    loader = torch.utils.data.DataLoader(
        rows, batch_size=4, collate_fn=collate, num_workers=1, multiprocessing_context=start
    )
    found = [dict(batch) for batch in loader]
    stock = original_of(SEAM[PADDING])
    wanted = [dict(stock(collate, [dict(r) for r in rows[i : i + 4]])) for i in (0, 4, 8)]
    assert_same(found, wanted)
