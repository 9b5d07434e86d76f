"""Signatures: which way round, what is unknown, and in which precision."""

import numpy as np
import pytest
import scipy.io
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from stand_ins import TinyData

from REZSL.data.doctor_semantics import check_signatures
from REZSL.data.signatures import unknown_entries
from REZSL.data.splits import load_split, read_xlsa
from REZSL.utils.errors import DataError


def findings(data, semantic="original", unknown="auto"):
    return [(f.level, f.message) for f in check_signatures(read_xlsa(data.root, data.name, semantic, unknown=unknown))]


def told(found, level):
    return [message for of, message in found if of == level]


# ---- which way round


def tiny_of(root, num_attributes, names):
    data = TinyData(root, num_attributes=num_attributes)
    if not names:
        del data.att_splits["allclasses_names"]
    return data


@pytest.mark.parametrize("num_attributes", [5, 9])
@pytest.mark.parametrize("names", [True, False])
@pytest.mark.parametrize("semantic", ["original", "normalized"])
def test_signatures_the_wrong_way_round_are_refused(tmp_path, num_attributes, names, semantic):
    """With six classes: fewer attributes than classes, or more."""
    data = tiny_of(tmp_path, num_attributes, names)
    load_split(data.write().root, "TINY", semantic)
    for key in ("att", "original_att"):
        data.att_splits[key] = data.att_splits[key].T
    source = "allclasses_names" if names else "the labels"
    said = rf"att is \(6, {num_attributes}\), but {source} tell of 6 classes, which must be its columns: transpose it"
    with pytest.raises(DataError, match=said):
        load_split(data.write().root, "TINY", semantic)


def test_as_many_attributes_as_classes_cannot_be_told(tmp_path):
    data = tiny_of(tmp_path, 6, names=False)
    found = told(findings(data.write()), "warning")
    assert len(found) == 1 and "it is (6, 6), and the labels tell of 6 classes: whether the classes are its" in found[0]


def test_unit_lengths_tell_the_classes_from_as_many_attributes(tmp_path):
    data = tiny_of(tmp_path, 6, names=False)
    assert not told(findings(data.write(), "normalized"), "warning")
    data.att_splits["att"] = data.att_splits["att"].T
    found = findings(data.write(), "normalized")
    assert "its rows are of unit length, as the classes' columns should be: transpose it" in told(found, "error")[0]


@pytest.mark.parametrize(("num_attributes", "doubtful"), [(5, False), (8, True)])
def test_classes_without_images_and_without_names(tmp_path, num_attributes, doubtful):
    """Seven columns for labels that go to six: nothing is wrong where there are fewer attributes than that."""
    data = tiny_of(tmp_path, num_attributes, names=False)
    data.att_splits["original_att"] = np.random.default_rng(0).uniform(1, 9, (num_attributes, 7))
    assert bool(told(findings(data.write()), "warning")) == doubtful


# ---- what is unknown


@settings(max_examples=80, deadline=None)
@given(
    st.lists(st.sampled_from([-1.0, 1.0, 0.0, 0.5, 7.0, -0.5, -2.0]), min_size=1, max_size=12),
    st.sampled_from(["auto", "minus_one", "none"]),
)
def test_unknown_entries_are_those_of_a_loop(values, rule):
    others_negative = any(value < 0 and value != -1 for value in values)
    only_signs = all(value in (-1, 1) for value in values)
    read = rule == "minus_one" or (rule == "auto" and not others_negative and not only_signs)
    assert unknown_entries(np.array(values), rule).tolist() == [read and value == -1 for value in values]


@pytest.mark.parametrize("semantic", ["original", "normalized"])
def test_attributes_of_minus_one_and_one_are_values(tiny, semantic):
    signs = np.where(np.random.default_rng(0).random((5, 6)) < 0.5, -1.0, 1.0)
    tiny.att_splits["original_att"], tiny.att_splits["att"] = signs, signs / np.sqrt(5)
    key = {"original": "original_att", "normalized": "att"}[semantic]
    split = load_split(tiny.write().root, "TINY", semantic)
    assert np.array_equal(split.signatures, tiny.att_splits[key].T[split.class_ids].astype(np.float32))
    read = load_split(tiny.root, "TINY", semantic, unknown="minus_one")
    assert ((read.signatures == 0) == (split.signatures < 0)).all()


def test_a_note_says_what_minus_one_was_taken_for(tiny):
    signatures = tiny.att_splits["original_att"]
    signatures[1, 2] = -1
    said = told(findings(tiny.write()), "note")
    assert any("1 entries are -1 (unknown) and read as 0; DATASETS.UNKNOWN none keeps them" in line for line in said)
    said = told(findings(tiny, unknown="none"), "note")
    assert any("1 entries are -1, a value like any other; DATASETS.UNKNOWN minus_one" in line for line in said)


