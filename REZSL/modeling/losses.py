"""Regression losses over attributes, and GEMNet's two regularisers."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from REZSL.utils.distributed import rows_of_all

REG_TYPES = ("MSE", "RMSE", "MAE", "BMC")


def elementwise_error(pred: Tensor, target: Tensor, reg_type: str, reg_norm: bool) -> Tensor:
    """Returns e (B, K), the error of each predicted attribute.

    MSE and BMC: (p - t)^2; RMSE: sqrt((p - t)^2 + 1e-10); MAE: |p - t|. With ``reg_norm`` both rows are divided by
    their L2 norm first.
    """
    if reg_norm:
        pred, target = unit_rows(pred), unit_rows(target)
    difference = pred - target
    if reg_type == "MAE":
        return difference.abs()
    if reg_type == "RMSE":
        return (difference.square() + 1e-10).sqrt()
    return difference.square()


def unit_rows(x: Tensor) -> Tensor:
    """Divides the rows of ``x`` (B, K) by their L2 norm, or by 1e-10 if that is larger; refuses K = 1."""
    check_normalisable(x.shape[1])
    return x / torch.linalg.vector_norm(x, dim=1, keepdim=True).clamp_min(1e-10)


def check_normalisable(num_attributes: int) -> None:
    """Raises ``ValueError`` for one attribute: divided by its own length it is 1 or -1, and there is no gradient."""
    if num_attributes == 1:
        raise ValueError(
            "a single attribute cannot be L2-normalised: it becomes 1 or -1, and nothing is learned; "
            "set reg_norm (RegNorm, MODEL.LOSS.REG_NORM) False"
        )


def check_reg_type(reg_type: str) -> str:
    """Returns ``reg_type``; raises ``ValueError`` with the choices if it is none of them."""
    if reg_type not in REG_TYPES:
        raise ValueError(f"RegType is {reg_type!r}, expected one of {', '.join(REG_TYPES)}")
    return reg_type


def check_reweightable(reg_type: str) -> str:
    """The same of a loss that weighs its errors, which ``BMC`` never does."""
    if check_reg_type(reg_type) == "BMC":
        raise ValueError("BMC is never reweighted: choose MSE, RMSE or MAE")
    return reg_type


class weighted_RegressLoss(nn.Module):
    r"""Weighted regression loss over attributes.

    .. math:: L = \frac{1}{BK} \sum_{ik} w_{ik} e_{ik}

    with :math:`e` of :func:`elementwise_error`. ``BMC`` is the batch-based Monte-Carlo form of the balanced MSE (Ren et
    al., CVPR 2022): cross-entropy over the B x B Gaussian log-likelihoods :math:`-\|p_i - t_j\|^2 / 2\sigma^2`, times
    :math:`2\sigma^2`, with a learnable :math:`\sigma` (``noise_sigma``, 0.1 at first), which belongs in the optimiser;
    no gradient passes through the factor, as in Ren et al.'s own code. Under ``torch.distributed`` the targets are
    those of the global batch; processes may bring different numbers of them.

    Args:
        RegNorm: L2-normalise predictions and targets over K first, which needs K of 2 or more.
        RegType: ``MSE``, ``RMSE``, ``MAE`` or ``BMC``.
        device: where ``noise_sigma`` lives; the other types hold no tensor.

    Raises:
        ValueError: unknown RegType; shapes that differ; one attribute under RegNorm; weights, or a single image, given
            to BMC.

    >>> loss = weighted_RegressLoss(True, RegType="MSE")
    >>> loss(torch.ones(2, 3), torch.ones(2, 3), torch.ones(2, 3)).item()
    0.0
    """

    def __init__(self, RegNorm: bool, RegType: str = "MSE", device: torch.device | str | None = None) -> None:
        super().__init__()
        self.RegNorm = bool(RegNorm)
        self.RegType = check_reg_type(RegType)
        if RegType == "BMC":
            self.noise_sigma = nn.Parameter(torch.tensor(0.1, device=device))

    def forward(self, pred: Tensor, target: Tensor, weights: Tensor | None = None, reduction: str = "mean") -> Tensor:
        """Computes the loss of ``pred`` (B, K) against ``target`` (B, K) under ``weights`` (B, K) or none.

        ``reduction`` is ``mean`` over B and K, ``sum``, or ``none`` for (B, K); for BMC the terms are images: ``none``
        gives (B,).
        """
        if pred.ndim != 2 or pred.shape != target.shape:
            raise ValueError(f"pred and target must both be (B, K), got {tuple(pred.shape)} and {tuple(target.shape)}")
        if weights is not None and weights.shape != pred.shape:
            raise ValueError(f"weights must be {tuple(pred.shape)} like pred, got {tuple(weights.shape)}")
        if reduction not in ("mean", "sum", "none"):
            raise ValueError(f"reduction is {reduction!r}, expected mean, sum or none")
        if self.RegType == "BMC":
            if weights is not None:
                raise ValueError("BMC is never reweighted: pass weights=None")
            return self._balanced_mse(pred, target, reduction)
        error = elementwise_error(pred, target, self.RegType, self.RegNorm)
        if weights is not None:
            error = weights * error
        return error.mean() if reduction == "mean" else error.sum() if reduction == "sum" else error

    def _balanced_mse(self, pred: Tensor, target: Tensor, reduction: str) -> Tensor:
        if self.RegNorm:
            pred, target = unit_rows(pred), unit_rows(target)
        variance = self.noise_sigma.square()
        (targets,), own = rows_of_all(target)
        if len(targets) < 2:
            raise ValueError(
                f"BMC tells an image's target from the others of its batch: it needs 2, got {len(targets)}"
            )
        squared = (pred[:, None] - targets[None]).square().sum(2)  # (B, B of all processes)
        own_targets = torch.arange(len(targets), device=pred.device)[own]
        loss = F.cross_entropy(-squared / (2 * variance), own_targets, reduction=reduction)
        return loss * (2 * variance).detach()  # restores the scale; its own gradient would only shrink sigma to 0


class ADLoss(nn.Module):
    r"""Attribute decorrelation (GEMNet, Liu et al., CVPR 2021): attributes of different groups use different channels.

    .. math:: L = \frac{1}{G} \sum_g \frac{1}{D} \sum_d \| q_{g,d} \|_2

    where :math:`q_{g,d}` are channel d's entries in the queries of group g.

    Args:
        groups: G lists of attribute numbers.
    """

    def __init__(self, groups: Sequence[Sequence[int]]) -> None:
        super().__init__()
        if not groups or not all(len(group) for group in groups):
            raise ValueError("ADLoss needs at least one group, and no group may be empty")
        self.num_groups = len(groups)
        self.register_buffer("members", torch.tensor([k for group in groups for k in group]), persistent=False)
        of = torch.tensor([g for g, group in enumerate(groups) for _ in group])
        self.register_buffer("group_of", of, persistent=False)

    def forward(self, queries: Tensor) -> Tensor:
        """Computes the loss of ``queries`` (K, D)."""
        squares = queries.new_zeros(self.num_groups, queries.shape[1])
        squares = squares.index_add(0, self.group_of, queries[self.members].square())  # (G, D)
        return squares.clamp_min(1e-24).sqrt().mean()  # the floor keeps the gradient at zero finite


class CPTLoss(nn.Module):
    r"""Compactness (GEMNet, Liu et al., CVPR 2021): an attribute's attention stays near its peak.

    .. math:: L = \frac{1}{BKHW} \sum_{bkhw} a_{bkhw} \left( (h - h^*_{bk})^2 + (w - w^*_{bk})^2 \right)
    """

    def forward(self, attention: Tensor) -> Tensor:
        """Computes the loss of ``attention`` (B, K, H, W), distances in grid cells."""
        width = attention.shape[3]
        peak = attention.flatten(2).argmax(2)  # (B, K)
        rows = torch.arange(attention.shape[2], device=attention.device)
        columns = torch.arange(width, device=attention.device)
        down = (rows - (peak // width)[..., None]).square()  # (B, K, H)
        across = (columns - (peak % width)[..., None]).square()  # (B, K, W)
        return (attention * (down[..., :, None] + across[..., None, :])).mean()
