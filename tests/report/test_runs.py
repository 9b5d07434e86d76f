"""Run folders as they are read, their names, and their configurations side by side."""

import json
import re

import pytest
import yaml
from stand_ins import write_run

from REZSL.report import read_choice, read_runs
from REZSL.report.runs import config_rows, quantities, run_names
from REZSL.utils.errors import DataError


@pytest.mark.parametrize(
    ("folders", "names"),
    [
        (["runs/a"], ["a"]),
        (["runs/a/", "runs/b"], ["a", "b"]),
        (["x/a/seed_1", "x/b/seed_1", "x/b/seed_2"], ["a/seed_1", "b/seed_1", "b/seed_2"]),
        (["/a", "/b/a"], ["//a", "b/a"]),
    ],
)
def test_names_are_the_shortest_ends_that_differ(folders, names):
    assert run_names(folders) == names


def test_a_folder_given_twice_is_told():
    with pytest.raises(DataError, match="runs/a/ is given twice"):
        run_names(["runs/a/", "runs/b", "runs/../runs/a"])


def test_only_results_are_needed(tmp_path):
    results = write_run(tmp_path / "run", intervals=None)
    for name in ("predictions.npz", "metrics.jsonl", "config.yaml"):
        (tmp_path / "run" / name).unlink()
    (run,) = read_runs([tmp_path / "run"])
    assert vars(run) == {
        "name": "run", "results": results, "intervals": {}, "history": [], "config": None, "predictions": None,
    }  # fmt: skip


DAMAGE = {
    "no results": ("results.json", None, "run is no finished run: it has no results.json"),
    "results": ("results.json", "[]", "results.json holds no results"),
    "predictions": ("predictions.npz", "PK", "predictions.npz holds no predictions"),
    "history": ("metrics.jsonl", '{"epoch": 1}\n{', "metrics.jsonl, line 2 is no epoch of a training"),
    "epoch": ("metrics.jsonl", '{"loss": 1}', "metrics.jsonl, line 1 is no epoch of a training: epoch is missing"),
    "list": ("metrics.jsonl", "[1]", "metrics.jsonl, line 1 is no epoch of a training"),
    "loss": ("metrics.jsonl", '{"epoch": 1, "loss": "much"}', "metrics.jsonl, line 1 is no epoch of a training"),
    "rows": ("metrics.jsonl", '{"epoch": 1, "gzsl": {"oracle": 3}}', "metrics.jsonl, line 1 is no epoch"),
    "configuration": ("config.yaml", "- 1", "config.yaml holds no configuration"),
    "yaml": ("config.yaml", "a: b: c", "config.yaml, line 1: not valid YAML"),
    "objects": ("config.yaml", "a: !!python/name:os.system", "config.yaml, line 1: not valid YAML"),
}


@pytest.mark.parametrize(("name", "content", "message"), DAMAGE.values(), ids=DAMAGE)
def test_damaged_files_are_named(tmp_path, name, content, message):
    write_run(tmp_path / "run")
    (tmp_path / "run" / name).unlink()
    if content is not None:
        (tmp_path / "run" / name).write_text(content)
    with pytest.raises(DataError, match=message):
        read_runs([tmp_path / "run"])


@pytest.mark.parametrize(
    ("intervals", "message"),
    [
        ([1], "intervals is a list of 1, expected a mapping"),
        ({"T1": 3}, "intervals.T1 is 3, expected a list of two, each a number in 0..1"),
        ({"T1": [0.1]}, "intervals.T1 is a list of 1, expected a list of two"),
        ({"T1": ["low", "high"]}, "intervals.T1.0 is 'low', expected a number in 0..1"),
    ],
)
def test_damaged_intervals_are_told(tmp_path, intervals, message):
    write_run(tmp_path, intervals=intervals)
    with pytest.raises(DataError, match=re.escape(f"results.json holds no results: {message}")):
        read_runs([tmp_path])


def test_quantities_of_an_epoch():
    rows = {"gamma=0": {"H": 0.1}, "val": {"H": 0.2}, "oracle": {"H": 0.3}}
    line = {"epoch": 3, "lr": 0.1, "loss": 2, "ce": 1.5, "T1": 0.5, "AUSUC": 0.25, "gzsl": rows}
    line["gradient_share"] = {"ce": 0.75}
    assert quantities(line) == {
        "loss": 2, "loss term ce": 1.5, "T1 (%)": 50, "AUSUC (%)": 25, "H of row val (%)": 20,
        "H of row oracle (%)": 30, "gradient share of ce (%)": 75,
    }  # fmt: skip
    assert quantities({"epoch": 1}) == {}


def test_configurations_side_by_side(tmp_path):
    folders = [tmp_path / name for name in "abc"]
    for folder in folders:
        write_run(folder)
    (folders[0] / "config.yaml").write_text(yaml.safe_dump({"A": {"B": 1, "C": "x"}, "D": [0, 1], "E": 2}))
    (folders[1] / "config.yaml").write_text(yaml.safe_dump({"A": {"B": 1, "C": "y"}, "D": [0], "F": ""}))
    (folders[2] / "config.yaml").unlink()
    differing = [
        ("A.C", ['"x"', '"y"']),
        ("D", ["[0, 1]", "[0]"]),
        ("E", ["2", "-"]),
        ("F", ["-", '""']),
    ]
    assert config_rows(read_runs(folders)) == differing
    assert config_rows(read_runs(folders[:1])) == [("A.B", ["1"]), ("A.C", ['"x"']), ("D", ["[0, 1]"]), ("E", ["2"])]
    assert config_rows(read_runs(folders[2:])) == []


def test_intervals_are_read_by_name(tmp_path):
    results = write_run(tmp_path)
    (run,) = read_runs([tmp_path])
    assert run.intervals == {name: tuple(ends) for name, ends in results["intervals"].items()}
    assert json.loads((tmp_path / "results.json").read_text()) == results


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"epoch": 0}, "epoch is 0, expected a whole number in 1..1e+07"),
        ({"gamma": float("inf")}, "gamma is inf, expected a number"),
        ({"H": "high"}, "H is 'high', expected a number in 0..1"),
        (None, "epoch is missing"),
    ],
)
def test_a_choice_is_what_a_validation_writes(tmp_path, changed, message):
    choice = {"epoch": 3, "gamma": 0.5, "AUSUC": 0.25, "H": 0.5}
    path = tmp_path / "choice.json"
    path.write_text(json.dumps(choice))
    assert read_choice(path) == choice
    path.write_text(json.dumps({} if changed is None else choice | changed))
    with pytest.raises(DataError, match=re.escape(f"choice.json holds no choice of a validation: {message}")):
        read_choice(path)
