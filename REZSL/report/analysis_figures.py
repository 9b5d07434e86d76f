"""Figures of the imbalance analysis, as PNG and SVG: heat maps, error against signature, error of each attribute."""

import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import scipy.stats
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure

from REZSL.evaluation.analysis import SMALLEST_RANGE, ErrorTable, mean_table
from REZSL.utils.text import printable

from .figures import save_figure

# the bars and the line are of Okabe and Ito's palette; cividis and magma are told apart by the colour-blind as well
BEFORE, AFTER, LINE = "#0072B2", "#E69F00", "#D55E00"
MAPS = {"signature": "cividis", "error": "magma"}
LABEL_PITCH = 0.11  # inches from one label to the next; what is nearer is thinned
LABEL_SIZE = 6  # points
BARS_A_COLUMN = 80
MOST_BARS = 640  # of the largest errors; an image of more is wider than Matplotlib draws
MOST_POINTS = 1000  # more than these are binned
LONGEST_NAME = 38


def draw_analysis(
    folder: str | os.PathLike,
    tables: Sequence[ErrorTable],
    against: Sequence[ErrorTable] = (),
    attribute_names: Sequence[str] | None = None,
    labels: tuple[str, str] = ("run", "against"),
) -> None:
    """Writes ``heat_maps``, ``error_signature`` and ``attributes_{seen,unseen}``, each as .png and .svg, to ``folder``.

    Args:
        folder: made if need be.
        tables: one or several runs on the same data, of which the mean is drawn.
        against: the runs these are compared against, if any: drawn before them.
        attribute_names: K names; numbers from 0 where there are none.
        labels: what to call the one and the other.
    """
    folder = Path(folder)
    labels = [short_name(label) for label in labels]
    parts = [(labels[1], against), (labels[0], tables)] if against else [(labels[0], tables)]
    means = {label: mean_table(part) for label, part in parts}
    names = [short_name(name) for name in attribute_names or map(str, range(tables[0].error.shape[1]))]
    save_figure(draw_heat_maps(means, names), folder / "heat_maps")
    save_figure(draw_error_signature(means), folder / "error_signature")
    for group in ("seen", "unseen"):
        if len(tables[0].classes(group)):
            figure = draw_attributes(dict(parts), names, group)
            save_figure(figure, folder / f"attributes_{group}")


def draw_heat_maps(tables: dict[str, ErrorTable], names: Sequence[str]) -> Figure:
    """Draws signatures and errors side by side, classes x attributes.

    Attributes, and the classes within seen and within unseen, are sorted by the mean error of the last of ``tables``,
    the largest first. A line parts seen and unseen. All errors share one scale, cut at their 99.5th percentile.

    Args:
        tables: errors by label, in the order to draw.
        names: K names of the attributes.
    """
    last = list(tables.values())[-1]
    groups = [last.classes(group) for group in ("seen", "unseen")]
    classes = np.concatenate([group[(-last.error[group].mean(1)).argsort(kind="stable")] for group in groups])
    attributes = (-last.attribute_error("all")).argsort(kind="stable")
    shown = np.ix_(classes, attributes)
    errors = np.stack([table.error[shown] for table in tables.values()])
    panels = [("signature, L2-normalised", "signature", last.signatures[shown], _scale(last.signatures[shown]))]
    panels += [
        (f"{last.kind} error: {label}", "error", values, _scale(errors))
        for label, values in zip(tables, errors, strict=True)
    ]
    class_names, attribute_names = [short_name(last.class_names[c]) for c in classes], [names[k] for k in attributes]
    width, height = np.clip(0.04 * len(attributes), 3.4, 8), np.clip(0.12 * len(classes), 2.4, 11)
    side, below = (0.055 * max(map(len, part)) for part in (class_names, attribute_names))
    figure = Figure(figsize=((width + 0.9) * len(panels) + side + 0.5, height + below + 1), layout="constrained")
    for number, (axes, panel) in enumerate(zip(figure.subplots(1, len(panels), squeeze=False)[0], panels, strict=True)):
        _draw_map(axes, *panel)
        _name_ticks(axes, "x", attribute_names, width)
        if number == 0:
            _name_ticks(axes, "y", class_names, height)
        else:
            axes.set_yticks([])
        axes.set_xlabel("attributes, largest mean error first")
        if len(groups[0]) and len(groups[1]):
            axes.axhline(len(groups[0]) - 0.5, color="white", linewidth=2)
            axes.axhline(len(groups[0]) - 0.5, color="black", linewidth=1, linestyle="--")
    kinds = [f"{len(part)} {group}" for group, part in zip(("seen", "unseen"), groups, strict=True) if len(part)]
    figure.axes[0].set_ylabel(f"classes, largest mean error first\n({', below the line '.join(kinds)})")
    return figure


def draw_error_signature(tables: dict[str, ErrorTable]) -> Figure:
    """Draws error against signature value: a row for each of ``tables``, a column for seen and unseen classes.

    A point is a (class, attribute). The line is the least-squares fit to the points; r and rho are Pearson's and
    Spearman's correlation over all of them together.
    """
    first = next(iter(tables.values()))
    groups = [group for group in ("seen", "unseen") if len(first.classes(group))]
    size = (4.8 * len(groups), 3.6 * len(tables))
    figure = Figure(figsize=size, layout="constrained")
    grid = figure.subplots(len(tables), len(groups), squeeze=False, sharex=True, sharey=True)
    for row, (label, table) in zip(grid, tables.items(), strict=True):
        for axes, group in zip(row, groups, strict=True):
            classes = table.classes(group)
            fit = _draw_points(axes, table.signatures[classes].ravel(), table.error[classes].ravel())
            axes.set_title(f"{label}, {group} classes\n{fit}", fontsize="medium", parse_math=False)
        row[0].set_ylabel(f"{table.kind} error")
    for axes in grid[-1]:
        axes.set_xlabel("signature value, L2-normalised")
    return figure


