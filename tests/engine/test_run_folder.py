"""Run folders have one owner at a time, and are never overwritten."""

import json
import os

import pytest

from REZSL.engine import RunFolder, next_free
from REZSL.engine.run_folder import InUse
from REZSL.utils.errors import RunError

MADE = ["metrics.jsonl", "last.pth", "last-1.pth", "last-17.pth", "best.pth", "predictions.npz", "results.json"]
MADE += ["figures/training.png", "val/choice.json", "val/metrics.jsonl", "val/last-1.pth", "val/figures/training.svg"]
OTHERS = ["log.txt", "config.yaml", "notes.txt", "last-backup.pth", "last-1 (copy).pth", "last-0.pth", "last-01.pth"]
OTHERS += [
    "last-1.pth.bak",
    "xlast-1.pth",
    "last-\u0661.pth",
    "last-.pth",
    "val/last-backup.pth",
    ".last.pth",
    "eval/results.json",
]


def write(folder, name, text="precious"):
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


def start(path, text="A: 1\n"):
    """A start without a training, as of a run whose data are missing."""
    folder = RunFolder(path)
    folder.claim()
    try:
        folder.check_fresh()
        folder.begin(text)
    finally:
        folder.release()


@pytest.mark.parametrize("made", MADE)
def test_a_folder_with_a_run_is_refused_and_left_alone(tmp_path, made):
    folder = tmp_path / "run"
    write(folder, made)
    assert RunFolder(folder).holds_a_run()
    with pytest.raises(RunError, match=r"OUTPUT_DIR .*run already holds a run.*set OUTPUT_DIR .*run-2,"):
        start(folder)
    assert [path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()] == [made]
    assert (folder / made).read_text() == "precious"


@pytest.mark.parametrize("other", OTHERS)
def test_what_no_run_reads_is_no_run(tmp_path, other):
    path = write(tmp_path / "run", other)
    assert not RunFolder(tmp_path / "run").holds_a_run()
    start(tmp_path / "run")
    assert path.read_text() == ("A: 1\n" if other == "config.yaml" else "precious")


def test_the_named_folder_is_free(tmp_path):
    for name in ("run", "run-2", "run-3"):
        (tmp_path / name).mkdir()
    assert next_free(tmp_path / "run") == tmp_path / "run-4"
    (tmp_path / "run" / "last.pth").touch()
    with pytest.raises(RunError, match=r"set OUTPUT_DIR .*run-4,"):
        start(tmp_path / "run")


def test_the_folder_of_a_failed_start_is_used_again(tmp_path):
    start(tmp_path / "run")
    write(tmp_path / "run", "log.txt", "error: no data")
    trackers = [write(tmp_path / "run", name, "4711") for name in ("tracker.txt", "val/tracker.txt")]
    start(tmp_path / "run", "A: 2\n")
    assert (tmp_path / "run" / "config.yaml").read_text() == "A: 2\n"
    assert (tmp_path / "run" / "log.txt").read_text() == "error: no data"
    assert not any(path.exists() for path in trackers)  # or the new run would go on with the old one's there


def test_own_names_of_log_and_model(tmp_path):
    folder = RunFolder(tmp_path, "mine.log", "mine.pth")
    assert (folder.log, folder.best) == (tmp_path / "mine.log", tmp_path / "mine.pth")
    folder.best.touch()
    assert folder.holds_a_run()


def test_a_folder_that_cannot_be_made(tmp_path):
    (tmp_path / "file").touch()
    for path in (tmp_path / "file", tmp_path / "file" / "run"):
        with pytest.raises(RunError, match=f"OUTPUT_DIR {path} cannot be written: "):
            RunFolder(path).claim()


@pytest.mark.skipif(os.name != "posix" or os.getuid() == 0, reason="permissions do not hold root")
def test_a_folder_that_cannot_be_written(tmp_path):
    tmp_path.chmod(0o500)
    with pytest.raises(RunError, match="cannot be written: Permission denied"):
        RunFolder(tmp_path).claim()


