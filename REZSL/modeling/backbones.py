"""Backbones behind one interface: inputs to tokens (B, N, D), with the grid they came from.

Every backbone has ``dim`` (D), ``grid`` (H, W) and ``num_prefix`` (tokens before the grid's, such as a class token),
so N = num_prefix + H * W. Images come as uint8 (0..255) or float (0..1); the backbone normalises them by its own mean
and std.
"""

import itertools
import math
import os
import re
import sys
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType

import torch
import torchvision
from torch import Tensor, nn
from torchvision.models.vision_transformer import interpolate_embeddings

from REZSL.utils.errors import ConfigError, DataError, first_line
from REZSL.utils.registry import Registry, did_you_mean

from .foreign_weights import adapted, load_weights, named_as, read_weights

IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
RESNETS = ("resnet18", "resnet34", "resnet50", "resnet101", "resnet152")
VITS = ("vit_b_16", "vit_l_16")
HUB = ("hf_hub:", "hf-hub:")  # how timm names what lies on the Hugging Face hub
BACKBONES = Registry("backbone type")


def build_backbone(
    kind: str,
    name: str = "",
    image_size: int = 224,
    weights: str = "",
    pretrained: bool = False,
    download_folder: str | os.PathLike = "pretrained_models",
    feature_dim: int | None = None,
    mean: Sequence[float] = (),
    std: Sequence[float] = (),
) -> nn.Module:
    """Builds a backbone.

    Args:
        kind: ``resnet``, ``vit`` (both torchvision's), ``timm`` (any timm name, if installed, also as ``timm/NAME`` or
            ``hf_hub:OWNER/NAME``) or ``features``.
        name: model name; empty for resnet101, vit_b_16.
        image_size: side of the square images in pixels; position embeddings are interpolated to it.
        weights: local file with a ``state_dict``, read with ``weights_only``; goes before ``pretrained``.
        pretrained: download ImageNet-1k weights (torchvision's V1, or timm's default).
        download_folder: where downloads are kept.
        feature_dim: D, for ``features``.
        mean: of red, green and blue (0..1), taken from the pixels; empty: what the weights were trained with.
        std: by which the rest is divided; empty likewise.

    Raises:
        ConfigError: unknown name, timm missing, an image size that does not fit, or a download that fails.
        DataError: a weights file that is missing, damaged or of another model.
    """
    builder = BACKBONES.get(kind)
    if kind == "features":
        return builder(feature_dim)
    state = read_weights(weights) if weights else None
    backbone = builder(name, image_size, state, pretrained and state is None, Path(download_folder), weights)
    for buffer, values in ((backbone.mean, mean), (backbone.std, std)):
        if values:
            buffer.copy_(torch.tensor(values).view(1, 3, 1, 1))
    return backbone


