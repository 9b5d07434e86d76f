"""Evaluation of anyone's predictions: pure functions of scores or attributes, labels and the seen classes."""

from .analysis import ErrorTable, Summary, correlations, error_table, mean_table, summarise, worst_share
from .comparison import Difference, compare
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
from .uncertainty import Interval, t_interval

__all__ = [
    "Curve",
    "Difference",
    "ErrorTable",
    "Interval",
    "Predictions",
    "Results",
    "Row",
    "Summary",
    "ausuc",
    "calibrated_stacking",
    "compare",
    "correlations",
    "cosine_scores",
    "error_table",
    "evaluate",
    "evaluate_gzsl",
    "harmonic_mean",
    "mean_table",
    "per_class_accuracy",
    "seen_unseen_curve",
    "summarise",
    "t_interval",
    "worst_share",
]
