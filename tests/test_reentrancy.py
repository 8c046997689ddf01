"""Rows that change while they are read: an error or an answer of one width, and never harm.

Everything that can run Python code in the middle of a call empties, shrinks, grows or replaces the
very lists that the call reads. An answer may hold the tokens from before or after; it may not hold
anything else, and all its rows have one width.
"""

import gc
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from types import SimpleNamespace
from typing import Any

import implementations
import numpy as np
import pyarrow as pa
import pytest

TOKENS = {*range(50), -100, 7777}
OUTPUTS = ("lists", "numpy", "arrow")
Rows = list[Any]


def attack_clear(rows: Rows) -> None:
    rows.clear()


def attack_clear_each(rows: Rows) -> None:
    for row in rows:
        if type(row) is list:
            row.clear()


def attack_shrink(rows: Rows) -> None:
    for row in rows:
        if type(row) is list:
            del row[1:]


def attack_grow(rows: Rows) -> None:
    for row in rows:
        if type(row) is list and len(row) < 500:
            row.extend(range(40))


def attack_replace(rows: Rows) -> None:
    for i in range(len(rows)):
        rows[i] = (None, 3, [9] * 30, "text")[i % 4]


def attack_drop_rows(rows: Rows) -> None:
    del rows[1:]


def attack_more_rows(rows: Rows) -> None:
    if len(rows) < 500:
        rows.extend([[1] * 30] * 30)


def attack_new_tokens(rows: Rows) -> None:
    for row in rows:
        if type(row) is list:
            row[:] = [7777] * len(row)


ATTACKS = [
    attack_clear,
    attack_clear_each,
    attack_shrink,
    attack_grow,
    attack_replace,
    attack_drop_rows,
    attack_more_rows,
    attack_new_tokens,
]


class Trap:
    """Runs an attack, once, from inside of whatever asks."""

    def __init__(self, attack: Callable[[Rows], None], times: int = 1) -> None:
        self.attack, self.left, self.rows = attack, times, []

    def spring(self) -> None:
        if self.left:
            self.left -= 1
            self.attack(self.rows)


class TrapToken:
    def __init__(self, trap: Trap) -> None:
        self._trap = trap

    def __index__(self) -> int:
        self._trap.spring()
        return 3


class TrapSequence(Sequence[Any]):
    """Springs in __len__, __getitem__ and __iter__."""

    def __init__(self, trap: Trap) -> None:
        self._trap = trap

    def __len__(self) -> int:
        self._trap.spring()
        return 4

    def __getitem__(self, i: Any) -> Any:
        self._trap.spring()
        return (1, 2, 3, 4)[i]


class TrapList(list[Any]):
    """A list subclass that springs in __iter__ and __len__."""

    trap: Trap

    def __iter__(self) -> Iterator[Any]:
        self.trap.spring()
        return iter([5, 6])

    def __len__(self) -> int:
        self.trap.spring()
        return 2


class TrapArray(np.ndarray[Any, Any]):
    """An array whose tolist springs."""

    trap: Any = None

    def tolist(self) -> Any:
        self.trap.spring()
        return super().tolist()


def trap_list(trap: Trap) -> Any:
    row = TrapList([1, 2, 3])
    row.trap = trap
    return row


def trap_array(trap: Trap) -> Any:
    row = np.arange(5).view(TrapArray)
    row.trap = trap
    return row


TRAPS: dict[str, Callable[[Trap], Any]] = {
    "__len__ and __getitem__": TrapSequence,
    "__iter__": trap_list,
    "tolist": trap_array,
    "__index__ of an element": lambda trap: [1, 2, TrapToken(trap), 4],
    "__index__ of many": lambda trap: [TrapToken(trap)] * 6,
}


def table(trap: Trap, row: Any) -> Rows:
    rows: Rows = [[i % 50 for i in range(n)] for n in (3, 9, 1, 0, 14)]
    rows[2:2] = [row]
    trap.rows = rows
    return rows


def check(found: Any) -> None:
    """An answer of one width, whose tokens are all known."""
    if isinstance(found, dict):
        heights = set()
        for rows in found.values():
            check(rows)
            heights.add(len(rows))
        assert len(heights) == 1
        return
    rows = (
        found
        if isinstance(found, list)
        else found.to_pylist()
        if hasattr(found, "to_pylist")
        else found.tolist()
    )
    assert len({len(row) for row in rows}) <= 1
    for row in rows:
        for token in row:
            assert isinstance(token, (int, TrapToken)), token
            assert not isinstance(token, int) or token in TOKENS, token


