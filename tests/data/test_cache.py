"""Caches: what comes out is what went in, from the same files, wherever the process that asks came from."""

import errno
import itertools
import logging
import os
import pickle
import re
import signal
import subprocess
import sys
from contextlib import contextmanager
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from torch.utils.data import DataLoader

from REZSL.data import ZSLDataset, build_transform
from REZSL.data import cache as cache_module
from REZSL.data.cache import ArrayCache, file_stamp, open_cache
from REZSL.data.image_file import ImageReader
from REZSL.data.images import load_image, loaded_shape, open_image_cache
from REZSL.utils.errors import DataError

pytestmark = pytest.mark.long

DTYPES = [torch.uint8, torch.bfloat16, torch.float32]


def values(shape, dtype, seed):
    generator = torch.Generator().manual_seed(seed)
    return (100 * torch.rand(shape, generator=generator)).to(dtype)


@given(
    shapes=st.lists(st.tuples(st.integers(1, 5), st.integers(0, 7)), min_size=1, max_size=6),
    dtype=st.sampled_from(DTYPES),
    share=st.floats(0, 1.2),
    on_disk=st.booleans(),
)
@settings(max_examples=30, deadline=None)
def test_what_fits_comes_out_as_it_went_in(tmp_path_factory, shapes, dtype, share, on_disk):
    sizes = [16 * len(shapes) + sum(a * b * dtype.itemsize for a, b in shapes[: n + 1]) for n in range(len(shapes))]
    limit = share * sizes[-1]
    path = tmp_path_factory.mktemp("cache") / "file" if on_disk else None
    cache = ArrayCache(shapes, dtype, limit, path)
    for n, shape in enumerate(shapes):
        assert cache.get(n, n + 1) is None
        cache.put(n, n + 1, values(shape, dtype, n))
    again = ArrayCache(shapes, dtype, limit, path) if on_disk else cache
    for n, shape in enumerate(shapes):
        assert again.get(n, 99) is None
        found = again.get(n, n + 1)
        assert (found is not None) == (sizes[n] <= limit)
        assert found is None or torch.equal(found, values(shape, dtype, n))


def test_equal_arrays_can_be_taken_together():
    cache = ArrayCache([(2, 3)] * 4, torch.bfloat16, 1e6)
    for n in range(4):
        cache.put(n, 1, values((2, 3), torch.bfloat16, n))
    expected = torch.stack([values((2, 3), torch.bfloat16, n) for n in range(4)])
    assert torch.equal(cache.stacked(), expected)


@contextmanager
def as_logged():
    """Yields the lines that the data room says at level warning and above."""
    lines = []
    handler = logging.Handler(logging.WARNING)
    handler.emit = lambda record: lines.append(record.getMessage())
    logger = logging.getLogger("REZSL.data")
    logger.addHandler(handler)
    try:
        yield lines
    finally:
        logger.removeHandler(handler)


def opened(folder, key="key", number=3, limit=1e6):
    return open_cache("disk", folder, "NAME", key, [(1000,)] * number, torch.uint8, limit)


def test_the_file_follows_from_the_key_and_the_shapes(tmp_path):
    first = opened(tmp_path)
    first.put(0, 5, values((1000,), torch.uint8, 0))
    assert opened(tmp_path).get(0, 5) is not None
    for other in (opened(tmp_path, key="other"), opened(tmp_path, number=4)):
        assert other.get(0, 5) is None and other.path != first.path


def test_the_files_used_longest_ago_go_first_and_no_others(tmp_path):
    (tmp_path / "mine.arrays").write_bytes(bytes(5000))
    caches = []
    for n, key in enumerate(("a", "b", "c")):
        caches.append(opened(tmp_path, key, limit=10_000))
        os.utime(caches[-1].path, (n, n))
    opened(tmp_path, "a", limit=10_000)  # used again
    opened(tmp_path, "d", limit=10_000)  # 3048 bytes each: three fit
    kept = {path for path in tmp_path.iterdir() if path.name != "mine.arrays"}
    assert caches[1].path not in kept and {caches[0].path, caches[2].path} < kept
    assert (tmp_path / "mine.arrays").exists()


