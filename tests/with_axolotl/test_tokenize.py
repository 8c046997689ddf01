"""Texts that are tokenized in pieces, against the tokenizer's own call."""

import copy
import functools
import logging
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from seam_tools import (
    assert_same,
    check_known,
    original_of,
    replacement_of,
    reset,
)
from tokenizer_of import byte_level_tokenizer, small_tokenizer
from tokenizers import (
    AddedToken,
    Tokenizer,
    models,
    normalizers,
    pre_tokenizers,
    processors,
    trainers,
)
from transformers import PreTrainedTokenizerFast

import fast_axolotl
from fast_axolotl.axolotl.seams import tokenize
from fast_axolotl.axolotl.seams.streaming import SEAMS
from fast_axolotl.dispatch import dispatch_mode

SPECIAL = {"unk_token": "<unk>", "eos_token": "</s>", "pad_token": "<pad>", "bos_token": "<s>"}
CORPUS = ["some text, and some more of it: words, word.", "Ünïcode é 中文 字 🦀", "def f(x): x"] * 9


def trained(model: Any, trainer: type, **parts: Any) -> Any:
    backend = Tokenizer(model)
    for name, part in parts.items():
        setattr(backend, name, part)
    kwargs = {"special_tokens": list(SPECIAL.values()), "show_progress": False, "vocab_size": 150}
    if trainer is trainers.UnigramTrainer:
        kwargs["unk_token"] = "<unk>"
    backend.train_from_iterator(CORPUS, trainer(**kwargs))
    return PreTrainedTokenizerFast(tokenizer_object=backend, **SPECIAL)


def with_template(tokenizer: Any) -> Any:
    """Make a tokenizer add <s> and </s>, and know a token that strips the space around it."""
    backend = tokenizer.backend_tokenizer
    ids = [("<s>", backend.token_to_id("<s>")), ("</s>", backend.token_to_id("</s>"))]
    backend.post_processor = processors.TemplateProcessing(
        single="<s> $A </s>", pair="<s> $A </s> $B:1 </s>:1", special_tokens=ids
    )
    tokenizer.add_tokens([AddedToken("<|turn|>", lstrip=True, rstrip=True)])
    return tokenizer


KINDS: dict[str, Callable[[], Any]] = {
    "byte-level BPE": lambda: copy.deepcopy(small_tokenizer()),
    "BPE that adds tokens": lambda: with_template(byte_level_tokenizer(CORPUS, 300)),
    "WordPiece": lambda: with_template(
        trained(
            models.WordPiece(unk_token="<unk>"),
            trainers.WordPieceTrainer,
            normalizer=normalizers.BertNormalizer(),
            pre_tokenizer=pre_tokenizers.BertPreTokenizer(),
        )
    ),
    "Unigram": lambda: trained(
        models.Unigram(),
        trainers.UnigramTrainer,
        normalizer=normalizers.Sequence([normalizers.NFKC(), normalizers.Replace("  ", " ")]),
        pre_tokenizer=pre_tokenizers.Metaspace(),
    ),
    "words": lambda: trained(
        models.WordLevel(unk_token="<unk>"),
        trainers.WordLevelTrainer,
        pre_tokenizer=pre_tokenizers.Whitespace(),
    ),
    "words without unknown ones": lambda: trained(
        models.WordLevel(unk_token="<missing>"),
        trainers.WordLevelTrainer,
        pre_tokenizer=pre_tokenizers.Whitespace(),
    ),
}


@functools.cache
def kind_of(name: str) -> Any:
    return KINDS[name]()


class FreeThreads:
    @staticmethod
    def threads_free() -> bool:
        return True


def share_out(patch: pytest.MonkeyPatch) -> None:
    """Let three threads encode every batch that may have more than one, however short it is."""
    patch.setenv("TOKENIZERS_PARALLELISM", "false")
    patch.setattr(tokenize, "_WORTH_A_TWIN", 0)
    patch.setattr(tokenize, "_OF_A_TEXT", 0)
    patch.setattr(tokenize, "_WORTH_A_THREAD", 1)
    patch.setattr(tokenize, "thread_budget", lambda: 3)
    patch.setattr(tokenize, "_core", FreeThreads)


