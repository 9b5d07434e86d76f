"""A standard split, whose test has no image of a seen class: T1 alone, from the training to the report."""

import json

import analyze
import numpy as np
import pytest
import report
import summarize
import train
import yaml

from REZSL.evaluation import Predictions, evaluate, evaluate_gzsl
from REZSL.report import read_results

pytestmark = pytest.mark.long

BASE = {
    "MODEL": {"DEVICE": "cpu", "BACKBONE": {"TYPE": "features"}},
    "DATASETS": {"NAME": "TINY", "WAYS": 2, "SHOTS": 2, "INPUT": "features"},
    "SOLVER": {"MAX_EPOCH": 2, "BASE_LR": 0.01},
}


@pytest.fixture
def run(tiny, tmp_path, capsys):
    """``run(KEY, VALUE, ...)`` trains into ``tmp_path/run`` and returns what it printed."""
    del tiny.att_splits["test_seen_loc"]
    tiny.write()
    experiment = tmp_path / "experiment.yaml"
    experiment.write_text(yaml.safe_dump(BASE))

    def run(*words):
        where = ["OUTPUT_DIR", str(tmp_path / "run"), "DATASETS.ROOT", str(tiny.root)]
        assert train.main(["--config-file", str(experiment), *where, *words]) == 0
        return capsys.readouterr().out

    return run


def unseen_accuracy(predictions):
    """T1 by a loop: mean over unseen classes of the share of images whose best unseen class is theirs."""
    scores = predictions.scores()[:, predictions.num_seen :]
    shares = []
    for c in range(predictions.num_seen, len(predictions.signatures)):
        images = np.flatnonzero(predictions.labels == c)
        shares.append(np.mean([scores[i].argmax() + predictions.num_seen == c for i in images]))
    return np.mean(shares)


def test_from_the_training_to_the_report(run, tmp_path, capsys):
    printed, folder = run(), tmp_path / "run"
    assert "plain zero-shot learning, T1 alone is evaluated" in printed
    assert "no test image is of a seen class: there is no GZSL" in printed and "AUSUC" not in printed
    results, predictions = read_results(folder), Predictions.load(folder / "predictions.npz")
    assert len(predictions.labels) == 14 and predictions.num_seen == 4
    assert results["T1"] == pytest.approx(unseen_accuracy(predictions))
    assert results["AUSUC"] is None and results["gzsl"] == {} and list(results["intervals"]) == ["T1"]
    assert sorted(path.name for path in (folder / "figures").iterdir()) == ["training.png", "training.svg"]

    assert summarize.main([str(folder)]) == 0
    lines = capsys.readouterr().out.splitlines()
    line = next(line for line in lines if line.startswith(str(folder)))
    assert line.split()[2:] == ["zsl", "1", f"{100 * results['T1']:.1f}", "-", "-", "-", "-"]

    assert report.main([str(folder), "--output", str(tmp_path / "page.html")]) == 0
    page = (tmp_path / "page.html").read_text()
    assert "No test image is of a seen class: there is no curve." in page
    assert f'data-figure="T1">{100 * results["T1"]:.1f}</data>' in page and 'data-figure="AUSUC"' not in page

    assert analyze.main([str(folder), "--output", str(tmp_path / "analysis"), "--resamples", "5"]) == 0


@pytest.mark.parametrize("metric", ["H", "AUSUC"])
def test_validation_chooses_the_epoch_by_t1(run, tmp_path, metric):
    printed = run("TEST.PROTOCOL", "val", "TEST.VAL_METRIC", metric)
    assert "validation chose epoch" in printed and "and gamma" not in printed.split("validation chose epoch")[1]
    history = [json.loads(line) for line in (tmp_path / "run" / "val" / "metrics.jsonl").read_text().splitlines()]
    best = max(history, key=lambda line: line["T1"])["epoch"]
    choice = json.loads((tmp_path / "run" / "results.json").read_text())["validation"]
    assert choice["epoch"] == best and choice["gamma"] is choice["H"] is None


def test_the_epoch_of_select_oracle_is_that_of_the_best_t1(run, tmp_path):
    run("TEST.SELECT", "oracle")
    history = [json.loads(line) for line in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()]
    results = read_results(tmp_path / "run")
    assert results["T1"] == max(line["T1"] for line in history) and results["select_uses_test_labels"]


def test_evaluate_agrees_with_evaluate_gzsl_where_no_image_is_of_a_seen_class():
    rng = np.random.default_rng(0)
    labels = rng.integers(3, 6, 40)
    signatures = rng.random((6, 4))
    predictions = Predictions(rng.random((40, 4)), labels, signatures, 3, 20.0, tuple("abcdef"), np.arange(40))
    results = evaluate(predictions, 0.7)
    expected = evaluate_gzsl(predictions.scores(), labels, np.arange(6) < 3)
    assert results.T1 == expected.T1 == pytest.approx(unseen_accuracy(predictions))
    assert results.curve is None and np.isnan(expected.AUSUC)
