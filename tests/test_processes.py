"""Forks, spawned processes, threads, Ctrl-C, and processors that are not ours to use."""

import multiprocessing
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from types import SimpleNamespace
from typing import Any

import implementations
import numpy as np
import pytest

import fast_axolotl

posix = pytest.mark.skipif(os.name != "posix", reason="needs POSIX signals and fork")
forks = pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this platform")

ROWS = [[i % 300] * (i % 40) for i in range(3_000)]
TEXTS = [f"row {i % 700} " * 20 for i in range(30_000)]


def work(functions: Any = fast_axolotl) -> tuple[Any, ...]:
    """Every function once, the hashes on as many threads as there may be."""
    return (
        functions.pad_sequences(ROWS),
        functions.pad_sequences(ROWS, output="numpy").tolist(),
        functions.pack_sequences(ROWS, 128, 0, 2),
        functions.concatenate_and_pack(ROWS, ROWS, ROWS, 128, 0),
        functions.create_padding_mask(3, 9),
        functions.parallel_hash_rows(TEXTS),
        functions.deduplicate_indices(TEXTS, None, 2),
    )


def same_work() -> bool:
    return work() == work(implementations.oracle)


def python(
    code: str, timeout: float = 120, **environment: str
) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, "-W", "ignore", "-c", code],
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
        env={**os.environ, **environment},
    )


FORK = """
import os, signal, sys, threading, time
from fast_axolotl import _core as f
texts = [f"row {i} " * 30 for i in range(40_000)]
rows = [[i] * (i % 30) for i in range(2_000)]
expected = f.parallel_hash_rows(texts, 1)
assert f.parallel_hash_rows(texts, 2) == expected      # the pool stands
BUSY
pid = os.fork()
if pid == 0:
    signal.alarm(20)                                    # a deadlock ends here
    good = f.parallel_hash_rows(texts, 0) == expected
    threads = len(os.listdir("/proc/self/task")) if os.path.exists("/proc/self/task") else 1
    asked = f.parallel_hash_rows(texts, 2) == expected
    good &= f.deduplicate_indices(texts)[1] == expected
    good &= len(f.pad_sequences(rows)) == 2_000
    good &= len(f.pack_sequences(rows, 64, 0, 2)["labels"]) > 0
    good &= len(f.concatenate_and_pack(rows, rows, rows, 64, 0)["labels"]) > 0
    good &= f.create_padding_mask(0, 2) == [0, 1]
    again = os.fork()                                   # and a child of the child
    if again == 0:
        os._exit(0 if f.parallel_hash_rows(texts, 2) == expected else 5)
    good &= os.waitstatus_to_exitcode(os.waitpid(again, 0)[1]) == 0
    os._exit(0 if good and asked and threads == 1 else 2 if good else 3)
code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
assert f.parallel_hash_rows(texts, 2) == expected       # the parent's pool is as it was
sys.exit(code)
"""

HASHING_MEANWHILE = """
stop = False
def hash_on():
    while not stop:
        f.parallel_hash_rows(texts, 2)
thread = threading.Thread(target=hash_on, daemon=True)
thread.start()
time.sleep(0.2)
"""


@forks
@pytest.mark.parametrize("busy", ["", HASHING_MEANWHILE], ids=["idle", "while hashing"])
def test_fork(rust: SimpleNamespace, busy: str) -> None:
    """The child has no pool: one thread of its own, unless asked, and no deadlock."""
    del rust
    for _ in range(3):
        code = FORK.replace("BUSY", busy)
        if busy:
            code = code.replace("assert f.parallel", "stop = True\nassert f.parallel", 2)
            code = code.replace("stop = True\nassert f.parallel", "assert f.parallel", 1)
        run = python(code)
        assert run.returncode == 0, (run.returncode, run.stderr)


@pytest.mark.parametrize(
    "method", [m for m in ("fork", "spawn") if m in multiprocessing.get_all_start_methods()]
)
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_process_pools(method: str) -> None:
    assert same_work()
    context = multiprocessing.get_context(method)
    with ProcessPoolExecutor(2, mp_context=context) as pool:
        futures = [pool.submit(same_work) for _ in range(4)]
        assert all(future.result(timeout=120) for future in futures)


