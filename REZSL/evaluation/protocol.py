"""From predictions to results: what is computed on which images, and by what name it is reported."""

import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from REZSL.utils.errors import DataError, first_line
from REZSL.utils.files import atomic_path
from REZSL.utils.npz_file import Stored, read_npz

from .curve import Curve, Shares, Sweep, best_candidates, curve_along, curve_area
from .gzsl import Row, row_at, zsl_accuracy
from .metrics import cosine_scores, labelled_scores

STORED = {  # of the arrays of an .npz file
    "attributes": Stored("f", 2),
    "labels": Stored("iu", 1),
    "signatures": Stored("f", 2),
    "num_seen": Stored("iu", 0),
    "scale": Stored("fiu", 0),
    "class_names": Stored("U", 1),
    "images": Stored("iu", 1),
}
LARGEST_SCALE = 1e6
MOST_SCORES = 5 * 10**8  # images x classes, and classes x classes: 4 GB


@dataclass(frozen=True, eq=False)
class Predictions:
    """Predicted attributes of the test images, and all that is needed to score them: no model, no data set.

    Attributes:
        attributes: (N, K) predicted attributes.
        labels: (N,) true rows of ``signatures``.
        signatures: (C, K), seen classes first.
        num_seen: number of seen classes.
        scale: temperature of the class scores.
        class_names: C names.
        images: (N,) number of each image in the data set's files.
    """

    attributes: np.ndarray
    labels: np.ndarray
    signatures: np.ndarray
    num_seen: int
    scale: float
    class_names: tuple[str, ...]
    images: np.ndarray

    def scores(self) -> np.ndarray:
        """(N, C) class scores."""
        return cosine_scores(self.attributes, self.signatures, self.scale)

    def save(self, path: str | os.PathLike) -> None:
        """Writes everything to an ``.npz`` file, whole or not at all."""
        with atomic_path(path) as temporary, open(temporary, "wb") as file:
            np.savez(file, **{**vars(self), "class_names": np.array(self.class_names, dtype=np.str_)})

    @classmethod
    def load(cls, path: str | os.PathLike) -> "Predictions":
        """Reads what :meth:`save` wrote; raises ``DataError`` for anything else, with the array that is wrong."""
        try:
            content = read_npz(path, STORED)
            predictions = cls(
                **content
                | {
                    "num_seen": int(content["num_seen"]),
                    "scale": float(content["scale"]),
                    "class_names": tuple(map(str, content["class_names"])),
                }
            )
            predictions._check()
        except Exception as error:  # damaged files raise many kinds
            raise DataError(f"{Path(path)} holds no predictions: {first_line(error)}") from None
        return predictions

    def _check(self) -> None:
        """Raises ``ValueError`` for what no run writes."""
        for a, b in (("attributes", "labels"), ("images", "labels"), ("signatures", "class_names")):
            if len(getattr(self, a)) != len(getattr(self, b)):
                raise ValueError(f"{len(getattr(self, a))} {a} for {len(getattr(self, b))} {b}")
        classes, size = self.signatures.shape
        if not size or self.attributes.shape[1] != size:
            raise ValueError(f"attributes of shape {self.attributes.shape} for signatures of shape {(classes, size)}")
        if not len(self.labels) or self.labels.min() < 0 or self.labels.max() >= classes:
            raise ValueError(f"labels must be class numbers in 0..{classes - 1}, and at least one")
        if not 0 < self.num_seen < classes:
            raise ValueError(f"num_seen is {self.num_seen}, expected some of the {classes} classes")
        if not 0 < self.scale < LARGEST_SCALE:
            raise ValueError(f"scale is {self.scale}, expected a number > 0")
        if self.labels.max() < self.num_seen:
            raise ValueError("labels name no image of an unseen class")
        if max(len(self.labels), classes) * classes > MOST_SCORES:
            raise ValueError(
                f"{len(self.labels)} images of {classes} classes have more scores than memory is taken for"
            )
        for name, values in (("predicted attributes", self.attributes), ("signatures", self.signatures)):
            if broken := np.count_nonzero(~np.isfinite(values).all(1)):
                raise ValueError(f"the {name} of {broken} of {len(values)} rows are not finite")


@dataclass(frozen=True, eq=False)
class Results:
    """The figures of one evaluation.

    Attributes:
        T1: accuracy on unseen images with unseen candidates.
        AUSUC: area under the seen-unseen curve; None without images of seen classes (plain zero-shot learning).
        gzsl: rows by name: first ``val`` where validation chose a gamma, then ``gamma=0``, ``fixed``, ``oracle``; none
            without images of seen classes.
        curve: the seen-unseen curve; None without.
    """

    T1: float
    AUSUC: float | None
    gzsl: dict[str, Row]
    curve: Curve | None

    def as_dict(self) -> dict:
        """The figures as plain values, for JSON."""
        rows = {}
        for name, row in self.gzsl.items():
            rows[name] = {"gamma": row.gamma, "U": row.U, "S": row.S, "H": row.H}
            if row.uses_test_labels:
                rows[name]["uses_test_labels"] = True
        return {"T1": self.T1, "AUSUC": self.AUSUC, "gzsl": rows}


def evaluate(predictions: Predictions, fixed_gamma: float, val_gamma: float | None = None) -> Results:
    """Computes T1, AUSUC and the GZSL rows of ``predictions``.

    Args:
        predictions: of the test images; T1 is all there is to say where none is of a seen class.
        fixed_gamma: calibration of the row ``fixed``.
        val_gamma: calibration of the row ``val``, chosen on validation classes; None: no such row.

    Raises:
        DataError: predictions that are not finite.
    """
    broken = np.flatnonzero(~np.isfinite(predictions.attributes).all(1))
    if len(broken):
        total = len(predictions.labels)
        raise DataError(f"the predicted attributes of {len(broken)} of {total} images are not finite")
    seen = np.arange(len(predictions.signatures)) < predictions.num_seen
    return evaluate_scores(predictions.scores(), predictions.labels, seen, fixed_gamma, val_gamma)


def evaluate_scores(
    scores: np.ndarray, labels: np.ndarray, seen: np.ndarray, fixed_gamma: float, val_gamma: float | None = None
) -> Results:
    """The same from scores (N, C), ``labels`` (N,) and ``seen`` (C,), in one look at the scores."""
    scores, labels, seen = labelled_scores(scores, labels, seen)
    candidates, shares = best_candidates(scores, seen), Shares.of(labels, seen)
    if not shares.seen.any():
        return Results(zsl_accuracy(candidates, labels, shares), None, {}, None)
    curve = curve_along(Sweep.of(candidates, labels, seen, shares))
    gammas = {"val": val_gamma, "gamma=0": 0.0, "fixed": fixed_gamma, "oracle": float(curve.gamma[curve.best])}
    rows = {
        name: row_at(candidates, labels, shares, gamma, uses_test_labels=name == "oracle")
        for name, gamma in gammas.items()
        if gamma is not None
    }
    return Results(zsl_accuracy(candidates, labels, shares), curve_area(curve), rows, curve)
