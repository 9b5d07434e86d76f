"""What a run's data are, in a few letters: so that processes on several machines can tell that theirs are the same."""

import hashlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from .splits import ZSLSplit


def fingerprints(
    split: ZSLSplit, image_paths: Sequence[Path] | None, attribute_embeddings: np.ndarray | None
) -> dict[str, str]:
    """Hashes, by name, of all that a training reads; of images their recorded names and sizes.

    Args:
        split: of the files.
        image_paths: of trainval, then test_unseen, then test_seen; None for features.
        attribute_embeddings: (K, E), or None.
    """
    indices = split.trainval, split.test_unseen, split.test_seen
    found = {"the split": _hash(split.labels, *indices), "the signatures": _hash(split.signatures)}
    found["the class names"] = _hash(np.array(split.class_names))
    if image_paths is None:
        found["the features"] = _hash(split.features)
    else:
        names = np.array([split.image_files[i] for i in np.concatenate(indices)])
        found["the images"] = _hash(names, np.array([path.stat().st_size for path in image_paths]))
    if attribute_embeddings is not None:
        found["the word vectors"] = _hash(attribute_embeddings)
    return found


def _hash(*arrays: np.ndarray) -> str:
    found = hashlib.sha256()
    for array in arrays:
        found.update(f"{array.dtype} {array.shape}".encode())
        found.update(np.ascontiguousarray(array).view(np.uint8).data)
    return found.hexdigest()[:12]
