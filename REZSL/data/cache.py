"""Arrays that are made once and read many times, in shared memory or in a memory-mapped file."""

import hashlib
import logging
import os
import re
import shutil
import time
import zlib
from collections.abc import Sequence
from contextlib import suppress
from functools import lru_cache
from itertools import accumulate
from math import prod
from pathlib import Path

import torch
from torch import Tensor

from REZSL.utils.errors import DataError, RunError
from REZSL.utils.files import atomic_path

from .loading import SHARED_MEMORY

log = logging.getLogger(__name__)

OURS = re.compile(r".+-[0-9a-f]{16}\.arrays")  # what is finished, and
UNFINISHED = re.compile(r"\..+-[0-9a-f]{16}\.\w{8}\.arrays|.+-[0-9a-f]{16}\.part")  # what is not:
STALE = 3600  # seconds after which that is a killed process's; no other file of the folder is ever removed
ENTRY = 16  # bytes of an array's stamp and checksum


class ArrayCache:
    """A fixed place for each of n arrays in one buffer, which all processes of a run share.

    An array is written before its checksum and its stamp, so a process killed while it writes leaves no half array that
    counts; what is finished stays. In a file, each process compares an array with its checksum (CRC-32, a fraction of
    the time that decoding or a backbone takes) when it first reads it: bytes that changed on the disk, or that never
    came there before the power failed, are made anew.

    Args:
        shapes: of the n arrays.
        dtype: of all of them.
        limit: bytes the buffer may take; arrays that do not fit have no place.
        path: of the file; None: shared memory. An existing file must be of the same arguments; one of another length
            was damaged, and is made anew.

    Raises:
        DataError: there is too little shared memory for the buffer.
        RunError: the file cannot be written.
    """

    def __init__(
        self, shapes: Sequence[tuple[int, ...]], dtype: torch.dtype, limit: float, path: Path | None = None
    ) -> None:
        self.dtype, self.path = dtype, path
        self.header = ENTRY * len(shapes)  # all stamps, then all checksums
        sizes = [prod(shape) * dtype.itemsize for shape in shapes]
        ends = list(accumulate(sizes, initial=self.header))
        self.shapes = [tuple(shape) for shape, end in zip(shapes, ends[1:], strict=True) if end <= limit]
        self.starts = ends[: len(self.shapes)]
        self.size = ends[len(self.shapes)]
        self.checked = bytearray(len(self.shapes))
        if path is None:
            self.buffer = _shared_memory(self.size)
            return
        found = path.stat().st_size if path.exists() else None
        if found not in (None, self.size):
            log.warning("the cache %s has %d bytes where %d belong: it is made anew", path, found, self.size)
        if found != self.size:
            _reserve(path, self.size)
        os.utime(path)  # the file that was not used for longest goes first
        self._map()

    @property
    def stamps(self) -> Tensor:
        """(n,) int64 what each array was made of; 0: it is not there."""
        return self.buffer[: self.header // 2].view(torch.int64)

    @property
    def checksums(self) -> Tensor:
        """(n,) int64 of each array's bytes."""
        return self.buffer[self.header // 2 : self.header].view(torch.int64)

    def get(self, number: int, stamp: int) -> Tensor | None:
        """Returns array ``number``, without copying it, or None where none, or a damaged one, is of this ``stamp``."""
        if number >= len(self.shapes) or self.stamps[number] != stamp:
            return None
        if self.path is not None and not self.checked[number]:
            if self.checksums[number] != zlib.crc32(self._bytes(number).numpy()):
                warn_once(f"the cache {self.path} is damaged: what has changed in it is made anew")
                return None
            self.checked[number] = True
        return self._bytes(number).view(self.dtype).view(self.shapes[number])

    def put(self, number: int, stamp: int, array: Tensor) -> None:
        """Puts ``array`` in its place, if it has one; ``stamp`` says what it was made of (any integer but 0)."""
        if number >= len(self.shapes):
            return
        if array.shape != self.shapes[number]:
            raise ValueError(f"an array of {tuple(array.shape)} for a place of {self.shapes[number]}")
        self.stamps[number] = 0
        self._bytes(number).view(self.dtype).view(array.shape).copy_(array)
        self.checksums[number] = zlib.crc32(self._bytes(number).numpy())
        self.stamps[number] = stamp

    def stacked(self) -> Tensor:
        """All arrays, which must have the same shape and a place each: (n, ...), without copying them."""
        return self.buffer[self.header :].view(self.dtype).view(len(self.shapes), *self.shapes[0])

    def _bytes(self, number: int) -> Tensor:
        start = self.starts[number]
        return self.buffer[start : start + prod(self.shapes[number]) * self.dtype.itemsize]

    def _map(self) -> None:
        self.buffer = torch.from_file(str(self.path), shared=True, size=self.size, dtype=torch.uint8)

    def __getstate__(self) -> dict:
        return self.__dict__ if self.path is None else self.__dict__ | {"buffer": None}

    def __setstate__(self, state: dict) -> None:
        self.__dict__.update(state)
        if self.path is None:
            return
        if not self.path.exists() or self.path.stat().st_size != self.size:  # mapping it would fill it up with zeros
            raise DataError(f"the cache {self.path} was removed or cut while it was in use: start again")
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

    Raises:
        DataError: there is no room, or the folder cannot be written to.
    """
    if kind == "ram":
        return ArrayCache(shapes, dtype, limit)
    folder = Path(folder)
    path = folder / f"{name}-{digest('with checksums', key, dtype, limit, *shapes):016x}.arrays"
    needed = min(limit, cache_size(shapes, dtype))
    try:
        _make_room(folder, path, needed, limit)
        return ArrayCache(shapes, dtype, limit, path)
    except (OSError, RunError) as error:
        problem = f"cannot write {path}: {error.strerror}" if isinstance(error, OSError) else error
        raise DataError(
            f"{problem} (a cache of {size_text(needed)}): "
            f"lower DATALOADER.CACHE_GB, or choose another DATALOADER.CACHE_DIR"
        ) from None


def cache_size(shapes: Sequence[tuple[int, ...]], dtype: torch.dtype) -> int:
    """Bytes of a cache in which every array has a place."""
    return sum(ENTRY + prod(shape) * dtype.itemsize for shape in shapes)


def size_text(size: float) -> str:
    """``size`` bytes, to be read by people."""
    return f"{size / 1e9:.1f} GB" if size >= 1e9 else f"{size / 1e6:.1f} MB"


@lru_cache(1000)
def warn_once(message: str) -> None:
    """Logs ``message``, which may come up image by image, the first time only."""
    log.warning("%s", message)


def digest(*parts: object) -> int:
    """Returns 63 bits, never 0, that depend on the text of every part."""
    text = "\0".join(map(str, parts)).encode("utf-8", "surrogateescape")
    return int.from_bytes(hashlib.sha256(text).digest()[:8], "little") >> 1 or 1


def file_stamp(path: str | os.PathLike, *parts: object) -> int:
    """A stamp of what is made of the file at ``path``: it changes with the file and with ``parts``."""
    found = os.stat(path)
    return digest(os.fspath(path), found.st_size, found.st_mtime_ns, *parts)


def _make_room(folder: Path, path: Path, needed: float, limit: float) -> None:
    """Removes unfinished files of killed processes, then the oldest caches but ``path`` until the new one fits."""
    found = {}
    for other in folder.glob("*"):
        with suppress(FileNotFoundError):  # another process makes room, too
            found[other] = other.stat()
    for other, facts in found.items():
        if UNFINISHED.fullmatch(other.name) and facts.st_mtime < time.time() - STALE:
            log.info("removing the unfinished cache %s", other)
            other.unlink(missing_ok=True)
    caches = {other: facts for other, facts in found.items() if OURS.fullmatch(other.name) and other != path}
    total = sum(facts.st_size for facts in caches.values())
    for other in sorted(caches, key=lambda other: caches[other].st_mtime):
        if total + needed <= limit:
            return
        log.info("removing the older cache %s", other)
        total -= caches[other].st_size
        other.unlink(missing_ok=True)


def _reserve(path: Path, size: int) -> None:
    """Makes a file of zeros whose blocks exist: a full disk is told now, not by a signal while writing."""
    with atomic_path(path) as temporary, open(temporary, "rb+") as file:
        if hasattr(os, "posix_fallocate"):
            os.posix_fallocate(file.fileno(), 0, size)
        file.truncate(size)


def _shared_memory(size: int) -> Tensor:
    free = shutil.disk_usage(SHARED_MEMORY).free if SHARED_MEMORY.is_dir() else size
    try:
        if size > free:
            raise RuntimeError
        memory = torch.UntypedStorage._new_shared(size)  # zeros, taken now
    except RuntimeError:  # torch's own, where another process was quicker
        raise DataError(
            f"DATALOADER.CACHE ram needs {size_text(size)} of shared memory for each process here, {SHARED_MEMORY} has "
            f"{size_text(free)} free: lower DATALOADER.CACHE_GB, set DATALOADER.CACHE disk, or give a container more "
            f"(docker run --shm-size)"
        ) from None
    return torch.empty(0, dtype=torch.uint8).set_(memory)
