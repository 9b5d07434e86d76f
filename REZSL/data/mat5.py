"""MATLAB 5 files (``-v6`` and ``-v7``): numbers, texts and cells, read with nothing but zlib and ``np.frombuffer``.

A file is a head of 128 bytes, then elements: a tag (kind, number of bytes) and that many bytes, padded to eight. Every
element here is a matrix, deflated (kind 15) or not (kind 14), whose content is again elements: flags, dimensions, name,
values. The invariant of this file: no number that a file declares is believed before it is compared with the bytes
that are there, so a damaged file can only be refused. SciPy's reader, in C, follows some of them out of its memory.
Source: MATLAB's "MAT-File Format", chapter 1.
"""

import math
import os
import struct
import zlib
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import BinaryIO

import numpy as np

MATRIX, DEFLATED = 14, 15
CELL, CHAR, SPARSE, OPAQUE = 1, 4, 5, 17
CLASSES = {2: "a struct", 3: "an object", SPARSE: "a sparse array", 16: "a function", OPAQUE: "an object"}
NUMBERS = {1: "i1", 2: "u1", 3: "i2", 4: "u2", 5: "i4", 6: "u4", 7: "f4", 9: "f8", 12: "i8", 13: "u8"}
TEXTS = {1: "latin-1", 2: "latin-1", 4: "utf-16", 16: "utf-8", 17: "utf-16", 18: "utf-32"}
COMPLEX = 0x800  # of the flags
MOST_TIMES, LEAST_BYTES = 100, 1 << 26  # a deflated variable above 64 MiB holds at most 100 times what the file has
DEPTH = 4  # of cells in cells
HEAD = 4096  # bytes of a deflated variable that hold its name
EMPTY = np.empty((0, 0))


class _Unsuitable(Exception):
    """What a sound variable is that is not read."""


def read_mat5(path: Path, wanted: Collection[str]) -> tuple[dict[str, np.ndarray | str], list[str]]:
    """Reads the variables ``wanted`` of those that ``path`` has.

    Returns:
        Their content by name: numbers in the type that the file keeps them in, texts as an array of lines, cells as an
        object array of such; of anything else, what it is. And the names of all variables in the file.

    Raises:
        ValueError: the file contradicts itself.
    """
    content: dict[str, np.ndarray | str] = {}
    names: list[str] = []
    with open(path, "rb") as file:
        order = "<" if _exactly(file, 128)[126:] == b"IM" else ">"
        size = os.fstat(file.fileno()).st_size
        while file.tell() < size:
            kind, length = struct.unpack(f"{order}II", _exactly(file, 8))
            start = file.tell()
            if length > size - start:
                raise ValueError(f"a variable at byte {start} declares {length} bytes, {size - start} are there")
            name = _name(_head(file, kind, length, order), order)
            if name in wanted:
                if name in content:
                    raise ValueError(f"it holds {name!r} twice")
                file.seek(start)
                try:
                    content[name] = _matrix(_whole(file, kind, length, order), order)
                except _Unsuitable as what:
                    content[name] = str(what)
            names += [name] if name else []
            file.seek(start + length)
    return content, names


def _exactly(file: BinaryIO, count: int) -> bytes:
    content = file.read(count)
    if len(content) < count:
        raise ValueError(f"it ends {count - len(content)} bytes too early")
    return content


def _head(file: BinaryIO, kind: int, length: int, order: str) -> memoryview:
    """The beginning of a variable, which holds its name."""
    begin = file.read(min(length, HEAD))
    if kind == DEFLATED:
        begin = _inflated(begin, HEAD)
        kind, length = struct.unpack_from(f"{order}II", begin) if len(begin) >= 8 else (0, 0)
        begin = begin[8:]
    if kind != MATRIX:
        raise ValueError(f"a variable is of the unknown kind {kind}")
    return memoryview(begin)[:length]


def _whole(file: BinaryIO, kind: int, length: int, order: str) -> memoryview:
    content = _exactly(file, length)
    if kind == MATRIX:
        return memoryview(content)
    size = struct.unpack(f"{order}II", _inflated(content, 8))[1]
    if size > max(MOST_TIMES * length, LEAST_BYTES):
        raise ValueError(f"{length} deflated bytes declare {size}: more than {MOST_TIMES} times as many are not read")
    matrix = memoryview(_inflated(content, 8 + size))[8:]
    if len(matrix) < size:
        raise ValueError(f"a variable declares {size} bytes and inflates to {len(matrix)}")
    return matrix


def _inflated(content: bytes, limit: int) -> bytes:
    try:
        return zlib.decompressobj().decompress(content, limit)
    except zlib.error as error:
        raise ValueError(f"a variable does not inflate: {error}") from None


