import logging
import re

import numpy as np
import pytest
import scipy.io
from hypothesis import given, settings
from hypothesis import strategies as st
from stand_ins import TinyData, write_cells

from REZSL.data import load_split
from REZSL.utils.errors import DataError

TRAINVAL, TEST_SEEN, TEST_UNSEEN = "trainval_loc", "test_seen_loc", "test_unseen_loc"


@pytest.fixture
def logged(caplog, monkeypatch):
    """What the package logs, also where an earlier test has set logging up."""
    monkeypatch.setattr(logging.getLogger("REZSL"), "propagate", True)
    caplog.set_level(logging.INFO, logger="REZSL")
    return caplog


def column(values):
    return np.array(values, float)[:, None]


def images_of(data, key):
    """0-based image numbers of ``key``."""
    return [int(row) - 1 for row in np.ravel(data.att_splits[key])]


def check_against_hand_loop(split, data, key="original_att"):
    """Rows are seen classes, then unseen, each in ascending original id; labels are row numbers of the signatures."""
    class_of = [int(label) - 1 for label in np.ravel(data.res101["labels"])]
    seen = sorted({class_of[i] for i in images_of(data, TRAINVAL)})
    unseen = sorted({class_of[i] for i in images_of(data, TEST_UNSEEN)})
    rows = seen + unseen
    assert split.class_ids.tolist() == rows and split.num_seen == len(seen)
    assert split.seen_classes.tolist() == list(range(len(seen)))
    assert split.unseen_classes.tolist() == list(range(len(seen), len(rows)))
    assert split.class_names == tuple(f"class_{c + 1}" for c in rows)
    assert split.labels.tolist() == [rows.index(c) if c in rows else -1 for c in class_of]
    matrix = data.att_splits[key]
    assert split.num_attributes == len(matrix) and split.signatures.dtype == np.float32
    for row, c in enumerate(rows):
        for k in range(len(matrix)):
            assert split.signatures[row, k] == np.float32(matrix[k, c])
    for part, loc in (("trainval", TRAINVAL), ("test_seen", TEST_SEEN), ("test_unseen", TEST_UNSEEN)):
        assert getattr(split, part).tolist() == images_of(data, loc)


# ---- what is read


@pytest.mark.parametrize(("semantic", "key"), [("original", "original_att"), ("normalized", "att")])
def test_tiny_split(tiny, semantic, key):
    tiny.write()
    split = load_split(tiny.root, "TINY", semantic, with_features=True)
    check_against_hand_loop(split, tiny, key)
    assert split.class_ids.tolist() == [0, 2, 3, 5, 1, 4] and split.num_seen == 4
    assert split.image_files[3] == "/BS/somebody//data/TINY_200/images/001.class/picture_3.jpg"
    assert np.array_equal(split.features, tiny.res101["features"].T.astype(np.float32))
    assert sorted(split.train) == sorted(images_of(tiny, "train_loc"))
    assert sorted(split.val) == sorted(images_of(tiny, "val_loc"))
    assert split.summary() == (
        "TINY: 20 trainval + 8 test_seen + 14 test_unseen images, 4 seen + 2 unseen classes, 5 attributes"
    )


@settings(max_examples=25, deadline=None)
@given(st.data())
def test_any_division_of_classes_and_any_order_of_images(tmp_path_factory, data):
    """Classes may be seen, unseen or in no split; rows may come in any order."""
    roles = data.draw(st.lists(st.sampled_from("sun"), min_size=6, max_size=6).filter(lambda r: {"s", "u"} <= {*r}))
    class_of = data.draw(st.permutations(np.repeat(np.arange(6), 7).tolist()))
    tiny = TinyData(tmp_path_factory.getbasetemp() / "any")
    tiny.res101["labels"] = column(class_of) + 1
    loc = {TRAINVAL: [], TEST_SEEN: [], TEST_UNSEEN: []}
    for c, role in enumerate(roles):
        images = [i + 1 for i, other in enumerate(class_of) if other == c]
        if role == "s":
            loc[TRAINVAL] += images[:4]
            loc[TEST_SEEN] += images[4:6]
        elif role == "u":
            loc[TEST_UNSEEN] += images
    for key, rows in loc.items():
        tiny.att_splits[key] = column(data.draw(st.permutations(rows)))
    del tiny.att_splits["train_loc"], tiny.att_splits["val_loc"]
    check_against_hand_loop(load_split(tiny.write().root, "TINY"), tiny)


