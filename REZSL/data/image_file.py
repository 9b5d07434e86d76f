"""One image file: which formats are read, how large it may be, which way is up, how it becomes 8-bit RGB."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import BinaryIO

import numpy as np
import torch
from PIL import Image, UnidentifiedImageError
from torch import Tensor

from REZSL.utils.errors import DataError, first_line

FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "PPM")  # of others Pillow has, EPS starts Ghostscript
MAX_PIXELS = 89_478_485  # where Pillow begins to suspect a bomb: 0.27 GB as RGB
MAX_ASPECT = 50  # of the sides: resizing the short one to 512 pixels then makes 40 MB at most

# A scaled JPEG keeps its short side this many times as long as what it will be resized to. Cosine of the features of a
# frozen tf_efficientnet_lite0 at 64 pixels, scaled against whole decoding, at worst of 100 to 200 images at a margin of
# 2, 4 and 8: 0.956, 0.997, 0.9987 on enlarged photographs; 0.987, 0.998, 0.9997 on mosaics of them. Rounding alone
# (torchvision's bilinear resize in floats) comes to 0.9986.
MARGIN = 8

ORIENTATION = 0x0112  # the EXIF tag; its values are those of TIFF 6.0
TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
SIDEWAYS = (5, 6, 7, 8)  # those that exchange width and height

BITS, PHOTOMETRIC = 258, 262  # TIFF tags: bits a sample; 0 where the largest value is black


@dataclass(frozen=True)
class ImageReader:
    """Reads image files as RGB (3, H, W) uint8. As text it is part of the key of what is made of them.

    Args:
        upright: turn an image as its EXIF orientation says (Pillow itself always turns a TIFF).
        scaled: decode a JPEG at 1/2, 1/4 or 1/8 of its size where its short side stays ``MARGIN`` times as long as what
            it will be resized to: quicker, and the same but for rounding.
    """

    upright: bool = True
    scaled: bool = True

    def read(self, path: str | os.PathLike, side: int | None = None) -> Tensor:
        """Decodes an image.

        16-bit greys lose their lower half, as Pillow has it for colours; floats are shown from 0 to 1; what is
        transparent is shown on white.

        Args:
            path: of a file of one of ``FORMATS``.
            side: pixels that the short side will be resized to; None: it stays.

        Raises:
            DataError: it does not decode, is too large, too long, or of values that have no known white; names it.
        """
        with _named(path), self._opened(path, side) as image:
            rgb, orientation = _rgb(image), self._orientation(image)
            pixels = np.array(rgb.transpose(TURNS[orientation]) if orientation in TURNS else rgb)
        return torch.from_numpy(pixels).permute(2, 0, 1)

    def shape(self, path: str | os.PathLike, side: int | None = None) -> tuple[int, int]:
        """The (H, W) of what :meth:`read` gives, where the format allows it from the head of the file alone."""
        with _named(path), self._opened(path, side) as image:
            if image.format in ("PNG", "TIFF"):  # an orientation may follow the pixels; Pillow turns when it decodes
                image.load()
            width, height = image.size
            return (width, height) if self._orientation(image) in SIDEWAYS else (height, width)

    def _opened(self, path: str | os.PathLike, side: int | None) -> Image.Image:
        image = open_image(path)
        if self.scaled and side is not None:
            image.draft("RGB", (MARGIN * side, MARGIN * side))
        return image

    def _orientation(self, image: Image.Image) -> int | None:
        if not self.upright or image.format == "TIFF":
            return None
        try:
            return image.getexif().get(ORIENTATION)
        except Exception:  # what a camera wrote there is no reason to refuse the pixels
            return None


def open_image(file: str | os.PathLike | BinaryIO) -> Image.Image:
    """Opens an image of one of ``FORMATS`` without decoding it: the only way to a foreign image in this project.

    Raises:
        DataError: it is none, or larger or longer than it may be; in one line that does not name the file.
    """
    try:
        image = Image.open(file, formats=FORMATS)
    except UnidentifiedImageError:
        raise DataError(f"it is none of {', '.join(FORMATS)}") from None
    width, height = image.size
    if width * height > MAX_PIXELS or max(width, height) > MAX_ASPECT * min(width, height):
        image.close()
        limit = f"{MAX_PIXELS:,} in all and of sides up to {MAX_ASPECT} to 1"
        raise DataError(f"it has {width} x {height} pixels, images may have {limit}: cut or scale it")
    return image


def decoding_problem(file: str | os.PathLike | BinaryIO) -> str | None:
    """Decodes an image coarsely and returns what is wrong with it, if anything, in one line."""
    try:
        with open_image(file) as image:
            image.draft("RGB", (1, 1))  # JPEG: read all the data, but decode at 1/8 size
            _rgb(image)
    except Exception as error:  # Pillow raises many kinds for damaged files
        return first_line(error)
    return None


@contextmanager
def _named(path: str | os.PathLike) -> Iterator[None]:
    try:
        yield
    except Exception as error:  # Pillow raises many kinds for damaged files
        raise DataError(f"the image {path} does not decode: {first_line(error)}") from None


def _rgb(image: Image.Image) -> Image.Image:
    image.load()
    if image.mode[0] in "IF":  # I, I;16, I;16B, F: convert() would cut off what is above 255
        return Image.fromarray(_grey(image)).convert("RGB")
    if image.mode in ("RGBA", "LA", "PA") or "transparency" in image.info:
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image.convert("RGBA"))
    return image.convert("RGB")


def _grey(image: Image.Image) -> np.ndarray:
    """The (H, W) uint8 of an image of more than 8 bits."""
    values, tags = np.asarray(image), getattr(image, "tag_v2", {})
    if image.mode == "F":
        if not (values.min() >= 0 and values.max() <= 1):  # NaN is neither
            range_ = f"from {values.min():g} to {values.max():g}"
            raise DataError(f"its values run {range_}, floats are understood from 0 to 1: make it 8 bits a colour")
        grey = np.rint(255 * values).astype(np.uint8)
    elif image.mode == "I" and image.format == "TIFF":
        kind = "signed or 32-bit whole numbers"
        raise DataError(f"its values are {kind}, of which none is known to be white: make it 8 bits a colour")
    else:
        grey = (values >> (tags.get(BITS, (16,))[0] - 8)).astype(np.uint8)
    return 255 - grey if tags.get(PHOTOMETRIC) == 0 else grey
