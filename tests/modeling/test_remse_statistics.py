"""What ReMSE keeps between batches, and across processes."""

from functools import partial

import numpy as np
import pytest
import torch
from torch import multiprocessing

from REZSL.modeling import ReMSELoss, ReZSL, weighted_RegressLoss

pytestmark = pytest.mark.long

BATCHES, B, K, C = 5, 8, 4, 5


def batches(seed=0):
    generator = torch.Generator().manual_seed(seed)
    for _ in range(BATCHES):
        pred, target = torch.rand(2, B, K, generator=generator, dtype=torch.float64)
        yield pred, target, torch.randint(C - 1, (B,), generator=generator)  # the last class never comes


def error_of_class(pred, target, labels, c, k):
    return [(pred[i, k] - target[i, k]).item() ** 2 for i in range(len(labels)) if labels[i] == c]


@pytest.mark.parametrize("weight_type", ["in_batch", "cross_batch", "ema"])
def test_mean_variance_and_counts_are_those_of_loops(weight_type):
    rezsl = ReZSL(0.5, 0.2, K, C, RegNorm=False, WeightType=weight_type, momentum=0.8).double()
    mean, variance, total = np.zeros((C, K)), np.zeros((C, K)), np.zeros(C)
    for pred, target, labels in batches():
        rezsl.updateWeightsMatrix(pred, target, labels)
        if weight_type == "in_batch":
            mean[:], variance[:] = 0, 0
        for c in range(C):
            images = int((labels == c).sum())
            for k in range(K):
                errors = error_of_class(pred, target, labels, c, k)
                if not errors:
                    continue
                keep = 0.8 if weight_type == "ema" and total[c] else 0.0
                second = keep * (variance[c, k] + mean[c, k] ** 2) + (1 - keep) * np.mean(np.square(errors))
                mean[c, k] = keep * mean[c, k] + (1 - keep) * np.mean(errors)
                variance[c, k] = second - mean[c, k] ** 2
            total[c] += images
            assert rezsl.count[c] == images
        np.testing.assert_allclose(rezsl.error_mean, mean, atol=1e-12)
        np.testing.assert_allclose(rezsl.error_var, variance, atol=1e-12)
        np.testing.assert_array_equal(rezsl.total, total)
        assert (rezsl.weights[C - 1] == 1).all()
        torch.testing.assert_close(rezsl.getWeights(B, K, labels), rezsl.weights[labels], rtol=0, atol=0)


@pytest.mark.parametrize("weight_type", ["in_batch", "cross_batch", "ema"])
def test_weighing_is_update_and_get(weight_type):
    one, two = (ReZSL(0.5, 0.2, K, C, WeightType=weight_type).double() for _ in range(2))
    for pred, target, labels in batches():
        weights = one.weigh(pred, target, labels)
        two.updateWeightsMatrix(pred, target, labels)
        torch.testing.assert_close(weights, two.getWeights(B, K, labels), rtol=1e-14, atol=0)
    for name, value in one.state_dict().items():
        assert torch.equal(value, two.state_dict()[name]), name


@pytest.mark.parametrize("read", ["state_dict", "double", "error_mean", "count", "weights"])
def test_a_batch_not_yet_read_is_in_whatever_is_read(read):
    """In-batch statistics go into the tables late: nobody may see the difference."""
    pred, target, labels = next(batches())
    late, soon = (ReZSL(0.5, 0.2, K, C) for _ in range(2))
    for rezsl in (late, soon):
        rezsl.weigh(pred.flip(0), target, labels)
        rezsl.weigh(pred, target, labels)
        soon.error_mean  # noqa: B018
    ways = {"state_dict": lambda r: r.state_dict()["_error_mean"], "double": lambda r: r.double()._error_mean}
    value, expected = (ways.get(read, lambda r: getattr(r, read))(r) for r in (late, soon))
    assert torch.equal(value, expected)
    assert (expected[labels[0]] > 0).all()


def test_loading_replaces_a_batch_not_yet_read():
    pred, target, labels = next(batches())
    rezsl, other = ReZSL(0.5, 0.2, K, C), ReZSL(0.5, 0.2, K, C)
    other.weigh(pred, target, labels)
    rezsl.weigh(pred.flip(0), target, labels)
    rezsl.load_state_dict(other.state_dict())
    assert torch.equal(rezsl.error_mean, other.error_mean)


def test_ema_without_momentum_is_cross_batch():
    ema, cross = (ReZSL(0.5, 0.2, K, C, WeightType=t, momentum=0.0).double() for t in ("ema", "cross_batch"))
    for batch in batches():
        ema.updateWeightsMatrix(*batch)
        cross.updateWeightsMatrix(*batch)
        torch.testing.assert_close(ema.weights, cross.weights)


