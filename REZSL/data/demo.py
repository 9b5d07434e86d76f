"""The demo data set: a small zero-shot problem, drawn and written as the same files a real data set has.

Forty classes, each described by how often (in percent) its images show each of 24 attributes in six groups. An image
draws one attribute of every group from its class's percentages, so the attributes are noisy, and some (a shape) are
easier to see than others (an outline). Everything follows from one fixed seed.
"""

import colorsys
import itertools
import logging
import math
import pickle
import shutil
import tempfile
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import numpy as np
import scipy.io
from PIL import Image, ImageDraw, ImageFilter

from REZSL.utils.errors import DataError

log = logging.getLogger(__name__)

NAME = "DEMO"
GROUPS = {
    "shape": ("disc", "square", "triangle", "star", "cross"),
    "colour": ("red", "yellow", "green", "blue", "purple"),
    "texture": ("plain", "striped", "dotted", "checked"),
    "size": ("small", "medium", "large"),
    "background": ("pale", "dark", "graded", "speckled"),
    "outline": ("bare", "white-edged", "black-edged"),
}
NUM_SEEN, NUM_UNSEEN, NUM_VAL = 30, 10, 6  # classes; NUM_VAL of the seen ones are for validation
IMAGES_PER_CLASS, TEST_SEEN_PER_CLASS = 60, 12
SIZE = 96  # pixels
EMBEDDING_DIM = 300
SEED = 2023

_HUES = {"red": 0, "yellow": 43, "green": 90, "blue": 155, "purple": 205}  # of 256
_RADII = {"small": 0.19, "medium": 0.28, "large": 0.38}  # of the image's side


def write_demo(root: str | Path) -> None:
    """Writes the demo data set under ``root`` unless it is there already.

    The files are ``DEMO/images/CLASS/*.jpg``, ``Attribute/w2v/DEMO_attribute.pkl`` and
    ``xlsa17/data/DEMO/{res101,att_splits}.mat``; the last folder comes last, so its presence means that all is there.

    Raises:
        DataError: it cannot be written.
    """
    root = Path(root)
    if (root / "xlsa17" / "data" / NAME / "att_splits.mat").is_file():
        return
    log.info("writing the demo data set to %s", root)
    try:
        _write(root)
    except OSError as error:
        raise DataError(f"cannot write the demo data set to {root}: {error.strerror or error}") from None


def _write(root: Path) -> None:
    root.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=root, prefix=".demo-") as folder:
        stage = Path(folder)
        order = np.random.default_rng([SEED, 400]).permutation(NUM_SEEN + NUM_UNSEEN)
        percent, names = _classes(order)
        files, labels = _write_images(stage / NAME, percent, names)
        _write_embeddings(stage / "Attribute" / "w2v" / f"{NAME}_attribute.pkl")
        _write_mats(stage / "xlsa17" / "data" / NAME, percent, names, files, labels, order)
        for part in (Path(NAME), Path("Attribute", "w2v", f"{NAME}_attribute.pkl"), Path("xlsa17", "data", NAME)):
            _move(stage / part, root / part)


def _move(source: Path, target: Path) -> None:
    """Puts ``source`` in the place of whatever an interrupted or a simultaneous writing left at ``target``."""
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        source.replace(target)
    except OSError:  # a folder with something in it
        shutil.rmtree(target)
        source.replace(target)


def _classes(order: np.ndarray) -> tuple[np.ndarray, list[str]]:
    """Returns percentages (C, K) and names of the classes; ``order`` lists their ids: training, validation, unseen."""
    codes = np.empty((len(order), len(GROUPS)), int)
    codes[order] = _codes(len(order))
    rng = np.random.default_rng([SEED, 200])
    rows = []
    for code in codes:
        row = []
        for leading, options in zip(code, GROUPS.values(), strict=True):
            share = rng.uniform(76, 97)
            others = rng.dirichlet(np.ones(len(options) - 1)) * (100 - share)
            row.extend(np.insert(others, leading, share))
        rows.append(row)
    names = [
        f"{number:03d}.{GROUPS['colour'][code[1]]}_{GROUPS['texture'][code[2]]}_{GROUPS['shape'][code[0]]}"
        for number, code in enumerate(codes, 1)
    ]
    return np.round(np.array(rows), 2), names


