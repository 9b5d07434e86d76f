"""MATLAB files: what SciPy reads is read the same, and what is damaged is refused in one line."""

import io
import re
import struct
import tracemalloc
import zlib
from contextlib import suppress

import numpy as np
import pytest
import scipy.io
import scipy.sparse
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from stand_ins import TinyData, write_cells

from REZSL.data import mat5
from REZSL.data.matfile import MatFile
from REZSL.data.splits import load_split
from REZSL.utils.errors import DataError

TYPES = ("f8", "f4", "i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8")


def write(path, content, compressed=False):
    scipy.io.savemat(path, content, do_compression=compressed)
    return path


def read(path, *keys):
    return MatFile(path, keys or ("x",)).content


def assert_same(found, expected):
    assert found.shape == expected.shape
    if expected.dtype == object:
        for one, other in zip(found.flat, expected.flat, strict=True):
            assert_same(one, other)
    else:
        assert found.dtype == expected.dtype or expected.dtype.kind == "U"
        assert found.tolist() == expected.tolist()


# ---- what is read: as SciPy does


numbers = st.sampled_from(TYPES).flatmap(
    lambda dtype: hnp.arrays(dtype, hnp.array_shapes(min_dims=2, max_dims=3, min_side=0, max_side=4))
)
texts = st.text(st.characters(min_codepoint=32, max_codepoint=0x24F, exclude_characters=" "), min_size=1, max_size=9)
cells = st.lists(st.one_of(texts, numbers), min_size=1, max_size=5).map(write_cells)


@settings(max_examples=60, deadline=None)
@given(st.one_of(numbers, cells, texts), st.booleans(), st.sampled_from(["5", "deflated"]))
def test_everything_is_read_as_scipy_reads_it(tmp_path_factory, value, other, form):
    path = tmp_path_factory.getbasetemp() / "any.mat"
    write(path, {"before": np.eye(2), "x": value, **({"y": [[1.0]]} if other else {})}, form == "deflated")
    file = MatFile(path, ("x",))
    expected = scipy.io.loadmat(path)
    assert file.names == [key for key in expected if key[0] != "_"] and list(file.content) == ["x"]
    if np.asarray(value).dtype.kind not in "fc" or np.isfinite(value).all():
        assert_same(file.content["x"], expected["x"])


def test_a_matrix_of_letters_has_a_text_in_each_row(tmp_path):
    path = write(tmp_path / "x.mat", {"x": np.array(["cat", "horse", "ox"])})
    assert MatFile(path, ("x",)).strings("x") == ("cat", "horse", "ox")