def run(call: Callable[[], Any]) -> None:
    """Either answer is fine; a crash, a SystemError and a wrong width are not."""
    try:
        found = call()
    except (TypeError, ValueError, RuntimeError, OverflowError):
        return
    check(found)


@pytest.mark.parametrize("output", OUTPUTS)
@pytest.mark.parametrize("times", [1, 3])
@pytest.mark.parametrize("attack", ATTACKS, ids=lambda attack: attack.__name__)
@pytest.mark.parametrize("kind", TRAPS)
def test_rows_that_attack(
    impl: SimpleNamespace, kind: str, attack: Callable[[Rows], None], times: int, output: str
) -> None:
    for side in ("right", "left"):
        for target, truncate in ((None, False), (20, False), (4, True)):
            trap = Trap(attack, times)
            rows = table(trap, TRAPS[kind](trap))
            run(
                lambda rows=rows, target=target, side=side, truncate=truncate: impl.pad_sequences(  # type: ignore[misc]
                    rows, target, 7777, side, truncate=truncate, output=output
                )
            )
    for limit in (16, 30, 200):
        trap = Trap(attack, times)
        rows = table(trap, TRAPS[kind](trap))
        run(lambda rows=rows, limit=limit: impl.pack_sequences(rows, limit, 0, 2, output=output))  # type: ignore[misc]
        for place in range(3):
            trap = Trap(attack, times)
            rows = table(trap, TRAPS[kind](trap))
            plain = [[1] * n for n in (3, 9, 4, 1, 0, 14)]
            columns: list[Any] = [plain, plain, plain]
            columns[place] = rows
            trap.rows = rows if times == 1 else plain
            run(
                lambda columns=columns, limit=limit: impl.concatenate_and_pack(  # type: ignore[misc]
                    *columns, limit, 0, output=output
                )
            )


@pytest.mark.parametrize("output", OUTPUTS)
@pytest.mark.parametrize("attack", ATTACKS, ids=lambda attack: attack.__name__)
def test_arguments_that_attack(
    impl: SimpleNamespace, attack: Callable[[Rows], None], output: str
) -> None:
    def made() -> tuple[Rows, Any]:
        trap = Trap(attack)
        rows: Rows = [[i % 50 for i in range(n)] for n in (3, 9, 1, 0, 14)]
        trap.rows = rows
        return rows, TrapToken(trap)

    rows, token = made()
    run(lambda: impl.pad_sequences(rows, token, truncate=True, output=output))
    rows, token = made()
    run(lambda: impl.pad_sequences(rows, 20, token, output=output))
    rows, token = made()
    run(lambda: impl.pad_sequences(rows, pad_to_multiple_of=token, output=output))
    rows, token = made()
    run(lambda: impl.pack_sequences(rows, 20, token, 2, output=output))
    rows, token = made()
    run(lambda: impl.pack_sequences(rows, 20, 0, token, output=output))
    rows, token = made()
    run(lambda: impl.pack_sequences(rows, 20, 0, 2, token, output=output))
    rows, token = made()
    run(lambda: impl.concatenate_and_pack(rows, rows, rows, 20, token, output=output))
    rows, token = made()
    run(lambda: impl.concatenate_and_pack(rows, rows, rows, 20, 0, token, output=output))

    class Truth:
        def __bool__(self) -> bool:
            token._trap.spring()
            return True

    rows, token = made()
    run(lambda: impl.pad_sequences(rows, 3, truncate=Truth(), output=output))


class TrapArrow:
    """Springs when it is asked for its capsules."""

    def __init__(self, trap: Trap, held: Any) -> None:
        self._trap, self._held = trap, held

    def __arrow_c_array__(self, requested_schema: Any = None) -> Any:
        self._trap.spring()
        return self._held.__arrow_c_array__(requested_schema)


@pytest.mark.parametrize("attack", ATTACKS, ids=lambda attack: attack.__name__)
def test_another_column_attacks(impl: SimpleNamespace, attack: Callable[[Rows], None]) -> None:
    for output in OUTPUTS:
        trap = Trap(attack)
        rows = [[1, 2], [3], [4, 5, 6]]
        trap.rows = rows
        other = TrapArrow(trap, pa.array([[1, 1], [1], [1, 1, 1]]))
        run(
            lambda rows=rows, other=other, output=output: impl.concatenate_and_pack(  # type: ignore[misc]
                rows, other, [[1, 1], [1], [1, 1, 1]], 8, 0, output=output
            )
        )


