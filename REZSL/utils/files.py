"""Files that are written whole or not at all, and files that are not there."""

import errno
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from .errors import RunError

PROBE = 1 << 20  # bytes


@contextmanager
def atomic_path(path: str | os.PathLike) -> Iterator[Path]:
    """Yields a temporary path beside ``path``; on success it replaces ``path``, on an exception it is removed.

    The data are flushed to disk before the rename, so after a crash ``path`` holds the old or the new content whole.

    Raises:
        RunError: ``path`` cannot be written, and why: no space left, no permission, ...
    """
    path = Path(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.stem}.", suffix=path.suffix)
        os.close(handle)
        temporary = Path(name)
        try:
            yield temporary
            with open(temporary, "rb+") as file:
                os.fsync(file.fileno())
            umask = os.umask(0)
            os.umask(umask)
            temporary.chmod(0o666 & ~umask)  # mkstemp makes files private
            os.replace(temporary, path)
        except RuntimeError:
            _probe(temporary)
            raise
        finally:
            temporary.unlink(missing_ok=True)
    except OSError as error:
        raise RunError(f"cannot write {path}: {error.strerror or error}") from None


def _probe(file: Path) -> None:
    """Raises the ``OSError`` that keeps ``file`` from growing, if any: torch's writer says only that it failed."""
    with open(file, "ab") as probe:
        probe.write(bytes(PROBE))
        probe.flush()
        os.fsync(probe.fileno())


def write_text(path: str | os.PathLike, text: str) -> None:
    """Writes ``text`` as UTF-8, whole or not at all; raises as :func:`atomic_path`."""
    with atomic_path(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def absence(path: str | os.PathLike) -> str:
    """Says why ``path`` cannot be used: it is missing, or a link that leads nowhere or in a circle."""
    try:
        os.stat(path)
    except OSError as error:
        if error.errno == errno.ELOOP:
            return "is, or lies behind, a symbolic link that leads in a circle"
        if os.path.islink(path):
            return f"is a link to {os.readlink(path)}, which is missing"
    return "is missing"
