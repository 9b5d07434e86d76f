"""Whole runs of the command line, in this process, on a data set of a few tiny images."""

import csv
import json
import logging
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from statistics import fmean

import numpy as np
import pytest
import torch
import train
import yaml
from PIL import Image

from REZSL.config import get_defaults, load_config
from REZSL.engine import RunFolder, Trainer
from REZSL.evaluation import Predictions, evaluate, evaluate_gzsl

pytestmark = pytest.mark.long

BASE = {
    "SEED": 5,
    "MODEL": {"DEVICE": "cpu"},
    "DATASETS": {"NAME": "TINY", "WAYS": 2, "SHOTS": 2},
    "DATALOADER": {"MODE": "episode", "NUM_WORKERS": 0},
    "SOLVER": {"MAX_EPOCH": 1, "BASE_LR": 0.01},
    "TEST": {"IMS_PER_BATCH": 8},
}
CUB_FEATURES = Path(__file__).parents[2] / "config" / "BasicNet" / "cub_features_BasicNet.yaml"
FEATURES = ["DATASETS.INPUT", "features", "MODEL.BACKBONE.TYPE", "features"]
IMAGES = ["DATASETS.IMAGE_SIZE", "32", "MODEL.BACKBONE.NAME", "resnet18", "MODEL.BACKBONE.PRETRAINED", "False"]
CROSS_BATCH = "MODEL.REZSL.USE True MODEL.REZSL.P 0.5 MODEL.REZSL.P2 0.5 MODEL.REZSL.WEIGHT_TYPE cross_batch"
RUN_FILES = {
    "config.yaml",
    "log.txt",
    "metrics.jsonl",
    "last.pth",
    "best.pth",
    "predictions.npz",
    "results.json",
    "figures",
}


@pytest.fixture(autouse=True)
def _one_thread():
    """Networks this small are slower on more, much slower where others compute too."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture
def run(tiny, tmp_path):
    """``run(name, "KEY VALUE ...", flag, ...)`` returns the exit status of a run into ``tmp_path/name``."""
    tiny.write().write_images().write_embeddings()
    experiment = tmp_path / "experiment.yaml"
    experiment.write_text(yaml.safe_dump(BASE))

    def run(name, overrides="", *flags, inputs=FEATURES):
        where = ["OUTPUT_DIR", str(tmp_path / name), "DATASETS.ROOT", str(tiny.root)]
        return train.main(["--config-file", str(experiment), *flags, *where, *inputs, *overrides.split()])

    return run


@pytest.fixture
def without_figures(monkeypatch):
    monkeypatch.setattr(train, "draw_run", lambda *arguments: None)


def read_metrics(folder):
    return [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]


def read_results(folder):
    return json.loads((folder / "results.json").read_text())


def contents(folder):
    return {path.relative_to(folder): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize("inputs", [FEATURES, IMAGES], ids=["features", "images"])
def test_a_whole_run(run, tiny, tmp_path, capsys, inputs):
    options = (
        "SOLVER.MAX_EPOCH 2 SOLVER.CHECKPOINT_PERIOD 2 DATALOADER.N_BATCH 2 MODEL.REZSL.USE True MODEL.REZSL.P 0.1"
    )
    assert run("run", options, inputs=inputs) == 0
    folder = tmp_path / "run"
    assert {path.name for path in folder.iterdir()} == RUN_FILES
    assert {p.name for p in (folder / "figures").iterdir()} == {
        f"{n}.{s}" for n in ("training", "seen_unseen") for s in ("png", "svg")
    }

    output, log = capsys.readouterr().out, (folder / "log.txt").read_text()
    for text in ("TINY: 20 trainval + 8 test_seen + 14 test_unseen images", "epoch 2/2", "oracle", str(folder)):
        assert text in output
        assert text in log

    config = load_config(folder / "config.yaml")
    overrides = ["OUTPUT_DIR", str(folder), "DATASETS.ROOT", str(tiny.root), *inputs, *options.split()]
    assert config == load_config(tmp_path / "experiment.yaml", overrides)
    assert yaml.safe_load((folder / "config.yaml").read_text()).keys() == get_defaults().keys()

    lines = read_metrics(folder)
    assert [line["epoch"] for line in lines] == [1, 2]
    assert {"lr", "loss", "ce", "regression", "T1", "AUSUC", "gzsl"} <= set(lines[0])
    last, best = (torch.load(folder / f"{name}.pth", weights_only=True) for name in ("last", "best"))
    assert (last["epoch"], best["epoch"]) == (2, 2)
    assert all(torch.equal(last["model"][name], value) for name, value in best["model"].items())
    assert last["config"] == best["config"] == (folder / "config.yaml").read_text()


def test_results_are_fractions_and_follow_from_the_predictions(run, tmp_path, without_figures):
    assert run("run", "TEST.GAMMA 0.25") == 0
    content = read_results(tmp_path / "run")
    assert {k: content[k] for k in ("dataset", "seed", "epoch")} == {"dataset": "TINY", "seed": 5, "epoch": 1}
    assert {k: content[k] for k in ("T1", "AUSUC", "gzsl")} == {
        k: read_metrics(tmp_path / "run")[-1][k] for k in ("T1", "AUSUC", "gzsl")
    }
    p = Predictions.load(tmp_path / "run" / "predictions.npz")
    assert evaluate(p, 0.25).as_dict() == {k: content[k] for k in ("T1", "AUSUC", "gzsl")}

    # the same by plain means; classes 1 and 4 are unseen and come last
    assert p.class_names == ("class_1", "class_3", "class_4", "class_6", "class_2", "class_5")
    assert sorted(p.images) == [i for i in range(42) if i // 7 in (1, 4) or i % 7 >= 5]
    unit = [
        x / np.linalg.norm(x, axis=1, keepdims=True) for x in (p.attributes.astype(float), p.signatures.astype(float))
    ]
    scores = 20 * unit[0] @ unit[1].T
    hits = {c: [s[4:].argmax() + 4 == c for s, y in zip(scores, p.labels, strict=True) if y == c] for c in (4, 5)}
    assert content["T1"] == pytest.approx(fmean(map(fmean, hits.values())))
    seen = np.arange(6) < 4
    assert set(content["gzsl"]) == {"gamma=0", "fixed", "oracle"}
    for name, row in content["gzsl"].items():
        assert row.pop("uses_test_labels", False) is (name == "oracle")
        expected = evaluate_gzsl(scores, p.labels, seen, row["gamma"])
        assert row == pytest.approx({"gamma": row["gamma"], "U": expected.U, "S": expected.S, "H": expected.H})
    assert [content["gzsl"][name]["gamma"] for name in ("gamma=0", "fixed")] == [0, 0.25]
    grid = [evaluate_gzsl(scores, p.labels, seen, gamma).H for gamma in np.linspace(-40, 40, 801)]
    best = content["gzsl"]["oracle"]["H"]
    assert best >= max(grid) - 1e-12


def test_the_oracle_epoch_says_so(run, tmp_path, capsys, without_figures):
    assert run("run", "SOLVER.MAX_EPOCH 4 TEST.SELECT oracle SOLVER.BASE_LR 0.5") == 0
    best = [line["gzsl"]["oracle"]["H"] for line in read_metrics(tmp_path / "run")]
    content = read_results(tmp_path / "run")
    assert content["epoch"] == 1 + best.index(max(best))
    assert content["gzsl"]["oracle"]["H"] == max(best)
    assert content["select_uses_test_labels"] is True
    said = capsys.readouterr()
    assert "picked on the test classes" in said.err
    for name in ("T1", "AUSUC"):
        values = [line[name] for line in read_metrics(tmp_path / "run")]
        highest = {"value": max(values), "epoch": 1 + values.index(max(values))}
        assert content["maxima_over_epochs"][name] == highest
        assert re.search(
            rf"maxima over epochs, .*{name} {100 * max(values):.1f} \(epoch {highest['epoch']}\)", said.out
        )


def test_same_seed_same_metrics_whatever_the_workers(run, tmp_path, without_figures):
    options = "SOLVER.MAX_EPOCH 2 TEST.PERIOD 2 DATALOADER.N_BATCH 2 MODEL.BACKBONE.FINETUNE False "
    options += "SOLVER.DATA_AUG resize_random_crop+colorjitter DATALOADER.NUM_WORKERS"
    for name, workers in (("a", 2), ("b", 2), ("c", 0)):
        assert run(name, f"{options} {workers}", inputs=IMAGES) == 0
    a, b, c = ((tmp_path / name / "metrics.jsonl").read_bytes() for name in "abc")
    assert a == b == c
    first, second = read_metrics(tmp_path / "a")
    assert first["loss"] != second["loss"]
    assert ["T1" in line for line in (first, second)] == [False, True]
    drawn = [torch.load(tmp_path / name / "last.pth", weights_only=True)["random"]["torch"] for name in "abc"]
    assert torch.equal(drawn[0], drawn[1])
    assert torch.equal(drawn[0], drawn[2])  # so a network with dropout is as reproducible


def test_a_second_run_changes_nothing(run, tmp_path, capsys, without_figures):
    run("run")
    before = contents(tmp_path / "run")
    capsys.readouterr()
    assert run("run", "SOLVER.MAX_EPOCH 3") == 1
    message = the_error(capsys)
    assert message.startswith(f"error: OUTPUT_DIR {tmp_path / 'run'} already holds a run")
    assert f"set OUTPUT_DIR {tmp_path / 'run-2'}" in message
    assert contents(tmp_path / "run") == before


def test_evaluation_alone_gives_the_figures_of_the_run(run, tmp_path):
    run("run", "SOLVER.MAX_EPOCH 2 MODEL.META_ARCHITECTURE AttentionNet")
    before, results = contents(tmp_path / "run"), read_results(tmp_path / "run")
    config, weight = tmp_path / "run" / "config.yaml", tmp_path / "run" / "best.pth"
    for name in ("eval", "eval-2"):
        assert train.main(["--config-file", str(config), "--eval-only", "MODEL.WEIGHT", str(weight)]) == 0
        again = tmp_path / "run" / name
        assert {path.name for path in again.iterdir()} == RUN_FILES - {"metrics.jsonl", "last.pth", "best.pth"}
        assert read_results(again) == results
        assert (again / "predictions.npz").read_bytes() == before[Path("predictions.npz")]
    after = contents(tmp_path / "run")
    assert {path: after[path] for path in before} == before


PUBLISHED_NAMES = {  # ours: theirs
    "head.query": "v2s_branch.QueryW",
    "head.key": "v2s_branch.KeyW",
    "head.value": "v2s_branch.ValueW",
    "head.out": "v2s_branch.W_o",
    "head.regressor": "v2s_branch.V_att_final_branch",
    "backbone.network": "backbone",
}


def as_published(state):
    """A state_dict of ours as the published code saves it: keys with a bias, no word vectors."""
    found = {"module.v2s_branch.KeyW.bias": torch.ones(len(state["head.key.weight"]))}
    for name, value in state.items():
        prefix = next((prefix for prefix in PUBLISHED_NAMES if name.startswith(prefix)), None)
        if prefix:
            found[f"module.{PUBLISHED_NAMES[prefix]}{name.removeprefix(prefix)}"] = value
    return {"model": found}


def test_weights_alone_are_evaluated_and_trained_on(run, tmp_path, without_figures):
    """A plain state_dict, one of DataParallel, and the published code's checkpoint."""
    options = "MODEL.META_ARCHITECTURE AttentionNet MODEL.ATTENTION.CHANNEL 8"
    assert run("run", f"{options} DATALOADER.N_BATCH 1", inputs=IMAGES) == 0
    state, weight = torch.load(tmp_path / "run" / "best.pth", weights_only=True)["model"], tmp_path / "weights.pth"
    in_parallel = {"state_dict": {f"module.{name}": value for name, value in state.items()}}
    wanted = read_results(tmp_path / "run")
    for folder, content in {"eval": state, "eval-2": in_parallel, "eval-3": as_published(state)}.items():
        torch.save(content, weight)
        assert run("run", f"{options} MODEL.WEIGHT {weight}", "--eval-only", inputs=IMAGES) == 0
        found = read_results(tmp_path / "run" / folder)
        assert all(found[key] == wanted[key] for key in ("T1", "AUSUC", "gzsl")), folder
    start = f"{options} DATALOADER.N_BATCH 1 MODEL.WEIGHT {weight}"
    assert run("more", f"{start} SOLVER.BASE_LR 1e-9", inputs=IMAGES) == 0
    after = torch.load(tmp_path / "more" / "best.pth", weights_only=True)["model"]
    torch.testing.assert_close(after["head.query.weight"], state["head.query.weight"])
    assert run("schedule", f"{start} SOLVER.RESUME_SCHED True", inputs=IMAGES) == 1


