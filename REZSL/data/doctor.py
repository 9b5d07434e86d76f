"""Checks of everything a run reads, which go on after each problem so that one call tells all."""

import hashlib
import io
import re
from collections import defaultdict
from dataclasses import replace
from itertools import chain, combinations
from pathlib import Path

import numpy as np

from REZSL.utils.errors import DataError

from .doctor_semantics import (
    check_class_names,
    check_imagenet,
    check_signatures,
    check_word_order,
    check_word_vectors,
)
from .finding import Finding, listed, unless_worse
from .image_file import decoding_problem
from .images import map_images
from .locate import locate_images, missing_images
from .recorded import PARTS, VALIDATION_PARTS, XlsaFiles, contradictions

KNOWN = {  # the proposed splits: images of each part, seen and unseen classes, attributes (Xian et al., TPAMI 2018)
    "CUB": (7057, 1764, 2967, 150, 50, 312),
    "SUN": (10320, 2580, 1440, 645, 72, 102),
    "AWA1": (19832, 4958, 5685, 40, 10, 85),
    "AWA2": (23527, 5882, 7913, 40, 10, 85),
    "APY": (5932, 1483, 7924, 20, 12, 64),
}
COUNTED = (*PARTS, "seen classes", "unseen classes", "attributes")
FEW = 0.01  # share of a test part that may occur in trainval before it is an error


def examine(
    files: XlsaFiles,
    name: str,
    image_folder: str | Path | None = None,
    embeddings_folder: str | Path | None = None,
    weights: str | None = None,
) -> list[Finding]:
    """Checks the files of a data set against each other and against what is known of it.

    Args:
        files: what :func:`~REZSL.data.splits.read_xlsa` has read, with the features where no images are.
        name: the data set's name.
        image_folder: where the images lie; None: check the features instead.
        embeddings_folder: where the word vectors lie; None: none are read.
        weights: where what the backbone knows comes from: ``imagenet``, ``file``, ``features``, or None for nothing.

    Returns:
        One finding or more for each check that can be made of what is there.
    """
    findings = free_checks(files, name, image_folder is None, embeddings_folder, weights)
    findings += check_features(files) if image_folder is None else check_images(files, image_folder)
    return findings + (check_word_order(files, embeddings_folder, name) if embeddings_folder is not None else [])


def free_checks(
    files: XlsaFiles,
    name: str,
    use_features: bool = False,
    embeddings_folder: str | Path | None = None,
    weights: str | None = None,
) -> list[Finding]:
    """The checks that need no image and no row of features, and no time: a training makes them too.

    Args:
        use_features: whether the features are read, and not the images; the others as of :func:`examine`.
    """
    findings = check_files(files) + check_counts(files, name) + check_splits(files)
    if not use_features and not files.image_files and files.num_images:
        advice = "set DATASETS.INPUT features" if files.has_features else "take a file that does"
        findings.append(Finding("images", "error", f"{files.images_path} lists no image_files: {advice}"))
    findings += check_recorded_paths(files, use_features) + check_class_names(files) + check_signatures(files)
    if embeddings_folder is not None:
        findings += check_word_vectors(files, embeddings_folder, name)
    if weights is not None:
        findings += check_imagenet(files, weights)
    return findings


def check_files(files: XlsaFiles) -> list[Finding]:
    """Both .mat files can be read and agree in their sizes."""
    problems = [*files.unreadable, *_contradictions(files, "files")]
    if problems:
        return [Finding("files", "error", problem) for problem in problems]
    return [Finding("files", "ok", f"{files.splits_path} and {files.images_path.name} can be read")]


def check_counts(files: XlsaFiles, name: str) -> list[Finding]:
    """The sizes of the parts are those of the proposed split, where the data set is a known one."""
    if files.class_of is None or files.signatures is None or not set(PARTS) <= set(files.rows):
        return []
    images = [len(files.rows[part]) for part in PARTS]
    classes = [len(files.classes(part)) for part in ("trainval", "test_unseen")]
    counts = (*images, *classes, files.signatures.shape[1])
    text = ", ".join(f"{count} {what}" for count, what in zip(counts, COUNTED, strict=True))
    if name not in KNOWN:
        return [Finding("counts", "ok", f"{text} (sizes to compare with are known for {', '.join(KNOWN)})")]
    differing = [
        f"{count} {what}, not {known}"
        for count, known, what in zip(counts, KNOWN[name], COUNTED, strict=True)
        if count != known
    ]
    if not differing:
        return [Finding("counts", "ok", f"{text}: the proposed split")]
    advice = "results do not compare with published ones; take the files of xlsa17.zip, or another DATASETS.NAME"
    return [Finding("counts", "warning", f"not the proposed split of {name}: {', '.join(differing)}; {advice}")]


