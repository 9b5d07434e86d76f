"""The yacs configuration: every key in ``defaults``, reading and checking in ``load``."""

from .defaults import get_defaults
from .load import differences, drift, flat, load_config, result_keys

__all__ = ["differences", "drift", "flat", "get_defaults", "load_config", "result_keys"]
