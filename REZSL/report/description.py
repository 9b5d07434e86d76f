"""Descriptions of plain values (JSON, YAML) by which a file from anywhere is checked before anything uses it."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from REZSL.utils.text import printable

ROUNDING = 1e-9  # of a mean of 0s and 1s
LARGEST = 4e38  # a little more than float32 holds; figures of more cannot be drawn


@dataclass(frozen=True)
class Number:
    """A number in ``low``..``high``, both included, up to rounding.

    Attributes:
        whole: an integer.
        or_nan: NaN too.
        or_none: None (null) too.
    """

    low: float = -LARGEST
    high: float = LARGEST
    whole: bool = False
    or_nan: bool = False
    or_none: bool = False

    def __str__(self) -> str:
        kind = "a whole number" if self.whole else "a number"
        return kind if self.high == LARGEST == -self.low else f"{kind} in {self.low:g}..{self.high:g}"


@dataclass(frozen=True)
class Each:
    """A mapping of at most ``most`` texts, each to a value of one kind."""

    kind: Any
    most: int = 100

    def __str__(self) -> str:
        return f"a mapping of at most {self.most} names"


@dataclass(frozen=True)
class Fields:
    """A mapping with these keys, and any others.

    Attributes:
        required: kinds of the values that must be there, by key.
        optional: kinds of those that may be.
    """

    required: Mapping[str, Any]
    optional: Mapping[str, Any]

    def __str__(self) -> str:
        return "a mapping" + (f" with {', '.join(self.required)}" if self.required else "")


@dataclass(frozen=True)
class Pair:
    """A list of two values of one kind."""

    kind: Any

    def __str__(self) -> str:
        return f"a list of two, each {_named(self.kind)}"


def check(value: Any, kind: Any, key: str = "") -> None:
    """Checks a value of a file.

    Args:
        value: as JSON or YAML gives it.
        kind: ``str``, ``bool``, or one of the above.
        key: full name of the value.

    Raises:
        ValueError: naming the key, what is there, and what is expected.
    """
    children: list[tuple[Any, Any, str]] = []
    match kind:
        case Number():
            is_number = isinstance(value, int if kind.whole else int | float) and not isinstance(value, bool)
            in_range = is_number and kind.low - ROUNDING <= value <= kind.high + ROUNDING
            sound = in_range or (kind.or_nan and value != value) or (kind.or_none and value is None)
        case Each():
            sound = isinstance(value, dict) and len(value) <= kind.most and all(isinstance(k, str) for k in value)
            children = [(v, kind.kind, k) for k, v in value.items()] if sound else []
        case Fields():
            sound = isinstance(value, dict)
            if sound and (missing := [k for k in kind.required if k not in value]):
                raise ValueError(f"{_joined(key, missing[0])} is missing")
            kinds = {**kind.required, **kind.optional}
            children = [(v, kinds[k], k) for k, v in value.items() if k in kinds] if sound else []
        case Pair():
            sound = isinstance(value, list) and len(value) == 2
            children = [(v, kind.kind, str(n)) for n, v in enumerate(value)] if sound else []
        case _:
            sound = isinstance(value, kind)
    if not sound:
        raise ValueError(f"{key or 'the whole'} is {_found(value)}, expected {_named(kind)}")
    for child, of_kind, name in children:
        check(child, of_kind, _joined(key, name))


def _joined(key: str, name: str) -> str:
    return f"{key}.{name}" if key else name


def _named(kind: Any) -> str:
    return "text" if kind is str else "true or false" if kind is bool else str(kind)


def _found(value: Any) -> str:
    if isinstance(value, dict | list):
        return f"a {'mapping' if isinstance(value, dict) else 'list'} of {len(value)}"
    return printable(repr(value) if not isinstance(value, int) or abs(value) < LARGEST else "a huge number", 60)
