"""The page says what the files of the runs say, and nothing in these can do more than be read."""

import base64
import html
import io
import re
import subprocess
import sys
import xml.etree.ElementTree as ElementTree
from dataclasses import replace
from html.parser import HTMLParser

import numpy as np
import pytest
from PIL import Image
from stand_ins import REPOSITORY, make_predictions, write_run

from REZSL.evaluation import Predictions, error_table, summarise
from REZSL.report import figures_of, read_runs, render_page, write_page
from REZSL.report import page as page_module
from REZSL.report.page_figures import as_svg, draw_curves, draw_histories, styles
from REZSL.utils.errors import DataError

pytestmark = pytest.mark.long

FIGURE = re.compile(r'<data value="([^"]*)" data-figure="([^"]*)">([^<]*)</data>(?:\s*<small>\[(\S+) (\S+)\]</small>)?')


@pytest.fixture
def drawn():
    """Asked for by tests that need all figures."""


@pytest.fixture(autouse=True)
def _few_figures(request, monkeypatch):
    if "drawn" not in request.fixturenames:
        monkeypatch.setattr(page_module, "_imbalance", lambda view: [])


class Elements(HTMLParser):
    """Every start tag with its attributes."""

    def __init__(self, page):
        super().__init__()
        self.found = []
        self.feed(page)

    def handle_starttag(self, tag, attrs):
        self.found.append((tag, dict(attrs)))


def render(*folders):
    return render_page(read_runs(folders))


def section(page, name):
    return re.search(rf'<section id="{name}">.*?</section>', page, re.S)[0]


def text_of(part):
    return " ".join(html.unescape(re.sub(r"<wbr>|<[^>]*>", lambda tag: "" if tag[0] == "<wbr>" else " ", part)).split())


def shown_figures(page):
    """By run: figures by name, each with its value, its text and the texts of its interval."""
    bodies = re.findall(r'<tbody data-run="([^"]*)">(.*?)</tbody>', page, re.S)
    return {
        html.unescape(run): {name: rest for name, *rest in map(_figure, FIGURE.findall(body))} for run, body in bodies
    }


def _figure(match):
    value, name, text, low, high = match
    return name, float(value), text, (low, high)


def test_numbers_are_those_of_results_json(tmp_path):
    said = {"a": write_run(tmp_path / "a", val_gamma=0.3), "b": write_run(tmp_path / "b", seed=1, intervals=None)}
    shown = shown_figures(render(tmp_path / "a", tmp_path / "b"))
    assert list(shown) == ["a", "b"]
    for run, results in said.items():
        assert {name: value for name, (value, *_) in shown[run].items()} == figures_of(results)
        for name, (value, text, interval) in shown[run].items():
            assert text == (f"{value:.3f}" if name.endswith("gamma") else f"{100 * value:.1f}")
            ends = results.get("intervals", {}).get(name)
            assert interval == (tuple(f"{100 * end:.1f}" for end in ends) if ends else ("", ""))


def test_rows_are_called_what_they_are(tmp_path):
    write_run(tmp_path / "a", val_gamma=0.3)
    write_run(tmp_path / "b", select_uses_test_labels=True)
    with_val, without = re.findall(r"<tbody data-run.*?</tbody>", render(tmp_path / "a", tmp_path / "b"), re.S)
    assert re.findall(r'data-row="([^"]*)"', with_val) == ["val", "gamma=0", "fixed", "oracle"]
    assert re.findall(r'data-row="([^"]*)"', without) == ["gamma=0", "fixed", "oracle"]
    for body in (with_val, without):
        marked = [text_of(row) for row in re.findall(r'<th scope="row".*?</th>', body, re.S) if "mark" in row]
        assert marked == ["oracle chosen on test labels"]
    assert "epoch chosen on test labels" in without and "epoch chosen" not in with_val


def test_the_honest_row_is_that_of_the_classes(tmp_path):
    for name, options, row in (("a", {"val_gamma": 0.3}, "val"), ("b", {}, "oracle")):
        write_run(tmp_path / name, **options)
        part = text_of(section(render(tmp_path / name), "classes"))
        assert f"at the gamma of the row {row} ," in part.replace(f"{row},", f"{row} ,")
        assert f"GZSL, {row} (%)" in part


