"""From the config to optimiser and schedule."""

import math
from functools import partial

import torch
from torch import nn
from torch.optim.lr_scheduler import LambdaLR
from yacs.config import CfgNode

from .schedule import lr_factor


def build_solver(
    cfg: CfgNode, model: nn.Module, criterion: nn.Module, batches_per_epoch: int
) -> tuple[torch.optim.Optimizer, LambdaLR]:
    """Builds the optimiser over ``model`` and ``criterion``, and a schedule to be stepped after its every step."""
    solver = cfg.SOLVER
    groups = parameter_groups(
        model, criterion, solver.BASE_LR, solver.BIAS_LR_FACTOR, solver.WEIGHT_DECAY, solver.WEIGHT_DECAY_BIAS
    )
    # one kernel for all; but the momentum of a fused SGD whose first step the loss scaler skips is never initialised
    fused = cfg.DTYPE != "float16"
    if solver.OPTIMIZER == "sgd":
        optimizer = torch.optim.SGD(groups, lr=solver.BASE_LR, momentum=solver.MOMENTUM, fused=fused)
    else:
        optimizer = torch.optim.AdamW(groups, lr=solver.BASE_LR, betas=(solver.MOMENTUM, 0.999), fused=fused)
    factor = partial(
        lr_factor,
        steps_per_epoch=math.ceil(batches_per_epoch / solver.ACCUMULATE),
        epochs=solver.MAX_EPOCH,
        kind=solver.SCHEDULE,
        gamma=solver.GAMMA,
        step_epochs=solver.STEPS,
        step_offset=solver.STEP_OFFSET,
        warmup_epochs=solver.WARMUP_EPOCHS,
    )
    return optimizer, LambdaLR(optimizer, factor)


def parameter_groups(
    model: nn.Module, criterion: nn.Module, lr: float, bias_factor: float, decay: float, bias_decay: float
) -> list[dict]:
    """Divides the trainable parameters: weights, biases with their own rate and decay, the criterion's."""
    named = [(name, p) for name, p in model.named_parameters() if p.requires_grad]
    weights = [p for name, p in named if not name.endswith("bias")]
    biases = [p for name, p in named if name.endswith("bias")]
    groups = [
        {"params": weights, "lr": lr, "weight_decay": decay},
        {"params": biases, "lr": lr * bias_factor, "weight_decay": bias_decay},
        {"params": list(criterion.parameters()), "lr": lr, "weight_decay": 0.0},
    ]
    return [group for group in groups if group["params"]]
