"""The xlsa17 files (Xian et al., TPAMI 2018) read into a frozen :class:`ZSLSplit`.

The only place that knows the files' keys, their 1-based indices and the renumbering of classes.
"""

import logging
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np

from REZSL.utils.errors import DataError

from .matfile import MatFile
from .recorded import PARTS, VALIDATION_PARTS, XlsaFiles, contradictions

log = logging.getLogger(__name__)

SIGNATURE_KEYS = {"original": "original_att", "normalized": "att"}


@dataclass(frozen=True, eq=False)
class ZSLSplit:
    """A data set divided into seen and unseen classes.

    Attributes:
        name: the data set's name.
        signatures: (C, K) float32, one row a class: seen classes first, then unseen, each in ascending original id.
        num_seen: number of seen classes; rows ``[num_seen:]`` are unseen.
        class_ids: (C,) original 0-based class id of each row.
        class_names: C names, or the original 1-based ids as text where the file has none.
        labels: (n,) row number of ``signatures`` for every image of the file; -1: the class is in no split.
        trainval: (n_trainval,) image numbers to train on, all of seen classes.
        test_seen: image numbers of seen classes held out for the test.
        test_unseen: image numbers of unseen classes.
        train: images of the training classes of the class-disjoint train/val split, within ``trainval``; may be empty.
        val: images of its validation classes, within ``trainval``; may be empty.
        image_files: n paths as recorded by whoever made the file, or empty.
        features: (n, D) float32, or None.
    """

    name: str
    signatures: np.ndarray
    num_seen: int
    class_ids: np.ndarray
    class_names: tuple[str, ...]
    labels: np.ndarray
    trainval: np.ndarray
    test_seen: np.ndarray
    test_unseen: np.ndarray
    train: np.ndarray
    val: np.ndarray
    image_files: tuple[str, ...] = field(repr=False)
    features: np.ndarray | None = field(default=None, repr=False)

    @property
    def seen_classes(self) -> np.ndarray:
        """(C_seen,) row numbers of the seen classes."""
        return np.arange(self.num_seen)

    @property
    def unseen_classes(self) -> np.ndarray:
        """(C_unseen,) row numbers of the unseen classes."""
        return np.arange(self.num_seen, len(self.signatures))

    @property
    def num_attributes(self) -> int:
        """K."""
        return self.signatures.shape[1]

    def summary(self) -> str:
        """One line of sizes."""
        return (
            f"{self.name}: {len(self.trainval)} trainval + {len(self.test_seen)} test_seen + "
            f"{len(self.test_unseen)} test_unseen images, {self.num_seen} seen + "
            f"{len(self.unseen_classes)} unseen classes, {self.num_attributes} attributes"
        )


def read_xlsa(root: str | Path, name: str, semantic: str = "original", with_features: bool = False) -> XlsaFiles:
    """Reads ``root/xlsa17/data/name/{res101,att_splits}.mat`` without stopping at what is missing or damaged.

    Args: those of :func:`load_split`.
    """
    folder = Path(root) / "xlsa17" / "data" / name
    unreadable: list[str] = []

    def attempt(read: Callable, *arguments: Any) -> Any:
        try:
            return read(*arguments)
        except DataError as error:
            unreadable.append(str(error))
            return None

    splits = attempt(MatFile, folder / "att_splits.mat")
    images = attempt(MatFile, folder / "res101.mat", () if with_features else ("features",))
    signatures, rows = None, {}
    if splits:
        signatures = attempt(_signatures, splits, semantic)
        has_validation = {f"{part}_loc" for part in VALIDATION_PARTS} <= set(splits.content)
        rows = {
            part: numbers - 1
            for part in PARTS + VALIDATION_PARTS * has_validation
            if (numbers := attempt(splits.integers, f"{part}_loc")) is not None
        }
    labels = attempt(images.integers, "labels") if images else None
    unknown = signatures == -1 if signatures is not None and semantic == "original" else np.zeros(0, bool)
    return XlsaFiles(
        splits_path=folder / "att_splits.mat",
        images_path=folder / "res101.mat",
        signature_key=SIGNATURE_KEYS[semantic],
        signatures=np.where(unknown, 0.0, signatures) if unknown.any() else signatures,
        num_unknown=int(unknown.sum()),
        class_names=splits.strings("allclasses_names") if splits else (),
        class_of=None if labels is None else labels - 1,
        image_files=images.strings("image_files") if images else (),
        rows=rows,
        features=attempt(_features, images) if images and with_features else None,
        unreadable=tuple(unreadable),
    )


