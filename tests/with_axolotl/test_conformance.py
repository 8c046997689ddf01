"""Stock and ours side by side: prepared folders byte for byte, fingerprints, batches, errors.

Each variant is one fresh process that runs the whole matrix (see `conformance.py`), with a cache of
its own. All modes run, and both orders of import; FAST_AXOLOTL_CONFORMANCE=full has every mode in
both orders. FAST_AXOLOTL_CONFORMANCE_JOBS is how many processes run side by side.
"""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import conformance
import pytest

HERE = Path(__file__).parent
#: Variant -> when `fast_axolotl` is imported, mode.
BOTH = {
    f"{mode}-{order}": (order, mode)
    for order in ("first", "last")
    for mode in ("auto", "rust", "python", "verify")
}
ONCE = ("auto-first", "rust-last", "python-last", "verify-first")
FULL = os.environ.get("FAST_AXOLOTL_CONFORMANCE") == "full"
VARIANTS = BOTH if FULL else {name: BOTH[name] for name in ONCE}
JOBS = int(os.environ.get("FAST_AXOLOTL_CONFORMANCE_JOBS", "2"))
CASES = list(conformance.CASES)
COMPARED = ("files", "train_dataset", "eval_dataset", "steps", "batches", "eval_batches", "errors")


def start(arguments: list[str], folder: Path, mode: str | None, cache: str) -> None:
    environment = {k: v for k, v in os.environ.items() if not k.startswith("FAST_AXOLOTL_")}
    environment["HF_HOME"] = str(folder / cache)
    environment["CONFORMANCE_TRACEBACK"] = "1"
    if mode is not None:
        environment["FAST_AXOLOTL_DISPATCH"] = mode
    done = subprocess.run(
        [sys.executable, str(HERE / "conformance.py"), *arguments],
        env=environment,
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=3000,
    )
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-4000:]


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    found = tmp_path_factory.mktemp("conformance")
    start(["MAKE", str(found / "in")], found, None, "hf-make")
    return found


class Variants:
    """Runs each variant that is asked for once, some of them at a time."""

    def __init__(self, folder: Path, names: list[str]) -> None:
        self.folder = folder
        self.pool = ThreadPoolExecutor(JOBS)
        self.found: dict[str, Future[Any]] = {
            name: self.pool.submit(self._run, name) for name in names
        }

    def _run(self, name: str) -> Any:
        order, mode = ("stock", None) if name == "stock" else VARIANTS[name]
        out = self.folder / name
        start(["RUN", str(self.folder / "in"), str(out), order], self.folder, mode, f"hf-{name}")
        return json.loads((out / "result.json").read_text())

    def __getitem__(self, name: str) -> Any:
        return self.found[name].result()


@pytest.fixture(scope="session")
def variants(folder: Path, request: pytest.FixtureRequest) -> Iterator[Variants]:
    params = [getattr(item, "callspec", None) for item in request.session.items]
    asked = {spec.params.get("variant") for spec in params if spec is not None} - {None}
    found = Variants(folder, ["stock", *(name for name in VARIANTS if name in asked)])
    yield found
    found.pool.shutdown(wait=True, cancel_futures=True)


@pytest.mark.parametrize("case", CASES)
def test_stock_runs_the_case(variants: Variants, case: str) -> None:
    """A case that stock can't run shows nothing."""
    found = variants["stock"]["cases"][case]
    if case in conformance.ERRORS:
        assert tuple(error[1] for error in found["errors"]) == conformance.ERRORS[case]
        return
    assert "errors" not in found
    assert len(found["batches"]) > 5
    if not case.startswith("streaming"):
        names = {Path(name).name for name in found["files"]}
        assert {"dataset_info.json", "state.json"} <= names


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("case", CASES)
def test_same_as_stock(variants: Variants, variant: str, case: str) -> None:
    stock, ours = variants["stock"]["cases"][case], variants[variant]["cases"][case]
    for key in COMPARED:
        assert ours.get(key) == stock.get(key), key


@pytest.mark.parametrize("variant", VARIANTS)
def test_the_seams_answered(variants: Variants, variant: str) -> None:
    """What is compared is what was meant to be: no silent way back to stock."""
    found = variants[variant]
    assert found["left_alone"] == {}
    calls = {
        name: {side: figures["calls"] for side, figures in sides.items()}
        for name, sides in found["functions"].items()
        if name in found["applied"]
    }
    rust = {name for name, sides in calls.items() if sides["rust"] or sides["rust_threads"]}
    mode = VARIANTS[variant][1]
    if mode == "python":
        assert any(sides["python"] for sides in calls.values())
        assert not rust
    else:
        assert rust >= set(found["applied"]) - NOT_CALLED, calls


#: Seams that these commands do not come to in their own process. `generate_batches` packs without
#: calling the first three, nothing in Axolotl calls the fourth, the fifth is for models that are
#: not packed for, and the last is called in the worker that `datasets` starts for `num_proc` of 1.
NOT_CALLED = {
    *("pack_parallel", "pack_group", "allocate_sequentially"),
    "ffd_check",
    "batch_sampler_collator",
    "tokenize_pretraining",
}


@pytest.mark.parametrize("sides", [("stock", "first"), ("first", "stock")], ids=["ours", "stock"])
def test_a_cache_of_one_side_serves_the_other(folder: Path, sides: tuple[str, str]) -> None:
    """A run that began on one side goes on with the other: nothing is computed again."""
    cache = f"hf-from-{sides[0]}"
    found = []
    for number, side in enumerate(sides):
        out = folder / f"{cache}-{number}"
        mode = None if side == "stock" else "rust"
        start(["TRAIN", str(folder / "in"), str(out), side, *CACHED], folder, mode, cache)
        cases = json.loads((out / "result.json").read_text())["cases"]
        found.append({n: {k: c.get(k) for k in COMPARED} for n, c in cases.items()})
        if number == 0:
            before = _cached(folder / cache)
            assert before
    assert _cached(folder / cache) == before
    assert found[0] == found[1]
    # The prepared dataset that one side saved is what the other loads.
    out = folder / f"{cache}-0"
    saved = _cached(out)
    start(["TRAIN", str(folder / "in"), str(out), sides[1], *CACHED], folder, None, "hf-empty")
    assert _cached(out) == saved


CACHED = ("alpaca", "pretokenized")


def _cached(folder: Path) -> dict[str, int]:
    return {file.as_posix(): file.stat().st_mtime_ns for file in folder.rglob("*.arrow")}
