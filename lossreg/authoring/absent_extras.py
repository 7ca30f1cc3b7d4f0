"""Extras of installed distributions that are not installed themselves."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import importlib_metadata as metadata  # passes over the part of metadata that an interrupted installation leaves
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

FOR_DEVELOPERS = ("dev", "doc", "docs", "test", "tests")


class AbsentExtra(NamedTuple):
    """An extra, and the distributions that it requires and that are not installed."""

    distribution: str
    extra: str
    lacking: tuple[str, ...]

    @property
    def install(self) -> str:
        """Return the command that installs it."""
        return f"pip install '{self.distribution}[{self.extra}]'"


def absent_extras(distribution: str) -> list[AbsentExtra]:
    """List the incomplete extras of an installed distribution, without the extras for its developers."""
    try:
        found = metadata.distribution(distribution).metadata.get_all("Provides-Extra")
    except (metadata.PackageNotFoundError, OSError, AttributeError):  # in code, in a folder on the path, or without it
        return []
    extras = [str(extra) for extra in found or () if extra not in FOR_DEVELOPERS]
    lacks = [(extra, tuple(sorted(set(_lacking(distribution, extra))))) for extra in extras]
    return [AbsentExtra(distribution, extra, lacking) for extra, lacking in lacks if lacking]


def _lacking(distribution: str, extra: str) -> Iterator[str]:
    """Yield the distributions of an extra that are not installed, also those of extras that it includes."""
    for line in metadata.requires(distribution) or ():
        requirement = Requirement(line)
        if requirement.marker is None or requirement.marker.evaluate({"extra": ""}):
            continue  # required without an extra
        if not requirement.marker.evaluate({"extra": extra}):
            continue
        if canonicalize_name(requirement.name) == canonicalize_name(distribution):
            for other in requirement.extras:
                yield from _lacking(distribution, other)
        elif not _has_metadata(requirement.name):
            yield canonicalize_name(requirement.name)


def _has_metadata(distribution: str) -> bool:
    try:
        metadata.distribution(distribution)
    except metadata.PackageNotFoundError:
        return False
    return True
