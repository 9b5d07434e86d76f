"""What the two files of a data set say before it is arranged, and what in it cannot be.

Numbers count from 0 here, and from 1, as in the files, in what is said about them.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path

import numpy as np

PARTS = ("trainval", "test_seen", "test_unseen")  # each is NAME_loc in the file
VALIDATION_PARTS = ("train", "val")
LEAST_LENGTH = 1e-12  # shorter vectors are not scaled to length 1 (``torch.nn.functional.normalize``)


@dataclass(frozen=True, eq=False)
class XlsaFiles:
    """What ``res101.mat`` and ``att_splits.mat`` say, read as far as it goes, counted from 0 and not yet checked.

    Attributes:
        splits_path: ``att_splits.mat``.
        images_path: ``res101.mat``.
        signature_key: the key of the signatures, ``original_att`` or ``att``.
        signature_keys: which of both the file has.
        signatures: (C, K) float64, one row a class, or None where they cannot be read.
        num_unknown: entries that are unknown, which ``signatures`` holds as 0.
        class_names: C names, or none.
        class_of: (n,) class id of every image, or None where they cannot be read.
        image_files: n recorded paths, or none.
        rows: image numbers of each readable part, of ``PARTS`` and, where the file has both, ``VALIDATION_PARTS``;
            those of ``test_seen`` are none where the file has no such part.
        has_features: whether ``res101.mat`` has some.
        features: (n, D) float32, or None.
        unreadable: one line for everything that must be there and cannot be read.
    """

    splits_path: Path
    images_path: Path
    signature_key: str
    signature_keys: tuple[str, ...]
    signatures: np.ndarray | None
    num_unknown: int
    class_names: tuple[str, ...]
    class_of: np.ndarray | None
    image_files: tuple[str, ...]
    rows: dict[str, np.ndarray]
    has_features: bool
    features: np.ndarray | None
    unreadable: tuple[str, ...]

    def images(self, part: str) -> np.ndarray:
        """The image numbers of ``part`` that exist, ascending, each once."""
        rows, count = np.unique(self.rows.get(part, np.empty(0, np.int64))), self.num_images
        return rows[(rows >= 0) & (rows < count)]

    def classes(self, part: str) -> np.ndarray:
        """The ids of the classes that ``part`` has images of, ascending."""
        return np.unique(self.class_of[self.images(part)]) if self.class_of is not None else np.empty(0, np.int64)

    def used_classes(self) -> np.ndarray:
        """The ids of the classes in trainval or test_unseen that have a signature, ascending."""
        count = 0 if self.signatures is None else len(self.signatures)
        used = np.union1d(self.classes("trainval"), self.classes("test_unseen"))
        return used[(used >= 0) & (used < count)]

    def class_title(self, class_id: int) -> str:
        """How messages call a class: its number in the file and its name."""
        named = 0 <= class_id < len(self.class_names)
        return f"class {class_id + 1}" + (f" {self.class_names[class_id]}" if named else "")

    @property
    def num_labelled(self) -> int:
        """The number of the last class that an image is labelled with; 0 where that is unknown."""
        return max(0, int(self.class_of.max()) + 1) if self.class_of is not None and len(self.class_of) else 0

    @property
    def num_images(self) -> int:
        """n, as far as it is known."""
        return len(self.image_files if self.class_of is None else self.class_of)


def contradictions(files: XlsaFiles) -> Iterator[tuple[str, str]]:
    """Yields what in the files cannot be, as (what it is about, one line), whatever a run must refuse.

    The first word is ``files``, ``splits``, ``signatures`` or ``features``.
    """
    for about, found in (
        ("files", _size_contradictions(files)),
        ("splits", _split_contradictions(files)),
        ("splits", _class_contradictions(files)),
        ("signatures", _signature_contradictions(files)),
        ("features", _feature_contradictions(files)),
    ):
        for message in found:
            yield about, message


def _size_contradictions(files: XlsaFiles) -> Iterator[str]:
    count, labels, names = files.num_images, files.class_of, files.class_names
    if labels is not None and not len(labels):
        yield f"{files.images_path}: labels is empty"
    elif files.signatures is not None:
        num_classes, other = files.signatures.shape
        wanted = len(names) or files.num_labelled
        if wanted and wanted != num_classes and wanted == other:
            source = "allclasses_names" if names else "the labels"
            where = f"{files.splits_path}: {files.signature_key} is ({other}, {num_classes})"
            yield f"{where}, but {source} tell of {wanted} classes, which must be its columns: transpose it"
            return
        if names and len(names) != num_classes:
            yield f"{files.splits_path}: {len(names)} allclasses_names for {num_classes} columns of signatures"
        if labels is not None and len(bad := np.flatnonzero((labels < 0) | (labels >= num_classes))):
            where = f"{files.images_path}: labels[{bad[0] + 1}]"
            yield f"{where} is {labels[bad[0]] + 1}, outside 1..{num_classes} ({len(bad)} such)"
    if files.image_files and len(files.image_files) != count:
        yield f"{files.images_path}: {len(files.image_files)} image_files for {count} labels"


def _split_contradictions(files: XlsaFiles) -> Iterator[str]:
    path = files.splits_path
    for part, rows in files.rows.items():
        yield from _row_contradictions(path, f"{part}_loc", rows, files.num_images)
    for first, second in combinations(PARTS, 2):
        both = np.intersect1d(files.images(first), files.images(second))
        if len(both):
            yield f"{path}: {first}_loc and {second}_loc share {len(both)} images, e.g. image {both[0] + 1}"


def _row_contradictions(path: Path, key: str, rows: np.ndarray, count: int) -> Iterator[str]:
    if not len(rows):
        if key != "test_seen_loc":  # a standard split has no such images
            yield f"{path}: {key} is empty"
        return
    bad = rows[(rows < 0) | (rows >= count)]
    if len(bad) and count:
        yield f"{path}: {key} holds {bad[0] + 1}, outside 1..{count} (the images of res101.mat)"
    values, times = np.unique(rows, return_counts=True)
    if times.max() > 1:
        more = f" ({(times > 1).sum()} such images)" if (times > 1).sum() > 1 else ""
        yield f"{path}: {key} holds image {values[times.argmax()] + 1} {times.max()} times{more}"


def _class_contradictions(files: XlsaFiles) -> Iterator[str]:
    path, seen = files.splits_path, files.classes("trainval")
    both = np.intersect1d(seen, files.classes("test_unseen"))
    if len(both):
        yield f"{path}: {len(both)} classes are seen and unseen, e.g. {files.class_title(both[0])}"
    stray = np.setdiff1d(files.classes("test_seen"), seen)
    if len(stray):
        yield f"{path}: test_seen_loc has {files.class_title(stray[0])}, which trainval_loc lacks ({len(stray)} such)"
    if files.class_of is not None:
        inside = [np.intersect1d(files.images(part), files.images("trainval")) for part in VALIDATION_PARTS]
        both = np.intersect1d(*(files.class_of[images] for images in inside))
        if len(both):
            yield f"{path}: train_loc and val_loc share {len(both)} classes, e.g. {files.class_title(both[0])}"


def _signature_contradictions(files: XlsaFiles) -> Iterator[str]:
    """Judged in float32, in which they are used: scaled to length 1, if that is at least ``LEAST_LENGTH``."""
    if files.signatures is None:
        return
    with np.errstate(over="ignore"):
        signatures = files.signatures.astype(np.float32)
        lengths = np.linalg.norm(signatures, axis=1)
    used, largest = files.used_classes(), np.abs(files.signatures).max(axis=1, initial=0)
    broken = ~np.isfinite(files.signatures).all(axis=1)
    zero = ~files.signatures.any(axis=1)
    long, short = ~broken & ~np.isfinite(lengths), ~zero & (lengths < LEAST_LENGTH)
    for bad, what in (
        (broken, "holds NaN or infinity"),
        (zero, "holds only zeros"),
        (long, "is too large for float32, its largest value being {:.3g}: scale the attributes"),
        (short, "is too small for float32, its largest value being {:.3g}: scale the attributes"),
    ):
        bad = used[bad[used]]
        if len(bad):
            where = f"{files.splits_path}: {files.signature_key} of {files.class_title(bad[0])}"
            yield f"{where} {what.format(largest[bad[0]])} ({len(bad)} such)"


def _feature_contradictions(files: XlsaFiles) -> Iterator[str]:
    features, path = files.features, files.images_path
    if features is None:
        return
    if len(features) != files.num_images:
        yield f"{path}: features must be (D, {files.num_images}), got {features.shape[::-1]}"
    bad = np.flatnonzero(~np.isfinite(features).all(axis=1))
    if len(bad):
        yield f"{path}: features of image {bad[0] + 1} hold NaN or infinity ({len(bad)} such images)"
