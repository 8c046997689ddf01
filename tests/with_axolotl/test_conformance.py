"""Stock and ours side by side: prepared folders byte for byte, fingerprints, batches, errors.

Each variant is one fresh process that runs the whole matrix (see `conformance.py`), with a cache of
its own. FAST_AXOLOTL_CONFORMANCE=full runs every mode in both orders of import, otherwise the
first-named half.
"""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import conformance
import pytest

HERE = Path(__file__).parent
#: Variant -> when `fast_axolotl` is imported, mode.
QUICK = {"auto": ("first", "auto"), "rust": ("last", "rust"), "verify": ("first", "verify")}
FULL = {
    **QUICK,
    "python": ("first", "python"),
    "auto-last": ("last", "auto"),
    "rust-first": ("first", "rust"),
    "verify-last": ("last", "verify"),
    "python-last": ("last", "python"),
}
VARIANTS = FULL if os.environ.get("FAST_AXOLOTL_CONFORMANCE") == "full" else QUICK
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
        timeout=1500,
    )
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-4000:]


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    found = tmp_path_factory.mktemp("conformance")
    start(["MAKE", str(found / "in")], found, None, "hf-make")
    return found


class Variants:
    """Runs each variant once, when it is asked for."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.found: dict[str, Any] = {}

    def __getitem__(self, name: str) -> Any:
        if name not in self.found:
            order, mode = ("stock", None) if name == "stock" else VARIANTS[name]
            out = self.folder / name
            start(
                ["RUN", str(self.folder / "in"), str(out), order], self.folder, mode, f"hf-{name}"
            )
            self.found[name] = json.loads((out / "result.json").read_text())
        return self.found[name]


@pytest.fixture(scope="session")
def variants(folder: Path) -> Variants:
    return Variants(folder)


@pytest.mark.parametrize("case", CASES)
def test_stock_runs_the_case(variants: Variants, case: str) -> None:
    """A case that stock can't run shows nothing."""
    found = variants["stock"]["cases"][case]
    if case == "completion-raise":
        assert [error[1] for error in found["errors"]] == ["ValueError", "ValueError"]
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
    assert calls
    rust = {name for name, sides in calls.items() if sides["rust"] or sides["rust_threads"]}
    if VARIANTS[variant][1] == "python":
        assert not rust
    elif VARIANTS[variant][1] in ("rust", "verify"):
        assert len(rust) >= 6, calls


def test_a_cache_of_one_side_serves_the_other(folder: Path, variants: Variants) -> None:
    """A run that began with stock goes on with ours: nothing is computed again."""
    assert variants["stock"]
    out = folder / "stock"
    before = _cached(folder / "hf-stock")
    start(
        ["RUN", str(folder / "in"), str(out), "first", "input-output"], folder, "rust", "hf-stock"
    )
    assert _cached(folder / "hf-stock") == before


def _cached(folder: Path) -> dict[str, int]:
    files = (folder / "datasets").rglob("*.arrow")
    return {file.as_posix(): file.stat().st_mtime_ns for file in files}
