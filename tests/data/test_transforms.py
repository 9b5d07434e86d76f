import colorsys
import itertools

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageOps

from REZSL.data import build_transform
from REZSL.data.transforms import is_random
from REZSL.utils.errors import ConfigError

GEOMETRIES = ["resize_random_crop", "resize_crop", "resize_center_crop", "resize_only", "resize"]
SPECS = [*GEOMETRIES, *(f"{geometry}+colorjitter" for geometry in GEOMETRIES)]


def noise(width, height):
    return Image.fromarray(np.random.default_rng(5).integers(0, 256, (height, width, 3), np.uint8))


def tensor(width, height):
    return pixels(noise(width, height))


def differs(one, other):
    """By how many grey levels, at most: Pillow and torchvision round in different places."""
    return (one.int() - other.int()).abs().max().item()


def pixels(image):
    """(3, H, W) tensor of a PIL image."""
    return torch.from_numpy(np.asarray(image).transpose(2, 0, 1).copy())


def short_side_to(image, size):
    w, h = image.size
    return image.resize((size, size * h // w) if w < h else (size * w // h, size), Image.Resampling.BILINEAR)


def seeded(transform, image, seed):
    torch.manual_seed(seed)
    return transform(image)


@pytest.mark.parametrize("spec", SPECS)
@pytest.mark.parametrize("shape", [(50, 31), (31, 50), (33, 33), (8, 9), (200, 40)])
def test_size_type_and_repeatability(spec, shape):
    transform = build_transform(spec, 28)
    first = seeded(transform, tensor(*shape), 1)
    assert first.shape == (3, 28, 28) and first.dtype == torch.uint8
    assert torch.equal(seeded(transform, tensor(*shape), 1), first)


@pytest.mark.parametrize("spec", SPECS)
def test_is_random_tells_what_the_transform_does(spec):
    transform = build_transform(spec, 16)
    looks = [seeded(transform, tensor(50, 40), seed) for seed in range(6)]
    assert is_random(spec) == any(not torch.equal(look, looks[0]) for look in looks)


@pytest.mark.parametrize("spec", ["resize_crop", "resize_center_crop"])
@pytest.mark.parametrize("shape", [(50, 32), (31, 45), (24, 24)])
def test_centre_crop_by_hand(spec, shape):
    image = short_side_to(noise(*shape), 24)
    left, top = (round((side - 24) / 2) for side in image.size)
    expected = image.crop((left, top, left + 24, top + 24))
    assert differs(build_transform(spec, 24)(tensor(*shape)), pixels(expected)) <= 1


def test_squashing_by_hand():
    squashed = noise(50, 31).resize((20, 20), Image.Resampling.BILINEAR)
    assert differs(build_transform("resize_only", 20)(tensor(50, 31)), pixels(squashed)) <= 1
    flipped = [seeded(build_transform("resize", 20), tensor(50, 31), seed) for seed in range(40)]
    mirrored = sum(differs(look, pixels(ImageOps.mirror(squashed))) <= 1 for look in flipped)
    assert sum(differs(look, pixels(squashed)) <= 1 for look in flipped) == 40 - mirrored
    assert 8 <= mirrored <= 32


@pytest.mark.parametrize("size", [7, 14, 21])
def test_random_crop_by_hand(size):
    """A window of the image whose short side is 8/7 of size, or that window mirrored; all windows occur."""
    image = short_side_to(noise(50, 40), size * 8 // 7)
    windows, looks = [], []
    for left, top in itertools.product(range(image.width - size + 1), range(image.height - size + 1)):
        window = image.crop((left, top, left + size, top + size))
        windows += [(left, top, False), (left, top, True)]
        looks += [pixels(window), pixels(ImageOps.mirror(window))]
    transform = build_transform("resize_random_crop", size)
    seen = set()
    for seed in range(150):
        look = seeded(transform, tensor(50, 40), seed)
        (found,) = (n for n, expected in enumerate(looks) if differs(look, expected) <= 1)
        seen.add(windows[found])
    for axis in range(3):
        assert {place[axis] for place in seen} == {place[axis] for place in windows}


def jittered(colours, draws=150):
    """(draws, n, 3) what the jitter makes of ``colours`` (n, 3)."""
    colours = np.array(colours, np.uint8)
    stripes = Image.fromarray(np.tile(colours[None].repeat(8, 1), (8 * len(colours), 1, 1)))  # n stripes of 8 pixels
    transform = build_transform("resize_only+colorjitter", 8 * len(colours))
    looks = [seeded(transform, pixels(stripes), seed) for seed in range(draws)]
    return torch.stack(looks)[:, :, 0, 4::8].permute(0, 2, 1).double().numpy()


def test_colorjitter_brightness_is_within_40_percent_and_contrast_stays():
    grey = jittered([(60, 60, 60), (120, 120, 120)])
    assert (grey == grey[..., :1]).all()
    factors = grey[:, 1, 0] / 120
    assert 0.59 <= factors.min() < 0.65 and 1.35 < factors.max() <= 1.41
    assert np.abs(grey[:, 1] - 2 * grey[:, 0]).max() <= 3  # each step cuts off what is after the point


def test_colorjitter_saturation_is_within_40_percent_and_hue_within_a_fifth_of_a_turn():
    look = np.array([colorsys.rgb_to_hsv(*pixel) for pixel in jittered([(120, 48, 48)], 2000)[:, 0] / 255])
    turns = (look[:, 0] + 0.5) % 1 - 0.5
    assert -0.21 <= turns.min() < -0.17 and 0.17 < turns.max() <= 0.21
    # where the hue stayed: pixel = grey + s * (pixel - grey), so HSV's saturation is s * 72 / (grey + s * (120 - grey))
    grey, hsv = 0.299 * 120 + 0.701 * 48, look[np.abs(turns) < 0.015, 1]
    s = hsv * grey / (72 - hsv * (120 - grey))
    assert 0.56 < s.min() < 0.66 and 1.34 < s.max() < 1.52  # whole-numbered pixels blur it


def test_spaces_and_order_of_the_parts_do_not_matter():
    image = tensor(50, 40)
    looks = [seeded(build_transform(spec, 16), image, 3) for spec in ("resize+colorjitter", " colorjitter + resize ")]
    assert torch.equal(*looks)


@pytest.mark.parametrize(
    ("spec", "said"),
    [
        (
            "resize_cropp",
            r"unknown transform 'resize_cropp' in 'resize_cropp': known are .*; did you mean 'resize_crop'",
        ),
        ("resize+jitter", r"unknown transform 'jitter' in 'resize\+jitter': known are .*colorjitter"),
        ("", r"unknown transform '' in ''"),
        ("colorjitter", r"transform 'colorjitter' must name exactly one of resize_random_crop, .*, and no part twice"),
        ("resize+resize_crop", r"transform 'resize\+resize_crop' must name exactly one of"),
        ("resize+resize", r"transform 'resize\+resize' must name exactly one of"),
        ("resize+colorjitter+colorjitter", "no part twice"),
    ],
)
def test_bad_names_are_refused(spec, said):
    with pytest.raises(ConfigError, match=said):
        build_transform(spec, 16)


@pytest.mark.parametrize("spec", SPECS)
@given(height=st.integers(20, 90), width=st.integers(20, 90))
@settings(max_examples=10, deadline=None)
def test_what_is_resized_already_stays(spec, height, width):
    """So an image may be kept resized; its size is known from that of the file."""
    transform = build_transform(spec, 28)
    image = tensor(width, height)
    once = transform.resize(image)
    assert tuple(once.shape[1:]) == transform.resized_shape(height, width)
    assert min(once.shape[1:]) == transform.side
    assert torch.equal(transform.resize(once), once)
    assert torch.equal(seeded(transform, once, 7), seeded(transform, image, 7))
