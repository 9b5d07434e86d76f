"""Run folders are never overwritten."""

import json

import pytest

from REZSL.engine import RunFolder, next_free
from REZSL.utils.errors import RunError

MADE = ["metrics.jsonl", "last.pth", "best.pth", "predictions.npz", "results.json"]


@pytest.mark.parametrize("made", MADE)
def test_a_folder_with_a_run_is_refused_and_left_alone(tmp_path, made):
    folder = tmp_path / "run"
    RunFolder(folder).claim("A: 1\n")
    (folder / made).write_text("precious")
    with pytest.raises(RunError, match=r"OUTPUT_DIR .*run already holds a run.*set OUTPUT_DIR .*run-2,"):
        RunFolder(folder).claim("A: 2\n")
    assert {file.name: file.read_text() for file in folder.iterdir()} == {"config.yaml": "A: 1\n", made: "precious"}


def test_the_named_folder_is_free(tmp_path):
    for name in ("run", "run-2", "run-3"):
        (tmp_path / name).mkdir()
    assert next_free(tmp_path / "run") == tmp_path / "run-4"
    (tmp_path / "run" / "last.pth").touch()
    with pytest.raises(RunError, match=r"set OUTPUT_DIR .*run-4,"):
        RunFolder(tmp_path / "run").claim("")


def test_the_folder_of_a_failed_start_is_used_again(tmp_path):
    RunFolder(tmp_path / "run").claim("A: 1\n")
    (tmp_path / "run" / "log.txt").write_text("error: no data")
    RunFolder(tmp_path / "run").claim("A: 2\n")
    assert (tmp_path / "run" / "config.yaml").read_text() == "A: 2\n"
    assert (tmp_path / "run" / "log.txt").read_text() == "error: no data"


def test_own_names_of_log_and_model(tmp_path):
    folder = RunFolder(tmp_path, "mine.log", "mine.pth")
    assert (folder.log, folder.best) == (tmp_path / "mine.log", tmp_path / "mine.pth")
    folder.best.touch()
    assert folder.holds_a_run()


def test_a_folder_that_cannot_be_made(tmp_path):
    (tmp_path / "file").touch()
    for path in (tmp_path / "file", tmp_path / "file" / "run"):
        with pytest.raises(RunError, match=f"OUTPUT_DIR {path} cannot be written: "):
            RunFolder(path).claim("")


def test_the_current_folder_can_hold_a_run(tmp_path, monkeypatch):
    """``.`` has no name to number."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "last.pth").touch()
    with pytest.raises(RunError, match="already holds a run"):
        RunFolder(".").claim("")


def test_metrics_are_lines_of_json(tmp_path):
    folder = RunFolder(tmp_path)
    lines = [{"epoch": 1, "loss": 0.1}, {"epoch": 2, "gzsl": {"fixed": {"H": 0.25}}}]
    for n, line in enumerate(lines, 1):
        folder.add_metrics(line)
        assert [json.loads(text) for text in folder.metrics.read_text().splitlines()] == lines[:n] == folder.history
