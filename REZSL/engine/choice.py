"""What validation chose: the one thing that the final training takes from it."""

import json
import math
from pathlib import Path
from typing import NamedTuple

from REZSL.utils.errors import DataError


class Choice(NamedTuple):
    """What the validation classes chose: the epoch (1-based), gamma, and the AUSUC and H there."""

    epoch: int
    gamma: float
    AUSUC: float
    H: float


def read_choice(path: Path) -> Choice:
    """Reads ``choice.json``; raises ``DataError`` where it is damaged."""
    try:
        choice = Choice(**json.loads(path.read_text(encoding="utf-8")))
        if type(choice.epoch) is int and choice.epoch > 0 and all(math.isfinite(number) for number in choice[1:]):
            return choice
    except (ValueError, TypeError, OverflowError, RecursionError):
        pass
    raise DataError(f"{path} is damaged: delete it, and --resume chooses again by the training beside it")
