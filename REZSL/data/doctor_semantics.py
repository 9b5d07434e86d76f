"""Checks of what classes and attributes mean: class names, signatures, word vectors, and what ImageNet knows."""

import re
from collections import Counter, defaultdict
from pathlib import Path

import numpy as np
import torchvision

from REZSL.utils.errors import DataError

from .finding import Finding, listed, unless_worse
from .recorded import XlsaFiles, contradictions
from .semantics import load_attribute_embeddings
from .signatures import UNKNOWN

PERMUTATIONS = 999
CHANCE = 0.01  # share of random orders that may fit as well as the given one
LEAST_ATTRIBUTES, LEAST_CLASSES = 20, 10  # with fewer, an order cannot be judged
LIKE_FOLDERS = 0.9  # share of images that must agree with their folder's class for folders to mean classes
WEIGHTS = {  # where what the backbone knows comes from: the level of an overlap, and what messages say
    "imagenet": ("warning", "the backbone starts from ImageNet weights"),
    "file": ("warning", "if MODEL.BACKBONE.WEIGHTS are ImageNet weights, the backbone has seen them"),
    "features": ("note", "if an ImageNet network made the features, it has seen them"),
}


def check_class_names(files: XlsaFiles) -> list[Finding]:
    """The labels agree with the folders that images are recorded in, and so does the order of the class names.

    Where folders are not classes (fewer than 9 of 10 images lie with their own class), nothing is found.
    """
    if files.class_of is None or len(files.image_files) != len(files.class_of) or not len(files.class_of):
        return []
    folders = ["/".join(re.split(r"[\\/]+", path)[:-1]) for path in files.image_files]
    classes_in = defaultdict(Counter)
    for folder, class_id in zip(folders, files.class_of.tolist(), strict=True):
        classes_in[folder][class_id] += 1
    main_class = {folder: counter.most_common(1)[0][0] for folder, counter in classes_in.items()}
    astray = [i for i, folder in enumerate(folders) if main_class[folder] != files.class_of[i]]
    if len(astray) > (1 - LIKE_FOLDERS) * len(folders):
        return []
    findings = []
    if astray:
        first = astray[0]
        label, other = (files.class_title(c) for c in (files.class_of[first], main_class[folders[first]]))
        example = f"image {first + 1} is labelled {label} and lies with {other} in {folders[first]}"
        message = f"{files.images_path}: {len(astray)} images lie in another class's folder, e.g. {example}"
        findings.append(Finding("class names", "warning", f"{message}: are the labels shifted?"))
    folder_of = {class_id: folder for folder, class_id in main_class.items()}
    if swapped := _named_like_another(files.class_names, folder_of):
        examples = listed([f"{files.class_title(c)} in {folder_of[c]}" for c in swapped], 2)
        message = f"{files.splits_path}: {len(swapped)} classes are named like another's folder: {examples}"
        advice = "are allclasses_names, and with them the signatures, in the order of the labels?"
        findings.append(Finding("class names", "warning", f"{message}; {advice}"))
    return unless_worse("class names", f"labels agree with the {len(folder_of)} folders", findings)


def _named_like_another(names: tuple[str, ...], folder_of: dict[int, str]) -> list[int]:
    def plain(text: str) -> str:
        return re.sub(r"[\W_]+", "", text.casefold())

    ends = {class_id: plain(folder) for class_id, folder in folder_of.items() if class_id in range(len(names))}
    strangers = sorted(c for c, end in ends.items() if not end.endswith(plain(names[c])))
    return [c for c in strangers if any(ends[other].endswith(plain(names[c])) for other in strangers)]


def check_signatures(files: XlsaFiles) -> list[Finding]:
    """Signatures are finite and not zero, no attribute is the same for all classes, no two classes are alike."""
    if files.signatures is None or not len(classes := files.used_classes()):
        return []
    where = f"{files.splits_path}: {files.signature_key}"
    findings = [Finding("signatures", "error", line) for about, line in contradictions(files) if about == "signatures"]
    signatures = files.signatures[classes]
    findings += _axes(where, files) + _minus_one(where, files)
    if files.signature_key == "att":
        findings += _unit_length(where, files)
    constant = np.flatnonzero((signatures == signatures[0]).all(axis=0)) + 1
    if len(constant):
        message = f"{len(constant)} attributes have one value for all classes and tell none apart: {listed(constant)}"
        findings.append(Finding("signatures", "warning", f"{where}: {message}"))
    alike = [f"{files.class_title(classes[a])} = {files.class_title(classes[b])}" for a, b in _alike(signatures)]
    if alike:
        message = (
            f"{len(alike)} pairs of classes have the same direction, no score can tell them apart: {listed(alike)}"
        )
        findings.append(Finding("signatures", "warning", f"{where}: {message}"))
    span = f"{signatures.min():.4g} to {signatures.max():.4g}"
    size = f"{len(classes)} classes x {signatures.shape[1]} attributes"
    return unless_worse("signatures", f"{size} from {files.signature_key}, values {span}", findings)


