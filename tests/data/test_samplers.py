import logging
from collections import Counter

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from REZSL.data import EpisodicBatchSampler, RandomBatchSampler
from REZSL.data.samplers import SeededBatches
from REZSL.utils.errors import ConfigError


@st.composite
def class_sizes_and_ways(draw):
    sizes = draw(st.lists(st.integers(1, 7), min_size=1, max_size=8))
    return sizes, draw(st.integers(1, len(sizes)))


def labels_of(sizes):
    """Labels with gaps between their numbers, in mixed order."""
    return np.random.default_rng(0).permutation(np.repeat(3 * np.arange(len(sizes)) + 5, sizes))


# ---- episodes


@settings(max_examples=25, deadline=None)
@given(class_sizes_and_ways(), st.integers(1, 9), st.integers(1, 3), st.integers(0, 2**63 - 1))
def test_an_episode_is_ways_classes_with_shots_images(sizes_ways, shots, episodes, seed):
    """Distinct classes; distinct images, or where a class has fewer: every image once before any twice."""
    sizes, ways = sizes_ways
    labels = labels_of(sizes)
    sampler = EpisodicBatchSampler(labels, ways, shots, 4, episodes, seed)
    batches = list(sampler)
    assert len(sampler) == len(batches) == 4
    for batch in batches:
        assert len(batch) == ways * shots * episodes
        for start in range(0, len(batch), ways * shots):
            episode = batch[start : start + ways * shots]
            assert set(Counter(labels[episode]).values()) == {shots}
            assert len(set(labels[episode])) == ways
            for c in set(labels[episode]):
                size = (labels == c).sum()
                times = Counter(i for i in episode if labels[i] == c)
                assert len(times) == min(size, shots)
                assert max(times.values()) - min(times.values()) <= 1


def test_every_class_and_every_image_is_reached_about_equally_often():
    sizes = [3, 9, 6, 6]
    labels = labels_of(sizes)
    drawn = Counter(i for batch in EpisodicBatchSampler(labels, 2, 3, 3000, seed=1) for i in batch)
    assert set(drawn) == set(range(len(labels)))
    for i, count in drawn.items():
        size = (labels == labels[i]).sum()
        expected = 3000 * (2 / 4) * (3 / size)  # classes are alike, whatever their size
        assert abs(count - expected) < 6 * expected**0.5


def test_scarce_classes_are_told_once(caplog, monkeypatch):
    monkeypatch.setattr(logging.getLogger("REZSL"), "propagate", True)
    sampler = EpisodicBatchSampler(labels_of([1, 4, 2, 5]), 3, 4, 5)
    list(sampler), list(sampler)
    (record,) = caplog.records
    assert "2 of 4 classes have fewer than 4 images (DATASETS.SHOTS)" in record.getMessage()
    caplog.clear()
    list(EpisodicBatchSampler(labels_of([4, 4]), 2, 4, 5))
    assert not caplog.records


def test_too_many_ways_is_an_error():
    with pytest.raises(ConfigError, match=r"DATASETS\.WAYS is 5, but there are only 4 training classes"):
        EpisodicBatchSampler(labels_of([2] * 4), 5, 1, 1)


# ---- random batches


@settings(max_examples=25, deadline=None)
@given(st.integers(1, 20), st.integers(1, 12), st.integers(0, 9), st.integers(0, 2**63 - 1))
def test_random_batches_are_passes_without_repeats(num_samples, batch_size, num_batches, seed):
    sampler = RandomBatchSampler(num_samples, batch_size, num_batches, seed)
    batches = list(sampler)
    assert len(sampler) == len(batches) == num_batches
    assert all(len(batch) == batch_size for batch in batches)
    drawn = [i for batch in batches for i in batch]
    for start in range(0, len(drawn), num_samples):
        one_pass = drawn[start : start + num_samples]
        assert len(set(one_pass)) == len(one_pass) and set(one_pass) <= set(range(num_samples))


def test_passes_differ_in_order():
    ((*first, _), (*second, _)) = (batch for batch in RandomBatchSampler(30, 30, 2))
    assert first != second


# ---- both


SAMPLERS = {
    "episode": lambda seed: EpisodicBatchSampler(labels_of([5] * 6), 3, 2, 4, 2, seed),
    "random": lambda seed: RandomBatchSampler(30, 12, 4, seed),
    "seeded": lambda seed: SeededBatches(RandomBatchSampler(30, 12, 4, seed)),
}


def epoch_of(sampler, epoch):
    sampler.set_epoch(epoch)
    return list(sampler)


@pytest.mark.parametrize("make", SAMPLERS.values(), ids=SAMPLERS)
def test_batches_depend_on_seed_and_epoch_alone(make):
    sampler = make(3)
    epochs = [epoch_of(sampler, epoch) for epoch in range(4)]
    torch.manual_seed(99)
    assert epoch_of(sampler, 2) == epochs[2] == epoch_of(make(3), 2)
    assert list(make(3)) == epochs[0]
    everything = [*epochs, *(epoch_of(make(seed), epoch) for seed in (0, 1, 2) for epoch in range(4))]
    assert len({str(batches) for batches in everything}) == len(everything)


@pytest.mark.parametrize("make", SAMPLERS.values(), ids=SAMPLERS)
def test_the_global_generator_is_left_alone(make):
    before = torch.get_rng_state()
    list(make(0))
    assert torch.equal(torch.get_rng_state(), before)


def test_seeded_batches_pair_the_same_images_with_seeds_of_their_own():
    plain, seeded = RandomBatchSampler(30, 12, 4, 3), SeededBatches(RandomBatchSampler(30, 12, 4, 3))
    assert len(seeded) == 4
    pairs = [epoch_of(seeded, epoch) for epoch in range(3)]
    assert [[i for i, _ in batch] for batch in pairs[1]] == epoch_of(plain, 1)
    seeds = [seed for epoch in pairs for batch in epoch for _, seed in batch]
    assert len(set(seeds)) == 3 * 4 * 12 and all(isinstance(seed, int) and seed >= 0 for seed in seeds)