def unit(rows):
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


@pytest.mark.parametrize("unknown", ["auto", "minus_one", "none"])
def test_original_and_normalized_treat_the_unknown_alike(tiny, unknown):
    tiny.att_splits["original_att"][[1, 3], [2, 4]] = -1
    tiny.att_splits["att"] = unit(tiny.att_splits["original_att"].T).T
    tiny.write()
    original, normalized = (load_split(tiny.root, "TINY", s, unknown=unknown).signatures for s in SEMANTICS)
    assert np.allclose(unit(original), normalized, atol=1e-6)
    assert (original == 0).sum() == (normalized == 0).sum() == 2 * (unknown != "none")


SEMANTICS = ("original", "normalized")


def test_the_four_unknown_entries_of_awa2(shared_data):
    original, normalized = (load_split(shared_data, "AWA2", semantic).signatures for semantic in SEMANTICS)
    assert (original >= 0).all() and (normalized >= 0).all()
    assert np.allclose(unit(original), normalized, atol=1e-6)
    kept = load_split(shared_data, "AWA2", "normalized", unknown="none").signatures
    assert (kept < 0).sum() == 4 and (normalized[kept < 0] == 0).all()


def test_the_classes_of_cub_the_wrong_way_round(shared_data, tmp_path):
    content = scipy.io.loadmat(shared_data / "xlsa17" / "data" / "CUB" / "att_splits.mat")
    content = {key: content[key] for key in content if key[0] != "_" and key != "allclasses_names"}
    content |= {key: content[key].T for key in ("att", "original_att")}
    folder = tmp_path / "xlsa17" / "data" / "CUB"
    folder.mkdir(parents=True)
    (folder / "res101.mat").symlink_to(shared_data / "xlsa17" / "data" / "CUB" / "res101.mat")
    scipy.io.savemat(folder / "att_splits.mat", content)
    with pytest.raises(DataError, match=r"original_att is \(200, 312\), but the labels tell of 200 classes"):
        load_split(tmp_path, "CUB")


# ---- advice that can be followed


def test_a_file_with_att_alone_is_not_sent_back_and_forth(tiny):
    tiny.att_splits["att"] = tiny.att_splits.pop("original_att")
    with pytest.raises(DataError, match=r"has no 'original_att' but has 'att': set DATASETS\.SEMANTIC normalized"):
        load_split(tiny.write().root, "TINY")
    found = findings(tiny, "normalized")
    assert not told(found, "warning") and "SEMANTIC" not in " ".join(told(found, "note"))
    assert "6 classes are not of unit length" in told(found, "note")[0] and "no original_att" in told(found, "note")[0]


def test_sentence_embeddings_of_cub(shared_data):
    found = [(f.level, f.message) for f in check_signatures(read_xlsa(shared_data, "CUB_sent", "normalized"))]
    assert "200 classes are not of unit length" in told(found, "note")[0] and not told(found, "error")
    assert [line.split(" have one value")[0][-13:] for line in told(found, "warning")] == ["76 attributes"]


@pytest.mark.parametrize("has_files", [True, False])
def test_a_file_without_features_is_sent_to_images_only_where_it_lists_them(tiny, has_files):
    del tiny.res101["features"]
    if not has_files:
        del tiny.res101["image_files"]
    with pytest.raises(DataError, match="has no 'features': ") as caught:
        load_split(tiny.write().root, "TINY", with_features=True)
    assert ("set DATASETS.INPUT images" in str(caught.value)) == has_files


# ---- in which precision


@pytest.mark.parametrize("size", [1e-300, 1e-40, 1e-13, 1e-11, 1e18, 1e20, 1e39])
def test_signatures_that_float32_cannot_scale_to_length_one_are_refused(tiny, size):
    """What the model does to them decides."""
    tiny.att_splits["original_att"][:, 2] = size * np.arange(1, 6)
    row = torch.from_numpy(tiny.att_splits["original_att"][:, 2].astype("f8")).float()
    if abs(torch.nn.functional.normalize(row, dim=0).norm() - 1) < 1e-3:
        assert load_split(tiny.write().root, "TINY")
        return
    what = "small" if size < 1 else "large"
    said = f"original_att of class 3 class_3 is too {what} for float32, its largest value being {5 * size:.3g}: scale"
    with pytest.raises(DataError, match=said.replace("+", r"\+")):
        load_split(tiny.write().root, "TINY")
