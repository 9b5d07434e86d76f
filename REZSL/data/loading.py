"""What all loaders have in common."""

import atexit
import os
import shutil
import signal
import sys
from pathlib import Path
from types import TracebackType
from typing import Any

import torch
from torch.utils.data import get_worker_info

from REZSL.utils.children import end_children
from REZSL.utils.errors import DataError, RunError, first_line
from REZSL.utils.stopping import SIGNALS

SHARED_MEMORY = Path("/dev/shm")
AHEAD = 2  # batches that each loading process makes before they are asked for, as torch has it
PATIENCE = 3.0  # seconds

# before Python's own, which waits for loading processes for ever: they ignore its SIGTERM
atexit.register(end_children, patience=PATIENCE)


def loader_options(workers: int, pin_memory: bool, timeout: float = 0.0) -> dict[str, Any]:
    """Returns options of a ``DataLoader`` over a :class:`~REZSL.data.images.ZSLDataset`.

    Args:
        workers: loading processes; 0: load in this one.
        pin_memory: put batches where a GPU can fetch them while it computes.
        timeout: seconds to wait for a batch of the loading processes; 0: for ever.
    """
    return {
        "num_workers": workers,
        "collate_fn": _as_fetched,
        "worker_init_fn": _ignore_signals,
        "generator": torch.Generator(),  # else the loader draws from the global one, as often as it starts workers
        "pin_memory": pin_memory,
        "prefetch_factor": AHEAD if workers else None,
        "timeout": timeout if workers else 0.0,
    }


def check_shared_memory(workers: int, *batches: int) -> None:
    """Loading processes hand over batches in shared memory, of which containers often have little.

    Args:
        workers: loading processes of each loader.
        *batches: bytes of a batch, of each loader that works at a time.

    Raises:
        RunError: they may need more than is free.
    """
    if not workers or not SHARED_MEMORY.is_dir():
        return
    needed = AHEAD * workers * sum(batches) * int(os.environ.get("LOCAL_WORLD_SIZE", 1))
    if needed > (free := shutil.disk_usage(SHARED_MEMORY).free):
        raise RunError(
            f"loading needs up to {needed / 1e6:.0f} MB of shared memory, and {SHARED_MEMORY} has {free / 1e6:.0f} MB "
            f"free: give it more (docker run --shm-size {-(-2 * needed // 10**9)}g), or lower DATALOADER.NUM_WORKERS, "
            f"TEST.IMS_PER_BATCH or DATASETS.IMAGE_SIZE (NUM_WORKERS 0 needs none)"
        )


def _as_fetched(batch: Any) -> Any:
    """The data set fetches whole batches; there is nothing left to collate.

    A loading process puts them in shared memory here, where an error reaches the main process; later, torch would lose
    the batch, and the main process wait for it.
    """
    if get_worker_info() is not None:
        try:
            for tensor in batch:
                tensor.share_memory_()
        except RuntimeError as error:
            raise DataError(
                f"a batch cannot be handed over in shared memory ({first_line(error)}): give {SHARED_MEMORY} more "
                f"(docker run --shm-size), or set DATALOADER.NUM_WORKERS 0, which needs none"
            ) from None
    return batch


def _ignore_signals(worker: int) -> None:
    """A batch system signals every process of a run: the loading ones work on until the main one ends them."""
    for number in SIGNALS:
        signal.signal(number, signal.SIG_IGN)
    sys.excepthook = _tell_all_but_hanging_up


def _tell_all_but_hanging_up(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    """The main process may stop in the middle of fetching a batch."""
    if not issubclass(kind, ConnectionError):
        sys.__excepthook__(kind, error, trace)
