"""Tables and figures of the imbalance analysis."""

import math
import xml.etree.ElementTree as ElementTree
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from PIL import Image

from REZSL.evaluation import Predictions, compare, correlations, error_table, summarise
from REZSL.evaluation.analysis import MEASURES
from REZSL.report import (
    analysis_figures,
    attribute_table,
    class_table,
    comparison_table,
    draw_analysis,
    error_matrix,
    format_notes,
    read_attribute_names,
    summary_table,
)
from REZSL.report.analysis_figures import LABEL_PITCH, LABEL_SIZE, draw_attributes, draw_error_signature, draw_heat_maps
from REZSL.utils.errors import DataError


def make(seed=0, num_seen=4, num_unseen=3, num_attributes=6, n=40, empty=()):
    rng = np.random.default_rng(seed)
    classes = num_seen + num_unseen
    signatures = np.random.default_rng(99).random((classes, num_attributes))
    labels = np.arange(n) % classes
    labels[np.isin(labels, empty)] = 1
    names = tuple(f"{c:03d}.Größe_$x_{c}$" for c in range(classes))  # "$" must not be read as mathematics
    attributes = signatures[labels] + rng.normal(0, 0.3, (n, num_attributes))
    return Predictions(attributes, labels, signatures, num_seen, 20.0, names, np.arange(n))


NAMES = [f"has_colour::$red_{k}$" for k in range(6)]


@pytest.fixture
def tables():
    return [error_table(make(seed, empty=(2,))) for seed in range(2)]


def columns(table):
    return dict(zip(table.header, zip(*table.rows, strict=True), strict=True))


def test_summary_of_one_run(tables):
    summary = summarise(tables[0])
    table = summary_table(["runs/a"], [summary], "squared")
    assert list(table.header) == ["group", "measure of squared error", "runs/a"]
    rows = {(group, measure): value for group, measure, value in table.rows}
    assert len(rows) == 3 * 11
    assert rows["unseen", "error_std"] == summary["unseen"].error_std
    assert rows["seen", "classes"] == 3


def test_summary_of_several_runs(tables):
    summaries = [summarise(table) for table in tables]
    table = summary_table(["a", "b"], summaries, "squared")
    rows = {tuple(row[:2]): row[2:] for row in table.rows}
    a, b = (summary["all"].pearson_class for summary in summaries)
    assert rows["all", "pearson_class"] == pytest.approx([a, b, (a + b) / 2, abs(a - b) / 2**0.5])
    assert all(math.isnan(x) for x in rows["all", "images"][2:])


def test_comparison():
    differences = compare([make(0)], [make(1)], resamples=5)
    content = columns(comparison_table(differences, "squared"))
    assert set(content["measure of squared error"]) == set(MEASURES)
    assert content["run - against"] == tuple(d.mean for d in differences)
    assert content["low"] == tuple(d.low for d in differences)
    assert content["against"] == tuple(d.against for d in differences)
    assert set(content["interval"]) == {"bootstrap over images"}


def test_attributes(tables):
    content = columns(attribute_table(tables, tables[:1], NAMES))
    assert content["attribute"] == tuple(range(6)) and list(content["name"]) == NAMES
    error = np.mean([table.error for table in tables], 0)[[0, 1, 3, 4, 5, 6]]
    assert content["squared_error_all"] == pytest.approx(error.mean(0))
    assert content["squared_error_seen"] == pytest.approx(error[:3].mean(0))
    assert content["against_squared_error_unseen"] == pytest.approx(tables[0].error[4:].mean(0))
    assert content["against_spearman"] == pytest.approx(correlations(tables[0], "spearman", 0))
    assert "name" not in attribute_table(tables).header
    assert not [name for name in attribute_table(tables).header if name.startswith("against")]


def test_classes(tables):
    content = columns(class_table(tables[:1], tables[1:]))
    assert content["class"] == tuple(tables[0].class_names[c] for c in (0, 1, 3, 4, 5, 6))
    assert content["group"] == ("seen",) * 3 + ("unseen",) * 3
    assert content["images"] == tuple(tables[0].count[[0, 1, 3, 4, 5, 6]])
    assert content["squared_error"] == pytest.approx(tables[0].error[[0, 1, 3, 4, 5, 6]].mean(1))
    assert content["against_pearson"] == pytest.approx(correlations(tables[1], "pearson", 1))


