"""The arithmetic of ReMSE: errors of a batch to means by class, and means to weights. No state."""

from typing import NamedTuple

import torch
from torch import Tensor


def rebalance_weights(error_mean: Tensor, all_classes: Tensor, p: float, p2: float) -> Tensor:
    """Returns the weights (R, K) of the error means E (R, K) of any classes.

    Args:
        error_mean: (R, K), >= 0.
        all_classes: (C, K) the E of all classes that are compared; may be ``error_mean`` itself.
        p: exponent across classes.
        p2: exponent across attributes.
    """
    positive = _positive(error_mean)
    positive_of_all = positive if all_classes is error_mean else _positive(all_classes)
    across_classes = _log_factor(error_mean, positive_of_all.amin(0, keepdim=True))
    across_attributes = _log_factor(error_mean, positive.amin(1, keepdim=True))
    return across_classes.mul_(p).add_(across_attributes, alpha=p2).exp_()


def _log_factor(error_mean: Tensor, minimum: Tensor) -> Tensor:
    """ln(1 + ln(E / minimum)), and 0 where E is 0; a ratio too large for its type counts as the largest there is."""
    ratio = (error_mean / minimum).clamp_(1.0, torch.finfo(error_mean.dtype).max)
    return ratio.log_().add_(1.0).log_()  # exact enough, and many times faster than log1p where that is not vectorised


def _positive(error_mean: Tensor) -> Tensor:
    """Infinity in place of the entries that are 0, so that minima pass them over."""
    return torch.threshold(error_mean, 0.0, torch.inf)


class ClassStatistics(NamedTuple):
    """The errors of a batch, and what its rows share by class: every shape is B's and K's, so no value decides on one.

    Attributes:
        error: (B, K) elementwise error.
        labels: (B,) class of each row.
        same: (B, B) 1 where two rows are of one class, 0 elsewhere.
        count: (B, 1) rows of the same class.
        mean: (B, K) the mean error of those rows.
    """

    error: Tensor
    labels: Tensor
    same: Tensor
    count: Tensor
    mean: Tensor

    @classmethod
    def of(cls, error: Tensor, labels: Tensor) -> "ClassStatistics":
        same = (labels[:, None] == labels).to(error.dtype)
        count = same.sum(1, keepdim=True)
        return cls(error, labels, same, count, _class_means(error, same, count))

    @property
    def variance(self) -> Tensor:
        """(B, K) the variance of the error over the rows of the same class."""
        return _class_means((self.error - self.mean).square(), self.same, self.count)


def _class_means(rows: Tensor, same: Tensor, count: Tensor) -> Tensor:
    # a product, unlike adding by index, gives the same bits every time on a GPU too; autocast would round it
    with torch.autocast(rows.device.type, enabled=False):
        return torch.mm(same, rows).div_(count)
