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