def test_a_file_of_the_other_byte_order(tmp_path):
    """Written by hand from the format's description: one matrix 2 x 1 of float64."""

    def element(kind, content):
        return struct.pack(">II", kind, len(content)) + content.ljust(-(-len(content) // 8) * 8, b"\0")

    parts = [(6, struct.pack(">II", 6, 0)), (5, struct.pack(">ii", 2, 1)), (1, b"x"), (9, struct.pack(">dd", 1.5, -2))]
    matrix = b"".join(element(*part) for part in parts)
    path = tmp_path / "x.mat"
    path.write_bytes(b"MATLAB 5.0 MAT-file".ljust(124) + b"\x01\x00MI" + element(14, matrix))
    assert read(path)["x"].tolist() == [[1.5], [-2.0]]


@pytest.mark.parametrize(
    ("value", "said"),
    [
        (scipy.sparse.eye(3).tocsc(), "x is a sparse array, which is not read: save x as a full array"),
        ({"a": 1.0}, "x is a struct, which is not read: save it as numbers, text or cells"),
        (np.array([[1 + 2j]]), "x is an array of complex numbers, which is not read"),
    ],
)
def test_what_is_not_read_is_named_when_it_is_asked_for(tmp_path, value, said):
    file = MatFile(write(tmp_path / "x.mat", {"x": value, "y": [[1.0]]}), ("x", "y"))
    assert file["y"].tolist() == [[1.0]]
    with pytest.raises(DataError, match=re.escape(f"{file.path}: {said}")):
        file["x"]


def test_sparse_features_are_named(tiny):
    tiny.res101["features"] = scipy.sparse.csc_array(tiny.res101["features"])
    with pytest.raises(DataError, match=r"res101\.mat: features is a sparse array, .*save features as a full array"):
        load_split(tiny.write().root, "TINY", with_features=True)
    assert load_split(tiny.root, "TINY").features is None


# ---- what is damaged


def sources():
    """Small files of every kind of variable."""
    data = TinyData("nowhere")
    odd = {"s": {"a": np.arange(3)}, "x": write_cells("abc"), "p": scipy.sparse.eye(4).tocsc(), "t": "text"}
    files = []
    for content in (data.res101, data.att_splits, odd):
        for compressed in (False, True):
            buffer = io.BytesIO()
            scipy.io.savemat(buffer, content, do_compression=compressed)
            files.append((buffer.getvalue(), tuple(content)))
    return files


def mutated(content, rng):
    """``content`` with one to three bytes or tags changed, mostly of those that describe it."""
    content = bytearray(content)
    for _ in range(rng.integers(1, 4)):
        place = int(rng.integers(128, min(len(content), 4000)))
        if rng.random() < 0.7:
            content[place] = rng.integers(256)
        else:
            words = [b"\xff\xff\xff\xff", b"\xff\xff\xff\x7f", b"\0\0\0\0", b"\x0e\0\0\0", b"\x0f\0\0\0", b"\1\0\0\0"]
            content[place & ~3 : (place & ~3) + 4] = words[rng.integers(len(words))]
    return bytes(content)


@pytest.mark.parametrize("tried", [400, pytest.param(6_000, marks=pytest.mark.slow)])
def test_no_changed_file_ends_the_process_or_takes_memory(tmp_path, tried):
    """One in thirty of such files ended in a segmentation fault in SciPy's reader (1.17)."""
    rng, files, path = np.random.default_rng(0), sources(), tmp_path / "x.mat"
    refused = 0
    tracemalloc.start()
    for number in range(tried):
        content, keys = files[number % len(files)]
        path.write_bytes(mutated(content, rng))
        try:
            file = MatFile(path, keys)
        except DataError as error:
            refused += str(path) in str(error) and "\n" not in str(error)
            continue
        for key in file.content:
            for read in (file.strings, file.integers):
                with suppress(DataError):
                    read(key)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert refused > tried / 4 and peak < 20e6


@pytest.mark.parametrize("declared", [8_000_000, 3_000_000_000, 100])
def test_a_deflated_variable_is_not_inflated_beyond_reason(tmp_path, monkeypatch, declared):
    """8 MB of zeros in 8 kB; whatever it declares."""
    monkeypatch.setattr(mat5, "LEAST_BYTES", 1 << 20)
    named = struct.pack("<IIIIIIii", 6, 8, 6, 0, 5, 8, 1, 1) + struct.pack("<HH4s", 1, 1, b"x")
    matrix = zlib.compress(struct.pack("<II", 14, declared) + named + bytes(8_000_000))
    path, head = tmp_path / "x.mat", b"MATLAB 5.0 MAT-file".ljust(124) + b"\x00\x01IM"
    path.write_bytes(head + struct.pack("<II", 15, len(matrix)) + matrix)
    tracemalloc.start()
    said = "element declares|deflated bytes declare" if declared > 100 else "elements of kind 0"
    with pytest.raises(DataError, match=said):
        read(path)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 1e6


@pytest.mark.parametrize(
    ("dimensions", "said"),
    [
        ((100_000, 10_000), "1000000000 cells in "),
        ((2**31 - 1, 2**31 - 1), "4611686014132420609 cells in "),
        ((-1, 3), r"a variable has the dimensions \(-1, 3\)"),
        ((4, 1), "a variable ends before its content"),
    ],
)
def test_cells_are_counted_before_there_is_room_for_them(tmp_path, dimensions, said):
    path = write(tmp_path / "x.mat", {"x": write_cells("abc")})
    content = path.read_bytes()
    assert content.count(struct.pack("<ii", 3, 1)) == 1
    path.write_bytes(content.replace(struct.pack("<ii", 3, 1), struct.pack("<ii", *dimensions)))
    with pytest.raises(DataError, match=said):
        read(path)


def test_cells_within_cells_without_end(tmp_path):
    value = "deep"
    for _ in range(8):
        value = write_cells([value])
    with pytest.raises(DataError, match="cells deep"):
        read(write(tmp_path / "x.mat", {"x": value}))


def test_a_name_twice(tmp_path):
    path = write(tmp_path / "x.mat", {"x": [[1.0]]})
    path.write_bytes(path.read_bytes() + path.read_bytes()[128:])
    with pytest.raises(DataError, match="it holds 'x' twice"):
        read(path)


@pytest.mark.parametrize("content", [b"", b"<html>404: not found</html>" * 20, b"version https://git-lfs\n" * 9])
def test_no_matlab_file(tmp_path, content):
    path = tmp_path / "x.mat"
    path.write_bytes(content)
    with pytest.raises(DataError, match=r"x\.mat cannot be read.*: it is no MATLAB file of the formats -v6, -v7"):
        read(path)


# ---- whole numbers


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ([[1e300]], "got 1e[+]300"),
        ([[np.inf]], "got inf"),
        ([[np.nan]], "got nan"),
        ([[0.5]], "got 0.5"),
        (np.array([[2**63]], np.uint64), "got 9223372036854775808"),
        (np.array([[-(2**63)]], np.int64), "got -9223372036854775808"),
        ("one", "got text"),
        (write_cells("ab"), "got cells"),
    ],
)
def test_what_is_no_whole_number(tmp_path, values, said):
    with pytest.raises(DataError, match=rf"x\.mat: x must hold whole numbers, {said}"):
        MatFile(write(tmp_path / "x.mat", {"x": values}), ("x",)).integers("x")
