"""Text from anywhere, made fit to be shown."""

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from REZSL.utils.text import Lines, escape, printable

ANY = st.text(st.characters())  # surrogates too


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("a\nb\r\tc", r"a\nb\r\tc"),
        ("\x1b[31mred\x1b[0m\a", r"\x1b[31mred\x1b[0m\x07"),
        ("\x9b31m", r"\x9b31m"),
        ("a\u2028b\u2029c\x85d", r"a\u2028b\u2029c\x85d"),
        ("evil\u202egnp.exe", r"evil\u202egnp.exe"),
        ("caf\udce9", r"caf\udce9"),  # a file name that is no UTF-8
        ("é ± 中 größe e\u0301 \N{GRINNING FACE} שלום C:\\a", "é ± 中 größe e\u0301 \N{GRINNING FACE} שלום C:\\a"),
    ],
)
def test_what_acts_is_written_out_and_letters_stay(text, shown):
    assert printable(text) == shown


@given(ANY)
def test_no_text_breaks_a_line_or_a_file(text):
    shown = printable(text, 40)
    assert len(shown) <= 40
    assert len(shown.splitlines()) <= 1 and shown.encode("utf-8").decode("utf-8") == shown
    assert not {unicodedata.category(c) for c in shown} & {"Cc", "Cs", "Zl", "Zp"}


@given(st.text(st.characters(categories=("L", "M", "N", "P", "S", "Zs")), max_size=40))
def test_ordinary_text_stays_as_it_is(text):
    assert printable(text, 40) == text


def test_the_middle_of_a_long_text_is_left_out():
    assert printable("begin" + "x" * 10**7 + "end", 12) == "beginx…xxend"
    assert len(printable("\x1b" * 10**7, 50)) == 50


def test_some_characters_may_stay():
    assert escape("a\n\x1b\n", but="\n") == "a\n\\x1b\n"
    assert Lines("a\nb") == "a\nb"
