"""Tables of runs, from their results.json."""

import csv
import importlib
import io
import json
import sys
from statistics import mean, stdev

import pytest
import summarize
from stand_ins import REPOSITORY

pytestmark = pytest.mark.long


@pytest.fixture
def write(tmp_path):
    """``write("a", T1=0.5, seed=1)`` writes a run's results; returns its folder."""

    def write(name, t1=0.5, dataset="CUB", rows=("gamma=0", "oracle"), **more):
        folder = tmp_path / name
        folder.mkdir(parents=True, exist_ok=True)
        row = {"gamma": 1.0, "U": 0.25, "S": 0.75, "H": 0.375}
        content = {"dataset": dataset, "model": "BasicNet", "T1": t1, "AUSUC": 0.125}
        content |= {"gzsl": dict.fromkeys(rows, row), **more}
        (folder / "results.json").write_text(json.dumps(content))
        return str(folder)

    return write


def cells(line):
    return [cell.strip() for cell in line.split("|")[1:-1]]


def test_runs_seeds_and_published_figures_side_by_side(write, tmp_path, capsys):
    one = write("one", 0.611)
    values = [0.5, 0.6, 0.85]
    for seed, t1 in enumerate(values):
        write(f"many/seed_{seed}", t1)
    assert summarize.main([one, str(tmp_path / "many"), "--output", str(tmp_path / "table")]) == 0
    header, _, *lines = map(cells, (tmp_path / "table.md").read_text().splitlines())
    assert header == ["run", "data", "row", "seeds", "T1", "U", "S", "H", "AUSUC"]
    oracle = "oracle (gamma picked on test labels)"
    spread = f"{100 * mean(values):.1f} ± {100 * stdev(values):.1f}"
    still = ["25.0 ± 0.0", "75.0 ± 0.0", "37.5 ± 0.0", "12.5 ± 0.0"]
    assert lines == [
        [one, "CUB", "gamma=0", "1", "61.1", "25.0", "75.0", "37.5", "12.5"],
        [one, "CUB", oracle, "1", "61.1", "25.0", "75.0", "37.5", "12.5"],
        [str(tmp_path / "many"), "CUB", "gamma=0", "3", spread, *still],
        [str(tmp_path / "many"), "CUB", oracle, "3", spread, *still],
        ["ReZSL (Ye et al. 2023)", "CUB", "oracle protocol, published", "-", "80.9", "72.8", "74.8", "73.8", "-"],
    ]
    assert (tmp_path / "table.txt").read_text().rstrip("\n") in capsys.readouterr().out
    assert len((tmp_path / "table.tex").read_text().splitlines()) == len(lines) + 6

    tidy = list(csv.DictReader((tmp_path / "table.csv").open(encoding="utf-8")))
    (t1,) = [r for r in tidy if r["run"].endswith("many") and (r["row"], r["figure"]) == ("oracle", "T1")]
    assert [float(t1["mean"]), float(t1["std"])] == pytest.approx([100 * mean(values), 100 * stdev(values)])
    half = 4.302653 * 100 * stdev(values) / 3**0.5
    assert float(t1["high"]) - float(t1["mean"]) == pytest.approx(half, rel=1e-6)
    assert t1["seeds"] == "3"
    published = {r["figure"]: r["mean"] for r in tidy if r["row"] == "oracle protocol, published"}
    assert published == {"T1": "80.9", "U": "72.8", "S": "74.8", "H": "73.8"}


def test_rows_can_be_chosen_and_selection_by_test_labels_shows(write, tmp_path):
    run = write("run", rows=("gamma=0", "val", "oracle"), dataset="OWN", select_uses_test_labels=True)
    assert summarize.main([run, "--rows", "val", "oracle", "--output", str(tmp_path / "t")]) == 0
    _, _, *lines = map(cells, (tmp_path / "t.md").read_text().splitlines())
    assert [line[2] for line in lines] == [
        "val (epoch picked on test labels)",
        "oracle (gamma and epoch picked on test labels)",
    ]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["missing"], "missing is no finished run: it has no results.json"),
        (["run", "--rows", "val"], "no run has a row val; they have gamma=0, oracle"),
        (["mixed"], "mixed: its runs are not seeds of one experiment"),
    ],
)
def test_what_cannot_be_summarised_is_told(write, tmp_path, monkeypatch, capsys, arguments, message):
    monkeypatch.chdir(tmp_path)
    write("run")
    write("mixed/seed_1")
    write("mixed/seed_2", dataset="SUN")
    assert summarize.main(arguments) == 1
    assert capsys.readouterr().err.strip() == f"error: {message}"


def test_broken_runs_are_told_and_the_others_shown(write, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name, more in (("low", {"t1": -5}), ("nan", {"t1": float("nan")}), ("good", {}), ("nobody", {"dataset": None})):
        write(name, **more)
    (tmp_path / "nobody" / "results.json").write_text('{"T1": 1, "AUSUC": 0, "gzsl": {}, "model": "A"}')
    assert summarize.main(["low", "nan", "good", "nobody"]) == 1
    said = capsys.readouterr()
    assert said.err.splitlines() == [
        "error: low/results.json holds no results: T1 is -5, expected a number in 0..1",
        "error: nan/results.json holds no results: T1 is nan, expected a number in 0..1",
        "error: nobody/results.json holds no results to compare: dataset is missing",
    ]
    assert [line.split()[0] for line in said.out.splitlines()[1:]] == ["good", "good", "ReZSL"]


def test_maxima_over_epochs_are_no_row_of_the_oracle(write, tmp_path):
    maxima = {"T1": {"value": 0.75, "epoch": 3}, "AUSUC": {"value": 0.5, "epoch": 9}}
    seeds = [write(f"many/seed_{n}", maxima_over_epochs=maxima, select_uses_test_labels=True) for n in (1, 2)]
    stem = str(tmp_path / "t")
    assert summarize.main([str(tmp_path / "many"), "--output", stem]) == 0
    line = next(cells(line) for line in (tmp_path / "t.md").read_text().splitlines() if "each of its own" in line)
    name = "maxima over epochs, each of its own, picked on test labels"
    assert line[2:] == [name, "2", "75.0 ± 0.0", "-", "-", "-", "50.0 ± 0.0"]
    tidy = [row for row in csv.DictReader((tmp_path / "t.csv").open(encoding="utf-8")) if row["row"] == name]
    assert {row["figure"]: float(row["mean"]) for row in tidy} == {"T1": 75, "AUSUC": 50}
    for rows, shown in (("val", False), ("oracle", True)):
        write("val", rows=("val",))
        assert summarize.main([*seeds, str(tmp_path / "val"), "--rows", rows, "--output", stem]) == 0
        assert ("each of its own" in (tmp_path / "t.md").read_text()) == shown


def test_a_narrow_console_shows_the_table(write, tmp_path, monkeypatch):
    for seed in (1, 2):
        write(f"größe/seed_{seed}", seed / 4)
    console = io.TextIOWrapper(io.BytesIO(), encoding="ascii")
    monkeypatch.setattr(sys, "stdout", console)
    assert summarize.main([str(tmp_path / "größe")]) == 0
    console.flush()
    said = console.buffer.getvalue().decode("ascii")
    assert r"gr\xf6\xdfe" in said and r"37.5 \xb1 17.7" in said


@pytest.mark.parametrize("name", [path.stem for path in sorted((REPOSITORY / "tools").glob("*.py"))])
def test_the_help_of_every_tool_has_letters_for_any_console(name, capsys):
    with pytest.raises(SystemExit, match="0"):
        importlib.import_module(name).main(["--help"])
    assert capsys.readouterr().out.isascii()
