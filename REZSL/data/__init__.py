"""Data: the xlsa17 files, images and features, transforms, samplers, word vectors, the demo data set."""

from .build import (
    build_data,
    build_token_data,
    build_token_sets,
    build_validation_data,
    check_data,
    open_token_cache,
    token_loader_options,
    wants_tokens,
)
from .cache import ArrayCache
from .data import Data
from .finding import Finding
from .fingerprint import fingerprints
from .images import ZSLDataset
from .locate import find_images
from .samplers import EpisodicBatchSampler, RandomBatchSampler
from .semantics import load_attribute_embeddings
from .splits import ZSLSplit, load_split
from .transforms import build_transform
from .validation import validation_split

__all__ = [
    "ArrayCache",
    "Data",
    "EpisodicBatchSampler",
    "Finding",
    "RandomBatchSampler",
    "ZSLDataset",
    "ZSLSplit",
    "build_data",
    "build_token_data",
    "build_token_sets",
    "build_transform",
    "build_validation_data",
    "check_data",
    "find_images",
    "fingerprints",
    "load_attribute_embeddings",
    "load_split",
    "open_token_cache",
    "token_loader_options",
    "validation_split",
    "wants_tokens",
]
