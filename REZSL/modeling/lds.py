"""Label distribution smoothing (Yang et al., *Delving into Deep Imbalanced Regression*, ICML 2021), for each attribute.

The arithmetic is that of the authors' code (github.com/YyzHarry/imbalanced-regression), which the paper leaves open.
"""

import numpy as np
import torch
from scipy.ndimage import convolve1d, gaussian_filter1d
from torch import Tensor, nn

from .losses import check_reweightable, unit_rows, weighted_RegressLoss

DENSITIES = {  # what is smoothed, of the (K, bins) counts
    "sqrt_inv": np.sqrt,
    "inverse": lambda counts: np.clip(counts, 5, 1000),
}


class LDSLoss(nn.Module):
    r"""Label distribution smoothing: a target value weighs the inverse of its smoothed density.

    The values of attribute k among the training targets are counted in bins over their range, :math:`n_k`. The square
    root of the counts (``sqrt_inv``), or the counts clipped to 5..1000 (``inverse``), :math:`f(n_k)`, are smoothed by a
    window g, and

    .. math:: L = \frac{1}{BK} \sum_{ik} \frac{e_{ik}}{z_k \, (g * f(n_k))(t_{ik})}

    where z_k makes the mean weight over the training targets 1. The window is a unit impulse of ``kernel_size`` bins
    after ``scipy.ndimage.gaussian_filter1d``, which reflects it at its ends, divided by its maximum.

    Training targets never meet a density of 0. Other targets weigh as the nearest bin that has one: those in an empty
    stretch of the range, and those outside of it. Called as ``(pred, target, labels)``, as ``ReMSELoss`` is; the
    tables are made where ``targets`` are, move with ``.to()`` and are saved in ``state_dict``.

    Args:
        targets: (N, K) all training targets, e.g. the signature of every training image.
        reg_type: e is that of ``MSE``, ``RMSE`` or ``MAE``.
        reg_norm: L2-normalise predictions and targets over K first, which needs K of 2 or more.
        reweight: ``sqrt_inv`` or ``inverse``.
        bins: number of bins.
        kernel_size: width of the window in bins, odd.
        sigma: standard deviation of the Gaussian in bins (> 0).
        reduction: ``mean``, ``sum`` or ``none``.
        counts: (N,) how many training rows each row of ``targets`` stands for, e.g. the images of each class where
            ``targets`` are signatures; None: one.

    Raises:
        ValueError: arguments out of range; targets that are not finite, or on another device than the tables.
    """

    def __init__(
        self,
        targets: Tensor,
        reg_type: str = "MSE",
        reg_norm: bool = False,
        reweight: str = "sqrt_inv",
        bins: int = 100,
        kernel_size: int = 5,
        sigma: float = 2.0,
        reduction: str = "mean",
        counts: Tensor | None = None,
    ) -> None:
        super().__init__()
        if reweight not in DENSITIES:
            raise ValueError(f"reweight is {reweight!r}, expected {' or '.join(DENSITIES)}")
        if bins < 1 or kernel_size < 1 or kernel_size % 2 == 0 or not sigma > 0:
            raise ValueError(f"bins >= 1, odd kernel_size and sigma > 0, got {bins}, {kernel_size} and {sigma}")
        if targets.ndim != 2 or not len(targets) or not torch.isfinite(targets).all():
            raise ValueError(f"targets must be finite and (N, K), N of 1 or more, got {tuple(targets.shape)}")
        if counts is not None and (counts.shape != targets.shape[:1] or (counts < 0).any() or not counts.any()):
            raise ValueError(f"counts must be (N,), >= 0 and not all 0, for {len(targets)} targets")
        self.regression = weighted_RegressLoss(reg_norm, check_reweightable(reg_type))
        self.reduction = reduction
        if counts is not None:
            targets, counts = targets[counts > 0], counts[counts > 0]
        targets = self._values(targets.detach().to(torch.promote_types(targets.dtype, torch.float32))).T  # (K, N)
        low, high = targets.aminmax(dim=1, keepdim=True)
        steps = torch.arange(1, bins, dtype=targets.dtype, device=targets.device) / bins
        self.register_buffer("edges", low + (high - low) * steps)  # (K, bins - 1) where one bin ends, the next begins
        shares = np.ones(targets.shape[1]) if counts is None else counts.cpu().numpy()
        weights = _weights(self._bins(targets).cpu().numpy(), shares, reweight, bins, kernel_size, sigma)
        self.register_buffer("weights", torch.from_numpy(weights).to(targets))  # (K, bins)

    def forward(self, pred: Tensor, target: Tensor, labels: Tensor | None = None) -> Tensor:
        """Computes the loss of ``pred`` (B, K) against ``target`` (B, K); ``labels`` are not needed."""
        if target.shape[1:] != self.edges.shape[:1] or target.device != self.edges.device:
            raise ValueError(
                f"target must be (B, {len(self.edges)}) on {self.edges.device}, where this loss is, "
                f"got {tuple(target.shape)} on {target.device}: move the loss with .to()"
            )
        bins = self._bins(self._values(target.to(self.edges.dtype)).T)  # (K, B)
        return self.regression(pred, target, self.weights.gather(1, bins).T.to(pred.dtype), self.reduction)

    def _values(self, targets: Tensor) -> Tensor:
        return unit_rows(targets) if self.regression.RegNorm else targets

    def _bins(self, targets: Tensor) -> Tensor:
        """The bins (K, B) of the values ``targets`` (K, B): the first below all edges, the last above all."""
        return torch.searchsorted(self.edges, targets.contiguous(), right=True)


def _weights(
    of_bin: np.ndarray, shares: np.ndarray, reweight: str, bins: int, kernel_size: int, sigma: float
) -> np.ndarray:
    """The weight (K, bins) of each bin, from training targets in bins ``of_bin`` (K, N) that count ``shares`` (N,)."""
    cells = of_bin + bins * np.arange(len(of_bin))[:, None]
    counts = np.bincount(cells.ravel(), np.tile(shares, len(of_bin)), bins * len(of_bin)).reshape(-1, bins)
    impulse = np.zeros(kernel_size)
    impulse[kernel_size // 2] = 1
    window = gaussian_filter1d(impulse, sigma)
    density = convolve1d(DENSITIES[reweight](counts), window / window.max(), axis=1, mode="constant")
    weights = 1 / np.take_along_axis(density, _nearest(density > 0), 1)
    return weights * counts.sum(1, keepdims=True) / (counts * weights).sum(1, keepdims=True)


def _nearest(marked: np.ndarray) -> np.ndarray:
    """The nearest ``marked`` place of its row for every place (K, bins), the lower of two; a row must have one."""
    bins = marked.shape[1]
    here = np.arange(bins)
    before = np.maximum.accumulate(np.where(marked, here, -2 * bins), 1)
    after = np.minimum.accumulate(np.where(marked, here, 3 * bins)[:, ::-1], 1)[:, ::-1]
    return np.where(here - before <= after - here, before, after)