def test_an_evaluation_that_failed_leaves_its_folder_to_the_next(run, tmp_path, without_figures):
    run("run")
    weight = tmp_path / "run" / "best.pth"
    assert run("run", f"MODEL.WEIGHT {weight}x", "--eval-only") == 1
    assert run("run", f"MODEL.WEIGHT {weight}", "--eval-only") == 0
    assert (tmp_path / "run" / "eval" / "results.json").exists()
    assert not (tmp_path / "run" / "eval-2").exists()


@pytest.mark.parametrize(
    "options",
    ["", CROSS_BATCH, "MODEL.LOSS.REG_TYPE BMC", "SOLVER.OPTIMIZER adamw SOLVER.STEPS 1", "DTYPE float16"],
    ids=["plain", "cross_batch", "BMC", "adamw", "float16"],
)
def test_a_resumed_run_goes_on_as_if_never_stopped(run, tmp_path, without_figures, options):
    assert run("straight", f"{options} SOLVER.MAX_EPOCH 2") == 0
    assert run("first", options) == 0
    resume = f"MODEL.WEIGHT {tmp_path / 'first' / 'last.pth'} SOLVER.RESUME_OPTIM True SOLVER.RESUME_SCHED True"
    assert run("second", f"{options} {resume} SOLVER.MAX_EPOCH 2") == 0
    assert read_metrics(tmp_path / "second") == read_metrics(tmp_path / "straight")[1:]


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs CUDA")
@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "float16"])
def test_on_cuda_too(run, tmp_path, without_figures, dtype):
    options = f"MODEL.DEVICE cuda DTYPE {dtype} {CROSS_BATCH}"
    assert run("straight", f"{options} SOLVER.MAX_EPOCH 2") == 0
    assert run("first", options) == 0
    resume = f"MODEL.WEIGHT {tmp_path / 'first' / 'last.pth'} SOLVER.RESUME_OPTIM True SOLVER.RESUME_SCHED True"
    assert run("second", f"{options} {resume} SOLVER.MAX_EPOCH 2") == 0
    (line,), straight = read_metrics(tmp_path / "second"), read_metrics(tmp_path / "straight")[1]
    assert line["loss"] == pytest.approx(straight["loss"], rel=1e-3)
    # what was trained there is evaluated here
    assert run("second", f"DTYPE {dtype} MODEL.WEIGHT {tmp_path / 'second' / 'best.pth'}", "--eval-only") == 0


@pytest.mark.parametrize(
    ("resume", "epochs", "rates"),
    [
        ("", [1, 2, 3], [0.01, 0.001, 0.0001]),
        ("SOLVER.RESUME_OPTIM True", [1, 2, 3], [0.01, 0.001, 0.0001]),
        ("SOLVER.RESUME_SCHED True", [2, 3], [0.001, 0.0001]),
        ("SOLVER.RESUME_OPTIM True SOLVER.RESUME_SCHED True", [2, 3], [0.001, 0.0001]),
    ],
    ids=["none", "optim", "sched", "both"],
)
def test_the_schedule_starts_anew_or_goes_on(run, tmp_path, without_figures, resume, epochs, rates):
    schedule = "SOLVER.STEPS 1 SOLVER.GAMMA 0.1 DATALOADER.N_BATCH 1"
    run("first", schedule)
    assert run("second", f"{schedule} SOLVER.MAX_EPOCH 3 MODEL.WEIGHT {tmp_path / 'first' / 'last.pth'} {resume}") == 0
    lines = read_metrics(tmp_path / "second")
    assert [line["epoch"] for line in lines] == epochs
    assert [line["lr"] for line in lines] == pytest.approx(rates)