def test_a_file_that_was_removed_is_not_taken_for_one_of_zeros(tmp_path):
    """Where loading processes open it themselves; rows of tokens are taken without a look at their stamps."""
    cache = opened(tmp_path)
    state = pickle.dumps(cache)
    assert pickle.loads(state).size == cache.size
    cache.path.unlink()
    with pytest.raises(DataError, match=r"the cache .*\.arrays was removed or cut while it was in use"):
        pickle.loads(state)


def test_a_full_disk_is_told_before_anything_is_written(tmp_path, monkeypatch):
    def full(handle, start, size):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "posix_fallocate", full)
    said = r"cannot write .*/new/NAME-\w+\.arrays: No space left on device \(a cache of 0\.0 MB\): lower DATALOADER"
    with pytest.raises(DataError, match=said):
        opened(tmp_path / "new")
    assert list((tmp_path / "new").iterdir()) == []


def test_too_little_shared_memory_is_told(monkeypatch, tmp_path):
    monkeypatch.setattr(cache_module, "SHARED_MEMORY", tmp_path)
    monkeypatch.setattr(cache_module.shutil, "disk_usage", lambda path: SimpleNamespace(free=64_000_000))
    with pytest.raises(DataError, match=r"needs 64\.2 MB of shared .* has 64\.0 MB free: .*CACHE disk.*shm-size"):
        ArrayCache([(64_200_000,)], torch.uint8, 1e9)


def test_shared_memory_that_another_process_took_is_told(monkeypatch):
    def taken(size):
        raise RuntimeError("unable to allocate shared memory(shm) for file </torch_1>: No space left on device (28)")

    monkeypatch.setattr(torch.UntypedStorage, "_new_shared", taken)
    with pytest.raises(DataError, match=r"DATALOADER\.CACHE ram needs 0\.0 MB of shared memory"):
        ArrayCache([(1000,)], torch.uint8, 1e6)


