"""Prediction leaves the model as it was and keeps the loader's order."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from REZSL.engine import predict, predict_split
from REZSL.modeling import AttentionNet, BasicNet, ZSLModel, build_backbone

CPU = torch.device("cpu")


class Network(nn.Module):
    """Batch norm and dropout: training mode would show, in the output and in the statistics."""

    scale = 20.0

    def __init__(self):
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Dropout(0.5))

    def forward(self, inputs):
        if inputs.isnan().any():
            raise RuntimeError("in the middle")
        return SimpleNamespace(attributes=self.layers(inputs))


def make_loader(batch_size=4):
    return DataLoader(TensorDataset(torch.randn(10, 3), torch.arange(10)), batch_size=batch_size)


@pytest.mark.parametrize("training", [True, False])
def test_every_input_once_in_order_and_nothing_changes(training):
    model, loader = Network().train(training), make_loader()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    attributes, labels = predict(model, loader, CPU)
    assert all(module.training == training for module in model.modules())
    for name, value in model.state_dict().items():
        torch.testing.assert_close(value, before[name], rtol=0, atol=0, msg=name)
    assert (attributes.dtype, labels.dtype) == (np.float32, np.int64)
    assert labels.tolist() == list(range(10))
    with torch.no_grad():
        expected = torch.cat([model.eval()(x[None]).attributes for x, _ in loader.dataset])
    np.testing.assert_allclose(attributes, expected, atol=1e-6)


def test_batch_size_does_not_matter():
    model, loader = Network(), make_loader()
    one_by_one = DataLoader(loader.dataset, batch_size=1)
    np.testing.assert_allclose(predict(model, loader, CPU)[0], predict(model, one_by_one, CPU)[0], atol=1e-6)


def test_train_mode_is_restored_after_an_exception():
    model, loader = Network().train(), make_loader()
    loader.dataset.tensors[0][7] = torch.nan
    with pytest.raises(RuntimeError, match="in the middle"):
        predict(model, loader, CPU)
    assert all(module.training for module in model.modules())


def test_a_frozen_backbone_stays_in_evaluation_mode():
    model = ZSLModel(build_backbone("features", feature_dim=3), BasicNet(3, 4), finetune=False).train()
    predict(model, make_loader(), CPU)
    assert (model.training, model.head.training, model.backbone.training) == (True, True, False)


def test_what_follows_from_the_weights_alone_is_computed_once_an_evaluation_with_the_weights_of_then():
    head = AttentionNet(3, torch.randn(5, 2), channel=4)
    model, loader = ZSLModel(build_backbone("features", feature_dim=3), head), make_loader(batch_size=2)
    folded = []
    head.query.register_forward_hook(lambda *_: folded.append(1))
    for _ in range(2):
        folded.clear()
        attributes, _ = predict(model, loader, CPU)
        assert len(folded) == 1
        with torch.no_grad():
            np.testing.assert_allclose(attributes, model(loader.dataset.tensors[0]).attributes, rtol=1e-6, atol=1e-6)
            for weight in head.parameters():
                weight.add_(1)


def test_lower_precision_still_returns_float32():
    model, loader = Network(), make_loader()
    attributes, _ = predict(model, loader, CPU, torch.bfloat16)
    exact, _ = predict(model, loader, CPU)
    assert attributes.dtype == np.float32
    assert 0 < np.abs(attributes - exact).max() < 0.05


def test_predictions_of_a_split_hold_all_that_scoring_needs():
    split = SimpleNamespace(signatures=np.eye(10, 4), num_seen=6, class_names=tuple("abcdefghij"))
    model, loader, images = Network(), make_loader(), np.arange(10)[::-1]
    p = predict_split(model, loader, split, images, CPU)
    np.testing.assert_array_equal(p.attributes, predict(model, loader, CPU)[0])
    assert p.labels.tolist() == list(range(10))
    assert (p.num_seen, p.scale, p.class_names) == (6, 20.0, split.class_names)
    assert p.signatures is split.signatures
    assert p.images is images
