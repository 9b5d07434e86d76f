"""Choosing the device, and what it can do."""

import warnings

import torch
from torch import Tensor

from .errors import ConfigError, first_line


def resolve_device(name: str) -> torch.device:
    """Returns the device called ``name``; ``auto`` is cuda if there is one, else cpu.

    Raises:
        ConfigError: a cuda device, or ``mps`` (the GPU of Apple's processors), that is not there.
    """
    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if name == "auto":
        name = "cuda" if count else "cpu"
    device = torch.device(name)
    if device.type == "cuda" and (device.index or 0) >= count:
        raise ConfigError(f"MODEL.DEVICE is {name}, but torch sees {count} CUDA devices: set MODEL.DEVICE auto or cpu")
    if device.type == "mps" and not torch.backends.mps.is_available():
        raise ConfigError("MODEL.DEVICE is mps, but torch sees no GPU of Apple's here: set MODEL.DEVICE auto or cpu")
    return device


def to_device(tensor: Tensor, device: torch.device) -> Tensor:
    """Returns ``tensor`` on ``device``; only CUDA is not waited for: Apple GPUs may then read what is gone already."""
    return tensor.to(device, non_blocking=device.type == "cuda")


def check_precision(dtype: torch.dtype, device: torch.device) -> None:
    """Tries on two numbers what a training in ``dtype`` needs: older systems of Apple, for one, know no bfloat16.

    Raises:
        ConfigError: ``device`` cannot, or would compute in another precision in silence.
    """
    if dtype == torch.float32:
        return
    try:
        with warnings.catch_warnings(), torch.autocast(device.type, dtype):
            warnings.simplefilter("ignore")
            numbers = torch.ones(2, 2, device=device, requires_grad=True)
            product = numbers @ numbers
        problem = "" if product.dtype == dtype else f"it computes in {product.dtype}"
        scaler = torch.amp.GradScaler(device.type, enabled=dtype == torch.float16)
        scaler.scale(product.float().sum()).backward()
        scaler.step(torch.optim.SGD([numbers], lr=0.1))
        scaler.update()
    except Exception as error:  # each kind of device says so in its own way
        problem = first_line(error)
    if problem:
        name = str(dtype).removeprefix("torch.")
        raise ConfigError(f"DTYPE is {name}, which {device} cannot ({problem}): set DTYPE float32")


def allow_tf32(where: str, device: torch.device) -> None:
    """Says where float32 computations on a CUDA device may round their factors to TF32.

    Args:
        where: ``convolutions`` (as torch has it), ``always`` (matrix products too) or ``never``.
        device: where the computations are.

    Raises:
        ConfigError: another wish than ``convolutions`` for a device that is not CUDA.
    """
    if where != "convolutions" and device.type != "cuda":
        raise ConfigError(f"TF32 is {where!r}, but that is a precision of CUDA devices, and this is {device}")
    torch.backends.cudnn.allow_tf32 = where != "never"
    torch.backends.cuda.matmul.allow_tf32 = where == "always"
