"""Checkpoints: tensors and plain values, written whole or not at all, read with ``weights_only``."""

import os
from pathlib import Path
from typing import Any

import torch

from REZSL.utils.errors import DataError, first_line
from REZSL.utils.files import atomic_path


def save_checkpoint(path: str | os.PathLike, **content: Any) -> None:
    """Writes ``content`` (state dicts, tensors, plain values) to ``path``; an old file stays until the new is whole."""
    with atomic_path(path) as temporary:
        torch.save(content, temporary)


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
