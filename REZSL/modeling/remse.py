r"""ReMSE: error statistics and the weights that even errors out (Ye et al., *Rebalanced Zero-shot Learning*, TIP 2023).

With e (B, K) the elementwise error and :math:`E_{ck}` its mean over the images of class c,

.. math::
    W_{ck} = \left(1 + \ln\frac{E_{ck}}{\min_{c'} E_{c'k}}\right)^{P}
             \left(1 + \ln\frac{E_{ck}}{\min_{k'} E_{ck'}}\right)^{P_2}

Minima run over entries with E > 0, and an entry with E = 0 weighs 1. The loss is the mean over B and K of
:math:`W_{y_i k} e_{ik}`; no gradient passes through W. It is not bound to zero-shot learning: classes can be any
groups, attributes the outputs of any regression.
"""

from typing import Any

import torch
from torch import Tensor, nn

from REZSL.utils.distributed import rows_of_all

from .losses import check_normalisable, check_reg_type, elementwise_error, weighted_RegressLoss
from .rebalance import ClassStatistics, rebalance_weights

WEIGHT_TYPES = ("in_batch", "cross_batch", "ema")


class ReZSL(nn.Module):
    """Error statistics per (class, attribute) and the weights they give, in the published call form.

    >>> rezsl = ReZSL(p=0.5, p2=0.1, att_dim=4, train_class_num=3, RegNorm=True, RegType="MSE")
    >>> pred, target, labels = torch.rand(6, 4), torch.rand(6, 4), torch.tensor([0, 0, 1, 1, 2, 2])
    >>> rezsl.updateWeightsMatrix(pred, target, labels)
    >>> rezsl.getWeights(6, 4, labels).shape
    torch.Size([6, 4])

    The statistics move with ``.to()`` and are saved in ``state_dict``. They are float32 (or what ``.to()`` made them),
    whatever the predictions are. Under ``torch.distributed`` they are those of the global batch, to which the processes
    may bring different numbers of images.

    Args:
        p: exponent of the weights across classes (>= 0).
        p2: exponent of the weights across attributes (>= 0).
        att_dim: K, the number of attributes, or outputs of any regression.
        train_class_num: C, the number of training classes, or groups.
        test_class_num: taken for the published call form; nothing here depends on the test classes.
        RegNorm: L2-normalise predictions and targets over K first, which needs K of 2 or more.
        RegType: error, ``MSE``, ``RMSE`` or ``MAE`` (``BMC`` measures the error as MSE does).
        WeightType: what ``updateWeightsMatrix`` does: ``in_batch`` takes E from the batch alone; ``cross_batch`` keeps
            a class's last E until the class is seen again; ``ema`` moves it by an exponential moving average.
        device: where the buffers live.
        momentum: share of the old E that ``ema`` keeps (0 to 1, below 1).
        validate: check the values of labels and errors, which makes an accelerator wait; shapes and types always are.
            Without, every process of ``torch.distributed`` must bring as many images.

    Attributes:
        error_mean: (C, K) the E above; zero for a class without statistics.
        error_var: (C, K) variance of the error within each class, kept as E is.
        count: (C,) images of each class in the last batch.
        total: (C,) images of each class so far.

    Raises:
        ValueError: an unknown RegType or WeightType, one attribute under RegNorm, inputs of the wrong shape, dtype or
            device, labels outside 0..C-1, or errors that are not finite.
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
        if not (p >= 0 and p2 >= 0):
            raise ValueError(f"p and p2 must be >= 0, got {p} and {p2}")
        if not 0 <= momentum < 1:
            raise ValueError(f"momentum must be in 0..1, below 1, got {momentum}")
        if RegNorm:
            check_normalisable(att_dim)
        self.p, self.p2, self.momentum, self.validate = p, p2, momentum, validate
        self.RegNorm, self.RegType, self.WeightType = bool(RegNorm), check_reg_type(RegType), WeightType
        tables = {"_error_mean": (att_dim,), "_error_var": (att_dim,), "_count": (), "total": ()}
        for name, of_class in tables.items():
            self.register_buffer(name, torch.zeros(train_class_num, *of_class, device=device))
        self._pending: ClassStatistics | None = None  # of in_batch: it goes into the tables when somebody reads them
        self.register_state_dict_pre_hook(lambda module, *_: module._settle())

    @property
    def error_mean(self) -> Tensor:
        """(C, K) the E above."""
        self._settle()
        return self._error_mean

    @property
    def error_var(self) -> Tensor:
        """(C, K) the variance of the error within each class."""
        self._settle()
        return self._error_var

    @property
    def count(self) -> Tensor:
        """(C,) images of each class in the last batch."""
        self._settle()
        return self._count

    @property
    def weights(self) -> Tensor:
        """(C, K) the W above; ones for a class without statistics."""
        return self._weights(self.error_mean)

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
        num_attributes = self._error_mean.shape[1]
        if (n, dim) != (len(labels), num_attributes):
            raise ValueError(f"getWeights({n}, {dim}) for {len(labels)} labels and {num_attributes} attributes")
        self._check_labels(labels)
        return self._weights(self.error_mean, labels)

    def weigh(self, pred: Tensor, target: Tensor, labels: Tensor) -> Tensor:
        """Updates as ``WeightType`` says and returns the weights (B, K) of this very batch.

        The same as ``updateWeightsMatrix`` and ``getWeights``, but ``in_batch`` does not touch the (C, K) tables: the
        weights follow from the rows of the batch. Arguments as of :meth:`updateWeightsMatrix_inBatch`.
        """
        batch, own = self._update(pred, target, labels, self.WeightType)
        if self._pending is None:
            return self._weights(self._error_mean, labels)
        return rebalance_weights(batch.mean, batch.mean, self.p, self.p2)[own]

    def _weights(self, error_mean: Tensor, labels: Tensor | None = None) -> Tensor:
        rows = error_mean if labels is None else error_mean.index_select(0, labels)
        return rebalance_weights(rows, error_mean, self.p, self.p2)

    @torch.no_grad()
    def _update(self, pred: Tensor, target: Tensor, labels: Tensor, kind: str) -> tuple[ClassStatistics, slice]:
        """Returns the global batch, and where in it this process's rows are."""
        self._check(pred, target, labels)
        dtype = self._error_mean.dtype
        error = elementwise_error(pred.to(dtype), target.to(dtype), self.RegType, self.RegNorm)
        if self.validate and not torch.isfinite(error).all():
            raise ValueError("pred or target holds NaN or infinity")
        gathered, own = rows_of_all(error, labels, even=not self.validate)
        batch = ClassStatistics.of(*gathered)
        if kind == "in_batch":
            self._pending = batch
        else:
            self._settle()
            mean, variance = self._error_mean.clone(), self._error_var.clone()
            self._take(batch)
            self._blend(mean, variance, self.momentum if kind == "ema" else 0.0)
        self.total.index_add_(0, batch.labels, batch.mean.new_ones(len(batch.labels)))
        return batch, own

    @torch.no_grad()
    def _settle(self) -> None:
        """Brings the tables up to date."""
        if self._pending is not None:
            batch, self._pending = self._pending, None
            self._take(batch)

    def _take(self, batch: ClassStatistics) -> None:
        """Sets mean, variance and count to those of ``batch`` alone."""
        rows = ((self._error_mean, batch.mean), (self._error_var, batch.variance))
        for table, of_rows in (*rows, (self._count, batch.count[:, 0].to(self._count.dtype))):
            table.zero_().index_copy_(0, batch.labels.long(), of_rows)

    def _apply(self, *args: Any, **kwargs: Any) -> "ReZSL":
        self._settle()
        return super()._apply(*args, **kwargs)

    def _load_from_state_dict(self, *args: Any) -> None:
        self._pending = None
        super()._load_from_state_dict(*args)

    def _blend(self, old_mean: Tensor, old_variance: Tensor, momentum: float) -> None:
        """Keeps ``momentum`` of a class's old statistics, none at its first batch, and all while it is away."""
        keep = torch.where(self.total > 0, momentum, 0.0).masked_fill_(self._count == 0, 1.0)[:, None]
        mean = keep * old_mean + (1 - keep) * self._error_mean
        old_variance += (old_mean - mean).square()  # a mixture's variance: its parts', and how far they lie apart
        new_variance = self._error_var + (self._error_mean - mean).square()
        self._error_var.copy_(keep * old_variance + (1 - keep) * new_variance)
        self._error_mean.copy_(mean)

    def _check(self, pred: Tensor, target: Tensor, labels: Tensor) -> None:
        att_dim = self._error_mean.shape[1]
        if pred.shape != target.shape or pred.shape != (len(labels), att_dim):
            raise ValueError(
                f"pred and target must be (B, {att_dim}) for labels (B,), "
                f"got {tuple(pred.shape)}, {tuple(target.shape)} and {tuple(labels.shape)}"
            )
        if not (pred.is_floating_point() and target.is_floating_point()):
            raise ValueError(f"pred and target must be floating point, got {pred.dtype} and {target.dtype}")
        if not pred.device == target.device == labels.device == self._error_mean.device:
            devices = sorted({str(x.device) for x in (pred, target, labels, self._error_mean)})
            raise ValueError(f"pred, target, labels and the statistics are on different devices: {devices}")
        self._check_labels(labels)

    def _check_labels(self, labels: Tensor) -> None:
        if labels.ndim != 1 or labels.dtype not in (torch.int64, torch.int32):
            raise ValueError(f"labels must be (B,) of int64 or int32, got {tuple(labels.shape)} of {labels.dtype}")
        if self.validate and len(labels) and not bool(((labels >= 0) & (labels < len(self.total))).all()):
            raise ValueError(f"labels must be in 0..{len(self.total) - 1}, got {labels.min()}..{labels.max()}")


