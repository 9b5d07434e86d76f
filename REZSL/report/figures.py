"""Figures of a run, as PNG and SVG."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from REZSL.evaluation import Results
from REZSL.utils.files import atomic_path
from REZSL.utils.text import printable

# Okabe and Ito's palette, told apart by the colour-blind
COLOURS = {"T1": "#0072B2", "loss": "#000000", "curve": "#0072B2"}
MARKERS = {
    "val": ("D", "#CC79A7"),
    "gamma=0": ("o", "#E69F00"),
    "fixed": ("s", "#009E73"),
    "oracle": ("*", "#D55E00"),
}
LONGEST_TITLE = 100  # characters


def draw_run(folder: str | os.PathLike, history: Sequence[dict[str, Any]], results: Results, title: str) -> None:
    """Writes ``training`` and, where there is a curve, ``seen_unseen``, each as .png and .svg, to ``folder``.

    Args:
        folder: made if need be.
        history: lines of ``metrics.jsonl``; only the seen-unseen curve is drawn where there are none.
        results: of the selected epoch.
        title: put over each figure.
    """
    title = printable(title, LONGEST_TITLE)
    if history:
        figure = Figure(figsize=(9, 3.6), layout="constrained")
        figure.suptitle(title, parse_math=False)
        left, right = figure.subplots(1, 2)
        _draw_loss(left, history)
        _draw_accuracy(right, history)
        save_figure(figure, Path(folder) / "training")
    if results.curve is None:
        return
    figure = Figure(figsize=(4.8, 4.2), layout="constrained")
    figure.suptitle(title, parse_math=False)
    _draw_curve(figure.subplots(), results)
    save_figure(figure, Path(folder) / "seen_unseen")


def _draw_loss(axes: Axes, history: Sequence[dict[str, Any]]) -> None:
    axes.plot([line["epoch"] for line in history], [line["loss"] for line in history], ".-", color=COLOURS["loss"])
    axes.set(xlabel="epoch", ylabel="training loss")
    axes.grid(alpha=0.3)


def _draw_accuracy(axes: Axes, history: Sequence[dict[str, Any]]) -> None:
    lines = [line for line in history if "T1" in line]
    epochs = [line["epoch"] for line in lines]
    axes.plot(epochs, [100 * line["T1"] for line in lines], ".-", color=COLOURS["T1"], label="T1")
    for row in ("val", "oracle"):
        points = [(line["epoch"], 100 * line["gzsl"][row]["H"]) for line in lines if row in line["gzsl"]]
        if points:
            axes.plot(*zip(*points, strict=True), ".--", color=MARKERS[row][1], label=f"{row} H")
    axes.set(xlabel="epoch", ylabel="accuracy (%)", ylim=(0, 100))
    axes.grid(alpha=0.3)
    axes.legend()


def _draw_curve(axes: Axes, results: Results) -> None:
    curve = results.curve
    axes.plot(100 * curve.unseen, 100 * curve.seen, color=COLOURS["curve"])
    axes.fill_between(100 * curve.unseen, 100 * curve.seen, color=COLOURS["curve"], alpha=0.12, linewidth=0)
    for name, row in results.gzsl.items():
        marker, colour = MARKERS[name]
        label = f"{name} H {100 * row.H:.1f}"
        axes.plot(100 * row.U, 100 * row.S, marker, color=colour, markersize=9, linestyle="", label=label)
    axes.set(xlabel="U, unseen accuracy (%)", ylabel="S, seen accuracy (%)", xlim=(0, 100), ylim=(0, 100))
    axes.set_title(f"AUSUC {100 * results.AUSUC:.1f}", fontsize="medium")
    axes.grid(alpha=0.3)
    axes.legend()


def save_figure(figure: Figure, stem: Path) -> None:
    """Writes ``figure`` as ``stem``.png and ``stem``.svg, each whole or not at all."""
    for suffix in (".png", ".svg"):
        with atomic_path(stem.with_suffix(suffix)) as temporary:
            figure.savefig(temporary, dpi=150)
