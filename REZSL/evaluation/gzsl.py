"""All that is said of one set of scores: ZSL, GZSL at any calibration, the whole seen-unseen curve."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from REZSL.utils.arrays import column, number, whole_number

from .curve import Candidates, Curve, Shares, Sweep, best_candidates, curve_along, curve_area
from .metrics import (
    calibrated,
    cosine_scores,
    harmonic_mean,
    labelled_scores,
    right_by_class,
    top_k_accuracy,
)

NAN = float("nan")


@dataclass(frozen=True)
class Row:
    """U, S and H, fractions, at one calibration ``gamma``; ``uses_test_labels`` says whether it was chosen on them."""

    gamma: float
    U: float
    S: float
    H: float
    uses_test_labels: bool = False


@dataclass(frozen=True, eq=False)
class GZSL:
    """The figures of one set of scores; what needs images of a kind that is not there is NaN (``curve`` is None).

    Attributes:
        T1: accuracy on unseen images with unseen candidates; does not depend on gamma.
        gamma: the calibration of all that follows, but for ``AUSUC``, ``best`` and ``curve``.
        U: accuracy on unseen images, all classes being candidates.
        S: the same on seen images.
        H: harmonic mean of U and S.
        per_class: (C,) accuracy of each class; NaN for a class without images.
        unseen_as_seen: share of unseen images that are given a seen class, mean over classes.
        seen_as_unseen: share of seen images that are given an unseen class, mean over classes.
        top_k: for each k asked for, ``T1``, ``U`` and ``S`` where any of the k highest scores may be the true class's.
        AUSUC: area under the seen-unseen curve.
        best: the row of the curve with the highest H, which is chosen on the labels given.
        curve: all operating points.
    """

    T1: float
    gamma: float
    U: float
    S: float
    H: float
    per_class: np.ndarray
    unseen_as_seen: float
    seen_as_unseen: float
    top_k: dict[int, dict[str, float]]
    AUSUC: float
    best: Row | None
    curve: Curve | None


def evaluate_gzsl(
    scores: Any,
    labels: Any,
    seen: Any,
    gamma: float = 0.0,
    *,
    signatures: Any = None,
    scale: float = 1.0,
    top_k: Sequence[int] = (),
) -> GZSL:
    """Evaluates anyone's scores, or predicted attributes; NumPy arrays, torch tensors or lists.

    Args:
        scores: (N, C) class scores; with ``signatures``, (N, K) predicted attributes.
        labels: (N,) true classes, numbers in 0..C-1; (N, 1) and whole floats will do.
        seen: (C,) boolean, which classes are seen; 0 and 1 will do where they cannot be class numbers.
        gamma: calibration, subtracted from the scores of seen classes; finite.
        signatures: (C, K) to score predicted attributes by ``scale`` times the cosine.
        scale: temperature of those scores.
        top_k: values of k for ``top_k``.

    Raises:
        ValueError: shapes that do not fit, scores or a gamma that are not finite, labels outside 0..C-1, anything that
            could be mistaken.
    """
    if signatures is not None:
        scores = cosine_scores(scores, signatures, scale)
    scores, labels, seen = labelled_scores(scores, labels, seen)
    gamma, wanted = number(gamma, "gamma"), [whole_number(k, "top_k") for k in column(top_k, "top_k")]
    candidates, shares = best_candidates(scores, seen), Shares.of(labels, seen)
    row = row_at(candidates, labels, shares, gamma)
    predictions = candidates.predict(gamma)
    as_seen = seen[predictions]
    unseen_as_seen, seen_as_unseen = shares.means(as_seen, ~as_seen)
    both = shares.unseen.any() and shares.seen.any() and seen.any() and not seen.all()
    curve = curve_along(Sweep.of(candidates, labels, seen, shares)) if both else None
    return GZSL(
        T1=zsl_accuracy(candidates, labels, shares),
        gamma=gamma,
        U=row.U,
        S=row.S,
        H=row.H,
        per_class=right_by_class(predictions == labels, labels, len(seen)),
        unseen_as_seen=unseen_as_seen,
        seen_as_unseen=seen_as_unseen,
        top_k={k: _top_k(scores, labels, seen, gamma, k) for k in wanted},
        AUSUC=curve_area(curve) if curve else NAN,
        best=row_at(candidates, labels, shares, float(curve.gamma[curve.best])) if curve else None,
        curve=curve,
    )


def zsl_accuracy(candidates: Candidates, labels: np.ndarray, shares: Shares) -> float:
    """T1: accuracy on unseen images with unseen candidates."""
    right = candidates.unseen == labels
    return shares.means(right, right)[0]


def row_at(
    candidates: Candidates, labels: np.ndarray, shares: Shares, gamma: float, uses_test_labels: bool = False
) -> Row:
    """U, S and H at ``gamma``, in O(N)."""
    right = candidates.predict(gamma) == labels
    unseen, seen = shares.means(right, right)
    return Row(float(gamma), unseen, seen, float(harmonic_mean(unseen, seen)), uses_test_labels)


def _top_k(scores: np.ndarray, labels: np.ndarray, seen: np.ndarray, gamma: float, k: int) -> dict[str, float]:
    of_seen = seen[labels]
    shifted = calibrated(scores, seen, gamma)
    parts = {"T1": (scores, ~of_seen, ~seen), "U": (shifted, ~of_seen, None), "S": (shifted, of_seen, None)}
    return {
        name: top_k_accuracy(values[images], labels[images], k, among) if images.any() else NAN
        for name, (values, images, among) in parts.items()
    }
