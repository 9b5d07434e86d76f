"""Arrays out of files that may say anything."""

import io
import pickle
import re
import struct
import tracemalloc

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from REZSL.data.array_file import read_array

VECTORS = np.random.default_rng(0).normal(size=(5, 7))
# what Python 2 with NumPy 1 wrote, after its own description: module names, text for bytes, protocols 0 and 2
HEAD_2 = (
    b"\x80\x02cnumpy.core.multiarray\n_reconstruct\nq\x01cnumpy\nndarray\nq\x02K\x00\x85q\x03U\x01bq\x04\x87q\x05Rq\x06"
)
TYPE_2 = (
    b"cnumpy\ndtype\nq\x07U\x02f8q\x08K\x00K\x01\x87q\x09Rq\x0a"
    b"(K\x03U\x01<q\x0bNNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb"
)


def python_2(shape, data, type_=TYPE_2):
    size = struct.pack("<I", len(data))
    return HEAD_2 + b"(K\x01K%cK%c\x86" % shape + type_ + b"\x89T" + size + data + b"tb."


def read(tmp_path, content, suffix="pkl"):
    path = tmp_path / f"x.{suffix}"
    path.write_bytes(content)
    return read_array(path)


def refusal(tmp_path, content, suffix="pkl"):
    tracemalloc.start()
    with pytest.raises(ValueError) as caught:
        read(tmp_path, content, suffix)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 5e6 and len(str(caught.value)) < 300
    return str(caught.value)


def npy(array):
    file = io.BytesIO()
    np.save(file, array)
    return file.getvalue()


# ---- what is read


@settings(max_examples=80, deadline=None)
@given(
    hnp.arrays(st.sampled_from(["f8", "f4", ">f8", "i4", "u1", "?"]), hnp.array_shapes(max_side=4)),
    st.sampled_from([0, 1, 2, 3, 4, 5]),
    st.sampled_from([b"numpy.core", b"numpy._core"]),
    st.sampled_from("CF"),
)
def test_arrays_of_every_protocol_and_numpy(tmp_path_factory, array, protocol, module, order):
    """NumPy 2 renamed the module that a pickle names."""
    content = pickle.dumps(np.asarray(array, order=order), protocol)
    if protocol < 4:  # later ones say how long the name is
        content = content.replace(b"numpy._core", b"numpy.core").replace(b"numpy.core", module)
    found = read(tmp_path_factory.getbasetemp(), content)
    assert found.dtype == array.dtype and found.shape == array.shape and found.tobytes() == array.tobytes()


def test_an_array_of_python_2(tmp_path):
    assert np.array_equal(read(tmp_path, python_2((5, 7), VECTORS.tobytes())), VECTORS)


@pytest.mark.parametrize("protocol", [0, 2, 3, 4, 5])
def test_line_feeds_that_became_cr_lf_are_undone_where_the_sizes_agree(tmp_path, protocol):
    values = np.arange(2570, 2570 + 10).reshape(5, 2)  # 2570 is two line feeds
    content = pickle.dumps(values, protocol)
    assert np.array_equal(read(tmp_path, content.replace(b"\n", b"\r\n")), values)


def test_an_npy_whose_line_feeds_became_cr_lf(tmp_path):
    assert np.array_equal(read(tmp_path, npy(VECTORS).replace(b"\n", b"\r\n"), "npy"), VECTORS)


@pytest.mark.parametrize("suffix", ["pkl", "npy"])
def test_line_feeds_that_cannot_be_told_from_the_array_are_named(tmp_path, suffix):
    values = np.frombuffer(b"\r\n\r\n\n\n\n\n" * 10, np.float64).reshape(5, 2)
    content = pickle.dumps(values) if suffix == "pkl" else npy(values)
    damaged = re.sub(rb"(?<!\r)\n", b"\r\n", content)  # by something that leaves CR LF alone
    assert "its line feeds became CR LF: fetch it again, as binary" in refusal(tmp_path, damaged, suffix)


# ---- what is not believed


def test_the_object_pointers_of_a_forged_state_are_never_followed(tmp_path):
    """NumPy restores an array of objects from raw bytes, as pointers; here NumPy restores nothing."""
    objects = TYPE_2.replace(b"f8", b"O8").replace(b"K\x00tb", b"K?tb")
    content = python_2((1, 1), struct.pack("<Q", 0x4141414141414141), objects)
    assert "an array of the type '<O8': only plain NumPy arrays are read" in refusal(tmp_path, content)