ATTENTION = "MODEL.META_ARCHITECTURE AttentionNet"


@pytest.mark.parametrize(
    ("base", "option"),
    [
        ("", ATTENTION),
        ("", "MODEL.META_ARCHITECTURE GEMNet"),
        ("", "MODEL.HID_DIM 6"),
        (ATTENTION, "MODEL.ATTENTION.EMBEDDING learned"),
        (ATTENTION, "MODEL.ATTENTION.MODE concat"),
        (ATTENTION, "MODEL.ATTENTION.CHANNEL 7"),
        (ATTENTION, "MODEL.HID_DIM 6"),
        (ATTENTION, "DTYPE bfloat16"),
        ("", "MODEL.SCALE 5"),
        ("", "MODEL.LOSS.REG_TYPE RMSE"),
        ("", "MODEL.LOSS.REG_TYPE MAE"),
        ("", "MODEL.LOSS.REG_TYPE BMC"),
        ("", "MODEL.LOSS.REG_NORM False"),
        ("", "MODEL.LOSS.LAMBDA1 0.5"),
        ("", "MODEL.REZSL.USE True MODEL.REZSL.P 0.1"),
        ("MODEL.REZSL.USE True MODEL.REZSL.P2 0.1", "MODEL.REZSL.P2 0.75"),
        (CROSS_BATCH, "MODEL.REZSL.WEIGHT_TYPE in_batch"),
        ("MODEL.LOSS.REG_NORM False", "DATASETS.SEMANTIC normalized"),
        ("", "MODEL.LOSS.REWEIGHT focal_r"),
        ("", "DATASETS.FEATURE_SCALING standard"),
        ("", "DATASETS.SHOTS 3"),
        ("", "DATALOADER.MODE random"),
        ("", "DATALOADER.EP_PER_BATCH 2 DATALOADER.NUM_WORKERS 1"),
        ("", "SOLVER.OPTIMIZER adamw"),
        ("", "SOLVER.MOMENTUM 0"),
        ("", "SOLVER.BIAS_LR_FACTOR 0.5"),
        ("", "SOLVER.WEIGHT_DECAY 0.5"),
        ("", "SOLVER.SCHEDULE cosine"),
        ("", "SOLVER.CLIP_NORM 0.01"),
        ("", "SOLVER.ACCUMULATE 2"),
        ("SOLVER.SCHEDULE cosine", "SOLVER.WARMUP_EPOCHS 0.5"),
        ("", "SEED 6"),
    ],
)
def test_every_option_trains_and_does_something(run, tmp_path, without_figures, base, option):
    assert run("base", base) == 0
    assert run("option", f"{base} {option}") == 0
    (line,), (other,) = (read_metrics(tmp_path / name) for name in ("base", "option"))
    assert line["loss"] != other["loss"] > 0
    assert set(read_results(tmp_path / "option")["gzsl"]) == {"gamma=0", "fixed", "oracle"}


def test_checkpoint_period(run, tmp_path, without_figures, monkeypatch):
    """Whether last.pth exists when each epoch is evaluated: where it is time to, it is written before."""
    found = []

    def look(*arguments):
        found.append((tmp_path / "run" / "last.pth").exists())
        return evaluate(*arguments)

    monkeypatch.setattr(train, "evaluate", look)
    assert run("run", "SOLVER.MAX_EPOCH 3 SOLVER.CHECKPOINT_PERIOD 2") == 0
    assert found == [False, True, True]


@pytest.mark.parametrize("option", ["LOSS.LAMBDA0", "LOSS.LAMBDA1"])
def test_a_term_with_weight_0_is_left_out(run, tmp_path, without_figures, option):
    assert run("run", f"MODEL.{option} 0") == 0
    (line,) = read_metrics(tmp_path / "run")
    assert [name in line for name in ("ce", "regression")] == [option != "LOSS.LAMBDA0", option != "LOSS.LAMBDA1"]


def test_gemnet_trains_on_all_its_terms(run, tmp_path, without_figures):
    options = (
        "MODEL.META_ARCHITECTURE GEMNet MODEL.LOSS.LAMBDA2 0.1 MODEL.LOSS.LAMBDA3 0.2 MODEL.BACKBONE.FINETUNE False"
    )
    options += " DATALOADER.N_BATCH 1 DATASETS.IMAGE_SIZE 64 DATASETS.ATTRIBUTE_GROUPS [[0,1],[2,3,4]]"
    assert run("run", options, inputs=IMAGES) == 0
    (line,) = read_metrics(tmp_path / "run")
    assert min(line["ad"], line["cpt"]) > 0
    total = line["ce"] + line["regression"] + 0.1 * line["ad"] + 0.2 * line["cpt"]
    assert line["loss"] == pytest.approx(total, rel=1e-5)


def break_image(tiny):
    path = tiny.image_root / "TINY_200" / tiny.tails[0]
    path.write_bytes(path.read_bytes()[:200])


def cut(tiny, name):
    path = tiny.folder / name
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def without(tiny, content, key):
    del content[key]
    tiny.write()


DIVERGING = "SOLVER.BASE_LR 1000 SOLVER.WEIGHT_DECAY 1000"  # weights grow a millionfold a step
ERRORS = {  # overrides, what else is wrong, what the line names
    "unknown key": ("SOLVER.LR 1", None, "SOLVER.LR"),
    "value": ("SOLVER.BASE_LR fast", None, "SOLVER.BASE_LR is 'fast'"),
    "no value": ("SEED", None, "'SEED' has no value"),
    "no root": ("DATASETS.ROOT /missing/data", None, "/missing/data/xlsa17/data/TINY/att_splits.mat"),
    "no data set": ("DATASETS.NAME CUBS", None, "CUBS"),
    "splits cut": ("", lambda tiny: cut(tiny, "att_splits.mat"), "att_splits.mat"),
    "images cut": ("", lambda tiny: cut(tiny, "res101.mat"), "res101.mat"),
    "no features": ("", lambda tiny: without(tiny, tiny.res101, "features"), "DATASETS.INPUT images"),
    "no split": (
        "",
        lambda tiny: without(tiny, tiny.att_splits, "trainval_loc"),
        "att_splits.mat has no 'trainval_loc'",
    ),
    "ways": ("DATASETS.WAYS 5", None, "DATASETS.WAYS is 5"),
    "log over metrics": ("LOG_FILE_NAME metrics.jsonl", None, "LOG_FILE_NAME"),
    "model over config": ("MODEL_FILE_NAME config.yaml", None, "MODEL_FILE_NAME"),
    "cuda": ("MODEL.DEVICE cuda:99", None, "MODEL.DEVICE is cuda:99"),
    "no weight": ("MODEL.WEIGHT runs/missing.pth", None, "runs/missing.pth"),
    "resume nothing": ("SOLVER.RESUME_OPTIM True", None, "SOLVER.RESUME_OPTIM"),
    "no vectors": (
        "MODEL.META_ARCHITECTURE GEMNet MODEL.ATTENTION.W2V_PATH /missing",
        None,
        "/missing/TINY_attribute.npy",
    ),
    "groups": ("MODEL.META_ARCHITECTURE GEMNet MODEL.LOSS.LAMBDA2 1", None, "DATASETS.ATTRIBUTE_GROUPS"),
    "test transform": ("TEST.DATA_AUG resize", None, "TEST.DATA_AUG"),
    "diverging": (f"{DIVERGING} DATALOADER.N_BATCH 20", None, "the loss is not finite by step"),
    "diverging in the last step": (
        f"{DIVERGING} DATALOADER.N_BATCH 7",
        None,
        "predicted attributes of 22 of 22 images",
    ),
}


