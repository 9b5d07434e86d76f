"""Experiment files of the published code: of ReZSL (Ye et al., TIP 2023), and of GEM-ZSL (Liu et al., CVPR 2021).

They mean what that code did with them, not always what they say: some keys it never read, and some things it did
without a key. Each such place is told. A value that no published file has is somebody's own, and acts as written.
"""

from collections.abc import Iterator
from typing import Any

from REZSL.utils.text import brief
from REZSL.utils.yaml_file import plain_value

IN_ALL_OF_THEM = "MODEL.ATTENTION.WEIGHT_SHARED"
IN_ALL_RUNS_OF_OURS = {"SOLVER.OPTIMIZER", "TEST.SELECT", "DATASETS.ROOT", "MODEL.BACKBONE.NAME"}
WITHOUT_EFFECT = ("MODEL.GPU", "MODEL.GPUS")  # on results
NEVER_READ = {  # key: the value of all published files
    "MODEL.LOSS.LAMBDA4": 0.1,
    "SOLVER.BIAS_LR_FACTOR": 2,
    "SOLVER.WEIGHT_DECAY_BIAS": 0,
    "SOLVER.CHECKPOINT_PERIOD": 50,
    "SOLVER.SEED": 214,
}
VITS = {224: "vit_base_patch16_224.augreg_in21k_ft_in1k", 384: "vit_base_patch16_384.augreg_in21k_ft_in1k"}
IMAGENET = {"MEAN": [0.485, 0.456, 0.406], "STD": [0.229, 0.224, 0.225]}


def as_meant(values: dict[str, Any]) -> tuple[dict[str, Any], list[str]]:
    """Returns ``values`` of an experiment file (full keys, text) as the published code took them, and what is told.

    The values of a file that is not the published code's come back as they are.
    """
    if IN_ALL_OF_THEM not in values or IN_ALL_RUNS_OF_OURS <= values.keys():
        return values, []
    values = {key: "" if value is None else value for key, value in values.items()}  # its logs print "" as nothing
    rules = (_never_read, _seed, _gem_zsl, _attention, _vit, _statistics, _schedule)
    return values, [note for rule in rules for note in rule(values)]


def _says(values: dict[str, Any], key: str, published: Any) -> bool:
    value = values.get(key)
    return key in values and (plain_value(value) if isinstance(value, str) else value) == published


def _never_read(values: dict[str, Any]) -> Iterator[str]:
    found = [*WITHOUT_EFFECT, *(key for key, value in NEVER_READ.items() if _says(values, key, value))]
    left_out = [f"{key} {brief(values.pop(key))}" for key in found if key in values]
    if left_out:
        yield f"left out, since without effect: {', '.join(left_out)}"
    if "SOLVER.WEIGHT_DECAY" in values:
        values.setdefault("SOLVER.WEIGHT_DECAY_BIAS", values["SOLVER.WEIGHT_DECAY"])


def _seed(values: dict[str, Any]) -> Iterator[str]:
    if _says(values, "SEED", 1514):
        values["SEED"] = 214
        yield "SEED 1514 never acted, 214 did"


def _gem_zsl(values: dict[str, Any]) -> Iterator[str]:
    if values.get("MODEL.META_ARCHITECTURE") != "GEMModel":
        return
    fixed = {"MODEL.GEM.REGRESSION": "gaze", "MODEL.LOSS.REG_NORM": False, "DATASETS.SEMANTIC": "normalized"}
    values.update({"MODEL.META_ARCHITECTURE": "GEMNet", **{key: values.get(key, fixed[key]) for key in fixed}})
    found = ", ".join(f"{key} {brief(values[key])}" for key in fixed)
    yield f"GEMModel is GEMNet with {found}; its regressor had no bias"
    if values.get("DATASETS.NAME") == "AwA2":
        values["DATASETS.NAME"] = "AWA2"
        yield "AwA2 is AWA2 here"


def _attention(values: dict[str, Any]) -> Iterator[str]:
    if values.get("MODEL.META_ARCHITECTURE") != "AttentionNet":
        return
    is_awa2 = values.get("DATASETS.NAME") == "AWA2"
    width = 300 if is_awa2 else 1024
    if "MODEL.ATTENTION.CHANNEL" not in values or _says(values, "MODEL.ATTENTION.CHANNEL", 512):
        values["MODEL.ATTENTION.CHANNEL"] = width
        yield f"MODEL.ATTENTION.CHANNEL 512 never acted, {width} did"
    if is_awa2 and values.get("MODEL.BACKBONE.TYPE") != "vit" and "MODEL.ATTENTION.RATIO" not in values:
        yield "until April 2025 the attended token of AWA2 was multiplied by 0.125: set MODEL.ATTENTION.RATIO for that"


def _vit(values: dict[str, Any]) -> Iterator[str]:
    if values.get("MODEL.BACKBONE.TYPE") != "vit" or values.get("MODEL.BACKBONE.NAME"):
        return
    values.setdefault("DATASETS.IMAGE_SIZE", 224)
    name = VITS[224 if _says(values, "DATASETS.IMAGE_SIZE", 224) else 384]
    values.update({"MODEL.BACKBONE.TYPE": "timm", "MODEL.BACKBONE.NAME": name})
    for key, of_imagenet in IMAGENET.items():
        values.setdefault(f"MODEL.BACKBONE.{key}", of_imagenet)
    yield f"its ViT is timm's {name}, with pixels normalised by ImageNet's mean and std"


def _statistics(values: dict[str, Any]) -> Iterator[str]:
    if values.get("MODEL.REZSL.WEIGHT_TYPE") == "cross_batch":
        yield "MODEL.REZSL.WEIGHT_TYPE cross_batch ran as in_batch there; here it is cross_batch"


def _schedule(values: dict[str, Any]) -> Iterator[str]:
    offset = values.setdefault("SOLVER.STEP_OFFSET", 1)
    yield f"its schedule stepped an epoch early (SOLVER.STEP_OFFSET {brief(offset)})"
    if "TEST.SELECT" not in values:
        yield "it kept the epoch that was best on the test classes: to compare, add TEST.SELECT oracle"
