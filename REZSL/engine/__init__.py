"""The training loop, prediction, checkpoints and the run folder, over built objects."""

from .build import build_trainer, claim_folder, resume_from, with_tokens
from .checkpoint import load_checkpoint, load_model_state, newest_checkpoint, save_checkpoint
from .predict import predict, predict_split
from .run_folder import RunFolder, next_free
from .tokens import keep_tokens
from .trainer import Selected, Trainer

__all__ = [
    "RunFolder",
    "Selected",
    "Trainer",
    "build_trainer",
    "claim_folder",
    "keep_tokens",
    "load_checkpoint",
    "load_model_state",
    "newest_checkpoint",
    "next_free",
    "predict",
    "predict_split",
    "resume_from",
    "save_checkpoint",
    "with_tokens",
]