def the_error(capsys):
    """The one line that starts with ``error: ``, which ends the error stream; no traceback anywhere."""
    output, errors = capsys.readouterr()
    assert "Traceback" not in output + errors
    assert sum(line.startswith("error: ") for line in (output + errors).splitlines()) == 1
    last = errors.splitlines()[-1]
    assert last.startswith("error: ")
    return last


@pytest.mark.parametrize(("overrides", "spoil", "named"), ERRORS.values(), ids=ERRORS)
def test_bad_input_is_told_in_one_line(run, tiny, tmp_path, capsys, overrides, spoil, named):
    if spoil:
        spoil(tiny)
    assert run("run", overrides) == 1
    assert named in the_error(capsys)
    assert logging.getLogger("REZSL").handlers == []
    assert not {path.name for path in tmp_path.glob("run/*")} & {"results.json", "best.pth", "predictions.npz"}


@pytest.mark.parametrize(
    "options", ["", "DATASETS.CHECK_IMAGES False", "DATASETS.CHECK_IMAGES False DATALOADER.NUM_WORKERS 2"]
)
def test_a_broken_image_is_named(run, tiny, capsys, options):
    break_image(tiny)
    assert run("run", f"{options} MODEL.BACKBONE.FINETUNE False DATALOADER.N_BATCH 9", inputs=IMAGES) == 1
    assert tiny.tails[0] in the_error(capsys)


def test_a_missing_image_folder_is_named(run, capsys):
    assert run("run", "DATASETS.IMAGE_ROOT /missing/images", inputs=IMAGES) == 1
    assert "/missing/images" in the_error(capsys)


def test_evaluation_alone_needs_a_weight(run, tmp_path, capsys):
    assert run("run", "", "--eval-only") == 1
    assert "MODEL.WEIGHT" in the_error(capsys)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    "make", [lambda path: path.write_bytes(b"PK"), lambda path: torch.save({"weight": torch.zeros(1)}, path)]
)
def test_a_file_that_is_no_checkpoint(run, tmp_path, capsys, make):
    make(tmp_path / "other.pth")
    assert run("run", f"MODEL.WEIGHT {tmp_path / 'other.pth'}", "--eval-only") == 1
    assert str(tmp_path / "other.pth") in the_error(capsys)


@pytest.mark.parametrize(
    ("checkpoint", "options", "named"),
    [
        ("best.pth", "SOLVER.RESUME_OPTIM True", "SOLVER.RESUME_OPTIM"),
        ("best.pth", "MODEL.HID_DIM 3", "best.pth does not fit this config's model"),
        ("last.pth", "SOLVER.RESUME_SCHED True", "SOLVER.MAX_EPOCH is 1"),
        ("last.pth", "SOLVER.RESUME_OPTIM True MODEL.LOSS.REG_TYPE BMC", "last.pth"),
        ("last.pth", "SOLVER.RESUME_OPTIM True SOLVER.OPTIMIZER adamw", "last.pth"),
    ],
    ids=["no optimizer", "model", "finished", "parameters", "other optimizer"],
)
def test_a_checkpoint_that_does_not_fit(run, tmp_path, capsys, without_figures, checkpoint, options, named):
    run("first")
    capsys.readouterr()
    assert run("second", f"MODEL.WEIGHT {tmp_path / 'first' / checkpoint} {options}") == 1
    assert named in the_error(capsys)


@pytest.mark.parametrize("content", [b"SEED: [1\n", b"SEED: \x00\n", b"MODEL:\n  NAME: caf\xe9\n", b"- SEED\n"])
def test_a_config_file_that_is_none(tmp_path, capsys, content):
    (tmp_path / "bad.yaml").write_bytes(content)
    assert train.main(["--config-file", str(tmp_path / "bad.yaml")]) == 1
    assert str(tmp_path / "bad.yaml") in the_error(capsys)


def test_an_error_is_in_the_log_and_the_folder_can_be_used_again(run, tmp_path, without_figures):
    assert run("run", "DATASETS.WAYS 5") == 1
    assert "DATASETS.WAYS is 5" in (tmp_path / "run" / "log.txt").read_text()
    assert run("run") == 0
    assert load_config(tmp_path / "run" / "config.yaml").DATASETS.WAYS == 2


def test_stopping_by_hand_is_no_traceback(run, monkeypatch, capsys):
    def interrupted(cfg):
        raise KeyboardInterrupt

    monkeypatch.setattr(train, "build_data", interrupted)
    assert run("run") == 130
    assert "stopped" in capsys.readouterr().err


def test_images_can_be_wider_or_narrower_than_the_crop(run, tiny, tmp_path, without_figures):
    for n, size in ((0, (100, 20)), (1, (20, 100))):
        Image.new("L", size).save(tiny.image_root / "TINY_200" / tiny.tails[n])
    assert run("run", "MODEL.BACKBONE.FINETUNE False DATALOADER.N_BATCH 5", inputs=IMAGES) == 0


def read_seeds(folder):
    return list(csv.reader((folder / "seeds.csv").open(encoding="utf-8")))


@pytest.mark.usefixtures("without_figures")
def test_several_seeds_are_the_runs_of_each(run, tmp_path, capsys):
    assert run("many", "SOLVER.MAX_EPOCH 2", "--seeds", "8", "9") == 0
    assert run("one", "SOLVER.MAX_EPOCH 2 SEED 9") == 0
    for name in ("metrics.jsonl", "results.json", "predictions.npz"):
        assert (tmp_path / "many/seed_9" / name).read_bytes() == (tmp_path / "one" / name).read_bytes()
    both = [read_results(tmp_path / "many" / f"seed_{seed}")["T1"] for seed in (8, 9)]
    header, first, *_ = read_seeds(tmp_path / "many")
    assert header == ["figure", "mean", "std", "low", "high"]
    assert first[0] == "T1"
    assert float(first[1]) == pytest.approx(100 * fmean(both), abs=0.006)
    assert "2 seeds; percent" in capsys.readouterr().out


@pytest.mark.usefixtures("without_figures")
@pytest.mark.parametrize("moment", ["train", "evaluate", "write_json"])
@pytest.mark.parametrize("call", [1, 3])
def test_seeds_interrupted_anywhere_give_the_same_table(run, tmp_path, monkeypatch, moment, call):
    options = "SOLVER.MAX_EPOCH 2", "--seeds", "1", "2", "3"
    assert run("whole", *options) == 0
    part, name = {
        "train": (Trainer, "_train_epoch"),
        "evaluate": (train, "evaluate"),
        "write_json": (train, "write_json"),
    }[moment]
    original, calls = getattr(part, name), []

    def interrupted(*arguments):
        calls.append(1)
        if len(calls) == call:
            raise KeyboardInterrupt
        return original(*arguments)

    with monkeypatch.context() as patch:
        patch.setattr(part, name, interrupted)
        assert run("parts", *options) == 130
    assert not (tmp_path / "parts" / "seeds.csv").exists()
    assert run("parts", *options) == 0
    for path in ("seeds.csv", "seed_2/metrics.jsonl", "seed_2/results.json"):
        assert (tmp_path / "parts" / path).read_bytes() == (tmp_path / "whole" / path).read_bytes()


@pytest.mark.usefixtures("without_figures")
def test_seeds_repeat_nothing_and_mix_nothing(run, tmp_path, capsys):
    assert run("many", "", "--seeds", "1", "2") == 0
    before = contents(tmp_path / "many" / "seed_1")
    assert run("many", "", "--seeds", "1", "2", "3") == 0
    assert contents(tmp_path / "many" / "seed_1") == before
    capsys.readouterr()
    assert run("many", "SOLVER.BASE_LR 0.5", "--seeds", "1") == 1
    told = capsys.readouterr().err
    assert "seed_1 holds a run of another config (SOLVER.BASE_LR 0.01, now 0.5): set another OUTPUT_DIR" in told
    assert contents(tmp_path / "many" / "seed_1") == before


