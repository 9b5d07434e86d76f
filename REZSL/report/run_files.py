"""What the text files of a run folder hold, said once, and readers that take nothing else: a folder may be anyone's."""

import json
import os
from pathlib import Path
from typing import Any

from REZSL.utils.errors import ConfigError, DataError, first_line
from REZSL.utils.yaml_file import flat, read_yaml

from .description import Each, Fields, Number, Pair, check

FRACTION_OR_NONE = Number(0, 1, or_none=True)  # of plain zero-shot learning, which has T1 alone
FRACTION, WHOLE, NUMBER = Number(0, 1), Number(0, 2**63, whole=True), Number()
EPOCH_NUMBER = Number(0, 1e7, whole=True)
ROWS = Each(Fields({"gamma": NUMBER, "U": FRACTION, "S": FRACTION, "H": FRACTION}, {"uses_test_labels": bool}))
MAXIMUM = Fields({"value": FRACTION, "epoch": EPOCH_NUMBER}, {})
CHOICE = Fields(
    {
        "epoch": Number(1, 1e7, whole=True),
        "gamma": Number(or_none=True),
        "AUSUC": FRACTION_OR_NONE,
        "H": FRACTION_OR_NONE,
    },
    {},
)
RESULTS = Fields(
    {"T1": FRACTION, "AUSUC": FRACTION_OR_NONE, "gzsl": ROWS},
    {
        "dataset": str,
        "model": str,
        "seed": WHOLE,
        "epoch": EPOCH_NUMBER,
        "protocol": str,
        "select": str,
        "select_uses_test_labels": bool,
        "intervals": Each(Pair(FRACTION), most=1000),
        "maxima_over_epochs": Each(MAXIMUM),
        "validation": CHOICE,
    },
)
TERMS = ("ce", "regression", "ad", "cpt")  # of the loss
EPOCH = Fields(
    {"epoch": EPOCH_NUMBER},
    {
        **dict.fromkeys(("loss", "lr", *TERMS), NUMBER),
        "T1": FRACTION,
        "AUSUC": FRACTION_OR_NONE,
        "gzsl": ROWS,
        "gradient_share": Each(Number(0, 1, or_nan=True)),  # of float16 gradients that are too large
    },
)
LARGEST = {"results.json": 2**20, "choice.json": 2**20, "metrics.jsonl": 2**24}  # bytes


def read_results(folder: str | os.PathLike) -> dict[str, Any]:
    """Reads ``results.json`` of a run folder; the row of the honest protocol comes first.

    Raises:
        DataError: there is none, or it holds what no run writes; with the file and the key.
    """
    path = Path(folder) / "results.json"
    if not path.is_file():
        raise DataError(f"{folder} is no finished run: it has no results.json")
    content = _read_json(path, RESULTS, "results")
    return content | {"gzsl": dict(sorted(content["gzsl"].items(), key=lambda row: row[0] != "val"))}


def read_seed(folder: str | os.PathLike) -> int | None:
    """Reads the seed out of ``results.json``; None where there is no such file, or no seed in it."""
    path = Path(folder) / "results.json"
    return _read_json(path, Fields({}, {"seed": WHOLE}), "results").get("seed") if path.is_file() else None


def read_choice(path: str | os.PathLike) -> dict[str, Any]:
    """Reads ``choice.json``, what the validation classes chose; raises ``DataError`` for anything else."""
    return _read_json(Path(path), CHOICE, "choice of a validation")


def read_history(folder: str | os.PathLike) -> list[dict[str, Any]]:
    """Reads the lines of ``metrics.jsonl``; none where there is no such file.

    Raises:
        DataError: a line that no training writes; with the file, its number and the key.
    """
    path = Path(folder) / "metrics.jsonl"
    if not path.is_file():
        return []
    history = []
    for number, line in enumerate(_content(path).splitlines(), 1):
        try:
            history.append(_parse(line, EPOCH))
        except (ValueError, RecursionError) as error:
            raise DataError(f"{path}, line {number} is no epoch of a training: {first_line(error)}") from None
    return history


def read_config(folder: str | os.PathLike) -> dict[str, Any] | None:
    """Reads the values of ``config.yaml`` by their full key, in the file's order; None where there is no such file.

    Raises:
        DataError: it holds other things than sections of plain values.
    """
    path = Path(folder) / "config.yaml"
    if not path.is_file():
        return None
    try:
        content = read_yaml(path)
        check(content, Each(object, most=1000))
        values = flat(content)
        for key, value in values.items():
            for item in value if isinstance(value, list) else [value]:
                if isinstance(item, int | float) and not isinstance(item, bool):
                    check(item, NUMBER, key)
    except ConfigError as error:  # names the file
        raise DataError(str(error)) from None
    except ValueError as error:
        raise DataError(f"{path} holds no configuration: {first_line(error)}") from None
    return values


def _read_json(path: Path, kind: Fields, what: str) -> dict[str, Any]:
    try:
        return _parse(_content(path), kind)
    except (ValueError, RecursionError) as error:
        raise DataError(f"{path} holds no {what}: {first_line(error)}") from None


def _parse(content: bytes, kind: Fields) -> dict[str, Any]:
    value = json.loads(content)
    check(value, kind)
    return value


def _content(path: Path) -> bytes:
    """All of a file that is not larger than such files are."""
    largest = LARGEST[path.name]
    try:
        with path.open("rb") as file:
            content = file.read(largest + 1)
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror}") from None
    if len(content) > largest:
        raise DataError(f"{path} has more than {largest} bytes, which no run writes")
    return content
