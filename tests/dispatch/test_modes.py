"""Forcing a side: by the environment, by a block, for functions imported before."""

import asyncio
import contextlib
import contextvars
import gc
import itertools
import os
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

import pytest
from dispatch_helpers import needs_rust, run_python

import fast_axolotl
from fast_axolotl import RUST_AVAILABLE, dispatch_mode, pad_sequences, stats
from fast_axolotl.dispatch import call, modes, set_mode, support
from fast_axolotl.dispatch.verify import VerificationError, first_difference

ROWS = [[1, 2, 3], [4]]
CALLS: dict[str, Callable[[], Any]] = {
    "pack_sequences": lambda: fast_axolotl.pack_sequences(ROWS, 8, 0, 2),
    "concatenate_and_pack": lambda: fast_axolotl.concatenate_and_pack(ROWS, ROWS, ROWS, 8, 0),
    "pad_sequences": lambda: fast_axolotl.pad_sequences(ROWS),
    "create_padding_mask": lambda: fast_axolotl.create_padding_mask(3, 8),
    "parallel_hash_rows": lambda: fast_axolotl.parallel_hash_rows(["a", "b"]),
    "deduplicate_indices": lambda: fast_axolotl.deduplicate_indices(["a", "b", "a"]),
}
OPERATION = {
    "pack_sequences": "pack",
    "concatenate_and_pack": "pack",
    "pad_sequences": "pad",
    "create_padding_mask": "pad",
    "parallel_hash_rows": "hash",
    "deduplicate_indices": "hash",
}


def refuses_to_end(block: dispatch_mode) -> bool:
    """Return whether a block refuses to end here."""
    with contextlib.suppress(RuntimeError):
        block.__exit__(None, None, None)
        return False
    return True


def counted(work: Callable[[], Any], operation: str = "pad") -> set[str]:
    """Return which sides answered."""
    before = {side: found["calls"] for side, found in stats()[operation].items()}
    work()
    after = {side: found["calls"] for side, found in stats()[operation].items()}
    return {side for side in after if after[side] > before[side]}


class TestWords:
    @pytest.mark.parametrize(
        ("text", "wanted"),
        [
            ("", {None: "auto"}),
            ("  ", {None: "auto"}),
            ("python", {None: "python"}),
            ("pad=python", {"pad": "python", None: "auto"}),
            ("rust, hash=python ,pad = verify", {None: "rust", "hash": "python", "pad": "verify"}),
        ],
    )
    def test_right_ones(self, text: str, wanted: dict[str | None, str]) -> None:
        assert modes.parse(text, extension=True) == wanted

    @pytest.mark.parametrize(
        "text",
        [
            "Rust",
            "fast",
            "pad",
            "pad=",
            "=rust",
            "padd=rust",
            "pad=fast",
            ",",
            "rust,,",
            "pad=rust=x",
            "rust,python",
            "pad=rust,pad=rust",
            "rust;python",
        ],
    )
    def test_wrong_ones_list_what_is_allowed(self, text: str) -> None:
        with pytest.raises(ValueError, match=r"auto, rust, python, verify.*pack, pad, hash"):
            modes.parse(text, extension=True)

    @pytest.mark.parametrize("text", ["rust", "verify", "pad=rust"])
    def test_rust_without_the_extension(self, text: str) -> None:
        with pytest.raises(ValueError, match=r"needs the Rust extension.*allowed are auto, python"):
            modes.parse(text, extension=False)

    @pytest.mark.parametrize("value", ["fast", "padd=rust"])
    def test_the_environment_is_read_at_import(self, value: str) -> None:
        done = run_python("import fast_axolotl", FAST_AXOLOTL_DISPATCH=value)
        assert done.returncode == 1
        assert "ValueError" in done.stderr
        assert "auto, " in done.stderr

    def test_rust_is_refused_where_it_is_disabled(self) -> None:
        done = run_python(
            "import fast_axolotl", FAST_AXOLOTL_DISPATCH="rust", FAST_AXOLOTL_DISABLE_RUST="1"
        )
        assert done.returncode == 1
        assert "needs the Rust extension" in done.stderr

    def test_statistics_take_0_and_1(self) -> None:
        done = run_python("import fast_axolotl", FAST_AXOLOTL_STATS="yes")
        assert done.returncode == 1
        assert "allowed are 0 and 1" in done.stderr

    @needs_rust
    @pytest.mark.parametrize("mode", ["rust", "python"])
    def test_the_environment_forces_every_function(self, mode: str) -> None:
        source = (
            "import fast_axolotl as f\n"
            "f.pad_sequences([[1],[2,3]]); f.pack_sequences([[1]],8,0,2)\n"
            "f.create_padding_mask(1,2)\n"
            "f.concatenate_and_pack([[1]],[[1]],[[1]],8,0)\n"
            "f.parallel_hash_rows(['a']); f.deduplicate_indices(['a'])\n"
            "print({side for o in f.stats().values() for side, x in o.items() if x['calls']})\n"
        )
        done = run_python(source, FAST_AXOLOTL_DISPATCH=mode)
        assert done.stdout.strip() == repr({mode})

    @needs_rust
    def test_one_operation_alone(self) -> None:
        source = (
            "import fast_axolotl as f\n"
            "f.pad_sequences([[1]]); f.parallel_hash_rows(['a'])\n"
            "print(f.stats()['pad']['rust'], f.stats()['hash']['python'])"
        )
        done = run_python(source, FAST_AXOLOTL_DISPATCH="rust,hash=python")
        assert done.stdout.split("\n")[0] == "{'calls': 1} {'calls': 1}"

    def test_a_block_takes_the_same_words(self) -> None:
        for wrong in ("fast", "", "rust,pad=python", None, 3):
            with pytest.raises(ValueError, match="allowed are"):
                dispatch_mode(wrong)  # type: ignore[arg-type]
        for unknown in ("padd", " pad", "hash=python,pad"):
            with pytest.raises(ValueError, match=f"unknown operation '{unknown}'"):
                dispatch_mode("python", unknown)
        with pytest.raises(ValueError, match="dispatch=None: not a text; allowed are"):
            set_mode(None)  # type: ignore[arg-type]


