"""From the config to the split, the loaders and the semantics."""

import logging
from dataclasses import dataclass, replace
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
import torch
from sklearn.preprocessing import MinMaxScaler, Normalizer, StandardScaler
from torch.utils.data import DataLoader
from yacs.config import CfgNode

from REZSL.utils.distributed import is_main, rank, world_size
from REZSL.utils.errors import ConfigError, DataError

from .attribute_groups import attribute_groups
from .cache import ArrayCache, open_cache
from .demo import write_demo
from .doctor import examine
from .finding import Finding
from .images import ZSLDataset, check_images, find_images, open_image_cache
from .loading import check_shared_memory, loader_options
from .recorded import XlsaFiles
from .samplers import EpisodicBatchSampler, RandomBatchSampler, SeededBatches
from .semantics import embeddings_folder, load_attribute_embeddings
from .splits import ZSLSplit, load_split, read_xlsa
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
        test_loader: every test image once, in the order of ``test_indices``; of several processes each has every n-th.
        test_indices: image numbers, test_unseen then test_seen.
        image_paths: of trainval, then in the order of ``test_indices``; None for features.
        attribute_embeddings: (K, E) float32, or None where the config does not ask for word vectors.
        groups: attribute groups, or None where no loss term needs them.
        feature_dim: D of the features, or None for images.
    """

    split: ZSLSplit
    train_loader: DataLoader
    test_loader: DataLoader
    test_indices: np.ndarray
    image_paths: list[Path] | None
    attribute_embeddings: np.ndarray | None
    groups: list[list[int]] | None
    feature_dim: int | None


def build_data(cfg: CfgNode) -> Data:
    """Reads the data set that ``cfg`` names; writes it first when it is the demo."""
    root, name = Path(cfg.DATASETS.ROOT), cfg.DATASETS.NAME
    if name == "DEMO":
        write_demo(root)
    split = load_split(root, name, cfg.DATASETS.SEMANTIC, with_features=cfg.DATASETS.INPUT == "features")
    return _build(cfg, split, check_images=cfg.DATASETS.CHECK_IMAGES and is_main())


def build_validation_data(cfg: CfgNode, split: ZSLSplit) -> Data:
    """The data to choose on, out of the trainval images of ``split``: see :func:`validation_split`."""
    return _build(cfg, validation_split(split, cfg.SEED), check_images=False)  # they were, with the others


def _build(cfg: CfgNode, split: ZSLSplit, check_images: bool) -> Data:
    train_transform, test_transform = _transforms(cfg)
    log.info(split.summary())

    use_features = cfg.DATASETS.INPUT == "features"
    test_indices = np.concatenate([split.test_unseen, split.test_seen])
    used = np.concatenate([split.trainval, test_indices])
    inputs = _scaled_features(cfg, split, used) if use_features else _image_paths(cfg, split, used, check_images)
    train, test = inputs[: len(split.trainval)], inputs[len(split.trainval) :]
    if len(test) < world_size():
        raise DataError(f"{split.name}: {len(test)} test images cannot be divided among {world_size()} processes")
    cache = None
    if cfg.DATALOADER.CACHE != "none" and wants_tokens(cfg):
        log.info("DATALOADER.CACHE keeps no images: their tokens are kept (DATALOADER.TOKENS)")
    elif cfg.DATALOADER.CACHE != "none":
        place = cfg.DATALOADER.CACHE, cfg.DATALOADER.CACHE_DIR, cfg.DATASETS.NAME
        cache = open_image_cache([(train, train_transform), (test, test_transform)], *place, _cache_limit(cfg))
    places, own_test = np.arange(len(used)), _own_test()
    train_set = ZSLDataset(train, split.labels[split.trainval], train_transform, cache, places[: len(train)])
    test_labels, test_places = split.labels[test_indices][own_test], places[len(train) :][own_test]
    test_set = ZSLDataset(test[own_test], test_labels, test_transform, cache, test_places)

    train_loader, test_loader = _train_loader(cfg, train_set), _test_loader(cfg, test_set)
    _check_shared_memory(cfg, test_loader)
    folder = _words_folder(cfg)
    words = load_attribute_embeddings(folder, cfg.DATASETS.NAME, split.num_attributes) if folder else None
    return Data(
        split=split,
        train_loader=train_loader,
        test_loader=test_loader,
        test_indices=test_indices,
        image_paths=None if use_features else inputs,
        attribute_embeddings=words,
        groups=_groups(cfg, split.num_attributes),
        feature_dim=train.shape[1] if use_features else None,
    )


def _cache_limit(cfg: CfgNode) -> float:
    return cfg.DATALOADER.CACHE_GB * 1e9


def _own_test() -> slice:
    """Which test images this process predicts: all, or every n-th of n processes."""
    return slice(rank(), None, world_size())


def _train_loader(cfg: CfgNode, data: ZSLDataset) -> DataLoader:
    return _loader(cfg, data, batch_sampler=SeededBatches(_sampler(cfg, data.labels.numpy()), rank(), world_size()))


def _test_loader(cfg: CfgNode, data: ZSLDataset) -> DataLoader:
    return _loader(cfg, data, batch_size=cfg.TEST.IMS_PER_BATCH)


def _loader(cfg: CfgNode, data: ZSLDataset, **batches: Any) -> DataLoader:
    """Rows are only copied: a loading process can do that while a GPU computes, but on a CPU it would be in the way."""
    images = data.paths is not None
    workers, on_gpu = cfg.DATALOADER.NUM_WORKERS, _uses_gpu(cfg)
    options = loader_options(workers if images or on_gpu else 0, on_gpu, cfg.DATALOADER.TIMEOUT)
    return DataLoader(data, persistent_workers=options["num_workers"] > 0, **batches, **options)


def _check_shared_memory(cfg: CfgNode, loader: DataLoader) -> None:
    """There is room for what the loading processes hand over: batches of images, features, or those of a token pass."""
    features = loader.dataset.features
    row = 3 * cfg.DATASETS.IMAGE_SIZE**2 if features is None else features[0].nbytes
    train = cfg.DATASETS.WAYS * cfg.DATASETS.SHOTS * cfg.DATALOADER.EP_PER_BATCH // world_size()
    batches = [cfg.TEST.IMS_PER_BATCH] if wants_tokens(cfg) else [train, cfg.TEST.IMS_PER_BATCH]
    check_shared_memory(loader.num_workers, *(row * size for size in batches))


def wants_tokens(cfg: CfgNode) -> bool:
    """Whether the tokens of the images are to be computed once and kept."""
    frozen_images = cfg.DATASETS.INPUT == "images" and not cfg.MODEL.BACKBONE.FINETUNE
    wanted = {"always": True, "never": False, "auto": not is_random(cfg.SOLVER.DATA_AUG)}
    return frozen_images and wanted[cfg.DATALOADER.TOKENS]


def build_token_sets(cfg: CfgNode, data: Data) -> list[ZSLDataset]:
    """The training and the test images of ``data``, as they look each time; their places are image numbers."""
    train_transform, test_transform = _transforms(cfg)
    if is_random(cfg.SOLVER.DATA_AUG):
        train_transform = test_transform
        log.warning(
            "DATALOADER.TOKENS always: SOLVER.DATA_AUG %s is left out, images train as TEST.DATA_AUG %s has them",
            cfg.SOLVER.DATA_AUG, cfg.TEST.DATA_AUG,
        )  # fmt: skip
    split, first = data.split, len(data.split.trainval)
    train, test = data.image_paths[:first], data.image_paths[first:]
    return [
        ZSLDataset(train, split.labels[split.trainval], train_transform, places=split.trainval),
        ZSLDataset(test, split.labels[data.test_indices], test_transform, places=data.test_indices),
    ]


def open_token_cache(
    cfg: CfgNode, data: Data, key: str, shape: tuple[int, int], dtype: torch.dtype
) -> ArrayCache | None:
    """A place for the tokens ``shape`` of every image of the files; None where DATALOADER.CACHE_GB are too few.

    Raises:
        ConfigError: they are, and DATALOADER.TOKENS is always.
    """
    number, limit = len(data.split.labels), _cache_limit(cfg)
    size = number * (8 + prod(shape) * dtype.itemsize)
    if size > limit:
        problem = f"tokens of {number} images take {size / 1e9:.1f} GB, more than DATALOADER.CACHE_GB"
        if cfg.DATALOADER.TOKENS == "always":
            raise ConfigError(f"DATALOADER.TOKENS is always, but {problem}")
        log.info("%s: every image passes the backbone every time", problem)
        return None
    name = f"{cfg.DATASETS.NAME}-tokens"
    cache = open_cache("disk", cfg.DATALOADER.CACHE_DIR, name, key, [shape] * number, dtype, limit)
    log.info("tokens are kept in %s, %.1f GB", cache.path, cache.size / 1e9)
    return cache


def build_token_data(cfg: CfgNode, data: Data, cache: ArrayCache) -> Data:
    """``data`` whose loaders give the tokens in ``cache`` in place of images."""
    split, own_test = data.split, _own_test()
    train = ZSLDataset(None, split.labels[split.trainval], cache=cache, places=split.trainval)
    numbers = data.test_indices[own_test]
    test = ZSLDataset(None, split.labels[numbers], cache=cache, places=numbers)
    return replace(data, train_loader=_train_loader(cfg, train), test_loader=_test_loader(cfg, test))


def token_loader_options(cfg: CfgNode) -> dict[str, Any]:
    """How the images of :func:`build_token_sets` are to be loaded, once."""
    options = loader_options(cfg.DATALOADER.NUM_WORKERS, _uses_gpu(cfg), cfg.DATALOADER.TIMEOUT)
    return {"batch_size": cfg.TEST.IMS_PER_BATCH, **options}


def _uses_gpu(cfg: CfgNode) -> bool:
    return torch.cuda.is_available() and cfg.MODEL.DEVICE != "cpu"


def check_data(cfg: CfgNode) -> list[Finding]:
    """Checks everything of the data that a run with ``cfg`` reads; writes the demo first, as the run would.

    Returns:
        What was found, problems and sound things; nothing but a mistake in the code raises.
    """
    root, name = Path(cfg.DATASETS.ROOT), cfg.DATASETS.NAME
    if name == "DEMO":
        write_demo(root)
    use_features = cfg.DATASETS.INPUT == "features"
    backbone = cfg.MODEL.BACKBONE
    weights = (
        "features" if use_features else "file" if backbone.WEIGHTS else "imagenet" if backbone.PRETRAINED else None
    )
    files = read_xlsa(root, name, cfg.DATASETS.SEMANTIC, with_features=use_features)
    findings = examine(
        files,
        name,
        image_folder=None if use_features else _image_folder(cfg),
        embeddings_folder=_words_folder(cfg),
        weights=weights,
    )
    return findings + _config_findings(cfg, files)


def _config_findings(cfg: CfgNode, files: XlsaFiles) -> list[Finding]:
    """Keys of ``cfg`` that the data do not allow."""
    if files.signatures is None or files.class_of is None or not len(files.images("trainval")):
        return []
    labels, num_attributes = files.class_of[files.images("trainval")], files.signatures.shape[1]
    findings = []
    for build in (lambda: _transforms(cfg), lambda: _sampler(cfg, labels), lambda: _groups(cfg, num_attributes)):
        try:
            build()
        except ConfigError as error:
            findings.append(Finding("config", "error", str(error)))
    return findings or [Finding("config", "ok", "transforms, batches and attribute groups suit the data")]


def _transforms(cfg: CfgNode) -> tuple[Any, Any]:
    if is_random(cfg.TEST.DATA_AUG):
        raise ConfigError(f"TEST.DATA_AUG is {cfg.TEST.DATA_AUG!r}, but a test transform must not be random")
    return _transform(cfg, cfg.SOLVER.DATA_AUG), _transform(cfg, cfg.TEST.DATA_AUG)


def _transform(cfg: CfgNode, spec: str) -> Any:
    return build_transform(spec, cfg.DATASETS.IMAGE_SIZE) if cfg.DATASETS.INPUT == "images" else None


def _image_paths(cfg: CfgNode, split: ZSLSplit, used: np.ndarray, check: bool) -> list[Path]:
    if not split.image_files:
        raise ConfigError(f"{cfg.DATASETS.NAME}'s res101.mat lists no image_files: set DATASETS.INPUT features")
    paths = find_images([split.image_files[i] for i in used], _image_folder(cfg))
    if check:
        check_images(paths)
    return paths


def _image_folder(cfg: CfgNode) -> Path:
    return Path(cfg.DATASETS.IMAGE_ROOT or Path(cfg.DATASETS.ROOT) / cfg.DATASETS.NAME)


def _words_folder(cfg: CfgNode) -> Path | None:
    """Where the word vectors lie, or None where the model reads none."""
    if cfg.MODEL.META_ARCHITECTURE == "BasicNet" or cfg.MODEL.ATTENTION.EMBEDDING != "w2v":
        return None
    return embeddings_folder(cfg.MODEL.ATTENTION.W2V_PATH, cfg.DATASETS.ROOT)


def _groups(cfg: CfgNode, num_attributes: int) -> list[list[int]] | None:
    if cfg.MODEL.LOSS.LAMBDA2 <= 0:
        return None
    return attribute_groups(cfg.DATASETS.NAME, num_attributes, cfg.DATASETS.ATTRIBUTE_GROUPS)


def _scaled_features(cfg: CfgNode, split: ZSLSplit, used: np.ndarray) -> np.ndarray:
    features = split.features[used]
    if cfg.DATASETS.FEATURE_SCALING == "none":
        return features
    scaler = SCALERS[cfg.DATASETS.FEATURE_SCALING]().fit(features[: len(split.trainval)])
    return scaler.transform(features).astype(np.float32)


def _sampler(cfg: CfgNode, labels: np.ndarray) -> EpisodicBatchSampler | RandomBatchSampler:
    ways, shots, episodes = cfg.DATASETS.WAYS, cfg.DATASETS.SHOTS, cfg.DATALOADER.EP_PER_BATCH
    batch_size = ways * shots * episodes
    if batch_size % world_size():
        raise ConfigError(
            f"a batch of DATASETS.WAYS {ways} x SHOTS {shots} x DATALOADER.EP_PER_BATCH {episodes} images cannot be "
            f"divided among {world_size()} processes"
        )
    num_batches = cfg.DATALOADER.N_BATCH or max(1, len(labels) // batch_size)
    if cfg.DATALOADER.MODE == "random":
        return RandomBatchSampler(len(labels), batch_size, num_batches, cfg.SEED)
    return EpisodicBatchSampler(labels, ways, shots, num_batches, episodes, cfg.SEED)
