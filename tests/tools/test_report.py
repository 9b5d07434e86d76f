"""Whole calls of the command line, in this process, on folders with small runs."""

import re

import pytest
import report
from stand_ins import write_run

from REZSL.report import page

pytestmark = pytest.mark.long


@pytest.fixture
def runs(tmp_path, monkeypatch):
    """Two runs in ``runs``, beside which the command is given."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(page, "_imbalance", lambda view: [])  # its figures take the longest
    for seed, name in enumerate(("mse", "remse")):
        write_run(tmp_path / "runs" / name, seed)
    return tmp_path / "runs"


def test_one_run(runs, capsys):
    assert report.main(["runs/mse"]) == 0
    assert capsys.readouterr().out == "the page is runs/mse/report.html\n"
    content = (runs / "mse" / "report.html").read_text(encoding="utf-8")
    assert 'data-run="mse"' in content and content.rstrip().endswith("</html>")
    first = content
    assert report.main(["runs/mse"]) == 0
    assert (runs / "mse" / "report.html").read_text(encoding="utf-8") == first  # written anew, of the run alone


def test_several_runs(runs, capsys):
    assert report.main(["runs/mse", "runs/remse", "--output", "pages/both.html"]) == 0
    content = (runs.parent / "pages" / "both.html").read_text(encoding="utf-8")
    assert 'data-run="mse"' in content and 'data-run="remse"' in content
    assert not (runs / "mse" / "report.html").exists()


ERRORS = {
    "no run": (["runs"], "error: runs is no finished run: it has no results.json"),
    "twice": (["runs/mse", "runs/mse/"], "error: runs/mse is given twice"),
    "no page": (
        ["runs/mse", "--output", "runs/mse/results.json"],
        "error: --output is runs/mse/results.json, expected a",
    ),
    "a folder": (["runs/mse", "--output", "folder.html"], "error: "),
    "damaged": (["runs/mse"], "error: runs/mse/predictions.npz holds no predictions: "),
}


@pytest.mark.parametrize(("argv", "message"), ERRORS.values(), ids=ERRORS)
def test_errors_are_told_in_one_line(runs, capsys, argv, message):
    if message.endswith("predictions: "):
        (runs / "mse" / "predictions.npz").write_bytes(b"PK")
    (runs.parent / "folder.html").mkdir()
    before = (runs / "mse" / "results.json").read_bytes()
    assert report.main(argv) == 1
    errors = capsys.readouterr().err.splitlines()
    assert len(errors) == 1 and errors[0].startswith(message)
    assert (runs / "mse" / "results.json").read_bytes() == before
    assert not list(runs.rglob("*.html"))


def test_broken_runs_are_told_and_the_others_shown(runs, capsys):
    (runs / "mse" / "predictions.npz").write_bytes(b"PK")
    write_run(runs / "other", 2)
    (runs / "other" / "metrics.jsonl").write_text('{"epoch": -1}')
    assert report.main(["runs/mse", "runs/remse", "runs/other", "--output", "page.html"]) == 1
    said = capsys.readouterr()
    first, second = said.err.splitlines()
    assert first.startswith("error: runs/mse/predictions.npz holds no predictions: ")
    assert second == (
        "error: runs/other/metrics.jsonl, line 1 is no epoch of a training: "
        "epoch is -1, expected a whole number in 0..1e+07"
    )
    assert said.out == "the page is page.html\n"
    assert re.findall('data-run="([^"]*)"', (runs.parent / "page.html").read_text(encoding="utf-8")) == ["remse"]


def test_what_argparse_refuses():
    with pytest.raises(SystemExit, match="2"):
        report.main([])