def test_maxima_over_epochs_are_told_as_what_they_are(tmp_path):
    write_run(tmp_path / "a", maxima_over_epochs={"T1": {"value": 0.75, "epoch": 3}})
    note = "a: maxima over epochs, each of its own, picked on test labels, as published: T1 75.0 (epoch 3)"
    assert note in text_of(section(render(tmp_path / "a"), "results"))


def test_images_of_one_kind(tmp_path):
    """Of unseen classes alone there is T1; without them there is no zero-shot learning."""
    p = make_predictions()
    for name, kept in (("unseen", p.labels >= p.num_seen), ("seen", p.labels < p.num_seen)):
        write_run(tmp_path / name, predictions=p)
        part = replace(p, attributes=p.attributes[kept], labels=p.labels[kept], images=p.images[kept])
        part.save(tmp_path / name / "predictions.npz")
    assert "unseen" in text_of(section(render(tmp_path / "unseen"), "classes"))
    with pytest.raises(DataError, match="holds no predictions: labels name no image of an unseen class"):
        read_runs([tmp_path / "seen"])


def test_without_a_val_row_nothing_is_said_of_one(tmp_path):
    write_run(tmp_path)
    assert "validation" not in render(tmp_path)


def test_the_imbalance_says_of_which_error_it_is(tmp_path):
    write_run(tmp_path / "a")
    shown = section(render(tmp_path / "a"), "imbalance")
    assert "The squared error of each attribute" in text_of(shown)
    assert text_of(re.search(r"<thead>.*?</thead>", shown, re.S)[0]) == "measure of squared error a"
    summary = summarise(error_table(Predictions.load(tmp_path / "a" / "predictions.npz"), "squared"))["all"]
    row = re.search(r">error_mean</th>\s*<td[^>]*>([^<]*)</td>", shown)[1]
    assert float(row) == pytest.approx(summary.error_mean, rel=1e-3)


HOSTILE = "<script>alert('1')</script>"


def test_text_from_files_is_escaped(tmp_path, drawn):
    folder = tmp_path / "<script>alert(1) & $\\foo$"
    write_run(
        folder, predictions=make_predictions(names=[HOSTILE] * 6), config={"NAME": HOSTILE, HOSTILE: 1}, model=HOSTILE
    )
    write_run(tmp_path / '_"onload="', seed=3)
    page = render(folder, tmp_path / '_"onload="')
    elements = Elements(page).found
    assert "script" not in {tag for tag, _ in elements}
    assert not [name for _, attributes in elements for name in attributes if name.startswith("on")]
    for name in ("results", "classes", "confusion", "configuration"):
        assert HOSTILE in text_of(section(page, name))
    assert "<script>alert(1) & $\\foo$" in text_of(section(page, "curves"))
    assert {attributes["data-run"] for _, attributes in elements if "data-run" in attributes} == {
        "<script>alert(1) & $\\foo$",
        '_"onload="',
    }


def test_text_from_files_is_printable(tmp_path, drawn):
    """Control characters, file names that are no UTF-8, and texts without an end; in figures too."""
    hostile, endless = "a\n\x1b[2J\u202eb", "é±" * 9999
    names = [hostile, endless]
    folder = tmp_path / "run\n\x1b\udcff"
    write_run(folder, predictions=make_predictions(names=names), model=hostile, config={"NAME": hostile, "B": endless})
    write_run(tmp_path / "b", dataset=endless)
    write_page(tmp_path / "page.html", read_runs([folder, tmp_path / "b"]))
    page = (tmp_path / "page.html").read_text(encoding="utf-8")
    assert not set(page) & {"\x1b", "\u202e"}
    for name in ("results", "classes", "configuration"):
        assert r"b[2J\u202eb" in text_of(section(page, name))
    assert r"run\n\x1b\udcff" in text_of(section(page, "results"))
    assert max(map(len, re.findall("(?:é|±|<wbr>)+", page))) <= 800


