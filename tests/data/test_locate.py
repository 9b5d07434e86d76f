"""Finding recorded images under a folder."""

import re
import unicodedata

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from REZSL.data import find_images
from REZSL.data.locate import locate_images
from REZSL.utils.errors import DataError


def touch(folder, *paths):
    for path in paths:
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).touch()


def test_longest_tail_wins(tmp_path):
    touch(tmp_path, "1.jpg", "b/1.jpg", "a/b/1.jpg", "deep/images/2.jpg")
    recorded = ["/x/a/b/1.jpg", "/x/b/1.jpg", "a/b/1.jpg", "/x/y/1.jpg", "/somebody/deep/images/2.jpg"]
    expected = ["a/b/1.jpg", "b/1.jpg", "a/b/1.jpg", "1.jpg", "deep/images/2.jpg"]
    assert find_images(recorded, tmp_path) == [tmp_path / path for path in expected]


@pytest.mark.parametrize(
    "recorded",
    [
        "/BS/xian/work/data/CUB//CUB_200_2011//images/001.A/1.jpg",
        "CUB_200_2011/images/./001.A/1.jpg",
        "C:\\data\\CUB_200_2011\\images\\001.A\\1.jpg",
        "data/../../CUB_200_2011/images/001.A/1.jpg",
        "images/..\\CUB_200_2011/images/001.A/1.jpg",
    ],
)
def test_foreign_spellings_are_understood(tmp_path, recorded):
    touch(tmp_path, "CUB_200_2011/images/001.A/1.jpg")
    assert find_images([recorded], tmp_path) == [tmp_path / "CUB_200_2011/images/001.A/1.jpg"]


@pytest.mark.parametrize(
    "recorded",
    [
        "../secret.jpg",
        "images/../../secret.jpg",
        "/x/..\\..\\secret.jpg",
        "{outside}/secret.jpg",
        "..",
        "images/..",
        "",
        "/",
    ],
)
def test_nothing_outside_the_folder_is_found(tmp_path, recorded):
    folder = tmp_path / "inside"
    touch(tmp_path, "secret.jpg", "inside/images/1.jpg")
    with pytest.raises(DataError, match="1 of 1 images are not under"):
        find_images([recorded.format(outside=tmp_path)], folder)


PARTS = st.lists(st.sampled_from(["a", "b", "..", "."]), max_size=4)


@settings(max_examples=25, deadline=None)
@given(
    files=st.lists(st.tuples(st.lists(st.sampled_from("ab"), max_size=3), st.sampled_from("xy")), min_size=1),
    recorded=st.tuples(PARTS, st.sampled_from("xy")),
    slash=st.sampled_from(["/", "//", "\\"]),
)
def test_any_path_is_found_as_a_hand_loop_finds_it(tmp_path_factory, files, recorded, slash):
    folder = tmp_path_factory.mktemp("folder")
    touch(folder, *("/".join([*parts, name]) for parts, name in files))
    parts = [part for part in [*recorded[0], recorded[1]] if part != "."]
    expected = None
    for start in range(len(parts)):  # longest tail first
        tail = folder.joinpath(*parts[start:])
        if expected is None and ".." not in parts[start:] and tail.is_file():
            expected = tail
    text = slash + slash.join([*recorded[0], recorded[1]])
    if expected:
        assert find_images([text], folder) == [expected]
    else:
        with pytest.raises(DataError):
            find_images([text], folder)


def test_missing_images_are_counted_and_the_first_is_named(tmp_path):
    touch(tmp_path, "1.jpg")
    said = rf"2 of 3 images are not under {re.escape(str(tmp_path))}, recorded as /x/2\.jpg, .*3\.jpg: .*IMAGE_ROOT"
    with pytest.raises(DataError, match=said):
        find_images(["/x/1.jpg", "/x/2.jpg", "/x/3.jpg"], tmp_path)


def test_missing_folder_is_named(tmp_path):
    with pytest.raises(DataError, match=r"the image folder .*nowhere is missing: .*DATASETS\.IMAGE_ROOT"):
        find_images(["1.jpg"], tmp_path / "nowhere")


