"""Results as JSON and as a table for people."""

import json
import os
from typing import Any

from REZSL.evaluation import Results
from REZSL.utils.files import write_text

NOTES = {
    "gamma=0": "no calibration",
    "fixed": "TEST.GAMMA",
    "oracle": "gamma picked on the test labels: the only row to compare with published tables",
}


def write_json(path: str | os.PathLike, content: dict[str, Any]) -> None:
    """Writes ``content`` as JSON, whole or not at all; NaN and infinity are refused."""
    write_text(path, json.dumps(content, indent=2, allow_nan=False) + "\n")


def format_results(results: Results) -> str:
    """Returns the table a run ends with, in percent."""
    lines = [
        f"ZSL   T1    {100 * results.T1:5.1f}   unseen images, unseen classes",
        f"GZSL  AUSUC {100 * results.AUSUC:5.1f}   all classes, area under the seen-unseen curve",
        "",
        f"{'row':<9}{'gamma':>8}{'U':>7}{'S':>7}{'H':>7}",
    ]
    for name, row in results.gzsl.items():
        figures = f"{row.gamma:8.3f}{100 * row.U:7.1f}{100 * row.S:7.1f}{100 * row.H:7.1f}"
        lines.append(f"{name:<9}{figures}   {NOTES[name]}")
    return "\n".join(lines)
