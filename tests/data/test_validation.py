"""The split within trainval that choices are made on."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from REZSL.data import ZSLSplit, load_split, validation_split
from REZSL.utils.errors import DataError


def test_without_test_seen_images_none_are_held_out(tiny):
    del tiny.att_splits["test_seen_loc"]
    split = load_split(tiny.write().root, "TINY")
    found = validation_split(split, 0)
    assert not len(found.test_seen)
    assert sorted(found.trainval) == sorted(split.train) and sorted(found.test_unseen) == sorted(split.val)


def make_split(seen_sizes, with_classes, num_unseen=2, seed=0):
    """A split of classes with the given numbers of trainval images; two more images of each are test images."""
    rng = np.random.default_rng(seed)
    num_seen = len(seen_sizes)
    sizes = [*(n + 2 for n in seen_sizes), *[3] * num_unseen]
    labels = np.repeat(np.arange(len(sizes)), sizes)
    nth = np.concatenate([np.arange(n) for n in sizes])
    order = rng.permutation(len(labels) + 1)  # one image belongs to no split
    labels, nth = np.append(labels, -1)[order], np.append(nth, 0)[order]
    is_seen = (labels >= 0) & (labels < num_seen)
    trainval = np.flatnonzero(is_seen & (nth >= 2))
    of_val = labels[trainval] % 2 == 0
    none = np.empty(0, np.int64)
    return ZSLSplit(
        name="SMALL",
        signatures=rng.random((len(sizes), 3)).astype(np.float32),
        num_seen=num_seen,
        class_ids=rng.permutation(len(sizes)),
        class_names=tuple(f"class {c}" for c in range(len(sizes))),
        labels=labels,
        trainval=rng.permutation(trainval),
        test_seen=np.flatnonzero(is_seen & (nth < 2)),
        test_unseen=np.flatnonzero(labels >= num_seen),
        train=trainval[~of_val] if with_classes else none,
        val=trainval[of_val] if with_classes else none,
        image_files=(),
    )


@given(st.lists(st.integers(2, 12), min_size=3, max_size=9), st.booleans(), st.integers(0, 2**40))
@settings(max_examples=60, deadline=None)
def test_it_is_a_zero_shot_split_within_trainval(sizes, with_classes, seed):
    split = make_split(sizes, with_classes)
    inner = validation_split(split, seed)
    parts = [set(part.tolist()) for part in (inner.trainval, inner.test_seen, inner.test_unseen)]
    assert sum(map(len, parts)) == len(set.union(*parts))
    assert set.union(*parts) == set(split.trainval.tolist())
    assert not set.union(*parts) & {*split.test_seen.tolist(), *split.test_unseen.tolist()}

    def classes(images):
        return {split.class_names[split.labels[i]] for i in images}

    assert classes(inner.trainval) == classes(inner.test_seen) == set(inner.class_names[: inner.num_seen])
    assert classes(inner.test_unseen) == set(inner.class_names[inner.num_seen :])
    assert not classes(inner.test_unseen) & classes(inner.trainval)
    for i in set.union(*parts):  # the same class by its new number
        old, new = split.labels[i], inner.labels[i]
        assert inner.class_names[new] == split.class_names[old]
        assert inner.class_ids[new] == split.class_ids[old]
        np.testing.assert_array_equal(inner.signatures[new], split.signatures[old])
    others = np.setdiff1d(np.arange(len(split.labels)), [*set.union(*parts)])
    known = np.isin(split.labels[others], np.flatnonzero(np.isin(split.class_names, inner.class_names)))
    assert (inner.labels[others] == -1).tolist() == (~known).tolist()
    if with_classes:
        assert parts[2] == set(split.val.tolist())
    else:
        assert len(inner.unseen_classes) == round(split.num_seen / 3)
    for c in range(inner.num_seen):
        held, kept = ((inner.labels[part] == c).sum() for part in (inner.test_seen, inner.trainval))
        assert held == min(max(1, round(0.2 * (held + kept))), held + kept - 1)


def test_the_seed_decides_and_nothing_else():
    split = make_split([10] * 9, with_classes=False)
    first, again, other = (validation_split(split, seed) for seed in (1, 1, 2))
    for name in ("trainval", "test_seen", "test_unseen", "labels"):
        np.testing.assert_array_equal(getattr(first, name), getattr(again, name))
    assert first.class_names != other.class_names
    assert not np.array_equal(first.test_seen, other.test_seen)


@pytest.mark.parametrize(
    ("sizes", "message"),
    [
        ([5], "SMALL: 1 seen classes are too few for validation classes"),
        ([1, 1, 1], "no training class has an image to spare"),
    ],
)
def test_what_cannot_be_divided_is_told(sizes, message):
    with pytest.raises(DataError, match=message):
        validation_split(make_split(sizes, with_classes=False), 0)


@pytest.mark.parametrize(("name", "classes"), [("CUB", (100, 50)), ("AWA2", (27, 13)), ("SUN", (580, 65))])
def test_real_train_and_val_classes(shared_data, name, classes):
    split = load_split(shared_data, name)
    inner = validation_split(split, 0)
    assert (inner.num_seen, len(inner.unseen_classes)) == classes
    assert len(inner.trainval) + len(inner.test_seen) + len(inner.test_unseen) == len(split.trainval)
    assert len(inner.test_seen) == pytest.approx(
        0.2 * (len(inner.trainval) + len(inner.test_seen)), rel=0.07
    )  # SUN has 16 images a class
