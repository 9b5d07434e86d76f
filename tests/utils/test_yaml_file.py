"""YAML as it is read here: against PyYAML where both mean the same, and what it would hang or crash on."""

import os
import time

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from REZSL.utils.errors import ConfigError
from REZSL.utils.yaml_file import MAX_SIZE, flat, parse_yaml, plain_value, read_yaml

LEAVES = st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.text() | st.floats(allow_nan=False)
TREES = st.recursive(LEAVES, lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner), max_leaves=20)


def refusal(text):
    """The one short line of the error for ``text``, which comes soon."""
    started = time.perf_counter()
    with pytest.raises(ConfigError) as caught:
        parse_yaml(text, "a.yaml")
    assert time.perf_counter() - started < 8  # 1 s on a machine that is not shared
    said = str(caught.value)
    assert said.startswith("a.yaml") and len(said.splitlines()) == 1 and len(said) < 500
    return said


@settings(max_examples=60, deadline=None)
@given(TREES)
def test_what_pyyaml_writes_is_read_to_the_same(tree):
    assert parse_yaml(yaml.safe_dump(tree), "a") == tree


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("5", 5),
        ("-0.5", -0.5),
        ("1e3", 1000.0),
        ("+.5E-2", 0.005),
        ("TRUE", True),
        ("False", False),
        ("-.inf", float("-inf")),
        *((text, text) for text in ("017", "-08", "007.5", "1_000", "0x1F", "0o17", "0b1", "1:30", "1:30.5")),
        *((text, text) for text in ("yes", "No", "on", "OFF", "2024-01-01", "5 6", "1e", "e5", ".", "\u0663", "a")),
    ],
)
def test_only_what_has_one_reading_is_a_number_or_a_truth(text, value):
    found = plain_value(text)
    assert found == value and type(found) is type(value)


def test_quotes_make_text_and_nothing_is_none():
    assert parse_yaml("{a: '5', b: \"\", c: , d: ~, e: null, f: 'null', g: |-\n 7}".replace("|-\n ", ""), "a") == {
        "a": "5", "b": "", "c": None, "d": None, "e": None, "f": "null", "g": 7,
    }  # fmt: skip


def test_aliases_and_merges_mean_what_pyyaml_takes_them_for():
    text = (
        "base: &b {x: 1, y: [1, 2]}\nother: &o {x: 5, z: 6}\nlist: [*b, *b]\n"
        "one: {<<: *b, y: 3}\nboth: {x: 9, <<: [*b, *o]}\n"
    )
    found = parse_yaml(text, "a")
    assert found == yaml.safe_load(text)
    assert found["list"][0] is not found["list"][1]  # so that a dump of the config needs no alias


