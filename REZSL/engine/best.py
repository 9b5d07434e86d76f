"""``best.pth``: the model of the epoch that is kept."""

import logging
from pathlib import Path
from typing import Any

from torch import nn

from REZSL.utils.distributed import is_main
from REZSL.utils.errors import DataError, RunError

from .checkpoint import load_checkpoint, save_checkpoint
from .content import check_tensors, count_of, number_of, part_of

log = logging.getLogger(__name__)


def save_best(path: Path, model: nn.Module, epoch: int, score: float, config_text: str) -> None:
    """Writes ``model`` after ``epoch`` (1-based), whose score is ``score``."""
    if is_main():
        save_checkpoint(path, model=model.state_dict(), epoch=epoch, score=score, config=config_text)


def read_best(path: Path, model: nn.Module) -> dict[str, Any]:
    """Reads what :func:`save_best` wrote; raises ``DataError`` where it is damaged or of another than ``model``."""
    best = load_checkpoint(path)
    try:
        count_of(best, "epoch")
        number_of(best, "score")
        check_tensors(part_of(best, "model"), model.state_dict(), "its model")
    except DataError as error:
        raise DataError(f"the checkpoint {path}: {error}") from None
    return best


def score_to_beat(path: Path, model: nn.Module, history: list[dict[str, Any]]) -> float:
    """The score of the best epoch of ``history``, the lines of metrics so far; minus infinity where there is none.

    Raises:
        RunError: ``path`` is damaged, or of another than ``model``.
    """
    if not path.exists():
        if any("T1" in line for line in history):
            log.warning("%s is missing: the best of the epochs from here on is kept", path)
        return float("-inf")
    try:
        return read_best(path, model)["score"]
    except DataError as error:
        raise RunError(f"{error}: delete it to go on without the best of the epochs before") from None
