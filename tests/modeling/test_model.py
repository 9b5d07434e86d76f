"""The classifier: scores, and what freezing its backbone means."""

import math

import pytest
import torch
from torch import nn

from REZSL.modeling import BasicNet, ZSLModel, class_scores


class TinyBackbone(nn.Module):
    """Images to tokens through a batch norm."""

    def __init__(self):
        super().__init__()
        self.layers = nn.Sequential(nn.Conv2d(3, 4, 4, stride=4), nn.BatchNorm2d(4))

    def forward(self, images):
        return self.layers(images).flatten(2).transpose(1, 2)


def test_class_scores_are_scaled_cosines():
    attributes, signatures = torch.randn(3, 4), torch.randn(5, 4)
    scores = class_scores(attributes, signatures, 20.0)
    for i in range(3):
        for c in range(5):
            a, s = attributes[i].tolist(), signatures[c].tolist()
            dot = sum(x * y for x, y in zip(a, s, strict=True))
            cosine = dot / math.sqrt(sum(x * x for x in a)) / math.sqrt(sum(x * x for x in s))
            assert scores[i, c].item() == pytest.approx(20 * cosine, rel=1e-5, abs=1e-5)
    model = ZSLModel(TinyBackbone(), BasicNet(4, 4), scale=20.0)
    assert torch.equal(model.class_scores(attributes, signatures), scores)


def test_a_prediction_of_zero_scores_zero():
    assert (class_scores(torch.zeros(1, 4), torch.rand(3, 4), 20.0) == 0).all()


@pytest.mark.parametrize("finetune", [True, False])
def test_only_a_finetuned_backbone_changes_in_a_training_step(finetune):
    model = ZSLModel(TinyBackbone(), BasicNet(4, 6), finetune=finetune)
    model.eval()
    model.train()
    assert model.training and model.head.training
    before = {name: value.clone() for name, value in model.state_dict().items()}
    optimizer = torch.optim.SGD([p for p in model.parameters() if p.requires_grad], lr=0.1, weight_decay=0.1)
    model(torch.rand(2, 3, 8, 8)).attributes.square().sum().backward()
    optimizer.step()
    changed = {name for name, value in model.state_dict().items() if not torch.equal(value, before[name])}
    assert {name for name in changed if name.startswith("head")} == {"head.regressor.weight", "head.regressor.bias"}
    running = {f"backbone.layers.1.{name}" for name in ("running_mean", "running_var", "weight", "bias")}
    assert running <= changed if finetune else not any(name.startswith("backbone") for name in changed)
    assert all((p.grad is not None) == finetune for p in model.backbone.parameters())
    assert model.backbone.training == model.backbone.layers[1].training == finetune
