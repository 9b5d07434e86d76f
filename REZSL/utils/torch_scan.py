"""What a torch file declares, looked at before anything of it is built.

``torch.load`` with ``weights_only`` runs no code of a file. It leaves open what is done here: the checksums of the
archive, sizes that a file declares and does not have (for which versions of torch take memory, or read beyond the end),
harmless objects beside the tensors, and what a file is that holds no tensors.
"""

import pickle
import zipfile
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import Any, BinaryIO

import torch

from .errors import DataError
from .text import brief

KINDS = (  # first bytes, and what they say
    (b"version https://git-lfs", "a Git-LFS pointer, not the file itself: fetch it by git lfs pull"),
    (b"\x89HDF", "an HDF5 file (Keras writes such): torch reads none"),
    (b"\x93NUMPY", "a NumPy array, not a torch file"),
    (b"\x1f\x8b", "compressed by gzip: unpack it first"),
    (b"\xfd7zXZ", "compressed by xz: unpack it first"),
    (b"BZh", "compressed by bzip2: unpack it first"),
    (b"%PDF", "a PDF document"),
    (b"GGUF", "a GGUF file: torch reads none"),
)
MAX_DEPTH = 100
EMPTIED = {  # modules whose objects lie beside tensors; each is read as an empty thing of its name
    *("argparse", "datetime", "decimal", "fractions", "lightning", "lightning_fabric", "numpy", "omegaconf", "pathlib"),
    *("pytorch_lightning", "types", "typing", "uuid", "yacs"),
}
ITEM_SIZES = {  # bytes an element, by the name of the storage
    **dict.fromkeys(
        ("ByteStorage", "CharStorage", "BoolStorage", "UntypedStorage", "QInt8Storage", "QUInt8Storage"), 1
    ),
    **dict.fromkeys(("QUInt4x2Storage", "QUInt2x4Storage"), 1),
    **dict.fromkeys(("HalfStorage", "BFloat16Storage", "ShortStorage"), 2),
    **dict.fromkeys(("FloatStorage", "IntStorage", "QInt32Storage"), 4),
    **dict.fromkeys(("DoubleStorage", "LongStorage", "ComplexFloatStorage"), 8),
    "ComplexDoubleStorage": 16,
}


def scan_torch_file(path: Path) -> list[Any]:
    """Checks that ``path`` is a torch file whose tensors have in it what they declare.

    Returns:
        What ``torch.serialization.safe_globals`` needs to read the objects of :data:`EMPTIED` beside them.

    Raises:
        DataError: it is something else, or damaged. Damaged files raise other kinds too.
    """
    with path.open("rb") as file:
        head = file.read(1024)
        file.seek(0)
        if not head:
            raise DataError(f"{path} cannot be read: it is empty")
        if head.lstrip().lower().startswith((b"<!doctype", b"<html", b"<head", b"<?xml")):
            raise DataError(
                f"{path} is a web page: the download gave it in place of the file (behind a login, or moved)"
            )
        for first, what in KINDS:
            if head.startswith(first):
                raise DataError(f"{path} is {what}")
        if not head.startswith(b"PK\x03\x04"):  # as torch decides
            return _scan_old(file, path)
        with zipfile.ZipFile(file) as archive:
            return _scan_archive(archive, path)


def _scan_archive(archive: zipfile.ZipFile, path: Path) -> list[Any]:
    members = archive.infolist()
    sizes = {member.filename.partition("/")[2]: member.file_size for member in members}
    if any(name.endswith(".npy") for name in archive.namelist()):
        raise DataError(f"{path} is a NumPy archive (.npz), not a torch file")
    for name, program in (("constants.pkl", "TorchScript (torch.jit.save)"), ("archive_format", "torch.export")):
        if name in sizes:
            raise DataError(f"{path} is a program of {program}, no weights: load it there and save its state_dict()")
    if "data.pkl" not in sizes:
        raise DataError(f"{path} is a zip archive, but no torch file: unpack it first")
    packed = [member.filename for member in members if member.compress_type != zipfile.ZIP_STORED]
    if packed:
        raise DataError(f"{path} has compressed members, which torch does not write: {brief(packed[0])}")
    if len(sizes) != len(members) or sum(sizes.values()) > path.stat().st_size:
        raise DataError(f"{path} is damaged: its members are more, or longer, than the file has")
    if (damaged := archive.testzip()) is not None:
        raise DataError(f"{path} is damaged: the checksum of {brief(damaged)} is wrong")
    with archive.open(next(member for member in members if member.filename.endswith("/data.pkl"))) as file:
        scan = _Scan(file)
        scan.load()
    for key, size in scan.storages.items():
        if (found := sizes.get(f"data/{key}")) != size:
            raise DataError(f"{path} is damaged: tensor {brief(key)} declares {size:,} bytes and has {found}")
    return scan.stand_ins()