@pytest.fixture
def in_threads(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[int]]:
    """Three threads for every batch that may have more than one; yields how many each had."""
    asked: list[int] = []
    encode = tokenize._encode

    def counted(backend: Any, texts: Any, threads: int, *options: Any) -> Any:
        asked.append(threads)
        return encode(backend, texts, threads, *options)

    share_out(monkeypatch)
    monkeypatch.setattr(tokenize, "_encode", counted)
    yield asked
    assert not [t for t in threading.enumerate() if t.name.startswith("fast_axolotl")]


def outcome(function: Callable[..., Any], *args: Any, **kwargs: Any) -> tuple[Any, Any]:
    """Return what a call gives, and its error: `tokenizers` panics where a stride is too long."""
    try:
        return function(*args, **kwargs), None
    except BaseException as error:
        if isinstance(error, (KeyboardInterrupt, SystemExit)):
            raise
        return None, (type(error), str(error))


def state_of(tokenizer: Any) -> Any:
    backend = tokenizer.backend_tokenizer
    return (
        backend.to_str(),
        backend.encode_special_tokens,
        dict(tokenizer.deprecation_warnings),
        sorted(vars(tokenizer)),
    )


class Texts(list[str]):
    pass


class Text(str):
    __slots__ = ()


TEXT = st.one_of(
    st.text(max_size=30),
    st.text(st.sampled_from("some text, word<s></s><|turn|> \n\t中é🦀"), max_size=60),
    st.sampled_from(["", " ", "<s>", "some  text <|turn|> and", "word " * 40, "\x00", "a\u0301"]),
)
ODD_TEXTS = st.one_of(
    st.lists(TEXT, max_size=9),
    st.lists(TEXT, max_size=3).map(Texts),
    st.lists(TEXT.map(Text), max_size=3),
    st.lists(TEXT, max_size=3).map(tuple),
    st.lists(st.tuples(TEXT, TEXT), max_size=3),
    st.lists(st.one_of(TEXT, st.none(), st.integers(), st.just("\ud800"), st.binary()), max_size=4),
    st.lists(st.lists(TEXT, max_size=2), max_size=3),
    TEXT,
    st.none(),
    st.integers(),
)
OPTIONS = st.fixed_dictionaries(
    {},
    optional={
        "truncation": st.booleans(),
        "max_length": st.sampled_from([0, 1, 2, 5, 30, -1, None, 2.5]),
        "add_special_tokens": st.booleans(),
        "padding": st.sampled_from([False, True, "max_length"]),
        "return_overflowing_tokens": st.booleans(),
        "stride": st.integers(0, 3),
        "split_special_tokens": st.booleans(),
    },
)


@pytest.mark.parametrize("name", KINDS)
@given(texts=ODD_TEXTS, options=OPTIONS, model_max_length=st.sampled_from([4, 10**30]))
@settings(max_examples=150, deadline=None)
def test_tokens_are_those_of_the_tokenizers_own_call(
    name: str, texts: Any, options: dict[str, Any], model_max_length: int
) -> None:
    ours, stock = copy.deepcopy(kind_of(name)), copy.deepcopy(kind_of(name))
    ours.model_max_length = stock.model_max_length = model_max_length
    with pytest.MonkeyPatch.context() as patch:
        share_out(patch)
        found, error = outcome(tokenize.tokenized, ours, texts, **options)
    wanted, expected = outcome(stock, texts, **options)
    assert error == expected
    assert type(found) is type(wanted)
    if error is None:
        assert_same(dict(found), dict(wanted))
    assert state_of(ours) == state_of(stock)


def test_long_texts_are_shared_out(in_threads: list[int]) -> None:
    texts = [text * n for n in (1, 30, 2, 0, 200, 7) for text in CORPUS[:3]]
    for name in KINDS:
        tokenizer = kind_of(name)
        wanted, error = outcome(tokenizer, texts, truncation=True, max_length=50)
        found, ours = outcome(tokenize.tokenized, tokenizer, texts, truncation=True, max_length=50)
        assert ours == error
        if error is None:
            assert_same(dict(found), dict(wanted))
    assert in_threads == [3] * len(KINDS)