@pytest.mark.parametrize("shape", [(5, 6), (255, 255), (0, 7), (5, 8)])
def test_a_shape_that_the_bytes_do_not_fill(tmp_path, shape):
    said = refusal(tmp_path, python_2(shape, VECTORS.tobytes()))
    assert said == f"its array of float64 {shape} has {VECTORS.nbytes} bytes"


@pytest.mark.parametrize(
    "content",
    [
        b"\x80\x04\x8e" + struct.pack("<Q", 24_000_000_000) + b"abc.",  # BINBYTES8
        b"\x80\x05\x96" + struct.pack("<Q", 24_000_000_000) + b"abc.",  # BYTEARRAY8
        b"\x80\x04\x95" + struct.pack("<Q", 24_000_000_000) + b"K\x01.",  # FRAME
        b"\x80\x03B" + struct.pack("<I", 2**32 - 1) + b"abc.",  # BINBYTES
        b"\x80\x03K\x01r" + struct.pack("<I", 2**31 - 1) + b".",  # LONG_BINPUT: a memo of 2^31 places
        b"K\x01p99999999999\n.",  # PUT
        b"\x80\x03](" + b"2" * 10 + b"e.",  # DUP of nothing that is there
    ],
)
def test_sizes_are_compared_with_what_is_there(tmp_path, content):
    refusal(tmp_path, content)


def grown(times):
    """A tuple that holds the last one twice, ``times`` times: 2^times leaves in a few bytes."""
    return b"\x80\x02K\x00" + b"2\x86" * times


@pytest.mark.parametrize("place", ["type", "order", "shape", "dtype"])
def test_what_grows_when_it_is_written_out_is_never_written_out(tmp_path, place):
    bomb = grown(40)[2:]
    type_, shape = TYPE_2, b"K\x05K\x07\x86"
    if place == "type":
        type_ = TYPE_2.replace(b"U\x02f8q\x08", bomb)
    elif place == "order":
        type_ = TYPE_2.replace(b"U\x01<q\x0b", bomb)
    elif place == "dtype":
        type_ = bomb
    else:
        shape = bomb
    assert refusal(tmp_path, HEAD_2 + b"(K\x01" + shape + type_ + b"\x89T\x00\x00\x00\x00tb.")


def test_what_is_deep_is_never_hashed(tmp_path):
    deep = b"\x80\x02)" + b"\x85" * 100_000
    assert "it uses EMPTY_DICT: only plain NumPy arrays" in refusal(tmp_path, deep + b"}" + deep[2:] + b"K\x01s.")
    assert isinstance(read(tmp_path, deep + b"."), tuple)


@pytest.mark.parametrize(
    ("header", "said"),
    [
        ("{'descr': '<f8', 'fortran_order': False, 'shape': (3000000000, 300), }", "has 280 bytes"),
        ("{'descr': '<f8', 'fortran_order': False, 'shape': (5, 6), }", "has 280 bytes"),
        ("{'descr': '|O', 'fortran_order': False, 'shape': (35,), }", "array of the type '|O'"),
        ("{'descr': [('a', '<f8')], 'fortran_order': False, 'shape': (35,), }", "array of the type '|V8'"),
        ("{'descr': '<f8', 'fortran_order': False, 'shape': (-5, -7), }", "no tuple of sizes"),
    ],
)
def test_npy_headers_are_compared_with_what_is_there(tmp_path, header, said):
    text = header.ljust(117).encode() + b"\n"
    content = b"\x93NUMPY\x01\x00" + struct.pack("<H", len(text)) + text + VECTORS.tobytes()
    assert said in refusal(tmp_path, content, "npy")


@settings(max_examples=300, deadline=None)
@given(st.integers(0, 3), st.lists(st.tuples(st.integers(0, 399), st.integers(0, 255)), min_size=1, max_size=4))
def test_changed_bytes_are_an_array_or_an_error(tmp_path_factory, source, changes):
    contents = [pickle.dumps(VECTORS, 2), pickle.dumps(VECTORS, 5), python_2((5, 7), VECTORS.tobytes()), npy(VECTORS)]
    content = bytearray(contents[source])
    for place, value in changes:
        content[place % len(content)] = value
    path = tmp_path_factory.getbasetemp() / ("changed.npy" if source == 3 else "changed.pkl")
    path.write_bytes(content)
    tracemalloc.start()
    try:
        found = read_array(path)
        assert not isinstance(found, np.ndarray) or not found.dtype.hasobject
    except Exception as error:
        assert str(error) is not None
    finally:
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    assert peak < 5e6
