"""Paired comparison of the imbalance of two methods, from their runs' predictions."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from REZSL.utils.errors import DataError

from .analysis import (
    GROUPS,
    MEASURES,
    ErrorTable,
    Summary,
    class_means,
    difference_of_data,
    error_table,
    image_errors,
    summarise,
)
from .protocol import Predictions
from .uncertainty import t_interval

INTERVALS = ("bootstrap over images", "t over pairs")  # of one pair, of several


@dataclass(frozen=True)
class Difference:
    """One measure of :class:`Summary`, in one group, of the runs minus the runs they are compared against.

    Attributes:
        group: ``all``, ``seen`` or ``unseen``.
        measure: name of the field of :class:`Summary`.
        against: mean over the runs compared against.
        run: mean over the runs.
        mean: mean over pairs of run - against; below 0 the runs have less.
        std: standard deviation over pairs (divided by their number less one); NaN for a single pair.
        low: lower end of the interval of ``mean``; NaN where the measure is not defined.
        high: upper end.
        pairs: number of pairs.
        interval: ``t over pairs`` or ``bootstrap over images``.
    """

    group: str
    measure: str
    against: float
    run: float
    mean: float
    std: float
    low: float
    high: float
    pairs: int
    interval: str


def compare(
    runs: Sequence[Predictions],
    against: Sequence[Predictions],
    kind: str = "squared",
    *,
    resamples: int = 1000,
    confidence: float = 0.95,
    seed: int = 0,
) -> list[Difference]:
    """Compares every measure of the imbalance, run by run: the first with the first, the second with the second.

    - Two pairs or more: Student's t-interval of their differences, which is about other seeds. A bootstrap over few
      pairs, which cannot leave their range, would be narrower than its name says.
    - A single pair: a bootstrap from quantile (1 - confidence) / 2 to 1 minus that. Images are drawn with replacement
      within each class, the same ones for both runs. It is about other test images of the same classes, and says
      nothing about other seeds. Since drawing adds noise to the class means, it shifts correlations and standard
      deviations; so the interval is moved to have the resamples' mean at ``mean``.

    Args:
        runs: predictions of the method looked at.
        against: predictions of the method it is compared against, as many, in the same order.
        kind: ``squared`` or ``absolute`` error.
        resamples: number of bootstrap resamples (1 or more) of a single pair.
        confidence: in 0..1, both excluded.
        seed: of the bootstrap.

    Returns:
        A difference for every group and measure, groups first.

    Raises:
        ValueError: arguments out of range.
        DataError: other numbers of runs, or runs that were not tested on the same images.
    """
    if resamples < 1 or not 0 < confidence < 1:
        raise ValueError(f"resamples is {resamples} and confidence {confidence}, expected >= 1 and between 0 and 1")
    if not runs or len(runs) != len(against):
        raise DataError(f"{len(runs)} runs to compare against {len(against)}: they are paired by order")
    values = np.array([[_values(summarise(table)) for table in pair] for pair in _paired(runs, against, kind)])
    differences = values[:, 0] - values[:, 1]  # (P, M)
    if len(runs) > 1:
        intervals = [t_interval(column, confidence) for column in differences.T]
        ends = np.array([(interval.low, interval.high) for interval in intervals]).T
    else:
        drawn = _resample_images(runs[0], against[0], kind, resamples, np.random.default_rng(seed))  # (R, M)
        drawn += differences[0] - drawn.mean(0)
        ends = np.quantile(drawn, [(1 - confidence) / 2, (1 + confidence) / 2], axis=0)
    return _differences(values, ends)


def _differences(values: np.ndarray, ends: np.ndarray) -> list[Difference]:
    """Names the measures ``values`` (P, 2, M) of runs and against, and the ``ends`` (2, M) of their intervals."""
    pairs = len(values)
    differences = values[:, 0] - values[:, 1]
    std = differences.std(0, ddof=1) if pairs > 1 else np.full(differences.shape[1], np.nan)
    columns = (values[:, 1].mean(0), values[:, 0].mean(0), differences.mean(0), std, *ends)
    names = [(group, measure) for group in GROUPS for measure in MEASURES]
    return [
        Difference(*name, *map(float, numbers), pairs=pairs, interval=INTERVALS[pairs > 1])
        for name, *numbers in zip(names, *columns, strict=True)
    ]


def _paired(
    runs: Sequence[Predictions], against: Sequence[Predictions], kind: str
) -> list[tuple[ErrorTable, ErrorTable]]:
    pairs = []
    for number, (a, b) in enumerate(zip(runs, against, strict=True), 1):
        pair = error_table(a, kind), error_table(b, kind)
        reason = difference_of_data(*pair)
        if not reason and not (np.array_equal(a.images, b.images) and np.array_equal(a.labels, b.labels)):
            reason = "other images, or the same in another order"
        if reason:
            raise DataError(f"the runs of pair {number} were not tested on the same data: {reason}")
        pairs.append(pair)
    return pairs


def _resample_images(
    run: Predictions, against: Predictions, kind: str, resamples: int, rng: np.random.Generator
) -> np.ndarray:
    """Returns (R, M) the differences of all measures, each on images drawn anew within each class."""
    errors = np.concatenate([image_errors(run, kind), image_errors(against, kind)], 1)  # (N, 2K)
    tables = error_table(run, kind), error_table(against, kind)
    order = run.labels.argsort(kind="stable")
    labels = run.labels[order]
    count = tables[0].count
    first = (count.cumsum() - count)[labels]  # where the class of each image begins in ``order``
    result = []
    for _ in range(resamples):
        rows = order[first + (rng.random(len(labels)) * count[labels]).astype(np.int64)]
        means = np.split(class_means(errors, labels, len(count), rows), 2, axis=1)
        drawn = [_values(summarise(replace(table, error=error))) for table, error in zip(tables, means, strict=True)]
        result.append(drawn[0] - drawn[1])
    return np.array(result)


def _values(summaries: dict[str, Summary]) -> np.ndarray:
    return np.array([getattr(summaries[group], measure) for group in GROUPS for measure in MEASURES])
