"""Extras of installed distributions that are not installed themselves: nothing is wrong with that, and it is told."""

from __future__ import annotations

from collections.abc import Iterator
from importlib import metadata
from typing import NamedTuple

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

FOR_AUTHORS = ("dev", "doc", "docs", "test", "tests")


class AbsentExtra(NamedTuple):
    """An extra of a distribution, and the distributions of it that are not installed."""

    distribution: str
    extra: str
    lacking: tuple[str, ...]

    @property
    def install(self) -> str:
        """The command that installs it."""
        return f"pip install '{self.distribution}[{self.extra}]'"


def absent_extras(distribution: str) -> list[AbsentExtra]:
    """List the extras of an installed distribution that lack something, but for those that its authors work with."""
    try:
        found = metadata.distribution(distribution).metadata
    except metadata.PackageNotFoundError:  # registered in code, or by a folder on the path
        return []
    extras = [str(extra) for extra in found.get_all("Provides-Extra") or () if extra not in FOR_AUTHORS]
    lacks = [(extra, tuple(sorted(set(_lacking(distribution, extra))))) for extra in extras]
    return [AbsentExtra(distribution, extra, lacking) for extra, lacking in lacks if lacking]


def _lacking(distribution: str, extra: str) -> Iterator[str]:
    """The distributions of an extra that are not installed; an extra may name others of its own distribution."""
    for line in metadata.requires(distribution) or ():
        requirement = Requirement(line)
        if requirement.marker is None or requirement.marker.evaluate({"extra": ""}):
            continue  # no part of an extra
        if not requirement.marker.evaluate({"extra": extra}):
            continue
        if canonicalize_name(requirement.name) == canonicalize_name(distribution):
            for other in requirement.extras:
                yield from _lacking(distribution, other)
        elif not _is_there(requirement.name):
            yield canonicalize_name(requirement.name)


def _is_there(distribution: str) -> bool:
    try:
        metadata.distribution(distribution)
    except metadata.PackageNotFoundError:
        return False
    return True
