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