# ---- names that are not written alike


@pytest.mark.parametrize(
    ("recorded", "there"),
    [
        ("/x/images/001.A/1.jpg", "images/001.A/1.JPG"),
        ("/x/images/001.A/1.JPG", "images/001.a/1.jpg"),
        ("C:\\Images\\1.jpg", "images/1.Jpg"),
        ("images/Grèbe/1.jpg", "images/" + unicodedata.normalize("NFD", "Grèbe") + "/1.jpg"),
        (unicodedata.normalize("NFD", "images/é.jpg"), "images/é.JPG"),
        ("images/straße.jpg", "images/STRASSE.JPG"),
    ],
)
def test_capitals_and_accents_may_differ(tmp_path, recorded, there):
    touch(tmp_path, there)
    assert find_images([recorded], tmp_path) == [tmp_path / there]


def test_a_name_as_it_is_written_goes_before_one_like_it(tmp_path):
    touch(tmp_path, "a/1.jpg", "a/1.JPG", "1.jpg")
    assert find_images(["a/1.jpg", "a/1.JPG"], tmp_path) == [tmp_path / "a/1.jpg", tmp_path / "a/1.JPG"]
    assert find_images(["A/1.jpg"], tmp_path) == [tmp_path / "1.jpg"]


def test_two_images_are_never_one_file(tmp_path):
    touch(tmp_path, "a/1.jpg", "b/1.Jpg", "b/2.JPG", "c/1.jpg", "c/1.JPG")
    found = locate_images(["a/1.jpg", "a/1.JPG", "b/1.JPG", "b/1.jpg", "b/2.jpg", "b/2.jpg", "c/1.jPG"], tmp_path)
    both = tmp_path / "b/2.JPG"
    assert found == [tmp_path / "a/1.jpg", None, None, None, both, both, None]


@pytest.mark.long
@pytest.mark.parametrize("recorded", ["a" * 300 + "/1.jpg", "a/" + "b" * 300, "a\0/1\0.jpg", "/".join("a" * 3000)])
def test_impossible_names_are_missing(tmp_path, recorded):
    touch(tmp_path, "2.jpg")
    assert locate_images(["x/2.jpg", recorded], tmp_path) == [tmp_path / "2.jpg", None]
    with pytest.raises(DataError, match="1 of 2 images are not under"):
        find_images(["x/2.jpg", recorded], tmp_path)


# ---- symbolic links


def test_links_that_lead_in_a_circle_or_nowhere_are_named(tmp_path):
    touch(tmp_path, "a/1.jpg")
    (tmp_path / "a/2.jpg").symlink_to(tmp_path / "a/2.jpg")
    (tmp_path / "a/3.jpg").symlink_to("gone.jpg")
    (tmp_path / "circle").symlink_to(tmp_path / "circle")
    for recorded, said in (
        (
            ["a/1.jpg", "a/2.jpg"],
            "recorded as a/2.jpg .*a/2.jpg is, or lies behind, a symbolic link that leads in a circle",
        ),
        (["a/1.jpg", "a/3.jpg"], "recorded as a/3.jpg .*a/3.jpg is a link to gone.jpg, which is missing"),
    ):
        with pytest.raises(DataError, match=f"1 of 2 images are not under {tmp_path}, {said}"):
            find_images(recorded, tmp_path)
    with pytest.raises(
        DataError, match=r"the image folder .*circle is, or lies behind, a symbolic link that leads in a circle: put"
    ):
        find_images(["a/1.jpg"], tmp_path / "circle")


def test_a_folder_that_links_to_itself_is_no_trouble(tmp_path):
    touch(tmp_path, "a/1.jpg")
    (tmp_path / "a/a").symlink_to(tmp_path / "a")
    assert find_images(["x/a/a/a/1.jpg"], tmp_path) == [tmp_path / "a/a/a/1.jpg"]
    assert locate_images(["A/a/1.JPG", "/".join("A" * 3000) + "/1.jpg"], tmp_path)[0] == tmp_path / "a/a/1.jpg"
