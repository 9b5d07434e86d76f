"""Zero-shot metrics as pure functions on NumPy arrays or torch tensors.

All accuracies are fractions, and means over classes of per-class accuracies, never means over images.
"""

from typing import Any

import numpy as np


def per_class_accuracy(predictions: Any, labels: Any, classes: Any = None) -> np.ndarray:
    """Returns the fraction of each class's images that are predicted right.

    Args:
        predictions: (N,) predicted classes.
        labels: (N,) true classes.
        classes: which classes to report, in this order; None: those in ``labels``, ascending.

    Returns:
        (number of classes,) accuracies; NaN for a class without images.
    """
    predictions, labels = _array(predictions), _array(labels)
    _same_length(predictions=predictions, labels=labels)
    present = np.unique(labels)
    accuracy = _class_means(predictions == labels, labels)
    if classes is None:
        return accuracy
    of_class = dict(zip(present.tolist(), accuracy.tolist(), strict=True))
    return np.array([of_class.get(c, np.nan) for c in _array(classes).tolist()])


def calibrated_stacking(scores: Any, seen: Any, gamma: float) -> np.ndarray:
    """Predicts argmax_c (score_c - gamma * [c seen]) (Chao et al., ECCV 2016); a tie goes to the lower class.

    Args:
        scores: (N, C).
        seen: (C,) boolean, which classes are seen.
        gamma: any real number, on the scale of the scores.

    Returns:
        (N,) predicted classes.
    """
    return calibrated(*_scores(scores, seen), gamma).argmax(1)


def calibrated(scores: np.ndarray, seen: np.ndarray, gamma: float) -> np.ndarray:
    """Returns (N, C) ``scores`` less ``gamma`` for seen classes."""
    return scores - gamma * seen


def cosine_scores(attributes: Any, signatures: Any, scale: float) -> np.ndarray:
    """Returns (N, C): ``scale`` times the cosine of ``attributes`` (N, K) and ``signatures`` (C, K), in float64."""
    return scale * unit_rows(attributes) @ unit_rows(signatures).T


def unit_rows(values: Any) -> np.ndarray:
    """Returns the rows of ``values`` (N, K) L2-normalised, in float64; a row of zeros stays one."""
    values = np.asarray(_array(values), np.float64)
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
    scores, labels = _array(scores), _array(labels)
    _same_length(scores=scores, labels=labels)
    if k < 1:
        raise ValueError(f"k is {k}, expected 1 or more")
    candidates = np.ones(scores.shape[1], bool) if candidates is None else _array(candidates).astype(bool)
    if not candidates[labels].all():
        raise ValueError(f"label {labels[~candidates[labels]][0]} is no candidate")
    own = np.take_along_axis(scores, labels[:, None], 1)
    before = (scores > own) | ((scores == own) & (np.arange(scores.shape[1]) < labels[:, None]))
    return float(_class_means((before & candidates).sum(1) < k, labels).mean())


def confusion_matrix(predictions: Any, labels: Any, num_classes: int) -> np.ndarray:
    """Counts the images of each class (row) that are given each class (column): (C, C) integers."""
    predictions, labels = _array(predictions), _array(labels)
    _same_length(predictions=predictions, labels=labels)
    pairs = np.bincount(labels * num_classes + predictions, minlength=num_classes**2)
    return pairs.reshape(num_classes, num_classes)


def _class_means(right: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """The share of ``right`` images of each class in ``labels``, ascending."""
    total = np.bincount(labels)
    classes = np.flatnonzero(total)
    return np.bincount(labels, weights=right)[classes] / total[classes]


def _array(values: Any) -> np.ndarray:
    if hasattr(values, "detach"):  # a torch tensor, on whatever device
        values = values.detach().cpu()
        values = (values.double() if values.is_floating_point() else values).numpy()  # NumPy knows no bfloat16
    return np.asarray(values)


def _scores(scores: Any, seen: Any) -> tuple[np.ndarray, np.ndarray]:
    scores, seen = _array(scores), _array(seen).astype(bool)
    if scores.ndim != 2 or seen.shape != scores.shape[1:]:
        raise ValueError(f"scores must be (N, C) and seen (C,), got {scores.shape} and {seen.shape}")
    return scores.astype(np.float64, copy=False), seen


def labelled_scores(scores: Any, labels: Any, seen: Any) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Returns all three as arrays; raises ``ValueError`` where they do not fit or scores are not finite."""
    scores, seen = _scores(scores, seen)
    labels = _array(labels)
    _same_length(scores=scores, labels=labels)
    if not len(labels) or labels.min() < 0 or labels.max() >= len(seen):
        raise ValueError(f"labels must be class numbers in 0..{len(seen) - 1}, and at least one")
    if not np.isfinite(scores.sum()) and not np.isfinite(scores).all():  # the sum alone is fast
        raise ValueError(f"scores of image {np.flatnonzero(~np.isfinite(scores).all(1))[0]} hold NaN or infinity")
    return scores, labels, seen


def _same_length(**arrays: np.ndarray) -> None:
    (first, a), (second, b) = arrays.items()
    if len(a) != len(b):
        raise ValueError(f"{len(a)} {first} for {len(b)} {second}")