def test_absent_train_val_names_and_features(tiny):
    for key in ("train_loc", "val_loc", "allclasses_names"):
        del tiny.att_splits[key]
    del tiny.res101["features"]
    split = load_split(tiny.write().root, "TINY")
    assert len(split.train) == len(split.val) == 0
    assert split.class_names == ("1", "3", "4", "6", "2", "5")
    assert split.features is None


@pytest.mark.parametrize("absent", [True, False])
def test_a_standard_split_has_no_test_seen(tiny, absent):
    tiny.att_splits[TEST_SEEN] = np.empty((0, 1))
    if absent:
        del tiny.att_splits[TEST_SEEN]
    split = load_split(tiny.write().root, "TINY")
    assert not len(split.test_seen) and split.test_seen.dtype == np.int64
    assert split.trainval.tolist() == images_of(tiny, TRAINVAL) and split.num_seen == 4


def test_features_are_left_unread_unless_asked_for(tiny):
    tiny.res101["features"] = np.full((8, 42), np.nan)
    assert load_split(tiny.write().root, "TINY").features is None


def test_absent_image_files(tiny):
    del tiny.res101["image_files"]
    assert load_split(tiny.write().root, "TINY").image_files == ()


def test_train_and_val_are_cut_down_to_trainval_and_it_is_logged(tiny, logged):
    """Files in circulation list test_seen images in train_loc and val_loc."""
    train, val, test_seen = (images_of(tiny, key) for key in ("train_loc", "val_loc", TEST_SEEN))
    class_of = np.ravel(tiny.res101["labels"]) - 1
    strays = {5: [i for i in test_seen if class_of[i] == 5], 0: [i for i in test_seen if class_of[i] == 0]}
    tiny.att_splits["train_loc"] = column(strays[0] + train) + 1
    tiny.att_splits["val_loc"] = column(val + strays[5][:1]) + 1
    split = load_split(tiny.write().root, "TINY")
    assert sorted(split.train) == sorted(train) and sorted(split.val) == sorted(val)
    path = re.escape(str(tiny.folder / "att_splits.mat"))
    assert re.search(f"{path}: 2 of the 17 rows of train_loc lie outside trainval_loc", logged.text)
    assert re.search(f"{path}: 1 of the 6 rows of val_loc lie outside trainval_loc", logged.text)


def test_a_clean_file_logs_nothing(tiny, logged):
    load_split(tiny.write().root, "TINY")
    assert not logged.records


def test_unknown_entries_read_as_zero_and_it_is_logged(tiny, logged):
    tiny.att_splits["original_att"][1, 2] = tiny.att_splits["original_att"][3, 4] = -1
    split = load_split(tiny.write().root, "TINY")
    tiny.att_splits["original_att"][1, 2] = tiny.att_splits["original_att"][3, 4] = 0
    check_against_hand_loop(split, tiny)
    assert re.search(r"att_splits\.mat: 2 entries of original_att are -1 \(unknown\) and read as 0", logged.text)


def test_minus_one_is_a_value_like_any_other_in_att(tiny, logged):
    tiny.att_splits["att"][1, 2] = -1
    check_against_hand_loop(load_split(tiny.write().root, "TINY", "normalized"), tiny, "att")
    assert not logged.records


# ---- what is refused: one line that names the file and the item


def change(part, key, value):
    """A change of one entry: ``value`` is the new content, or a function of the old."""

    def apply(tiny):
        content = getattr(tiny, part)
        content[key] = value(content[key]) if callable(value) else value

    return apply


def put(array, index, value):
    array = array.astype(float)
    array[index] = value
    return array


def drop(part, key):
    return lambda tiny: getattr(tiny, part).pop(key)


def same_rows(target, source, number):
    """Adds ``number`` images of ``source`` to ``target``."""

    def apply(tiny):
        both = [tiny.att_splits[target].astype(float), tiny.att_splits[source][:number].astype(float)]
        tiny.att_splits[target] = np.concatenate(both)

    return apply


def unseen_image_in_trainval(tiny):
    """Image 8, of class 2, goes from test_unseen to trainval."""
    unseen = images_of(tiny, TEST_UNSEEN)
    tiny.att_splits[TEST_UNSEEN] = column(unseen[1:]) + 1
    tiny.att_splits[TRAINVAL] = column([*images_of(tiny, TRAINVAL), unseen[0]]) + 1


def class_only_in_test_seen(tiny):
    class_of = np.ravel(tiny.res101["labels"])
    tiny.att_splits[TRAINVAL] = column([i + 1 for i in images_of(tiny, TRAINVAL) if class_of[i] != 3])


