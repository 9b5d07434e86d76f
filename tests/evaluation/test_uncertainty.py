"""Intervals against textbook numbers, and against what they promise."""

import math

import numpy as np
import pytest

from REZSL.evaluation import Predictions, bootstrap_intervals, evaluate, evaluate_gzsl, t_interval


def test_a_case_from_the_tables():
    """Five values: the 97.5 % quantile of Student's t with 4 degrees of freedom is 2.776445."""
    interval = t_interval([1.0, 2.0, 3.0, 4.0, 5.0])
    half = 2.776445 * math.sqrt(2.5) / math.sqrt(5)
    assert (interval.mean, interval.count) == (3.0, 5)
    assert interval.std == pytest.approx(math.sqrt(2.5))
    assert (interval.low, interval.high) == pytest.approx((3 - half, 3 + half), rel=1e-6)


def test_a_higher_confidence_is_wider():
    narrow, wide = (t_interval([1.0, 2.0, 4.0], confidence) for confidence in (0.5, 0.99))
    assert wide.low < narrow.low < narrow.mean == wide.mean < narrow.high < wide.high


def test_the_interval_holds_the_mean_as_often_as_it_says():
    rng = np.random.default_rng(0)
    held = [abs((i := t_interval(rng.normal(7, 3, size=4), 0.8)).mean - 7) < (i.high - i.low) / 2 for _ in range(4000)]
    assert np.mean(held) == pytest.approx(0.8, abs=0.025)  # four standard errors


def test_one_value_has_no_spread():
    interval = t_interval([2.5])
    assert (interval.mean, interval.count) == (2.5, 1)
    assert all(math.isnan(x) for x in (interval.std, interval.low, interval.high))


@pytest.mark.parametrize(("values", "confidence"), [([], 0.95), ([1.0], 0.0), ([1.0], 1.0)])
def test_wrong_arguments_are_refused(values, confidence):
    with pytest.raises(ValueError, match="expected some and between 0 and 1"):
        t_interval(values, confidence)


def make_predictions(n=60, num_seen=3, num_unseen=3, seed=0):
    rng = np.random.default_rng(seed)
    signatures = rng.random((num_seen + num_unseen, 5))
    labels = np.r_[np.arange(len(signatures)), rng.integers(0, len(signatures), n - len(signatures))]
    attributes = signatures[labels] + rng.normal(0, 0.3, (n, 5))
    names = tuple(map(str, range(len(signatures))))
    return Predictions(attributes, labels, signatures, num_seen, 5.0, names, np.arange(n))


def loop_bootstrap(p, results, resamples, seed):
    """Draws images class by class, and evaluates each draw from scratch."""
    rng = np.random.default_rng(seed)
    seen = np.arange(len(p.signatures)) < p.num_seen
    scores, drawn = p.scores(), []
    for _ in range(resamples):
        of_class = [np.flatnonzero(p.labels == c) for c in range(len(seen))]
        rows = np.concatenate([rng.choice(images, len(images)) for images in of_class])
        figures = {}
        for name, row in results.gzsl.items():
            at = evaluate_gzsl(scores[rows], p.labels[rows], seen, row.gamma)
            figures |= {"T1": at.T1, "AUSUC": at.AUSUC, f"{name} U": at.U, f"{name} S": at.S, f"{name} H": at.H}
        drawn.append(figures)
    return {name: np.array([figures[name] for figures in drawn]) for name in drawn[0]}


def test_bootstrap_intervals_are_those_of_a_loop():
    """Other draws, so the same up to the noise of the quantiles, for which many small resamples are taken."""
    p = make_predictions()
    results = evaluate(p, 0.5, val_gamma=1.0)
    ours = bootstrap_intervals(p, results, resamples=4000)
    theirs = loop_bootstrap(p, results, 1500, seed=1)
    assert ours.keys() == theirs.keys()
    for name, interval in ours.items():
        spread = np.ptp(np.quantile(theirs[name], [0.025, 0.975]))
        np.testing.assert_allclose(
            interval, np.quantile(theirs[name], [0.025, 0.975]), atol=0.12 * spread + 0.01, err_msg=name
        )


def test_images_of_classes_all_right_or_all_wrong_leave_no_doubt():
    """Drawing within a class cannot change its accuracy; drawing over all images would change the classes' sizes."""
    labels = np.array([0, 0, 1, 2, 2, 2])  # an image of class 2 looks like class 3
    p = Predictions(np.eye(4)[[0, 0, 1, 2, 2, 3]], labels, np.eye(4), 2, 20.0, tuple("abcd"), np.arange(6))
    intervals = bootstrap_intervals(p, evaluate(p, 0.7), resamples=200)
    assert intervals["gamma=0 S"] == (1.0, 1.0)
    assert intervals["gamma=0 U"][0] < intervals["gamma=0 U"][1]


def test_bootstrap_is_seeded_and_narrows_with_confidence():
    p = make_predictions()
    results = evaluate(p, 0.5)
    assert bootstrap_intervals(p, results, 70) == bootstrap_intervals(p, results, 70)
    wide, narrow = (bootstrap_intervals(p, results, 300, confidence)["T1"] for confidence in (0.99, 0.5))
    assert wide[0] < narrow[0] <= results.T1 <= narrow[1] < wide[1]


@pytest.mark.parametrize(("resamples", "confidence"), [(0, 0.95), (10, 1.0), (10, 0.0)])
def test_wrong_bootstrap_arguments_are_refused(resamples, confidence):
    p = make_predictions()
    with pytest.raises(ValueError, match="expected >= 1 and between 0 and 1"):
        bootstrap_intervals(p, evaluate(p, 0.5), resamples, confidence)