def test_hashing_rows_that_change(impl: SimpleNamespace) -> None:
    good = set(impl.parallel_hash_rows(["a", "b", "c", "d", "more"]))

    class Existing:
        def __init__(self, rows: Rows, attack: Callable[[Rows], None]) -> None:
            self._rows, self._attack = rows, attack

        def __iter__(self) -> Iterator[str]:
            self._attack(self._rows)
            return iter(["0" * 64])

    def clear(rows: Rows) -> None:
        rows.clear()

    def replace(rows: Rows) -> None:
        rows[1:] = [None, 5]

    def grow(rows: Rows) -> None:
        rows.append("more")

    for attack in (clear, replace, grow):
        rows: Rows = ["a", "b", "c", "d"]
        try:
            indices, hashes = impl.deduplicate_indices(rows, Existing(rows, attack))
        except (TypeError, RuntimeError):
            continue
        assert len(indices) == len(hashes)
        assert set(hashes) <= good

        class Texts(Sequence[Any]):
            def __len__(self) -> int:
                return 4

            def __getitem__(self, i: int, attack: Any = attack, rows: Rows = rows) -> Any:
                attack(rows)
                return "abcd"[i]

        assert set(impl.parallel_hash_rows(Texts())) <= good


def mutate_until(stop: threading.Event, rows: Rows) -> None:
    """Grow, shrink, empty and refill the rows, and the list of them, without an end."""
    extra = [[1, 2, 3]] * 5
    while not stop.is_set():
        for row in rows:
            if type(row) is list:
                row.extend((1, 2, 3))
        for row in rows:
            if type(row) is list:
                del row[2:]
        rows.extend(extra)
        del rows[6:]
        for row in rows:
            if type(row) is list:
                row.clear()
                row.extend((4, 5))


@pytest.mark.parametrize("output", OUTPUTS)
def test_another_thread_changes_the_rows(rust: SimpleNamespace, output: str) -> None:
    rows: Rows = [[i] * 5 for i in range(6)]
    stop = threading.Event()
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    thread = threading.Thread(target=mutate_until, args=(stop, rows))
    thread.start()
    end = time.monotonic() + 1.5
    odd = (rows[0], (1, 2), np.arange(3))
    try:
        while time.monotonic() < end:
            run(lambda: rust.pad_sequences(rows, output=output))
            run(lambda: rust.pad_sequences(rows, 3, 0, "left", truncate=True, output=output))
            run(lambda: rust.pad_sequences([*odd, rows[0]], output=output))
            run(lambda: rust.pack_sequences(rows, 64, 0, 2, output=output))
            run(lambda: rust.concatenate_and_pack(rows, rows, rows, 64, 0, output=output))
    finally:
        stop.set()
        thread.join()
        sys.setswitchinterval(interval)


def test_another_thread_changes_the_texts(rust: SimpleNamespace) -> None:
    # Long enough for the interpreter to be released while they are hashed.
    rows = [f"{i}" * 300 for i in range(10)] * 200
    good = set(implementations.oracle.parallel_hash_rows(rows))
    stop = threading.Event()

    def mutate() -> None:
        while not stop.is_set():
            kept = rows[-100:]
            del rows[-100:]
            rows[:0] = kept
            # The only references to these are in the list that is being read.
            rows[3:5] = ["".join(["7"] * 300), "".join(["8"] * 300)]

    thread = threading.Thread(target=mutate)
    thread.start()
    end = time.monotonic() + 1.5
    try:
        while time.monotonic() < end:
            for threads in (1, 2):
                try:
                    found = rust.parallel_hash_rows(rows, threads)
                except RuntimeError:
                    continue
                assert set(found) <= good
    finally:
        stop.set()
        thread.join()


