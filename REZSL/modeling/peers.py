"""Other ways to rebalance a regression, on the same footing as ReMSE: called as ``(pred, target, labels)``.

Both are of Yang et al., *Delving into Deep Imbalanced Regression*, ICML 2021, applied to each attribute.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from .losses import check_reg_type, elementwise_error, unit_rows, weighted_RegressLoss


class FocalRLoss(nn.Module):
    r"""Focal-R: large errors weigh more, by a continuous factor in [0, 1).

    .. math:: L = \frac{1}{BK} \sum_{ik} \left(2\sigma(\beta |p_{ik} - t_{ik}|) - 1\right)^\gamma e_{ik}

    with the sigmoid scaled to start at 0, as in the authors' code. A gradient passes through the factor.

    Args:
        reg_type: e is that of ``MSE``, ``RMSE`` or ``MAE``.
        reg_norm: L2-normalise predictions and targets over K first.
        beta: how fast the factor rises (> 0).
        gamma: its exponent (>= 0); 0 is the plain loss.
        reduction: ``mean``, ``sum`` or ``none``.
    """

    def __init__(
        self,
        reg_type: str = "MSE",
        reg_norm: bool = True,
        beta: float = 0.2,
        gamma: float = 1.0,
        reduction: str = "mean",
    ) -> None:
        super().__init__()
        if check_reg_type(reg_type) == "BMC":
            raise ValueError("BMC is never reweighted: choose MSE, RMSE or MAE")
        if beta <= 0 or gamma < 0:
            raise ValueError(f"beta must be > 0 and gamma >= 0, got {beta} and {gamma}")
        self.regression = weighted_RegressLoss(reg_norm, reg_type)
        self.beta, self.gamma, self.reduction = beta, gamma, reduction

    def forward(self, pred: Tensor, target: Tensor, labels: Tensor | None = None) -> Tensor:
        """Computes the loss of ``pred`` (B, K) against ``target`` (B, K); ``labels`` are not needed."""
        distance = elementwise_error(pred, target, "MAE", self.regression.RegNorm)
        factor = (2 * torch.sigmoid(self.beta * distance) - 1) ** self.gamma
        return self.regression(pred, target, factor, self.reduction)


class LDSLoss(nn.Module):
    r"""Label distribution smoothing: a target value weighs the inverse of its smoothed density.

    The values of attribute k among the training targets are counted in bins over their range; the counts are smoothed
    by a Gaussian kernel, :math:`\tilde p_k = g_\sigma * p_k`, and

    .. math:: L = \frac{1}{BK} \sum_{ik} \frac{e_{ik}}{z_k \, \tilde p_k(t_{ik})}

    where z_k makes the mean weight over the training targets 1.

    Args:
        targets: (N, K) all training targets, e.g. the signature of every training image.
        reg_type: e is that of ``MSE``, ``RMSE`` or ``MAE``.
        reg_norm: L2-normalise predictions and targets over K first.
        bins: number of bins.
        kernel_size: width of the kernel in bins, odd.
        sigma: its standard deviation in bins (> 0).
        reduction: ``mean``, ``sum`` or ``none``.
    """

    def __init__(
        self,
        targets: Tensor,
        reg_type: str = "MSE",
        reg_norm: bool = True,
        bins: int = 100,
        kernel_size: int = 5,
        sigma: float = 2.0,
        reduction: str = "mean",
    ) -> None:
        super().__init__()
        if check_reg_type(reg_type) == "BMC":
            raise ValueError("BMC is never reweighted: choose MSE, RMSE or MAE")
        if bins < 1 or kernel_size < 1 or kernel_size % 2 == 0 or sigma <= 0:
            raise ValueError(f"bins >= 1, odd kernel_size and sigma > 0, got {bins}, {kernel_size} and {sigma}")
        self.regression = weighted_RegressLoss(reg_norm, reg_type)
        self.bins, self.reduction = bins, reduction
        targets = self._values(targets.float())
        self.register_buffer("low", targets.amin(0))
        self.register_buffer("width", (targets.amax(0) - targets.amin(0)).clamp_min(1e-12) / bins)
        of_bin = self._bin(targets).T  # (K, N)
        members = torch.zeros(len(of_bin), bins).scatter_add(1, of_bin, torch.ones(of_bin.shape))  # (K, bins)
        steps = torch.arange(kernel_size) - kernel_size // 2
        kernel = torch.exp(-0.5 * (steps / sigma).square())
        smooth = F.conv1d(members[:, None], (kernel / kernel.sum())[None, None], padding=kernel_size // 2)[:, 0]
        weights = 1 / smooth.clamp_min(1e-12)
        mean = (members * weights).sum(1, keepdim=True) / len(targets)
        self.register_buffer("weights", weights / mean)  # (K, bins)

    def forward(self, pred: Tensor, target: Tensor, labels: Tensor | None = None) -> Tensor:
        """Computes the loss of ``pred`` (B, K) against ``target`` (B, K); ``labels`` are not needed.

        A target outside the range of the training targets weighs as the nearest bin.
        """
        of_bin = self._bin(self._values(target.to(self.low.dtype))).T  # (K, B)
        return self.regression(pred, target, self.weights.gather(1, of_bin).T.to(pred.dtype), self.reduction)

    def _values(self, targets: Tensor) -> Tensor:
        return unit_rows(targets) if self.regression.RegNorm else targets

    def _bin(self, targets: Tensor) -> Tensor:
        return ((targets - self.low) / self.width).long().clamp(0, self.bins - 1)
