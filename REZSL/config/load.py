"""Reading a configuration: defaults, then a YAML file, then KEY VALUE pairs; checked, frozen."""

import ast
import contextlib
import math
import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import yaml
from yacs.config import CfgNode

from REZSL.utils.errors import ConfigError, first_line
from REZSL.utils.registry import did_you_mean

from .defaults import CHOICES, FREE, NON_NEGATIVE, POSITIVE, RETIRED, get_defaults

COMMAND_LINE = "command line"
RUN_FILES = ("config.yaml", "metrics.jsonl", "last.pth", "predictions.npz", "results.json", "figures", "eval", "val")


def load_config(config_file: str | os.PathLike | None = None, overrides: Sequence[str] = ()) -> CfgNode:
    """Returns the complete, checked and frozen configuration.

    Args:
        config_file: a ``.yaml`` or ``.yml`` file; nothing else is read (yacs itself would execute a ``.py``).
        overrides: ``KEY VALUE`` pairs that go before the file, e.g. ``["SOLVER.BASE_LR", "0.01"]``.

    Raises:
        ConfigError: naming the file, the key, the value, what is allowed, and the nearest known key.
    """
    cfg = get_defaults()
    known = dict(_leaves(cfg))
    sources: dict[str, str] = {}
    layers: list[tuple[str, dict[str, Any]]] = []
    if config_file is not None:
        layers.append((str(config_file), dict(_leaves(_read_yaml(config_file)))))
    layers.append((COMMAND_LINE, _pairs(overrides)))
    for source, values in layers:
        for key, value in _with_both_seeds(values, source).items():
            if key not in known:
                raise ConfigError(f"{source}: {_unknown(key, known)}")
            _set(cfg, key, _coerce(key, value, known[key], source))
            sources[key] = source
    _check(cfg, sources)
    cfg.freeze()
    return cfg


def flat(cfg: CfgNode) -> dict[str, Any]:
    """Returns every key's value, by its full name such as ``SOLVER.BASE_LR``."""
    return dict(_leaves(cfg))


def drift(before: CfgNode, now: CfgNode) -> dict[str, tuple[Any, Any]]:
    """Returns the differences that change what a run comes to, not only where or how fast."""
    return {key: values for key, values in differences(before, now).items() if key not in FREE}


def result_keys(cfg: CfgNode) -> dict[str, Any]:
    """Returns the keys that decide what a run comes to, with their values."""
    return {key: value for key, value in _leaves(cfg) if key not in FREE}


def differences(a: CfgNode, b: CfgNode) -> dict[str, tuple[Any, Any]]:
    """Returns the keys whose values differ, with both values."""
    ours, theirs = dict(_leaves(a)), dict(_leaves(b))
    return {key: (value, theirs[key]) for key, value in ours.items() if value != theirs[key]}


def _read_yaml(path: str | os.PathLike) -> dict:
    path = Path(path)
    if path.suffix not in (".yaml", ".yml"):
        raise ConfigError(f"{path}: a config file must be .yaml or .yml")
    try:
        content = yaml.load(path.read_text(encoding="utf-8"), _UniqueKeyLoader)
    except OSError as error:
        raise ConfigError(f"{path}: cannot read the config file: {error.strerror}") from None
    except UnicodeDecodeError:
        raise ConfigError(f"{path}: not valid UTF-8 text") from None
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f", line {mark.line + 1}" if mark else ""
        problem = getattr(error, "problem", None) or first_line(error)
        raise ConfigError(f"{path}{where}: not valid YAML: {problem}") from None
    if content is None:
        return {}
    if not isinstance(content, dict):
        raise ConfigError(f"{path}: expected KEY: VALUE lines, got a {type(content).__name__}")
    return content


