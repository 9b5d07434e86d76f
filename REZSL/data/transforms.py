"""Image transforms by name: uint8 tensors (3, H, W) to (3, size, size). Normalisation belongs to the backbone."""

from collections.abc import Callable
from functools import cache

import PIL
import torch
import torchvision
from torch import Tensor, nn
from torchvision.transforms import v2

from REZSL.utils.errors import ConfigError
from REZSL.utils.registry import did_you_mean

from .image_file import ImageReader

GEOMETRIES: dict[str, Callable[[int], list[nn.Module]]] = {  # the resize first, then what cuts and flips
    "resize_random_crop": lambda size: [v2.Resize(int(size * 8 / 7)), v2.RandomCrop(size), v2.RandomHorizontalFlip()],
    "resize_crop": lambda size: [v2.Resize(size), v2.CenterCrop(size)],
    "resize_center_crop": lambda size: [v2.Resize(size), v2.CenterCrop(size)],
    "resize_only": lambda size: [v2.Resize((size, size))],
    "resize": lambda size: [v2.Resize((size, size)), v2.RandomHorizontalFlip()],
}
RANDOM = ("resize_random_crop", "resize", "colorjitter")


class ImageTransform:
    """A resize, which is the same each time, then what may be drawn anew: crop, flip, colours.

    Args:
        spec: its name.
        resize: to the size that ``rest`` wants; of an image it has made already it changes nothing.
        rest: the other steps; random numbers come from torch's global generator.
        reader: reads the images.

    Attributes:
        side: short side of what ``resize`` makes, in pixels.
        look: a text that changes with all that an image's look depends on, but for its file.
    """

    def __init__(self, spec: str, resize: v2.Resize, rest: list[nn.Module], reader: ImageReader) -> None:
        self.spec, self.resize, self.rest, self.reader = spec, resize, rest, reader
        self.side = min(resize.size)
        self.look = f"{spec} {self.side} {reader} Pillow {PIL.__version__} torchvision {torchvision.__version__}"

    def __call__(self, image: Tensor) -> Tensor:
        """Transforms ``image`` (3, H, W) uint8 to (3, size, size) uint8."""
        image = self.resize(image)
        for step in self.rest:
            image = step(image)
        return image

    def resized_shape(self, height: int, width: int) -> tuple[int, int]:
        """The (H, W) that ``resize`` makes of an image of (``height``, ``width``)."""
        return _resized_shape(tuple(self.resize.size), height, width)


@cache  # photographs have few sizes
def _resized_shape(size: tuple[int, ...], height: int, width: int) -> tuple[int, int]:
    return tuple(v2.functional.resize(torch.empty(3, height, width, dtype=torch.uint8, device="meta"), size).shape[1:])


def is_random(spec: str) -> bool:
    """Whether the transform named ``spec`` draws random numbers."""
    return any(part.strip() in RANDOM for part in spec.split("+"))


def build_transform(spec: str, size: int, reader: ImageReader | None = None) -> ImageTransform:
    """Builds the transform named ``spec``: one geometry, and ``colorjitter`` if wanted, joined by ``+``.

    ======================  =========================================================================
    resize_random_crop      short side to 8/7 of ``size``, random crop, horizontal flip
    resize_crop             short side to ``size``, centre crop; the same as resize_center_crop
    resize_only             squashed to (``size``, ``size``)
    resize                  squashed to (``size``, ``size``), horizontal flip
    colorjitter             brightness 0.4, saturation 0.4, hue 0.2
    ======================  =========================================================================

    Random numbers come from torch's global generator; :class:`~REZSL.data.images.ZSLDataset` seeds it image by image.

    Args:
        spec: the name.
        size: pixels.
        reader: reads the images; None: upright, scaled where that changes nothing to speak of.

    Raises:
        ConfigError: an unknown part, or not exactly one geometry.
    """
    parts = [part.strip() for part in spec.split("+")]
    known = (*GEOMETRIES, "colorjitter")
    for part in parts:
        if part not in known:
            raise ConfigError(
                f"unknown transform {part!r} in {spec!r}: known are {', '.join(known)}{did_you_mean(part, known)}"
            )
    geometries = [part for part in parts if part in GEOMETRIES]
    if len(geometries) != 1 or len(parts) != len(set(parts)):
        raise ConfigError(f"transform {spec!r} must name exactly one of {', '.join(GEOMETRIES)}, and no part twice")
    resize, *rest = GEOMETRIES[geometries[0]](size)
    if "colorjitter" in parts:
        jitter = v2.ColorJitter(brightness=0.4, saturation=0.4, hue=0.2)
        rest += [v2.ToPILImage(), jitter, v2.PILToTensor()]  # Pillow turns hues faster than torch
    return ImageTransform(spec, resize, rest, reader or ImageReader())
