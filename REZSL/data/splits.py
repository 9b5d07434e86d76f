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
from .signatures import SIGNATURE_KEYS, read_signatures

log = logging.getLogger(__name__)

SPLIT_KEYS = (*SIGNATURE_KEYS.values(), "allclasses_names", *(f"{part}_loc" for part in PARTS + VALIDATION_PARTS))


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
        test_seen: image numbers of seen classes held out for the test; empty in a standard split: plain ZSL.
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


def read_xlsa(
    root: str | Path, name: str, semantic: str = "original", with_features: bool = False, unknown: str = "auto"
) -> XlsaFiles:
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

    splits = attempt(MatFile, folder / "att_splits.mat", SPLIT_KEYS)
    images = attempt(MatFile, folder / "res101.mat", ("labels", "image_files", *(("features",) * with_features)))
    known = attempt(read_signatures, splits, semantic, unknown) if splits else None
    labels = attempt(images.integers, "labels") if images else None
    return XlsaFiles(
        splits_path=folder / "att_splits.mat",
        images_path=folder / "res101.mat",
        signature_key=SIGNATURE_KEYS[semantic],
        signature_keys=tuple(key for key in SIGNATURE_KEYS.values() if splits and key in splits.names),
        signatures=known[0] if known else None,
        num_unknown=int(known[1].sum()) if known else 0,
        class_names=(attempt(splits.strings, "allclasses_names") or ()) if splits else (),
        class_of=None if labels is None else labels - 1,
        image_files=(attempt(images.strings, "image_files") or ()) if images else (),
        rows=_rows(splits, attempt) if splits else {},
        has_features=bool(images) and "features" in images.names,
        features=attempt(_features, images) if images and with_features else None,
        unreadable=tuple(unreadable),
    )


def load_split(
    root: str | Path, name: str, semantic: str = "original", with_features: bool = False, unknown: str = "auto"
) -> ZSLSplit:
    """Reads ``root/xlsa17/data/name/{res101,att_splits}.mat``.

    Args:
        root: folder that holds ``xlsa17``.
        name: any data set with those two files.
        semantic: ``original`` takes ``original_att``, ``normalized`` takes ``att``.
        with_features: also read ``features``.
        unknown: what -1 means: see :func:`~REZSL.data.signatures.unknown_entries`.

    Raises:
        DataError: a file or key is missing, damaged or contradicts another; says which, where, and what to do.
    """
    files = read_xlsa(root, name, semantic, with_features, unknown)
    split = arrange(files, name)
    if files.num_unknown:
        message = "%s: %d entries of %s are -1 (unknown) and read as 0"
        log.warning(message, files.splits_path, files.num_unknown, files.signature_key)
    for part in VALIDATION_PARTS:
        given, kept = len(files.images(part)), len(getattr(split, part))
        if kept < given:
            message = "%s: %d of the %d rows of %s_loc lie outside trainval_loc and are dropped"
            log.warning(message, files.splits_path, given - kept, given, part)
    return split


def arrange(files: XlsaFiles, name: str) -> ZSLSplit:
    """The split that ``files`` describe.

    Raises:
        DataError: something in them is missing, damaged or contradicts another thing.
    """
    for problem in chain(files.unreadable, (message for _, message in contradictions(files))):
        raise DataError(problem)
    num_classes, num_seen = len(files.signatures), len(files.classes("trainval"))
    names = files.class_names or tuple(str(c + 1) for c in range(num_classes))
    class_ids = np.concatenate([files.classes("trainval"), files.classes("test_unseen")])
    row_of = np.full(num_classes, -1, np.int64)
    row_of[class_ids] = np.arange(len(class_ids))
    train, val = (np.intersect1d(files.images(part), files.images("trainval")) for part in VALIDATION_PARTS)
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


def _rows(splits: MatFile, attempt: Callable) -> dict[str, np.ndarray]:
    """Image numbers of each part; of train and val only where both are there. A standard split has no test_seen."""
    has_validation = {f"{part}_loc" for part in VALIDATION_PARTS} <= set(splits.names)
    rows = {
        part: numbers - 1
        for part in PARTS + VALIDATION_PARTS * has_validation
        if part != "test_seen" or "test_seen_loc" in splits.names
        if (numbers := attempt(splits.integers, f"{part}_loc")) is not None
    }
    return rows if "test_seen_loc" in splits.names else rows | {"test_seen": np.empty(0, np.int64)}


def _features(images: MatFile) -> np.ndarray:
    if "features" not in images.content:
        advice = "set DATASETS.INPUT images, or take" if "image_files" in images.content else "take"
        raise DataError(f"{images.path} has no 'features': {advice} a file with features")
    features = images["features"].T  # (n, D)
    if features.ndim != 2 or features.dtype.kind not in "iufb" or not features.size:
        raise DataError(f"{images.path}: features must be numbers (D, n), got {features.dtype} {features.T.shape}")
    with np.errstate(over="ignore"):  # infinity is told with the image that has it
        return np.ascontiguousarray(features, np.float32)
