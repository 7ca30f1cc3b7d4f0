"""Plain data: the values of JSON, within bounds. Every config is copied to plain data before anything reads it."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from lossreg.errors import Problem
from lossreg.messages import MAX_SHOWN, invalid, join, shown
from lossreg.parameters.types import is_module

MAX_DEPTH = 64
MAX_NODES = 100_000
MAX_TEXT = 10_000  # characters
MAX_KEY = 200  # characters; the path in every message about a value below contains it
MAX_PROBLEMS = 100  # each may look for similar names, which takes time

Plain = None | bool | int | float | str | list["Plain"] | dict[str, "Plain"]


def plain(value: object, path: str = "") -> Plain:
    """Copy nested mappings and sequences as dicts and lists.

    Depth, size and text are bounded: a config that contains itself, and aliases that explode, end in an error.

    Raises:
        InvalidConfigError: with every value that JSON cannot hold, or the bound that is exceeded.
    """
    copier = _Copier()
    copied = copier.copy(value, path, 0)
    if copier.problems:
        raise invalid(copier.problems)
    return copied


class _Copier:
    """The copy of one config, and its problems."""

    def __init__(self) -> None:
        self.nodes = 0
        self.problems: list[Problem] = []

    def problem(self, path: str, message: str) -> None:
        self.problems.append(Problem(path, message))
        if len(self.problems) == MAX_PROBLEMS:
            raise invalid([*self.problems, Problem("", f"not read further after {MAX_PROBLEMS} problems")])

    def copy(self, value: object, path: str, depth: int) -> Plain:
        self.nodes += 1
        if self.nodes > MAX_NODES:
            raise invalid([Problem(path, f"the config holds more than {MAX_NODES} values; it must be smaller")])
        if depth > MAX_DEPTH:
            raise invalid([Problem("", f"the config is nested deeper than {MAX_DEPTH} levels, or contains itself")])
        if isinstance(value, Mapping):
            return self._mapping(value, path, depth)
        if isinstance(value, Sequence) and not isinstance(value, (str, bytes, bytearray)):
            return [self.copy(item, join(path, index), depth + 1) for index, item in enumerate(value)]
        return self._leaf(value, path)

    def _mapping(self, value: Mapping[object, object], path: str, depth: int) -> Plain:
        copied = {}
        for key, item in value.items():
            if isinstance(key, str) and len(key) <= MAX_KEY and key.isprintable():
                copied[str.__str__(key)] = self.copy(item, join(path, key), depth + 1)
            elif isinstance(key, str):
                self.problem(path, f"unreadable key: {key[:MAX_SHOWN]!a}")
            else:
                self.problem(path, f"keys must be text, got {shown(key)}")
        return copied

    def _leaf(self, value: object, path: str) -> Plain:
        if isinstance(value, str):
            try:
                value.encode()  # no file can hold half of a surrogate pair
            except UnicodeEncodeError:
                self.problem(path, f"unreadable text {value!r:.80}")
            if len(value) > MAX_TEXT:
                self.problem(path, f"text of {len(value)} characters; at most {MAX_TEXT} are read")
            return str.__str__(value)  # a member of an enum of strings prints its own name
        if value is None or isinstance(value, bool):
            return value
        if isinstance(value, int):
            if _fits_float(value):
                return int(value)
            self.problem(path, "expected an integer that a float can hold, got a huge integer")
        elif isinstance(value, float):
            if math.isfinite(value):
                return float(value)
            self.problem(path, f"expected a finite number, got {value}")
        else:
            self.problem(path, _no_plain_data(value))
        return None


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
    if is_module(type(value)):
        return f"this {kind} is a module already; use it as it is, or register its class to build it by name"
    return f"expected plain data as JSON holds it, got an object of type {kind}"
