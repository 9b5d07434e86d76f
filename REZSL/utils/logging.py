"""One logger for the package: bare lines on the console, timed lines in a file."""

import logging
import os
import sys

from tqdm import tqdm

from .distributed import is_main

ROOT = "REZSL"


class _ConsoleHandler(logging.Handler):
    """Writes through tqdm, so that a line does not tear a progress bar; warnings and errors go to stderr."""

    def emit(self, record: logging.LogRecord) -> None:
        stream = sys.stdout if record.levelno < logging.WARNING else sys.stderr
        tqdm.write(self.format(record), file=stream)
        stream.flush()


def setup_logging(log_file: str | os.PathLike | None = None) -> None:
    """Sends the package's log to the console and, when given, appends it to ``log_file``; replaces earlier set-ups.

    Of several processes only the first writes a log; the others tell their errors.
    """
    logger = logging.getLogger(ROOT)
    logger.setLevel(logging.INFO)
    close_logging()
    logger.propagate = False
    console = _ConsoleHandler()
    console.setFormatter(logging.Formatter("%(message)s"))
    if not is_main():
        console.setLevel(logging.ERROR)
    logger.addHandler(console)
    if log_file is not None and is_main():
        file = logging.FileHandler(log_file, encoding="utf-8")
        file.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
        logger.addHandler(file)


def close_logging() -> None:
    """Undoes :func:`setup_logging`."""
    logger = logging.getLogger(ROOT)
    for handler in list(logger.handlers):
        logger.removeHandler(handler)
        handler.close()
    logger.propagate = True
