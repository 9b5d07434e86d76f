"""Weights that the published code of ReZSL or GEM-ZSL saved, under the names they have here."""

import logging
import os
import re

import torch
from torch import Tensor

from REZSL.utils.errors import DataError

from .model import ZSLModel

log = logging.getLogger(__name__)

RENAMED = {  # architecture: {published name: ours}
    "AttentionNet": {
        "QueryW": "query",
        "KeyW": "key",
        "ValueW": "value",
        "W_o": "out",
        "V_att_hidden_branch": "hidden",
        "V_att_final_branch": "regressor",
    },
    "BasicNet": {"v2s": "regressor", "v2hid": "regressor.0", "hid2s": "regressor.2"},
    "GEMNet": {"W": "gaze", "V": "regressor"},
}
UNUSED = {  # a key's bias adds the same to all logits of a query, which the softmax takes away
    "AttentionNet": ("KeyW.bias", "W", "V"),
    "BasicNet": (),
    "GEMNet": ("scale",),
}
OF_HEAD = re.compile(r"(?:v2s_branch\.)?(?P<name>\w+?)(?:\.0)?(?P<part>\.weight|\.bias)?")


def under_our_names(state: dict[str, Tensor], model: ZSLModel, path: str | os.PathLike) -> dict[str, Tensor]:
    """Returns ``state`` as a state_dict of ``model``; one that is not of the published code comes back as it is.

    What the published code did not save, the fixed word vectors and in old files the batch counts, is ``model``'s own.

    Args:
        state: tensors by name, without ``module.``.
        model: that the config describes.
        path: of the file, for errors.

    Raises:
        DataError: ``model`` has another head or backbone, or word vectors that are trained.
    """
    kind = next((kind for kind in RENAMED if _names(state) & RENAMED[kind].keys()), None)
    is_vit = "backbone.vit.cls_token" in state
    if kind is None or not (is_vit or "backbone.conv1.weight" in state):
        return state
    if wanted := _misfit(kind, is_vit, model):
        raise DataError(f"{path} is of the published code, with another model than the config's: set {wanted}")
    if kind == "AttentionNet" and "W" in state and "QueryW.0.weight" in state and model.head.ratio == 1:
        log.warning("%s is of code that multiplied the attended token by 0.125: set MODEL.ATTENTION.RATIO 0.125", path)
    own = model.state_dict()
    unsaved = {key: own[key] for key in own if key.endswith((".attribute_embeddings", ".num_batches_tracked"))}
    log.info("%s is of the published code: a %s, read under the names it has here", path, kind)
    return unsaved | _of_backbone(state) | _of_head(state, kind)


def _misfit(kind: str, is_vit: bool, model: ZSLModel) -> str | None:
    """The key and value that the config would need to be of the published model."""
    if kind != type(model.head).__name__:
        return f"MODEL.META_ARCHITECTURE {kind}"
    if is_vit != ("backbone.network.cls_token" in model.state_dict()):
        return "MODEL.BACKBONE.TYPE " + ("timm, NAME vit_base_patch16_224" if is_vit else "resnet")
    if "attribute_embeddings" in dict(model.head.named_parameters()):
        return "MODEL.ATTENTION.EMBEDDING w2v"
    return None


def _names(state: dict[str, Tensor]) -> set[str]:
    """The published names of what the head has."""
    return {match["name"] for key in state if (match := OF_HEAD.fullmatch(key))}


def _of_backbone(state: dict[str, Tensor]) -> dict[str, Tensor]:
    found = {key.removeprefix("backbone."): value for key, value in state.items() if key.startswith("backbone.")}
    return {f"backbone.network.{key.removeprefix('vit.')}": value for key, value in found.items()}


def _of_head(state: dict[str, Tensor], kind: str) -> dict[str, Tensor]:
    found = {}
    for key, value in state.items():
        match = OF_HEAD.fullmatch(key)
        name, part = (match["name"], match["part"] or "") if match else (key, "")
        if key.startswith("backbone.") or name + part in UNUSED[kind]:
            continue
        found[f"head.{RENAMED[kind].get(name, name)}{part}"] = value
    if "head.regressor" in found and kind == "GEMNet":  # GEM-ZSL's: (D, K), without a bias
        weight = found.pop("head.regressor").T
        found |= {"head.regressor.weight": weight, "head.regressor.bias": torch.zeros(len(weight))}
    return found
