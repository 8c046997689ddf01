"""Two ranks on one host, by torchrun and by accelerate: stock's batches, one calibration."""

import copy
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from test_conformance import COMPARED, HERE, start

RANKS = ("0", "1")
#: With processes for GPUs, which use the CPU where ACCELERATE_USE_CPU says so.
LAUNCHERS = {
    "torchrun": ["torch.distributed.run", "--standalone", "--nproc-per-node=2"],
    "accelerate": [
        *("accelerate.commands.launch", "--multi_gpu", "--num_processes=2", "--num_machines=1"),
        *("--mixed_precision=no", "--dynamo_backend=no", "--main_process_port=0"),
    ],
}
CASES = ("alpaca-plugin", "alpaca-workers")


def launch(folder: Path, side: str, launcher: str) -> dict[str, Any]:
    """Return rank -> what it made of the cases."""
    profile = folder / f"{launcher}.yaml"
    environment = {
        **{k: v for k, v in os.environ.items() if not k.startswith("FAST_AXOLOTL_")},
        "ACCELERATE_USE_CPU": "1",
        "CONFORMANCE_CALIBRATE": "1",
        "CONFORMANCE_TRACEBACK": "1",
        "FAST_AXOLOTL_PROFILE": str(profile),
        "HF_HOME": str(folder / f"hf-{side}-{launcher}"),
    }
    out = folder / f"{side}-{launcher}"
    script = [str(HERE / "conformance.py"), "TRAIN", str(folder / "in"), str(out), side, *CASES]
    done = subprocess.run(
        [sys.executable, "-m", *LAUNCHERS[launcher], *script],
        env=environment,
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=1800,
    )
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-4000:]
    if side == "stock":
        assert not profile.exists()
    else:
        # On a machine too busy to measure a line says so, and the packaged rules hold.
        assert profile.exists() or "fast-axolotl is not calibrated" in done.stdout + done.stderr
    return {rank: json.loads((out / f"result{rank}.json").read_text()) for rank in RANKS}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    found = tmp_path_factory.mktemp("ranks")
    start(["MAKE", str(found / "in")], found, None, "hf-make")
    return found


@pytest.fixture(scope="module")
def stock(folder: Path) -> dict[str, Any]:
    return launch(folder, "stock", "torchrun")


@pytest.mark.parametrize("launcher", LAUNCHERS)
def test_two_ranks_as_on_stock(folder: Path, stock: dict[str, Any], launcher: str) -> None:
    stock = copy.deepcopy(stock)
    ours = launch(folder, "first", launcher)
    for case in CASES:
        # The rank that takes the lock makes the dataset, the other loads it: another fingerprint.
        wanted, found = (
            {side[rank]["cases"][case]["train_dataset"].pop("fingerprint") for rank in RANKS}
            for side in (stock, ours)
        )
        assert found == wanted
        for rank in RANKS:
            wanted, found = stock[rank]["cases"][case], ours[rank]["cases"][case]
            assert "errors" not in wanted
            assert len(wanted["batches"]) > 5
            for key in COMPARED:
                assert found.get(key) == wanted.get(key), (rank, case, key)
    for rank in RANKS:
        for name in ("generate_batches", "get_dataset_lengths", "pad_collator"):
            assert ours[rank]["functions"][name]["rust"]["calls"], (rank, name)
    first, second = (stock[rank]["cases"]["alpaca-workers"]["batches"] for rank in RANKS)
    assert first != second, "each rank has a share of its own"
    assert ours["0"]["left_alone"] == ours["1"]["left_alone"] == {}