def _axes(where: str, files: XlsaFiles) -> list[Finding]:
    """Whether the classes may be the rows, where neither names nor labels tell.

    Of ``att`` the classes have unit length.
    """
    num_classes, num_attributes = files.signatures.shape
    if files.class_names and num_classes != num_attributes:
        return []
    square, fits = num_classes == num_attributes, files.num_labelled == num_classes
    if (not square and fits) or num_attributes < files.num_labelled:
        return []
    if square and files.signature_key == "att":
        columns, rows = (_lengths_are_one(files.signatures, axis) for axis in (1, 0))
        if columns and not rows:
            return []
        if rows and not columns:
            message = "its rows are of unit length, as the classes' columns should be: transpose it"
            return [Finding("signatures", "error", f"{where}: {message}")]
    size = f"it is ({num_attributes}, {num_classes}), and the labels tell of {files.num_labelled} classes"
    message = f"{size}: whether the classes are its columns, as they must be, cannot be told; look"
    return [Finding("signatures", "warning", f"{where}: {message}")]


def _lengths_are_one(values: np.ndarray, axis: int) -> bool:
    return bool(np.allclose(np.linalg.norm(values, axis=axis), 1, atol=1e-3))


def _minus_one(where: str, files: XlsaFiles) -> list[Finding]:
    if files.num_unknown:
        message = f"{files.num_unknown} entries are -1 (unknown) and read as 0; DATASETS.UNKNOWN none keeps them"
    elif number := int((files.signatures == UNKNOWN).sum()):
        message = f"{number} entries are -1, a value like any other; DATASETS.UNKNOWN minus_one reads them as unknown"
    else:
        return []
    return [Finding("signatures", "note", f"{where}: {message}")]


def _unit_length(where: str, files: XlsaFiles) -> list[Finding]:
    signatures = files.signatures[files.used_classes()]
    lengths, findings = np.linalg.norm(signatures, axis=1), []
    wrong = lengths[np.abs(lengths - 1) > 1e-3]
    if len(wrong):
        message = f"{len(wrong)} classes are not of unit length, e.g. {wrong[0]:.4g}"
        if "original_att" in files.signature_keys:
            findings.append(Finding("signatures", "warning", f"{where}: {message}: set DATASETS.SEMANTIC original?"))
        else:
            message += ", and there is no original_att: they are used as they are; scores do not depend on the length"
            findings.append(Finding("signatures", "note", f"{where}: {message}"))
    elif negative := int((signatures < 0).sum()):
        message = f"{negative} entries are negative: -1 for unknown, scaled along with the known ones?"
        findings.append(Finding("signatures", "note", f"{where}: {message}"))
    return findings


def _alike(signatures: np.ndarray) -> np.ndarray:
    """Pairs of rows (n, 2) of one direction, to one in a million."""
    finite = np.nan_to_num(signatures, posinf=0, neginf=0)
    lengths = np.linalg.norm(finite, axis=1, keepdims=True)
    unit = finite / np.where(lengths, lengths, 1)
    return np.argwhere(np.triu(unit @ unit.T > 1 - 1e-12, 1))


def check_word_vectors(files: XlsaFiles, folder: str | Path, name: str) -> list[Finding]:
    """There is one finite word vector an attribute, none zero and no two the same."""
    if files.signatures is None:
        return []
    try:
        vectors = load_attribute_embeddings(folder, name, files.signatures.shape[1])
    except DataError as error:
        return [Finding("word vectors", "error", str(error))]
    findings = []
    zero = np.flatnonzero(~vectors.any(axis=1)) + 1
    if len(zero):
        message = f"{len(zero)} rows are zero, so these attributes attend to all places alike: {listed(zero)}"
        findings.append(Finding("word vectors", "warning", message))
    different, counts = np.unique(vectors[vectors.any(axis=1)], axis=0, return_counts=True)
    if (counts > 1).any():
        first = np.flatnonzero((vectors == different[counts.argmax()]).all(axis=1)) + 1
        message = f"{counts[counts > 1].sum()} attributes share theirs with another, e.g. attributes {listed(first)}"
        findings.append(Finding("word vectors", "warning", f"{message}: they attend alike"))
    return unless_worse("word vectors", f"{len(vectors)} x {vectors.shape[1]}, finite, all different", findings)


