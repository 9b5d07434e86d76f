"""Focal-R against a loop over images and attributes."""

import math

import pytest
import torch

from REZSL.modeling import FocalRLoss, weighted_RegressLoss


def plain_error(p, t, reg_type):
    return {"MSE": (p - t) ** 2, "RMSE": math.sqrt((p - t) ** 2 + 1e-10), "MAE": abs(p - t)}[reg_type]


@pytest.mark.parametrize("reg_type", ["MSE", "RMSE", "MAE"])
@pytest.mark.parametrize(("beta", "gamma"), [(0.2, 1.0), (3.0, 0.5), (1.0, 0.0)])
def test_focal_r_is_the_loop(reg_type, beta, gamma):
    pred, target = torch.randn(2, 6, 4).double()
    expected = 0.0
    for p, t in zip(pred.flatten().tolist(), target.flatten().tolist(), strict=True):
        factor = (2 / (1 + math.exp(-beta * abs(p - t))) - 1) ** gamma
        expected += factor * plain_error(p, t, reg_type) / pred.numel()
    loss = FocalRLoss(reg_type, beta=beta, gamma=gamma)
    assert loss(pred, target).item() == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("reg_norm", [True, False])
def test_without_exponent_it_is_the_plain_loss(reg_norm):
    pred, target = torch.rand(2, 6, 4)
    loss = FocalRLoss(reg_norm=reg_norm, gamma=0.0)
    assert torch.equal(loss(pred, target), weighted_RegressLoss(reg_norm, "MSE")(pred, target))


@pytest.mark.parametrize("gamma", [0.1, 0.5, 1.0, 2.0])
@pytest.mark.parametrize("reg_type", ["MSE", "RMSE", "MAE"])
def test_a_perfect_prediction_has_no_gradient(reg_type, gamma):
    target = torch.rand(4, 3)
    pred = target.clone().requires_grad_()
    FocalRLoss(reg_type, gamma=gamma)(pred, target).backward()
    assert torch.equal(pred.grad, torch.zeros(4, 3))


def test_one_output_is_learned_and_not_normalised():
    pred, target = torch.rand(2, 6, 1)
    assert FocalRLoss()(pred, target) > 0
    with pytest.raises(ValueError, match=r"a single attribute cannot be L2-normalised.* set reg_norm .* False"):
        FocalRLoss(reg_norm=True)(pred, target)


def test_arguments_out_of_range_are_refused():
    for beta in (0, math.nan):
        with pytest.raises(ValueError, match="beta must be > 0"):
            FocalRLoss(beta=beta)
    with pytest.raises(ValueError, match="BMC is never reweighted"):
        FocalRLoss("BMC")