@needs_rust
class TestBlocks:
    @pytest.mark.parametrize("name", CALLS)
    @pytest.mark.parametrize("mode", ["python", "rust"])
    def test_every_function_obeys(self, name: str, mode: str) -> None:
        with dispatch_mode(mode):
            assert counted(CALLS[name], OPERATION[name]) == {mode}

    @pytest.mark.parametrize("name", CALLS)
    def test_verify_runs_both(self, name: str) -> None:
        with dispatch_mode("verify"):
            assert counted(CALLS[name], OPERATION[name]) >= {"python", "rust"}

    def test_blocks_nest_and_end(self) -> None:
        work = partial(pad_sequences, ROWS)  # bound before
        with dispatch_mode("rust"):
            assert counted(work) == {"rust"}
            with dispatch_mode("python", "pad"):
                assert counted(work) == {"python"}
                assert counted(CALLS["parallel_hash_rows"], "hash") == {"rust"}
                with dispatch_mode("rust"):
                    assert counted(work) == {"rust"}
                assert counted(work) == {"python"}
            assert counted(work) == {"rust"}

    def test_an_error_ends_a_block(self) -> None:
        with pytest.raises(ValueError, match="padding_side"), dispatch_mode("python"):
            pad_sequences(ROWS, padding_side="up")
        set_mode("rust")
        assert counted(partial(pad_sequences, ROWS)) == {"rust"}

    def test_one_object_may_be_entered_again(self) -> None:
        block = dispatch_mode("python")
        with block, block:
            pass
        with block:
            assert counted(partial(pad_sequences, ROWS)) == {"python"}

    def test_one_object_may_be_entered_by_several_threads(self) -> None:
        set_mode("rust")
        block, inside = dispatch_mode("python"), threading.Barrier(3)
        found = []

        def work() -> None:
            with block:
                inside.wait(10)
                found.append(counted(partial(pad_sequences, ROWS)))
                inside.wait(10)
            found.append(modes.current("pad"))

        threads = [threading.Thread(target=work) for _ in range(2)]
        for thread in threads:
            thread.start()
        with block:
            inside.wait(10)
            inside.wait(10)
        for thread in threads:
            thread.join()
        assert found[2:] == ["rust", "rust"]
        assert modes.current("pad") == "rust"
        assert counted(partial(pad_sequences, ROWS)) == {"rust"}

    def test_a_block_ends_where_it_was_entered(self) -> None:
        block = dispatch_mode("python")
        with pytest.raises(RuntimeError, match="not entered"):
            block.__exit__(None, None, None)
        with block:
            failed: list[bool] = []
            there = threading.Thread(target=lambda: failed.append(refuses_to_end(block)))
            there.start()
            there.join()
            assert failed == [True]
            assert modes.current("pad") == "python"
        assert modes.current("pad") == "auto"

    @pytest.mark.parametrize("order", list(itertools.permutations(range(3))))
    def test_blocks_of_generators_end_in_any_order(self, order: tuple[int, ...]) -> None:
        def block(mode: str) -> Any:
            with dispatch_mode(mode):
                yield

        names = ["python", "rust", "verify"]
        blocks = [block(name) for name in names]
        for each in blocks:
            next(each)
        left = [0, 1, 2]
        for i in order:
            blocks[i].close()
            left.remove(i)
            assert modes.current("pad") == (names[left[-1]] if left else "auto")
        assert modes.override.get() is None

    def test_a_block_beats_the_process(self) -> None:
        set_mode("python")
        with dispatch_mode("rust"):
            assert counted(partial(pad_sequences, ROWS)) == {"rust"}
        with dispatch_mode("auto"):
            winner = fast_axolotl.explain("pad", rows=2, length=2).winner
            assert counted(partial(pad_sequences, ROWS)) == {winner}
        assert counted(partial(pad_sequences, ROWS)) == {"python"}

    def test_threads_have_blocks_of_their_own(self) -> None:
        set_mode("rust")
        inside, checked = threading.Event(), threading.Event()

        def other() -> None:
            with dispatch_mode("python"):
                inside.set()
                checked.wait(10)

        thread = threading.Thread(target=other)
        thread.start()
        assert inside.wait(10)
        try:
            assert counted(partial(pad_sequences, ROWS)) == {"rust"}
        finally:
            checked.set()
            thread.join()

    def test_tasks_have_blocks_of_their_own(self) -> None:
        set_mode("rust")

        async def task(mode: str | None, seen: list[set[str]]) -> None:
            if mode is None:
                await asyncio.sleep(0)
                seen.append(counted(partial(pad_sequences, ROWS)))
                return
            with dispatch_mode(mode):
                await asyncio.sleep(0)
                seen.append(counted(partial(pad_sequences, ROWS)))
                await asyncio.sleep(0)

        async def main() -> tuple[list[set[str]], list[set[str]]]:
            forced: list[set[str]] = []
            free: list[set[str]] = []
            await asyncio.gather(task("python", forced), task(None, free))
            return forced, free

        assert asyncio.run(main()) == ([{"python"}], [{"rust"}])

    def test_a_pool_inherits_only_what_is_taken_there(self) -> None:
        with ThreadPoolExecutor(1) as pool, dispatch_mode("python"):
            assert pool.submit(modes.current, "pad").result() == "auto"
            there = contextvars.copy_context().run
            assert pool.submit(there, modes.current, "pad").result() == "python"
            assert pool.submit(modes.current, "pad").result() == "auto"

    @pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this platform")
    def test_a_forked_child_inherits(self) -> None:
        done = run_python(
            "import os, fast_axolotl as f\n"
            "with f.dispatch_mode('python'):\n"
            "    child = os.fork()\n"
            "    if not child:\n"
            "        print(f.explain('pad').winner, flush=True)\n"
            "        os._exit(0)\n"
            "    os.waitpid(child, 0)"
        )
        assert (done.stdout, done.stderr) == ("python\n", "")

    def test_a_task_made_inside_inherits(self) -> None:
        set_mode("rust")

        async def work() -> set[str]:
            await asyncio.sleep(0)
            return counted(partial(pad_sequences, ROWS))

        async def main() -> set[str]:
            with dispatch_mode("python"):
                task = asyncio.ensure_future(work())
            return await task

        assert asyncio.run(main()) == {"python"}

    def test_nothing_is_left_of_blocks(self) -> None:
        # The extension counts live blocks: were one left, every call would look for its context.
        set_mode("rust")
        for _ in range(3):
            with dispatch_mode("python"):
                pass
        gc.collect()
        assert modes.override.get() is None
        assert counted(partial(pad_sequences, ROWS)) == {"rust"}


