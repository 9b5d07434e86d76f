"""Figures of several runs: what results.json of each says, the mean over seeds, and published ones beside them."""

import json
import math
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from REZSL.evaluation import t_interval
from REZSL.utils.errors import DataError, first_line

from .tables import Table

FIGURES = ("T1", "U", "S", "H", "AUSUC")
PLAIN_ROW = "zsl"  # of a run without images of seen classes, which has no rows: T1 alone
PUBLISHED_ROW = "oracle protocol, published"
PUBLISHED = {  # (T1, U, S, H) in percent, ResNet-101 at 448 px: Ye et al., Rebalanced Zero-shot Learning, TIP 2023
    "CUB": {"ReZSL (Ye et al. 2023)": (80.9, 72.8, 74.8, 73.8)},
    "SUN": {"ReZSL (Ye et al. 2023)": (63.2, 47.4, 34.8, 40.1)},
    "AWA2": {"ReZSL (Ye et al. 2023)": (70.9, 63.8, 85.6, 73.1)},
}


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
    """Returns the figures of ``results.json`` by name: T1, AUSUC, and gamma, U, S, H of every row (``oracle H``).

    Of plain zero-shot learning (AUSUC is null) there is T1 alone.
    """
    figures = {"T1": float(results["T1"])}
    if results["AUSUC"] is not None:
        figures["AUSUC"] = float(results["AUSUC"])
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


@dataclass(frozen=True)
class Entry:
    """One experiment: its name, and the results of its runs, one a seed."""

    name: str
    runs: tuple[dict[str, Any], ...]

    @property
    def dataset(self) -> str:
        """Name of the data set."""
        return self.runs[0]["dataset"]

    def values(self, row: str, figure: str) -> list[float]:
        """Returns ``figure`` of ``row`` of each run, a fraction, or NaN; T1 and AUSUC are the same in every row."""
        own = figure in ("T1", "AUSUC")
        values = (run[figure] if own else run["gzsl"].get(row, {}).get(figure) for run in self.runs)
        return [float("nan") if value is None else value for value in values]

    @property
    def rows(self) -> tuple[str, ...]:
        """Names of its rows."""
        return tuple(self.runs[0]["gzsl"]) or (PLAIN_ROW,)


def read_entry(folder: str | os.PathLike) -> Entry:
    """Reads a run folder, or a folder of runs of several seeds (``seed_1``, ``seed_2``, ...).

    Raises:
        DataError: there is no finished run, or runs that are not of one experiment.
    """
    seeds = sorted(Path(folder).glob("seed_*/results.json"))
    folders = [path.parent for path in seeds] if seeds else [Path(folder)]
    runs = tuple(read_results(each) for each in folders)
    experiments = {(run.get("dataset"), run.get("model"), tuple(run["gzsl"])) for run in runs}
    if len(experiments) > 1 or None in next(iter(experiments)):
        raise DataError(f"{folder}: its runs are not seeds of one experiment")
    return Entry(os.path.normpath(folder), runs)


def comparison_wide(entries: Sequence[Entry], rows: Sequence[str] = ()) -> Table:
    """Returns a line for every entry and row, in percent, ``mean ± std`` over seeds; then what was published.

    Args:
        entries: the experiments.
        rows: which rows to show; empty: all that an entry has.
    """
    lines = [
        [entry.name, entry.dataset, _row_name(row, entry), len(entry.runs), *(_cell(entry, row, f) for f in FIGURES)]
        for entry in entries
        for row in entry.rows
        if not rows or row in rows
    ]
    for dataset in dict.fromkeys(entry.dataset for entry in entries):
        for name, (t1, *ush) in PUBLISHED.get(dataset, {}).items():
            lines.append([name, dataset, PUBLISHED_ROW, "-", *(f"{x:.1f}" for x in (t1, *ush)), "-"])
    return Table(["run", "data", "row", "seeds", *FIGURES], lines)


def comparison_tidy(entries: Sequence[Entry], rows: Sequence[str] = ()) -> Table:
    """Returns the same for programs: one figure a line, with mean, std and 95 % t-interval over seeds, in percent."""
    lines = []
    for entry in entries:
        for row in entry.rows:
            for figure in FIGURES if not rows or row in rows else ():
                i = t_interval([100 * value for value in entry.values(row, figure)])
                lines.append([entry.name, entry.dataset, row, figure, i.mean, i.std, i.low, i.high, i.count])
    for dataset in dict.fromkeys(entry.dataset for entry in entries):
        for name, values in PUBLISHED.get(dataset, {}).items():
            rest = [float("nan")] * 3
            figures = zip(FIGURES, values, strict=False)
            lines += [[name, dataset, PUBLISHED_ROW, figure, value, *rest, 1] for figure, value in figures]
    return Table(["run", "data", "row", "figure", "mean", "std", "low", "high", "seeds"], lines)


def _row_name(row: str, entry: Entry) -> str:
    notes = ["gamma"] if row == "oracle" else []
    notes += ["epoch"] if any(run.get("select_uses_test_labels") for run in entry.runs) else []
    return f"{row} ({' and '.join(notes)} picked on test labels)" if notes else row


def _cell(entry: Entry, row: str, figure: str) -> str:
    interval = t_interval([100 * value for value in entry.values(row, figure)])
    if math.isnan(interval.mean):
        return "-"
    return f"{interval.mean:.1f} ± {interval.std:.1f}" if interval.count > 1 else f"{interval.mean:.1f}"
