"""LDS against loops over training values, bins and the steps of the window."""

import math
from functools import partial

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from REZSL.modeling import LDSLoss


def loop_window(kernel_size, sigma):
    """A unit impulse smoothed by a Gaussian of +-4 sigma that sees the impulse mirrored at both ends (edges twice)."""
    radius, half = int(4 * sigma + 0.5), kernel_size // 2
    gaussian = {s: math.exp(-0.5 * (s / sigma) ** 2) for s in range(-radius, radius + 1)}

    def impulse(place):
        place %= 2 * kernel_size
        return float(min(place, 2 * kernel_size - 1 - place) == half)

    smooth = [sum(g * impulse(place + s) for s, g in gaussian.items()) for place in range(kernel_size)]
    return [value / max(smooth) for value in smooth]


def loop_weight(value, values, reweight, bins, kernel_size, sigma):
    """The weight of ``value``, which lies in a bin of some density, by loops over training values and bins."""
    low, high, half = min(values), max(values), kernel_size // 2
    window = loop_window(kernel_size, sigma)

    def bin_of(v):
        return min(int((v - low) / (high - low) * bins), bins - 1)

    counts = [sum(bin_of(u) == b for u in values) for b in range(bins)]
    kept = [{"sqrt_inv": math.sqrt(n), "inverse": min(max(n, 5), 1000)}[reweight] for n in counts]

    def density(v):
        steps = range(-half, half + 1)
        return sum(window[s + half] * kept[bin_of(v) + s] for s in steps if 0 <= bin_of(v) + s < bins)

    return (1 / density(value)) / (sum(1 / density(u) for u in values) / len(values))


def test_the_window_of_five_bins():
    assert loop_window(5, 2.0) == pytest.approx([0.858285, 0.945828, 1, 0.945828, 0.858285], abs=1e-6)


@pytest.mark.parametrize("reweight", ["sqrt_inv", "inverse"])
@pytest.mark.parametrize(("bins", "kernel_size", "sigma"), [(10, 5, 2.0), (4, 3, 0.5), (7, 1, 1.0), (3, 5, 1.0)])
def test_lds_is_the_loop(reweight, bins, kernel_size, sigma):
    targets = torch.rand(60, 3).double() ** 3
    pred, target = torch.rand(5, 3).double(), targets[:5]
    loss = LDSLoss(targets, reweight=reweight, bins=bins, kernel_size=kernel_size, sigma=sigma)
    expected = 0.0
    for i in range(5):
        for k in range(3):
            weight = loop_weight(target[i, k].item(), targets[:, k].tolist(), reweight, bins, kernel_size, sigma)
            expected += weight * (pred[i, k] - target[i, k]).item() ** 2 / 15
    assert loss(pred, target).item() == pytest.approx(expected, rel=1e-6)


def test_the_defaults_are_the_authors():
    targets = torch.rand(400, 2).double() ** 2
    expected = [loop_weight(v, targets[:, 1].tolist(), "sqrt_inv", 100, 5, 2.0) for v in targets[:9, 1].tolist()]
    loss = LDSLoss(targets, reg_type="MAE", reduction="none")
    assert loss(targets[:9] + 1, targets[:9])[:, 1].tolist() == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize("reweight", ["sqrt_inv", "inverse"])
def test_the_mean_weight_of_training_targets_is_one(reweight):
    targets = torch.randn(200, 4) ** 3
    loss = LDSLoss(targets, reg_type="MAE", reweight=reweight)
    assert loss(targets + 1, targets).item() == pytest.approx(1, rel=1e-5)


def test_inverse_clips_the_counts_to_5_and_1000():
    """Two bins, 3 and 2000 values: 5 and 1000 smoothed over both bins as 5 + w 1000 and 1000 + w 5."""
    targets = torch.cat([torch.zeros(2000, 1), torch.ones(3, 1)])
    loss = LDSLoss(targets, reg_type="MAE", reweight="inverse", bins=2, kernel_size=3, reduction="none")
    common, rare = loss(torch.tensor([[1.0], [2.0]]), torch.tensor([[0.0], [1.0]]))
    beside = loop_window(3, 2.0)[0]
    assert (rare / common).item() == pytest.approx((1000 + 5 * beside) / (5 + 1000 * beside))


def test_of_even_targets_it_is_the_plain_loss():
    targets = torch.arange(8.0)[:, None].repeat(1, 2)
    pred = torch.rand(8, 2)
    loss = LDSLoss(targets, bins=8, kernel_size=1)
    torch.testing.assert_close(loss(pred, targets), ((pred - targets) ** 2).mean())


def weight_of(loss, values):
    target = torch.tensor(values)[:, None]
    return loss(target + 1, target)[:, 0].tolist()


TWO_HEAPS = torch.cat([torch.linspace(0, 0.99, 90), torch.full((10,), 10.0)])[:, None]


