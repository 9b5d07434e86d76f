r"""ReMSE: error statistics and the weights that even errors out (Ye et al., *Rebalanced Zero-shot Learning*, TIP 2023).

With e (B, K) the elementwise error and :math:`E_{ck}` its mean over the images of class c,

.. math::
    W_{ck} = \left(1 + \ln\frac{E_{ck}}{\min_{c'} E_{c'k}}\right)^{P}
             \left(1 + \ln\frac{E_{ck}}{\min_{k'} E_{ck'}}\right)^{P_2}

Minima run over entries with E > 0, and an entry with E = 0 weighs 1. The loss is the mean over B and K of
:math:`W_{y_i k} e_{ik}`; no gradient passes through W.
"""

import torch
from torch import Tensor, nn

from .losses import check_reg_type, elementwise_error, weighted_RegressLoss

WEIGHT_TYPES = ("in_batch", "cross_batch")


def class_mean_error(error: Tensor, labels: Tensor, num_classes: int) -> tuple[Tensor, Tensor]:
    """Averages ``error`` (B, K) over the rows of each class.

    Returns:
        E (C, K), zero for a class without rows, and the number of rows of each class (C,).
    """
    count = torch.zeros(num_classes, device=error.device, dtype=error.dtype)
    count = count.index_add(0, labels, torch.ones_like(labels, dtype=error.dtype))
    total = error.new_zeros(num_classes, error.shape[1]).index_add(0, labels, error)
    return total / count.clamp_min(1)[:, None], count


def rebalance_weights(error_mean: Tensor, p: float, p2: float) -> Tensor:
    """Returns W (C, K) of the error means E (C, K) >= 0; ``p`` works across classes, ``p2`` across attributes."""
    positive = error_mean > 0
    floor = torch.where(positive, error_mean, torch.inf)
    weights = torch.ones_like(error_mean)
    for exponent, dim in ((p, 0), (p2, 1)):
        ratio = torch.where(positive, error_mean / floor.amin(dim, keepdim=True), 1.0)
        weights = weights * (1 + ratio.log()) ** exponent
    return weights


class ReZSL(nn.Module):
    """Error statistics per (class, attribute) and the weights they give, in the published call form.

    >>> rezsl = ReZSL(p=0.5, p2=0.1, att_dim=4, train_class_num=3, RegNorm=True, RegType="MSE")
    >>> pred, target, labels = torch.rand(6, 4), torch.rand(6, 4), torch.tensor([0, 0, 1, 1, 2, 2])
    >>> rezsl.updateWeightsMatrix(pred, target, labels)
    >>> rezsl.getWeights(6, 4, labels).shape
    torch.Size([6, 4])

    The statistics are buffers: they move with ``.to()`` and are saved in ``state_dict``.

    Args:
        p: exponent of the weights across classes (>= 0).
        p2: exponent of the weights across attributes (>= 0).
        att_dim: K, the number of attributes, or outputs of any regression.
        train_class_num: C, the number of training classes, or groups.
        test_class_num: taken for the published call form; nothing here depends on the test classes.
        RegNorm: L2-normalise predictions and targets over K first.
        RegType: error, ``MSE``, ``RMSE`` or ``MAE`` (``BMC`` measures the error as MSE does).
        WeightType: what ``updateWeightsMatrix`` does: ``in_batch`` or ``cross_batch``.
        device: where the buffers live.

    Attributes:
        error_mean: (C, K) the E above.
        weights: (C, K) the W above; ones until the first update.
        count: (C,) images of each class in the last batch.

    Raises:
        ValueError: an unknown RegType or WeightType, or inputs of the wrong shape or dtype.
    """

    def __init__(
        self,
        p: float,
        p2: float,
        att_dim: int,
        train_class_num: int,
        test_class_num: int | None = None,
        RegNorm: bool = True,
        RegType: str = "MSE",
        WeightType: str = "in_batch",
        device: torch.device | str | None = None,
    ) -> None:
        super().__init__()
        if WeightType not in WEIGHT_TYPES:
            raise ValueError(f"WeightType is {WeightType!r}, expected one of {', '.join(WEIGHT_TYPES)}")
        if p < 0 or p2 < 0:
            raise ValueError(f"p and p2 must be >= 0, got {p} and {p2}")
        self.p, self.p2 = p, p2
        self.RegNorm, self.RegType, self.WeightType = bool(RegNorm), check_reg_type(RegType), WeightType
        self.register_buffer("error_mean", torch.zeros(train_class_num, att_dim, device=device))
        self.register_buffer("weights", torch.ones(train_class_num, att_dim, device=device))
        self.register_buffer("count", torch.zeros(train_class_num, device=device))

    def updateWeightsMatrix(self, pred: Tensor, target: Tensor, labels: Tensor) -> None:
        """Updates as ``WeightType`` says; arguments as of :meth:`updateWeightsMatrix_inBatch`."""
        if self.WeightType == "in_batch":
            self.updateWeightsMatrix_inBatch(pred, target, labels)
        else:
            self.updateWeightsMatrix_crossBatch(pred, target, labels)

    def updateWeightsMatrix_inBatch(self, pred: Tensor, target: Tensor, labels: Tensor) -> None:
        """Takes E from this batch alone; a class that is not in it weighs 1.

        Args:
            pred: (B, K) predictions.
            target: (B, K) targets.
            labels: (B,) integers in 0..C-1.
        """
        self._update(pred, target, labels, keep=False)

    def updateWeightsMatrix_crossBatch(self, pred: Tensor, target: Tensor, labels: Tensor) -> None:
        """Takes E of this batch's classes from it; every other class keeps its last E. Arguments as above."""
        self._update(pred, target, labels, keep=True)

    def getWeights(self, n: int, dim: int, labels: Tensor) -> Tensor:
        """Returns the weights (n, dim) of ``n`` images with ``labels`` (n,); ``dim`` is K."""
        if (n, dim) != (len(labels), self.weights.shape[1]):
            raise ValueError(f"getWeights({n}, {dim}) for {len(labels)} labels and {self.weights.shape[1]} attributes")
        return self.weights[labels]

    @torch.no_grad()
    def _update(self, pred: Tensor, target: Tensor, labels: Tensor, keep: bool) -> None:
        num_classes, att_dim = self.weights.shape
        if pred.shape != target.shape or pred.shape != (len(labels), att_dim):
            raise ValueError(
                f"pred and target must be (B, {att_dim}) for labels (B,), "
                f"got {tuple(pred.shape)}, {tuple(target.shape)} and {tuple(labels.shape)}"
            )
        if labels.dtype not in (torch.int64, torch.int32):
            raise ValueError(f"labels must be int64 or int32, got {labels.dtype}")
        dtype = self.error_mean.dtype  # float32 statistics, whatever the model computes in
        error = elementwise_error(pred.to(dtype), target.to(dtype), self.RegType, self.RegNorm)
        error_mean, count = class_mean_error(error, labels, num_classes)
        if keep:
            error_mean = torch.where(count[:, None] > 0, error_mean, self.error_mean)
        self.error_mean.copy_(error_mean)
        self.count.copy_(count)
        self.weights.copy_(rebalance_weights(error_mean, self.p, self.p2))