def train_and_val_share_a_class(tiny):
    train = images_of(tiny, "train_loc")
    tiny.att_splits["train_loc"] = column(train[1:]) + 1
    tiny.att_splits["val_loc"] = column([*images_of(tiny, "val_loc"), train[0]]) + 1


ATT, RES = "att_splits", "res101"
BROKEN = {
    "no original_att": (
        drop(ATT, "original_att"),
        r"att_splits\.mat has no 'original_att' but has 'att': set DATASETS\.SEMANTIC normalized",
    ),
    "no att at all": (
        lambda tiny: (drop(ATT, "original_att")(tiny), drop(ATT, "att")(tiny)),
        r"att_splits\.mat has no 'original_att'; it has allclasses_names, trainval_loc",
    ),
    "no labels": (drop(RES, "labels"), r"res101\.mat has no 'labels'; it has image_files"),
    "no trainval": (drop(ATT, TRAINVAL), r"att_splits\.mat has no 'trainval_loc'; it has att, original_att"),
    "no test_unseen": (drop(ATT, TEST_UNSEEN), r"att_splits\.mat has no 'test_unseen_loc'"),
    "no features": (drop(RES, "features"), r"res101\.mat has no 'features': set DATASETS\.INPUT images"),
    "label 0": (change(RES, "labels", lambda a: put(a, 4, 0)), r"res101\.mat: labels\[5\] is 0, outside 1\.\.6"),
    "label 7": (change(RES, "labels", lambda a: put(a, 41, 7)), r"res101\.mat: labels\[42\] is 7, outside 1\.\.6"),
    "label 1.5": (change(RES, "labels", lambda a: put(a, 2, 1.5)), r"res101\.mat: labels .* whole numbers.* 1\.5"),
    "label NaN": (change(RES, "labels", lambda a: put(a, 2, np.nan)), r"res101\.mat: labels .* whole numbers.* nan"),
    "label text": (change(RES, "labels", write_cells("abc")), r"res101\.mat: labels .* whole numbers"),
    "loc 0": (
        change(ATT, TEST_SEEN, lambda a: put(a, 1, 0)),
        r"att_splits\.mat: test_seen_loc holds 0, outside 1\.\.42",
    ),
    "loc 43": (
        change(ATT, TRAINVAL, lambda a: put(a, 1, 43)),
        r"att_splits\.mat: trainval_loc holds 43, outside 1\.\.42",
    ),
    "loc twice": (same_rows(TRAINVAL, TRAINVAL, 1), r"att_splits\.mat: trainval_loc holds image 1 2 times"),
    "loc empty": (change(ATT, TEST_UNSEEN, np.empty((0, 1))), r"att_splits\.mat: test_unseen_loc is empty"),
    "val out of range": (
        change(ATT, "val_loc", lambda a: put(a, 0, 99)),
        r"att_splits\.mat: val_loc holds 99, outside",
    ),
    "trainval and test_seen": (
        same_rows(TRAINVAL, TEST_SEEN, 3),
        r"att_splits\.mat: trainval_loc and test_seen_loc share 3 images, e\.g\. image 6",
    ),
    "trainval and test_unseen": (
        same_rows(TEST_UNSEEN, TRAINVAL, 1),
        r"att_splits\.mat: trainval_loc and test_unseen_loc share 1 images, e\.g\. image 1",
    ),
    "test_seen and test_unseen": (
        same_rows(TEST_UNSEEN, TEST_SEEN, 1),
        r"att_splits\.mat: test_seen_loc and test_unseen_loc share 1 images, e\.g\. image 6",
    ),
    "class seen and unseen": (
        unseen_image_in_trainval,
        r"att_splits\.mat: 1 classes are seen and unseen, e\.g\. class 2 class_2",
    ),
    "class only in test_seen": (
        class_only_in_test_seen,
        r"att_splits\.mat: test_seen_loc has class 3 class_3, which trainval_loc lacks",
    ),
    "class in train and val": (
        train_and_val_share_a_class,
        r"att_splits\.mat: train_loc and val_loc share 1 classes, e\.g\. class 1",
    ),
    "NaN attribute": (
        change(ATT, "original_att", lambda a: put(a, (2, 4), np.nan)),
        r"att_splits\.mat: original_att of class 5 class_5 holds NaN or infinity",
    ),
    "zero signature": (
        change(ATT, "original_att", lambda a: put(a, (slice(None), 1), 0)),
        r"att_splits\.mat: original_att of class 2 class_2 holds only zeros",
    ),
    "all unknown": (
        change(ATT, "original_att", lambda a: put(a, (slice(None), 5), -1)),
        r"att_splits\.mat: original_att of class 6 class_6 holds only zeros",
    ),
    "att of text": (change(ATT, "original_att", write_cells("abcdef")), r"att_splits\.mat.*original_att"),
    "names": (
        change(ATT, "allclasses_names", write_cells("abc")),
        r"att_splits\.mat: 3 allclasses_names for 6 columns",
    ),
    "files": (change(RES, "image_files", write_cells("abc")), r"res101\.mat: 3 image_files for 42 labels"),
    "features": (
        change(RES, "features", np.ones((8, 41))),
        r"res101\.mat: features must be \(D, 42\), got \(8, 41\)",
    ),
    "NaN feature": (
        change(RES, "features", lambda a: put(a, (3, 10), np.inf)),
        r"res101\.mat: features of image 11 hold NaN or infinity \(1 such images\)",
    ),
}


