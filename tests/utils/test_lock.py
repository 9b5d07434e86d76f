"""One owner at a time, whoever comes when; the dead are found out, the living are left alone."""

import json
import multiprocessing
import os
import subprocess
import sys
import threading
import time
from dataclasses import asdict, replace
from pathlib import Path

import pytest

from REZSL.utils import lock as lock_module
from REZSL.utils.errors import RunError
from REZSL.utils.lock import SILENCE, FolderLock, LockHeld, Owner

ELSEWHERE = {"host": "node7", "place": "another boot", "process": 12}
here = pytest.mark.skipif(not Owner.this_process().place, reason="processes are known by /proc")


def write_lock(folder, age=0.0, **fields):
    """A lock of somebody else, whose last sign of life is ``age`` seconds old."""
    path = folder / ".lock"
    path.write_text(json.dumps(asdict(replace(Owner.this_process(), **fields))))
    os.utime(path, (time.time() - age,) * 2)
    return path


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def test_a_lock_is_held_until_it_is_released(tmp_path):
    first, second = FolderLock(tmp_path), FolderLock(tmp_path)
    assert first.acquire() == ""
    with pytest.raises(LockHeld, match=rf"is in use by process {os.getpid()} on .* \(since 2\d\d\d-"):
        second.acquire()
    first.check()
    assert names(tmp_path) == [".lock"]
    second.release()  # of nothing
    assert names(tmp_path) == [".lock"]
    first.release()
    assert names(tmp_path) == []
    assert second.acquire() == ""
    second.release()


def compete(folder, start, owners, index):
    start.wait()
    lock = FolderLock(folder)
    try:
        lock.acquire()
    except LockHeld:
        owners[index] = 0
    else:
        owners[index] = 1


