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


def test_texts_from_files_are_printable_in_every_form(tmp_path):
    hostile = Table(["run\n", "H"], [["a\n|b\x1b[2J\udcff", 1.0], ["é中" * 9999, 2.0]])
    hostile.save(tmp_path / "table")
    forms = [hostile.text(), hostile.markdown(), hostile.latex(), hostile.csv()]
    for form in (*forms, *(path.read_text(encoding="utf-8") for path in tmp_path.iterdir())):
        assert "\x1b" not in form and "[2J" in form and "\udcff" not in form and "é中é" in form
        assert max(map(len, form.splitlines())) < 900
    assert [len(form.splitlines()) for form in forms] == [3, 4, 8, 3]
