"""Files that ``torch.save`` wrote, by whomever: read without executing anything, and only when they are whole."""

import os
import zipfile
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from .errors import DataError, first_line


def read_torch_file(path: str | os.PathLike) -> Any:
    """Reads ``path`` to the CPU.

    Raises:
        DataError: it is missing, damaged, or holds more than tensors and plain values.
    """
    path = Path(path)
    if not path.is_file():
        raise DataError(f"{path} is missing")
    try:
        _check_archive(path)
        return torch.load(path, map_location="cpu", weights_only=True)
    except DataError:
        raise
    except Exception as error:  # damaged files raise many kinds
        raise DataError(f"{path} cannot be read: {first_line(error)}") from None


def unwrapped_state(content: Any, path: str | os.PathLike) -> dict[str, Tensor]:
    """Returns the tensors by name that ``content`` of ``path`` holds, without what is wrapped around them.

    Raises:
        DataError: it holds no tensors by name.
    """
    for wrapper in ("state_dict", "model"):
        if isinstance(content, dict) and isinstance(content.get(wrapper), dict):
            content = content[wrapper]
    if not isinstance(content, dict) or not all(
        isinstance(key, str) and isinstance(value, Tensor) for key, value in content.items()
    ):
        raise DataError(f"{path} holds no state_dict of tensors")
    return {key.removeprefix("module."): value for key, value in content.items()}


def _check_archive(path: Path) -> None:
    """Every member of the archive has the content it was written with; torch itself does not look."""
    if not zipfile.is_zipfile(path):
        return
    with zipfile.ZipFile(path) as archive:
        packed = [member.filename for member in archive.infolist() if member.compress_type != zipfile.ZIP_STORED]
        if packed:
            raise DataError(f"{path} has compressed members, which torch does not write: {packed[0]}")
        if (damaged := archive.testzip()) is not None:
            raise DataError(f"{path} is damaged: the checksum of {damaged} is wrong")
