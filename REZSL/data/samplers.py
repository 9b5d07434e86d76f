"""Batch samplers with their own generator: an epoch's batches depend on (seed, epoch) alone."""

import logging
from collections.abc import Iterator
from itertools import islice

import numpy as np
import torch
from torch.utils.data import Sampler

from REZSL.utils.errors import ConfigError
from REZSL.utils.seeding import derive_seed

log = logging.getLogger(__name__)

BATCH_STREAM, IMAGE_STREAM = 0, 1  # which of a seed's independent streams


class _EpochSampler(Sampler[list]):
    """Yields ``num_batches`` batches; ``set_epoch`` chooses which epoch's, and where in it to start."""

    def __init__(self, num_batches: int, seed: int) -> None:
        self.num_batches = num_batches
        self.seed = seed
        self.epoch = self.start = 0

    def set_epoch(self, epoch: int, start: int = 0) -> None:
        """Makes the next iteration that of ``epoch`` (0-based), without its first ``start`` batches."""
        self.epoch, self.start = epoch, start

    def __iter__(self) -> Iterator[list]:
        return islice(self.batches(), self.start, None)

    def batches(self) -> Iterator[list]:
        """All batches of the epoch."""
        raise NotImplementedError

    def __len__(self) -> int:
        return self.num_batches

    def _generator(self, stream: int) -> torch.Generator:
        return torch.Generator().manual_seed(derive_seed(self.seed, self.epoch, stream))


class EpisodicBatchSampler(_EpochSampler):
    """Batches of episodes: ``ways`` distinct classes with ``shots`` distinct images of each.

    A class with fewer images than ``shots`` gives every image once before any twice; the log says so at the start.

    Args:
        labels: (n,) class of each image, any integers.
        ways: classes an episode.
        shots: images a class in an episode.
        num_batches: batches an epoch.
        episodes_per_batch: episodes joined into one batch; a class may recur between, not within, episodes.
        seed: together with the epoch it decides every batch.

    Raises:
        ConfigError: there are fewer than ``ways`` classes.
    """

    def __init__(
        self, labels: np.ndarray, ways: int, shots: int, num_batches: int, episodes_per_batch: int = 1, seed: int = 0
    ) -> None:
        super().__init__(num_batches, seed)
        self.ways, self.shots, self.episodes_per_batch = ways, shots, episodes_per_batch
        classes, class_of, counts = np.unique(np.asarray(labels), return_inverse=True, return_counts=True)
        if ways > len(classes):
            raise ConfigError(f"DATASETS.WAYS is {ways}, but there are only {len(classes)} training classes")
        scarce = int((counts < shots).sum())
        if scarce:
            log.warning(
                "%d of %d classes have fewer than %d images (DATASETS.SHOTS); theirs are drawn with repetition",
                scarce, len(classes), shots,
            )  # fmt: skip
        order = np.argsort(class_of, kind="stable")
        first = np.cumsum(counts) - counts
        column = np.arange(len(order)) - first[class_of[order]]
        members = np.zeros((len(classes), counts.max()), np.int64)  # row c: the images of class c, then padding
        members[class_of[order], column] = order
        self._members = torch.from_numpy(members)
        self._counts = torch.from_numpy(counts)

    def batches(self) -> Iterator[list[int]]:
        """All batches of the epoch."""
        generator = self._generator(BATCH_STREAM)
        for _ in range(self.num_batches):
            yield [i for _ in range(self.episodes_per_batch) for i in self._episode(generator)]

    def _episode(self, generator: torch.Generator) -> list[int]:
        chosen = torch.randperm(len(self._counts), generator=generator)[: self.ways]
        counts = self._counts[chosen, None]  # (ways, 1)
        members = self._members[chosen]  # (ways, most)
        keys = torch.rand(members.shape, generator=generator)
        keys.masked_fill_(torch.arange(members.shape[1]) >= counts, 2.0)  # padding sorts last
        columns = keys.argsort(1).gather(1, torch.arange(self.shots).expand(self.ways, -1) % counts)  # (ways, shots)
        return members.gather(1, columns).flatten().tolist()


class RandomBatchSampler(_EpochSampler):
    """Batches drawn without replacement; when the images run out, the next pass over them begins.

    Args:
        num_samples: number of images.
        batch_size: images a batch.
        num_batches: batches an epoch.
        seed: together with the epoch it decides every batch.
    """

    def __init__(self, num_samples: int, batch_size: int, num_batches: int, seed: int = 0) -> None:
        super().__init__(num_batches, seed)
        if num_samples < 1:
            raise ValueError(f"num_samples must be 1 or more, got {num_samples}")
        self.num_samples, self.batch_size = num_samples, batch_size

    def batches(self) -> Iterator[list[int]]:
        """All batches of the epoch."""
        generator = self._generator(BATCH_STREAM)
        waiting: list[int] = []
        for _ in range(self.num_batches):
            while len(waiting) < self.batch_size:
                waiting += torch.randperm(self.num_samples, generator=generator).tolist()
            yield waiting[: self.batch_size]
            del waiting[: self.batch_size]


class SeededBatches(Sampler[list]):
    """Pairs every image number of a ``sampler``'s batches with a seed for its augmentation.

    So what an image looks like does not depend on which worker loads it, or on how many there are.

    Args:
        sampler: gives the global batches.
        rank: of this process, whose part of every batch is yielded.
        world_size: processes that divide each batch, in equal parts, in order: whole episodes where they divide so.
    """

    def __init__(self, sampler: _EpochSampler, rank: int = 0, world_size: int = 1) -> None:
        self.sampler, self.rank, self.world_size = sampler, rank, world_size

    def set_epoch(self, epoch: int, start: int = 0) -> None:
        """Passes both on to the sampler inside."""
        self.sampler.set_epoch(epoch, start)

    def __len__(self) -> int:
        return len(self.sampler)

    def __iter__(self) -> Iterator[list[tuple[int, int]]]:
        return islice(self._pairs(), self.sampler.start, None)

    def _pairs(self) -> Iterator[list[tuple[int, int]]]:
        generator = self.sampler._generator(IMAGE_STREAM)
        for batch in self.sampler.batches():
            seeds = torch.randint(2**62, (len(batch),), generator=generator).tolist()
            share = len(batch) // self.world_size
            own = slice(self.rank * share, (self.rank + 1) * share)
            yield list(zip(batch, seeds, strict=True))[own]
