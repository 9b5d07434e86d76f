"""What a run does to single classes: their accuracies, and which seen classes take the images of unseen ones."""

from dataclasses import dataclass

import numpy as np

from REZSL.evaluation import Curve, Predictions, confusion_matrix, evaluate_scores
from REZSL.evaluation.curve import best_candidates


@dataclass(frozen=True)
class ClassFigures:
    """One class with images.

    Attributes:
        name: of the class.
        images: number of test images.
        zsl: share of them given their class with unseen candidates only; None for a seen class.
        gzsl: the same with all candidates, calibrated.
        taken_for: the wrong class given most often, with unseen candidates for an unseen class; empty without errors.
        taken: number of images given that class.
    """

    name: str
    images: int
    zsl: float | None
    gzsl: float
    taken_for: str
    taken: int


@dataclass(frozen=True)
class Swallower:
    """A seen class that unseen images are given.

    Attributes:
        name: of the class.
        images: number of unseen images given it.
        share: of all unseen images that are given any seen class.
        classes: number of unseen classes they come from.
    """

    name: str
    images: int
    share: float
    classes: int


@dataclass(frozen=True)
class Pair:
    """An unseen class and a seen one its images are given: how many, and the share of the unseen class's images."""

    unseen: str
    seen: str
    images: int
    share: float


@dataclass(frozen=True, eq=False)
class Details:
    """Figures of a run's classes; with all candidates at one calibration.

    Attributes:
        T1: accuracy on unseen images with unseen candidates.
        AUSUC: area under ``curve``; None without images of seen classes.
        curve: the seen-unseen curve, or None.
        unseen: the unseen classes, the lowest ``zsl`` first.
        seen: the seen classes, the lowest ``gzsl`` first.
        crossing: (U, S) number of images of each unseen class given each seen class.
        images: (U,) number of images of each unseen class.
        names: names of the S seen and then of the U unseen classes.
    """

    T1: float
    AUSUC: float | None
    curve: Curve | None
    unseen: list[ClassFigures]
    seen: list[ClassFigures]
    crossing: np.ndarray
    images: np.ndarray
    names: tuple[str, ...]

    def swallowers(self) -> list[Swallower]:
        """Returns the seen classes that unseen images are given, those given most first."""
        taken = self.crossing.sum(0)
        order = (-taken).argsort(kind="stable")[: np.count_nonzero(taken)]
        origins = np.count_nonzero(self.crossing, axis=0)
        return [Swallower(self.names[c], int(taken[c]), float(taken[c] / taken.sum()), int(origins[c])) for c in order]

    def pairs(self, most: int) -> list[Pair]:
        """Returns the ``most`` pairs with the most images."""
        unseen_names = self.names[self.crossing.shape[1] :]
        share = self.crossing / self.images.clip(1)[:, None]
        order = (-self.crossing).ravel().argsort(kind="stable")[: min(most, np.count_nonzero(self.crossing))]
        return [
            Pair(unseen_names[u], self.names[s], int(self.crossing[u, s]), float(share[u, s]))
            for u, s in zip(*np.unravel_index(order, self.crossing.shape), strict=True)
        ]


def class_details(predictions: Predictions, gamma: float) -> Details:
    """Computes the :class:`Details` of ``predictions`` at the calibration ``gamma``."""
    labels, num_seen, num_classes = predictions.labels, predictions.num_seen, len(predictions.signatures)
    seen = np.arange(num_classes) < num_seen
    scores = predictions.scores()
    candidates, results = best_candidates(scores, seen), evaluate_scores(scores, labels, seen, gamma)
    of_unseen = ~seen[labels]
    zsl = confusion_matrix(candidates.unseen[of_unseen], labels[of_unseen], num_classes)
    gzsl = confusion_matrix(candidates.predict(gamma), labels, num_classes)
    names = predictions.class_names
    present = np.flatnonzero(gzsl.sum(1))
    return Details(
        T1=results.T1,
        AUSUC=results.AUSUC,
        curve=results.curve,
        unseen=sorted((_figures(c, gzsl, zsl, names) for c in present[~seen[present]]), key=lambda one: one.zsl),
        seen=sorted((_figures(c, gzsl, None, names) for c in present[seen[present]]), key=lambda one: one.gzsl),
        crossing=gzsl[num_seen:, :num_seen],
        images=gzsl[num_seen:].sum(1),
        names=names,
    )


def _figures(c: int, gzsl: np.ndarray, zsl: np.ndarray | None, names: tuple[str, ...]) -> ClassFigures:
    images = int(gzsl[c].sum())
    wrong = (gzsl if zsl is None else zsl)[c].copy()
    wrong[c] = 0
    worst = int(wrong.argmax())
    return ClassFigures(
        name=names[c],
        images=images,
        zsl=None if zsl is None else float(zsl[c, c] / images),
        gzsl=float(gzsl[c, c] / images),
        taken_for=names[worst] if wrong[worst] else "",
        taken=int(wrong[worst]),
    )
