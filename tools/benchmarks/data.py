"""Loading photographs on one core, against the usual pipeline of PIL and torchvision.transforms."""

import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path

import PIL
import torch
import torchvision
from PIL import Image
from torch import Tensor
from torchvision.transforms import Compose, Normalize, PILToTensor, RandomCrop, RandomHorizontalFlip, Resize, ToTensor

from REZSL.config import get_defaults
from REZSL.data import ZSLDataset, build_transform
from REZSL.data.demo import NAME, write_demo
from REZSL.data.image_file import open_image
from REZSL.data.images import open_image_cache
from REZSL.modeling.backbones import IMAGENET_MEAN, IMAGENET_STD, build_backbone

from .timing import interleaved, spread

IMAGES, BATCH = 96, 32
LONG_SIDE, QUALITY = 500, 90  # of the JPEGs
SIZE = 448  # of the inputs
GREY_LEVELS = 2  # by which ours may differ from PIL


def benchmark_data(repeats: int, root: Path | None = None) -> dict:
    """Times batches of augmented images from JPEGs, as they are loaded and from the caches.

    Args:
        repeats: timings per figure.
        root: a folder of JPEGs; None for those of the demo.
    """
    if root is None:
        root = Path(get_defaults().DATASETS.ROOT)
        write_demo(root)
        root = root / NAME
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with tempfile.TemporaryDirectory() as folder:
            return _benchmark(repeats, _enlarged(root, Path(folder)), Path(folder))
    finally:
        torch.set_num_threads(threads)


def _benchmark(repeats: int, paths: list[Path], folder: Path) -> dict:
    differ = _largest_difference(paths)
    if differ > GREY_LEVELS:
        raise RuntimeError(f"ours differs from PIL by {differ} grey levels, more than {GREY_LEVELS}")
    versions = f"torch {torch.__version__}, torchvision {torchvision.__version__}, Pillow {PIL.__version__}"
    print(f"cpu, 1 core, {versions}; median [quartiles] of {repeats}")
    print(
        f"{len(paths)} JPEGs of long side {LONG_SIDE}, resize_random_crop to {SIZE} px, batches of {BATCH}; "
        f"ours within {differ} grey levels of PIL"
    )
    forms = _forms(paths, folder)
    times = interleaved(list(forms.values()), [1] * len(forms), repeats)
    usual = times[0]
    figures = {"versions": versions, "images": len(paths), "grey_levels": differ}
    for name, seconds in zip(forms, times, strict=True):
        rates = [len(paths) / value for value in seconds]
        ratio = [a / b for a, b in zip(usual, seconds, strict=True)]
        print(f"{name}: {spread(rates)} images/s" + (f", {spread(ratio)} times" if seconds is not usual else ""))
        figures[name] = {"images_per_s": rates, "ratio": ratio}
    print("ours leaves normalisation to the device that trains; 'normalised here' does it on this core all the same")
    return figures


def _forms(paths: list[Path], folder: Path) -> dict[str, Callable[[], None]]:
    """What is timed, the usual pipeline first: each makes the same number of batches."""
    transform = build_transform("resize_random_crop", SIZE)
    plain = Compose([*_usual_geometry(), ToTensor(), Normalize(IMAGENET_MEAN, IMAGENET_STD)])
    backbone = build_backbone("resnet", "resnet18")
    backbone.tokens = lambda images: images  # what is left is its normalisation

    def dataset(**options: object) -> ZSLDataset:
        return ZSLDataset(paths, torch.zeros(len(paths)).numpy(), transform, **options)

    def ours(data: ZSLDataset, after: Callable[[Tensor], Tensor] = lambda images: images) -> None:
        for start in range(0, len(paths), BATCH):
            after(data.__getitems__([(i, i) for i in range(start, min(start + BATCH, len(paths)))])[0])

    def usual() -> None:
        for start in range(0, len(paths), BATCH):
            torch.stack([plain(_opened(path)) for path in paths[start : start + BATCH]])

    memory, disk = (
        open_image_cache([(paths, transform)], k, folder / "cache", "photographs", 1e10) for k in ("ram", "disk")
    )
    return {
        "PIL + torchvision.transforms": usual,
        "ours": partial(ours, dataset()),
        "ours, normalised here": partial(ours, dataset(), backbone),
        "ours, ram cache": partial(ours, dataset(cache=memory)),
        "ours, disk cache": partial(ours, dataset(cache=disk)),
    }


def _opened(path: Path) -> Image.Image:
    return Image.open(path, formats=["JPEG"]).convert("RGB")


def _usual_geometry() -> list[Callable]:
    return [Resize(int(SIZE * 8 / 7)), RandomCrop(SIZE), RandomHorizontalFlip()]


def _largest_difference(paths: list[Path]) -> int:
    """In grey levels, with the same random numbers on both sides."""
    data = ZSLDataset(paths, torch.zeros(len(paths)).numpy(), build_transform("resize_random_crop", SIZE))
    plain, largest = Compose([*_usual_geometry(), PILToTensor()]), 0
    for index, path in enumerate(paths):
        torch.manual_seed(index)
        expected = plain(_opened(path))
        largest = max(largest, int((data[(index, index)][0].int() - expected.int()).abs().max()))
    return largest


def _enlarged(root: Path, folder: Path) -> list[Path]:
    """Copies in ``folder`` of photographs from all over ``root``, brought to one size."""
    found = sorted(path for path in root.rglob("*") if path.suffix.lower() in (".jpg", ".jpeg"))
    if not found:
        raise FileNotFoundError(f"there is no JPEG in {root}")
    paths = []
    for i in range(min(IMAGES, len(found))):
        image = open_image(found[i * len(found) // min(IMAGES, len(found))]).convert("RGB")
        scale = LONG_SIDE / max(image.size)
        paths.append(folder / f"{i}.jpg")
        size = tuple(round(side * scale) for side in image.size)
        image.resize(size, Image.Resampling.BICUBIC).save(paths[-1], quality=QUALITY)
    return paths
