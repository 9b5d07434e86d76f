"""All training losses of one step."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from .heads import HeadOutput
from .losses import ADLoss, CPTLoss
from .model import class_scores


class ZSLCriterion(nn.Module):
    """LAMBDA0 * cross-entropy + LAMBDA1 * regression + LAMBDA2 * AD + LAMBDA3 * CPT; a term with weight 0 is left out.

    Args:
        signatures: (C_seen, K) signatures of the training classes, the targets of the regression.
        regression: called as ``(pred, target, labels)``: ReMSELoss, FocalRLoss, LDSLoss.
        scale: temperature of the class scores in the cross-entropy.
        weights: the four lambdas.
        groups: attribute groups for ADLoss; needed when its weight is not 0.
        grid: (H, W) of the attention for CPTLoss.
        regress_gaze: the regression is not that of the predicted attributes but of each attribute's highest attention
            (Liu et al., CVPR 2021), so that the signatures train the gaze; the class scores stay as they are.
    """

    def __init__(
        self,
        signatures: Tensor,
        regression: nn.Module,
        scale: float,
        weights: tuple[float, float, float, float],
        groups: list[list[int]] | None = None,
        grid: tuple[int, int] = (1, 1),
        regress_gaze: bool = False,
    ) -> None:
        super().__init__()
        self.register_buffer("signatures", signatures.float(), persistent=False)
        self.regression = regression
        self.scale = scale
        self.weights = dict(zip(("ce", "regression", "ad", "cpt"), weights, strict=True))
        self.ad = ADLoss(groups) if self.weights["ad"] else None
        self.cpt = CPTLoss() if self.weights["cpt"] else None
        self.grid, self.regress_gaze = grid, regress_gaze

    def forward(self, output: HeadOutput, labels: Tensor) -> dict[str, Tensor]:
        """Returns the unweighted terms, in float32 even under autocast, of a batch with ``labels`` (B,)."""
        terms = {}
        with torch.autocast(labels.device.type, enabled=False):
            attributes = output.attributes.float()
            if self.weights["ce"]:
                terms["ce"] = F.cross_entropy(class_scores(attributes, self.signatures, self.scale), labels)
            if self.weights["regression"]:
                regressed = output.attention.float().amax(2) if self.regress_gaze else attributes  # (B, K)
                terms["regression"] = self.regression(regressed, self.signatures[labels], labels)
            if self.ad is not None:
                terms["ad"] = self.ad(output.queries.float())
            if self.cpt is not None:
                terms["cpt"] = self.cpt(output.attention.float().unflatten(2, self.grid))
        return terms

    def total(self, terms: dict[str, Tensor]) -> Tensor:
        """The weighted sum of ``terms``."""
        return sum(self.weights[name] * term for name, term in terms.items())
