import ast

import pytest
from stand_ins import PUBLISHED_KEYS, REPOSITORY
from yacs.config import CfgNode

from REZSL.config import get_defaults
from REZSL.config.defaults import AT_MOST, CHOICES, NON_NEGATIVE, POSITIVE, RETIRED


def leaves(node, prefix=""):
    """Every key of ``node`` in dotted form, with its value."""
    found = {}
    for name, value in node.items():
        found.update(leaves(value, f"{prefix}{name}.") if isinstance(value, CfgNode) else {prefix + name: value})
    return found


DEFAULTS = leaves(get_defaults())


@pytest.mark.parametrize("section", PUBLISHED_KEYS)
def test_published_keys_exist(section):
    assert [key for key in PUBLISHED_KEYS[section].split() if section + key not in DEFAULTS] == []


@pytest.mark.parametrize("table", [CHOICES, POSITIVE, NON_NEGATIVE, RETIRED], ids=["choices", ">0", ">=0", "retired"])
def test_tables_name_only_existing_keys_and_the_defaults_obey_them(table):
    for key in table:
        value = DEFAULTS[key]
        if table is CHOICES:
            assert value in table[key]
        elif table is RETIRED:
            assert value == table[key][0]
        else:
            assert value > 0 if table is POSITIVE else value >= 0


def test_no_key_is_in_two_tables_and_none_is_listed_twice():
    listed = [*CHOICES, *POSITIVE, *NON_NEGATIVE, *RETIRED]
    assert len(listed) == len(set(listed))


def test_every_number_has_a_bound_and_the_defaults_are_within():
    numbers = {key for key, value in DEFAULTS.items() if type(value) in (int, float)} - set(RETIRED)
    assert numbers == set(AT_MOST)
    assert [key for key, most in AT_MOST.items() if abs(DEFAULTS[key]) > most] == []


def test_published_choices():
    assert CHOICES["DATASETS.SEMANTIC"] == ("original", "normalized")
    assert CHOICES["DATALOADER.MODE"] == ("random", "episode")
    assert CHOICES["MODEL.REZSL.WEIGHT_TYPE"] == ("in_batch", "cross_batch", "ema")


def test_every_key_is_read_by_the_code_or_has_one_allowed_value():
    """A key that is accepted and does nothing is a defect."""
    words = set()
    for file in [*(REPOSITORY / "REZSL").rglob("*.py"), *(REPOSITORY / "tools").glob("*.py")]:
        if file.parent.name != "config":
            nodes = list(ast.walk(ast.parse(file.read_text(encoding="utf-8"))))
            words |= {node.attr for node in nodes if isinstance(node, ast.Attribute)}
            words |= {node.value for node in nodes if isinstance(node, ast.Constant) and isinstance(node.value, str)}
    inert = {*RETIRED, *(key for key, values in CHOICES.items() if len(values) == 1)}
    assert [key for key in DEFAULTS if key.split(".")[-1] not in words and key not in inert] == []


def test_defaults_are_a_fresh_copy():
    get_defaults().MODEL.SCALE = 1.0
    get_defaults().MODEL.GPUS.append(7)
    assert leaves(get_defaults()) == DEFAULTS
