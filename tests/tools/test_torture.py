"""The slow command itself; a few of its cases."""

import re

import pytest
import torture
from tortures import loading
from tortures.place import NotHere, Place

pytestmark = pytest.mark.long

CASE = ["place", "return"]  # arguments of one


def test_every_case_has_a_name_of_its_own():
    names = [case.__name__ for case in torture.CASES]
    assert len(set(names)) == len(names) > 40
    assert all(re.fullmatch(r"[a-zA-Z0-9_]+", name) for name in names)
    for module in torture.MODULES:
        defined = {n for n, value in vars(module).items() if list(getattr(value, "__annotations__", ())) == CASE}
        assert {name for name in defined if name[0] != "_"} <= set(names), "a case is not in the list"


def fails(place):
    raise AssertionError("still running")


def is_not_here(place):
    raise NotHere("no root")


def test_the_outcome_is_told(monkeypatch, capsys):
    monkeypatch.setattr(torture, "CASES", [fails, is_not_here])
    assert torture.main([]) == 1
    lines = capsys.readouterr().out.splitlines()
    assert re.fullmatch(r"fails: FAILED: still running \(\d+ s\)", lines[0])
    assert re.fullmatch(r"is_not_here: not tried: no root \(\d+ s\)", lines[1])
    assert lines[2:] == ["0/1"]
    assert torture.main(["--only", "is_not_here"]) == 0


def test_a_case(tmp_path):
    assert torture.attempt(loading.a_damaged_image, Place(tmp_path)) is None