@needs_rust
class TestVerify:
    def test_the_same_error_comes_out(self) -> None:
        with (
            dispatch_mode("verify"),
            pytest.raises(ValueError, match=r"sequences\[1\] has length 2"),
        ):
            pad_sequences([[1], [2, 3]], 1)

    def test_an_iterator_is_not_used_up(self) -> None:
        digest = fast_axolotl.parallel_hash_rows(["a"])
        with dispatch_mode("verify"):
            found = fast_axolotl.deduplicate_indices(["a", "b"], iter(digest))
        assert found[0] == [1]

    @pytest.mark.parametrize(
        ("answer", "place"),
        [
            ([[1, 2, 3], [4, 0, 1]], r"\[1\]\[2\]: rust has 1, python 0"),
            ([[1, 2, 3], [4, 0, False]], r"\[1\]\[2\]: rust has a bool, python a int"),
            ([[1, 2, 3]], r"has 1 rows, python 2"),
            ((), "has a tuple, python a list"),
        ],
    )
    def test_a_difference_is_an_error(self, answer: Any, place: str) -> None:
        entry = call._entries["pad_sequences"]
        original = call.run

        def lying(entry: Any, side: str, args: Any, kwargs: Any) -> Any:
            return answer if side == "rust" else original(entry, side, args, kwargs)

        call.run = lying
        try:
            with (
                dispatch_mode("verify"),
                pytest.raises(VerificationError, match=f"pad: pad_sequences: .*{place}"),
            ):
                pad_sequences(ROWS)
        finally:
            call.run = original
        assert entry.function.name == "pad_sequences"

    def test_an_error_of_one_side_is_a_difference(self) -> None:
        original = call.run

        def failing(entry: Any, side: str, args: Any, kwargs: Any) -> Any:
            if side == "rust":
                raise ValueError("no")
            return original(entry, side, args, kwargs)

        call.run = failing
        try:
            with (
                dispatch_mode("verify"),
                pytest.raises(
                    VerificationError, match="rust raised ValueError: no, python returned"
                ),
            ):
                pad_sequences(ROWS)
        finally:
            call.run = original

    @pytest.mark.parametrize("output", ["numpy", "arrow"])
    def test_arrays_are_compared(self, output: str) -> None:
        pytest.importorskip("numpy" if output == "numpy" else "pyarrow")
        with dispatch_mode("verify"):
            pad_sequences(ROWS, output=output)
        one = pad_sequences([[1, 2], [3, 4]], output=output)
        other = pad_sequences([[1, 2], [3, 5]], output=output)
        assert first_difference(one, one) is None
        assert first_difference(one, other) == ("[1][1]", "has 4", "5")


