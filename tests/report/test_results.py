"""Results as JSON and as a table."""

import json

import numpy as np
import pytest

from REZSL.evaluation import Curve, Results, Row
from REZSL.report import format_results, maxima_over_epochs, write_json

RESULTS = Results(
    T1=0.8094,
    AUSUC=0.5,
    gzsl={
        "gamma=0": Row(0.0, 0.25, 0.75, 0.375),
        "fixed": Row(0.7, 0.5, 0.5, 0.5),
        "oracle": Row(1.234, 0.728, 0.748, 0.738, uses_test_labels=True),
    },
    curve=Curve(*np.zeros((3, 1))),
)
NAMES = ["T1", "AUSUC", *(f"{row} {key}" for row in RESULTS.gzsl for key in "USH")]
INTERVALS = {name: (n / 100, n / 100 + 0.1) for n, name in enumerate(NAMES)}


def test_json_round_trip(tmp_path):
    content = {"dataset": "CUB", "seed": 214, **RESULTS.as_dict()}
    write_json(tmp_path / "results.json", content)
    assert json.loads((tmp_path / "results.json").read_text()) == content


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
def test_json_refuses_what_json_has_no_word_for(tmp_path, value):
    write_json(tmp_path / "results.json", {"T1": 0.5})
    with pytest.raises(ValueError, match="JSON compliant"):
        write_json(tmp_path / "results.json", {"gzsl": {"fixed": {"H": value}}})
    assert json.loads((tmp_path / "results.json").read_text()) == {"T1": 0.5}
    assert len(list(tmp_path.iterdir())) == 1


def test_the_table_has_every_row_in_percent():
    lines = [line.split() for line in format_results(RESULTS, INTERVALS).splitlines()]
    assert lines[0][:5] == ["ZSL", "T1", "80.9", "[0.0", "10.0]"]
    assert lines[1][:5] == ["GZSL", "AUSUC", "50.0", "[1.0", "11.0]"]
    table = {line[0]: line[1:5] for line in lines[3:-1]}
    assert table == {
        "row": ["gamma", "U", "S", "H"],
        "gamma=0": ["0.000", "25.0", "75.0", "37.5"],
        "fixed": ["0.700", "50.0", "50.0", "50.0"],
        "oracle": ["1.234", "72.8", "74.8", "73.8"],
    }


def test_h_has_its_interval():
    lines = {line.split()[0]: line for line in format_results(RESULTS, INTERVALS).splitlines()[3:]}
    assert "37.5 [4.0 14.0]" in lines["gamma=0"]
    assert "73.8 [10.0 20.0]" in lines["oracle"]


def test_only_the_oracle_row_says_it_uses_test_labels():
    lines = format_results(RESULTS, INTERVALS).splitlines()
    assert [line.split()[0] for line in lines if "test labels" in line] == ["oracle"]


def test_maxima_over_epochs_are_of_epochs_of_their_own():
    history = [{"epoch": n, "T1": t1, "AUSUC": area} for n, t1, area in ((2, 0.5, 0.1), (4, 0.75, 0.3), (6, 0.75, 0.4))]
    found = maxima_over_epochs([{"epoch": 1, "loss": 2.0}, *history])
    assert found == {"T1": {"value": 0.75, "epoch": 4}, "AUSUC": {"value": 0.4, "epoch": 6}}
    assert maxima_over_epochs([{"epoch": 1}]) == maxima_over_epochs([]) == {}
    *table, line = format_results(RESULTS, INTERVALS, found).splitlines()
    assert (
        table == format_results(RESULTS, INTERVALS, {}).splitlines() == format_results(RESULTS, INTERVALS).splitlines()
    )
    assert line == (
        "maxima over epochs, each of its own, picked on test labels, as published: "
        "T1 75.0 (epoch 4), AUSUC 40.0 (epoch 6)"
    )
