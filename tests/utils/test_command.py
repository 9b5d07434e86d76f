"""Errors of a command, told in one line."""

import logging

import pytest

from REZSL.utils.command import run_command
from REZSL.utils.errors import DataError

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
    assert run_command(raises(KeyboardInterrupt()), stopped="stopped; files stay") == 130
    assert capsys.readouterr().err == "stopped; files stay\n"