def test_the_current_folder_can_hold_a_run(tmp_path, monkeypatch):
    """``.`` has no name to number."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "last.pth").touch()
    with pytest.raises(RunError, match="already holds a run"):
        start(".")


def test_a_second_process_is_refused(tmp_path):
    folder = RunFolder(tmp_path / "run")
    folder.claim()
    message = rf"OUTPUT_DIR {tmp_path}/run is in use by process {os.getpid()} on .*: wait, or set OUTPUT_DIR .*run-2$"
    with pytest.raises(InUse, match=message):
        start(tmp_path / "run")
    folder.release()
    start(tmp_path / "run")
    assert [path.name for path in (tmp_path / "run").iterdir()] == ["config.yaml"]


def test_a_dead_owner_is_told(tmp_path, caplog, monkeypatch):
    monkeypatch.setattr("REZSL.utils.lock.SILENCE", 0.0)
    monkeypatch.setattr("logging.Logger.propagate", True, raising=False)
    write(tmp_path, ".lock", "{}")
    start(tmp_path)
    assert f"OUTPUT_DIR {tmp_path} was that of a process that left no name, which is dead: taken over" in caplog.text


HALF = [".last.abcd1234.pth", ".best.a_cd1234.pth", ".metrics.abcd1234.jsonl", ".results.abcd1234.json"]
HALF += [".predictions.abcd1234.npz", ".config.abcd1234.yaml", "..lock.abcd1234", ".tracker.abcd1234.txt"]
HALF += ["val/.last.abcd1234.pth", "val/.choice.abcd1234.json", "figures/.training.abcd1234.png"]
KEPT = [
    ".report.abcd1234.html",
    ".last.pth",
    ".last.abcd12345.pth",
    ".last.abcd1234.pt",
    "figures/.notes",
    "eval/.last.abcd1234.pth",
]


def test_what_killed_runs_left_half_written_goes(tmp_path):
    for name in (*HALF, *KEPT):
        write(tmp_path, name)
    folder = RunFolder(tmp_path)
    folder.claim()
    folder.release()
    assert {path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*") if path.is_file()} == {*KEPT}


def test_half_written_files_of_the_living_stay(tmp_path):
    folder = RunFolder(tmp_path)
    folder.claim()
    path = write(tmp_path, HALF[0])
    with pytest.raises(InUse):
        RunFolder(tmp_path).claim()
    assert path.exists()
    folder.release()


def test_metrics_are_lines_of_json(tmp_path):
    folder = RunFolder(tmp_path)
    lines = [{"epoch": 1, "loss": 0.1}, {"epoch": 2, "gzsl": {"fixed": {"H": 0.25}}}]
    for n, line in enumerate(lines, 1):
        folder.add_metrics(line)
        assert [json.loads(text) for text in folder.metrics.read_text().splitlines()] == lines[:n] == folder.history


@pytest.mark.parametrize("training", ["whole", "validation"])
def test_nothing_is_written_into_a_folder_that_was_taken_over(tmp_path, training):
    folder = RunFolder(tmp_path)
    folder.claim()
    writes = folder.validation if training == "validation" else folder
    writes.add_metrics({"epoch": 1})
    write(tmp_path, ".lock", "{}")
    with pytest.raises(RunError, match="was taken over by another process: this one leaves it alone"):
        writes.add_metrics({"epoch": 2})
    assert len(writes.metrics.read_text().splitlines()) == 1
    folder.release()


def test_a_run_that_begins_or_goes_on_is_not_finished(tmp_path):
    """The final training keeps the choice; the one that chooses does not."""
    folder = RunFolder(tmp_path)
    for name in ("results.json", "val/choice.json", "predictions.npz"):
        write(tmp_path, name)
    folder.begin("A: 2\n")
    assert (folder.results.exists(), folder.choice.exists(), folder.predictions.exists()) == (False, True, True)
    write(tmp_path, "results.json")
    folder.validation.begin("A: 3\n")
    assert (folder.results.exists(), folder.choice.exists()) == (False, False)
    assert folder.config.read_text() == "A: 3\n"
    assert not (tmp_path / "val" / "config.yaml").exists()