class _ImageBackbone(nn.Module):
    """What all image backbones share: normalisation, and ``tokens`` to be filled in."""

    def __init__(self, dim: int, grid: tuple[int, int], num_prefix: int, mean: tuple, std: tuple) -> None:
        super().__init__()
        self.dim, self.grid, self.num_prefix = dim, grid, num_prefix
        self.register_buffer("mean", torch.tensor(mean).view(1, 3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(std).view(1, 3, 1, 1), persistent=False)

    def forward(self, images: Tensor) -> Tensor:
        images = (images / 255).sub_(self.mean) if images.dtype == torch.uint8 else images - self.mean
        return self.tokens(images.div_(self.std))  # in place: memory costs more time here than arithmetic


class ResNet(_ImageBackbone):
    """A torchvision ResNet up to its last feature map."""

    def __init__(self, network: nn.Module, image_size: int) -> None:
        side = math.ceil(image_size / 32)
        super().__init__(network.fc.in_features, (side, side), 0, IMAGENET_MEAN, IMAGENET_STD)
        network.avgpool, network.fc = nn.Identity(), nn.Identity()
        self.network = network.to(memory_format=torch.channels_last)  # convolutions run faster so, on CPU and GPU

    def tokens(self, images: Tensor) -> Tensor:
        n = self.network
        images = images.contiguous(memory_format=torch.channels_last)
        x = n.maxpool(n.relu(n.bn1(n.conv1(images))))
        x = n.layer4(n.layer3(n.layer2(n.layer1(x))))  # (B, D, H, W)
        return x.flatten(2).transpose(1, 2)


class VisionTransformer(_ImageBackbone):
    """A torchvision ViT; the class token comes first."""

    def __init__(self, network: nn.Module) -> None:
        side = network.image_size // network.patch_size
        super().__init__(network.hidden_dim, (side, side), 1, IMAGENET_MEAN, IMAGENET_STD)
        network.heads = nn.Identity()
        self.network = network

    def tokens(self, images: Tensor) -> Tensor:
        patches = self.network.conv_proj(images).flatten(2).transpose(1, 2)  # (B, H * W, D)
        class_token = self.network.class_token.expand(len(images), -1, -1)
        return self.network.encoder(torch.cat([class_token, patches], 1))


class TimmBackbone(_ImageBackbone):
    """A timm model's ``forward_features``."""

    def __init__(self, network: nn.Module, image_size: int) -> None:
        training = network.training
        with torch.no_grad():
            features = network.eval().forward_features(torch.zeros(1, 3, image_size, image_size))
        network.train(training)
        dim, num_prefix = network.num_features, 0
        self.channels_first = features.ndim == 4 and features.shape[1] == dim
        if features.ndim == 4:
            grid = tuple(features.shape[2:]) if self.channels_first else tuple(features.shape[1:3])
        else:
            least = getattr(network, "num_prefix_tokens", 0)  # not every model says: what is left must be a square
            num_tokens = features.shape[1]
            num_prefix = next(n for n in itertools.count(least) if math.isqrt(num_tokens - n) ** 2 == num_tokens - n)
            grid = (math.isqrt(num_tokens - num_prefix),) * 2
        config = network.pretrained_cfg
        super().__init__(dim, grid, num_prefix, config["mean"], config["std"])
        self.layout = torch.channels_last if features.ndim == 4 else torch.contiguous_format
        self.network = network.to(memory_format=self.layout)  # convolutions run faster so

    def tokens(self, images: Tensor) -> Tensor:
        features = self.network.forward_features(images.contiguous(memory_format=self.layout))
        if features.ndim == 3:
            return features
        return features.flatten(2).transpose(1, 2) if self.channels_first else features.flatten(1, 2)


class Features(nn.Module):
    """Features made elsewhere: (B, D) become one token, (B, N, D) stay as they are."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.dim, self.grid, self.num_prefix = dim, (1, 1), 0

    def forward(self, features: Tensor) -> Tensor:
        return features[:, None] if features.ndim == 2 else features


BACKBONES.register("features")(Features)


@BACKBONES.register("resnet")
def _resnet(name: str, image_size: int, state: dict | None, pretrained: bool, folder: Path, source: str) -> nn.Module:
    network = torchvision.models.get_model(_known(name or "resnet101", RESNETS), weights=None)
    if pretrained:
        state, source = _download(name or "resnet101", folder), "the downloaded file"
    if state is not None:
        load_weights(network, named_as(network, state, source), source, ("fc.",), "resnet", name or "resnet101")
    return ResNet(network, image_size)


@BACKBONES.register("vit")
def _vit(name: str, image_size: int, state: dict | None, pretrained: bool, folder: Path, source: str) -> nn.Module:
    if image_size % 16:
        raise ConfigError(f"DATASETS.IMAGE_SIZE is {image_size}, but these ViTs need a multiple of 16")
    network = torchvision.models.get_model(_known(name or "vit_b_16", VITS), weights=None, image_size=image_size)
    if pretrained:
        state, source = _download(name or "vit_b_16", folder), "the downloaded file"
    if state is not None:
        state = named_as(network, state, source)
        if state.get("encoder.pos_embedding") is not None:
            try:
                state = interpolate_embeddings(image_size, network.patch_size, state)
            except ValueError as error:
                raise DataError(f"MODEL.BACKBONE.WEIGHTS: {source}: {first_line(error)}") from None
        load_weights(network, state, source, ("heads.",), "vit", name or "vit_b_16")
    return VisionTransformer(network)


@BACKBONES.register("timm")
def _timm(name: str, image_size: int, state: dict | None, pretrained: bool, folder: Path, source: str) -> nn.Module:
    try:
        import timm
    except ImportError:
        raise ConfigError("MODEL.BACKBONE.TYPE timm needs timm: pip install 'REZSL[timm]'") from None
    name = _timm_name(name, timm)
    options = {"num_classes": 0} | ({"pretrained": True, "cache_dir": folder} if pretrained else {})
    try:
        try:
            network = timm.create_model(name, img_size=image_size, **options)
        except TypeError:  # networks without position embeddings take any size
            network = timm.create_model(name, **options)
    except Exception as error:
        if not (pretrained or name.startswith(HUB)):
            raise ConfigError(f"MODEL.BACKBONE.NAME is {name!r}: {first_line(error)}") from None
        raise _no_download(name, error) from None
    if state is not None:
        state = named_as(network, state, source)
        adapt = getattr(sys.modules[type(network).__module__], "checkpoint_filter_fn", None)
        if adapt is not None:  # timm's own: renames old keys, interpolates position embeddings
            state = adapted(adapt, state, network, source, name)
        load_weights(network, state, source, ("classifier.", "head.", "fc.", "head_dist.", "aux_head."), "timm", name)
    if hasattr(network, "fc_norm"):
        network.fc_norm = nn.Identity()  # comes after the pooling, which nothing here uses
    try:
        return TimmBackbone(network, image_size)
    except Exception as error:  # some models give several maps, or fit one image size only
        problem = f"gives no tokens at DATASETS.IMAGE_SIZE {image_size}: {first_line(error)}"
        raise ConfigError(f"MODEL.BACKBONE.NAME {name} {problem}") from None


def _timm_name(name: str, timm: ModuleType) -> str:
    """``name`` as all versions of timm take it; what lies on the hub under timm's own name is known without it."""
    own = re.sub("^((hf_hub|hf-hub):)?timm/", "", name)
    if not timm.is_model(own):
        if name.startswith(HUB):
            return name
        hint = did_you_mean(own, timm.list_models())
        raise ConfigError(f"MODEL.BACKBONE.NAME is {name!r}, unknown to timm{hint}")
    tagged = timm.list_models(f"{own.split('.')[0]}.*", pretrained=True)
    if "." in own and own not in tagged:
        raise ConfigError(f"MODEL.BACKBONE.NAME is {name!r}: timm has no such weights{did_you_mean(own, tagged)}")
    return own


def _known(name: str, names: tuple[str, ...]) -> str:
    if name not in names:
        hint = did_you_mean(name, names)
        raise ConfigError(f"MODEL.BACKBONE.NAME is {name!r}, expected one of {', '.join(names)}{hint}")
    return name


def _download(name: str, folder: Path) -> dict[str, Tensor]:
    weights = torchvision.models.get_model_weights(name).IMAGENET1K_V1
    try:
        return weights.get_state_dict(model_dir=str(folder), check_hash=True)
    except Exception as error:
        raise _no_download(f"{name} from {weights.url}", error, f"put it in {folder}, or ") from None


def _no_download(what: str, error: Exception, other_way: str = "") -> ConfigError:
    return ConfigError(
        f"MODEL.BACKBONE.PRETRAINED: cannot download {what} ({type(error).__name__}); fetch the file elsewhere and "
        f"{other_way}name it by MODEL.BACKBONE.WEIGHTS, or set MODEL.BACKBONE.PRETRAINED False to train from scratch"
    )