def test_the_matrix(tables):
    table = error_matrix(tables[:1], NAMES)
    assert list(table.header) == ["class (squared error)", *NAMES]
    assert np.array([row[1:] for row in table.rows]) == pytest.approx(tables[0].error[[0, 1, 3, 4, 5, 6]])
    assert list(error_matrix(tables[:1]).header) == ["class (squared error)", *"012345"]


def test_every_measure_is_explained():
    assert tuple(line.split()[0] for line in format_notes().splitlines()) == MEASURES


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("1 has_bill_shape::curved\n2 has_wing::buff (pale)\n", ("has_bill_shape::curved", "has_wing::buff (pale)")),
        ("     1\tblack\r\n     2\twhite\r\n", ("black", "white")),
        ("0 black\n1 white", ("black", "white")),
        ("\ufeff1 black\n2 white", ("black", "white")),
        ("4 legs\n2 wings\n", ("4 legs", "2 wings")),
        ("1 leg\n3 legs\n", ("1 leg", "3 legs")),
        ("striped\n2 legs\n\n\n", ("striped", "2 legs")),
    ],
    ids=["CUB", "AWA2", "from 0", "byte order mark", "numbers of their own", "not in order", "names"],
)
def test_attribute_names(tmp_path, text, names):
    (tmp_path / "names.txt").write_bytes(text.encode())
    assert read_attribute_names(tmp_path / "names.txt", 2) == names


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"a\nb\nc\n", r"names.txt names 3 attributes, the predictions have 2"),
        (b"", r"names.txt names 0 attributes, the predictions have 2"),
        (b"a\n\nb\n", r"names.txt: line 2 is empty"),
        (b"caf\xe9\nb\n", r"names.txt holds no attribute names: .*utf-8"),
    ],
)
def test_files_that_are_no_attribute_names(tmp_path, content, message):
    (tmp_path / "names.txt").write_bytes(content)
    with pytest.raises(DataError, match=message):
        read_attribute_names(tmp_path / "names.txt", 2)


@pytest.mark.long
def test_figures_are_files_that_open(tmp_path, tables):
    draw_analysis(tmp_path / "figures", tables, tables[:1], NAMES, ("ReMSE", "$MSE$"))
    names = {"heat_maps", "error_signature", "attributes_seen", "attributes_unseen"}
    assert {p.name for p in (tmp_path / "figures").iterdir()} == {f"{n}{s}" for n in names for s in (".png", ".svg")}
    for name in names:
        with Image.open(tmp_path / "figures" / f"{name}.png") as image:
            assert len(np.unique(np.asarray(image.convert("L")))) > 10
        ElementTree.parse(tmp_path / "figures" / f"{name}.svg")


def test_heat_maps_are_sorted_and_parted(tables):
    a, b = tables
    figure = draw_heat_maps({"before": a, "after": b}, NAMES)
    panels = [axes for axes in figure.axes if axes.images]
    assert [axes.get_title() for axes in panels][1:] == ["squared error: before", "squared error: after"]
    signature, before, after = (np.asarray(axes.images[0].get_array()) for axes in panels)
    attributes = sorted(range(6), key=lambda k: -np.nanmean(b.error[:, k]))
    seen, unseen = (sorted(part, key=lambda c: -b.error[c].mean()) for part in ((0, 1, 3), (4, 5, 6)))
    for drawn, values in ((signature, b.signatures), (before, a.error), (after, b.error)):
        assert drawn == pytest.approx(values[np.ix_(seen + unseen, attributes)])
    assert [line.get_ydata()[0] for line in panels[0].lines] == [2.5, 2.5]
    assert [tick.get_text() for tick in panels[0].get_yticklabels()] == [a.class_names[c] for c in seen + unseen]
    assert [tick.get_text() for tick in panels[2].get_xticklabels()] == [NAMES[k] for k in attributes]
    assert len({(axes.images[0].norm.vmin, axes.images[0].norm.vmax) for axes in panels[1:]}) == 1


