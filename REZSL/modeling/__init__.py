"""Models and losses, each usable without the rest of REZSL.

``ReZSL`` and ``weighted_RegressLoss`` keep the call forms of the published code; ``ReMSELoss`` is one module.
"""

from .backbones import build_backbone
from .build import build_modeling
from .criterion import ZSLCriterion
from .focal_r import FocalRLoss
from .heads import AttentionNet, BasicNet, GEMNet, HeadOutput
from .lds import LDSLoss
from .losses import ADLoss, CPTLoss, weighted_RegressLoss
from .model import ZSLModel, class_scores
from .published import under_our_names
from .remse import ReMSELoss, ReZSL

__all__ = [
    "ADLoss",
    "AttentionNet",
    "BasicNet",
    "CPTLoss",
    "FocalRLoss",
    "GEMNet",
    "HeadOutput",
    "LDSLoss",
    "ReMSELoss",
    "ReZSL",
    "ZSLCriterion",
    "ZSLModel",
    "build_backbone",
    "build_modeling",
    "class_scores",
    "under_our_names",
    "weighted_RegressLoss",
]
