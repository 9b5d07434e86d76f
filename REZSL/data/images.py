"""Finding images, checking them, and the one data set class over images or features."""

import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from pathlib import Path
from typing import Any, BinaryIO, TypeVar

import numpy as np
import torch
from PIL import Image
from torch.utils.data import Dataset
from tqdm import tqdm

from REZSL.utils.errors import DataError, first_line

Answer = TypeVar("Answer")


def find_images(recorded: Sequence[str], folder: str | os.PathLike) -> list[Path]:
    """Finds each recorded image under ``folder`` as :func:`locate_images` does, and insists on all of them.

    Raises:
        DataError: with the number of images not found and the first of them.
    """
    found = locate_images(recorded, folder)
    missing = [path for path, place in zip(recorded, found, strict=True) if place is None]
    if missing:
        raise DataError(
            f"{len(missing)} of {len(recorded)} images are not under {folder}, the first is recorded as {missing[0]}: "
            f"complete the folder, or set DATASETS.IMAGE_ROOT"
        )
    return found


def locate_images(recorded: Sequence[str], folder: str | os.PathLike) -> list[Path | None]:
    """Looks under ``folder`` for the longest tail of each recorded path that exists there, never outside it.

    ``/their/disk/CUB_200_2011/images/001.A/1.jpg`` is found as ``folder/CUB_200_2011/images/001.A/1.jpg``.

    Returns:
        One path for each of ``recorded``, or None where it is not there.

    Raises:
        DataError: there is no ``folder``.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise DataError(f"the image folder {folder} is missing: put the images there, or set DATASETS.IMAGE_ROOT")

    @cache
    def names_in(directory: Path) -> frozenset[str]:
        with os.scandir(directory) as entries:
            return frozenset(entry.name for entry in entries if entry.is_file())

    @cache
    def directories(parts: tuple[str, ...]) -> list[Path]:
        """The tails of a recorded folder that exist, longest first."""
        tails = (folder.joinpath(*parts[i:]) for i in range(len(parts) + 1))
        return [tail for tail in tails if tail.is_dir()]

    found = []
    for path in recorded:
        parts = [part for part in path.replace("\\", "/").split("/") if part not in ("", ".")]
        if ".." in parts:  # only what follows the last '..' can be a tail inside the folder
            parts = parts[len(parts) - parts[::-1].index("..") :]
        name = parts.pop() if parts else ""
        place = next((d for d in directories(tuple(parts)) if name in names_in(d)), None)
        found.append(None if place is None else place / name)
    return found


def read_image(path: str | os.PathLike) -> Image.Image:
    """Decodes an image to RGB; raises ``DataError`` naming the file."""
    try:
        with Image.open(path) as image:
            return image.convert("RGB")
    except Exception as error:  # Pillow raises many kinds for damaged files
        raise DataError(f"the image {path} does not decode: {first_line(error)}") from None


def check_images(paths: Sequence[str | os.PathLike]) -> None:
    """Decodes every image once, coarsely, so that a damaged one is named before training rather than hours into it.

    Raises:
        DataError: with the number of damaged images and the first of them.
    """

    problems = map_images(decoding_problem, paths)
    damaged = [f"{path} ({problem})" for path, problem in zip(paths, problems, strict=True) if problem]
    if damaged:
        raise DataError(f"{len(damaged)} of {len(paths)} images do not decode, the first is {damaged[0]}")


def decoding_problem(file: str | os.PathLike | BinaryIO) -> str | None:
    """Decodes an image coarsely and returns what is wrong with it, if anything, in one line."""
    try:
        with Image.open(file) as image:
            image.draft("RGB", (1, 1))  # JPEG: read all the data, but decode at 1/8 size
            image.load()
    except Exception as error:  # Pillow raises many kinds for damaged files
        return first_line(error)
    return None


def map_images(function: Callable[[Any], Answer], paths: Sequence[str | os.PathLike]) -> list[Answer]:
    """Calls ``function`` on every path, in parallel and behind a progress bar; returns its answers in order."""
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        answers = pool.map(function, paths, chunksize=64)
        return list(tqdm(answers, total=len(paths), desc="checking images", unit=" images", disable=None, leave=False))


class ZSLDataset(Dataset):
    """Images or features with their labels, fetched a batch at a time.

    Indexed by a list of image numbers, or of (image number, seed) pairs: the seed decides the random parts of the
    transform. Returns ``(inputs, labels)``: inputs (B, 3, size, size) uint8 or (B, D) float32, labels (B,) int64.

    Args:
        inputs: n image paths, or an (n, D) feature array.
        labels: (n,) class rows.
        transform: PIL image to tensor; images only.
    """

    def __init__(
        self,
        inputs: Sequence[str | os.PathLike] | np.ndarray,
        labels: np.ndarray,
        transform: Callable[[Image.Image], torch.Tensor] | None = None,
    ) -> None:
        if len(inputs) != len(labels):
            raise ValueError(f"{len(inputs)} inputs for {len(labels)} labels")
        self.labels = torch.from_numpy(np.asarray(labels, np.int64))
        self.features = torch.from_numpy(inputs) if isinstance(inputs, np.ndarray) else None
        self.paths = None if isinstance(inputs, np.ndarray) else [os.fspath(path) for path in inputs]
        if self.paths is not None and transform is None:
            raise ValueError("images need a transform")
        self.transform = transform

    def __len__(self) -> int:
        return len(self.labels)

    def __getitems__(self, keys: Sequence[int | tuple[int, int]]) -> tuple[torch.Tensor, torch.Tensor]:
        indices = [key[0] if isinstance(key, tuple) else key for key in keys]
        if self.features is not None:
            return self.features[indices], self.labels[indices]
        return torch.stack([self._image(key) for key in keys]), self.labels[indices]

    def __getitem__(self, key: int | tuple[int, int]) -> tuple[torch.Tensor, torch.Tensor]:
        inputs, labels = self.__getitems__([key])
        return inputs[0], labels[0]

    def _image(self, key: int | tuple[int, int]) -> torch.Tensor:
        if not isinstance(key, tuple):
            return self.transform(read_image(self.paths[key]))
        index, seed = key
        image = read_image(self.paths[index])
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            return self.transform(image)
