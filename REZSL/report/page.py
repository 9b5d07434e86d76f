"""One HTML page about one or several runs, which needs nothing but itself: no network, no script."""

import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import jinja2
from markupsafe import Markup

from REZSL.evaluation import ErrorTable, error_table, summarise
from REZSL.evaluation.analysis import MEASURES
from REZSL.utils.files import write_text
from REZSL.utils.text import printable

from .analysis import NOTES as MEASURE_NOTES
from .analysis import measure_heading, summary_table
from .analysis_figures import draw_attributes, draw_error_signature, draw_heat_maps
from .details import Details, class_details
from .page_figures import Picture, Style, as_png, as_svg, draw_crossing, draw_curves, draw_histories, styles
from .results import NOTES as ROW_NOTES
from .results import format_maxima
from .runs import Run, config_rows

WORST = 30  # classes, and pairs of classes, that are shown at once
SAME_FIGURE = 5e-4  # what differs by less looks the same in the table


@dataclass(frozen=True, eq=False)
class View:
    """A run as the page shows it.

    Attributes:
        run: the run.
        style: of its lines.
        row: the calibration row at which its classes are shown.
        gamma: its calibration.
        details: of its classes; None without predictions.
        errors: of its attributes; None without predictions.
    """

    run: Run
    style: Style
    row: str
    gamma: float
    details: Details | None
    errors: ErrorTable | None

    @property
    def subtitle(self) -> str:
        """Says what was run: data set, model, seed, epoch, as far as ``results.json`` does."""
        said = self.run.results
        words = [str(said[key]) for key in ("dataset", "model") if key in said]
        return ", ".join(words + [f"{key} {said[key]}" for key in ("seed", "epoch") if key in said])


def write_page(path: str | os.PathLike, runs: Sequence[Run]) -> None:
    """Writes a page about ``runs`` to ``path``, whole or not at all."""
    write_text(path, render_page(runs))


def render_page(runs: Sequence[Run]) -> str:
    """Returns the HTML of the page; whatever text comes from ``runs`` is escaped."""
    views = [_view(run, style) for run, style in zip(runs, styles(len(runs)), strict=True)]
    with_details = [view for view in views if view.details]
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("REZSL.report"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        finalize=_shown,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"percent": _percent, "breakable": _breakable, "measure_heading": measure_heading}
    return environment.get_template("page.html").render(
        views=views,
        row_notes={name: note for name, note in ROW_NOTES.items() if any(name in run.results["gzsl"] for run in runs)},
        notes=_notes(views),
        curves=_curves(views),
        histories=_histories(views),
        with_details=with_details,
        crossings={view.run.name: _crossing(view) for view in with_details},
        worst=WORST,
        summary=_summary(with_details),
        error_kind=with_details[0].errors.kind if with_details else None,
        measure_notes=MEASURE_NOTES,
        imbalance={view.run.name: _imbalance(view) for view in with_details},
        configured=[view.run.name for view in views if view.run.config is not None],
        config=config_rows(runs),
    )


def _view(run: Run, style: Style) -> View:
    rows = {"gamma=0": {"gamma": 0.0}} | run.results["gzsl"]
    row = next((name for name in ("val", "oracle") if name in rows), list(rows)[-1])
    gamma = rows[row]["gamma"]
    if run.predictions is None:
        return View(run, style, row, gamma, None, None)
    return View(run, style, row, gamma, class_details(run.predictions, gamma), error_table(run.predictions))


def _notes(views: Sequence[View]) -> list[str]:
    """Says what the page lacks of which runs, and where a run's files disagree."""
    lacking = {
        "no intervals in results.json": [view for view in views if not view.run.intervals],
        "no metrics.jsonl (a run that only evaluates has none)": [view for view in views if not view.run.history],
        "no config.yaml": [view for view in views if view.run.config is None],
        "no predictions.npz, so no curve, classes or errors": [view for view in views if view.details is None],
    }
    notes = [f"{what}: {', '.join(view.run.name for view in those)}" for what, those in lacking.items() if those]
    for view in views:
        if maxima := view.run.results.get("maxima_over_epochs"):
            notes.append(f"{view.run.name}: {format_maxima(maxima)}")
        for name in ("T1", "AUSUC") if view.details else ():
            said, found = view.run.results[name], getattr(view.details, name)
            if said is not None and found is not None and not abs(said - found) < SAME_FIGURE:
                figures = f"{_percent(said)} in results.json, but {_percent(found)} by predictions.npz"
                notes.append(f"{view.run.name}: {name} is {figures}")
    return notes


def _percent(fraction: float) -> str:
    return f"{100 * fraction:.1f}"


def _shown(value: Any) -> Any:
    """What the page shows for a value: whatever is no HTML of ours is text from somewhere."""
    return printable(value) if isinstance(value, str) and not isinstance(value, Markup) else value


def _breakable(text: str) -> Markup:
    """Escapes ``text`` and lets a line end after what joins the words of a name."""
    return Markup("<wbr>").join(re.split(r"(?<=[_/:,-])", printable(text)))


def _curves(views: Sequence[View]) -> Picture | None:
    if not any(view.run.results["gzsl"] for view in views):
        return None
    curves = [(view.style, view.details and view.details.curve, view.run.results["gzsl"]) for view in views]
    alt = f"Seen-unseen curve of each run with the points of its rows ({len(views)} in all); figures in the table above"
    return as_svg(draw_curves(curves), alt)


def _histories(views: Sequence[View]) -> list[Picture]:
    drawn = draw_histories([(view.style, view.run.history) for view in views])
    return [as_svg(figure, f"{title} of each run over epochs") for title, figure in drawn.items()]


def _crossing(view: View) -> Picture | None:
    """Draws the unseen images that are given seen classes, if there are any."""
    details = view.details
    if not details.crossing.any():
        return None
    num_seen = details.crossing.shape[1]
    figure = draw_crossing(details.crossing, details.names[num_seen:], details.names[:num_seen])
    return as_png(figure, f"{view.run.name}: images of unseen classes by the seen class they are given")


def _summary(views: Sequence[View]) -> list[list[str]]:
    """Returns lines of group, measure, and its value in each run; no mean, since these runs may differ in anything."""
    if not views:
        return []
    summaries = [summarise(view.errors) for view in views]
    table = summary_table([view.run.name for view in views], summaries, views[0].errors.kind)
    return [line[: 2 + len(views)] for line in table.shown() if line[1] in MEASURES]


def _imbalance(view: View) -> list[Picture]:
    errors, label = view.errors, "this run"  # its name is beside the figures
    attributes = [str(k) for k in range(errors.error.shape[1])]
    figures = {
        "signatures and errors, classes by attributes": draw_heat_maps({label: errors}, attributes),
        "error against signature value": draw_error_signature({label: errors}),
    }
    for group in ("seen", "unseen"):
        if len(errors.classes(group)):
            title = f"error of each attribute over the {group} classes"
            figures[title] = draw_attributes({label: [errors]}, attributes, group)
    return [as_png(figure, f"{view.run.name}: {title}") for title, figure in figures.items()]
