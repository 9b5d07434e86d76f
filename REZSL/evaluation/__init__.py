"""Evaluation of anyone's predictions: pure functions of scores or attributes, labels and the seen classes."""

from .analysis import ErrorTable, Summary, correlations, error_table, mean_table, summarise, worst_share
from .comparison import Difference, compare
from .curve import Curve, ausuc, seen_unseen_curve
from .gzsl import GZSL, Row, evaluate_gzsl
from .metrics import (
    calibrated_stacking,
    confusion_matrix,
    cosine_scores,
    harmonic_mean,
    per_class_accuracy,
    top_k_accuracy,
)
from .protocol import Predictions, Results, evaluate, evaluate_scores
from .uncertainty import Interval, bootstrap_intervals, t_interval

__all__ = [
    "GZSL",
    "Curve",
    "Difference",
    "ErrorTable",
    "Interval",
    "Predictions",
    "Results",
    "Row",
    "Summary",
    "ausuc",
    "bootstrap_intervals",
    "calibrated_stacking",
    "compare",
    "confusion_matrix",
    "correlations",
    "cosine_scores",
    "error_table",
    "evaluate",
    "evaluate_gzsl",
    "evaluate_scores",
    "harmonic_mean",
    "mean_table",
    "per_class_accuracy",
    "seen_unseen_curve",
    "summarise",
    "t_interval",
    "top_k_accuracy",
    "worst_share",
]
