"""Stopping on request: SIGTERM, as batch systems send it before they take a machine back, and Ctrl-C."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

SIGNALS = (signal.SIGTERM, signal.SIGINT)


class StopRequest:
    """Whether somebody asked to stop; look at it between steps.

    Attributes:
        signal_number: of the first request, or None.
    """

    def __init__(self) -> None:
        self.signal_number: int | None = None


@contextmanager
def stop_requests() -> Iterator[StopRequest]:
    """Turns the first SIGTERM or SIGINT into a :class:`StopRequest`; a second one ends the process at once.

    Signals reach the main thread alone: in any other thread nothing changes.
    """
    request = StopRequest()
    if threading.current_thread() is not threading.main_thread():
        yield request
        return
    before = {number: signal.getsignal(number) for number in SIGNALS}

    def ask(number: int, frame: FrameType | None) -> None:
        request.signal_number = number
        for each, handler in before.items():
            signal.signal(each, handler)

    for number in SIGNALS:
        signal.signal(number, ask)
    try:
        yield request
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