class _UniqueKeyLoader(yaml.SafeLoader):
    """Refuses a key that occurs twice, of which YAML would drop the first in silence."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict:
        seen = set()
        for key_node, _ in node.value:
            if key_node.value in seen:
                raise yaml.MarkedYAMLError(problem=f"{key_node.value} occurs twice", problem_mark=key_node.start_mark)
            seen.add(key_node.value)
        return super().construct_mapping(node, deep)


def _pairs(overrides: Sequence[str]) -> dict[str, Any]:
    if len(overrides) % 2:
        raise ConfigError(f"{COMMAND_LINE}: overrides come as KEY VALUE pairs; {overrides[-1]!r} has no value")
    return dict(zip(overrides[::2], overrides[1::2], strict=True))


def _leaves(node: dict, prefix: str = "") -> Iterator[tuple[str, Any]]:
    for name, value in node.items():
        key = f"{prefix}{name}"
        if isinstance(value, dict):
            yield from _leaves(value, key + ".")
        else:
            yield key, value


def _unknown(key: str, known: dict[str, Any]) -> str:
    if any(k.startswith(key + ".") for k in known):
        return f"{key} is a section, it takes keys of its own"
    same_leaf = [k for k in known if k.rsplit(".", 1)[-1] == key.rsplit(".", 1)[-1]]  # right name, wrong section
    hint = did_you_mean(key, same_leaf) or (f"; did you mean {same_leaf[0]!r}?" if same_leaf else "")
    return f"unknown key {key}{hint or did_you_mean(key, known)}"


def _with_both_seeds(values: dict[str, Any], source: str) -> dict[str, Any]:
    """SEED and SOLVER.SEED are one thing: within a layer they must agree, and the later layer's word counts."""
    seeds = {key: values[key] for key in ("SEED", "SOLVER.SEED") if key in values}
    if len({str(v) for v in seeds.values()}) > 1:
        raise ConfigError(f"{source}: SEED {values['SEED']} and SOLVER.SEED {values['SOLVER.SEED']} disagree")
    if not seeds:
        return values
    (seed, *_) = seeds.values()
    return {**values, "SEED": seed, "SOLVER.SEED": seed}


def _coerce(key: str, value: Any, default: Any, source: str) -> Any:
    """Returns ``value`` in the type of ``default``; '5e-4', which YAML takes for text, and '[0, 1]' are understood."""
    wanted = type(default)
    if wanted is str:
        if isinstance(value, (str, int, float)) and not isinstance(value, bool):
            return str(value)
    elif isinstance(value, str):
        with contextlib.suppress(ValueError, SyntaxError, TypeError, MemoryError, RecursionError):
            value = ast.literal_eval(value)
    if wanted is float and type(value) is int:
        value = float(value)
    if wanted is list and isinstance(value, tuple):
        value = list(value)
    if type(value) is not wanted:
        raise ConfigError(f"{source}: {key} is {value!r}, expected {_allowed(key, wanted)}")
    return value


def _allowed(key: str, wanted: type) -> str:
    if key in CHOICES:
        return "one of " + ", ".join(CHOICES[key])
    kind = {bool: "True or False", int: "a whole number", float: "a number", str: "text", list: "a list"}[wanted]
    return kind + (" > 0" if key in POSITIVE else " >= 0" if key in NON_NEGATIVE else "")


def _set(cfg: CfgNode, key: str, value: Any) -> None:
    *sections, leaf = key.split(".")
    for section in sections:
        cfg = cfg[section]
    cfg[leaf] = value


def _check(cfg: CfgNode, sources: dict[str, str]) -> None:
    """Checks each value by itself, then those that must fit together."""
    values = dict(_leaves(cfg))

    def fail(key: str, problem: str, other: str = "") -> None:
        source = sources.get(key) or sources.get(other) or "defaults"
        raise ConfigError(f"{source}: {key} is {values[key]!r}, {problem}")

    for key, value in values.items():
        expected = f"expected {_allowed(key, type(value))}"
        if key in CHOICES and value not in CHOICES[key]:
            fail(key, expected + did_you_mean(value, CHOICES[key]))
        if isinstance(value, float) and not math.isfinite(value):
            fail(key, expected)
        if (key in POSITIVE and value <= 0) or (key in NON_NEGATIVE and value < 0):
            fail(key, expected)
        if key in RETIRED and value != RETIRED[key][0]:
            fail(key, f"but this key is retired: {RETIRED[key][1]}")
    _check_model(cfg, fail)
    _check_run(cfg, fail)


