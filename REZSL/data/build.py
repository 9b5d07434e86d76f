"""From the config to the split, the loaders and the semantics."""

import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from sklearn.preprocessing import MinMaxScaler, Normalizer, StandardScaler
from torch.utils.data import DataLoader
from yacs.config import CfgNode

from REZSL.utils.errors import ConfigError

from .attribute_groups import attribute_groups
from .demo import write_demo
from .images import ZSLDataset, check_images, find_images
from .samplers import EpisodicBatchSampler, RandomBatchSampler, SeededBatches
from .semantics import embeddings_folder, load_attribute_embeddings
from .splits import ZSLSplit, load_split
from .transforms import build_transform, is_random
from .validation import validation_split

log = logging.getLogger(__name__)

SCALERS = {"standard": StandardScaler, "minmax": MinMaxScaler, "l2": Normalizer}


@dataclass(frozen=True, eq=False)
class Data:
    """Everything the other parts need to know of a data set.

    Attributes:
        split: classes, signatures and image numbers.
        train_loader: batches ``(inputs, labels)`` of trainval.
        test_loader: every test image once, in the order of ``test_indices``.
        test_indices: image numbers, test_unseen then test_seen.
        attribute_embeddings: (K, E) float32, or None where the config does not ask for word vectors.
        groups: attribute groups, or None where no loss term needs them.
        feature_dim: D of the features, or None for images.
    """

    split: ZSLSplit
    train_loader: DataLoader
    test_loader: DataLoader
    test_indices: np.ndarray
    attribute_embeddings: np.ndarray | None
    groups: list[list[int]] | None
    feature_dim: int | None


def build_data(cfg: CfgNode) -> Data:
    """Reads the data set that ``cfg`` names; writes it first when it is the demo."""
    root, name = Path(cfg.DATASETS.ROOT), cfg.DATASETS.NAME
    if name == "DEMO":
        write_demo(root)
    split = load_split(root, name, cfg.DATASETS.SEMANTIC, with_features=cfg.DATASETS.INPUT == "features")
    return _build(cfg, split, check_images=cfg.DATASETS.CHECK_IMAGES)


def build_validation_data(cfg: CfgNode, split: ZSLSplit) -> Data:
    """The data to choose on, out of the trainval images of ``split``: see :func:`validation_split`."""
    return _build(cfg, validation_split(split, cfg.SEED), check_images=False)  # they were, with the others


def _build(cfg: CfgNode, split: ZSLSplit, check_images: bool) -> Data:
    if is_random(cfg.TEST.DATA_AUG):
        raise ConfigError(f"TEST.DATA_AUG is {cfg.TEST.DATA_AUG!r}, but a test transform must not be random")
    train_transform, test_transform = _transform(cfg, cfg.SOLVER.DATA_AUG), _transform(cfg, cfg.TEST.DATA_AUG)
    log.info(split.summary())

    use_features = cfg.DATASETS.INPUT == "features"
    test_indices = np.concatenate([split.test_unseen, split.test_seen])
    used = np.concatenate([split.trainval, test_indices])
    inputs = _scaled_features(cfg, split, used) if use_features else _image_paths(cfg, split, used, check_images)
    train, test = inputs[: len(split.trainval)], inputs[len(split.trainval) :]
    options = _loader_options(cfg)
    train_set = ZSLDataset(train, split.labels[split.trainval], train_transform)
    batches = SeededBatches(_sampler(cfg, train_set.labels.numpy()))
    test_set = ZSLDataset(test, split.labels[test_indices], test_transform)

    name = cfg.DATASETS.NAME
    reads_words = cfg.MODEL.META_ARCHITECTURE != "BasicNet" and cfg.MODEL.ATTENTION.EMBEDDING == "w2v"
    folder = embeddings_folder(cfg.MODEL.ATTENTION.W2V_PATH, Path(cfg.DATASETS.ROOT))
    needs_groups = cfg.MODEL.LOSS.LAMBDA2 > 0
    return Data(
        split=split,
        train_loader=DataLoader(train_set, batch_sampler=batches, **options),
        test_loader=DataLoader(test_set, batch_size=cfg.TEST.IMS_PER_BATCH, **options),
        test_indices=test_indices,
        attribute_embeddings=load_attribute_embeddings(folder, name, split.num_attributes) if reads_words else None,
        groups=attribute_groups(name, split.num_attributes, cfg.DATASETS.ATTRIBUTE_GROUPS) if needs_groups else None,
        feature_dim=train.shape[1] if use_features else None,
    )


def _loader_options(cfg: CfgNode) -> dict[str, Any]:
    workers = cfg.DATALOADER.NUM_WORKERS
    return {
        "num_workers": workers,
        "persistent_workers": workers > 0,
        "collate_fn": _as_fetched,
        "generator": torch.Generator(),  # else the loader draws from the global one, as often as it starts workers
        "pin_memory": torch.cuda.is_available() and cfg.MODEL.DEVICE != "cpu",
    }


def _as_fetched(batch: Any) -> Any:
    """The data set fetches whole batches; there is nothing left to collate."""
    return batch


def _transform(cfg: CfgNode, spec: str) -> Any:
    return build_transform(spec, cfg.DATASETS.IMAGE_SIZE) if cfg.DATASETS.INPUT == "images" else None


def _image_paths(cfg: CfgNode, split: ZSLSplit, used: np.ndarray, check: bool) -> list[Path]:
    name = cfg.DATASETS.NAME
    if not split.image_files:
        raise ConfigError(f"{name}'s res101.mat lists no image_files: set DATASETS.INPUT features")
    folder = Path(cfg.DATASETS.IMAGE_ROOT or Path(cfg.DATASETS.ROOT) / name)
    paths = find_images([split.image_files[i] for i in used], folder)
    if check:
        check_images(paths)
    return paths


def _scaled_features(cfg: CfgNode, split: ZSLSplit, used: np.ndarray) -> np.ndarray:
    features = split.features[used]
    if cfg.DATASETS.FEATURE_SCALING == "none":
        return features
    scaler = SCALERS[cfg.DATASETS.FEATURE_SCALING]().fit(features[: len(split.trainval)])
    return scaler.transform(features).astype(np.float32)


def _sampler(cfg: CfgNode, labels: np.ndarray) -> EpisodicBatchSampler | RandomBatchSampler:
    ways, shots, episodes = cfg.DATASETS.WAYS, cfg.DATASETS.SHOTS, cfg.DATALOADER.EP_PER_BATCH
    batch_size = ways * shots * episodes
    num_batches = cfg.DATALOADER.N_BATCH or max(1, len(labels) // batch_size)
    if cfg.DATALOADER.MODE == "random":
        return RandomBatchSampler(len(labels), batch_size, num_batches, cfg.SEED)
    return EpisodicBatchSampler(labels, ways, shots, num_batches, episodes, cfg.SEED)
