"""What a run leaves for people and scripts: tables, JSON, figures."""

from .figures import draw_run
from .results import format_results, write_json

__all__ = ["draw_run", "format_results", "write_json"]
