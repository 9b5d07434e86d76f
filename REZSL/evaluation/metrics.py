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


class Candidates(NamedTuple):
    """The two classes that calibrated stacking can give each image, whatever gamma is.

    Attributes:
        seen: (N,) the best seen class; -1 where there is no seen class.
        unseen: (N,) the best unseen class.
        seen_score: (N,) its score; -inf where there is no seen class.
        unseen_score: (N,)
    """

    seen: np.ndarray
    unseen: np.ndarray
    seen_score: np.ndarray
    unseen_score: np.ndarray

    def predict(self, gamma: float) -> np.ndarray:
        """Returns the (N,) classes that :func:`calibrated_stacking` gives, in O(N)."""
        calibrated = self.seen_score - gamma
        as_seen = (calibrated > self.unseen_score) | ((calibrated == self.unseen_score) & (self.seen < self.unseen))
        return np.where(as_seen, self.seen, self.unseen)


def best_candidates(scores: Any, seen: Any) -> Candidates:
    """Returns the best seen and the best unseen class of each row of ``scores`` (N, C); ``seen`` (C,) boolean."""
    scores, seen = _scores(scores, seen)
    (seen_class, seen_score), (unseen_class, unseen_score) = (_best(scores, kind) for kind in (seen, ~seen))
    return Candidates(seen_class, unseen_class, seen_score, unseen_score)


def _best(scores: np.ndarray, among: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    classes = np.flatnonzero(among)
    if not len(classes):
        return np.full(len(scores), -1), np.full(len(scores), -np.inf)
    first, last = classes[0], classes[-1] + 1
    part = scores[:, first:last] if last - first == len(classes) else scores[:, classes]  # a view where it can be one
    best = part.argmax(1)
    return classes[best], part[np.arange(len(part)), best]


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
    scores, labels, seen = labelled_scores(scores, labels, seen)
    return curve_of(best_candidates(scores, seen), labels, seen)


def curve_of(candidates: Candidates, labels: np.ndarray, seen: np.ndarray) -> Curve:
    """The curve of :func:`seen_unseen_curve` from the ``candidates`` of the images."""
    sweep = Sweep.of(candidates, labels, seen)
    lost, won = (np.append(0.0, share[sweep.order].cumsum()[sweep.last]) for share in sweep.shares)
    at = sweep.margins[sweep.order][sweep.last]
    between = np.concatenate([[at[0] - 1], at[:-1] / 2 + at[1:] / 2, [at[-1] + 1]])
    return Curve(between, np.maximum(lost[-1] - lost, 0.0), won)


class Sweep(NamedTuple):
    """The images in the order in which a rising gamma moves them from the seen to the unseen side.

    Attributes:
        margins: (N,) the gamma at which each image moves.
        order: (N,) image numbers by rising margin.
        last: (N,) boolean: the last image in this order of each distinct margin.
        shares: (N,) what each image adds to S on the seen side, and (N,) what it adds to U on the unseen side.
    """

    margins: np.ndarray
    order: np.ndarray
    last: np.ndarray
    shares: tuple[np.ndarray, np.ndarray]

    @classmethod
    def of(cls, candidates: Candidates, labels: np.ndarray, seen: np.ndarray) -> "Sweep":
        """Raises ``ValueError`` where there are no images or classes of one kind."""
        of_seen = seen[labels]
        if seen.all() or not seen.any() or of_seen.all() or not of_seen.any():
            raise ValueError("a seen-unseen curve needs classes and images of both kinds")
        margins = candidates.seen_score - candidates.unseen_score
        order = margins.argsort(kind="stable")
        largest = max(np.abs(candidates.seen_score).max(), np.abs(candidates.unseen_score).max())
        rounding = 4 * np.finfo(np.float64).eps * largest
        last = np.append(np.diff(margins[order]) > rounding, True)
        weight = class_share(labels, of_seen)
        shares = ((candidates.seen == labels) * of_seen * weight, (candidates.unseen == labels) * ~of_seen * weight)
        return cls(margins, order, last, shares)


def class_share(labels: np.ndarray, of_seen: np.ndarray) -> np.ndarray:
    """(N,) the share of each image in the mean over the classes of its kind of their means over images."""
    counts = np.bincount(labels)
    num_classes = [len(np.unique(labels[kind])) for kind in (~of_seen, of_seen)]
    return 1 / (counts[labels] * np.where(of_seen, num_classes[1], num_classes[0]))


def ausuc(scores: Any, labels: Any, seen: Any) -> float:
    """Area under the seen-unseen curve, S as a function of U (Chao et al., ECCV 2016), by the trapezoid rule, exact.

    Arguments as of :func:`seen_unseen_curve`.
    """
    return curve_area(seen_unseen_curve(scores, labels, seen))


def curve_area(curve: Curve) -> float:
    """Area under the polyline through all points of ``curve``."""
    return float((np.diff(curve.unseen) * (curve.seen[1:] + curve.seen[:-1]) / 2).sum())


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
