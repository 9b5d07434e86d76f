"""Figures are files that open."""

import xml.etree.ElementTree as ElementTree

import numpy as np
import pytest
from PIL import Image

from REZSL.evaluation import Predictions, evaluate
from REZSL.report import draw_run


@pytest.fixture
def results():
    rng = np.random.default_rng(0)
    attributes, labels = rng.random((30, 4)), np.arange(30) % 5
    return evaluate(Predictions(attributes, labels, rng.random((5, 4)), 3, 20.0, tuple("abcde"), np.arange(30)), 0.7)


@pytest.mark.parametrize(
    ("history", "names"),
    [
        (["evaluated", "not", "evaluated"], {"training", "seen_unseen"}),
        (["not"], {"training", "seen_unseen"}),
        ([], {"seen_unseen"}),
    ],
    ids=["some epochs evaluated", "none evaluated", "no training"],
)
def test_png_and_svg(tmp_path, results, history, names):
    lines = [
        {"epoch": n, "loss": 1 / n} | (results.as_dict() if h == "evaluated" else {}) for n, h in enumerate(history, 1)
    ]
    draw_run(tmp_path / "figures", lines, results, r"Basic & Net on <CUB>, $\seed$ 1")
    files = {file.name for file in (tmp_path / "figures").iterdir()}
    assert files == {f"{name}{suffix}" for name in names for suffix in (".png", ".svg")}
    for name in names:
        with Image.open(tmp_path / "figures" / f"{name}.png") as image:
            assert len(np.unique(np.asarray(image.convert("L")))) > 10  # something is drawn
        root = ElementTree.parse(tmp_path / "figures" / f"{name}.svg").getroot()
        assert len(list(root.iter("{http://www.w3.org/2000/svg}path"))) > 10
