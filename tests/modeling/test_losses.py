"""Regression losses and GEMNet's regularisers against hand loops."""

import math

import pytest
import torch
from torch.distributions import MultivariateNormal

from REZSL.modeling import ADLoss, CPTLoss, weighted_RegressLoss

ELEMENTWISE = {
    "MSE": lambda p, t: (p - t) ** 2,
    "RMSE": lambda p, t: math.sqrt((p - t) ** 2 + 1e-10),
    "MAE": lambda p, t: abs(p - t),
}


@pytest.mark.parametrize("weighted", [True, False])
@pytest.mark.parametrize("reg_norm", [True, False])
@pytest.mark.parametrize("reg_type", ELEMENTWISE)
def test_regression_loss_is_the_weighted_mean_of_the_elementwise_error(reg_type, reg_norm, weighted):
    pred, target, weights = torch.randn(3, 3, 4).double()
    unit = [x / x.norm(dim=1, keepdim=True) if reg_norm else x for x in (pred, target)]
    error = torch.zeros(3, 4).double()
    for i in range(3):
        for k in range(4):
            error[i, k] = ELEMENTWISE[reg_type](unit[0][i, k].item(), unit[1][i, k].item())
            error[i, k] *= weights[i, k] if weighted else 1
    loss = weighted_RegressLoss(reg_norm, reg_type)
    for reduction, expected in (("mean", error.sum() / 12), ("sum", error.sum()), ("none", error)):
        result = loss(pred, target, weights if weighted else None, reduction)
        torch.testing.assert_close(result, expected, rtol=1e-12, atol=0)


@pytest.mark.parametrize("reg_type", ELEMENTWISE)
@pytest.mark.parametrize("reg_norm", [True, False])
def test_gradient_is_finite_for_a_perfect_and_for_a_zero_prediction(reg_type, reg_norm):
    target = torch.rand(2, 4)
    pred = torch.stack([target[0], torch.zeros(4)]).requires_grad_()
    weighted_RegressLoss(reg_norm, reg_type)(pred, target).backward()
    assert pred.grad.isfinite().all()


def bmc_by_hand(pred, target, sigma, reg_norm):
    """Negative log of each image's share among its log densities under all targets of the batch, times 2 sigma^2."""
    if reg_norm:
        pred, target = (x / x.norm(dim=1, keepdim=True) for x in (pred, target))
    covariance = sigma**2 * torch.eye(pred.shape[1], dtype=pred.dtype)
    losses = []
    for i in range(len(pred)):
        density = torch.stack([MultivariateNormal(pred[i], covariance).log_prob(t) for t in target])
        losses.append(-(density[i] - density.logsumexp(0)) * 2 * sigma**2)
    return torch.stack(losses)


@pytest.mark.parametrize("sigma", [0.1, 0.5, 2.0])
@pytest.mark.parametrize("reg_norm", [True, False])
def test_bmc_is_the_double_loop_over_gaussian_densities(reg_norm, sigma):
    pred, target = torch.randn(2, 5, 4).double()
    loss = weighted_RegressLoss(reg_norm, "BMC").double()
    loss.noise_sigma.data.fill_(sigma)
    by_hand = bmc_by_hand(pred, target, sigma, reg_norm)
    for reduction, expected in (("mean", by_hand.mean()), ("sum", by_hand.sum()), ("none", by_hand)):
        torch.testing.assert_close(loss(pred, target, reduction=reduction), expected, rtol=1e-10, atol=1e-14)

    (gradient,) = torch.autograd.grad(loss(pred, target), loss.noise_sigma)
    # the factor 2 sigma^2 is held constant: it restores the scale and would else pull sigma to 0
    above, below = (
        bmc_by_hand(pred, target, sigma + d, reg_norm).mean() / (sigma + d) ** 2 * sigma**2 for d in (1e-6, -1e-6)
    )
    torch.testing.assert_close(gradient, (above - below) / 2e-6, rtol=1e-5, atol=1e-8)

    leaf, by_hand_leaf = pred.clone().requires_grad_(), pred.clone().requires_grad_()
    loss(leaf, target).backward()
    bmc_by_hand(by_hand_leaf, target, sigma, reg_norm).mean().backward()
    torch.testing.assert_close(leaf.grad, by_hand_leaf.grad, rtol=1e-8, atol=1e-12)


