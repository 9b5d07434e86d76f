"""Whole calls of the command line, in this process, on folders with small predictions."""

import csv
import importlib.util
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from REZSL.evaluation import Predictions, error_table, summarise

pytestmark = pytest.mark.long

SOURCE = Path(__file__).parents[2] / "tools" / "analyze.py"
TABLES = {f"{name}.{suffix}" for name in ("summary",) for suffix in ("txt", "csv", "md")}
MEASURE = "measure of squared error"
DETAILS = {"attributes.csv", "classes.csv", "errors.csv", "figures"}


@pytest.fixture
def analyze():
    spec = importlib.util.spec_from_file_location("rezsl_tools_analyze", SOURCE)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def drawn(analyze, monkeypatch):
    """The arguments of ``draw_analysis``, which draws nothing."""
    calls = []
    monkeypatch.setattr(analyze, "draw_analysis", lambda *arguments: calls.append(arguments))
    return calls


def make(seed=0, noise=0.3):
    rng = np.random.default_rng(seed)
    signatures = np.random.default_rng(99).random((7, 5))
    labels = np.arange(35) % 7
    attributes = signatures[labels] + rng.normal(0, noise, (35, 5))
    return Predictions(attributes, labels, signatures, 4, 20.0, tuple("abcdefg"), np.arange(35))


@pytest.fixture
def runs(tmp_path):
    """Two runs of one method and two of another, as paths."""
    paths = {}
    for name, seed, noise in (("mse_1", 1, 0.4), ("mse_2", 2, 0.4), ("remse_1", 1, 0.2), ("remse_2", 2, 0.2)):
        folder = tmp_path / name
        make(seed, noise).save(folder / "predictions.npz")
        (folder / "results.json").write_text(json.dumps({"seed": seed, "T1": 0.5}))
        paths[name] = str(folder)
    return paths