def check_word_order(files: XlsaFiles, folder: str | Path, name: str) -> list[Finding]:
    """The word vectors are in the attributes' order.

    It is judged by :func:`order_fit`: words of related meaning belong to attributes that depend on each other.
    """
    check = "word order"
    try:
        if files.signatures is None:
            return []
        vectors = load_attribute_embeddings(folder, name, files.signatures.shape[1]).astype(np.float64)
    except DataError:
        return []
    signatures = files.signatures[files.used_classes()]
    if len(vectors) < LEAST_ATTRIBUTES or len(signatures) < LEAST_CLASSES or not np.isfinite(signatures).all():
        message = f"not judged: that takes {LEAST_ATTRIBUTES} attributes and {LEAST_CLASSES} classes"
        return [Finding(check, "note", message)]
    rng, given = np.random.default_rng(0), np.arange(len(vectors))
    fit = order_fit(vectors, signatures, [given])[0]
    chance = order_fit(vectors, signatures, [rng.permutation(given) for _ in range(PERMUTATIONS)])
    shifts = dict(zip((1, -1), order_fit(vectors, signatures, [np.roll(given, -1), np.roll(given, 1)]), strict=True))
    share = (1 + (chance >= fit).sum()) / (1 + PERMUTATIONS)
    best = max(shifts, key=shifts.get)
    text = f"related words belong to dependent attributes (r {fit:.2f}; random orders reach {chance.max():.2f})"
    if share > CHANCE:
        message = f"they fit the attributes no better than a random order ({share:.0%} of {PERMUTATIONS} fit as well)"
        return [Finding(check, "warning", f"{message}: is row k the word of attribute k?")]
    if shifts[best] > fit:
        message = f"they fit better if attribute k takes row k{best:+d} (r {shifts[best]:.2f}, not {fit:.2f})"
        return [Finding(check, "warning", f"{message}: does a row lack or precede the others?")]
    return [Finding(check, "ok", text)]


def order_fit(vectors: np.ndarray, signatures: np.ndarray, orders: list[np.ndarray]) -> np.ndarray:
    """How well word vectors fit attributes: Mantel's (1967) correlation of two matrices of likeness.

    Words are alike by the cosine of their vectors, less the mean vector; attributes by the absolute Pearson correlation
    of their values over the classes (red and blue exclude each other, and are related for that). The result is the
    Pearson correlation of both over all pairs of attributes.

    Args:
        vectors: (K, E) word vectors.
        signatures: (C, K) attribute values of the classes.
        orders: permutations of 0..K-1; under one of them attribute k takes row ``order[k]`` of ``vectors``.

    Returns:
        (len(orders),) correlations in [-1, 1].
    """

    def centred(likeness: np.ndarray) -> np.ndarray:
        pairs = ~np.eye(len(likeness), dtype=bool)
        return np.where(pairs, likeness - likeness[pairs].mean(), 0)

    def cosine(rows: np.ndarray) -> np.ndarray:
        lengths = np.linalg.norm(rows, axis=1, keepdims=True)
        unit = rows / np.where(lengths, lengths, 1)
        return unit @ unit.T

    words = centred(cosine(vectors - vectors.mean(axis=0)))
    attributes = centred(np.abs(cosine((signatures - signatures.mean(axis=0)).T)))
    scale = np.linalg.norm(words) * np.linalg.norm(attributes)
    return np.array([(words[np.ix_(order, order)] * attributes).sum() for order in orders]) / (scale or 1)


def check_imagenet(files: XlsaFiles, weights: str) -> list[Finding]:
    """No unseen class is one of the 1000 of ImageNet-1k, which a backbone with ImageNet weights has seen.

    Args:
        files: the classes.
        weights: a key of ``WEIGHTS``: where what the backbone knows comes from.
    """
    if not len(files.classes("test_unseen")):
        return []
    if not files.class_names:
        message = f"{files.splits_path} has no allclasses_names: whether ImageNet has the unseen classes is unknown"
        return [Finding("ImageNet", "note", message)]
    known = {plain_name(name): name for name in torchvision.models.ResNet50_Weights.IMAGENET1K_V2.meta["categories"]}
    unseen, seen = (
        [files.class_names[c] for c in files.classes(part) if c in range(len(files.class_names))]
        for part in ("test_unseen", "trainval")
    )
    level, reason = WEIGHTS[weights]
    findings = []
    if found := [name for name in unseen if plain_name(name) in known]:
        message = f"{len(found)} unseen classes are ImageNet-1k classes, {reason}: {listed(found, 20)}"
        findings.append(Finding("ImageNet", level, message))
    if kin := [f"{name} ({', '.join(of)})" for name in unseen if (of := _kin(plain_name(name), known))]:
        message = f"{len(kin)} unseen classes share the end of their name with an ImageNet-1k class: {listed(kin, 10)}"
        findings.append(Finding("ImageNet", "note", f"{message}: are they kinds of it?"))
    also = sum(plain_name(name) in known for name in seen)
    message = f"none of {len(unseen)} unseen classes is called like one of ImageNet-1k ({also} of {len(seen)} seen are)"
    return findings if found else [Finding("ImageNet", "ok", message), *findings]


def plain_name(name: str) -> str:
    """A class name as words in lower case: ``014.Indigo_Bunting`` and ``indigo bunting`` become the same."""
    return re.sub(r"[\W_]+", " ", re.sub(r"^\d+[._\s-]+", "", name).casefold()).strip()


def _kin(name: str, known: dict[str, str]) -> list[str]:
    """ImageNet names that end in ``name`` or that it ends in: white pelican and pelican."""
    return [original for plain, original in known.items() if plain.endswith(f" {name}") or name.endswith(f" {plain}")]
