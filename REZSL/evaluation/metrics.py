"""Zero-shot metrics as pure functions on NumPy arrays or torch tensors.

All accuracies are fractions, and means over classes of per-class accuracies, never means over images.
"""

from typing import Any, NamedTuple

import numpy as np


class Curve(NamedTuple):
    """The seen-unseen curve: all its operating points, from gamma = -inf (everything seen) to +inf.

    Attributes:
        gamma: (M,) a calibration that gives each point: halfway between the two margins around it.
        seen: (M,) S, falling.
        unseen: (M,) U, rising.
    """

    gamma: np.ndarray
    seen: np.ndarray
    unseen: np.ndarray

    @property
    def harmonic(self) -> np.ndarray:
        """(M,) H at each point."""
        return harmonic_mean(self.unseen, self.seen)

    @property
    def best(self) -> int:
        """The point with the highest H, the first of several."""
        return int(self.harmonic.argmax())


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
    classes = np.unique(labels) if classes is None else _array(classes)
    correct, total = _counts(labels, predictions == labels, classes)
    with np.errstate(invalid="ignore"):
        return correct / total


def calibrated_stacking(scores: Any, seen: Any, gamma: float) -> np.ndarray:
    """Predicts argmax_c (score_c - gamma * [c seen]) (Chao et al., ECCV 2016); a tie goes to the lower class.

    Args:
        scores: (N, C).
        seen: (C,) boolean, which classes are seen.
        gamma: any real number, on the scale of the scores.

    Returns:
        (N,) predicted classes.
    """
    scores, seen = _scores(scores, seen)
    return (scores - gamma * seen).argmax(1)


def harmonic_mean(unseen: Any, seen: Any) -> Any:
    """H = 2US / (U + S), and 0 where both are 0."""
    unseen, seen = np.asarray(unseen, np.float64), np.asarray(seen, np.float64)
    total = unseen + seen
    return np.divide(2 * unseen * seen, total, out=np.zeros_like(total), where=total != 0)[()]


def seen_unseen_curve(scores: Any, labels: Any, seen: Any) -> Curve:
    """Finds every operating point of calibrated stacking exactly, without a grid, in O(N log N) after two maxima.

    Whatever gamma is, an image is predicted its best seen or its best unseen class, and it changes from one to the
    other only at gamma = (best seen score - best unseen score). So the points lie between the sorted margins of the
    images. Equal margins move together, and so do margins that differ by no more than the rounding of the scores.

    Args:
        scores: (N, C).
        labels: (N,) true classes, of images of seen and of unseen classes.
        seen: (C,) boolean, which classes are seen.

    Raises:
        ValueError: shapes that do not fit, scores that are not finite, or no images or classes of one kind.
    """
    scores, labels, seen = _labelled_scores(scores, labels, seen)
    of_seen = seen[labels]
    if seen.all() or not seen.any() or of_seen.all() or not of_seen.any():
        raise ValueError("a seen-unseen curve needs classes and images of both kinds")

    seen_classes, unseen_classes = np.flatnonzero(seen), np.flatnonzero(~seen)
    seen_scores, unseen_scores = scores[:, seen_classes], scores[:, unseen_classes]
    best_seen, best_unseen = seen_scores.argmax(1), unseen_scores.argmax(1)
    rows = np.arange(len(labels))
    margins = seen_scores[rows, best_seen] - unseen_scores[rows, best_unseen]
    right = np.where(of_seen, seen_classes[best_seen], unseen_classes[best_unseen]) == labels

    counts = np.bincount(labels, minlength=len(seen))
    kinds = [of_seen, ~of_seen]
    shares = [right * kind / counts[labels] / len(np.unique(labels[kind])) for kind in kinds]
    order = margins.argsort(kind="stable")
    rounding = 4 * np.finfo(np.float64).eps * np.abs(scores).max()
    last = np.append(np.diff(margins[order]) > rounding, True)  # the last image of each distinct margin
    lost, won = (np.append(0.0, share[order].cumsum()[last]) for share in shares)
    at = margins[order][last]
    between = np.concatenate([[at[0] - 1], at[:-1] / 2 + at[1:] / 2, [at[-1] + 1]])
    return Curve(between, np.maximum(lost[-1] - lost, 0.0), won)


def ausuc(scores: Any, labels: Any, seen: Any) -> float:
    """Area under the seen-unseen curve, S as a function of U (Chao et al., ECCV 2016), by the trapezoid rule, exact.

    Arguments as of :func:`seen_unseen_curve`.
    """
    return curve_area(seen_unseen_curve(scores, labels, seen))


def curve_area(curve: Curve) -> float:
    """Area under the polyline through all points of ``curve``."""
    return float((np.diff(curve.unseen) * (curve.seen[1:] + curve.seen[:-1]) / 2).sum())


def evaluate_gzsl(scores: Any, labels: Any, seen: Any, gamma: float = 0.0) -> dict[str, float]:
    """Returns ``{"gamma", "U", "S", "H"}`` at one calibration: all classes are candidates for every image.

    U or S, and so H, is NaN where there is no image of its kind. Arguments and errors as of :func:`seen_unseen_curve`.
    """
    scores, labels, seen = _labelled_scores(scores, labels, seen)
    predictions = calibrated_stacking(scores, seen, gamma)
    accuracy = [
        float(per_class_accuracy(predictions[kind], labels[kind]).mean()) if kind.any() else float("nan")
        for kind in (~seen[labels], seen[labels])
    ]
    return {"gamma": float(gamma), "U": accuracy[0], "S": accuracy[1], "H": float(harmonic_mean(*accuracy))}


def _counts(labels: np.ndarray, correct: np.ndarray, classes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    size = int(max(labels.max(initial=-1), classes.max(initial=-1))) + 1
    total = np.bincount(labels, minlength=size)[classes]
    return np.bincount(labels, weights=correct, minlength=size)[classes], total


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


def _labelled_scores(scores: Any, labels: Any, seen: Any) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    scores, seen = _scores(scores, seen)
    labels = _array(labels)
    _same_length(scores=scores, labels=labels)
    if not len(labels) or labels.min() < 0 or labels.max() >= len(seen):
        raise ValueError(f"labels must be class numbers in 0..{len(seen) - 1}, and at least one")
    if not np.isfinite(scores).all():
        raise ValueError(f"scores of image {np.flatnonzero(~np.isfinite(scores).all(1))[0]} hold NaN or infinity")
    return scores, labels, seen


def _same_length(**arrays: np.ndarray) -> None:
    (first, a), (second, b) = arrays.items()
    if len(a) != len(b):
        raise ValueError(f"{len(a)} {first} for {len(b)} {second}")