@pytest.mark.parametrize(("breaks", "said"), BROKEN.values(), ids=BROKEN)
def test_bad_input_is_refused_in_one_line_that_names_file_and_item(tiny, breaks, said):
    breaks(tiny)
    tiny.write()
    with pytest.raises(DataError, match=re.escape(str(tiny.folder)) + "/" + said) as caught:
        load_split(tiny.root, "TINY", with_features=True)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("key", ["att_splits.mat", "res101.mat"])
def test_missing_file(tiny, key):
    tiny.write()
    (tiny.folder / key).unlink()
    with pytest.raises(DataError, match=re.escape(str(tiny.folder / key)) + " is missing: .*set DATASETS.ROOT"):
        load_split(tiny.root, "TINY")


def test_links_that_lead_in_a_circle_or_nowhere(tiny):
    file = tiny.write().folder / "res101.mat"
    for target, said in ((file, "symbolic link that leads in a circle"), ("gone", "link to gone, which is missing")):
        file.unlink()
        file.symlink_to(target)
        with pytest.raises(DataError, match=rf"res101\.mat is a {said}: unpack"):
            load_split(tiny.root, "TINY")


@pytest.mark.parametrize("key", ["att_splits.mat", "res101.mat"])
@pytest.mark.parametrize("share", [0.0, 0.01, 0.1, 0.5, 0.9])
def test_truncated_file(tiny, key, share):
    file = tiny.write().folder / key
    content = file.read_bytes()
    file.write_bytes(content[: int(share * len(content))])
    with pytest.raises(DataError, match=re.escape(str(file))) as caught:
        load_split(tiny.root, "TINY", with_features=True)
    assert "\n" not in str(caught.value)


# ---- the real files


@pytest.mark.parametrize(
    ("name", "counts", "classes", "attributes", "train_val_classes"),
    [
        ("CUB", (7057, 1764, 2967), (150, 50), 312, (100, 50)),
        ("AWA2", (23527, 5882, 7913), (40, 10), 85, (27, 13)),
        ("SUN", (10320, 2580, 1440), (645, 72), 102, (580, 65)),
    ],
)
def test_real_data(shared_data, logged, name, counts, classes, attributes, train_val_classes):
    split = load_split(shared_data, name)
    assert (len(split.trainval), len(split.test_seen), len(split.test_unseen)) == counts
    assert (len(split.seen_classes), len(split.unseen_classes)) == classes
    assert split.signatures.shape == (sum(classes), attributes) and split.signatures.min() >= 0
    assert ("read as 0" in logged.text) == (name == "AWA2")

    used = np.concatenate([split.trainval, split.test_seen, split.test_unseen])
    assert len(np.unique(used)) == sum(counts)
    for i in used:  # each image lies in a folder named after its class
        folder = split.image_files[i].replace("\\", "/").rsplit("/", 1)[0]
        assert folder.rsplit("images/", 1)[-1].replace("/", "_").endswith(split.class_names[split.labels[i]])

    assert set(split.train) | set(split.val) <= set(split.trainval)
    parts = [set(split.labels[part]) for part in (split.train, split.val)]
    assert (len(parts[0]), len(parts[1])) == train_val_classes and not parts[0] & parts[1]


def test_real_signatures_follow_the_class_ids(shared_data):
    matrix = scipy.io.loadmat(shared_data / "xlsa17" / "data" / "CUB" / "att_splits.mat")["original_att"]
    split = load_split(shared_data, "CUB")
    for ids in (split.class_ids[:150], split.class_ids[150:]):
        assert (np.diff(ids) > 0).all()
    for row, c in enumerate(split.class_ids):
        assert np.array_equal(split.signatures[row], matrix[:, c].astype(np.float32))
