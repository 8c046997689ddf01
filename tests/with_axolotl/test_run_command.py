"""`fast-axolotl run`: programs of every kind, with the shim in them and in their children."""

import os
import shlex
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

import fast_axolotl

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


@pytest.mark.parametrize("code", ["import no_such_module", "raise ValueError('mine')", "1 / 0"])
def test_the_sitecustomize_of_somebody_else_fails_as_without_us(folder: Path, code: str) -> None:
    (folder / "sitecustomize.py").write_text(code)
    program = [sys.executable, "-c", "import sys; print('sitecustomize' in sys.modules)"]
    place = f"PYTHONPATH={folder}"
    wanted = subprocess.run(["env", place, *program], capture_output=True, text=True)
    assert "Error in sitecustomize" in wanted.stderr
    site = Path(fast_axolotl.__file__).parent / "axolotl" / "site"
    found = run(folder, "--", "env", f"PYTHONPATH={site}:{folder}", *program)
    assert found.stdout == wanted.stdout
    assert found.stderr.startswith(wanted.stderr)


def test_a_run_in_a_run_of_another_installation(folder: Path) -> None:
    site = Path(fast_axolotl.__file__).parent / "axolotl" / "site"
    shutil.copytree(site, folder / "other")
    (folder / "mine").mkdir()
    (folder / "mine" / "sitecustomize.py").write_text("print('mine')")
    places = f"PYTHONPATH={folder / 'other'}:{site}:{folder / 'mine'}"
    done = run(folder, "--", "env", places, sys.executable, "-c", "print('program')")
    assert done.stdout.split() == ["mine", "program"]
    assert "Error" not in done.stderr


def test_what_can_not_be_started(folder: Path) -> None:
    done = run(folder, "--", "no-such-program-here")
    assert done.returncode == 127
    assert "no-such-program-here: No such file or directory" in done.stderr
    assert run(folder).returncode == 2


@pytest.mark.skipif(os.name != "posix", reason="a shell of POSIX")
def test_no_report_on_stdout_where_stderr_is_closed() -> None:
    command = shlex.join([*RUN, "--", sys.executable, "-c", "print('mine')"])
    done = subprocess.run(["sh", "-c", f"{command} 2>&-"], stdout=subprocess.PIPE, timeout=60)
    assert (done.returncode, done.stdout) == (0, b"mine\n")


@pytest.mark.skipif(not hasattr(signal, "SIGCHLD"), reason="signals of POSIX")
def test_the_status_where_that_of_children_is_ignored() -> None:
    done = subprocess.run(
        [*RUN, "--", sys.executable, "-c", "raise SystemExit(7)"],
        preexec_fn=lambda: signal.signal(signal.SIGCHLD, signal.SIG_IGN),
        capture_output=True,
        timeout=60,
    )
    assert done.returncode == 7


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="a full disk")
@pytest.mark.parametrize("status", [0, 7])
def test_a_report_that_can_not_be_written_changes_no_status(status: int) -> None:
    with Path("/dev/full").open("w") as full:
        code = f"raise SystemExit({status})"
        done = subprocess.run([*RUN, "--", sys.executable, "-c", code], stderr=full, timeout=60)
    assert done.returncode == status


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="signals of POSIX")
@pytest.mark.parametrize("name", ["TERM", "INT", "HUP", "QUIT", "USR1", "USR2"])
def test_signals_reach_the_program(folder: Path, name: str) -> None:
    number = getattr(signal, f"SIG{name}")
    code = (
        "import signal, sys, time\n"
        f"signal.signal({number:d}, lambda *_: sys.exit(9))\n"
        "print('ready', flush=True)\ntime.sleep(60)"
    )
    process = subprocess.Popen(
        [*RUN, "--", sys.executable, "-c", code],
        stdout=subprocess.PIPE,
        text=True,
        cwd=folder,
        start_new_session=True,  # away from a terminal, which would send some of them as well
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    time.sleep(0.1)
    process.send_signal(number)
    assert process.wait(60) == 9
    process.stdout.close()


@pytest.mark.skipif(not hasattr(os, "tcgetpgrp"), reason="terminals of POSIX")
def test_what_a_terminal_sends_reaches_the_program_once() -> None:
    import pty

    code = (
        "import signal, sys, time\n"
        "signal.signal(signal.SIGINT, lambda *_: print('interrupted', flush=True))\n"
        "print('ready', flush=True)\n"
        "for _ in range(10): time.sleep(0.1)\n"
        "sys.exit(9)"
    )
    pid, terminal = pty.fork()
    if pid == 0:
        os.execv(sys.executable, [*RUN, "--", sys.executable, "-c", code])
    seen = b""
    while b"ready" not in seen:
        seen += os.read(terminal, 1000)
    time.sleep(0.2)
    os.write(terminal, b"\x03")
    while b"fast-axolotl:" not in seen:
        seen += os.read(terminal, 1000)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 9
    assert seen.count(b"interrupted") == 1
    os.close(terminal)


@pytest.mark.parametrize("method", ["fork", "forkserver", "spawn"])
def test_workers_that_import_axolotl_themselves(folder: Path, method: str) -> None:
    (folder / "workers.py").write_text(
        "import multiprocessing, sys\n"
        "def work(name): __import__(name)\n"
        "if __name__ == '__main__':\n"
        f"    context = multiprocessing.get_context({method!r})\n"
        "    worker = context.Process(target=work, args=('script',))\n"
        "    worker.start(); worker.join(); sys.exit(worker.exitcode)\n"
    )
    done = run(folder, "--", sys.executable, "workers.py")
    assert done.returncode == 0, done.stderr
    line = next(line for line in done.stderr.splitlines() if "allocate_sequentially" in line)
    assert line.split() == ["allocate_sequentially", "rust", "1", "3"]


def test_without_the_extension_the_report_says_why(folder: Path) -> None:
    code = "import axolotl"
    done = run(folder, "--", sys.executable, "-c", code, FAST_AXOLOTL_DISABLE_RUST="1")
    assert done.returncode == 0, done.stderr
    assert "left to Axolotl: everything: FAST_AXOLOTL_DISABLE_RUST=1" in done.stderr


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
