"""What is seen of calls, panics, adapters' functions, explanations."""

import contextlib
import gc
import inspect
import logging
import math
import os
import sys
import threading
import time
import warnings
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
from dispatch_helpers import describe, needs_rust, run_python, slowed

import fast_axolotl
from fast_axolotl import dispatch_mode, explain, pad_sequences, stats, stats_enabled
from fast_axolotl._native import core
from fast_axolotl.dispatch import (
    Function,
    UnsupportedError,
    call,
    declare,
    dispatched,
    modes,
    policy,
    profile,
    register,
    registry,
    set_mode,
    support,
    trace,
)
from fast_axolotl.dispatch.policy import PYTHON, RUST, THREADS, Cost, Sizes
from fast_axolotl.dispatch.registry import Condition
from fast_axolotl.dispatch.verify import VerificationError

ROWS = [[1, 2, 3], [4]]
INDEX = {name: i for i, name in enumerate(core.FUNCTIONS)} if core is not None else {}


def use(**cells: policy.Cell) -> None:
    """Decide by these cells of functions whose layout and output are lists."""
    base = profile.default()
    changed = dict(base.cells)
    for name, cell in cells.items():
        for key in list(changed):
            if key.startswith(f"{name}/"):
                changed[key] = cell
    call.use(base._replace(cells=changed))


def sides_of(work: Callable[[], Any], operation: str) -> dict[str, float]:
    before = {side: found["calls"] for side, found in stats()[operation].items()}
    work()
    after = {side: found["calls"] for side, found in stats()[operation].items()}
    return {side: after[side] - before[side] for side in after if after[side] != before[side]}


