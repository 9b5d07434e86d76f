"""Checking a configuration: each value by itself, then those that must fit together."""

import math
import re
from collections.abc import Callable
from pathlib import Path

from yacs.config import CfgNode

from REZSL.utils.errors import ConfigError
from REZSL.utils.registry import did_you_mean
from REZSL.utils.text import brief
from REZSL.utils.yaml_file import flat

from .defaults import AT_MOST, CHOICES, NON_NEGATIVE, POSITIVE, RETIRED

RUN_FILES = re.compile(
    r"config\.yaml|metrics\.jsonl|last(-\d+)?\.pth|predictions\.npz|results\.json|choice\.json|tracker\.txt|\.lock|"
    r"figures|tensorboard|eval|val"
)
MAX_BATCH = 1_000_000  # images
MAX_BATCH_GB = 100.0  # 10^9 bytes of a batch's pixels


def allowed(key: str, wanted: type) -> str:
    """Returns what values ``key`` of type ``wanted`` takes, in words."""
    if key in CHOICES:
        return "one of " + ", ".join(CHOICES[key])
    kind = {bool: "True or False", int: "a whole number", float: "a number", str: "text", list: "a list"}[wanted]
    if key not in AT_MOST:
        return kind
    most = f"{AT_MOST[key]:,}"
    if key not in (*POSITIVE, *NON_NEGATIVE):
        return f"{kind} from -{most} to {most}"
    return f"{kind} {'> 0' if key in POSITIVE else '>= 0'} and at most {most}"


def check(cfg: CfgNode, sources: dict[str, str]) -> None:
    """Raises ``ConfigError`` for the first value of ``cfg`` that cannot be; ``sources`` says where keys were set."""
    values = flat(cfg)

    def fail(key: str, problem: str, other: str = "") -> None:
        source = sources.get(key) or sources.get(other) or "defaults"
        raise ConfigError(f"{source}: {key} is {brief(repr(values[key]))}, {problem}")

    for key, value in values.items():
        expected = f"expected {allowed(key, type(value))}"
        if key in CHOICES and value not in CHOICES[key]:
            fail(key, expected + did_you_mean(value, CHOICES[key]))
        if isinstance(value, float) and not math.isfinite(value):
            fail(key, expected)
        if (key in POSITIVE and value <= 0) or (key in NON_NEGATIVE and value < 0):
            fail(key, expected)
        if key in AT_MOST and abs(value) > AT_MOST[key]:
            fail(key, expected)
        if key in RETIRED and value != RETIRED[key][0]:
            fail(key, f"but this key is retired: {RETIRED[key][1]}")
    _check_model(cfg, fail)
    _check_sizes(cfg, fail)
    _check_run(cfg, fail)


