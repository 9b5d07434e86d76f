"""The classes' attributes as ``att_splits.mat`` has them, and which of their entries are unknown."""

import numpy as np

from REZSL.utils.errors import DataError

from .matfile import MatFile

SIGNATURE_KEYS = {"original": "original_att", "normalized": "att"}
UNKNOWN = -1


def read_signatures(splits: MatFile, semantic: str, unknown: str) -> tuple[np.ndarray, np.ndarray]:
    """Reads the signatures and sets what is unknown to 0.

    ``att`` is ``original_att`` scaled to unit length, its unknown entries along with the others: where both are there,
    the entries that are unknown in one are in the other, and the known ones are scaled to the length there was.

    Args:
        splits: ``att_splits.mat``, with both keys wanted.
        semantic: ``original`` or ``normalized``.
        unknown: see :func:`unknown_entries`.

    Returns:
        (C, K) float64 signatures and (C, K) boolean, which entries were unknown.

    Raises:
        DataError: they are missing, or no matrix of numbers.
    """
    key, other = SIGNATURE_KEYS[semantic], next(k for s, k in SIGNATURE_KEYS.items() if s != semantic)
    if key not in splits.content and other in splits.content:
        setting = next(s for s, k in SIGNATURE_KEYS.items() if k == other)
        raise DataError(f"{splits.path} has no {key!r} but has {other!r}: set DATASETS.SEMANTIC {setting}")
    signatures = splits[key].T  # (C, K)
    if signatures.ndim != 2 or signatures.dtype.kind not in "iufb" or not signatures.size:
        raise DataError(f"{splits.path}: {key} must be numbers (K, C), got {signatures.dtype} {signatures.T.shape}")
    signatures, original = signatures.astype(np.float64), splits.content.get(SIGNATURE_KEYS["original"])
    told = isinstance(original, np.ndarray) and original.dtype.kind in "iuf" and original.T.shape == signatures.shape
    entries = unknown_entries(original.T if told else signatures, unknown)
    if not entries.any():
        return signatures, entries
    known = np.where(entries, 0.0, signatures)
    if key == "att":
        before, after = (np.linalg.norm(rows, axis=1, keepdims=True) for rows in (signatures, known))
        known *= before / np.where(after, after, 1)
    return known, entries


def unknown_entries(values: np.ndarray, rule: str) -> np.ndarray:
    """Which ``values`` are unknown, boolean of their shape.

    Args:
        values: attributes as they were given.
        rule: ``none``; ``minus_one``: all that are -1; ``auto``: these, unless there are other negative values too, or
            none but -1 and +1, for then -1 is a value like any other.
    """
    minus, finite = values == UNKNOWN, values[np.isfinite(values)]
    signed = (finite[finite < 0] != UNKNOWN).any() or (np.abs(finite) == 1).all()
    if rule == "none" or (rule == "auto" and signed):
        return np.zeros(values.shape, bool)
    return minus
