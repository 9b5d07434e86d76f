"""From predictions to results: what is computed on which images, and by what name it is reported."""

import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from REZSL.utils.errors import DataError, first_line
from REZSL.utils.files import atomic_path

from .metrics import Curve, curve_area, evaluate_gzsl, per_class_accuracy, seen_unseen_curve


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

    def save(self, path: str | os.PathLike) -> None:
        """Writes everything to an ``.npz`` file, whole or not at all."""
        with atomic_path(path) as temporary, open(temporary, "wb") as file:
            np.savez(file, **{**vars(self), "class_names": np.array(self.class_names, dtype=np.str_)})

    @classmethod
    def load(cls, path: str | os.PathLike) -> "Predictions":
        """Reads what :meth:`save` wrote; raises ``DataError`` for anything else."""
        try:
            with np.load(path, allow_pickle=False) as file:
                content = {key: file[key] for key in cls.__dataclass_fields__}
            content["num_seen"], content["scale"] = int(content["num_seen"]), float(content["scale"])
            content["class_names"] = tuple(str(name) for name in content["class_names"])
            for a, b in (("attributes", "labels"), ("images", "labels"), ("signatures", "class_names")):
                if len(content[a]) != len(content[b]):
                    raise ValueError(f"{len(content[a])} {a} for {len(content[b])} {b}")
        except Exception as error:  # damaged files raise many kinds
            raise DataError(f"{Path(path)} holds no predictions: {first_line(error)}") from None
        return cls(**content)


@dataclass(frozen=True)
class Row:
    """U, S and H, fractions, at one calibration ``gamma``; ``uses_test_labels`` says whether it was chosen on them."""

    gamma: float
    U: float
    S: float
    H: float
    uses_test_labels: bool = False


@dataclass(frozen=True, eq=False)
class Results:
    """The figures of one evaluation.

    Attributes:
        T1: accuracy on unseen images with unseen candidates.
        AUSUC: area under the seen-unseen curve.
        gzsl: rows by name: ``gamma=0``, ``fixed``, ``oracle``.
        curve: the seen-unseen curve.
    """

    T1: float
    AUSUC: float
    gzsl: dict[str, Row]
    curve: Curve

    def as_dict(self) -> dict:
        """The figures as plain values, for JSON."""
        rows = {}
        for name, row in self.gzsl.items():
            rows[name] = {"gamma": row.gamma, "U": row.U, "S": row.S, "H": row.H}
            if row.uses_test_labels:
                rows[name]["uses_test_labels"] = True
        return {"T1": self.T1, "AUSUC": self.AUSUC, "gzsl": rows}


def cosine_scores(attributes: np.ndarray, signatures: np.ndarray, scale: float) -> np.ndarray:
    """Returns (N, C): ``scale`` times the cosine of ``attributes`` (N, K) and ``signatures`` (C, K), in float64."""
    return scale * unit_rows(attributes) @ unit_rows(signatures).T


def evaluate(predictions: Predictions, fixed_gamma: float) -> Results:
    """Computes T1, AUSUC and the GZSL rows of ``predictions``.

    Args:
        predictions: of seen and unseen test images.
        fixed_gamma: calibration of the row ``fixed``.

    Raises:
        DataError: predictions that are not finite.
    """
    labels, num_seen = predictions.labels, predictions.num_seen
    broken = np.flatnonzero(~np.isfinite(predictions.attributes).all(1))
    if len(broken):
        raise DataError(f"the predicted attributes of {len(broken)} of {len(labels)} images are not finite")
    scores = cosine_scores(predictions.attributes, predictions.signatures, predictions.scale)
    seen = np.arange(len(predictions.signatures)) < num_seen
    of_unseen = labels >= num_seen
    zsl = num_seen + scores[of_unseen, num_seen:].argmax(1)
    curve = seen_unseen_curve(scores, labels, seen)
    rows = {
        "gamma=0": Row(**evaluate_gzsl(scores, labels, seen, 0.0)),
        "fixed": Row(**evaluate_gzsl(scores, labels, seen, fixed_gamma)),
        "oracle": Row(**evaluate_gzsl(scores, labels, seen, float(curve.gamma[curve.best])), uses_test_labels=True),
    }
    return Results(
        T1=float(per_class_accuracy(zsl, labels[of_unseen]).mean()), AUSUC=curve_area(curve), gzsl=rows, curve=curve
    )


def unit_rows(values: np.ndarray) -> np.ndarray:
    """Returns the rows of ``values`` (N, K) L2-normalised, in float64; a row of zeros stays one."""
    values = np.asarray(values, np.float64)
    return values / np.linalg.norm(values, axis=1, keepdims=True).clip(1e-12)