@pytest.mark.usefixtures("without_figures")
def test_seeds_may_stand_before_the_keys(tiny, tmp_path):
    tiny.write()
    words = ["OUTPUT_DIR", str(tmp_path / "many"), "DATASETS.ROOT", str(tiny.root), "DATASETS.NAME", "TINY", *FEATURES]
    words += ["MODEL.DEVICE", "cpu", "SOLVER.MAX_EPOCH", "1", "DATASETS.WAYS", "2", "SEED", "77"]
    assert train.main(["--config-file", str(CUB_FEATURES), "--seeds", "4", *words]) == 0
    assert [path.name for path in (tmp_path / "many").glob("seed_*")] == ["seed_4"]
    assert read_results(tmp_path / "many" / "seed_4")["seed"] == 4


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--seeds", "1", "1"], "--seeds 1 1: a seed comes twice"),
        (["--seeds", "x"], "--seeds x: expected whole numbers >= 0"),
        (["--seeds", "1", "--eval-only"], "--eval-only evaluates one checkpoint: leave --seeds and --resume out"),
    ],
)
def test_wrong_seeds_are_told(run, capsys, flags, message):
    assert run("run", "", *flags) == 1
    assert message in capsys.readouterr().err


VAL = "--protocol", "val"


@pytest.mark.parametrize("metric", ["H", "AUSUC"])
def test_validation_chooses_and_the_test_is_made_once(run, tmp_path, capsys, metric):
    options = f"SOLVER.MAX_EPOCH 4 DATALOADER.N_BATCH 3 SOLVER.BASE_LR 0.3 TEST.VAL_METRIC {metric}"
    assert run("run", options, *VAL) == 0
    folder = tmp_path / "run"
    lines, results = read_metrics(folder / "val"), read_results(folder)
    scores = [line["AUSUC"] if metric == "AUSUC" else line["gzsl"]["oracle"]["H"] for line in lines]
    epoch = scores.index(max(scores)) + 1
    best = lines[epoch - 1]["gzsl"]["oracle"]
    val, oracle = results["gzsl"]["val"], results["gzsl"]["oracle"]
    assert results["validation"] == {
        "epoch": epoch,
        "gamma": best["gamma"],
        "AUSUC": lines[epoch - 1]["AUSUC"],
        "H": best["H"],
        "metric": metric,
        "moved": {"gamma": oracle["gamma"] - val["gamma"], "H": oracle["H"] - val["H"]},
    }
    assert results["epoch"] == epoch
    assert results["protocol"] == "val"
    assert list(results["gzsl"]) == ["val", "gamma=0", "fixed", "oracle"]
    assert val["gamma"] == best["gamma"]
    assert "uses_test_labels" not in val

    tested = ["T1" in line for line in read_metrics(folder)]
    assert tested == [False] * (epoch - 1) + [True]
    said = capsys.readouterr().out
    assert f"validation chose epoch {epoch} and gamma {best['gamma']:.3f}" in said
    assert re.search(rf"H {100 * val['H']:.1f} \(val\) [\d.]+ \(gamma=0\) {100 * oracle['H']:.1f} \(oracle\)", said)
    assert (folder / "val" / "figures" / "training.png").exists()


@pytest.mark.usefixtures("without_figures")
def test_the_final_training_is_a_training_of_that_many_epochs(run, tmp_path):
    options = "SOLVER.MAX_EPOCH 4 SOLVER.BASE_LR 0.3 TEST.GAMMA 1.5"
    assert run("val", options, *VAL) == 0
    epoch = read_results(tmp_path / "val")["epoch"]
    assert run("plain", options) == 0
    ours, theirs = (read_metrics(tmp_path / name)[epoch - 1] for name in ("val", "plain"))
    del ours["gzsl"]["val"]
    assert ours == theirs


@pytest.mark.usefixtures("without_figures")
@pytest.mark.parametrize("with_classes", [True, False])
def test_no_test_label_reaches_the_choice(run, tiny, tmp_path, with_classes):
    """Test images of either kind get each other's classes, and other features: the validation does not notice."""
    if not with_classes:
        del tiny.att_splits["train_loc"], tiny.att_splits["val_loc"]
        tiny.write()
    options = "SOLVER.MAX_EPOCH 3 SOLVER.BASE_LR 0.3 DATASETS.FEATURE_SCALING standard"
    assert run("before", options, *VAL) == 0
    rng = np.random.default_rng(0)
    for key in ("test_seen_loc", "test_unseen_loc"):
        rows = tiny.att_splits[key].ravel().astype(int) - 1
        labels = tiny.res101["labels"].ravel()
        shuffled = rng.permutation(labels[rows])
        assert (shuffled != labels[rows]).any()
        tiny.res101["labels"][rows, 0] = shuffled
        tiny.res101["features"][:, rows] += 1
    tiny.write()
    assert run("after", options, *VAL) == 0
    before, after = (tmp_path / name for name in ("before", "after"))
    assert (before / "val/metrics.jsonl").read_bytes() == (after / "val/metrics.jsonl").read_bytes()
    choices = [read_results(folder)["validation"] for folder in (before, after)]
    assert all(choices[0][name] == choices[1][name] for name in ("epoch", "gamma", "H", "AUSUC"))
    assert read_results(before)["T1"] != read_results(after)["T1"]


@pytest.mark.usefixtures("without_figures")
def test_validation_trains_on_images_too(run, tmp_path):
    assert run("run", "DATALOADER.N_BATCH 1", *VAL, inputs=IMAGES) == 0
    assert "val" in read_results(tmp_path / "run")["gzsl"]


@pytest.mark.usefixtures("without_figures")
def test_a_half_done_validation_is_never_overwritten(run, tmp_path, monkeypatch, capsys):
    with monkeypatch.context() as patch:
        patch.setattr(Trainer, "_log", raises_interrupt)
        assert run("run", "", *VAL) == 130
    before = contents(tmp_path / "run")
    assert run("run", "", *VAL) == 1
    assert "already holds a run" in capsys.readouterr().err
    assert contents(tmp_path / "run") == before
    assert run("run", "", *VAL, "--seeds", "1") == 0


def raises_interrupt(*arguments):
    raise KeyboardInterrupt


@pytest.mark.usefixtures("without_figures")
@pytest.mark.parametrize("call", [1, 3])
def test_interrupted_seeds_start_the_validation_again(run, tmp_path, monkeypatch, call):
    options = "SOLVER.MAX_EPOCH 2", *VAL, "--seeds", "1", "2"
    assert run("whole", *options) == 0
    original, calls = Trainer._save_last, []

    def interrupted(*arguments):
        calls.append(1)
        if len(calls) == call:
            raise KeyboardInterrupt
        return original(*arguments)

    with monkeypatch.context() as patch:
        patch.setattr(Trainer, "_save_last", interrupted)
        assert run("parts", *options) == 130
    assert run("parts", *options) == 0
    for path in ("seeds.csv", "seed_1/val/metrics.jsonl", "seed_1/results.json"):
        assert (tmp_path / "parts" / path).read_bytes() == (tmp_path / "whole" / path).read_bytes()


@pytest.mark.usefixtures("without_figures")
def test_the_run_of_a_validation_is_evaluated_again_without_its_row(run, tmp_path, capsys):
    assert run("run", "", *VAL) == 0
    before = read_results(tmp_path / "run")
    assert run("run", f"MODEL.WEIGHT {tmp_path / 'run' / 'best.pth'} TEST.PROTOCOL val", "--eval-only") == 0
    after = read_results(tmp_path / "run" / "eval")
    assert "--eval-only leaves it out" in capsys.readouterr().out
    del before["gzsl"]["val"]
    assert after["gzsl"] == before["gzsl"]


def interrupt_step(monkeypatch, call):
    """Asks the process to stop, as a batch system would, during the ``call``-th training step from now."""
    original, calls = Trainer._train_batch, []

    def step(*arguments):
        calls.append(1)
        if len(calls) == call:
            signal.raise_signal(signal.SIGTERM)
        return original(*arguments)

    monkeypatch.setattr(Trainer, "_train_batch", step)


LONGER = "SOLVER.MAX_EPOCH 3 DATALOADER.N_BATCH 4 SOLVER.SCHEDULE cosine SOLVER.OPTIMIZER adamw"


