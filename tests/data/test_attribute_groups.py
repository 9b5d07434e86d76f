import pytest

from REZSL.data.attribute_groups import GROUPS, attribute_groups
from REZSL.utils.errors import ConfigError

CUTS = "0 9 24 39 54 58 73 79 94 105 120 135 149 152 167 182 197 212 217 222 236 240 244 248 263 278 293 308 312"
WRITTEN = {  # spans with their end excluded, and single numbers
    "CUB": [f"{start}-{end}" for start, end in zip(CUTS.split(), CUTS.split()[1:], strict=False)],
    "AWA2": ["0-8", "8-14", "14-18", "18-34 44 45", "34-44", "46-51", "51-63", "63-78", "78-85"],
    "SUN": ["0-36", "36-74 80 99", "74-80 81-85", "85-99 100 101"],
}


def read(text):
    numbers = []
    for part in text.split():
        start, _, end = part.partition("-")
        numbers += range(int(start), int(end)) if end else [int(start)]
    return numbers


@pytest.mark.parametrize(("name", "size", "number"), [("CUB", 312, 28), ("AWA2", 85, 9), ("SUN", 102, 4)])
def test_known_groups_hold_each_attribute_once(name, size, number):
    groups = attribute_groups(name, size)
    assert groups == [read(text) for text in WRITTEN[name]] and len(groups) == number
    assert sorted(k for group in groups for k in group) == list(range(size))


def test_given_groups_go_before_known_ones():
    assert attribute_groups("CUB", 312, [[0, 5], (1,)]) == [[0, 5], [1]]
    assert attribute_groups("TINY", 3, [[2], [0, 1]]) == [[2], [0, 1]]


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ((), r"DATASETS\.ATTRIBUTE_GROUPS is empty and no groups are known for 'TINY' \(only for CUB, AWA2, SUN\)"),
        ([[0, 5]], r"DATASETS\.ATTRIBUTE_GROUPS holds 5, not an attribute in 0\.\.4"),
        ([[0], [-1]], r"DATASETS\.ATTRIBUTE_GROUPS holds -1, not an attribute in 0\.\.4"),
        ([[0, 1.0]], r"DATASETS\.ATTRIBUTE_GROUPS holds 1\.0, not an attribute"),
        ([["wings"]], r"DATASETS\.ATTRIBUTE_GROUPS holds '?wings'?, not an attribute"),
        ([[0, 1], [1, 2]], r"DATASETS\.ATTRIBUTE_GROUPS holds an empty group, or an attribute twice"),
        ([[0], []], r"DATASETS\.ATTRIBUTE_GROUPS holds an empty group, or an attribute twice"),
        ([0, 1, 2], r"DATASETS\.ATTRIBUTE_GROUPS"),
        (["01"], r"DATASETS\.ATTRIBUTE_GROUPS"),
    ],
)
def test_bad_groups_are_refused(given, said):
    with pytest.raises(ConfigError, match=said):
        attribute_groups("TINY", 5, given)


def test_callers_cannot_change_the_known_groups(monkeypatch):
    monkeypatch.setitem(GROUPS, "TINY", [[0, 1], [2]])
    attribute_groups("TINY", 3)[0].append(2)
    attribute_groups("TINY", 3).append([5])
    assert GROUPS["TINY"] == [[0, 1], [2]]
