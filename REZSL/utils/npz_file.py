"""Files that ``np.savez`` wrote, by whomever: what they declare is compared with what they hold before it is loaded."""

import math
import os
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np
from numpy.lib import format as npy


@dataclass(frozen=True)
class Stored:
    """What an array must be: ``kinds`` as dtypes name them (``f`` floating, ``iu`` whole, ``U`` text), and its axes."""

    kinds: str
    ndim: int

    def __str__(self) -> str:
        words = {"f": "floating-point numbers", "iu": "whole numbers", "U": "texts", "fiu": "numbers"}
        return f"{self.ndim} axes of {words[self.kinds]}"


def read_npz(path: str | os.PathLike, wanted: Mapping[str, Stored]) -> dict[str, np.ndarray]:
    """Reads the arrays ``wanted``, whole numbers as int64; takes little more memory than the file has bytes.

    Raises:
        ValueError: an array is missing, of another kind, or declares another size than it has; with its name. A
            damaged archive raises many kinds of error.
    """
    length = os.path.getsize(path)
    with zipfile.ZipFile(Path(path)) as archive:
        members = {member.filename: member for member in archive.infolist()}
        if missing := [name for name in wanted if f"{name}.npy" not in members]:
            raise ValueError(f"{missing[0]} is missing")
        for name in wanted:
            member = members[f"{name}.npy"]
            if member.compress_type != zipfile.ZIP_STORED:
                raise ValueError(f"{name} is compressed, as np.savez leaves nothing")
            if not member.file_size == member.compress_size <= length:
                raise ValueError(f"{name} declares {member.file_size} bytes in a file of {length}")
        return {name: _read(archive, name, kind) for name, kind in wanted.items()}


def _read(archive: zipfile.ZipFile, name: str, wanted: Stored) -> np.ndarray:
    member = archive.getinfo(f"{name}.npy")
    with archive.open(member) as file:
        shape, dtype = _read_header(file)
        held = member.file_size - file.tell()
    fits = dtype.itemsize > 0 if dtype.kind == "U" else dtype.itemsize <= 8
    if dtype.kind not in wanted.kinds or len(shape) != wanted.ndim or not fits:
        raise ValueError(f"{name} has {len(shape)} axes of {dtype}, expected {wanted}")
    if (declared := math.prod(shape) * dtype.itemsize) != held:
        raise ValueError(f"{name} declares {declared} bytes and holds {held}")
    with archive.open(member) as file:  # anew, so that the checksum is that of all bytes
        array = npy.read_array(file, allow_pickle=False)
    if array.dtype.kind not in "iu":
        return array
    if array.size and array.max() > np.iinfo(np.int64).max:
        raise ValueError(f"{name} holds {array.max()}, which is too large")
    return array.astype(np.int64)


def _read_header(file: BinaryIO) -> tuple[tuple[int, ...], np.dtype]:
    readers = {(1, 0): npy.read_array_header_1_0, (2, 0): npy.read_array_header_2_0}
    version = npy.read_magic(file)
    if version not in readers:
        raise ValueError(f"an array is in version {version} of NumPy's format, expected 1.0 or 2.0")
    shape, _, dtype = readers[version](file)
    return shape, dtype
