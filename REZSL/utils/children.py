"""Ending the processes that this one has started."""

import multiprocessing
import signal
import threading
import time
from collections.abc import Collection
from multiprocessing.process import BaseProcess


def end_children(but: Collection[BaseProcess] = (), patience: float = 0.0) -> None:
    """Ends the daemonic children, as Python does at its end; kills those that are left, which Python would wait for.

    Loading processes are such: they ignore SIGTERM, since batch systems send it to every process of a run.

    Args:
        but: children that stay.
        patience: seconds between SIGTERM and SIGKILL.
    """
    children = [child for child in multiprocessing.active_children() if child.daemon and child not in but]
    if not children:
        return
    handled = threading.current_thread() is threading.main_thread() and hasattr(signal, "SIGCHLD")
    # torch raises, wherever the process is just then, when a loading process ends unexpectedly; this is expected
    before = signal.signal(signal.SIGCHLD, signal.SIG_DFL) if handled else None
    deadline = time.monotonic() + patience
    for child in children:
        child.terminate() if patience else child.kill()
    for child in children:
        child.join(max(0.0, deadline - time.monotonic()))
        child.kill()
        child.join()
    if before is not None:
        signal.signal(signal.SIGCHLD, before)
