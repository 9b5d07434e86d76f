"""Text from files and users as it may be shown: one line, nothing in it that a terminal acts on, no end of it."""

import re

LONGEST_LINE = 800  # characters: a few lines of a terminal
LONGEST_QUOTE = 300  # of a foreign text within a line of ours
LONGEST_WORD = 80  # of a foreign key or value there

# control characters, line and paragraph separators, marks that turn the direction of what follows, lone surrogates
# (bytes of a file name that are no UTF-8), and two that XML forbids; any other letter of any script is shown as it is
_ACTIVE = re.compile("[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff\ufffe\uffff]")


class Lines(str):
    """A text of several lines whose words are printable already, such as a table: the log shows it as it is."""


def printable(text: str, longest: int = LONGEST_LINE) -> str:
    r"""Returns ``text`` in one line: ``\n`` and the like are written out, and of a long text the middle is left out.

    Args:
        text: from anywhere.
        longest: number of characters that the result may have.
    """
    return shorten(escape(shorten(text, longest)), longest)


def brief(text: object) -> str:
    """Returns ``text`` as a key or value is quoted in a line of ours: printable, and not long."""
    return printable(str(text), LONGEST_WORD)


def escape(text: str, but: str = "") -> str:
    r"""Returns ``text`` with ``\n``, ``\x1b`` and the like written out; characters of ``but`` stay as they are."""
    return _ACTIVE.sub(lambda found: found[0] if found[0] in but else _written_out(found[0]), text)


def shorten(text: str, longest: int) -> str:
    """Returns ``text``, its middle cut out where it has more than ``longest`` characters."""
    if len(text) <= longest:
        return text
    kept = longest - 1
    return f"{text[: kept - kept // 2]}…{text[-(kept // 2) :]}"


def _written_out(character: str) -> str:
    return character.encode("unicode_escape").decode("ascii")
