from itertools import pairwise

import numpy as np
import pytest
import scipy.io
from PIL import Image

from REZSL.data import demo, find_images, load_attribute_embeddings, load_split
from REZSL.data.attribute_groups import attribute_groups
from REZSL.data.demo import write_demo
from REZSL.data.images import check_images
from REZSL.utils.errors import DataError, REZSLError

pytestmark = pytest.mark.long


@pytest.fixture
def small(monkeypatch):
    """Two images a class instead of sixty, one of them held out: the same images, but fewer."""
    monkeypatch.setattr(demo, "IMAGES_PER_CLASS", 2)
    monkeypatch.setattr(demo, "TEST_SEEN_PER_CLASS", 1)


def contents(root):
    return {path.relative_to(root): path.read_bytes() for path in root.rglob("*") if path.is_file()}


def test_sizes(demo_root):
    """30 seen and 10 unseen classes of 60 images; of a seen class 12 are held out; 24 and 6 train and val classes."""
    split = load_split(demo_root, "DEMO")
    assert split.num_seen == 30 and split.signatures.shape == (40, 24)
    assert np.bincount(split.labels).tolist() == [60] * 40
    assert (len(split.trainval), len(split.test_seen), len(split.test_unseen)) == (30 * 48, 30 * 12, 10 * 60)
    train, val = set(split.labels[split.train]), set(split.labels[split.val])
    assert (len(train), len(val)) == (24, 6) and not train & val
    assert sorted([*split.train, *split.val]) == sorted(split.trainval)
    assert len(set(split.class_names)) == 40
    assert load_attribute_embeddings(demo_root / "Attribute" / "w2v", "DEMO", 24).shape == (24, 300)
    assert np.allclose(np.linalg.norm(load_split(demo_root, "DEMO", "normalized").signatures, axis=1), 1)


def test_images_are_found_decode_and_have_96_pixels(demo_root):
    split = load_split(demo_root, "DEMO")
    paths = find_images(split.image_files, demo_root / "DEMO")
    assert len(set(paths)) == 40 * 60
    check_images(paths)
    assert {Image.open(path).size for path in paths} == {(96, 96)}
    for path, label in zip(paths, split.labels, strict=True):
        assert path.parent.name == split.class_names[label]


def test_percentages_of_each_group_sum_to_100(demo_root):
    signatures = load_split(demo_root, "DEMO").signatures
    start = 0
    for names in demo.GROUPS.values():
        assert np.allclose(signatures[:, start : start + len(names)].sum(1), 100, atol=0.05)
        start += len(names)
    assert start == 24 and signatures.min() >= 0


def test_classes_differ_in_the_leading_attribute_of_three_groups(demo_root):
    signatures = load_split(demo_root, "DEMO").signatures
    starts = np.cumsum([0, *map(len, demo.GROUPS.values())])
    leading = np.stack([signatures[:, a:b].argmax(1) for a, b in pairwise(starts)], 1)
    differ = (leading[:, None] != leading[None]).sum(2)
    assert differ[~np.eye(40, dtype=bool)].min() >= 3


def test_two_writings_are_alike(tmp_path, small):
    for name in ("a", "b"):
        write_demo(tmp_path / name)
    first, second = contents(tmp_path / "a"), contents(tmp_path / "b")
    assert first.keys() == second.keys() and len(first) == 40 * 2 + 3
    for path, content in first.items():
        if path.suffix == ".mat":  # its header tells the time
            mats = [scipy.io.loadmat(tmp_path / name / path) for name in ("a", "b")]
            assert mats[0].keys() == mats[1].keys()
            assert all(np.array_equal(mats[0][key], mats[1][key]) for key in mats[0] if key[0] != "_")
        else:
            assert content == second[path], path


def test_a_small_writing_has_the_first_images_of_the_whole(tmp_path, demo_root, small):
    """What is drawn depends neither on what was drawn before in this process nor on when."""
    np.random.seed(5)  # noqa: NPY002
    write_demo(tmp_path)
    whole, part = contents(demo_root / "DEMO"), contents(tmp_path / "DEMO")
    assert len(part) == 80 and all(whole[path] == content for path, content in part.items())


def test_a_second_call_changes_nothing(tmp_path, small):
    write_demo(tmp_path)
    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")}
    write_demo(tmp_path)
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")} == before


@pytest.mark.parametrize("error", [OSError(28, "disk full"), KeyboardInterrupt()], ids=["error", "Ctrl-C"])
def test_an_interrupted_writing_leaves_nothing_and_the_next_succeeds(tmp_path, small, monkeypatch, error):
    def fail(*args, **kwargs):
        raise error

    raised = DataError if isinstance(error, OSError) else type(error)
    with monkeypatch.context() as patch, pytest.raises(raised) as told:
        patch.setattr(scipy.io, "savemat", fail)
        write_demo(tmp_path)
    assert raised is not DataError or str(told.value) == (f"cannot write the demo data set to {tmp_path}: disk full")
    assert contents(tmp_path) == {} and not list(tmp_path.glob(".demo*"))
    with pytest.raises(DataError, match="is missing"):
        load_split(tmp_path, "DEMO")
    write_demo(tmp_path)
    assert load_split(tmp_path, "DEMO").num_seen == 30


def test_what_a_killed_writing_left_is_replaced_and_other_data_stay(tmp_path, small):
    """Killed between the moves: images and word vectors are there, the .mat files are not."""
    left = {"DEMO/images/junk.jpg": b"junk", "Attribute/w2v/DEMO_attribute.pkl": b"junk"}
    others = {"Attribute/w2v/CUB_attribute.pkl": b"mine", "xlsa17/data/CUB/res101.mat": b"mine", "CUB/1.jpg": b"mine"}
    for path, content in {**left, **others}.items():
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_bytes(content)
    write_demo(tmp_path)
    split = load_split(tmp_path, "DEMO")
    assert len(find_images(split.image_files, tmp_path / "DEMO")) == 80
    assert load_attribute_embeddings(tmp_path / "Attribute" / "w2v", "DEMO", 24).shape == (24, 300)
    assert not (tmp_path / "DEMO/images/junk.jpg").exists()
    assert all((tmp_path / path).read_bytes() == content for path, content in others.items())


def test_gemnet_needs_groups_of_the_demo_given():
    with pytest.raises(REZSLError, match="no groups are known for 'DEMO'"):
        attribute_groups("DEMO", 24)
