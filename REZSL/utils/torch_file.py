"""Files of tensors, by whomever: read without executing anything, and only when they are whole.

``torch.load`` with ``weights_only`` builds nothing but tensors and plain values; what it leaves open,
:mod:`REZSL.utils.torch_scan` looks at before.
"""

import logging
import os
import re
import zipfile
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from .errors import DataError, first_line
from .safetensors_file import is_safetensors, read_safetensors
from .text import brief
from .torch_scan import scan_torch_file

log = logging.getLogger(__name__)

WRAPPERS = (  # what training tools keep a state under; the first that is there counts: averaged weights before others
    *("state_dict_ema", "model_ema", "ema_state_dict", "ema_model", "ema", "params_ema", "teacher"),
    *("state_dict", "model_state_dict", "model_state", "model", "student", "network", "net", "module", "backbone"),
    *("encoder", "params", "weights", "checkpoint"),
)
PREFIXES = (
    *("module.", "_orig_mod.", "model.", "net.", "network.", "backbone.", "encoder.", "encoder_q.", "base_encoder."),
    *("teacher.", "student.", "ema."),
)


def read_torch_file(path: str | os.PathLike) -> Any:
    """Reads a file of ``torch.save``, old or new, or a ``.safetensors``, to the CPU.

    Objects of :data:`.torch_scan.EMPTIED` become empty ones; nothing that a file names is imported or called.

    Raises:
        DataError: it is missing, damaged, something else, or holds more than tensors and plain values.
    """
    path = Path(path)
    if not path.is_file():
        raise DataError(f"{path} is a folder: name the file in it" if path.is_dir() else f"{path} is missing")
    try:
        if is_safetensors(path):
            return read_safetensors(path)
        with torch.serialization.safe_globals(scan_torch_file(path)):
            return torch.load(path, map_location="cpu", weights_only=True)
    except DataError:
        raise
    except Exception as error:  # damaged files raise many kinds
        raise DataError(f"{path} cannot be read: {_reason(error)}") from None


def unwrapped_state(content: Any, path: str | os.PathLike) -> dict[str, Tensor]:
    """Returns the tensors by name that ``content`` of ``path`` holds, without what is wrapped around them.

    Wrappers are keys of :data:`WRAPPERS`, the first that is there, or the only key with tensors below it; a prefix of
    :data:`PREFIXES` is taken off where all names have it, and ``_orig_mod.`` (of a compiled module) anywhere. Both are
    told. What lies beside the tensors is left.

    Raises:
        DataError: it holds no tensors by name.
    """
    if not isinstance(content, dict):
        raise DataError(f"{path} holds no state_dict of tensors, but a {type(content).__name__}")
    told, around = [], []
    while (wrapper := _wrapper(content)) is not None and not any(content is outer for outer in around):
        around.append(content)
        others = [key for key in WRAPPERS if key != wrapper and _has_tensors(content.get(key))]
        beside = f" (beside it: {', '.join(others)})" if others else ""
        told += [f"its {brief(wrapper)!r}{beside}"] if beside or wrapper not in ("model", "state_dict") else []
        content = content[wrapper]
    state = {name: value for name, value in content.items() if isinstance(name, str) and isinstance(value, Tensor)}
    if not state:
        raise DataError(f"{path} holds no state_dict of tensors")
    state, prefix = _without_shared_prefixes(state)
    told += [f"names without {prefix!r}"] if prefix else []
    if told:
        log.info("%s: taken %s", path, ", ".join(told))
    return state


def misfit(wanted: dict[str, Tensor], found: dict[str, Tensor]) -> str | None:
    """Returns in a few words how the tensors ``found`` differ from those ``wanted``, by name and shape; None: not."""
    misshapen = [name for name in wanted.keys() & found.keys() if wanted[name].shape != found[name].shape]
    for names, what in (
        (wanted.keys() - found.keys(), "lacks"),
        (found.keys() - wanted.keys(), "has unknown"),
        (misshapen, "misshapes"),
    ):
        if names:
            return f"{what} {len(names)} tensors, e.g. {brief(min(names))}"
    return None


def _wrapper(content: dict) -> str | None:
    """The key under which the tensors of ``content`` lie; None where they lie in it."""
    wrappers = [key for key, value in content.items() if isinstance(key, str) and _has_tensors(value)]
    known = [key for key in WRAPPERS if key in wrappers]
    bare = any(isinstance(value, Tensor) for value in content.values())
    return known[0] if known else wrappers[0] if len(wrappers) == 1 and not bare else None


def _has_tensors(value: Any) -> bool:
    """Whether ``value`` is a dict with tensors by name, or with such a dict below."""
    dicts, seen = [value], set()
    while dicts:
        value = dicts.pop()
        if isinstance(value, dict) and id(value) not in seen:
            seen.add(id(value))
            named = [item for key, item in value.items() if isinstance(key, str)]
            if any(isinstance(item, Tensor) for item in named):
                return True
            dicts += named
    return False


def _without_shared_prefixes(state: dict[str, Tensor]) -> tuple[dict[str, Tensor], str]:
    compiled = "_orig_mod."
    taken = compiled if any(compiled in name for name in state) else ""
    state = {name.replace(compiled, ""): value for name, value in state.items()}
    while shared := next((p for p in PREFIXES if all(name.startswith(p) for name in state)), ""):
        taken += shared
        state = {name[len(shared) :]: value for name, value in state.items()}
    return state, taken


def _reason(error: Exception) -> str:
    """What torch says of a file, without its advice to execute it."""
    text = str(error)
    if isinstance(error, zipfile.BadZipFile):
        return f"its archive is cut short or damaged ({first_line(error)})"
    if match := re.search(r"GLOBAL ([\w.]+)", text):
        return f"it holds {brief(match[1])}, an object of a program: save the state_dict() alone"
    if text.startswith("Weights only load failed"):
        text = text.rsplit("WeightsUnpickler error:", 1)[-1].strip() if "WeightsUnpickler" in text else "no torch file"
    return first_line(ValueError(text))
