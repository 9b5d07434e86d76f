"""Checkpoints: tensors and plain values, written whole or not at all, read with ``weights_only``."""

import logging
import os
from pathlib import Path
from typing import Any

import torch
from torch.optim.lr_scheduler import LambdaLR

from REZSL.utils.errors import DataError, first_line
from REZSL.utils.files import atomic_path

log = logging.getLogger(__name__)


def save_checkpoint(path: str | os.PathLike, keep: int = 0, **content: Any) -> None:
    """Writes ``content`` (state dicts, tensors, plain values) to ``path``; an old file stays until the new is whole.

    Args:
        path: a ``.pth`` file.
        keep: so many older ones stay, as ``last-1.pth`` (the newest of them), ``last-2.pth``, ...
        **content: what :func:`load_checkpoint` gives back.
    """
    path = Path(path)
    with atomic_path(path) as temporary:
        torch.save(content, temporary)
        names = [path, *(path.with_stem(f"{path.stem}-{n}") for n in range(1, keep + 1))]
        for older, newer in zip(names[:0:-1], names[-2::-1], strict=True):
            if newer.exists():
                os.replace(newer, older)


def newest_checkpoint(path: Path) -> dict[str, Any] | None:
    """Reads ``path``, or the newest older one (``last-1.pth``, ...) that is whole; None where there is none at all.

    Raises:
        DataError: there are checkpoints, and none can be read.
    """
    older = sorted(path.parent.glob(f"{path.stem}-*{path.suffix}"), key=lambda p: int(p.stem.rsplit("-", 1)[1]))
    candidates, problem = [p for p in (path, *older) if p.exists()], None
    for candidate in candidates:
        try:
            return load_checkpoint(candidate)
        except DataError as error:
            problem = problem or error
            log.warning("%s; trying an older one", error)
    if problem:
        raise problem
    return None


def load_checkpoint(path: str | os.PathLike) -> dict[str, Any]:
    """Reads a checkpoint to the CPU; raises ``DataError`` for a file that is missing, damaged or no checkpoint."""
    if not Path(path).is_file():
        raise DataError(f"the checkpoint {path} is missing")
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # damaged files raise many kinds
        raise DataError(f"the checkpoint {path} cannot be read: {first_line(error)}") from None
    if not isinstance(content, dict) or "model" not in content:
        raise DataError(f"{path} is no checkpoint of a run: it has no 'model'")
    return content


def load_model_state(model: torch.nn.Module, state: dict[str, torch.Tensor], path: str | os.PathLike) -> None:
    """Loads ``state`` into ``model``, all of it; raises ``DataError`` naming ``path`` where they do not fit."""
    try:
        model.load_state_dict(state)
    except (RuntimeError, TypeError, AttributeError) as error:
        lines = [line.strip() for line in str(error).splitlines()]
        problem = lines[min(1, len(lines) - 1)]
        raise DataError(f"the checkpoint {path} does not fit this config's model: {problem}") from None


def restore_optimizer(optimizer: torch.optim.Optimizer, state: dict[str, Any]) -> None:
    """Gives ``optimizer`` what that of the checkpoint ``state`` had gathered; its rates, decay and momentum stay.

    Raises:
        ValueError: it is of another kind, or over other parameters.
    """
    own, saved = optimizer.state_dict(), state["optimizer"]
    sizes = [[len(group["params"]) for group in part["param_groups"]] for part in (own, saved)]
    if state["optimizer_type"] != type(optimizer).__name__ or sizes[0] != sizes[1]:
        raise ValueError("the optimizer is another, or has other parameters")
    optimizer.load_state_dict({"state": saved["state"], "param_groups": own["param_groups"]})


def restore_schedule(schedule: LambdaLR, state: dict[str, Any]) -> None:
    """Moves ``schedule`` to where that of the checkpoint ``state`` was, and its optimiser's rates with it."""
    position = {key: state["schedule"][key] for key in ("last_epoch", "_step_count")}
    schedule.load_state_dict({**schedule.state_dict(), **position})
    factors = [factor(schedule.last_epoch) for factor in schedule.lr_lambdas]
    for group, base, factor in zip(schedule.optimizer.param_groups, schedule.base_lrs, factors, strict=True):
        group["lr"] = base * factor
