"""Figures of several runs: what results.json of each says, and the mean over seeds."""

import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from REZSL.evaluation import t_interval
from REZSL.utils.errors import DataError, first_line

from .tables import Table


def read_results(folder: str | os.PathLike) -> dict[str, Any]:
    """Reads ``results.json`` of a run folder; raises ``DataError`` where there is none, or nothing a run wrote."""
    path = Path(folder) / "results.json"
    if not path.is_file():
        raise DataError(f"{folder} is no finished run: it has no results.json")
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        figures_of(content)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise DataError(f"{path} holds no results: {first_line(error)}") from None
    return content


def figures_of(results: dict[str, Any]) -> dict[str, float]:
    """Returns the figures of ``results.json`` by name: T1, AUSUC, and gamma, U, S, H of every row (``oracle H``)."""
    figures = {"T1": float(results["T1"]), "AUSUC": float(results["AUSUC"])}
    for name, row in results["gzsl"].items():
        figures |= {f"{name} {key}": float(row[key]) for key in ("gamma", "U", "S", "H")}
    return figures


def seeds_table(runs: Sequence[dict[str, Any]]) -> Table:
    """Returns a row for every figure of ``runs`` (results of one experiment, other seeds): percent, but for gamma.

    Raises:
        DataError: runs without a figure in common.
    """
    figures = [figures_of(run) for run in runs]
    common = [name for name in figures[0] if all(name in others for others in figures)]
    rows = []
    for name in common:
        factor = 1 if name.endswith("gamma") else 100
        interval = t_interval([factor * of_run[name] for of_run in figures])
        rows.append([name, *(round(x, 2) for x in (interval.mean, interval.std, interval.low, interval.high))])
    return Table(["figure", "mean", "std", "low", "high"], rows)
