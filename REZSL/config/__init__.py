"""The yacs configuration: every key in ``defaults``, reading and checking in ``load``."""

from .defaults import get_defaults
from .load import differences, flat, load_config

__all__ = ["differences", "flat", "get_defaults", "load_config"]
