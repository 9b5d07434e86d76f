"""The xlsa17 files (Xian et al., TPAMI 2018) read into a frozen :class:`ZSLSplit`.

The only place that knows the files' keys, their 1-based indices and the renumbering of classes.
"""

import logging
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import scipy.io

from REZSL.utils.errors import DataError, first_line

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
    folder = Path(root) / "xlsa17" / "data" / name
    splits = _MatFile(folder / "att_splits.mat")
    images = _MatFile(folder / "res101.mat", skip=() if with_features else ("features",))

    signatures = _signatures(splits, semantic)
    names = splits.strings("allclasses_names")
    if names and len(names) != len(signatures):
        raise DataError(f"{splits.path}: {len(names)} allclasses_names for {len(signatures)} columns of signatures")
    class_of = _class_of(images, len(signatures))
    image_files = images.strings("image_files")
    if image_files and len(image_files) != len(class_of):
        raise DataError(f"{images.path}: {len(image_files)} image_files for {len(class_of)} labels")

    loc = {key: splits.rows(key, len(class_of)) for key in ("trainval_loc", "test_seen_loc", "test_unseen_loc")}
    _check_disjoint(splits.path, loc)
    seen, unseen = np.unique(class_of[loc["trainval_loc"]]), np.unique(class_of[loc["test_unseen_loc"]])
    names = names or tuple(str(c + 1) for c in range(len(signatures)))
    _check_classes(splits.path, seen, unseen, np.unique(class_of[loc["test_seen_loc"]]), names)

    class_ids = np.concatenate([seen, unseen])
    row_of = np.full(len(signatures), -1, np.int64)
    row_of[class_ids] = np.arange(len(class_ids))
    _check_signatures(splits.path, SIGNATURE_KEYS[semantic], signatures, class_ids, names)
    train, val = _train_val(splits, loc["trainval_loc"], class_of)
    return ZSLSplit(
        name=name,
        signatures=signatures[class_ids].astype(np.float32),
        num_seen=len(seen),
        class_ids=class_ids,
        class_names=tuple(names[c] for c in class_ids),
        labels=row_of[class_of],
        trainval=loc["trainval_loc"],
        test_seen=loc["test_seen_loc"],
        test_unseen=loc["test_unseen_loc"],
        train=train,
        val=val,
        image_files=image_files,
        features=_features(images, len(class_of)) if with_features else None,
    )


class _MatFile:
    """One .mat file, whose complaints name it."""

    def __init__(self, path: Path, skip: tuple[str, ...] = ()) -> None:
        self.path = path
        if not path.is_file():
            raise DataError(f"{path} is missing: unpack xlsa17.zip so that this file exists, or set DATASETS.ROOT")
        try:
            present = [key for key, _, _ in scipy.io.whosmat(path)]
            self.content = scipy.io.loadmat(path, variable_names=[key for key in present if key not in skip])
        except NotImplementedError:
            raise DataError(f"{path} is in MATLAB 7.3 format: save it again with '-v7'") from None
        except Exception as error:  # scipy raises many kinds for damaged files
            raise DataError(f"{path} cannot be read, it may be truncated: {first_line(error)}") from None

    def __getitem__(self, key: str) -> np.ndarray:
        if key not in self.content:
            raise DataError(f"{self.path} has no {key!r}; it has {', '.join(k for k in self.content if k[0] != '_')}")
        return self.content[key]

    def strings(self, key: str) -> tuple[str, ...]:
        """The cells of ``key`` as text; empty where the file has no such key."""
        if key not in self.content:
            return ()
        return tuple("".join(str(part) for part in np.ravel(cell)).strip() for cell in np.ravel(self.content[key]))

    def integers(self, key: str) -> np.ndarray:
        values = np.ravel(self[key])
        if values.dtype.kind not in "iuf":
            raise DataError(f"{self.path}: {key} must hold whole numbers, got {values.dtype}")
        broken = values[~(np.isfinite(values) & (values == np.floor(values)))]
        if len(broken):
            raise DataError(f"{self.path}: {key} must hold whole numbers, got {broken[0]}")
        return values.astype(np.int64)

    def rows(self, key: str, num_images: int) -> np.ndarray:
        """The 1-based rows of ``key`` as 0-based image numbers within range, none of them twice."""
        rows = self.integers(key)
        if not len(rows):
            raise DataError(f"{self.path}: {key} is empty")
        bad = rows[(rows < 1) | (rows > num_images)]
        if len(bad):
            raise DataError(f"{self.path}: {key} holds {bad[0]}, outside 1..{num_images} (the images of res101.mat)")
        values, counts = np.unique(rows, return_counts=True)
        if counts.max() > 1:
            raise DataError(f"{self.path}: {key} holds image {values[counts.argmax()]} {counts.max()} times")
        return rows - 1