class OneShot:
    """Arrow data that can be had once, as the batches of a file."""

    def __init__(self, rows: Any) -> None:
        self._stream = rows.__arrow_c_stream__()

    def __arrow_c_stream__(self, requested_schema: object = None) -> object:
        stream, self._stream = self._stream, None
        if stream is None:
            raise ValueError("it was read already")
        return stream


@needs_rust
def test_verify_reads_a_stream_once() -> None:
    pa = pytest.importorskip("pyarrow")
    rows = pa.chunked_array([[[1, 2], [3]], [[4]]])
    with dispatch_mode("verify"):
        assert pad_sequences(OneShot(rows)) == [[1, 2], [3, 0], [4, 0]]
        packed = fast_axolotl.pack_sequences(OneShot(rows), 4, eos_token_id=2, pad_token_id=0)
    assert packed == fast_axolotl.pack_sequences(rows, 4, 0, 2)


@needs_rust
def test_the_package_may_be_imported_again() -> None:
    done = run_python(
        "import importlib, sys, fast_axolotl\n"
        "importlib.reload(fast_axolotl)\n"
        "assert fast_axolotl.pad_sequences([[1], [2, 3]]) == [[1, 0], [2, 3]]\n"
        "for name in [name for name in sys.modules if name.startswith('fast_axolotl')]:\n"
        "    del sys.modules[name]\n"
        "import fast_axolotl as again\n"
        "assert again is not fast_axolotl\n"
        "with again.dispatch_mode('python'):\n"
        "    print(again.pad_sequences([[1], [2, 3]]), again.RUST_AVAILABLE)"
    )
    assert (done.stdout, done.stderr) == ("[[1, 0], [2, 3]] True\n", "")


def test_whether_rust_is_disabled_is_said_in_words_that_are_known() -> None:
    done = run_python("import fast_axolotl", FAST_AXOLOTL_DISABLE_RUST="yes")
    assert "FAST_AXOLOTL_DISABLE_RUST='yes'; allowed are 0 and 1" in done.stderr


@needs_rust
def test_rust_refuses_what_it_does_not_support() -> None:
    entry = call._entries["pad_sequences"]
    unsupported = entry.function._replace(
        conditions=(call.registry.Condition(lambda _a, _k: False, "it is Tuesday"),)
    )
    old = entry.function
    entry.function = unsupported
    try:
        with (
            pytest.raises(support.UnsupportedError, match=r"pad_sequences.*it is Tuesday"),
            dispatch_mode("rust"),
        ):
            call.answer(entry, (ROWS,), {})
        assert call.answer(entry, (ROWS,), {}) == pad_sequences(ROWS)
    finally:
        entry.function = old


def test_the_state_of_modes_is_told() -> None:
    set_mode("python,hash=auto")
    assert modes.describe() == "python,hash=auto"
    with dispatch_mode("auto", "pad"):
        assert "pad=auto" in modes.describe()
    assert modes.current("pad") == "python"
    assert modes.current("hash") == "auto"


@pytest.mark.skipif(RUST_AVAILABLE, reason="about the package without its extension")
def test_without_the_extension_python_answers() -> None:
    assert pad_sequences(ROWS) == [[1, 2, 3], [4, 0, 0]]
    with dispatch_mode("python"):
        assert pad_sequences(ROWS) == [[1, 2, 3], [4, 0, 0]]
