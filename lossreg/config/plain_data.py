"""Plain data: the values of JSON, within bounds. Every config is copied to plain data before anything reads it."""

from __future__ import annotations

import math
from collections import UserString
from collections.abc import Mapping, Sequence
from datetime import date, time
from enum import Enum
from pathlib import PurePath
from typing import Any

from lossreg.config.places import read_of
from lossreg.config.yaml_words import as_bool, surprising_number
from lossreg.errors import InvalidConfigError, Problem
from lossreg.messages import MAX_SHOWN, invalid, join, one_line, shown
from lossreg.parameters.types import is_module

MAX_DEPTH = 64
MAX_NODES = 100_000
MAX_TEXT = 10_000  # characters
MAX_KEY = 200  # characters; the path in every message about a value below contains it
MAX_PROBLEMS = 100  # each may look for similar names, which takes time

_PLAIN_TYPES = frozenset({dict, list, str, int, float, bool, type(None)})
_ADVICE = {  # by the name of a type
    "set": "; write a list",
    "frozenset": "; write a list",
    "ndarray": "; write its tolist()",
    "Tensor": "; write its tolist()",
}

Plain = None | bool | int | float | str | list["Plain"] | dict[str, "Plain"]


def plain(value: object, path: str = "") -> Plain:
    """Copy nested mappings and sequences as dicts and lists.

    Depth, size and text are bounded: a config that contains itself, and aliases that explode, end in an error.

    Raises:
        InvalidConfigError: with every value that JSON cannot hold, or the bound that is exceeded.
    """
    copier = _Copier()
    copied = copier.item((value,), 0, path, 0)
    if copier.problems:
        raise invalid(copier.problems) from copier.cause
    return copied


