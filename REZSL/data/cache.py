"""Arrays that are made once and read many times, in shared memory or in a memory-mapped file."""

import hashlib
import logging
import os
import re
import shutil
from collections.abc import Sequence
from itertools import accumulate
from math import prod
from pathlib import Path

import torch
from torch import Tensor

from REZSL.utils.errors import DataError

log = logging.getLogger(__name__)

OURS = re.compile(r".+-[0-9a-f]{16}\.arrays")  # no other file of the folder is ever removed
SHARED_MEMORY = Path("/dev/shm")


class ArrayCache:
    """A fixed place for each of n arrays in one buffer, which all processes of a run share.

    An array is written before its stamp, so a process killed while it writes leaves no half array that counts; what is
    finished stays. (A machine that loses its power may leave a stamp without its array: remove the file then.)

    Args:
        shapes: of the n arrays.
        dtype: of all of them.
        limit: bytes the buffer may take; arrays that do not fit have no place.
        path: of the file; None: shared memory. An existing file must be of the same arguments.

    Raises:
        DataError: there is no room for the buffer.
    """

    def __init__(
        self, shapes: Sequence[tuple[int, ...]], dtype: torch.dtype, limit: float, path: Path | None = None
    ) -> None:
        self.dtype, self.path = dtype, path
        self.header = 8 * len(shapes)  # a stamp for each array
        sizes = [prod(shape) * dtype.itemsize for shape in shapes]
        ends = list(accumulate(sizes, initial=self.header))
        self.shapes = [shape for shape, end in zip(shapes, ends[1:], strict=True) if end <= limit]
        self.starts = ends[: len(self.shapes)]
        self.size = ends[len(self.shapes)]
        if path is None:
            self.buffer = _shared_memory(self.size)
        else:
            if not path.exists():
                _reserve(path, self.size)
            os.utime(path)  # the file that was not used for longest goes first
            self._map()

    @property
    def stamps(self) -> Tensor:
        """(n,) int64 what each array was made of; 0: it is not there."""
        return self.buffer[: self.header].view(torch.int64)

    def get(self, number: int, stamp: int) -> Tensor | None:
        """Returns array ``number``, without copying it, or None where none was put with this ``stamp``."""
        if number >= len(self.shapes) or self.stamps[number] != stamp:
            return None
        return self._place(number)

    def put(self, number: int, stamp: int, array: Tensor) -> None:
        """Puts ``array`` in its place, if it has one; ``stamp`` says what it was made of (any integer but 0)."""
        if number < len(self.shapes):
            self.stamps[number] = 0
            self._place(number).copy_(array)
            self.stamps[number] = stamp

    def stacked(self) -> Tensor:
        """All arrays, which must have the same shape and a place each: (n, ...), without copying them."""
        return self.buffer[self.header :].view(self.dtype).view(len(self.shapes), *self.shapes[0])

    def _place(self, number: int) -> Tensor:
        start, shape = self.starts[number], self.shapes[number]
        return self.buffer[start : start + prod(shape) * self.dtype.itemsize].view(self.dtype).view(shape)

    def _map(self) -> None:
        self.buffer = torch.from_file(str(self.path), shared=True, size=self.size, dtype=torch.uint8)

    def __getstate__(self) -> dict:
        return self.__dict__ if self.path is None else self.__dict__ | {"buffer": None}

    def __setstate__(self, state: dict) -> None:
        self.__dict__.update(state)
        if self.path is None:
            return
        if not self.path.exists():  # mapping it would make one of zeros
            raise DataError(f"the cache {self.path} was removed while it was in use: start again")
        self._map()


def open_cache(
    kind: str, folder: str | os.PathLike, name: str, key: str, shapes: Sequence[tuple[int, ...]], dtype: torch.dtype,
    limit: float,
) -> ArrayCache:  # fmt: skip
    """Opens the cache of ``shapes``, which other runs with the same ``key`` share if it is on disk.

    Args:
        kind: ``ram`` or ``disk``.
        folder: where files lie; those that were not used for longest are removed until the new one fits the limit.
        name: begins the file's name.
        key: says, with the shapes, all that the arrays depend on beside their stamps.
        shapes: of the arrays.
        dtype: of all of them.
        limit: bytes that all files of the folder may take together.
    """
    if kind == "ram":
        return ArrayCache(shapes, dtype, limit)
    folder = Path(folder)
    path = folder / f"{name}-{digest(key, dtype, limit, *shapes):016x}.arrays"
    needed = min(limit, sum(8 + prod(shape) * dtype.itemsize for shape in shapes))
    _make_room(folder, path, needed, limit)
    return ArrayCache(shapes, dtype, limit, path)


def digest(*parts: object) -> int:
    """Returns 63 bits, never 0, that depend on the text of every part."""
    text = "\0".join(map(str, parts)).encode("utf-8", "surrogateescape")
    return int.from_bytes(hashlib.sha256(text).digest()[:8], "little") >> 1 or 1


def file_stamp(path: str | os.PathLike, *parts: object) -> int:
    """A stamp of what is made of the file at ``path``: it changes with the file and with ``parts``."""
    found = os.stat(path)
    return digest(os.fspath(path), found.st_size, found.st_mtime_ns, *parts)


def _make_room(folder: Path, path: Path, needed: float, limit: float) -> None:
    others = [other for other in folder.glob("*.arrays") if OURS.fullmatch(other.name) and other != path]
    by_age = sorted(others, key=lambda other: other.stat().st_mtime)
    total = sum(other.stat().st_size for other in by_age)
    for other in by_age:
        if total + needed <= limit:
            return
        log.info("removing the older cache %s", other)
        total -= other.stat().st_size
        other.unlink()


def _reserve(path: Path, size: int) -> None:
    """Makes a file of zeros whose blocks exist: a full disk is told now, not by a signal while writing."""
    temporary = path.with_suffix(".part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with open(temporary, "wb") as file:
            if hasattr(os, "posix_fallocate"):
                os.posix_fallocate(file.fileno(), 0, size)
            file.truncate(size)
        os.replace(temporary, path)
    except OSError as error:
        temporary.unlink(missing_ok=True)
        raise DataError(
            f"DATALOADER.CACHE_DIR {path.parent}: no room for a cache of {size / 1e9:.1f} GB ({error.strerror}): "
            f"lower DATALOADER.CACHE_GB or choose another folder"
        ) from None


def _shared_memory(size: int) -> Tensor:
    if SHARED_MEMORY.is_dir() and size > (free := shutil.disk_usage(SHARED_MEMORY).free):
        raise DataError(
            f"DATALOADER.CACHE ram needs {size / 1e9:.1f} GB of shared memory, and {free / 1e9:.1f} GB are free: "
            f"lower DATALOADER.CACHE_GB, or set DATALOADER.CACHE disk"
        )
    return torch.empty(0, dtype=torch.uint8).set_(torch.UntypedStorage._new_shared(size))  # zeros, taken as written