@pytest.mark.usefixtures("without_figures")
@pytest.mark.parametrize("workers", [0, 1])
@pytest.mark.parametrize("call", [1, 2, 4, 5, 11])
def test_a_stopped_run_goes_on_to_the_same_files(run, tmp_path, monkeypatch, capsys, call, workers):
    """Stopped in an epoch or at its end, and resumed with as many or more loading processes."""
    options = f"{LONGER} {CROSS_BATCH}"
    assert run("whole", options, inputs=IMAGES) == 0
    with monkeypatch.context() as patch:
        interrupt_step(patch, call)
        assert run("parts", options, inputs=IMAGES) == 128 + signal.SIGTERM
    assert "the same command with --resume goes on" in capsys.readouterr().err
    assert run("parts", options, inputs=IMAGES) == 1
    assert "already holds a run" in capsys.readouterr().err
    assert run("parts", f"{options} DATALOADER.NUM_WORKERS {workers}", "--resume", inputs=IMAGES) == 0
    whole, parts = (tmp_path / name for name in ("whole", "parts"))
    for name in ("metrics.jsonl", "results.json", "predictions.npz"):
        assert (whole / name).read_bytes() == (parts / name).read_bytes()
    assert "going on after" in (parts / "log.txt").read_text()


@pytest.mark.usefixtures("without_figures")
@pytest.mark.parametrize("call", [3, 9, 14])
def test_a_stopped_validation_goes_on(run, tmp_path, monkeypatch, call):
    """In its first training, at the end of it, and in the second."""
    assert run("whole", LONGER, *VAL) == 0
    with monkeypatch.context() as patch:
        interrupt_step(patch, call)
        assert run("parts", LONGER, *VAL) == 143
    assert run("parts", LONGER, *VAL, "--resume") == 0
    for name in ("metrics.jsonl", "results.json", "val/metrics.jsonl"):
        assert (tmp_path / "whole" / name).read_bytes() == (tmp_path / "parts" / name).read_bytes()


@pytest.mark.usefixtures("without_figures")
def test_resume_starts_what_is_not_there_and_leaves_what_is_finished(run, tmp_path, capsys):
    assert run("run", "", "--resume") == 0
    before = contents(tmp_path / "run")
    assert run("run", "", "--resume") == 0
    assert "is finished already" in capsys.readouterr().out
    assert contents(tmp_path / "run") == before


@pytest.mark.usefixtures("without_figures")
def test_a_run_goes_on_with_another_config_only_if_told(run, tmp_path, monkeypatch, capsys):
    with monkeypatch.context() as patch:
        interrupt_step(patch, 2)
        assert run("run", LONGER) == 143
    before = contents(tmp_path / "run")
    changed = f"{LONGER} SOLVER.BASE_LR 0.5 MODEL.SCALE 10"
    assert run("run", changed, "--resume") == 1
    told = "(MODEL.SCALE 20.0, now 10.0; SOLVER.BASE_LR 0.01, now 0.5): set another OUTPUT_DIR, or add --accept-changes"
    assert told in capsys.readouterr().err
    assert contents(tmp_path / "run") == before
    assert run("run", changed, "--resume", "--accept-changes") == 0
    assert "going on with another config: MODEL.SCALE 20.0, now 10.0" in capsys.readouterr().err
    assert load_config(tmp_path / "run" / "config.yaml").MODEL.SCALE == 10


@pytest.mark.usefixtures("without_figures")
@pytest.mark.parametrize("stopped", [False, True], ids=["at once", "stopped on its way"])
@pytest.mark.parametrize("protocol", ["test", "val", "oracle"])
def test_a_finished_run_that_is_made_longer_is_the_longer_run(run, tmp_path, monkeypatch, protocol, stopped):
    """Under the step schedule, whose rates do not depend on the end."""
    options = "DATALOADER.N_BATCH 3 SOLVER.BASE_LR 0.3 SOLVER.STEPS 2"
    flags = VAL if protocol == "val" else ()
    options += " TEST.SELECT oracle" if protocol == "oracle" else ""
    longer = f"{options} SOLVER.MAX_EPOCH 4"
    assert run("whole", longer, *flags) == 0
    assert run("run", f"{options} SOLVER.MAX_EPOCH 2", *flags) == 0
    assert run("run", longer, *flags, "--resume") == 1
    if stopped:
        with monkeypatch.context() as patch:
            interrupt_step(patch, 2)
            assert run("run", longer, *flags, "--resume", "--accept-changes") == 143
        assert not (tmp_path / "run" / "results.json").exists()
        assert not (tmp_path / "run" / "val" / "choice.json").exists()
        assert run("run", longer, *flags, "--resume") == 0
    else:
        assert run("run", longer, *flags, "--resume", "--accept-changes") == 0
    whole, parts = (tmp_path / name for name in ("whole", "run"))
    assert (whole / "results.json").read_bytes() == (parts / "results.json").read_bytes()
    for trained in ("val", ".") if protocol == "val" else (".",):
        lines, others = read_metrics(whole / trained), read_metrics(parts / trained)
        assert [line["loss"] for line in lines] == [line["loss"] for line in others]
    assert load_config(parts / "config.yaml").SOLVER.MAX_EPOCH == 4


@pytest.mark.usefixtures("without_figures")
def test_a_cosine_goes_on_by_the_longer_one(run, tmp_path, capsys):
    options = "DATALOADER.N_BATCH 2 SOLVER.SCHEDULE cosine SOLVER.MAX_EPOCH"
    for name, epochs, *flags in (("whole", 4), ("run", 2), ("run", 4, "--resume", "--accept-changes")):
        assert run(name, f"{options} {epochs}", *flags) == 0
    assert "going on with another config: SOLVER.MAX_EPOCH 2, now 4" in capsys.readouterr().err
    ours, theirs = ([line["lr"] for line in read_metrics(tmp_path / name)] for name in ("run", "whole"))
    assert ours[2:] == theirs[2:]
    assert ours[:2] != theirs[:2]


@pytest.mark.usefixtures("without_figures")
def test_finished_seeds_are_made_longer(run, tmp_path):
    seeds = "--seeds", "1", "2"
    assert run("whole", "SOLVER.MAX_EPOCH 3", *seeds) == 0
    assert run("many", "SOLVER.MAX_EPOCH 2", "--seeds", "1") == 0
    assert run("many", "SOLVER.MAX_EPOCH 3", "--accept-changes", *seeds) == 0
    for path in ("seeds.csv", "seed_1/results.json", "seed_2/results.json"):
        assert (tmp_path / "many" / path).read_bytes() == (tmp_path / "whole" / path).read_bytes()


@pytest.mark.usefixtures("without_figures")
@pytest.mark.parametrize(
    ("change", "told"),
    [
        (
            "SOLVER.BASE_LR 0.5",
            "is finished, and a change (SOLVER.BASE_LR 0.01, now 0.5) would train nothing: set anoth",
        ),
        ("SOLVER.MAX_EPOCH 1", "would train nothing: set another OUTPUT_DIR, or SOLVER.MAX_EPOCH above 2"),
        ("TEST.SELECT oracle", "of another TEST.SELECT (TEST.SELECT 'last', now 'oracle'), of whose epochs only"),
        ("TEST.PROTOCOL val SOLVER.MAX_EPOCH 4", "of another TEST.PROTOCOL (SOLVER.MAX_EPOCH 2, now 4; TEST.PROTOCOL"),
    ],
)
def test_changes_that_would_do_nothing_or_mix_are_refused(run, tmp_path, capsys, change, told):
    assert run("run", "SOLVER.MAX_EPOCH 2") == 0
    before = contents(tmp_path / "run")
    capsys.readouterr()
    assert run("run", f"SOLVER.MAX_EPOCH 2 {change}", "--resume", "--accept-changes") == 1
    assert told in the_error(capsys)
    assert contents(tmp_path / "run") == before


