"""Paired differences and their intervals."""

import math
from dataclasses import replace
from statistics import fmean, stdev

import numpy as np
import pytest

from REZSL.evaluation import Predictions, compare, comparison, error_table, summarise
from REZSL.utils.errors import DataError


def make(seed=0, noise=0.3, per_class=6):
    rng = np.random.default_rng(seed)
    signatures = np.random.default_rng(99).random((7, 6))
    labels = np.random.default_rng(98).permutation(np.repeat(np.arange(7), per_class))
    attributes = signatures[labels] + rng.normal(0, noise, (len(labels), 6))
    return Predictions(attributes, labels, signatures, 4, 20.0, tuple("abcdefg"), np.arange(len(labels)))


def test_differences_of_pairs_are_those_of_a_loop():
    runs, against = [make(seed, 0.2) for seed in range(3)], [make(seed + 10, 0.4) for seed in range(3)]
    differences = compare(runs, against, "squared")
    ours, theirs = ([summarise(error_table(p, "squared")) for p in part] for part in (runs, against))
    assert len(differences) == 3 * 7
    for d in differences:
        a, b = ([getattr(summary[d.group], d.measure) for summary in part] for part in (ours, theirs))
        pairs = [x - y for x, y in zip(a, b, strict=True)]
        assert (d.run, d.against) == pytest.approx((fmean(a), fmean(b)))
        assert (d.mean, d.std) == pytest.approx((fmean(pairs), stdev(pairs)))
        half = 4.302653 * stdev(pairs) / 3**0.5  # the quantile of Student's t with 2 degrees of freedom
        assert (d.low, d.high) == pytest.approx((d.mean - half, d.mean + half))
        assert (d.pairs, d.interval) == (3, "t over pairs")


@pytest.mark.parametrize("count", [2, 3, 5])
def test_the_interval_of_few_pairs_covers_what_it_says(monkeypatch, count):
    """95 % of normal differences, as the number of pairs has them; the range of three pairs covers 75 %."""
    rng = np.random.default_rng(0)
    monkeypatch.setattr(comparison, "_paired", lambda runs, *rest: [(0, 1)] * len(runs))
    monkeypatch.setattr(comparison, "summarise", lambda table: None)
    monkeypatch.setattr(comparison, "_values", lambda summary: rng.normal(size=21))
    found = [d for _ in range(200) for d in compare([None] * count, [None] * count)]
    assert 0.93 < fmean(d.low <= 0 <= d.high for d in found) < 0.97


def test_a_single_pair_draws_images_within_classes():
    """Of the mean error, the interval is that of the normal approximation with stratified variances."""
    run, against = make(0, 0.2, per_class=40), make(1, 0.4, per_class=40)
    d = next(d for d in compare([run], [against], resamples=250) if (d.group, d.measure) == ("all", "error_mean"))
    unit = [p / np.linalg.norm(p, axis=1, keepdims=True) for p in (run.attributes, against.attributes, run.signatures)]
    each = ((unit[0] - unit[2][run.labels]) ** 2 - (unit[1] - unit[2][run.labels]) ** 2).mean(1)
    variance = fmean(each[run.labels == c].var() / 40 for c in range(7)) / 7
    assert d.mean == pytest.approx(fmean(each[run.labels == c].mean() for c in range(7)))
    assert (d.low, d.high) == pytest.approx((d.mean - 1.96 * variance**0.5, d.mean + 1.96 * variance**0.5), rel=0.15)
    assert (d.pairs, d.interval) == (1, "bootstrap over images") and math.isnan(d.std)


def test_one_image_a_class_leaves_nothing_to_draw():
    for d in compare([make(0, per_class=1)], [make(1, per_class=1)], resamples=5):
        assert (d.low, d.high) == pytest.approx((d.mean, d.mean))


def test_the_interval_holds_the_difference_also_of_correlations():
    """Few images a class, and one run far noisier: uncentred, some intervals would lie to one side of it."""
    for d in compare([make(0, 0.05, per_class=3)], [make(1, 0.8, per_class=3)], resamples=200):
        assert abs((d.low + d.high) / 2 - d.mean) < 0.2 * (d.high - d.low), d


def test_a_run_does_not_differ_from_itself():
    for runs in ([make()], [make(0), make(1)]):
        for d in compare(runs, runs, resamples=20):
            assert (d.mean, d.low, d.high) == (0, 0, 0)


def test_what_is_not_defined_stays_so():
    def with_constant_errors(predictions):
        return replace(predictions, attributes=predictions.signatures[predictions.labels])

    perfect = with_constant_errors(make())
    differences = {(d.group, d.measure): d for d in compare([perfect], [make()], resamples=5)}
    assert differences["all", "error_mean"].mean < 0
    correlation = differences["all", "pearson_class"]
    assert all(math.isnan(x) for x in (correlation.run, correlation.mean, correlation.low, correlation.high))


def test_the_same_seed_gives_the_same_interval():
    first, second, other = (compare([make(0)], [make(1)], resamples=20, seed=seed) for seed in (3, 3, 4))
    intervals = [[(d.low, d.high) for d in differences] for differences in (first, second, other)]
    assert intervals[0] == intervals[1] != intervals[2]


def test_a_wider_confidence_is_a_wider_interval():
    narrow, wide = (compare([make(0)], [make(1)], resamples=50, confidence=c)[0] for c in (0.5, 0.99))
    assert wide.low < narrow.low < narrow.high < wide.high


def test_runs_that_are_no_pair():
    run = make()
    with pytest.raises(DataError, match="1 runs to compare against 2: they are paired by order"):
        compare([run], [run, run])
    with pytest.raises(DataError, match="0 runs to compare"):
        compare([], [])
    with pytest.raises(DataError, match="of pair 2 were not tested on the same data: other images"):
        compare([run, run], [run, replace(run, images=run.images[::-1])])
    with pytest.raises(DataError, match=r"of pair 1 .*other names"):
        compare([run], [replace(run, class_names=tuple("gfedcba"))])


@pytest.mark.parametrize("options", [{"resamples": 0}, {"confidence": 0.0}, {"confidence": 1.0}])
def test_arguments_out_of_range(options):
    with pytest.raises(ValueError, match=r"expected >= 1 and between 0 and 1"):
        compare([make()], [make()], **options)
