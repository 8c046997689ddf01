"""The seams in children that were forked and spawned after use, and in eight threads at once."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parent

PRELUDE = """
import multiprocessing, os, sys
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
import fast_axolotl, seam_work
WANTED = sys.argv[1]
if __name__ == "__main__":
    assert seam_work.digest() == WANTED, "in this process"
    wanted = {"deduplicate", "drop_outside_range", "process_datasets_for_packing",
              "get_dataset_lengths", "generate_batches", "pack_parallel", "pad_collator",
              "v2_batch_sampler_collator", "encode_streaming"}
    assert wanted <= seam_work.used(), wanted - seam_work.used()
"""
FORK = """
    pids = []
    for _ in range(2):
        pid = os.fork()
        if not pid:
            same = seam_work.digest() == WANTED
            again = os.fork()  # a child of a child
            if not again:
                os._exit(0 if seam_work.digest() == WANTED else 1)
            same &= os.waitstatus_to_exitcode(os.waitpid(again, 0)[1]) == 0
            os._exit(0 if same else 1)
        pids.append(pid)
    assert [os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) for pid in pids] == [0, 0]
    assert seam_work.digest() == WANTED
"""
SPAWN = """
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
        assert pool.submit(seam_work.digest).result(900) == WANTED
        assert pool.submit(seam_work.used).result(900) >= wanted
"""
THREADS = """
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda _: seam_work.digest(), range(16)))
    assert set(found) == {WANTED}, len(set(found))
"""
# What Axolotl does in the workers of `datasets`: tokenizing, and what a user's strategy calls.
WORKERS = """
    from datasets import Dataset
    def strategy(row):
        return {"found": seam_work.digest(), "used": sorted(seam_work.used())}
    if "fork" in multiprocessing.get_all_start_methods():
        rows = Dataset.from_dict({"a": list(range(4))}).map(strategy, num_proc=2)
        assert set(rows["found"]) == {WANTED}
        assert all(wanted <= set(used) for used in rows["used"])
"""


def python(arguments: list[str], mode: str = "rust") -> str:
    environment = {k: v for k, v in os.environ.items() if not k.startswith("FAST_AXOLOTL_")}
    environment.update(FAST_AXOLOTL_DISPATCH=mode, PYTHONPATH=str(HERE), PYTHONWARNINGS="ignore")
    done = subprocess.run(
        [sys.executable, *arguments], env=environment, capture_output=True, text=True, timeout=1200
    )
    assert done.returncode == 0, done.stdout[-1000:] + done.stderr[-3000:]
    return done.stdout


@pytest.fixture(scope="module")
def stock() -> str:
    """What the round gives where fast-axolotl is not imported."""
    return python([str(HERE / "seam_work.py"), "stock"]).split()[-1]


@pytest.mark.parametrize(
    "code",
    [
        pytest.param(
            FORK, marks=pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
        ),
        SPAWN,
        THREADS,
        WORKERS,
    ],
    ids=["fork", "spawn", "threads", "workers of datasets"],
)
def test_the_same_as_stock(stock: str, code: str, tmp_path: Path) -> None:
    script = tmp_path / "script.py"  # a file: spawned children import it
    script.write_text(PRELUDE + code)
    python([str(script), stock])
