"""The finding of a check."""

from __future__ import annotations

from typing import NamedTuple


class Finding(NamedTuple):
    """One line of a report; `right` is False for an error."""

    what: str
    right: bool

    def __str__(self) -> str:
        return f"{'ok   ' if self.right else 'WRONG'} {self.what}"
