"""Errors of a command, told in one line."""

import logging
import re
import signal

import pytest
import torch

from REZSL.utils import command
from REZSL.utils.command import leading_seeds, run_command
from REZSL.utils.errors import ConfigError, DataError, RunError, SeveralErrors, first_line, raise_all
from REZSL.utils.stopping import STOP_SIGNALS, note_saved

log = logging.getLogger("REZSL.anything")


def raises(error):
    def action():
        raise error

    return action


def test_a_command_that_works(capsys):
    assert run_command(lambda: log.info("done")) == 0
    assert capsys.readouterr() == ("done\n", "")
    assert logging.getLogger("REZSL").handlers == []


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (DataError("x.mat is damaged"), "error: x.mat is damaged"),
        (
            FileNotFoundError(2, "No such file or directory", "x.mat"),
            "error: [Errno 2] No such file or directory: 'x.mat'",
        ),
        (
            DataError("Traceback ...\n  File ...\nREZSL.utils.errors.DataError: x.jpg is broken"),
            "error: x.jpg is broken",
        ),
        (OSError("Caught FileNotFoundError in ...\n  File ...\nOSError: 'x.jpg' is gone"), "error: 'x.jpg' is gone"),
        (FileNotFoundError(2, "No such", "a\nb\x1b"), r"error: [Errno 2] No such: 'a\nb\x1b'"),
    ],
)
def test_a_mistake_of_the_user(capsys, error, line):
    assert run_command(raises(error)) == 1
    assert capsys.readouterr() == ("", line + "\n")
    assert logging.getLogger("REZSL").handlers == []


@pytest.mark.parametrize("kind", [ConfigError, DataError, RunError, OSError])
@pytest.mark.parametrize("text", ["size mismatch for v:\n\t" * 2000, "k" * 22_564, "\x1b[2J" * 9999], ids=len)
def test_no_error_takes_more_than_a_few_lines(capsys, kind, text):
    assert run_command(raises(kind(f"best.pth: {text}: use another"))) == 1
    said = capsys.readouterr().err
    assert said.startswith("error: best.pth: ") and said.endswith("use another\n")
    assert len(said) < 850 and said.count("\n") == 1 and "\x1b" not in said


def test_errors_within_errors_stay_short():
    inner = first_line(RuntimeError("y\x1b" * 9999))
    assert len(inner) == 300 and "\x1b" not in inner
    assert first_line(ValueError()) == "ValueError"
    assert len(str(DataError(f"a {DataError('z' * 9999)} b"))) == 800


def test_errors_of_several_things_have_a_line_each(capsys):
    errors = [DataError("a.json is\nbroken"), DataError("b.json is broken")]
    assert run_command(lambda: raise_all(errors)) == 1
    assert capsys.readouterr().err.splitlines() == [r"error: a.json is\nbroken", "error: b.json is broken"]
    assert str(SeveralErrors(errors)) == r"a.json is\nbroken; b.json is broken"
    raise_all([])
    with pytest.raises(DataError, match=r"is broken$"):
        raise_all(errors[1:])


def test_a_mistake_in_the_code_passes_through():
    with pytest.raises(ZeroDivisionError):
        run_command(lambda: 1 / 0)
    assert logging.getLogger("REZSL").handlers == []


def test_stopping_by_hand(capsys):
    assert run_command(raises(KeyboardInterrupt())) == 130
    assert capsys.readouterr().err == "stopped\n"


@pytest.mark.parametrize("saved", [None, "last.pth"])
@pytest.mark.parametrize("number", STOP_SIGNALS)
def test_a_signal_says_what_was_saved(capsys, number, saved):
    def work():
        if saved:
            note_saved(saved)
        signal.raise_signal(number)
        pytest.fail("it goes on")

    assert run_command(work, goes_on="again") == 128 + number
    told = rf"{saved}, saved at \d\d:\d\d:\d\d" if saved else "nothing was saved since the start"
    assert re.fullmatch(rf"stopped; {told}: again\n", capsys.readouterr().err)


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB"), "CUDA out of memory. Tried to"),
        (MemoryError(), "out of memory: lower DATALOADER.EP_PER_BATCH"),
        (RuntimeError("DataLoader worker (pid 12) is killed by signal: Killed. "), "a loading process has died (DataL"),
        (RuntimeError("DataLoader timed out after 600 seconds"), "no batch came within DATALOADER.TIMEOUT (DataL"),
    ],
)
def test_what_the_machine_lacks_is_no_mistake_in_the_code(capsys, error, told):
    assert run_command(raises(error)) == 1
    said = capsys.readouterr().err
    assert said.startswith(f"error: {told}") and said.count("\n") == 1


def test_a_mistake_in_one_of_several_processes_is_told_and_left(capsys, monkeypatch):
    monkeypatch.setattr(command, "world_size", lambda: 2)
    assert run_command(lambda: 1 / 0) == 1
    assert capsys.readouterr().err.endswith("ZeroDivisionError: division by zero\n")


@pytest.mark.parametrize(
    "error",
    [
        ConnectionResetError(104, "Connection reset by peer"),
        FileNotFoundError(2, "No such file or directory"),
        EOFError(),
        RuntimeError("received 0 items of ancdata"),
    ],
)
def test_a_loading_process_that_is_gone_is_told_whatever_python_says(capsys, error):
    fetch = compile("raise error", "multiprocessing/connection.py", "exec")
    assert run_command(lambda: exec(fetch, {"error": error})) == 1
    assert capsys.readouterr().err.startswith(f"error: a loading process has died ({first_line(error)}): ")


def test_the_same_words_from_elsewhere_are_no_loading_process(capsys):
    assert run_command(raises(ConnectionResetError(104, "Connection reset by peer"))) == 1
    assert capsys.readouterr().err == "error: [Errno 104] Connection reset by peer\n"
    with pytest.raises(EOFError):
        run_command(raises(EOFError()))


@pytest.mark.parametrize("processes", [1, 2])
def test_a_process_that_is_left_alone_says_so(capsys, monkeypatch, processes):
    monkeypatch.setattr(command, "world_size", lambda: processes)
    error = RuntimeError("[gloo/transport/tcp/pair.cc:534] Connection closed by peer [127.0.0.1]:5000")
    if processes == 1:
        with pytest.raises(RuntimeError, match="gloo"):
            run_command(raises(error))
    else:
        assert run_command(raises(error)) == 1
        assert capsys.readouterr().err.startswith("error: another process of this run has ended; its own error")


@pytest.mark.parametrize("word", ["017", "\u0663", "\u00b2", "-1", "1_0", "9" * 30])
def test_seeds_are_plain_whole_numbers(word):
    assert leading_seeds(["0", "17", "KEY", word]) == ([0, 17], ["KEY", word])
    with pytest.raises(ConfigError, match=r"--seeds .*: expected whole numbers >= 0"):
        leading_seeds([word])