def _elements(matrix: memoryview, order: str) -> Iterator[tuple[int, memoryview]]:
    """The (kind, bytes) of what ``matrix`` holds, one after the other; short ones lie within their tag."""
    place = 0
    while place + 8 <= len(matrix):
        kind, length = struct.unpack_from(f"{order}II", matrix, place)
        start = place + 8
        if kind >> 16:
            kind, length, start = kind & 0xFFFF, kind >> 16, place + 4
        end = start + length
        if end > (place + 8 if start < place + 8 else len(matrix)):
            raise ValueError(f"an element declares {length} bytes, {max(len(matrix) - start, 0)} are there")
        yield kind, matrix[start:end]
        place = end + -end % 8 if start == place + 8 else place + 8


def _next(elements: Iterator[tuple[int, memoryview]]) -> tuple[int, memoryview]:
    found = next(elements, None)
    if found is None:
        raise ValueError("a variable ends before its content")
    return found


def _flags(elements: Iterator[tuple[int, memoryview]], order: str) -> int:
    _, flags = _next(elements)
    if len(flags) != 8:
        raise ValueError("a variable has no flags")
    return struct.unpack_from(f"{order}I", flags)[0]


def _name(head: memoryview, order: str) -> str:
    """The name of the variable that begins with ``head``; empty for what has none."""
    elements = _elements(head, order)
    if _flags(elements, order) & 0xFF != OPAQUE:
        _next(elements)  # dimensions
    return bytes(_next(elements)[1]).decode("latin-1")


def _matrix(matrix: memoryview, order: str, depth: int = 0) -> np.ndarray:
    if not len(matrix):  # an empty cell
        return EMPTY
    elements = _elements(matrix, order)
    flags = _flags(elements, order)
    what = flags & 0xFF
    if what in CLASSES:
        raise _Unsuitable(CLASSES[what])
    shape = _shape(_next(elements)[1], order)
    _next(elements)  # its name
    if flags & COMPLEX:
        raise _Unsuitable("an array of complex numbers")
    if what == CELL:
        return _cells(elements, shape, len(matrix), order, depth)
    if what == CHAR:
        return _text(*_next(elements), shape, order)
    if not 6 <= what <= 15:
        raise ValueError(f"a variable is of the unknown class {what}")
    return _numbers(*_next(elements), shape, order)


def _shape(dimensions: memoryview, order: str) -> tuple[int, ...]:
    shape = tuple(np.frombuffer(dimensions, f"{order}i4").tolist()) if len(dimensions) % 4 == 0 else ()
    if not 2 <= len(shape) <= 32 or min(shape) < 0:
        raise ValueError(f"a variable has the dimensions {shape[:8]}")
    return shape


def _numbers(kind: int, values: memoryview, shape: tuple[int, ...], order: str) -> np.ndarray:
    if kind not in NUMBERS:
        raise ValueError(f"a numeric variable holds elements of kind {kind}")
    dtype = np.dtype(order + NUMBERS[kind])
    if len(values) != math.prod(shape) * dtype.itemsize:
        raise ValueError(f"a variable of {dtype} {shape} has {len(values)} bytes")
    return np.frombuffer(values, dtype).reshape(shape, order="F")


def _text(kind: int, letters: memoryview, shape: tuple[int, ...], order: str) -> np.ndarray:
    if kind not in TEXTS:
        raise ValueError(f"a text holds elements of kind {kind}")
    coding = TEXTS[kind] + {"<": "-le", ">": "-be"}[order] * TEXTS[kind].startswith(("utf-16", "utf-32"))
    text = bytes(letters).decode(coding, "replace")
    if len(shape) == 2 and shape[0] == 1:
        return np.array([text])
    if len(shape) != 2 or len(text) != math.prod(shape):
        raise ValueError(f"a text of {shape} has {len(text)} letters")
    return np.array([text[row :: shape[0]] for row in range(min(shape[0], len(text)))], dtype=np.str_)


def _cells(
    elements: Iterator[tuple[int, memoryview]],
    shape: tuple[int, ...],
    length: int,
    order: str,
    depth: int,
) -> np.ndarray:
    count = math.prod(shape)
    if count > length // 8 or depth == DEPTH:
        raise ValueError(f"{count} cells in {length} bytes, {depth} cells deep")
    cells = np.empty(count, object)
    for i in range(count):
        kind, content = _next(elements)
        if kind != MATRIX:
            raise ValueError(f"a cell is of the unknown kind {kind}")
        cells[i] = _matrix(content, order, depth + 1)
    return cells.reshape(shape, order="F")
