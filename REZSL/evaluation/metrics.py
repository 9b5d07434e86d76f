"""Zero-shot metrics as pure functions on NumPy arrays, torch tensors or lists.

All accuracies are fractions, and means over classes of per-class accuracies, never means over images. Labels and masks
may be (n, 1) and whole floats, as ``scipy.io.loadmat`` gives them; what could be mistaken raises ``ValueError``.
"""

from typing import Any

import numpy as np

from REZSL.utils.arrays import class_mask, class_numbers, number, numbers, whole_number


def per_class_accuracy(predictions: Any, labels: Any, classes: Any = None) -> np.ndarray:
    """Returns the fraction of each class's images that are predicted right.

    Args:
        predictions: (N,) predicted classes.
        labels: (N,) true classes.
        classes: which classes to report, in this order; None: those in ``labels``, ascending.

    Returns:
        (number of classes,) accuracies; NaN for a class without images.
    """
    predictions, labels = class_numbers(predictions, "predictions"), class_numbers(labels, "labels")
    _same_length(predictions=predictions, labels=labels)
    present, nth = np.unique(labels, return_inverse=True)
    accuracy = right_by_class(predictions == labels, nth, len(present))
    if classes is None:
        return accuracy
    of_class = dict(zip(present.tolist(), accuracy.tolist(), strict=True))
    return np.array([of_class.get(c, np.nan) for c in class_numbers(classes, "classes").tolist()])


def calibrated_stacking(scores: Any, seen: Any, gamma: float) -> np.ndarray:
    """Predicts argmax_c (score_c - gamma * [c seen]) (Chao et al., ECCV 2016); a tie goes to the lower class.

    Args:
        scores: (N, C).
        seen: (C,) boolean, which classes are seen.
        gamma: any finite number, on the scale of the scores.

    Returns:
        (N,) predicted classes.
    """
    return calibrated(*_scores(scores, seen), number(gamma, "gamma")).argmax(1)


def calibrated(scores: np.ndarray, seen: np.ndarray, gamma: float) -> np.ndarray:
    """Returns (N, C) ``scores`` less ``gamma`` for seen classes."""
    return scores - gamma * seen


def cosine_scores(attributes: Any, signatures: Any, scale: float) -> np.ndarray:
    """Returns (N, C): ``scale`` times the cosine of ``attributes`` (N, K) and ``signatures`` (C, K), in float64."""
    attributes, signatures = numbers(attributes, "attributes"), numbers(signatures, "signatures")
    if attributes.ndim != 2 or signatures.ndim != 2 or attributes.shape[1] != signatures.shape[1]:
        shapes = f"{attributes.shape} and {signatures.shape}"
        raise ValueError(f"attributes must be (N, K) and signatures (C, K), a row for each class, got {shapes}")
    return number(scale, "scale") * unit_rows(attributes) @ unit_rows(signatures).T


def unit_rows(values: np.ndarray) -> np.ndarray:
    """Returns the rows of ``values`` (N, K) L2-normalised, in float64; a row of zeros stays one."""
    values = np.asarray(values, np.float64)
    return values / np.linalg.norm(values, axis=1, keepdims=True).clip(1e-12)


def harmonic_mean(unseen: Any, seen: Any) -> Any:
    """H = 2US / (U + S), and 0 where both are 0."""
    unseen, seen = np.asarray(unseen, np.float64), np.asarray(seen, np.float64)
    total = unseen + seen
    return np.divide(2 * unseen * seen, total, out=np.zeros_like(total), where=total != 0)[()]


def top_k_accuracy(scores: Any, labels: Any, k: int, candidates: Any = None) -> float:
    """Mean over classes of the share of images whose own class is among the ``k`` highest scores.

    Args:
        scores: (N, C).
        labels: (N,) true classes, all of them candidates.
        k: 1 or more.
        candidates: (C,) boolean, which classes count; None: all.

    A class that scores the same as the true one goes before it only if it is the lower class, so k = 1 is argmax.
    """
    scores = _table(scores)
    num_classes = scores.shape[1]
    labels, k = class_numbers(labels, "labels", num_classes), whole_number(k, "k")
    _same_length(scores=scores, labels=labels)
    if candidates is None:
        candidates = np.ones(num_classes, bool)
    candidates = class_mask(candidates, "candidates", num_classes)
    if not candidates[labels].all():
        raise ValueError(f"label {labels[~candidates[labels]][0]} is no candidate")
    own = np.take_along_axis(scores, labels[:, None], 1)
    before = (scores > own) | ((scores == own) & (np.arange(num_classes) < labels[:, None]))
    return float(np.nanmean(right_by_class((before & candidates).sum(1) < k, labels, num_classes)))


def confusion_matrix(predictions: Any, labels: Any, num_classes: int) -> np.ndarray:
    """Counts the images of each class (row) that are given each class (column): (C, C) integers."""
    num_classes = whole_number(num_classes, "num_classes")
    predictions = class_numbers(predictions, "predictions", num_classes)
    labels = class_numbers(labels, "labels", num_classes)
    _same_length(predictions=predictions, labels=labels)
    pairs = np.bincount(labels * num_classes + predictions, minlength=num_classes**2)
    return pairs.reshape(num_classes, num_classes)


def right_by_class(right: np.ndarray, labels: np.ndarray, num_classes: int) -> np.ndarray:
    """The share (C,) of ``right`` (N,) among the images of each class; NaN for a class without images."""
    total = np.bincount(labels, minlength=num_classes)
    return np.where(total > 0, np.bincount(labels, right, num_classes) / np.maximum(total, 1), np.nan)


def labelled_scores(scores: Any, labels: Any, seen: Any) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Returns (N, C) floats, (N,) integers and (C,) booleans; raises ``ValueError`` where they do not fit."""
    scores, seen = _scores(scores, seen)
    labels = class_numbers(labels, "labels", len(seen))
    _same_length(scores=scores, labels=labels)
    return scores, labels, seen


def _scores(scores: Any, seen: Any) -> tuple[np.ndarray, np.ndarray]:
    scores = _table(scores)
    return scores, class_mask(seen, "seen", scores.shape[1])


def _table(scores: Any) -> np.ndarray:
    scores = numbers(scores, "scores")
    if scores.ndim != 2 or not scores.size:
        raise ValueError(f"scores must be (N, C), a row for each image and at least one, got {scores.shape}")
    if not np.isfinite(scores.sum()) and not np.isfinite(scores).all():  # the sum alone is fast
        raise ValueError(f"scores of image {np.flatnonzero(~np.isfinite(scores).all(1))[0]} hold NaN or infinity")
    return scores.astype(np.float64, copy=False)


def _same_length(**arrays: np.ndarray) -> None:
    (first, a), (second, b) = arrays.items()
    if len(a) != len(b):
        raise ValueError(f"{len(a)} {first} for {len(b)} {second}")
