"""Focal-R (Yang et al., *Delving into Deep Imbalanced Regression*, ICML 2021), for each attribute."""

import torch
from torch import Tensor, nn

from .losses import check_reweightable, elementwise_error, weighted_RegressLoss

SMALLEST_FACTOR = 1e-12  # a power below 1 has no finite slope at 0


class FocalRLoss(nn.Module):
    r"""Focal-R: large errors weigh more, by a continuous factor in [0, 1).

    .. math:: L = \frac{1}{BK} \sum_{ik} \left(2\sigma(\beta |p_{ik} - t_{ik}|) - 1\right)^\gamma e_{ik}

    with the sigmoid scaled to start at 0, as in the authors' code. A gradient passes through the factor. Called as
    ``(pred, target, labels)``, as ``ReMSELoss`` is.

    Args:
        reg_type: e is that of ``MSE``, ``RMSE`` or ``MAE``.
        reg_norm: L2-normalise predictions and targets over K first, which needs K of 2 or more.
        beta: how fast the factor rises (> 0).
        gamma: its exponent (>= 0); 0 is the plain loss.
        reduction: ``mean``, ``sum`` or ``none``.

    Raises:
        ValueError: arguments out of range; a single attribute under ``reg_norm``.
    """

    def __init__(
        self,
        reg_type: str = "MSE",
        reg_norm: bool = False,
        beta: float = 0.2,
        gamma: float = 1.0,
        reduction: str = "mean",
    ) -> None:
        super().__init__()
        if not (beta > 0 and gamma >= 0):
            raise ValueError(f"beta must be > 0 and gamma >= 0, got {beta} and {gamma}")
        self.regression = weighted_RegressLoss(reg_norm, check_reweightable(reg_type))
        self.beta, self.gamma, self.reduction = beta, gamma, reduction

    def forward(self, pred: Tensor, target: Tensor, labels: Tensor | None = None) -> Tensor:
        """Computes the loss of ``pred`` (B, K) against ``target`` (B, K); ``labels`` are not needed."""
        distance = elementwise_error(pred, target, "MAE", self.regression.RegNorm)
        factor = (2 * torch.sigmoid(self.beta * distance) - 1).clamp_min(SMALLEST_FACTOR) ** self.gamma
        return self.regression(pred, target, factor, self.reduction)
