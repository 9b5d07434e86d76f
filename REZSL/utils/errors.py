"""What a user did wrong, told in one line. The command lines print these without a traceback."""


class REZSLError(Exception):
    """Base of every error that the user, not the code, can mend."""


class ConfigError(REZSLError, ValueError):
    """A config key or value that cannot be used."""


class DataError(REZSLError, ValueError):
    """A data file that is missing, damaged or contradicts itself."""


class RunError(REZSLError, RuntimeError):
    """A run that cannot start or go on: folder in use, device missing, loss not finite."""


class Stopped(BaseException):
    """The process was asked to stop and has saved what it had; like KeyboardInterrupt, no error of the code.

    Args:
        signal_number: the signal that asked.
    """

    def __init__(self, signal_number: int) -> None:
        super().__init__(signal_number)
        self.signal_number = signal_number


def first_line(error: BaseException) -> str:
    """The first line of an error's text, to be quoted in one of ours, which have one line and few characters."""
    return brief((str(error).strip() or type(error).__name__).splitlines()[0], 300)


def brief(text: object, limit: int = 80) -> str:
    """``text`` as it can be shown within a line: control characters escaped, what is beyond ``limit`` left out."""
    shown = "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in str(text)[: limit + 1])
    return shown if len(shown) <= limit else f"{shown[:limit]}..."
