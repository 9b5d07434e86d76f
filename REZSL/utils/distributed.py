"""Several processes on one training, started by torchrun: who is who, and what they tell each other.

Everything here does the right thing, at no cost, in a process that is alone. Small things that processes agree on pass
through the CPU, so an accelerator never waits for them.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor
from torch import distributed as dist

from .errors import ConfigError, RunError


def start(device_name: str) -> None:
    """Joins the processes that torchrun started; does nothing where it started none.

    Args:
        device_name: ``MODEL.DEVICE``; with ``auto`` or ``cuda`` every process takes the GPU of its local rank.

    Raises:
        ConfigError: one certain GPU, or Apple's, is asked for, or there are fewer GPUs than local processes.
    """
    if int(os.environ.get("WORLD_SIZE", "1")) < 2 or dist.is_initialized():
        return
    if device_name == "mps":
        raise ConfigError("MODEL.DEVICE is mps, but only CUDA devices and CPUs train in several processes")
    on_gpu = device_name != "cpu" and torch.cuda.is_available()
    if on_gpu:
        local, count = int(os.environ["LOCAL_RANK"]), torch.cuda.device_count()
        if device_name not in ("auto", "cuda"):
            raise ConfigError(f"MODEL.DEVICE is {device_name}, but torchrun gives every process its own: set it auto")
        if local >= count:
            raise ConfigError(f"torchrun started a process {local} here, but torch sees {count} CUDA devices")
        torch.cuda.set_device(local)
    dist.init_process_group("cpu:gloo,cuda:nccl" if on_gpu else "gloo")


def finish() -> None:
    """Leaves the other processes."""
    if dist.is_available() and dist.is_initialized():
        dist.destroy_process_group()


def world_size() -> int:
    """How many processes train together; 1 for one that is alone."""
    return dist.get_world_size() if dist.is_available() and dist.is_initialized() else 1


def rank() -> int:
    """The number of this process, 0 to ``world_size() - 1``."""
    return dist.get_rank() if world_size() > 1 else 0


def is_main() -> bool:
    """Whether this is the process that writes files and talks."""
    return rank() == 0


@contextmanager
def main_first() -> Iterator[None]:
    """Lets process 0 through first, then the others: what it writes they find.

    Raises:
        SystemExit: in the others, where process 0 failed; it has told why.
    """
    if world_size() == 1:
        yield
    elif is_main():
        done = torch.zeros(1)
        try:
            yield
            done.fill_(1)
        finally:
            dist.broadcast(done, 0)
    else:
        done = torch.zeros(1)
        dist.broadcast(done, 0)
        if not done:
            raise SystemExit(1)
        yield


def insist_on_same(values: dict[str, Any]) -> None:
    """Every process has the same ``values``, by name.

    Raises:
        RunError: in process 0, which names what differs, and where.
        SystemExit: in the others; it has told why.
    """
    everyones = objects_of_all(values)
    names = dict.fromkeys(name for own in everyones for name in own)
    told = []
    for name in names:
        first, *others = (own.get(name) for own in everyones)
        differing = {number: other for number, other in enumerate(others, 1) if other != first}
        told += [f"{name} is {first!r} in process 0 and {other!r} in process {n}" for n, other in differing.items()]
    if told and is_main():
        more = f", and {len(told) - 3} differences more" if len(told) > 3 else ""
        raise RunError(f"the processes of this run differ: {'; '.join(told[:3])}{more}: start all of them alike")
    if told:
        raise SystemExit(1)


def any_of_all(*flags: bool) -> list[bool]:
    """For each flag, whether it is set in any process; waits for all of them."""
    if world_size() == 1:
        return list(flags)
    told = torch.tensor(flags, dtype=torch.int32)
    dist.all_reduce(told, dist.ReduceOp.MAX)
    return told.bool().tolist()


def barrier() -> None:
    """Waits until every process has come here."""
    any_of_all(True)


def mean_of_all(value: Tensor) -> Tensor:
    """The mean of ``value`` over the processes."""
    if world_size() == 1:
        return value
    total = value.detach().clone()
    dist.all_reduce(total)
    return total / world_size()


def rows_of_all(*tensors: Tensor, even: bool = False) -> tuple[list[Tensor], slice]:
    """The rows of all processes, in the order of ranks, and where in them this one's are. No gradient passes through.

    Args:
        tensors: (n, ...) each; n is the same for all of one process, and may differ between processes.
        even: n is known to be the same in all of them; otherwise they tell each other first.
    """
    count = len(tensors[0])
    if world_size() == 1:
        return list(tensors), slice(0, count)
    counts = [count] * world_size()
    if not even:
        where = "cpu" if "cpu:gloo" in dist.get_backend_config() else tensors[0].device
        counts = _gathered(torch.tensor([count], device=where), [1] * world_size()).tolist()
    start = sum(counts[: rank()])
    return [_gathered(rows, counts) for rows in tensors], slice(start, start + count)


def _gathered(rows: Tensor, counts: list[int]) -> Tensor:
    most = max(counts)  # every process must send as much: what is shorter is filled up, and cut again
    padding = rows.new_zeros(most - len(rows), *rows.shape[1:])
    sent = torch.cat([rows.detach(), padding]) if len(padding) else rows.detach().contiguous()
    parts = [torch.empty_like(sent) for _ in counts]
    dist.all_gather(parts, sent)
    return torch.cat([part[:count] for part, count in zip(parts, counts, strict=True)])


def objects_of_all(value: Any) -> list[Any]:
    """The ``value`` of every process, in the order of ranks; anything that pickles."""
    if world_size() == 1:
        return [value]
    values: list[Any] = [None] * world_size()
    dist.all_gather_object(values, value)
    return values