def draw_attributes(runs: dict[str, Sequence[ErrorTable]], names: Sequence[str], group: str) -> Figure:
    """Draws each attribute's error as a bar, sorted by the error of the first of ``runs``, the ``MOST_BARS`` largest.

    Args:
        runs: tables of one or several runs by label, in the order to draw; whiskers are the standard deviation over
            runs, where there are several.
        names: K names of the attributes.
        group: ``seen`` or ``unseen``.
    """
    values = {label: np.array([t.attribute_error(group) for t in tables]) for label, tables in runs.items()}  # (R, K)
    order = (-next(iter(values.values())).mean(0)).argsort(kind="stable")[:MOST_BARS]
    columns = -(-len(order) // BARS_A_COLUMN)
    chunks = np.array_split(order, columns)
    side = 0.06 * max(map(len, names))
    size = ((2.6 + side) * columns + 0.4, 0.14 * len(chunks[0]) + 1.3)
    figure = Figure(figsize=(max(size[0], 4.8), size[1]), layout="constrained")
    grid = figure.subplots(1, columns, squeeze=False, sharex=True)[0]
    for axes, chunk in zip(grid, chunks, strict=True):
        _draw_bars(axes, {label: value[:, chunk] for label, value in values.items()})
        axes.set_yticks(range(len(chunk)), [names[k] for k in chunk], fontsize=LABEL_SIZE, parse_math=False)
        axes.set_ylim(len(chunks[0]) - 0.4, -0.6)
    kind = next(iter(runs.values()))[0].kind
    whiskers = "\nwhiskers: standard deviation over runs" if any(len(value) > 1 for value in values.values()) else ""
    part = f", the largest {MOST_BARS} of {len(names)}" if len(names) > MOST_BARS else ""
    figure.supxlabel(f"mean {kind} error over the {group} classes{part}{whiskers}", fontsize="medium")
    figure.legend(*grid[0].get_legend_handles_labels(), loc="outside upper center", ncols=2)
    return figure


def _draw_bars(axes: Axes, values: dict[str, np.ndarray]) -> None:
    height = 0.8 / len(values)
    for number, ((label, value), colour) in enumerate(zip(values.items(), (BEFORE, AFTER), strict=False)):
        at = np.arange(value.shape[1]) + (number - (len(values) - 1) / 2) * height
        whisker = value.std(0, ddof=1) if len(value) > 1 else None
        options = {"error_kw": {"linewidth": 0.6}, "linewidth": 0}
        axes.barh(at, value.mean(0), height, xerr=whisker, color=colour, label=label, **options)
    axes.tick_params("y", length=0)
    axes.grid(axis="x", alpha=0.3)
    axes.set_axisbelow(True)


def _draw_points(axes: Axes, x: np.ndarray, y: np.ndarray) -> str:
    """Draws the points, and the line where there is one; returns the fit in words."""
    if len(x) > MOST_POINTS:
        bins = axes.hexbin(x, y, gridsize=45, bins="log", cmap="viridis", mincnt=1, linewidths=0.1)
        axes.figure.colorbar(bins, ax=axes, label="pairs of class and attribute")
    else:
        axes.plot(x, y, ".", color=BEFORE, alpha=0.5, markersize=4)
    axes.grid(alpha=0.3)
    axes.set_axisbelow(True)
    if len(x) < 3 or np.ptp(x) <= SMALLEST_RANGE["signature"] or np.ptp(y) <= SMALLEST_RANGE["error"]:
        return "no correlation: signature or error is constant"
    fit = scipy.stats.linregress(x, y)
    ends = np.array([x.min(), x.max()])
    axes.plot(ends, fit.intercept + fit.slope * ends, color="white", linewidth=3.5)
    axes.plot(ends, fit.intercept + fit.slope * ends, color=LINE, linewidth=2)
    return f"r {fit.rvalue:.2f}, rho {scipy.stats.spearmanr(x, y).statistic:.2f}, slope {fit.slope:.2g}"


def _scale(values: np.ndarray) -> Normalize:
    return Normalize(min(values.min(), 0.0), np.percentile(values, 99.5))


def _draw_map(axes: Axes, title: str, quantity: str, values: np.ndarray, scale: Normalize) -> None:
    axes.imshow(values, cmap=MAPS[quantity], norm=scale, aspect="auto", interpolation="nearest")
    axes.set_title(title, fontsize="medium", parse_math=False)
    beyond = "max" if values.max() > scale.vmax else "neither"
    axes.figure.colorbar(ScalarMappable(scale, MAPS[quantity]), ax=axes, extend=beyond, fraction=0.04, pad=0.02)


def _name_ticks(axes: Axes, axis: str, names: Sequence[str], inches: float) -> None:
    """Names as many evenly spaced ticks as ``inches`` of axis have room for."""
    step = max(1, int(np.ceil(LABEL_PITCH * len(names) / inches)))
    ticks = range(0, len(names), step)
    options = {"rotation": 90} if axis == "x" else {}
    axes.set(**{f"{axis}ticks": ticks})
    getattr(axes, f"set_{axis}ticklabels")([names[i] for i in ticks], fontsize=LABEL_SIZE, parse_math=False, **options)
    if step > 1:
        axes.tick_params(axis, length=2)


def short_name(name: str) -> str:
    """Returns the name as an axis or a legend has room for it."""
    return printable(name, LONGEST_NAME)