def test_a_folder_that_cannot_be_written_to_is_told(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(DataError, match=r"cannot write .*/file/NAME-\w+\.arrays: .* another DATALOADER\.CACHE_DIR"):
        opened(tmp_path / "file")


def test_files_that_killed_processes_left_unfinished_are_removed_after_an_hour(tmp_path):
    ours = opened(tmp_path).path
    names = [f".{ours.stem}.ab_12cd9.arrays", f"{ours.stem}.part", "mine.part", ".mine.arrays", "film-0.mp4.part"]
    for name in names:
        (tmp_path / name).touch()
    opened(tmp_path)
    assert all((tmp_path / name).exists() for name in names)  # somebody may be writing to them
    for name in names:
        os.utime(tmp_path / name, (1, 1))
    opened(tmp_path, "other")
    assert {path.name for path in tmp_path.iterdir() if path.suffix != ".arrays" or path.name[0] == "."} == set(
        names[2:]
    )


# ---- files that somebody changed


@given(by=st.integers(-3000, 3000).filter(bool))
@settings(max_examples=20, deadline=None)
def test_a_file_of_another_length_is_made_anew_and_told(tmp_path_factory, by):
    """Mapped as it is, one that was cut would be filled up with zeros under valid stamps."""
    folder = tmp_path_factory.mktemp("cache")
    first = opened(folder)
    for n in range(3):
        first.put(n, 5, values((1000,), torch.uint8, n))
    os.truncate(first.path, first.size + by)
    with as_logged() as lines:
        again = opened(folder)
    assert [again.get(n, 5) for n in range(3)] == [None] * 3
    assert lines == [
        f"the cache {first.path} has {first.size + by} bytes where {first.size} belong: it is made anew"
    ]  # fmt: skip


@given(data=st.data())
@settings(max_examples=60, deadline=None)
def test_changed_bytes_are_never_taken_for_what_was_put(tmp_path_factory, data):
    folder = tmp_path_factory.mktemp("cache")
    first = opened(folder)
    for n in range(3):
        first.put(n, 5, values((1000,), torch.uint8, n))
    places = data.draw(st.lists(st.integers(0, first.size - 1), min_size=1, max_size=3, unique=True))
    with open(first.path, "rb+") as file:
        for place in places:
            file.seek(place)
            byte = file.read(1)[0]
            file.seek(place)
            file.write(bytes([byte ^ data.draw(st.integers(1, 255))]))
    hit = {place // 8 % 3 if place < first.header else (place - first.header) // 1000 for place in places}
    with as_logged() as lines:
        again = opened(folder)
        for n in range(3):
            found = again.get(n, 5)
            assert found is None if n in hit else torch.equal(found, values((1000,), torch.uint8, n))
    unstamped = {place // 8 for place in places if place < first.header // 2}
    told = f"the cache {first.path} is damaged: what has changed in it is made anew"
    assert lines == ([told] if hit - unstamped else [])
    for n in hit:
        again.put(n, 5, values((1000,), torch.uint8, n))
        assert torch.equal(opened(folder).get(n, 5), values((1000,), torch.uint8, n))


def test_a_file_that_is_cut_while_it_is_in_use_is_told(tmp_path):
    cache = opened(tmp_path)
    state = pickle.dumps(cache)
    os.truncate(cache.path, cache.size - 1)
    with pytest.raises(DataError, match=r"the cache .*\.arrays was removed or cut while it was in use"):
        pickle.loads(state)


def test_an_array_of_another_shape_has_no_place_there():
    cache = ArrayCache([(2, 3)], torch.uint8, 1e6)
    with pytest.raises(ValueError, match=r"an array of \(1, 3\) for a place of \(2, 3\)"):
        cache.put(0, 1, torch.zeros(1, 3, dtype=torch.uint8))


WRITER = """
import sys, torch
from REZSL.data.cache import open_cache
cache = open_cache("disk", sys.argv[1], "NAME", "key", [(200_000,)] * 500, torch.uint8, 1e9)
print("ready", flush=True)
while True:
    for n in range(500):
        cache.put(n, 7, torch.full((200_000,), n % 251, dtype=torch.uint8))
"""


def test_a_killed_process_leaves_only_whole_arrays(tmp_path):
    shapes = [(200_000,)] * 500
    for delay in (0.01, 0.1, 0.5):
        process = subprocess.Popen([sys.executable, "-c", WRITER, str(tmp_path)], stdout=subprocess.PIPE)
        process.stdout.readline()
        with pytest.raises(subprocess.TimeoutExpired):
            process.wait(delay)
        process.send_signal(signal.SIGKILL)
        process.wait()
        cache = open_cache("disk", tmp_path, "NAME", "key", shapes, torch.uint8, 1e9)
        kept = [cache.get(n, 7) for n in range(500)]
        assert all((array == n % 251).all() for n, array in enumerate(kept) if array is not None)
    assert any(array is not None for array in kept)


# ---- images


@pytest.fixture
def photos(tmp_path):
    paths = []
    for n, (width, height) in enumerate([(40, 30), (30, 44), (200, 160), (331, 97), (24, 24), (90, 70)]):
        pixels = np.random.default_rng(n).integers(0, 256, (height, width, 3), np.uint8)
        paths.append(tmp_path / f"{n}.{'png' if n == 3 else 'jpg'}")
        Image.fromarray(pixels).save(paths[-1])
    return paths


def unchanged(batch):
    return batch


@pytest.mark.parametrize("spec", ["resize_random_crop+colorjitter", "resize_crop", "resize_only", "resize"])
@pytest.mark.parametrize("kind", ["ram", "disk"])
def test_images_are_the_same_with_and_without(photos, tmp_path, kind, spec):
    transform = build_transform(spec, 28)
    cache = open_image_cache([(photos, transform)], kind, tmp_path / "cache", "NAME", 1e6)
    plain, kept = ZSLDataset(photos, range(6), transform), ZSLDataset(photos, range(6), transform, cache)
    keys = [(n, 3 * n + 1) for n in range(6)]
    for _ in range(2):
        assert torch.equal(plain.__getitems__(keys)[0], kept.__getitems__(keys)[0])
    for n, path in enumerate(photos):
        shape = loaded_shape(path, transform)
        assert tuple(load_image(path, transform).shape[1:]) == shape == tuple(cache.get(n, kept.stamp(n)).shape[:2])


@pytest.mark.parametrize("kind", ["ram", "disk"])
@pytest.mark.parametrize("context", ["fork", "spawn"])
def test_loading_processes_share_it(photos, tmp_path, kind, context):
    transform = build_transform("resize_crop", 28)
    cache = open_image_cache([(photos, transform)], kind, tmp_path / "cache", "NAME", 1e6)
    data = ZSLDataset(photos, range(6), transform, cache)
    loader = DataLoader(data, batch_size=2, num_workers=2, collate_fn=unchanged, multiprocessing_context=context)
    found = torch.cat([inputs for inputs, _ in loader])
    assert torch.equal(found, ZSLDataset(photos, range(6), transform).__getitems__(range(6))[0])
    assert all(cache.get(n, data.stamp(n)) is not None for n in range(6))


def test_a_changed_image_is_read_anew(photos, tmp_path):
    transform = build_transform("resize_crop", 28)
    cache = open_image_cache([(photos, transform)], "disk", tmp_path / "cache", "NAME", 1e6)
    data = ZSLDataset(photos, range(6), transform, cache)
    before = data[0][0]
    Image.fromarray(np.zeros((30, 40, 3), np.uint8)).save(photos[0])
    os.utime(photos[0], ns=(1, 1))
    assert before.any() and not data[0][0].any()
    assert file_stamp(photos[0]) != file_stamp(photos[1])


@pytest.mark.parametrize("kind", ["ram", "disk"])
def test_an_image_that_changes_its_size_is_told_once_and_read_anew(photos, tmp_path, kind):
    transform = build_transform("resize_crop", 28)
    cache = open_image_cache([(photos, transform)], kind, tmp_path / "cache", "NAME", 1e6)
    data = ZSLDataset(photos, range(6), transform, cache)
    data.__getitems__(range(6))
    Image.fromarray(np.full((300, 41, 3), 200, np.uint8)).save(photos[0])
    os.utime(photos[0], ns=(1, 1))
    with as_logged() as lines:
        assert (data[0][0] == 200).all() and (data[0][0] == 200).all()
    assert lines == [f"the image {photos[0]} has changed its size since this run began: it is read anew each time"]
    assert torch.equal(data[1][0], ZSLDataset(photos, range(6), transform)[1][0])


def test_an_image_that_vanishes_is_named(photos, tmp_path):
    transform = build_transform("resize_crop", 28)
    cache = open_image_cache([(photos, transform)], "ram", tmp_path / "cache", "NAME", 1e6)
    data = ZSLDataset(photos, range(6), transform, cache)
    photos[0].unlink()
    with pytest.raises(DataError, match=f"the image {re.escape(str(photos[0]))} cannot be read: No such file"):
        data[0]


def test_how_images_are_read_is_part_of_every_key(photos, tmp_path):
    """Of the file's name and of the stamps in it, which those of tokens are too."""
    paths, stamps = set(), set()
    for upright, scaled in itertools.product((True, False), repeat=2):
        transform = build_transform("resize_crop", 28, ImageReader(upright, scaled))
        cache = open_image_cache([(photos, transform)], "disk", tmp_path / "cache", "NAME", 1e6)
        paths.add(cache.path)
        stamps.add(ZSLDataset(photos, range(6), transform, cache).stamp(0))
    assert len(paths) == len(stamps) == 4


def test_no_image_is_kept_larger_than_its_file_has_it(photos, tmp_path):
    """However large the inputs are to be: nothing is enlarged before it is fetched."""
    cache = open_image_cache([(photos, build_transform("resize_random_crop", 20_000))], "ram", tmp_path, "NAME", 1e12)
    sizes = [Image.open(path).size for path in photos]
    assert cache.size == sum(16 + 3 * width * height for width, height in sizes)


def test_images_without_a_place_are_read_each_time(photos, tmp_path):
    transform = build_transform("resize_crop", 28)
    cache = open_image_cache([(photos, transform)], "disk", tmp_path / "cache", "NAME", 6 * 16 + 9000)
    assert 0 < len(cache.shapes) < 6
    data = ZSLDataset(photos, range(6), transform, cache)
    for _ in range(2):
        assert torch.equal(
            data.__getitems__(range(6))[0], ZSLDataset(photos, range(6), transform).__getitems__(range(6))[0]
        )
