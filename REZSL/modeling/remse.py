r"""ReMSE: error statistics and the weights that even errors out (Ye et al., *Rebalanced Zero-shot Learning*, TIP 2023).

With e (B, K) the elementwise error and :math:`E_{ck}` its mean over the images of class c,

.. math::
    W_{ck} = \left(1 + \ln\frac{E_{ck}}{\min_{c'} E_{c'k}}\right)^{P}
             \left(1 + \ln\frac{E_{ck}}{\min_{k'} E_{ck'}}\right)^{P_2}

Minima run over entries with E > 0, and an entry with E = 0 weighs 1. The loss is the mean over B and K of
:math:`W_{y_i k} e_{ik}`; no gradient passes through W. It is not bound to zero-shot learning: classes can be any
groups, attributes the outputs of any regression.
"""

import torch
from torch import Tensor, nn
from torch import distributed as dist
from torch.nn import functional as F

from .losses import check_reg_type, elementwise_error, weighted_RegressLoss

WEIGHT_TYPES = ("in_batch", "cross_batch", "ema")


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
    return (error_mean / minimum).clamp_(1.0, torch.finfo(error_mean.dtype).max).log_().log1p_()


class ReZSL(nn.Module):
    """Error statistics per (class, attribute) and the weights they give, in the published call form.

    >>> rezsl = ReZSL(p=0.5, p2=0.1, att_dim=4, train_class_num=3, RegNorm=True, RegType="MSE")
    >>> pred, target, labels = torch.rand(6, 4), torch.rand(6, 4), torch.tensor([0, 0, 1, 1, 2, 2])
    >>> rezsl.updateWeightsMatrix(pred, target, labels)
    >>> rezsl.getWeights(6, 4, labels).shape
    torch.Size([6, 4])

    The statistics are buffers: they move with ``.to()`` and are saved in ``state_dict``. They are float32 (or what
    ``.to()`` made them), whatever the predictions are. Under ``torch.distributed`` they are those of the global batch;
    every rank must bring the same number of images.

    Args:
        p: exponent of the weights across classes (>= 0).
        p2: exponent of the weights across attributes (>= 0).
        att_dim: K, the number of attributes, or outputs of any regression.
        train_class_num: C, the number of training classes, or groups.
        test_class_num: taken for the published call form; nothing here depends on the test classes.
        RegNorm: L2-normalise predictions and targets over K first.
        RegType: error, ``MSE``, ``RMSE`` or ``MAE`` (``BMC`` measures the error as MSE does).
        WeightType: what ``updateWeightsMatrix`` does: ``in_batch`` takes E from the batch alone; ``cross_batch`` keeps
            a class's last E until the class is seen again; ``ema`` moves it by an exponential moving average.
        device: where the buffers live.
        momentum: share of the old E that ``ema`` keeps (0 to 1, below 1).
        validate: check the values of labels and errors, which makes an accelerator wait; shapes and types always are.

    Attributes:
        error_mean: (C, K) the E above; zero for a class without statistics.
        error_var: (C, K) variance of the error within each class, kept as E is.
        count: (C,) images of each class in the last batch.
        total: (C,) images of each class so far.

    Raises:
        ValueError: an unknown RegType or WeightType, or inputs of the wrong shape, dtype or device, labels outside
            0..C-1, or errors that are not finite.
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
        momentum: float = 0.9,
        validate: bool = True,
    ) -> None:
        super().__init__()
        if WeightType not in WEIGHT_TYPES:
            raise ValueError(f"WeightType is {WeightType!r}, expected one of {', '.join(WEIGHT_TYPES)}")
        if p < 0 or p2 < 0:
            raise ValueError(f"p and p2 must be >= 0, got {p} and {p2}")
        if not 0 <= momentum < 1:
            raise ValueError(f"momentum must be in 0..1, below 1, got {momentum}")
        self.p, self.p2, self.momentum, self.validate = p, p2, momentum, validate
        self.RegNorm, self.RegType, self.WeightType = bool(RegNorm), check_reg_type(RegType), WeightType
        for name, shape in (("error_mean", (train_class_num, att_dim)), ("error_var", (train_class_num, att_dim))):
            self.register_buffer(name, torch.zeros(shape, device=device))
        self.register_buffer("count", torch.zeros(train_class_num, device=device))
        self.register_buffer("total", torch.zeros(train_class_num, device=device))
        self.register_buffer("class_minimum", torch.full((1, att_dim), torch.inf, device=device))

    @property
    def weights(self) -> Tensor:
        """(C, K) the W above; ones for a class without statistics."""
        return rebalance_weights(self.error_mean, self.class_minimum, self.p, self.p2)

    def updateWeightsMatrix(self, pred: Tensor, target: Tensor, labels: Tensor) -> None:
        """Updates as ``WeightType`` says; arguments as of :meth:`updateWeightsMatrix_inBatch`."""
        self._update(pred, target, labels, self.WeightType)

    def updateWeightsMatrix_inBatch(self, pred: Tensor, target: Tensor, labels: Tensor) -> None:
        """Takes E from this batch alone; a class that is not in it weighs 1.

        Args:
            pred: (B, K) predictions.
            target: (B, K) targets.
            labels: (B,) integers in 0..C-1.
        """
        self._update(pred, target, labels, "in_batch")

    def updateWeightsMatrix_crossBatch(self, pred: Tensor, target: Tensor, labels: Tensor) -> None:
        """Takes E of this batch's classes from it; every other class keeps its last E. Arguments as above."""
        self._update(pred, target, labels, "cross_batch")

    def getWeights(self, n: int, dim: int, labels: Tensor) -> Tensor:
        """Returns the weights (n, dim) of ``n`` images with ``labels`` (n,); ``dim`` is K."""
        if (n, dim) != (len(labels), self.error_mean.shape[1]):
            raise ValueError(
                f"getWeights({n}, {dim}) for {len(labels)} labels and {self.error_mean.shape[1]} attributes"
            )
        return rebalance_weights(self.error_mean.index_select(0, labels), self.class_minimum, self.p, self.p2)

    @torch.no_grad()
    def _update(self, pred: Tensor, target: Tensor, labels: Tensor, weight_type: str) -> None:
        self._check(pred, target, labels)
        dtype = self.error_mean.dtype
        error = elementwise_error(pred.to(dtype), target.to(dtype), self.RegType, self.RegNorm)
        if self.validate and not torch.isfinite(error).all():
            raise ValueError("pred or target holds NaN or infinity")
        error, labels = _of_all_ranks(error), _of_all_ranks(labels)

        if weight_type == "in_batch":
            rows = self._take_batch(error, labels)
        else:
            mean, variance = self.error_mean.clone(), self.error_var.clone()
            self._take_batch(error, labels)
            self._blend(mean, variance, self.momentum if weight_type == "ema" else 0.0)
            rows = self.error_mean
        self.total += self.count
        self.class_minimum.copy_(positive_minimum(rows, 0))

    def _take_batch(self, error: Tensor, labels: Tensor) -> Tensor:
        """Sets mean, variance and count to those of ``error`` (B, K) alone; returns the mean of each row's class."""
        count, mean, variance = self.count.zero_(), self.error_mean.zero_(), self.error_var.zero_()
        count.index_add_(0, labels, count.new_ones(len(labels)))
        share = count.index_select(0, labels).reciprocal_()[:, None]  # of a row in the mean of its class
        mean.index_add_(0, labels, error * share)
        of_rows = mean.index_select(0, labels)
        variance.index_add_(0, labels, (error - of_rows).square_().mul_(share))
        return of_rows

    def _blend(self, old_mean: Tensor, old_variance: Tensor, momentum: float) -> None:
        """Keeps ``momentum`` of a class's old statistics, none at its first batch, and all while it is away."""
        keep = torch.where(self.total > 0, momentum, 0.0).masked_fill_(self.count == 0, 1.0)[:, None]
        mean = keep * old_mean + (1 - keep) * self.error_mean
        old_variance += (old_mean - mean).square()  # a mixture's variance: its parts', and how far they lie apart
        new_variance = self.error_var + (self.error_mean - mean).square()
        self.error_var.copy_(keep * old_variance + (1 - keep) * new_variance)
        self.error_mean.copy_(mean)

    def _check(self, pred: Tensor, target: Tensor, labels: Tensor) -> None:
        num_classes, att_dim = self.error_mean.shape
        if pred.shape != target.shape or pred.shape != (len(labels), att_dim):
            raise ValueError(
                f"pred and target must be (B, {att_dim}) for labels (B,), "
                f"got {tuple(pred.shape)}, {tuple(target.shape)} and {tuple(labels.shape)}"
            )
        if not (pred.is_floating_point() and target.is_floating_point()):
            raise ValueError(f"pred and target must be floating point, got {pred.dtype} and {target.dtype}")
        if labels.dtype not in (torch.int64, torch.int32):
            raise ValueError(f"labels must be int64 or int32, got {labels.dtype}")
        if not pred.device == target.device == labels.device == self.error_mean.device:
            devices = sorted({str(x.device) for x in (pred, target, labels, self.error_mean)})
            raise ValueError(f"pred, target, labels and the statistics are on different devices: {devices}")
        if self.validate and len(labels) and not bool(((labels >= 0) & (labels < num_classes)).all()):
            raise ValueError(f"labels must be in 0..{num_classes - 1}, got {labels.min()}..{labels.max()}")


