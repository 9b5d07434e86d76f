"""From the config and the sizes of the data to the model and its criterion."""

import numpy as np
import torch
from torch import nn
from yacs.config import CfgNode

from REZSL.utils.errors import ConfigError
from REZSL.utils.registry import Registry

from .backbones import build_backbone
from .criterion import ZSLCriterion
from .focal_r import FocalRLoss
from .heads import AttentionNet, BasicNet, GEMNet
from .lds import LDSLoss
from .model import ZSLModel
from .remse import ReMSELoss

HEADS = Registry("MODEL.META_ARCHITECTURE")
LEARNED_EMBEDDING_DIM = 300  # as wide as the word vectors in circulation
LEARNED_EMBEDDING_STD = 0.2  # and of their spread (0.19 to 0.35)


def build_modeling(
    cfg: CfgNode,
    signatures: np.ndarray,
    num_attributes: int,
    attribute_embeddings: np.ndarray | None = None,
    groups: list[list[int]] | None = None,
    feature_dim: int | None = None,
    labels: np.ndarray | None = None,
) -> tuple[ZSLModel, ZSLCriterion]:
    """Builds model and criterion.

    Args:
        cfg: the configuration.
        signatures: (C_seen, K) signatures of the training classes.
        num_attributes: K.
        attribute_embeddings: (K, E) word vectors; None: learned ones.
        groups: attribute groups for ADLoss.
        feature_dim: D when the inputs are features.
        labels: (n,) rows of ``signatures`` of the training images, which LDS counts; None: one of each.

    Raises:
        ConfigError: keys that do not fit the data.
    """
    backbone = build_backbone(
        cfg.MODEL.BACKBONE.TYPE,
        cfg.MODEL.BACKBONE.NAME,
        cfg.DATASETS.IMAGE_SIZE,
        cfg.MODEL.BACKBONE.WEIGHTS,
        # weights that MODEL.WEIGHT will replace anyway need no download
        cfg.MODEL.BACKBONE.PRETRAINED and not cfg.MODEL.WEIGHT,
        cfg.PRETRAINED_MODELS,
        feature_dim,
        cfg.MODEL.BACKBONE.MEAN,
        cfg.MODEL.BACKBONE.STD,
    )
    head = HEADS.get(cfg.MODEL.META_ARCHITECTURE)(cfg, backbone, num_attributes, attribute_embeddings)
    model = ZSLModel(backbone, head, cfg.MODEL.SCALE, cfg.MODEL.BACKBONE.FINETUNE)
    targets = torch.from_numpy(signatures).float()  # as they are trained on; some devices have no float64
    loss = cfg.MODEL.LOSS
    lambdas = (loss.LAMBDA0, loss.LAMBDA1, loss.LAMBDA2, loss.LAMBDA3)
    regression = _regression(cfg, targets, labels)
    regress_gaze = cfg.MODEL.GEM.REGRESSION == "gaze"
    criterion = ZSLCriterion(targets, regression, cfg.MODEL.SCALE, lambdas, groups, backbone.grid, regress_gaze)
    return model, criterion


def _regression(cfg: CfgNode, signatures: torch.Tensor, labels: np.ndarray | None) -> nn.Module:
    loss, remse = cfg.MODEL.LOSS, cfg.MODEL.REZSL
    if loss.REG_NORM and signatures.shape[1] == 1:
        raise ConfigError(
            "MODEL.LOSS.REG_NORM is True, but a single attribute is 1 or -1 when normalised: set it False"
        )
    if loss.REWEIGHT == "focal_r":
        return FocalRLoss(loss.REG_TYPE, loss.REG_NORM)
    if loss.REWEIGHT == "lds":
        counts = None if labels is None else torch.from_numpy(np.bincount(labels, minlength=len(signatures)))
        return LDSLoss(signatures, loss.REG_TYPE, loss.REG_NORM, loss.LDS_REWEIGHT, counts=counts)
    return ReMSELoss(
        *signatures.shape,
        p=remse.P if remse.USE else 0.0,
        p2=remse.P2 if remse.USE else 0.0,
        reg_type=loss.REG_TYPE,
        reg_norm=loss.REG_NORM,
        weight_type=remse.WEIGHT_TYPE,
        momentum=remse.MOMENTUM,
        validate=False,  # labels come from our own split, and a loss that is not finite stops the training anyway
    )


@HEADS.register("BasicNet")
def _basic(cfg: CfgNode, backbone: nn.Module, num_attributes: int, embeddings: np.ndarray | None) -> BasicNet:
    return BasicNet(backbone.dim, num_attributes, cfg.MODEL.HID_DIM)


@HEADS.register("AttentionNet")
def _attention(cfg: CfgNode, backbone: nn.Module, num_attributes: int, embeddings: np.ndarray | None) -> AttentionNet:
    attention = cfg.MODEL.ATTENTION
    embeddings = _embeddings(embeddings, num_attributes)
    return AttentionNet(backbone.dim, embeddings, attention.CHANNEL, cfg.MODEL.HID_DIM, attention.MODE, attention.RATIO)


@HEADS.register("GEMNet")
def _gem(cfg: CfgNode, backbone: nn.Module, num_attributes: int, embeddings: np.ndarray | None) -> GEMNet:
    height, width = backbone.grid
    return GEMNet(backbone.dim, _embeddings(embeddings, num_attributes), num_positions=height * width)


def _embeddings(embeddings: np.ndarray | None, num_attributes: int) -> torch.Tensor:
    if embeddings is not None:
        return torch.from_numpy(embeddings)
    return nn.Parameter(LEARNED_EMBEDDING_STD * torch.randn(num_attributes, LEARNED_EMBEDDING_DIM))
