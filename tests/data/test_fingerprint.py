"""Every thing a training reads changes its fingerprint, and only its own."""

import numpy as np
import pytest

from REZSL.data import find_images, fingerprints, load_split


@pytest.fixture
def read(tiny):
    def read(images):
        split = load_split(tiny.root, tiny.name, "original", with_features=not images)
        used = np.concatenate([split.trainval, split.test_unseen, split.test_seen])
        paths = find_images([split.image_files[i] for i in used], tiny.image_root) if images else None
        return fingerprints(split, paths, np.ones((5, 2)) if images else None)

    tiny.write().write_images()
    return read


def spoil_features(tiny):
    tiny.res101["features"][0, 0] += 1e-3


def spoil_signatures(tiny):
    tiny.att_splits["original_att"][0, 0] += 1


def spoil_split(tiny):
    for key in ("trainval_loc", "train_loc"):
        tiny.att_splits[key] = tiny.att_splits[key][1:]


def spoil_image(tiny):
    with open(tiny.image_root / "TINY_200" / tiny.tails[0], "ab") as file:
        file.write(b"1")


@pytest.mark.parametrize(
    ("images", "spoil", "changed"),
    [
        (False, spoil_features, {"the features"}),
        (False, spoil_signatures, {"the signatures"}),
        (True, spoil_image, {"the images"}),
        (False, spoil_split, {"the split"}),
    ],
)
def test_what_changed_is_told_apart(read, tiny, images, spoil, changed):
    before = read(images)
    assert set(before) >= {"the split", "the signatures", "the class names"}
    assert read(images) == before
    spoil(tiny)
    tiny.write()
    after = read(images)
    assert {name for name in before if before[name] != after[name]} == changed
