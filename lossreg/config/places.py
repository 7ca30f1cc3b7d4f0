"""Places: the file and line of each value that `read_config` read.

Values from a file are plain dicts, lists and text, as every library takes them: a subclass of dict is refused by
OmegaConf, by `yaml.safe_dump` and by `torch.load`. So their places are kept beside them, by identity.
"""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Mapping
from functools import reduce
from itertools import islice
from threading import Lock
from typing import Any, NamedTuple

from lossreg.errors import InvalidConfigError, Problem
from lossreg.messages import invalid, join

MAX_REMEMBERED = 100_000  # values of files; those of the oldest files are forgotten first

MAX_SEARCHED = 1000  # keys that no path has as they are

_STEP = re.compile(r"\.?([^\W\d][\w-]*)|\[(\d+)\]")


class Outline:
    """The line of a value in a file, and the outlines of the values in it.

    Attributes:
        written: text of the value in the file, where YAML reads something else than is written.
        key_written: the same of its key.
    """

    __slots__ = ("items", "key_written", "line", "written")

    def __init__(self, line: int, written: str | None = None) -> None:
        self.line = line
        self.written = written
        self.key_written: str | None = None
        self.items: dict[Any, Outline] = {}


def twice(key: str, first: int, second: int, advice: str = "remove one") -> ValueError:
    """Return the error for a key that is written twice in one mapping: none of its values is known to be meant."""
    lines = f"in lines {first} and {second}" if first != second else f"in line {first}"
    return ValueError(f"the key {key!r:.80} is written twice, {lines}; {advice}")


class Read(NamedTuple):
    """A dict, list or text that was read from a file, its holder there and its key or index in that."""

    value: Any  # as long as it is held here, no other object has its id
    file: str
    holder: Read | None
    key: str | int
    outline: Outline
    held: dict[Any, Any]  # the values in the file; others were put there by code

    @property
    def path(self) -> str:
        """Return the path in the file. It is not kept: those of a deep file together may be huge."""
        steps, each = [], self
        while each.holder is not None:
            steps.append(each.key)
            each = each.holder
        return reduce(join, reversed(steps), "")

    def unchanged(self, key: Any) -> Any:
        """Return the value at a key or index, if it is still what the file has there; else None."""
        try:
            value = self.value[key]
        except LookupError:
            return None
        return value if self.held.get(key) is value else None


class Place(NamedTuple):
    """A place in a file."""

    file: str
    path: str
    line: int
    written: str | None


_reads: dict[int, Read] = {}
_files: deque[list[int]] = deque()  # the keys of `_reads` by file, the oldest first
_lock = Lock()


def remember(file: str, value: Any, outline: Outline) -> None:
    """Keep the places of the values that a file holds. A file of too many values is not kept."""
    found: dict[int, Read] = {}
    waiting: list[tuple[Any, Outline, Read | None, str | int]] = [(value, outline, None, "")]
    while waiting:
        each, drawn, holder, step = waiting.pop()
        # Python has one object for all texts of one letter.
        if id(each) in found or not (isinstance(each, (dict, list)) or (isinstance(each, str) and len(each) > 1)):
            continue
        held = dict(each if isinstance(each, dict) else enumerate(each) if isinstance(each, list) else ())
        read = found[id(each)] = Read(each, file, holder, step, drawn, held)
        if len(found) > MAX_REMEMBERED:
            return
        outlined = [(key, item) for key, item in held.items() if key in drawn.items]
        inner = [(item, drawn.items[key], read, _step(each, key)) for key, item in outlined]
        waiting += reversed(inner)  # the first of several places of one value is kept
    with _lock:
        _reads.update(found)
        _files.append(list(found))
        while len(_reads) > MAX_REMEMBERED:
            for key in _files.popleft():
                _reads.pop(key, None)


def read_of(value: Any) -> Read | None:
    """Return how a dict, list or text was read from a file; None for any other object."""
    return _reads.get(id(value))


def with_places(error: InvalidConfigError, config: Any) -> InvalidConfigError:
    """Return an error whose problems have the files and lines of the config's values, as far as they are known."""
    problems = [each if each.file else _placed(each, config) for each in error.problems]
    return invalid(problems) if any(each.file for each in problems) else error


def _placed(problem: Problem, config: Any) -> Problem:
    place = place_of(config, problem.path)
    return problem if place is None else Problem(place.path, problem.message, place.file, place.line)


def place_of(config: Any, path: str) -> Place | None:
    """Return the place of a path in a config; the place of what holds it, where a file has nothing at the path."""
    place: Place | None = None
    value, rest = config, path
    while True:
        read = read_of(value)
        if read is not None and (place is None or not isinstance(value, str)):
            path_in_file, below = read.path, rest.removeprefix(".")
            dot = "." * bool(path_in_file and below and below[0] != "[")
            place = Place(read.file, path_in_file + dot + below, read.outline.line, read.outline.written)
        found = _next(value, rest)
        if found is None:
            return place._replace(written=None) if place is not None and rest else place
        key, value, rest = found
        if read is not None and place is not None:
            drawn = read.outline.items.get(key) if read.held.get(key) is value else None
            place = None if drawn is None else place._replace(line=drawn.line, written=drawn.written)


def _next(value: Any, rest: str) -> tuple[Any, Any, str] | None:
    """Return the key or index that a path begins with, the value there, and the rest of the path."""
    match = _STEP.match(rest)
    try:
        if match is not None:
            key: Any = match[1] if isinstance(value, Mapping) else int(match[2] or -1)
            return (key, value[key], rest[match.end() :]) if isinstance(value, (Mapping, list, tuple)) else None
        for key in islice(value, MAX_SEARCHED) if rest and isinstance(value, Mapping) else ():
            if rest.startswith(join("", str(key))):
                return key, value[key], rest[len(join("", str(key))) :]
    except Exception:  # noqa: BLE001 - of a mapping of another library, or there is no such key
        return None
    return None


def _step(holder: Any, key: Any) -> str | int:
    return str(key) if isinstance(holder, dict) else int(key)
