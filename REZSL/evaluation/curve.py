"""The seen-unseen curve, exact: every operating point of calibrated stacking, without a grid of gamma."""

from typing import Any, NamedTuple

import numpy as np

from .metrics import harmonic_mean, labelled_scores


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


def best_candidates(scores: np.ndarray, seen: np.ndarray) -> Candidates:
    """Returns the best seen and the best unseen class of each row of ``scores`` (N, C); ``seen`` (C,) boolean."""
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
    return curve_along(Sweep.of(best_candidates(scores, seen), labels, seen, Shares.of(labels, seen)))


def curve_along(sweep: "Sweep") -> Curve:
    """The curve of the images of ``sweep``."""
    lost, won = (np.append(0.0, share[sweep.order].cumsum()[sweep.last]) for share in sweep.added)
    at = sweep.margins[sweep.order][sweep.last]
    between = np.concatenate([[at[0] - 1], at[:-1] / 2 + at[1:] / 2, [at[-1] + 1]])
    return Curve(between, np.maximum(lost[-1] - lost, 0.0), won)


class Sweep(NamedTuple):
    """The images in the order in which a rising gamma moves them from the seen to the unseen side.

    Attributes:
        margins: (N,) the gamma at which each image moves.
        order: (N,) image numbers by rising margin.
        last: (N,) boolean: the last image in this order of each distinct margin.
        added: (N,) what each image adds to S on the seen side, and (N,) what it adds to U on the unseen side.
    """

    margins: np.ndarray
    order: np.ndarray
    last: np.ndarray
    added: tuple[np.ndarray, np.ndarray]

    @classmethod
    def of(cls, candidates: Candidates, labels: np.ndarray, seen: np.ndarray, shares: "Shares") -> "Sweep":
        """Raises ``ValueError`` where there are no images or classes of one kind."""
        if seen.all() or not seen.any() or not shares.seen.any() or not shares.unseen.any():
            raise ValueError("a seen-unseen curve needs classes and images of both kinds")
        margins = candidates.seen_score - candidates.unseen_score
        order = margins.argsort()
        largest = max(np.abs(candidates.seen_score).max(), np.abs(candidates.unseen_score).max())
        rounding = 4 * np.finfo(np.float64).eps * largest
        last = np.append(np.diff(margins[order]) > rounding, True)
        added = (candidates.seen == labels) * shares.seen, (candidates.unseen == labels) * shares.unseen
        return cls(margins, order, last, added)


class Shares(NamedTuple):
    """What each image counts in U and in S, the means over classes of their means over images.

    Attributes:
        unseen: (N,) 1 / (images of its class * unseen classes with images); 0 for an image of a seen class.
        seen: (N,) the same of seen classes.
    """

    unseen: np.ndarray
    seen: np.ndarray

    @classmethod
    def of(cls, labels: np.ndarray, seen: np.ndarray) -> "Shares":
        """Of images with ``labels`` (N,) when the classes ``seen`` (C,) are seen."""
        counts = np.bincount(labels, minlength=len(seen))
        kinds = [(counts > 0) & kind for kind in (~seen, seen)]
        return cls(*((kind / np.maximum(counts * kind.sum(), 1))[labels] for kind in kinds))

    def means(self, unseen_right: np.ndarray, seen_right: np.ndarray) -> tuple[float, float]:
        """The means over classes of what is right (N,); NaN where there is no image of a kind."""
        pairs = ((self.unseen, unseen_right), (self.seen, seen_right))
        return tuple(float(share @ right) if share.any() else float("nan") for share, right in pairs)


def ausuc(scores: Any, labels: Any, seen: Any) -> float:
    """Area under the seen-unseen curve, S as a function of U (Chao et al., ECCV 2016), by the trapezoid rule, exact.

    Arguments as of :func:`seen_unseen_curve`.
    """
    return curve_area(seen_unseen_curve(scores, labels, seen))


def curve_area(curve: Curve) -> float:
    """Area under the polyline through all points of ``curve``."""
    return float((np.diff(curve.unseen) * (curve.seen[1:] + curve.seen[:-1]) / 2).sum())
