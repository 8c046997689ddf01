"""`fast-axolotl run`: programs of every kind, with the shim in them and in their children."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

RUN = [sys.executable, "-m", "fast_axolotl", "run"]

SCRIPT = """
import sys
assert "fast_axolotl" not in sys.modules, "not before it is needed"
import axolotl.utils.samplers.multipack as multipack
import numpy as np
from fast_axolotl.axolotl import patching
assert patching.applied, patching.left_alone
lengths = np.array([3, 5, 2, 7, 1] * 40)
for _ in range(3):
    bins = multipack.allocate_sequentially(lengths, 0, 8, 1)
print("bins", len(bins[0]))
"""
CHILD = "import subprocess, sys; sys.exit(subprocess.call([sys.executable, 'script.py']))"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "script.py").write_text(SCRIPT)
    return tmp_path


def run(folder: Path, *arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
    environment = {k: v for k, v in os.environ.items() if not k.startswith("FAST_AXOLOTL_")}
    environment.update(variables)
    return subprocess.run(
        [*RUN, *arguments],
        env=environment,
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=300,
    )


def test_a_script_and_its_child(folder: Path) -> None:
    done = run(folder, "--profile", "--", sys.executable, "-c", CHILD)
    assert done.returncode == 0, done.stderr
    assert "bins" in done.stdout
    assert "fast-axolotl: 1 process with Axolotl" in done.stderr
    line = next(line for line in done.stderr.splitlines() if "allocate_sequentially" in line)
    assert "rust" in line
    assert "time saved, against what the originals take" in done.stderr


def test_a_mode(folder: Path) -> None:
    done = run(folder, "--dispatch", "python", "--", sys.executable, "script.py")
    assert done.returncode == 0, done.stderr
    line = next(line for line in done.stderr.splitlines() if "allocate_sequentially" in line)
    assert "python" in line
    done = run(folder, "--dispatch", "fastest", "--", sys.executable, "script.py")
    assert done.returncode == 2
    assert "allowed are auto, rust, python, verify" in " ".join(done.stderr.split())


def test_a_program_without_axolotl_is_left_as_it_is(folder: Path) -> None:
    (folder / "site").mkdir()
    (folder / "site" / "sitecustomize.py").write_text("import sys; sys.flavour = 'mine'\n")
    code = (
        "import sys, sitecustomize; print(sys.flavour, sitecustomize.__file__);"
        "assert 'fast_axolotl' not in sys.modules; sys.exit(7)"
    )
    done = run(folder, "--", sys.executable, "-c", code, PYTHONPATH=str(folder / "site"))
    assert done.returncode == 7
    assert done.stdout.split() == ["mine", str(folder / "site" / "sitecustomize.py")]
    assert "no process imported Axolotl" in done.stderr


def test_what_can_not_be_started(folder: Path) -> None:
    done = run(folder, "--", "no-such-program-here")
    assert done.returncode == 127
    assert "no-such-program-here: No such file or directory" in done.stderr
    assert run(folder).returncode == 2


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="signals of POSIX")
def test_signals_reach_the_program(folder: Path) -> None:
    code = (
        "import signal, sys, time\n"
        "signal.signal(signal.SIGTERM, lambda *_: sys.exit(9))\n"
        "print('ready', flush=True)\ntime.sleep(60)"
    )
    process = subprocess.Popen(
        [*RUN, "--", sys.executable, "-c", code], stdout=subprocess.PIPE, text=True, cwd=folder
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    time.sleep(0.1)
    process.terminate()
    assert process.wait(60) == 9
    process.stdout.close()


def test_torchrun(folder: Path) -> None:
    """Every rank has the shim; the launcher starts them as children."""
    done = run(
        folder,
        "--",
        sys.executable,
        "-m",
        "torch.distributed.run",
        "--standalone",
        "--nproc-per-node=2",
        "script.py",
    )
    assert done.returncode == 0, done.stderr[-3000:]
    assert done.stdout.count("bins") == 2
    assert "fast-axolotl: 2 processes with Axolotl" in done.stderr
