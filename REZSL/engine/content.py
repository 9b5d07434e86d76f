"""What a checkpoint must hold before anything of it is taken over, told by the objects that would take it.

A fused optimiser reads as much memory as its parameters have, whatever its buffers have: shapes are compared here,
not there.
"""

import copy
import json
import math
from collections import defaultdict
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim.lr_scheduler import LambdaLR

from REZSL.utils.errors import DataError, first_line
from REZSL.utils.seeding import check_random_states

MOST = 2**40  # no count of epochs or steps is larger


def check_tensors(found: Any, own: dict[str, Tensor], name: str) -> None:
    """``found`` has the tensors of the state dict ``own``, of their shapes and types, all finite, and no others.

    Raises:
        DataError: naming the part ``name`` and the first tensor that is missing, unknown or another.
    """
    if not isinstance(found, dict):
        raise DataError(f"{name} is of type {type(found).__name__}, expected tensors by name")
    if missing := [key for key in own if key not in found]:
        raise DataError(f"{name} has no {missing[0]!r}")
    if unknown := [key for key in found if key not in own]:
        raise DataError(f"{name} has {unknown[0]!r:.100}, which is not known here")
    for key, wanted in own.items():
        check_tensor(found[key], wanted, f"{key} of {name}")
        if not found[key].isfinite().all():
            raise DataError(f"{key} of {name} has values that are not finite")


def check_tensor(found: Any, wanted: Tensor, name: str) -> None:
    """``found`` is a plain tensor, in memory, of the shape and type of ``wanted``; raises ``DataError``."""
    if not isinstance(found, Tensor) or found.layout != torch.strided or found.device.type != "cpu":
        raise DataError(f"{name} is no plain tensor")
    if found.shape != wanted.shape or found.dtype != wanted.dtype:
        kinds = (f"{tuple(each.shape)} {str(each.dtype).removeprefix('torch.')}" for each in (found, wanted))
        raise DataError("{} is {}, expected {}".format(name, *kinds))


def count_of(state: dict[str, Any], key: str, most: int = MOST) -> int:
    """The whole number of 0 to ``most`` that ``state`` has under ``key``; raises ``DataError`` where it has none."""
    if type(value := part_of(state, key, int)) is not int or not 0 <= value <= most:
        raise DataError(f"{key} is {value!r:.100}, expected a whole number of 0 to {most}")
    return value


def number_of(state: dict[str, Any], key: str) -> float:
    """The finite number that ``state`` has under ``key``; raises ``DataError`` where it has none."""
    if not math.isfinite(value := part_of(state, key, float)):
        raise DataError(f"{key} is {value}, expected a finite number")
    return value


def part_of(state: dict[str, Any], key: str, kind: type = dict) -> Any:
    """What ``state`` has under ``key``; raises ``DataError`` where that is not of ``kind``."""
    if key not in state:
        raise DataError(f"it has no {key!r}")
    if not isinstance(state[key], kind):
        raise DataError(f"{key} is of type {type(state[key]).__name__}, expected {kind.__name__}")
    return state[key]


def check_gathered(
    state: dict[str, Any], optimizer: torch.optim.Optimizer, criterion: nn.Module, scaler: torch.amp.GradScaler
) -> None:
    """``state`` has what these three gather in a training; raises ``DataError``."""
    check_tensors(part_of(state, "criterion"), criterion.state_dict(), "its criterion")
    if part_of(state, "optimizer_type", str) != type(optimizer).__name__:
        raise DataError(f"its optimizer is {state['optimizer_type']!r:.100}, this one is {type(optimizer).__name__}")
    kept = part_of(state, "optimizer")
    groups = [g.get("params") if isinstance(g, dict) else None for g in part_of(kept, "param_groups", list)]
    own = [group["params"] for group in optimizer.state_dict()["param_groups"]]
    if repr(groups) != repr(own):  # == of what may hold tensors is no truth value
        raise DataError("its optimizer has other parameters")
    form = state_form(optimizer)
    for number, values in part_of(kept, "state").items():
        if number not in form or not isinstance(values, dict):
            raise DataError(f"its optimizer has gathered nothing fit for parameter {number!r:.100}")
        for key, wanted in form[number].items():
            name = f"the optimizer's {key} of parameter {number}"
            check_tensor(values.get(key), wanted, name)
            if values[key].isnan().any():  # infinity is where a square was too large
                raise DataError(f"{name} has values that are no numbers")
    if part_of(state, "scaler") is not None and scaler.is_enabled():
        count_of(state["scaler"], "_growth_tracker")
        for key in ("scale", "growth_factor", "backoff_factor", "growth_interval"):
            if not isinstance(value := state["scaler"].get(key), float | int) or not 0 < value < math.inf:
                raise DataError(f"scaler's {key} is {value!r:.100}, expected a number > 0")


def state_form(optimizer: torch.optim.Optimizer) -> dict[int, dict[str, Tensor]]:
    """What ``optimizer`` keeps of each parameter after a step: tensors without content, but for plain counts."""
    twin = copy.copy(optimizer)
    twin.state = defaultdict(dict)
    twin.param_groups = []
    for group in optimizer.param_groups:
        parameters = [torch.empty_like(p, device="meta", requires_grad=True) for p in group["params"]]
        for parameter in parameters:
            parameter.grad = torch.empty_like(parameter)
        twin.param_groups.append({**group, "params": parameters, "fused": False, "foreach": False})
    twin.step()
    return twin.state_dict()["state"]


def check_position(state: dict[str, Any], schedule: LambdaLR) -> None:
    """``state`` says how far a training is, and what it would draw next; raises ``DataError``."""
    count_of(state, "epoch")
    done = count_of(part_of(state, "schedule"), "last_epoch")
    count_of(state["schedule"], "_step_count")
    try:
        for factor in schedule.lr_lambdas:
            factor(done)
        check_random_states(part_of(state, "random"))
    except (OverflowError, ValueError) as error:
        raise DataError(first_line(error)) from None


def check_progress(state: dict[str, Any], model: nn.Module, steps: int) -> None:
    """``state`` has what a training of ``model``, by epochs of ``steps``, has done so far; raises ``DataError``."""
    check_tensors(part_of(state, "model"), model.state_dict(), "its model")
    count_of(state, "epoch")
    count_of(state, "step", most=steps - 1)
    for name, value in part_of(state, "sums").items():
        check_tensor(value, torch.empty(()), f"sum of {name!r:.100}")
        number_of({name: value.item()}, name)
    for name in part_of(state, "shares"):
        part_of(state["shares"], name, float)
    line = part_of({"line": {}, **state}, "line")  # of an epoch that is not evaluated yet; older checkpoints have none
    for name in {"lr", "loss", *line} - {"epoch", "gradient_share"} if line else ():
        part_of(line, name, float)
    lines = [*part_of(state, "history", list), *([line] if line else [])]
    epochs = [count_of(each, "epoch") if isinstance(each, dict) else -1 for each in lines]
    if epochs != sorted({*epochs} - {-1}) or (line and epochs[-1] != state["epoch"]):
        raise DataError("history does not have a line an epoch")
    try:
        json.dumps(lines)
    except (TypeError, ValueError, RecursionError) as error:
        raise DataError(f"history cannot be written: {first_line(error)}") from None
