"""Optimiser and schedule of a configuration."""

import pytest
import torch
from torch import nn

from REZSL.config import load_config
from REZSL.modeling import weighted_RegressLoss
from REZSL.solver import build_solver


class Model(nn.Module):
    def __init__(self):
        super().__init__()
        self.frozen = nn.Linear(2, 2).requires_grad_(False)
        self.conv = nn.Conv2d(3, 4, 1)
        self.norm = nn.BatchNorm2d(4)
        self.attention = nn.MultiheadAttention(4, 2)  # in_proj_bias is a bias too
        self.embeddings = nn.Parameter(torch.randn(5, 4))


def build(*overrides, model=None, steps_per_epoch=2):
    cfg = load_config(None, ["SOLVER.BASE_LR", "0.5", *overrides])
    model = model or Model()
    criterion = weighted_RegressLoss(True, "BMC")
    return model, criterion, *build_solver(cfg, model, criterion, steps_per_epoch)


@pytest.mark.parametrize("optimizer", ["sgd", "adamw"])
def test_every_trainable_parameter_is_in_the_group_of_its_kind(optimizer):
    model, criterion, optimizer, _ = build(
        "SOLVER.OPTIMIZER", optimizer, "SOLVER.BIAS_LR_FACTOR", "2.0",
        "SOLVER.WEIGHT_DECAY", "0.25", "SOLVER.WEIGHT_DECAY_BIAS", "0.125",
    )  # fmt: skip
    rows = {}
    for group in optimizer.param_groups:
        for parameter in group["params"]:
            assert id(parameter) not in rows
            rows[id(parameter)] = (group["lr"], group["weight_decay"])
    expected = {id(criterion.noise_sigma): (0.5, 0.0)}
    for name, parameter in model.named_parameters():
        if not name.startswith("frozen"):
            expected[id(parameter)] = (1.0, 0.125) if name.endswith("bias") else (0.5, 0.25)
    assert rows == expected


def test_optimizers_are_those_configured():
    *_, sgd, _ = build("SOLVER.MOMENTUM", "0.75")
    assert type(sgd) is torch.optim.SGD and {g["momentum"] for g in sgd.param_groups} == {0.75}
    *_, adamw, _ = build("SOLVER.OPTIMIZER", "adamw", "SOLVER.MOMENTUM", "0.75")
    assert type(adamw) is torch.optim.AdamW and {g["betas"] for g in adamw.param_groups} == {(0.75, 0.999)}


def rates(optimizer, schedule, steps):
    """The rates that each of ``steps`` optimiser steps uses, one row a group."""
    rows = []
    for _ in range(steps):
        rows.append([group["lr"] for group in optimizer.param_groups])
        optimizer.step()
        schedule.step()
    return [list(column) for column in zip(*rows, strict=True)]


def test_the_first_epochs_use_the_base_rate():
    """The schedule is not stepped before the first epoch, and every group follows it from its own rate."""
    *_, optimizer, schedule = build("SOLVER.STEPS", "2", "SOLVER.GAMMA", "0.1", "SOLVER.BIAS_LR_FACTOR", "0.5")
    weights, biases, criterion = rates(optimizer, schedule, 6)
    assert weights == criterion == pytest.approx([0.5] * 4 + [0.05] * 2)
    assert biases == pytest.approx([0.25] * 4 + [0.025] * 2)


def test_the_offset_of_the_steps_is_configurable():
    *_, optimizer, schedule = build("SOLVER.STEPS", "2", "SOLVER.GAMMA", "0.1", "SOLVER.STEP_OFFSET", "1")
    assert rates(optimizer, schedule, 4)[0] == pytest.approx([0.5] * 2 + [0.05] * 2)


def test_cosine_and_warm_up_are_configurable():
    *_, optimizer, schedule = build("SOLVER.SCHEDULE", "cosine", "SOLVER.MAX_EPOCH", "2", "SOLVER.WARMUP_EPOCHS", "1")
    assert rates(optimizer, schedule, 4)[0] == pytest.approx([0.25, 0.5, 0.5, 0.25])


def test_a_schedule_goes_on_from_its_saved_state():
    whole = rates(*build("SOLVER.STEPS", "1")[2:], 6)
    model, _, optimizer, schedule = build("SOLVER.STEPS", "1")
    first = rates(optimizer, schedule, 3)
    *_, resumed, resumed_schedule = build("SOLVER.STEPS", "1", model=model)
    resumed.load_state_dict(optimizer.state_dict())
    resumed_schedule.load_state_dict(schedule.state_dict())
    assert [a + b for a, b in zip(first, rates(resumed, resumed_schedule, 3), strict=True)] == whole


def test_a_frozen_model_without_biases_makes_no_empty_groups():
    cfg = load_config()
    optimizer, _ = build_solver(cfg, nn.Linear(2, 2, bias=False), nn.Module(), 1)
    assert [len(group["params"]) for group in optimizer.param_groups] == [1]


def test_a_step_moves_the_criterions_sigma_too():
    model, criterion, optimizer, _ = build(model=nn.Linear(3, 4))
    before = criterion.noise_sigma.item()
    criterion(model(torch.randn(5, 3)), torch.rand(5, 4)).backward()
    optimizer.step()
    assert criterion.noise_sigma.item() != before


def test_the_schedule_counts_steps_not_batches():
    _, _, optimizer, schedule = build(
        "SOLVER.ACCUMULATE", "2", "SOLVER.STEPS", "1", "SOLVER.GAMMA", "0.5", steps_per_epoch=5
    )
    assert rates(optimizer, schedule, 7)[0] == [0.5] * 3 + [0.25] * 3 + [0.125]