@needs_rust
class TestDecisions:
    @pytest.mark.parametrize("name", ["pack_sequences", "pad_sequences"])
    @pytest.mark.parametrize("feature", ["rows", "elements"])
    def test_a_threshold_divides_calls(self, name: str, feature: str) -> None:
        use(**{name: policy.Cell(policy.threshold(feature, 50, RUST))})
        operation = name.partition("_")[0]

        def run(rows: list[list[int]]) -> dict[str, float]:
            if name == "pad_sequences":
                return sides_of(lambda: pad_sequences(rows), operation)
            return sides_of(lambda: fast_axolotl.pack_sequences(rows, 64, 0, 2), operation)

        small, large = [[1, 2]] * 24, [[1, 2]] * 50
        assert run(small) == {PYTHON: 1}
        assert run(large) == {RUST: 1}

    @pytest.mark.parametrize(
        "verdict",
        [
            policy.always(RUST),
            policy.always(PYTHON),
            *(
                policy.threshold(feature, at, above)
                for feature in ("rows", "elements")
                for at in (0, 1, 3, math.inf)
                for above in (RUST, PYTHON)
            ),
            policy.plane((Cost(900, 10, 0, 0), Cost(910, 5, 0, 0))),
        ],
        ids=lambda verdict: verdict.describe(),
    )
    @pytest.mark.parametrize("name", ["pack_sequences", "pad_sequences", "parallel_hash_rows"])
    def test_keywords_do_not_change_who_answers(self, name: str, verdict: policy.Verdict) -> None:
        # Positional arguments are looked at before they are bound, keywords are bound first.
        use(**{name: policy.Cell(verdict)})
        work = getattr(fast_axolotl, name)
        first = next(iter(inspect.signature(work).parameters))
        rest = {"max_length": 8, "pad_token_id": 0, "eos_token_id": 2} if "pack" in name else {}
        texts = (["a"], (b"b", b"cd"), ["é", "d", "e"], [], ["a"] * 7)
        tokens = ([[1]], ((1, 2), (3,)), [[1], [2], [3]], [], [[4]] * 7)
        operation = "hash" if "hash" in name else name.partition("_")[0]
        for rows in texts if operation == "hash" else tokens:
            by_place = sides_of(lambda rows=rows: work(rows, *rest.values()), operation)
            by_name = sides_of(lambda rows=rows: work(**{first: rows}, **rest), operation)
            sizes = Sizes(len(rows), sum(map(len, rows)), 0)
            assert by_place == {policy.Cell(verdict).choose(sizes, False): 1}
            assert by_place == by_name

    def test_layouts_and_outputs_have_rules_of_their_own(self) -> None:
        numpy = pytest.importorskip("numpy")
        base = profile.default()
        cells = dict.fromkeys(base.cells, policy.Cell(policy.always(RUST)))
        cells["pad_sequences/arrays/lists"] = policy.Cell(policy.always(PYTHON))
        cells["pad_sequences/lists/numpy"] = policy.Cell(policy.always(PYTHON))
        call.use(base._replace(cells=cells))
        assert sides_of(lambda: pad_sequences(ROWS), "pad") == {RUST: 1}
        assert sides_of(lambda: pad_sequences(ROWS, output="numpy"), "pad") == {PYTHON: 1}
        arrays = [numpy.array([1, 2]), numpy.array([3])]
        assert sides_of(lambda: pad_sequences(arrays), "pad") == {PYTHON: 1}
        assert sides_of(lambda: pad_sequences(arrays, output="numpy"), "pad") == {RUST: 1}
        assert sides_of(lambda: pad_sequences(numpy.ones((2, 2), int)), "pad") == {RUST: 1}

    def test_the_collector_may_change_the_answer(self) -> None:
        base = profile.default()
        cells = dict.fromkeys(base.cells, policy.Cell(policy.always(RUST)))
        cells["pad_sequences/lists/lists/collector-off"] = policy.Cell(policy.always(PYTHON))
        call.use(base._replace(cells=cells))
        assert sides_of(lambda: pad_sequences(ROWS), "pad") == {RUST: 1}
        gc.disable()
        try:
            assert sides_of(lambda: pad_sequences(ROWS), "pad") == {PYTHON: 1}
            assert explain("pad", rows=2, length=2).winner == PYTHON
        finally:
            gc.enable()

    @pytest.mark.skipif(core is not None and core.usable_threads() < 2, reason="one thread here")
    def test_threads_are_an_implementation_of_their_own(self) -> None:
        split = policy.threshold("rows", 100, THREADS, RUST, THREADS)
        many = policy.always(THREADS, PYTHON, THREADS)
        cell = policy.Cell(policy.always(RUST), many, split)
        use(parallel_hash_rows=cell, deduplicate_indices=cell)
        work = fast_axolotl.parallel_hash_rows
        assert sides_of(lambda: work(["a"] * 99), "hash") == {RUST: 1}
        assert sides_of(lambda: work(["a"] * 100), "hash") == {THREADS: 1}
        assert sides_of(lambda: work(["a"] * 100, 1), "hash") == {RUST: 1}
        assert sides_of(lambda: work(["a"] * 100, num_threads=2), "hash") == {THREADS: 1}
        assert work(["a"] * 3000) == [work(["a"])[0]] * 3000

    @pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork here")
    def test_a_forked_child_uses_one_thread(self) -> None:
        source = (
            "import os, fast_axolotl as f\n"
            "from fast_axolotl._native import core\n"
            "f.parallel_hash_rows(['a'])\n"
            "free = core.threads_free()\n"
            "if os.fork() == 0:\n"
            "    print(free, core.threads_free(), flush=True); os._exit(0)\n"
            "os.wait()\n"
        )
        free = str(call.thread_budget() > 1)
        assert run_python(source).stdout.split() == [free, "False"]

    def test_ranks_share_the_threads(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("LOCAL_WORLD_SIZE", "1000")
        assert call.thread_budget() == 1
        call.push()
        assert not core.threads_free()
        monkeypatch.setenv("LOCAL_WORLD_SIZE", "many")
        assert call.thread_budget() == core.usable_threads()
        call.push()

    def test_a_busy_pool_is_left_alone(self) -> None:
        if call.thread_budget() < 2:
            pytest.skip("one thread here")
        many = core.forced(INDEX["parallel_hash_rows"], 2)
        texts = ["x" * 100_000] * 3_000
        thread = threading.Thread(target=lambda: many(texts))
        thread.start()
        seen = set()
        while thread.is_alive():
            seen.add(core.threads_free())
        thread.join()
        assert False in seen
        assert core.threads_free()

    def test_threads_may_change_the_table_and_the_modes_meanwhile(self) -> None:
        declare("trial", "for a test")
        end = time.monotonic() + 1.5
        errors: set[str] = set()

        def repeat(step: Callable[[], Any]) -> None:
            try:
                while time.monotonic() < end:
                    step()
            except Exception as error:
                errors.add(repr(error))

        def come_and_go() -> None:
            function = Function("trial", "trial", ("lists",), ("lists",), sum, sum, describe)
            dispatched(register(function))
            call.forget("trial")
            registry.unregister("trial")

        def switch() -> None:
            set_mode("auto")
            set_mode("python,hash=auto")

        def ask() -> None:
            pad_sequences(ROWS)
            stats()
            fast_axolotl.reset_stats()
            modes.process_text()

        threads = [
            threading.Thread(target=repeat, args=(step,))
            for step in (come_and_go, switch, switch, ask, call.reload)
        ]
        interval = sys.getswitchinterval()
        sys.setswitchinterval(1e-6)
        try:
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
        finally:
            sys.setswitchinterval(interval)
        assert errors == set()

    def test_wrong_arguments_have_the_original_error(self) -> None:
        for mode in ("auto", "rust", "python", "verify"):
            with dispatch_mode(mode), pytest.raises(TypeError, match="unexpected keyword"):
                pad_sequences(ROWS, wrong=1)  # type: ignore[call-arg]

    def test_the_sizes_that_are_seen(self) -> None:
        index = INDEX["pad_sequences"]
        seen = core.dispatch_describe(index, ([[1] * 4] * 10,), {})
        assert seen == ("lists", "lists", 10, 40, 40, 0)
        seen = core.dispatch_describe(index, ([(1, 2), (3,)], 8), {"output": "arrow"})
        assert seen[:3] == ("lists", "arrow", 2)
        assert seen[4] == 16
        index = INDEX["parallel_hash_rows"]
        assert core.dispatch_describe(index, ([b"abc"] * 5, 3), {}) == (
            "bytes",
            "lists",
            5,
            15,
            15,
            3,
        )
        assert core.dispatch_describe(INDEX["create_padding_mask"], (3, 8), {})[3] == 5
        assert core.dispatch_describe(index, (), {}) is None

    def test_small_arrow_arrays_are_not_asked_for_their_bytes(self) -> None:
        pyarrow = pytest.importorskip("pyarrow")
        index = INDEX["deduplicate_indices"]
        small, large = pyarrow.array(["x" * 10] * 20), pyarrow.array(["x" * 10] * 2000)
        assert core.dispatch_describe(index, (small,), {})[:4] == ("arrow", "lists", 20, 20 * 64)
        elements = core.dispatch_describe(index, (large,), {})[3]
        assert 2000 * 10 <= elements <= 2000 * 14.1

    def test_looking_at_rows_runs_no_code_of_theirs(self) -> None:
        class Rows(list):  # type: ignore[type-arg]
            def __len__(self) -> int:
                raise AssertionError("asked")

        use(pad_sequences=policy.Cell(policy.threshold("elements", 5, RUST)))
        assert core.dispatch_describe(INDEX["pad_sequences"], ([Rows([1])],), {})[3] == 0


@needs_rust
class TestPanics:
    @pytest.mark.parametrize("mode", ["auto", "rust", "verify"])
    def test_the_call_answers_and_python_takes_over(self, mode: str) -> None:
        set_mode("rust")
        core.dispatch_plant_panic(INDEX["pad_sequences"])
        with pytest.warns(RuntimeWarning, match=r"(?s)'pad' panicked.*report.*doctor"):
            assert pad_sequences(ROWS) == [[1, 2, 3], [4, 0, 0]]
        with warnings.catch_warnings(), dispatch_mode(mode):
            warnings.simplefilter("error")
            assert sides_of(lambda: pad_sequences(ROWS), "pad") == {PYTHON: 1}
            # The whole operation, and no other one.
            assert sides_of(lambda: fast_axolotl.create_padding_mask(1, 3), "pad") == {PYTHON: 1}
        assert sides_of(lambda: fast_axolotl.parallel_hash_rows(["a"]), "hash") == {RUST: 1}
        assert "planted" in (explain("pad").refused or "")

    def test_it_answers_where_warnings_are_errors(self, caplog: pytest.LogCaptureFixture) -> None:
        set_mode("rust")
        core.dispatch_plant_panic(INDEX["pack_sequences"])
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            assert fast_axolotl.pack_sequences([[1]], 3, 0, 2)["input_ids"] == [[1, 2, 0]]
        assert "panicked" in caplog.text

    def test_an_adapters_function_is_quarantined_too(self) -> None:
        def panicking(rows: list[int]) -> int:
            raise core.PANICS[0](f"boom at {rows}")

        declare("trial", "for a test")
        function = register(
            Function("trial", "trial", ("lists",), ("lists",), sum, panicking, describe)
        )
        public = dispatched(function)
        with dispatch_mode("rust"):
            with pytest.warns(RuntimeWarning, match="'trial' panicked"):
                assert public([1, 2]) == 3
            assert public([1, 2]) == 3
        assert stats()["trial"] == {
            PYTHON: {"calls": 2},
            RUST: {"calls": 0},
            THREADS: {"calls": 0},
        }

    @pytest.mark.parametrize("kind", range(len(core.PANICS) if core is not None else 0))
    def test_what_answers_short_calls_is_quarantined_too(self, kind: int) -> None:
        asked = []

        def front(args: tuple[Any, ...]) -> int:
            asked.append(args)
            raise core.PANICS[kind](f"boom at {args}")

        declare("trial", "for a test")
        function = register(
            Function(
                *("trial", "trial", ("lists",), ("lists",), sum, sum, describe),
                strict=False,
                front=front,
            )
        )
        public = dispatched(function)
        set_mode("rust")
        assert public([]) == 0  # reads the rules: the next one is asked of `front`
        with pytest.warns(RuntimeWarning, match="'trial' panicked"):
            assert public([1, 2]) == 3
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            assert public([1, 2]) == 3
        assert asked == [([1, 2],)]
        assert stats()["trial"][PYTHON] == {"calls": 2}
        assert stats()["trial"][RUST] == {"calls": 1}


class TestAdapters:
    def function(self, **members: Any) -> tuple[Function, Callable[..., Any]]:
        def original(rows: list[int], scale: int = 1) -> int:
            """Sum up."""
            return sum(rows) * scale

        def replacement(rows: list[int], scale: int = 1) -> int:
            return sum(rows) * scale

        declare("trial", "for a test")
        function = register(
            Function(
                "trial", "trial", ("lists",), ("lists",), original, replacement, describe, **members
            )
        )
        return function, dispatched(function)

    def test_it_looks_like_the_original(self) -> None:
        import inspect

        function, public = self.function()
        assert public.__doc__ == "Sum up."
        assert inspect.signature(public) == inspect.signature(function.python)
        assert public([1, 2], scale=2) == 6

    @needs_rust
    def test_it_is_decided_forced_and_counted(self) -> None:
        _, public = self.function()
        assert sides_of(lambda: public([1]), "trial") == {PYTHON: 1}  # nothing is known of it
        base = profile.default()
        cell = policy.Cell(policy.threshold("rows", 3, RUST))
        call.use(base._replace(cells={**base.cells, "trial/lists/lists": cell}))
        assert sides_of(lambda: public([1]), "trial") == {PYTHON: 1}
        assert sides_of(lambda: public([1] * 3), "trial") == {RUST: 1}
        with dispatch_mode("rust", "trial"):
            assert sides_of(lambda: public([1]), "trial") == {RUST: 1}
        with dispatch_mode("python"):
            assert sides_of(lambda: public([1] * 3), "trial") == {PYTHON: 1}
        with dispatch_mode("verify"):
            assert sides_of(lambda: public([1]), "trial") == {PYTHON: 1, RUST: 1}

    @needs_rust
    @pytest.mark.parametrize("timed", [False, True])
    def test_a_size_decides_as_the_whole_path_does(self, timed: bool) -> None:
        few = Condition(lambda args, _: not args or len(args[0]) < 5, "more than four rows")
        _, public = self.function(conditions=(few,), verdict=policy.threshold("rows", 3, RUST))
        public([1])  # reads the rules
        with stats_enabled() if timed else contextlib.nullcontext():
            assert sides_of(lambda: public([1, 2]), "trial") == {PYTHON: 1}
            assert sides_of(lambda: public([1] * 4, scale=2), "trial") == {RUST: 1}
            assert sides_of(lambda: public([1] * 5), "trial") == {PYTHON: 1}  # it is refused
            with pytest.raises(TypeError, match="missing 1 required positional argument: 'rows'"):
                public()
            with pytest.raises(TypeError, match="unsupported operand"):
                public(["a"] * 4)
            with dispatch_mode("rust"):
                assert sides_of(lambda: public([1, 2]), "trial") == {RUST: 1}
            for mode, side in (("python", PYTHON), ("rust", RUST), ("auto", PYTHON)):
                set_mode(mode)
                assert sides_of(lambda: public([1, 2]), "trial") == {side: 1}
        registry.unregister("trial")
        assert public([1] * 4) == 4

    @needs_rust
    def test_it_is_verified(self) -> None:
        function, _ = self.function()
        registry.unregister("trial")
        wrong = register(function._replace(rust=lambda rows, scale=1: scale * (sum(rows) + 1)))
        public = dispatched(wrong)
        with (
            dispatch_mode("verify"),
            pytest.raises(VerificationError, match="rust has 4, python 3"),
        ):
            public([1, 2])

    @needs_rust
    def test_conditions_are_asked_before(self, caplog: pytest.LogCaptureFixture) -> None:
        small = Condition(lambda args, _: len(args[0]) < 3, "more than two rows")
        _, public = self.function(conditions=(small,))
        with dispatch_mode("rust"):
            assert sides_of(lambda: public([1]), "trial") == {RUST: 1}
            with pytest.raises(UnsupportedError, match=r"trial: .*more than two rows"):
                public([1, 2, 3])
        with caplog.at_level(logging.DEBUG, logger="fast_axolotl.dispatch"):
            assert sides_of(lambda: public([1, 2, 3]), "trial") == {PYTHON: 1}
        assert "more than two rows" in caplog.text

    def test_the_table_refuses_what_it_does_not_know(self) -> None:
        function, _ = self.function()
        with pytest.raises(ValueError, match="registered already"):
            register(function)
        with pytest.raises(ValueError, match="unknown operation 'nothing'"):
            register(function._replace(name="other", operation="nothing"))

    def test_the_chain_begins_with_the_process(self, monkeypatch: pytest.MonkeyPatch) -> None:
        function, _ = self.function(conditions=(Condition(lambda *_: False, "it never can"),))
        assert support.refusal(function, (), {}) == "it never can"
        monkeypatch.setitem(support.quarantined, function.name, "it panicked")
        assert support.refusal(function, (), {}) == "it panicked"
        function = function._replace(rust=None)
        assert support.refusal(function, (), {}) == "the Rust extension is not available"


class TestObservation:
    @needs_rust
    def test_calls_are_always_counted(self) -> None:
        set_mode("rust")
        before = stats()["pad"][RUST]["calls"]
        for _ in range(10):
            pad_sequences(ROWS)
        assert stats()["pad"][RUST] == {"calls": before + 10}

    @needs_rust
    def test_times_are_taken_on_request(self) -> None:
        set_mode("rust")
        with stats_enabled():
            with stats_enabled():
                pad_sequences(ROWS)
            pad_sequences(ROWS)
        pad_sequences(ROWS)
        found = stats()["pad"][RUST]
        assert found["timed"] == 2
        assert found["calls"] == 3
        assert 0 < found["seconds"] < 1
        assert -1 < found["saved"] < 1

    @needs_rust
    def test_the_first_answer_of_an_original_says_nothing_of_the_others(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """It compiles and imports, once: it is saved once."""
        answers = []

        def original(rows: list[int]) -> int:
            if not answers:
                time.sleep(0.3)
            answers.append(rows)
            return sum(rows)

        declare("trial", "for a test")
        function = register(
            Function("trial", "trial", ("lists",), ("lists",), original, sum, describe)
        )
        public = dispatched(function)
        monkeypatch.setattr(trace, "_sampling", True)
        with dispatch_mode("rust"), stats_enabled():
            for _ in range(1000):
                public([1, 2])
        assert 0.29 < stats()["trial"][RUST]["saved"] < 2
        assert 1 < len(answers) < 10

    def test_a_block_of_times_ends_once(self) -> None:
        block = stats_enabled()
        with pytest.raises(RuntimeError, match="not entered"):
            block.__exit__(None, None, None)
        with block:
            assert trace.timing()
        with pytest.raises(RuntimeError, match="not entered"):
            block.__exit__(None, None, None)
        with stats_enabled():
            assert trace.timing()
        assert not trace.timing()

    @needs_rust
    def test_a_table_at_exit(self) -> None:
        done = run_python(
            "import importlib, fast_axolotl as f; importlib.reload(f); f.pad_sequences([[1]])",
            FAST_AXOLOTL_STATS="1",
        )
        assert done.returncode == 0
        assert done.stderr.count("operation") == 1
        assert "pad" in done.stderr
        assert done.stdout == ""

    @needs_rust
    def test_decisions_are_logged_at_debug(self, caplog: pytest.LogCaptureFixture) -> None:
        pad_sequences(ROWS)
        with caplog.at_level(logging.DEBUG, logger="fast_axolotl.dispatch"):
            pad_sequences(ROWS)
        assert "pad_sequences: " in caplog.text
        assert "lists -> lists, 2 rows" in caplog.text
        caplog.clear()
        pad_sequences(ROWS)
        assert not caplog.records

    @needs_rust
    def test_state_changes_are_logged_at_info(self, caplog: pytest.LogCaptureFixture) -> None:
        with caplog.at_level(logging.INFO, logger="fast_axolotl.dispatch"):
            set_mode("python")
            call.reload()
            call.profiles()
        assert "mode 'python'" in caplog.text
        assert "packaged default" in caplog.text

    def test_explain_tells_times_winner_margin_and_source(self) -> None:
        found = explain("pad_sequences", rows=1000, length=64)
        assert found.operation == "pad"
        assert found.source == "packaged default"
        assert found.sizes == Sizes(1000, 64_000, 64_000)
        assert set(found.seconds) == {PYTHON, RUST}
        assert found.seconds[found.winner] > 0
        for word in (found.winner, "packaged default", "predicted", "1000 rows"):
            assert word in str(found)

    @needs_rust
    @pytest.mark.parametrize("mode", ["python", "rust"])
    def test_explain_knows_the_mode(self, mode: str) -> None:
        with dispatch_mode(mode):
            found = explain("pack", rows=10, length=10)
        assert (found.winner, found.mode) == (mode, mode)

    @needs_rust
    def test_explain_agrees_with_what_happens(self) -> None:
        use(pad_sequences=policy.Cell(policy.threshold("rows", 7, RUST)))
        for rows in (1, 6, 7, 50):
            winner = explain("pad", rows=rows, length=3).winner
            assert sides_of(lambda n=rows: pad_sequences([[1, 2, 3]] * n), "pad") == {winner: 1}

    def test_explain_lists_what_there_is(self) -> None:
        with pytest.raises(ValueError, match=r"unknown operation 'pax'; there are pack, pad, hash"):
            explain("pax")
        with pytest.raises(ValueError, match="there are lists, arrays, array, arrow"):
            explain("pad", layout="tuples")
        with pytest.raises(ValueError, match="there are lists, numpy, torch, arrow"):
            explain("pad", output="jax")
        with pytest.raises(ValueError, match="rows must be at least 0"):
            explain("pad", rows=-1)
        with pytest.raises(ValueError, match="threads must be at least 0"):
            explain("pad", threads=-1)
        for huge in (10**400, 10**5000):  # the latter is more than int() turns into text
            with pytest.raises(OverflowError, match=r"rows must be at most .*, got an int of"):
                explain("pad", rows=huge)
        for wrong in (1.5, "a"):
            with pytest.raises(TypeError, match="rows must be an int, not"):
                explain("pad", rows=wrong)  # type: ignore[arg-type]
        for later in sorted(set(registry.OPERATIONS) - {"pack", "pad", "hash"}):
            if not registry.functions_of(later):
                with pytest.raises(ValueError, match="no functions until Axolotl is imported"):
                    explain(later)

    def test_a_winner_that_is_not_the_fastest_is_no_times_the_speed_of_another(self) -> None:
        found = explain("pad", rows=8, length=8)
        assert "2.50x the speed of the next" in str(found._replace(margin=2.5))
        slower = str(found._replace(margin=0.4))
        assert "though another is predicted to be 2.50x as fast" in slower
        assert "the speed of the next" not in slower

    @needs_rust
    def test_explain_knows_what_is_shared_between_threads(self) -> None:
        if not call.threads_free():
            pytest.skip("one thread")
        assert explain("hash", rows=1, length=3_000_000).winner == RUST
        row = ["x" * 3_000_000]
        assert sides_of(lambda: fast_axolotl.parallel_hash_rows(row), "hash") == {RUST: 1}
        with stats_enabled():
            assert sides_of(lambda: fast_axolotl.parallel_hash_rows(row), "hash") == {RUST: 1}
        with dispatch_mode("rust"):
            assert explain("hash", rows=10, threads=2).winner == THREADS
            work = partial(fast_axolotl.parallel_hash_rows, ["a"] * 10, 2)
            assert sides_of(work, "hash") == {THREADS: 1}
            with stats_enabled():
                assert sides_of(work, "hash") == {THREADS: 1}


def test_slowed_functions_are_as_slow_as_planned() -> None:
    import time

    function = slowed("trial", Cost(100_000, 0, 0, 0), Cost(0, 10_000, 0, 0))
    begin = time.perf_counter_ns()
    function.python([1])
    assert time.perf_counter_ns() - begin >= 100_000


#: Code of the caller's that runs while a call is decided, and sets rules of its own.
REENTRANT = """
import faulthandler
faulthandler.dump_traceback_later(30, exit=True)
import os, signal, threading, warnings
from collections.abc import Sequence
import fast_axolotl as fa

# Of a fork beside threads, from CPython 3.12 on: that is what is tried here.
warnings.simplefilter("ignore", DeprecationWarning)

class Rows(Sequence):
    def __init__(self, when=None):
        self.when = when
    def __getitem__(self, at):
        return ["a", "b"][at]
    def __len__(self):
        if self.when is not None:
            when, self.when = self.when, None
            when()
        return 2

class Output:
    def __repr__(self):
        reset()
        return "Output()"

def reset():
    with fa.stats_enabled():
        pass

wanted = fa.parallel_hash_rows(Rows())
"""


@needs_rust
class TestWhatRunsWhileACallIsDecided:
    def test_it_may_set_rules(self) -> None:
        done = run_python(
            REENTRANT
            + """
assert fa.parallel_hash_rows(Rows(reset)) == wanted
fa.pad_sequences([[1]])
try:
    fa.pad_sequences([[1]], output=Output())
except ValueError as error:
    print(error)
"""
        )
        assert (done.returncode, done.stderr) == (0, "")
        assert done.stdout.startswith("output must be ")

    def test_another_thread_may_set_rules_meanwhile(self) -> None:
        done = run_python(
            REENTRANT
            + """
def meanwhile():
    other = threading.Thread(target=reset)
    other.start()
    other.join()

assert fa.parallel_hash_rows(Rows(meanwhile)) == wanted
"""
        )
        assert (done.returncode, done.stderr) == (0, "")

    @pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this platform")
    def test_a_forked_child_may_set_rules(self) -> None:
        done = run_python(
            REENTRANT
            + """
def fork():
    child = os.fork()
    if child == 0:
        signal.alarm(20)
        reset()
        os._exit(fa.parallel_hash_rows(Rows()) != wanted)
    assert os.waitpid(child, 0)[1] == 0

def elsewhere():
    other = threading.Thread(target=fork)
    other.start()
    other.join()

assert fa.parallel_hash_rows(Rows(elsewhere)) == wanted
"""
        )
        assert (done.returncode, done.stderr) == (0, "")

    def test_ctrl_c_is_not_lost(self) -> None:
        done = run_python(
            REENTRANT
            + """
def interrupt():
    raise KeyboardInterrupt

try:
    fa.parallel_hash_rows(Rows(interrupt))
except KeyboardInterrupt:
    print("interrupted")
"""
        )
        assert (done.returncode, done.stdout, done.stderr) == (0, "interrupted\n", "")
