"""The common version of all distributions, `lossreg.__version__`, and the version ranges that must match it.

python -m release.version          print it, and the ranges that do not match
python -m release.version 0.2.0    set it, and the ranges
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from pathlib import Path

from packaging.version import InvalidVersion, Version

from release.distribution import ROOT

SOURCE = "lossreg/__init__.py"
# The files that contain a dependency on one of our distributions.
RANGED = (
    "plugins/*/pyproject.toml",
    "examples/*/pyproject.toml",
    "lossreg/authoring/templates/plugin/pyproject.toml.jinja",
)

_VERSION = re.compile(r'(?m)^(__version__ = ")([^"]*)(")$')
_DEPENDENCY = re.compile(r'"(lossreg(?:-[a-z]+)*)([<>=!~][^"]*)"')


def version_in(source: str) -> str:
    """Return the version in the text of lossreg's `__init__.py`."""
    found = _VERSION.search(source)
    if found is None:
        raise SystemExit(f'{SOURCE} has no line __version__ = "…"; write one')
    return found[2]


def current() -> str:
    """Return the version of this checkout."""
    return version_in((ROOT / SOURCE).read_text())


def range_for(version: str) -> str:
    """Return a plugin's range for lossreg: the same minor version before 1.0, the same major version after."""
    parsed = Version(version)
    lowest = version if parsed.is_prerelease else f"{parsed.major}.{parsed.minor}"
    above = f"{parsed.major + 1}" if parsed.major else f"0.{parsed.minor + 1}"
    return f">={lowest},<{above}"


def wrong_ranges(text: str, version: str) -> list[str]:
    """Return the dependencies on our distributions in a project file that do not match the version, as written."""
    return [found[0] for found in _DEPENDENCY.finditer(text) if found[2] != range_for(version)]


def with_version(source: str, version: str) -> str:
    """Return the text of lossreg's `__init__.py` with another version."""
    return _VERSION.sub(rf"\g<1>{version}\g<3>", source)


def with_ranges(text: str, version: str) -> str:
    """Return the text of a project file with the ranges that match the version."""
    return _DEPENDENCY.sub(rf'"\g<1>{range_for(version)}"', text)


def complaints(version: str) -> list[str]:
    """List the problems of this checkout's version and of the ranges in it."""
    found = []
    try:
        if str(Version(version)) != version:
            found.append(f"{SOURCE}: __version__ is {version!r}; write {str(Version(version))!r}")
    except InvalidVersion:
        return [f"{SOURCE}: __version__ is {version!r}, which is not a valid version; write one such as '0.2.0'"]
    for path in _ranged():
        for wrong in wrong_ranges(path.read_text(), version):
            where, remedy = path.relative_to(ROOT), f"python -m release.version {version}"
            found.append(f"{where}: {wrong} does not match {version}; write {range_for(version)}, or run `{remedy}`")
    return found


def tag_complaints(tag: str | None, version: str) -> list[str]:
    """List the problems of the tag that is to be published, if there is one."""
    if tag in (None, f"v{version}"):
        return []
    return [f"the tag {tag} does not match {version}; use v{version}, or set the version: python -m release.version"]


def set_to(version: str) -> None:
    """Write the version, and the ranges that match it."""
    for path in [ROOT / SOURCE, *_ranged()]:
        before = path.read_text()
        after = with_version(before, version) if path == ROOT / SOURCE else with_ranges(before, version)
        if after != before:
            path.write_text(after)
            print(f"wrote {path.relative_to(ROOT)}")
    print(f"now write the entry '## {version}, unreleased' of CHANGELOG.md, and run `make -B setup`:")
    print("until then the installed packages have the old version")


def _ranged() -> Iterator[Path]:
    for pattern in RANGED:
        yield from sorted(ROOT.glob(pattern))


def main(arguments: list[str]) -> int:
    """Print or set the version; return 1 if something does not match it."""
    if len(arguments) > 1 or (arguments and arguments[0].startswith("-")):
        print(__doc__)
        return 2
    if arguments:
        try:
            set_to(str(Version(arguments[0])))
        except InvalidVersion:
            print(f"{arguments[0]!r} is not a valid version; give one such as 0.2.0", file=sys.stderr)
            return 2
    version = current()
    print(version)
    found = complaints(version)
    print(*found, sep="\n", end="\n" if found else "", file=sys.stderr)
    return int(bool(found))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