def check_splits(files: XlsaFiles) -> list[Finding]:
    """No image and no class is where it must not be; train_loc and val_loc hold nothing of the test."""
    findings = [Finding("splits", "error", problem) for problem in _contradictions(files, "splits")]
    if not set(PARTS) <= set(files.rows) or files.class_of is None:
        return findings
    if not len(files.rows["test_seen"]):
        message = f"{files.splits_path} has no test_seen_loc: plain zero-shot learning, T1 alone is evaluated"
        findings.append(Finding("splits", "note", message))
    if not set(VALIDATION_PARTS) <= set(files.rows):
        message = f"{files.splits_path} has no train_loc and val_loc: there are no validation classes"
        findings.append(Finding("splits", "note", message))
    findings += chain.from_iterable(_leaks(files, part) for part in VALIDATION_PARTS)
    return unless_worse("splits", "the parts share no image, seen and unseen no class", findings)


def check_images(files: XlsaFiles, folder: str | Path) -> list[Finding]:
    """Every image of the split is under ``folder`` and decodes; none is in two parts under two names."""
    if not files.image_files:
        return []
    used = _used(files)
    used = used[used < len(files.image_files)]
    recorded = [files.image_files[i] for i in used]
    try:
        located = locate_images(recorded, folder)
    except DataError as error:
        return [Finding("images", "error", str(error))]
    findings = []
    if problem := missing_images(recorded, located, folder):
        findings.append(Finding("images", "error", problem))
    images = [i for i, place in zip(used, located, strict=True) if place is not None]
    paths = [place for place in located if place is not None]
    examined = map_images(_digest_and_problem, paths)
    damaged = [f"{path} ({problem})" for path, (_, problem) in zip(paths, examined, strict=True) if problem]
    if damaged:
        message = f"{len(damaged)} of {len(paths)} images do not decode: {listed(damaged, 3)}; fetch them again"
        findings.append(Finding("images", "error", message))
    digests = {i: digest for i, (digest, _) in zip(images, examined, strict=True)}
    titles = {i: "/".join(path.parts[-2:]) for i, path in zip(images, paths, strict=True)}
    findings = unless_worse("images", f"all {len(paths)} images are under {folder} and decode", findings)
    return findings + check_duplicates(files, digests, titles)


def check_features(files: XlsaFiles) -> list[Finding]:
    """The features are finite, none are all zeros, and none are in two parts."""
    if files.features is None:
        return []
    findings = [Finding("features", "error", problem) for problem in _contradictions(files, "features")]
    used = _used(files)
    used = used[used < len(files.features)]
    empty = used[~files.features[used].any(axis=1)]
    if len(empty):
        message = f"the features of {len(empty)} images are all zero, e.g. of image {empty[0] + 1}"
        findings.append(Finding("features", "warning", f"{files.images_path}: {message}: was the image read?"))
    findings = unless_worse("features", f"{len(used)} x {files.features.shape[1]}, finite, no zero rows", findings)
    digests = {i: _digest((files.features[i] + 0.0).tobytes()) for i in np.setdiff1d(used, empty)}  # + 0: no -0
    return findings + check_duplicates(files, digests, {i: f"row {i + 1}" for i in digests})


def check_recorded_paths(files: XlsaFiles, use_features: bool) -> list[Finding]:
    """No image is recorded in two parts, as it is where a row of the file is an object and images hold several.

    Of features that is no error: they may be those of other parts of the image.
    """
    if not files.image_files or len(files.image_files) != files.num_images:
        return []
    steps = {i: [step for step in re.split(r"[\\/]+", files.image_files[i]) if step] for i in _used(files)}
    paths = {i: "/".join(parts).encode("utf-8", "surrogateescape") for i, parts in steps.items()}
    titles = {i: f"row {i + 1} ({'/'.join(parts[-2:])})" for i, parts in steps.items()}
    findings = check_duplicates(files, paths, titles, "paths", "path")
    return [replace(f, level="warning") if f.level == "error" and use_features else f for f in findings]


