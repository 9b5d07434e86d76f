"""A split within trainval, to choose on: its unseen classes are validation classes, so no test image is looked at."""

from dataclasses import replace

import numpy as np

from REZSL.utils.errors import DataError
from REZSL.utils.seeding import derive_seed

from .splits import ZSLSplit

VAL_CLASSES = 1 / 3  # of the seen classes, as CUB (50 of 150) and AWA2 (13 of 40) have it (Xian et al., TPAMI 2018)
HELD_OUT = 1 / 5  # of the images of each training class, as test_seen is of the seen classes' images (ibid.)


def validation_split(split: ZSLSplit, seed: int) -> ZSLSplit:
    """Returns the split that stands for ``split`` while something is chosen.

    Its unseen classes are the validation classes, with all their trainval images; its seen classes are the training
    classes, a fifth of whose images is held out as test_seen, drawn by ``seed``. Where the files have no train and val
    classes, a third of the seen classes, drawn by ``seed``, validates. Nothing is held out where ``split`` has no
    test_seen images.

    Raises:
        DataError: too few classes or images to divide.
    """
    rng = np.random.default_rng(derive_seed(seed, 0x76616C))
    if len(split.train) and len(split.val):
        train, val = split.train, split.val
    else:
        classes = rng.permutation(split.num_seen)
        is_val = np.isin(split.labels[split.trainval], classes[: round(VAL_CLASSES * split.num_seen)])
        train, val = split.trainval[~is_val], split.trainval[is_val]
    seen, unseen = np.unique(split.labels[train]), np.unique(split.labels[val])
    if not len(seen) or not len(unseen):
        raise DataError(f"{split.name}: {split.num_seen} seen classes are too few for validation classes")
    held_out = train[:0]
    if len(split.test_seen):  # without, T1 alone is of interest, and every image trains
        held_out = np.concatenate([_drawn(train[split.labels[train] == c], rng) for c in seen])
    if len(split.test_seen) and not len(held_out):
        raise DataError(f"{split.name}: no training class has an image to spare for validation")

    rows = np.concatenate([seen, unseen])
    row_of = np.full(len(split.signatures) + 1, -1)  # one more, for the -1 of images in no split
    row_of[rows] = np.arange(len(rows))
    none = np.empty(0, np.int64)
    return replace(
        split,
        name=f"{split.name} (validation)",
        signatures=split.signatures[rows],
        num_seen=len(seen),
        class_ids=split.class_ids[rows],
        class_names=tuple(split.class_names[row] for row in rows),
        labels=row_of[split.labels],
        trainval=np.setdiff1d(train, held_out),
        test_seen=np.sort(held_out),
        test_unseen=np.sort(val),
        train=none,
        val=none,
    )


def _drawn(images: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """A fifth of ``images``, at least one, but never all."""
    return rng.permutation(images)[: min(max(1, round(HELD_OUT * len(images))), len(images) - 1)]
