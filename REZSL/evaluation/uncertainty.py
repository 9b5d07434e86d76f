"""How far figures can be trusted: over seeds, and over the images of a run."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import scipy.stats

from .curve import Shares, Sweep, best_candidates
from .metrics import harmonic_mean
from .protocol import Predictions, Results

RESAMPLES_AT_ONCE = 64  # bounds the memory: this many numbers an image


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


def bootstrap_intervals(
    predictions: Predictions, results: Results, resamples: int = 1000, confidence: float = 0.95, seed: int = 0
) -> dict[str, tuple[float, float]]:
    """Returns percentile intervals of T1, AUSUC and every row's U, S and H (``oracle H``), over the test images.

    Images are drawn with replacement within each class, so the interval is about other images of the same classes: it
    says nothing about other classes, or other seeds. Each row keeps its gamma; the oracle's is not chosen anew.

    Args:
        predictions: of the test images.
        results: what ``evaluate`` says of them.
        resamples: number of bootstrap resamples (1 or more).
        confidence: in 0..1, both excluded.
        seed: of the bootstrap.
    """
    if resamples < 1 or not 0 < confidence < 1:
        raise ValueError(f"resamples is {resamples} and confidence {confidence}, expected >= 1 and between 0 and 1")
    labels = predictions.labels
    seen = np.arange(len(predictions.signatures)) < predictions.num_seen
    candidates, shares = best_candidates(predictions.scores(), seen), Shares.of(labels, seen)
    means = {"T1": (candidates.unseen == labels) * shares.unseen}
    for name, row in results.gzsl.items():
        right = candidates.predict(row.gamma) == labels
        means |= {f"{name} U": right * shares.unseen, f"{name} S": right * shares.seen}
    names = _names(results)
    sweep = Sweep.of(candidates, labels, seen, shares) if "AUSUC" in names else None
    rng = np.random.default_rng(seed)
    drawn: dict[str, list[np.ndarray]] = {name: [] for name in [*means, *(["AUSUC"] if sweep else [])]}
    for start in range(0, resamples, RESAMPLES_AT_ONCE):
        times = _times_drawn(labels, min(RESAMPLES_AT_ONCE, resamples - start), rng)
        for name, values in means.items():
            drawn[name].append(times @ values)
        if sweep:
            drawn["AUSUC"].append(_areas(sweep, times))
    values = {name: np.concatenate(parts) for name, parts in drawn.items()}
    values |= {f"{name} H": harmonic_mean(values[f"{name} U"], values[f"{name} S"]) for name in results.gzsl}
    ends = [(1 - confidence) / 2, (1 + confidence) / 2]
    return {name: tuple(map(float, np.quantile(values[name], ends))) for name in names}


def _names(results: Results) -> list[str]:
    area = [] if results.AUSUC is None else ["AUSUC"]
    return ["T1", *area, *(f"{name} {key}" for name in results.gzsl for key in "USH")]


def _times_drawn(labels: np.ndarray, resamples: int, rng: np.random.Generator) -> np.ndarray:
    """(R, N): how often each image is drawn when as many as a class has are drawn from it."""
    order = labels.argsort(kind="stable")
    counts = np.bincount(labels)
    of_sorted = labels[order]
    first = (counts.cumsum() - counts)[of_sorted]
    picked = first + (rng.random((resamples, len(labels))) * counts[of_sorted]).astype(np.int64)
    cells = order[picked] + len(labels) * np.arange(resamples)[:, None]
    return np.bincount(cells.ravel(), minlength=resamples * len(labels)).reshape(resamples, -1).astype(np.float64)


def _areas(sweep: Sweep, times: np.ndarray) -> np.ndarray:
    """(R,) the AUSUC when each image counts ``times`` (R, N)."""
    lost, won = (
        np.pad((times * share)[:, sweep.order].cumsum(1)[:, sweep.last], ((0, 0), (1, 0))) for share in sweep.added
    )
    seen = lost[:, -1:] - lost
    return (np.diff(won, axis=1) * (seen[:, 1:] + seen[:, :-1]) / 2).sum(1)
