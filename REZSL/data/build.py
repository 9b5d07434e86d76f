"""From the config to the split, the loaders and the semantics."""

import logging
from dataclasses import replace
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
from .cache import ArrayCache, cache_size, open_cache, size_text
from .data import Data
from .demo import write_demo
from .doctor import examine, free_checks
from .finding import Finding, tell
from .image_file import ImageReader
from .images import ZSLDataset, check_images, open_image_cache
from .loading import check_shared_memory, loader_options
from .locate import find_images
from .recorded import XlsaFiles
from .samplers import EpisodicBatchSampler, RandomBatchSampler, SeededBatches
from .semantics import embeddings_folder, load_attribute_embeddings
from .splits import ZSLSplit, arrange, read_xlsa
from .transforms import build_transform, is_random
from .validation import validation_split

log = logging.getLogger(__name__)

SCALERS = {"standard": StandardScaler, "minmax": MinMaxScaler, "l2": Normalizer}


def build_data(cfg: CfgNode) -> Data:
    """Reads the data set that ``cfg`` names; writes it first when it is the demo."""
    root, name = Path(cfg.DATASETS.ROOT), cfg.DATASETS.NAME
    if name == "DEMO":
        write_demo(root)
    files = _read(cfg)
    use_features = cfg.DATASETS.INPUT == "features"
    tell(free_checks(files, name, use_features, _words_folder(cfg), _known_from(cfg)))
    return _build(cfg, arrange(files, name), check_images=cfg.DATASETS.CHECK_IMAGES and is_main())


def _read(cfg: CfgNode) -> XlsaFiles:
    data = cfg.DATASETS
    return read_xlsa(data.ROOT, data.NAME, data.SEMANTIC, data.INPUT == "features", data.UNKNOWN)


def _known_from(cfg: CfgNode) -> str | None:
    """Where what the backbone knows comes from, as :func:`examine` has it."""
    backbone = cfg.MODEL.BACKBONE
    if cfg.DATASETS.INPUT == "features":
        return "features"
    return "file" if backbone.WEIGHTS else "imagenet" if backbone.PRETRAINED else None


def build_validation_data(cfg: CfgNode, split: ZSLSplit) -> Data:
    """The data to choose on, out of the trainval images of ``split``: see :func:`validation_split`."""
    return _build(cfg, validation_split(split, cfg.SEED), check_images=False)  # they were, with the others


def _build(cfg: CfgNode, split: ZSLSplit, check_images: bool) -> Data:
    train_transform, test_transform = _transforms(cfg)
    log.info("%s", split.summary())

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
    size = cache_size([shape] * number, dtype)
    if size > limit:
        problem = f"tokens of {number} images take {size_text(size)}, more than DATALOADER.CACHE_GB"
        if cfg.DATALOADER.TOKENS == "always":
            raise ConfigError(f"DATALOADER.TOKENS is always, but {problem}")
        log.info("%s: every image passes the backbone every time", problem)
        return None
    name = f"{cfg.DATASETS.NAME}-tokens"
    cache = open_cache("disk", cfg.DATALOADER.CACHE_DIR, name, key, [shape] * number, dtype, limit)
    log.info("tokens are kept in %s, %s", cache.path, size_text(cache.size))
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
    return torch.cuda.is_available() and cfg.MODEL.DEVICE not in ("cpu", "mps")


def check_data(cfg: CfgNode) -> list[Finding]:
    """Checks everything of the data that a run with ``cfg`` reads; writes the demo first, as the run would.

    Returns:
        What was found, problems and sound things; nothing but a mistake in the code raises.
    """
    root, name = Path(cfg.DATASETS.ROOT), cfg.DATASETS.NAME
    if name == "DEMO":
        write_demo(root)
    files, use_features = _read(cfg), cfg.DATASETS.INPUT == "features"
    folder = None if use_features else _image_folder(cfg)
    return examine(files, name, folder, _words_folder(cfg), _known_from(cfg)) + _config_findings(cfg, files)


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
    if cfg.DATASETS.INPUT == "features":
        return None
    reader = ImageReader(upright=cfg.DATASETS.UPRIGHT, scaled=cfg.DATALOADER.SCALED_DECODING)
    return build_transform(spec, cfg.DATASETS.IMAGE_SIZE, reader)


def _image_paths(cfg: CfgNode, split: ZSLSplit, used: np.ndarray, check: bool) -> list[Path]:
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
