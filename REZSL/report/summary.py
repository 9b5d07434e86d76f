"""Figures of several runs: what results.json of each says, the mean over seeds, and published ones beside them."""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from REZSL.evaluation import t_interval
from REZSL.utils.errors import DataError

from .results import MAXIMA
from .run_files import read_results
from .tables import Table

FIGURES = ("T1", "U", "S", "H", "AUSUC")
PLAIN_ROW = "zsl"  # of a run without images of seen classes, which has no rows: T1 alone
PUBLISHED_ROW = "oracle protocol, published"
PUBLISHED = {  # (T1, U, S, H) in percent, ResNet-101 at 448 px: Ye et al., Rebalanced Zero-shot Learning, TIP 2023
    "CUB": {"ReZSL (Ye et al. 2023)": (80.9, 72.8, 74.8, 73.8)},
    "SUN": {"ReZSL (Ye et al. 2023)": (63.2, 47.4, 34.8, 40.1)},
    "AWA2": {"ReZSL (Ye et al. 2023)": (70.9, 63.8, 85.6, 73.1)},
}


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
    """Returns a row for every figure of ``runs`` (results of one experiment, other seeds): percent, but for gamma."""
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

    @property
    def names(self) -> tuple[str, ...]:
        """Names of its rows of ``gzsl``; of plain zero-shot learning, which has none, :data:`PLAIN_ROW`."""
        return tuple(self.runs[0]["gzsl"]) or (PLAIN_ROW,)

    def rows(self, chosen: Sequence[str] = ()) -> dict[str, dict[str, list[float]]]:
        """Returns by row its figures, a fraction of each run; T1 and AUSUC are the same in every row of ``names``.

        The row :data:`MAXIMA` comes last where all runs have it. ``chosen`` says which of ``names`` to return,
        empty: all; the maxima go with ``oracle``.
        """
        own = {name: [run[name] for run in self.runs] for name in ("T1", "AUSUC")}
        own = {name: values for name, values in own.items() if None not in values}
        rows = {
            row: own | {name: [run["gzsl"][row][name] for run in self.runs] for name in ("U", "S", "H")}
            for row in self.runs[0]["gzsl"]
            if not chosen or row in chosen
        }
        if self.names == (PLAIN_ROW,) and (not chosen or PLAIN_ROW in chosen):
            rows[PLAIN_ROW] = own
        maxima = [run.get("maxima_over_epochs", {}) for run in self.runs]
        if all(maxima) and (not chosen or "oracle" in chosen):
            known = [name for name in own if all(name in each for each in maxima)]
            rows[MAXIMA] = {name: [each[name]["value"] for each in maxima] for name in known}
        return rows


def read_entry(folder: str | os.PathLike) -> Entry:
    """Reads a run folder, or a folder of runs of several seeds (``seed_1``, ``seed_2``, ...).

    Raises:
        DataError: there is no finished run, or runs that are not of one experiment.
    """
    seeds = sorted(Path(folder).glob("seed_*/results.json"))
    folders = [path.parent for path in seeds] if seeds else [Path(folder)]
    runs = tuple(read_results(each) for each in folders)
    for each, run in zip(folders, runs, strict=True):
        if missing := [key for key in ("dataset", "model") if key not in run]:
            raise DataError(f"{each / 'results.json'} holds no results to compare: {missing[0]} is missing")
    if len({(run["dataset"], run["model"], tuple(run["gzsl"])) for run in runs}) > 1:
        raise DataError(f"{folder}: its runs are not seeds of one experiment")
    return Entry(os.path.normpath(folder), runs)


def comparison_wide(entries: Sequence[Entry], rows: Sequence[str] = ()) -> Table:
    """Returns a line for every entry and row, in percent, ``mean ± std`` over seeds; then what was published.

    Where runs kept the epoch of best H, as published ones did, a line of maxima over epochs follows the oracle row.

    Args:
        entries: the experiments.
        rows: which rows to show, as of :meth:`Entry.rows`.
    """
    lines = [
        [entry.name, entry.dataset, _row_name(row, entry), len(entry.runs), *(_cell(figures.get(f)) for f in FIGURES)]
        for entry in entries
        for row, figures in entry.rows(rows).items()
    ]
    for dataset in dict.fromkeys(entry.dataset for entry in entries):
        for name, (t1, *ush) in PUBLISHED.get(dataset, {}).items():
            lines.append([name, dataset, PUBLISHED_ROW, "-", *(f"{x:.1f}" for x in (t1, *ush)), "-"])
    return Table(["run", "data", "row", "seeds", *FIGURES], lines)


def comparison_tidy(entries: Sequence[Entry], rows: Sequence[str] = ()) -> Table:
    """Returns the same for programs: one figure a line, with mean, std and 95 % t-interval over seeds, in percent."""
    lines = []
    for entry in entries:
        for row, figures in entry.rows(rows).items():
            for figure in (figure for figure in FIGURES if figure in figures):
                i = t_interval([100 * value for value in figures[figure]])
                lines.append([entry.name, entry.dataset, row, figure, i.mean, i.std, i.low, i.high, i.count])
    for dataset in dict.fromkeys(entry.dataset for entry in entries):
        for name, values in PUBLISHED.get(dataset, {}).items():
            rest = [float("nan")] * 3
            figures = zip(FIGURES, values, strict=False)
            lines += [[name, dataset, PUBLISHED_ROW, figure, value, *rest, 1] for figure, value in figures]
    return Table(["run", "data", "row", "figure", "mean", "std", "low", "high", "seeds"], lines)


def _row_name(row: str, entry: Entry) -> str:
    if row == MAXIMA:
        return row
    notes = ["gamma"] if row == "oracle" else []
    notes += ["epoch"] if any(run.get("select_uses_test_labels") for run in entry.runs) else []
    return f"{row} ({' and '.join(notes)} picked on test labels)" if notes else row


def _cell(values: Sequence[float] | None) -> str:
    if values is None:
        return "-"
    interval = t_interval([100 * value for value in values])
    return f"{interval.mean:.1f} ± {interval.std:.1f}" if interval.count > 1 else f"{interval.mean:.1f}"