def test_short_texts_are_the_tokenizers_own_affair(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Any] = []
    twin_of = tokenize._twin_of

    def counted(tokenizer: Any) -> Any:
        asked.append(tokenizer)
        return twin_of(tokenizer)

    monkeypatch.setattr(tokenize, "_twin_of", counted)
    for texts, is_long in ((["some text"] * 9, False), (["some text"] * 90, True), ([], False)):
        for each in (texts, tuple(texts)):
            found, error = outcome(tokenize.tokenized, small_tokenizer(), each)
            wanted, expected = outcome(small_tokenizer(), each)
            assert error == expected
            if error is None:
                assert_same(dict(found), dict(wanted))
            assert len(asked) == (is_long and each is texts)
            asked.clear()


def test_a_warning_comes_once(
    in_threads: list[int], caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    logger = logging.getLogger("transformers")
    # Where `CI` is set, transformers hands its records on, too: caplog would have each twice.
    monkeypatch.setattr(logger, "propagate", False)
    records = []
    for ours in (True, False):
        tokenizer = copy.deepcopy(small_tokenizer())
        tokenizer.model_max_length = 3
        call = functools.partial(tokenize.tokenized, tokenizer) if ours else tokenizer
        caplog.clear()
        logger.addHandler(caplog.handler)
        try:
            call(["some text " * 9] * 4)
            call(["some text " * 9] * 4)
        finally:
            logger.removeHandler(caplog.handler)
        records.append([(r.name, r.levelno, r.getMessage()) for r in caplog.records])
    assert records[0] == records[1]
    assert len(records[0]) == 1
    assert in_threads == [3, 3]


def test_a_tokenizer_with_code_of_its_own_runs_it(in_threads: list[int]) -> None:
    base: Any = type(small_tokenizer())
    seen: list[Any] = []

    class Encodes(base):  # type: ignore[misc]
        def _encode_plus(self, *args: Any, **kwargs: Any) -> Any:
            seen.append(self)
            return super()._encode_plus(*args, **kwargs)

    class Calls(base):  # type: ignore[misc]
        def __call__(self, *args: Any, **kwargs: Any) -> Any:
            seen.append(self)
            return super().__call__(*args, **kwargs)

    class Reads(base):  # type: ignore[misc]
        def __getattribute__(self, name: str) -> Any:
            return super().__getattribute__(name)

    class Ends(base):  # type: ignore[misc]
        def __del__(self) -> None:
            seen.append("the end")

    class Adds(base):  # type: ignore[misc]
        def of_mine(self) -> None:
            pass

    texts = ["some text"] * 9
    wanted = dict(small_tokenizer()(texts))
    for kind in (Encodes, Calls, Reads, Ends, Adds):
        tokenizer = object.__new__(kind)
        tokenizer.__dict__ = copy.deepcopy(small_tokenizer()).__dict__
        assert_same(dict(tokenize.tokenized(tokenizer, texts)), wanted)
        assert seen == ([tokenizer] if kind in (Encodes, Calls) else [])
        assert in_threads == ([3] if kind is Adds else [])
        seen.clear()
        del tokenizer
        seen.clear()
    patched = copy.deepcopy(small_tokenizer())
    patched._encode_plus = lambda **_: "mine"
    assert tokenize.tokenized(patched, texts) == "mine"

    class Maps(base, dict[str, Any]):  # type: ignore[misc]
        pass

    mapping = dict.__new__(Maps)
    mapping.__dict__ = copy.deepcopy(small_tokenizer()).__dict__
    assert_same(dict(tokenize.tokenized(mapping, texts)), wanted)
    assert tokenize.tokenized(lambda texts, **_: texts, texts) is texts
    assert in_threads == [3]


class Split:
    """A part written in Python, which knows in what order it saw the texts."""

    def __init__(self) -> None:
        self.seen: list[str] = []

    def pre_tokenize(self, text: Any) -> None:
        self.seen.append(str(text.get()) if hasattr(text, "get") else "")
        text.split(lambda _i, part: [part])


def test_parts_written_in_python_see_texts_in_order(in_threads: list[int]) -> None:
    seen = []
    for ours in (True, False):
        tokenizer, part = copy.deepcopy(kind_of("words")), Split()
        custom = pre_tokenizers.PreTokenizer.custom(part)
        tokenizer.backend_tokenizer.pre_tokenizer = custom
        call = functools.partial(tokenize.tokenized, tokenizer) if ours else tokenizer
        call(CORPUS)
        seen.append(part.seen)
    assert seen[0] == seen[1]
    assert in_threads == [1]


@pytest.mark.parametrize("max_length", [9, None])
@pytest.mark.parametrize("padding", [True, False])
def test_another_threads_call_between_pieces_changes_none(
    in_threads: list[int], monkeypatch: pytest.MonkeyPatch, max_length: int | None, padding: bool
) -> None:
    tokenizer = with_template(copy.deepcopy(small_tokenizer()))
    options = {"truncation": max_length is not None, "max_length": max_length}
    wanted = dict(tokenizer(CORPUS, **options))
    has_own_parts = tokenize._has_own_parts

    class Pool(tokenize.ThreadPoolExecutor):
        def map(self, call: Any, pieces: Any) -> Any:
            for piece in pieces:
                yield call(piece)
                other = {"truncation": True, "max_length": 4, "split_special_tokens": True}
                tokenizer(["some text"], padding=padding, **other)

    monkeypatch.setattr(tokenize, "ThreadPoolExecutor", Pool)
    assert_same(dict(tokenize.tokenized(tokenizer, CORPUS, **options)), wanted)
    # Settings are those of the start: what decides on threads takes its time.
    monkeypatch.setattr(
        tokenize,
        "_has_own_parts",
        lambda backend: (
            tokenizer(["some text"], truncation=True, max_length=4) and has_own_parts(backend)
        ),
    )
    assert_same(dict(tokenize.tokenized(tokenizer, CORPUS, **options)), wanted)
    assert in_threads == [3, 3]


@pytest.mark.parametrize(
    ("name", "value"),
    [("TOKENIZERS_PARALLELISM", "true"), ("TOKENIZERS_PARALLELISM", None), ("OTHER", "1")],
)
def test_threads_of_its_own_are_enough(
    in_threads: list[int], monkeypatch: pytest.MonkeyPatch, name: str, value: str | None
) -> None:
    if value is None:
        monkeypatch.delenv(name)
    else:
        monkeypatch.setenv(name, value)
    tokenize.tokenized(copy.deepcopy(small_tokenizer()), CORPUS)
    assert in_threads == [3 if name == "OTHER" else 1]


def test_without_more_threads_the_tokenizer_does_it(
    in_threads: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    def start(_self: Any) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", start)
    found = tokenize.tokenized(small_tokenizer(), CORPUS)
    assert_same(dict(found), dict(small_tokenizer()(CORPUS)))
    assert in_threads == [3]


def test_an_interrupt_is_not_swallowed(
    in_threads: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    def encode(*_args: Any) -> Any:
        raise KeyboardInterrupt

    monkeypatch.setattr(tokenize, "_pieces", encode)
    with pytest.raises(KeyboardInterrupt):
        tokenize.tokenized(small_tokenizer(), CORPUS)
    assert in_threads == [3]


WORKERS = """
import multiprocessing, os, sys
sys.path[:0] = {path!r}
os.environ["TOKENIZERS_PARALLELISM"] = "false"
import tokenizers
import fast_axolotl
from fast_axolotl.axolotl.seams import tokenize

backend = tokenizers.Tokenizer(tokenizers.models.WordLevel({{"a": 0}}, "a"))

def threads():
    return tokenize._threads(backend, ["a " * 40_000] * 9)

def put(queue):
    queue.put(threads())

if __name__ == "__main__":
    found = []
    for start in ("fork", "spawn"):
        context = multiprocessing.get_context(start)
        queue = context.Queue()
        child = context.Process(target=put, args=(queue,))
        child.start()
        found.append(queue.get())
        child.join()
    child = os.fork()
    if child == 0:
        os._exit(threads())
    found.append(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
    os.environ["LOCAL_WORLD_SIZE"] = "1000"
    found.append(threads())
    del os.environ["LOCAL_WORLD_SIZE"]
    print(found, threads())
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork here")
def test_a_worker_and_a_rank_have_one_thread(tmp_path: Any) -> None:
    script = tmp_path / "workers.py"
    script.write_text(WORKERS.format(path=sys.path))
    run = subprocess.run(
        [sys.executable, str(script)], capture_output=True, text=True, timeout=120, check=False
    )
    assert run.returncode == 0, run.stderr
    assert run.stdout.split("]")[0] == "[1, 1, 1, 1"
    usable = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else 1
    assert int(run.stdout.split("]")[1]) <= usable


@pytest.mark.parametrize("concatenate", [True, False])
def test_rows_of_a_stream(in_threads: list[int], concatenate: bool) -> None:
    examples = {"text": [text * n for n in (1, 9, 4) for text in CORPUS[:3]]}
    found = replacement_of(SEAMS[0])(examples, small_tokenizer(), 64, concatenate=concatenate)
    wanted = original_of(SEAMS[0])(examples, small_tokenizer(), 64, concatenate=concatenate)
    assert_same(found, wanted)
    assert in_threads[0] == 3


# --- texts for pretraining on packed rows ---------------------------------------------------------


def strategy(tokenizer: Any, max_length: int) -> Any:
    from axolotl.prompt_strategies.pretrain import (
        PretrainTokenizationStrategy,
        PretrainTokenizer,
    )

    return PretrainTokenizationStrategy(
        PretrainTokenizer(), tokenizer, True, max_length, max_length=max_length
    )


@pytest.mark.parametrize("name", KINDS)
@given(
    texts=ODD_TEXTS,
    # Up to 0.17, windows of fewer than 257 tokens are an error.
    max_length=st.integers(0, 40) | st.integers(256, 270),
    more=st.sampled_from([(), (False,), (True, True), (1, 2, 3)]),
)
@settings(max_examples=60, deadline=None)
def test_texts_for_pretraining(
    name: str, texts: Any, max_length: int, more: tuple[Any, ...]
) -> None:
    (seam,) = tokenize.SEAMS
    ours, stock = copy.deepcopy(kind_of(name)), copy.deepcopy(kind_of(name))
    with pytest.MonkeyPatch.context() as patch:
        share_out(patch)
        found, error = outcome(replacement_of(seam), strategy(ours, max_length), texts, *more)
    wanted, expected = outcome(original_of(seam), strategy(stock, max_length), texts, *more)
    assert error == expected
    assert type(found) is type(wanted)
    if error is None:
        assert_same(dict(found), dict(wanted))
    assert state_of(ours) == state_of(stock)


def test_the_strategy_is_known() -> None:
    check_known(tokenize.SEAMS[0])


@pytest.mark.parametrize("isolated", [True, False])
def test_packed_streams_are_alike(isolated: bool) -> None:
    """All that Axolotl does for a packed stream, with every seam of it in place and without."""
    import torch
    from axolotl.utils.data import streaming
    from axolotl.utils.data.sft import get_dataset_wrapper
    from axolotl.utils.dict import DictDefault
    from datasets import Dataset

    cfg = {
        "sample_packing": True,
        "sequence_len": 64,
        "micro_batch_size": 2,
        "pretraining_dataset": [{"path": "documents", "type": "pretrain"}],
        "streaming_multipack_buffer_size": 100,
        "pretrain_multipack_attn": isolated,
        "shuffle_merged_datasets": False,
        "sample_packing_bin_size": 200,
        "train_on_inputs": True,
    }
    texts = [text * (1 + i % 7) for i, text in enumerate(CORPUS * 9)]
    answers = []
    for mode in ("python", "auto", "rust", "verify"):
        torch.manual_seed(1)
        of_mode = DictDefault(copy.deepcopy(cfg))
        wrapper = functools.partial(
            get_dataset_wrapper,
            dataset_config=of_mode.pretraining_dataset[0],
            tokenizer=small_tokenizer(),
            cfg=of_mode,
            dataset_base_type="pretrain",
        )
        source = Dataset.from_dict({"text": texts}).to_iterable_dataset()
        reset(streaming.__name__, "axolotl.utils.trainer", tokenize.MODULE)
        stream = streaming.wrap_streaming_dataset(source, small_tokenizer(), of_mode, wrapper)
        with dispatch_mode(mode):
            answers.append(list(stream.with_format("torch")))
        assert (fast_axolotl.stats()["pack"]["rust"]["calls"] > 0) or mode == "python"
    assert len(answers[0]) > 5
    for rows in answers[1:]:
        assert_same(rows, answers[0])
