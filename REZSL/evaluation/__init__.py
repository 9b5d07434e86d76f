"""Evaluation of anyone's predictions: pure functions of scores or attributes, labels and the seen classes."""

from .metrics import (
    Curve,
    ausuc,
    calibrated_stacking,
    evaluate_gzsl,
    harmonic_mean,
    per_class_accuracy,
    seen_unseen_curve,
)
from .protocol import Predictions, Results, Row, cosine_scores, evaluate

__all__ = [
    "Curve",
    "Predictions",
    "Results",
    "Row",
    "ausuc",
    "calibrated_stacking",
    "cosine_scores",
    "evaluate",
    "evaluate_gzsl",
    "harmonic_mean",
    "per_class_accuracy",
    "seen_unseen_curve",
]
