"""Reading a configuration: defaults, then a YAML file, then KEY VALUE pairs; checked, frozen."""

import logging
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from yacs.config import CfgNode

from REZSL.utils.errors import ConfigError
from REZSL.utils.registry import did_you_mean
from REZSL.utils.text import brief, printable
from REZSL.utils.yaml_file import NOT_FINITE, NUMBER, WHOLE, flat, parse_yaml, plain_value, read_yaml

from .check import allowed, check
from .defaults import FREE, get_defaults
from .published import as_meant

log = logging.getLogger(__name__)

COMMAND_LINE = "command line"
SWITCHES = {word: value for value, words in ((True, "true yes on"), (False, "false no off")) for word in words.split()}
MAX_TEXT = 4096  # characters: no path is longer
MAX_DIGITS = 30  # of a whole number; every bound is below


def load_config(config_file: str | os.PathLike | None = None, overrides: Sequence[str] = ()) -> CfgNode:
    """Returns the complete, checked and frozen configuration.

    Args:
        config_file: a ``.yaml`` or ``.yml`` file; nothing else is read (yacs itself would execute a ``.py``).
        overrides: ``KEY VALUE`` pairs that go before the file, e.g. ``["SOLVER.BASE_LR", "0.01"]``.

    Raises:
        ConfigError: naming the file, the key, the value, what is allowed, and the nearest known key.
    """
    cfg = get_defaults()
    known = flat(cfg)
    sources: dict[str, str] = {}
    layers: list[tuple[str, dict[str, Any]]] = []
    if config_file is not None:
        values, told = as_meant(_read_layer(config_file))
        layers.append((str(config_file), values))
        for note in told:
            log.warning("%s, a file of the published code: %s", printable(str(config_file)), note)
    layers.append((COMMAND_LINE, _pairs(overrides)))
    for source, values in layers:
        for key, value in _with_both_seeds(values, source).items():
            if key not in known:
                raise ConfigError(f"{source}: {_unknown(key, known)}")
            _set(cfg, key, _coerce(key, value, known[key], source))
            sources[key] = source
    check(cfg, sources)
    cfg.freeze()
    return cfg


def drift(before: CfgNode, now: CfgNode) -> dict[str, tuple[Any, Any]]:
    """Returns the differences that change what a run comes to, not only where or how fast."""
    return {key: values for key, values in differences(before, now).items() if key not in FREE}


def result_keys(cfg: CfgNode) -> dict[str, Any]:
    """Returns the keys that decide what a run comes to, with their values."""
    return {key: value for key, value in flat(cfg).items() if key not in FREE}


def differences(a: CfgNode, b: CfgNode) -> dict[str, tuple[Any, Any]]:
    """Returns the keys whose values differ, with both values."""
    ours, theirs = flat(a), flat(b)
    return {key: (value, theirs[key]) for key, value in ours.items() if value != theirs[key]}


def _read_layer(path: str | os.PathLike) -> dict[str, Any]:
    path = Path(path)
    if path.suffix not in (".yaml", ".yml"):
        raise ConfigError(f"{path}: a config file must be .yaml or .yml")
    content = read_yaml(path, plain=str)  # what a value is, its key says
    if content is None:
        return {}
    if not isinstance(content, dict):
        raise ConfigError(f"{path}: expected KEY: VALUE lines, got a {type(content).__name__}")
    try:
        return flat(content)
    except ConfigError as error:
        raise ConfigError(f"{path}: {error}") from None


def _pairs(overrides: Sequence[str]) -> dict[str, Any]:
    if len(overrides) % 2:
        raise ConfigError(f"{COMMAND_LINE}: overrides come as KEY VALUE pairs; {brief(overrides[-1])!r} has no value")
    return dict(zip(overrides[::2], overrides[1::2], strict=True))


def _unknown(key: str, known: dict[str, Any]) -> str:
    if any(k.startswith(key + ".") for k in known):
        return f"{key} is a section, it takes keys of its own"
    same_leaf = [k for k in known if k.rsplit(".", 1)[-1] == key.rsplit(".", 1)[-1]]  # right name, wrong section
    hint = did_you_mean(key, same_leaf) or (f"; did you mean {same_leaf[0]!r}?" if same_leaf else "")
    return f"unknown key {brief(key)}{hint or did_you_mean(key, known)}"


def _with_both_seeds(values: dict[str, Any], source: str) -> dict[str, Any]:
    """SEED and SOLVER.SEED are one thing: within a layer they must agree, and the later layer's word counts."""
    seeds = {key: values[key] for key in ("SEED", "SOLVER.SEED") if key in values}
    if len({str(v) for v in seeds.values()}) > 1:
        both = " and ".join(f"{key} {brief(seed)}" for key, seed in seeds.items())
        raise ConfigError(f"{source}: {both} disagree")
    if not seeds:
        return values
    (seed, *_) = seeds.values()
    return {**values, "SEED": seed, "SOLVER.SEED": seed}


def _coerce(key: str, value: Any, default: Any, source: str) -> Any:
    """Returns ``value``, text or a list of texts, in the type of ``default``."""
    wanted = type(default)
    if isinstance(value, str):
        value = _read(value, wanted, f"{source}: {key}")
    if wanted is list and isinstance(value, list):
        return _plain_items(value)
    if wanted is float and type(value) is int:
        return float(value)
    if type(value) is not wanted:
        told = plain_value(value) if isinstance(value, str) else value
        digits = wanted in (int, float) and isinstance(told, str) and any(c.isdigit() for c in told)
        problem = f"is {brief(repr(told))}, expected {allowed(key, wanted)}" + ", in plain decimal digits" * digits
        raise ConfigError(f"{source}: {key} {problem}")
    return value


def _read(text: str, wanted: type, where: str) -> Any:
    """``text`` as ``wanted``, or as it is where it says nothing of that type."""
    if wanted is str and ("\0" in text or len(text) > MAX_TEXT):
        problem = "holds a NUL character" if "\0" in text else f"has {len(text):,} characters, more than {MAX_TEXT:,}"
        raise ConfigError(f"{where} {problem}")
    if wanted is bool:
        return SWITCHES.get(text.lower(), text)
    if wanted is int and WHOLE.fullmatch(text):
        return int(text) if len(text) <= MAX_DIGITS else text
    if wanted is float and (NUMBER.fullmatch(text) or NOT_FINITE.fullmatch(text)):
        return float(text.replace(".inf", "inf").replace(".nan", "nan"))
    return parse_yaml(text, where) if wanted is list else text


def _plain_items(values: list) -> list:
    return [
        _plain_items(value) if isinstance(value, list) else plain_value(value) if isinstance(value, str) else value
        for value in values
    ]


def _set(cfg: CfgNode, key: str, value: Any) -> None:
    *sections, leaf = key.split(".")
    for section in sections:
        cfg = cfg[section]
    cfg[leaf] = value