def test_threads(impl: SimpleNamespace) -> None:
    """Eight threads at once, on the same input."""
    expected = work(implementations.oracle)
    with ThreadPoolExecutor(8) as pool:
        for future in [pool.submit(work, impl) for _ in range(24)]:
            assert future.result() == expected


def test_long_hashing_lets_other_threads_run(rust: SimpleNamespace) -> None:
    rows = [b"x" * 1_000_000] * 600
    ticks = []
    done = threading.Event()

    def tick() -> None:
        while not done.is_set():
            ticks.append(time.monotonic())
            time.sleep(0.005)

    thread = threading.Thread(target=tick)
    thread.start()
    try:
        begin = time.monotonic()
        rust.parallel_hash_rows(rows, 1)
        end = time.monotonic()
    finally:
        done.set()
        thread.join()
    during = [t for t in ticks if begin < t < end]
    assert len(during) > (end - begin) / 0.1, f"{len(during)} ticks in {end - begin:.2f} s"


INTERRUPT = """
import sys, time
from fast_axolotl import _core as f
from hashlib import sha256
PREPARE
print("ready", flush=True)
try:
    CALL
except KeyboardInterrupt:
    begin = time.monotonic()
    assert f.parallel_hash_rows(["a"]) == [sha256(b"a").hexdigest()]
    small = ["x" * 300] * 3_000
    assert f.parallel_hash_rows(small, 2) == f.parallel_hash_rows(small, 1)
    assert time.monotonic() - begin < 2
    print("interrupted", flush=True)
    sys.exit(7)
print("done", flush=True)
"""
# 20 GB, without being so much: one object again and again.
TWENTY_GB = 'rows = ["x" * 1_000_000] * 20_000'
MANY_SMALL = 'rows = ["x" * 500] * 40_000_000'
ENCODED = 'rows = ["é" * 500_000] * 20_000'
IN_ARROW = """
import pyarrow
rows = pyarrow.chunked_array([pyarrow.array(["x" * 1_000_000] * 100)] * 200)
"""


@posix
@pytest.mark.parametrize(
    ("prepare", "call"),
    [
        pytest.param(TWENTY_GB, "f.parallel_hash_rows(rows, 1)", id="one thread"),
        pytest.param(TWENTY_GB, "f.parallel_hash_rows(rows, 2)", id="two threads"),
        pytest.param(TWENTY_GB, "f.deduplicate_indices(rows)", id="deduplicate"),
        pytest.param(ENCODED, "f.parallel_hash_rows(rows, 2)", id="not ASCII"),
        pytest.param(MANY_SMALL, "f.deduplicate_indices(rows, None, 2)", id="many small rows"),
        pytest.param(IN_ARROW, "f.parallel_hash_rows(rows, 2)", id="Arrow"),
        pytest.param(TWENTY_GB, "f.parallel_hash_rows(iter_(rows))", id="in a handler of ours"),
    ],
)
def test_ctrl_c(rust: SimpleNamespace, prepare: str, call: str) -> None:
    """Ctrl-C ends 20 GB of hashing within 3 seconds, and the next call is right."""
    del rust
    code = INTERRUPT.replace("PREPARE", prepare).replace("CALL", call).replace("iter_", "tuple")
    process = subprocess.Popen(
        [sys.executable, "-c", code],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        time.sleep(0.7)
        assert process.poll() is None, "too fast to interrupt"
        begin = time.monotonic()
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=20)
        took = time.monotonic() - begin
    finally:
        process.kill()
    assert (out, process.returncode) == ("interrupted\n", 7), err
    assert took < 3, f"{took:.1f} s"


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="no affinity on this platform")
def test_affinity(rust: SimpleNamespace) -> None:
    """One processor allowed, one thread used: also where the machine has more."""
    del rust
    code = """
import os
os.sched_setaffinity(0, [min(os.sched_getaffinity(0))])
from fast_axolotl import _core as f
assert f.usable_threads() == 1, f.usable_threads()
texts = ["x" * 500 + str(i) for i in range(30_000)]
before = len(os.listdir("/proc/self/task"))
assert f.parallel_hash_rows(texts, 0) == f.parallel_hash_rows(texts, 1) == (
    f.parallel_hash_rows(texts, 16))
assert len(os.listdir("/proc/self/task")) == before
"""
    run = python(code)
    assert run.returncode == 0, run.stderr


