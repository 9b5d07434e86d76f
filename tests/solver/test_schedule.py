"""The learning-rate factor against tables by hand and torch's own schedule."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.optim.lr_scheduler import StepLR

from REZSL.solver import lr_factor

COSINES = [0.5 * (1 + math.cos(math.pi * x)) for x in (0, 1 / 4, 1 / 2, 3 / 4, 1)]


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"kind": "step", "epochs": 5, "gamma": 0.1, "step_epochs": 2}, [1, 1, 1, 1, 0.1, 0.1, 0.1, 0.1, 0.01, 0.01]),
        ({"kind": "step", "epochs": 3, "gamma": 0.5, "step_epochs": 1, "warmup_epochs": 1.5},
         [1 / 3, 2 / 3, 0.5, 0.5, 0.25, 0.25]),
        ({"kind": "step", "epochs": 4, "gamma": 0.5, "step_epochs": 2, "step_offset": 1},
         [1, 1, 0.5, 0.5, 0.5, 0.5, 0.25, 0.25]),
        ({"kind": "cosine", "epochs": 2}, COSINES),
        ({"kind": "cosine", "epochs": 3, "warmup_epochs": 1}, [1 / 2, 1, *COSINES]),
        ({"kind": "cosine", "epochs": 2, "warmup_epochs": 0.5}, [1, 1, 0.75, 0.25, 0]),
    ],
)  # fmt: skip
def test_factor_of_every_step_by_hand(options, expected):
    """Two steps an epoch."""
    factors = [lr_factor(step, 2, **options) for step in range(len(expected))]
    assert factors == pytest.approx(expected)


@given(steps=st.integers(1, 5), every=st.integers(1, 4), gamma=st.floats(0.05, 1))
@settings(max_examples=25, deadline=None)
def test_step_is_torchs_schedule_stepped_after_every_epoch(steps, every, gamma):
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=1.0)
    reference = StepLR(optimizer, every, gamma)
    for epoch in range(10):
        for step in range(steps):
            factor = lr_factor(epoch * steps + step, steps, 10, "step", gamma, every)
            assert factor == pytest.approx(optimizer.param_groups[0]["lr"])
        optimizer.step()
        reference.step()


@pytest.mark.filterwarnings("ignore:Detected call of .lr_scheduler.step")
def test_an_offset_of_one_is_torchs_schedule_stepped_before_every_epoch():
    """As the published code steps it: of 30 epochs 9, 10, 10 and 1 have the same rate."""
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=1.0)
    reference = StepLR(optimizer, 10, 0.5)
    rates = []
    for epoch in range(30):
        reference.step()
        factors = {lr_factor(3 * epoch + step, 3, 30, "step", 0.5, 10, step_offset=1) for step in range(3)}
        assert factors == {optimizer.param_groups[0]["lr"]}
        rates += factors
    assert [rates.count(0.5**n) for n in range(4)] == [9, 10, 10, 1]


@given(
    kind=st.sampled_from(["step", "cosine"]),
    steps=st.integers(1, 5),
    epochs=st.integers(1, 6),
    warmup=st.floats(0, 8),
)
@settings(max_examples=50, deadline=None)
def test_factor_stays_between_zero_and_one(kind, steps, epochs, warmup):
    """Also for a warm-up longer than the training, and a little past the end."""
    for step in range(steps * epochs + 3):
        assert 0 <= lr_factor(step, steps, epochs, kind, 0.5, 2, warmup) <= 1