def test_the_page_needs_nothing_but_itself(tmp_path, drawn):
    write_run(tmp_path)
    page = render(tmp_path)
    assert "http:" not in page and "https:" not in page and "url(" not in page and "@import" not in page
    elements = Elements(page).found
    anchors = {attributes["id"] for _, attributes in elements if "id" in attributes}
    assert len(anchors) == sum("id" in attributes for _, attributes in elements)
    for _, attributes in elements:
        for name in ("src", "href", "srcset", "action", "data"):
            if name in attributes:
                value = attributes[name]
                assert value.startswith("data:") or (value[0] == "#" and value[1:] in anchors), value
    assert ("meta", "default-src 'none'; img-src data:; style-src 'unsafe-inline'") in [
        (tag, attributes.get("content")) for tag, attributes in elements
    ]


def test_images_open_and_are_described(tmp_path, drawn):
    write_run(tmp_path)
    images = [attributes for tag, attributes in Elements(render(tmp_path)).found if tag == "img"]
    assert len(images) == 1 + 8 + 1 + 4  # curves, quantities of the training, confusion, imbalance
    assert len({image["alt"] for image in images}) == len(images) and all(len(image["alt"]) > 20 for image in images)
    for image in images:
        kind, content = re.fullmatch(r"data:image/(png|svg\+xml);base64,(.*)", image["src"]).groups()
        content = base64.b64decode(content, validate=True)
        if kind == "png":
            with Image.open(io.BytesIO(content)) as opened:
                assert len(np.unique(np.asarray(opened.convert("L")))) > 10
                width, height = opened.size
        else:
            root = ElementTree.fromstring(content)
            assert len(list(root.iter("{http://www.w3.org/2000/svg}path"))) > 10
            width, height = (float(root.get(name).removesuffix("pt")) for name in ("width", "height"))
        assert int(image["width"]) / int(image["height"]) == pytest.approx(width / height, rel=0.01)


def test_the_same_runs_give_the_same_page(tmp_path, drawn):
    write_run(tmp_path)
    assert render(tmp_path) == render(tmp_path)


MISSING = {
    "predictions.npz": ["no predictions.npz, so no curve, classes or errors: b"],
    "metrics.jsonl": ["no metrics.jsonl (a run that only evaluates has none): b"],
    "config.yaml": ["no config.yaml: b"],
}


@pytest.mark.parametrize("missing", [[name] for name in MISSING] + [list(MISSING)], ids=[*MISSING, "all"])
@pytest.mark.parametrize("alone", [True, False])
def test_what_is_missing_is_told(tmp_path, missing, alone):
    folders = [tmp_path / name for name in ("b" if alone else "ab")]
    for folder in folders:
        write_run(folder)
    for name in missing:
        (folders[-1] / name).unlink()
    page = render(*folders)
    notes = [text_of(note) for note in re.findall(r"<li>(.*?)</li>", section(page, "results"), re.S)]
    assert notes == [
        note
        for name in ("metrics.jsonl", "config.yaml", "predictions.npz")
        if name in missing
        for note in MISSING[name]
    ]
    if alone:
        parts = {"classes": "predictions.npz", "imbalance": "predictions.npz", "training": "metrics.jsonl"}
        for part, name in (parts | {"configuration": "config.yaml"}).items():
            said = re.search(rf"No run has a {re.escape(name)}", section(page, part))
            assert bool(said) == (name in missing), part


def test_results_without_rows_and_descriptions(tmp_path):
    write_run(tmp_path, gzsl={}, dataset=None, model=None, seed=None, epoch=None)
    page = render(tmp_path)
    assert set(shown_figures(page)[tmp_path.name]) == {"T1", "AUSUC"}
    assert "at the gamma of the row gamma=0 , 0.000" in text_of(section(page, "confusion")).lower()


def test_predictions_of_another_run_are_told(tmp_path):
    results = write_run(tmp_path / "a")
    make_predictions(5).save(tmp_path / "a" / "predictions.npz")
    assert f"a: T1 is {100 * results['T1']:.1f} in results.json, but" in text_of(
        section(render(tmp_path / "a"), "results")
    )


def test_broken_predictions_are_an_error(tmp_path):
    p = make_predictions()
    write_run(tmp_path / "a", predictions=p)
    replace(p, attributes=p.attributes * np.nan).save(tmp_path / "a" / "predictions.npz")
    with pytest.raises(
        DataError, match=r"a/predictions\.npz holds no .*: the predicted attributes of 42 of 42 rows are not finite"
    ):
        render(tmp_path / "a")


