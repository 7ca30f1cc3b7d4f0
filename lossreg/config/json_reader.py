"""JSON: refuses keys that are written twice, and outlines the lines of its values."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

from lossreg.config.places import Outline, twice

_TOKEN = re.compile(r'"(?:[^"\\]|\\.)*+"|\n|[{}\[\]]|[^\s"{}\[\],:]+')


def read_json(text: str) -> tuple[Any, Outline]:
    """Return the data of a document, and its outline."""
    data = json.loads(text)  # first: only valid JSON is outlined
    tokens = _tokens(text)
    return data, _outline(tokens, *next(tokens))


def _tokens(text: str) -> Iterator[tuple[str, int]]:
    """Split valid JSON into brackets, texts and words, each with its line. Commas and colons say nothing more."""
    line = 1
    for match in _TOKEN.finditer(text):
        if match[0] == "\n":
            line += 1
        else:
            yield match[0], line


def _outline(tokens: Iterator[tuple[str, int]], token: str, line: int) -> Outline:
    drawn = Outline(line)
    if token not in ("{", "["):
        return drawn
    for first, at in tokens:
        if first in ("}", "]"):
            break
        if token == "[":
            drawn.items[len(drawn.items)] = _outline(tokens, first, at)
            continue
        key = json.loads(first)
        if key in drawn.items:
            raise twice(key, drawn.items[key].line, at)
        drawn.items[key] = _outline(tokens, next(tokens)[0], at)
    return drawn
