"""The folder of a run: what lies where, and never over another run."""

import json
import os
from pathlib import Path
from typing import Any

from REZSL.utils.distributed import is_main
from REZSL.utils.errors import RunError
from REZSL.utils.files import write_text


class RunFolder:
    """Paths of a run's files.

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
        self.choice = self.path / "choice.json"
        self.results = self.path / "results.json"
        self.figures = self.path / "figures"
        self.history: list[dict[str, Any]] = []

    @property
    def validation(self) -> "RunFolder":
        """The folder, within this one, of the training that epoch and gamma are chosen by."""
        return RunFolder(self.path / "val", self.log.name, self.best.name)

    def holds_a_run(self) -> bool:
        """Whether there is anything here that training or evaluation made."""
        made = (self.metrics, self.last, self.best, self.predictions, self.results)
        return any(file.exists() or (self.path / "val" / file.name).exists() for file in made)

    def claim(self, config_text: str) -> None:
        """Makes the folder and writes ``config.yaml``.

        Raises:
            RunError: the folder holds a run already, or cannot be written.
        """
        if self.holds_a_run():
            raise RunError(
                f"OUTPUT_DIR {self.path} already holds a run, which is never overwritten: "
                f"go on with it by --resume, set OUTPUT_DIR {next_free(self.path)}, or move the folder away"
            )
        self.write_config(config_text)

    def write_config(self, config_text: str) -> None:
        """Makes the folder, where need be, and writes ``config.yaml``; raises ``RunError`` where it cannot.

        Of several processes, here and in all that follows, only the first writes.
        """
        if not is_main():
            return
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            write_text(self.config, config_text)
        except OSError as error:
            raise RunError(f"OUTPUT_DIR {self.path} cannot be written: {error.strerror}") from None

    def add_metrics(self, line: dict[str, Any]) -> None:
        """Adds ``line`` to ``metrics.jsonl``, which is written anew as a whole."""
        self.write_metrics([*self.history, line])

    def write_metrics(self, history: list[dict[str, Any]]) -> None:
        """Makes ``history`` the lines of ``metrics.jsonl``."""
        self.history = list(history)
        if is_main():
            write_text(self.metrics, "".join(json.dumps(each) + "\n" for each in self.history))


def next_free(path: Path) -> Path:
    """Returns ``path`` with the first number that makes it free: path-2, path-3, ..."""
    path, number = path.absolute(), 2  # '.' has no name to number
    while path.with_name(f"{path.name}-{number}").exists():
        number += 1
    return path.with_name(f"{path.name}-{number}")
