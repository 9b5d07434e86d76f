"""What several runs' results come to."""

import json
import statistics

import pytest

from REZSL.report import figures_of, read_results, seeds_table
from REZSL.utils.errors import DataError


def results(t1, h=0.5, gamma=1.5):
    return {"T1": t1, "AUSUC": 0.25, "gzsl": {"oracle": {"gamma": gamma, "U": 0.4, "S": 0.6, "H": h}}}


def test_figures_have_the_names_of_their_rows():
    assert figures_of(results(0.75)) == {
        "T1": 0.75, "AUSUC": 0.25, "oracle gamma": 1.5, "oracle U": 0.4, "oracle S": 0.6, "oracle H": 0.5,
    }  # fmt: skip


def test_seeds_give_mean_deviation_and_interval_in_percent():
    values, gammas = [0.70, 0.74, 0.81], [1.0, 2.0, 6.0]
    table = seeds_table([results(t1, gamma=g) for t1, g in zip(values, gammas, strict=True)])
    rows = {row[0]: row[1:] for row in table.rows}
    half = 4.302653 * 100 * statistics.stdev(values) / 3**0.5  # the quantile with 2 degrees of freedom
    expected = [75, 100 * statistics.stdev(values), 75 - half, 75 + half]
    assert rows["T1"] == pytest.approx(expected, abs=0.006)
    assert rows["oracle gamma"][:2] == pytest.approx([3.0, statistics.stdev(gammas)], abs=0.006)
    assert rows["AUSUC"] == [25, 0, 25, 25]


def test_only_figures_of_all_runs_are_summarised():
    more = results(0.5)
    more["gzsl"] |= {"val": more["gzsl"]["oracle"]}
    assert [row[0] for row in seeds_table([more, results(0.5)]).rows] == list(figures_of(results(0.5)))


def test_results_are_read_as_written(tmp_path):
    (tmp_path / "results.json").write_text(json.dumps(results(0.5)))
    assert read_results(tmp_path) == results(0.5)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "is no finished run: it has no results.json"),
        ("{", "holds no results"),
        ("[1]", "holds no results"),
        ('{"T1": 1, "AUSUC": 1}', "holds no results: gzsl is missing"),
        ('{"T1": null, "AUSUC": 1, "gzsl": {}}', "holds no results"),
    ],
)
def test_what_is_no_results_is_told(tmp_path, content, message):
    if content is not None:
        (tmp_path / "results.json").write_text(content)
    with pytest.raises(DataError, match=message):
        read_results(tmp_path)
