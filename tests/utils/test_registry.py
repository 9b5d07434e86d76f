import doctest

import pytest

from REZSL.utils import registry
from REZSL.utils.errors import ConfigError
from REZSL.utils.registry import Registry, did_you_mean


@pytest.fixture
def heads():
    heads = Registry("head")
    heads.register("AttentionNet")(dict)
    heads.register("BasicNet")(list)
    return heads


def test_registered_builders_come_back_under_their_names(heads):
    @heads.register("Mine")
    def build():
        return 3

    assert build() == 3 and heads.get("Mine") is build and heads.get("BasicNet") is list
    assert list(heads) == ["AttentionNet", "BasicNet", "Mine"]


def test_a_name_registered_twice_is_refused_and_the_first_stays(heads):
    with pytest.raises(ValueError, match="head 'BasicNet' is registered twice"):
        heads.register("BasicNet")(set)
    assert heads.get("BasicNet") is list


def test_an_unknown_name_names_the_registry_the_known_and_the_nearest(heads):
    known = "unknown head '{}': known are AttentionNet, BasicNet{}$"
    with pytest.raises(ConfigError, match=known.format("AtentionNet", r"; did you mean 'AttentionNet'\?")):
        heads.get("AtentionNet")
    with pytest.raises(ConfigError, match=known.format("xyz", "")):
        heads.get("xyz")


def test_registries_are_separate(heads):
    with pytest.raises(ConfigError, match="unknown backbone 'BasicNet'"):
        Registry("backbone").get("BasicNet")


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("resnet", "; did you mean 'ResNet'?"),
        ("RESNETT", "; did you mean 'ResNet'?"),
        ("wit", "; did you mean 'vit'?"),
        ("q", ""),
        ("", ""),
    ],
)
def test_nearest_name_whatever_its_case(name, hint):
    assert did_you_mean(name, ["vit", "ResNet"]) == hint


def test_example_in_the_docstring():
    result = doctest.testmod(registry)
    assert result.failed == 0 < result.attempted