def bomb(levels, wide=10, kind="[]"):
    opening, closing = kind
    lines = ["a0: &a0 [x, x]" if kind == "[]" else "a0: &a0 {k: x}"]
    for n in range(1, levels):
        items = [f"*a{n - 1}" if kind == "[]" else f"k{i}: *a{n - 1}" for i in range(wide)]
        lines.append(f"a{n}: &a{n} {opening}{', '.join(items)}{closing}")
    return "\n".join(lines)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (bomb(9), "aliases make it longer"),
        (bomb(9, kind="{}"), "aliases make it longer"),
        (bomb(3, wide=4000), "aliases make it longer"),
        (
            "a0: &a0 {k: x}\n"
            + "".join(f"a{n}: &a{n} {{<<: [{', '.join([f'*a{n - 1}'] * 9)}]}}\n" for n in range(1, 9)),
            "aliases make it longer",
        ),
        (f"a: &a {'x' * 50_000}\nb: [*a, *a, *a]", "aliases make it longer"),
        ("a: &a [*a]", r"line 1: not valid YAML: \*a stands for nothing that is complete before it"),
        ("a: &a {b: {<<: *a}}", r"\*a stands for nothing"),
        ("a: *b", r"\*b stands for nothing"),
        ("[" * 90_000, "more than 20 values in one another"),
        ("{a: " * 20_000, "more than 20 values in one another"),
        ("- " * 40_000 + "1", "more than 20 values in one another"),
        ("? " * 40_000 + "1", "a key that is no plain text"),
        ("a:\n" + "".join(" " * n + "a:\n" for n in range(1, 400)), "more than 20 values in one another"),
        ("!!python/object/apply:os.system [ls]: 1", "a key that is no plain text"),
        ("!!binary aGFsbG8=: 1", "a key that is no plain text"),
        ("[a, b]: 1", "a key that is no plain text"),
        ("? {a: 1}\n: 2", "a key that is no plain text"),
        *((f"a: {tag}", "tags are not read") for tag in ("!!int x", "!!float x", "!!bool x", "!!timestamp x", "! 5")),
        *((f"a: {tag}", "tags are not read") for tag in ("!!set {a, b}", "!!omap [a: 1]", "!!binary x", "!!str 5")),
        ("a: !<x\ny> 1", "not valid YAML"),
        (r'a: "\UFFFFFFFF"', "not valid YAML"),
        ("%YAML 1.1." + "9" * 5000, "not valid YAML"),
        ("%YAML 1." + "9" * 5000 + "\n---\na: 1", "not valid YAML"),
        ("%TAG ! tag:x\n---\n!y : 1", "a key that is no plain text"),
        ("a: 1\n---\nb: 2", "a second document"),
        ("a: 1\n<<: 5", "<< takes a mapping"),
        ("a: 1\na: 2", "line 2: not valid YAML: a occurs twice"),
        ("'a\\nb': 1\n'a\\nb': 2", "occurs twice"),
        ("a: [1", "not valid YAML"),
        ("a: \x00", "not valid YAML"),
        ("\ta: 1", "not valid YAML"),
        ("a: @b", "not valid YAML"),
        ('"' + "x" * 50_000, "not valid YAML"),
        (f"? {'k' * 40_000}\n: 1\n" * 2, "k... occurs twice"),
    ],
    ids=lambda value: value[:18] if isinstance(value, str) else None,
)
def test_what_hangs_or_crashes_a_reader_is_refused_in_one_line(text, said):
    with pytest.raises(ConfigError, match=said):
        parse_yaml(text, "a.yaml")
    refusal(text)


@settings(max_examples=150, deadline=None)
@given(st.text(st.sampled_from("&*a!<>:-?,[]{}|'\"%@#\n \t~017e.\\uU\u00e9"), max_size=60))
def test_any_text_is_read_or_refused(text):
    try:
        parse_yaml(text, "a.yaml")
    except ConfigError as error:
        assert len(str(error).splitlines()) == 1


def test_a_file_has_a_size_limit_and_must_be_a_file(tmp_path):
    file = tmp_path / "a.yaml"
    file.write_text("a: 1\n" + "#" * MAX_SIZE)
    with pytest.raises(ConfigError, match=r"a\.yaml: longer than 100,000 bytes, which no config file is"):
        read_yaml(file)
    file.write_text("a: 1\n" + "#" * (MAX_SIZE - 5))
    assert read_yaml(file) == {"a": 1}
    file.write_bytes(b"\xef\xbb\xbfa: 1")  # as Windows editors begin a file
    assert read_yaml(file) == {"a": 1}
    with pytest.raises(ConfigError, match=r"endless\.yaml: no regular file"):
        (tmp_path / "endless.yaml").symlink_to("/dev/zero")
        read_yaml(tmp_path / "endless.yaml")
    with pytest.raises(ConfigError, match=r"pipe\.yaml: no regular file"):
        os.mkfifo(tmp_path / "pipe.yaml")
        read_yaml(tmp_path / "pipe.yaml")
    with pytest.raises(ConfigError, match="cannot read the config file: Too many levels of symbolic links"):
        (tmp_path / "loop.yaml").symlink_to("loop.yaml")
        read_yaml(tmp_path / "loop.yaml")


def test_full_keys():
    assert flat({"A": {"B": 1, "C": {"D": [2]}}, "E": 3, "F": {}}) == {"A.B": 1, "A.C.D": [2], "E": 3}
    with pytest.raises(ConfigError, match=r"A\.B occurs twice"):
        flat({"A": {"B": 1}, "A.B": 2})
