"""Hints for a search that finds nothing, or not all of the words."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from lossreg.messages import did_you_mean
from lossreg.search.search import Found


def of_words(found: Found, tags: Iterable[str]) -> Iterator[str]:
    """Yield a line for each word that nothing has, then one if no loss has all words, or the tags if none was found."""
    for word, close in found.near.items():
        yield f"nothing has the word {word!r}" + (f"; did you mean {' or '.join(map(repr, close))}?" if close else "")
    if found.names and found.missed:
        yield "no loss has all of these words; these have the most"
    elif not found.names:
        yield _tags(tags)


def of_tags(expression: str, tags: Iterable[str]) -> Iterator[str]:
    """Yield a line for each tag of an expression without losses that does not exist, and the tags that do."""
    known = sorted(tags)
    for word in re.findall(r"[\w.\-]+", expression):
        if word not in known:
            meant = did_you_mean(word, known, otherwise=f"lossreg find {word} also searches names and problems")
            yield f"no loss has the tag {word!r}; {meant}"
    yield _tags(known)


def _tags(tags: Iterable[str]) -> str:
    return f"tags: {' '.join(sorted(tags))}"
