"""Intervals against textbook numbers, and against what they promise."""

import math

import numpy as np
import pytest

from REZSL.evaluation import t_interval


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
