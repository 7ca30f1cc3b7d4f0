"""A library that a provider describes and does not contain: is it there, and is it a version that was described?"""

from __future__ import annotations

import warnings
from typing import NamedTuple

from lossreg.errors import InvalidNameError

_warned: set[Requirement] = set()


class Requirement(NamedTuple):
    """`package` as it is imported, `distribution` as it is installed, `versions` as pip reads ranges: ">=1.5,<2"."""

    package: str
    distribution: str
    versions: str = ""

    @property
    def install(self) -> str:
        """The command that installs it."""
        return f'pip install "{self.distribution}{self.versions}"'

    def installed_version(self) -> str | None:
        """The version that is installed; None where no metadata tells."""
        from importlib import metadata

        try:
            return metadata.version(self.distribution)
        except metadata.PackageNotFoundError:
            return None

    def outside(self) -> str | None:
        """What is wrong with the installed version, in one sentence; None if it was described."""
        from packaging.specifiers import SpecifierSet
        from packaging.version import InvalidVersion

        version = self.installed_version()
        try:
            if version is None or SpecifierSet(self.versions).contains(version, prereleases=True):
                return None
        except InvalidVersion:
            return f"the version {version!r} of {self.distribution} cannot be read, expected {self.versions}"
        return f"{self.distribution} {version} is installed, and {self.versions} was described: parameters may differ"

    def warn_outside(self, provider: str) -> None:
        """Warn of a version that was not described, once in a process."""
        if self in _warned:
            return
        _warned.add(self)
        wrong = self.outside()
        if wrong is not None:
            warnings.warn(f"{provider}: {wrong}; {self.install}, or upgrade lossreg-{provider}", stacklevel=2)


def read_requirement(data: object) -> Requirement | None:
    """What a manifest says of its library.

    Raises:
        InvalidNameError: it says it wrongly.
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
