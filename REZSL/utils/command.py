"""What every command line does around its work: logging, errors told in one line, signals, an exit status."""

import errno
import logging
import multiprocessing
import os
import re
import signal
import sys
import traceback
from collections.abc import Callable, Sequence

import torch

from .children import end_children
from .distributed import world_size
from .errors import ConfigError, REZSLError, Stopped, first_line, lines_of
from .logging import close_logging, setup_logging
from .stopping import StopRequest, interruptible, stop_requests
from .text import brief

log = logging.getLogger(__name__)

SEED = re.compile("0|[1-9][0-9]{0,18}")


def run_command(action: Callable[[], object], goes_on: str = "") -> int:
    """Calls ``action`` with the package's log on the console, and ends the loading processes that it leaves behind.

    A signal raises ``Stopped`` in ``action``, or is noted where that cannot be interrupted; a second one ends the
    process at once: see :func:`~REZSL.utils.stopping.stop_requests`.

    Args:
        action: the work; whatever it returns is dropped.
        goes_on: what to do after a signal to go on with what was saved; empty: the command saves nothing on its way.

    Returns:
        The exit status: 0, 1 (an error that is no mistake in the code, told in one line), or 128 and the number of the
        signal that stopped it, 130 for Ctrl-C. Any other exception passes through, or, of several processes, is 1 too.
    """
    others = multiprocessing.active_children()
    setup_logging()
    with stop_requests() as request:
        try:
            with interruptible():
                action()
            return 0
        except (KeyboardInterrupt, Stopped) as stop:
            log.error("stopped%s", _what_is_left(request, goes_on))
            return 128 + getattr(stop, "signal_number", signal.SIGINT)
        except Exception as error:
            lines = _told(error)
            if not lines and world_size() == 1:
                raise
            if not lines:
                traceback.print_exc()  # and leave: Python's own end could wait for the other processes
            for line in lines:
                log.error("error: %s", line)
            return 1
        finally:
            end_children(but=others)
            close_logging()


def leave(status: int) -> None:
    """Ends the process with ``status``; of several, one that failed waits for no other, which may wait for it."""
    if status and world_size() > 1:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)
    sys.exit(status)


def _what_is_left(request: StopRequest, goes_on: str) -> str:
    return f"; {request.saved or 'nothing was saved since the start'}: {goes_on}" if goes_on else ""


def _told(error: Exception) -> list[str]:
    """The lines that tell ``error``; none: it is a mistake in the code."""
    if isinstance(error, OSError) and error.errno == errno.ENOSPC and error.filename is None:
        return [f"{first_line(error)}: make room at /dev/shm (docker run --shm-size), and where temporary files go"]
    if line := _lack(error):
        return [line]
    return lines_of(error) if isinstance(error, REZSLError | OSError) else []


def _lack(error: Exception) -> str | None:
    """What the machine lacks for this run, and what to do; None where ``error`` tells of nothing like that."""
    text = str(error).strip()
    if text.startswith("DataLoader worker (pid") or _is_of_a_lost_loader(error):
        return (
            f"a loading process has died ({first_line(error)}): most often memory has run out, which the kernel's log "
            f"tells (dmesg): lower DATALOADER.NUM_WORKERS, or give more memory, or more of it at /dev/shm"
        )
    if text.startswith("DataLoader timed out"):
        return (
            f"no batch came within DATALOADER.TIMEOUT ({first_line(error)}): look at the disk with the data, or raise "
            f"DATALOADER.TIMEOUT"
        )
    if isinstance(error, torch.OutOfMemoryError | MemoryError) or "can't allocate memory" in text:
        problem = text.splitlines()[-1].split(" If reserved but")[0] if text else "out of memory"
        return (
            f"{problem}: lower DATALOADER.EP_PER_BATCH, DATASETS.WAYS or SHOTS (SOLVER.ACCUMULATE makes up for them), "
            f"TEST.IMS_PER_BATCH or DATASETS.IMAGE_SIZE"
        )
    if world_size() > 1 and isinstance(error, RuntimeError) and _is_of_a_lost_process(text):
        return "another process of this run has ended; its own error, if it had one, is told above"
    return None


def _is_of_a_lost_loader(error: Exception) -> bool:
    """Whether a batch was being fetched from a loading process that is gone: torch notices only while it waits."""
    gone = isinstance(error, EOFError) or "items of ancdata" in str(error)
    if isinstance(error, OSError) and error.filename is None:
        gone = error.errno in (errno.ECONNRESET, errno.ECONNREFUSED, errno.EPIPE, errno.ENOENT)
    frames = traceback.walk_tb(error.__traceback__)
    return gone and any("multiprocessing" in frame.f_code.co_filename for frame, _ in frames)


def _is_of_a_lost_process(text: str) -> bool:
    return any(word in text for word in ("gloo", "NCCL", "Connection closed by peer", "Connection reset by peer"))


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