@pytest.mark.parametrize("left", ["nothing", "a dead owner", "an owner elsewhere", "an empty file"])
def test_of_many_threads_one_gets_it(tmp_path, left):
    for attempt in range(20):
        folder = tmp_path / str(attempt)
        folder.mkdir()
        if left == "a dead owner":
            write_lock(folder, process=2**30)
        elif left == "an owner elsewhere":
            write_lock(folder, age=2 * SILENCE, **ELSEWHERE)
        elif left == "an empty file":
            write_lock(folder).write_text("")
            os.utime(folder / ".lock", (0, 0))
        start, owners = threading.Barrier(8), [None] * 8
        threads = [threading.Thread(target=compete, args=(folder, start, owners, n)) for n in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert sorted(owners) == [0] * 7 + [1]
        assert names(folder) == [".lock"]


@here
def test_of_two_processes_one_gets_it(tmp_path):
    """Forty times over, every second time in a folder of the dead."""
    folders = [tmp_path / str(attempt) for attempt in range(40)]
    for n, folder in enumerate(folders):
        folder.mkdir()
        if n % 2:
            write_lock(folder, process=2**30)
    context = multiprocessing.get_context("fork")
    start, owners = context.Barrier(2), [context.Array("i", 2) for _ in folders]
    both = [context.Process(target=compete_often, args=(folders, start, owners, n)) for n in range(2)]
    for process in both:
        process.start()
    for process in both:
        process.join()
    assert [sorted(pair) for pair in owners] == [[0, 1]] * len(folders)
    assert all(names(folder) == [".lock"] for folder in folders)


def compete_often(folders, start, owners, index):
    for folder, pair in zip(folders, owners, strict=True):
        compete(folder, start, pair, index)
    start.wait()  # neither ends, and is dead, before the other has tried
    os._exit(0)


@here
@pytest.mark.parametrize("change", [{"process": 2**30}, {"start": "1"}], ids=["no such process", "its number again"])
def test_a_dead_owner_of_this_machine_is_known_at_once(tmp_path, change):
    write_lock(tmp_path, host="here", since="yesterday", **change)
    lock = FolderLock(tmp_path)
    assert lock.acquire().endswith("on here (since yesterday)")
    lock.check()
    lock.release()
    assert names(tmp_path) == []


@here
def test_a_killed_process_that_nobody_has_waited_for_is_dead(tmp_path):
    process = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    fields = {"process": process.pid, "start": lock_module._start_of(process.pid)}
    write_lock(tmp_path, age=2 * SILENCE, **fields)  # however long it has been silent
    lock = FolderLock(tmp_path)
    with pytest.raises(LockHeld):
        lock.acquire()
    process.kill()
    while lock_module._start_of(process.pid):
        time.sleep(0.01)
    assert lock.acquire().startswith(f"process {process.pid} ")
    process.communicate()
    lock.release()


@pytest.mark.parametrize("age", [0, SILENCE - 30])
def test_an_owner_elsewhere_may_live(tmp_path, age):
    path = write_lock(tmp_path, age=age, **ELSEWHERE)
    said = rf"in use by process 12 on node7 .*, whose last sign of life is \d+ s old \(if .* delete {path},"
    with pytest.raises(LockHeld, match=said):
        FolderLock(tmp_path).acquire()
    assert json.loads(path.read_text())["process"] == 12
    assert names(tmp_path) == [".lock"]


def test_a_silent_owner_elsewhere_is_dead(tmp_path):
    write_lock(tmp_path, age=SILENCE + 30, **ELSEWHERE)
    lock = FolderLock(tmp_path)
    assert lock.acquire().startswith("process 12 on node7")
    lock.release()


DAMAGED = ["", "{", "[]", "null", '{"host": 1}', "NUMBER", "HOST", "[" * 100_000]


@pytest.mark.parametrize("text", DAMAGED, ids=lambda text: text[:9])
def test_a_lock_that_names_nobody_counts_by_its_age(tmp_path, monkeypatch, text):
    monkeypatch.setattr(lock_module, "WRITING", 0.1)
    path = write_lock(tmp_path, **({"NUMBER": {"process": "../1"}, "HOST": {"host": "\x1b[2J"}}.get(text, {})))
    if text not in ("NUMBER", "HOST"):
        path.write_text(text)
    with pytest.raises(LockHeld, match=r"^is in use by another process, whose last sign of life is \d s old"):
        FolderLock(tmp_path).acquire()
    os.utime(path, (0, 0))
    lock = FolderLock(tmp_path)
    assert lock.acquire() == "a process that left no name"
    lock.release()


def test_a_lock_that_is_being_written_is_waited_for(tmp_path, monkeypatch):
    """Between its making and its writing it names nobody."""
    monkeypatch.setattr(lock_module, "WRITING", 60.0)
    path = write_lock(tmp_path)
    text = path.read_text()
    path.write_text("")
    threading.Timer(0.2, path.write_text, [text]).start()
    with pytest.raises(LockHeld, match=rf"is in use by process {os.getpid()} "):
        FolderLock(tmp_path).acquire()


def test_signs_of_life(tmp_path, monkeypatch):
    monkeypatch.setattr(lock_module, "BEAT", 0.01)
    lock = FolderLock(tmp_path)
    lock.acquire()
    for _ in range(2):
        os.utime(lock.path, (0, 0))
        deadline = time.monotonic() + 60
        while lock.path.stat().st_mtime == 0:
            assert time.monotonic() < deadline
            time.sleep(0.01)
    lock.release()
    path = write_lock(tmp_path, **ELSEWHERE)
    os.utime(path, (0, 0))
    time.sleep(0.1)
    assert path.stat().st_mtime == 0  # none for another


def test_one_who_slept_too_long_finds_out(tmp_path):
    lock = FolderLock(tmp_path)
    lock.acquire()
    lock.path.unlink()  # somebody cleaned up: no reason to stop
    lock.check()
    assert names(tmp_path) == [".lock"]
    path = write_lock(tmp_path, **ELSEWHERE)
    with pytest.raises(
        RunError, match=f"{tmp_path} was taken over by process 12 on node7 .*: this one leaves it alone"
    ):
        lock.check()
    lock.release()
    assert path.exists()


def test_a_process_that_was_killed_while_it_looked(tmp_path, monkeypatch):
    monkeypatch.setattr(lock_module, "PATIENCE", 0.05)
    write_lock(tmp_path, age=2 * SILENCE, **ELSEWHERE)
    (tmp_path / ".lock-guard").touch()
    with pytest.raises(LockHeld, match=f"of a process that was killed: delete {tmp_path}/.lock-guard"):
        FolderLock(tmp_path).acquire()


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="there is no /dev/full")
def test_a_full_disk_leaves_no_lock_of_nobodys(tmp_path, monkeypatch):
    def full(handle, *arguments, **options):
        os.close(handle)
        return Path("/dev/full").open("w")

    monkeypatch.setattr(lock_module, "open", full, raising=False)
    with pytest.raises(OSError, match="No space left"):
        FolderLock(tmp_path).acquire()
    assert names(tmp_path) == []