def check_duplicates(
    files: XlsaFiles,
    digests: dict[int, bytes],
    titles: dict[int, str],
    check: str = "duplicates",
    what: str = "content",
) -> list[Finding]:
    """No two images of different parts have the same content.

    Args:
        files: the parts.
        digests: a digest of each image's content, by image number.
        titles: what messages call each image.
        check: what the findings call this check.
        what: what they call what is digested.
    """
    part_of = {i: part for part in PARTS for i in files.images(part)}
    same = defaultdict(list)
    for i, digest in digests.items():
        if i in part_of:
            same[digest].append(i)
    groups = [{part: [i for i in group if part_of[i] == part] for part in PARTS} for group in same.values()]
    findings = []
    for first, second in combinations(PARTS, 2):
        pairs = [f"{titles[group[first][0]]} = {titles[b]}" for group in groups if group[first] for b in group[second]]
        if pairs:
            size = len(files.images(second))
            message = f"{len(pairs)} of {size} {second} images have the {what} of one in {first}: {listed(pairs, 3)}"
            findings.append(Finding(check, *_judged(message, len(pairs) / size, first)))
    within = [f"{titles[i]} = {titles[images[0]]}" for group in groups for images in group.values() for i in images[1:]]
    if within:
        message = f"{len(within)} images repeat the {what} of another of the same part, which then counts twice"
        findings.append(Finding(check, "note", f"{message}: {listed(within, 3)}"))
    return unless_worse(check, f"no two parts share the {what} of an image ({len(digests)} compared)", findings)


def _judged(message: str, share: float, first: str) -> tuple[str, str]:
    """The level and the text of a finding on images of part ``first`` in a test part, of which they are ``share``."""
    if first == "trainval" and share > FEW:
        return "error", f"{message}; that is too many ({share:.1%}): the model trains on its test"
    advice = "real data hold a few; take them out of the split if every image counts"
    return "warning", f"{message}; {share:.2%}: {advice}"


def _leaks(files: XlsaFiles, part: str) -> list[Finding]:
    """What ``train_loc`` or ``val_loc`` holds outside trainval."""
    images = files.images(part)
    where = f"{files.splits_path}: of the {len(images)} images of {part}_loc"
    outside = np.setdiff1d(images, files.images("trainval"))
    seen, unseen = (np.intersect1d(outside, files.images(test)) for test in ("test_seen", "test_unseen"))
    nowhere = np.setdiff1d(outside, np.concatenate([seen, unseen]))
    findings = []
    if len(unseen):
        message = f"{where}, {len(unseen)} are in test_unseen_loc: unseen classes would be trained on; mend the file"
        findings.append(Finding("splits", "error", message))
    if len(seen):
        dropped = "REZSL leaves them out, other code trains on them"
        findings.append(Finding("splits", "warning", f"{where}, {len(seen)} are in test_seen_loc: {dropped}"))
    if len(nowhere):
        message = f"{where}, {len(nowhere)} are neither in trainval_loc nor in a test part: REZSL leaves them out"
        findings.append(Finding("splits", "warning", message))
    return findings


def _contradictions(files: XlsaFiles, about: str) -> list[str]:
    return [message for subject, message in contradictions(files) if subject == about]


def _used(files: XlsaFiles) -> np.ndarray:
    """The images of the three parts, or all where no part can be read."""
    used = np.unique(np.concatenate([files.images(part) for part in PARTS]))
    return used if len(used) else np.arange(files.num_images)


def _digest(content: bytes) -> bytes:
    return hashlib.blake2b(content, digest_size=16).digest()


def _digest_and_problem(path: Path) -> tuple[bytes, str | None]:
    try:
        content = path.read_bytes()
    except OSError as error:
        return str(path).encode(), str(error.strerror)
    return _digest(content), decoding_problem(io.BytesIO(content))
