"""What a data set is to the other parts."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from torch.utils.data import DataLoader

from .splits import ZSLSplit


@dataclass(frozen=True, eq=False)
class Data:
    """Everything the other parts need to know of a data set.

    Attributes:
        split: classes, signatures and image numbers.
        train_loader: batches ``(inputs, labels)`` of trainval.
        test_loader: every test image once, in the order of ``test_indices``; of several processes each has every n-th.
        test_indices: image numbers, test_unseen then test_seen.
        image_paths: of trainval, then in the order of ``test_indices``; None for features.
        attribute_embeddings: (K, E) float32, or None where the config does not ask for word vectors.
        groups: attribute groups, or None where no loss term needs them.
        feature_dim: D of the features, or None for images.
    """

    split: ZSLSplit
    train_loader: DataLoader
    test_loader: DataLoader
    test_indices: np.ndarray
    image_paths: list[Path] | None
    attribute_embeddings: np.ndarray | None
    groups: list[list[int]] | None
    feature_dim: int | None