def load_split(root: str | Path, name: str, semantic: str = "original", with_features: bool = False) -> ZSLSplit:
    """Reads ``root/xlsa17/data/name/{res101,att_splits}.mat``.

    Args:
        root: folder that holds ``xlsa17``.
        name: any data set with those two files.
        semantic: ``original`` takes ``original_att``, ``normalized`` takes ``att``.
        with_features: also read ``features``.

    Raises:
        DataError: a file or key is missing, damaged or contradicts another; says which, where, and what to do.
    """
    files = read_xlsa(root, name, semantic, with_features)
    for problem in chain(files.unreadable, (message for _, message in contradictions(files))):
        raise DataError(problem)
    if files.num_unknown:
        message = "%s: %d entries of %s are -1 (unknown) and read as 0"
        log.warning(message, files.splits_path, files.num_unknown, files.signature_key)

    num_classes, num_seen = len(files.signatures), len(files.classes("trainval"))
    names = files.class_names or tuple(str(c + 1) for c in range(num_classes))
    class_ids = np.concatenate([files.classes("trainval"), files.classes("test_unseen")])
    row_of = np.full(num_classes, -1, np.int64)
    row_of[class_ids] = np.arange(len(class_ids))
    train, val = _train_val(files)
    return ZSLSplit(
        name=name,
        signatures=files.signatures[class_ids].astype(np.float32),
        num_seen=num_seen,
        class_ids=class_ids,
        class_names=tuple(names[c] for c in class_ids),
        labels=row_of[files.class_of],
        trainval=files.rows["trainval"],
        test_seen=files.rows["test_seen"],
        test_unseen=files.rows["test_unseen"],
        train=train,
        val=val,
        image_files=files.image_files,
        features=files.features,
    )


def _signatures(splits: MatFile, semantic: str) -> np.ndarray:
    key, other = SIGNATURE_KEYS[semantic], next(k for s, k in SIGNATURE_KEYS.items() if s != semantic)
    if key not in splits.content and other in splits.content:
        setting = next(s for s, k in SIGNATURE_KEYS.items() if k == other)
        raise DataError(f"{splits.path} has no {key!r} but has {other!r}: set DATASETS.SEMANTIC {setting}")
    signatures = splits[key].T  # (C, K)
    if signatures.ndim != 2 or signatures.dtype.kind not in "iuf":
        raise DataError(f"{splits.path}: {key} must be numbers (K, C), got {signatures.dtype} {signatures.T.shape}")
    return signatures.astype(np.float64)


def _features(images: MatFile) -> np.ndarray:
    if "features" not in images.content:
        raise DataError(f"{images.path} has no 'features': set DATASETS.INPUT images, or take a file with features")
    features = images["features"].T  # (n, D)
    if features.ndim != 2 or features.dtype.kind not in "iuf":
        raise DataError(f"{images.path}: features must be numbers (D, n), got {features.dtype} {features.T.shape}")
    return np.ascontiguousarray(features, np.float32)


def _train_val(files: XlsaFiles) -> tuple[np.ndarray, np.ndarray]:
    """The class-disjoint split, kept inside trainval: files in circulation list test_seen images there."""
    parts = []
    for part in VALIDATION_PARTS:
        rows = files.images(part)
        inside = np.intersect1d(rows, files.images("trainval"))
        if len(inside) < len(rows):
            log.warning(
                "%s: %d of the %d rows of %s_loc lie outside trainval_loc and are dropped",
                files.splits_path, len(rows) - len(inside), len(rows), part,
            )  # fmt: skip
        parts.append(inside)
    return parts[0], parts[1]
