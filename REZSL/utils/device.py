"""Choosing the device."""

import torch

from .errors import ConfigError


def resolve_device(name: str) -> torch.device:
    """Returns the device called ``name``; ``auto`` is cuda if there is one, else cpu.

    Raises:
        ConfigError: an explicit cuda device that is not there.
    """
    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if name == "auto":
        name = "cuda" if count else "cpu"
    device = torch.device(name)
    if device.type == "cuda" and (device.index or 0) >= count:
        raise ConfigError(f"MODEL.DEVICE is {name}, but torch sees {count} CUDA devices: set MODEL.DEVICE auto or cpu")
    return device


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
