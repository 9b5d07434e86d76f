"""MATLAB 7.3 files, which are HDF5: the only ones that hold variables above 2 GB. Reading them takes h5py.

Imports nothing of the package: a child process runs this file alone (see :mod:`REZSL.data.rehearsal`).
"""

from collections.abc import Collection
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import h5py

MOST_TIMES, LEAST_BYTES = 100, 1 << 26  # a variable above 64 MiB holds at most 100 times what it takes in the file
DEPTH = 4  # of cells in cells


def read_mat73(path: str, wanted: Collection[str]) -> tuple[dict[str, np.ndarray | str], list[str]]:
    """Reads as :func:`~REZSL.data.mat5.read_mat5` does.

    Raises:
        ImportError: there is no h5py.
        ValueError, OSError, RuntimeError, KeyError, TypeError: the file contradicts itself.
    """
    import h5py

    with h5py.File(path, "r") as file:
        names = [name for name in file if not name.startswith("#")]
        inside = [name for name in names if not isinstance(file.get(name, getlink=True), h5py.ExternalLink)]
        return {name: _content(file, file[name]) for name in inside if name in wanted}, names


def _content(file: "h5py.File", item: "h5py.Dataset | h5py.Group", depth: int = 0) -> np.ndarray | str:
    """The content of a variable, its axes in MATLAB's order, which is the reverse of HDF5's."""
    if not hasattr(item, "dtype"):
        return "a sparse array" if "MATLAB_sparse" in item.attrs else "a struct"
    if item.external or item.is_virtual:
        return "kept in another file"
    what = item.attrs.get("MATLAB_class", b"")
    if item.attrs.get("MATLAB_empty", 0):
        return _empty(item[()].tolist())
    size, kept = item.size * item.dtype.itemsize, item.id.get_storage_size()
    if size > max(MOST_TIMES * kept, LEAST_BYTES):
        raise ValueError(f"a variable of {kept} bytes declares {size}: more than {MOST_TIMES} times as many")
    if item.dtype.kind == "O":  # references
        if depth == DEPTH:
            raise ValueError(f"cells are more than {DEPTH} deep")
        return _cells(file, item, depth)
    if item.dtype.kind not in "iufb":
        return f"an array of {item.dtype}"
    values = item[()].T
    return _lines(values) if what == b"char" else values


def _empty(shape: list[int]) -> np.ndarray:
    if 0 not in shape or len(shape) > 32:
        raise ValueError(f"an empty variable has the dimensions {shape[:8]}")
    return np.empty(shape)


def _cells(file: "h5py.File", item: "h5py.Dataset", depth: int) -> np.ndarray:
    references = item[()].T
    cells = np.empty(references.shape, object)
    for place, reference in np.ndenumerate(references):
        cells[place] = _content(file, file[reference], depth + 1)
    return cells


def _lines(letters: np.ndarray) -> np.ndarray:
    rows = np.atleast_2d(letters).astype("<u2")
    return np.array([row.tobytes().decode("utf-16-le", "replace") for row in rows], dtype=np.str_)
