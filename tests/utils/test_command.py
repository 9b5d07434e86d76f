"""Errors of a command, told in one line."""

import logging

import pytest

from REZSL.utils.command import leading_seeds, run_command
from REZSL.utils.errors import ConfigError, DataError, RunError, SeveralErrors, first_line, raise_all

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
    assert run_command(raises(KeyboardInterrupt()), stopped="stopped; files stay") == 130
    assert capsys.readouterr().err == "stopped; files stay\n"


@pytest.mark.parametrize("word", ["017", "\u0663", "\u00b2", "-1", "1_0", "9" * 30])
def test_seeds_are_plain_whole_numbers(word):
    assert leading_seeds(["0", "17", "KEY", word]) == ([0, 17], ["KEY", word])
    with pytest.raises(ConfigError, match=r"--seeds .*: expected whole numbers >= 0"):
        leading_seeds([word])