def _check_model(cfg: CfgNode, fail: Callable[..., None]) -> None:
    device = cfg.MODEL.DEVICE
    if device not in ("auto", "cpu", "cuda", "mps") and not re.fullmatch("cuda:(0|[1-9][0-9]?)", device):
        fail("MODEL.DEVICE", "expected one of auto, cpu, cuda, cuda:N, mps")
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
    for key in ("MEAN", "STD"):
        values = cfg.MODEL.BACKBONE[key]
        if values and cfg.DATASETS.INPUT == "features":
            fail(f"MODEL.BACKBONE.{key}", "but DATASETS.INPUT is features, which have no pixels", "DATASETS.INPUT")
        if values and not (len(values) == 3 and all(_is_share(value, key == "MEAN") for value in values)):
            fail(f"MODEL.BACKBONE.{key}", f"expected [] or three numbers from 0{' (not 0)' * (key == 'STD')} to 1")
    if cfg.MODEL.REZSL.USE and cfg.MODEL.LOSS.REG_TYPE == "BMC":
        fail("MODEL.REZSL.USE", "but MODEL.LOSS.REG_TYPE BMC is never reweighted: set one of the two otherwise")
    if cfg.MODEL.LOSS.REG_TYPE == "BMC" and cfg.MODEL.LOSS.LAMBDA1 and _compared_in_a_batch(cfg) < 2:
        problem = "which compares the images of a batch by their classes, and here a batch has one: raise DATASETS.WAYS"
        fail("MODEL.LOSS.REG_TYPE", problem, "DATASETS.WAYS")
    if cfg.MODEL.LOSS.REWEIGHT != "none":
        if cfg.MODEL.REZSL.USE:
            fail("MODEL.LOSS.REWEIGHT", "but MODEL.REZSL.USE is True: a loss is reweighted in one way")
        if cfg.MODEL.LOSS.REG_TYPE == "BMC":
            fail("MODEL.LOSS.REWEIGHT", "but MODEL.LOSS.REG_TYPE BMC is never reweighted")
    if cfg.MODEL.META_ARCHITECTURE != "GEMNet":
        for key in ("LAMBDA2", "LAMBDA3"):
            if cfg.MODEL.LOSS[key]:
                fail(f"MODEL.LOSS.{key}", f"but only GEMNet has that term, not {cfg.MODEL.META_ARCHITECTURE}")
        if cfg.MODEL.GEM.REGRESSION == "gaze":
            fail("MODEL.GEM.REGRESSION", f"but only GEMNet has a gaze, not {cfg.MODEL.META_ARCHITECTURE}")
    elif cfg.MODEL.HID_DIM:
        fail("MODEL.HID_DIM", "but GEMNet has no hidden layer: expected 0")
    if not any(cfg.MODEL.LOSS[f"LAMBDA{n}"] for n in range(4)):
        fail("MODEL.LOSS.LAMBDA0", "and so are the other LAMBDAs: there is no loss to train by")
    for key, momentum in (("MODEL.REZSL.MOMENTUM", cfg.MODEL.REZSL.MOMENTUM), ("SOLVER.MOMENTUM", cfg.SOLVER.MOMENTUM)):
        if momentum >= 1:
            fail(key, "expected a number below 1")


def _is_share(value: object, zero_too: bool) -> bool:
    return type(value) in (int, float) and (0 <= value if zero_too else 0 < value) and value <= 1


def _compared_in_a_batch(cfg: CfgNode) -> int:
    """The classes that a batch can have, or its images where they are fewer."""
    shots = 1 if cfg.DATALOADER.MODE == "episode" else cfg.DATASETS.SHOTS
    return cfg.DATASETS.WAYS * shots * cfg.DATALOADER.EP_PER_BATCH


def _check_sizes(cfg: CfgNode, fail: Callable[..., None]) -> None:
    """What each size allows, their product may not."""
    batch = cfg.DATASETS.WAYS * cfg.DATASETS.SHOTS * cfg.DATALOADER.EP_PER_BATCH
    if batch > MAX_BATCH:
        problem = f"so that a batch of WAYS x SHOTS x DATALOADER.EP_PER_BATCH is {batch:,} images"
        fail("DATASETS.WAYS", f"{problem}, expected at most {MAX_BATCH:,}", "DATALOADER.EP_PER_BATCH")
    if cfg.DATASETS.INPUT == "images":
        for key, images in (("DATASETS.WAYS", batch), ("TEST.IMS_PER_BATCH", cfg.TEST.IMS_PER_BATCH)):
            size = 3 * images * cfg.DATASETS.IMAGE_SIZE**2 / 1e9
            if size > MAX_BATCH_GB:
                problem = f"so that a batch of {images:,} images of DATASETS.IMAGE_SIZE {cfg.DATASETS.IMAGE_SIZE} takes"
                fail(key, f"{problem} {size:,.0f} GB, expected at most {MAX_BATCH_GB:g}", "DATASETS.IMAGE_SIZE")


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
    for key in ("LOG_FILE_NAME", "MODEL_FILE_NAME"):
        if Path(cfg[key]).name != cfg[key] or cfg[key] == "..":
            fail(key, "expected a file name without folders: it lies in OUTPUT_DIR")
        if RUN_FILES.fullmatch(cfg[key]):
            fail(key, "but that file of the run folder is another: choose another name")
    if cfg.LOG_FILE_NAME and cfg.LOG_FILE_NAME in (cfg.MODEL_FILE_NAME or "best.pth",):
        fail("LOG_FILE_NAME", "but that is the checkpoint's name: choose another")