@pytest.mark.parametrize("reg_norm", [True, False])
def test_bmc_refuses_a_batch_of_one(reg_norm):
    """Its cross-entropy over one target is 0, with no gradient."""
    loss = weighted_RegressLoss(reg_norm, "BMC")
    with pytest.raises(ValueError, match="BMC tells an image's target from the others of its batch: it needs 2, got 1"):
        loss(torch.rand(1, 3), torch.rand(1, 3))
    pred = torch.rand(2, 3, requires_grad=True)
    loss(pred, torch.rand(2, 3)).backward()
    assert (pred.grad != 0).all()


def test_only_bmc_learns_a_sigma():
    (sigma,) = weighted_RegressLoss(True, "BMC").parameters()
    assert sigma.item() == pytest.approx(0.1)
    assert not list(weighted_RegressLoss(True, "MSE").parameters())


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"pred": torch.rand(2, 4)}, r"must both be \(B, K\), got \(2, 4\) and \(2, 3\)"),
        ({"pred": torch.rand(3), "target": torch.rand(3)}, r"must both be \(B, K\), got \(3,\) and \(3,\)"),
        ({"weights": torch.rand(2, 1)}, r"weights must be \(2, 3\) like pred, got \(2, 1\)"),
        ({"reduction": "average"}, "reduction is 'average', expected mean, sum or none"),
    ],
)
def test_wrong_inputs_are_named(change, message):
    with pytest.raises(ValueError, match=message):
        weighted_RegressLoss(True)(**{"pred": torch.rand(2, 3), "target": torch.rand(2, 3), **change})


def test_bmc_refuses_weights():
    with pytest.raises(ValueError, match="BMC is never reweighted: pass weights=None"):
        weighted_RegressLoss(True, "BMC")(torch.rand(2, 3), torch.rand(2, 3), torch.rand(2, 3))


def test_unknown_error_type_is_named():
    with pytest.raises(ValueError, match="RegType is 'L2', expected one of MSE, RMSE, MAE, BMC"):
        weighted_RegressLoss(True, "L2")


GROUPS = [[0, 3], [1], [2, 4, 5]]


def test_ad_loss_is_the_mean_norm_of_each_groups_channels():
    queries = torch.randn(7, 3).double().requires_grad_()  # attribute 6 is in no group
    total, slope = 0.0, torch.zeros(7, 3).double()
    for group in GROUPS:
        for d in range(3):
            norm = math.sqrt(sum(queries[k, d].item() ** 2 for k in group))
            total += norm / 3
            for k in group:
                slope[k, d] = queries[k, d].item() / norm / 3 / len(GROUPS)
    loss = ADLoss(GROUPS)(queries)
    loss.backward()
    assert loss.item() == pytest.approx(total / len(GROUPS), rel=1e-12)
    torch.testing.assert_close(queries.grad, slope, rtol=1e-10, atol=0)


def test_ad_loss_has_a_finite_gradient_where_a_channel_is_zero():
    queries = torch.ones(6, 3)
    queries[:, 1] = 0
    queries.requires_grad_()
    loss = ADLoss(GROUPS)(queries)
    loss.backward()
    assert loss.item() == pytest.approx(2 / 3 * (2**0.5 + 1 + 3**0.5) / 3)
    assert queries.grad.isfinite().all()
    assert (queries.grad[:, 1] == 0).all()


@pytest.mark.parametrize("groups", [[], [[0, 1], []]])
def test_ad_loss_needs_groups(groups):
    with pytest.raises(ValueError, match="ADLoss needs at least one group, and no group may be empty"):
        ADLoss(groups)


def test_cpt_loss_is_the_attention_times_the_squared_distance_from_its_peak():
    B, K, H, W = 2, 3, 4, 5
    attention = torch.randn(B, K, H * W).double().softmax(2).view(B, K, H, W).requires_grad_()
    cells = [(h, w) for h in range(H) for w in range(W)]
    total, distance = 0.0, torch.zeros(B, K, H, W).double()
    for b in range(B):
        for k in range(K):
            peak_h, peak_w = max(cells, key=lambda cell: attention[b, k][cell].item())
            for h, w in cells:
                distance[b, k, h, w] = (h - peak_h) ** 2 + (w - peak_w) ** 2
                total += attention[b, k, h, w].item() * distance[b, k, h, w].item()
    loss = CPTLoss()(attention)
    loss.backward()
    assert loss.item() == pytest.approx(total / (B * K * H * W), rel=1e-12)
    torch.testing.assert_close(attention.grad, distance / (B * K * H * W), rtol=1e-12, atol=0)
