"""Optimiser and learning-rate schedule."""

from .build import build_solver
from .schedule import lr_factor

__all__ = ["build_solver", "lr_factor"]
