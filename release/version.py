"""The one version of all distributions is `lossreg.__version__`, which their builds read. What follows from it is here.

python -m release.version          print it, and which ranges do not go with it
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
# Where a dependency on one of ours is written.
RANGED = (
    "plugins/*/pyproject.toml",
    "examples/*/pyproject.toml",
    "lossreg/authoring/templates/plugin/pyproject.toml.jinja",
)

_VERSION = re.compile(r'(?m)^(__version__ = ")([^"]*)(")$')
_DEPENDENCY = re.compile(r'"(lossreg(?:-[a-z]+)*)([<>=!~][^"]*)"')


def version_in(source: str) -> str:
    """The version that lossreg's `__init__.py` says."""
    found = _VERSION.search(source)
    if found is None:
        raise SystemExit(f'{SOURCE} has no line __version__ = "…"; write one')
    return found[2]


def current() -> str:
    """The version of this checkout."""
    return version_in((ROOT / SOURCE).read_text())


def range_for(version: str) -> str:
    """What a plugin of this version depends on: the same minor version before 1.0, the same major one after."""
    parsed = Version(version)
    lowest = version if parsed.is_prerelease else f"{parsed.major}.{parsed.minor}"
    above = f"{parsed.major + 1}" if parsed.major else f"0.{parsed.minor + 1}"
    return f">={lowest},<{above}"


def wrong_ranges(text: str, version: str) -> list[str]:
    """The dependencies on ours in a project file that do not go with the version, as they are written."""
    return [found[0] for found in _DEPENDENCY.finditer(text) if found[2] != range_for(version)]


def with_version(source: str, version: str) -> str:
    """lossreg's `__init__.py` of another version."""
    return _VERSION.sub(rf"\g<1>{version}\g<3>", source)


def with_ranges(text: str, version: str) -> str:
    """A project file whose dependencies on ours go with the version."""
    return _DEPENDENCY.sub(rf'"\g<1>{range_for(version)}"', text)


def complaints(version: str) -> list[str]:
    """What is wrong with the version of this checkout, and with the ranges in it."""
    found = []
    try:
        if str(Version(version)) != version:
            found.append(f"{SOURCE}: __version__ is {version!r}; write {str(Version(version))!r}")
    except InvalidVersion:
        return [f"{SOURCE}: __version__ is {version!r}, which is no version; write one such as '0.2.0'"]
    for path in _ranged():
        for wrong in wrong_ranges(path.read_text(), version):
            where, mend = path.relative_to(ROOT), f"python -m release.version {version}"
            found.append(f"{where}: {wrong} does not go with {version}; write {range_for(version)}, or run `{mend}`")
    return found


def tag_complaints(tag: str | None, version: str) -> list[str]:
    """What is wrong with the tag that is to be published, if there is one."""
    if tag in (None, f"v{version}"):
        return []
    return [f"the tag {tag} is not that of {version}; tag v{version}, or set the version: python -m release.version"]


def set_to(version: str) -> None:
    """Write the version, and the ranges that follow from it."""
    for path in [ROOT / SOURCE, *_ranged()]:
        before = path.read_text()
        after = with_version(before, version) if path == ROOT / SOURCE else with_ranges(before, version)
        if after != before:
            path.write_text(after)
            print(f"wrote {path.relative_to(ROOT)}")
    print(f"now write the entry '## {version}, unreleased' of CHANGELOG.md, and run `make -B setup`:")
    print("what is installed here says the old version until then")


def _ranged() -> Iterator[Path]:
    for pattern in RANGED:
        yield from sorted(ROOT.glob(pattern))


def main(arguments: list[str]) -> int:
    """Print or set the version; 1 where something does not go with it."""
    if len(arguments) > 1 or (arguments and arguments[0].startswith("-")):
        print(__doc__)
        return 2
    if arguments:
        try:
            set_to(str(Version(arguments[0])))
        except InvalidVersion:
            print(f"{arguments[0]!r} is no version; give one such as 0.2.0", file=sys.stderr)
            return 2
    version = current()
    print(version)
    found = complaints(version)
    print(*found, sep="\n", end="\n" if found else "", file=sys.stderr)
    return int(bool(found))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
