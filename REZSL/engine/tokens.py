"""Tokens of a frozen backbone, computed once and read from then on."""

import hashlib
import logging
import os
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, Subset
from tqdm import tqdm

from REZSL.data import ArrayCache, ZSLDataset
from REZSL.utils.device import to_device
from REZSL.utils.distributed import barrier, is_main, main_first
from REZSL.utils.stopping import note_saved, stoppable

log = logging.getLogger(__name__)


def keep_tokens(
    backbone: nn.Module,
    sets: Sequence[ZSLDataset],
    opened: Callable[[str, tuple[int, int], torch.dtype], ArrayCache | None],
    device: torch.device,
    dtype: torch.dtype = torch.float32,
    **loader: Any,
) -> ArrayCache | None:
    """Computes the tokens of all images of ``sets`` that are not kept yet, each at its ``places``.

    A request to stop is met between batches; what was computed by then stays.

    Args:
        backbone: images to tokens (B, N, D), on ``device``; its mode is restored.
        sets: of images that look the same each time.
        opened: ``(key, (N, D), dtype) -> cache``, or None where there is no room: then nothing is computed.
        device: where the backbone is.
        dtype: precision of the forward pass.
        **loader: options of the loaders of images.
    """
    was_training = backbone.training
    backbone.eval()
    try:
        sample = _tokens(backbone, sets[0].__getitems__([0])[0], device, dtype)[0]
        key = f"tokens of {fingerprint(backbone)} on {device.type} in {dtype}, torch {torch.__version__}"
        with main_first():
            cache = opened(key, tuple(sample.shape), sample.dtype)
        if cache is None:
            return None
        for images in sets:
            _fill(backbone, images, cache, device, dtype, loader)
        barrier()
    finally:
        backbone.train(was_training)
    return cache


def fingerprint(module: nn.Module) -> str:
    """A hash of the structure and of every parameter and buffer of ``module``, even those that are not saved."""
    found = hashlib.sha256(repr(module).encode())
    for name, value in (*module.named_parameters(), *module.named_buffers()):
        found.update(f"{name} {value.dtype} {tuple(value.shape)}".encode())
        found.update(value.detach().cpu().reshape(-1).view(torch.uint8).numpy().data)
    return found.hexdigest()[:16]


def _fill(
    backbone: nn.Module, images: ZSLDataset, cache: ArrayCache, device: torch.device, dtype: torch.dtype, loader: dict
) -> None:
    local, processes = int(os.environ.get("LOCAL_RANK", 0)), int(os.environ.get("LOCAL_WORLD_SIZE", 1))
    own = range(local, len(images), processes)  # each machine computes all: its disk may be its own
    missing = [i for i in own if cache.get(int(images.places[i]), images.stamp(i)) is None]
    if not missing:
        return
    batches = DataLoader(Subset(images, missing), **loader)
    bar = tqdm(total=len(missing), desc="tokens", unit=" images", leave=False, disable=None if is_main() else True)
    done = 0
    with bar:
        for inputs, _ in stoppable(batches):
            tokens = _tokens(backbone, inputs, device, dtype).cpu()
            for i, own_tokens in zip(missing[done : done + len(tokens)], tokens, strict=True):
                cache.put(int(images.places[i]), images.stamp(i), own_tokens)
            done += len(tokens)
            bar.update(len(tokens))
            if cache.path is not None:
                note_saved(f"{cache.path} has the tokens of {done} images more")


@torch.inference_mode()
def _tokens(backbone: nn.Module, inputs: Tensor, device: torch.device, dtype: torch.dtype) -> Tensor:
    with torch.autocast(device.type, dtype, enabled=dtype != torch.float32):
        return backbone(to_device(inputs, device))
