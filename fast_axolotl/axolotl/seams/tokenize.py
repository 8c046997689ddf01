"""A tokenizer's call on a list of texts, on the threads that this process may use.

Axolotl switches the threads of `tokenizers` off (`TOKENIZERS_PARALLELISM=false`): its pool does not
survive a fork. Here the texts are given to it in pieces, from threads that have ended when the call
returns. The pieces are encoded without offsets into the text, which a stream has no use for. All
else is the tokenizer's own code, on a twin that shares its state.

`encode_streaming` calls it, and so does what tokenizes for pretraining on packed rows.
"""

import os
from concurrent.futures import ThreadPoolExecutor
from itertools import chain
from sys import modules
from typing import Any, NamedTuple

from fast_axolotl._native import core
from fast_axolotl.axolotl.patch_map import Implementation, Seam, version_known
from fast_axolotl.dispatch.call import thread_budget
from fast_axolotl.dispatch.policy import Sizes
from fast_axolotl.dispatch.registry import Arguments, Call, Keywords

from .conditions import taking

MODULE = "axolotl.prompt_strategies.pretrain"
_core: Any = core

#: What a call runs; each has to be as `transformers` has it.
_METHODS = (
    "__call__",
    "__getattr__",
    "__getattribute__",
    "__setattr__",
    "_batch_encode_plus",
    "_convert_encoding",
    "_encode_plus",
    "_eventual_warn_about_too_long_sequence",
    "_get_padding_truncation_strategies",
    "set_truncation_and_padding",
)
_THEIR_MODULES = "transformers.tokenization_utils"
#: Characters that take some 100 us, of which the twin saves a quarter, and takes 5 itself; and how
#: many a text has to have, for it saves nothing of what a text by itself takes.
_WORTH_A_TWIN, _OF_A_TEXT = 400, 4
#: Characters that take some 4 ms, a hundred times what it takes to start a thread.
_WORTH_A_THREAD = 1 << 14
#: Of texts that differ in length, so that no thread waits long for the last one.
_PIECES_OF_A_THREAD = 4
#: What `tokenizers` takes for no.
_OFF = frozenset({"", "off", "false", "f", "no", "n", "0"})


def tokenized(tokenizer: Any, texts: Any, **options: Any) -> Any:
    """Return what `tokenizer(texts, **options)` gives, sooner; of the encodings all but offsets.

    Args:
        tokenizer: any callable; one of `transformers` that has a backend of `tokenizers`, and whose
            class overrides nothing that the call runs, gets its texts encoded in pieces.
        texts: as the tokenizer takes them; lists of str are cut into pieces if they are long.
        **options: of the call.

    Raises:
        Exception: what the tokenizer raises, of its own call.
    """
    if type(texts) is not list or _is_short(texts):
        return tokenizer(texts, **options)
    twin = _twin_of(tokenizer)
    return (tokenizer if twin is None else twin)(texts, **options)


def described(texts: Any, columns: int) -> Call:
    """Return the sizes of a call that makes columns of tokens out of texts."""
    # Tokens are some characters long each; how many, only the tokenizer knows.
    elements = sum(map(len, texts)) / 4
    return Call("axolotl", "axolotl", Sizes(len(texts), elements, columns * elements))


def _is_short(texts: list[Any]) -> bool:
    """Return whether a tokenizer is done with texts before there is a twin of it."""
    try:
        return sum(map(len, texts)) < max(_WORTH_A_TWIN, _OF_A_TEXT * len(texts))
    except TypeError:  # no texts: it says so
        return True


def _twin_of(tokenizer: Any) -> Any:
    """Return a tokenizer of the same state whose backend works in pieces; None for others."""
    backends = modules.get("tokenizers")
    if backends is None:
        return None
    kind = type(tokenizer)
    state = getattr(tokenizer, "__dict__", {})
    if type(state.get("_tokenizer")) is not backends.Tokenizer or not _is_plain(kind, state):
        return None
    twin = object.__new__(kind)
    twin.__dict__.update(state, _tokenizer=_InPieces(state["_tokenizer"]))
    return twin