@pytest.mark.usefixtures("without_figures")
def test_a_run_is_not_made_shorter_than_it_is(run, tmp_path, monkeypatch, capsys):
    with monkeypatch.context() as patch:
        interrupt_step(patch, 10)
        assert run("run", LONGER) == 143
    before = contents(tmp_path / "run")
    capsys.readouterr()
    assert run("run", f"{LONGER} SOLVER.MAX_EPOCH 2", "--resume", "--accept-changes") == 1
    assert "the training is to end after epoch 2, and" in the_error(capsys)
    after = contents(tmp_path / "run")
    assert all(after[path] == content for path, content in before.items() if path.name != "log.txt")
    assert run("run", LONGER, "--resume") == 0


@pytest.mark.usefixtures("without_figures")
def test_a_start_that_fails_before_training_costs_nothing(run, tiny, tmp_path, capsys):
    """Neither the folder, of the same command, nor the results of a finished run that was to go on."""
    (tiny.folder / "res101.mat").rename(tmp_path / "away.mat")
    assert run("run") == 1
    (tmp_path / "away.mat").rename(tiny.folder / "res101.mat")
    assert run("run") == 0
    before = contents(tmp_path / "run")
    (tiny.folder / "res101.mat").rename(tmp_path / "away.mat")
    assert run("run", "SOLVER.MAX_EPOCH 2", "--resume", "--accept-changes") == 1
    (tmp_path / "away.mat").rename(tiny.folder / "res101.mat")
    after = contents(tmp_path / "run")
    assert all(after[path] == content for path, content in before.items() if path.name != "log.txt")
    assert run("run", "", "--resume") == 0
    assert "is finished already" in capsys.readouterr().out


@pytest.mark.usefixtures("without_figures")
@pytest.mark.parametrize("left", ["last-1.pth", "val/last.pth", "val/choice.json"])
def test_a_fresh_run_reads_nothing_that_another_left(run, tmp_path, capsys, left):
    assert run("other", "SEED 9", *VAL) == 0
    path = tmp_path / "run" / left
    path.parent.mkdir(parents=True)
    (tmp_path / "other" / left.replace("-1", "")).rename(path)
    assert run("run", "", *VAL) == 1
    assert f"OUTPUT_DIR {tmp_path / 'run'} already holds a run" in the_error(capsys)


@pytest.mark.usefixtures("without_figures")
def test_copies_beside_the_checkpoints_are_nobodys(run, tmp_path, monkeypatch):
    for name in ("last-backup.pth", "last-1 (copy).pth", "last-1.pth.bak"):
        (tmp_path / "run").mkdir(exist_ok=True)
        (tmp_path / "run" / name).write_bytes(b"mine")
    with monkeypatch.context() as patch:
        interrupt_step(patch, 6)
        assert run("run", LONGER) == 143
    (tmp_path / "run" / "last.pth").unlink()
    assert run("run", LONGER, "--resume") == 0
    assert (tmp_path / "run" / "last-backup.pth").read_bytes() == b"mine"


@pytest.mark.usefixtures("without_figures")
def test_a_run_in_use_is_refused_and_that_of_a_dead_process_taken_over(run, tmp_path, monkeypatch, capsys):
    with monkeypatch.context() as patch:
        interrupt_step(patch, 2)
        assert run("run", LONGER) == 143
    folder = RunFolder(tmp_path / "run")
    folder.claim()
    before = contents(tmp_path / "run")
    capsys.readouterr()
    for flags in ((), ("--resume",), ("--seeds", "1")):
        name = "run" if not flags or flags[0] == "--resume" else "."
        (tmp_path / "seed_1").exists() or (tmp_path / "seed_1").symlink_to(tmp_path / "run")
        assert run(name, LONGER, *flags) == 1
        assert "is in use by process" in the_error(capsys)
    assert contents(tmp_path / "run") == before
    lock = tmp_path / "run" / ".lock"
    text = lock.read_text().replace(f'"process": {os.getpid()}', f'"process": {2**30}')
    folder.release()
    lock.write_text(text)
    (tmp_path / "run" / ".last.abcd1234.pth").write_bytes(b"half")
    assert run("run", LONGER, "--resume") == 0
    assert f"OUTPUT_DIR {tmp_path / 'run'} was that of process {2**30} on" in capsys.readouterr().err
    assert not list((tmp_path / "run").glob(".*"))


@pytest.mark.usefixtures("without_figures")
def test_evaluations_at_once_have_a_folder_each(run, tmp_path):
    assert run("run") == 0
    first = RunFolder(tmp_path / "run" / "eval")
    first.claim()
    assert run("run", f"MODEL.WEIGHT {tmp_path / 'run' / 'best.pth'}", "--eval-only") == 0
    first.release()
    assert [path.parent.name for path in tmp_path.glob("run/eval*/results.json")] == ["eval-2"]
    assert run("run", f"MODEL.WEIGHT {tmp_path / 'run' / 'best.pth'}", "--eval-only") == 0
    assert (tmp_path / "run" / "eval" / "results.json").exists()


@pytest.mark.usefixtures("without_figures")
@pytest.mark.parametrize(
    "text", ["", "[1]", '{"epoch": 1}', "CHANGED", '{"epoch": 1.0, "gamma": 0, "AUSUC": 0, "H": 0}']
)
def test_a_damaged_choice_is_told_and_made_again(run, tmp_path, monkeypatch, capsys, text):
    assert run("whole", LONGER, *VAL) == 0
    with monkeypatch.context() as patch:
        interrupt_step(patch, 14)
        assert run("run", LONGER, *VAL) == 143
    choice = tmp_path / "run" / "val" / "choice.json"
    text = choice.read_text().replace('"gamma": ', '"gamma": NaN, "was": ') if text == "CHANGED" else text
    choice.write_text(text)
    capsys.readouterr()
    assert run("run", LONGER, *VAL, "--resume") == 1
    message = the_error(capsys)
    assert str(choice) in message
    assert message.endswith(": delete it, and --resume chooses again by the training beside it")
    choice.unlink()
    assert run("run", LONGER, *VAL, "--resume") == 0
    assert (tmp_path / "whole/results.json").read_bytes() == (tmp_path / "run/results.json").read_bytes()


@pytest.mark.usefixtures("without_figures")
@pytest.mark.parametrize(
    ("changed", "told"),
    [
        ({"model": None}, "last.pth"),
        ({"schedule": {"last_epoch": float("nan"), "_step_count": 1}}, "last_epoch is of type float, expected int"),
        ({"epoch": "1"}, "epoch is of type str, expected int"),
        ({"criterion": {}}, "its criterion has no"),
        ({"optimizer": {"state": {0: {"momentum_buffer": torch.zeros(3)}}, "param_groups": []}}, "other parameters"),
    ],
    ids=["model", "schedule", "epoch", "criterion", "optimizer"],
)
def test_a_start_from_a_checkpoint_that_is_not_whole_is_refused(run, tmp_path, capsys, changed, told):
    options = "MODEL.REZSL.USE True MODEL.REZSL.P 0.5"
    assert run("first", options) == 0
    path = tmp_path / "first" / "last.pth"
    content = torch.load(path, weights_only=True)
    torch.save({key: value for key, value in content.items() if key != "digest"} | changed, path)
    capsys.readouterr()
    resume = f"MODEL.WEIGHT {path} SOLVER.RESUME_OPTIM True SOLVER.RESUME_SCHED True SOLVER.MAX_EPOCH 2"
    assert run("second", f"{options} {resume}") == 1
    assert told in the_error(capsys)


@pytest.mark.usefixtures("without_figures")
def test_a_damaged_checkpoint_is_passed_over(run, tmp_path, monkeypatch, capsys):
    assert run("whole", LONGER) == 0
    with monkeypatch.context() as patch:
        interrupt_step(patch, 10)
        assert run("parts", LONGER) == 143
    last = tmp_path / "parts" / "last.pth"
    last.write_bytes(last.read_bytes()[:-99])
    assert run("parts", LONGER, "--resume") == 0
    assert "last.pth cannot be read" in capsys.readouterr().err
    assert (tmp_path / "whole/results.json").read_bytes() == (tmp_path / "parts/results.json").read_bytes()


