"""One logger for the package: bare lines on the console, timed lines in a file."""

import copy
import logging
import os
import sys
from typing import Any, TextIO

from tqdm import tqdm

from .distributed import is_main
from .text import Lines, escape, printable

ROOT = "REZSL"


class _Formatter(logging.Formatter):
    """Shows what is put into a message in printable letters: a name or path can neither break nor forge a line."""

    def format(self, record: logging.LogRecord) -> str:
        shown = copy.copy(record)
        args = tuple(map(_shown, record.args)) if isinstance(record.args, tuple) else record.args
        shown.msg, shown.args = escape(str(record.msg) % args if args else str(record.msg), but="\n"), ()
        return super().format(shown)


def _shown(value: Any) -> Any:
    is_text = isinstance(value, str | os.PathLike | BaseException) and not isinstance(value, Lines)
    return printable(str(value)) if is_text else value


class _ConsoleHandler(logging.Handler):
    """Writes through tqdm, so that a line does not tear a progress bar; warnings and errors go to stderr."""

    def emit(self, record: logging.LogRecord) -> None:
        stream = sys.stdout if record.levelno < logging.WARNING else sys.stderr
        try:
            tqdm.write(self.format(record), file=stream)
            stream.flush()
        except (OSError, ValueError):  # nobody reads on: a closed pipe or terminal; the log file goes on
            _silence(stream)


class _FileHandler(logging.FileHandler):
    def handleError(self, record: logging.LogRecord) -> None:
        """A full disk ends the log, not the run."""
        logger = logging.getLogger(ROOT)
        logger.removeHandler(self)
        logger.warning("the log %s ends here: %s", self.baseFilename, sys.exc_info()[1])


def _silence(stream: TextIO) -> None:
    """Lets what is still written to ``stream``, by whomever, come to nothing."""
    try:
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, stream.fileno())
        os.close(nowhere)
    except (OSError, ValueError):  # closed, or no file
        pass


def setup_logging(log_file: str | os.PathLike | None = None) -> None:
    """Sends the package's log to the console and, when given, appends it to ``log_file``; replaces earlier set-ups.

    Of several processes only the first writes a log; the others tell their errors.
    """
    _accept_any_letter()
    logger = logging.getLogger(ROOT)
    logger.setLevel(logging.INFO)
    close_logging()
    logger.propagate = False
    console = _ConsoleHandler()
    console.setFormatter(_Formatter("%(message)s"))
    if not is_main():
        console.setLevel(logging.ERROR)
    logger.addHandler(console)
    if log_file is not None and is_main():
        file = _FileHandler(log_file, encoding="utf-8")
        file.setFormatter(_Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
        logger.addHandler(file)


def _accept_any_letter() -> None:
    """What a narrow console (ASCII, cp1252) has no letter for is written out on it: it must not end a run."""
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")


def close_logging() -> None:
    """Undoes :func:`setup_logging`."""
    logger = logging.getLogger(ROOT)
    for handler in list(logger.handlers):
        logger.removeHandler(handler)
        handler.close()
    logger.propagate = True
