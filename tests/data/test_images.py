import re

import numpy as np
import pytest
import torch
from PIL import Image
from torch.utils.data import DataLoader

from REZSL.data import RandomBatchSampler, ZSLDataset, build_transform
from REZSL.data.image_file import ImageReader
from REZSL.data.images import check_images
from REZSL.data.samplers import SeededBatches
from REZSL.utils.errors import DataError


def noise(seed, width=40, height=30):
    return Image.fromarray(np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8))


@pytest.fixture
def photos(tmp_path):
    """Ten pictures of different sizes, as paths."""
    paths = [tmp_path / "photos" / f"{i}.png" for i in range(10)]
    paths[0].parent.mkdir()
    for i, path in enumerate(paths):
        noise(i, 30 + 3 * i, 50 - 2 * i).save(path)
    return paths


# ---- checking


def test_damaged_images_are_counted_and_the_first_is_named(tmp_path, photos):
    good = tmp_path / "good.jpg"
    noise(0, 200, 200).save(good)
    truncated, text, empty = (tmp_path / f"{name}.jpg" for name in ("truncated", "text", "empty"))
    truncated.write_bytes(good.read_bytes()[: good.stat().st_size // 2])
    text.write_text("no image")
    empty.touch()
    check_images([])
    check_images([*photos, good])
    for bad in (truncated, text, empty, tmp_path / "absent.jpg"):
        with pytest.raises(
            DataError, match=f"1 of 11 images do not decode, the first is {re.escape(str(bad))}"
        ) as told:
            check_images([*photos, bad])
        assert "\n" not in str(told.value)
        with pytest.raises(DataError, match=f"the image {re.escape(str(bad))} does not decode"):
            ImageReader().read(bad)
    with pytest.raises(DataError, match=rf"3 of 5 images .* the first is {re.escape(str(text))}"):
        check_images([good, text, good, truncated, empty])


# ---- the data set


def test_images_equal_those_made_by_hand(photos):
    """resize_crop: Pillow's bilinear resize of the short side, then the middle."""
    size = 24
    dataset = ZSLDataset(photos, np.arange(10) * 10, build_transform("resize_crop", size))
    inputs, labels = dataset.__getitems__([3, 0, 9, 3])
    assert inputs.dtype == torch.uint8 and inputs.shape == (4, 3, size, size)
    assert labels.tolist() == [30, 0, 90, 30] and len(dataset) == 10
    for index, found in zip([3, 0, 9, 3], inputs, strict=True):
        image = Image.open(photos[index])
        w, h = image.size
        w, h = (size, size * h // w) if w < h else (size * w // h, size)
        image = image.resize((w, h), Image.Resampling.BILINEAR)
        left, top = round((w - size) / 2), round((h - size) / 2)
        expected = np.asarray(image.crop((left, top, left + size, top + size))).transpose(2, 0, 1)
        assert np.abs(found.numpy().astype(int) - expected).max() <= 1  # torchvision and Pillow round differently
    one, label = dataset[9]
    assert torch.equal(one, inputs[2]) and label == 90


AUGMENTATION = "resize_random_crop+colorjitter"


def test_an_images_look_depends_on_its_seed_alone(photos):
    dataset = ZSLDataset(photos, np.zeros(10), build_transform(AUGMENTATION, 16))
    alone = dataset[(4, 77)][0]
    together = dataset.__getitems__([(1, 5), (4, 77), (4, 78), (4, 77)])[0]
    assert torch.equal(together[1], alone) and torch.equal(together[3], alone)
    assert not torch.equal(together[2], alone)
    torch.manual_seed(123)
    assert torch.equal(dataset[(4, 77)][0], alone)


def test_a_seeded_image_leaves_the_global_generators_alone(photos):
    dataset = ZSLDataset(photos, np.zeros(10), build_transform(AUGMENTATION, 16))
    before, numpy_before = torch.get_rng_state(), np.random.get_state()[1].copy()  # noqa: NPY002
    dataset.__getitems__([(0, 1), (1, 2)])
    assert torch.equal(torch.get_rng_state(), before)
    assert np.array_equal(np.random.get_state()[1], numpy_before)  # noqa: NPY002


def test_augmentation_does_not_depend_on_the_number_of_workers(photos):
    dataset = ZSLDataset(photos, np.arange(10), build_transform(AUGMENTATION, 16))
    epochs = []
    for workers in (0, 2):
        batches = SeededBatches(RandomBatchSampler(10, 4, 3, seed=1))
        batches.set_epoch(2)
        torch.manual_seed(workers)
        epochs.append(list(DataLoader(dataset, batch_sampler=batches, num_workers=workers, collate_fn=_unchanged)))
    for (inputs, labels), (other_inputs, other_labels) in zip(*epochs, strict=True):
        assert torch.equal(inputs, other_inputs) and torch.equal(labels, other_labels)


def _unchanged(batch):
    return batch


def test_features_are_fetched_by_number():
    features = np.random.default_rng(0).normal(size=(6, 3)).astype(np.float32)
    dataset = ZSLDataset(features, [5, 4, 3, 2, 1, 0])
    inputs, labels = dataset.__getitems__([4, (0, 99), 4])
    assert np.array_equal(inputs, features[[4, 0, 4]]) and labels.tolist() == [1, 5, 1]
    assert inputs.dtype == torch.float32 and labels.dtype == torch.int64


def test_a_damaged_image_is_named_when_it_is_fetched(photos):
    photos[2].write_bytes(photos[2].read_bytes()[:100])
    dataset = ZSLDataset(photos, np.zeros(10), build_transform("resize_crop", 16))
    with pytest.raises(DataError, match=re.escape(f"the image {photos[2]} does not decode")):
        dataset.__getitems__([0, 2])


def test_arguments_that_do_not_fit():
    with pytest.raises(ValueError, match="2 inputs for 3 labels"):
        ZSLDataset(np.zeros((2, 4), np.float32), [0, 1, 2])
    with pytest.raises(ValueError, match="images need a transform"):
        ZSLDataset(["a.jpg"], [0])
