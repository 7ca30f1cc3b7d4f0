"""Search: the losses and the problems that fit the words of a user. Nothing is imported for it."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from itertools import chain
from typing import NamedTuple, TypeVar

from lossreg.messages import similar
from lossreg.registry.entry import Entry
from lossreg.search.problem import Problem
from lossreg.search.problems import PROBLEMS
from lossreg.search.words import asked, is_among, words

BY_NAME, BY_TAG, BY_PROBLEM, BY_SUMMARY = 4, 3, 3, 1  # the worth of a word, by where a loss has it

T = TypeVar("T")


class Found(NamedTuple):
    """The result of a search.

    Args:
        names: the losses that have most of the words, the best first.
        problems: the problems that have most of the words.
        missed: the words that these losses do not have.
        near: for each word that nothing has, known words that are similar.
    """

    names: list[str]
    problems: list[Problem]
    missed: list[str]
    near: dict[str, tuple[str, ...]]


def search(text: str, entries: Mapping[str, Entry], problems: Sequence[Problem] = PROBLEMS) -> Found:
    """Find losses by the words of their names, summaries, tags and providers, and of the problems that they solve.

    Args:
        text: words in any order and case, in the singular or the plural. The beginning of a word is enough.
        entries: the losses, by the names under which they are listed.
    """
    typed = asked(text)
    texts = {problem: {*words(f"{problem.key} {problem.title} {problem.words}")} for problem in problems}
    had = {problem: {word for word in typed if is_among(word, texts[problem])} for problem in problems}
    best = _most(had)
    own = {name: _own(entry) for name, entry in entries.items()}
    worth = {name: _worth(typed, own[name], _by_problem(entry, had)) for name, entry in entries.items()}

    def rank(name: str) -> tuple[int, int, bool, str]:
        places = [problem.place(entries[name]) for problem in best if problem.fits(entries[name])]
        return -sum(worth[name].values()), min(places, default=len(entries)), not entries[name].owns_name, name

    names = sorted(_most(worth), key=rank)
    missed = [word for word in typed if not any(word in worth[name] for name in names)]
    known = {*chain(*texts.values(), *(text for texts in own.values() for text, _ in texts))} if missed else ()
    near = {word: similar(word, sorted(known), 3) for word in missed if not is_among(word, known)}
    return Found(names, best, missed, near)


def _own(entry: Entry) -> list[tuple[set[str], int]]:
    """Return the words of a loss, and what each is worth."""
    return [
        ({*words(" ".join(entry.spellings()))}, BY_NAME),
        ({*words(f"{entry.provider} {' '.join(entry.tags or ())}")}, BY_TAG),
        ({*words(entry.metadata.get("summary", ""))}, BY_SUMMARY),
    ]


def _by_problem(entry: Entry, had: Mapping[Problem, set[str]]) -> set[str]:
    """Return the words of the search that the problems of a loss have."""
    return set().union(*(found for problem, found in had.items() if found and problem.fits(entry)))


def _worth(typed: Sequence[str], own: list[tuple[set[str], int]], by_problem: set[str]) -> dict[str, int]:
    """Return the worth of each typed word that a loss has."""
    found = {}
    for word in typed:
        worths = [worth for text, worth in own if is_among(word, text)] + [BY_PROBLEM] * (word in by_problem)
        if worths:
            found[word] = max(worths)
    return found


def _most(found: Mapping[T, Collection[str]]) -> list[T]:
    """Return the keys with the largest collections, unless these are empty."""
    most = max(map(len, found.values()), default=0)
    return [key for key, each in found.items() if most and len(each) == most]
