"""The classifier: backbone, head, and class scores by cosine."""

from collections.abc import Callable
from functools import partial

from torch import Tensor, nn
from torch.nn import functional as F

from .heads import AttentionNet, FoldedWeights, HeadOutput


def class_scores(attributes: Tensor, signatures: Tensor, scale: float) -> Tensor:
    """Returns ``scale`` times the cosine between ``attributes`` (B, K) and each of ``signatures`` (C, K): (B, C)."""
    return scale * F.normalize(attributes, dim=1) @ F.normalize(signatures, dim=1).T


class ZSLModel(nn.Module):
    """Images to predicted attributes.

    Args:
        backbone: inputs to tokens (B, N, D), e.g. of :func:`~REZSL.modeling.backbones.build_backbone`.
        head: tokens to :class:`~REZSL.modeling.heads.HeadOutput`.
        scale: temperature of the class scores.
        finetune: False freezes the backbone: no gradients, batch norm as in evaluation.
    """

    def __init__(self, backbone: nn.Module, head: nn.Module, scale: float = 20.0, finetune: bool = True) -> None:
        super().__init__()
        self.backbone, self.head = backbone, head
        self.scale, self.finetune = scale, finetune
        backbone.requires_grad_(finetune)

    def train(self, mode: bool = True) -> "ZSLModel":
        """Switches mode; a frozen backbone stays in evaluation mode."""
        super().train(mode)
        self.backbone.train(mode and self.finetune)
        return self

    def forward(self, inputs: Tensor, folded: FoldedWeights | None = None) -> HeadOutput:
        """Predicts attributes of (B, 3, H, W) images, (B, D) features, or the backbone's own (B, N, D) tokens."""
        tokens = inputs if inputs.ndim == 3 else self.backbone(inputs)
        return self.head(tokens) if folded is None else self.head(tokens, folded)

    def predictor(self) -> Callable[[Tensor], HeadOutput]:
        """This model for weights that stay as they are now: what follows from them alone is computed here, once."""
        return partial(self, folded=self.head.fold()) if isinstance(self.head, AttentionNet) else self

    def class_scores(self, attributes: Tensor, signatures: Tensor) -> Tensor:
        """Scores (B, C) of ``attributes`` (B, K) for the classes of ``signatures`` (C, K)."""
        return class_scores(attributes, signatures, self.scale)
