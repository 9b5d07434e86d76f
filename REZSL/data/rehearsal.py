"""A first reading in another process: what ends that one would have ended this one."""

import hashlib
import json
import os
import subprocess
import sys
from collections.abc import Collection
from contextlib import suppress
from pathlib import Path

from REZSL.utils.errors import DataError

READER = Path(__file__).with_name("mat73.py")
CHILD = """
import json, runpy, sys
said = json.load(sys.stdin)
sys.path[:] = said["path"]
runpy.run_path(said["reader"])["read_mat73"](said["file"], said["wanted"])
"""
SECONDS, BYTES_A_SECOND = 60, 10e6  # a reading may take a minute, and another for every 600 MB


def rehearse(path: Path, wanted: Collection[str]) -> None:
    """Reads ``wanted`` of ``path`` in a child process, unless the same file (by size and time) has passed before.

    A library in C may be led out of its memory by a damaged file, and no ``except`` sees that. What passed is
    remembered in the user's cache folder, where that can be written. Where no process can be started nothing is tried.

    Raises:
        DataError: the child was killed, or does not end.
    """
    stat, allowed = path.stat(), SECONDS + path.stat().st_size / BYTES_A_SECOND
    key = f"{path.resolve()} {stat.st_size} {stat.st_mtime_ns} {sorted(wanted)}"
    passed = _cache_folder() / hashlib.blake2b(key.encode("utf-8", "surrogateescape"), digest_size=16).hexdigest()
    if passed.exists():
        return
    said = {"path": sys.path, "reader": str(READER), "file": str(path), "wanted": sorted(wanted)}
    command = [sys.executable, "-I", "-c", CHILD]
    try:
        ended = subprocess.run(command, input=json.dumps(said).encode(), capture_output=True, timeout=allowed)
    except subprocess.TimeoutExpired:
        raise DataError(f"{path}: reading it does not end within {allowed:.0f} s: it is damaged") from None
    except OSError:
        return
    if ended.returncode < 0 or ended.returncode > 2:  # killed; 1 and 2 are errors that this process will meet itself
        raise DataError(f"{path} is damaged: it kills the process that reads it (status {ended.returncode})")
    if ended.returncode == 0:
        with suppress(OSError):
            passed.parent.mkdir(parents=True, exist_ok=True)
            passed.touch()


def _cache_folder() -> Path:
    place = os.environ.get("XDG_CACHE_HOME") or os.environ.get("LOCALAPPDATA")
    return Path(place or Path("~/.cache").expanduser()) / "rezsl" / "passed"
