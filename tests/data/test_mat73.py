"""MATLAB 7.3 files, and the child process that reads them first."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import scipy.io
from stand_ins import write_cells

from REZSL.data import rehearsal
from REZSL.data.matfile import MatFile
from REZSL.data.rehearsal import rehearse
from REZSL.data.splits import load_split
from REZSL.utils.errors import DataError

HEAD = b"MATLAB 7.3 MAT-file".ljust(124) + b"\x00\x02IM"


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    """The user's cache folder."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache" / "rezsl" / "passed"


def write_73(path, content, compression=None):
    """Writes what MATLAB does with ``-v7.3``: axes reversed, texts as 16-bit numbers, cells as references."""
    h5py = pytest.importorskip("h5py")

    def put(name, value):
        value = np.asarray(value)
        if value.dtype == object:
            references = np.array([put(f"#refs#/{name}{i}", cell).ref for i, cell in enumerate(value.ravel())], object)
            item = file.create_dataset(name, data=references.reshape(value.T.shape), dtype=h5py.ref_dtype)
            what = "cell"
        elif value.dtype.kind == "U":
            item = file.create_dataset(name, data=np.array([[ord(c)] for c in str(value)], np.uint16))
            what = "char"
        else:
            item = file.create_dataset(name, data=np.atleast_2d(value).T, compression=compression)
            what = "double"
        item.attrs["MATLAB_class"] = np.bytes_(what)
        return item

    path.parent.mkdir(parents=True, exist_ok=True)
    with h5py.File(path, "w", userblock_size=512) as file:
        for name, value in content.items():
            put(name, value)
    with open(path, "r+b") as file:
        file.write(HEAD)
    return path


def write_tiny(tiny):
    write_73(tiny.folder / "res101.mat", tiny.res101, "gzip")
    write_73(tiny.folder / "att_splits.mat", tiny.att_splits)


def test_a_whole_data_set(tiny, tmp_path, cache):
    """The same split as from the other format; each file is read in a child, once."""
    write_tiny(tiny)
    found = load_split(tiny.root, "TINY", with_features=True)
    assert len(list(cache.iterdir())) == 2
    tiny.root = tmp_path / "other"
    expected = load_split(tiny.write().root, "TINY", with_features=True)
    for name, value in vars(expected).items():
        assert np.array_equal(getattr(found, name), value), name


def test_what_is_empty_or_not_read(tmp_path):
    path = write_73(tmp_path / "x.mat", {"x": np.eye(3), "empty": [[0, 3]]})
    h5py = pytest.importorskip("h5py")
    with h5py.File(path, "r+") as file:
        del file["empty"]
        file.create_dataset("empty", data=np.array([0, 3], np.uint64)).attrs["MATLAB_empty"] = 1
        file.create_group("sparse").attrs["MATLAB_sparse"] = 3
        file.create_group("struct")
        file["link"] = h5py.ExternalLink("/etc/passwd", "/")
    file = MatFile(path, ("x", "empty", "sparse", "struct", "link", "absent"))
    assert file["empty"].shape == (0, 3) and file["x"].tolist() == np.eye(3).tolist()
    for name, said in (("sparse", "save sparse as a full array"), ("struct", "is a struct"), ("link", "has no 'link'")):
        with pytest.raises(DataError, match=said):
            file[name]


def test_more_than_the_file_could_hold_is_not_read(tmp_path):
    path = write_73(tmp_path / "x.mat", {"x": np.eye(2)})
    h5py = pytest.importorskip("h5py")
    with h5py.File(path, "r+") as file:
        file.create_dataset("y", shape=(100_000, 10_000), dtype="f8", chunks=(1000, 100), compression="gzip")
    with pytest.raises(DataError, match=r"x\.mat cannot be read.*: a variable of 0 bytes declares 8000000000"):
        MatFile(path, ("y",))


@pytest.mark.parametrize("share", [0.3, 0.8])
def test_a_truncated_file(tiny, share):
    write_tiny(tiny)
    path = tiny.folder / "res101.mat"
    path.write_bytes(path.read_bytes()[: int(share * path.stat().st_size)])
    with pytest.raises(DataError, match=r"res101\.mat cannot be read, it may be truncated") as caught:
        load_split(tiny.root, "TINY")
    assert "\n" not in str(caught.value)


