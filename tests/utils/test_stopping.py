"""Signals are noted, raise where that loses nothing, and are never lost."""

import os
import signal
import subprocess
import sys
import threading
import time

import pytest

from REZSL.utils import stopping
from REZSL.utils.errors import Stopped
from REZSL.utils.stopping import SIGNALS, STOP_SIGNALS, interruptible, note_saved, stop_requests, stoppable

pytestmark = pytest.mark.long


@pytest.mark.parametrize("number", STOP_SIGNALS)
def test_a_request_is_noted_and_raises_where_it_may(number):
    before = signal.getsignal(number)
    with pytest.raises(Stopped) as stopped, stop_requests() as request:
        signal.raise_signal(number)
        assert request.signal_number == number
        with interruptible():
            pytest.fail("it came before")
    assert stopped.value.signal_number == number
    assert signal.getsignal(number) == before
    with interruptible():  # it is over
        pass


def test_it_raises_at_once_within_interruptible_and_only_there():
    done = []
    with pytest.raises(Stopped), stop_requests(), interruptible():
        with stop_requests() as inner:  # a step within
            signal.raise_signal(signal.SIGTERM)
            done.append(inner.signal_number)
        pytest.fail("the step is over")
    assert done == [signal.SIGTERM]
    with pytest.raises(Stopped), stop_requests(), interruptible():
        signal.raise_signal(signal.SIGTERM)
        pytest.fail("nothing is under way")


def test_loops_end_between_batches_and_while_waiting():
    def slow():
        yield from range(2)
        signal.raise_signal(signal.SIGTERM)
        pytest.fail("still waiting")

    for batches, at, expected in ((range(9), 3, [0, 1, 2, 3]), (slow(), None, [0, 1])):
        seen = []
        with pytest.raises(Stopped), stop_requests():
            for batch in stoppable(batches):
                seen.append(batch)
                if batch == at:
                    signal.raise_signal(signal.SIGTERM)
        assert seen == expected
    assert list(stoppable(range(3))) == [0, 1, 2]  # where nobody takes requests


def test_sigusr1_only_asks_to_save():
    with stop_requests() as request, interruptible():
        signal.raise_signal(signal.SIGUSR1)
        assert request.save_wanted and request.signal_number is None


def test_what_is_ignored_stays_ignored():
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)  # as nohup does
    try:
        with stop_requests() as request:
            signal.raise_signal(signal.SIGHUP)
            assert request.signal_number is None
        assert signal.getsignal(signal.SIGHUP) == signal.SIG_IGN
    finally:
        signal.signal(signal.SIGHUP, before)


def test_other_threads_change_nothing():
    before, seen = [signal.getsignal(number) for number in SIGNALS], []

    def work():
        with stop_requests() as request, interruptible():
            seen.append(request.signal_number)

    with stop_requests():
        signal.raise_signal(signal.SIGTERM)
        thread = threading.Thread(target=work)
        thread.start()
        thread.join()
    assert seen == [None]
    assert [signal.getsignal(number) for number in SIGNALS] == before


def test_the_same_request_twice_is_one(monkeypatch):
    """Batch systems and torchrun both send it; only one that comes later is a second one."""
    left = []
    monkeypatch.setattr(stopping, "_leave", lambda number, saved: left.append((number, saved)))
    with stop_requests() as request:
        signal.raise_signal(signal.SIGTERM)
        signal.raise_signal(signal.SIGTERM)
        assert not left
        note_saved("last.pth")
        request._asked_at -= stopping.ONE_REQUEST
        signal.raise_signal(signal.SIGINT)
    ((number, saved),) = left
    assert number == signal.SIGINT and saved.startswith("last.pth, saved at ")


SECOND = """
import signal, sys, time
from REZSL.utils.stopping import note_saved, stop_requests
with stop_requests():
    note_saved(sys.argv[1]) if sys.argv[1:] else None
    print("ready", flush=True)
    while True:
        time.sleep(0.1)
"""


@pytest.mark.parametrize(
    ("saved", "told"), [([], "nothing was saved since the start"), (["x.pth"], "x.pth, saved at ")]
)
def test_a_second_request_leaves_at_once_and_says_what_is_there(saved, told):
    process = subprocess.Popen(
        [sys.executable, "-c", SECOND, *saved],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ,
    )
    try:
        assert process.stdout.readline() == "ready\n"
        process.send_signal(signal.SIGINT)
        first = process.stderr.readline()
        assert first == "SIGINT: stopping once the step under way is saved; again: at once\n"
        time.sleep(stopping.ONE_REQUEST + 0.2)
        process.send_signal(signal.SIGINT)
        _, said = process.communicate(timeout=60)
    finally:
        process.kill()
    assert process.returncode == 128 + signal.SIGINT
    assert said.startswith(f"stopped at once; {told}")