def _check_model(cfg: CfgNode, fail: Callable[..., None]) -> None:
    device = cfg.MODEL.DEVICE
    if device not in ("auto", "cpu", "cuda") and not (device.startswith("cuda:") and device[5:].isdigit()):
        fail("MODEL.DEVICE", "expected one of auto, cpu, cuda, cuda:N")
    if (cfg.DATASETS.INPUT == "features") != (cfg.MODEL.BACKBONE.TYPE == "features"):
        problem = f"but DATASETS.INPUT is {cfg.DATASETS.INPUT!r}: both or neither must be features"
        fail("MODEL.BACKBONE.TYPE", problem, "DATASETS.INPUT")
    if cfg.DATASETS.INPUT == "features" and cfg.DATALOADER.CACHE != "none":
        fail("DATALOADER.CACHE", "but DATASETS.INPUT is features, which are in memory already", "DATASETS.INPUT")
    if cfg.DATALOADER.TOKENS == "always" and (cfg.MODEL.BACKBONE.FINETUNE or cfg.DATASETS.INPUT == "features"):
        problem = "but only images that pass a frozen backbone (MODEL.BACKBONE.FINETUNE False) have tokens to keep"
        fail("DATALOADER.TOKENS", problem)
    if cfg.DATASETS.FEATURE_SCALING != "none" and cfg.DATASETS.INPUT != "features":
        fail("DATASETS.FEATURE_SCALING", "but DATASETS.INPUT is images: only features are scaled")
    if cfg.MODEL.BACKBONE.TYPE == "timm" and not cfg.MODEL.BACKBONE.NAME:
        problem = "but MODEL.BACKBONE.TYPE is timm: give the timm model's name"
        fail("MODEL.BACKBONE.NAME", problem, "MODEL.BACKBONE.TYPE")
    if cfg.MODEL.REZSL.USE and cfg.MODEL.LOSS.REG_TYPE == "BMC":
        fail("MODEL.REZSL.USE", "but MODEL.LOSS.REG_TYPE BMC is never reweighted: set one of the two otherwise")
    if cfg.MODEL.LOSS.REWEIGHT != "none":
        if cfg.MODEL.REZSL.USE:
            fail("MODEL.LOSS.REWEIGHT", "but MODEL.REZSL.USE is True: a loss is reweighted in one way")
        if cfg.MODEL.LOSS.REG_TYPE == "BMC":
            fail("MODEL.LOSS.REWEIGHT", "but MODEL.LOSS.REG_TYPE BMC is never reweighted")
    if cfg.MODEL.META_ARCHITECTURE != "GEMNet":
        for key in ("LAMBDA2", "LAMBDA3"):
            if cfg.MODEL.LOSS[key]:
                fail(f"MODEL.LOSS.{key}", f"but only GEMNet has that term, not {cfg.MODEL.META_ARCHITECTURE}")
    elif cfg.MODEL.HID_DIM:
        fail("MODEL.HID_DIM", "but GEMNet has no hidden layer: expected 0")
    if not any(cfg.MODEL.LOSS[f"LAMBDA{n}"] for n in range(4)):
        fail("MODEL.LOSS.LAMBDA0", "and so are the other LAMBDAs: there is no loss to train by")
    if cfg.MODEL.REZSL.MOMENTUM >= 1:
        fail("MODEL.REZSL.MOMENTUM", "expected a number below 1")


def _check_run(cfg: CfgNode, fail: Callable[..., None]) -> None:
    for key in ("RESUME_OPTIM", "RESUME_SCHED"):
        if cfg.SOLVER[key] and not cfg.MODEL.WEIGHT:
            fail(f"SOLVER.{key}", "but MODEL.WEIGHT names no checkpoint to take it from")
    if cfg.TEST.PROTOCOL == "val":
        if cfg.TEST.SELECT != "last":
            fail(
                "TEST.SELECT",
                "but TEST.PROTOCOL is val, which chooses the epoch on validation classes",
                "TEST.PROTOCOL",
            )
        if cfg.SOLVER.RESUME_OPTIM or cfg.SOLVER.RESUME_SCHED:
            fail("TEST.PROTOCOL", "but a training cannot be resumed into two: leave SOLVER.RESUME_* False")
    if cfg.SEED >= 2**63:
        fail("SEED", "expected less than 2**63")
    for key in ("LOG_FILE_NAME", "MODEL_FILE_NAME"):
        if Path(cfg[key]).name != cfg[key] or cfg[key] == "..":
            fail(key, "expected a file name without folders: it lies in OUTPUT_DIR")
        if cfg[key] in RUN_FILES:
            fail(key, "but that file of the run folder is another: choose another name")
    if cfg.LOG_FILE_NAME and cfg.LOG_FILE_NAME in (cfg.MODEL_FILE_NAME or "best.pth",):
        fail("LOG_FILE_NAME", "but that is the checkpoint's name: choose another")