def _scan_old(file: BinaryIO, path: Path) -> list[Any]:
    """Of the format before torch 1.6: pickles one after another, then the bytes."""
    scans = [_Scan(file) for _ in range(4)]  # a magic number, the version, the machine, the content
    try:
        magic = scans[0].load()
    except Exception:
        raise DataError(f"{path} cannot be read: it is no torch file") from None
    if magic != torch.serialization.MAGIC_NUMBER:
        raise DataError(f"{path} cannot be read: it is a pickle, but no torch file")
    for scan in scans[1:]:
        scan.load()
    declared, size = sum(scans[3].storages.values()), path.stat().st_size
    if declared > size:
        raise DataError(f"{path} is damaged: its tensors declare {declared:,} bytes, and the file has {size:,}")
    return scans[3].stand_ins()


class _Nothing:
    """Stands for an object of another program: takes whatever a pickle does with it, and keeps nothing."""

    def __new__(cls, *args: Any, **kwargs: Any) -> "_Nothing":
        return super().__new__(cls)

    def __init__(self, *args: Any, **kwargs: Any) -> None: ...

    def __setstate__(self, state: Any) -> None: ...

    def __setitem__(self, key: Any, value: Any) -> None:
        type(self).has_items = True

    def append(self, item: Any) -> None: ...

    def extend(self, items: Any) -> None: ...

    def __repr__(self) -> str:
        return f"a {type(self).__module__}.{type(self).__qualname__} that is not read"


class _Tuple(tuple):
    """One that is not nested deeply: to hash another, as a key or in a set, can end the process."""

    def __new__(cls, items: tuple) -> "_Tuple":
        made = super().__new__(cls, items)
        made.depth = 1 + max((item.depth for item in items if isinstance(item, _Tuple)), default=0)
        if made.depth > MAX_DEPTH:
            raise ValueError(f"more than {MAX_DEPTH} tuples in one another")
        return made


def _not_deep(load: Callable[["_Scan"], None]) -> Callable[["_Scan"], None]:
    def load_tuple(self: "_Scan") -> None:
        load(self)
        self.stack[-1] = _Tuple(self.stack[-1])

    return load_tuple


CODES = {code: load for code, load in pickle._Unpickler.dispatch.items() if code != pickle.BYTEARRAY8[0]}
CODES |= {code[0]: _not_deep(CODES[code[0]]) for code in (pickle.TUPLE, pickle.TUPLE1, pickle.TUPLE2, pickle.TUPLE3)}


class _Scan(pickle._Unpickler):  # the one in Python: that in C takes memory by what a pickle declares
    """Goes through a pickle of torch without importing or building anything, and notes the storages it declares."""

    dispatch = CODES

    def __init__(self, file: Any) -> None:
        super().__init__(file, encoding="latin1")
        self.storages: dict[str, int] = {}  # bytes by key
        self.classes: dict[tuple[str, str], type] = {}

    def find_class(self, module: str, name: str) -> type:
        if (module, name) not in self.classes:
            self.classes[module, name] = type(name, (_Nothing,), {"__module__": module, "has_items": False})
        return self.classes[module, name]

    def persistent_load(self, pid: Any) -> Any:
        if pid[0] == "module":  # of the old format: torch refuses it by its name
            return pid[1]
        kind, storage, key, _, count = pid[:5]
        if kind == "storage" and isinstance(count, int) and count >= 0:
            self.storages[str(key)] = max(count * ITEM_SIZES[storage.__name__], self.storages.get(str(key), 0))
            return _Nothing()
        raise ValueError("it declares what is no storage")

    def stand_ins(self) -> list[Any]:
        """What ``torch.load`` is to take for the harmless objects that came up."""
        harmless = [cls for (module, _), cls in self.classes.items() if module.split(".")[0] in EMPTIED]
        return [(OrderedDict, f"{c.__module__}.{c.__qualname__}") if c.has_items else c for c in harmless]
