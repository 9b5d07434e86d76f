"""The imbalance analysis for people and scripts: tables, and the names of the attributes."""

import os
import re
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import numpy as np

from REZSL.evaluation.analysis import GROUPS, MEASURES, ErrorTable, Summary, correlations, mean_table
from REZSL.evaluation.comparison import Difference
from REZSL.utils.errors import DataError, first_line
from REZSL.utils.text import Lines

from .tables import Table

NOTES = {
    "error_mean": "mean over attributes of the error of an attribute, itself a mean over classes",
    "error_std": "standard deviation of it over attributes",
    "worst_share": "share of the error that the worst tenth of the attributes carries",
    "pearson_class": "correlation of signature and error over attributes, of each class; mean over classes",
    "spearman_class": "the same of their ranks",
    "pearson_attribute": "correlation of signature and error over classes, of each attribute; mean over attributes",
    "spearman_attribute": "the same of their ranks",
}


def read_attribute_names(path: str | os.PathLike, num_attributes: int) -> tuple[str, ...]:
    """Reads one name a line, as ``attributes.txt`` of CUB and ``predicates.txt`` of AWA2 have it.

    Where every line begins with its number, counted from 0 or 1, the numbers are dropped: ``1 has_bill_shape::curved``.

    Raises:
        DataError: a file that is no text, has an empty line between names, or has not ``num_attributes`` names.
    """
    try:
        lines = [line.strip() for line in Path(path).read_text(encoding="utf-8-sig").rstrip().splitlines()]
    except UnicodeDecodeError as error:
        raise DataError(f"{Path(path)} holds no attribute names: {first_line(error)}") from None
    if "" in lines:
        raise DataError(f"{Path(path)}: line {lines.index('') + 1} is empty, expected the name of an attribute")
    if len(lines) != num_attributes:
        raise DataError(f"{Path(path)} names {len(lines)} attributes, the predictions have {num_attributes}")
    numbered = [re.fullmatch(r"(\d+)\s+(\S.*)", line) for line in lines]
    if all(numbered):
        numbers = [int(match[1]) for match in numbered]
        if numbers[0] in (0, 1) and numbers == list(range(numbers[0], numbers[0] + len(lines))):
            return tuple(match[2] for match in numbered)
    return tuple(lines)


def summary_table(names: Sequence[str], summaries: Sequence[dict[str, Summary]], kind: str) -> Table:
    """Returns a row for every group and measure: each run's value; of several runs also their mean and deviation.

    Args:
        names: of the runs.
        summaries: what ``summarise`` says of each.
        kind: ``squared`` or ``absolute``, the error they are of.
    """
    several = len(names) > 1
    rows = []
    for group in GROUPS:
        for measure in asdict(summaries[0][group]):
            values = [getattr(summary[group], measure) for summary in summaries]
            spread = [float("nan")] * 2  # of counts
            if several and measure in MEASURES:
                spread = [float(np.mean(values)), float(np.std(values, ddof=1))]
            rows.append([group, measure, *values, *(spread if several else [])])
    return Table(["group", measure_heading(kind), *names, *(["mean", "std"] if several else [])], rows)


def measure_heading(kind: str) -> str:
    """Heads a column of measures, all of which are of the ``kind`` of error."""
    return f"measure of {kind} error"


def comparison_table(differences: Sequence[Difference], kind: str) -> Table:
    """Returns a row for every difference, of ``kind`` errors; what the runs have less of is below 0."""
    header = [
        "group",
        measure_heading(kind),
        "against",
        "run",
        "run - against",
        "std",
        "low",
        "high",
        "pairs",
        "interval",
    ]
    return Table(header, [list(asdict(difference).values()) for difference in differences])


def attribute_table(
    tables: Sequence[ErrorTable], against: Sequence[ErrorTable] = (), names: Sequence[str] | None = None
) -> Table:
    """Returns a row for every attribute: mean signature value, error over seen, unseen and all classes, correlations.

    Args:
        tables: one or several runs on the same data, of which the mean is taken.
        against: the runs these are compared against; their figures get columns named ``against_...``.
        names: K names.
    """
    mean = mean_table(tables)
    columns = {"attribute": list(range(mean.error.shape[1]))}
    if names:
        columns["name"] = list(names)
    columns["signature"] = mean.signatures[mean.classes("all")].mean(0).tolist()
    for prefix, table in (("", mean), *([("against_", mean_table(against))] if against else [])):
        columns |= {f"{prefix}{table.kind}_error_{group}": table.attribute_error(group).tolist() for group in GROUPS}
        columns |= _correlation_columns(table, prefix, axis=0)
    return _from_columns(columns)


def class_table(tables: Sequence[ErrorTable], against: Sequence[ErrorTable] = ()) -> Table:
    """Returns a row for every class that has images: how many, mean error over attributes, correlations.

    Arguments as of :func:`attribute_table`.
    """
    mean = mean_table(tables)
    classes = mean.classes("all")
    columns = {
        "class": [mean.class_names[c] for c in classes],
        "group": ["seen" if c < mean.num_seen else "unseen" for c in classes],
        "images": mean.count[classes].tolist(),
    }
    for prefix, table in (("", mean), *([("against_", mean_table(against))] if against else [])):
        columns[f"{prefix}{table.kind}_error"] = table.error[classes].mean(1).tolist()
        columns |= _correlation_columns(table, prefix, axis=1)
    return _from_columns(columns)


def error_matrix(tables: Sequence[ErrorTable], names: Sequence[str] | None = None) -> Table:
    """Returns the errors themselves: a row for every class that has images, a column for every attribute."""
    mean = mean_table(tables)
    classes = mean.classes("all")
    header = [f"class ({mean.kind} error)", *(names or map(str, range(mean.error.shape[1])))]
    return Table(header, [[mean.class_names[c], *mean.error[c].tolist()] for c in classes])


def format_notes() -> Lines:
    """Returns what each measure is, a line each."""
    width = max(map(len, NOTES))
    return Lines("\n".join(f"{name:<{width}}  {note}" for name, note in NOTES.items()))


def _correlation_columns(table: ErrorTable, prefix: str, axis: int) -> dict[str, list[float]]:
    return {f"{prefix}{method}": correlations(table, method, axis).tolist() for method in ("pearson", "spearman")}


def _from_columns(columns: dict[str, list]) -> Table:
    return Table(list(columns), list(map(list, zip(*columns.values(), strict=True))))
