import itertools
import re
import shutil

import numpy as np
import pytest
import scipy.io
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from stand_ins import TinyData, write_cells

from REZSL.data.doctor import FEW, KNOWN, check_duplicates, examine
from REZSL.data.doctor_semantics import check_word_order, check_word_vectors, order_fit, plain_name
from REZSL.data.finding import Finding, listed, unless_worse
from REZSL.data.splits import read_xlsa

TRAINVAL, TEST_SEEN, TEST_UNSEEN = "trainval_loc", "test_seen_loc", "test_unseen_loc"


def check(tiny, images=False, semantic="original", words=None, weights="imagenet", name=None):
    """The findings on ``tiny``, with features unless images are asked for."""
    files = read_xlsa(tiny.root, tiny.name, semantic, with_features=not images)
    return examine(files, name or tiny.name, tiny.image_root if images else None, words, weights)


def bad(findings):
    """Warnings and errors as (check, level, message)."""
    return [(f.check, f.level, f.message) for f in findings if f.level in ("warning", "error")]


def assert_found(findings, *expected):
    """The warnings and errors are ``expected``, each (check, level, pattern), in this order, and every line is one."""
    found = bad(findings)
    assert [(check, level) for check, level, _ in found] == [(check, level) for check, level, _ in expected], found
    for (_, _, message), (_, _, pattern) in zip(found, expected, strict=True):
        assert re.search(pattern, message) and "\n" not in message, message


def notes(findings):
    return {f.check: f.message for f in findings if f.level == "note"}


def column(values):
    return np.array(values, float)[:, None]


def rows(tiny, key):
    return [int(row) for row in np.ravel(tiny.att_splits[key])]


def add(tiny, key, more):
    tiny.att_splits[key] = column([*rows(tiny, key), *more])


# ---- sound data


@pytest.mark.parametrize("semantic", ["original", "normalized"])
@pytest.mark.parametrize("images", [False, True])
def test_sound_data_give_no_warning(tiny, images, semantic):
    tiny.write().write_images().write_embeddings()
    findings = check(tiny, images, semantic, tiny.root / "Attribute" / "w2v")
    assert not bad(findings)
    inputs = "images" if images else "features"
    assert [f.check for f in findings if f.level == "ok"] == [
        *("files", "counts", "splits", "paths", "class names", "signatures", "word vectors", "ImageNet"),
        *(inputs, "duplicates"),
    ]
    assert set(notes(findings)) == {"word order"}  # five attributes are too few


def test_ok_lines_say_what_was_looked_at(tiny):
    said = {f.check: f.message for f in check(tiny.write().write_images(), images=True)}
    assert said["counts"].startswith(
        "20 trainval, 8 test_seen, 14 test_unseen, 4 seen classes, 2 unseen classes, 5 att"
    )
    assert said["images"] == f"all 42 images are under {tiny.image_root} and decode"
    assert "(42 compared)" in said["duplicates"]
    low, high = (f"{limit(tiny.att_splits['original_att']):.4g}" for limit in (np.min, np.max))
    assert said["signatures"] == f"6 classes x 5 attributes from original_att, values {low} to {high}"
    assert said["ImageNet"] == "none of 2 unseen classes is called like one of ImageNet-1k (0 of 4 seen are)"


# ---- files


@pytest.mark.parametrize("missing", ["att_splits.mat", "res101.mat"])
def test_a_missing_file_is_told_and_the_other_still_read(tiny, missing):
    tiny.write().write_images()
    (tiny.folder / missing).unlink()
    findings = check(tiny, images=True)
    assert_found(findings, ("files", "error", rf"{missing} is missing: .*set DATASETS\.ROOT"))
    if missing == "att_splits.mat":
        assert "all 42 images" in next(f.message for f in findings if f.check == "images")


def test_both_files_missing(tiny):
    assert_found(
        check(tiny), *[("files", "error", f"{name} is missing") for name in (r"att_splits\.mat", r"res101\.mat")]
    )


