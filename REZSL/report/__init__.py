"""What a run leaves for people and scripts: tables, JSON, figures."""

from .analysis import (
    attribute_table,
    class_table,
    comparison_table,
    error_matrix,
    format_notes,
    read_attribute_names,
    summary_table,
)
from .analysis_figures import draw_analysis
from .figures import draw_run
from .page import render_page, write_page
from .results import format_results, maxima_over_epochs, write_json
from .run_files import read_choice, read_history, read_results, read_seed
from .runs import Run, read_runs, read_sound, read_sound_runs
from .summary import comparison_tidy, comparison_wide, figures_of, read_entry, seeds_table
from .tables import Table
from .tracking import tracking

__all__ = [
    "Run",
    "Table",
    "attribute_table",
    "class_table",
    "comparison_table",
    "comparison_tidy",
    "comparison_wide",
    "draw_analysis",
    "draw_run",
    "error_matrix",
    "figures_of",
    "format_notes",
    "format_results",
    "maxima_over_epochs",
    "read_attribute_names",
    "read_choice",
    "read_entry",
    "read_history",
    "read_results",
    "read_runs",
    "read_seed",
    "read_sound",
    "read_sound_runs",
    "render_page",
    "seeds_table",
    "summary_table",
    "tracking",
    "write_json",
    "write_page",
]