def test_runs_of_other_data_on_one_page(tmp_path):
    write_run(tmp_path / "a")
    write_run(
        tmp_path / "b", predictions=make_predictions(1, num_seen=3, num_unseen=5, num_attributes=8), dataset="MORE"
    )
    page = render(tmp_path / "a", tmp_path / "b")
    assert re.findall(r"<summary><h3>(.*?)</h3>", section(page, "classes")) == ["a", "b"]
    assert text_of(section(page, "curves")).endswith("a b")
    assert [len(re.findall("<tr>", part)) for part in section(page, "classes").split("<thead>")[1:]] == [4, 5, 6, 4]


def test_many_classes_are_collapsed(tmp_path):
    write_run(tmp_path, predictions=make_predictions(num_seen=5, num_unseen=40, per_class=2, num_attributes=12))
    tables = section(render(tmp_path), "classes").split("<thead>")[1:]
    assert [len(re.findall("<tr>", table)) - 1 for table in tables] == [30, 40, 5]
    assert tables[0].split("<tbody>")[1].split("</tbody>")[0] in tables[1]  # the worst come first
    assert "All 40 unseen classes" in tables[0]


def test_configurations(tmp_path):
    for name, seed in (("a", 1), ("b", 2)):
        write_run(tmp_path / name, seed=seed, config={"TEST": {"GAMMA": 0.7}})
    several, one = (
        section(render(*folders), "configuration") for folders in ([tmp_path / "a", tmp_path / "b"], [tmp_path / "a"])
    )
    assert text_of(several).endswith("key a b SEED 1 2")
    assert text_of(one).endswith('key a DTYPE "float32" SEED 1 TEST.GAMMA 0.7') and "<details>" in one
    for name in "ab":
        write_run(tmp_path / name)
    assert "do not differ in any key" in section(render(tmp_path / "a", tmp_path / "b"), "configuration")


def test_many_runs_look_different():
    found = styles(28)
    assert len({(style.colour, style.line) for style in found}) == len({(s.colour, s.dashes) for s in found}) == 28
    assert len(styles(30)) == 30


def test_rows_nobody_foresaw_are_drawn():
    rows = {"$\\foo$": {"U": 0.5, "S": 0.5}, "oracle": {"U": 0.4, "S": 0.6, "uses_test_labels": True}}
    figure = draw_curves([(styles(1)[0], None, rows)])
    assert as_svg(figure, "").uri
    texts = [text.get_text() for text in figure.axes[0].get_legend().get_texts()]
    assert texts == ["row oracle, chosen on test labels", "row $\\foo$"]


def test_histories_are_ordered_and_hold_the_runs_that_have_them():
    lines = [{"epoch": 1, "loss": 2.0}, {"epoch": 2, "loss": 1.0, "T1": 0.5}]
    figures = draw_histories(list(zip(styles(2), (lines, [{"epoch": 1, "loss": 3.0, "ce": 1.0}]), strict=True)))
    assert list(figures) == ["loss", "loss term ce", "T1 (%)"]
    drawn = {title: [line.get_xydata().tolist() for line in figure.axes[0].lines] for title, figure in figures.items()}
    assert drawn == {"loss": [[[1, 2], [2, 1]], [[1, 3]]], "loss term ce": [[[1, 1]]], "T1 (%)": [[[2, 50]]]}


def test_the_page_is_written_whole_or_not_at_all(tmp_path):
    write_run(tmp_path / "a")
    runs = read_runs([tmp_path / "a"])
    write_page(tmp_path / "pages" / "page.html", runs)
    assert (tmp_path / "pages" / "page.html").read_text(encoding="utf-8") == render(tmp_path / "a")
    with pytest.raises(TypeError):
        write_page(tmp_path / "other.html", [replace(runs[0], results=None)])
    assert not (tmp_path / "other.html").exists()


def test_templates_are_installed(tmp_path):
    pytest.importorskip("setuptools")
    command = [
        sys.executable,
        "setup.py",
        "-q",
        "build",
        "--build-base",
        str(tmp_path),
        "--build-lib",
        str(tmp_path / "lib"),
    ]
    subprocess.run(command, cwd=REPOSITORY, check=True, capture_output=True)
    templates = {path.name for path in (REPOSITORY / "REZSL" / "report" / "templates").iterdir()}
    assert {path.name for path in (tmp_path / "lib" / "REZSL" / "report" / "templates").iterdir()} == templates
