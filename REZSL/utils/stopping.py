"""Stopping on request: SIGTERM, as batch systems send it before they take a machine back, Ctrl-C, a closed terminal.

A signal comes at any moment, and neither a step nor a file may be left half done. So within :func:`stop_requests` a
signal is noted, to be looked at between steps; only within :func:`interruptible`, where nothing is lost by it, does it
raise :class:`~REZSL.utils.errors.Stopped` at once.
"""

import os
import signal
import threading
import time
from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from types import FrameType
from typing import NoReturn, TypeVar

from .children import end_children
from .distributed import is_main
from .errors import Stopped

Item = TypeVar("Item")

STOP_SIGNALS = tuple(getattr(signal, name) for name in ("SIGTERM", "SIGINT", "SIGHUP") if hasattr(signal, name))
SAVE_SIGNAL = getattr(signal, "SIGUSR1", None)  # not on Windows
SIGNALS = tuple(filter(None, (*STOP_SIGNALS, SAVE_SIGNAL)))
ONE_REQUEST = 1.0  # seconds in which a further signal is the same request: batch systems and torchrun both send it


class StopRequest:
    """What signals asked for, and what there is to go on from.

    Attributes:
        signal_number: of the first request to stop, or None.
        save_wanted: SIGUSR1 asked to save and go on.
        saved: what was saved last, and when; empty: nothing.
    """

    def __init__(self) -> None:
        self.signal_number: int | None = None
        self.save_wanted = False
        self.saved = ""
        self._raises = False
        self._asked_at = 0.0

    def ask(self, number: int) -> None:
        """Notes that signal ``number`` asks to stop; a later one is a second request and ends the process."""
        if self.signal_number is None:
            self.signal_number, self._asked_at = number, time.monotonic()
            if self._raises:
                raise Stopped(number)
            if is_main():
                _say(f"{signal.Signals(number).name}: stopping once the step under way is saved; again: at once")
        elif time.monotonic() - self._asked_at > ONE_REQUEST:
            _leave(number, self.saved)

    @contextmanager
    def raising(self, raises: bool) -> Iterator[None]:
        """Whether a request raises ``Stopped`` at once, here and afterwards also one that has come before."""
        before, self._raises = self._raises, raises
        try:
            self._check()
            yield
        finally:
            self._raises = before
        self._check()

    def _check(self) -> None:
        if self._raises and self.signal_number is not None:
            raise Stopped(self.signal_number)


_current = StopRequest()  # without handlers nothing is ever asked of it
_taken = False


@contextmanager
def stop_requests() -> Iterator[StopRequest]:
    """Takes SIGTERM, SIGINT (Ctrl-C), SIGHUP and SIGUSR1 as requests, which are noted; inside another one, joins it.

    A signal that the process ignores, as ``nohup`` has it ignore SIGHUP, stays ignored. A second request to stop ends
    the process at once. Signals reach the main thread alone: in any other thread nothing changes.
    """
    global _current, _taken
    if not _in_main_thread():
        yield StopRequest()
        return
    if _taken:
        with _current.raising(False):
            yield _current
        return
    owner, _current, _taken = os.getpid(), StopRequest(), True
    before = {number: signal.getsignal(number) for number in SIGNALS}

    def note(number: int, frame: FrameType | None) -> None:
        if os.getpid() != owner:  # a loading process that has just begun
            return
        if number == SAVE_SIGNAL:
            _current.save_wanted = True
        else:
            _current.ask(number)

    ours = {number: handler for number, handler in before.items() if handler not in (signal.SIG_IGN, None)}
    for number in ours:
        signal.signal(number, note)
    try:
        yield _current
    finally:
        for number, handler in ours.items():
            signal.signal(number, handler)
        _current, _taken = StopRequest(), False


def interruptible() -> AbstractContextManager[None]:
    """A context in which a request to stop raises ``Stopped`` at once, also one that came before."""
    return _current.raising(True) if _in_main_thread() else nullcontext()


def stoppable(batches: Iterable[Item]) -> Iterator[Item]:
    """Yields ``batches``; a request to stop ends it by ``Stopped`` between them and while waiting for the next."""
    with interruptible():
        iterator, end = iter(batches), object()
    while True:
        with interruptible():
            batch = next(iterator, end)
        if batch is end:
            return
        yield batch


def note_saved(what: str) -> None:
    """Notes ``what`` was saved just now, to be told when the process stops."""
    _current.saved = f"{what}, saved at {time.strftime('%H:%M:%S')}"


def _in_main_thread() -> bool:
    return threading.current_thread() is threading.main_thread()


def _leave(number: int, saved: str) -> NoReturn:
    if is_main():
        _say(f"stopped at once; {saved or 'nothing was saved since the start'}")
    end_children()
    os._exit(128 + number)


def _say(text: str) -> None:
    """Writes past Python's streams, which may be in the middle of a line when a signal comes."""
    with suppress(OSError):  # nobody may be there to read it
        os.write(2, f"{text}\n".encode())
