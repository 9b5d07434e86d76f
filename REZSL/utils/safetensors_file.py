"""The safetensors format: a length, that much JSON, then the bytes of the tensors."""

import json
import math
from pathlib import Path

import torch
from torch import Tensor

from .errors import DataError, first_line

MAX_HEADER = 100_000_000  # bytes, as the format has it
DTYPES = {
    "F64": torch.float64,
    "F32": torch.float32,
    "F16": torch.float16,
    "BF16": torch.bfloat16,
    "I64": torch.int64,
    "I32": torch.int32,
    "I16": torch.int16,
    "I8": torch.int8,
    "U8": torch.uint8,
    "BOOL": torch.bool,
}


def is_safetensors(path: Path) -> bool:
    """Whether the file begins as one: a length of JSON that fits into it, and an opening brace."""
    with path.open("rb") as file:
        head = file.read(9)
    return len(head) == 9 and head[8:] == b"{" and int.from_bytes(head[:8], "little") <= path.stat().st_size


def read_safetensors(path: Path) -> dict[str, Tensor]:
    """Reads the tensors of ``path`` by name.

    Raises:
        DataError: a header that is damaged, or that declares another place or size than the file has.
    """
    size = path.stat().st_size
    with path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        if length > min(MAX_HEADER, size - 8):
            raise DataError(f"{path} is damaged: its header declares {length:,} bytes")
        try:
            header = json.loads(file.read(length))
            header.pop("__metadata__", None)
            declared = sum(end - begin for begin, end in (entry["data_offsets"] for entry in header.values()))
            if declared > size - 8 - length:
                raise ValueError(f"{declared} bytes of tensors in a file of {size}")
            content = torch.frombuffer(bytearray(file.read()) or bytearray(1), dtype=torch.uint8)
            return {name: _tensor(content, size - 8 - length, **entry) for name, entry in header.items()}
        except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
            raise DataError(f"{path} is damaged: its header says {first_line(error)}") from None


def _tensor(content: Tensor, size: int, dtype: str, shape: list[int], data_offsets: list[int]) -> Tensor:
    if dtype not in DTYPES:
        raise ValueError(f"a tensor of type {dtype}")
    begin, end = data_offsets
    count = math.prod(shape)
    if not all(type(n) is int and n >= 0 for n in (*shape, begin, end)) or end > size:
        raise ValueError(f"shape {shape} and bytes {begin} to {end} of {size}")
    if end - begin != count * DTYPES[dtype].itemsize:
        raise ValueError(f"{end - begin} bytes for shape {shape} of {dtype}")
    return content[begin:end].clone().view(DTYPES[dtype]).view(shape)