def test_callbacks_of_the_collector(impl: SimpleNamespace) -> None:
    """A collection in the middle of a call sees, and changes, whatever there is."""
    rows: Rows = []
    before = gc.get_threshold()
    state = {"busy": False, "calls": 0, "ours": False}

    def callback(phase: str, info: dict[str, int]) -> None:
        del info
        if state["busy"] or phase == "stop":
            return
        state["busy"] = True
        state["calls"] += 1
        # Half-made lists must look like lists to whoever finds them; those of `ndarray.tolist`, by
        # which results are checked, do not.
        for found in gc.get_objects(generation=0) if state["ours"] else ():
            if type(found) is list:
                list(found)
        attack = ATTACKS[state["calls"] % len(ATTACKS)]
        attack(rows)
        state["busy"] = False

    def watched(function: Callable[..., Any], *args: Any, **kwargs: Any) -> None:
        def call() -> Any:
            state["ours"] = True
            try:
                return function(*args, **kwargs)
            finally:
                state["ours"] = False

        run(call)

    gc.callbacks.append(callback)
    gc.set_threshold(1)
    try:
        for output in OUTPUTS:
            for _ in range(40):
                rows[:] = [[i % 50 for i in range(n)] for n in (3, 9, 1, 0, 14)] + [(1, 2)]
                # Between two bytecodes of plain Python a row may grow, and stay longer.
                if impl.name != "reference" or output != "lists":
                    watched(impl.pad_sequences, rows, output=output)
                watched(impl.pack_sequences, rows, 600, 0, 2, output=output)
                watched(impl.concatenate_and_pack, rows, rows, rows, 600, 0, output=output)
    finally:
        gc.set_threshold(*before)
        gc.callbacks.remove(callback)
    assert state["calls"]


def test_the_collector_is_left_as_it_was(impl: SimpleNamespace, collector: bool) -> None:
    impl.pad_sequences([[1], [2, 3]] * 2000)
    impl.pack_sequences([[1], [2, 3]] * 2000, 8, 0, 2)
    for bad in ([[1], None], [[1] * 9], 5):
        with pytest.raises((TypeError, ValueError)):
            impl.pad_sequences(bad, 2)
        with pytest.raises((TypeError, ValueError)):
            impl.pack_sequences(bad, 2, 0, 1)
    with pytest.raises(MemoryError):
        impl.pad_sequences([[1]], 2**50)
    assert gc.isenabled() is collector


def test_finalizers_run_while_results_are_freed(impl: SimpleNamespace) -> None:
    class Token:
        """Calls back into us when it dies."""

        died = 0

        def __del__(self) -> None:
            Token.died += 1
            assert impl.pad_sequences([[1], [2, 3]]) == [[1, 0], [2, 3]]

    for _ in range(20):
        padded = impl.pad_sequences([[Token()], [Token(), Token()]], 5, Token())
        del padded
        packed = impl.pack_sequences([[Token()]], 5, Token(), Token(), Token())
        del packed
    gc.collect()
    assert Token.died == 20 * 8


def test_a_row_that_gets_shorter_is_named(impl: SimpleNamespace) -> None:
    class Clears:
        """A token that empties its row."""

        def __init__(self, row: list[Any]) -> None:
            self.row = row

        def __index__(self) -> int:
            self.row.clear()
            return 1

    class Fails:
        """A token with an error of its own."""

        def __index__(self) -> int:
            raise IndexError("mine")

    calls: list[Callable[[list[Any]], Any]] = [
        lambda row: impl.pad_sequences([[7], row], output="numpy"),
        lambda row: impl.pack_sequences([[7], row], 9, 0, 2, output="numpy"),
        lambda row: impl.concatenate_and_pack(
            [[7], row], [[7], [1, 1, 1]], [[7], [1, 1, 1]], 9, 0, output="numpy"
        ),
    ]
    for call in calls:
        row: list[Any] = []
        row += [Clears(row), 2, 3]
        with pytest.raises(RuntimeError, match=r"\[1\] changed while it was read"):
            call(row)
        with pytest.raises(IndexError, match="mine"):
            call([1, Fails(), 3])


def test_a_row_that_is_gone_is_named(impl: SimpleNamespace) -> None:
    class Drops:
        """A token that takes rows out of the list of them, or puts one in."""

        def __init__(self, rows: list[Any], change: Callable[[list[Any]], Any]) -> None:
            self.rows, self.change = rows, change

        def __index__(self) -> int:
            self.change(self.rows)
            return 1

    calls: list[Callable[[list[Any]], Any]] = [
        lambda rows: impl.pad_sequences(rows, output="numpy"),
        lambda rows: impl.pack_sequences(rows, 9, 0, 2, output="numpy"),
        lambda rows: impl.concatenate_and_pack(rows, [[1]] * 3, [[1]] * 3, 9, 0, output="numpy"),
    ]
    for call in calls:
        rows: list[Any] = [[7]]
        rows += [[Drops(rows, list.clear)], [8]]
        with pytest.raises(RuntimeError, match=r"\[2\] changed while it was read"):
            call(rows)
        rows = [[7]]
        rows += [[Drops(rows, lambda rows: rows.append([1]))], [8]]
        call(rows)  # how many rows there are was asked before
