import itertools
import random

import numpy as np
import pytest
import torch

from REZSL.utils.seeding import derive_seed, random_states, restore_random_states, seed_everything


@pytest.fixture(autouse=True)
def _leave_the_generators_as_they_were():
    before = random.getstate(), np.random.get_state(), torch.get_rng_state()  # noqa: NPY002
    yield
    random.setstate(before[0])
    np.random.set_state(before[1])  # noqa: NPY002
    torch.set_rng_state(before[2])


def draw():
    """Numbers from every global generator, those that keep half a draw for later included."""
    return (
        random.random(),
        random.gauss(0, 1),
        np.random.rand(),  # noqa: NPY002
        np.random.normal(),  # noqa: NPY002
        torch.rand(1).item(),
        torch.randn(3).tolist(),
    )


def test_derived_seeds_differ_by_every_number_and_their_order():
    entropies = list(itertools.product([0, 1, 2, 3, 2**32, 2**63], [0, 1, 7], [0, 1]))
    seeds = [derive_seed(*entropy) for entropy in entropies]
    assert len(set(seeds)) == len(entropies)
    assert all(isinstance(seed, int) and 0 <= seed < 2**63 for seed in seeds)
    assert derive_seed(1, 2) == derive_seed(1, 2) != derive_seed(2, 1)


@pytest.mark.parametrize("seed", [0, 214, 2**32 + 5, 2**63 - 1])
def test_seeding_decides_every_global_generator(seed):
    seed_everything(seed)
    first = draw()
    draw()
    seed_everything(seed)
    assert draw() == first
    seed_everything(seed + 1)
    assert all(a != b for a, b in zip(draw(), first, strict=True))


def test_states_survive_a_checkpoint(tmp_path):
    """They are read with weights_only, hence tensors and plain values only."""
    seed_everything(5)
    draw()  # leaves half a normal draw behind
    torch.save(random_states(), tmp_path / "states.pth")
    expected = [draw() for _ in range(3)]
    seed_everything(6)
    restore_random_states(torch.load(tmp_path / "states.pth", weights_only=True))
    assert [draw() for _ in range(3)] == expected


def test_taking_the_states_draws_nothing():
    seed_everything(5)
    expected = draw()
    seed_everything(5)
    random_states()
    assert draw() == expected


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs CUDA")
def test_cuda_generators_are_restored_too():
    states = random_states()
    expected = torch.rand(3, device="cuda")
    restore_random_states(states)
    assert torch.equal(torch.rand(3, device="cuda"), expected)
