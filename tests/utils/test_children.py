"""Processes that ignore SIGTERM end all the same, and nobody else's do."""

import multiprocessing
import signal
import time

import pytest

from REZSL.utils.children import end_children


def stubborn(ready):
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    ready.set()
    time.sleep(600)


def start_child(daemon):
    context = multiprocessing.get_context("fork")
    ready = context.Event()
    child = context.Process(target=stubborn, args=(ready,), daemon=daemon)
    child.start()
    assert ready.wait(60)
    return child


@pytest.mark.parametrize("patience", [0.0, 0.2])
def test_daemons_end_and_others_stay(patience):
    daemon, kept, own = start_child(True), start_child(True), start_child(False)
    try:
        end_children(but=[kept], patience=patience)
        assert daemon.exitcode == -signal.SIGKILL
        assert kept.is_alive() and own.is_alive()
    finally:
        for child in (kept, own):
            child.kill()
            child.join()


def test_a_handler_that_raises_when_children_end_does_not():
    """torch has such a one, for loading processes that end unexpectedly."""

    def raises(number, frame):
        raise AssertionError("unexpected")

    child = start_child(True)
    before = signal.signal(signal.SIGCHLD, raises)
    try:
        end_children()
        assert signal.getsignal(signal.SIGCHLD) is raises
    finally:
        signal.signal(signal.SIGCHLD, before)
    assert not child.is_alive()
