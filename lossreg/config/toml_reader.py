"""TOML: bounds tomllib, names both lines of a key that is written twice, and outlines the lines of its values."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator
from typing import Any

from lossreg.config.places import Outline, twice
from lossreg.config.plain_data import MAX_DEPTH

# Text without an end is a token too: to look for its end at each quote would take time that grows with the square.
_TOKEN = re.compile(
    r"""
    "{3} (?: \\. | (?!"{3}) [^\\] )*+ (?: "{3,5} | \Z )  |  '{3} (?: (?!'{3}) . )*+ (?: '{3,5} | \Z )
    | " (?: [^"\\\n] | \\. )*+ "?  |  ' [^'\n]*+ '?
    | \#[^\n]*+  |  \n  |  [\[\]{}=,.]  |  [^\s\[\]{}=,."'\#]++
    """,
    re.DOTALL | re.VERBOSE,
)


def read_toml(text: str) -> tuple[Any, Outline]:
    """Return the data of a document, and its outline."""
    outliner = _Outliner(text)
    outline = outliner.document()  # first: it bounds what tomllib does not
    try:
        return tomllib.loads(text), outline
    except tomllib.TOMLDecodeError as error:
        raise outliner.twice or error from None


class _Outliner:
    """Outlines valid TOML. In other text it looks for the first key that is written twice, which tomllib refuses."""

    def __init__(self, text: str) -> None:
        self.twice: ValueError | None = None
        self._root = Outline(1)
        self._defined: set[Outline] = set()  # by a header or a dotted key of their own, which a second may not repeat
        self._arrays: dict[Outline, Outline] = {}  # the last table of each array of tables
        self._values: set[Outline] = set()  # which hold no further tables
        self._tokens = _tokens(text)
        self._token, self._line = next(self._tokens, ("", 0))

    def document(self) -> Outline:
        """Outline the whole text."""
        table = self._root
        while self._token:
            if self._token == "[":
                table = self._header()
            elif self._token != "\n":
                self._pair(table)
            while self._token and self._token != "\n":  # the rest of a line that is not valid
                self._next()
            self._next()
        return self._root

    def _next(self) -> str:
        """Return the token, and go on to the one after it; "" is the end."""
        token = self._token
        self._token, self._line = next(self._tokens, ("", 0))
        return token

    def _header(self) -> Outline:
        line, brackets = self._line, 0
        while self._token == "[":
            brackets += 1
            self._next()
        *path, last = self._key() or [""]
        holder = self._inner(path, self._root, line)
        table = holder.items.setdefault(last, Outline(line))
        if table in self._defined or (brackets == 1 and table in self._arrays):
            self._refuse(last, table, line)
        if brackets == 2:
            last_table = self._arrays[table] = table.items[len(table.items)] = Outline(line)
            return last_table
        self._defined.add(table)
        return table

    def _pair(self, table: Outline) -> None:
        line = self._line
        path = self._key()
        if self._next() != "=" or not path:
            return
        holder = self._inner(path[:-1], table, line)
        known = holder.items.get(path[-1])
        if known is not None:
            self._refuse(path[-1], known, line)
        self._defined.add(holder)
        holder.items[path[-1]] = self._value(line)

    def _value(self, line: int) -> Outline:
        drawn = Outline(line)
        self._defined.add(drawn)
        self._values.add(drawn)
        opening = self._token
        if opening not in ("[", "{"):
            while self._token not in ("", "\n", ",", "]", "}"):
                self._next()
            return drawn
        self._next()
        while self._token not in ("", "]", "}"):
            if self._token in ("\n", ","):
                self._next()
            elif opening == "[":
                drawn.items[len(drawn.items)] = self._value(self._line)
            else:
                self._pair(drawn)
        self._next()
        return drawn

    def _refuse(self, key: str, known: Outline, line: int) -> None:
        self.twice = self.twice or twice(key, known.line, line)

    def _key(self) -> list[str]:
        """Return the parts of a dotted key. tomllib's memory grows with the square of their number."""
        parts: list[str] = []
        while self._token not in ("", "\n", "=", "]", "[", "{", "}", ","):
            part = self._next()
            if part != ".":
                parts.append(_unquoted(part))
            elif len(parts) >= MAX_DEPTH:
                raise ValueError(f"a dotted key has more than {MAX_DEPTH} parts")
        return parts

    def _inner(self, path: list[str], table: Outline, line: int) -> Outline:
        """Return the table at a path: of an array of tables, the last one."""
        for part in path:
            table = table.items.setdefault(part, Outline(line))
            if table in self._values:
                self._refuse(part, table, line)
            while table in self._arrays:
                table = self._arrays[table]
        return table


def _tokens(text: str) -> Iterator[tuple[str, int]]:
    """Split a text into tokens, each with its line, without blanks and comments."""
    line = 1
    for match in _TOKEN.finditer(text):
        if not match[0].startswith("#"):
            yield match[0], line
        line += match[0].count("\n")


def _unquoted(part: str) -> str:
    if part[0] not in "\"'":
        return part
    try:
        return str(tomllib.loads(f"key = {part}")["key"])
    except tomllib.TOMLDecodeError:
        return part
