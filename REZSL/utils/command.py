"""What every command line does around its work: logging, errors told in one line, an exit status."""

import logging
import re
from collections.abc import Callable, Sequence

from .errors import ConfigError, REZSLError, Stopped, lines_of
from .logging import close_logging, setup_logging
from .text import brief

log = logging.getLogger(__name__)

SEED = re.compile("0|[1-9][0-9]{0,18}")


def run_command(action: Callable[[], object], stopped: str = "stopped") -> int:
    """Calls ``action`` with the package's log on the console.

    Args:
        action: the work; whatever it returns is dropped.
        stopped: what to say after Ctrl-C or SIGTERM.

    Returns:
        The exit status: 0, 1 (a ``REZSLError`` or ``OSError``, told in one line), 130 (Ctrl-C) or 143 (SIGTERM). Any
        other exception is a mistake in the code and passes through.
    """
    setup_logging()
    try:
        action()
    except (REZSLError, OSError) as error:
        for line in lines_of(error):
            log.error("error: %s", line)
        return 1
    except KeyboardInterrupt:
        log.error(stopped)
        return 130
    except Stopped as stop:
        log.error(stopped)
        return 128 + stop.signal_number
    finally:
        close_logging()
    return 0


def leading_seeds(words: Sequence[str]) -> tuple[list[int], list[str]]:
    """Splits what an option ``--seeds 1 2 3 KEY VALUE`` has swallowed into the seeds and the words after them.

    Raises:
        ConfigError: no seed comes first, or one comes twice.
    """
    number = next((n for n, word in enumerate(words) if not SEED.fullmatch(word)), len(words))
    seeds = [int(word) for word in words[:number]]
    if not seeds:
        raise ConfigError(f"--seeds {brief(words[0])}: expected whole numbers >= 0")
    if len(set(seeds)) < len(seeds):
        raise ConfigError(f"--seeds {' '.join(words[:number])}: a seed comes twice")
    return seeds, list(words[number:])
