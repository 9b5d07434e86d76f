"""The yacs configuration: every key in ``defaults``, reading and checking in ``load``."""

from .defaults import get_defaults
from .load import load_config

__all__ = ["get_defaults", "load_config"]
