"""The folder of a run: what lies where, whose it is, and never over another run."""

import json
import logging
import os
import re
from collections.abc import Iterator
from itertools import count, islice
from pathlib import Path
from typing import Any

from REZSL.utils.distributed import is_main
from REZSL.utils.errors import RunError
from REZSL.utils.files import write_text
from REZSL.utils.lock import FolderLock, LockHeld

from .checkpoint import checkpoints

log = logging.getLogger(__name__)

HALF_WRITTEN = re.compile(r"\.(.+)\.[a-z0-9_]{8}((?:\.\w+)?)")  # as files.atomic_path names them


class InUse(RunError):
    """Another process is at work in the folder."""


class RunFolder:
    """Paths of a run's files. Of several processes that train together the first claims and writes.

    Args:
        path: OUTPUT_DIR.
        log_name: name of the log; empty: log.txt.
        model_name: name of the selected checkpoint; empty: best.pth.
    """

    def __init__(self, path: str | os.PathLike, log_name: str = "", model_name: str = "") -> None:
        self.path = Path(path)
        self.config = self.path / "config.yaml"
        self.log = self.path / (log_name or "log.txt")
        self.metrics = self.path / "metrics.jsonl"
        self.last = self.path / "last.pth"
        self.best = self.path / (model_name or "best.pth")
        self.predictions = self.path / "predictions.npz"
        self.choice = self.path / "val" / "choice.json"
        self.results = self.path / "results.json"
        self.tracker = self.path / "tracker.txt"
        self.figures = self.path / "figures"
        self.history: list[dict[str, Any]] = []
        self._lock = FolderLock(self.path)
        self._ends = (self.results,)  # files that say that the training is over

    @property
    def validation(self) -> "RunFolder":
        """The folder, within this one, of the training that epoch and gamma are chosen by, which ends with a choice."""
        folder = RunFolder(self.path / "val", self.log.name, self.best.name)
        folder.config, folder.results, folder.choice = self.config, self.results, self.choice
        folder._lock, folder._ends = self._lock, (self.choice, self.results)
        return folder

    def claim(self) -> None:
        """Makes the folder, and makes it this process's alone until :meth:`release`; half-written files go.

        Raises:
            InUse: another process is at work in it.
            RunError: it cannot be written.
        """
        if not is_main():
            return
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            if dead := self._lock.acquire():
                log.warning("OUTPUT_DIR %s was that of %s, which is dead: taken over", self.path, dead)
            for file in self._half_written():
                file.unlink()
        except LockHeld as held:
            raise InUse(f"OUTPUT_DIR {self.path} {held}: wait, or set OUTPUT_DIR {next_free(self.path)}") from None
        except OSError as error:
            raise RunError(f"OUTPUT_DIR {self.path} cannot be written: {error.strerror}") from None

    def check_claim(self) -> None:
        """Raises ``RunError`` where another process has taken the folder over: this one had given no sign of life."""
        self._lock.check()

    def release(self) -> None:
        """Undoes :meth:`claim`."""
        self._lock.release()

    def holds_a_run(self) -> bool:
        """Whether there is anything here that training or evaluation made, the log of a failed start aside."""
        return any(
            any(file.exists() for file in folder._files()) or any(folder.figures.glob("[!.]*"))
            for folder in (self, self.validation)
        )

    def check_fresh(self) -> None:
        """Nothing here is read by a run that starts.

        Raises:
            RunError: the folder holds a run already.
        """
        if self.holds_a_run():
            raise RunError(
                f"OUTPUT_DIR {self.path} already holds a run, which is never overwritten: "
                f"go on with it by --resume, set OUTPUT_DIR {next_free(self.path)}, or move the folder away"
            )
        if is_main():
            for folder in (self, self.validation):
                folder.tracker.unlink(missing_ok=True)  # of a start that failed

    def begin(self, config_text: str) -> None:
        """Writes ``config.yaml``; the run that starts, or goes on, is not finished until it has new results."""
        if is_main():
            for end in self._ends:
                end.unlink(missing_ok=True)
            write_text(self.config, config_text)

    def add_metrics(self, line: dict[str, Any]) -> None:
        """Adds ``line`` to ``metrics.jsonl``, which is written anew as a whole."""
        self.write_metrics([*self.history, line])

    def write_metrics(self, history: list[dict[str, Any]]) -> None:
        """Makes ``history`` the lines of ``metrics.jsonl``; raises ``RunError`` as :meth:`check_claim` does."""
        self.history = list(history)
        if is_main():
            self.check_claim()
            write_text(self.metrics, "".join(json.dumps(each) + "\n" for each in self.history))

    def _files(self) -> set[Path]:
        """What a run leaves, but for the log and ``config.yaml``, which a failed start leaves too, and ``figures/``."""
        return {
            self.metrics,
            self.last,
            self.best,
            self.path / "best.pth",
            self.predictions,
            self.choice,
            self.results,
            *checkpoints(self.last),
        }

    def _half_written(self) -> Iterator[Path]:
        """Files on their way to a name of ours; while the folder is claimed nobody else can be at work on one."""
        for folder in (self, self.validation):
            ours = {*folder._files(), self.config, self.tracker, self.path / ".lock"}
            for file in [*folder.path.glob(".*"), *folder.figures.glob(".*")]:
                parts = HALF_WRITTEN.fullmatch(file.name)
                if parts and (file.parent == folder.figures or file.with_name(parts[1] + parts[2]) in ours):
                    yield file


def numbered(path: Path) -> Iterator[Path]:
    """``path``, path-2, path-3, ..."""
    path = path.absolute()  # '.' has no name to number
    yield path
    yield from (path.with_name(f"{path.name}-{number}") for number in count(2))


def next_free(path: Path) -> Path:
    """Returns the first of path-2, path-3, ... that is not there."""
    return next(each for each in islice(numbered(path), 1, None) if not each.exists())
