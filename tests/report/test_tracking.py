"""Metrics to trackers: TensorBoard's own files, and what W&B and MLflow are called with."""

import contextlib
import sys
from types import SimpleNamespace

import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from REZSL.report import tracking
from REZSL.utils.errors import ConfigError

LINES = [
    {
        "epoch": 1,
        "loss": 2.0,
        "gradient_share": {"ce": 0.9},
        "gzsl": {"gamma=0": {"H": 0.25, "uses_test_labels": True}},
    },
    {"epoch": 2, "loss": 1.0, "gradient_share": {"ce": 0.8}, "gzsl": {"gamma=0": {"H": 0.5, "uses_test_labels": True}}},
]
FIGURES = [
    {"loss": 2.0, "gradient_share/ce": 0.9, "gzsl/gamma_0/H": 0.25},
    {"loss": 1.0, "gradient_share/ce": 0.8, "gzsl/gamma_0/H": 0.5},
]
CONFIG = {"SEED": 1, "SOLVER.BASE_LR": 0.5}


def log(kind, folder, lines=LINES):
    with tracking(kind, folder, "the run", CONFIG) as track:
        for line in lines:
            track(line)


def test_tensorboard_reads_what_was_written(tmp_path):
    log("tensorboard", tmp_path)
    events = EventAccumulator(str(tmp_path / "tensorboard")).Reload()
    assert set(events.Tags()["scalars"]) == set(FIGURES[0])
    for name in FIGURES[0]:
        assert [(e.step, e.value) for e in events.Scalars(name)] == [
            (n + 1, pytest.approx(figures[name])) for n, figures in enumerate(FIGURES)
        ]


class Wandb:
    def __init__(self):
        self.runs, self.logged = [], []

    def init(self, **options):
        self.runs.append(options)
        return SimpleNamespace(
            id=options["id"] or "new",
            log=lambda figures, step: self.logged.append((step, figures)),
            finish=lambda: None,
        )


def test_wandb_gets_every_line_and_finds_a_run_again(tmp_path, monkeypatch):
    wandb = Wandb()
    monkeypatch.setitem(sys.modules, "wandb", wandb)
    log("wandb", tmp_path, LINES[:1])
    log("wandb", tmp_path, LINES[1:])
    assert wandb.logged == [(1, FIGURES[0]), (2, FIGURES[1])]
    assert [run["id"] for run in wandb.runs] == [None, "new"]
    assert wandb.runs[0]["config"] == CONFIG and wandb.runs[0]["name"] == "the run"


class MLflow:
    def __init__(self):
        self.runs, self.logged, self.parameters = [], [], []

    @contextlib.contextmanager
    def start_run(self, run_id, run_name):
        self.runs.append((run_id, run_name))
        yield SimpleNamespace(info=SimpleNamespace(run_id=run_id or "new"))

    def log_params(self, parameters):
        self.parameters.append(parameters)

    def log_metrics(self, figures, step):
        self.logged.append((step, figures))


def test_mlflow_gets_every_line_and_finds_a_run_again(tmp_path, monkeypatch):
    mlflow = MLflow()
    monkeypatch.setitem(sys.modules, "mlflow", mlflow)
    log("mlflow", tmp_path, LINES[:1])
    log("mlflow", tmp_path, LINES[1:])
    assert mlflow.logged == [(1, FIGURES[0]), (2, FIGURES[1])]
    assert mlflow.runs == [(None, "the run"), ("new", None)]
    assert mlflow.parameters == [{"SEED": "1", "SOLVER.BASE_LR": "0.5"}]


def test_no_tracker_writes_nothing(tmp_path):
    log("none", tmp_path)
    assert not list(tmp_path.iterdir())


def test_a_tracker_that_cannot_start_is_told_in_one_line(tmp_path, monkeypatch):
    def init(**options):
        raise RuntimeError("no API key\nlog in first")

    monkeypatch.setitem(sys.modules, "wandb", SimpleNamespace(init=init))
    with pytest.raises(ConfigError, match=r"^TRACKER wandb cannot start: no API key$"):
        log("wandb", tmp_path)


def test_texts_reach_a_tracker_printable(tmp_path, monkeypatch):
    mlflow, wandb = MLflow(), Wandb()
    monkeypatch.setitem(sys.modules, "mlflow", mlflow)
    monkeypatch.setitem(sys.modules, "wandb", wandb)
    for kind in ("tensorboard", "wandb", "mlflow"):
        with tracking(kind, tmp_path / kind, "run\n\x1b\udcff", {"NAME": "a\n\udcff", "LONG": "x" * 10**6}):
            pass
    (told,) = mlflow.parameters
    assert mlflow.runs == [(None, r"run\n\x1b\udcff")] and told["NAME"] == r"a\n\udcff" and len(told["LONG"]) == 500
    (run,) = wandb.runs
    assert run["name"] == r"run\n\x1b\udcff" and run["config"]["NAME"] == r"a\n\udcff"
    assert len(run["config"]["LONG"]) == 800
