"""YAML files, by whomever: mappings, lists and plain values, read without tags and within bounds.

PyYAML only splits the text into events here. What it would make of them can run for ever (aliases of aliases), end in a
traceback (tags, deep nesting) or mean another number than was written (``017`` is 15 to it, ``1:30`` is 90).
"""

import os
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import yaml

from .errors import ConfigError, first_line
from .text import LONGEST_QUOTE, brief, printable

MAX_SIZE = 100_000  # of a file in bytes, and of what its aliases make of it in characters and values
MAX_DEPTH = 20
NUMBER = re.compile(r"[-+]?(?:(?:0|[1-9][0-9]*)(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][-+]?[0-9]+)?")
WHOLE = re.compile(r"[-+]?(?:0|[1-9][0-9]*)")
WORDS = {"true": True, "false": False}
NOT_FINITE = re.compile(r"[-+]?\.?(?:inf|nan)", re.IGNORECASE)


def read_yaml(path: str | os.PathLike, plain: Callable[[str], Any] | None = None) -> Any:
    """Reads a small YAML file.

    Args:
        path: one document of at most ``MAX_SIZE`` bytes.
        plain: what to make of an unquoted value; None: :func:`plain_value`. Quoted values stay text, empty ones and
            ``null`` are None.

    Raises:
        ConfigError: naming the file, the line and what is wrong there.
    """
    path = Path(path)
    try:
        if path.exists() and not path.is_file() and not path.is_dir():
            raise ConfigError(f"{path}: no regular file")
        with path.open("rb") as file:
            content = file.read(MAX_SIZE + 1)
        text = content.decode("utf-8-sig")
    except OSError as error:
        raise ConfigError(f"{path}: cannot read the config file: {error.strerror}") from None
    except ValueError as error:
        problem = "not valid UTF-8 text" if isinstance(error, UnicodeDecodeError) else first_line(error)
        raise ConfigError(f"{path}: {problem}") from None
    if len(content) > MAX_SIZE:
        raise ConfigError(f"{path}: longer than {MAX_SIZE:,} bytes, which no config file is")
    return parse_yaml(text, str(path), plain)


def parse_yaml(text: str, source: str, plain: Callable[[str], Any] | None = None) -> Any:
    """Reads YAML out of ``text``; ``source`` names it in errors. Arguments and errors as of :func:`read_yaml`."""
    try:
        return _Builder(yaml.parse(text, yaml.SafeLoader), plain or plain_value).document()
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f", line {mark.line + 1}" if mark else ""
        problem = printable(getattr(error, "problem", None) or first_line(error), LONGEST_QUOTE)
        raise ConfigError(f"{source}{where}: not valid YAML: {problem}") from None
    except (ValueError, OverflowError) as error:  # of PyYAML's scanner, for escapes of characters that do not exist
        raise ConfigError(f"{source}: not valid YAML: {first_line(error)}") from None


def plain_value(text: str) -> bool | int | float | str:
    """Returns what an unquoted ``text`` plainly is: True or False, a decimal number, or else text.

    Only what has one reading is a number: not ``017`` (15 in YAML 1.1), ``1:30`` (90), ``0x10`` or ``1_000``.
    """
    if text.lower() in WORDS:
        return WORDS[text.lower()]
    if WHOLE.fullmatch(text) and len(text) < 400:
        return int(text)
    if NUMBER.fullmatch(text):
        return float(text)
    return float(text.replace(".", "")) if NOT_FINITE.fullmatch(text) else text


def flat(tree: dict[str, Any]) -> dict[str, Any]:
    """Returns the values of nested mappings by their full key, such as ``SOLVER.BASE_LR``, in their order.

    Raises:
        ConfigError: two ways lead to one key (``A.B: 1`` beside ``A: {B: 2}``).
    """
    found: dict[str, Any] = {}
    for name, value in tree.items():
        below = (
            {f"{name}.{key}": leaf for key, leaf in flat(value).items()} if isinstance(value, dict) else {name: value}
        )
        if twice := found.keys() & below.keys():
            raise ConfigError(f"{brief(min(twice))} occurs twice")
        found |= below
    return found


class _Builder:
    """Events to values; an anchor is known once its value is whole, so nothing can hold itself."""

    def __init__(self, events: Iterator[yaml.Event], plain: Callable[[str], Any]) -> None:
        self.events, self.plain = events, plain
        self.anchors: dict[str, tuple[Any, int]] = {}
        self.size = 0  # values and characters so far, those of aliases each time

    def document(self) -> Any:
        next(self.events)  # the stream starts
        if isinstance(next(self.events), yaml.StreamEndEvent):
            return None
        value = self._value(next(self.events), 0)
        next(self.events)  # the document ends
        if not isinstance(event := next(self.events), yaml.StreamEndEvent):
            raise _problem(event, "a second document")
        return value

    def _value(self, event: yaml.Event, depth: int) -> Any:
        if depth > MAX_DEPTH:
            raise _problem(event, f"more than {MAX_DEPTH} values in one another")
        before = self.size
        if isinstance(event, yaml.AliasEvent):
            if event.anchor not in self.anchors:
                raise _problem(event, f"*{brief(event.anchor)} stands for nothing that is complete before it")
            value, size = self.anchors[event.anchor]
            self._grow(event, size)
            return _copy(value)
        if event.tag is not None:
            raise _problem(event, f"the tag {brief(event.tag)}: tags are not read, write the value alone")
        if isinstance(event, yaml.ScalarEvent):
            self._grow(event, 1 + len(event.value))
            value = self._scalar(event)
        elif isinstance(event, yaml.SequenceStartEvent):
            self._grow(event, 1)
            value = []
            while not isinstance(item := next(self.events), yaml.SequenceEndEvent):
                value.append(self._value(item, depth + 1))
        else:
            self._grow(event, 1)
            value = self._mapping(depth)
        if event.anchor:
            self.anchors[event.anchor] = value, self.size - before
        return value

    def _mapping(self, depth: int) -> dict[str, Any]:
        own, merged = {}, {}
        while not isinstance(event := next(self.events), yaml.MappingEndEvent):
            if not isinstance(event, yaml.ScalarEvent) or event.tag is not None:
                raise _problem(event, "a key that is no plain text")
            key = event.value
            self._grow(event, len(key))
            value = self._value(next(self.events), depth + 1)
            if key == "<<" and event.implicit[0]:
                for part in value if isinstance(value, list) else [value]:
                    if not isinstance(part, dict):
                        raise _problem(event, "<< takes a mapping, or a list of them")
                    merged = {**part, **merged}
            elif key in own:
                raise _problem(event, f"{brief(key)} occurs twice")
            else:
                own[key] = value
        return {**merged, **own}

    def _scalar(self, event: yaml.ScalarEvent) -> Any:
        if not event.implicit[0]:  # quoted, or a block of text
            return event.value
        return None if event.value in ("", "~", "null", "Null", "NULL") else self.plain(event.value)

    def _grow(self, event: yaml.Event, size: int) -> None:
        self.size += size
        if self.size > MAX_SIZE:
            raise _problem(event, f"its aliases make it longer than {MAX_SIZE:,} characters and values")


def _copy(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _copy(item) for key, item in value.items()}
    return [_copy(item) for item in value] if isinstance(value, list) else value


def _problem(event: yaml.Event, problem: str) -> yaml.MarkedYAMLError:
    return yaml.MarkedYAMLError(problem=problem, problem_mark=event.start_mark)
