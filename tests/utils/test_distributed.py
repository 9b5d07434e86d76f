"""What processes tell each other, without the others."""

import pytest

from REZSL.utils import distributed
from REZSL.utils.distributed import insist_on_same
from REZSL.utils.errors import RunError


def test_a_process_alone_agrees_with_itself():
    insist_on_same({"SEED": 1})


@pytest.mark.parametrize("is_main", [True, False])
def test_what_differs_is_named_and_all_leave(monkeypatch, is_main):
    everyones = [{"SEED": 1, "code": "a"}, {"SEED": 1, "code": "a"}, {"SEED": 2, "code": "a"}, {"SEED": 1, "code": "b"}]
    monkeypatch.setattr(distributed, "objects_of_all", lambda values: everyones)
    monkeypatch.setattr(distributed, "is_main", lambda: is_main)
    told = (
        r"^the processes of this run differ: SEED is 1 in process 0 and 2 in process 2; "
        r"code is 'a' in process 0 and 'b' in process 3: start all of them alike$"
    )
    with pytest.raises(RunError if is_main else SystemExit, match=told if is_main else "1"):
        insist_on_same(everyones[0])


def test_of_many_differences_a_few_are_told(monkeypatch):
    first = {f"KEY{n}": n for n in range(9)}
    monkeypatch.setattr(distributed, "objects_of_all", lambda values: [values, {**values, **dict.fromkeys(first)}])
    with pytest.raises(RunError, match=r"KEY2 is 2 in process 0 and None in process 1, and 6 differences more: "):
        insist_on_same(first)