def test_bars_are_sorted_by_the_error_before(tables):
    a, b = tables
    figure = draw_attributes({"before": [a], "after": [a, b]}, NAMES, "unseen")
    (axes,) = figure.axes
    expected = np.sort(a.attribute_error("unseen"))[::-1]
    before, after = axes.containers[0], axes.containers[-1]
    assert [bar.get_width() for bar in before] == pytest.approx(expected)
    order = a.attribute_error("unseen").argsort()[::-1]
    both = (a.attribute_error("unseen") + b.attribute_error("unseen")) / 2
    assert [bar.get_width() for bar in after] == pytest.approx(both[order])
    assert [tick.get_text() for tick in axes.get_yticklabels()] == [NAMES[k] for k in order]
    assert "whiskers" in figure.get_supxlabel()


def test_the_fitted_line(tables):
    table = replace(tables[0], error=0.25 + 0.5 * tables[0].signatures)
    figure = draw_error_signature({"run": table})
    assert "r 1.00, rho 1.00, slope 0.5" in figure.axes[0].get_title()
    line = figure.axes[0].lines[-1]
    assert line.get_ydata() == pytest.approx(0.25 + 0.5 * np.asarray(line.get_xdata()))


@pytest.mark.parametrize(
    "predictions",
    [
        make(num_unseen=0),
        make(num_seen=1, num_unseen=1),
        make(num_attributes=1),
        replace(make(), attributes=make().signatures[make().labels]),
        replace(make(), signatures=np.ones((7, 6))),
    ],
    ids=["seen alone", "a class each", "one attribute", "no error", "constant signatures"],
)
def test_degenerate_inputs_are_drawn(tmp_path, monkeypatch, predictions):
    drawn = {}
    monkeypatch.setattr(analysis_figures, "save_figure", lambda figure, stem: drawn.update({stem.name: figure}))
    draw_analysis(tmp_path, [error_table(predictions)])
    assert len(drawn) == 3 + (predictions.num_seen < len(predictions.signatures))
    for figure in drawn.values():
        figure.draw_without_rendering()


def overlapping(axes, axis, labels):
    """Labels whose extents, across the axis, meet those of the next."""
    edges = [(box.y0, box.y1) if axis == "y" else (box.x0, box.x1) for box in (t.get_window_extent() for t in labels)]
    return sum(min(a[1], b[1]) - max(a[0], b[0]) > 1 for a, b in pairwise(edges))


@pytest.mark.long
def test_names_do_not_overlap_at_312_attributes_and_200_classes():
    table = error_table(make(num_seen=150, num_unseen=50, num_attributes=312, n=400))
    names = [f"has_upper_tail_color::multi-colored_{k}" for k in range(312)]
    figure = draw_heat_maps({"run": table}, names)
    figure.draw_without_rendering()
    for axes in (axes for axes in figure.axes if axes.images):
        for axis, labels in (("x", axes.get_xticklabels()), ("y", axes.get_yticklabels())):
            assert len(labels) == 0 or len(labels) > 50
            assert overlapping(axes, axis, labels) == 0
    figure = draw_attributes({"before": [table], "after": [table]}, names, "seen")
    figure.draw_without_rendering()
    assert sum(len(axes.get_yticklabels()) for axes in figure.axes) == 312
    for axes in figure.axes:
        assert overlapping(axes, "y", axes.get_yticklabels()) == 0
    assert LABEL_PITCH > LABEL_SIZE / 72


def test_of_very_many_attributes_the_largest_errors_are_drawn():
    rng = np.random.default_rng(0)
    p = Predictions(rng.random((8, 3000)), np.arange(8) % 4, rng.random((4, 3000)), 2, 1.0, tuple("abcd"), np.arange(8))
    figure = draw_attributes({"run": [error_table(p)]}, [str(k) for k in range(3000)], "seen")
    assert sum(len(axes.patches) for axes in figure.axes) == 640
    assert "the largest 640 of 3000" in figure.get_supxlabel()