def _codes(count: int) -> np.ndarray:
    """Chooses the leading attribute of each group for ``count`` classes: (count, groups).

    Any two differ in three groups or more, and each new one joins the attributes that have met least so far: were red
    always round among the seen classes, nobody could tell which of the two the red attribute means.
    """
    candidates = np.array(list(itertools.product(*(range(len(options)) for options in GROUPS.values()))))
    candidates = np.random.default_rng([SEED, 100]).permutation(candidates)
    shown = candidates + np.cumsum([0, *map(len, GROUPS.values())])[:-1]  # attribute numbers
    met = np.zeros((sum(map(len, GROUPS.values())),) * 2, int)
    free = np.ones(len(candidates), bool)
    chosen = []
    for _ in range(count):
        meetings = (met[shown[:, :, None], shown[:, None]] ** 2).sum((1, 2))
        best = np.where(free, meetings, np.iinfo(int).max).argmin()
        chosen.append(candidates[best])
        met[shown[best][:, None], shown[best]] += 1
        free &= (candidates != candidates[best]).sum(1) >= 3
    return np.array(chosen)


def _write_images(folder: Path, percent: np.ndarray, names: list[str]) -> tuple[list[str], np.ndarray]:
    with ThreadPoolExecutor() as pool:
        paths = list(pool.map(partial(_write_class, folder), range(len(names)), percent, names))
    files = [f"/home/someone/data/{NAME}/{path.as_posix()}" for of_class in paths for path in of_class]
    return files, np.repeat(np.arange(len(names)) + 1, IMAGES_PER_CLASS)


def _write_class(folder: Path, number: int, percent: np.ndarray, name: str) -> list[Path]:
    """Draws the images of one class, from a generator of its own, and returns their paths under ``folder``."""
    rng = np.random.default_rng([SEED, number])
    (folder / "images" / name).mkdir(parents=True)
    shares = np.split(percent, np.cumsum([len(options) for options in GROUPS.values()])[:-1])
    paths = [Path("images", name, f"{name.split('.')[1]}_{i:04d}.jpg") for i in range(1, IMAGES_PER_CLASS + 1)]
    for path in paths:
        shown = {
            group: rng.choice(options, p=share / share.sum())
            for (group, options), share in zip(GROUPS.items(), shares, strict=True)
        }
        _draw(rng, **shown).save(folder / path, quality=92)
    return paths


def _draw(
    rng: np.random.Generator, shape: str, colour: str, texture: str, size: str, background: str, outline: str
) -> Image.Image:
    """Draws one image at twice its size, then scales it down."""
    side = 2 * SIZE
    radius = _RADII[size] * side * rng.uniform(0.92, 1.08)
    centre = side / 2 + rng.uniform(-1, 1, 2) * (side / 2 - radius) * 0.6
    points = _outline_points(shape, radius, rng.uniform(-0.25, 0.25)) + centre

    mask = Image.new("L", (side, side))
    ImageDraw.Draw(mask).polygon([tuple(p) for p in points], fill=255)
    hue = _HUES[colour] + rng.integers(-6, 7)
    image = _background(rng, background, side)
    image.paste(_texture(rng, texture, int(hue) % 256, side), mask=mask)
    if outline != "bare":
        edge = "white" if outline == "white-edged" else "black"
        ImageDraw.Draw(image).line([tuple(p) for p in [*points, *points[:2]]], fill=edge, width=9, joint="curve")
    image = image.resize((SIZE, SIZE), Image.Resampling.LANCZOS)
    noisy = np.asarray(image, np.float32) * rng.uniform(0.85, 1.1) + rng.normal(0, 5, (SIZE, SIZE, 3))
    return Image.fromarray(noisy.clip(0, 255).astype(np.uint8))


def _outline_points(shape: str, radius: float, tilt: float) -> np.ndarray:
    """The corners of ``shape`` around the origin, (n, 2) pixels."""
    if shape == "cross":
        arm = 0.36
        corners = np.array([(arm, 1), (arm, arm), (1, arm), (1, -arm), (arm, -arm), (arm, -1)])
        points = np.concatenate([corners, -corners]) * 0.95
    else:
        corners = {"disc": 48, "square": 4, "triangle": 3, "star": 10}[shape]
        turns = np.arange(corners) / corners * 2 * math.pi - math.pi / (4 if shape == "square" else 2)
        lengths = np.where(np.arange(corners) % 2, 0.42, 1.1) if shape == "star" else {"disc": 0.88}.get(shape, 1.1)
        points = np.stack([np.cos(turns), np.sin(turns)], 1) * np.reshape(lengths, (-1, 1))
    turn = np.array([[math.cos(tilt), -math.sin(tilt)], [math.sin(tilt), math.cos(tilt)]])
    return radius * points @ turn.T


