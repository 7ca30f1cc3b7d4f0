"""Environments that hold exactly the packages of an install line, made of links to those that are installed here.

Nothing is downloaded or copied, so that an environment takes less than a second.
"""

from __future__ import annotations

import hashlib
import re
import subprocess
import sys
import sysconfig
from collections.abc import Iterator, Sequence
from importlib.metadata import Distribution, distributions
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

# Links to the project's own folders: a build of its wheel follows links, except inside an environment.
ENVIRONMENTS = Path(sys.prefix) / "pages"
INSTALL = re.compile(r"^\s*(?:python -m )?pip install (.+?)\s*(?:#.*)?$", re.MULTILINE)
WORD = re.compile(r"'([^']+)'|\"([^\"]+)\"|(\S+)")


class NotInstalledError(Exception):
    """A package of an install line is not installed here, so that no environment can have it."""


def requirements(shell: str) -> list[str]:
    """Return the packages of all `pip install` lines of a shell script. The checkout, ".", is lossreg."""
    words = (next(filter(None, word)) for line in INSTALL.findall(shell) for word in WORD.findall(line))
    return [re.sub(r"^\.(?=\[|$)", "lossreg", word) for word in words if not word.startswith("-")]


def installed(folders: Sequence[Path]) -> dict[str, Distribution]:
    """Return the distributions in folders of packages by name; the first folder wins."""
    found: dict[str, Distribution] = {}
    for folder in folders:
        for distribution in distributions(path=[str(folder)]):
            found.setdefault(canonicalize_name(distribution.metadata["Name"]), distribution)
    return found


def closure(wanted: Sequence[str], here: dict[str, Distribution]) -> dict[str, Distribution]:
    """Return the wanted packages and those that they need, by name.

    Raises:
        NotInstalledError: a wanted package, or one that an extra needs, is not installed.
    """
    found: dict[str, Distribution] = {}
    done: set[str] = set()
    queue = [(Requirement(each), True) for each in wanted]
    while queue:
        requirement, must = queue.pop()
        name = canonicalize_name(requirement.name)
        if str(requirement) in done:
            continue
        done.add(str(requirement))
        if name not in here:
            if must:
                raise NotInstalledError(f"{requirement.name} is not installed here")
            continue
        found[name] = here[name]
        for each in map(Requirement, here[name].requires or ()):
            by_extra = any(each.marker and each.marker.evaluate({"extra": extra}) for extra in requirement.extras)
            if each.marker is None or each.marker.evaluate({"extra": ""}):
                queue.append((each, False))
            elif by_extra:
                queue.append((each, must))
    return found


def contents(distribution: Distribution) -> Iterator[Path]:
    """Yield the files and folders that a distribution has in a folder of packages."""
    for name in sorted({path.parts[0] for path in distribution.files or ()} - {"..", "__pycache__"}):
        place = Path(str(distribution.locate_file(name)))
        if place.suffix == ".pth" and name.startswith("_editable"):
            yield Path(place.read_text().strip()) / distribution.metadata["Name"].replace("-", "_")
        elif place.exists():
            yield place


class Environments:
    """Environments by their packages, kept in a folder from one run to the next.

    Args:
        folder: in which they are made.
        packages: folders of installed packages, such as .venv/lib/python3.11/site-packages.
    """

    def __init__(self, folder: Path, packages: Sequence[Path]) -> None:
        self.folder = folder
        self.here = installed([path for path in packages if path.is_dir()])

    def python(self, wanted: Sequence[str]) -> Path:
        """Return the Python of the environment with these packages, which is made if it is not there."""
        found = closure(wanted, self.here)
        links = [place for each in found.values() for place in contents(each)]
        name = hashlib.sha256("\n".join(sorted(map(str, links))).encode()).hexdigest()[:12]
        place = self.folder / name
        if not (place / "done").exists():
            self._make(place, links)
        return place / "bin" / "python"

    def _make(self, place: Path, links: Sequence[Path]) -> None:
        base = getattr(sys, "_base_executable", sys.executable)
        subprocess.run([base, "-m", "venv", "--without-pip", "--clear", place], check=True)
        packages = Path(sysconfig.get_path("purelib", "venv", {"base": str(place), "platbase": str(place)}))
        for target in links:
            if not (packages / target.name).exists():
                (packages / target.name).symlink_to(target)
        (place / "done").touch()
