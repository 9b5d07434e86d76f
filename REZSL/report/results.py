"""Results as JSON and as a table for people."""

import json
import os
from typing import Any

from REZSL.evaluation import Results
from REZSL.utils.files import write_text

NOTES = {
    "gamma=0": "no calibration",
    "fixed": "TEST.GAMMA",
    "val": "gamma chosen on validation classes",
    "oracle": "gamma picked on the test labels: the only row to compare with published tables",
}


def write_json(path: str | os.PathLike, content: dict[str, Any]) -> None:
    """Writes ``content`` as JSON, whole or not at all; NaN and infinity are refused."""
    write_text(path, json.dumps(content, indent=2, allow_nan=False) + "\n")


def format_results(results: Results, intervals: dict[str, tuple[float, float]]) -> str:
    """Returns the table a run ends with, in percent.

    Args:
        results: of the run.
        intervals: of the figures, by the names of ``bootstrap_intervals``.
    """

    def shown(value: float, name: str) -> str:
        low, high = intervals[name]
        return f"{100 * value:5.1f} [{100 * low:.1f} {100 * high:.1f}]"

    t1 = f"ZSL   T1    {shown(results.T1, 'T1')}   unseen images, unseen classes"
    brackets = "in brackets: 95 % bootstrap interval over the test images of each class"
    if results.AUSUC is None:
        return f"{t1}\nno test image is of a seen class: there is no GZSL\n{brackets}"
    lines = [
        t1,
        f"GZSL  AUSUC {shown(results.AUSUC, 'AUSUC')}   all classes, area under the seen-unseen curve",
        "",
        f"{'row':<9}{'gamma':>8}{'U':>7}{'S':>7}{'H':>7}",
    ]
    for name, row in results.gzsl.items():
        figures = f"{row.gamma:8.3f}{100 * row.U:7.1f}{100 * row.S:7.1f}  {shown(row.H, f'{name} H')}"
        lines.append(f"{name:<9}{figures}   {NOTES[name]}")
    return "\n".join([*lines, brackets])
