"""Requirement: the third-party library that a provider describes, and the range of its versions."""

from __future__ import annotations

from typing import NamedTuple

from lossreg.errors import InvalidNameError
from lossreg.messages import warn_once


class Requirement(NamedTuple):
    """A library: `package` is imported, `distribution` is installed, `versions` is a range such as ">=1.5,<2"."""

    package: str
    distribution: str
    versions: str = ""

    @property
    def install(self) -> str:
        """Return the command that installs it."""
        return f'pip install "{self.distribution}{self.versions}"'

    def outside(self) -> str | None:
        """Return a sentence about an installed version outside the range; None for one within it."""
        from packaging.specifiers import SpecifierSet
        from packaging.version import InvalidVersion

        version = installed_version(self.distribution)
        try:
            if version is None or SpecifierSet(self.versions).contains(version, prereleases=True):
                return None
        except InvalidVersion:
            return f"the version {version!r} of {self.distribution} cannot be read, expected {self.versions}"
        return f"{self.distribution} {version} is installed, and {self.versions} was described: parameters may differ"

    def warn_outside(self, provider: str) -> None:
        """Warn about an installed version outside the range, once in a process."""
        outside = self.outside()
        if outside is not None:
            warn_once(self, f"{provider}: {outside}; {self.install}, or upgrade lossreg-{provider}")


def installed_version(distribution: str) -> str | None:
    """Return the installed version of a distribution, or None without metadata of this name."""
    from importlib_metadata import version

    try:
        return version(distribution)
    except Exception:  # noqa: BLE001 - not installed, or without its version: each release raises another error
        return None


def read_requirement(data: object) -> Requirement | None:
    """Read the "library" of a manifest.

    Raises:
        InvalidNameError: it is malformed.
    """
    if data is None:
        return None
    if (
        not isinstance(data, dict)
        or not {*data} <= {*Requirement._fields}
        or not {"package", "distribution"} <= {*data}
    ):
        raise InvalidNameError(f"'library' must be {{package, distribution, versions}}, got {data!r:.80}", name=data)
    for key, value in data.items():
        if not isinstance(value, str) or not value.isprintable() or (key != "versions" and not value):
            raise InvalidNameError(f"'library.{key}' must be text, got {value!r:.80}", name=value)
    if not data["package"].isidentifier():
        raise InvalidNameError(f"'library.package' must be a top-level package, got {data['package']!r:.80}", name=data)
    return Requirement(**data)
