"""The learning rate as a function of the step."""

import math


def lr_factor(
    step: int,
    steps_per_epoch: int,
    epochs: int,
    kind: str = "step",
    gamma: float = 0.1,
    step_epochs: int = 10,
    step_offset: int = 0,
    warmup_epochs: float = 0.0,
) -> float:
    """Returns what the base learning rate is multiplied by at ``step`` (0-based, counted over the whole training).

    Args:
        step: optimiser steps taken so far.
        steps_per_epoch: optimiser steps an epoch.
        epochs: length of the training.
        kind: ``step`` multiplies by ``gamma`` every ``step_epochs`` epochs; ``cosine`` falls from 1 to 0 over the steps
            after the warm-up.
        gamma: factor of ``step``.
        step_epochs: epochs between the steps of ``step``.
        step_offset: epochs by which each of them comes early. The published code's is 1: it steps its schedule at the
            start of an epoch, so that 30 epochs with a step every 10 have four rates, for 9, 10, 10 and 1 of them.
        warmup_epochs: the factor rises linearly to its value over so many epochs; 0: none.
    """
    warmup = warmup_epochs * steps_per_epoch
    rise = min(1.0, (step + 1) / warmup) if warmup else 1.0
    if kind == "step":
        return rise * gamma ** ((step // steps_per_epoch + step_offset) // step_epochs)
    done = max(0.0, step - warmup) / max(1.0, epochs * steps_per_epoch - warmup)
    return rise * 0.5 * (1 + math.cos(math.pi * min(1.0, done)))
