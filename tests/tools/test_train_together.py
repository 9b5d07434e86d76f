"""Several processes on one run, started as a user starts them: the same run as that of one process."""

import json
import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
import train
import yaml
from stand_ins import REPOSITORY

from REZSL.evaluation import Predictions

pytestmark = pytest.mark.long

EXPERIMENT = {
    "SEED": 5,
    "MODEL": {
        "DEVICE": "cpu",
        "BACKBONE": {"TYPE": "features"},
        "REZSL": {"USE": True, "P": 0.5, "P2": 0.5, "WEIGHT_TYPE": "ema"},
    },
    "DATASETS": {"NAME": "TINY", "INPUT": "features", "WAYS": 2, "SHOTS": 2},
    "DATALOADER": {"MODE": "episode", "NUM_WORKERS": 1, "N_BATCH": 6, "EP_PER_BATCH": 2},
    "SOLVER": {"MAX_EPOCH": 3, "BASE_LR": 0.05},
    "TEST": {"IMS_PER_BATCH": 4},
}


GAZE_WITHOUT_A_LOSS = "MODEL.META_ARCHITECTURE GEMNet MODEL.ATTENTION.EMBEDDING learned"


@pytest.fixture
def command(tiny, tmp_path):
    """``command(name, ...)``: the words after ``tools/train.py`` for a run into ``tmp_path/name``."""
    tiny.write()
    experiment = tmp_path / "experiment.yaml"
    experiment.write_text(yaml.safe_dump(EXPERIMENT))

    def command(name, *more):
        where = ["OUTPUT_DIR", str(tmp_path / name), "DATASETS.ROOT", str(tiny.root)]
        return ["--config-file", str(experiment), *where, *more]

    return command


def torchrun(processes, words, **options):
    start = [sys.executable, "-m", "torch.distributed.run", "--standalone", f"--nproc_per_node={processes}"]
    return subprocess.Popen(
        [*start, str(REPOSITORY / "tools" / "train.py"), *words],
        env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(REPOSITORY)},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        **options,
    )


def finished(processes, words):
    """Runs to the end; returns the exit status and what was said."""
    process = torchrun(processes, words)
    said, _ = process.communicate(timeout=300)
    return process.returncode, said


def read_run(folder):
    lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    return lines, json.loads((folder / "results.json").read_text()), Predictions.load(folder / "predictions.npz")


@pytest.mark.parametrize(
    ("processes", "options"),
    [
        (2, ()),
        (4, ("SOLVER.CLIP_NORM", "0.5", "SOLVER.ACCUMULATE", "4")),
        (2, tuple(f"MODEL.REZSL.USE False MODEL.LOSS.REG_TYPE BMC {GAZE_WITHOUT_A_LOSS}".split())),
    ],
    ids=["two", "four, accumulated", "two, balanced MSE, unused parameters"],
)
def test_several_processes_train_as_one(command, tmp_path, processes, options):
    assert train.main(command("one", *options)) == 0
    status, said = finished(processes, command("several", *options))
    assert status == 0, said
    assert said.count("epoch 3/3") == 1
    assert f"{processes} processes on cpu" in (tmp_path / "several" / "log.txt").read_text()
    (lines, results, predictions), (ours, our_results, our_predictions) = (
        read_run(tmp_path / name) for name in ("one", "several")
    )
    for line, our in zip(lines, ours, strict=True):
        for name in ("lr", "loss", "ce", "regression"):
            assert our[name] == pytest.approx(line[name], rel=1e-5)
        for name, share in line["gradient_share"].items():
            assert our["gradient_share"][name] == pytest.approx(share, rel=1e-4)
    np.testing.assert_allclose(our_predictions.attributes, predictions.attributes, atol=1e-5)
    assert np.array_equal(our_predictions.labels, predictions.labels)
    assert our_results["T1"] == results["T1"]
    assert our_results["gzsl"]["oracle"]["H"] == pytest.approx(results["gzsl"]["oracle"]["H"], abs=1e-9)


def test_an_evaluation_divided_is_that_of_one(command, tmp_path):
    assert train.main(command("run")) == 0
    checkpoint = ("--eval-only", "MODEL.WEIGHT", str(tmp_path / "run" / "best.pth"))
    status, said = finished(4, command("run", *checkpoint))  # 22 images: not the same number for each
    assert status == 0, said
    one, several = (Predictions.load(tmp_path / name / "predictions.npz") for name in ("run", "run/eval"))
    np.testing.assert_allclose(several.attributes, one.attributes, atol=1e-6)
    assert np.array_equal(several.labels, one.labels)


def test_a_mistake_is_told_once_and_ends_all(command):
    assert train.main(command("run")) == 0
    status, said = finished(2, command("run"))
    assert status == 1
    assert said.count("already holds a run") == 1
    status, said = finished(3, command("other"))
    assert status == 1
    assert "x DATALOADER.EP_PER_BATCH 2 images cannot be divided among 3 processes" in said


def test_a_signal_stops_all_and_the_run_goes_on(command, tmp_path):
    long = ("SOLVER.MAX_EPOCH", "4", "DATALOADER.N_BATCH", "150", "SOLVER.CHECKPOINT_MINUTES", "0.003")
    process = torchrun(2, command("stopped", *long), start_new_session=True)
    deadline = time.monotonic() + 120
    while not (tmp_path / "stopped" / "last.pth").exists():
        assert time.monotonic() < deadline
        assert process.poll() is None, process.communicate()[0]
        time.sleep(0.05)
    process.send_signal(signal.SIGTERM)
    said, _ = process.communicate(timeout=120)
    assert process.returncode != 0
    assert "the same command with --resume goes on" in said
    status, said = finished(2, command("stopped", *long, "--resume"))
    assert status == 0, said
    assert "going on after" in (tmp_path / "stopped" / "log.txt").read_text()
    status, said = finished(2, command("whole", *long))
    assert status == 0, said
    whole, stopped = (read_run(tmp_path / name) for name in ("whole", "stopped"))
    assert whole[1] == stopped[1]
    assert np.array_equal(whole[2].attributes, stopped[2].attributes)
    for line, other in zip(whole[0], stopped[0], strict=True):
        for name in ("loss", "ce", "regression"):  # sums of means, or means of sums
            assert other.pop(name) == pytest.approx(line.pop(name), rel=1e-6)
        assert line == other


def test_several_processes_keep_tokens_together(command, tiny, tmp_path):
    tiny.write_images()
    images = (
        "DATASETS.INPUT images MODEL.BACKBONE.TYPE resnet MODEL.BACKBONE.NAME resnet18 MODEL.BACKBONE.PRETRAINED False"
    )
    frozen = "MODEL.BACKBONE.FINETUNE False DATASETS.IMAGE_SIZE 32 SOLVER.DATA_AUG resize_crop SOLVER.MAX_EPOCH 1"
    words = f"{images} {frozen} DATALOADER.CACHE_DIR {tmp_path}/cache".split()
    status, said = finished(2, command("several", *words))
    assert status == 0, said
    assert train.main(command("one", *words, "DATALOADER.TOKENS", "never")) == 0
    (line,), (other,) = (read_run(tmp_path / name)[0] for name in ("one", "several"))
    assert other["loss"] == pytest.approx(line["loss"], rel=1e-4)
