"""Loading processes: their memory, their errors, their end."""

import multiprocessing
import os
import shutil
import signal
import subprocess
import sys
from types import SimpleNamespace

import pytest
import torch
from torch.utils.data import DataLoader, Dataset

from REZSL.data import loading
from REZSL.data.loading import check_shared_memory, loader_options
from REZSL.utils.command import run_command
from REZSL.utils.errors import DataError, RunError
from REZSL.utils.stopping import SIGNALS

pytestmark = pytest.mark.long


class Rows(Dataset):
    """Fetched a batch at a time; what is wrong with the third batch is ``fault``'s to say."""

    def __init__(self, fault=lambda: None):
        self.fault = fault

    def __len__(self):
        return 8

    def __getitems__(self, keys):
        if 4 in keys:
            self.fault()
        return torch.zeros(len(keys), 3), torch.tensor(keys)


def damaged():
    raise DataError("x.jpg does not decode")


def killed():
    os.kill(os.getpid(), signal.SIGKILL)


def stuck():
    signal.pause()


def stubborn():
    assert all(signal.getsignal(number) == signal.SIG_IGN for number in SIGNALS)


def make_loader(fault=lambda: None, workers=2, **options):
    return DataLoader(Rows(fault), batch_size=2, **loader_options(workers, False), **options)


@pytest.mark.parametrize("method", ["fork", pytest.param("spawn", marks=pytest.mark.slow)])
@pytest.mark.parametrize(
    ("fault", "told"),
    [(damaged, "error: x.jpg does not decode"), (killed, r"error: a loading process has died (DataLoader worker (pid")],
)
def test_an_error_in_a_loading_process_ends_the_command(capsys, fault, told, method):
    """Persistent ones, of a loader that is still there; nothing is left of them."""
    loader = make_loader(fault, multiprocessing_context=method, persistent_workers=True)
    assert run_command(lambda: list(loader)) == 1
    errors = capsys.readouterr().err
    assert errors.startswith(told) and errors.count("\n") == 1
    assert not multiprocessing.active_children()


def test_a_mistake_in_the_code_ends_them_too():
    loader = make_loader(persistent_workers=True)

    def action():
        next(iter(loader))
        assert multiprocessing.active_children()
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        run_command(action)
    assert not multiprocessing.active_children()


def test_a_batch_that_never_comes_is_told(capsys):
    loader = DataLoader(Rows(stuck), batch_size=2, **loader_options(1, False, timeout=1))
    assert run_command(lambda: list(loader)) == 1
    said = capsys.readouterr().err
    assert said.startswith("error: no batch came within DATALOADER.TIMEOUT (DataLoader timed out after 1")
    assert not multiprocessing.active_children()


LIBRARY = """
import sys
from torch.utils.data import DataLoader
sys.path.insert(0, {tests!r})
from test_loading import Rows, make_loader
batches = iter(make_loader(persistent_workers=True))
next(batches)
raise ZeroDivisionError
"""


def test_a_script_that_fails_ends_too():
    script = LIBRARY.format(tests=os.path.dirname(__file__))
    ended = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=120, env=os.environ)
    assert ended.returncode == 1
    assert ended.stderr.endswith("ZeroDivisionError\n")


def test_they_ignore_what_a_batch_system_sends_to_all():
    assert len(list(make_loader(stubborn, workers=1))) == 4


@pytest.mark.parametrize(
    ("workers", "batches", "free", "told"),
    [
        (4, (4_000_000, 4_000_000), 64_000_000, None),
        (
            4,
            (4_000_000, 4_000_001),
            64_000_000,
            "needs up to 64 MB of shared memory, and .* has 64 MB free: give it more",
        ),
        (0, (10**12,), 0, None),
    ],
)
def test_shared_memory_is_compared_with_the_need(monkeypatch, tmp_path, workers, batches, free, told):
    monkeypatch.setattr(loading, "SHARED_MEMORY", tmp_path)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: SimpleNamespace(free=free))
    if told is None:
        check_shared_memory(workers, *batches)
    else:
        with pytest.raises(RunError, match=told):
            check_shared_memory(workers, *batches)


def test_several_processes_share_what_there_is(monkeypatch, tmp_path):
    monkeypatch.setattr(loading, "SHARED_MEMORY", tmp_path)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: SimpleNamespace(free=10**6))
    check_shared_memory(1, 10**5)
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "8")
    with pytest.raises(RunError, match=r"needs up to 2 MB of shared memory"):
        check_shared_memory(1, 10**5)


def test_full_shared_memory_reaches_the_main_process(monkeypatch, capsys):
    """As a container's 64 MB do when they are full; torch loses such a batch, and waits for it for ever."""

    def full(tensor):
        raise RuntimeError("unable to allocate shared memory(shm) for file </torch_1>: No space left on device (28)")

    monkeypatch.setattr(torch.Tensor, "share_memory_", full)
    assert run_command(lambda: list(make_loader(multiprocessing_context="fork"))) == 1
    said = capsys.readouterr().err
    assert said.startswith("error: a batch cannot be handed over in shared memory (unable to allocate")
    assert said.endswith("or set DATALOADER.NUM_WORKERS 0, which needs none\n")
