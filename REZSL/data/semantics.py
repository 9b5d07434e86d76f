"""Attribute embeddings (word vectors)."""

from pathlib import Path

import numpy as np

from REZSL.utils.errors import DataError, first_line
from REZSL.utils.files import absence

from .array_file import read_array

PUBLISHED_FOLDER = "/Dataset/Attribute/w2v"  # what the published config files say


def embeddings_folder(w2v_path: str, root: str | Path) -> Path:
    """Returns where the word vectors lie: ``w2v_path``, or ``root/Attribute/w2v`` when it is empty or published.

    The published config files name an absolute folder; it counts only where it exists.
    """
    if not w2v_path or (Path(w2v_path) == Path(PUBLISHED_FOLDER) and not Path(w2v_path).is_dir()):
        return Path(root) / "Attribute" / "w2v"
    return Path(w2v_path)


def load_attribute_embeddings(folder: str | Path, name: str, num_attributes: int) -> np.ndarray:
    """Reads ``folder/name_attribute.npy`` or ``.pkl`` (a pickled NumPy array).

    Returns:
        (K, E) float32 attribute embeddings, row k that of attribute k.

    Raises:
        DataError: no such file, not a plain array, the wrong shape, or values that are not finite.
    """
    stem = Path(folder) / f"{name}_attribute"
    candidates = [stem.with_name(stem.name + suffix) for suffix in (".npy", ".pkl")]
    path = next((p for p in candidates if p.is_file()), None)
    if path is None:
        links = "".join(f" ({link} {absence(link)})" for link in candidates if link.is_symlink())
        raise DataError(
            f"word vectors are missing: neither {candidates[0]} nor {candidates[1].name} exists{links}; put one there, "
            f"set MODEL.ATTENTION.W2V_PATH, or train without them by MODEL.ATTENTION.EMBEDDING learned"
        )
    try:
        values = read_array(path)
    except Exception as error:  # damaged files raise many kinds
        raise DataError(f"{path} cannot be read as an array: {first_line(error)}") from None
    if not isinstance(values, np.ndarray) or values.dtype.kind not in "fiu" or values.ndim != 2:
        raise DataError(f"{path} must hold a numeric array (K, E), got {_describe(values)}")
    if len(values) != num_attributes:
        raise DataError(f"{path} has {len(values)} rows for {num_attributes} attributes")
    with np.errstate(over="ignore"):
        values = values.astype(np.float32)
    if not np.isfinite(values).all():
        raise DataError(f"{path}: row {np.flatnonzero(~np.isfinite(values).all(1))[0]} holds NaN or infinity")
    return values


def _describe(values: object) -> str:
    return f"{values.dtype} {values.shape}" if isinstance(values, np.ndarray) else type(values).__name__
