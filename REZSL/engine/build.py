"""From the config and built objects to the training."""

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch.optim.lr_scheduler import LambdaLR
from torch.utils.data import DataLoader
from yacs.config import CfgNode

from REZSL.data import (
    Data,
    build_token_data,
    build_token_sets,
    open_token_cache,
    token_loader_options,
    wants_tokens,
)
from REZSL.evaluation import Predictions, Results

from .run_folder import RunFolder
from .tokens import keep_tokens
from .trainer import Trainer


def _best_h(results: Results) -> float:
    return results.gzsl["oracle"].H if results.gzsl else results.T1


SCORES = {  # by which an epoch is kept; None: the last; T1 where no test image is of a seen class
    "last": None,
    "oracle": _best_h,
    "H": _best_h,
    "AUSUC": lambda results: results.T1 if results.AUSUC is None else results.AUSUC,
}


def with_tokens(cfg: CfgNode, data: Data, backbone: torch.nn.Module, device: torch.device) -> Data:
    """``data`` as tokens, where the backbone is frozen and every image looks the same each time."""
    if not wants_tokens(cfg):
        return data
    opened, dtype, options = partial(open_token_cache, cfg, data), getattr(torch, cfg.DTYPE), token_loader_options(cfg)
    tokens = keep_tokens(backbone, build_token_sets(cfg, data), opened, device, dtype, **options)
    return build_token_data(cfg, data, tokens) if tokens else data


def build_trainer(
    cfg: CfgNode,
    model: torch.nn.Module,
    criterion: torch.nn.Module,
    solver: tuple[torch.optim.Optimizer, LambdaLR],
    loader: DataLoader,
    evaluate: Callable[[], tuple[Predictions, Results]],
    folder: RunFolder,
    device: torch.device,
    score: str,
    epochs: int = 0,
    track: Callable[[dict[str, Any]], None] = lambda line: None,
) -> Trainer:
    """Builds the training of ``model``.

    Args:
        cfg: the configuration.
        model: on ``device``.
        criterion: on ``device``.
        solver: optimiser and schedule.
        loader: of the training images.
        evaluate: predicts and evaluates the test images.
        folder: where files go.
        device: where to compute.
        score: which epoch is kept, a key of ``SCORES``.
        epochs: length of the training, evaluated once at its end; 0: SOLVER.MAX_EPOCH, evaluated every TEST.PERIOD.
        track: called with each line of metrics.
    """
    if cfg.MODEL.COMPILE:
        model.compile()
        criterion.compile()
    optimizer, schedule = solver
    return Trainer(
        model,
        criterion,
        optimizer,
        schedule,
        loader,
        evaluate,
        folder,
        epochs=epochs or cfg.SOLVER.MAX_EPOCH,
        device=device,
        dtype=getattr(torch, cfg.DTYPE),
        clip_norm=cfg.SOLVER.CLIP_NORM,
        accumulate=cfg.SOLVER.ACCUMULATE,
        unused_parameters=cfg.MODEL.BACKBONE.TYPE == "timm" or cfg.MODEL.META_ARCHITECTURE == "GEMNet",
        eval_period=epochs or cfg.TEST.PERIOD,
        checkpoint_period=cfg.SOLVER.CHECKPOINT_PERIOD,
        checkpoint_minutes=cfg.SOLVER.CHECKPOINT_MINUTES,
        keep=cfg.SOLVER.KEEP_CHECKPOINTS,
        score=SCORES[score],
        config_text=cfg.dump(),
        track=track,
    )
