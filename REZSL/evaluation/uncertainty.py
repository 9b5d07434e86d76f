"""How far figures can be trusted: over seeds, and over the images of a run."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import scipy.stats


@dataclass(frozen=True)
class Interval:
    """A mean with its confidence interval.

    Attributes:
        mean: of the values.
        std: standard deviation of the values (divided by their number less one); NaN for a single value.
        low: lower end of the interval of the mean; NaN for a single value.
        high: upper end.
        count: number of values.
    """

    mean: float
    std: float
    low: float
    high: float
    count: int


def t_interval(values: Sequence[float], confidence: float = 0.95) -> Interval:
    """Returns the mean of ``values``, e.g. a figure's over seeds, with its Student-t interval.

    Args:
        values: one or more, taken for independent draws of a normal distribution.
        confidence: in 0..1, both excluded.
    """
    if not len(values) or not 0 < confidence < 1:
        raise ValueError(f"{len(values)} values and confidence {confidence}, expected some and between 0 and 1")
    values = np.asarray(values, np.float64)
    mean, count = float(values.mean()), len(values)
    if count == 1:
        return Interval(mean, float("nan"), float("nan"), float("nan"), 1)
    std = float(values.std(ddof=1))
    half = float(scipy.stats.t.ppf((1 + confidence) / 2, count - 1)) * std / count**0.5
    return Interval(mean, std, mean - half, mean + half, count)
