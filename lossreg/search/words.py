"""Words: how a text is cut into words, and when a word that a user types means one of them."""

from __future__ import annotations

import re
from collections.abc import Iterable

LONG = 5  # letters of a word that may also be the beginning of the typed one: "imbalance" of "imbalanced"
SHORT = 3  # letters from which the beginning of a word is enough: "dt" does not mean "dtype"

_WORD = re.compile(r"[^\W_]+")


def words(text: str) -> list[str]:
    """Return the words of a text in lower case and in the singular. Underscores and hyphens part words."""
    return [_singular(word) for word in _WORD.findall(text.lower())]


def asked(text: str) -> list[str]:
    """Return the words of a search, each once, without those that say nothing, unless there are no others."""
    typed = [*dict.fromkeys(words(text))]
    return [word for word in typed if word not in EMPTY] or typed


def means(typed: str, word: str) -> bool:
    """Return whether a typed word means another: "crack" means "cracks" and "imbalanced" means "imbalance"."""
    if len(typed) < SHORT:
        return typed == word
    return word.startswith(typed) or (len(word) >= LONG and typed.startswith(word))


def is_among(typed: str, known: Iterable[str]) -> bool:
    """Return whether a typed word means one of these words."""
    return any(means(typed, word) for word in known)


def _singular(word: str) -> str:
    if len(word) > LONG and word.endswith("ies"):
        return f"{word[:-3]}y"
    if word.endswith("sses"):
        return word[:-2]
    return word[:-1] if len(word) > SHORT and word.endswith("s") and word[-2] not in "su" else word


# They say nothing about a loss.
EMPTY = frozenset(
    words(
        "a about all am an and any are as at be but by can do for from get has have how i if in into is it its loss me"
        " most my of on one or should so than that the their them they this to too use want what when where which with"
        " you"
    )
)
