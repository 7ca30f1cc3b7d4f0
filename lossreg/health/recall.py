"""The last updates before a window. Rules take some of them if the window has too few examples."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence

from lossreg.health.window import Update

MOST_EXAMPLES = 1024  # more than any default rule needs
MOST_MASKS = 2**14  # some megabytes


class Recall:
    """A bounded number of the last updates, by their examples and masks."""

    def __init__(self) -> None:
        self._updates: deque[Update] = deque()
        self._examples = 0
        self._masks = 0

    def updates(self) -> tuple[Update, ...]:
        """Return the updates, oldest first."""
        return tuple(self._updates)

    def forget(self) -> None:
        """Begin again, with no update."""
        self._updates.clear()
        self._examples = self._masks = 0

    def add(self, updates: Sequence[Update]) -> None:
        """Add updates, and drop the oldest ones that are too many."""
        for update in updates:
            self._updates.append(update)
            self._count(update, 1)
        while self._updates and (
            self._examples > MOST_EXAMPLES or self._masks > MOST_MASKS or len(self._updates) > MOST_EXAMPLES
        ):
            self._count(self._updates.popleft(), -1)

    def _count(self, update: Update, sign: int) -> None:
        self._examples += sign * len(update.examples)
        self._masks += sign * sum(len(example.masks) for example in update.examples)
