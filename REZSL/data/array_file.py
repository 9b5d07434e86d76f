"""One array out of a ``.npy`` file or a pickle, without executing or believing anything the file says.

A pickle is a program. Of it are run only the operations that an array needs, and the names that it may look up are
stand-ins, which record type, shape and bytes. NumPy is given these only after they agree with each other, and no size
that a file declares is believed before that many bytes are seen to be there.
"""

import io
import math
import pickle
import pickletools
import re
from collections.abc import Callable
from pathlib import Path

import numpy as np

from REZSL.utils.errors import first_line

ORDERS = "<>=|"
HARMLESS = {  # operations that build numbers, texts, bytes, tuples and lists, keep and fetch them, and call stand-ins
    "PROTO", "FRAME", "STOP", "MARK", "POP", "POP_MARK", "DUP", "NONE", "NEWTRUE", "NEWFALSE", "INT", "BININT",
    "BININT1", "BININT2", "LONG", "LONG1", "FLOAT", "BINFLOAT", "STRING", "BINSTRING", "SHORT_BINSTRING", "UNICODE",
    "BINUNICODE", "SHORT_BINUNICODE", "BINUNICODE8", "BINBYTES", "SHORT_BINBYTES", "BINBYTES8", "BYTEARRAY8",
    "EMPTY_TUPLE", "TUPLE", "TUPLE1", "TUPLE2", "TUPLE3", "EMPTY_LIST", "LIST", "APPEND", "APPENDS", "PUT", "BINPUT",
    "LONG_BINPUT", "MEMOIZE", "GET", "BINGET", "LONG_BINGET", "GLOBAL", "STACK_GLOBAL", "REDUCE", "BUILD",
}  # fmt: skip
ONLY = "only plain NumPy arrays are read"


def read_array(path: Path) -> object:
    """Reads a ``.npy`` file, or a pickle of an array made by NumPy 1 or 2 under Python 2 or 3.

    A file whose line feeds became CR LF on its way is read as it was before, if the sizes it declares agree then.

    Returns:
        The array; or whatever else a pickle holds, of the plain types.

    Raises:
        ValueError: the file holds something else, or contradicts itself.
    """
    content = path.read_bytes()
    read = _read_npy if path.suffix == ".npy" else _read_pickle
    try:
        return read(content)
    except Exception as error:  # pickles raise many kinds
        problem = first_line(error)
    if b"\r\n" not in content or content.count(b"\n") > content.count(b"\r\n"):
        raise ValueError(problem)
    try:
        return read(content.replace(b"\r\n", b"\n"))
    except Exception:
        raise ValueError(f"{problem}; its line feeds became CR LF: fetch it again, as binary") from None


def _array(data: bytes, code: str, shape: object, fortran: bool) -> np.ndarray:
    """The array of ``shape`` that ``data`` holds, if it does."""
    if not re.fullmatch(rf"[{ORDERS}]?[biufcSU]\d{{1,2}}", code):
        raise ValueError(f"it holds an array of the type {code[:20]!r}: {ONLY}")
    if not isinstance(shape, tuple) or len(shape) > 32 or not all(type(n) is int and n >= 0 for n in shape):
        raise ValueError("the shape of its array is no tuple of sizes")
    dtype = np.dtype(code)
    if math.prod(shape) * dtype.itemsize != len(data):
        raise ValueError(f"its array of {dtype} {shape} has {len(data)} bytes")
    return np.frombuffer(data, dtype).reshape(shape, order="F" if fortran else "C")


def _read_npy(content: bytes) -> np.ndarray:
    file = io.BytesIO(content)
    version = np.lib.format.read_magic(file)
    heads = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}
    if version not in heads:
        raise ValueError(f"it is of the npy format {version[0]}.{version[1]}: {ONLY}")
    shape, fortran, dtype = heads[version](file)
    return _array(content[file.tell() :], dtype.str, shape, fortran)


class _Type:
    """Stands for ``numpy.dtype``."""

    def __init__(self, code: object, *_: object) -> None:
        self.code, self.order = _word(code), ""

    def __setstate__(self, state: tuple) -> None:
        self.order = _word(state[1])

    def __str__(self) -> str:
        return self.code if self.code[:1] in ORDERS else self.order.replace("|", "") + self.code


def _word(value: object) -> str:
    if not isinstance(value, str):  # and never turned into text: nested lists grow without end
        raise ValueError(f"a {type(value).__name__} stands for a type of numbers: {ONLY}")
    return value


class _Array:
    """Stands for ``numpy.ndarray``: what the file says of one, not yet judged."""

    said: tuple | None = None

    def __setstate__(self, state: tuple) -> None:
        _, shape, dtype, fortran, data = state
        self.said = data, dtype, shape, fortran

    def judged(self) -> np.ndarray:
        data, dtype, shape, fortran = self.said or (None, None, None, None)
        if not isinstance(data, bytes | bytearray | str) or not isinstance(dtype, _Type):
            raise ValueError(f"its array holds objects: {ONLY}")
        content = data.encode("latin-1") if isinstance(data, str) else bytes(data)
        return _array(content, str(dtype), shape, fortran is True or fortran == 1)


def _reconstruct(*_: object) -> _Array:
    return _Array()


def _frombuffer(data: object, dtype: object, shape: object, order: object) -> _Array:
    array = _Array()
    array.__setstate__((1, shape, dtype, order == "F", data))
    return array


def _encode(text: str, coding: str) -> bytes:
    if coding not in ("latin1", "latin-1"):
        raise ValueError(f"it holds text as {coding}: {ONLY}")
    return text.encode("latin-1")


STAND_INS: dict[tuple[str, str], Callable] = {
    ("numpy", "ndarray"): _Array,
    ("numpy", "dtype"): _Type,
    ("_codecs", "encode"): _encode,
    **{(f"numpy.{core}.multiarray", "_reconstruct"): _reconstruct for core in ("core", "_core")},
    **{(f"numpy.{core}.numeric", "_frombuffer"): _frombuffer for core in ("core", "_core")},
}


class _Unpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Callable:
        if (module, name) not in STAND_INS:
            raise ValueError(f"refused to load {module}.{name}: {ONLY}"[:200])
        return STAND_INS[module, name]


def _read_pickle(content: bytes) -> object:
    for place, (operation, argument, _) in enumerate(pickletools.genops(content)):  # sees that arguments are all there
        if operation.name not in HARMLESS:
            raise ValueError(f"it uses {operation.name}: {ONLY}")
        if operation.name == "FRAME" and argument > len(content):
            raise ValueError(f"it declares a frame of {argument} bytes and has {len(content)}")
        if operation.name.endswith("PUT") and not 0 <= argument <= place:
            raise ValueError(f"its operation {place} fills the memo's place {argument}")
    found = _Unpickler(io.BytesIO(content), encoding="latin1").load()
    return found.judged() if isinstance(found, _Array) else found
