"""Problem: a difficulty in the words of a user, and the losses for it."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import Any, NamedTuple

from lossreg.registry import tag_expression
from lossreg.registry.entry import Entry


class Problem(NamedTuple):
    """A difficulty in the words of a user.

    Args:
        key: its name in addresses, such as "thin_structures". A how-to page for it has this name, too.
        title: the problem, as a user would say it.
        advice: the answer in one to three sentences, as Markdown with code in backticks.
        words: further words that users search for.
        losses: the names of lossreg's own losses for it, the first choice first.
        tags: a tag expression; losses of all packages that satisfy it belong to the problem, too.
        parameters: losses of all packages that have one of these parameters belong to the problem, too.
    """

    key: str
    title: str
    advice: str
    words: str
    losses: tuple[str, ...] = ()
    tags: str = ""
    parameters: tuple[str, ...] = ()

    def fits(self, entry: Entry) -> bool:
        """Return whether a loss belongs to this problem, by its name, its tags or its parameters."""
        by_name = entry.owns_name and entry.name in self.losses
        by_tags = bool(self.tags and entry.tags and _test(self.tags)(entry.tags))
        return by_name or by_tags or not _parameters(entry.metadata).isdisjoint(self.parameters)

    def place(self, entry: Entry) -> int:
        """Return the place of a loss among the recommended ones; those that are not named come after them."""
        named = entry.owns_name and entry.name in self.losses
        return self.losses.index(entry.name) if named else len(self.losses)


_test = cache(tag_expression.parse)


def _parameters(metadata: Mapping[str, Any]) -> frozenset[str]:
    return frozenset(metadata.get("parameters", {}).get("properties", ()))
