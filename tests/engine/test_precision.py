"""No number of 64 bits on the device: an Apple GPU has none, and the data sets' files have nothing else."""

import numpy as np
import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from REZSL.config import load_config
from REZSL.engine.objective import Objective, gradient_shares
from REZSL.modeling import build_modeling
from REZSL.solver import build_solver
from REZSL.utils.seeding import seed_everything

C, K, E, D = 3, 6, 5, 8


class AsOnAnAppleGPU(TorchDispatchMode):
    """Refuses to make a tensor of float64, as such a device does."""

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        result = func(*args, **(kwargs or {}))
        for value in tree_leaves(result):
            if isinstance(value, torch.Tensor) and value.dtype in (torch.float64, torch.complex128):
                raise TypeError(f"{func} makes float64, which the device has not")
        return result


def test_the_stand_in_refuses_float64():
    with AsOnAnAppleGPU(), pytest.raises(TypeError, match="makes float64"):
        torch.ones(2).double()


HEADS = ("BasicNet", "AttentionNet", "GEMNet MODEL.LOSS.LAMBDA2 0.1 MODEL.LOSS.LAMBDA3 0.1")
LOSSES = [
    *(f"MODEL.LOSS.REG_TYPE {kind}" for kind in ("MSE", "RMSE", "MAE", "BMC")),
    *(f"MODEL.LOSS.REWEIGHT {kind}" for kind in ("focal_r", "lds", "lds MODEL.LOSS.LDS_REWEIGHT inverse")),
    *(f"MODEL.REZSL.USE True MODEL.REZSL.WEIGHT_TYPE {kind}" for kind in ("in_batch", "cross_batch", "ema")),
    "SOLVER.OPTIMIZER adamw SOLVER.CLIP_NORM 1",
]


@pytest.mark.parametrize(
    "overrides",
    [*(f"MODEL.META_ARCHITECTURE {head}" for head in HEADS), *LOSSES],
)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_a_step_and_a_prediction_make_no_float64(overrides, dtype):
    cfg = load_config(None, f"DATASETS.INPUT features MODEL.BACKBONE.TYPE features {overrides}".split())
    seed_everything(0)
    rng, labels = np.random.default_rng(0), torch.tensor([0, 1, 2, 0])
    signatures, words = rng.random((C, K)), rng.normal(size=(K, E))  # float64, as the files have them
    groups = [[0, 1], [2, 3, 4, 5]]
    model, criterion = build_modeling(cfg, signatures, K, words, groups, D, labels.numpy())
    optimizer, _ = build_solver(cfg, model, criterion, 2)
    for part in (model, criterion):
        tensors = {**dict(part.named_parameters()), **dict(part.named_buffers())}
        assert [name for name, value in tensors.items() if value.dtype == torch.float64] == []
    objective = Objective(model, criterion, dtype)
    with AsOnAnAppleGPU():
        terms = objective(torch.randn(4, D), labels)
        gradient_shares(terms, criterion.total, model.parameters())
        criterion.total(terms).backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        model.eval()
        with torch.inference_mode():
            assert model.predictor()(torch.randn(4, D)).attributes.dtype == torch.float32