@pytest.mark.parametrize("reweight", ["sqrt_inv", "inverse"])
def test_targets_that_training_had_none_of_weigh_as_the_nearest_bin_with_a_density(reweight):
    """Between the heaps 0 to 0.99 and 10, in bins of 0.1 whose window reaches two bins further, and beyond all."""
    loss = LDSLoss(TWO_HEAPS, reg_type="MAE", reweight=reweight, reduction="none")
    low, beside_low, gap_low, gap_high, beside_high, high = weight_of(loss, [0.05, 1.15, 3.05, 9.05, 9.75, 9.95])
    below, *above = weight_of(loss, [-3.0, 11.0])
    assert (below, *above) == pytest.approx((low, high))
    far = torch.tensor([[-1e30], [1e30], [-torch.inf], [torch.inf]])
    at = loss._bins(far.T)[0].tolist()
    assert at == [0, 99, 0, 99]
    if reweight == "sqrt_inv":  # of the other every bin counts 5
        assert (gap_low, gap_high) == pytest.approx((beside_low, beside_high))
    most = max(weight_of(loss, torch.linspace(-5, 15, 400).tolist()))
    assert most <= 2 * max(weight_of(loss, TWO_HEAPS[:, 0].tolist()))


@settings(max_examples=40, deadline=None)
@given(
    st.lists(st.floats(-5, 5, width=32), min_size=1, max_size=12),
    st.floats(-20, 20, width=32),
    st.sampled_from(["sqrt_inv", "inverse"]),
    st.integers(1, 30),
)
def test_every_target_has_a_finite_weight(values, value, reweight, bins):
    loss = LDSLoss(torch.tensor(values)[:, None], reg_type="MAE", reweight=reweight, bins=bins, reduction="none")
    (weight,) = weight_of(loss, [value])
    assert 0 < weight <= 10 * len(values)


def test_the_validation_loss_of_a_value_between_the_training_ones_stays_of_the_size_of_the_error():
    training = torch.cat([0.3 * torch.rand(100, 2), torch.ones(1, 2)])
    loss = LDSLoss(training)(torch.zeros(1, 2), torch.full((1, 2), 0.6))
    assert loss.item() < 10 * 0.6**2


def test_counts_stand_for_rows():
    signatures, counts = torch.rand(6, 3), torch.tensor([3, 1, 4, 1, 5, 2])
    pred, target = torch.rand(4, 3), signatures[:4]
    for reweight in ("sqrt_inv", "inverse"):
        make = partial(LDSLoss, reweight=reweight, bins=4)
        short, long = make(signatures, counts=counts), make(signatures.repeat_interleave(counts, 0))
        assert torch.equal(short(pred, target), long(pred, target))
        assert not torch.equal(short(pred, target), make(signatures)(pred, target))


def test_the_tables_move_and_are_saved():
    loss = LDSLoss(torch.rand(9, 2).bfloat16())
    assert {name: value.dtype for name, value in loss.state_dict().items()} == dict.fromkeys(
        ("edges", "weights"), torch.float32
    )
    assert {value.device.type for value in loss.to("meta").state_dict().values()} == {"meta"}


def test_targets_elsewhere_are_told():
    loss = LDSLoss(torch.rand(9, 2))
    with pytest.raises(
        ValueError, match=r"target must be \(B, 2\) on cpu, .* got \(4, 2\) on meta: move the loss with"
    ):
        loss(torch.rand(4, 2), torch.rand(4, 2, device="meta"))
    with pytest.raises(ValueError, match=r"target must be \(B, 2\) on cpu, .* got \(4, 3\) on cpu"):
        loss(torch.rand(4, 3), torch.rand(4, 3))


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_targets_on_a_gpu():
    targets, pred = torch.rand(50, 3), torch.rand(50, 3)
    there = LDSLoss(targets.cuda())
    torch.testing.assert_close(there(pred.cuda(), targets.cuda()).cpu(), LDSLoss(targets)(pred, targets))


def test_one_output_is_learned_and_not_normalised():
    targets = torch.rand(9, 1)
    assert LDSLoss(targets)(torch.zeros(9, 1), targets) > 0
    with pytest.raises(ValueError, match=r"a single attribute cannot be L2-normalised"):
        LDSLoss(targets, reg_norm=True)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"reg_type": "BMC"}, "BMC is never reweighted"),
        ({"reweight": "inv"}, "reweight is 'inv', expected sqrt_inv or inverse"),
        ({"kernel_size": 4}, "odd kernel_size"),
        ({"sigma": math.nan}, "sigma > 0, got 100, 5 and nan"),
        ({"targets": torch.rand(0, 2)}, r"targets must be finite and \(N, K\), N of 1 or more, got \(0, 2\)"),
        ({"targets": torch.tensor([[1.0, math.nan]])}, "targets must be finite"),
        ({"counts": torch.ones(3)}, r"counts must be \(N,\), >= 0 and not all 0, for 4 targets"),
        ({"counts": torch.zeros(4)}, "not all 0"),
        ({"counts": -torch.ones(4)}, ">= 0"),
    ],
)
def test_wrong_arguments_are_named(change, message):
    with pytest.raises(ValueError, match=message):
        LDSLoss(**{"targets": torch.rand(4, 2), **change})
