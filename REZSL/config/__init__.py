"""The yacs configuration: every key in ``defaults``, reading in ``load``, checking in ``check``."""

from REZSL.utils.yaml_file import flat

from .defaults import get_defaults
from .load import differences, drift, load_config, result_keys

__all__ = ["differences", "drift", "flat", "get_defaults", "load_config", "result_keys"]
