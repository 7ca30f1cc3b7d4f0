"""What a check found."""

from __future__ import annotations

from typing import NamedTuple


class Finding(NamedTuple):
    """One line of a report, and whether it is as it should be."""

    what: str
    right: bool

    def __str__(self) -> str:
        return f"{'ok   ' if self.right else 'WRONG'} {self.what}"
