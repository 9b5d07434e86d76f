"""Figures of the page: curves and histories of several runs, unseen classes taken for seen ones; as data URIs."""

import base64
import io
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import matplotlib
import numpy as np
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator
from PIL import Image

from REZSL.evaluation import Curve

from .analysis_figures import LABEL_SIZE, short_name
from .figures import MARKERS
from .runs import quantities

# Okabe and Ito's palette but for yellow, which is too faint for a line on white
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
LINES = {"-": "", "--": "6 3", ":": "2 2", "-.": "7 2 2 2"}  # Matplotlib's name and SVG's dashes
KINDS = ("loss", "T1", "AUSUC", "H", "gradient")  # first words of what is drawn over epochs, in order
PIXELS_AN_INCH = 96  # of CSS


@dataclass(frozen=True)
class Style:
    """How a run is drawn in every figure: ``colour``, and ``line`` as Matplotlib and as SVG (``dashes``) name it."""

    colour: str
    line: str
    dashes: str


@dataclass(frozen=True)
class Picture:
    """An image that a page can hold: its data URI, its description, and its size in CSS pixels."""

    uri: str
    alt: str
    width: int
    height: int


def styles(number: int) -> list[Style]:
    """Returns as many styles, which differ in colour and, after the last colour, in dashes."""
    lines = list(LINES.items())
    return [Style(COLOURS[n % len(COLOURS)], *lines[n // len(COLOURS) % len(lines)]) for n in range(number)]


def draw_curves(curves: Sequence[tuple[Style, Curve | None, dict[str, dict]]]) -> Figure:
    """Draws seen-unseen curves with their operating points.

    Args:
        curves: of each run its style, its curve (None: only points) and the rows of its ``results.json``.
    """
    figure = Figure(figsize=(4.8, 4.2), layout="constrained")
    axes = figure.subplots()
    named = {}
    for style, curve, rows in curves:
        if curve is not None:
            axes.plot(100 * curve.unseen, 100 * curve.seen, style.line, color=style.colour, linewidth=1.6)
        for name, row in rows.items():
            marker, size, label = _marker(name, row)
            options = {"markersize": size, "markeredgecolor": "white", "linestyle": "", "zorder": 3}
            axes.plot(100 * row["U"], 100 * row["S"], marker, color=style.colour, clip_on=False, **options)
            named[name] = Line2D([], [], marker=marker, color="#555555", label=label, **options)
    axes.set(xlabel="U, unseen accuracy (%)", ylabel="S, seen accuracy (%)")
    axes.set_xlim(left=0)
    axes.set_ylim(bottom=0)
    axes.grid(alpha=0.3)
    order = [*MARKERS, *named]
    handles = [named[name] for name in sorted(named, key=order.index)]
    for text in axes.legend(handles=handles, loc="lower left", fontsize="small").get_texts():
        text.set_parse_math(False)
    return figure


def _marker(name: str, row: dict[str, Any]) -> tuple[str, int, str]:
    """Shape and size of a row's point, and what the legend calls it."""
    marker = MARKERS[name][0] if name in MARKERS else "X"
    label = f"row {short_name(name)}" + (", chosen on test labels" if row.get("uses_test_labels") else "")
    return marker, {"*": 14}.get(marker, 8), label


def draw_histories(runs: Sequence[tuple[Style, Sequence[dict[str, Any]]]]) -> dict[str, Figure]:
    """Draws every quantity of the training that any run has, over epochs; returns the figures by their titles.

    Args:
        runs: of each its style and the lines of its ``metrics.jsonl``.
    """
    values = [[(line["epoch"], quantities(line)) for line in history] for _, history in runs]
    titles = dict.fromkeys(title for lines in values for _, line in lines for title in line)
    longest = max((epoch for lines in values for epoch, _ in lines), default=1)
    figures = {}
    for title in sorted(titles, key=lambda title: KINDS.index(title.split()[0])):
        figures[title] = Figure(figsize=(4, 2.7), layout="constrained")
        axes = figures[title].subplots()
        for (style, _), lines in zip(runs, values, strict=True):
            points = [(epoch, line[title]) for epoch, line in lines if title in line]
            if points:
                axes.plot(*zip(*points, strict=True), style.line, color=style.colour, marker=".")
        axes.set_title(short_name(title), fontsize="medium", parse_math=False)
        axes.set_xlabel("epoch")
        axes.set_xlim(1 - 0.05 * longest, 1.05 * longest)
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        if title.startswith("gradient share"):
            axes.set_ylim(-2, 102)  # so that an idle term looks idle
        axes.grid(alpha=0.3)
    return figures


def draw_crossing(crossing: np.ndarray, unseen: Sequence[str], seen: Sequence[str], most: int = 20) -> Figure:
    """Draws how many images of unseen classes (rows) are given seen ones (columns), where these are the most.

    Args:
        crossing: (U, S) counts.
        unseen: U names.
        seen: S names.
        most: rows and columns at most.
    """
    rows, columns = ((-crossing.sum(axis)).argsort(kind="stable")[:most] for axis in (1, 0))
    shown = crossing[np.ix_(rows, columns)]
    names = [[short_name(names[n]) for n in order] for names, order in ((unseen, rows), (seen, columns))]
    side, below = (0.07 * max(map(len, part)) for part in names)
    size = (0.3 * len(columns) + side + 0.6, 0.26 * len(rows) + below + 0.6)
    figure = Figure(figsize=size, layout="constrained")
    axes = figure.subplots()
    axes.imshow(shown, cmap="cividis", aspect="auto", vmin=0)
    for (row, column), count in np.ndenumerate(shown):
        if count:
            colour = "black" if count > shown.max() / 2 else "white"
            axes.text(column, row, str(count), color=colour, ha="center", va="center", fontsize=LABEL_SIZE + 1)
    options = {"fontsize": LABEL_SIZE + 1, "parse_math": False}
    axes.set_yticks(range(len(rows)), names[0], **options)
    axes.set_xticks(range(len(columns)), names[1], rotation=90, **options)
    axes.set_xlabel("given this seen class", labelpad=8)
    axes.set_ylabel("images of this unseen class", labelpad=8)
    return figure


def as_svg(figure: Figure, alt: str) -> Picture:
    """Returns ``figure`` as lines: the same bytes whenever it is the same figure."""
    buffer = io.BytesIO()
    with matplotlib.rc_context({"svg.hashsalt": "REZSL"}):
        figure.savefig(buffer, format="svg", metadata={"Date": None, "Creator": None})
    return _picture(figure, alt, "svg+xml", buffer.getvalue())


def as_png(figure: Figure, alt: str) -> Picture:
    """Returns ``figure`` as points of 256 colours, which is smaller where there are many lines or letters."""
    buffer, small = io.BytesIO(), io.BytesIO()
    figure.savefig(buffer, format="png", dpi=150)
    with Image.open(buffer, formats=["PNG"]) as image:
        image.convert("RGB").quantize(256, dither=Image.Dither.NONE).save(small, "png", optimize=True)
    return _picture(figure, alt, "png", small.getvalue())


def _picture(figure: Figure, alt: str, kind: str, content: bytes) -> Picture:
    width, height = (round(PIXELS_AN_INCH * inches) for inches in figure.get_size_inches())
    return Picture(f"data:image/{kind};base64,{base64.b64encode(content).decode()}", alt, width, height)