def test_without_h5py(tmp_path, monkeypatch):
    path = tmp_path / "x.mat"
    path.write_bytes(HEAD.ljust(512, b"\0") + b"\x89HDF\r\n\x1a\n".ljust(512, b"\0"))
    monkeypatch.setitem(sys.modules, "h5py", None)
    advice = r"is in MATLAB 7\.3 format, which h5py reads: pip install h5py, or save it again with '-v7'"
    with pytest.raises(DataError, match=advice):
        MatFile(path, ("x",))


# ---- the child


def put_reader(monkeypatch, tmp_path, body):
    """A reader of one's own in place of the real one."""
    reader = tmp_path / "reader.py"
    reader.write_text(f"import os, signal, sys, time\ndef read_mat73(file, wanted):\n    {body}\n")
    monkeypatch.setattr(rehearsal, "READER", reader)
    path = tmp_path / "x.mat"
    path.write_bytes(b"some content")
    return path


def test_a_reader_that_is_killed_is_one_line(tmp_path, monkeypatch, cache):
    path = put_reader(monkeypatch, tmp_path, "os.kill(os.getpid(), signal.SIGSEGV)")
    with pytest.raises(DataError, match=r"x\.mat is damaged: it kills the process that reads it \(status -11\)"):
        rehearse(path, ("x",))
    assert not cache.exists()


def test_a_reader_without_end_is_one_line(tmp_path, monkeypatch):
    monkeypatch.setattr(rehearsal, "SECONDS", 0.3)
    path = put_reader(monkeypatch, tmp_path, "time.sleep(60)")
    with pytest.raises(DataError, match=r"x\.mat: reading it does not end within 0 s"):
        rehearse(path, ("x",))


def test_what_passed_is_not_tried_again_until_it_changes(tmp_path, monkeypatch, cache):
    path = put_reader(monkeypatch, tmp_path, "open(file + '.log', 'a').write('.')")
    log = Path(f"{path}.log")
    rehearse(path, ("x", "y"))
    rehearse(path, ("y", "x"))
    assert log.read_text() == "." and len(list(cache.iterdir())) == 1
    rehearse(path, ("x",))
    os.utime(path, (1, 1))
    rehearse(path, ("x",))
    assert log.read_text() == "..."


def test_an_ordinary_error_is_left_to_this_process(tmp_path, monkeypatch, cache):
    rehearse(put_reader(monkeypatch, tmp_path, "raise ValueError"), ("x",))
    assert not cache.exists()


def test_where_nothing_can_be_written_or_started(tmp_path, monkeypatch):
    path = put_reader(monkeypatch, tmp_path, "pass")
    (tmp_path / "cache").write_text("a file in the way")
    rehearse(path, ("x",))
    monkeypatch.setattr(sys, "executable", str(tmp_path / "nothing"))
    rehearse(path, ("x",))
    assert (tmp_path / "cache").read_text() == "a file in the way"


def test_the_child_finds_what_this_process_finds_and_loads_no_torch(tmp_path):
    """It is given this process's ``sys.path``, and the reader imports nothing of the package."""
    pytest.importorskip("h5py")
    path = write_73(tmp_path / "x.mat", {"x": write_cells("ab")})
    said = {"path": sys.path, "reader": str(rehearsal.READER), "file": str(path), "wanted": ["x"]}
    code = rehearsal.CHILD + "\nprint('h5py' in sys.modules, 'torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-I", "-c", code], input=json.dumps(said), capture_output=True, text=True)
    assert done.stdout.split() == ["True", "False"], done.stderr
    assert MatFile(path, ("x",)).strings("x") == ("a", "b")


def test_the_other_formats_need_no_child(tiny, monkeypatch):
    monkeypatch.setattr(subprocess, "run", None)
    scipy.io.savemat(tiny.write().folder / "res101.mat", tiny.res101, do_compression=True)
    assert load_split(tiny.root, "TINY")
