"""Random states: derived seeds, global seeding, saving and restoring."""

import math
import random

import numpy as np
import torch

from .errors import first_line


def derive_seed(*entropy: int) -> int:
    """Returns a 63-bit seed that depends on every one of the integers ``entropy`` (0..2^64-1) and on their order."""
    words = [word for number in entropy for word in divmod(number, 2**32)]  # so that (2^32,) differs from (0, 1)
    return int(np.random.SeedSequence(words).generate_state(1, np.uint64)[0]) >> 1


def seed_everything(seed: int) -> None:
    """Seeds Python, NumPy and torch (all devices) with ``seed`` (0 or more)."""
    random.seed(seed)
    np.random.seed(seed % 2**32)  # noqa: NPY002 - third-party code may draw from the global state
    torch.manual_seed(seed)


def random_states() -> dict:
    """Returns the states of the global generators as tensors and plain values, fit for a checkpoint."""
    name, keys, position, has_gauss, gauss = np.random.get_state()  # noqa: NPY002
    return {
        "python": random.getstate(),
        "numpy": (name, torch.from_numpy(keys.astype(np.int64)), position, has_gauss, gauss),
        "torch": torch.get_rng_state(),
        "cuda": torch.cuda.get_rng_state_all() if torch.cuda.is_available() else [],
    }


def restore_random_states(states: dict) -> None:
    """Puts the global generators back where :func:`random_states` found them."""
    version, internal, gauss_next = states["python"]
    random.setstate((version, tuple(internal), gauss_next))
    name, keys, position, has_gauss, gauss = states["numpy"]
    np.random.set_state((name, keys.numpy().astype(np.uint32), position, has_gauss, gauss))  # noqa: NPY002
    torch.set_rng_state(states["torch"])
    if torch.cuda.is_available() and len(states["cuda"]) == torch.cuda.device_count():
        torch.cuda.set_rng_state_all(states["cuda"])


def check_random_states(states: dict) -> None:
    """Raises ``ValueError`` where :func:`restore_random_states` could not take ``states``; no generator changes."""
    try:
        version, internal, gauss_next = states["python"]
        random.Random().setstate((version, tuple(internal), gauss_next))
        name, keys, position, has_gauss, gauss = states["numpy"]
        if type(position) is not int or not 0 <= position <= 624:  # NumPy would believe it
            raise ValueError(f"NumPy's generator is at {position!r:.100}")
        np.random.RandomState().set_state((name, keys.numpy().astype(np.uint32), position, has_gauss, gauss))
        torch.Generator().set_state(states["torch"])
        if torch.cuda.is_available() and len(states["cuda"]) == torch.cuda.device_count():
            for number, state in enumerate(states["cuda"]):
                torch.Generator(f"cuda:{number}").set_state(state)
        if not all(number is None or math.isfinite(number) for number in (gauss_next, gauss)):
            raise ValueError("a number that was drawn before is not finite")
    except Exception as error:  # each generator raises its own kinds
        raise ValueError(f"the random states are none: {first_line(error)}") from None
