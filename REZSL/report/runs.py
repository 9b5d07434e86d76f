"""Runs as their folders tell them: results, history, configuration, predictions."""

import json
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from REZSL.evaluation import Predictions
from REZSL.utils.errors import DataError, first_line
from REZSL.utils.yaml_file import flat, read_yaml

from .summary import read_results

TERMS = ("ce", "regression", "ad", "cpt")  # of the loss


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
    return [_read_run(folder, name) for folder, name in zip(folders, run_names(folders), strict=True)]


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
        intervals=_intervals(results, Path(folder) / "results.json"),
        history=_read_history(Path(folder) / "metrics.jsonl"),
        config=_read_config(Path(folder) / "config.yaml"),
        predictions=Predictions.load(path) if path.is_file() else None,
    )


def _intervals(results: dict[str, Any], path: Path) -> dict[str, tuple[float, float]]:
    try:
        return {name: (float(low), float(high)) for name, (low, high) in results.get("intervals", {}).items()}
    except (ValueError, TypeError, AttributeError) as error:
        raise DataError(f"{path} holds no intervals: {first_line(error)}") from None


def _read_history(path: Path) -> list[dict[str, Any]]:
    if not path.is_file():
        return []
    history = []
    for number, line in enumerate(path.read_bytes().splitlines(), 1):
        try:
            history.append(json.loads(line))
            float(history[-1]["epoch"])
            quantities(history[-1])
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise DataError(f"{path}, line {number} is no epoch of a training: {first_line(error)}") from None
    return history


def quantities(line: dict[str, Any]) -> dict[str, float]:
    """Returns by title what a line of ``metrics.jsonl`` says: losses, and accuracies and gradient shares in percent."""
    found = {"loss": float(line["loss"])} if "loss" in line else {}
    found |= {f"loss term {name}": float(line[name]) for name in TERMS if name in line}
    found |= {f"{name} (%)": 100 * float(line[name]) for name in ("T1", "AUSUC") if name in line}
    rows = line.get("gzsl", {})
    found |= {f"H of row {name} (%)": 100 * float(rows[name]["H"]) for name in ("val", "oracle") if name in rows}
    shares = line.get("gradient_share", {})
    return found | {f"gradient share of {name} (%)": 100 * float(share) for name, share in shares.items()}


def _read_config(path: Path) -> dict[str, Any] | None:
    if not path.is_file():
        return None
    try:
        return flat(read_yaml(path))
    except (ValueError, AttributeError) as error:
        raise DataError(f"{path} holds no configuration: {first_line(error)}") from None


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
