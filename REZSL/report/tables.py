"""A table as text, CSV, Markdown and LaTeX."""

import csv
import io
import math
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from REZSL.utils.files import write_text
from REZSL.utils.text import Lines, printable

Cell = str | int | float


@dataclass(frozen=True)
class Table:
    """Rows of text and numbers under a header.

    Numbers have ``digits`` significant digits, and all of theirs in CSV. What is not defined (NaN)
    is a dash in text, Markdown and LaTeX, and empty in CSV. Texts are made printable.
    """

    header: Sequence[str]
    rows: Sequence[Sequence[Cell]]
    digits: int = 4

    def __post_init__(self) -> None:
        object.__setattr__(self, "header", [printable(cell) for cell in self.header])
        rows = [[printable(cell) if isinstance(cell, str) else cell for cell in row] for row in self.rows]
        object.__setattr__(self, "rows", rows)

    def shown(self) -> list[list[str]]:
        """The rows as text and Markdown show them."""
        return [[self._show(cell) for cell in row] for row in self.rows]

    def text(self) -> Lines:
        """Columns padded with spaces: words to the left, numbers to the right."""
        lines = [list(self.header), *self.shown()]
        widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
        words = self._columns_of_words()
        padded = (
            "  ".join(
                cell.ljust(width) if word else cell.rjust(width)
                for cell, width, word in zip(line, widths, words, strict=True)
            ).rstrip()
            for line in lines
        )
        return Lines("\n".join(padded))

    def markdown(self) -> str:
        """A GitHub table."""
        lines = [[cell.replace("|", r"\|") for cell in line] for line in (self.header, *self.shown())]
        rule = ["---" if word else "---:" for word in self._columns_of_words()]
        return "\n".join(f"| {' | '.join(line)} |" for line in (lines[0], rule, *lines[1:]))

    def latex(self) -> str:
        """A LaTeX ``tabular``, without packages."""
        lines = [[_latex(self._show(cell)) for cell in line] for line in (self.header, *self.rows)]
        head, *body = [" & ".join(line) + r" \\" for line in lines]
        columns = "".join("l" if word else "r" for word in self._columns_of_words())
        parts = [rf"\begin{{tabular}}{{{columns}}}", r"\hline", head, r"\hline", *body, r"\hline", r"\end{tabular}"]
        return "\n".join(parts)

    def csv(self) -> str:
        """Comma-separated values, lines ended by a line feed."""
        buffer = io.StringIO()
        writer = csv.writer(buffer, lineterminator="\n")
        writer.writerow(self.header)
        writer.writerows([["" if _undefined(cell) else cell for cell in row] for row in self.rows])
        return buffer.getvalue()

    def save(self, stem: str | os.PathLike) -> None:
        """Writes ``stem``.txt, ``stem``.csv and ``stem``.md, each whole or not at all."""
        for suffix, content in ((".txt", self.text() + "\n"), (".csv", self.csv()), (".md", self.markdown() + "\n")):
            write_text(f"{Path(stem)}{suffix}", content)

    def _columns_of_words(self) -> list[bool]:
        return [any(isinstance(row[i], str) for row in self.rows) for i in range(len(self.header))]

    def _show(self, cell: Cell) -> str:
        if _undefined(cell):
            return "-"
        return f"{cell:.{self.digits}g}" if isinstance(cell, float) else str(cell)


LATEX = {c: rf"\{c}" for c in "&%$#_{}"} | {
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "±": r"$\pm$",
}


def _latex(text: str) -> str:
    return "".join(LATEX.get(c, c) for c in text)


def _undefined(cell: Cell) -> bool:
    return isinstance(cell, float) and math.isnan(cell)
