import builtins
import os
import pickle
import re

import numpy as np
import pytest

from REZSL.data import load_attribute_embeddings, semantics
from REZSL.data.semantics import embeddings_folder
from REZSL.utils.errors import DataError

VECTORS = np.random.default_rng(0).normal(size=(5, 7))


def refusal(folder, num_attributes=5):
    """The one-line text of the DataError."""
    with pytest.raises(DataError) as caught:
        load_attribute_embeddings(folder, "X", num_attributes)
    text = str(caught.value)
    assert "\n" not in text and str(folder / "X_attribute") in text
    return text


# ---- what is read


@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
def test_pickled_array(tmp_path, protocol, order):
    (tmp_path / "X_attribute.pkl").write_bytes(pickle.dumps(np.asarray(VECTORS, order=order), protocol))
    found = load_attribute_embeddings(tmp_path, "X", 5)
    assert np.array_equal(found, VECTORS.astype(np.float32)) and found.dtype == np.float32


@pytest.mark.parametrize("module", [b"numpy.core", b"numpy._core"])
def test_pickles_of_both_numpy_generations(tmp_path, module):
    """NumPy 2 renamed the module that a pickle names."""
    content = pickle.dumps(VECTORS, 2).replace(b"numpy._core", b"numpy.core").replace(b"numpy.core", module)
    (tmp_path / "X_attribute.pkl").write_bytes(content)
    assert np.array_equal(load_attribute_embeddings(tmp_path, "X", 5), VECTORS.astype(np.float32))


@pytest.mark.parametrize("dtype", [np.float64, np.float32, np.float16, ">f8", np.int64, np.uint8])
def test_npy_of_any_numeric_type(tmp_path, dtype):
    values = np.arange(10).reshape(5, 2).astype(dtype)
    np.save(tmp_path / "X_attribute.npy", values)
    found = load_attribute_embeddings(tmp_path, "X", 5)
    assert found.dtype == np.float32 and found.tolist() == values.astype(float).tolist()


@pytest.mark.parametrize(("name", "rows"), [("CUB", 312), ("AWA2", 85), ("SUN", 102)])
def test_real_word_vectors(shared_data, name, rows):
    path = shared_data / "Attribute" / "w2v" / f"{name}_attribute.pkl"
    if not path.is_file():
        pytest.skip("the word vectors are not at hand")
    found = load_attribute_embeddings(path.parent, name, rows)
    assert found.shape == (rows, 300)
    with open(path, "rb") as file:
        assert np.array_equal(found, np.asarray(pickle.load(file, encoding="latin1"), np.float32))


# ---- what is refused


class Executes:
    """Calls ``function(*args)`` when it is unpickled carelessly."""

    def __init__(self, function, *args):
        self.call = function, args

    def __reduce__(self):
        return self.call


@pytest.mark.parametrize("protocol", [0, 2, 3, 4, 5])
@pytest.mark.parametrize("place", ["alone", "in an array", "beside an array"])
def test_a_pickle_that_would_execute_is_refused(tmp_path, protocol, place):
    mark = tmp_path / "executed"
    calls = [
        (os.system, f"touch {mark}"),
        (builtins.eval, f"open({str(mark)!r}, 'w')"),
        (np.ndarray.tofile, VECTORS, str(mark)),
        (np.fromfile, str(mark)),
    ]
    for function, *args in calls:
        evil = Executes(function, *args)
        content = {"alone": evil, "in an array": np.array([evil], object), "beside an array": [VECTORS, evil]}[place]
        (tmp_path / "X_attribute.pkl").write_bytes(pickle.dumps(content, protocol))
        assert "only plain NumPy arrays are read" in refusal(tmp_path)
        assert not mark.exists()


def with_entry(row, value):
    vectors = VECTORS.copy()
    vectors[row, 2] = value
    return vectors


def test_an_npy_that_would_execute_is_refused(tmp_path):
    mark = tmp_path / "executed"
    np.save(tmp_path / "X_attribute.npy", np.array([[Executes(os.system, f"touch {mark}")]] * 5), allow_pickle=True)
    assert "X_attribute.npy cannot be read as an array" in refusal(tmp_path)
    assert not mark.exists()


@pytest.mark.parametrize("suffix", ["pkl", "npy"])
@pytest.mark.parametrize(
    ("values", "said"),
    [
        (VECTORS[:4], "has 4 rows for 5 attributes"),
        (VECTORS[0], r"must hold a numeric array \(K, E\), got float64 \(7,\)"),
        (VECTORS[None], r"must hold a numeric array \(K, E\), got float64 \(1, 5, 7\)"),
        (VECTORS > 0, r"must hold a numeric array \(K, E\), got bool \(5, 7\)"),
        (VECTORS + 1j, r"must hold a numeric array \(K, E\), got complex128"),
        (np.array([["a"]] * 5), r"must hold a numeric array \(K, E\), got <U1"),
        (with_entry(3, np.nan), "row 3 holds NaN or infinity"),
        (with_entry(4, -np.inf), "row 4 holds NaN or infinity"),
        (VECTORS.astype(object), r"must hold a numeric array \(K, E\), got object|cannot be read as an array"),
    ],
)
def test_what_is_no_finite_matrix_of_the_right_size_is_refused(tmp_path, suffix, values, said):
    if suffix == "pkl":
        (tmp_path / "X_attribute.pkl").write_bytes(pickle.dumps(values))
    else:
        np.save(tmp_path / "X_attribute.npy", values)
    assert re.search(rf"X_attribute\.{suffix}:? ({said})", refusal(tmp_path))


@pytest.mark.parametrize("content", [[[1.0, 2.0]] * 5, None, "text"])
def test_a_pickle_of_something_else_is_refused(tmp_path, content):
    (tmp_path / "X_attribute.pkl").write_bytes(pickle.dumps(content))
    assert f"must hold a numeric array (K, E), got {type(content).__name__}" in refusal(tmp_path)


@pytest.mark.parametrize("suffix", ["pkl", "npy"])
@pytest.mark.parametrize("size", [0, 1, 20, 150])
def test_a_truncated_file_is_named(tmp_path, suffix, size):
    np.save(tmp_path / "whole.npy", VECTORS)
    content = pickle.dumps(VECTORS) if suffix == "pkl" else (tmp_path / "whole.npy").read_bytes()
    (tmp_path / f"X_attribute.{suffix}").write_bytes(content[:size])
    assert f"X_attribute.{suffix} cannot be read as an array" in refusal(tmp_path)


def test_missing_file_is_named_with_the_ways_out(tmp_path):
    text = refusal(tmp_path)
    for part in ("X_attribute.npy", "X_attribute.pkl", "MODEL.ATTENTION.W2V_PATH", "MODEL.ATTENTION.EMBEDDING learned"):
        assert part in text


# ---- where they lie


def test_folder_rule(tmp_path, monkeypatch):
    """The published absolute folder counts only where it exists."""
    under_root = tmp_path / "Attribute" / "w2v"
    assert embeddings_folder("", tmp_path) == under_root
    assert embeddings_folder("/my/own/folder", tmp_path) == type(tmp_path)("/my/own/folder")
    published = tmp_path / "published"
    assert semantics.PUBLISHED_FOLDER == "/Dataset/Attribute/w2v"
    monkeypatch.setattr(semantics, "PUBLISHED_FOLDER", str(published))
    assert embeddings_folder(f"{published}/", tmp_path) == under_root
    published.mkdir()
    assert embeddings_folder(f"{published}/", tmp_path) == published
