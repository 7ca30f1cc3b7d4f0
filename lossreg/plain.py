"""Plain data: what JSON can say, within bounds. Whatever a user hands over as a config is turned into it first."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from lossreg.errors import InvalidConfigError, Problem

MAX_DEPTH = 64
MAX_NODES = 100_000
MAX_TEXT = 10_000
MAX_KEY = 200  # every message about what is below it holds the path
MAX_INTEGER = 10**308
MAX_PROBLEMS = 1000
MAX_LINES = 200  # problems in a message; the error holds all
MAX_LINE = 2000  # characters of a problem in a message
MAX_MESSAGE = 16_000
MAX_SHOWN = 60  # characters of a value in a message

Plain = None | bool | int | float | str | list["Plain"] | dict[str, "Plain"]


def plain(value: object, path: str = "") -> Plain:
    """A copy of nested mappings and sequences as dicts and lists.

    Bounded in depth, size and text, so that a config which contains itself, or aliases that explode, end in an error.

    Raises:
        InvalidConfigError: names every value that JSON cannot say, or the bound that was passed.
    """
    copier = _Copier()
    copied = copier.copy(value, path, 0)
    if copier.problems:
        raise invalid(copier.problems)
    return copied


def invalid(problems: list[Problem]) -> InvalidConfigError:
    """One error that holds every problem."""
    lines = [_cut(str(problem), MAX_LINE) for problem in problems[:MAX_LINES]]
    while sum(map(len, lines)) > MAX_MESSAGE:
        lines.pop()
    if len(problems) > len(lines):
        lines.append(f"and {len(problems) - len(lines)} more")
    text = lines[0] if len(lines) == 1 else f"{len(problems)} problems\n  " + "\n  ".join(lines)
    return InvalidConfigError(f"invalid loss config: {text}", problems=tuple(problems))


def shown(value: object, limit: int = MAX_SHOWN) -> str:
    """A value as an error message shows it: on one line, cut to length."""
    if isinstance(value, str):
        text = f"the text {value[:limit]!r}"
    elif isinstance(value, (Mapping, list, tuple)):
        what = "mapping" if isinstance(value, Mapping) else "list"
        text = f"a {what} of {len(value)}"
    elif isinstance(value, int):
        text = repr(value) if abs(value) < 10**limit else "a huge integer"
    elif value is None or isinstance(value, float):
        text = repr(value)
    else:  # what another class's repr does is not known
        text = f"an object of type {type(value).__name__}"
    return text if len(text) <= limit + 20 else text[:limit] + "..."


def _cut(text: str, limit: int) -> str:
    return text if len(text) <= limit else text[:limit] + "..."


def join(path: str, key: str | int) -> str:
    """`terms` and 1 as `terms[1]`, `params` and `smooth` as `params.smooth`, what is no word as `params['a b']`."""
    if isinstance(key, int) or not key.replace("-", "_").isidentifier():
        return f"{path}[{key!r:.80}]"
    return f"{path}.{key}" if path else key


class _Copier:
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
                self.problem(path, f"keys are text, got {shown(key)}")
        return copied

    def _leaf(self, value: object, path: str) -> Plain:
        if isinstance(value, str):
            try:
                value.encode()  # half of a surrogate pair is no text that a file can hold
            except UnicodeEncodeError:
                self.problem(path, f"unreadable text {value!r:.80}")
            if len(value) > MAX_TEXT:
                self.problem(path, f"text of {len(value)} characters; at most {MAX_TEXT} are read")
            return str.__str__(value)  # a member of an enum of strings prints its own name
        if value is None or isinstance(value, bool):
            return value
        if isinstance(value, int):
            if abs(value) < MAX_INTEGER:
                return int(value)
            self.problem(path, "expected an integer that a float can hold, got a huge integer")
        elif isinstance(value, float):
            if math.isfinite(value):
                return float(value)
            self.problem(path, f"expected a finite number, got {value}")
        else:
            kind = type(value).__name__
            self.problem(path, f"expected plain data as JSON holds it, got an object of type {kind}")
        return None
