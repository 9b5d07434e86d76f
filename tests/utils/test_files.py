import os
import resource
import stat

import numpy as np
import pytest
import torch

from REZSL.utils.errors import RunError
from REZSL.utils.files import absence, atomic_path, write_text


@pytest.fixture
def no_room():
    """No file can grow beyond 100 kB: as a full disk, with other words."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, before)


def save_bytes(path):
    path.write_bytes(bytes(10**6))


def save_rows(path):
    with open(path, "wb") as file:
        np.savez(file, rows=np.zeros(10**6))


def save_tensor(path):
    torch.save({"weight": torch.zeros(10**6)}, path)  # torch tells of "unexpected pos" alone


@pytest.mark.usefixtures("no_room")
@pytest.mark.parametrize("write", [save_bytes, save_rows, save_tensor])
def test_a_full_disk_is_told_and_the_old_file_stays(tmp_path, write):
    file = tmp_path / "a.pth"
    file.write_text("old")
    with pytest.raises(RunError, match=r"^cannot write .*/a\.pth: File too large$"), atomic_path(file) as temporary:
        write(temporary)
    assert os.listdir(tmp_path) == ["a.pth"] and file.read_text() == "old"


def test_errors_of_the_code_stay_what_they_are(tmp_path):
    with pytest.raises(RuntimeError, match=r"^size mismatch$"), atomic_path(tmp_path / "a.pth"):
        raise RuntimeError("size mismatch")
    assert os.listdir(tmp_path) == []


def test_content_replaces_the_old_one(tmp_path):
    file = tmp_path / "new" / "folders" / "a.txt"
    for text in ("first", "zweiter: größer\n"):
        write_text(file, text)
        assert file.read_text(encoding="utf-8") == text
    assert os.listdir(file.parent) == ["a.txt"]


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
@pytest.mark.parametrize("old", [None, "old"])
def test_an_exception_leaves_what_was_there_and_nothing_else(tmp_path, error, old):
    file = tmp_path / "a.pth"
    if old:
        file.write_text(old)
    with pytest.raises(error), atomic_path(file) as temporary:
        temporary.write_text("half of")
        raise error
    assert os.listdir(tmp_path) == (["a.pth"] if old else [])
    assert not old or file.read_text() == old


def test_the_old_content_stays_until_the_end(tmp_path):
    file = tmp_path / "a.txt"
    file.write_text("old")
    with atomic_path(file) as temporary:
        temporary.write_text("new")
        assert file.read_text() == "old"
    assert file.read_text() == "new"


def test_the_temporary_file_lies_beside_and_keeps_the_suffix(tmp_path):
    """np.savez adds its suffix where there is none; a rename across disks would not be atomic."""
    with atomic_path(tmp_path / "a.npz") as temporary:
        assert temporary.parent == tmp_path and temporary.suffix == ".npz" and temporary.name != "a.npz"
        temporary.write_bytes(b"1")


@pytest.mark.parametrize(("umask", "mode"), [(0o022, 0o644), (0o077, 0o600)])
def test_permissions_are_those_of_any_new_file(tmp_path, umask, mode):
    before = os.umask(umask)
    try:
        write_text(tmp_path / "a.txt", "x")
        assert stat.S_IMODE((tmp_path / "a.txt").stat().st_mode) == mode
        assert os.umask(umask) == umask
    finally:
        os.umask(before)


def test_a_folder_in_the_place_is_left_alone(tmp_path):
    (tmp_path / "a" / "b").mkdir(parents=True)
    with pytest.raises(RunError, match=r"cannot write .*/a: Is a directory"):
        write_text(tmp_path / "a", "x")
    assert os.listdir(tmp_path) == ["a"] and os.listdir(tmp_path / "a") == ["b"]


def test_absence_says_what_is_in_the_way(tmp_path):
    (tmp_path / "circle").symlink_to(tmp_path / "circle")
    (tmp_path / "gone").symlink_to("nowhere")
    circle = "is, or lies behind, a symbolic link that leads in a circle"
    said = {name: absence(tmp_path / name) for name in ("circle", "circle/file", "gone", "file")}
    assert said == {
        "circle": circle,
        "circle/file": circle,
        "gone": "is a link to nowhere, which is missing",
        "file": "is missing",
    }
