"""Runs as their folders tell them: results, history, configuration, predictions."""

import json
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from REZSL.evaluation import Predictions
from REZSL.utils.errors import DataError, raise_all

from .run_files import TERMS, read_config, read_history, read_results

Source, Content = TypeVar("Source"), TypeVar("Content")


@dataclass(frozen=True, eq=False)
class Run:
    """What a run folder holds; only ``results`` must be there.

    Attributes:
        name: what to call it.
        results: content of ``results.json``.
        intervals: low and high end of figures by name (``T1``, ``oracle H``), of those that have them.
        history: lines of ``metrics.jsonl``; empty for a run that only evaluated.
        config: values of ``config.yaml`` by their full key, in the file's order; None without the file.
        predictions: None without the file.
    """

    name: str
    results: dict[str, Any]
    intervals: dict[str, tuple[float, float]]
    history: list[dict[str, Any]]
    config: dict[str, Any] | None
    predictions: Predictions | None


def read_runs(folders: Sequence[str | os.PathLike]) -> list[Run]:
    """Reads run folders, and calls each by as much of its path's end as tells it from the others.

    Raises:
        DataError: a folder without results or given twice, or a file in it that is damaged.
    """
    runs, errors = read_sound_runs(folders)
    raise_all(errors)
    return runs


def read_sound_runs(folders: Sequence[str | os.PathLike]) -> tuple[list[Run], list[DataError]]:
    """Reads those runs that can be read, as :func:`read_runs` does; returns them and what is wrong with the others."""
    named = list(zip(folders, run_names(folders), strict=True))
    return read_sound(lambda one: _read_run(*one), named)


def read_sound(read: Callable[[Source], Content], sources: Sequence[Source]) -> tuple[list[Content], list[DataError]]:
    """Reads each of ``sources``; one that is broken does not keep the others from being shown.

    Returns:
        what was read, and the errors of the others.

    Raises:
        DataError: nothing can be read.
    """
    contents, errors = [], []
    for source in sources:
        try:
            contents.append(read(source))
        except DataError as error:
            errors.append(error)
    if not contents:
        raise_all(errors)
    return contents, errors


def run_names(folders: Sequence[str | os.PathLike]) -> list[str]:
    """Returns the shortest ends of the paths that differ; raises ``DataError`` for a folder that is given twice."""
    parts = [Path(os.path.abspath(folder)).parts for folder in folders]
    for folder, part in zip(folders, parts, strict=True):
        if parts.count(part) > 1:
            raise DataError(f"{folder} is given twice")
    length = 1
    while len({part[-length:] for part in parts}) < len(parts):
        length += 1
    return ["/".join(part[-length:]) for part in parts]


def _read_run(folder: str | os.PathLike, name: str) -> Run:
    results = read_results(folder)
    path = Path(folder) / "predictions.npz"
    return Run(
        name=name,
        results=results,
        intervals={name: (low, high) for name, (low, high) in results.get("intervals", {}).items()},
        history=read_history(folder),
        config=read_config(folder),
        predictions=Predictions.load(path) if path.is_file() else None,
    )


def quantities(line: dict[str, Any]) -> dict[str, float]:
    """Returns by title what a line of ``metrics.jsonl`` says: losses, and accuracies and gradient shares in percent."""
    found = {"loss": line["loss"]} if "loss" in line else {}
    found |= {f"loss term {name}": line[name] for name in TERMS if name in line}
    found |= {f"{name} (%)": 100 * line[name] for name in ("T1", "AUSUC") if line.get(name) is not None}
    rows = line.get("gzsl", {})
    found |= {f"H of row {name} (%)": 100 * rows[name]["H"] for name in ("val", "oracle") if name in rows}
    shares = line.get("gradient_share", {})
    return found | {f"gradient share of {name} (%)": 100 * share for name, share in shares.items()}


def config_rows(runs: Sequence[Run]) -> list[tuple[str, list[str]]]:
    """Returns the configuration keys with the value each run has, as text; a dash where it has none.

    Of several runs, only keys in which they differ; runs without a configuration are left out.
    """
    configs = [run.config for run in runs if run.config is not None]
    keys = dict.fromkeys(key for config in configs for key in config)
    rows = [(key, [_shown(config[key]) if key in config else "-" for config in configs]) for key in keys]
    return [(key, values) for key, values in rows if len(configs) == 1 or len(set(values)) > 1]


def _shown(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, default=str)
