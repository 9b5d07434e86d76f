"""Checkpoints: tensors and plain values, written whole or not at all; nothing of a damaged one is taken over."""

import hashlib
import logging
import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.optim.lr_scheduler import LambdaLR

from REZSL.utils.errors import DataError
from REZSL.utils.files import atomic_path
from REZSL.utils.torch_file import read_torch_file

from .content import check_tensors, state_form

log = logging.getLogger(__name__)

LONGEST = 2**27  # characters of all plain values of a checkpoint, a hundred for each


def save_checkpoint(path: str | os.PathLike, keep: int = 0, **content: Any) -> None:
    """Writes ``content`` (state dicts, tensors, plain values) to ``path``; an old file stays until the new is whole.

    Args:
        path: a ``.pth`` file.
        keep: so many older ones stay, as ``last-1.pth`` (the newest of them), ``last-2.pth``, ...
        **content: what :func:`load_checkpoint` gives back.
    """
    path = Path(path)
    with atomic_path(path) as temporary:
        torch.save({**content, "digest": _digest(content)}, temporary)
        names = [path, *(path.with_stem(f"{path.stem}-{n}") for n in range(1, keep + 1))]
        for older, newer in zip(names[:0:-1], names[-2::-1], strict=True):
            if newer.exists():
                os.replace(newer, older)


def checkpoints(path: Path) -> list[Path]:
    """``path`` and the older ones that :func:`save_checkpoint` kept, so far as they are there, the newest first."""
    kept = re.compile(rf"{re.escape(path.stem)}-([1-9]\d*){re.escape(path.suffix)}", re.ASCII)
    numbers = {int(match[1]): each for each in path.parent.glob("*") if (match := kept.fullmatch(each.name))}
    return [*([path] if path.exists() else []), *(numbers[n] for n in sorted(numbers))]


def newest_checkpoint(
    path: Path, accept: Callable[[dict[str, Any]], object] = lambda content: None
) -> dict[str, Any] | None:
    """Reads ``path``, or the newest older one that is whole and fits; None where there is none at all.

    Args:
        path: ``last.pth``; older ones are ``last-1.pth``, ...
        accept: raises ``DataError`` for content that does not fit.

    Raises:
        DataError: there are checkpoints, and none can be used.
    """
    candidates, problem = checkpoints(path), None
    for candidate in candidates:
        try:
            content = load_checkpoint(candidate)
            try:
                accept(content)
            except DataError as error:
                raise DataError(f"the checkpoint {candidate} cannot be used: {error}") from None
            return content
        except DataError as error:
            problem = problem or error
            if candidate != candidates[-1]:
                log.warning("%s; trying an older one", error)
    if problem:
        raise problem
    return None


def load_checkpoint(path: str | os.PathLike) -> dict[str, Any]:
    """Reads a checkpoint to the CPU.

    The archive's checksums tell whether tensors are as they were written. The digest, which they do not need, tells it
    of names, shapes and plain values also where a tool has written the file anew.

    Raises:
        DataError: a file that is missing, damaged, no checkpoint, or without what every checkpoint has.
    """
    try:
        content = read_torch_file(path)
    except DataError as error:
        raise DataError(f"the checkpoint {error}") from None
    if not isinstance(content, dict) or "model" not in content:
        raise DataError(f"{path} is no checkpoint of a run: it has no 'model'")
    told = content.pop("digest", None)
    found = _digest(content)
    if not found:
        raise DataError(
            f"the checkpoint {path} holds more plain values than any training: they are parts of themselves"
        )
    if told is not None and told != found:  # there was none before
        raise DataError(f"the checkpoint {path} is damaged: its content is not what was saved")
    return content


def load_model_state(model: torch.nn.Module, state: dict[str, Tensor], path: str | os.PathLike) -> None:
    """Loads ``state``, of any precision, into ``model``, all or nothing.

    Raises:
        DataError: naming ``path``, where they do not fit.
    """
    own = model.state_dict()
    try:
        if isinstance(state, dict):
            state = {key: _as_precise(value, own.get(key)) for key, value in state.items()}
        check_tensors(state, own, "the file")
    except DataError as error:
        raise DataError(f"the checkpoint {path} does not fit this config's model: {error}") from None
    model.load_state_dict(state)


def restore_optimizer(optimizer: torch.optim.Optimizer, state: dict[str, Any]) -> None:
    """Gives ``optimizer`` what that of the checkpoint ``state``, which is checked, had gathered.

    Its rates, decay and momentum stay. Buffers are copied to where and as a step would have made them, and are 0 for a
    parameter that had no gradient yet: a fused optimiser asks for neither strides nor whether all have one.
    """
    own, saved, form = optimizer.state_dict(), state["optimizer"]["state"], state_form(optimizer)
    parameters = [p for group in optimizer.param_groups for p in group["params"]]
    taken: dict[int, dict[str, Tensor]] = {}
    for number, parts in form.items() if saved else ():
        taken[number] = {}
        for key, wanted in parts.items():
            buffer = torch.zeros_like(wanted, device=parameters[number].device if wanted.is_meta else wanted.device)
            taken[number][key] = buffer.copy_(saved[number][key]) if number in saved else buffer
    optimizer.load_state_dict({"state": taken, "param_groups": own["param_groups"]})


def restore_schedule(schedule: LambdaLR, state: dict[str, Any]) -> None:
    """Moves ``schedule`` to where that of the checkpoint ``state`` was, and its optimiser's rates with it."""
    position = {key: state["schedule"][key] for key in ("last_epoch", "_step_count")}
    schedule.load_state_dict({**schedule.state_dict(), **position})
    factors = [factor(schedule.last_epoch) for factor in schedule.lr_lambdas]
    for group, base, factor in zip(schedule.optimizer.param_groups, schedule.base_lrs, factors, strict=True):
        group["lr"] = base * factor


def _as_precise(value: Any, own: Tensor | None) -> Any:
    both = isinstance(value, Tensor) and own is not None and value.is_floating_point() and own.is_floating_point()
    return value.to(own.dtype) if both else value


def _digest(content: dict[str, Any]) -> str:
    """Of everything but the tensors' values, which the archive has checksums of; empty where there is no end to it."""
    digest, rest, length = hashlib.sha256(), [content], 0
    while rest:
        value = rest.pop()
        if isinstance(value, Tensor):
            value = tuple(value.shape), value.dtype
        elif isinstance(value, dict):  # of whatever kind
            rest += [*value, *value.values()]
            value = dict, len(value)
        elif isinstance(value, list | tuple):
            rest += value
            value = type(value), len(value)
        word = repr(value).encode()
        digest.update(word + b"\n")
        length += 100 + len(word)
        if length > LONGEST:  # parts can be parts of themselves
            return ""
    return digest.hexdigest()