def test_every_problem_of_one_file_is_told(tiny):
    """load_split would stop at the first."""
    del tiny.att_splits["original_att"], tiny.res101["features"]
    add(tiny, TEST_SEEN, rows(tiny, TRAINVAL)[:2])
    assert_found(
        check(tiny.write()),
        ("files", "error", "no 'original_att' but has 'att': set DATASETS.SEMANTIC normalized"),
        ("files", "error", "no 'features'"),
        ("splits", "error", "trainval_loc and test_seen_loc share 2 images, e.g. image 1$"),
    )


def test_labels_out_of_range(tiny):
    tiny.res101["labels"][[4, 9], 0] = 9, 0
    assert_found(
        check(tiny.write())[:1], ("files", "error", r"res101\.mat: labels\[5\] is 9, outside 1\.\.6 \(2 such\)")
    )


# ---- counts


def test_known_sizes():
    """Images of each data set as Xian et al. give them: 11788, 14340, 30475, 37322, 15339."""
    totals = {name: sum(counts[:3]) for name, counts in KNOWN.items()}
    assert totals == {"CUB": 11788, "SUN": 14340, "AWA1": 30475, "AWA2": 37322, "APY": 15339}
    classes = {name: counts[3] + counts[4] for name, counts in KNOWN.items()}
    assert classes == {"CUB": 200, "SUN": 717, "AWA1": 50, "AWA2": 50, "APY": 32}


def test_sizes_are_judged_for_known_names_alone(tiny):
    tiny.write()
    expected = "20 trainval, not 7057, 8 test_seen, not 1764, 14 test_unseen, not 2967, 4 seen classes, not 150"
    assert_found(check(tiny, name="CUB"), ("counts", "warning", f"not the proposed split of CUB: {expected}"))
    assert not bad(check(tiny))


# ---- splits


def test_test_images_in_trainval(tiny):
    add(tiny, TRAINVAL, rows(tiny, TEST_SEEN)[:3])
    pattern = r"att_splits\.mat: trainval_loc and test_seen_loc share 3 images, e\.g\. image 6$"
    findings = check(tiny.write())
    assert_found(findings, ("splits", "error", pattern))
    assert "splits" not in {f.check for f in findings if f.level == "ok"}


def test_unseen_images_in_trainval(tiny):
    add(tiny, TRAINVAL, rows(tiny, TEST_UNSEEN)[:1])
    assert_found(
        check(tiny.write()),
        ("splits", "error", "trainval_loc and test_unseen_loc share 1 images"),
        ("splits", "error", r"1 classes are seen and unseen, e\.g\. class 2 class_2"),
    )


def test_a_row_twice_and_one_out_of_range(tiny):
    add(tiny, TRAINVAL, [1, 2, 1, 99])
    assert_found(
        check(tiny.write()),
        ("splits", "error", r"trainval_loc holds 99, outside 1\.\.42"),
        ("splits", "error", r"trainval_loc holds image 1 3 times \(2 such images\)"),
    )


def test_a_class_of_test_seen_that_is_never_trained(tiny):
    tiny.att_splits[TRAINVAL] = column([row for row in rows(tiny, TRAINVAL) if not 14 < row <= 21])
    assert_found(
        check(tiny.write()),
        ("splits", "error", r"test_seen_loc has class 3 class_3, which trainval_loc lacks \(1 such\)"),
        ("splits", "warning", "of the 15 images of train_loc, 5 are neither in trainval_loc nor in a test part"),
    )


@pytest.mark.parametrize("part", ["train", "val"])
def test_test_seen_images_in_train_or_val_are_a_warning(tiny, part):
    """REZSL leaves them out; a file in circulation has them."""
    add(tiny, f"{part}_loc", rows(tiny, TEST_SEEN)[:2] if part == "train" else rows(tiny, TEST_SEEN)[-2:])
    count = 17 if part == "train" else 7
    pattern = f"of the {count} images of {part}_loc, 2 are in test_seen_loc: REZSL leaves them out"
    assert_found(check(tiny.write()), ("splits", "warning", pattern))


@pytest.mark.parametrize("part", ["train", "val"])
def test_test_unseen_images_in_train_or_val_are_an_error(tiny, part):
    add(tiny, f"{part}_loc", rows(tiny, TEST_UNSEEN)[:3])
    assert_found(check(tiny.write()), ("splits", "error", f"images of {part}_loc, 3 are in test_unseen_loc"))


