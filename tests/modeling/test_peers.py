"""Focal-R and LDS against loops over images and attributes."""

import math

import pytest
import torch

from REZSL.modeling import FocalRLoss, LDSLoss, weighted_RegressLoss


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
    loss = FocalRLoss(reg_type, reg_norm=False, beta=beta, gamma=gamma)
    assert loss(pred, target).item() == pytest.approx(expected, rel=1e-12)


def test_focal_r_without_exponent_is_the_plain_loss():
    pred, target = torch.rand(2, 6, 4)
    assert torch.equal(FocalRLoss(gamma=0.0)(pred, target), weighted_RegressLoss(True, "MSE")(pred, target))


def loop_lds_weight(value, values, bins, kernel_size, sigma):
    """z / smoothed count of the value's bin, by loops over training values and kernel steps."""
    low, width = min(values), (max(values) - min(values)) / bins

    def bin_of(v):
        return min(max(int((v - low) / width), 0), bins - 1)

    def inverse_density(v):
        steps = range(-(kernel_size // 2), kernel_size // 2 + 1)
        kernel = {s: math.exp(-0.5 * (s / sigma) ** 2) for s in steps}
        smooth = sum(kernel[s] * sum(bin_of(u) == bin_of(v) + s for u in values) for s in steps)
        return sum(kernel.values()) / smooth

    return inverse_density(value) / (sum(map(inverse_density, values)) / len(values))


@pytest.mark.parametrize(("bins", "kernel_size", "sigma"), [(10, 5, 2.0), (4, 3, 0.5), (7, 1, 1.0)])
def test_lds_is_the_loop(bins, kernel_size, sigma):
    targets = torch.rand(30, 3) ** 2
    pred, target = torch.rand(5, 3), targets[:5]
    loss = LDSLoss(targets, reg_norm=False, bins=bins, kernel_size=kernel_size, sigma=sigma)
    expected = 0.0
    for i in range(5):
        for k in range(3):
            weight = loop_lds_weight(target[i, k].item(), targets[:, k].tolist(), bins, kernel_size, sigma)
            expected += weight * (pred[i, k] - target[i, k]).item() ** 2 / 15
    assert loss(pred, target).item() == pytest.approx(expected, rel=1e-5)


def test_lds_of_even_targets_is_the_plain_loss():
    targets = torch.arange(8.0)[:, None].repeat(1, 2)
    loss = LDSLoss(targets, reg_norm=False, bins=8, kernel_size=1)
    pred = torch.rand(8, 2)
    torch.testing.assert_close(loss(pred, targets), ((pred - targets) ** 2).mean())


def test_rare_values_weigh_more_and_unseen_ones_as_the_nearest_bin():
    targets = torch.cat([torch.zeros(9, 1), torch.ones(1, 1)])
    loss = LDSLoss(targets, reg_norm=False, bins=2, kernel_size=1, reduction="none")
    common, rare, beyond = loss(
        torch.zeros(3, 1) + torch.tensor([[1.0], [2.0], [3.0]]), torch.tensor([[0.0], [1], [2]])
    )
    assert rare.item() == pytest.approx(9 * common.item())
    assert beyond.item() == pytest.approx(rare.item())


@pytest.mark.parametrize("make", [FocalRLoss, lambda **k: LDSLoss(torch.rand(4, 2), **k)])
def test_bmc_is_refused(make):
    with pytest.raises(ValueError, match="BMC is never reweighted"):
        make(reg_type="BMC")


def test_arguments_out_of_range_are_refused():
    with pytest.raises(ValueError, match="beta must be > 0"):
        FocalRLoss(beta=0)
    with pytest.raises(ValueError, match="odd kernel_size"):
        LDSLoss(torch.rand(4, 2), kernel_size=4)
