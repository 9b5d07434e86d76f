"""A folder that one process at a time writes to, be it of this machine or of another that sees the folder.

The lock is a file that is created exclusively: local file systems, and NFS since version 3, let one process do so. It
names its owner, who renews its time while he lives. Whether an owner is dead is known at once where his process number
means something, which is on the same boot of the same machine; elsewhere he is taken for dead after ``SILENCE`` without
a sign of life, by the file system's own clock. One who was only asleep that long finds out by :meth:`FolderLock.check`.
"""

import contextlib
import json
import os
import secrets
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

from .errors import RunError
from .files import write_text

BEAT = 20.0  # seconds between signs of life
SILENCE = 180.0  # seconds without one, of which a network file system may hide 60
WRITING = 1.0  # seconds that a new owner may take to write his name into his file
PATIENCE = 10.0  # seconds to wait for another process that is looking at the same lock


@dataclass(frozen=True)
class Owner:
    """Who holds a lock.

    Attributes:
        host: name of the machine.
        process: its number there.
        place: name of where that number is known; empty: nowhere.
        start: when the process started, as the place counts.
        since: when it took the lock, for people.
        token: of this holding of the lock alone.
    """

    host: str
    process: int
    place: str
    start: str
    since: str
    token: str

    @classmethod
    def this_process(cls) -> "Owner":
        """The process that calls, now."""
        number, since = os.getpid(), time.strftime("%Y-%m-%d %H:%M:%S")
        return cls(socket.gethostname(), number, _place(), _start_of(number), since, secrets.token_hex(8))

    def __str__(self) -> str:
        return f"process {self.process} on {self.host} (since {self.since})"


class LockHeld(RunError):
    """The lock is another process's, which lives or may live."""


class FolderLock:
    """The lock of a folder that is there.

    Args:
        folder: where the lock's file lies.
    """

    def __init__(self, folder: str | os.PathLike) -> None:
        self.path = Path(folder) / ".lock"
        self._guard = Path(folder) / ".lock-guard"
        self._own: Owner | None = None
        self._released = threading.Event()

    def acquire(self) -> str:
        """Takes the lock; returns who held it and is dead, in words, or nothing.

        Raises:
            LockHeld: it is another's.
            OSError: the folder cannot be written.
        """
        own, dead = Owner.this_process(), ""
        text = json.dumps(asdict(own)) + "\n"
        while not _create(self.path, text):
            with self._looking() as now:
                try:
                    age = now - self.path.stat().st_mtime
                except FileNotFoundError:  # released just now
                    continue
                owner = self._owner()
                if owner is None and age < WRITING:
                    time.sleep(0.01)
                    continue
                self._refuse_the_living(owner, age)
                write_text(self.path, text)
                dead = str(owner or "a process that left no name")
                break
        self._own, self._released = own, threading.Event()
        threading.Thread(target=self._beat, args=(own, self._released), daemon=True).start()
        return dead

    def check(self) -> None:
        """Raises ``RunError`` where another process has taken the lock, since this one gave no sign of life."""
        if self._own is None or (owner := self._owner()) == self._own:
            return
        if owner is None and _create(self.path, json.dumps(asdict(self._own)) + "\n"):  # somebody cleaned up
            return
        raise RunError(f"{self.path.parent} was taken over by {owner or 'another process'}: this one leaves it alone")

    def release(self) -> None:
        """Gives the lock back, where it is still this process's."""
        self._released.set()
        if self._own is not None and self._owner() == self._own:
            self.path.unlink(missing_ok=True)
        self._own = None

    def _refuse_the_living(self, owner: Owner | None, age: float) -> None:
        if owner and owner.place and owner.place == _place():
            if _start_of(owner.process) == owner.start:
                raise LockHeld(f"is in use by {owner}")
        elif age < SILENCE:
            raise LockHeld(
                f"is in use by {owner or 'another process'}, whose last sign of life is {max(age, 0):.0f} s old "
                f"(if it is dead, delete {self.path}, or try again when that is {SILENCE:.0f} s)"
            )

    @contextmanager
    def _looking(self) -> Iterator[float]:
        """One process at a time looks at a lock and takes it over; yields the file system's time."""
        deadline = time.monotonic() + PATIENCE
        while not _create(self._guard, ""):
            if time.monotonic() > deadline:
                raise LockHeld(f"has a file of a process that was killed: delete {self._guard}")
            time.sleep(0.01)
        try:
            yield self._guard.stat().st_mtime
        finally:
            self._guard.unlink()

    def _owner(self) -> Owner | None:
        """Who the file names; None where it is missing, or names nobody: cut short, or written just now."""
        try:
            with open(self.path, encoding="utf-8") as file:
                owner = Owner(**json.loads(file.read(10_000)))
        except (OSError, ValueError, TypeError, RecursionError):
            return None
        texts = (owner.host, owner.place, owner.start, owner.since, owner.token)
        told = all(isinstance(text, str) and text.isprintable() and len(text) < 256 for text in texts)
        return owner if told and type(owner.process) is int else None

    def _beat(self, own: Owner, released: threading.Event) -> None:
        while not released.wait(BEAT):
            with contextlib.suppress(OSError):  # a server that is away comes back, or the folder is gone
                if self._owner() == own:
                    os.utime(self.path)


def _create(path: Path, text: str) -> bool:
    """Whether ``path`` was not there; then it is now, with ``text``."""
    try:
        handle = os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o666)
    except FileExistsError:
        return False
    try:
        with open(handle, "w", encoding="utf-8") as file:
            file.write(text)
    except OSError:  # no lock of nobody's stays on a full disk
        path.unlink(missing_ok=True)
        raise
    return True


def _place() -> str:
    """Where process numbers mean the same: this boot, its process namespace, and, as others' may be hidden, user."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        return f"{boot} {os.readlink('/proc/self/ns/pid')} user {os.getuid()}"
    except OSError:
        return ""


def _start_of(process: int) -> str:
    """When ``process`` started, in ticks since the boot; empty where it is dead, or there is no knowing."""
    try:
        state, *fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return ""
    return "" if state in "ZX" else fields[18]
