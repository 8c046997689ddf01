"""Two ranks on one host, as torchrun starts them: the same batches as on stock, one calibration."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from test_conformance import COMPARED, HERE, start

RANKS = ("0", "1")
CASES = ("alpaca-plugin", "alpaca-workers")


def launch(folder: Path, side: str) -> dict[str, Any]:
    """Return rank -> what it made of the cases."""
    profile = folder / "profile.yaml"
    environment = {
        **{k: v for k, v in os.environ.items() if not k.startswith("FAST_AXOLOTL_")},
        "ACCELERATE_USE_CPU": "1",
        "CONFORMANCE_CALIBRATE": "1",
        "CONFORMANCE_TRACEBACK": "1",
        "FAST_AXOLOTL_PROFILE": str(profile),
        "HF_HOME": str(folder / f"hf-{side}"),
    }
    out = folder / side
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone"]
    command += ["--nproc-per-node=2", str(HERE / "conformance.py"), "TRAIN", str(folder / "in")]
    done = subprocess.run(
        [*command, str(out), side, *CASES],
        env=environment,
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=900,
    )
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-4000:]
    if side == "stock":
        assert not profile.exists()
    else:
        # On a machine too busy to measure a line says so, and the packaged rules hold.
        assert profile.exists() or "fast-axolotl is not calibrated" in done.stdout + done.stderr
    return {rank: json.loads((out / f"result{rank}.json").read_text()) for rank in RANKS}


def test_two_ranks_as_on_stock(tmp_path: Path) -> None:
    start(["MAKE", str(tmp_path / "in")], tmp_path, None, "hf-make")
    stock, ours = (launch(tmp_path, side) for side in ("stock", "first"))
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