def test_no_shape_depends_on_the_labels():
    """Traced once with fake tensors, without a break, for any labels: what torch.compile needs."""
    remse = ReMSELoss(C, K, 0.5, 0.2, validate=False)
    plain = ReMSELoss(C, K, 0.5, 0.2, validate=False)
    compiled = torch.compile(remse, backend="eager", fullgraph=True)
    for pred, target, labels in batches():
        torch.testing.assert_close(
            compiled(pred.float(), target.float(), labels), plain(pred.float(), target.float(), labels)
        )
    torch.testing.assert_close(remse.statistics.weights, plain.statistics.weights)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_a_step_never_waits_for_the_device():
    remse = ReMSELoss(C, K, 0.5, 0.2, validate=False).cuda()
    pred, target = torch.rand(2, B, K, device="cuda")
    labels = torch.randint(C, (B,), device="cuda")
    remse(pred, target, labels)
    torch.cuda.set_sync_debug_mode("error")
    try:
        remse(pred.requires_grad_(), target, labels).backward()
    finally:
        torch.cuda.set_sync_debug_mode("default")


@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
def test_reductions(reduction):
    pred, target, labels = next(batches())
    loss = ReMSELoss(C, K, 0.5, 0.2, reg_norm=False, reduction=reduction).double()
    weighted = (pred - target).square()
    result = loss(pred, target, labels)
    weighted = loss.statistics.weights[labels] * weighted
    torch.testing.assert_close(result, {"mean": weighted.mean(), "sum": weighted.sum(), "none": weighted}[reduction])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda p, t, y: (p, t, y + C), r"labels must be in 0\.\.4, got 5\.\."),
        (lambda p, t, y: (p, t, y - C), r"labels must be in 0\.\.4, got -5\.\."),
        (lambda p, t, y: (p * float("nan"), t, y), "NaN or infinity"),
        (lambda p, t, y: (p.long(), t, y), "floating point, got torch.int64"),
        (lambda p, t, y: (p.to("meta"), t, y), "different devices: .*cpu.*meta"),
    ],
)
def test_wrong_values_are_told_and_change_nothing(change, message):
    rezsl = ReZSL(0.5, 0.2, K, C).double()
    batch = next(batches())
    rezsl.updateWeightsMatrix(*batch)
    before = {name: value.clone() for name, value in rezsl.state_dict().items()}
    with pytest.raises(ValueError, match=message):
        rezsl.updateWeightsMatrix(*change(*batch))
    assert all(torch.equal(value, before[name]) for name, value in rezsl.state_dict().items())


FIRST_ROWS = (B // 2, 3, B)  # of the batch, that the first of two processes has: as many, fewer, all


def rank_weights(rank, folder):
    torch.set_num_threads(1)
    torch.distributed.init_process_group("gloo", init_method=f"file://{folder}/meet", rank=rank, world_size=2)
    told = {}
    for rows in FIRST_ROWS:
        mine = slice(rows) if rank == 0 else slice(rows, B)
        for weight_type in ("in_batch", "cross_batch", "ema"):
            rezsl, late = (ReZSL(0.5, 0.2, K, C, WeightType=weight_type).double() for _ in range(2))
            for n, (pred, target, labels) in enumerate(batches()):
                batch = pred[mine], target[mine], labels[mine]
                rezsl.updateWeightsMatrix(*batch)
                updated = rezsl.getWeights(len(batch[2]), K, batch[2])
                told[rows, weight_type, n] = [updated, late.weigh(*batch)]
        pred, target, _ = next(batches())
        told[rows, "BMC"] = weighted_RegressLoss(False, "BMC").double()(pred[mine], target[mine], reduction="none")
    even = ReZSL(0.5, 0.2, K, C, validate=False).double()
    mine = slice(rank * B // 2, (rank + 1) * B // 2)
    told["even"] = even.weigh(*(part[mine] for part in next(batches())))
    torch.save(told, f"{folder}/{rank}")
    torch.distributed.destroy_process_group()


def test_two_processes_give_the_weights_of_one_however_the_batch_is_divided(tmp_path):
    multiprocessing.spawn(rank_weights, (str(tmp_path),), nprocs=2)
    first, second = (torch.load(tmp_path / str(rank)) for rank in range(2))

    def joined(key, way=slice(None)):
        return torch.cat([first[key][way], second[key][way]])

    close = partial(torch.testing.assert_close, rtol=1e-12, atol=0)
    for weight_type in ("in_batch", "cross_batch", "ema"):
        rezsl = ReZSL(0.5, 0.2, K, C, WeightType=weight_type).double()
        for n, (pred, target, labels) in enumerate(batches()):
            rezsl.updateWeightsMatrix(pred, target, labels)
            for rows in FIRST_ROWS:
                for way in (0, 1):
                    close(joined((rows, weight_type, n), way), rezsl.getWeights(B, K, labels))
    batch = next(batches())
    for rows in FIRST_ROWS:
        close(joined((rows, "BMC")), weighted_RegressLoss(False, "BMC").double()(*batch[:2], reduction="none"))
    close(joined("even"), ReZSL(0.5, 0.2, K, C).double().weigh(*batch))