class ReMSELoss(nn.Module):
    """The whole of ReMSE as one loss: ``loss = remse(pred, target, labels)``.

    With ``p = p2 = 0`` it is the plain regression loss, to the bit.

    >>> remse = ReMSELoss(num_classes=3, num_attributes=4, p=0.5, p2=0.1)
    >>> loss = remse(torch.rand(6, 4, requires_grad=True), torch.rand(6, 4), torch.tensor([0, 0, 1, 1, 2, 2]))
    >>> loss.backward()

    Args:
        num_classes: C.
        num_attributes: K.
        p: exponent of the weights across classes (>= 0).
        p2: exponent of the weights across attributes (>= 0).
        reg_type: ``MSE``, ``RMSE``, ``MAE``, or ``BMC``, which is never reweighted.
        reg_norm: L2-normalise predictions and targets over K first.
        weight_type: ``in_batch`` or ``cross_batch``.

    Attributes:
        statistics: the :class:`ReZSL` with ``error_mean``, ``weights`` and ``count`` of the last call.
    """

    def __init__(
        self,
        num_classes: int,
        num_attributes: int,
        p: float,
        p2: float,
        reg_type: str = "MSE",
        reg_norm: bool = True,
        weight_type: str = "in_batch",
    ) -> None:
        super().__init__()
        self.statistics = ReZSL(
            p, p2, num_attributes, num_classes, RegNorm=reg_norm, RegType=reg_type, WeightType=weight_type
        )
        self.regression = weighted_RegressLoss(reg_norm, reg_type)

    def forward(self, pred: Tensor, target: Tensor, labels: Tensor) -> Tensor:
        """Updates the statistics with this batch, in training mode, and returns its loss.

        In evaluation mode the weights stay those of the last training batch.

        Args:
            pred: (B, K) predictions.
            target: (B, K) targets.
            labels: (B,) integers in 0..C-1.
        """
        if self.training:
            self.statistics.updateWeightsMatrix(pred.detach(), target.detach(), labels)
        weights = None
        if self.regression.RegType != "BMC":
            weights = self.statistics.getWeights(len(labels), pred.shape[1], labels).to(pred.dtype)
        return self.regression(pred, target, weights)