class ReMSELoss(nn.Module):
    """The whole of ReMSE as one loss: ``loss = remse(pred, target, labels)``.

    With ``p = p2 = 0`` it is the plain regression loss, to the bit. In evaluation mode it takes nothing into its
    statistics, and what it weighs by does not hang on the last training batch: ``in_batch`` is the plain loss there;
    ``cross_batch`` and ``ema`` weigh by the statistics they keep (a class without any weighs 1).

    >>> remse = ReMSELoss(num_classes=3, num_attributes=4, p=0.5, p2=0.1)
    >>> loss = remse(torch.rand(6, 4, requires_grad=True), torch.rand(6, 4), torch.tensor([0, 0, 1, 1, 2, 2]))
    >>> loss.backward()

    Args:
        num_classes: C, classes or any groups.
        num_attributes: K, attributes or any outputs.
        p: exponent of the weights across classes (>= 0).
        p2: exponent of the weights across attributes (>= 0).
        reg_type: ``MSE``, ``RMSE``, ``MAE``, or ``BMC``, which is never reweighted.
        reg_norm: L2-normalise predictions and targets over K (2 or more) first, as zero-shot learning by cosine does.
            It drops the scale of the outputs, so it is not for regression in general.
        weight_type: ``in_batch``, ``cross_batch`` or ``ema``, as of :class:`ReZSL`.
        momentum: of ``ema``.
        reduction: ``mean`` over B and K, ``sum``, or ``none``.
        validate: check values, as of :class:`ReZSL`.

    Attributes:
        statistics: the :class:`ReZSL` with ``error_mean``, ``error_var``, ``weights`` and ``count``.
    """

    def __init__(
        self,
        num_classes: int,
        num_attributes: int,
        p: float,
        p2: float,
        reg_type: str = "MSE",
        reg_norm: bool = False,
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
        """Returns the loss of ``pred`` (B, K) against ``target`` (B, K) with ``labels`` (B,) in 0..C-1.

        In training mode the statistics take this batch in first.
        """
        weights = None
        if self.training:
            weights = self.statistics.weigh(pred, target, labels)
        elif self.statistics.WeightType != "in_batch":
            weights = self.statistics.getWeights(len(labels), pred.shape[1], labels)
        weights = None if weights is None or self.regression.RegType == "BMC" else weights.to(pred.dtype)
        return self.regression(pred, target, weights, self.reduction)