def _texture(rng: np.random.Generator, texture: str, hue: int, side: int) -> Image.Image:
    y, x = np.ogrid[:side, :side]
    y, x = y + rng.uniform(0, 40), x + rng.uniform(0, 40)
    period = side / 9
    if texture == "striped":
        lit = (x + y) % period < period / 2
    elif texture == "dotted":
        lit = np.hypot(x % period - period / 2, y % period - period / 2) < period * 0.28
    elif texture == "checked":
        lit = (x % (2 * period) < period) ^ (y % (2 * period) < period)
    else:
        lit = np.zeros((side, side), bool)
    inks = [_rgb(hue / 256, saturation, value) for saturation, value in ((0.84, 0.75), (0.27, 1.0))]
    return Image.fromarray(np.array(inks, np.uint8)[lit.astype(int)])


def _rgb(hue: float, saturation: float, value: float) -> list[int]:
    return [round(255 * part) for part in colorsys.hsv_to_rgb(hue, saturation, value)]


def _background(rng: np.random.Generator, background: str, side: int) -> Image.Image:
    tint = rng.uniform(-12, 12, 3)
    if background == "graded":
        ramp = np.linspace(60, 210, side)[:, None] * np.ones(side)
        level = ramp if rng.random() < 0.5 else ramp[::-1]
    elif background == "speckled":
        spots = Image.fromarray(rng.integers(50, 210, (side // 6, side // 6), np.uint8), "L")
        level = np.asarray(spots.resize((side, side), Image.Resampling.BICUBIC).filter(ImageFilter.SHARPEN), float)
    else:
        level = np.full((side, side), 200.0 if background == "pale" else 55.0)
    return Image.fromarray((level[..., None] + tint).clip(0, 255).astype(np.uint8))


def _write_embeddings(path: Path) -> None:
    """Attributes of a group lie near each other, as the word vectors of real attributes do."""
    rng = np.random.default_rng([SEED, 300])
    vectors = []
    for options in GROUPS.values():
        group = rng.normal(0, 0.12, EMBEDDING_DIM)
        vectors += [group + rng.normal(0, 0.12, EMBEDDING_DIM) for _ in options]
    path.parent.mkdir(parents=True)
    path.write_bytes(pickle.dumps(np.array(vectors), protocol=4))


def _write_mats(
    folder: Path, percent: np.ndarray, names: list[str], files: list[str], labels: np.ndarray, order: np.ndarray
) -> None:
    val, unseen = order[NUM_SEEN - NUM_VAL : NUM_SEEN] + 1, order[NUM_SEEN:] + 1
    number = np.tile(np.arange(IMAGES_PER_CLASS), len(names))
    is_unseen, is_val = np.isin(labels, unseen), np.isin(labels, val)
    held_out = ~is_unseen & (number >= IMAGES_PER_CLASS - TEST_SEEN_PER_CLASS)
    trainval = ~is_unseen & ~held_out
    loc = {
        "trainval_loc": trainval,
        "test_seen_loc": held_out,
        "test_unseen_loc": is_unseen,
        "train_loc": trainval & ~is_val,
        "val_loc": trainval & is_val,
    }
    folder.mkdir(parents=True)
    scipy.io.savemat(
        folder / "res101.mat",
        {"image_files": _cells(files), "labels": labels[:, None].astype(float)},
        do_compression=True,
    )
    scipy.io.savemat(
        folder / "att_splits.mat",
        {
            "att": (percent / np.linalg.norm(percent, axis=1, keepdims=True)).T,
            "original_att": percent.T,
            "allclasses_names": _cells(names),
            **{key: np.flatnonzero(rows)[:, None].astype(np.uint16) + 1 for key, rows in loc.items()},
        },
        do_compression=True,
    )


def _cells(texts: list[str]) -> np.ndarray:
    cells = np.empty((len(texts), 1), object)
    cells[:, 0] = texts
    return cells
