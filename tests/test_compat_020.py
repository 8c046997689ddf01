"""The test file of version 0.2.0, unmodified, from its source distribution on PyPI.

`make compat-020` fetches it (0.2.0 is not ours to copy) and runs this. What asserts a bug of 0.2.0,
or something that 0.2.0 got wrong, is listed with a reason, and is run too: an entry that passes has
to go.
"""

import hashlib
import os
import re
import subprocess
import sys
from pathlib import Path

import implementations
import pytest

ROOT = Path(__file__).parent.parent
FILE = ROOT / "build/compat/fast_axolotl-0.2.0/tests/test_fast_axolotl.py"
SHA256 = "e48ace996a1473ea87db91f46346940384f66431b1333dd142e7da30a2efd6ee"

DESELECTED = {
    "TestShim::test_shim_creates_modules": (
        "looks for empty modules named axolotl.* in sys.modules, which keep the real Axolotl from "
        "being imported"
    ),
}

pytestmark = [
    pytest.mark.skipif(not FILE.exists(), reason="make compat-020 fetches the test file of 0.2.0"),
    # Most of it skips itself then.
    pytest.mark.skipif(implementations.WITHOUT_RUST, reason="FAST_AXOLOTL_DISABLE_RUST=1"),
]


def run(*arguments: str) -> dict[str, int]:
    """Run the file under our package, away from our own configuration and conftest."""
    done = subprocess.run(
        [
            *(sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-c", os.devnull),
            *("--rootdir", str(FILE.parent), *arguments),
        ],
        capture_output=True,
        text=True,
        check=False,
        cwd=FILE.parent,
    )
    last = done.stdout.strip().splitlines()[-1] if done.stdout.strip() else done.stderr
    counts = {kind: int(n) for n, kind in re.findall(r"(\d+) (passed|failed|skipped|error)", last)}
    return {**counts, "code": done.returncode, "report": done.stdout}  # type: ignore[dict-item]


def test_it_is_unmodified() -> None:
    assert hashlib.sha256(FILE.read_bytes()).hexdigest() == SHA256


def test_it_passes() -> None:
    without = [f"--deselect={FILE.name}::{name}" for name in DESELECTED]
    found = run(FILE.name, *without)
    assert found["code"] == 0, found["report"]
    assert found["passed"] == 39 - len(DESELECTED), found["report"]
    assert "failed" not in found
    assert "skipped" not in found, found["report"]


@pytest.mark.parametrize("name", DESELECTED)
def test_what_is_deselected_fails(name: str) -> None:
    assert run(f"{FILE.name}::{name}").get("failed") == 1
