"""Tokens of a frozen backbone: kept once, the same as computed each time."""

import os

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from REZSL.data import ZSLDataset, build_transform
from REZSL.data.cache import open_cache
from REZSL.engine import keep_tokens
from REZSL.engine.tokens import fingerprint


class Backbone(nn.Module):
    """Columns of the image, through a layer and a batch norm; counts what it sees."""

    def __init__(self):
        super().__init__()
        self.layer, self.norm = nn.Linear(3 * 16, 5), nn.BatchNorm1d(16)
        self.images = 0

    def forward(self, images):
        self.images += len(images)
        return self.norm(self.layer(images.float().permute(0, 3, 1, 2).flatten(2) / 255))  # (B, 16, 5)


@pytest.fixture
def sets(tmp_path):
    paths = []
    for n in range(7):
        paths.append(tmp_path / f"{n}.png")
        Image.fromarray(np.random.default_rng(n).integers(0, 256, (20, 18, 3), np.uint8)).save(paths[-1])
    train = ZSLDataset(paths[:4], range(4), build_transform("resize_only", 16), places=np.array([8, 2, 0, 3]))
    return [train, ZSLDataset(paths[4:], range(3), build_transform("resize_crop", 16), places=np.array([1, 6, 7]))]


def unchanged(batch):
    return batch


def keep(backbone, sets, folder, **options):
    def opened(key, shape, dtype):
        return open_cache("disk", folder, "NAME", key, [shape] * 9, dtype, 1e6)

    return keep_tokens(backbone, sets, opened, torch.device("cpu"), batch_size=3, collate_fn=unchanged, **options)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_they_are_those_of_the_backbone_at_their_places(sets, tmp_path, dtype):
    backbone = Backbone().train()
    cache = keep(backbone, sets, tmp_path / "cache", dtype=dtype)
    assert backbone.training
    backbone.eval()
    for data in sets:
        for n, place in enumerate(data.places):
            with torch.autocast("cpu", dtype, enabled=dtype != torch.float32), torch.no_grad():
                expected = backbone(data[n][0][None])[0]
            torch.testing.assert_close(cache.stacked()[place], expected)
    tokens = ZSLDataset(None, [5, 6], cache=cache, places=np.array([8, 1]))
    inputs, labels = tokens.__getitems__([(1, 77), 0])
    assert torch.equal(inputs, cache.stacked()[[1, 8]]) and labels.tolist() == [6, 5]


def test_they_are_computed_once_and_again_where_something_changed(sets, tmp_path):
    backbone = Backbone()
    keep(backbone, sets, tmp_path / "cache")
    assert backbone.images == 1 + 7  # one more to see their shape
    keep(backbone, sets, tmp_path / "cache")
    assert backbone.images == 1 + 7 + 1
    Image.fromarray(np.zeros((20, 18, 3), np.uint8)).save(sets[0].paths[1])
    keep(backbone, sets, tmp_path / "cache")
    assert backbone.images == 1 + 7 + 1 + 2
    sets[1].transform = build_transform("resize_only", 16)
    keep(backbone, sets, tmp_path / "cache")
    assert backbone.images == 1 + 7 + 1 + 2 + 4
    with torch.no_grad():
        backbone.norm.running_mean += 1
    keep(backbone, sets, tmp_path / "cache")
    assert backbone.images == 1 + 7 + 1 + 2 + 4 + 8


def test_what_was_computed_before_an_interruption_stays(sets, tmp_path):
    backbone = Backbone()
    original = Backbone.forward

    def interrupted(self, images):
        if self.images >= 4:
            raise KeyboardInterrupt
        return original(self, images)

    backbone.forward = interrupted.__get__(backbone)
    with pytest.raises(KeyboardInterrupt):
        keep(backbone, sets, tmp_path / "cache")
    del backbone.forward
    backbone.images = 0
    keep(backbone, sets, tmp_path / "cache")
    assert backbone.images == 1 + 7 - 3


@pytest.mark.parametrize("how", ["cut", "flipped"])
def test_kept_tokens_that_were_changed_are_computed_anew(sets, tmp_path, how):
    """They are checked before anything is read of them, since training takes them as they lie there."""
    backbone = Backbone()
    cache = keep(backbone, sets, tmp_path / "cache")
    expected, seen = cache.stacked().clone(), backbone.images
    if how == "cut":
        os.truncate(cache.path, cache.size - 1)
    else:
        with open(cache.path, "rb+") as file:
            file.seek(-1, os.SEEK_END)
            file.write(bytes([255 - cache.stacked()[8].flatten().view(torch.uint8)[-1]]))
    again = keep(backbone, sets, tmp_path / "cache").stacked()
    used = np.concatenate([data.places for data in sets])
    torch.testing.assert_close(again[used], expected[used])
    assert backbone.images == seen + 1 + (7 if how == "cut" else 1)


def test_without_room_nothing_is_computed(sets):
    backbone = Backbone()
    assert keep_tokens(backbone, sets, lambda *_: None, torch.device("cpu"), batch_size=3) is None
    assert backbone.images == 1


def test_the_fingerprint_knows_every_number():
    prints = set()
    for seed in range(2):
        torch.manual_seed(seed)
        backbone = Backbone()
        prints |= {fingerprint(backbone), fingerprint(backbone)}
    backbone.register_buffer("mean", torch.zeros(1), persistent=False)
    prints.add(fingerprint(backbone))
    backbone.mean += 1
    prints.add(fingerprint(backbone))
    assert len(prints) == 4