def test_train_and_val_share_a_class(tiny):
    moved = rows(tiny, "train_loc")
    tiny.att_splits["train_loc"] = column(moved[1:])
    add(tiny, "val_loc", moved[:1])
    pattern = r"train_loc and val_loc share 1 classes, e\.g\. class 1 class_1"
    assert_found(check(tiny.write()), ("splits", "error", pattern))


def test_images_in_no_part_are_a_note(tiny):
    for key in (TRAINVAL, TEST_UNSEEN, "val_loc"):
        tiny.att_splits[key] = column(rows(tiny, key)[1:])
    findings = check(tiny.write())
    said = [f.message for f in findings if (f.check, f.level) == ("splits", "note")]
    assert len(said) == 2
    assert "2 of 42 images are in no part (trainval, test_seen, test_unseen), e.g. image 1" in said[0]
    assert "1 of 19 images of trainval_loc are in no part (train, val), e.g. image 36" in said[1]


def test_no_validation_classes_are_a_note(tiny):
    del tiny.att_splits["train_loc"]
    findings = check(tiny.write())
    assert not bad(findings) and "no train_loc and val_loc" in notes(findings)["splits"]


# ---- images


def test_all_missing_and_damaged_images_are_told(tiny):
    tiny.write().write_images()
    folder = tiny.image_root / "TINY_200"
    for tail in tiny.tails[3:5]:
        (folder / tail).unlink()
    (folder / tiny.tails[8]).write_bytes(b"no picture")
    content = (folder / tiny.tails[20]).read_bytes()
    (folder / tiny.tails[20]).write_bytes(content[: len(content) // 2])
    assert_found(
        check(tiny, images=True),
        (
            "images",
            "error",
            f"^2 of 42 images are not under {tiny.image_root}, recorded as /BS/.*_3.jpg, /BS/.*_4.jpg: ",
        ),
        ("images", "error", f"^2 of 40 images do not decode: {folder / tiny.tails[8]} .*{tiny.tails[20]} .*truncated"),
    )


def test_no_image_folder(tiny):
    assert_found(
        check(tiny.write(), images=True), ("images", "error", f"folder {tiny.image_root} is missing: .*IMAGE_R")
    )


def test_no_image_files(tiny):
    del tiny.res101["image_files"]
    expected = ("images", "error", r"res101\.mat lists no image_files: set DATASETS\.INPUT features")
    assert_found(check(tiny.write(), images=True), expected)


def test_only_images_of_the_split_are_looked_at(tiny):
    tiny.att_splits[TEST_UNSEEN] = column([row for row in rows(tiny, TEST_UNSEEN) if row != 8])
    tiny.write().write_images()
    (tiny.image_root / "TINY_200" / tiny.tails[7]).unlink()
    findings = check(tiny, images=True)
    assert not bad(findings) and "all 41 images" in next(f.message for f in findings if f.check == "images")


# ---- duplicates


def copy_image(tiny, source, target):
    folder = tiny.image_root / "TINY_200"
    shutil.copyfile(folder / tiny.tails[source], folder / tiny.tails[target])


def test_many_duplicates_across_trainval_and_test_are_an_error(tiny):
    """Image 0 is trainval; 7 of class 2 is test_unseen: one of 14."""
    copy_image(tiny.write().write_images(), 0, 7)
    pattern = (
        r"^1 of 14 test_unseen images have the content of one in trainval: 001\.class/picture_0\.jpg = "
        r"002\.class/picture_0\.jpg; that is too many \(7\.1%\)"
    )
    assert_found(check(tiny, images=True), ("duplicates", "error", pattern))


def test_a_repeated_test_image_of_both_parts_is_a_warning(tiny):
    copy_image(tiny.write().write_images(), 5, 7)
    pattern = "^1 of 14 test_unseen images have the content of one in test_seen: .*picture_5.*picture_0"
    assert_found(check(tiny, images=True), ("duplicates", "warning", pattern))


def test_a_repetition_within_a_part_is_a_note(tiny):
    copy_image(tiny.write().write_images(), 0, 1)
    findings = check(tiny, images=True)
    assert not bad(findings)
    assert re.search(
        r"1 images repeat .*: 001\.class/picture_1\.jpg = 001\.class/picture_0", notes(findings)["duplicates"]
    )


def test_repeated_feature_rows(tiny):
    tiny.res101["features"][:, 7] = tiny.res101["features"][:, 0]
    tiny.res101["features"][0, [0, 7]] = 0.0, -0.0  # one number
    assert_found(check(tiny.write()), ("duplicates", "error", "one in trainval: row 1 = row 8; "))


def test_few_duplicates_are_a_warning(tiny):
    """One of 200 test_seen images: below the limit of 1 in 100."""
    tiny.res101 = {"labels": column([1] * 300 + [2] * 10)}
    tiny.att_splits = {TRAINVAL: column(range(1, 101)), TEST_SEEN: column(range(101, 301)), TEST_UNSEEN: column([301])}
    files = read_xlsa(tiny.write().root, "TINY")
    digests = {i: bytes(str(i), "ascii") for i in range(310)}
    titles = {i: f"#{i}" for i in digests}
    assert [f.level for f in check_duplicates(files, digests, titles)] == ["ok"]
    for doubled, level in ((2, "warning"), (3, "error")):
        for i in range(doubled):
            digests[100 + i] = digests[i]
        assert doubled / 200 <= FEW or level == "error"
        assert_found(check_duplicates(files, digests, titles), ("duplicates", level, f"^{doubled} of 200 test_seen"))
    digests[305] = digests[0]  # an image of no part
    assert_found(check_duplicates(files, digests, titles), ("duplicates", "error", "^3 of 200 test_seen"))


@settings(max_examples=40, deadline=None)
@given(st.lists(st.integers(0, 12), min_size=42, max_size=42))
def test_duplicates_are_those_of_a_loop_over_pairs(tmp_path_factory, contents):
    tiny = TinyData(tmp_path_factory.getbasetemp() / "duplicates").write()
    files = read_xlsa(tiny.root, "TINY")
    found = check_duplicates(files, {i: bytes([c]) for i, c in enumerate(contents)}, dict(enumerate(contents)))
    parts = {key: [row - 1 for row in rows(tiny, f"{key}_loc")] for key in ("trainval", "test_seen", "test_unseen")}
    expected = []
    for first, second in itertools.combinations(parts, 2):
        number = sum(any(contents[a] == contents[b] for a in parts[first]) for b in parts[second])
        if number:
            expected.append(f"{number} of {len(parts[second])} {second} images have the content of one in {first}")
    assert [f.message.split(":")[0] for f in found if f.level in ("warning", "error")] == expected
    within = sum(len(part) - len({contents[i] for i in part}) for part in parts.values())
    assert [int(f.message.split()[0]) for f in found if f.level == "note"] == [within] * (within > 0)


# ---- recorded paths: a row an object, images of several objects


def share_paths(tiny, pairs):
    for row, other in pairs:
        tiny.res101["image_files"][row, 0] = tiny.res101["image_files"][other, 0].replace("//", "/")


@pytest.mark.parametrize(("images", "level"), [(True, "error"), (False, "warning")])
def test_a_path_in_trainval_and_a_test_part(tiny, images, level):
    """Rows 6 and 13 are test_seen and test_unseen, row 0 is trainval."""
    share_paths(tiny, [(6, 0), (13, 0)])
    found = [f for f in check(tiny.write().write_images(), images, weights=None) if f.check == "paths"]
    same = r"row 1 \(001\.class/picture_0\.jpg\) = row"
    assert_found(
        found,
        ("paths", level, rf"1 of 8 test_seen images have the path of one in trainval: {same} 7 .*\(12\.5%\)"),
        ("paths", level, rf"1 of 14 test_unseen images have the path of one in trainval: {same} 14 .*\(7\.1%\)"),
        ("paths", "warning", r"1 of 14 test_unseen images have the path of one in test_seen: row 7 "),
    )


def test_a_path_twice_in_a_part_is_a_note(tiny):
    share_paths(tiny, [(1, 0), (2, 0)])
    findings = check(tiny.write(), weights=None)
    assert not bad(findings) and notes(findings)["paths"].startswith("2 images repeat the path of another of the same")


# ---- features


def test_zero_and_non_finite_features(tiny):
    tiny.res101["features"][:, [2, 9]] = 0
    tiny.res101["features"][3, [0, 5]] = np.nan
    assert_found(
        check(tiny.write()),
        ("features", "error", r"features of image 1 hold NaN or infinity \(2 such images\)"),
        ("features", "warning", r"features of 2 images are all zero, e\.g\. of image 3: was the image read"),
    )


def test_features_of_another_size(tiny):
    tiny.res101["features"] = tiny.res101["features"][:, :-1]
    assert_found(check(tiny.write()), ("features", "error", r"must be \(D, 42\), got \(8, 41\)"))


# ---- class names


def test_shifted_labels(tiny):
    """One label too few at the start: the last image of each class but one takes the next one's label."""
    names = sorted(f"/BS/data/{c}/{i}.jpg" for c in "abcdef" for i in range(70))
    labels = np.repeat(np.arange(1, 7), 70)
    tiny.res101 = {"labels": column([*labels[1:], 6]), "image_files": write_cells(names)}
    tiny.att_splits = {key: tiny.att_splits[key] for key in ("original_att", "allclasses_names")}
    found = [f for f in check(tiny.write(), images=True, weights=None) if f.check == "class names"]
    example = "image 70 is labelled class 2 class_2 and lies with class 1 class_1 in /BS/data/a"
    assert_found(found, ("class names", "warning", f"5 images lie in another class's folder, e.g. {example}"))


def test_names_in_another_order(tiny):
    names = ["001.class", "004.class", "003.class", "002.class", "005.class", "006.class"]
    tiny.att_splits["allclasses_names"] = write_cells(names)
    example = "class 2 004.class in /BS/somebody/data/TINY_200/images/002.class, class 4 002.class in .*/004.class; are"
    assert_found(
        check(tiny.write()), ("class names", "warning", f"2 classes are named like another's folder: {example}")
    )


@pytest.mark.parametrize("names", [["001.class", "002-CLASS", "02.class", "004 class", "?", "006.class"], ["dog"] * 6])
def test_names_may_differ_from_folders(tiny, names):
    tiny.att_splits["allclasses_names"] = write_cells(names)
    findings = check(tiny.write(), weights=None)
    assert not bad(findings)


def test_folders_that_are_no_classes_say_nothing(tiny):
    tiny.res101["image_files"] = write_cells(f"/data/{i}.jpg" for i in range(42))
    assert "class names" not in {f.check for f in check(tiny.write())}


# ---- signatures


def test_broken_signatures(tiny):
    signatures = tiny.att_splits["original_att"]
    signatures[:, 3], signatures[2, 5], signatures[:, 1] = 0, np.inf, -1
    findings = check(tiny.write())
    assert_found(
        findings,
        ("signatures", "error", "original_att of class 6 class_6 holds NaN or infinity"),
        ("signatures", "error", r"original_att of class 2 class_2 holds only zeros \(2 such\)"),
    )
    assert "5 entries are -1 (unknown) and read as 0" in notes(findings)["signatures"]


def test_constant_attributes_and_classes_alike(tiny):
    signatures = tiny.att_splits["original_att"]
    signatures[[0, 3]] = 50
    signatures[:, 4] = signatures[:, 0] * 2  # the cosine cannot tell them apart either
    signatures[[0, 3], 4] = 50
    signatures[:, 5] = 2 * signatures[:, 1]
    signatures[[0, 3], 5] = 50
    assert_found(check(tiny.write()), ("signatures", "warning", "2 attributes have one value for all classes.*: 1, 4$"))
    signatures[:, 5] = 2 * signatures[:, 1]
    pattern = "1 pairs of classes have the same direction, .*: class 2 class_2 = class 6 class_6"
    assert_found(check(tiny.write()), ("signatures", "warning", pattern))


def test_att_of_another_length(tiny):
    tiny.att_splits["att"][:, 2] *= 3
    pattern = r"att: 1 classes are not of unit length, e\.g\. 3: set DATASETS\.SEMANTIC original"
    assert_found(check(tiny.write(), semantic="normalized"), ("signatures", "warning", pattern))
    assert not bad(check(tiny))


def test_negative_att_is_a_note(tiny):
    tiny.att_splits["att"][1, [2, 4]] *= -1
    findings = check(tiny.write(), semantic="normalized")
    assert not bad(findings) and "att: 2 entries are negative" in notes(findings)["signatures"]


# ---- word vectors


class Related:
    """Forty attributes in eight groups: words of a group are alike, and each class has one attribute of every group."""

    def __init__(self, root, num_classes=60):
        rng = np.random.default_rng(4)
        group = np.repeat(np.arange(8), 5)
        self.vectors = rng.normal(size=(8, 12))[group] + 0.3 * rng.normal(size=(40, 12))
        self.data = TinyData(root, num_attributes=40)
        chosen = rng.integers(5, size=(num_classes, 8)) + 5 * np.arange(8)
        self.signatures = rng.uniform(0, 20, (num_classes, 40))
        np.put_along_axis(self.signatures, chosen, rng.uniform(60, 100, chosen.shape), 1)
        labels = np.arange(1, 2 * num_classes + 1)
        labels = np.where(labels > num_classes, labels - num_classes, labels)
        images, half = np.arange(1, 2 * num_classes + 1), num_classes // 2
        self.data.res101 = {"labels": column(labels), "features": rng.normal(size=(3, len(labels)))}
        self.data.att_splits = {
            "original_att": self.signatures.T,
            TRAINVAL: column(images[:half]),
            TEST_SEEN: column(images[num_classes : num_classes + half]),
            TEST_UNSEEN: column(images[half:num_classes]),
        }
        self.data.write()

    def check(self, vectors):
        folder = self.data.root / "Attribute" / "w2v"
        folder.mkdir(parents=True, exist_ok=True)
        np.save(folder / "TINY_attribute.npy", vectors)
        files = read_xlsa(self.data.root, "TINY")
        return check_word_vectors(files, folder, "TINY") + check_word_order(files, folder, "TINY")


@pytest.fixture
def related(tmp_path):
    return Related(tmp_path)


def test_right_order(related):
    assert [(f.check, f.level) for f in related.check(related.vectors)] == [
        ("word vectors", "ok"),
        ("word order", "ok"),
    ]


@pytest.mark.parametrize("seed", range(5))
def test_shuffled_order(related, seed):
    shuffled = np.random.default_rng(100 + seed).permutation(related.vectors)
    assert_found(
        related.check(shuffled), ("word order", "warning", "no better than a random order .*is row k the word")
    )


@pytest.mark.parametrize(("shift", "cure"), [(1, "k[+]1"), (-1, "k-1")])
def test_shifted_order(related, shift, cure):
    """A header taken for a row moves all others by one."""
    findings = related.check(np.roll(related.vectors, shift, axis=0))
    assert_found(findings, ("word order", "warning", f"they fit better if attribute k takes row {cure} "))


def test_order_is_not_judged_from_few(tmp_path):
    few = Related(tmp_path, num_classes=8)
    findings = few.check(few.vectors[::-1])
    assert not bad(findings) and "not judged" in notes(findings)["word order"]


def test_zero_and_repeated_words(related):
    related.vectors[[3, 7]] = 0
    related.vectors[20] = related.vectors[22]
    assert_found(
        related.check(related.vectors),
        ("word vectors", "warning", "2 rows are zero, .*: 4, 8$"),
        ("word vectors", "warning", r"2 attributes share theirs with another, e\.g\. attributes 21, 23: "),
    )


@pytest.mark.parametrize(
    ("change", "said"),
    [(lambda v: v[:-1], "39 rows for 40 attributes"), (lambda v: np.where(v > 2, np.nan, v), "NaN or infinity")],
)
def test_unfit_word_vectors(related, change, said):
    assert_found(related.check(change(related.vectors)), ("word vectors", "error", said))


def test_missing_word_vectors(tiny):
    words = tiny.root / "Attribute" / "w2v"
    assert_found(check(tiny.write(), words=words), ("word vectors", "error", "word vectors are missing: neither"))


def test_order_fit_is_a_loop_over_pairs():
    rng = np.random.default_rng(0)
    vectors, signatures = rng.normal(size=(7, 4)), rng.normal(size=(9, 7))
    for order in (np.arange(7), rng.permutation(7)):
        taken = (vectors - vectors.mean(0))[order]
        words, attributes = [], []
        for i in range(7):
            for j in range(i):
                words.append(taken[i] @ taken[j] / np.linalg.norm(taken[i]) / np.linalg.norm(taken[j]))
                attributes.append(abs(np.corrcoef(signatures[:, i], signatures[:, j])[0, 1]))
        assert order_fit(vectors, signatures, [order])[0] == pytest.approx(np.corrcoef(words, attributes)[0, 1])


def test_order_fit_of_constant_attributes_and_equal_words_is_finite():
    signatures = np.ones((9, 7))
    assert order_fit(np.ones((7, 4)), signatures, [np.arange(7)]).tolist() == [0]


# ---- ImageNet


@pytest.mark.parametrize(
    ("name", "plain"),
    [
        ("001.Black_footed_Albatross", "black footed albatross"),
        ("014.Indigo_Bunting", "indigo bunting"),
        ("killer+whale", "killer whale"),
        ("Yellow lady's slipper", "yellow lady s slipper"),
        ("007", "007"),
        ("2_wheeler", "wheeler"),
        ("4x4", "4x4"),
    ],
)
def test_plain_names(name, plain):
    assert plain_name(name) == plain


def with_names(tiny, unseen):
    names = ["persian+cat", unseen[0], "class_3", "zebra", unseen[1], "class_6"]
    tiny.att_splits["allclasses_names"] = write_cells(names)
    return tiny.write()


def test_unseen_classes_of_imagenet(tiny):
    with_names(tiny, ["002.Indigo_Bunting", "Killer+Whale"])
    expected = (
        "2 unseen classes are ImageNet-1k classes, the backbone starts from .*: 002.Indigo_Bunting, Killer[+]Whale$"
    )
    assert_found(check(tiny), ("ImageNet", "warning", expected))
    expected = "if MODEL.BACKBONE.WEIGHTS are ImageNet weights"
    assert_found(check(tiny, weights="file"), ("ImageNet", "warning", expected))
    findings = check(tiny, weights="features")
    assert (
        not bad(findings) and "2 unseen classes are ImageNet-1k classes, if an ImageNet" in notes(findings)["ImageNet"]
    )
    assert "ImageNet" not in {f.check for f in check(tiny, weights=None)}


def test_kin_of_imagenet_classes_are_a_note(tiny):
    findings = check(with_names(tiny, ["fox", "Great_White_Pelican"]))
    said = notes(findings)["ImageNet"]
    assert not bad(findings)
    assert re.search(
        r"2 unseen .*: fox \(red fox, kit fox, Arctic fox, grey fox\), Great_White_Pelican \(pelican\)", said
    )
    assert "(2 of 4 seen are)" in next(f.message for f in findings if (f.check, f.level) == ("ImageNet", "ok"))


def test_no_plurals_and_no_parts_of_words(tiny):
    findings = check(with_names(tiny, ["zebras", "mousetrapper"]))
    assert not bad(findings) and "ImageNet" not in notes(findings)


def test_no_class_names(tiny):
    del tiny.att_splits["allclasses_names"]
    findings = check(tiny.write())
    assert not bad(findings) and "no allclasses_names" in notes(findings)["ImageNet"]


# ---- findings


def test_finding_refuses_unknown_levels():
    with pytest.raises(ValueError, match="level is 'fatal', expected one of ok, note, warning, error"):
        Finding("files", "fatal", "")


def test_listed():
    assert listed([1, 2, 3], 3) == "1, 2, 3" and listed([1, 2, 3], 2) == "1, 2 and 1 more" and listed([]) == ""


@pytest.mark.parametrize(("level", "sound"), [("note", True), ("warning", False), ("error", False)])
def test_unless_worse(level, sound):
    finding = Finding("a", level, "b")
    assert unless_worse("a", "fine", [finding]) == [Finding("a", "ok", "fine")] * sound + [finding]


# ---- the real files


ZERO_WORD = ("word vectors", "warning", "1 rows are zero")


@pytest.mark.long
@pytest.mark.parametrize(("name", "expected"), [("CUB", []), ("CUB50", []), ("AWA2", []), ("SUN", [ZERO_WORD])])
def test_real_files_are_sound(shared_data, name, expected):
    """But for one attribute of SUN without a word vector, and for images and features, which are not all at hand."""
    files = read_xlsa(shared_data, name)
    findings = examine(files, name, shared_data / "nowhere", shared_data / "Attribute" / "w2v", "imagenet")
    assert_found([f for f in findings if f.check != "images"], *expected)
    assert ("word order", "ok") in [(f.check, f.level) for f in findings]


@pytest.mark.parametrize("name", ["CUB", "AWA2", "SUN"])
def test_real_word_vectors_in_another_order(shared_data, tmp_path, name):
    files = read_xlsa(shared_data, name)
    vectors = np.load(shared_data / "Attribute" / "w2v" / f"{name}_attribute.pkl", allow_pickle=True, encoding="latin1")
    for other in (np.random.default_rng(1).permutation(vectors), np.roll(vectors, 1, 0), np.roll(vectors, -1, 0)):
        np.save(tmp_path / f"{name}_attribute.npy", other)
        assert [f.level for f in check_word_order(files, tmp_path, name)] == ["warning"]


@pytest.fixture
def copied(shared_data, tmp_path):
    """``copied(target, source, number)``: AWA2's real files with ``number`` rows of ``source`` added to ``target``."""

    def copy(target, source, number):
        folder = tmp_path / "xlsa17" / "data" / "AWA2"
        shutil.copytree(shared_data / "xlsa17" / "data" / "AWA2", folder, copy_function=shutil.copyfile)
        content = scipy.io.loadmat(folder / "att_splits.mat")
        content[target] = np.concatenate([content[target].astype(int), content[source][:number].astype(int)])
        folder.chmod(0o755)
        scipy.io.savemat(folder / "att_splits.mat", {key: content[key] for key in content if key[0] != "_"})
        return [f for f in examine(read_xlsa(tmp_path, "AWA2"), "AWA2", tmp_path) if f.check == "splits"]

    return copy


@pytest.mark.long
def test_real_split_with_test_seen_images_in_train(copied):
    findings = copied("train_loc", TEST_SEEN, 3000)
    pattern = "of the 19187 images of train_loc, 3000 are in test_seen_loc: REZSL leaves them out"
    assert_found(findings, ("splits", "warning", pattern))


@pytest.mark.long
def test_real_split_with_unseen_images_in_val(copied):
    assert_found(
        copied("val_loc", TEST_UNSEEN, 7), ("splits", "error", "of the 7347 .* of val_loc, 7 are in test_unseen")
    )


@pytest.mark.long
def test_real_split_with_unseen_images_in_trainval(copied):
    assert_found(
        copied("trainval_loc", TEST_UNSEEN, 7),
        ("splits", "error", "trainval_loc and test_unseen_loc share 7 images"),
        ("splits", "error", "1 classes are seen and unseen"),
    )


def test_real_photographs(shared_data, tmp_path):
    """Forty of them, two of which are one: a bird of trainval comes back in test_unseen."""
    files = read_xlsa(shared_data, "CUB50")
    some = [*files.images("trainval")[:35], *files.images("test_unseen")[:5]]
    root = shared_data / "CUB"
    for i in some:
        tail = files.image_files[i].split("MSc/")[1]
        (tmp_path / tail).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(root / tail, tmp_path / tail)
    tails = [files.image_files[i].split("MSc/")[1] for i in (some[0], some[-1])]
    shutil.copyfile(tmp_path / tails[0], tmp_path / tails[1])
    assert Image.open(tmp_path / tails[1]).size
    findings = [f for f in examine(files, "CUB50", tmp_path) if f.check in ("images", "duplicates")]
    total = sum(len(files.rows[part]) for part in ("trainval", "test_seen", "test_unseen"))
    assert_found(
        findings,
        ("images", "error", f"^{total - 40} of {total} images are not under {tmp_path}"),
        ("duplicates", "warning", f"^1 of 592 test_unseen images have .*{tails[0].split('/')[-1]} = .*; 0.17%"),
    )
