r"""How unevenly errors fall on attributes and classes: pure functions of :class:`Predictions`.

The error is that of the quantities ReMSE works on. With :math:`\hat a_i` the predicted attributes of image i and
:math:`s_c` the signature of class c, both L2-normalised over the K attributes, and :math:`I_c` the images of class c,

.. math::
    e_{ik} = (\hat a_{ik} - s_{y_i k})^2, \qquad
    E_{ck} = \frac{1}{|I_c|} \sum_{i \in I_c} e_{ik}, \qquad
    E_k = \frac{1}{|G|} \sum_{c \in G} E_{ck}

(or the absolute value in place of the square), where a group G is the seen, the unseen or all classes, of those that
have images. E_k is a mean over classes, never over images. The E_ck are those of ``REZSL.modeling.ReZSL`` with
RegType MSE (or MAE). The figures of the published code are of the squared error.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, fields, replace

import numpy as np
import scipy.sparse
import scipy.stats

from REZSL.utils.errors import DataError

from .metrics import unit_rows
from .protocol import Predictions

GROUPS = ("all", "seen", "unseen")
ERROR_KINDS = ("squared", "absolute")  # the first is the default
METHODS = ("pearson", "spearman")
SMALLEST_RANGE = {"signature": 1e-6, "error": 1e-12}  # of unit vectors; what varies less is constant up to rounding


@dataclass(frozen=True, eq=False)
class ErrorTable:
    """Errors per (class, attribute), of one run or the mean of several.

    Attributes:
        error: (C, K) E above; NaN for a class without images.
        signatures: (C, K) L2-normalised, seen classes first.
        count: (C,) images of each class.
        num_seen: number of seen classes.
        class_names: C names.
        kind: ``squared`` or ``absolute``.
    """

    error: np.ndarray
    signatures: np.ndarray
    count: np.ndarray
    num_seen: int
    class_names: tuple[str, ...]
    kind: str

    def classes(self, group: str) -> np.ndarray:
        """Returns the numbers of the classes of ``group`` (``all``, ``seen``, ``unseen``) that have images."""
        if group not in GROUPS:
            raise ValueError(f"group is {group!r}, expected one of {', '.join(GROUPS)}")
        start = self.num_seen if group == "unseen" else 0
        end = self.num_seen if group == "seen" else len(self.count)
        return start + np.flatnonzero(self.count[start:end])

    def attribute_error(self, group: str) -> np.ndarray:
        """Returns (K,) the mean error of each attribute over the classes of ``group``; NaN where there are none."""
        classes = self.classes(group)
        return self.error[classes].mean(0) if len(classes) else np.full(self.error.shape[1], np.nan)


@dataclass(frozen=True)
class Summary:
    """The imbalance within one group of classes. What is not defined (no class, no correlation, no error) is NaN.

    Attributes:
        error_mean: mean over attributes of E_k.
        error_std: standard deviation over attributes of E_k (divided by K, for these are all the attributes).
        worst_share: share (0..1) of the sum over attributes of E_k that the worst tenth of them carries.
        pearson_class: correlation, over attributes, of a class's signature values with its errors; mean over classes.
        spearman_class: the same of ranks.
        pearson_attribute: correlation, over classes, of an attribute's signature values with its errors; mean over
            attributes.
        spearman_attribute: the same of ranks.
        images: number of images.
        classes: number of classes with images.
        classes_correlated: number of classes that have a correlation.
        attributes_correlated: number of attributes that have a correlation.
    """

    error_mean: float
    error_std: float
    worst_share: float
    pearson_class: float
    spearman_class: float
    pearson_attribute: float
    spearman_attribute: float
    images: int
    classes: int
    classes_correlated: int
    attributes_correlated: int


MEASURES = tuple(field.name for field in fields(Summary) if field.type is float)


def error_table(predictions: Predictions, kind: str = "squared") -> ErrorTable:
    """Returns the errors of ``predictions`` per (class, attribute).

    Args:
        predictions: of the images of any classes.
        kind: ``squared`` or ``absolute``.

    Raises:
        ValueError: an unknown ``kind``.
        DataError: predictions that are not finite, or that contradict themselves.
    """
    errors = image_errors(predictions, kind)
    num_classes = len(predictions.signatures)
    return ErrorTable(
        error=class_means(errors, predictions.labels, num_classes, np.arange(len(errors))),
        signatures=unit_rows(predictions.signatures),
        count=np.bincount(predictions.labels, minlength=num_classes),
        num_seen=predictions.num_seen,
        class_names=predictions.class_names,
        kind=kind,
    )


def image_errors(predictions: Predictions, kind: str = "squared") -> np.ndarray:
    """Returns (N, K) the errors e above, in float64. Arguments and errors as of :func:`error_table`."""
    if kind not in ERROR_KINDS:
        raise ValueError(f"the kind of error is {kind!r}, expected one of {', '.join(ERROR_KINDS)}")
    _check(predictions)
    difference = unit_rows(predictions.attributes) - unit_rows(predictions.signatures)[predictions.labels]
    return np.abs(difference) if kind == "absolute" else difference**2


def class_means(errors: np.ndarray, labels: np.ndarray, num_classes: int, rows: np.ndarray) -> np.ndarray:
    """Averages rows of ``errors`` (N, K) over classes.

    Args:
        errors: (N, K).
        labels: (M,) class of each of ``rows``.
        num_classes: C.
        rows: (M,) rows of ``errors``; one may come several times.

    Returns:
        (C, K); NaN for a class without rows.
    """
    count = np.bincount(labels, minlength=num_classes)
    share = scipy.sparse.csr_array((1 / count[labels], (labels, rows)), shape=(num_classes, len(errors)))
    return np.where(count[:, None] > 0, share @ errors, np.nan)


def mean_table(tables: Sequence[ErrorTable]) -> ErrorTable:
    """Returns the mean errors of several runs on the same images; raises ``DataError`` if the runs do not fit."""
    first = tables[0]
    for number, table in enumerate(tables[1:], 2):
        if reason := difference_of_data(first, table):
            raise DataError(f"run {number} was not tested on the data of run 1: {reason}")
    return replace(first, error=np.mean([table.error for table in tables], 0))


def difference_of_data(a: ErrorTable, b: ErrorTable) -> str:
    """Says in what the classes, signatures or images behind two tables differ; empty where they do not."""
    if a.kind != b.kind:
        return f"{a.kind} errors and {b.kind} ones"
    if (a.error.shape, a.num_seen) != (b.error.shape, b.num_seen):
        sizes = [f"{t.num_seen} seen of {len(t.error)} classes, {t.error.shape[1]} attributes" for t in (a, b)]
        return " and ".join(sizes)
    if a.class_names != b.class_names:
        return "their classes have other names"
    if not np.allclose(a.signatures, b.signatures, rtol=0, atol=SMALLEST_RANGE["signature"]):
        return "their classes have other signatures"
    if not np.array_equal(a.count, b.count):
        return "their classes have other numbers of images"
    return ""


def correlations(table: ErrorTable, method: str, axis: int, group: str = "all") -> np.ndarray:
    """Correlates L2-normalised signature values with errors.

    Args:
        table: of one run, or the mean of several.
        method: ``pearson`` or ``spearman`` (Pearson's correlation of the mean ranks, so ties count half each).
        axis: 1: per class, over the attributes; 0: per attribute, over the classes of ``group``.
        group: ``all``, ``seen`` or ``unseen``.

    Returns:
        (number of classes of ``group`` with images,) or (K,) correlations in -1..1. NaN where there is none: less than
        three points (two always lie on a line), or signatures or errors that are constant up to rounding.
    """
    if method not in METHODS:
        raise ValueError(f"method is {method!r}, expected {' or '.join(METHODS)}")
    classes = table.classes(group)
    x, y = table.signatures[classes], table.error[classes]
    if axis == 0:
        x, y = x.T, y.T
    result = np.full(len(x), np.nan)
    if x.shape[1] < 3:
        return result
    varies = (np.ptp(x, 1) > SMALLEST_RANGE["signature"]) & (np.ptp(y, 1) > SMALLEST_RANGE["error"])
    if varies.any():
        x, y = x[varies], y[varies]
        if method == "spearman":
            x, y = scipy.stats.rankdata(x, axis=1), scipy.stats.rankdata(y, axis=1)
        result[varies] = (_centred_unit_rows(x) * _centred_unit_rows(y)).sum(1).clip(-1, 1)
    return result


def worst_share(attribute_error: np.ndarray, fraction: float = 0.1) -> float:
    """Returns the share (0..1) of the sum of ``attribute_error`` (K,) >= 0 that its ceil(fraction * K) largest carry.

    Errors that are all equal give about ``fraction``; where there is no error the share is NaN.
    """
    if not 0 < fraction <= 1:
        raise ValueError(f"fraction is {fraction}, expected 0 < fraction <= 1")
    number = math.ceil(fraction * len(attribute_error) - 1e-9)  # 0.1 * 30 is a little more than 3
    total = attribute_error.sum()
    return float(np.sort(attribute_error)[-number:].sum() / total) if total > 0 else float("nan")


def summarise(table: ErrorTable) -> dict[str, Summary]:
    """Returns the :class:`Summary` of ``all``, ``seen`` and ``unseen`` classes."""
    per_class = {method: correlations(table, method, axis=1) for method in METHODS}
    return {group: _summary(table, group, per_class) for group in GROUPS}


def _summary(table: ErrorTable, group: str, per_class: dict[str, np.ndarray]) -> Summary:
    classes = table.classes(group)
    attribute_error = table.attribute_error(group)
    members = np.isin(table.classes("all"), classes)
    per = {f"{method}_class": values[members] for method, values in per_class.items()}
    per |= {f"{method}_attribute": correlations(table, method, axis=0, group=group) for method in METHODS}
    return Summary(
        error_mean=float(attribute_error.mean()),
        error_std=float(attribute_error.std()),
        worst_share=worst_share(attribute_error),
        **{name: _mean_of_defined(values) for name, values in per.items()},
        images=int(table.count[classes].sum()),
        classes=len(classes),
        classes_correlated=int(np.isfinite(per["pearson_class"]).sum()),
        attributes_correlated=int(np.isfinite(per["pearson_attribute"]).sum()),
    )


def _centred_unit_rows(values: np.ndarray) -> np.ndarray:
    centred = values - values.mean(1, keepdims=True)
    return centred / np.linalg.norm(centred, axis=1, keepdims=True)


def _mean_of_defined(values: np.ndarray) -> float:
    defined = values[np.isfinite(values)]
    return float(defined.mean()) if len(defined) else float("nan")


def _check(predictions: Predictions) -> None:
    attributes, labels, signatures = predictions.attributes, predictions.labels, predictions.signatures
    if attributes.ndim != 2 or signatures.ndim != 2 or attributes.shape[1] != signatures.shape[1]:
        raise DataError(f"attributes of shape {attributes.shape} for signatures of shape {signatures.shape}")
    if not len(labels) or labels.min() < 0 or labels.max() >= len(signatures):
        raise DataError(f"labels must be class numbers in 0..{len(signatures) - 1}, and at least one")
    for name, values in (("predicted attributes", attributes), ("signatures", signatures)):
        broken = np.flatnonzero(~np.isfinite(values).all(1))
        if len(broken):
            raise DataError(f"the {name} of {len(broken)} of {len(values)} rows are not finite")