class ReMSELoss(nn.Module):
    """The whole of ReMSE as one loss: ``loss = remse(pred, target, labels)``.

    With ``p = p2 = 0`` it is the plain regression loss, to the bit.

    >>> remse = ReMSELoss(num_classes=3, num_attributes=4, p=0.5, p2=0.1)
    >>> loss = remse(torch.rand(6, 4, requires_grad=True), torch.rand(6, 4), torch.tensor([0, 0, 1, 1, 2, 2]))
    >>> loss.backward()

    Args:
        num_classes: C, classes or any groups.
        num_attributes: K, attributes or any outputs.
        p: exponent of the weights across classes (>= 0).
        p2: exponent of the weights across attributes (>= 0).
        reg_type: ``MSE``, ``RMSE``, ``MAE``, or ``BMC``, which is never reweighted.
        reg_norm: L2-normalise predictions and targets over K first.
        weight_type: ``in_batch``, ``cross_batch`` or ``ema``, as of :class:`ReZSL`.
        momentum: of ``ema``.
        reduction: ``mean`` over B and K, ``sum``, or ``none``.
        validate: check values, as of :class:`ReZSL`.

    Attributes:
        statistics: the :class:`ReZSL` with ``error_mean``, ``error_var``, ``weights`` and ``count`` of the last call.
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
        momentum: float = 0.9,
        reduction: str = "mean",
        validate: bool = True,
    ) -> None:
        super().__init__()
        self.statistics = ReZSL(
            p,
            p2,
            num_attributes,
            num_classes,
            RegNorm=reg_norm,
            RegType=reg_type,
            WeightType=weight_type,
            momentum=momentum,
            validate=validate,
        )
        self.regression = weighted_RegressLoss(reg_norm, reg_type)
        self.reduction = reduction

    def forward(self, pred: Tensor, target: Tensor, labels: Tensor) -> Tensor:
        """Updates the statistics with this batch, in training mode, and returns its loss.

        In evaluation mode the weights follow from the statistics of the last training batch.

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
        return self.regression(pred, target, weights, self.reduction)


def _of_all_ranks(rows: Tensor) -> Tensor:
    """The rows of every rank, in the order of ranks; ``rows`` themselves without ``torch.distributed``."""
    if not (dist.is_available() and dist.is_initialized() and dist.get_world_size() > 1):
        return rows
    gathered = rows.new_empty(dist.get_world_size() * len(rows), *rows.shape[1:])
    dist.all_gather_into_tensor(gathered, rows.contiguous())
    return gathered