def _is_plain(kind: type, state: dict[str, Any]) -> bool:
    """Return whether a tokenizer's call runs code of `transformers` alone."""
    # Tokenizers of many languages change themselves in a call; a twin must not be finalized.
    if hasattr(kind, "_switch_to_input_mode") or hasattr(kind, "__del__"):
        return False
    for name in _METHODS:
        method = getattr(kind, name, None)
        if method is None or getattr(method, "__objclass__", None) is object:
            continue
        # One written in C has no module.
        module = getattr(method, "__module__", None)
        if name in state or not str(module).startswith(_THEIR_MODULES):
            return False
    return True


class _InPieces:
    """A `tokenizers.Tokenizer` whose batches are encoded in pieces; the rest it does itself."""

    __slots__ = ("_backend",)
    _backend: Any

    def __init__(self, backend: Any) -> None:
        object.__setattr__(self, "_backend", backend)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._backend, name)

    def __setattr__(self, name: str, value: Any) -> None:
        setattr(self._backend, name, value)

    def encode_batch(
        self, texts: Any, add_special_tokens: bool = True, is_pretokenized: bool = False
    ) -> list[Any]:
        """Return the encodings of texts, as the backend's own method does, but for offsets."""
        backend = self._backend
        settings = _settings(backend)
        # Padding looks at the whole batch.
        if type(texts) is list and not is_pretokenized and settings.padding is None:
            try:
                threads = _threads(backend, texts)
                return _encode(backend, texts, threads, add_special_tokens, settings)
            except _ChangedError:
                backend = _copy(backend, settings)
            except Exception:
                pass
        found: list[Any] = backend.encode_batch(
            texts, add_special_tokens=add_special_tokens, is_pretokenized=is_pretokenized
        )
        return found


def _threads(backend: Any, texts: list[Any]) -> int:
    """Return how many threads are to encode texts."""
    if os.environ.get("TOKENIZERS_PARALLELISM", "on").lower() not in _OFF:
        return 1  # it has its own
    if set(map(type, texts)) != {str}:
        return 1
    worth = sum(map(len, texts)) // _WORTH_A_THREAD
    if worth < 2 or not _core.threads_free() or _is_worker() or not _has_own_parts(backend):
        return 1
    return min(worth, thread_budget())


def _is_worker() -> bool:
    """Return whether another process started this one, to share its work."""
    processes = [modules.get("multiprocessing.process"), modules.get("multiprocess.process")]
    return any(found is not None and found.parent_process() is not None for found in processes)


def _has_own_parts(backend: Any) -> bool:
    """Return whether no part of a backend is written in Python, and may count its calls."""
    try:
        for part in (backend.normalizer, backend.pre_tokenizer):
            if part is not None:
                part.__getstate__()  # such parts can't be saved
    except Exception:
        return False
    return True


class _ChangedError(Exception):
    """Another thread changed how a backend encodes, between two pieces."""


class _Settings(NamedTuple):
    """What the calls of a tokenizer change of its backend."""

    truncation: dict[str, Any] | None
    padding: dict[str, Any] | None
    encode_special_tokens: bool


def _settings(backend: Any) -> _Settings:
    return _Settings(backend.truncation, backend.padding, backend.encode_special_tokens)


def _encode(
    backend: Any, texts: list[Any], threads: int, add_special_tokens: bool, settings: _Settings
) -> list[Any]:
    encode = getattr(backend, "encode_batch_fast", backend.encode_batch)
    if threads == 1:
        found: list[Any] = encode(texts, add_special_tokens=add_special_tokens)
        return found

    def encoded(piece: list[str]) -> list[Any]:
        found: list[Any] = encode(piece, add_special_tokens=add_special_tokens)
        # The whole batch would make other threads wait; between pieces they get their turn.
        if _settings(backend) != settings:
            raise _ChangedError
        return found

    with ThreadPoolExecutor(threads, "fast_axolotl tokenize") as pool:
        pieces = _pieces(texts, threads * _PIECES_OF_A_THREAD)
        return list(chain.from_iterable(pool.map(encoded, pieces)))


