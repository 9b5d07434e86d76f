"""The arithmetic of ReMSE: errors of a batch to means by class, and means to weights. No state."""

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F


def positive_minimum(error_mean: Tensor, dim: int) -> Tensor:
    """Returns the minimum of the entries > 0 along ``dim``, kept as 1; infinity where there is none."""
    return F.threshold(error_mean, 0.0, torch.inf).amin(dim, keepdim=True)


def rebalance_weights(error_mean: Tensor, class_minimum: Tensor, p: float, p2: float) -> Tensor:
    """Returns the weights of the error means E (R, K) of any classes.

    Args:
        error_mean: (R, K), >= 0.
        class_minimum: (1, K) smallest positive E of each attribute over all classes.
        p: exponent across classes.
        p2: exponent across attributes.
    """
    across_classes = _log_factor(error_mean, class_minimum)
    across_attributes = _log_factor(error_mean, positive_minimum(error_mean, 1))
    return across_classes.mul_(p).add_(across_attributes, alpha=p2).exp_()


def _log_factor(error_mean: Tensor, minimum: Tensor) -> Tensor:
    """ln(1 + ln(E / minimum)), and 0 where E is 0; a ratio too large for its type counts as the largest there is."""
    ratio = (error_mean / minimum).clamp_(1.0, torch.finfo(error_mean.dtype).max)
    return ratio.log_().add_(1.0).log_()  # exact enough, and many times faster than log1p where that is not vectorised


class ClassStatistics(NamedTuple):
    """The errors of a batch, and what its rows share by class: everything (B, ...), so nothing depends on the labels.

    Attributes:
        error: (B, K) elementwise error.
        labels: (B,) class of each row.
        first: (B,) the first row of the same class.
        count: (B, 1) rows of the same class.
        mean: (B, K) the mean error of those rows.
    """

    error: Tensor
    labels: Tensor
    first: Tensor
    count: Tensor
    mean: Tensor

    @classmethod
    def of(cls, error: Tensor, labels: Tensor) -> "ClassStatistics":
        same = labels[:, None] == labels  # (B, B)
        first, count = same.to(torch.uint8).argmax(1), same.sum(1, keepdim=True)
        return cls(error, labels, first, count, _class_means(error, first, count))

    @property
    def variance(self) -> Tensor:
        """(B, K) the variance of the error over the rows of the same class."""
        return _class_means((self.error - self.mean).square(), self.first, self.count)


def _class_means(rows: Tensor, first: Tensor, count: Tensor) -> Tensor:
    # by adding, not by a matrix product, which autocast or TF32 would round
    return torch.zeros_like(rows).index_add_(0, first, rows).index_select(0, first).div_(count)
