"""One table in four formats."""

import csv

from REZSL.report import Table

TABLE = Table(
    ["name", "error", "images"],
    [["a|b, c", 0.123456789, 12], ["größe", float("nan"), 3], ['"q"', 1e-7, 100000]],
)


def test_text():
    assert TABLE.text().splitlines() == [
        "name     error  images",
        "a|b, c  0.1235      12",
        "größe        -       3",
        '"q"      1e-07  100000',
    ]


def test_markdown():
    assert TABLE.markdown().splitlines() == [
        "| name | error | images |",
        "| --- | ---: | ---: |",
        r"| a\|b, c | 0.1235 | 12 |",
        "| größe | - | 3 |",
        '| "q" | 1e-07 | 100000 |',
    ]


def test_latex():
    table = Table(["a_b", "50 %"], [["x & y", "1 ± 2"], [r"\{~^}$#", "-"]])
    assert table.latex().splitlines() == [
        r"\begin{tabular}{ll}",
        r"\hline",
        r"a\_b & 50 \% \\",
        r"\hline",
        r"x \& y & 1 $\pm$ 2 \\",
        r"\textbackslash{}\{\textasciitilde{}\textasciicircum{}\}\$\# & - \\",
        r"\hline",
        r"\end{tabular}",
    ]
    assert r"\begin{tabular}{lrr}" in TABLE.latex()


def test_csv_keeps_every_digit():
    rows = list(csv.reader(TABLE.csv().splitlines()))
    assert rows == [
        ["name", "error", "images"],
        ["a|b, c", "0.123456789", "12"],
        ["größe", "", "3"],
        ['"q"', "1e-07", "100000"],
    ]


def test_files(tmp_path):
    TABLE.save(tmp_path / "new" / "v1.0")
    contents = {path.name: path.read_text(encoding="utf-8") for path in (tmp_path / "new").iterdir()}
    assert contents == {"v1.0.txt": TABLE.text() + "\n", "v1.0.csv": TABLE.csv(), "v1.0.md": TABLE.markdown() + "\n"}
