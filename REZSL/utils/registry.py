"""Names to builders, and the nearest known name for one that is unknown."""

import difflib
from collections.abc import Callable, Iterable

from .errors import ConfigError


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """Returns ``"; did you mean 'x'?"`` for the nearest of ``known``, or an empty string where nothing is near."""
    lowered = {k.lower(): k for k in known}
    near = difflib.get_close_matches(name.lower(), lowered, n=1, cutoff=0.6)
    return f"; did you mean {lowered[near[0]]!r}?" if near else ""


class Registry:
    """Maps names to builders.

    >>> HEADS = Registry("head")
    >>> @HEADS.register("Mean")
    ... def build_mean(): ...
    >>> HEADS.get("Mean") is build_mean
    True
    """

    def __init__(self, kind: str) -> None:
        self.kind = kind
        self._entries: dict[str, Callable] = {}

    def register(self, name: str) -> Callable[[Callable], Callable]:
        """Decorator that files its function or class under ``name``; a name taken already raises ``ValueError``."""

        def add(builder: Callable) -> Callable:
            if name in self._entries:
                raise ValueError(f"{self.kind} {name!r} is registered twice")
            self._entries[name] = builder
            return builder

        return add

    def get(self, name: str) -> Callable:
        """Returns the builder filed under ``name``; raises ``ConfigError`` with the known names otherwise."""
        if name not in self._entries:
            known = ", ".join(self._entries)
            raise ConfigError(f"unknown {self.kind} {name!r}: known are {known}{did_you_mean(name, self._entries)}")
        return self._entries[name]

    def __iter__(self):
        return iter(self._entries)
