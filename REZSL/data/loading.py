"""What all loaders have in common."""

import signal
from typing import Any

import torch


def loader_options(workers: int, pin_memory: bool) -> dict[str, Any]:
    """Returns options of a ``DataLoader`` over a :class:`~REZSL.data.images.ZSLDataset`.

    Args:
        workers: loading processes; 0: load in this one.
        pin_memory: put batches where a GPU can fetch them while it computes.
    """
    return {
        "num_workers": workers,
        "collate_fn": _as_fetched,
        "worker_init_fn": _ignore_stop_signals,
        "generator": torch.Generator(),  # else the loader draws from the global one, as often as it starts workers
        "pin_memory": pin_memory,
    }


def _as_fetched(batch: Any) -> Any:
    """The data set fetches whole batches; there is nothing left to collate."""
    return batch


def _ignore_stop_signals(worker: int) -> None:
    """A batch system signals every process of a run: the loading ones work on until the training has saved itself."""
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, signal.SIG_IGN)
