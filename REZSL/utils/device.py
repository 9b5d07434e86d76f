"""Choosing the device."""

import torch

from .errors import ConfigError


def resolve_device(name: str) -> torch.device:
    """Returns the device called ``name``; ``auto`` is cuda if there is one, else cpu.

    A cuda device without a number is the current one, which :func:`REZSL.utils.distributed.start` sets.

    Raises:
        ConfigError: an explicit cuda device that is not there.
    """
    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if name == "auto":
        name = "cuda" if count else "cpu"
    device = torch.device(name)
    if name == "cuda" and count:
        device = torch.device("cuda", torch.cuda.current_device())
    if device.type == "cuda" and (device.index or 0) >= count:
        raise ConfigError(f"MODEL.DEVICE is {name}, but torch sees {count} CUDA devices: set MODEL.DEVICE auto or cpu")
    return device


def allow_tf32(on: bool, device: torch.device) -> None:
    """Lets float32 products and convolutions on ``device`` round to TF32, or forbids it.

    Raises:
        ConfigError: it is allowed on a device that is not CUDA.
    """
    if on and device.type != "cuda":
        raise ConfigError(f"TF32 is True, but that is a precision of CUDA devices, and this is {device}")
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = on
