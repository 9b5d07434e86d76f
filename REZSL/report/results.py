"""Results as JSON and as a table for people."""

import json
import os
from collections.abc import Sequence
from typing import Any

from REZSL.evaluation import Results
from REZSL.utils.files import write_text
from REZSL.utils.text import Lines

NOTES = {
    "gamma=0": "no calibration",
    "fixed": "TEST.GAMMA",
    "val": "gamma chosen on validation classes",
    "oracle": "gamma picked on the test labels: the only row to compare with published tables",
}


def write_json(path: str | os.PathLike, content: dict[str, Any]) -> None:
    """Writes ``content`` as JSON, whole or not at all; NaN and infinity are refused."""
    write_text(path, json.dumps(content, indent=2, allow_nan=False) + "\n")


MAXIMA = "maxima over epochs, each of its own, picked on test labels"


def maxima_over_epochs(history: Sequence[dict[str, Any]]) -> dict[str, dict[str, float]]:
    """Returns the highest T1 and the highest AUSUC of any epoch (``value``, ``epoch``), as published tables have them.

    Each is of an epoch of its own, the first of several, and picked on the test labels; empty without tested epochs.

    Args:
        history: lines of ``metrics.jsonl``.
    """
    best = {}
    for name in ("T1", "AUSUC"):
        if tested := [(line[name], -line["epoch"]) for line in history if line.get(name) is not None]:
            value, epoch = max(tested)
            best[name] = {"value": value, "epoch": -epoch}
    return best


def format_results(
    results: Results, intervals: dict[str, tuple[float, float]], maxima: dict[str, dict[str, float]] | None = None
) -> Lines:
    """Returns the table a run ends with, in percent.

    Args:
        results: of the run.
        intervals: of the figures, by the names of ``bootstrap_intervals``.
        maxima: what :func:`maxima_over_epochs` says, where they are to be shown.
    """

    def shown(value: float, name: str) -> str:
        low, high = intervals[name]
        return f"{100 * value:5.1f} [{100 * low:.1f} {100 * high:.1f}]"

    t1 = f"ZSL   T1    {shown(results.T1, 'T1')}   unseen images, unseen classes"
    brackets = "in brackets: 95 % bootstrap interval over the test images of each class"
    if results.AUSUC is None:
        return Lines(f"{t1}\nno test image is of a seen class: there is no GZSL\n{brackets}")
    lines = [
        t1,
        f"GZSL  AUSUC {shown(results.AUSUC, 'AUSUC')}   all classes, area under the seen-unseen curve",
        "",
        f"{'row':<9}{'gamma':>8}{'U':>7}{'S':>7}{'H':>7}",
    ]
    for name, row in results.gzsl.items():
        figures = f"{row.gamma:8.3f}{100 * row.U:7.1f}{100 * row.S:7.1f}  {shown(row.H, f'{name} H')}"
        lines.append(f"{name:<9}{figures}   {NOTES[name]}")
    lines.append(brackets)
    if maxima:
        lines.append(format_maxima(maxima))
    return Lines("\n".join(lines))


def format_maxima(maxima: dict[str, dict[str, float]]) -> str:
    """Returns the line that tells what :func:`maxima_over_epochs` says, in percent."""
    told = [f"{name} {100 * best['value']:.1f} (epoch {best['epoch']})" for name, best in maxima.items()]
    return f"{MAXIMA}, as published: {', '.join(told)}"
