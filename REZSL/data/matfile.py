"""One .mat file whose complaints name it."""

from collections.abc import Collection
from pathlib import Path

import numpy as np

from REZSL.utils.errors import DataError, first_line
from REZSL.utils.files import absence

from .mat5 import read_mat5
from .mat73 import read_mat73
from .rehearsal import rehearse

HDF5 = b"\x89HDF\r\n\x1a\n"
VERSIONS = (b"\x00\x01IM", b"\x01\x00MI")  # of MATLAB 5 files, which end a head of 128 bytes
MOST = 2**53  # whole numbers above are no longer exact in float64


class MatFile:
    """Some variables of a .mat file, by name.

    Args:
        path: the file.
        wanted: names of the variables to read, where the file has them.

    Attributes:
        names: of all variables in the file.
        content: the variables read; what is no array of numbers, text or cells is told as a word in its place.

    Raises:
        DataError: the file is missing or damaged, or (when asked for) a variable is; says which, and what to do.
    """

    def __init__(self, path: Path, wanted: Collection[str]) -> None:
        self.path = path
        try:
            if not path.is_file():
                advice = "unpack xlsa17.zip so that this file exists, or set DATASETS.ROOT"
                raise DataError(f"{path} {absence(path)}: {advice}")
            self.content, self.names = _read(path, wanted)
        except DataError:
            raise
        except Exception as error:  # h5py raises many kinds for damaged files
            raise DataError(f"{path} cannot be read, it may be truncated: {first_line(error)}") from None

    def __getitem__(self, key: str) -> np.ndarray:
        if key not in self.content:
            raise DataError(f"{self.path} has no {key!r}; it has {', '.join(self.names)}")
        values = self.content[key]
        if isinstance(values, str):
            advice = f"save {key} as a full array" if "sparse" in values else "save it as numbers, text or cells"
            raise DataError(f"{self.path}: {key} is {values}, which is not read: {advice}")
        return values

    def strings(self, key: str) -> tuple[str, ...]:
        """The cells of ``key`` as text; empty where the file has no such key."""
        if key not in self.content:
            return ()
        return tuple("".join(str(part) for part in np.ravel(cell)).strip() for cell in np.ravel(self[key]))

    def integers(self, key: str) -> np.ndarray:
        """The whole numbers of ``key``, flat, as int64."""
        values = np.ravel(self[key])
        if values.dtype.kind not in "iuf":
            raise DataError(f"{self.path}: {key} must hold whole numbers, got {_kind(values)}")
        with np.errstate(invalid="ignore"):
            broken = values[~((values == np.floor(values)) & (values >= -MOST) & (values <= MOST))]
        if len(broken):
            raise DataError(f"{self.path}: {key} must hold whole numbers, got {broken[0]}")
        return values.astype(np.int64)


def _read(path: Path, wanted: Collection[str]) -> tuple[dict[str, np.ndarray | str], list[str]]:
    with open(path, "rb") as file:
        head = file.read(512 + len(HDF5))
    if HDF5 in (head[: len(HDF5)], head[512:]):
        try:
            import h5py  # noqa: F401
        except ImportError:
            raise DataError(
                f"{path} is in MATLAB 7.3 format, which h5py reads: pip install h5py, or save it again with '-v7'"
            ) from None
        rehearse(path, wanted)
        return read_mat73(str(path), wanted)
    if head[124:128] not in VERSIONS:
        raise ValueError("it is no MATLAB file of the formats -v6, -v7 and -v7.3")
    return read_mat5(path, wanted)


def _kind(values: np.ndarray) -> str:
    return {"O": "cells", "U": "text"}.get(values.dtype.kind, str(values.dtype))
