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
from .results import format_results, write_json
from .runs import Run, read_runs
from .summary import comparison_tidy, comparison_wide, figures_of, read_entry, read_results, seeds_table
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
    "read_attribute_names",
    "read_entry",
    "read_results",
    "read_runs",
    "render_page",
    "seeds_table",
    "summary_table",
    "tracking",
    "write_json",
    "write_page",
]