def _signatures(splits: _MatFile, semantic: str) -> np.ndarray:
    key, other = SIGNATURE_KEYS[semantic], next(k for s, k in SIGNATURE_KEYS.items() if s != semantic)
    if key not in splits.content and other in splits.content:
        setting = next(s for s, k in SIGNATURE_KEYS.items() if k == other)
        raise DataError(f"{splits.path} has no {key!r} but has {other!r}: set DATASETS.SEMANTIC {setting}")
    signatures = splits[key].T  # (C, K)
    if signatures.ndim != 2 or signatures.dtype.kind not in "iuf":
        raise DataError(f"{splits.path}: {key} must be numbers (K, C), got {signatures.dtype} {signatures.T.shape}")
    signatures = signatures.astype(np.float64)
    unknown = signatures == -1
    if semantic == "original" and unknown.any():
        log.warning("%s: %d entries of %s are -1 (unknown) and read as 0", splits.path, unknown.sum(), key)
        signatures = np.where(unknown, 0.0, signatures)
    return signatures


def _class_of(images: _MatFile, num_classes: int) -> np.ndarray:
    labels = images.integers("labels")
    bad = np.flatnonzero((labels < 1) | (labels > num_classes))
    if len(bad):
        raise DataError(f"{images.path}: labels[{bad[0] + 1}] is {labels[bad[0]]}, outside 1..{num_classes}")
    return labels - 1


def _features(images: _MatFile, num_images: int) -> np.ndarray:
    if "features" not in images.content:
        raise DataError(f"{images.path} has no 'features': set DATASETS.INPUT images, or take a file with features")
    features = np.ascontiguousarray(images["features"].T, np.float32)
    if features.ndim != 2 or len(features) != num_images:
        raise DataError(f"{images.path}: features must be (D, {num_images}), got {features.shape[::-1]}")
    bad = np.flatnonzero(~np.isfinite(features).all(axis=1))
    if len(bad):
        raise DataError(f"{images.path}: features of image {bad[0] + 1} hold NaN or infinity ({len(bad)} such images)")
    return features


def _check_disjoint(path: Path, loc: dict[str, np.ndarray]) -> None:
    keys = list(loc)
    for i, first in enumerate(keys):
        for second in keys[i + 1 :]:
            both = np.intersect1d(loc[first], loc[second])
            if len(both):
                raise DataError(f"{path}: {first} and {second} share {len(both)} images, e.g. image {both[0] + 1}")


def _check_classes(
    path: Path, seen: np.ndarray, unseen: np.ndarray, test_seen: np.ndarray, names: tuple[str, ...]
) -> None:
    both = np.intersect1d(seen, unseen)
    if len(both):
        raise DataError(f"{path}: {len(both)} classes are seen and unseen, e.g. class {both[0] + 1} {names[both[0]]}")
    stray = np.setdiff1d(test_seen, seen)
    if len(stray):
        raise DataError(f"{path}: test_seen_loc has class {stray[0] + 1} {names[stray[0]]}, which trainval_loc lacks")


def _check_signatures(
    path: Path, key: str, signatures: np.ndarray, class_ids: np.ndarray, names: tuple[str, ...]
) -> None:
    for bad, what in ((~np.isfinite(signatures).all(1), "NaN or infinity"), (~signatures.any(1), "only zeros")):
        bad = class_ids[bad[class_ids]]
        if len(bad):
            raise DataError(f"{path}: {key} of class {bad[0] + 1} {names[bad[0]]} holds {what} ({len(bad)} such)")


def _train_val(splits: _MatFile, trainval: np.ndarray, class_of: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The class-disjoint split, kept inside trainval: files in circulation list test_seen images there."""
    if not {"train_loc", "val_loc"} <= set(splits.content):
        return np.empty(0, np.int64), np.empty(0, np.int64)
    parts = []
    for key in ("train_loc", "val_loc"):
        rows = splits.rows(key, len(class_of))
        inside = np.intersect1d(rows, trainval)
        if len(inside) < len(rows):
            log.warning(
                "%s: %d of the %d rows of %s lie outside trainval_loc and are dropped",
                splits.path, len(rows) - len(inside), len(rows), key,
            )  # fmt: skip
        parts.append(inside)
    train, val = parts
    both = np.intersect1d(class_of[train], class_of[val])
    if len(both):
        raise DataError(f"{splits.path}: train_loc and val_loc share {len(both)} classes, e.g. class {both[0] + 1}")
    return train, val