def test_usable_threads(rust: SimpleNamespace) -> None:
    del rust
    from fast_axolotl import _core

    usable = _core.usable_threads()
    cores = (
        len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    )
    assert 1 <= usable <= cores


def test_exit_while_the_pool_sleeps(rust: SimpleNamespace) -> None:
    del rust
    run = python(
        "from fast_axolotl import _core as f; f.parallel_hash_rows(['x' * 300] * 50_000, 2)",
        timeout=30,
    )
    assert (run.returncode, run.stderr) == (0, "")


def test_exit_while_a_thread_hashes(rust: SimpleNamespace) -> None:
    """A daemon thread in the middle of a call does not keep the interpreter from ending."""
    del rust
    code = """
import threading, time
from fast_axolotl import _core as f
rows = ["x" * 1_000_000] * 3_000
threading.Thread(target=lambda: f.parallel_hash_rows(rows, 2), daemon=True).start()
time.sleep(0.3)
"""
    run = python(code, timeout=30)
    assert run.returncode == 0, run.stderr


WORKS: list[Callable[[], Any]] = [
    lambda: fast_axolotl.pad_sequences(ROWS, output="numpy"),
    lambda: fast_axolotl.parallel_hash_rows(TEXTS),
]


@forks
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_workers_of_a_data_loader() -> None:
    """Batches made in forked workers, sent back through pipes, as a DataLoader does it."""
    context = multiprocessing.get_context("fork")
    ends = [context.Pipe(duplex=False) for _ in WORKS]

    def child(i: int) -> None:
        ends[i][1].send(WORKS[i]())

    processes = [context.Process(target=child, args=(i,)) for i in range(len(WORKS))]
    for process in processes:
        process.start()
    found = []
    for receiver, _ in ends:
        assert receiver.poll(60)
        found.append(receiver.recv())
    for process in processes:
        process.join(60)
        assert process.exitcode == 0
    assert np.array_equal(found[0], WORKS[0]())
    assert found[1] == WORKS[1]()


SUBINTERPRETER = """
import sys
# Of the kind that may load any extension: in others, hashlib alone ends CPython 3.12 with an abort.
try:
    import _interpreters as interpreters
    sub = interpreters.create("legacy")
except ModuleNotFoundError:  # CPython 3.12 and older
    import _xxsubinterpreters as interpreters
    sub = interpreters.create(isolated=False)
interpreters.run_string(sub, f"import sys; sys.path[:] = {sys.path!r}" + '''
import fast_axolotl as f
from fast_axolotl import _native
assert not f.RUST_AVAILABLE
assert "main interpreter" in _native.UNAVAILABLE or "subinterpreters" in _native.UNAVAILABLE
with f.dispatch_mode("python"):
    assert f.pad_sequences([[1], [2, 3]]) == [[1, 0], [2, 3]]
assert len(f.parallel_hash_rows(["a"])[0]) == 64
print("sub", flush=True)
''')
interpreters.destroy(sub)
import fast_axolotl as f
for mode in ("python", "rust", "verify"):
    with f.dispatch_mode(mode):
        assert f.pad_sequences([[1], [2, 3]]) == [[1, 0], [2, 3]]
        try:
            f.pad_sequences([[1, 2]], 1)
        except ValueError as error:
            assert "length 2" in str(error)
counts = {side: found["calls"] for side, found in f.stats()["pad"].items()}
assert counts["python"] >= 2 and counts["rust"] >= 2, counts
print("main")
"""


def test_a_subinterpreter_has_the_originals_and_leaves_the_main_one_whole(
    rust: SimpleNamespace,
) -> None:
    """What the extension keeps is kept for the process: it must not be of one that ends."""
    del rust
    run = python(SUBINTERPRETER)
    assert (run.returncode, run.stdout) == (0, "sub\nmain\n"), run.stderr
