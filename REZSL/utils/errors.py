"""What a user did wrong, told in one line. The command lines print these without a traceback."""

from collections.abc import Sequence

from .text import LONGEST_QUOTE, printable


class REZSLError(Exception):
    """Base of every error that the user, not the code, can mend. Its text is one printable line, a few at most wide."""

    def __str__(self) -> str:
        return _own_line(super().__str__(), type(self))


class ConfigError(REZSLError, ValueError):
    """A config key or value that cannot be used."""


class DataError(REZSLError, ValueError):
    """A data file that is missing, damaged or contradicts itself."""


class RunError(REZSLError, RuntimeError):
    """A run that cannot start or go on: folder in use, device missing, loss not finite."""


class SeveralErrors(REZSLError):
    """Errors of things that do not need each other, such as the runs of a comparison; each is told in its line.

    Args:
        errors: two or more.
    """

    def __init__(self, errors: Sequence[REZSLError]) -> None:
        super().__init__("; ".join(map(str, errors)))
        self.errors = tuple(errors)


class Stopped(BaseException):
    """The process was asked to stop and has saved what it had; like KeyboardInterrupt, no error of the code.

    Args:
        signal_number: the signal that asked.
    """

    def __init__(self, signal_number: int) -> None:
        super().__init__(signal_number)
        self.signal_number = signal_number


def raise_all(errors: Sequence[REZSLError]) -> None:
    """Raises the one of ``errors``, or all of them as :class:`SeveralErrors`; does nothing where there are none."""
    if errors:
        raise errors[0] if len(errors) == 1 else SeveralErrors(errors)


def lines_of(error: REZSLError | OSError) -> list[str]:
    """The lines that tell an error: one, but for :class:`SeveralErrors`."""
    if isinstance(error, SeveralErrors):
        return [str(each) for each in error.errors]
    return [_own_line(str(error), type(error))]


def first_line(error: BaseException) -> str:
    """The first line of an error's text, to be quoted in one of ours, which have one line."""
    return printable((str(error).strip() or type(error).__name__).splitlines()[0], LONGEST_QUOTE)


def _own_line(text: str, kind: type) -> str:
    """An error that crossed a loading process carries that process's traceback before its own line."""
    module = "" if kind.__module__ == "builtins" else f"{kind.__module__}."
    return printable(text.rpartition(f"\n{module}{kind.__qualname__}: ")[2].strip())