class _Copier:
    """The copy of one config, and its problems."""

    def __init__(self) -> None:
        self.nodes = 0
        self.problems: list[Problem] = []
        self.cause: Exception | None = None  # the first error of an object that cannot be read

    def problem(self, path: str, message: str, file: str = "", line: int = 0) -> None:
        self.problems.append(Problem(path, message, file, line))
        if len(self.problems) == MAX_PROBLEMS:
            raise invalid([*self.problems, Problem("", f"not read further after {MAX_PROBLEMS} problems")])

    def item(self, holder: Any, key: Any, path: str, depth: int) -> Plain:
        """Copy the value at a key or index. Objects of other libraries may raise any error."""
        self.nodes += 1
        if self.nodes > MAX_NODES:
            raise invalid([Problem(path, f"the config holds more than {MAX_NODES} values; it must be smaller")])
        if depth > MAX_DEPTH:
            raise invalid([Problem("", f"the config is nested deeper than {MAX_DEPTH} levels, or contains itself")])
        try:
            return self._copy(holder[key], path, depth)
        except (InvalidConfigError, MemoryError):
            raise
        except Exception as error:  # noqa: BLE001 - of any library
            self.cause = self.cause or error
            self.problem(path, f"cannot be read: {one_line(error):.300}; give a value of plain data")
            return None

    def _copy(self, value: object, path: str, depth: int) -> Plain:
        value = _as_plain_type(value)
        if isinstance(value, Mapping):
            return self._mapping(value, path, depth)
        if isinstance(value, Sequence) and not isinstance(value, (str, bytes, bytearray, UserString)):
            self._refuse_surprises(value, path)
            return [self.item(value, index, join(path, index), depth + 1) for index in range(len(value))]
        return self._leaf(value, path)

    def _mapping(self, value: Mapping[object, object], path: str, depth: int) -> Plain:
        copied: dict[str, Plain] = {}
        self._refuse_surprises(value, path)
        for key in value:
            text = self._key(value, key, path)
            if text in copied:
                self.problem(path, f"two keys are written {text!r}, one as a number and one as text; remove one")
            elif text is not None:
                copied[text] = self.item(value, key, join(path, text), depth + 1)
        return copied

    def _key(self, holder: object, key: object, path: str) -> str | None:
        """Return a key as text. Whole numbers become text: YAML has them as keys, and JSON has not."""
        plain_key = _as_plain_type(key)
        if isinstance(plain_key, int) and not isinstance(plain_key, bool) and _fits_float(int.__int__(plain_key)):
            return str(int.__int__(plain_key))
        if not isinstance(plain_key, str):
            read = read_of(holder)
            drawn = read.outline.items.get(key) if read is not None else None
            written = drawn.key_written if drawn is not None else None
            because = f", as {as_bool(plain_key, written)}" if isinstance(plain_key, bool) else ""
            message = f"keys must be text, got {shown(plain_key)}; write the key in quotes{because}"
            if read is not None and drawn is not None:
                self.problem(read.path, message, read.file, drawn.line)
            else:
                self.problem(path, message)
            return None
        text = str.__str__(plain_key)
        if len(text) <= MAX_KEY and text.isprintable():
            return text
        self.problem(path, f"unreadable key: {text[:MAX_SHOWN]!a}")
        return None

    def _refuse_surprises(self, value: Any, path: str) -> None:
        """Refuse numbers in a file that YAML reads otherwise than people do, such as 010 for 8."""
        read = read_of(value)
        for key, drawn in read.outline.items.items() if read is not None else ():
            if drawn.key_written is not None and isinstance(key, (int, float)) and not isinstance(key, bool):
                self.problem(join(path, str(key)), f"the key: {surprising_number(drawn.key_written, key)}")
            if drawn.written is not None and read is not None:
                item = read.unchanged(key)
                if isinstance(item, (int, float)) and not isinstance(item, bool):
                    where = join(path, key if isinstance(value, list) else str(key))
                    self.problem(where, surprising_number(drawn.written, item))

    def _leaf(self, value: object, path: str) -> Plain:
        if isinstance(value, str):
            return self._text(str.__str__(value), path)  # a member of an enum of strings prints its own name
        if value is None or isinstance(value, bool):
            return value
        if isinstance(value, int):
            number = int.__int__(value)
            if _fits_float(number):
                return number
            self.problem(path, "expected an integer that a float can hold, got a huge integer")
        elif isinstance(value, float):
            real = float.__float__(value)
            if math.isfinite(real):
                return real
            self.problem(path, f"expected a finite number, got {real}")
        else:
            self.problem(path, _no_plain_data(value))
        return None

    def _text(self, text: str, path: str) -> str:
        try:
            text.encode()  # no file can hold half of a surrogate pair
        except UnicodeEncodeError:
            self.problem(path, f"unreadable text {text!r:.80}")
        if len(text) > MAX_TEXT:
            self.problem(path, f"text of {len(text)} characters; at most {MAX_TEXT} are read")
        return text


def _as_plain_type(value: object) -> object:
    """Return the value that an enum's member, a path or a scalar of numpy stands for; any other object unchanged."""
    if type(value) in _PLAIN_TYPES:
        return value
    if isinstance(value, Enum):
        return _as_plain_type(value.value)
    if isinstance(value, PurePath):
        return str(value)
    if type(value).__module__ == "numpy" and getattr(value, "shape", None) == ():
        return value.item()  # type: ignore[attr-defined]
    return value


def _fits_float(value: int) -> bool:
    try:
        float(value)
    except OverflowError:
        return False
    return True


def _no_plain_data(value: object) -> str:
    """Explain why an object cannot be part of a config."""
    if isinstance(value, type) and is_module(value):
        name = value.__name__
        return f"{name} is a class; call it, or register it to build it by name: losses.register('my_name')({name})"
    kind = type(value).__name__
    if is_module(type(value)) and "_lossreg_config" in vars(value):  # set by lossreg.build
        return f"this {kind} is built already; use it as it is, or write name and params in its place, without _target_"
    if is_module(type(value)):
        return f"this {kind} is a module already; use it as it is, or register its class to build it by name"
    if isinstance(value, UserString):
        return f"expected text, got an object of type {kind}; write str(...)"
    if isinstance(value, (date, time)):
        return f"expected plain data as JSON holds it, got the date or time {value}; write it in quotes: '{value}'"
    advice = _ADVICE.get(kind, "")
    return f"expected plain data as JSON holds it, got an object of type {kind}{advice}"
