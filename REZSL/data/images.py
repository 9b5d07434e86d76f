"""Checking images, keeping them, and the one data set class over images, features or tokens."""

import logging
import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from math import prod
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset
from tqdm import tqdm

from REZSL.utils.errors import DataError

from .cache import ArrayCache, file_stamp, open_cache, size_text, warn_once
from .image_file import decoding_problem
from .transforms import ImageTransform

log = logging.getLogger(__name__)

Answer = TypeVar("Answer")


def load_image(path: str | os.PathLike, transform: ImageTransform) -> Tensor:
    """Reads an image as far as ``transform`` is the same each time: resized where that makes it smaller."""
    image = transform.reader.read(path, transform.side)
    return image if _is_small(image.shape[1:], transform) else transform.resize(image)


def loaded_shape(path: str | os.PathLike, transform: ImageTransform) -> tuple[int, int]:
    """The (H, W) of what :func:`load_image` gives, without decoding the image where its format allows that."""
    shape = transform.reader.shape(path, transform.side)
    return shape if _is_small(shape, transform) else transform.resized_shape(*shape)


def _is_small(shape: tuple[int, int], transform: ImageTransform) -> bool:
    return prod(shape) <= prod(transform.resized_shape(*shape))


def check_images(paths: Sequence[str | os.PathLike]) -> None:
    """Decodes every image once, coarsely, so that a damaged one is named before training rather than hours into it.

    Raises:
        DataError: with the number of damaged images and the first of them.
    """
    problems = map_images(decoding_problem, paths)
    damaged = [f"{path} ({problem})" for path, problem in zip(paths, problems, strict=True) if problem]
    if damaged:
        raise DataError(f"{len(damaged)} of {len(paths)} images do not decode, the first is {damaged[0]}")


def map_images(function: Callable[[Any], Answer], paths: Sequence[str | os.PathLike]) -> list[Answer]:
    """Calls ``function`` on every path, in parallel and behind a progress bar; returns its answers in order."""
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        answers = pool.map(function, paths, chunksize=64)
        return list(tqdm(answers, total=len(paths), desc="checking images", unit=" images", disable=None, leave=False))


def open_image_cache(
    parts: Sequence[tuple[Sequence[Path], ImageTransform]],
    kind: str,
    folder: str | os.PathLike,
    name: str,
    limit: float,
) -> ArrayCache:
    """A place for each image of the parts, one after the other, as :func:`load_image` makes it.

    Args:
        parts: image paths, and the transform that they are loaded for.
        kind: ``ram`` or ``disk``; this and the others as of :func:`~REZSL.data.cache.open_cache`.
        folder: of the file.
        name: begins its name.
        limit: bytes.
    """
    shapes = [
        (*shape, 3)
        for paths, transform in parts
        for shape in map_images(partial(loaded_shape, transform=transform), paths)
    ]
    key = f"images {[(transform.look, len(paths)) for paths, transform in parts]}"
    cache = open_cache(kind, folder, name, key, shapes, torch.uint8, limit)
    where = "memory" if cache.path is None else cache.path
    log.info("%d of %d images are kept in %s, %s", len(cache.shapes), len(shapes), where, size_text(cache.size))
    return cache


class ZSLDataset(Dataset):
    """Images, features or tokens with their labels, fetched a batch at a time.

    Indexed by a list of image numbers, or of (image number, seed) pairs: the seed decides the random parts of the
    transform. Returns ``(inputs, labels)``: inputs (B, 3, size, size) uint8, or rows of the array; labels (B,) int64.

    Args:
        inputs: n image paths, an array of n rows, or None: the rows are the arrays of ``cache``.
        labels: (n,) class rows.
        transform: uint8 tensor (3, H, W) to one of equal size for all; images only.
        cache: of images, keeps what :func:`load_image` makes; otherwise holds the rows.
        places: (n,) the number of each image, or row, in the cache; None: 0 to n-1.
    """

    def __init__(
        self,
        inputs: Sequence[str | os.PathLike] | np.ndarray | None,
        labels: np.ndarray,
        transform: ImageTransform | None = None,
        cache: ArrayCache | None = None,
        places: np.ndarray | None = None,
    ) -> None:
        if inputs is not None and len(inputs) != len(labels):
            raise ValueError(f"{len(inputs)} inputs for {len(labels)} labels")
        self.labels = torch.from_numpy(np.asarray(labels, np.int64))
        self.features = torch.from_numpy(inputs) if isinstance(inputs, np.ndarray) else None
        self.paths = None if isinstance(inputs, np.ndarray | None) else [os.fspath(path) for path in inputs]
        if self.paths is not None and transform is None:
            raise ValueError("images need a transform")
        self.transform, self.cache = transform, cache
        self.places = np.arange(len(labels)) if places is None else places

    def __len__(self) -> int:
        return len(self.labels)

    def __getitems__(self, keys: Sequence[int | tuple[int, int]]) -> tuple[Tensor, Tensor]:
        indices = [key[0] if isinstance(key, tuple) else key for key in keys]
        if self.features is not None:
            return self.features[indices], self.labels[indices]
        if self.paths is None:
            return self.cache.stacked()[torch.from_numpy(self.places[indices])], self.labels[indices]
        with torch.random.fork_rng(devices=[]):
            images = [self._image(key) for key in keys]
        rows = torch.stack([image.permute(1, 2, 0) for image in images])  # as decoded, colours last: no transposing
        return rows.permute(0, 3, 1, 2), self.labels[indices]

    def __getitem__(self, key: int | tuple[int, int]) -> tuple[Tensor, Tensor]:
        inputs, labels = self.__getitems__([key])
        return inputs[0], labels[0]

    def stamp(self, index: int) -> int:
        """Says what image ``index`` looks like before anything is drawn: it changes with its file and the transform."""
        try:
            return file_stamp(self.paths[index], self.transform.look)
        except OSError as error:
            raise DataError(f"the image {self.paths[index]} cannot be read: {error.strerror}") from None

    def _image(self, key: int | tuple[int, int]) -> Tensor:
        if not isinstance(key, tuple):
            return self.transform(self._load(key))
        index, seed = key
        torch.default_generator.manual_seed(seed)  # that of the CPU alone: much quicker than torch.manual_seed
        return self.transform(self._load(index))

    def _load(self, index: int) -> Tensor:
        path = self.paths[index]
        if self.cache is None:
            return load_image(path, self.transform)
        place, stamp = int(self.places[index]), self.stamp(index)
        kept = self.cache.get(place, stamp)
        if kept is not None:
            return kept.permute(2, 0, 1)
        image = load_image(path, self.transform)
        rows = image.permute(1, 2, 0)
        if place < len(self.cache.shapes) and rows.shape != self.cache.shapes[place]:
            warn_once(f"the image {path} has changed its size since this run began: it is read anew each time")
        else:
            self.cache.put(place, stamp, rows)
        return image
