"""A long proof: the demo run, killed again and again, ends as the run that never was."""

import random
import signal
import subprocess
import sys
import time

import pytest
import torch
from stand_ins import REPOSITORY

KILLS = 20


@pytest.mark.slow
def test_twenty_kills_change_nothing(tmp_path):
    """SIGKILL at random moments: metrics, weights and results are the same to the bit; no checkpoint is ever broken."""
    command = [sys.executable, str(REPOSITORY / "tools" / "train.py")]
    command += ["--config-file", str(REPOSITORY / "config/AttentionNet/demo_AttentionNet.yaml"), "--resume"]
    options = ["DATASETS.ROOT", str(tmp_path / "data"), "SOLVER.CHECKPOINT_MINUTES", "0.05"]
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    started = time.monotonic()
    subprocess.run([*command, *options, "OUTPUT_DIR", str(whole)], check=True)
    seconds = time.monotonic() - started

    draw = random.Random(0)
    kills = 0
    while True:
        process = subprocess.Popen([*command, *options, "OUTPUT_DIR", str(parts)])
        try:
            limit = 6 + draw.random() * seconds / 15 if kills < KILLS else None  # starting takes some of it
            assert process.wait(limit) == 0
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGKILL)
            process.wait()
            kills += 1
            if (parts / "last.pth").exists():
                torch.load(parts / "last.pth", weights_only=True)
            print(f"kill {kills}", flush=True)
            continue
        break
    assert kills == KILLS, f"the run ended after {kills} kills"
    for name in ("metrics.jsonl", "results.json", "predictions.npz"):
        assert (whole / name).read_bytes() == (parts / name).read_bytes(), name
    for name in ("last.pth", "best.pth"):
        ours, theirs = (torch.load(folder / name, weights_only=True)["model"] for folder in (whole, parts))
        assert ours.keys() == theirs.keys()
        assert all(torch.equal(ours[key], theirs[key]) for key in ours), name