def read(path):
    with open(path, encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def test_one_run(analyze, runs, tmp_path, capsys):
    output = tmp_path / "output"
    assert analyze.main([runs["mse_1"], "--output", str(output)]) == 0
    assert {path.name for path in output.iterdir()} == TABLES | DETAILS
    assert len(list((output / "figures").iterdir())) == 8
    said = capsys.readouterr().out
    assert (output / "summary.txt").read_text() in said + "\n"
    assert str(output) in said
    expected = summarise(error_table(make(1, 0.4)))
    for row in read(output / "summary.csv"):
        assert float(row[runs["mse_1"]]) == pytest.approx(getattr(expected[row["group"]], row[MEASURE]))
    assert "the squared error of each attribute, normalised" in said
    assert "squared_error_seen" in read(output / "attributes.csv")[0]
    assert "squared_error" in read(output / "classes.csv")[0]


def test_absolute_errors_of_several_runs(analyze, runs, tmp_path, drawn):
    output = tmp_path / "output"
    assert analyze.main([runs["mse_1"], runs["mse_2"], "--error", "absolute", "--output", str(output)]) == 0
    expected = [summarise(error_table(make(seed, 0.4), "absolute"))["unseen"].error_mean for seed in (1, 2)]
    rows = {(row["group"], row["measure of absolute error"]): row for row in read(output / "summary.csv")}
    assert float(rows["unseen", "error_mean"]["mean"]) == pytest.approx(np.mean(expected))
    assert {table.kind for table in drawn[0][1]} == {"absolute"}
    assert len(drawn[0][1]) == 2 and drawn[0][2] == []
    assert "absolute_error_seen" in read(output / "attributes.csv")[0]


@pytest.mark.parametrize("pairs", [1, 2])
def test_comparison(analyze, runs, tmp_path, capsys, drawn, pairs):
    output = tmp_path / "output"
    ours, theirs = ([runs[f"{method}_{n}"] for n in range(1, pairs + 1)] for method in ("remse", "mse"))
    options = ["--resamples", "20", "--labels", "ReMSE", "MSE", "--output", str(output)]
    assert analyze.main([*ours, "--against", *theirs, *options]) == 0
    tables = {f"{name}.{suffix}" for name in ("summary_against", "comparison") for suffix in ("txt", "csv", "md")}
    assert {path.name for path in output.iterdir()} == TABLES | tables | DETAILS - {"figures"} | {"errors_against.csv"}
    row = read(output / "comparison.csv")[0]
    values = [
        np.mean([summarise(error_table(make(n, noise)))["all"].error_mean for n in range(1, pairs + 1)])
        for noise in (0.2, 0.4)
    ]
    assert (row["group"], row[MEASURE]) == ("all", "error_mean")
    assert float(row["run - against"]) == pytest.approx(values[0] - values[1])
    assert float(row["low"]) <= float(row["run - against"]) <= float(row["high"])
    assert row["interval"] == ("bootstrap over images" if pairs == 1 else "t over pairs")
    assert drawn[0][-1] == ("ReMSE", "MSE") and len(drawn[0][2]) == pairs
    said = capsys.readouterr().out
    assert (output / "comparison.txt").read_text() in said
    assert f"95 % interval of the mean of run - against: {row['interval']}" in said
    assert "against_squared_error_seen" in read(output / "attributes.csv")[0]


def test_attribute_names(analyze, runs, tmp_path, drawn):
    (tmp_path / "names.txt").write_text("".join(f"{k + 1} has::{k}\n" for k in range(5)))
    options = ["--attribute-names", str(tmp_path / "names.txt"), "--output", str(tmp_path / "output")]
    assert analyze.main([runs["mse_1"], *options]) == 0
    assert [row["name"] for row in read(tmp_path / "output" / "attributes.csv")] == [f"has::{k}" for k in range(5)]
    assert list(read(tmp_path / "output" / "errors.csv")[0]) == [
        "class (squared error)",
        *(f"has::{k}" for k in range(5)),
    ]
    assert drawn[0][3] == tuple(f"has::{k}" for k in range(5))


def test_seeds_are_compared_only_where_both_runs_say_theirs(analyze, runs, tmp_path, drawn):
    Path(runs["mse_1"], "results.json").unlink()
    Path(runs["remse_2"], "results.json").write_text("{}")
    for pair in (("mse_1", "remse_2"), ("remse_2", "mse_1"), ("remse_2", "mse_2")):
        run, other = (runs[name] for name in pair)
        assert analyze.main([run, "--against", other, "--resamples", "2", "--output", str(tmp_path / "output")]) == 0


def test_a_broken_run_costs_its_pair_alone(analyze, runs, tmp_path, capsys, drawn):
    Path(runs["remse_1"], "predictions.npz").write_bytes(b"PK")
    output = tmp_path / "output"
    columns = [[runs[f"{method}_{n}"] for n in (1, 2)] for method in ("remse", "mse")]
    assert analyze.main([*columns[0], "--against", *columns[1], "--output", str(output), "--resamples", "5"]) == 1
    assert capsys.readouterr().err.startswith(f"error: {runs['remse_1']}/predictions.npz holds no predictions: ")
    assert list(read(output / "summary.csv")[0])[2:] == [runs["remse_2"]]
    assert list(read(output / "summary_against.csv")[0])[2:] == [runs["mse_2"]]
    assert {row["interval"] for row in read(output / "comparison.csv")} == {"bootstrap over images"}
    assert analyze.main([runs["remse_1"], "--against", runs["mse_1"], "--output", str(tmp_path / "none")]) == 1
    assert not (tmp_path / "none").exists()


def not_finite(path):
    attributes = make().attributes
    attributes[3, 2] = np.nan
    replace(make(), attributes=attributes).save(path / "mse_1" / "predictions.npz")


ERRORS = {
    "no run": (["missing"], None, "missing is no run: it has no predictions.npz"),
    "damaged": (["mse_1"], lambda p: (p / "mse_1/predictions.npz").write_bytes(b"PK"), "predictions.npz holds no"),
    "not finite": (
        ["mse_1"],
        not_finite,
        "predictions.npz holds no predictions: the predicted attributes of 1 of 35 rows",
    ),
    "numbers": (["mse_1", "mse_2", "--against", "remse_1"], None, "2 runs --against 1: they are paired by order"),
    "seeds": (["mse_1", "--against", "remse_2"], None, "mse_1 has seed 1 and"),
    "results": (
        ["mse_1", "--against", "remse_1"],
        lambda p: (p / "mse_1/results.json").write_text("[1]"),
        "results.json holds no results",
    ),
    "no JSON": (
        ["mse_1", "--against", "remse_1"],
        lambda p: (p / "mse_1/results.json").write_bytes(b"\xff{"),
        "results.json holds no results",
    ),
    "other data": (
        ["mse_1", "mse_2"],
        lambda p: replace(make(), class_names=tuple("gfedcba")).save(p / "mse_2/predictions.npz"),
        "mse_1: their classes have other names",
    ),
    "other images": (
        ["mse_1", "--against", "remse_1"],
        lambda p: replace(make(), images=np.arange(35) + 1).save(p / "mse_1/predictions.npz"),
        "pair 1 were not tested on the same data: other images",
    ),
    "resamples": (["mse_1", "--resamples", "0"], None, "--resamples is 0, expected 1 to 1,000,000"),
    "too many": (["mse_1", "--resamples", "10000000"], None, "--resamples is 10000000, expected 1 to 1,000,000"),
    "names": (["mse_1", "--attribute-names", "mse_1/results.json"], None, "results.json names 1 attributes"),
    "no names": (["mse_1", "--attribute-names", "names.txt"], None, "No such file or directory: 'names.txt'"),
}


@pytest.mark.parametrize(("argv", "spoil", "message"), ERRORS.values(), ids=ERRORS)
def test_errors_are_told_in_one_line(analyze, runs, tmp_path, capsys, monkeypatch, drawn, argv, spoil, message):
    if spoil:
        spoil(tmp_path)
    monkeypatch.chdir(tmp_path)
    assert analyze.main([*argv, "--output", "output"]) == 1
    errors = capsys.readouterr().err.splitlines()
    assert len(errors) == 1 and errors[0].startswith("error: ") and message in errors[0]
    assert not drawn


def test_what_argparse_refuses(analyze, capsys):
    for argv in ([], ["run"], ["run", "--output", "x", "--error", "cubed"]):
        with pytest.raises(SystemExit, match="2"):
            analyze.main(argv)