@pytest.mark.usefixtures("without_figures")
def test_a_full_disk_is_told_and_costs_no_checkpoint(run, tmp_path, monkeypatch, capsys):
    assert run("whole", LONGER) == 0
    with monkeypatch.context() as patch:
        interrupt_step(patch, 6)
        assert run("parts", LONGER) == 143

    def full(content, path):
        raise OSError(28, "No space left on device", str(path))

    before = (tmp_path / "parts" / "last.pth").read_bytes()
    with monkeypatch.context() as patch:
        patch.setattr(torch, "save", full)
        assert run("parts", LONGER, "--resume") == 1
    assert the_error(capsys) == f"error: cannot write {tmp_path}/parts/last.pth: No space left on device"
    assert (tmp_path / "parts" / "last.pth").read_bytes() == before
    assert run("parts", LONGER, "--resume") == 0
    assert (tmp_path / "whole/results.json").read_bytes() == (tmp_path / "parts/results.json").read_bytes()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_to_all_processes_of_a_run_costs_nothing(tiny, tmp_path, number):
    """As Ctrl-C and batch systems send it: the loading processes, which images have on a CPU, get it too."""
    tiny.write().write_images()
    experiment = tmp_path / "experiment.yaml"
    options = {"DATALOADER": {"NUM_WORKERS": 2, "N_BATCH": 4000}, "SOLVER": {"CHECKPOINT_MINUTES": 0.005}}
    experiment.write_text(yaml.safe_dump(BASE | {key: BASE[key] | value for key, value in options.items()}))
    where = ["OUTPUT_DIR", str(tmp_path / "run"), "DATASETS.ROOT", str(tiny.root)]
    command = [sys.executable, str(Path(train.__file__)), "--config-file", str(experiment), *where, *IMAGES]
    process = subprocess.Popen(command, start_new_session=True, stderr=subprocess.PIPE, text=True)
    deadline = time.monotonic() + 120
    while not (tmp_path / "run" / "last.pth").exists() and time.monotonic() < deadline and process.poll() is None:
        time.sleep(0.02)
    os.killpg(process.pid, number)
    _, said = process.communicate(timeout=60)
    assert process.returncode == 128 + number, said
    told = r"stopped; \S+/run/last\.pth is as of the end of .*epoch \d+, saved at .*: the same command .*goes on"
    assert re.fullmatch(told, said.splitlines()[-1])
    assert "Traceback" not in said
    assert torch.load(tmp_path / "run" / "last.pth", weights_only=True)["step"] > 0


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ("TF32 always", "TF32 is 'always', but that is a precision of CUDA devices, and this is cpu"),
        ("TRACKER wandb", "TRACKER wandb needs wandb: pip install wandb"),
        (
            "TRACKER tensorbord",
            "TRACKER is 'tensorbord', expected one of none, tensorboard, wandb, mlflow; did you mean",
        ),
    ],
)
def test_what_cannot_be_done_here_is_refused(run, capsys, monkeypatch, options, message):
    monkeypatch.setitem(sys.modules, "wandb", None)
    assert run("run", options) == 1
    assert message in capsys.readouterr().err


def test_a_precision_and_a_device_that_are_not_there_are_told(run, capsys, monkeypatch, tmp_path):
    def refuse(*args, **kwargs):
        raise NotImplementedError("no such kernel")

    monkeypatch.setattr(torch.amp.GradScaler, "step", refuse)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    assert run("run", "DTYPE float16") == run("run", "MODEL.DEVICE mps") == 1
    first, second = capsys.readouterr().err.splitlines()
    assert first == "error: DTYPE is float16, which cpu cannot (no such kernel): set DTYPE float32"
    assert second.startswith("error: MODEL.DEVICE is mps, but torch sees no GPU of Apple's here")
    assert not (tmp_path / "run").exists()


@pytest.mark.usefixtures("without_figures")
def test_a_compiled_run_is_the_run(run, tmp_path):
    """Model and criterion as one graph each, however often the mode changes; saved under the same names."""
    options = f"{LONGER} {CROSS_BATCH} {ATTENTION}"
    assert run("eager", options) == run("compiled", options + " MODEL.COMPILE True") == 0
    for line, other in zip(*(read_metrics(tmp_path / name) for name in ("eager", "compiled")), strict=True):
        assert other["loss"] == pytest.approx(line["loss"], rel=1e-4)
        assert other["gradient_share"] == pytest.approx(line["gradient_share"], rel=1e-3)
    states = [torch.load(tmp_path / name / "best.pth", weights_only=True)["model"] for name in ("eager", "compiled")]
    assert states[0].keys() == states[1].keys()


FROZEN = "MODEL.BACKBONE.FINETUNE False SOLVER.DATA_AUG resize_only SOLVER.MAX_EPOCH 2"


@pytest.mark.usefixtures("without_figures")
@pytest.mark.parametrize("protocol", ["test", "val"])
def test_kept_tokens_give_the_run_without_them(run, tmp_path, capsys, protocol):
    options = f"{FROZEN} TEST.PROTOCOL {protocol} DATALOADER.NUM_WORKERS 1 DATALOADER.CACHE_DIR {tmp_path}/cache"
    for name, more in (("plain", "DATALOADER.TOKENS never"), ("kept", ""), ("again", "")):
        assert run(name, f"{options} {more}", inputs=IMAGES) == 0
    assert capsys.readouterr().out.count("tokens are kept in") == 2 * (1 + (protocol == "val"))
    assert len(list((tmp_path / "cache").iterdir())) == 1  # both trainings of a validation share it
    plain, kept, again = (read_metrics(tmp_path / name) for name in ("plain", "kept", "again"))
    assert kept == again
    for line, other in zip(plain, kept, strict=True):
        assert other["loss"] == pytest.approx(line["loss"], rel=1e-4)
    one, other = (Predictions.load(tmp_path / name / "predictions.npz").attributes for name in ("plain", "kept"))
    np.testing.assert_allclose(other, one, atol=1e-4)
    (state,) = {frozenset(torch.load(tmp_path / n / "best.pth")["model"]) for n in ("plain", "kept")}
    assert any(name.startswith("backbone.") for name in state)


@pytest.mark.usefixtures("without_figures")
def test_augmentation_that_kept_tokens_cannot_show_is_reported(run, tmp_path, capsys):
    options = f"{FROZEN} SOLVER.DATA_AUG resize_random_crop DATALOADER.CACHE_DIR {tmp_path}/cache"
    assert run("auto", options, inputs=IMAGES) == 0
    assert not (tmp_path / "cache").exists()
    assert run("always", f"{options} DATALOADER.TOKENS always", inputs=IMAGES) == 0
    assert "SOLVER.DATA_AUG resize_random_crop is left out, images train as TEST.DATA_AUG" in capsys.readouterr().err
    small = f"{options} DATALOADER.CACHE_GB 0.00005"
    assert run("small", f"{small} SOLVER.DATA_AUG resize_only", inputs=IMAGES) == 0
    assert "more than DATALOADER.CACHE_GB: every image passes the backbone every time" in capsys.readouterr().out
    assert run("refused", f"{small} DATALOADER.TOKENS always", inputs=IMAGES) == 1
    assert "DATALOADER.TOKENS is always, but tokens of 42 images take 0.1 MB, more than" in capsys.readouterr().err


@pytest.mark.usefixtures("without_figures")
@pytest.mark.parametrize("kind", ["ram", "disk"])
def test_cached_images_give_the_run_without(run, tmp_path, kind):
    options = f"SOLVER.MAX_EPOCH 2 DATALOADER.CACHE_DIR {tmp_path}/cache"
    assert run("plain", options, inputs=IMAGES) == 0
    assert run("kept", f"{options} DATALOADER.NUM_WORKERS 2 DATALOADER.CACHE {kind}", inputs=IMAGES) == 0
    assert read_metrics(tmp_path / "plain") == read_metrics(tmp_path / "kept")
    assert (tmp_path / "cache").exists() == (kind == "disk")
