"""Errors of a command, told in one line."""

import logging
import re
import signal

import pytest
import torch

from REZSL.utils import command
from REZSL.utils.command import run_command
from REZSL.utils.errors import DataError
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
    ],
)
def test_a_mistake_of_the_user(capsys, error, line):
    assert run_command(raises(error)) == 1
    assert capsys.readouterr() == ("", line + "\n")
    assert logging.getLogger("REZSL").handlers == []


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