def _copy(backend: Any, settings: _Settings) -> Any:
    """Return a copy of a backend that has these settings, of one that pads nothing."""
    found = type(backend).from_str(backend.to_str())
    found.no_padding()
    if settings.truncation is None:
        found.no_truncation()
    else:
        found.enable_truncation(**settings.truncation)
    found.encode_special_tokens = settings.encode_special_tokens
    return found


def _pieces(texts: list[str], wanted: int) -> list[list[str]]:
    """Cut texts into so many pieces, or a few less, of about as many characters, in their order."""
    goal = sum(map(len, texts)) // wanted + 1
    pieces: list[list[str]] = [[]]
    room = goal
    for text in texts:
        if room <= 0:
            pieces.append([])
            room = goal
        pieces[-1].append(text)
        room -= len(text)
    return pieces


# --- texts for pretraining on packed rows ---------------------------------------------------------

_DIGESTS = {
    **dict.fromkeys(
        ("0.16.1", "0.17.0"), "e231157aed7b51cea0ade320ffda0b45c9a88b553722d9b30d97e28f873fae24"
    ),
    **dict.fromkeys(
        ("0.18.0", "0.19.0"), "1bfb596fbafc70a88551a561725971954ec1e4abf65a25d44015fa12073edf03"
    ),
}


class _Shared:
    """How many tokens of a text two windows share."""

    MOST = 256
    #: Whether few tokens share as many: up to 0.17. Set when the seam is built.
    is_fixed = False

    def of(self, max_length: int) -> int:
        return self.MOST if self.is_fixed else min(self.MOST, (max_length - 1) // 2)


_shared = _Shared()


def _windows(strategy: Any, texts: Any) -> Any:
    tokenizer = strategy.tokenizer
    result = tokenized(
        tokenizer,
        texts,
        truncation=True,
        max_length=strategy.max_length - 1,
        add_special_tokens=True,
        return_overflowing_tokens=True,
        stride=_shared.of(strategy.max_length),
    )
    # Not [*ids, ...]: of anything but lists it has to be an error.
    result["input_ids"] = [ids + [tokenizer.eos_token_id] for ids in result["input_ids"]]  # noqa: RUF005
    result["attention_mask"] = [mask + [1] for mask in result["attention_mask"]]  # noqa: RUF005
    return result


def _build(original: Implementation) -> Implementation:
    _shared.is_fixed = version_known(original, _DIGESTS) == "0.16.1"

    def _tokenize(
        self: Any,
        prompt: Any,
        add_eos_token: bool = True,  # noqa: ARG001 - Axolotl reads neither
        strip_bos_token: bool = False,  # noqa: ARG001
    ) -> Any:
        return _windows(self, prompt)

    return _tokenize


def _front(args: Arguments) -> Any:
    if len(args) == 2 and type(args[1]) is list:
        return _windows(*args)
    return NotImplemented


def _describe(args: Arguments, kwargs: Keywords) -> Call:
    return described(args[1] if len(args) > 1 else kwargs["prompt"], 1)


def _takes(
    self: Any,  # noqa: ARG001
    prompt: Any,
    add_eos_token: bool = True,  # noqa: ARG001
    strip_bos_token: bool = False,  # noqa: ARG001
) -> bool:
    return type(prompt) is list


SEAMS: tuple[Seam, ...] = (
    Seam(
        name="tokenize_pretraining",
        module=MODULE,
        attribute="PretrainTokenizationStrategy._tokenize",
        build=_build,
        digests=_DIGESTS,
        operation="pack",
        describe=_describe,
        conditions=(taking(_takes, "the texts are no list"),),
        front=_front,
    ),
)
